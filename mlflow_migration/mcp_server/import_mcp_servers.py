"""Imports the registry of MCP servers from a directory."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mlflow_migration.common.cli import command
from mlflow_migration.common.kinds import import_kind_function, import_kind_script
from mlflow_migration.mcp_server.mcp_servers import MCP_SERVERS


def import_mcp_servers(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    on_destination_change: str = "keep",
    report_dir: Optional[str] = None,
    workers: int = 8,
) -> Dict[str, int]:
    """Import MCP servers with their versions and access endpoints.

    :param input_dir: Directory of the export.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param report_dir: Directory for ledger and id map.
    :param workers: The most requests in flight.
    :return: How many ended how, by status.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    return import_kind_function(MCP_SERVERS, input_dir, report_dir, options, mlflow_client)


@command(
    "import-mcp-servers", "tracking_uri", "input_dir", "on_destination_change", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return import_kind_script(MCP_SERVERS, options)


if __name__ == "__main__":
    main()
