"""Users of MLflow's basic-auth app, their roles, and what both may do. Paths are those of its ``auth/routes.py``.

Roles, and what users may do, are those of one workspace; users are the server's. A permission is told by

* ``id``, which names it for ever, and ``permission_id``, which is None where the server tells none,
* ``user`` or ``role``, whose it is, by name,
* ``resource_type``, such as ``experiment``, and ``permission``, such as ``READ``,
* what it is for: ``experiment_id``, ``registered_model`` or ``prompt`` (names), or ``resource``: another name, or ``*``
  for all of the type. That of a scorer has ``experiment_id`` and ``resource``.
* ``deleted``, if its experiment is so.
"""

from __future__ import annotations

import base64
import re
import secrets
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence
from urllib.parse import quote, unquote

from mlflow_migration.client.errors import BadInput, NotFound, Refused, Unauthorized
from mlflow_migration.client.tracking import API, API_3, DEFAULT_WORKSPACE, Tracking

Json = Dict[str, Any]

ALL = "*"
NAMED = ("registered_model", "prompt")
"""Types of resources that are named in a field of their own, as they may get other names."""

_OWN_ROLE = re.compile(r"__user_\d+__")  # holds what a user may do without any role
_GATEWAY = {
    "gateway_secret": ("secrets", "secrets", "secret_id", "secret_name"),
    "gateway_endpoint": ("endpoints", "endpoints", "endpoint_id", "name"),
    "gateway_model_definition": ("model-definitions", "model_definitions", "model_definition_id", "name"),
}
_OLD_PERMISSIONS = {
    "experiment_permissions": ("experiment", "experiment_id"),
    "registered_model_permissions": ("registered_model", "name"),
}
_PASSWORD_BYTES = 48


# -- reading --------------------------------------------------------------------------------------------------------


def read_users(tracking: Tracking, names: Sequence[str] = ()) -> Iterator[Json]:
    """Yield users with ``username`` and ``is_admin``, by name.

    :param names: Only these; empty for all that have to do with the workspace.
    :raises NotFound: Without an error code: the server knows no users.
    :raises Unauthorized: Only an administrator may know them, or the server is too old to list them.
    :raises BadInput: One of the names is not there.
    """
    return map(_user, _users(tracking, names))


def read_all_users(tracking: Tracking) -> Iterator[Json]:
    """Yield all users of the server, also those that have nothing to do with the workspace; else as read_users."""
    return map(_user, _users(tracking, (), everybody=True))


def _user(found: Json) -> Json:
    return {"username": str(found["username"]), "is_admin": bool(found.get("is_admin"))}


def read_roles(tracking: Tracking, names: Sequence[str] = ()) -> Iterator[Json]:
    """Yield the roles of the workspace with ``role_id``, ``name``, ``description`` and ``users``, by name.

    :param names: Only roles of these users, with them alone; errors are those of :func:`read_users`.
    """
    users = _users(tracking, names)
    for role in _roles(tracking):
        held = sorted(str(user["username"]) for user in users if role["id"] in {one["id"] for one in _own(user)})
        if held or not names:
            description = role.get("description") or ""
            yield {"role_id": str(role["id"]), "name": str(role["name"]), "description": description, "users": held}


def read_permissions(tracking: Tracking, names: Sequence[str] = ()) -> Iterator[Json]:
    """Yield what users, without any role, and roles of the workspace may do.

    :param names: Only what these users and their roles may do; errors are those of :func:`read_users`.
    """
    users = _users(tracking, names)
    resources = _Resources(tracking)
    workspace = workspace_of(tracking)
    for user in users:
        holder = {"user": str(user["username"])}
        for role in _own(user):
            if _OWN_ROLE.fullmatch(str(role["name"])) and role.get("workspace", DEFAULT_WORKSPACE) == workspace:
                for row in role.get("permissions") or ():
                    yield _permission(holder, row["resource_type"], row["resource_pattern"], row, resources)
        for field, (resource_type, name) in _OLD_PERMISSIONS.items():
            for row in user.get(field) or ():
                yield _permission(holder, resource_type, str(row[name]), row, resources)
    try:
        roles = _roles(tracking)
    except NotFound as ex:
        if ex.error_code:
            raise
        return  # too old for them
    held = {one["id"] for user in users for one in _own(user)}
    for role in roles:
        if role["id"] in held or not names:
            for row in role.get("permissions") or ():
                holder = {"role": str(role["name"])}
                yield _permission(holder, row["resource_type"], row["resource_pattern"], row, resources)


def _own(user: Json) -> List[Json]:
    return user.get("roles") or []


def workspace_of(tracking: Tracking) -> str:
    """Return the name of the workspace that everything is about, as roles name it."""
    return tracking.workspace or DEFAULT_WORKSPACE


def current_user(tracking: Tracking) -> Json:
    """Return who this client is: ``username`` and ``is_admin``.

    :raises NotFound: Without an error code: the server knows no users.
    """
    try:
        return dict(tracking.rest.get(f"{API}/users/current")["user"])
    except NotFound as ex:
        kind, _, value = tracking.rest.connection.headers.get("Authorization", "").partition(" ")
        if ex.error_code or kind != "Basic":
            raise
        # a server too old for this question
        return user(tracking, base64.b64decode(value).decode("utf-8", "replace").partition(":")[0])


