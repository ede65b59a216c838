"""All routes of a workspace, put together."""

from __future__ import annotations

from typing import List

from tests.databricks.standin import (
    artifacts,
    dbfs,
    jobs,
    mlflow_api,
    permissions,
    registry,
    scim,
    store,
    unity,
    unity_rights,
    workspace,
)
from tests.databricks.standin.platform import Platform, Route


def all_routes(platform: Platform) -> List[Route]:
    """Make the parts of a workspace and list what they answer."""
    tree = workspace.Workspace(platform)
    rights = permissions.Permissions(platform, tree)
    api = mlflow_api.MlflowApi(platform, tree, rights)
    files = store.Store(platform)
    privileges = unity_rights.UnityRights(platform)
    return [
        *scim.routes(platform),
        *workspace.routes(platform, tree),
        *permissions.routes(platform, rights),
        *store.routes(files),
        *dbfs.routes(platform, files),
        *artifacts.routes(platform, api, files),
        *registry.routes(registry.Registry(platform, api, rights, files), api),
        *unity.routes(unity.Unity(platform, privileges, files)),
        *unity_rights.routes(platform, privileges),
        *jobs.routes(platform, tree),
        *mlflow_api.routes(api),
    ]
