"""Exports a server's jobs to a directory, for the record."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_kind_function, export_kind_script
from mlflow_migration.server_job.server_jobs import JOBS


def export_jobs(output_dir: str, mlflow_client: Any = None, *, workers: int = 8) -> Dict[str, int]:
    """Export what a server knows of the jobs that it has run. Nothing imports it: to create a job would run it.

    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The export can't start.
    """
    return export_kind_function(JOBS, output_dir, mlflow_client, workers)


@command("export-jobs", "tracking_uri", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    return export_kind_script(JOBS, options)


if __name__ == "__main__":
    main()
