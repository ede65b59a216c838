"""All routes of a workspace, put together."""

from __future__ import annotations

from typing import List

from tests.databricks.standin import mlflow_api, permissions, scim, workspace
from tests.databricks.standin.platform import Platform, Route


def all_routes(platform: Platform) -> List[Route]:
    """Make the parts of a workspace and list what they answer."""
    tree = workspace.Workspace(platform)
    rights = permissions.Permissions(platform, tree)
    api = mlflow_api.MlflowApi(platform, tree, rights)
    return [
        *scim.routes(platform),
        *workspace.routes(platform, tree),
        *permissions.routes(platform, rights),
        *mlflow_api.routes(api),
    ]
