"""What tests of Unity Catalog ask of a workspace, and the models that they make."""

from __future__ import annotations

from typing import Any, Dict, List

from tests.databricks.standin.server import StandIn

API = "/api/2.0/mlflow/unity-catalog"
SIGNATURE = """signature:
  inputs: '[{{"type": "double", "name": "x"}}]'
  outputs: '[{{"type": "double"}}]'
  params: null
"""


def versions(workspace: StandIn, name: str) -> List[Dict[str, Any]]:
    """The versions of a model, by number, as a get shows them; empty if it has none."""
    found = workspace.call("GET", f"{API}/model-versions/search", filter=f"name='{name}'").get("model_versions") or []
    numbers = sorted(int(version["version"]) for version in found)
    get = f"{API}/model-versions/get"
    return [workspace.call("GET", get, name=name, version=str(number))["model_version"] for number in numbers]


def tags(version: Dict[str, Any]) -> Dict[str, str]:
    """The tags of a version."""
    return {tag["key"]: tag["value"] for tag in version.get("tags") or ()}


def aliases(workspace: StandIn, name: str) -> Dict[str, str]:
    """The aliases of a model: name -> number."""
    model = workspace.call("GET", f"{API}/registered-models/get", name=name)["registered_model"]
    return {item["alias"]: item["version"] for item in model.get("aliases") or ()}
