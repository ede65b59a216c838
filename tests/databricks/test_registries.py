"""Registered models of open-source servers go into Unity Catalog, out of it, and from one to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from mlflow.tracking import MlflowClient

from tests.databricks.standin.server import StandIn
from tests.databricks.unity import SIGNATURE, aliases, tags, versions
from tests.support import make_models
from tests.support.make_models import MLMODEL, Models
from tests.support.moves import Counts, counts_of
from tests.support.scripts import Result
from tests.support.servers import Server

ONE, TWO = "databricks-uc://ONE", "databricks-uc://TWO"


class Move:
    """Runs the scripts between two servers and the catalogs of two workspaces."""

    def __init__(self, run_script: Callable[..., Result], home: Path, env: Dict[str, str]) -> None:
        self.run_script, self.home, self.env = run_script, home, env

    def __call__(self, name: str, *args: Any, status: int = 0, **env: str) -> Counts:
        where = ("--report-dir", self.home / "report") if not name.startswith("export") else ()
        return counts_of(self.run_script(name, *args, *where, env={**self.env, **env}, check=status))

    def verify(self, src: str, dst: str, *args: Any, name: str, new: str, number: int) -> None:
        """Compare a model with its copy at full depth."""
        renames = self.home / "renames.csv"
        renames.write_text(f"{name},{new}\n", encoding="utf-8")
        which = ("--models", name, "--model-rename-file", renames, "--depth", "full")
        found = self("verify-migration", "--src-mlflow-uri", src, "--dst-mlflow-uri", dst, *which, *args)
        assert found["model_version"] == {"same": number}, found


@pytest.fixture
def move(run_script: Callable[..., Result], tmp_path: Path, config_env: Dict[str, str]) -> Move:
    return Move(run_script, tmp_path, config_env)


@pytest.fixture
def made(src_server: Server, experiment_name: str, monkeypatch: pytest.MonkeyPatch) -> Models:
    """A model of the source's registry with stages, aliases, tags and two versions that have signatures."""
    monkeypatch.setattr(make_models, "MLMODEL", MLMODEL + SIGNATURE)
    models = Models(src_server, experiment_name)
    run = models.run_with_model("model")
    given = [{"key": "team.name", "value": "a"}, {"key": "plain", "value": "b"}]
    models.version(f"{models.root(run)}/model", run, description="first", tags=given)
    models.gap(2)
    logged = models.logged(run, "logged")
    models.stage(models.version(f"models:/{logged}", run, logged, description="second"), "Production")
    models.alias("champion", "4")
    return models


def test_into_unity_catalog_and_on(
    move: Move,
    made: Models,
    src_server: Server,
    dst_server: Server,
    workspace: StandIn,
    second_workspace: StandIn,
) -> None:
    """From a registry with stages into one catalog, from there into another, and back into a plain registry."""
    src, dst, name, prod = src_server.uri, dst_server.uri, "main.default.on", "main.prod.on"
    uris = ("--src-mlflow-uri", src, "--dst-mlflow-uri", dst)
    command = ("copy-model", *uris, "--dst-registry-uri", ONE, "--src-model", made.name, "--dst-model", name)
    command = (*command, "--dst-experiment-name", f"{made.name} uc")
    assert move(*command)["model_version"] == {"copied": 2}
    there = versions(workspace, name)
    assert [(v["version"], v["status"]) for v in there] == [("1", "READY"), ("4", "READY")]
    assert aliases(workspace, name) == {"champion": "4"}
    assert tags(there[0])["team_name"] == "a" and tags(there[0])["plain"] == "b"
    assert "mlflow_exim_src_version_id" in tags(there[0]) and tags(there[1])["mlflow_exim_stage"] == "Production"
    move.verify(src, dst, "--dst-registry-uri", ONE, name=made.name, new=name, number=2)
    assert move(*command)["model_version"] == {"unchanged": 2}
    assert len(versions(workspace, name)) == 2
    assert not [r for r in workspace.requests() if r["path"].startswith("/store/") and r["token"]]

    between = ("--src-registry-uri", ONE, "--dst-registry-uri", TWO)
    args = ("--src-model", name, "--dst-model", prod, "--dst-experiment-name", f"{made.name} prod")
    swapped = ("--src-mlflow-uri", dst, "--dst-mlflow-uri", src)
    assert move("copy-model", *swapped, *between, *args)["model_version"] == {"copied": 2}
    assert [v["version"] for v in versions(second_workspace, prod)] == ["1", "4"]
    assert aliases(second_workspace, prod) == {"champion": "4"}
    move.verify(dst, src, *between, name=name, new=prod, number=2)

    back = f"{made.name} back"
    args = ("--src-registry-uri", ONE, "--src-model", name, "--dst-model", back, "--dst-experiment-name", back)
    assert move("copy-model", *swapped, *args)["model_version"] == {"copied": 2}
    found = {int(v.version): v.current_stage for v in MlflowClient(src).search_model_versions(f"name = '{back}'")}
    assert found == {1: "None", 4: "Production"}
    move.verify(dst, src, *args[:2], name=name, new=back, number=2)


