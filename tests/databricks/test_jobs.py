"""Runs of jobs, submitted to a stand-in of a workspace with one of the notebooks in it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.workflow_api import WorkflowApiClient
from tests.databricks.notebook_runner import NOTEBOOKS
from tests.databricks.standin.server import StandIn
from tests.support.servers import clean_environment

FOLDER = "/Shared/databricks_notebooks"
NOTEBOOK = f"{FOLDER}/Export_All"
SPEC = {
    "run_name": "export",
    "tasks": [
        {
            "task_key": "main",
            "notebook_task": {"notebook_path": NOTEBOOK, "base_parameters": {"1. Output directory": "/Volumes/a/b/c"}},
            "existing_cluster_id": "1128-080000-abcdefgh",
        }
    ],
}

Submit = Callable[..., Tuple[int, str]]


@pytest.fixture(scope="module")
def standin(workspace: StandIn) -> StandIn:
    """A workspace with a notebook."""
    content = (NOTEBOOKS / "bulk" / "Export_All.py").read_bytes()
    workspace.call("POST", "/api/2.0/workspace/mkdirs", path=FOLDER)
    workspace.call(
        "POST", "/api/2.0/workspace/import", path=NOTEBOOK, format="SOURCE", language="PYTHON",
        content=base64.b64encode(content).decode(),
    )  # fmt: skip
    workspace.control(job_seconds=0.3, job_result="SUCCESS")
    return workspace


@pytest.fixture
def submit(standin: StandIn, tmp_path: Path) -> Submit:
    """Runs the tool as a user does; its exit status, and what it printed."""

    def run(spec: Dict[str, Any], *args: str) -> Tuple[int, str]:
        (tmp_path / "run.json").write_text(json.dumps(spec))
        module = [sys.executable, "-u", "-m", "mlflow_migration.workflow_api.run_submit"]
        done = subprocess.run(
            [*module, "--profile", "MINE", "--spec-file", "run.json", "--sleep-seconds", "0.1", *args], cwd=tmp_path,
            env=clean_environment(standin.env(profile="MINE")), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_notebook_is_run(standin: StandIn, submit: Submit) -> None:
    standin.forget_requests()
    status, text = submit(SPEC, "--verbose")
    assert status == 0, text
    for words in ("has the cluster 1128-080000-abcdefgh", "PENDING", "RUNNING", "SUCCESS"):
        assert words in text
    sent: List[Dict[str, Any]] = [one for one in standin.requests() if "/jobs/" in one["path"]]
    assert [one["path"] for one in sent].count("/api/2.1/jobs/runs/submit") == 1
    assert {one["token"] for one in sent} == {standin.token_of("admin@example.com")}
    assert standin.token_of("admin@example.com") not in text


def test_a_notebook_that_is_not_there(submit: Submit) -> None:
    task = {**SPEC["tasks"][0], "notebook_task": {"notebook_path": f"{FOLDER}/Missing"}}  # type: ignore[dict-item]
    status, text = submit({"run_name": "export", "tasks": [task]})
    assert status == 1
    assert f"Notebook not found: {FOLDER}/Missing" in text


def test_a_spec_that_is_refused(submit: Submit) -> None:
    status, text = submit({"tasks": [{"task_key": "main"}]})
    assert status == 2
    assert "must be specified" in text


def test_a_run_that_takes_too_long(standin: StandIn, submit: Submit) -> None:
    standin.control(job_seconds=60)
    try:
        status, text = submit(SPEC, "--timeout-seconds", "0.5")
    finally:
        standin.control(job_seconds=0.3)
    assert status == 1
    assert "in vain for the cluster of run" in text


def test_step_by_step(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python, with the spec of one task that the API 2.0 took."""
    for name, value in standin.env(profile="MINE").items():
        monkeypatch.setenv(name, value)
    client = WorkflowApiClient("MINE", sleep_seconds=0.05, timeout_seconds=30)
    notebook = {"notebook_path": NOTEBOOK}
    spec = {"run_name": "old", "notebook_task": notebook, "new_cluster": {"spark_version": "15.4.x", "num_workers": 1}}
    run_id = client.run_submit(spec)["run_id"]
    cluster_id = client.wait_until_cluster_is_created_for_run(run_id)
    assert client.wait_until_cluster_is_running(cluster_id)["state"] == "RUNNING"
    assert client.wait_until_run_is_done(run_id)["result_state"] == "SUCCESS"
    assert client.get_run(run_id)["run_name"] == "old"
    with pytest.raises(MlflowExportImportException, match="does not run: TERMINATED"):
        client.wait_until_cluster_is_running(cluster_id)
