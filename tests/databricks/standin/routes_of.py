"""All routes of a workspace, put together."""

from __future__ import annotations

from typing import List

from tests.databricks.standin import artifacts, dbfs, mlflow_api, permissions, scim, store, workspace
from tests.databricks.standin.platform import Platform, Route


def all_routes(platform: Platform) -> List[Route]:
    """Make the parts of a workspace and list what they answer."""
    tree = workspace.Workspace(platform)
    rights = permissions.Permissions(platform, tree)
    api = mlflow_api.MlflowApi(platform, tree, rights)
    files = store.Store(platform)
    return [
        *scim.routes(platform),
        *workspace.routes(platform, tree),
        *permissions.routes(platform, rights),
        *store.routes(files),
        *dbfs.routes(platform, files),
        *artifacts.routes(platform, api, files),
        *mlflow_api.routes(api),
    ]
