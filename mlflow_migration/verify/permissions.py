"""Compares what principals were given directly on an object with what they have on its copy."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Set, Tuple

from mlflow_migration.client.errors import BadDirectory, Gone, MlflowExportImportException, Stopped
from mlflow_migration.verify.compare import How
from mlflow_migration.verify.objects import Thing
from mlflow_migration.verify.report import Difference, Report

PERMISSIONS = "permissions"
_NAMES = ("user_name", "group_name", "service_principal_name", "principal")

Json = Dict[str, Any]


def differences(src: Any, dst: Any, new_names: Mapping[str, str]) -> List[Difference]:
    """Return what the copy lacks or has otherwise; others may have permissions on it, too.

    :param src: Permissions of the source's object, as a file has them or a workspace answers.
    :param dst: Those of the copy.
    :param new_names: The destination's names of principals by those of the source.
    :raises BadDirectory: The source's are none.
    """
    there = _direct(dst)
    wanted: Dict[Tuple[str, str], Set[str]] = {}
    for (kind, name), levels in _direct(src).items():
        wanted.setdefault((kind, new_names.get(name, name)), set()).update(levels)
    found: List[Difference] = []
    for principal, levels in sorted(wanted.items()):
        have = there.get(principal, set())
        # of privileges there are several, and more of them are nobody's loss
        if not levels <= have if principal[0] == "principal" else levels != have:
            found.append((":".join(principal), ", ".join(sorted(levels)), ", ".join(sorted(have)) or None))
    return found


def compare_permissions(src_side: Any, dst_side: Any, src: Thing, dst: Thing, how: How, report: Report) -> None:
    """Compare the permissions of an experiment or a registered model with those of its copy, if that is asked for.

    :param src_side: The source; it may have none of them.
    :param dst_side: The destination.
    """
    if how.permissions is False or how.depth == "counts":
        return
    thing = Thing(PERMISSIONS, f"{src.kind}/{src.id}", src.name)
    try:
        ours = src_side.permissions(src, bool(how.permissions))
        theirs = None if ours is None else dst_side.permissions(dst, True)
        if theirs is not None:
            report.compared(thing, dst.id, differences(ours, theirs, how.principals), ())
    except (Stopped, Gone):
        raise
    except MlflowExportImportException as ex:
        report.broken(thing, ex)


def _direct(doc: Any) -> Dict[Tuple[str, str], Set[str]]:
    try:
        lists = doc.get("permissions", doc)
        rows: List[Json] = [*(lists.get("access_control_list") or ()), *(lists.get("privilege_assignments") or ())]
        found: Dict[Tuple[str, str], Set[str]] = {}
        for row in rows:
            kind = next(name for name in _NAMES if row.get(name))
            levels = {
                item if isinstance(item, str) else item.get("permission_level") or item["privilege"]
                for item in row.get("all_permissions", row.get("privileges", [row])) or ()
                if isinstance(item, str) or not (item.get("inherited") or item.get("inherited_from_name"))
            }
            if levels:
                found.setdefault((kind, row[kind]), set()).update(levels)
    except (AttributeError, KeyError, StopIteration, TypeError) as ex:
        raise BadDirectory("'permissions' is no list of principals and what they may do") from ex
    return found
