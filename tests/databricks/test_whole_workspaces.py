"""Whole servers: from an open source server into a workspace, on into another one, and back by way of a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest

from tests.databricks.standin.server import StandIn
from tests.databricks.test_tracking import MLMODEL, rename
from tests.support.compare_models import RegistryRest
from tests.support.compare_traces import assert_same_traces
from tests.support.make_traces import many
from tests.support.moves import Counts, Source, counts_of, point
from tests.support.scripts import Result
from tests.support.servers import Server

ONE, TWO = "databricks://ONE", "databricks://TWO"
#: the experiment "Default" too
THERE = {"experiment": 2, "run": 2, "trace": 4, "registered_model": 1, "model_version": 2}


@pytest.fixture(scope="module")
def workspace(empty_workspaces: Tuple[StandIn, StandIn]) -> StandIn:
    return empty_workspaces[0]


@pytest.fixture(scope="module")
def second_workspace(empty_workspaces: Tuple[StandIn, StandIn]) -> StandIn:
    return empty_workspaces[1]


def fill(server: Server) -> None:
    """Two runs, traces, and a registered model with a version of each run."""
    work, registry = Source(server, "churn"), RegistryRest(server.uri)
    many(work.rest, work.id, 4, 3, 1)
    registry.post("registered-models/create", {"name": "forest", "description": "trees"})
    for name in ("first", "second"):
        run_id = work.run(name, 1000, (point("loss", 0.5, 1),), tags={"mlflow.user": "alice"})
        work.put(run_id, "model/MLmodel", MLMODEL % run_id.encode())
        source = registry.run(run_id)["info"]["artifact_uri"] + "/model"
        registry.post("model-versions/create", {"name": "forest", "source": source, "run_id": run_id})


def test_there_and_back(
    server: Callable[..., Server],
    workspace: StandIn,
    second_workspace: StandIn,
    run_script: Callable[..., Result],
    config_env: Dict[str, str],
    tmp_path: Path,
) -> None:
    """All is there after each step, and a repeat writes nothing."""
    src, dst = server(), server()
    fill(src)
    renames = rename(tmp_path / "renames.csv", "churn,/Shared/churn", "Default,/Shared/Default")

    def run(*args: Any, **env: str) -> Counts:
        return counts_of(run_script(*args, env={**config_env, **env}))

    def are(counts: Counts, status: str) -> bool:
        """Whether all and only what there is ended so."""
        return {kind: counts[kind] for kind in THERE} == {kind: {status: n} for kind, n in THERE.items()}

    def same(frm: str, to: str, *args: Any) -> bool:
        sides = ("--src-mlflow-uri", frm, "--dst-mlflow-uri", to)
        return are(run("verify-migration", "--depth", "full", *sides, *args), "same")

    renaming = ("--experiment-rename-file", renames)
    into = ("copy-all", "--src-mlflow-uri", src.uri, "--dst-mlflow-uri", ONE, *renaming)
    assert are(run(*into, "--report-dir", tmp_path / "into"), "copied")
    assert are(run(*into, "--report-dir", tmp_path / "into"), "unchanged")
    assert are(run(*into, "--report-dir", tmp_path / "without id map"), "unchanged")
    assert same(src.uri, ONE, *renaming)

    on = ("copy-all", "--src-mlflow-uri", ONE, "--dst-mlflow-uri", TWO)
    assert are(run(*on, "--report-dir", tmp_path / "on"), "copied")
    assert same(ONE, TWO)

    out = run("export-all", "--output-dir", tmp_path / "export", MLFLOW_TRACKING_URI=TWO)
    assert are(out, "copied")
    load = ("import-all", "--input-dir", tmp_path / "export", "--report-dir", tmp_path / "back")
    assert are(run(*load, MLFLOW_TRACKING_URI=dst.uri), "copied")
    assert same(TWO, dst.uri)
    assert_same_traces((src.uri, "churn"), (dst.uri, "/Shared/churn"), links=False)
