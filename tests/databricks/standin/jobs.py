"""Jobs and clusters: runs that are submitted once, and go their way by the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List

from tests.databricks.standin.platform import Call, Platform, Route, absent, invalid, now
from tests.databricks.standin.workspace import NOTEBOOK, Workspace


@dataclass
class JobRun:
    """A submitted run."""

    run_id: int
    spec: Dict[str, Any]
    creator: str
    tasks: List[Dict[str, Any]]
    notebook: str = ""
    cancelled: bool = False
    started: int = field(default_factory=now)


class Jobs:
    """The runs and their clusters; nothing is really run."""

    def __init__(self, platform: Platform, workspace: Workspace) -> None:
        """Nothing is submitted yet."""
        self._platform, self._workspace = platform, workspace
        self._runs: Dict[int, JobRun] = {}
        self._tokens: Dict[str, int] = {}

    def submit(self, call: Call) -> Dict[str, Any]:
        """POST jobs/runs/submit, in the form with tasks and in that of one task."""
        token = str(call.args.get("idempotency_token") or "")
        if token and token in self._tokens:
            return {"run_id": self._tokens[token]}
        tasks = call.args.get("tasks") or [call.args]
        for task in tasks:
            if not any(name.endswith("_task") for name in task):
                raise invalid("One of notebook_task, spark_jar_task, spark_python_task, ... must be specified.")
            if not task.get("existing_cluster_id") and not task.get("new_cluster") and "tasks" not in call.args:
                raise invalid("One of existing_cluster_id and new_cluster must be specified.")
        notebook = str(tasks[0].get("notebook_task", {}).get("notebook_path", ""))
        run_id = self._platform.new_id()
        kept = [{**task, "run_id": self._platform.new_id()} for task in tasks] if "tasks" in call.args else []
        self._runs[run_id] = JobRun(run_id, dict(call.args), call.user.name, kept, notebook)
        if token:
            self._tokens[token] = run_id
        return {"run_id": run_id}

    def _run(self, call: Call) -> JobRun:
        run_id = call.number("run_id", 0)
        for run in self._runs.values():
            if run_id == run.run_id or any(task["run_id"] == run_id for task in run.tasks):
                return run
        raise absent(f"Run {run_id} does not exist.")

    def _state(self, run: JobRun) -> Dict[str, Any]:
        passed = (now() - run.started) / 1000 / max(self._platform.settings.job_seconds, 0.001)
        if run.cancelled:
            return {"life_cycle_state": "TERMINATED", "result_state": "CANCELED", "state_message": "Run cancelled."}
        if passed < 1:
            return {"life_cycle_state": "PENDING", "state_message": "Waiting for cluster"}
        if run.notebook and not self._has_notebook(run.notebook):
            message = f"Notebook not found: {run.notebook}"
            return {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "state_message": message}
        if passed < 2:
            return {"life_cycle_state": "RUNNING", "state_message": "In run"}
        return {
            "life_cycle_state": "TERMINATED",
            "result_state": self._platform.settings.job_result,
            "state_message": "",
        }

    def _has_notebook(self, path: str) -> bool:
        node = self._workspace.nodes.get(path)
        return node is not None and node.kind == NOTEBOOK

    def _cluster(self, run: JobRun) -> str:
        tasks = run.tasks or [run.spec]
        return str(tasks[0].get("existing_cluster_id") or f"0101-000000-{run.run_id}")

    def get(self, call: Call) -> Dict[str, Any]:
        """GET jobs/runs/get."""
        run = self._run(call)
        state = self._state(run)
        has_cluster = state["life_cycle_state"] != "PENDING"
        common: Dict[str, Any] = {"state": state, "start_time": run.started}
        if has_cluster:
            common["cluster_instance"] = {"cluster_id": self._cluster(run)}
        if state["life_cycle_state"] in ("TERMINATED", "INTERNAL_ERROR"):
            common["end_time"] = now()
        return {
            **common,
            "run_id": run.run_id,
            "run_name": run.spec.get("run_name", "Untitled"),
            "run_type": "SUBMIT_RUN",
            "creator_user_name": run.creator,
            "run_page_url": f"{self._platform.url}/?o={self._platform.workspace_id}#job/run/{run.run_id}",
            **({"tasks": [{**task, **common} for task in run.tasks]} if run.tasks else {}),
        }

    def output(self, call: Call) -> Dict[str, Any]:
        """GET jobs/runs/get-output."""
        return {"metadata": self.get(call), "notebook_output": {"result": "done", "truncated": False}}

    def cancel(self, call: Call) -> Dict[str, Any]:
        """POST jobs/runs/cancel."""
        self._run(call).cancelled = True
        return {}

    def cluster(self, call: Call) -> Dict[str, Any]:
        """GET clusters/get."""
        wanted = call.need("cluster_id")
        states = {"PENDING": "PENDING", "RUNNING": "RUNNING"}
        for run in self._runs.values():
            if self._cluster(run) == wanted:
                state = states.get(self._state(run)["life_cycle_state"], "TERMINATED")
                return {"cluster_id": wanted, "state": state, "state_message": "", "num_workers": 1}
        raise invalid(f"Cluster {wanted} does not exist")


def routes(platform: Platform, workspace: Workspace) -> List[Route]:
    """All of them, in each version of the API."""
    jobs = Jobs(platform, workspace)
    kinds = [{"node_type_id": "i3.xlarge", "memory_mb": 31232, "num_cores": 4.0, "instance_type_id": "i3.xlarge"}]
    found: List[Route] = []
    for version in ("2.0", "2.1", "2.2"):
        runs, clusters = f"/api/{version}/jobs/runs", f"/api/{version}/clusters"
        found += [
            ("POST", f"{runs}/submit", jobs.submit),
            ("GET", f"{runs}/get", jobs.get),
            ("GET", f"{runs}/get-output", jobs.output),
            ("POST", f"{runs}/cancel", jobs.cancel),
            ("GET", f"{clusters}/get", jobs.cluster),
            ("GET", f"{clusters}/list-node-types", lambda _: {"node_types": kinds}),
        ]
    return found
