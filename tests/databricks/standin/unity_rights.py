"""Privileges of Unity Catalog: granted on catalogs, schemas and models (type "function"), inherited downwards."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Set, Tuple

from tests.databricks.standin.platform import ApiError, Call, Person, Platform, Route, denied, invalid

Securable = Tuple[str, str]  # catalog, schema or function; full name

_OF_MODELS = ("EXECUTE", "APPLY_TAG", "MANAGE", "ALL_PRIVILEGES", "CREATE_MODEL_VERSION")
_OF_SCHEMAS = (*_OF_MODELS, "USE_SCHEMA", "CREATE_MODEL", "CREATE_FUNCTION", "CREATE_TABLE", "SELECT", "MODIFY")
#: privileges that can be granted on each type
PRIVILEGES = {
    "catalog": (*_OF_SCHEMAS, "USE_CATALOG", "CREATE_SCHEMA"),
    "schema": _OF_SCHEMAS,
    "function": _OF_MODELS,
}
EVERYBODY = "account users"
_PERMISSIONS = "/api/2.1/unity-catalog/<any(permissions, 'effective-permissions'):which>/<kind>/<full_name>"


class UnityRights:
    """Who may do what."""

    def __init__(self, platform: Platform) -> None:
        """With what everybody has in the schemas that are there."""
        self._platform = platform
        self._grants: Dict[Securable, Dict[str, Set[str]]] = {}
        self._owners: Dict[Securable, str] = {}
        for schema in platform.schemas:
            self.open(schema)

    def open(self, schema: str) -> None:
        """Let everybody use a schema and its catalog."""
        catalog = schema.split(".")[0]
        self._grants.setdefault(("catalog", catalog), {EVERYBODY: {"USE_CATALOG"}})
        self._grants.setdefault(("schema", schema), {EVERYBODY: {"USE_SCHEMA", "CREATE_MODEL", "EXECUTE"}})

    def own(self, kind: str, full_name: str, owner: str) -> None:
        """Make somebody the owner of something new."""
        self._owners[(kind, full_name)] = owner
        self._grants[(kind, full_name)] = {}

    def move(self, old: str, new: str) -> None:
        """A model is renamed."""
        self._owners[("function", new)] = self._owners.pop(("function", old))
        self._grants[("function", new)] = self._grants.pop(("function", old))

    def owner(self, kind: str, full_name: str) -> str:
        """Owner of a securable; an admin's where none is known."""
        admins = [p.name for p in self._platform.people.values() if p.is_admin]
        return self._owners.get((kind, full_name), admins[0] if admins else "")

    def has(self, person: Person, kind: str, full_name: str, privilege: str) -> bool:
        """Whether a person has a privilege, by whatever way."""
        if person.is_admin or self._owners.get((kind, full_name)) == person.name:
            return True
        names = {person.name, EVERYBODY, *person.groups}
        for securable in _chain((kind, full_name)):
            for principal, privileges in self._grants.get(securable, {}).items():
                if principal in names and privileges & {privilege, "ALL_PRIVILEGES", "MANAGE"}:
                    return True
        return False

    def check(self, person: Person, kind: str, full_name: str, privilege: str) -> None:
        """Check a privilege.

        :raises ApiError: It lacks.
        """
        if not self.has(person, kind, full_name, privilege):
            raise denied(f"User does not have {privilege} on {kind.capitalize()} '{full_name}'.")

    def _known(self, kind: str, full_name: str) -> Securable:
        if kind.lower() not in PRIVILEGES:
            raise invalid(f"'{kind}' is not a supported securable type")
        if (kind.lower(), full_name) not in self._grants:
            code = "RESOURCE_DOES_NOT_EXIST" if kind.lower() == "function" else f"{kind.upper()}_DOES_NOT_EXIST"
            raise ApiError(404, code, f"{kind.capitalize()} '{full_name}' does not exist.")
        return kind.lower(), full_name

    def show(self, kind: str, full_name: str) -> Dict[str, Any]:
        """`PermissionsList`: direct grants."""
        grants = self._grants[self._known(kind, full_name)]
        assigned = [{"principal": p, "privileges": sorted(granted)} for p, granted in grants.items() if granted]
        return {"privilege_assignments": assigned} if assigned else {}

    def show_effective(self, kind: str, full_name: str) -> Dict[str, Any]:
        """`EffectivePermissionsList`: those inherited too, with where they come from."""
        start = self._known(kind, full_name)
        found: Dict[str, List[Dict[str, str]]] = {}
        for securable in _chain(start):
            for principal, privileges in self._grants.get(securable, {}).items():
                origin = {"inherited_from_type": securable[0].upper(), "inherited_from_name": securable[1]}
                for privilege in sorted(privileges):
                    if securable == start:
                        found.setdefault(principal, []).append({"privilege": privilege})
                    elif privilege in PRIVILEGES[start[0]]:
                        found.setdefault(principal, []).append({"privilege": privilege, **origin})
        return {"privilege_assignments": [{"principal": p, "privileges": given} for p, given in found.items()]}

    def change(self, kind: str, full_name: str, changes: List[Dict[str, Any]]) -> None:
        """Add and remove direct grants, all or none.

        :raises ApiError: A principal or a privilege is unknown.
        """
        grants = self._grants[self._known(kind, full_name)]
        for change in changes:
            self._check_principal(change.get("principal") or "")
            for privilege in [*(change.get("add") or ()), *(change.get("remove") or ())]:
                if privilege not in PRIVILEGES[kind.lower()]:
                    raise invalid(f"Privilege {privilege} is not applicable to this entity [{full_name}].")
        for change in changes:
            granted = grants.setdefault(change["principal"], set())
            granted.update(change.get("add") or ())
            granted.difference_update(change.get("remove") or ())

    def _check_principal(self, name: str) -> None:
        people = {p.name for p in self._platform.people.values()}
        # "admins" and "users" are groups of the workspace, which Unity Catalog does not know
        if name not in people | {EVERYBODY} | set(self._platform.groups) - {"admins", "users"}:
            raise ApiError(404, "PRINCIPAL_DOES_NOT_EXIST", f"Could not find principal with name {name}")