def user(tracking: Tracking, username: str) -> Json:
    """Return a user. Raises NotFound; without an error code if the server knows no users."""
    return dict(tracking.rest.get(f"{API}/users/get", {"username": username})["user"])


def _users(tracking: Tracking, names: Sequence[str], everybody: bool = False) -> List[Json]:
    if not current_user(tracking)["is_admin"]:
        told = f"only an administrator of {tracking.uri} may know its users, their roles and permissions"
        raise Unauthorized(told, http_status_code=403)
    reply = tracking.rest.optional("users/list", lambda: tracking.rest.get(f"{API}/users/list"))
    if reply is None and not names:
        told = f"{tracking.uri} is too old to list its users: name them with export-users --users"
        raise Unauthorized(told, http_status_code=404)
    there = {str(one["username"]): one for one in (reply or {}).get("users") or ()}
    if reply is None:
        there = {name: _named(tracking, name) for name in names}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise BadInput(f"{tracking.uri} has no user '{unknown[0]}'.")
    found = [one for name, one in sorted(there.items()) if not names or name in names]
    return [one for one in found if names or everybody or _belongs(one, workspace_of(tracking))]


def _named(tracking: Tracking, name: str) -> Json:
    try:
        return user(tracking, name)
    except NotFound as ex:
        raise BadInput(f"{tracking.uri} has no user '{name}'.") from ex


def _belongs(user: Json, workspace: str) -> bool:
    """Tell whether a user has to do with a workspace: all have with the one that a server has from the start."""
    return workspace == DEFAULT_WORKSPACE or any(role.get("workspace") == workspace for role in _own(user))


def _roles(tracking: Tracking) -> List[Json]:
    found = tracking.rest.get(f"{API_3}/roles/list", {"workspace": workspace_of(tracking)}).get("roles") or []
    return sorted((r for r in found if not _OWN_ROLE.fullmatch(str(r["name"]))), key=lambda role: str(role["name"]))


