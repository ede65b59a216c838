"""Permissions of a Databricks workspace: what an export keeps of them, and how an import grants them again.

Only what a principal was given on the object itself is granted. What is inherited from a folder, a schema or the
workspace is a matter of the destination's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client import databricks
from mlflow_migration.client.databricks import GROUP, SERVICE_PRINCIPAL, USER
from mlflow_migration.client.errors import (
    BadDirectory,
    Gone,
    MlflowExportImportException,
    Refused,
    Stopped,
    Unauthorized,
    describe,
)
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.common.job import Job
from mlflow_migration.common.rename_utils import read_rename_file

Json = Dict[str, Any]

KIND = "permissions"
LOSS = "permissions"
ANYBODY = "principal"
"""How Unity Catalog names its principals: it does not say whether it is a user, a group or a service principal."""

Principal = Tuple[str, str]
Grants = Dict[Principal, List[str]]
"""Levels or privileges by what kind of principal it is and its name."""

_KINDS = (USER, GROUP, SERVICE_PRINCIPAL)
_EVERYBODY = frozenset({"account users"})  # a group that every account has, and that SCIM does not list
_APPLICATION_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LEVELS = ("CAN_READ", "CAN_EDIT", "CAN_MANAGE_STAGING_VERSIONS", "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE")
_NONE = "The permissions of some objects are not known, as their export has none: --export-permissions takes them."


@dataclass(frozen=True)
class Securable:
    """What permissions are for.

    :param object_type: ``experiments``, ``registered-models``, or ``function``: a model of Unity Catalog.
    :param object_id: Its id; of a model of Unity Catalog the full name.
    """

    object_type: str
    object_id: str

    @property
    def is_unity_catalog(self) -> bool:
        """Whether Unity Catalog has it."""
        return self.object_type == "function"


def principals_of(options: Mapping[str, Any]) -> Dict[str, str]:
    """Return the new names of principals that the options of a command give; a whole name is replaced.

    :raises BadInput: The file can't be read.
    """
    given = options.get("principal_mapping_file")
    return read_rename_file(given) if isinstance(given, str) else dict(given or {})


def copied_permissions(options: Mapping[str, Any], *rests: RestClient) -> Dict[str, Any]:
    """Return the options of a copy with those that both halves have for permissions.

    :param options: Those of the command.
    :param rests: Clients of the source and of the destination: both have to be workspaces.
    """
    wanted = bool(options.get("copy_permissions")) and all(rest.connection.is_databricks for rest in rests)
    return {**options, "export_permissions": wanted, "import_permissions": wanted}


def experiment(experiment_id: str) -> Securable:
    """Return an experiment."""
    return Securable("experiments", experiment_id)


def registered_model(registry: Registry, name: str) -> Securable:
    """Return a registered model of a workspace's registry or of Unity Catalog.

    :raises NotFound: There is none.
    """
    if registry.keeps_files:
        return Securable("function", name)
    return Securable("registered-models", databricks.registered_model_id(registry.server.rest, name))


def read_permissions(rest: RestClient, what: Securable) -> Json:
    """Return the permissions of an object as the files of an export have them.

    :param rest: Client of the workspace.
    """
    if what.is_unity_catalog:
        return {
            "permissions": databricks.unity_permissions(rest, what.object_id),
            "effective_permissions": databricks.unity_permissions(rest, what.object_id, effective=True),
        }
    return {
        "permission_levels": databricks.permission_levels(rest, what.object_type, what.object_id),
        "permissions": databricks.permissions(rest, what.object_type, what.object_id),
    }


def export_permissions(job: Job, src_id: str, read: Callable[[], Json]) -> Optional[Json]:
    """Return the permissions of an object for its file, and record them; None if they can't be read.

    :param src_id: The object's kind and id, such as ``experiment/12``.
    :param read: Reads them.
    """
    job.ledger.expect(KIND, 1)
    try:
        found = read()
    except (Stopped, Gone):
        raise
    except MlflowExportImportException as ex:
        job.lost(KIND, src_id, ex, LOSS)
        return None
    job.ledger.record(KIND, "copied", src_id)
    return found


def direct_grants(doc: Any) -> Grants:
    """Return what principals were given on the object itself, whatever tool has written it.

    :param doc: ``permissions`` of the object's file, or the answer of a workspace.
    :raises BadDirectory: It has another shape than any tool has ever written.
    """
    try:
        inner = doc["permissions"] if "permissions" in doc else doc
        grants: Grants = {}
        for entry in inner.get("access_control_list") or ():
            kind = next(kind for kind in _KINDS if entry.get(kind))
            levels = entry["all_permissions"] if "all_permissions" in entry else [entry]
            found = [str(level["permission_level"]) for level in levels if not level.get("inherited")]
            if found:
                grants.setdefault((kind, str(entry[kind])), []).extend(found)
        for entry in inner.get("privilege_assignments") or ():
            found = [name for name in map(_own_privilege, entry.get("privileges") or ()) if name]
            if found:
                grants.setdefault((ANYBODY, str(entry["principal"])), []).extend(found)
    except (AttributeError, KeyError, StopIteration, TypeError) as ex:
        raise BadDirectory("'permissions' is no list of principals and what they may do") from ex
    return grants


def _own_privilege(privilege: Any) -> Optional[str]:
    if isinstance(privilege, str):
        return privilege
    return None if privilege.get("inherited_from_name") else str(privilege["privilege"])


@dataclass
class _Outcome:
    """``higher``: principals that may do more at the destination. ``lost``: a sentence for each that gets nothing."""

    granted: List[str]
    higher: List[str]
    lost: List[str]


def import_permissions(
    job: Job,
    rest: RestClient,
    src_id: str,
    what: Optional[Callable[[], Securable]],
    doc: Any,
    new_names: Mapping[str, str],
) -> None:
    """Grant an object of the destination what the source's principals were given directly, and record it.

    Nobody loses anything, and what is there already is not granted again.

    :param rest: Client of the destination.
    :param src_id: The source's object, such as ``experiment/12``.
    :param what: Returns the destination's object; None in a dry run that would create it.
    :param doc: ``permissions`` of its file; None if that has none.
    :param new_names: The destination's names of principals by those of the source.
    """
    if doc is None:
        if _NONE not in job.ledger.notes:
            job.ledger.note(_NONE)
        return
    job.ledger.expect(KIND, 1)
    try:
        outcome = _grant(job, rest, None if what is None else what(), doc, new_names)
    except (Stopped, Gone):
        raise
    except MlflowExportImportException as ex:
        job.lost(KIND, src_id, ex, LOSS)
        return
    higher = [f"left as it is, as it is more than at the source: {', '.join(outcome.higher)}"] if outcome.higher else []
    status = "incomplete" if outcome.lost else "copied" if outcome.granted else "differs" if higher else "unchanged"
    job.ledger.record(
        KIND, status, src_id, reason="; ".join(outcome.lost + higher) or None, losses=[LOSS] if outcome.lost else []
    )  # fmt: skip


def _grant(job: Job, rest: RestClient, what: Optional[Securable], doc: Any, new_names: Mapping[str, str]) -> _Outcome:
    outcome = _Outcome([], [], [])
    wanted: Grants = {}
    for (kind, name), levels in direct_grants(doc).items():
        wanted.setdefault((kind, new_names.get(name, name)), []).extend(levels)
    if what is not None and any((kind == ANYBODY) != what.is_unity_catalog for kind, _ in wanted):
        outcome.lost.append("Unity Catalog and the workspace's registry have other permissions than each other")
        return outcome
    there = direct_grants(read_permissions(rest, what)) if what is not None else {}
    todo: Grants = {}
    for principal, levels in wanted.items():
        if not _exists(job, rest, principal):
            outcome.lost.append(f"the destination has no {_title(principal)}, who has {', '.join(levels)}")
            continue
        new, more = _missing(principal, levels, there.get(principal, []))
        if new:
            todo[principal] = new
        elif more:
            outcome.higher.append(f"{_title(principal)} has {', '.join(more)}")
    if todo and what is not None and not job.dry_run:
        outcome.lost += _send(rest, what, todo)
    outcome.granted += [_title(principal) for principal in todo]
    return outcome


def _missing(principal: Principal, wanted: List[str], there: List[str]) -> Tuple[List[str], List[str]]:
    """Return what is to be granted, and what the destination has instead if that is more."""
    if principal[0] == ANYBODY:
        return [privilege for privilege in dict.fromkeys(wanted) if privilege not in there], []
    # a principal has one level: each includes those below it
    best, have = max(wanted, key=_rank), max(there, key=_rank, default="")
    if have == best:
        return [], []
    return ([], [have]) if have and _rank(have) > _rank(best) else ([best], [])


def _rank(level: str) -> int:
    return _LEVELS.index(level) if level in _LEVELS else -1


def _send(rest: RestClient, what: Securable, todo: Grants) -> List[str]:
    """Grant all at once; if that is refused, each alone. Return a sentence for each principal that gets nothing."""

    def send(some: Grants) -> None:
        if what.is_unity_catalog:
            databricks.grant_privileges(rest, what.object_id, {name: levels for (_, name), levels in some.items()})
            return
        entries = [{kind: name, "permission_level": levels[0]} for (kind, name), levels in some.items()]
        databricks.grant_permissions(rest, what.object_type, what.object_id, entries)

    try:
        send(todo)
    except Refused as ex:
        if isinstance(ex, Unauthorized) or len(todo) == 1:
            raise
    else:
        return []
    lost: List[str] = []
    for principal, levels in todo.items():
        try:
            send({principal: levels})
        except Refused as ex:
            lost.append(f"{_title(principal)} does not get {', '.join(levels)}: {describe(ex)}")
    return lost


def _exists(job: Job, rest: RestClient, principal: Principal) -> bool:
    """Tell whether the destination has a principal; if these credentials may not look, granting will tell."""
    kind, name = principal
    if name in _EVERYBODY:
        return True
    if kind == ANYBODY:
        kind = USER if "@" in name else SERVICE_PRINCIPAL if _APPLICATION_ID.fullmatch(name) else GROUP
    key = (rest.url, kind, name)
    if key not in job.principals:
        try:
            job.principals[key] = databricks.has_principal(rest, kind, name)
        except Refused:
            job.principals[key] = True
    return job.principals[key]


def _title(principal: Principal) -> str:
    kind, name = principal
    return f"{kind.replace('_name', '').replace('_', ' ')} '{name}'"
