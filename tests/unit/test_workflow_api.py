"""Runs of Databricks jobs, submitted to a server that answers as the Jobs API does."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
from click.testing import CliRunner

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, Refused
from mlflow_migration.common.umbrella import load
from mlflow_migration.workflow_api import WorkflowApiClient
from mlflow_migration.workflow_api.run_submit import run
from tests.support.stub import Reply, Request, Stub, error

NOTEBOOK = {"notebook_task": {"notebook_path": "/Shared/n", "base_parameters": {"1. Run ID": "7"}}}
SPEC = {"run_name": "r", "tasks": [{"task_key": "main", **NOTEBOOK, "existing_cluster_id": "c-1"}]}
RUNNING = {"life_cycle_state": "RUNNING", "state_message": "In run"}
DONE = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
FAILED = {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "state_message": "the cluster is gone"}


class Jobs:
    """A workspace whose run and cluster pass through the given states, the last of which stays."""

    def __init__(self) -> None:
        self.runs: List[Dict[str, Any]] = [{"state": DONE}]
        self.clusters: List[Dict[str, Any]] = [{"state": "RUNNING", "state_message": ""}]
        self.submitted: Dict[str, Any] = {}
        self.failures = 0
        self.stub = Stub(self.answer)

    def answer(self, request: Request) -> Optional[Reply]:
        if request.headers.get("Authorization") != "Bearer token-a":
            return error(401, "UNAUTHENTICATED", "no")
        if request.path == "/api/2.1/jobs/runs/submit":
            # the same token is the same run
            self.submitted[request.json["idempotency_token"]] = request.json
            if self.failures:
                self.failures -= 1
                return None
            return Reply({"run_id": 41 + len(self.submitted)})
        if request.path == "/api/2.1/jobs/runs/get":
            assert request.query == {"run_id": ["42"]}
            return Reply({"run_id": 42, "run_page_url": "https://here/run/42", **self._next(self.runs)})
        if request.path == "/api/2.1/clusters/get":
            return Reply({"cluster_id": request.query["cluster_id"][0], **self._next(self.clusters)})
        return error(404, "ENDPOINT_NOT_FOUND", "no such route")

    @staticmethod
    def _next(states: List[Dict[str, Any]]) -> Dict[str, Any]:
        return states.pop(0) if len(states) > 1 else states[0]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    made = Jobs()
    with made.stub as stub:
        config = tmp_path / "databrickscfg"
        config.write_text(
            f"[DEFAULT]\nhost = {_default(stub)}\ntoken = token-b\n[a]\nhost = {stub.uri}\ntoken = token-a\n"
        )
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(config))
        yield made


def _default(stub: Stub) -> str:
    return stub.uri.replace("127.0.0.1", "localhost")


def client(**options: Any) -> WorkflowApiClient:
    return WorkflowApiClient("a", **{"sleep_seconds": 0, **options})


@pytest.fixture
def spec_file(tmp_path: Path) -> Callable[..., str]:
    def write(spec: Any = SPEC, name: str = "run.json") -> str:
        (tmp_path / name).write_text(spec if isinstance(spec, str) else json.dumps(spec))
        return str(tmp_path / name)

    return write


def test_a_run_is_submitted_and_waited_for(jobs: Jobs) -> None:
    cluster = {"tasks": [{"task_key": "main", "cluster_instance": {"cluster_id": "c-1"}}]}
    jobs.runs = [{"state": {"life_cycle_state": "PENDING"}}, {"state": RUNNING, **cluster}, {"state": DONE, **cluster}]
    jobs.clusters = [{"state": "PENDING"}, {"state": "RUNNING", "state_message": "up", "cores": 4}]
    workflow = client()
    run_id = workflow.run_submit(SPEC)["run_id"]
    assert run_id == 42
    assert workflow.wait_until_cluster_is_created_for_run(run_id) == "c-1"
    assert workflow.wait_until_cluster_is_running("c-1") == {"state": "RUNNING", "state_message": "up"}
    assert workflow.wait_until_run_is_done(run_id) == DONE
    assert workflow.get_run_state(run_id) == DONE
    assert workflow.get_run(run_id)["run_page_url"] == "https://here/run/42"
    (sent,) = jobs.submitted.values()
    assert {key: value for key, value in sent.items() if key != "idempotency_token"} == SPEC
    assert repr(workflow) == "WorkflowApiClient(databricks://a)"


def test_a_submission_that_breaks_off_starts_one_run(jobs: Jobs) -> None:
    jobs.failures = 1
    assert client().run_submit(SPEC)["run_id"] == 42
    assert [request.path for request in jobs.stub.requests].count("/api/2.1/jobs/runs/submit") == 2
    assert len(jobs.submitted) == 1


def test_a_token_of_the_spec_is_kept(jobs: Jobs) -> None:
    client().run_submit({**SPEC, "idempotency_token": "mine"})
    assert list(jobs.submitted) == ["mine"]


def test_a_spec_of_the_older_api(jobs: Jobs) -> None:
    cluster = {"spark_version": "15.4.x-scala2.12", "num_workers": 1}
    old = {"run_name": "r", "timeout_seconds": 60, **NOTEBOOK, "new_cluster": cluster, "libraries": []}
    client().run_submit(old)
    (sent,) = jobs.submitted.values()
    sent.pop("idempotency_token")
    task = {"task_key": "main", **NOTEBOOK, "new_cluster": cluster, "libraries": []}
    assert sent == {"run_name": "r", "timeout_seconds": 60, "tasks": [task]}


def test_a_spec_of_nothing(jobs: Jobs) -> None:
    with pytest.raises(BadInput, match="no tasks"):
        client().run_submit({"run_name": "r", "existing_cluster_id": "c-1"})
    assert not jobs.submitted


def test_a_run_that_ends_without_a_cluster(jobs: Jobs) -> None:
    jobs.runs = [{"state": {"life_cycle_state": "PENDING"}}, {"state": FAILED}]
    with pytest.raises(MlflowExportImportException, match="without a cluster: INTERNAL_ERROR, FAILED, the cluster is"):
        client().wait_until_cluster_is_created_for_run(42)


def test_a_cluster_that_ends(jobs: Jobs) -> None:
    jobs.clusters = [{"state": "PENDING"}, {"state": "TERMINATED", "state_message": "no quota"}]
    with pytest.raises(MlflowExportImportException, match="c-1 does not run: TERMINATED. no quota"):
        client().wait_until_cluster_is_running("c-1")


def test_waits_have_a_limit(jobs: Jobs) -> None:
    jobs.runs, jobs.clusters = [{"state": RUNNING}], [{"state": "PENDING"}]
    workflow = client(sleep_seconds=0.01, timeout_seconds=0.05)
    for wait, what in (
        (workflow.wait_until_run_is_done, "the end of run 42"),
        (workflow.wait_until_cluster_is_created_for_run, "the cluster of run 42"),
        (workflow.wait_until_cluster_is_running, "cluster 42 to run"),
    ):
        with pytest.raises(MlflowExportImportException, match=f"Waited 0.05 seconds in vain for {what}"):
            wait(42)  # type: ignore[arg-type]


def test_a_timeout_function_of_the_callers(jobs: Jobs) -> None:
    told: List[str] = []

    def later(message: str) -> None:
        told.append(message)
        jobs.runs = [{"state": DONE}]

    jobs.runs = [{"state": RUNNING}]
    workflow = client(sleep_seconds=0.01, timeout_seconds=0.03, timeout_func=later)
    assert workflow.wait_until_run_is_done(42) == DONE
    assert told == ["Waited 0.03 seconds in vain for the end of run 42."]


def test_states_are_logged(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mlflow_migration"):
        client(verbose=False).wait_until_run_is_done(42)
        assert "run 42" not in caplog.text
        client().wait_until_run_is_done(42)
    assert "run 42: TERMINATED" in caplog.text
    assert "token-a" not in caplog.text


def test_the_default_profile_has_its_own_host(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile is asked as that profile; nothing of it goes to the default one, or the other way round."""
    assert WorkflowApiClient().connection.url == _default(jobs.stub)
    monkeypatch.setenv("DATABRICKS_TOKEN", "token-c")
    assert client().run_submit(SPEC)["run_id"] == 42
    with pytest.raises(BadInput, match="nowhere"):
        WorkflowApiClient("nowhere")


