"""The experiment that objects are imported into, and what its name must be."""

from __future__ import annotations

import posixpath
from typing import Any, Dict, Mapping, Optional

from mlflow_migration.client.databricks import make_directory
from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.job import Job

Json = Dict[str, Any]


def check_experiment_name(tracking: Tracking, name: str) -> None:
    """Refuse a name that no experiment of the destination can have.

    :raises BadInput: It is a Databricks workspace, and the name no absolute path.
    """
    if tracking.is_databricks and (not name.startswith("/") or name.endswith("/")):
        last = posixpath.basename(name.rstrip("/")) or "name"
        raise BadInput(
            f"The experiment name '{name}' is no absolute path of a Databricks workspace, such as"
            f" /Users/mary@example.com/{last}: give another one, with --experiment-rename-file where many"
            " experiments are moved."
        )


def make_parent_directory(tracking: Tracking, name: str) -> None:
    """Make the directory of a Databricks workspace that an experiment is to be created in; nothing elsewhere.

    :param name: The experiment's name, which is its path.
    """
    folder = posixpath.dirname(name)
    if tracking.is_databricks and folder != "/":
        make_directory(tracking.rest, folder)


def destination_experiment(tracking: Tracking, job: Job, name: str, tags: Mapping[str, str]) -> Optional[Json]:
    """Return the destination's experiment, created if absent; None in a dry run that would create it.

    :param tags: Its tags if it is created.
    :raises BadInput: It is deleted, or can't have this name.
    """
    check_experiment_name(tracking, name)
    there = tracking.experiment_by_name(name)
    if there is not None and there.get("lifecycle_stage") == "deleted":
        raise BadInput(f"The destination's experiment '{name}' is deleted; restore it or name another one.")
    if there is None and not job.dry_run:
        make_parent_directory(tracking, name)
        there = tracking.experiment(tracking.create_experiment(name, tags))
        there["created"] = True
    return there
