"""What only a Databricks workspace has, beside the MLflow API: its own objects, permissions, users and jobs."""

from __future__ import annotations

from mlflow_migration.client.rest_client import RestClient

WORKSPACE_API = "/api/2.0/workspace"


def make_directory(rest: RestClient, path: str) -> None:
    """Make a directory of the workspace with all that are above it; nothing happens if it is there.

    :param rest: Client of the workspace.
    :param path: Absolute, such as ``/Users/mary@example.com/experiments``.
    :raises Refused: The workspace refuses, for example because the path is a notebook's.
    """
    # POST workspace/mkdirs is idempotent: https://docs.databricks.com/api/workspace/workspace/mkdirs
    rest.request("POST", f"{WORKSPACE_API}/mkdirs", body={"path": path}, read=True)
