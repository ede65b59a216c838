"""What an import makes of what is there: runs that need each other, edits on both sides, imports that were killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

from benchmarks.make_data import log_metrics
from tests.support.compare import assert_same
from tests.support.kills import run_killed
from tests.support.moves import At, Moves, Source, point, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import id_map
from tests.support.rest import Rest


def test_models_that_runs_hand_on(source: Source, moves: Moves, experiment_name: str, tmp_path: Path) -> None:
    """Each run uses the model of the one before, the first measures that of the last: no order is right."""
    rest, before, ids = source.rest, None, []
    for number in range(6):
        run_id = source.run(f"run {number}", start=5000 - number, points=(point("loss", 1.0, 1),))
        if before:
            rest.post("runs/log-inputs", {"run_id": run_id, "datasets": [], "models": [{"model_id": before}]})
        before = source.model(run_id, f"model{number}")
        ids.append(run_id)
    rest.post("runs/log-batch", {"run_id": ids[0], "metrics": [point("accuracy", 0.5, 3, model_id=before)]})
    moves.export(experiment_name)
    new = {"experiment": {"copied": 1}, "logged_model": {"copied": 6}, "run": {"copied": 6}}
    assert moves.load(experiment_name, "--dry-run") == new
    assert moves.load(experiment_name) == new
    assert_same((moves.src.uri, experiment_name), (moves.dst.uri, experiment_name))
    same = {"experiment": {"unchanged": 1}, "logged_model": {"unchanged": 6}, "run": {"unchanged": 6}}
    assert moves.load(experiment_name) == moves.load(experiment_name, "--dry-run") == same

    # one run alone brings the model that it uses; that this one has no run there is told, as are metrics
    env = {"MLFLOW_TRACKING_URI": moves.src.uri}
    moves.script("export-run", "--run-id", ids[-1], "--output-dir", tmp_path / "one", env=env)
    counts = moves.load(experiment_name + " one", status=1, script="import-run", to="one")
    assert counts == {"logged_model": {"incomplete": 2}, "run": {"copied": 1}}
    losses = [line["losses"] for line in moves.ledger() if line.get("status") == "incomplete"]
    assert sorted(losses) == [["logged-models"], ["values"]]

    # a copy that is repeated tells each object once
    moves.copy(experiment_name, experiment_name + "c")
    assert moves.copy(experiment_name, experiment_name + "c") == same
    assert_same((moves.src.uri, experiment_name), (moves.dst.uri, experiment_name + "c"))


def test_full_recheck(source: Source, moves: Moves, experiment_name: str) -> None:
    """Points that are not the latest and bytes of the same number arrive; those of the destination are told."""
    run_id = source.run("r", points=(point("x", 1.0, 10),))
    source.put(run_id, "a/file.bin", b"before")
    moves.export(experiment_name)
    moves.load(experiment_name)
    log_metrics(source.rest, run_id, [point("x", 0.5, 5)])
    source.put(run_id, "a/file.bin", b"after!")
    moves.export(experiment_name)
    assert moves.load(experiment_name)["run"] == {"unchanged": 1}  # limitations.md says so
    moves.export(experiment_name, "--recheck", "full")
    assert moves.load(experiment_name)["run"] == {"updated": 1}
    assert_same((moves.src.uri, experiment_name), (moves.dst.uri, experiment_name))

    there = Rest(moves.dst.uri)
    copy = there.runs(there.experiment(experiment_name)["experiment_id"])[0]
    there.put_file(copy["info"]["artifact_uri"], "a/file.bin", b"edited")
    assert moves.load(experiment_name)["run"] == {"unchanged": 1}
    assert moves.load(experiment_name, "--recheck", "full")["run"] == {"differs": 1}
    assert "artifact a/file.bin" in [line for line in moves.ledger() if line.get("kind") == "run"][-1]["reason"]
    overwrite = ("--recheck", "full", "--on-destination-change", "overwrite")
    assert moves.load(experiment_name, *overwrite)["run"] == {"updated": 1}
    assert_same((moves.src.uri, experiment_name), (moves.dst.uri, experiment_name))


def test_edits_on_both_sides(source: Source, moves: Moves, experiment_name: str) -> None:
    """The destination's edits are left alone and named; the source's arrive beside them; points of both stay."""
    run_id = source.run("r", points=(point("x", 1.0, 1),), tags={"ours": "1", "theirs": "1", "gone": "1"})
    moves.export(experiment_name)
    moves.load(experiment_name)
    there = Rest(moves.dst.uri)
    copy = there.runs(there.experiment(experiment_name)["experiment_id"])[0]["info"]["run_id"]
    long = "edited " * 1000
    there.post("runs/set-tag", {"run_id": copy, "key": "theirs", "value": long})
    log_metrics(there, copy, [point("x", 2.0, 2)])
    source.rest.post("runs/set-tag", {"run_id": run_id, "key": "ours", "value": "2"})
    source.rest.post("runs/delete-tag", {"run_id": run_id, "key": "gone"})
    log_metrics(source.rest, run_id, [point("x", 3.0, 3)])
    moves.export(experiment_name)
    assert moves.load(experiment_name)["run"] == {"differs": 1}
    tags = {tag["key"]: tag["value"] for tag in there.run(copy)["data"]["tags"]}
    assert (tags["ours"], tags["theirs"], "gone" in tags) == ("2", long, False)
    assert [p["step"] for p in there.history(copy, "x")] == [1, 2, 3]
    assert moves.load(experiment_name)["run"] == {"differs": 1}


def test_an_experiment_that_is_somebody_elses(source: Source, moves: Moves, experiment_name: str) -> None:
    """It is not deleted because the source's is; a deleted one is not written to unless that is asked for."""
    deleted = source.run("deleted")
    source.run("active")
    source.delete(deleted)
    moves.export(experiment_name, "--export-deleted-runs")
    theirs = Source(moves.dst, experiment_name + " theirs")
    own = theirs.run("own")
    moves.load(experiment_name)
    source.rest.post("experiments/delete", {"experiment_id": source.id})
    moves.export(experiment_name, "--export-deleted-experiments", to="gone")
    assert moves.load(theirs.name, to="gone")["experiment"] == {"differs": 1}
    assert theirs.rest.run(own)["info"]["lifecycle_stage"] == "active"
    # the one that an import has made follows
    assert moves.load(experiment_name, to="gone")["experiment"] == {"updated": 1}
    assert theirs.rest.experiment(experiment_name)["lifecycle_stage"] == "deleted"
    refused = ("--input-dir", moves.home / "export", "--experiment-name", experiment_name)
    moves.script("import-experiment", *refused, env={"MLFLOW_TRACKING_URI": moves.dst.uri}, check=2)
    overwrite = ("--on-destination-change", "overwrite")
    for args in ((*overwrite, "--dry-run"), overwrite):
        assert moves.load(experiment_name, *args)["experiment"] == {"updated": 1}
    stages = {r["info"]["run_name"]: r["info"]["lifecycle_stage"] for r in runs_of(moves.dst, experiment_name)}
    assert stages == {"deleted": "deleted", "active": "active"}


