"""Objects that a server has few of, such as scorers or webhooks: one rule exports and imports them, whatever the kind.

All objects of a kind lie in one file, ``<plural>.json``. What is particular to a kind is told by its :class:`Kind`.
"""

from __future__ import annotations

from typing import (
    AbstractSet,
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
    runtime_checkable,
)

from mlflow_migration.client.errors import BadDirectory, BadInput, NotFound, Refused, Unauthorized, describe
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.io_utils import envelope, get_info, get_mlflow
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Links, Origins
from mlflow_migration.common.one_server import Destination, Source, export_script, exporting, import_script, importing
from mlflow_migration.common.rename_utils import get_renames, rename
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled, short

Json = Dict[str, Any]
T = TypeVar("T")

COMING = "coming"
"""Name of the option that says that a dry run is one of everything; see :class:`Copies`."""

SECRETS = "secrets"
"""What ``--accept-loss`` calls what no server tells and nobody has set by hand yet."""
_SCOPE = ""  # of ids in the id map: these objects are the server's, not an experiment's


class Recorded(Protocol):
    """A kind of object that is exported: as a :class:`Kind`, or for the record only.

    An object is a dict as :meth:`read` yields it: what REST returns of it, with all that belongs to it inside. What
    it refers to is named by ids of experiments and runs, and else by names.

    :ivar name: Such as ``scorer``, for ledger and id map.
    :ivar plural: Such as ``scorers``: name of the file without ``.json``, of the list in it, and of the folder.

    Kinds that share a folder have its name as ``folder``. One with ``current_only`` keeps in its file nothing that the
    source has no more. One with ``read_there`` reads by it what a destination has, where that is more.
    """

    name: str
    plural: str

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all objects of a server.

        :raises NotFound: Without an error code: the server has no such route.
        """

    def id_of(self, doc: Json) -> str:
        """Return what names the object for ever at its server."""

    def title(self, doc: Json) -> str:
        """Return what a reader calls it."""

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return the ids of the experiments that it names."""

    def runs(self, doc: Json) -> Sequence[str]:
        """Return the ids of the runs that it names."""


