"""The experiment that single objects are imported into."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.job import Job

Json = Dict[str, Any]


def destination_experiment(tracking: Tracking, job: Job, name: str, tags: Mapping[str, str]) -> Optional[Json]:
    """Return the destination's experiment, created if absent; None in a dry run that would create it.

    :param tags: Its tags if it is created.
    :raises BadInput: It is deleted.
    """
    there = tracking.experiment_by_name(name)
    if there is not None and there.get("lifecycle_stage") == "deleted":
        raise BadInput(f"The destination's experiment '{name}' is deleted; restore it or name another one.")
    if there is None and not job.dry_run:
        there = tracking.experiment(tracking.create_experiment(name, tags))
        there["created"] = True
    return there