def test_a_directory_holds_one_experiment(source: Source, moves: Moves, experiment_name: str) -> None:
    """Another one is not mixed into it."""
    run_id = source.run("r")
    other = Source(moves.src, experiment_name + " other")
    other_run = other.run("r")
    moves.export(experiment_name)
    env = {"MLFLOW_TRACKING_URI": moves.src.uri}
    args = ("--experiment", other.name, "--output-dir", moves.home / "export")
    refused = moves.script("export-experiment", *args, env=env, check=2)
    assert "another experiment" in refused.stderr
    for wanted, status in ((run_id, 0), (run_id, 0), (other_run, 2)):
        moves.script("export-run", "--run-id", wanted, "--output-dir", moves.home / "one", env=env, check=status)


# ---- killed while it changes what was whole


def _change(source: Source, plain: str, deleted: str) -> None:
    rest = source.rest
    rest.post("runs/restore", {"run_id": deleted})
    for run_id in (plain, deleted):
        # the latest point comes first, so that a killed import leaves what looks finished
        log_metrics(rest, run_id, [point("x", 9.0, 90), point("x", 5.0, 50)])
        rest.post("runs/set-tag", {"run_id": run_id, "key": "k", "value": "new"})
    source.put(plain, "more.txt", b"more")
    source.delete(deleted)


