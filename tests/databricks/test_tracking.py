"""Runs, experiments and logged models between open source servers and Databricks workspaces, both ways."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from tests.databricks.standin.server import StandIn, write_config
from tests.support.moves import Counts, Source, counts_of, point
from tests.support.reports import notes
from tests.support.scripts import Result
from tests.support.servers import Server

HOME = "/Users/admin@example.com"
NAME = "/Users/admin@example.com/team/churn"
PARTS = {"MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "5300000", "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "5242880"}
LARGE = os.urandom(1024) * 11_000  # three parts
MLMODEL = b"artifact_path: model\nflavors:\n  python_function:\n    loader_module: x\nrun_id: %s\n"

ALL_SAME = {"experiment": {"same": 1}, "run": {"same": 3}, "logged_model": {"same": 1}}


class Move:
    """Scripts that know both workspaces as profiles of one file, and nothing else."""

    def __init__(self, run_script: Callable[..., Result], env: Dict[str, str]) -> None:
        self._run, self._env = run_script, {**env, **PARTS}

    def run(self, *args: Any, status: int = 0, **env: str) -> Counts:
        """Run a script; returns the counts of its summary."""
        result = self._run(*args, env={**self._env, **env}, check=status)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def same(self, src: str, dst: str, *args: Any) -> Counts:
        """Compare all bytes and points: there must be no difference; returns what is the same."""
        sides = ("--src-mlflow-uri", uri_of(src), "--dst-mlflow-uri", uri_of(dst), "--export-deleted-runs")
        return self.run("verify-migration", "--depth", "full", *sides, *args)

    def fails(self, *args: Any, status: int = 2) -> str:
        """What a script says that does not work."""
        result = self._run(*args, env=self._env, check=status)
        return result.stdout + result.stderr


@pytest.fixture
def move(run_script: Callable[..., Result], config_env: Dict[str, str]) -> Move:
    return Move(run_script, config_env)


@pytest.fixture(scope="module")
def filled(server: Callable[..., Server]) -> Server:
    """An open source server with an experiment of nested and deleted runs, datasets, a logged model and artifacts."""
    src = server()
    work = Source(src, "churn")
    history = '[{"run_id": "x", "artifact_path": "model"}]'
    parent = work.run("parent", 1000, (point("loss", 0.5, 1), point("loss", 0.25, 2)), tags={"mlflow.user": "alice"})
    work.tag(parent, "mlflow.log-model.history", history)
    work.tag(parent, "team", "blue")
    for path, data in {"a.txt": b"text", "empty": b"", "deep/er/b \u00fc.bin": b"\x00\x01", "large": LARGE}.items():
        work.put(parent, path, data)
    child = work.run("child", 2000, (point("loss", "NaN", 1),), parent=parent, tags={"mlflow.user": "bob"})
    work.put(child, "model/MLmodel", MLMODEL % child.encode())
    model = work.model(child, "forest")
    uri = work.rest.get(f"logged-models/{model}")["model"]["info"]["artifact_uri"]
    work.rest.put_file(uri, "weights/w.bin", b"12345")
    work.delete(work.run("gone", 3000, tags={"mlflow.user": "alice"}))
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "s"}
    work.rest.post("runs/log-inputs", {"run_id": child, "datasets": [{"dataset": dataset, "tags": []}]})
    return src


@pytest.fixture(scope="module")
def arrived(
    filled: Server, workspace: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tuple[Server, StandIn, Path]]:
    """The experiment copied into the first workspace, and where the reports of that are."""
    from tests.support.scripts import run_script

    home = tmp_path_factory.mktemp("arrived")
    config = write_config(home / "databrickscfg", {"ONE": (workspace, "token-admin-one")})
    env = {"DATABRICKS_CONFIG_FILE": str(config), **PARTS}
    env.update({"MLFLOW_TRACKING_URI": filled.uri, "MLFLOW_TRACKING_TOKEN": "of-source"})
    counts = counts_of(run_script(*copy(filled.uri, "ONE", "churn"), "--report-dir", home / "report", env=env))
    assert counts["run"] == {"copied": 3} and counts["logged_model"] == {"copied": 1}
    yield filled, workspace, home / "report"


def copy(src: str, dst: str, name: str, new_name: str = NAME) -> Tuple[Any, ...]:
    """copy-experiment with all that it can take."""
    sides = ("--src-mlflow-uri", uri_of(src), "--dst-mlflow-uri", uri_of(dst))
    names = ("--experiment", name, "--experiment-name", new_name)
    return ("copy-experiment", *sides, *names, "--export-deleted-runs", "true")


def uri_of(place: str) -> str:
    """A profile's URI; others stay."""
    return place if "://" in place else f"databricks://{place}"


def rename(path: Path, *lines: str) -> Path:
    """A rename file."""
    path.write_text("\n".join(lines) + "\n")
    return path