class _Resources:
    """Names what permissions are for, by what is asked of the server at most once.

    :param tracking: The server.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._active: Optional[Dict[str, bool]] = None
        self._names: Dict[str, Dict[str, str]] = {}

    def is_deleted(self, experiment_id: str) -> bool:
        """Tell whether there is no active experiment of that id."""
        if self._active is None:
            pages = self._tracking.search_experiments()
            self._active = {e["experiment_id"]: e.get("lifecycle_stage") == "active" for page in pages for e in page}
        return not self._active.get(experiment_id)

    def name(self, resource_type: str, resource_id: str) -> str:
        """Return the name of a resource of the gateway; its id if there is none."""
        if resource_type not in self._names:
            self._names[resource_type] = _gateway_names(self._tracking, resource_type)
        return self._names[resource_type].get(resource_id, resource_id)


def _gateway_names(tracking: Tracking, resource_type: str) -> Dict[str, str]:
    """Return the names of all resources of a type by id."""
    route, field, key, name = _GATEWAY[resource_type]
    reply = tracking.rest.optional(route, lambda: tracking.rest.get(f"{API_3}/gateway/{route}/list"))
    return {str(one[key]): str(one[name]) for one in (reply or {}).get(field) or ()}


def _permission(holder: Json, resource_type: str, pattern: str, row: Json, resources: _Resources) -> Json:
    doc = {**holder, "resource_type": resource_type, **_resource(resource_type, pattern, resources)}
    permission_id = str(row["id"]) if "id" in row else None
    deleted = "experiment_id" in doc and resources.is_deleted(doc["experiment_id"])
    more = {"deleted": True} if deleted else {}
    return {"id": permission_key(doc), "permission_id": permission_id, **doc, "permission": row["permission"], **more}


def _resource(resource_type: str, pattern: str, resources: _Resources) -> Json:
    if pattern == ALL:
        return {"resource": ALL}
    if resource_type == "experiment":
        return {"experiment_id": pattern}
    if resource_type == "scorer":
        experiment_id, _, name = pattern.partition("/")
        return {"experiment_id": experiment_id, "resource": unquote(name)}
    if resource_type in NAMED:
        return {resource_type: pattern}
    return {"resource": resources.name(resource_type, pattern) if resource_type in _GATEWAY else pattern}


def permission_key(doc: Json) -> str:
    """Return what a server has at most one permission of: whose it is, and what it is for."""
    holder = f"user {doc['user']}" if doc.get("user") else f"role {doc['role']}"
    named = (doc.get(name) for name in ("experiment_id", *NAMED, "resource"))
    return f"{holder}: {doc['resource_type']} {'/'.join(str(name) for name in named if name)}"


# -- whether it is there --------------------------------------------------------------------------------------------


def has_resource(tracking: Tracking, doc: Json) -> bool:
    """Tell whether a server has what a permission is for, other than an experiment."""
    resource_type, name = str(doc["resource_type"]), str(doc.get("resource") or "")
    if name == ALL:
        return True
    if resource_type in _GATEWAY:
        return name in _gateway_names(tracking, resource_type).values()
    questions: Dict[str, Callable[[], Json]] = {
        "scorer": lambda: tracking.rest.get(
            f"{API_3}/scorers/get", {"experiment_id": doc["experiment_id"], "name": name}
        ),
        "mcp_server": lambda: tracking.rest.get(f"{API_3}/mcp-servers/{quote(name, safe='')}"),
        **{
            field: lambda: tracking.rest.get(f"{API}/registered-models/get", {"name": doc[resource_type]})
            for field in NAMED
        },
    }
    question = questions.get(resource_type)
    if question is None:
        return True  # the server itself knows better
    try:
        question()
    except NotFound:
        return False
    return True


# -- writing --------------------------------------------------------------------------------------------------------


def create_user(tracking: Tracking, username: str) -> None:
    """Create a user with a password that nobody knows: it is forgotten here."""

    def find() -> Optional[bool]:
        try:
            return bool(user(tracking, username))
        except NotFound:
            return None

    body = {"username": username, "password": secrets.token_urlsafe(_PASSWORD_BYTES)}
    try:
        tracking.rest.post_once(f"{API}/users/create", body, find, lambda reply: True)
    except Refused as ex:
        if ex.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # the server's words have the password's hash in them
        told = f"there is a user '{username}' already"
        raise Refused(told, http_status_code=ex.http_status_code, error_code=ex.error_code) from None


def set_admin(tracking: Tracking, username: str, is_admin: bool) -> None:
    """Make a user an administrator, or none."""
    tracking.rest.patch(f"{API}/users/update-admin", {"username": username, "is_admin": is_admin})


def create_role(tracking: Tracking, name: str, description: str) -> str:
    """Create a role of the workspace and return its id."""

    def find() -> Optional[str]:
        return next((str(role["id"]) for role in _roles(tracking) if role["name"] == name), None)

    body = {"workspace": workspace_of(tracking), "name": name, "description": description}
    return tracking.rest.post_once(f"{API_3}/roles/create", body, find, lambda reply: str(reply["role"]["id"]))


def describe_role(tracking: Tracking, role_id: str, description: str) -> None:
    """Set the description of a role."""
    tracking.rest.patch(f"{API_3}/roles/update", {"role_id": int(role_id), "description": description})


def assign_role(tracking: Tracking, role_id: str, username: str) -> None:
    """Give a user a role."""

    def find() -> Optional[bool]:
        roles = tracking.rest.get(f"{API_3}/users/roles/list", {"username": username}).get("roles") or ()
        return any(str(role["id"]) == role_id for role in roles) or None

    body = {"role_id": int(role_id), "username": username}
    tracking.rest.post_once(f"{API_3}/roles/assign", body, find, lambda reply: True)


def unassign_role(tracking: Tracking, role_id: str, username: str) -> None:
    """Take a role from a user; it is no error if he does not have it."""
    try:
        tracking.rest.delete(f"{API_3}/roles/unassign", {"role_id": int(role_id), "username": username})
    except NotFound as ex:
        if not ex.error_code:
            raise


def grant(tracking: Tracking, doc: Json) -> None:
    """Permit what a user or a role has no permission for yet.

    :raises NotFound: There is no such role or user.
    """
    key = permission_key(doc)

    def find() -> Optional[bool]:
        return any(there["id"] == key for there in read_permissions(tracking)) or None

    what = {"resource_type": doc["resource_type"], "permission": doc["permission"]}
    if doc.get("user"):
        body = {"username": doc["user"], **what, "resource_id": _pattern(tracking, doc)}
        tracking.rest.post_once(f"{API_3}/users/permissions/grant", body, find, lambda reply: True)
        return
    role_id = next((int(role["id"]) for role in _roles(tracking) if role["name"] == doc["role"]), None)
    if role_id is None:
        raise NotFound(f"there is no role '{doc['role']}'", http_status_code=404, error_code="RESOURCE_DOES_NOT_EXIST")
    body = {"role_id": role_id, **what, "resource_pattern": _pattern(tracking, doc)}
    tracking.rest.post_once(f"{API_3}/roles/permissions/add", body, find, lambda reply: True)


def change_permission(tracking: Tracking, permission_id: str, permission: str) -> None:
    """Replace a permission by another one for the same."""
    body = {"role_permission_id": int(permission_id), "permission": permission}
    tracking.rest.patch(f"{API_3}/roles/permissions/update", body)


def _pattern(tracking: Tracking, doc: Json) -> str:
    """Return how the server itself names what a permission is for."""
    resource_type, name = str(doc["resource_type"]), str(doc.get("resource") or doc.get(doc["resource_type"]) or "")
    if name == ALL or "experiment_id" not in doc and resource_type not in _GATEWAY:
        return name
    if resource_type in _GATEWAY:
        names = _gateway_names(tracking, resource_type)
        return next((resource_id for resource_id, known in names.items() if known == name), name)
    return f"{doc['experiment_id']}/{quote(name, safe='')}" if name else str(doc["experiment_id"])