class Kind(Recorded, Protocol):
    """What is particular to one kind of object.

    :ivar loss: What ``--accept-loss`` calls it.
    """

    loss: str

    def translated(self, doc: Json, copies: "Copies") -> Tuple[Json, List[str]]:
        """Return the object in terms of the destination, and a sentence for each part that the destination can't have.

        The object may get these besides: ``unsaid``, names of fields that are written when it is created and left
        alone later; ``held_back``, why it is not created if there is none.

        :raises BadDirectory: It can't be had at all, such as without its experiment.
        """

    def key(self, doc: Json) -> str:
        """Return what finds its copy: the same for an object of the destination and one translated to it."""

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what is compared and kept up to date, by names such as ``name`` or ``tag:team``: any JSON."""

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it, and return its id."""

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Bring what the destination has up to date.

        :param there: As the destination has it.
        :param doc: As it is to be.
        :param todo: Names of the fields that are to be written or dropped; what can't be done is moved to `differs`.
        """


class OfExperiment:
    """What kinds have in common whose objects belong to an experiment, where only one has a name.

    :cvar id_field: The field with the id.
    """

    id_field: str

    def id_of(self, doc: Json) -> str:
        """Return the object's id."""
        return str(doc[self.id_field])

    def title(self, doc: Json) -> str:
        """Return its name."""
        return str(doc["name"])

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return its experiment."""
        return [doc["experiment_id"]]

    def runs(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []

    def key(self, doc: Json) -> str:
        """Return experiment and name."""
        return f"{doc['experiment_id']}/{doc['name']}"


@runtime_checkable
class LeavesToDo(Protocol):
    """A kind of which something is to be done by hand once objects have been created."""

    def to_do(self, made: Sequence[Json]) -> str:
        """Return a sentence for the summary.

        :param made: What was created.
        """


@runtime_checkable
class HasDefaults(Protocol):
    """A kind of which a server makes some objects itself: that a destination has none of these is no loss."""

    def is_default(self, doc: Json) -> bool:
        """Tell whether it is one of these."""


@runtime_checkable
class SetByHand(Protocol):
    """A kind of which something is to be set by hand, and it can be seen whether that has been done."""

    def by_hand(self, doc: Json, there: Optional[Json]) -> List[str]:
        """Return a sentence for each part that is to be set by hand and is not.

        :param doc: In terms of the destination.
        :param there: As the destination has it; None if it was just created.
        """


@runtime_checkable
class IsNamed(Protocol):
    """A kind whose objects are named by others, which came before them."""

    def name_copy(self, tracking: Tracking, job: Job, id_map: IdMap, src: Json, doc: Json, dst_id: str) -> int:
        """Make what names an object of the source name its copy, and return how many did not yet.

        :param id_map: Gets what has become of them.
        :param src: The object as the source has it.
        :param doc: In terms of the destination.
        :param dst_id: Id of the copy.
        """


class Copies:
    """Finds what a kind's object names at the destination.

    :param tracking: The destination.
    :param id_map: What earlier imports did.
    :param doc: The ``mlflow`` part of the kind's file.
    :param options: Those of the command.
    """

    def __init__(self, tracking: Tracking, id_map: IdMap, doc: Json, options: Mapping[str, Any]) -> None:
        self.tracking, self._id_map = tracking, id_map
        self._renames = get_renames(options.get("experiment_rename_file"))
        self._model_renames = get_renames(options.get("model_rename_file"))
        self._links = Links(tracking, id_map)
        self.activate = bool(options.get("activate"))
        """What would start something by itself is to be active, if it is so at the source."""
        self.coming = bool(options.get(COMING))
        """It is a dry run of an import of everything: what is not there now would have come before."""
        self._experiments, self._runs = _dict(doc, "experiments"), _dict(doc, "runs")
        self._known: Dict[str, Any] = {}

    def once(self, name: str, find: Callable[[], T]) -> T:
        """Return what was found under that name, and find it the first time."""
        if name not in self._known:
            self._known[name] = find()
        found: T = self._known[name]
        return found

    def experiment(self, src_id: str) -> str:
        """Return the id of an experiment's copy: the one of its new name, else the one that it was imported into.

        :raises BadDirectory: There is none.
        """
        about = self._experiments.get(src_id)
        name = about.get("name") if isinstance(about, dict) else None
        found = self.tracking.experiment_by_name(rename(name, self._renames, "experiment")) if name else None
        if found is not None:
            return str(found["experiment_id"])
        copies = self._links.experiments(src_id, about if isinstance(about, dict) else None)
        if not copies and self.coming:
            return f"of {src_id}"
        if not copies:
            raise BadDirectory(f"its experiment '{name or src_id}' is not at the destination; import that first")
        return copies[-1]

    def run(self, src_id: str) -> Optional[str]:
        """Return the id of a run's copy; None if there is none."""
        found = self._links.runs(src_id, str(self._runs.get(src_id) or ""))
        return found[-1] if found else None

    @property
    def signer(self) -> Optional[str]:
        """Whom the destination notes as the one who did what an import does; None if it doesn't check users."""
        return self.once("signer", self.tracking.user)

    def registered(self, kind: str, name: str) -> str:
        """Return the name of the copy of a ``registered_model`` or ``prompt``."""
        if kind == "registered_model" and self._model_renames:
            return rename(name, self._model_renames, "model")
        entries = self._id_map.entries(kind)
        known = sorted(str(e["experiment_id"]).partition(":/")[2] for e in entries if e["src_id"] == name)
        return known[-1] if known else name

    def object(self, kind: str, src_id: str, experiment_id: str = _SCOPE) -> Optional[str]:
        """Return the id of the copy of an object of another kind, as far as imports have written it down.

        :param experiment_id: The destination's experiment, for what is in one, such as traces.
        """
        entry = self._id_map.find(kind, experiment_id, src_id)
        return str(entry["dst_id"]) if entry and entry["dst_id"] else None


# -- export ---------------------------------------------------------------------------------------------------------


_NOT_YET = "its experiment was made after this command had listed them: repeat the command"


