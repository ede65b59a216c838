"""Submits a one-time run of a Databricks job, and waits for its end."""

from __future__ import annotations

import sys
from typing import Any, Dict, Optional

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, describe
from mlflow_migration.common import log
from mlflow_migration.common.cli import EXIT_BAD, EXIT_OK, command
from mlflow_migration.common.io_utils import read_file
from mlflow_migration.workflow_api.workflow_api_client import WorkflowApiClient

_log = log.getLogger(__name__)


def run(
    profile: Optional[str],
    spec_file: str,
    sleep_seconds: float = 5,
    timeout_seconds: float = sys.maxsize,
    verbose: bool = False,
) -> Dict[str, Any]:
    """Submit a run, wait for its cluster and its end, and log its result.

    :param profile: Profile of ``~/.databrickscfg``; see :class:`WorkflowApiClient`.
    :param spec_file: JSON file, or YAML file ending with ``.yaml`` or ``.yml``; see
        :meth:`WorkflowApiClient.run_submit`.
    :param sleep_seconds: Pause between two questions while something is waited for.
    :param timeout_seconds: The longest that the cluster, its start, and the run may each take.
    :param verbose: Log each state that is seen.
    :return: The run as ``jobs/runs/get`` gives it at its end.
    :raises BadInput: The spec can't be read, or there are no credentials.
    :raises MlflowExportImportException: The workspace refuses the run, or something takes too long.
    """
    spec = _read(spec_file)
    client = WorkflowApiClient(profile, sleep_seconds, timeout_seconds, verbose=verbose)
    run_id = client.run_submit(spec)["run_id"]
    _log.info("Run %s has been submitted.", run_id)
    if _wants_cluster(spec):
        cluster_id = client.wait_until_cluster_is_created_for_run(run_id)
        _log.info("Run %s has the cluster %s.", run_id, cluster_id)
    client.wait_until_run_is_done(run_id)
    done = client.get_run(run_id)
    state = done.get("state") or {}
    _log.info("Run %s: %s", run_id, state.get("result_state") or state.get("life_cycle_state"))
    if state.get("state_message"):
        _log.info("%s", state["state_message"])
    if done.get("run_page_url"):
        _log.info("See %s", done["run_page_url"])
    return done


def _read(spec_file: str) -> Dict[str, Any]:
    try:
        spec = read_file(spec_file)
    except (OSError, ValueError, MlflowExportImportException) as ex:
        raise BadInput(f"The file {spec_file} of --spec-file can't be read: {describe(ex)}") from ex
    if not isinstance(spec, dict):
        raise BadInput(f"The file {spec_file} of --spec-file is no JSON object.")
    return spec


def _wants_cluster(spec: Dict[str, Any]) -> bool:
    """Tell whether a run gets a cluster of its own or one that is there; without either it is serverless."""
    kinds = ("new_cluster", "existing_cluster_id", "job_cluster_key")
    return any(kind in place for place in (spec, *(spec.get("tasks") or ())) for kind in kinds)


@command("run_submit", "profile", "spec_file", "sleep_seconds", "timeout_seconds", common=("quiet", "verbose"))
def main(**options: Any) -> int:
    """Run the tool."""
    done = run(
        options["profile"],
        options["spec_file"],
        options["sleep_seconds"],
        sys.maxsize if options["timeout_seconds"] is None else options["timeout_seconds"],
        options["verbose"],
    )
    return EXIT_OK if (done.get("state") or {}).get("result_state") == "SUCCESS" else EXIT_BAD


if __name__ == "__main__":
    main()