@pytest.mark.parametrize(
    ("path", "number", "whole_experiment"),
    [
        ("*/runs/log-batch", 1, False),
        ("*/runs/restore", 1, False),
        pytest.param("*/runs/log-batch", 2, False, marks=pytest.mark.slow),
        ("*/runs/delete", 1, False),
        pytest.param("*/experiments/restore", 1, True, marks=pytest.mark.slow),
        ("*/experiments/delete", 1, True),
        pytest.param("*/runs/restore", -1, True, marks=pytest.mark.slow),
    ],
)
def test_killed_while_it_changes_runs(
    source: Source, moves: Moves, path: str, number: int, whole_experiment: bool
) -> None:
    """What is half done is not taken for an edit of the destination: a repeat completes it, and nothing differs."""
    name = source.name
    plain = source.run("plain", points=(point("x", 1.0, 1),), tags={"k": "old"})
    deleted = source.run("deleted", points=(point("x", 1.0, 1),), tags={"k": "old"})
    source.delete(deleted)
    args = ("--export-deleted-experiments", "--export-deleted-runs")

    def delete_experiment() -> None:
        if whole_experiment:
            source.rest.post("experiments/delete", {"experiment_id": source.id})
            source.rest.post("runs/restore", {"run_id": plain})

    with Proxy(moves.dst.uri) as proxy:
        moves.dst = At(proxy.uri)  # the id map goes by the destination's address
        delete_experiment()
        moves.export(name, *args)
        moves.load(name)
        if whole_experiment:
            source.rest.post("experiments/restore", {"experiment_id": source.id})
        _change(source, plain, deleted)
        delete_experiment()
        moves.export(name, *args)
        command = (
            "import-experiment", "--experiment-name", name, "--input-dir", moves.home / "export",
            "--report-dir", moves.report, "--workers", "1",
        )  # fmt: skip
        # the last of the restores is the one that follows the deletion of the experiment
        assert run_killed(proxy, command, "POST", path, 2 if number < 0 else number) == ""
        counts = moves.load(name)
        assert "differs" not in str(counts)
        assert_same((moves.src.uri, name), (proxy.uri, name))
        assert len(runs_of(moves.dst, name)) == 2
        assert moves.load(name)["run"] == {"unchanged": 2}


def _tags(moves: Moves, run_id: str, kind: str = "run") -> Dict[str, str]:
    """The tags of a copy."""
    rest, there = Rest(moves.dst.uri), id_map(moves.report, kind)[run_id]
    if kind == "logged_model":
        found = rest.logged_model(there)["info"]["tags"]
    else:
        found = rest.run(there)["data"]["tags"]
    return {tag["key"]: tag["value"] for tag in found}


@pytest.mark.parametrize("way", ["import", "copy"])
def test_other_options_than_last_time(way: str, source: Source, moves: Moves, experiment_name: str) -> None:
    """What an option adds comes with a repeat that asks for it, and goes when it is no longer asked for."""
    run_id = source.run("r", user_id="ann", tags={"mlflow.user": "robot"})
    model_id = source.model(run_id, "m")
    source.put(run_id, "model/MLmodel", f"run_id: {run_id}\n".encode())
    moves.export(experiment_name)

    def again(*args: Any) -> str:
        """Bring it over; how the run ended."""
        if way == "copy":
            counts = moves.copy(experiment_name, experiment_name, *args)
        else:
            counts = moves.load(experiment_name, *args)
        (status,) = counts["run"]
        return status

    def mlmodel() -> bytes:
        rest = Rest(moves.dst.uri)
        return rest.run_file(id_map(moves.report)[run_id], "model/MLmodel")

    assert (again(), again()) == ("copied", "unchanged")
    assert _tags(moves, run_id)["mlflow.user"] == "robot"
    assert (again("--use-src-user-id", "True"), again("--use-src-user-id", "True")) == ("updated", "unchanged")
    assert _tags(moves, run_id)["mlflow.user"] == "ann"
    assert again() == "updated"
    assert _tags(moves, run_id)["mlflow.user"] == "robot"
    # source tags that a copy has are kept, asked for or not
    asked = "--import-source-tags"
    for args, status in (([asked], "updated"), ([], "unchanged"), ([asked], "unchanged")):
        assert again(*args) == status
        assert _tags(moves, run_id)["mlflow_exim.mlflow_tag.user"] == "robot"
        assert _tags(moves, run_id)["mlflow_exim.run_info.user_id"] == "ann"
        assert _tags(moves, model_id, "logged_model")["mlflow_exim.field.experiment_id"] == source.id
        experiment = Rest(moves.dst.uri).experiment(experiment_name)
        assert "mlflow_exim.field.creation_time" in {tag["key"] for tag in experiment["tags"]}
    assert mlmodel() == f"run_id: {id_map(moves.report)[run_id]}\n".encode()
    assert (again("--mlmodel-fix", "False"), again("--mlmodel-fix", "False")) == ("updated", "unchanged")
    assert mlmodel() == f"run_id: {run_id}\n".encode()
    assert again() == "updated"
    assert len(runs_of(moves.dst, experiment_name)) == 1
    # nor does a lost id map make them anybody's edit
    moves.report = moves.home / "other report"
    for kind, counts in moves.load(experiment_name).items():
        assert counts == {"unchanged": 1}, kind