def export_kind(
    kind: Recorded,
    tracking: Tracking,
    job: Job,
    directory: ExportDir,
    script: str,
    listed: Optional[AbstractSet[str]] = None,
) -> None:
    """Export all objects of a kind, and record each. A server that knows none has none, and no file is written.

    :param directory: Where the kind's file goes.
    :param script: Name of the command, for the file.
    :param listed: The experiments that the command has listed, where it takes these too: what belongs to one that was
        made since is skipped.
    :raises BadInput: The directory holds the objects of another server.
    """
    try:
        found = list(kind.read(tracking))
    except Unauthorized as ex:
        job.ledger.note(f"The {_words(kind.plural)} were not read: {describe(ex)}")
        return
    except NotFound as ex:
        if ex.error_code:
            raise
        return
    stored, before = _before(kind, directory)
    job.ledger.expect(kind.name, len(found))
    origins = Origins(tracking)
    if listed is not None:
        found = _without_later(kind, tracking, job, found, listed)
    experiments = {i: origins.experiment(i) for doc in found for i in kind.experiments(doc)}
    runs = {i: origins.run(i) for doc in found for i in kind.runs(doc)}
    for doc in found:
        old = before.get(kind.id_of(doc))
        status = "copied" if old is None else "unchanged" if old == doc else "updated"
        job.ledger.record(kind.name, status, kind.id_of(doc), name=kind.title(doc))
    if job.dry_run or not (found or before):
        return
    # what the source has deleted since stays
    there = {kind.id_of(doc) for doc in found}
    gone = [] if getattr(kind, "current_only", False) else [doc for i, doc in before.items() if i not in there]
    body = {
        kind.plural: gone + found,
        "experiments": {**_dict(stored, "experiments"), **_known(experiments)},
        "runs": {**_dict(stored, "runs"), **_known(runs)},
    }
    directory.make()
    directory.write_json(file_of(kind), envelope(script, body, tracking_uri=tracking.uri))


def _without_later(
    kind: Recorded, tracking: Tracking, job: Job, found: Sequence[Json], listed: AbstractSet[str]
) -> List[Json]:
    others = {i for doc in found for i in kind.experiments(doc)} - listed
    later = others.intersection(tracking.active_experiments()) if others else set()
    kept = []
    for doc in found:
        if later.isdisjoint(kind.experiments(doc)):
            kept.append(doc)
        else:
            job.ledger.record(kind.name, "skipped", kind.id_of(doc), name=kind.title(doc), reason=_NOT_YET)
    return kept


def file_of(kind: Recorded) -> str:
    """Return the name of a kind's file."""
    return f"{kind.plural}.json"


def folder_of(kind: Recorded) -> str:
    """Return the folder of a kind's file in the export of a server: its own, or its ``folder`` if it shares one."""
    return str(getattr(kind, "folder", kind.plural))


def _known(found: Mapping[str, Any]) -> Json:
    return {object_id: about for object_id, about in found.items() if about}


def _before(kind: Recorded, directory: ExportDir) -> Tuple[Json, Dict[str, Json]]:
    """Return what earlier exports have left in a directory: the ``mlflow`` part of the file, and the objects by id."""
    try:
        stored = get_mlflow(directory.read_json(file_of(kind))) if directory.exists(file_of(kind)) else {}
        return stored, {kind.id_of(doc): doc for doc in _listed(kind, stored)}
    except BadDirectory as ex:
        raise BadInput(f"{describe(ex)}; export into an empty directory") from ex


def _listed(kind: Recorded, doc: Json) -> List[Json]:
    found = doc.get(kind.plural)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        if doc:
            raise BadDirectory(f"{file_of(kind)}: '{kind.plural}' is no list of objects")
        return []
    return found


def _dict(doc: Json, name: str) -> Json:
    found = doc.get(name)
    return found if isinstance(found, dict) else {}


def _words(name: str) -> str:
    return name.replace("_", " ")


# -- import ---------------------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    """An object of a directory: as it is there, in terms of the destination, and what can't be had of it."""

    src: Json
    doc: Json
    lacking: List[str]


