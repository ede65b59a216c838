"""Compares the objects that a server has few of, such as scorers or webhooks: one rule, and what is particular to each.

Nothing here is shared with what imports compare: a mistake there must not hide itself here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client.access import read_all_users, read_permissions, read_roles, read_users
from mlflow_migration.client.errors import BadDirectory, NotFound, Unauthorized
from mlflow_migration.client.gateway import (
    read_bindings,
    read_budgets,
    read_endpoints,
    read_guardrails,
    read_model_definitions,
    read_secrets,
)
from mlflow_migration.client.issues import read_issues
from mlflow_migration.client.label_schemas import read_label_schemas
from mlflow_migration.client.mcp_servers import read_mcp_servers
from mlflow_migration.client.review_queues import read_review_queues
from mlflow_migration.client.scorers import read_scorers
from mlflow_migration.client.server_jobs import read_jobs
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.client.webhooks import read_webhooks
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import get_mlflow
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import RUN, TRACE, Fields, Thing
from mlflow_migration.verify.report import Report

Json = Dict[str, Any]
Objects = Tuple[Sequence[Json], Mapping[str, str]]
"""Objects of one kind of a side, and the names of the side's experiments by id, as far as they are known."""

ISSUE = "issue"

_INDEX = re.compile(r"\.(?:\d+|\[[^]]*\])(?=\.|$)")


@dataclass(frozen=True)
class Spec:
    """What is particular to a kind.

    :param kind: Its name in the report.
    :param plural: Name of its file and of the list in it.
    :param read: Yields all objects of a server.
    :param named: Fields that together name an object among those of its server: paths such as ``experiment_id``, which
        is the first if the object belongs to the experiment.
    :param ignored: Paths of what no destination can have; those of parts of a list leave its indexes out.
    :param experiments: Paths of ids of experiments.
    :param runs: Paths of ids of runs.
    :param traces: Paths of ids of traces.
    :param keyed: Lists whose parts have a name of their own: path of the list, and the field with that name.
    :param held_back: Paths of what only arrives with ``--activate``: that the destination has none is no difference.
    :param switched_off: Likewise: values by paths that the destination may have instead.
    :param id: Path of what the ledger calls its id at the source; empty if that is its title.
    :param folder: That of its file, if it shares one with other kinds.
    :param registered: Fields that name a registered model or a prompt, as which they are called.
    :param read_there: Yields all objects of a destination, if these are more than ``read`` yields.
    :param left_out: Says why the destination need not have an object; None if it has to.
    """

    kind: str
    plural: str
    read: Callable[[Tracking], Iterator[Json]]
    named: Sequence[str]
    ignored: Sequence[str] = ()
    experiments: Sequence[str] = ("experiment_id",)
    runs: Sequence[str] = ()
    traces: Sequence[str] = ()
    held_back: Sequence[str] = ()
    keyed: Mapping[str, str] = field(default_factory=dict)
    switched_off: Mapping[str, str] = field(default_factory=dict)
    registered: Sequence[str] = ()
    id: str = ""
    folder: str = ""
    read_there: Optional[Callable[[Tracking], Iterator[Json]]] = None
    left_out: Callable[[Json], Optional[str]] = lambda doc: None


def _is_default(doc: Json) -> Optional[str]:
    return "made by a server that knows label schemas" if doc.get("is_default") else None


def _is_held_back(doc: Json) -> Optional[str]:
    return "held back without --activate"


def _is_of_none(doc: Json) -> Optional[str]:
    return "their experiment is deleted" if doc.get("deleted") else None


def _would_run(doc: Json) -> Optional[str]:
    return "to create one would run it"


_WHAT = ("experiment_id", "registered_model", "prompt", "resource")  # that something is permitted for

