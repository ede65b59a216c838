"""Makes users, roles and permissions on a server with MLflow's basic-auth app, and reads them back to be compared.

It talks to the server's REST API by itself and shares no code with the package.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple
from urllib.parse import quote, unquote

from tests.support.rest import Json, Rest

V3 = "/api/3.0/mlflow"
CONFIG = """
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///basic_auth.db
admin_username = {0}
admin_password = {1}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""
SECRET = "key one"
MCP_SERVER = "io.example/tools"

Login = Tuple[str, str]


def create_user(rest: Rest, username: str, is_admin: bool = False) -> Login:
    """Make a user, and return its name and password."""
    login = (username, f"{username}-s3cret-4711")
    rest.post("users/create", {"username": username, "password": login[1]})
    if is_admin:
        rest.patch("users/update-admin", {"username": username, "is_admin": True})
    return login


def create_role(rest: Rest, workspace: str, name: str, users: List[str], *permissions: Tuple[str, str, str]) -> str:
    """Make a role that users have, and return its id."""
    body = {"workspace": workspace, "name": name, "description": f"{name} of {workspace}"}
    role_id = rest.post(f"{V3}/roles/create", body)["role"]["id"]
    for resource_type, pattern, permission in permissions:
        body = {"resource_type": resource_type, "resource_pattern": pattern, "permission": permission}
        rest.post(f"{V3}/roles/permissions/add", {"role_id": role_id, **body})
    for username in users:
        rest.post(f"{V3}/roles/assign", {"role_id": role_id, "username": username})
    return str(role_id)


def grant(rest: Rest, username: str, resource_type: str, resource_id: str, permission: str) -> None:
    """Permit something to a user."""
    body = {"username": username, "resource_type": resource_type, "permission": permission}
    rest.post(f"{V3}/users/permissions/grant", {**body, "resource_id": resource_id})


def make_gateway(rest: Rest) -> str:
    """Make a secret and an MCP server, and return the secret's id."""
    body: Json = {"secret_name": SECRET, "secret_value": [{"key": "api_key", "value": "sk-12345678"}]}
    secret_id = rest.post(f"{V3}/gateway/secrets/create", {**body, "provider": "openai"})["secret"]["secret_id"]
    rest.post(f"{V3}/mcp-servers", {"name": MCP_SERVER})
    return str(secret_id)


def scorer_pattern(experiment_id: str, name: str) -> str:
    """How the app names a scorer."""
    return f"{experiment_id}/{quote(name, safe='')}"


def names_of(rest: Rest) -> Dict[str, str]:
    """The names of experiments and of the gateway's secrets by id."""
    found = rest.post("experiments/search", {"view_type": "ALL", "max_results": 1000}).get("experiments") or []
    secrets = rest.get(f"{V3}/gateway/secrets/list").get("secrets") or []
    return {
        **{one["experiment_id"]: one["name"] for one in found},
        **{one["secret_id"]: one["secret_name"] for one in secrets},
    }


def access_of(rest: Rest, workspace: str = "default") -> Json:
    """Users, roles, and who may do what in a workspace, without ids: names instead."""
    names = names_of(rest)

    def named(row: Json) -> Tuple[str, str, str]:
        first, slash, rest_of_it = row["resource_pattern"].partition("/")
        pattern = names.get(first, first) + slash + unquote(rest_of_it)
        return row["resource_type"], pattern, row["permission"]

    users = rest.get("users/list")["users"]
    found: Dict[str, Any] = {
        "users": {user["username"]: user["is_admin"] for user in users}, "roles": {}, "direct": {}
    }  # fmt: skip
    for role in rest.get(f"{V3}/roles/list", {"workspace": workspace})["roles"]:
        holders = sorted(user["username"] for user in users if role["id"] in {one["id"] for one in user["roles"]})
        permissions = sorted(map(named, role["permissions"]))
        if role["name"].startswith("__user_"):
            found["direct"][holders[0]] = permissions
        else:
            found["roles"][role["name"]] = (role["description"], holders, permissions)
    return found