class KindImporter:
    """Imports the objects of a kind.

    :param kind: The kind.
    :param tracking: The destination.
    :param job: Ledger, threads, progress.
    :param id_map: What earlier imports did.
    :param options: Those of the command.
    """

    def __init__(self, kind: Kind, tracking: Tracking, job: Job, id_map: IdMap, options: Mapping[str, Any]) -> None:
        self._kind, self._tracking, self._job, self._id_map = kind, tracking, job, id_map
        self._options = options
        self._overwrite = options.get("on_destination_change") == "overwrite"
        self._by_id: Dict[str, Json] = {}
        self._by_key: Dict[str, List[str]] = {}
        self._made: List[Json] = []

    def import_all(self, directory: ExportDir) -> None:
        """Import what a directory has, and record each object.

        :raises BadInput: The directory has no file of the kind.
        :raises BadDirectory: It can't be read.
        """
        kind = self._kind
        if not directory.exists(file_of(kind)):
            raise BadInput(f"{directory.path} holds no export of {_words(kind.plural)}: there is no {file_of(kind)}.")
        document = directory.read_json(file_of(kind))
        doc, info = get_mlflow(document), get_info(document)
        given = _listed(kind, doc)
        failed = info.get(f"failed_{kind.plural}")
        self._job.ledger.expect(kind.name, len(given))
        for name in failed if isinstance(failed, list) else ():
            self._job.ledger.expect(kind.name, 1)
            lost = BadDirectory("its export failed: it is not in the directory")
            self._job.lost(kind.name, str(name), lost, kind.loss)
        try:
            self._read_there(given)
        except Unauthorized as ex:
            self._lose(given, ex)
            return
        except NotFound as ex:
            if ex.error_code:
                raise
            unknown = f"the destination's server knows no {_words(kind.plural)}"
            self._lose(given, NotFound(unknown, http_status_code=404))
            return
        copies = Copies(self._tracking, self._id_map, doc, self._options)
        # one after the other: some are made from others, numbers follow the order, and there are few
        for outcome in self._job.executor.imap(lambda src: self._import(src, copies), given, window=1):
            src_id, name = self._id(outcome.item), self._title(outcome.item)
            if isinstance(outcome.error, (BadDirectory, NotFound)):  # what it names is not there
                self._job.lost(kind.name, src_id, outcome.error, kind.loss, name=name)
            elif outcome.error is not None:
                self._job.failed(kind.name, src_id, outcome.error, name=name)
        if self._made and isinstance(kind, LeavesToDo):
            self._job.ledger.note(kind.to_do(self._made))

    def _lose(self, given: Sequence[Json], why: Refused) -> None:
        for src in given:
            if isinstance(self._kind, HasDefaults) and isinstance(src, dict) and self._kind.is_default(src):
                reason = "a server makes it itself, and this one does not"
                self._job.ledger.record(self._kind.name, "skipped", self._id(src), name=self._title(src), reason=reason)
            else:
                self._job.lost(self._kind.name, self._id(src), why, self._kind.loss)

    def _id(self, src: Json) -> str:
        return _safely(lambda: self._kind.id_of(src)) or "?"

    def _title(self, src: Json) -> Optional[str]:
        return _safely(lambda: self._kind.title(src))

    def _read_there(self, given: Sequence[Json]) -> None:
        """Read what the destination has; what is the copy of a known object is nobody else's."""
        if not given:
            return
        claimed = {str(entry["dst_id"]) for entry in self._id_map.entries(self._kind.name)}
        for there in getattr(self._kind, "read_there", self._kind.read)(self._tracking):
            object_id = self._kind.id_of(there)
            self._by_id[object_id] = there
            if object_id not in claimed:
                self._by_key.setdefault(self._kind.key(there), []).append(object_id)

    def _import(self, src: Json, copies: Copies) -> None:
        given = self._given(src, copies)
        src_id = self._kind.id_of(src)
        entry = self._id_map.find(self._kind.name, _SCOPE, src_id)
        known = str((entry or {}).get("dst_id") or "")
        there = self._by_id.get(known)
        if there is None:
            there = self._unclaimed(given)
        if there is not None:
            self._bring_up_to_date(given, there, entry)
        elif known and not self._overwrite:
            self._record(given, "differs", known, ["deleted at the destination and left alone"])
        elif given.doc.get("held_back"):
            self._record(given, "skipped", None, [str(given.doc["held_back"])])
        else:
            self._create(given)

    def _unclaimed(self, given: _Given) -> Optional[Json]:
        """Take what has the same key and is no known copy: of several, nothing else tells which, the most similar."""
        same, wanted = self._by_key.get(self._kind.key(given.doc), []), _state(self._kind, given.doc).items()
        if not same:
            return None
        best = max(same, key=lambda dst_id: len(wanted & _state(self._kind, self._by_id[dst_id]).items()))
        same.remove(best)
        return self._by_id[best]

    def _given(self, src: Json, copies: Copies) -> _Given:
        try:
            doc, lacking = self._kind.translated(src, copies)
            self._kind.state(doc), self._kind.key(doc), self._kind.id_of(src)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as ex:
            raise BadDirectory(f"{file_of(self._kind)}: it is not what an export writes: {describe(ex)}") from ex
        return _Given(src, doc, lacking)

    def _create(self, given: _Given) -> None:
        if self._job.dry_run:
            self._record(given, "copied", None)
            return
        src_id = self._kind.id_of(given.src)
        # if we are killed before it is whole, a repeat knows that the half of it is ours
        self._id_map.announce(self._kind.name, _SCOPE, src_id, "", base=None, begun=["all"])
        dst_id = self._kind.create(self._tracking, given.doc)
        self._made.append(given.doc)
        self._id_map.record(self._kind.name, _SCOPE, src_id, dst_id, base=_state(self._kind, given.doc))
        self._name_copy(given, dst_id)
        self._record(given, "copied", dst_id)

    def _bring_up_to_date(self, given: _Given, there: Json, entry: Optional[Json]) -> None:
        kind, dst_id = self._kind, self._kind.id_of(there)
        unsaid = given.doc.get("unsaid") or ()
        before: Optional[State] = (entry or {}).get("base")
        wanted, now = (_without(_state(kind, doc), unsaid) for doc in (given.doc, there))
        base = _without(before, unsaid) if before is not None else None
        begun = frozenset(map(str, (entry or {}).get("begun") or ()))
        if begun and base is None:
            self._made.append(given.doc)  # by an import that was cut off
        todo = plan(wanted, now, base, self._overwrite, bool(begun), begun)
        had_todo = not todo.empty
        if had_todo and not self._job.dry_run:
            about_to = [*todo.write, *todo.drop]
            self._id_map.announce(kind.name, _SCOPE, kind.id_of(given.src), dst_id, base=before, begun=about_to)
            kind.change(self._tracking, there, given.doc, todo)
        if not self._job.dry_run:
            state = settled(wanted, base, todo, todo.differs) if base is not None or not todo.differs else base
            if state is not None:
                state = {**state, **{name: value for name, value in (before or {}).items() if name in unsaid}}
            self._id_map.record(kind.name, _SCOPE, kind.id_of(given.src), dst_id, base=state)
        had_todo |= self._name_copy(given, dst_id)
        status = "differs" if todo.differs else "updated" if had_todo else "unchanged"
        self._record(given, status, dst_id, [left_alone(todo.differs, base)] if todo.differs else [], there)

    def _name_copy(self, given: _Given, dst_id: str) -> bool:
        if self._job.dry_run or not isinstance(self._kind, IsNamed):
            return False
        return self._kind.name_copy(self._tracking, self._job, self._id_map, given.src, given.doc, dst_id) > 0

    def _record(
        self,
        given: _Given,
        status: str,
        dst_id: Optional[str],
        reasons: Sequence[str] = (),
        there: Optional[Json] = None,
    ) -> None:
        kind = self._kind
        arrived = status != "skipped" and (there is not None or status == "copied")
        unset = kind.by_hand(given.doc, there) if arrived and isinstance(kind, SetByHand) else []
        told = "; ".join((*given.lacking, *unset, *reasons)) or None
        losses = [kind.loss] * bool(given.lacking) + [SECRETS] * bool(unset)
        if losses and not (status in ("unchanged", "updated") and all(map(self._job.ledger.accepts, losses))):
            status = "incomplete"
        self._job.ledger.record(
            kind.name, status, kind.id_of(given.src), dst_id=dst_id, name=kind.title(given.src), reason=told,
            losses=losses,
        )  # fmt: skip


