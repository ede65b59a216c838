"""What comes out is what went in: everything that REST can hold goes through a directory, from and to each server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Tuple
from uuid import uuid4

import pytest

from benchmarks.make_data import START_TIME, create_run, end_run, log_metrics, make_everything
from tests.support.compare import RUN_KEY, assert_same, differences
from tests.support.reports import id_map, ledger, records, statuses, table
from tests.support.rest import Rest
from tests.support.scripts import Result, run_script
from tests.support.servers import Server

FIXTURES = {"2.9": "server_29", "2.22": "server_222"}
RUNS = 30  # of the experiment with everything, without those of logged models
MODEL_RUNS = 4
MODELS = 5


@dataclass
class Source:
    """The experiment with everything on one server, exported once."""

    server: Server
    name: str
    ids: Dict[str, str]
    directory: Path
    export: Result


@pytest.fixture(scope="module")
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    """Gives the exported experiment of a server by version."""
    made: Dict[str, Source] = {}

    def get(version: str) -> Source:
        if version not in made:
            server = request.getfixturevalue(FIXTURES.get(version, "src_server"))
            name = f"everything {uuid4().hex[:8]}"
            ids = make_everything(server.uri, name, deleted_models=version == "newest")
            directory = tmp_path_factory.mktemp("export")
            options = ("--tracking-uri", server.uri, "--experiment", name, "--output-dir", directory)
            export = run_script("export-experiment", *options, "--export-deleted-runs", cwd=directory)
            made[version] = Source(server, name, ids, directory, export)
        return made[version]

    return get


def destination(request: pytest.FixtureRequest, version: str) -> Server:
    server: Server = request.getfixturevalue(FIXTURES.get(version, "dst_server"))
    return server


@pytest.mark.parametrize(("src", "dst"), [("newest", "newest"), ("2.9", "newest"), ("2.22", "newest"), ("2.9", "2.22")])
def test_everything(
    src: str,
    dst: str,
    source: Callable[[str], Source],
    request: pytest.FixtureRequest,
    run_script: Callable[..., Result],
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """An experiment with everything arrives whole, and each object is accounted for."""
    there, to = source(src), destination(request, dst)
    has_models = src == "newest"
    runs, models = (RUNS + MODEL_RUNS, MODELS) if has_models else (RUNS, 0)
    done = run_script(
        "import-experiment", "--tracking-uri", to.uri, "--experiment-name", experiment_name,
        "--input-dir", there.directory, "--report-dir", tmp_path,
    )  # fmt: skip
    assert_same((there.server.uri, there.name), (to.uri, experiment_name))
    for result in (there.export, done):
        counts = table(result.stdout)
        assert counts["run"]["found"] == counts["run"]["copied"] == runs
        assert counts["experiment"]["copied"] == 1
        assert counts.get("logged_model", {}).get("copied", 0) == models
    mapped = {**id_map(tmp_path), **id_map(tmp_path, "logged_model"), **id_map(tmp_path, "experiment")}
    source_ids = {value for role, value in there.ids.items() if role != "experiment"}
    assert source_ids <= set(mapped) and not source_ids & set(mapped.values())
    assert statuses(tmp_path) == {i: "copied" for i in source_ids if not i.startswith("m-")}


def test_to_older_server(
    source: Callable[[str], Source], server_29: Server, tmp_path: Path, experiment_name: str
) -> None:
    """What an old server has no place for is said of each object, and all the rest arrives."""
    there = source("newest")
    done = run_script(
        "import-experiment", "--tracking-uri", server_29.uri, "--experiment-name", experiment_name,
        "--input-dir", there.directory, "--report-dir", tmp_path, check=1, cwd=tmp_path,
    )  # fmt: skip
    found = differences((there.server.uri, there.name), (server_29.uri, experiment_name))
    models = {value for role, value in there.ids.items() if role.startswith("model ") and value.startswith("m-")}
    known = [
        *(f"logged model {model}: the destination's server knows no logged models" for model in models),
        f"run {there.ids['values']} ('values'): param 'a/b.c-d e:f': missing ('odd')",
    ]
    assert sorted(found) == sorted(known)
    assert statuses(tmp_path, "logged_model") == dict.fromkeys(models, "failed")
    assert all("too old" in line["reason"] for line in records(tmp_path, "logged_model"))
    (value,) = records(tmp_path, "value")
    assert value["src_id"] == f"{there.ids['values']}/param/a/b.c-d e:f" and value["value"]["value"] == "odd"
    incomplete = {line["src_id"]: line for line in records(tmp_path, "run", "incomplete")}
    users = {there.ids[role] for role in ("trainer", "evaluator", "second evaluator", "values")}
    assert set(incomplete) == users
    assert incomplete[there.ids["values"]]["losses"] == ["values"]
    assert incomplete[there.ids["trainer"]]["losses"] == ["logged-models"]
    assert "too old to hold logged models" in done.stdout


def test_copy_experiment(
    source: Callable[[str], Source], dst_server: Server, tmp_path: Path, experiment_name: str
) -> None:
    """The same in one go, without a directory."""
    there = source("newest")
    done = run_script(
        "copy-experiment", "--src-mlflow-uri", there.server.uri, "--dst-mlflow-uri", dst_server.uri, "--experiment",
        there.ids["experiment"], "--experiment-name", experiment_name, "--export-deleted-runs", cwd=tmp_path,
    )  # fmt: skip
    assert_same((there.server.uri, there.name), (dst_server.uri, experiment_name))
    assert table(done.stdout)["run"]["copied"] == RUNS + MODEL_RUNS
    assert set(id_map(tmp_path / "mlflow-migration-report")) < set(there.ids.values())


# ---- runs alone


def move_run(server: Server, to: Server, run_id: str, name: str, home: Path, check: Any = True) -> None:
    directory = home / run_id
    run_script("export-run", "--tracking-uri", server.uri, "--run-id", run_id, "--output-dir", directory, cwd=home)
    run_script(
        "import-run", "--tracking-uri", to.uri, "--input-dir", directory, "--experiment-name", name,
        "--report-dir", home / "reports", check=check, cwd=home,
    )  # fmt: skip


def test_runs_in_any_order(
    source: Callable[[str], Source], dst_server: Server, tmp_path: Path, experiment_name: str
) -> None:
    """Runs that come one by one find their parents, and logged models the metrics that they got in other runs."""
    there = source("newest")
    ids = there.ids
    for role in ("level 3", "deleted leaf", "level 1", "level 4", "level 2", "level 0"):
        move_run(there.server, dst_server, ids[role], experiment_name, tmp_path)
    # the trainer's models were measured in runs that are yet to come
    move_run(there.server, dst_server, ids["trainer"], experiment_name, tmp_path, 1)
    assert records(tmp_path / "reports", "logged_model", "incomplete", ids["model best"])[0]["losses"] == ["values"]
    for role in ("evaluator", "second evaluator"):
        move_run(there.server, dst_server, ids[role], experiment_name, tmp_path, None)
    move_run(there.server, dst_server, ids["trainer"], experiment_name, tmp_path)
    moved = [ids[f"level {level}"] for level in range(5)]
    moved += [ids[role] for role in ("deleted leaf", "trainer", "evaluator", "second evaluator")]
    both = (there.server.uri, there.name), (dst_server.uri, experiment_name)
    assert_same(*both, only=moved, experiment=False)


def test_model_before_its_run(
    source: Callable[[str], Source], dst_server: Server, tmp_path: Path, experiment_name: str
) -> None:
    """A logged model that came without its run can't be given it later: that is said each time."""
    there = source("newest")
    ids = there.ids
    for role in ("evaluator", "trainer"):
        move_run(there.server, dst_server, ids[role], experiment_name, tmp_path, 1)
        (line,) = records(tmp_path / "reports", "logged_model", "incomplete", ids["model best"])
        assert "logged-models" in line["losses"] and f"its run {ids['trainer']} was not" in line["reason"]
    both = (there.server.uri, there.name), (dst_server.uri, experiment_name)
    found = differences(*both, only=[ids["evaluator"], ids["trainer"]], experiment=False)
    label = f"logged model {ids['model best']} ('my-model'): "
    assert len(found) == 3 and f"{label}source_run_id: " in found[0], found
    assert f"{label}metric: missing" in found[1] and f"{label}artifact 'MLmodel': line 'run_id: " in found[2]


