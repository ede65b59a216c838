"""What goes back to where it came from: what is there is known by its own ids, and only what is gone is made again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Dict, List

import pytest

from benchmarks.make_data import log_metrics, make_everything
from tests.support.compare import RUN_KEY
from tests.support.moves import At, Moves, Source, counts_of, point, runs_of, writes
from tests.support.proxy import Proxy
from tests.support.reports import id_map
from tests.support.rest import Json, Rest
from tests.support.servers import Server

OVERWRITE = ("--on-destination-change", "overwrite")


@pytest.fixture
def home(moves: Moves) -> Moves:
    """Moves things from a server to itself."""
    moves.dst = moves.src
    return moves


def everything(server: Any, name: str) -> List[Any]:
    """All that a server shows of an experiment."""
    rest = Rest(server.uri)
    experiment = rest.experiment(name)
    runs = [rest.run(run["info"]["run_id"]) for run in rest.runs(experiment["experiment_id"])]
    models = rest.logged_models(experiment["experiment_id"])
    return [experiment, models, runs, [rest.run_files(run["info"]["run_id"]) for run in runs]]


def tags_of(run: Json) -> Dict[str, str]:
    """The tags of a run."""
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags") or []}


def purge(server: Server, run_id: str) -> None:
    """Remove a run for good, as ``mlflow gc`` does."""
    with closing(sqlite3.connect(server.root / "mlflow.db", timeout=60)) as database, database:
        for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [run_id])


def test_all_is_there(home: Moves, experiment_name: str) -> None:
    """A backup that is imported into its own experiment finds each object and writes nothing."""
    ids = make_everything(home.src.uri, experiment_name, deleted_models=True)
    models = sum(i.startswith("m-") for i in ids.values())
    same = {
        "experiment": {"unchanged": 1},
        "logged_model": {"unchanged": models},
        "run": {"unchanged": len(ids) - 1 - models},
    }
    home.export(experiment_name, "--export-deleted-runs")
    before = everything(home.src, experiment_name)
    asked = ("--import-source-tags", "--use-src-user-id", "True")
    with Proxy(home.src.uri) as proxy:
        home.dst = At(proxy.uri)
        for args in (("--dry-run",), (), (), asked, ("--recheck", "full", "--dry-run")):
            assert home.load(experiment_name, *args) == same, args
        assert writes(proxy) == {}
    assert everything(home.src, experiment_name) == before
    assert all(src_id == dst_id for src_id, dst_id in id_map(home.report).items())


def test_what_is_gone(home: Moves, source: Source) -> None:
    """A run that was removed for good is made again; what was edited or deleted is told, and put back if asked for."""
    name, rest = source.name, source.rest
    gone = source.run("gone", 1000, (point("x", 1.0, 1),), tags={"k": "v"})
    child = source.run("child", 2000, parent=gone)
    edited = source.run("edited", 3000, tags={"k": "old", "removed": "1"})
    deleted = source.run("deleted", 4000)
    goes_on = source.run("goes on", 5000, (point("x", 1.0, 1),), end=False)
    models = [source.model(gone, "of the run that is gone"), source.model(child, "of its child")]
    source.put(gone, "a.txt", b"a")
    home.export(name)
    purge(home.src, gone)
    source.tag(edited, "k", "new")
    rest.post("runs/delete-tag", {"run_id": edited, "key": "removed"})
    source.delete(deleted)
    log_metrics(rest, goes_on, [point("x", 2.0, 2)])
    before = {run["info"]["run_id"]: run for run in runs_of(home.src, name)}
    # points are written again where the latest differs: a server drops those that it has
    found = {"copied": 1, "differs": 2, "updated": 1, "unchanged": 1}
    for args in (("--dry-run",), ()):
        counts = home.load(name, *args, status=1)
        assert counts["run"] == found and counts["experiment"] == {"unchanged": 1}
        # its id can't be written into the model that it had made
        assert counts["logged_model"] == {"incomplete": 1, "unchanged": 1}
    assert [p["step"] for p in rest.history(goes_on, "x")] == [1, 2]
    after = {run["info"]["run_id"]: run for run in runs_of(home.src, name)}
    (new,) = set(after) - set(before)
    assert tags_of(after[new])[RUN_KEY] == gone and tags_of(after[new])["k"] == "v"
    assert rest.run_files(new) == {"a.txt": 1}
    assert [p["step"] for p in rest.history(new, "x")] == [1]
    assert [output["model_id"] for output in after[new]["outputs"]["model_outputs"]] == models[:1]
    assert {model["info"]["model_id"] for model in rest.logged_models(source.id)} == set(models)
    assert not any(RUN_KEY in tags_of(after[run_id]) for run_id in before)
    # the restored run has its child again
    assert tags_of(after[child])["mlflow.parentRunId"] == new
    assert tags_of(after[edited])["k"] == "new" and tags_of(after[edited])["removed"] == "1"
    assert "lifecycle" in home.reason(deleted) and after[deleted]["info"]["lifecycle_stage"] == "deleted"
    assert home.load(name, status=1)["run"] == {"unchanged": 2, "differs": 3}
    home.load(name, "--recheck", "full", status=1)
    assert rest.run(deleted)["info"]["lifecycle_stage"] == "deleted"
    assert len(runs_of(home.src, name)) == len(after)
    home.load(name, *OVERWRITE, status=None)
    assert tags_of(rest.run(edited))["k"] == "old"
    assert rest.run(deleted)["info"]["lifecycle_stage"] == "active"


def test_copies_of_earlier_imports(home: Moves, source: Source) -> None:
    """Copies beside their originals, as imports once made them, are not taken for these."""
    parent = source.run("parent", 1000)
    child = source.run("child", 2000, parent=parent)
    for original in (parent, child):
        source.run("copy", 3000, tags={RUN_KEY: original})
    home.export(source.name, "--run-ids", f"{parent},{child}")
    before = everything(home.src, source.name)
    assert home.load(source.name)["run"] == {"unchanged": 2}
    assert everything(home.src, source.name) == before


def test_model_that_was_deleted_since(home: Moves, source: Source) -> None:
    """No listing shows it any more; it is known all the same, and not made a second time."""
    run_id = source.run("r")
    model_id = source.model(run_id, "m")
    home.export(source.name)
    source.rest.call("DELETE", f"/api/2.0/mlflow/logged-models/{model_id}")
    counts = home.load(source.name)
    assert counts["logged_model"] == {"differs": 1} and counts["run"] == {"unchanged": 1}
    assert source.rest.logged_models(source.id) == []


def test_model_of_another_experiment(home: Moves, source: Source) -> None:
    """A run that uses it goes on using it."""
    other = Source(source.server, source.name + " other")
    model_id = other.model(other.run("trainer"), "m")
    run_id = source.run("user")
    source.rest.post("runs/log-inputs", {"run_id": run_id, "datasets": [], "models": [{"model_id": model_id}]})
    home.export(source.name)
    before = everything(home.src, source.name)
    for args in (("--dry-run",), ()):
        counts = home.load(source.name, *args)
        assert counts["logged_model"] == {"unchanged": 1} and counts["run"] == {"unchanged": 1}
    assert everything(home.src, source.name) == before


def test_copies_onto_themselves(home: Moves, source: Source) -> None:
    """Another spelling of the host, and a run alone, make no second copy either."""
    parent = source.run("parent", 1000)
    run_id = source.run("r", 2000, (point("x", 1.0, 1),), parent=parent)
    source.model(run_id, "m")
    before = everything(home.src, source.name)
    with Proxy(home.src.uri) as proxy:
        home.dst = At(proxy.uri)
        for args in (("--dry-run",), (), ()):
            counts = home.copy(source.name, source.name, *args)
            assert counts == {"experiment": {"unchanged": 1}, "logged_model": {"unchanged": 1}, "run": {"unchanged": 2}}
        both = ("--src-mlflow-uri", home.src.uri, "--dst-mlflow-uri", proxy.uri, "--report-dir", home.report)
        what = ("--run-id", run_id, "--experiment-name", source.name)
        for args in (("--dry-run",), ()):
            done = home.script("copy-run", *both, *what, *args)
            assert counts_of(done) == {"logged_model": {"unchanged": 1}, "run": {"unchanged": 1}}
        assert writes(proxy) == {}
    assert everything(home.src, source.name) == before


def test_back_after_source_tags(moves: Moves, source: Source) -> None:
    """B back to A: the source tags that the way to B has written are none of A's."""
    rest, name = source.rest, source.name
    note = {"experiment_id": source.id, "key": "mlflow.note.content", "value": "note"}
    rest.post("experiments/set-experiment-tag", note)
    run_id = source.run("r", 2000, (point("x", 1.0, 1),), tags={"mlflow.source.name": "train.py"})
    source.model(run_id, "m")
    before = everything(moves.src, name)
    moves.copy(name, name, "--import-source-tags")
    with Proxy(moves.src.uri) as proxy:
        back = Moves(moves.script, moves.dst, At(proxy.uri), moves.home / "back")  # type: ignore[arg-type]
        back.export(name)
        same = {kind: {"unchanged": 1} for kind in ("experiment", "logged_model", "run")}
        for args in (("--dry-run",), (), ("--import-source-tags",), OVERWRITE):
            assert back.load(name, *args) == same, args
        for args in (("--dry-run",), (), (), ("--import-source-tags",), ("--recheck", "full", "--dry-run"), OVERWRITE):
            assert back.copy(name, name, *args) == same, args
        assert writes(proxy) == {}
    assert everything(moves.src, name) == before


def test_own_runs_that_cannot_be_asked_for(home: Moves, source: Source) -> None:
    """A run alone is not made a second time because a question failed."""
    run_id = source.run("r")
    env = {"MLFLOW_TRACKING_URI": home.src.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    home.script("export-run", "--run-id", run_id, "--output-dir", home.home / "one", env=env)
    names = ("--experiment-name", source.name, "--input-dir", home.home / "one")
    with Proxy(home.src.uri) as proxy:
        proxy.on("GET", "*/runs/get", status=500)
        home.script("import-run", *names, env={**env, "MLFLOW_TRACKING_URI": proxy.uri}, check=2)
    assert len(runs_of(home.src, source.name)) == 1


def test_model_without_a_run_that_was_deleted_since(home: Moves, source: Source) -> None:
    """The experiment itself tells that the backup comes home."""
    body = {"experiment_id": source.id, "name": "alone"}
    model_id = source.rest.post("logged-models", body)["model"]["info"]["model_id"]
    home.export(source.name)
    source.rest.call("DELETE", f"/api/2.0/mlflow/logged-models/{model_id}")
    assert home.load(source.name)["logged_model"] == {"differs": 1}
    assert source.rest.logged_models(source.id) == []