def _chain(securable: Securable) -> Iterator[Securable]:
    """A securable and those above it."""
    kind, full_name = securable
    yield securable
    if kind == "function":
        yield from _chain(("schema", full_name.rpartition(".")[0]))
    elif kind == "schema":
        yield ("catalog", full_name.split(".")[0])


def routes(platform: Platform, rights: UnityRights) -> List[Route]:
    """All of them."""

    def get(_: Call, which: str, kind: str, full_name: str) -> Dict[str, Any]:
        show = rights.show if which == "permissions" else rights.show_effective
        return show(kind, full_name)

    def change(call: Call, which: str, kind: str, full_name: str) -> Dict[str, Any]:
        if which != "permissions":
            raise ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for 'PATCH {call.request.path}'")
        rights.check(call.user, kind.lower(), full_name, "MANAGE")
        with platform.lock:
            rights.change(kind, full_name, call.args.get("changes") or [])
        return rights.show(kind, full_name)

    def model(call: Call, full_name: str) -> Dict[str, Any]:
        rights.show("function", full_name)
        catalog, schema, name = full_name.split(".")
        owner = rights.owner("function", full_name)
        shape = {"name": name, "catalog_name": catalog, "schema_name": schema}
        return {**shape, "full_name": full_name, "owner": owner}

    def create_schema(call: Call) -> Dict[str, Any]:
        full_name = f"{call.need('catalog_name')}.{call.need('name')}"
        if full_name in platform.schemas:
            raise ApiError(400, "SCHEMA_ALREADY_EXISTS", f"Schema '{full_name}' already exists")
        platform.schemas.append(full_name)
        rights.open(full_name)
        shape = {"name": call.need("name"), "catalog_name": call.need("catalog_name")}
        return {**shape, "full_name": full_name, "owner": call.user.name}

    return [
        ("GET", _PERMISSIONS, get),
        ("PATCH", _PERMISSIONS, change),
        ("GET", "/api/2.1/unity-catalog/models/<full_name>", model),
        ("POST", "/api/2.1/unity-catalog/schemas", create_schema),
    ]
