"""A client of Databricks jobs: submits a one-time run and waits for its cluster and its end.

Fields are those of the Jobs API 2.1 (https://docs.databricks.com/api/workspace/jobs) and the Clusters API 2.1.
"""

from __future__ import annotations

import logging
import sys
import time
import uuid
from typing import Any, Callable, Dict, Mapping, Optional, TypeVar

from mlflow_migration.client.credentials import connect
from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.common import log

Json = Dict[str, Any]
T = TypeVar("T")

JOBS_API = "/api/2.1/jobs"
CLUSTERS_API = "/api/2.1/clusters"

# RunLifeCycleState: a run in one of these goes no further
_ENDED = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})
# State of a cluster: from one of these it does not come to run by itself
_CLUSTER_ENDED = frozenset({"TERMINATING", "TERMINATED", "ERROR", "UNKNOWN"})
_CLUSTER_RUNS = frozenset({"RUNNING", "RESIZING"})
# what stands in a spec beside its tasks; all else of a spec without tasks belongs to its only task
_OF_RUN = frozenset(
    {
        "run_name", "timeout_seconds", "idempotency_token", "access_control_list", "webhook_notifications",
        "notification_settings", "git_source", "health", "queue", "run_as", "budget_policy_id", "environments",
        "email_notifications", "usage_policy_id",
    }
)  # fmt: skip

_log = log.getLogger(__name__)


def raise_timeout(message: str) -> None:
    """Raise an error: what a client does by itself when it has waited for too long.

    :param message: What was waited for.
    :raises MlflowExportImportException: Always.
    """
    raise MlflowExportImportException(message)