def _state(kind: Kind, doc: Json) -> State:
    return {name: short(value) for name, value in kind.state(doc).items() if value not in (None, "")}


def _without(state: State, names: Sequence[str]) -> State:
    return {name: value for name, value in state.items() if name not in names}


def _safely(call: Callable[[], str]) -> Optional[str]:
    try:
        return str(call())
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def import_kind(
    kind: Kind, tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any], id_map: IdMap
) -> None:
    """Import the objects of a kind, and record each; see :class:`KindImporter`."""
    KindImporter(kind, tracking, job, id_map, options).import_all(directory)


def leave_out(kind: Recorded, job: Job, directory: ExportDir, why: str) -> None:
    """Record that the objects of a kind which is exported for the record only are not imported.

    :param directory: With the kind's file.
    :param why: For the summary.
    """
    for doc in _before(kind, directory)[1].values():
        job.ledger.expect(kind.name, 1)
        job.ledger.record(kind.name, "skipped", kind.id_of(doc), name=kind.title(doc), reason=why)


# -- scripts and functions ------------------------------------------------------------------------------------------


def export_kind_script(kind: Recorded, options: Mapping[str, Any]) -> int:
    """Do the work of the console script that exports a kind and return its exit status."""
    return export_group_script(kind.plural, (kind,), options)


