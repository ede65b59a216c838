"""Exports users, their roles and permissions to a directory."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Union

from mlflow_migration.access.access import FOLDER, of_users
from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_group_function, export_group_script
from mlflow_migration.common.selection import wanted_names


def export_users(
    output_dir: str, users: Union[str, Sequence[str]] = (), mlflow_client: Any = None, *, workers: int = 8
) -> Dict[str, Dict[str, int]]:
    """Export the users of MLflow's basic-auth app with their roles and permissions; never a password.

    :param output_dir: Directory to export to.
    :param users: Only these, a list or as the option takes them; default is all.
    :param mlflow_client: Decides server and credentials, which must be an administrator's; default is what the
        environment says.
    :param workers: The most requests in flight.
    :return: How many of ``user``, ``role`` and ``permission`` ended how, by status.
    :raises MlflowExportImportException: The export can't start.
    """
    kinds = of_users(wanted_names(users) if users else ())
    return export_group_function(FOLDER, kinds, output_dir, mlflow_client, workers)


@command("export-users", "tracking_uri", "users", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    kinds = of_users(wanted_names(options["users"]) if options["users"] else ())
    return export_group_script(FOLDER, kinds, options)


if __name__ == "__main__":
    main()