def test_through_directories(
    move: Move,
    made: Models,
    src_server: Server,
    dst_server: Server,
    workspace: StandIn,
    second_workspace: StandIn,
    tmp_path: Path,
) -> None:
    """Bulk export and import, and one version; names of three parts are names of directories."""
    name, prod = "main.default.directories", "main.prod.directories"
    one = {"MLFLOW_TRACKING_URI": src_server.uri, "MLFLOW_REGISTRY_URI": ONE}
    two = {"MLFLOW_TRACKING_URI": dst_server.uri, "MLFLOW_REGISTRY_URI": TWO}
    move("export-model", "--model", made.name, "--output-dir", tmp_path / "old", MLFLOW_TRACKING_URI=src_server.uri)
    load = ("import-model", "--model", name, "--experiment-name", f"{made.name} uc", "--input-dir", tmp_path / "old")
    assert move(*load, **one)["model_version"] == {"copied": 2}
    move("export-models", "--models", name, "--output-dir", tmp_path / "models", **one)
    assert move("import-models", "--input-dir", tmp_path / "models", **two)["model_version"] == {"copied": 2}
    assert [v["version"] for v in versions(second_workspace, name)] == ["1", "4"]
    move("export-model-version", "--model", name, "--version", "4", "--output-dir", tmp_path / "one", **one)
    load = ("import-model-version", "--model", prod, "--create-model", "--experiment-name", f"{made.name} one")
    assert move(*load, "--input-dir", tmp_path / "one", **two)["model_version"] == {"copied": 1}
    assert [v["status"] for v in versions(second_workspace, prod)] == ["READY"]


def test_cut_off_and_without_signature(
    move: Move, src_server: Server, dst_server: Server, experiment_name: str, workspace: StandIn
) -> None:
    """A version without signature is refused before it takes a number; one that was cut off is completed."""
    models, name = Models(src_server, experiment_name), "main.default.cut_off"
    bare = models.run_with_model("model")
    models.version(f"{models.root(bare)}/model", bare)
    uris = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri, "--dst-registry-uri", ONE)
    command = ("copy-model", *uris, "--src-model", models.name, "--dst-model", name)
    command = (*command, "--dst-experiment-name", f"{models.name} uc")
    assert move(*command, status=1)["model_version"] == {"failed": 1}
    assert "set-model-signature" in (move.home / "report" / "ledger.jsonl").read_text()
    assert not versions(workspace, name)
    models.put(bare, "model/MLmodel", (MLMODEL + SIGNATURE).format(run_id=bare, model_id="").encode())
    workspace.control(fail_paths={"/store/unity/": 400})
    try:
        assert move(*command, "--recheck", "full", status=1)["model_version"] == {"incomplete": 1}
    finally:
        workspace.control(fail_paths={})
    assert [v["status"] for v in versions(workspace, name)] == ["PENDING_REGISTRATION"]
    assert move(*command)["model_version"] == {"updated": 1}
    assert [v["status"] for v in versions(workspace, name)] == ["READY"]
