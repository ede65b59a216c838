"""Models of a workspace's registry become models of Unity Catalog: of the same workspace, and of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

from tests.databricks.clients import MLMODEL
from tests.databricks.standin.server import StandIn
from tests.support.moves import counts_of
from tests.support.scripts import Result

API = "/api/2.0/mlflow"
UNITY = f"{API}/unity-catalog"


def made(workspace: StandIn, home: Path) -> str:
    """Register a version of a run's model, in a stage, with an alias; return the run's id."""
    experiment = workspace.call("POST", f"{API}/experiments/create", name="/Shared/wine")["experiment_id"]
    run = workspace.call("POST", f"{API}/runs/create", experiment_id=experiment, start_time=1)["run"]["info"]
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    (home / "model").mkdir()
    (home / "model" / "MLmodel").write_text(MLMODEL)
    (home / "model" / "data.bin").write_bytes(b"data")
    get_artifact_repository(run["artifact_uri"]).log_artifacts(str(home / "model"), "model")
    workspace.call("POST", f"{API}/registered-models/create", name="wine")
    source = {"source": f"{run['artifact_uri']}/model", "run_id": run["run_id"], "description": "first"}
    workspace.call("POST", f"{API}/model-versions/create", name="wine", **source)
    stage = {"stage": "Production", "archive_existing_versions": False}
    workspace.call("POST", f"{API}/model-versions/transition-stage", name="wine", version="1", **stage)
    return str(run["run_id"])


def version_of(workspace: StandIn, name: str, number: str = "1") -> Dict[str, Any]:
    return workspace.call("GET", f"{UNITY}/model-versions/get", name=name, version=number)["model_version"]


def test_from_a_workspace(
    workspace: StandIn,
    second_workspace: StandIn,
    config_env: Dict[str, str],
    run_script: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    """Shallow within the workspace, deep into another, and from catalog to catalog; tokens stay on their side."""
    for name, value in workspace.env().items():
        monkeypatch.setenv(name, value)
    run_id = made(workspace, tmp_path)
    args = ("--report-dir", tmp_path / "report", "--src-model", "wine", "--src-version", "1")
    near = ("--src-registry-uri", "databricks://ONE", "--dst-registry-uri", "databricks-uc://ONE")
    names = ("--copy-stages-and-aliases", "--copy-lineage-tags")
    more = (*args, "--dst-model", "main.default.wine", *names)
    assert counts_of(run_script("copy-model-version", *near, *more, env=config_env))["model_version"] == {"copied": 1}
    made_version = version_of(workspace, "main.default.wine")
    tags = {tag["key"]: tag["value"] for tag in made_version["tags"]}
    assert (made_version["status"], made_version["run_id"]) == ("READY", run_id)
    assert tags["mlflow_exim_stage"] == "Production" and tags["mlflow_exim_src_version_name"] == "wine"

    far = ("--src-registry-uri", "databricks-uc://ONE", "--dst-registry-uri", "databricks-uc://TWO")
    uris = ("--src-mlflow-uri", "databricks://ONE", "--dst-mlflow-uri", "databricks://TWO")
    deep = ("--src-model", "main.default.wine", "--dst-model", "main.prod.wine", "--dst-experiment-name", "/Shared/uc")
    copied = run_script("copy-model", *uris, *far, *deep, "--report-dir", tmp_path / "report", env=config_env)
    assert counts_of(copied)["model_version"] == {"copied": 1}
    assert version_of(second_workspace, "main.prod.wine")["status"] == "READY"
    (tmp_path / "renames.csv").write_text("main.default.wine,main.prod.wine\n")
    check = ("--models", "main.default.wine", "--model-rename-file", tmp_path / "renames.csv", "--depth", "full")
    where = ("--report-dir", tmp_path / "report")
    found = run_script("verify-migration", *uris, *far, *check, *where, env=config_env)
    assert "model_version" in found.stdout, found
    assert {r["token"] for r in second_workspace.requests()} <= {"token-admin-two", None}
    assert {r["token"] for r in workspace.requests()} <= {"token-admin-one", None}