def test_copy_run(source: Callable[[str], Source], dst_server: Server, tmp_path: Path, experiment_name: str) -> None:
    """copy-run keeps all of a run."""
    there = source("newest")
    moved = [there.ids[role] for role in ("values", "metrics", "artifacts", "deleted parent")]
    for run_id in moved:
        run_script(
            "copy-run", "--src-mlflow-uri", there.server.uri, "--dst-mlflow-uri", dst_server.uri, "--run-id", run_id,
            "--experiment-name", experiment_name, cwd=tmp_path,
        )  # fmt: skip
    src, dst = Rest(there.server.uri), Rest(dst_server.uri)
    # its parent was not copied, so that tag must be as it was
    assert src.run(moved[3])["data"]["tags"] and there.ids["level 0"] in str(
        [r["data"]["tags"] for r in dst.runs(dst.experiment(experiment_name)["experiment_id"])]
    )
    assert_same((there.server.uri, there.name), (dst_server.uri, experiment_name), only=moved, experiment=False)


# ---- a deleted experiment; what servers set themselves


def make_deleted_experiment(server: Server, name: str) -> Tuple[str, Dict[str, str]]:
    """A deleted experiment of which some runs are active."""
    rest = Rest(server.uri)
    tags = [{"key": "mlflow.note.content", "value": "note"}, {"key": "own", "value": "tag"}]
    experiment_id = rest.post("experiments/create", {"name": name, "tags": tags})["experiment_id"]
    ids: Dict[str, str] = {}
    for role in ("active", "deleted", "child", "deleted child"):
        parent = ids.get({"child": "deleted", "deleted child": "active"}.get(role, ""))
        run = create_run(
            rest, experiment_id, role, START_TIME, user_id="ann", tags={"mlflow.user": "bob"}, parent=parent
        )
        ids[role] = run["info"]["run_id"]
        log_metrics(rest, ids[role], [{"key": "m", "value": 1.5, "timestamp": START_TIME, "step": 2}])
        end_run(rest, ids[role])
    rest.post("experiments/delete", {"experiment_id": experiment_id})
    for role in ("active", "child"):
        rest.post("runs/restore", {"run_id": ids[role]})
    return experiment_id, ids


