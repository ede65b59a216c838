"""Permissions of workspace objects: direct grants, and those inherited from the directories above."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from tests.databricks.standin.platform import Call, Person, Platform, Route, absent, denied, invalid
from tests.databricks.standin.workspace import DIRECTORY, EXPERIMENT, NOTEBOOK, Workspace

Principal = Tuple[str, str]  # user_name, group_name or service_principal_name; its name
Object = Tuple[str, str]  # experiments, notebooks, directories or registered-models; its id
Grants = Dict[Principal, str]

_FILES = ("CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE")
#: levels of each type, lowest first
LEVELS = {
    "experiments": ("CAN_READ", "CAN_EDIT", "CAN_MANAGE"),
    "registered-models": (
        "CAN_READ", "CAN_EDIT", "CAN_MANAGE_STAGING_VERSIONS", "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE",
    ),
    "notebooks": _FILES,
    "directories": _FILES,
}  # fmt: skip
_OBJECT_TYPES = {
    "experiments": "mlflowExperiment",
    "registered-models": "registered-model",
    "notebooks": "notebook",
    "directories": "directory",
}
_KINDS = {"notebooks": NOTEBOOK, "directories": DIRECTORY}
_ROOT_OF_MODELS: Object = ("registered-models", "root")
ADMINS: Principal = ("group_name", "admins")


class Permissions:
    """Who may do what; `notebook_experiments` says of which notebook an experiment is."""

    def __init__(self, platform: Platform, workspace: Workspace) -> None:
        """With the grants that a workspace has from the start."""
        self._platform, self._workspace = platform, workspace
        self.notebook_experiments: Dict[str, str] = {}
        self.models: Dict[str, str] = {}  # id of a registered model -> name
        self._grants: Dict[Object, Grants] = {_ROOT_OF_MODELS: {ADMINS: "CAN_MANAGE"}}
        self.grant(self._directory("/"), ADMINS, "CAN_MANAGE")
        self.grant(self._directory("/Shared"), ("group_name", "users"), "CAN_MANAGE")
        for person in platform.people.values():
            self.grant(self._directory(f"/Users/{person.name}"), person.principals[0], "CAN_MANAGE")

    def _directory(self, path: str) -> Object:
        return ("directories", str(self._workspace.nodes[path].object_id))

    def grant(self, obj: Object, principal: Principal, level: str) -> None:
        """Give a principal a level directly."""
        self._grants.setdefault(obj, {})[principal] = level

    def exists(self, obj: Object) -> bool:
        """Whether there is such an object."""
        kind, object_id = obj
        if kind == "registered-models":
            return object_id in self.models
        if kind == "experiments":
            return object_id in self.notebook_experiments or self._node(EXPERIMENT, object_id) is not None
        return self._node(_KINDS[kind], object_id) is not None

    def _node(self, kind: str, object_id: str) -> Any:
        return self._workspace.of_id(kind, int(object_id)) if object_id.isdigit() else None

    def _above(self, obj: Object) -> List[Object]:
        """What an object inherits from, nearest first."""
        kind, object_id = obj
        if kind == "registered-models":
            return [_ROOT_OF_MODELS]
        if kind == "experiments" and object_id in self.notebook_experiments:
            notebook: Object = ("notebooks", self.notebook_experiments[object_id])
            return [notebook, *self._above(notebook)]
        node = self._node(_KINDS.get(kind, EXPERIMENT), object_id)
        return [("directories", str(n.object_id)) for n in self._workspace.parents(node.path)] if node else []

    def level(self, person: Person, obj: Object) -> Optional[str]:
        """The highest level that a person has on an object, whatever gives it."""
        if person.is_admin:
            return "CAN_MANAGE"
        levels = LEVELS[obj[0]]
        given = [self._grants.get(o, {}).get(p) for o in (obj, *self._above(obj)) for p in person.principals]
        known = [_as_level(level, levels) for level in given if level]
        return max(known, key=levels.index) if known else None

    def check(self, person: Person, obj: Object, wanted: str) -> None:
        """Check that a person has a level on an object.

        :raises ApiError: The person has less.
        """
        level, levels = self.level(person, obj), LEVELS[obj[0]]
        if level is None or levels.index(level) < levels.index(wanted):
            verb = {"CAN_READ": "View", "CAN_EDIT": "Edit"}.get(wanted, "Manage")
            raise denied(
                f"{person.name} does not have {verb} permissions on /{obj[0]}/{obj[1]}. "
                "Please contact the owner or an administrator for access."
            )

    def show(self, obj: Object) -> Dict[str, Any]:
        """The whole list, direct and inherited."""
        kind, object_id = obj
        found: Dict[Principal, List[Dict[str, Any]]] = {}
        for principal, level in self._grants.get(obj, {}).items():
            found.setdefault(principal, []).append({"permission_level": level, "inherited": False})
        for above in self._above(obj):
            for principal, level in self._grants.get(above, {}).items():
                entry = {
                    "permission_level": _as_level(level, LEVELS[kind]),
                    "inherited": True,
                    "inherited_from_object": [f"/{above[0]}/{above[1]}"],
                }
                found.setdefault(principal, []).append(entry)
        entries = [
            {name_kind: name, "display_name": name, "all_permissions": permissions}
            for (name_kind, name), permissions in found.items()
        ]
        return {
            "object_id": f"/{kind}/{object_id}",
            "object_type": _OBJECT_TYPES[kind],
            "access_control_list": entries,
        }

    def change(self, obj: Object, entries: List[Dict[str, Any]], replace: bool) -> None:
        """Add direct grants, or put them in place of those that are there.

        :raises ApiError: A principal or level is unknown, or a notebook's experiment was meant.
        """
        if obj[0] == "experiments" and obj[1] in self.notebook_experiments:
            raise invalid("Permissions of a notebook experiment are those of its notebook and can't be set.")
        wanted = dict(self._grant_of(entry, LEVELS[obj[0]]) for entry in entries)
        if any(p == ADMINS and level != "CAN_MANAGE" for p, level in wanted.items()):
            raise invalid("Cannot change the permissions of the admins group")
        self._grants[obj] = {**({} if replace else self._grants.get(obj, {})), **wanted}

    def _grant_of(self, entry: Dict[str, Any], levels: Tuple[str, ...]) -> Tuple[Principal, str]:
        kinds = [k for k in ("user_name", "group_name", "service_principal_name") if entry.get(k)]
        if len(kinds) != 1:
            raise invalid("Exactly one of user_name, group_name and service_principal_name must be given")
        kind, level = kinds[0], entry.get("permission_level")
        if not self._platform.has_principal(kind, entry[kind]):
            words = "".join(word.capitalize() for word in kind.split("_"))
            raise absent(f"Principal: {words}({entry[kind]}) does not exist")
        if level not in levels:
            raise invalid(f"Invalid permission level: {level}. Allowed are: {', '.join(levels)}")
        return (kind, entry[kind]), str(level)


def _as_level(level: str, levels: Tuple[str, ...]) -> str:
    # a directory's CAN_RUN is no level of an experiment
    return level if level in levels else "CAN_READ"


def routes(platform: Platform, permissions: Permissions) -> List[Route]:
    """All of them."""

    def known(kind: str, object_id: str) -> Object:
        if kind not in LEVELS:
            raise invalid(f"'{kind}' is not a supported object type")
        if not permissions.exists((kind, object_id)):
            raise absent(f"{_OBJECT_TYPES[kind]} with id {object_id} does not exist.")
        return (kind, object_id)

    def get(call: Call, kind: str, object_id: str) -> Dict[str, Any]:
        obj = known(kind, object_id)
        permissions.check(call.user, obj, "CAN_READ")
        return permissions.show(obj)

    def levels(_: Call, kind: str, object_id: str) -> Dict[str, Any]:
        known(kind, object_id)
        return {"permission_levels": [{"permission_level": n, "description": n} for n in LEVELS[kind]]}

    def change(call: Call, kind: str, object_id: str) -> Dict[str, Any]:
        obj = known(kind, object_id)
        permissions.check(call.user, obj, "CAN_MANAGE")
        with platform.lock:
            permissions.change(obj, call.args.get("access_control_list") or [], call.request.method == "PUT")
        return permissions.show(obj)

    path = "/api/2.0/permissions/<kind>/<object_id>"
    return [
        ("GET", path, get),
        ("PUT", path, change),
        ("PATCH", path, change),
        ("GET", f"{path}/permissionLevels", levels),
    ]
