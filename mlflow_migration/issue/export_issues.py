"""Exports issues to a directory."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_kind_function, export_kind_script
from mlflow_migration.issue.issues import ISSUES


def export_issues(output_dir: str, mlflow_client: Any = None, *, workers: int = 8) -> Dict[str, int]:
    """Export the issues of all active experiments.

    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The export can't start.
    """
    return export_kind_function(ISSUES, output_dir, mlflow_client, workers)


@command("export-issues", "tracking_uri", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    return export_kind_script(ISSUES, options)


if __name__ == "__main__":
    main()
