"""Imports the definitions of the gateway from a directory."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import import_group_function, import_group_script
from mlflow_migration.gateway.kinds import GATEWAY


def import_gateway(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    experiment_renames: Union[None, str, Mapping[str, str]] = None,
    activate: bool = False,
    on_destination_change: str = "keep",
    report_dir: Optional[str] = None,
    workers: int = 8,
) -> Dict[str, Dict[str, int]]:
    """Import the definitions of the gateway; experiments and scorers that they name must be at the destination.

    :param input_dir: Directory of the export.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param activate: Make budget policies, which work at once.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param report_dir: Directory for ledger and id map.
    :param workers: The most requests in flight.
    :return: How many of each kind ended how: by kind, then by status.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "experiment_rename_file": experiment_renames,
        "activate": activate,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    return import_group_function("gateway", GATEWAY, input_dir, report_dir, options, mlflow_client)


@command(
    "import-gateway", "tracking_uri", "input_dir", "experiment_rename_file", "activate", "on_destination_change",
    "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return import_group_script("gateway", GATEWAY, options)


if __name__ == "__main__":
    main()