@pytest.mark.parametrize("src", ["newest", "2.9"])
def test_deleted_experiment(
    src: str, request: pytest.FixtureRequest, dst_server: Server, tmp_path: Path, experiment_name: str
) -> None:
    """A deleted experiment arrives deleted, with active and deleted runs."""
    server = request.getfixturevalue(FIXTURES.get(src, "src_server"))
    make_deleted_experiment(server, experiment_name)
    options = ("--tracking-uri", server.uri, "--experiment", experiment_name, "--output-dir", tmp_path / "export")
    refused = run_script("export-experiment", *options, check=2, cwd=tmp_path)
    assert "--export-deleted-experiments" in refused.stderr
    run_script("export-experiment", *options, "--export-deleted-experiments", cwd=tmp_path)
    importing = (
        "--tracking-uri", dst_server.uri, "--experiment-name", f"{experiment_name} copy",
        "--input-dir", tmp_path / "export",
    )  # fmt: skip
    run_script("import-experiment", *importing, cwd=tmp_path)
    both = (server.uri, experiment_name), (dst_server.uri, f"{experiment_name} copy")
    assert_same(*both)
    run_script("import-experiment", *importing, cwd=tmp_path)
    assert set(statuses(tmp_path / "export").values()) == {"unchanged"}
    assert_same(*both)


def test_source_tags(src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str) -> None:
    """What servers set themselves is kept in tags, if asked for, and always in the id map."""
    experiment_id, ids = make_deleted_experiment(src_server, experiment_name)
    run_script(
        "copy-experiment", "--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri,
        "--experiment", experiment_name, "--experiment-name", experiment_name, "--export-deleted-experiments",
        "--import-source-tags", "--use-src-user-id", "True", "--report-dir", tmp_path, cwd=tmp_path,
    )  # fmt: skip
    src, dst = Rest(src_server.uri), Rest(dst_server.uri)
    both = (src_server.uri, experiment_name), (dst_server.uri, experiment_name)
    assert_same(*both, ignore_tag_prefixes=("mlflow_exim.",), ignore_tags=("mlflow.user",))
    mapped = id_map(tmp_path)
    assert set(mapped) == set(ids.values())
    (line,) = [line for line in records(tmp_path, "experiment") if line["src_id"] == experiment_id]
    copy = dst.experiment(experiment_name)
    assert line["dst_id"] == copy["experiment_id"]
    for src_id, dst_id in mapped.items():
        info = src.run(src_id)["info"]
        tags = {tag["key"]: tag["value"] for tag in dst.run(dst_id)["data"]["tags"]}
        kept = {f"mlflow_exim.run_info.{field}": str(value) for field, value in info.items() if field != "run_uuid"}
        assert kept["mlflow_exim.run_info.run_id"] == src_id == tags[RUN_KEY]
        assert kept.items() <= tags.items()
        assert tags["mlflow_exim.mlflow_tag.user"] == "bob" and tags["mlflow.user"] == "ann"
    tags = {tag["key"]: tag["value"] for tag in copy["tags"]}
    original = src.experiment(experiment_name)
    for field in ("experiment_id", "name", "creation_time", "last_update_time", "artifact_location"):
        assert tags[f"mlflow_exim.field.{field}"] == str(original[field])
    assert tags["mlflow_exim.mlflow_tag.note.content"] == "note"
    assert ledger(tmp_path)
