"""What is particular to users, their roles and what both may do: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

from mlflow_migration.client import access
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies, Kind
from mlflow_migration.common.three_way import Plan

Json = Dict[str, Any]

FOLDER = "users"
HELD_BACK = "its experiment is deleted at the source"

_MEMBER = "user:"


def _check(doc: Mapping[Any, Any], texts: Iterable[Any], **others: type) -> None:
    """Refuse an object whose fields are not what an export writes: what is granted by mistake is worse than nothing.

    :param texts: Fields that are texts, and there.
    :param others: Types of further fields.
    """
    wrong = [name for name in texts if not (isinstance(doc[name], str) and doc[name])]
    wrong += [name for name, kind in others.items() if not isinstance(doc[name], kind)]
    if wrong:
        raise BadDirectory(f"its {wrong[0]} is not what an export writes")


class _Access:
    """What the three kinds have in common.

    :param names: Export only these users and what is theirs; empty for all.
    """

    folder, current_only = FOLDER, True

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = names

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return the experiment that it is for, if there is one."""
        return [doc["experiment_id"]] if "experiment_id" in doc else []

    def runs(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []


class Users(_Access):
    """Users. Who is new gets a password that nobody knows; who runs the command is left alone."""

    name, plural, loss = "user", "users", "users"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield the users; see :func:`access.read_users`."""
        return access.read_users(tracking, self._names)

    def read_there(self, tracking: Tracking) -> Iterator[Json]:
        """Yield the users of a destination, of whatever workspace: their names are unique on the whole server."""
        return access.read_all_users(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the user's name, which never changes."""
        return str(doc["username"])

    def title(self, doc: Json) -> str:
        """Return the user's name."""
        return str(doc["username"])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it as it is."""
        _check(doc, ["username"], is_admin=bool)
        return doc, []

    def key(self, doc: Json) -> str:
        """Return the user's name."""
        return str(doc["username"])

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return whether it is an administrator."""
        return {"is_admin": bool(doc["is_admin"])}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create the user without a password that could be used."""
        access.create_user(tracking, str(doc["username"]))
        if doc["is_admin"]:
            access.set_admin(tracking, str(doc["username"]), True)
        return str(doc["username"])

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Make the user an administrator or none; never the one who asks for it."""
        if access.current_user(tracking)["username"] == there["username"]:
            todo.write, todo.differs = [], todo.differs + todo.write
        if todo.write:
            access.set_admin(tracking, str(there["username"]), bool(doc["is_admin"]))

    def to_do(self, made: Sequence[Json]) -> str:
        """Tell who needs a password."""
        names = ", ".join(str(doc["username"]) for doc in made)
        return f"Passwords can't be copied: set one for each new user, who can't log in before: {names}."


class Roles(_Access):
    """Roles with the users that have them."""

    name, plural, loss = "role", "roles", "permissions"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield the roles; see :func:`access.read_roles`."""
        return access.read_roles(tracking, self._names)

    def id_of(self, doc: Json) -> str:
        """Return the role's id."""
        return str(doc["role_id"])

    def title(self, doc: Json) -> str:
        """Return its name."""
        return str(doc["name"])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it as it is."""
        _check(doc, ["role_id", "name"], description=str, users=list)
        _check(dict(enumerate(doc["users"])), range(len(doc["users"])))
        return doc, []

    def key(self, doc: Json) -> str:
        """Return its name, which is unique in its workspace."""
        return str(doc["name"])

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return its description and who has it."""
        return {"description": doc["description"], **{f"{_MEMBER}{name}": True for name in doc["users"]}}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create the role and give it to its users."""
        role_id = access.create_role(tracking, str(doc["name"]), str(doc["description"]))
        for name in doc["users"]:
            access.assign_role(tracking, role_id, str(name))
        return role_id

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Bring description and users up to date."""
        role_id = str(there["role_id"])
        if "description" in todo.write:
            access.describe_role(tracking, role_id, str(doc["description"]))
        for field in todo.write:
            if field.startswith(_MEMBER):
                access.assign_role(tracking, role_id, field[len(_MEMBER) :])
        for field in todo.drop:
            access.unassign_role(tracking, role_id, field[len(_MEMBER) :])


class Permissions(_Access):
    """What users may do without a role, and what roles permit."""

    name, plural, loss = "permission", "permissions", "permissions"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield the permissions; see :func:`access.read_permissions`."""
        return access.read_permissions(tracking, self._names)

    def id_of(self, doc: Json) -> str:
        """Return whose it is and what it is for."""
        return str(doc["id"])

    def title(self, doc: Json) -> str:
        """Return what is permitted."""
        return str(doc["permission"])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it for the copy of what it is for; held back if the source itself has no such experiment any more.

        :raises BadDirectory: The destination has no such copy.
        """
        named = [name for name in ("experiment_id", *access.NAMED, "resource") if name in doc]
        _check(doc, ["id", "role" if "role" in doc else "user", "resource_type", "permission", *named])
        if not named or {"user", "role"} <= doc.keys():
            raise BadDirectory("it does not tell whose it is and what for")
        new, resource_type = dict(doc), doc["resource_type"]
        if "experiment_id" in doc:
            try:
                new["experiment_id"] = copies.experiment(str(doc["experiment_id"]))
            except BadDirectory:
                if not doc.get("deleted"):
                    raise
                return {**new, "held_back": HELD_BACK}, []
        for kind in access.NAMED:
            if kind in doc:
                new[kind] = copies.registered(kind, str(doc[kind]))
        key = access.permission_key(new)
        what = key.partition(": ")[2]
        if not (copies.coming or copies.once(what, lambda: access.has_resource(copies.tracking, new))):
            raise BadDirectory(f"the {resource_type.replace('_', ' ')} that it is for is not at the destination")
        return {**new, "id": key}, []

    def key(self, doc: Json) -> str:
        """Return whose it is and what it is for."""
        return access.permission_key(doc)

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what is permitted."""
        return {"permission": str(doc["permission"])}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Permit it."""
        access.grant(tracking, doc)
        return str(doc["id"])

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Replace what is permitted."""
        if todo.write:
            access.change_permission(tracking, str(there["permission_id"]), str(doc["permission"]))


USERS, ROLES, PERMISSIONS = Users(), Roles(), Permissions()


def of_users(names: Sequence[str] = ()) -> Sequence[Kind]:
    """Return the three kinds in the order in which they need each other.

    :param names: Export only these users and what is theirs; empty for all.
    """
    return Users(names), Roles(names), Permissions(names)
