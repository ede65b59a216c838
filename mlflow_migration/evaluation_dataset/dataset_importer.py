"""Imports evaluation datasets. Names are not unique: a copy is known by a tag with the id of what it was made from."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import NotFound, Refused, describe
from mlflow_migration.client.evaluation_datasets import DATASET_KEY, UPSERT_RECORDS, USER_TAG, EvaluationDatasets
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap, original
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Links, not_there
from mlflow_migration.common.object_files import read_info, read_records
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled, short
from mlflow_migration.evaluation_dataset.dataset_exporter import DATASET_FILE, KIND, is_run_id
from mlflow_migration.evaluation_dataset.record_states import (
    RECORD,
    Interned,
    Known,
    Named,
    as_sent,
    batches,
    can_merge,
    content_of,
    name_of,
    with_new_runs,
)

Json = Dict[str, Any]

_EXPERIMENT, _TAG = "experiment:", "tag:"
_MOST_IN_BASE = 500_000  # records that one line of the id map can hold
_SET_BY_SERVER = (
    "created_time", "last_update_time", "created_by", "last_updated_by", "digest", "schema", "profile",
)  # fmt: skip
_GONE = "deleted at the destination and left alone"


def scope(name: str) -> str:
    """Return what the id map has instead of the experiment: a copy under another name is another copy."""
    return f"evaluation_datasets:/{name}"


class DatasetsImporter:
    """Imports the evaluation datasets of one source. Thread-safe.

    :param tracking: The destination.
    :param datasets: Its datasets.
    :param job: Ledger, threads, progress.
    :param options: Those of the command.
    :param id_map: What earlier imports did.
    """

    def __init__(
        self,
        tracking: Tracking,
        datasets: EvaluationDatasets,
        job: Job,
        options: Mapping[str, Any],
        id_map: IdMap,
    ) -> None:
        self.datasets, self.job, self.id_map = datasets, job, id_map
        self.overwrite = options.get("on_destination_change") == "overwrite"
        self.links = Links(tracking, id_map)
        self._there: Optional[List[Json]] = None
        self._lock = threading.Lock()

    def there(self) -> List[Json]:
        """Return what the destination had when that was asked for the first time."""
        with self._lock:
            if self._there is None:
                self._there = self.datasets.search()
            return self._there

    def delete_named(self, name: str) -> None:
        """Delete all of the destination's datasets of a name."""
        gone = [found for found in self.there() if found["name"] == name]
        for found in gone if not self.job.dry_run else ():
            self.datasets.delete(found["dataset_id"])
        with self._lock:
            self._there = [found for found in self._there or () if found["name"] != name]

    def copy_of(self, src: Json, name: str) -> Tuple[Optional[Json], bool]:
        """Return the copy of a dataset, and whether it is no copy, but what the source's was made from, or itself.

        :param src: The dataset as the directory, or the source's REST, has it.
        :param name: Its name at the destination.
        """
        named = [found for found in self.there() if found["name"] == name]
        origins = {src["dataset_id"], src["tags"].get(DATASET_KEY)}
        own = [found for found in named if found["dataset_id"] in origins]
        if own:
            return own[0], True
        copies = [found for found in named if found["tags"].get(DATASET_KEY) == src["dataset_id"]]
        if not copies:  # the tag may be gone
            entry = self.id_map.find(KIND, scope(name), src["dataset_id"])
            copies = [found for found in named if entry is not None and found["dataset_id"] == entry["dst_id"]]
        return (copies[0] if copies else None), False

    def is_settled(self, src: Json, fingerprint: Optional[str], name: str) -> bool:
        """Tell whether neither side has changed since the last import, and record the dataset then."""
        entry = self.id_map.find(KIND, scope(name), src["dataset_id"])
        if entry is None or not fingerprint or entry.get("fingerprint") != fingerprint or entry.get("losses"):
            return False
        there = self.copy_of(src, name)[0]
        if there is None or there["dataset_id"] != entry["dst_id"] or entry.get("left") != short(there):
            return False
        self.job.ledger.record(KIND, "unchanged", src["dataset_id"], dst_id=entry["dst_id"], name=name)
        return True

    def import_dataset(self, doc: Json, directory: ExportDir, name: str, anew: bool = False) -> Optional[str]:
        """Import a dataset, and record it.

        :param doc: As :func:`read_evaluation_dataset` returns it.
        :param name: Its name at the destination.
        :param anew: What was there has just been deleted, as that was asked for.
        :return: Its id at the destination; None if it is not there.
        """
        fingerprint = (read_info(directory, DATASET_FILE) or {}).get("fingerprint")
        if self.is_settled(doc["dataset"], fingerprint, name):
            return str(self.copy_of(doc["dataset"], name)[0]["dataset_id"])  # type: ignore[index]
        return _Import(self, doc, directory, name, fingerprint).run(anew)


