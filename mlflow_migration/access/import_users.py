"""Imports the users of a directory, their roles and permissions."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.access.access import FOLDER, of_users
from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import import_group_function, import_group_script


def import_users(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    experiment_renames: Union[None, str, Mapping[str, str]] = None,
    model_renames: Union[None, str, Mapping[str, str]] = None,
    on_destination_change: str = "keep",
    report_dir: Optional[str] = None,
    workers: int = 8,
) -> Dict[str, Dict[str, int]]:
    """Import users, roles and permissions; what is permitted must be at the destination.

    New users can't log in before somebody has set a password for them.

    :param input_dir: Directory of the export.
    :param mlflow_client: Decides server and credentials, which must be an administrator's; default is what the
        environment says.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param model_renames: Likewise, for registered models.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param report_dir: Directory for ledger and id map.
    :param workers: The most requests in flight.
    :return: How many of ``user``, ``role`` and ``permission`` ended how, by status.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "experiment_rename_file": experiment_renames,
        "model_rename_file": model_renames,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    return import_group_function(FOLDER, of_users(), input_dir, report_dir, options, mlflow_client)


@command(
    "import-users", "tracking_uri", "input_dir", "experiment_rename_file", "model_rename_file",
    "on_destination_change", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return import_group_script(FOLDER, of_users(), options)


if __name__ == "__main__":
    main()
