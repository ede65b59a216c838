"""All kinds of objects that one rule exports and imports, in the order in which they need each other."""

from __future__ import annotations

from typing import AbstractSet, Any, Mapping, Sequence

from mlflow_migration.access.access import PERMISSIONS, ROLES, USERS
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.kinds import (
    COMING,
    Kind,
    Recorded,
    export_kind,
    file_of,
    folder_of,
    import_kind,
    leave_out,
)
from mlflow_migration.gateway.kinds import AFTER_SCORERS, ENDPOINTS
from mlflow_migration.issue.issues import ISSUES
from mlflow_migration.label_schema.label_schemas import LABEL_SCHEMAS
from mlflow_migration.mcp_server.mcp_servers import MCP_SERVERS
from mlflow_migration.review_queue.review_queues import REVIEW_QUEUES
from mlflow_migration.scorer.scorers import SCORERS
from mlflow_migration.server_job.server_jobs import JOBS
from mlflow_migration.webhook.webhooks import WEBHOOKS

# what is made from others, and what users may do with an object, comes after these
KINDS: Sequence[Kind] = (
    *ENDPOINTS, SCORERS, *AFTER_SCORERS, ISSUES, LABEL_SCHEMAS, REVIEW_QUEUES, WEBHOOKS, MCP_SERVERS, USERS, ROLES,
    PERMISSIONS,
)  # fmt: skip
_ALL: Sequence[Recorded] = (*KINDS, JOBS)


def export_kinds(
    tracking: Tracking, job: Job, directory: ExportDir, script: str, listed: AbstractSet[str]
) -> None:
    """Export the objects of all kinds, each into a folder of its own, and record each object.

    :param directory: That of the whole export.
    :param script: Name of the command, for the files.
    :param listed: The experiments that the command has listed.
    """
    for outcome in job.executor.imap(
        lambda kind: export_kind(kind, tracking, job, directory.sub(folder_of(kind)), script, listed), _ALL
    ):
        if outcome.error is not None:
            job.failed(outcome.item.name, None, outcome.error)


def has_kinds(directory: ExportDir) -> bool:
    """Tell whether an export has objects of any of these kinds."""
    return any(directory.sub(folder_of(kind)).exists(file_of(kind)) for kind in _ALL)


def import_kinds(tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any], id_map: IdMap) -> None:
    """Import the objects of all kinds that an export has, and record each.

    :param directory: That of the whole export.
    :param options: Those of the command.
    """
    options = {**options, COMING: job.dry_run}

    def load(kind: Kind) -> None:
        import_kind(kind, tracking, job, directory.sub(folder_of(kind)), options, id_map)

    for kind in KINDS:
        if not directory.sub(folder_of(kind)).exists(file_of(kind)):
            continue
        job.ledger.phase(f"importing {kind.plural.replace('_', ' ')}")
        done = job.executor.gather(load, [kind])[0]
        if done.error is not None:
            job.failed(kind.name, None, done.error)
    place = directory.sub(folder_of(JOBS))
    if place.exists(file_of(JOBS)):
        leave_out(JOBS, job, place, JOBS.why)