def written(standin: StandIn) -> List[str]:
    """Requests that may have changed something."""
    asked = [one for one in standin.requests() if one["method"] != "GET"]
    reads = ("/search", "/credentials-for-read", "/credentials-for-download")
    return [f"{one['method']} {one['path']}" for one in asked if not one["path"].endswith(reads)]


def test_open_source_to_databricks(arrived: Tuple[Server, StandIn, Path], move: Move, tmp_path: Path) -> None:
    src, workspace, report = arrived
    names = rename(tmp_path / "names", f"churn,{NAME}")
    assert ALL_SAME == move.same(src.uri, "ONE", "--experiments", "churn", "--experiment-rename-file", names)
    assert any("mlflow_exim.mlflow_tag" in note for note in notes(report))
    found = workspace.call("GET", "/api/2.0/mlflow/experiments/get-by-name", experiment_name=NAME)["experiment"]
    runs = workspace.call("POST", "/api/2.0/mlflow/runs/search", experiment_ids=[found["experiment_id"]])["runs"]
    tags = {run["info"]["run_name"]: {tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs}
    assert tags["parent"]["mlflow.user"] == "admin@example.com"
    assert tags["parent"]["mlflow_exim.mlflow_tag.user"] == "alice"
    assert tags["parent"]["mlflow_exim.run_info.user_id"] == "alice"
    assert tags["parent"]["mlflow_exim.mlflow_tag.log-model.history"].startswith("[")


def test_what_went_where(arrived: Tuple[Server, StandIn, Path]) -> None:
    _, workspace, _ = arrived
    asked = [one for one in workspace.requests() if not one["path"].startswith("/.well-known/")]
    assert {one["token"] for one in asked if "/store/" not in one["path"]} <= {"token-admin-one"}
    stored = [one for one in asked if "/store/" in one["path"]]
    assert stored and all(not one["token"] and one["status"] < 300 for one in stored)
    assert [one for one in asked if one["path"].endswith("complete-multipart-upload")]
    missing = {one["path"] for one in asked if one["status"] == 404}
    assert not {path for path in missing if not path.endswith("/get-by-name")}


def test_a_repeat_writes_nothing(arrived: Tuple[Server, StandIn, Path], move: Move) -> None:
    src, workspace, report = arrived
    workspace.forget_requests()
    counts = move.run(*copy(src.uri, "ONE", "churn"), "--report-dir", report)
    assert counts["run"] == {"unchanged": 3} and counts["experiment"] == {"unchanged": 1}
    assert written(workspace) == []
    move.run(*copy(src.uri, "ONE", "churn"), "--report-dir", report.parent / "without-id-map")
    assert written(workspace) == []


def test_databricks_to_databricks(
    arrived: Tuple[Server, StandIn, Path], second_workspace: StandIn, move: Move, tmp_path: Path
) -> None:
    _, workspace, _ = arrived
    there = f"{HOME}/copies/churn"
    for standin in (workspace, second_workspace):
        standin.forget_requests()
    counts = move.run(*copy("ONE", "TWO", NAME, there), "--report-dir", tmp_path / "report")
    assert counts["run"] == {"copied": 3} and counts["logged_model"] == {"copied": 1}
    names = rename(tmp_path / "names", f"{NAME},{there}")
    assert ALL_SAME == move.same("ONE", "TWO", "--experiments", NAME, "--experiment-rename-file", names)
    second_workspace.forget_requests()
    assert move.run(*copy("ONE", "TWO", NAME, there), "--report-dir", tmp_path / "report")["run"] == {"unchanged": 3}
    assert written(second_workspace) == [] and written(workspace) == []
    for standin, token in ((workspace, "token-admin-one"), (second_workspace, "token-admin-two")):
        assert {one["token"] for one in standin.requests() if one["path"].startswith("/api/")} == {token}


def test_databricks_to_open_source(
    arrived: Tuple[Server, StandIn, Path], server: Callable[..., Server], move: Move, tmp_path: Path
) -> None:
    dst = server()
    export = ("export-experiments", "--experiments", NAME, "--output-dir", tmp_path / "out")
    move.run(*export, "--export-deleted-runs", "true", MLFLOW_TRACKING_URI="databricks://ONE")
    load = ("import-experiments", "--input-dir", tmp_path / "out", "--report-dir", tmp_path / "report")
    assert move.run(*load, MLFLOW_TRACKING_URI=dst.uri)["run"] == {"copied": 3}
    assert ALL_SAME == move.same("ONE", dst.uri, "--experiments", NAME)
    assert move.run(*load, MLFLOW_TRACKING_URI=dst.uri)["run"] == {"unchanged": 3}


def test_names_must_be_paths(filled: Server, workspace: StandIn, move: Move, tmp_path: Path) -> None:
    said = move.fails(*copy(filled.uri, "ONE", "churn", "churn"))
    assert "'churn' is no absolute path of a Databricks workspace" in said
    export = ("export-experiments", "--experiments", "churn", "--output-dir", tmp_path / "out")
    move.run(*export, MLFLOW_TRACKING_URI=filled.uri)
    load = ("import-experiments", "--input-dir", tmp_path / "out")
    workspace.forget_requests()
    counts = move.run(*load, status=1, MLFLOW_TRACKING_URI="databricks://ONE")
    assert counts["experiment"] == {"failed": 1}
    assert written(workspace) == []


def test_the_experiment_of_a_notebook(
    workspace: StandIn, second_workspace: StandIn, move: Move, tmp_path: Path
) -> None:
    path = f"{HOME}/note"
    content = base64.b64encode(b"# Databricks notebook source\n1\n").decode()
    workspace.call("POST", "/api/2.0/workspace/import", path=path, content=content, language="PYTHON", format="SOURCE")
    node = workspace.call("GET", "/api/2.0/workspace/get-status", path=path)["object_id"]
    tags = [
        {"key": "mlflow.experiment.sourceType", "value": "NOTEBOOK"},
        {"key": "mlflow.experiment.sourceId", "value": str(node)},
    ]
    made = workspace.call("POST", "/api/2.0/mlflow/experiments/create", name=path, tags=tags)["experiment_id"]
    workspace.call("POST", "/api/2.0/mlflow/runs/create", experiment_id=made, run_name="r", start_time=5)
    report = tmp_path / "report"
    assert move.run(*copy("ONE", "TWO", path, path), "--report-dir", report)["run"] == {"copied": 1}
    assert any("was that of a notebook" in note for note in notes(report))
    assert move.same("ONE", "TWO", "--experiments", path)["run"]["same"] == 1


def test_a_rate_limit_is_obeyed(
    arrived: Tuple[Server, StandIn, Path], second_workspace: StandIn, move: Move, tmp_path: Path
) -> None:
    second_workspace.forget_requests()
    second_workspace.control(rate_limit=15)
    try:
        counts = move.run(*copy("ONE", "TWO", NAME, f"{HOME}/slow"), "--report-dir", tmp_path / "report")
    finally:
        second_workspace.control(rate_limit=0)
    assert counts["run"] == {"copied": 3}
    assert [one for one in second_workspace.requests() if one["status"] == 429]


@pytest.mark.parametrize("root", ["dbfs:/mnt/team", "dbfs:/Volumes/main/default/team"])
def test_artifacts_outside_of_the_workspaces_own_store(
    filled: Server, workspace: StandIn, second_workspace: StandIn, move: Move, tmp_path: Path, root: str
) -> None:
    """Experiments whose root is in DBFS or in a volume: written, read, and the same."""
    place = root.split("/")[1]
    first, second = f"{HOME}/{place}", f"{HOME}/{place} again"
    for standin, name in ((workspace, first), (second_workspace, second)):
        body = {"name": name, "artifact_location": f"{root}/in {place}"}
        standin.call("POST", "/api/2.0/mlflow/experiments/create", **body)
        standin.forget_requests()
    counts = move.run(*copy(filled.uri, "ONE", "churn", first), "--report-dir", tmp_path / "one")
    assert counts["run"] == {"copied": 3}
    names = rename(tmp_path / "names", f"churn,{first}", f"{first},{second}")
    assert ALL_SAME == move.same(filled.uri, "ONE", "--experiments", "churn", "--experiment-rename-file", names)
    counts = move.run(*copy("ONE", "TWO", first, second), "--report-dir", tmp_path / "two")
    assert counts["run"] == {"copied": 3}
    assert ALL_SAME == move.same("ONE", "TWO", "--experiments", first, "--experiment-rename-file", names)
    files = sum(path.is_file() for path in workspace.root.joinpath("store", *root[6:].split("/")).rglob("*"))
    assert files == 6, "artifacts are elsewhere"


def test_traces_in_tables_are_not_lost_silently(workspace: StandIn, move: Move, tmp_path: Path) -> None:
    """Only a SQL warehouse reads them: that is said, and can be accepted."""
    name = f"{HOME}/in tables"
    made = workspace.call("POST", "/api/2.0/mlflow/experiments/create", name=name)["experiment_id"]
    tag = {"key": "mlflow.experiment.databricksTraceDestinationPath", "value": "main.default.traces"}
    workspace.call("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", experiment_id=made, **tag)
    export = ("export-experiment", "--tracking-uri", "databricks://ONE", "--experiment", name)
    said = move.fails(*export, "--output-dir", tmp_path / "out", status=1)
    assert "main.default.traces" in said and "SQL warehouse" in said
    counts = move.run(*export, "--output-dir", tmp_path / "accepted", "--accept-loss", "traces")
    assert counts["trace"] == {"skipped": 1}
