"""Imports webhooks from a directory."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import import_kind_function, import_kind_script
from mlflow_migration.webhook.webhooks import WEBHOOKS


def import_webhooks(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    activate: bool = False,
    on_destination_change: str = "keep",
    report_dir: Optional[str] = None,
    workers: int = 8,
) -> Dict[str, int]:
    """Import webhooks; they arrive switched off.

    :param input_dir: Directory of the export.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param activate: Let those work that worked at the source.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param report_dir: Directory for ledger and id map.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "activate": activate,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    return import_kind_function(WEBHOOKS, input_dir, report_dir, options, mlflow_client)


@command(
    "import-webhooks", "tracking_uri", "input_dir", "activate", "on_destination_change", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return import_kind_script(WEBHOOKS, options)


if __name__ == "__main__":
    main()
