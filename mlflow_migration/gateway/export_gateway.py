"""Exports the definitions of the gateway to a directory."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_group_function, export_group_script
from mlflow_migration.gateway.kinds import GATEWAY


def export_gateway(output_dir: str, mlflow_client: Any = None, *, workers: int = 8) -> Dict[str, Dict[str, int]]:
    """Export secrets (without their values), model definitions, endpoints, guardrails, bindings and budget policies.

    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: How many of each kind ended how: by kind, then by status.
    :raises MlflowExportImportException: The export can't start.
    """
    return export_group_function("gateway", GATEWAY, output_dir, mlflow_client, workers)


@command("export-gateway", "tracking_uri", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    return export_group_script("gateway", GATEWAY, options)


if __name__ == "__main__":
    main()
