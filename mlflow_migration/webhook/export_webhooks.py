"""Exports webhooks to a directory."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_kind_function, export_kind_script
from mlflow_migration.webhook.webhooks import WEBHOOKS


def export_webhooks(output_dir: str, mlflow_client: Any = None, *, workers: int = 8) -> Dict[str, int]:
    """Export the webhooks of a server, without the secrets with which they sign.

    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The export can't start.
    """
    return export_kind_function(WEBHOOKS, output_dir, mlflow_client, workers)


@command("export-webhooks", "tracking_uri", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    return export_kind_script(WEBHOOKS, options)


if __name__ == "__main__":
    main()