def export_group_script(group: str, kinds: Sequence[Recorded], options: Mapping[str, Any]) -> int:
    """Do the work of the console script that exports several kinds and return its exit status.

    :param group: What is exported, in the plural: ``export-GROUP`` is the script.
    """
    name = f"export-{group.replace('_', '-')}"

    def work(frm: Source) -> None:
        _export(kinds, frm, name)

    return export_script(name, options, _words(group), work)


def import_kind_script(kind: Kind, options: Mapping[str, Any]) -> int:
    """Do the work of the console script that imports a kind and return its exit status."""
    return import_group_script(kind.plural, (kind,), options)


def import_group_script(group: str, kinds: Sequence[Kind], options: Mapping[str, Any]) -> int:
    """Do the work of the console script that imports several kinds and return its exit status."""
    name = f"import-{group.replace('_', '-')}"

    def work(to: Destination) -> None:
        _import(kinds, to, options)

    return import_script(name, options, _words(group), work)


def export_kind_function(kind: Recorded, output_dir: str, mlflow_client: Any, workers: int) -> Dict[str, int]:
    """Do the work of the function that exports a kind; returns how many objects ended how."""
    return export_group_function(kind.plural, (kind,), output_dir, mlflow_client, workers)[kind.name]


def export_group_function(
    group: str, kinds: Sequence[Recorded], output_dir: str, mlflow_client: Any, workers: int
) -> Dict[str, Dict[str, int]]:
    """Do the work of the function that exports several kinds; returns how many objects of each ended how."""
    options = {"workers": workers}
    with exporting(f"export_{group}", output_dir, options, mlflow_client, _words(group)) as frm:
        _export(kinds, frm, f"export-{group}")
        return {kind.name: dict(frm.job.ledger.counts.get(kind.name, {})) for kind in kinds}


def import_kind_function(
    kind: Kind, input_dir: str, report_dir: Optional[str], options: Mapping[str, Any], mlflow_client: Any
) -> Dict[str, int]:
    """Do the work of the function that imports a kind; returns how many objects ended how."""
    return import_group_function(kind.plural, (kind,), input_dir, report_dir, options, mlflow_client)[kind.name]


def import_group_function(
    group: str,
    kinds: Sequence[Kind],
    input_dir: str,
    report_dir: Optional[str],
    options: Mapping[str, Any],
    mlflow_client: Any,
) -> Dict[str, Dict[str, int]]:
    """Do the work of the function that imports several kinds; returns how many objects of each ended how."""
    with importing(f"import_{group}", input_dir, report_dir, options, mlflow_client, _words(group)) as to:
        _import(kinds, to, options)
        return {kind.name: dict(to.job.ledger.counts.get(kind.name, {})) for kind in kinds}


def _export(kinds: Sequence[Recorded], frm: Source, name: str) -> None:
    script = name.replace("-", "_") + ".py"
    for kind in kinds:
        export_kind(kind, frm.tracking, frm.job, frm.directory, script)
        if not (frm.job.dry_run or frm.directory.exists(file_of(kind))):
            # an export of nothing is one too: it can be imported
            frm.directory.make()
            body: Json = {kind.plural: [], "experiments": {}, "runs": {}}
            frm.directory.write_json(file_of(kind), envelope(script, body, tracking_uri=frm.tracking.uri))


def _import(kinds: Sequence[Kind], to: Destination, options: Mapping[str, Any]) -> None:
    # of several, some may have come with an older export
    given = [kind for kind in kinds if to.directory.exists(file_of(kind))] or kinds[:1]
    for kind in given:
        import_kind(kind, to.tracking, to.job, to.directory, options, to.id_map)
