"""The registry of MCP servers. Paths are those of MLflow's ``mlflow/server/mcp_server_api.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional
from urllib.parse import quote

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API_3, Tracking
from mlflow_migration.client.webhooks import without_user_info

Json = Dict[str, Any]

_SERVERS = f"{API_3}/mcp-servers"
_PAGE = 100
ACTIVE, DEPRECATED, DRAFT = "active", "deprecated", "draft"


def _of(name: str, *parts: str) -> str:
    """Return the path of a server, whose name has a slash, or of something of it."""
    return "/".join((_SERVERS, quote(name), *(quote(part, safe="") for part in parts)))


def _pages(tracking: Tracking, path: str, field: str) -> Iterator[Json]:
    def page(token: Optional[str]) -> Json:
        return tracking.rest.get(path, {"max_results": _PAGE, **({"page_token": token} if token else {})})

    for found in paged(page, field):
        yield from found


def read_mcp_servers(tracking: Tracking) -> Iterator[Json]:
    """Yield the MCP servers with all that belongs to them.

    :return: ``name``, ``display_name``, ``description`` and ``icons`` (None where they follow the latest version),
        ``tags``, ``aliases`` (versions by alias), ``versions`` in the order in which they were made (each ``version``,
        ``server_json``, ``status``, ``source``, ``tools``, ``connect_options``, ``tags``) and ``access_endpoints``
        (each ``url`` without user and password, ``has_password``, ``transport_type``, ``server_version``,
        ``server_alias``).
    :raises NotFound: Without an error code: the server has no such route.
    """
    tracking.need_database()
    for server in _pages(tracking, _SERVERS, "mcp_servers"):
        name = str(server["name"])
        versions = [_version(one) for one in _pages(tracking, _of(name, "versions"), "mcp_server_versions")]
        yield {
            "name": name,
            "display_name": server.get("display_name"),
            "description": _own_description(server, versions),
            "icons": _own_icons(server.get("icons")),
            "tags": server.get("tags") or {},
            "aliases": {one["alias"]: one["version"] for one in server.get("aliases") or ()},
            "versions": versions,
            "access_endpoints": sorted(map(_endpoint, server.get("access_endpoints") or ()), key=target_of),
        }


def _version(version: Json) -> Json:
    return {
        "version": str(version["version"]),
        "server_json": version["server_json"],
        "status": version.get("status") or DRAFT,
        "source": version.get("source"),
        "tools": [{key: value for key, value in tool.items() if value is not None} for tool in version["tools"]],
        "connect_options": version.get("connect_options") or {},
        "tags": version.get("tags") or {},
    }


def _endpoint(endpoint: Json) -> Json:
    url, has_password = without_user_info(str(endpoint["url"]))
    found = {key: endpoint.get(key) for key in ("transport_type", "server_version", "server_alias")}
    return {"url": url, "has_password": has_password, **found}


def target_of(endpoint: Json) -> str:
    """Return what names an access endpoint among those of its server: it can't be changed into another."""
    return " ".join(
        str(endpoint.get(key) or "-") for key in ("url", "transport_type", "server_version", "server_alias")
    )


def _own_description(server: Json, versions: List[Json]) -> Optional[str]:
    """Return a server's own description: without one it shows that of its latest version."""
    latest = next((one for one in versions if one["version"] == server.get("latest_version")), None)
    shown: Optional[str] = server.get("description")
    return None if latest is not None and latest["server_json"].get("description") == shown else shown


def _own_icons(shown: Optional[List[Json]]) -> Optional[List[Json]]:
    """Return a server's own icons; others are those of its latest version."""
    if not shown:
        return shown
    own = [icon for icon in shown if icon.get("source") != "version"]
    return [{key: value for key, value in icon.items() if key != "source"} for icon in own] or None


def create_mcp_server(tracking: Tracking, server: Json) -> None:
    """Create an MCP server, without versions."""

    def find() -> Optional[bool]:
        try:
            return bool(tracking.rest.get(_of(server["name"])))
        except NotFound:
            return None

    body = {key: server[key] for key in ("name", "description", "icons") if server[key] is not None}
    tracking.rest.post_once(_SERVERS, body, find, lambda reply: True)


def update_mcp_server(tracking: Tracking, name: str, fields: Mapping[str, Any]) -> None:
    """Give an MCP server other values: of ``display_name``, ``description`` and ``icons``; None for none of its own."""
    tracking.rest.patch(_of(name), dict(fields))


def create_version(tracking: Tracking, name: str, version: Json) -> None:
    """Create a version with its status, without its tags."""

    def find() -> Optional[bool]:
        try:
            return bool(tracking.rest.get(_of(name, "versions", version["version"])))
        except NotFound:
            return None

    # a version can't begin as a deprecated one
    status = DRAFT if version["status"] == DRAFT else ACTIVE
    body = {"server_json": version["server_json"], "status": status, "source": version["source"]}
    body.update({key: version[key] for key in ("tools", "connect_options") if version[key]})
    tracking.rest.post_once(_of(name, "versions"), body, find, lambda reply: True)
    if version["status"] != status:
        update_version(tracking, name, version["version"], {"status": version["status"]}, status)


def update_version(tracking: Tracking, name: str, version: str, fields: Mapping[str, Any], status: str) -> None:
    """Give a version other values.

    :param fields: Of ``status``, ``tools`` and ``connect_options``.
    :param status: The one that it has.
    """
    if {status, fields.get("status")} == {DRAFT, DEPRECATED}:
        tracking.rest.patch(_of(name, "versions", version), {"status": ACTIVE})  # the only way from one to the other
    tracking.rest.patch(_of(name, "versions", version), dict(fields))


def set_tag(tracking: Tracking, name: str, version: Optional[str], key: str, value: Optional[str]) -> None:
    """Give a tag to an MCP server or to one of its versions, or take it away.

    :param version: None for the server.
    :param value: None to take it away.
    """
    parts = ("versions", version, "tags") if version is not None else ("tags",)
    if value is None:
        tracking.rest.delete(_of(name, *parts, key))
    else:
        tracking.rest.post(_of(name, *parts), {"key": key, "value": value})


def set_alias(tracking: Tracking, name: str, alias: str, version: Optional[str]) -> None:
    """Let an alias name a version, or take it away.

    :param version: None to take it away.
    """
    if version is None:
        tracking.rest.delete(_of(name, "aliases", alias))
    else:
        tracking.rest.post(_of(name, "aliases"), {"alias": alias, "version": version})


def create_endpoint(tracking: Tracking, name: str, endpoint: Json) -> None:
    """Create an access endpoint."""
    path = _of(name, "endpoints")

    def find() -> Optional[bool]:
        there = map(_endpoint, _pages(tracking, path, "mcp_access_endpoints"))
        return any(target_of(one) == target_of(endpoint) for one in there) or None

    keys = ("url", "transport_type", "server_version", "server_alias")
    tracking.rest.post_once(path, {key: endpoint[key] for key in keys if endpoint[key]}, find, lambda reply: True)


def delete_endpoint(tracking: Tracking, name: str, endpoint: Json) -> None:
    """Delete an access endpoint."""
    path = _of(name, "endpoints")
    for there in list(_pages(tracking, path, "mcp_access_endpoints")):
        if target_of(_endpoint(there)) == target_of(endpoint):
            tracking.rest.delete(_of(name, "endpoints", str(there["id"])))
            return