def test_run_returns_the_run_at_its_end(
    jobs: Jobs, spec_file: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = {"cluster_instance": {"cluster_id": "c-1"}}
    jobs.runs = [{"state": RUNNING}, {"state": RUNNING, **cluster}, {"state": {**DONE, "state_message": "well"}}]
    with caplog.at_level(logging.INFO, "mlflow_migration"):
        done = run("a", spec_file(), sleep_seconds=0, timeout_seconds=30)
    assert (done["run_id"], done["state"]["result_state"]) == (42, "SUCCESS")
    for text in ("has the cluster c-1", "Run 42: SUCCESS", "well", "https://here/run/42"):
        assert text in caplog.text


def test_run_without_a_cluster(jobs: Jobs, spec_file: Callable[..., str]) -> None:
    """A serverless run has none to wait for."""
    serverless = spec_file("tasks:\n- task_key: main\n  notebook_task: {notebook_path: /n}\n", "run.yaml")
    assert run("a", serverless, sleep_seconds=0)["state"] == DONE


@pytest.mark.parametrize("text", ["[1]", "{", None])
def test_a_spec_that_is_none(jobs: Jobs, spec_file: Callable[..., str], tmp_path: Path, text: Optional[str]) -> None:
    path = str(tmp_path / "missing.json") if text is None else spec_file(text)
    with pytest.raises(BadInput, match="of --spec-file"):
        run("a", path)


@pytest.mark.parametrize(("state", "status"), [(DONE, 0), (FAILED, 1)])
def test_the_command_ends_as_the_run(
    jobs: Jobs, spec_file: Callable[..., str], state: Dict[str, Any], status: int
) -> None:
    jobs.runs = [{"state": state, "cluster_instance": {"cluster_id": "c-1"}}]
    args = ["--profile", "a", "--spec-file", spec_file(), "--sleep-seconds", "0", "--quiet"]
    assert CliRunner().invoke(load("run_submit"), args).exit_code == status


def test_the_command_has_a_limit(jobs: Jobs, spec_file: Callable[..., str]) -> None:
    jobs.runs = [{"state": RUNNING, "cluster_instance": {"cluster_id": "c-1"}}]
    args = ["--profile", "a", "--spec-file", spec_file(), "--sleep-seconds", "0.01", "--timeout-seconds", "0.05"]
    result = CliRunner().invoke(load("run_submit"), args)
    assert result.exit_code == 1
    assert "in vain" in result.output


def test_what_a_workspace_refuses(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "databrickscfg").write_text(f"[a]\nhost = {jobs.stub.uri}\ntoken = token-wrong\n")
    with pytest.raises(Refused, match="does not accept the credentials"):
        client().run_submit(SPEC)
