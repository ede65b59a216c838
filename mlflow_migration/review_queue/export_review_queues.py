"""Exports review queues to a directory."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_kind_function, export_kind_script
from mlflow_migration.review_queue.review_queues import REVIEW_QUEUES


def export_review_queues(output_dir: str, mlflow_client: Any = None, *, workers: int = 8) -> Dict[str, int]:
    """Export the review queues of all active experiments, with their items.

    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The export can't start.
    """
    return export_kind_function(REVIEW_QUEUES, output_dir, mlflow_client, workers)


@command("export-review-queues", "tracking_uri", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    return export_kind_script(REVIEW_QUEUES, options)


if __name__ == "__main__":
    main()
