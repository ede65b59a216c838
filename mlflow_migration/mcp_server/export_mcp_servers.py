"""Exports the registry of MCP servers to a directory."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import export_kind_function, export_kind_script
from mlflow_migration.mcp_server.mcp_servers import MCP_SERVERS


def export_mcp_servers(output_dir: str, mlflow_client: Any = None, *, workers: int = 8) -> Dict[str, int]:
    """Export the MCP servers of the registry, with all their versions and access endpoints.

    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The export can't start.
    """
    return export_kind_function(MCP_SERVERS, output_dir, mlflow_client, workers)


@command("export-mcp-servers", "tracking_uri", "output_dir", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    return export_kind_script(MCP_SERVERS, options)


if __name__ == "__main__":
    main()