SPECS: Sequence[Spec] = (
    Spec(
        "scorer", "scorers", read_scorers, ("experiment_id", "name"),
        ignored=("scorer_id", "versions.creation_time"), held_back=("online",), id="scorer_id",
    ),
    Spec(
        "webhook", "webhooks", read_webhooks, ("name",), ignored=("webhook_id",),
        switched_off={"status": "DISABLED"}, id="webhook_id",
    ),
    Spec(
        "gateway_secret", "gateway_secrets", read_secrets, ("name",), ignored=("secret_id",), id="secret_id",
        folder="gateway",
    ),
    Spec(
        "gateway_model_definition", "gateway_model_definitions", read_model_definitions, ("name",),
        ignored=("model_definition_id",), id="model_definition_id", folder="gateway",
    ),
    Spec(
        "gateway_endpoint", "gateway_endpoints", read_endpoints, ("name",), ignored=("endpoint_id",),
        id="endpoint_id", folder="gateway",
    ),
    Spec(
        "gateway_guardrail", "gateway_guardrails", read_guardrails,
        ("name", "experiment_id", "scorer", "scorer_version", "stage", "action", "action_endpoint"),
        ignored=("guardrail_id",), id="guardrail_id", folder="gateway",
    ),
    Spec(
        "gateway_binding", "gateway_bindings", read_bindings, ("endpoint", "resource_type", "experiment_id", "scorer"),
        ignored=("binding_id", "resource_id"), id="binding_id", folder="gateway",
    ),
    Spec(
        ISSUE, "issues", read_issues, ("experiment_id", "name"),
        ignored=("issue_id", "created_timestamp", "last_updated_timestamp"), runs=("source_run_id",), id="issue_id",
    ),
    Spec(
        "label_schema", "label_schemas", read_label_schemas, ("experiment_id", "name"),
        ignored=("schema_id", "created_at", "last_updated_at", "created_by"), left_out=_is_default, id="schema_id",
    ),
    Spec(
        "review_queue", "review_queues", read_review_queues, ("experiment_id", "name"),
        ignored=(
            "queue_id", "creation_time_ms", "last_update_time_ms",
            "items.creation_time_ms", "items.last_update_time_ms", "items.completed_time_ms",
        ),
        keyed={"items": "item_id"}, traces=("items.item_id",), id="queue_id",
    ),
    Spec(
        "gateway_budget", "gateway_budgets", read_budgets,
        ("target_scope", "endpoint", "user", "budget_unit", "duration.unit", "duration.value"),
        ignored=("budget_policy_id",), left_out=_is_held_back, id="budget_policy_id", folder="gateway",
    ),
    Spec("mcp_server", "mcp_servers", read_mcp_servers, ("name",)),
    Spec("user", "users", read_users, ("username",), folder="users", read_there=read_all_users),
    Spec("role", "roles", read_roles, ("name",), ignored=("role_id",), id="role_id", folder="users"),
    Spec(
        "permission", "permissions", read_permissions, ("user", "role", "resource_type", *_WHAT),
        ignored=("id", "permission_id", "deleted"), registered=("registered_model", "prompt"), id="id", folder="users",
        left_out=_is_of_none,
    ),
    Spec("job", "jobs", read_jobs, ("job_id",), left_out=_would_run),
)  # fmt: skip


@dataclass
class KindsVerifier:
    """Compares the objects of all kinds of two sides.

    :param links: What is a copy of what.
    :param report: Gets the results.
    :param depth: ``counts`` compares only which objects there are.
    :param experiments: Returns the ids that an experiment of the source has at the destination.
    :param registered: Returns the names of the copies of a ``registered_model`` or ``prompt``.
    :param scopes: Ids of the destination's experiments that are compared: nothing else is to be in them.
    """

    links: Links
    report: Report
    depth: str
    experiments: Callable[[str, Optional[str]], Set[str]]
    registered: Callable[[str, str], Sequence[str]]
    scopes: Set[str]

    def compare(self, spec: Spec, ours: Objects, theirs: Objects) -> None:
        """Compare the objects of one kind.

        :param ours: Those of the source.
        :param theirs: Those of the destination.
        """
        names = ours[1]
        left = {index: flat(spec, doc) for index, doc in enumerate(theirs[0])}
        by_key: Dict[Tuple[Any, ...], List[int]] = {}
        for index, dst in left.items():
            by_key.setdefault(_key(spec, dst), []).append(index)
        for doc in ours[0]:
            src = flat(spec, doc)
            name = title(spec, doc, names)
            thing = Thing(spec.kind, str(doc.get(spec.id) or name), name)
            near = {index for key in self._keys(spec, src, names) for index in by_key.get(key, ())}
            found = [index for index in sorted(near & left.keys()) if self._is_copy(spec, src, left[index], names)]
            if not found:
                self._missing(spec, thing, doc)
                continue
            # of several with one name, the one that differs least
            ranked = sorted((len(self._differences(spec, src, left[index], names)), index) for index in found)
            dst = left.pop(ranked[0][1])
            differences = [] if self.depth == "counts" else self._differences(spec, src, dst, names)
            self.report.compared(thing, title(spec, theirs[0][ranked[0][1]], theirs[1]), differences, ())
        for index, dst in left.items():
            if str(dst.get("experiment_id")) not in self.scopes or spec.named[0] != "experiment_id":
                continue  # what belongs to no experiment may be anybody's
            dst_id = title(spec, theirs[0][index], theirs[1])
            self.report.record(spec.kind, "extra", dst_id=dst_id, reason="the source has none that it is a copy of")

    def _missing(self, spec: Spec, thing: Thing, doc: Json) -> None:
        why = spec.left_out(doc)
        if why is None:
            self.report.missing(thing)
        else:
            self.report.leave_out(spec.kind, why)

    def _keys(self, spec: Spec, src: Fields, names: Mapping[str, str]) -> Iterator[Tuple[Any, ...]]:
        """Yield what names of a copy can be, as far as that is known without looking at any."""
        values: List[Iterable[Any]] = []
        for name in _sure(spec):
            value = src.get(name)
            if name in spec.experiments and value is not None:
                values.append(self.experiments(str(value), names.get(str(value))))
            elif name in spec.registered and value:
                values.append(self.registered(name, str(value)))
            else:
                values.append([value])
        return product(*values)

    def _is_copy(self, spec: Spec, src: Fields, dst: Fields, names: Mapping[str, str]) -> bool:
        return all(self._same(spec, name, src.get(name), dst.get(name), names) for name in spec.named)

    def _same(self, spec: Spec, name: str, src: Any, dst: Any, names: Mapping[str, str]) -> bool:
        path = _without_indexes(name)
        if path in spec.experiments and src is not None and dst is not None:
            return str(dst) in self.experiments(str(src), names.get(str(src)))
        if path in spec.runs and src and dst:
            return self.links.same(RUN, str(src), str(dst), "")
        if path in spec.registered and src and dst:
            return str(dst) in self.registered(path, str(src))
        return bool(src == dst)

    def _with_traces_of(self, spec: Spec, src: Fields, dst: Fields) -> Fields:
        """Return the fields of a copy with the ids that the source's traces have, where their copies have others."""
        ours, theirs = (
            {str(value) for path, value in fields.items() if _without_indexes(path) in spec.traces}
            for fields in (src, dst)
        )
        homes: Dict[str, str] = {}
        for dst_id in theirs - ours:
            same = [one for one in sorted(ours - theirs) if self.links.same(TRACE, one, dst_id, "")]
            homes.update({dst_id: same[0]} if same else {})
        found = {}
        for path, value in dst.items():
            index = _INDEX.search(path)
            home = homes.get(index.group()[2:-1]) if index else None
            if home and index:
                path = f"{path[: index.start()]}.[{home}]{path[index.end() :]}"
                value = home if _without_indexes(path) in spec.traces else value
            found[path] = value
        return found

    def _differences(
        self, spec: Spec, src: Fields, dst: Fields, names: Mapping[str, str]
    ) -> List[Tuple[str, Any, Any]]:
        found = []
        dst = self._with_traces_of(spec, src, dst)
        for name in sorted(src.keys() | dst.keys()):
            if dst.get(name) is None and any(_is_below(name, path) for path in spec.held_back):
                continue
            if name in spec.switched_off and dst.get(name) == spec.switched_off[name]:
                continue
            if not self._same(spec, name, src.get(name), dst.get(name), names):
                found.append((name, src.get(name), dst.get(name)))
        return found


