"""Imports the label schemas of a directory."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import import_kind_function, import_kind_script
from mlflow_migration.label_schema.label_schemas import LABEL_SCHEMAS


def import_label_schemas(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    experiment_renames: Union[None, str, Mapping[str, str]] = None,
    on_destination_change: str = "keep",
    report_dir: Optional[str] = None,
    workers: int = 8,
) -> Dict[str, int]:
    """Import label schemas; their experiments must be at the destination.

    :param input_dir: Directory of the export.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param report_dir: Directory for ledger and id map.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "experiment_rename_file": experiment_renames,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    return import_kind_function(LABEL_SCHEMAS, input_dir, report_dir, options, mlflow_client)


@command(
    "import-label-schemas", "tracking_uri", "input_dir", "experiment_rename_file", "on_destination_change",
    "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return import_kind_script(LABEL_SCHEMAS, options)


if __name__ == "__main__":
    main()
