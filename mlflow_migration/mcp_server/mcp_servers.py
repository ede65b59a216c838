"""What is particular to the registry of MCP servers: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mlflow_migration.client import mcp_servers
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies
from mlflow_migration.common.three_way import Plan

Json = Dict[str, Any]

_FIELDS = ("display_name", "description", "icons")
_OF_VERSION = ("status", "tools", "connect_options")


class McpServers:
    """MCP servers with their versions, tags, aliases and access endpoints."""

    name, plural, loss = "mcp_server", "mcp_servers", "mcp-servers"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all MCP servers; see :func:`mcp_servers.read_mcp_servers`."""
        return mcp_servers.read_mcp_servers(tracking)

    def id_of(self, doc: Json) -> str:
        """Return its name, which never changes."""
        return str(doc["name"])

    title = key = id_of

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []

    def runs(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it as it is."""
        return doc, []

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return all parts by names of their own. In lists, as an empty one is one too."""
        found: Dict[str, Any] = {name: [doc[name]] for name in _FIELDS}
        for version in doc["versions"]:
            number = version["version"]
            found[f"version:{number}"] = [version["server_json"], version["source"]]
            found.update({f"{name}:{number}": [version[name]] for name in _OF_VERSION})
        found.update({f"alias:{alias}": number for alias, number in doc["aliases"].items()})
        found.update({f"endpoint:{name}": True for name in _endpoints(doc)})
        return {**found, **{name: [value] for name, (_, _, value) in _tags(doc).items()}}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it, then all that belongs to it."""
        name = self.id_of(doc)
        mcp_servers.create_mcp_server(tracking, doc)
        if doc["display_name"] is not None:
            mcp_servers.update_mcp_server(tracking, name, {"display_name": doc["display_name"]})
        for version in doc["versions"]:
            mcp_servers.create_version(tracking, name, version)
        for version, key, value in _tags(doc).values():
            mcp_servers.set_tag(tracking, name, version, key, value)
        for alias, number in doc["aliases"].items():
            mcp_servers.set_alias(tracking, name, alias, number)
        for endpoint in doc["access_endpoints"]:
            mcp_servers.create_endpoint(tracking, name, endpoint)
        return name

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Write what changed. What a version is never changes."""
        name, old = self.id_of(there), {one["version"] for one in there["versions"]}
        impossible = [field for field in todo.write if field.startswith("version:") and field[8:] in old]
        todo.write = [field for field in todo.write if field not in impossible]
        todo.differs += impossible
        fields = {field: doc[field] for field in todo.write if field in _FIELDS}
        if fields:
            mcp_servers.update_mcp_server(tracking, name, fields)
        self._versions(tracking, there, doc, todo)
        for field, (version, key, value) in _tags(doc).items():
            if field in todo.write:
                mcp_servers.set_tag(tracking, name, version, key, value)
        for field, (version, key, _) in _tags(there).items():
            if field in todo.drop:
                mcp_servers.set_tag(tracking, name, version, key, None)
        for alias in (field[6:] for field in (*todo.write, *todo.drop) if field.startswith("alias:")):
            mcp_servers.set_alias(tracking, name, alias, doc["aliases"].get(alias))
        for place, endpoint in _endpoints(doc).items():
            if f"endpoint:{place}" in todo.write:
                mcp_servers.create_endpoint(tracking, name, endpoint)
        for place, endpoint in _endpoints(there).items():
            if f"endpoint:{place}" in todo.drop:
                mcp_servers.delete_endpoint(tracking, name, endpoint)

    def _versions(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Create versions that are new, and bring the others up to date."""
        old = {one["version"]: one for one in there["versions"]}
        for version in doc["versions"]:
            number = version["version"]
            if f"version:{number}" in todo.write:
                mcp_servers.create_version(tracking, doc["name"], version)
                continue
            fields = {field: version[field] for field in _OF_VERSION if f"{field}:{number}" in todo.write}
            if fields:
                mcp_servers.update_version(tracking, doc["name"], number, fields, old[number]["status"])

    def by_hand(self, doc: Json, there: Optional[Json]) -> List[str]:
        """Tell of passwords in addresses."""
        known = _endpoints(there or {"access_endpoints": []})
        lacking = [
            endpoint["url"]
            for place, endpoint in _endpoints(doc).items()
            if endpoint["has_password"] and not (known.get(place) or {}).get("has_password")
        ]
        return [f"{url} has a user or password, which are not exported: set it by hand" for url in lacking]


def _tags(doc: Json) -> Dict[str, Tuple[Optional[str], str, str]]:
    """Return version (None for the server), key and value of all tags by their names in the state."""
    found: Dict[str, Tuple[Optional[str], str, str]] = {}
    for version in doc["versions"]:
        for key, value in version["tags"].items():
            found[f"tag:{key} of version {version['version']}"] = (version["version"], key, value)
    found.update({f"tag:{key}": (None, key, value) for key, value in doc["tags"].items()})
    return found


def _endpoints(doc: Json) -> Dict[str, Json]:
    return {mcp_servers.target_of(endpoint): endpoint for endpoint in doc["access_endpoints"]}


MCP_SERVERS = McpServers()