def flat(spec: Spec, doc: Json) -> Fields:
    """Return the fields of an object by their paths, such as ``versions.0.serialized_scorer``; empty ones are none."""
    found: Fields = {}

    def add(path: str, value: Any) -> None:
        if any(_is_below(path, ignored) for ignored in spec.ignored):
            return
        if isinstance(value, dict):
            for key in value:
                add(f"{path}.{key}" if path else str(key), value[key])
        elif isinstance(value, list):
            key = spec.keyed.get(path, "")
            for index, one in enumerate(value):
                named = one.get(key) if isinstance(one, dict) else None
                add(f"{path}.[{named}]" if named else f"{path}.{index}", one)
        elif value is not None and value != "":
            found[path] = value

    add("", doc)
    return found


def _sure(spec: Spec) -> List[str]:
    return [name for name in spec.named if name not in spec.runs]


def _key(spec: Spec, dst: Fields) -> Tuple[Any, ...]:
    values = ((name, dst.get(name)) for name in _sure(spec))
    return tuple(str(value) if name in spec.experiments and value is not None else value for name, value in values)


def _without_indexes(path: str) -> str:
    return _INDEX.sub("", path)


def _is_below(path: str, parent: str) -> bool:
    plain = _without_indexes(path)
    return plain == parent or plain.startswith(parent + ".")


def title(spec: Spec, doc: Json, names: Mapping[str, str]) -> str:
    """Return what a reader calls an object.

    :param names: Names of the experiments of its side by id.
    """
    found = {name: str(doc[name]) for name in spec.named if doc.get(name) is not None}
    found.update({name: names.get(found[name], found[name]) for name in spec.experiments if name in found})
    return "/".join(found.values()) or json.dumps(doc)[:40]


def read_server(spec: Spec, tracking: Tracking, there: bool = False) -> Optional[List[Json]]:
    """Return the objects that a server has; None if it can't be told, as it has no such route or the user no right.

    :param there: It is the destination.
    """
    read = spec.read_there if there and spec.read_there else spec.read
    try:
        return list(read(tracking))
    except Unauthorized:
        return None
    except NotFound as ex:
        if ex.error_code:
            raise
        return None


def read_directory(spec: Spec, directory: ExportDir) -> Optional[Tuple[List[Json], Dict[str, str]]]:
    """Return the objects that an export has, and the names of their experiments by id; None if it has no such file.

    :param directory: That of the whole export, or of the kind's.
    :raises BadDirectory: The file can't be read.
    """
    file = f"{spec.plural}.json"
    place = next((one for one in (directory.sub(spec.folder or spec.plural), directory) if one.exists(file)), None)
    if place is None:
        return None
    doc = get_mlflow(place.read_json(file))
    docs, about = doc.get(spec.plural), doc.get("experiments")
    if not isinstance(docs, list) or not all(isinstance(one, dict) for one in docs):
        raise BadDirectory(f"{place.path}/{file}: '{spec.plural}' is no list of objects")
    named = about.items() if isinstance(about, dict) else ()
    return docs, {key: str(one["name"]) for key, one in named if isinstance(one, dict) and one.get("name")}
