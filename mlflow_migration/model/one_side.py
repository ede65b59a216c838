"""Opens what a command with one side works on: the server with the runs, and the one with the model registry."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Tuple

from mlflow_migration.client.registry import Registry
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.job import Job
from mlflow_migration.common.rights import check_registry_rights, check_rights
from mlflow_migration.run.export_run import note_databricks_options


@contextmanager
def one_side(job: Job, options: Mapping[str, Any], side: str) -> Iterator[Tuple[Tracking, Registry]]:
    """Give both, and say what may be missing for lack of rights.

    :param options: Those of the command.
    :param side: ``src`` for an export, ``dst`` for an import.
    :raises BadInput: One can't be reached, or ``--require-admin`` is given and not all is known to be visible.
    """
    action, dry_run = ("read" if side == "src" else "write"), side == "dst" and job.dry_run
    workers, require_admin = options["workers"], options["require_admin"]
    with open_tracking(options["tracking_uri"], side, workers=workers, dry_run=dry_run) as tracking:
        with open_registry(tracking, options["registry_uri"], side, workers=workers, dry_run=dry_run) as registry:
            check_rights(tracking, job.ledger, require_admin, action)
            check_registry_rights(registry, job.ledger, require_admin, action)
            note_databricks_options(job, options)
            yield tracking, registry