class _Import:
    """The import of one dataset."""

    def __init__(
        self, importer: DatasetsImporter, doc: Json, directory: ExportDir, name: str, fingerprint: Optional[str]
    ) -> None:
        self._importer, self._datasets, self._job = importer, importer.datasets, importer.job
        self._doc, self._directory, self._name, self._fingerprint = doc, directory, name, fingerprint
        self._src: Json = doc["dataset"]
        self._dst_id = ""
        self._known: Dict[str, Known] = {}
        self._runs: Dict[str, Optional[str]] = {}
        self._outputs: Set[bool] = set()
        self._lacking_runs: Dict[str, None] = {}
        self._missing: List[str] = []
        self._problems: List[str] = []

    def run(self, anew: bool) -> Optional[str]:
        """Do it."""
        there, own = self._importer.copy_of(self._src, self._name)
        entry = self._importer.id_map.find(KIND, scope(self._name), self._src["dataset_id"])
        if there is None and entry is not None and not (anew or self._importer.overwrite):
            self._job.ledger.record(
                KIND, "differs", self._src["dataset_id"], dst_id=entry["dst_id"], name=self._name, reason=_GONE
            )
            return None
        if entry is not None and (there is None or there["dataset_id"] != entry["dst_id"]):
            entry = None
        tags = {key: value for key, value in self._src["tags"].items() if key != DATASET_KEY}
        if not own:
            tags[DATASET_KEY] = self._src["dataset_id"]
        about, links = self._doc["experiments"], self._importer.links
        found = {src_id: links.experiments(src_id, about.get(src_id)) for src_id in self._src["experiment_ids"]}
        experiments = list(dict.fromkeys(dst_id for dst_ids in found.values() for dst_id in dst_ids))
        lacking = [src_id for src_id, dst_ids in found.items() if not dst_ids]
        wanted = {_TAG + key: short(value) for key, value in tags.items()}
        wanted.update((_EXPERIMENT + experiment_id, "linked") for experiment_id in experiments)
        for record in self._records():
            wanted[name_of(record)] = content_of(record)
            self._outputs.add(_has_fields(record))
        if lacking:
            self._problems.append(not_there("experiment", lacking))
        if self._lacking_runs:
            self._problems.append(not_there("run", list(self._lacking_runs)))
        created = there is None
        if there is None and self._job.dry_run:
            self._problems = []  # what it is linked to may come with this very command
            return self._record(True, Plan(), None)
        there = there or self._create(tags, experiments)
        self._dst_id = there["dataset_id"]
        todo, base = self._plan(wanted, self._state(there, own), entry, bool(lacking), there)
        if not self._job.dry_run:
            self._announce(todo, wanted, base)
            self._write(todo, tags)
            self._settle(wanted, base, todo)
        return self._record(created, todo, base)

    # -- what is there, and what is to be done ------------------------------------------------------------------

    def _records(self) -> Iterator[Json]:
        for record in read_records(self._doc, self._directory):
            yield with_new_runs(record, self._new_run) if record["source"] else record

    def _new_run(self, value: str) -> Optional[str]:
        """Return the destination's run for a value of a record's source, None if it names none that is there."""
        if value not in self._runs:
            named = self._doc["runs"]
            self._runs[value] = None
            if is_run_id(value) and (named is None or value in named):
                ids = self._importer.links.runs(value, (named or {}).get(value, ""))
                self._runs[value] = ids[0] if ids else None
                if named is not None and not ids:
                    self._lacking_runs[value] = None
        return self._runs[value]

    def _state(self, there: Json, own: bool) -> State:
        """Return what the destination has."""
        found = {_TAG + key: short(value) for key, value in there["tags"].items() if not (own and key == DATASET_KEY)}
        linked = self._datasets.experiment_ids(self._dst_id)
        found.update((_EXPERIMENT + experiment_id, "linked") for experiment_id in linked)
        interned = Interned()
        for page in self._datasets.records(self._dst_id):
            for record in page:
                name = name_of(record)
                found[name] = content_of(record)
                self._known[name] = interned.known(record)
        return found

    def _plan(
        self, wanted: State, now: State, entry: Optional[Json], is_lacking: bool, there: Json
    ) -> Tuple[Plan, Optional[State]]:
        base: Optional[State] = entry["base"] if entry is not None else None
        begun = set((entry or {}).get("begun") or ())
        maker = there.get("created_by")
        if base is None and there["tags"].get(USER_TAG) == maker == self._src["created_by"]:
            begun.add(_TAG + USER_TAG)  # it was created with that, for the sake of who has created it
        todo = plan(wanted, now, base, self._importer.overwrite, unfinished=False, begun=begun)
        if base is None:  # what somebody has added is not taken away, also where the source wins
            todo.differs = [name for name in todo.differs if name in wanted]
        todo.drop = [
            name
            for name in todo.drop
            if (name in (base or {}) or name in begun) and not (is_lacking and name.startswith(_EXPERIMENT))
        ]
        return todo, base

    # -- writing ------------------------------------------------------------------------------------------------

    def _create(self, tags: Mapping[str, str], experiments: Sequence[str]) -> Json:
        """Create it by whoever has created the source's; what of its tags is refused is tried again, one by one."""
        maker = self._src["created_by"]
        first = {key: value for key, value in tags.items() if key != USER_TAG}
        first.update({USER_TAG: maker} if maker else {})
        try:
            return self._datasets.create(self._name, first, experiments)
        except Refused as ex:
            if ex.http_status_code != 400:
                raise
        return self._datasets.create(self._name, {DATASET_KEY: tags[DATASET_KEY]}, experiments)

    def _announce(self, todo: Plan, wanted: State, base: Optional[State]) -> None:
        """Write what is about to be changed: if we are killed meanwhile, it is not taken for somebody's edit."""
        changed = [name for name in todo.write + todo.drop if name in self._known or name.startswith(_TAG)]
        if base is not None and changed:
            self._importer.id_map.announce(
                KIND, scope(self._name), self._src["dataset_id"], self._dst_id, base=base, begun=changed
            )

    def _write(self, todo: Plan, tags: Mapping[str, str]) -> None:
        for name in todo.write:
            if name.startswith(_TAG):
                key = name[len(_TAG) :]
                self._try(name, partial(self._datasets.set_tags, self._dst_id, {key: tags[key]}))
        for name in todo.drop:
            if name.startswith(_TAG):
                self._try(name, partial(self._datasets.delete_tag, self._dst_id, name[len(_TAG) :]))
        linked = [name[len(_EXPERIMENT) :] for name in todo.write if name.startswith(_EXPERIMENT)]
        if linked:
            self._datasets.add_experiments(self._dst_id, linked)
        unlinked = [name[len(_EXPERIMENT) :] for name in todo.drop if name.startswith(_EXPERIMENT)]
        if unlinked:
            self._datasets.remove_experiments(self._dst_id, unlinked)
        gone = [self._known[name].record_id for name in todo.drop if name.startswith(RECORD)]
        for start in range(0, len(gone), UPSERT_RECORDS):
            self._datasets.delete_records(self._dst_id, gone[start : start + UPSERT_RECORDS])
        names = {name for name in todo.write if name.startswith(RECORD)}
        if names:
            for batch in batches(self._sent(names)):
                self._upsert(batch)

    def _sent(self, names: Set[str]) -> Iterator[List[Named]]:
        # a server whose first outputs are no objects fails at the first that are
        for wanted in sorted(self._outputs, reverse=True):
            for record in self._records():
                name = name_of(record)
                if name in names and _has_fields(record) == wanted:
                    there = self._known.get(name)
                    sent = as_sent(record, there is None or not can_merge(there, record))
                    yield [(name, one) for one in sent]

    def _upsert(self, batch: List[Named]) -> None:
        """Send records; one that is refused is found by halving, and recorded."""
        names = list(dict.fromkeys(name for name, _ in batch))
        replaced = {name for name, sent in batch if name in self._known and not can_merge(self._known[name], sent)}
        if replaced:
            self._datasets.delete_records(self._dst_id, [self._known.pop(name).record_id for name in sorted(replaced)])
        try:
            self._datasets.upsert(self._dst_id, [sent for _, sent in batch])
        except Refused as ex:
            if ex.http_status_code != 400:
                raise
            if len(names) == 1:
                self._refused(names[0], ex)
                return
            first = set(names[: len(names) // 2])
            self._upsert([item for item in batch if item[0] in first])
            self._upsert([item for item in batch if item[0] not in first])

    def _try(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Refused as ex:
            if isinstance(ex, NotFound) and ex.error_code:
                raise
            self._refused(name, ex)

    def _refused(self, name: str, ex: Refused) -> None:
        self._missing.append(name)
        what = name.replace(":", " ", 1)
        self._problems.append(f"{what}: {describe(ex)}")
        self._job.ledger.record(
            "value", "skipped", f"{self._src['dataset_id']}/{name.replace(':', '/', 1)}", reason=describe(ex),
            losses=["values"],
        )  # fmt: skip

    # -- what is told about it ----------------------------------------------------------------------------------

    def _losses(self) -> List[str]:
        return ["values"] * bool(self._missing) + ["links"] * (len(self._problems) > len(self._missing))

    def _settle(self, wanted: State, base: Optional[State], todo: Plan) -> None:
        state: Optional[State] = settled(wanted, base, todo, self._missing)
        if sum(name.startswith(RECORD) for name in state or ()) > _MOST_IN_BASE:
            state = None
        losses = self._losses() + ["differs"] * bool(todo.differs)
        self._importer.id_map.record(
            KIND, scope(self._name), self._src["dataset_id"], self._dst_id, base=state, losses=losses,
            fingerprint=self._fingerprint, left=short(self._datasets.dataset(self._dst_id)),
            original=original(self._src, *_SET_BY_SERVER),
        )  # fmt: skip

    def _record(self, created: bool, todo: Plan, base: Optional[State]) -> Optional[str]:
        losses = self._losses()
        if todo.differs:
            self._problems.append(left_alone(todo.differs, base))
        status = "incomplete" if losses else "copied" if created else ""
        status = status or ("differs" if todo.differs else "unchanged" if todo.empty else "updated")
        self._job.ledger.record(
            KIND, status, self._src["dataset_id"], dst_id=self._dst_id or None, name=self._name,
            reason="; ".join(self._problems) or None, losses=losses,
        )  # fmt: skip
        return self._dst_id or None


def _has_fields(record: Json) -> bool:
    """Tell whether the outputs of a record are an object with fields, of which a server makes its schema."""
    return isinstance(record.get("outputs"), dict) and bool(record["outputs"])