class WorkflowApiClient:
    """Submits runs of jobs to a Databricks workspace, and waits for them.

    :param profile: Profile of ``~/.databrickscfg``; without it what MLflow's ``databricks`` means: the DATABRICKS_...
        variables, the default profile, or the workspace that the code runs in.
    :param sleep_seconds: Pause between two questions while something is waited for.
    :param timeout_seconds: The longest that one wait may take.
    :param timeout_func: Called with a sentence when a wait takes longer; if it returns, the wait goes on for as long
        again.
    :param verbose: Log each state that is seen.
    :raises BadInput: There are no credentials, or databricks-sdk is not installed.
    """

    def __init__(
        self,
        profile: Optional[str] = None,
        sleep_seconds: float = 2,
        timeout_seconds: float = sys.maxsize,
        timeout_func: Callable[[str], object] = raise_timeout,
        verbose: bool = True,
    ) -> None:
        self.connection = connect(f"databricks://{profile}" if profile else "databricks")
        self._rest = RestClient(self.connection, workers=1)
        self._sleep_seconds, self._timeout_seconds = sleep_seconds, timeout_seconds
        self._timeout_func, self._verbose = timeout_func, verbose

    def __repr__(self) -> str:
        return f"WorkflowApiClient({self.connection.uri})"

    def run_submit(self, spec: Mapping[str, Any]) -> Json:
        """Submit a one-time run.

        :param spec: As ``jobs/runs/submit`` of the API 2.1 takes it. One without ``tasks``, as the API 2.0 takes it, is
            made a run of one task.
        :return: The reply, with ``run_id``.
        :raises BadInput: The spec says neither what is to be run nor has tasks.
        :raises Refused: The workspace refuses it.
        """
        body = _with_tasks(spec)
        # with a token of its own the request may safely be sent again: the workspace starts one run for a token
        body.setdefault("idempotency_token", uuid.uuid4().hex)
        return self._rest.post(f"{JOBS_API}/runs/submit", body)

    def get_run(self, run_id: int) -> Json:
        """Return a run as ``jobs/runs/get`` gives it; times are ms since epoch."""
        return self._rest.get(f"{JOBS_API}/runs/get", {"run_id": run_id})

    def get_run_state(self, run_id: int) -> Json:
        """Return the state of a run: ``life_cycle_state``, ``state_message`` and, at its end, ``result_state``."""
        return dict(self.get_run(run_id).get("state") or {})

    def get_cluster_state(self, cluster_id: str) -> Json:
        """Return ``state`` and ``state_message`` of a cluster, from ``clusters/get``."""
        cluster = self._rest.get(f"{CLUSTERS_API}/get", {"cluster_id": cluster_id})
        return {key: cluster[key] for key in ("state", "state_message") if key in cluster}

    def wait_until_cluster_is_created_for_run(self, run_id: int) -> str:
        """Wait until a run has a cluster.

        :return: The cluster's id.
        :raises MlflowExportImportException: The run has ended without one, or the wait takes too long.
        """

        def look() -> Optional[str]:
            run = self.get_run(run_id)
            state = run.get("state") or {}
            self._seen(f"run {run_id}", str(state.get("life_cycle_state")))
            cluster_id = _cluster_of(run)
            if not cluster_id and state.get("life_cycle_state") in _ENDED:
                raise MlflowExportImportException(f"Run {run_id} has ended without a cluster: {_words(state)}")
            return cluster_id or None

        return self._wait(f"the cluster of run {run_id}", look)

    def wait_until_cluster_is_running(self, cluster_id: str) -> Json:
        """Wait until a cluster runs.

        :return: Its state.
        :raises MlflowExportImportException: It ends instead, or the wait takes too long.
        """

        def look() -> Optional[Json]:
            state = self.get_cluster_state(cluster_id)
            self._seen(f"cluster {cluster_id}", str(state.get("state")))
            if state.get("state") in _CLUSTER_ENDED:
                raise MlflowExportImportException(
                    f"Cluster {cluster_id} does not run: {state['state']}. {state.get('state_message') or ''}".rstrip()
                )
            return state if state.get("state") in _CLUSTER_RUNS else None

        return self._wait(f"cluster {cluster_id} to run", look)

    def wait_until_run_is_done(self, run_id: int) -> Json:
        """Wait until a run has ended, however it ends.

        :return: Its state; ``result_state`` is ``SUCCESS`` if all went well.
        :raises MlflowExportImportException: The wait takes too long.
        """

        def look() -> Optional[Json]:
            state = self.get_run_state(run_id)
            self._seen(f"run {run_id}", str(state.get("life_cycle_state")))
            return state if state.get("life_cycle_state") in _ENDED else None

        return self._wait(f"the end of run {run_id}", look)

    def _seen(self, what: str, state: str) -> None:
        _log.log(logging.INFO if self._verbose else logging.DEBUG, "%s: %s", what, state)

    def _wait(self, what: str, look: Callable[[], Optional[T]]) -> T:
        start = time.monotonic()
        while True:
            found = look()
            if found is not None:
                return found
            left = self._timeout_seconds - (time.monotonic() - start)
            if left <= 0:
                self._timeout_func(f"Waited {self._timeout_seconds} seconds in vain for {what}.")
                start = time.monotonic()
                continue
            time.sleep(min(self._sleep_seconds, left))


def _with_tasks(spec: Mapping[str, Any]) -> Json:
    """Return a spec of the API 2.1; one of the API 2.0 has the only task's fields beside those of the run."""
    if "tasks" in spec:
        return dict(spec)
    task = {key: value for key, value in spec.items() if key not in _OF_RUN}
    if not any(key.endswith("_task") for key in task):
        raise BadInput("The spec of a run has no tasks, and no task such as notebook_task.")
    return {**{key: value for key, value in spec.items() if key in _OF_RUN}, "tasks": [{"task_key": "main", **task}]}


def _cluster_of(run: Mapping[str, Any]) -> str:
    # a run of one task has it at both places, one of several only with its tasks
    places = [run, *(run.get("tasks") or ())]
    found = [str((place.get("cluster_instance") or {}).get("cluster_id") or "") for place in places]
    return next((cluster_id for cluster_id in found if cluster_id), "")


def _words(state: Mapping[str, Any]) -> str:
    parts = [state.get(key) for key in ("life_cycle_state", "result_state", "state_message")]
    return ", ".join(str(part) for part in parts if part)