def test_deleted_at_the_source_since(source: Source, moves: Moves, experiment_name: str) -> None:
    """A repeat with other options follows it, as one with the same options does."""
    first, second = source.run("first"), source.run("second")
    moves.copy(experiment_name, experiment_name)
    for run_id, args in ((first, ()), (second, ("--import-source-tags",))):
        source.delete(run_id)
        moves.copy(experiment_name, experiment_name, *args)
        copy = Rest(moves.dst.uri).run(id_map(moves.report)[run_id])
        assert copy["info"]["lifecycle_stage"] == "deleted"


def test_killed_while_it_writes_mlmodel_files_anew(source: Source, moves: Moves, experiment_name: str) -> None:
    """Ids of the same length make files of the same size: what is to be done must not be forgotten."""
    run_id = source.run("r")
    source.put(run_id, "model/MLmodel", f"run_id: {run_id}\n".encode())
    moves.export(experiment_name)
    with Proxy(moves.dst.uri) as proxy:
        there, moves.dst = moves.dst, At(proxy.uri)
        moves.load(experiment_name)
        command = (
            "import-experiment", "--experiment-name", experiment_name, "--input-dir", moves.home / "export",
            "--report-dir", moves.report, "--mlmodel-fix", "False",
        )  # fmt: skip
        assert run_killed(proxy, command, "PUT", "*/MLmodel", 1, when="before") == ""
        assert moves.load(experiment_name, "--mlmodel-fix", "False")["run"] == {"updated": 1}
    rest = Rest(there.uri)
    assert rest.run_file(id_map(moves.report)[run_id], "model/MLmodel") == f"run_id: {run_id}\n".encode()


def test_the_destination_by_another_spelling(source: Source, moves: Moves, experiment_name: str) -> None:
    """What changes at the source follows, also if the destination's address now ends with a slash."""
    run_id = source.run("r", tags={"k": "1"})
    moves.export(experiment_name)
    moves.load(experiment_name)
    source.tag(run_id, "k", "2")
    moves.export(experiment_name)
    moves.dst = At(moves.dst.uri + "/")
    assert moves.load(experiment_name)["run"] == {"updated": 1}
    # without the id map nobody can tell which side has changed
    source.tag(run_id, "k", "3")
    moves.export(experiment_name)
    moves.report = moves.home / "other report"
    assert moves.load(experiment_name)["run"] == {"differs": 1}
    assert moves.reason(run_id) == (
        "left alone, as no earlier import is on record that could tell which side has changed: tag k"
    )


def test_a_logged_model_deleted_at_the_destination(source: Source, moves: Moves, experiment_name: str) -> None:
    """It is not made a second time, whatever the report directory knows."""
    run_id = source.run("r")
    model_id = source.model(run_id, "m")
    moves.export(experiment_name)
    moves.load(experiment_name)
    rest = Rest(moves.dst.uri)
    copy = id_map(moves.report, "logged_model")[model_id]
    rest.call("DELETE", f"/api/2.0/mlflow/logged-models/{copy}")
    tags = [{"key": "k", "value": "v"}]
    source.rest.patch(f"logged-models/{model_id}/tags", {"model_id": model_id, "tags": tags})
    moves.export(experiment_name)
    for report in (moves.report, moves.home / "other report"):
        moves.report = report
        for args in ((), ("--on-destination-change", "overwrite"), ("--recheck", "full")):
            assert moves.load(experiment_name, *args)["logged_model"] == {"differs": 1}
            assert "deleted at the destination, where it can't be restored" in moves.reason(model_id)
        assert rest.logged_models(rest.experiment(experiment_name)["experiment_id"]) == []
