"""Compares evaluation datasets with their copies: their number of records, which inputs these have, and all the rest.

Nothing here is shared with what imports compare: a mistake there must not hide itself here.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Protocol, Sequence, Set

from mlflow_migration.common.job import Job
from mlflow_migration.verify.compare import Comparison
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import DATASET, RUN, Fields, Thing, tags_of
from mlflow_migration.verify.report import Report

Json = Dict[str, Any]

_PARTS = ("outputs", "expectations", "tags", "source")
_MOST_DIFFERENT = 1_000  # records of one dataset that are read once more to tell what differs
_SHOWN = 20
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")
_MODULUS = 1 << 128


class HasDatasets(Protocol):
    """A side with evaluation datasets."""

    def datasets(self) -> List[Thing]:
        """Return all of them; one that can't be read has its error."""

    def dataset_experiments(self, dataset: Thing) -> Dict[str, Optional[str]]:
        """Return the names of the experiments that a dataset is linked to by id, as far as they are known."""

    def records(self, dataset: Thing) -> Iterator[List[Json]]:
        """Yield the records of a dataset, some at a time."""


def dataset_thing(doc: Mapping[str, Any], key_tag: str, place: Any = None) -> Thing:
    """Return a dataset in the shape in which it is compared.

    :param doc: As REST has it, with its tags as a dictionary.
    :param key_tag: Tag that says what a copy was made from.
    """
    fields = {"name": doc["name"], "created_by": doc.get("created_by") or "", **tags_of(doc["tags"])}
    return Thing(DATASET, doc["dataset_id"], doc["name"], fields, doc["tags"].get(key_tag, ""), place=place)


@dataclass
class _Records:
    """The records of a dataset, whatever their order: how many, a sum over the hashes of their inputs, and, for a full
    comparison, the hashes of their parts by that of their inputs."""

    number: int = 0
    total: int = 0
    parts: Dict[bytes, bytes] = field(default_factory=dict)

    def add(self, record: Json, full: bool) -> None:
        key = _hash(record.get("inputs"), 16)
        self.number += 1
        self.total = (self.total + int.from_bytes(key, "little")) % _MODULUS
        if full:
            self.parts[key] = b"".join(_hash(_part(record, name), 8) for name in _PARTS)


class DatasetsVerifier:
    """Compares the evaluation datasets of one verification.

    :param job: Threads and progress.
    :param src: The source.
    :param dst: The destination.
    :param links: What is a copy of what.
    :param depth: ``counts``, ``metadata`` or ``full``.
    :param report: Gets the results.
    :param experiments: Returns the ids that an experiment of the source has at the destination.
    """

    def __init__(
        self,
        job: Job,
        src: HasDatasets,
        dst: HasDatasets,
        links: Links,
        depth: str,
        report: Report,
        experiments: Callable[[str, Optional[str]], Set[str]],
    ) -> None:
        self._job, self._src, self._dst, self._links = job, src, dst, links
        self._depth, self._report, self._experiments = depth, report, experiments

    def compare(self, datasets: Sequence[Thing]) -> None:
        """Compare datasets of the source with their copies, and record each."""
        there = self._dst.datasets() if datasets else []
        known: Dict[str, Set[str]] = {}
        for entry in self._links.entries(DATASET):
            known.setdefault(str(entry["src_id"]), set()).add(str(entry["dst_id"]))

        def one(src: Thing) -> None:
            copies = _copies(src, there, known.get(src.id, set()))
            if src.error is not None or not copies:
                self._report.missing(src)
                return
            pair = Comparison(src, copies[0])
            if len(copies) > 1:
                pair.differ("copies", "1", f"{len(copies)}: {', '.join(copy.id for copy in copies)}")
            self._dataset(pair)
            pair.record(self._report)

        for outcome in self._job.executor.imap(one, datasets):
            if outcome.error is not None:
                self._report.broken(outcome.item, outcome.error)
            self._job.progress.advance()

    def _dataset(self, pair: Comparison) -> None:
        src, dst = pair.src, pair.dst
        if self._depth != "counts":
            ours, theirs = dict(src.fields), dict(dst.fields)
            if src.place is not None and src.place.single:  # it may have been given another name
                del ours["name"], theirs["name"]
            self._linked(pair, ours, theirs)
            pair.fields(ours, theirs)
        full = self._depth == "full"
        sums = _Records(), _Records()
        for records in self._src.records(src):
            for record in records:
                sums[0].add(record, full)
        for records in self._dst.records(dst):
            for record in records:
                sums[1].add(self._brought_home(record) if full else record, full)
        self._report.add(records=sums[0].number)
        if sums[0].number != sums[1].number:
            pair.differ("records", sums[0].number, sums[1].number)
        if self._depth == "metadata" and sums[0].total != sums[1].total:
            pair.differ("inputs of records", *(f"sum of hashes {one.total:032x}" for one in sums))
        if full and sums[0].parts != sums[1].parts:
            self._tell(pair, sums[0].parts, sums[1].parts)

    def _linked(self, pair: Comparison, src: Fields, dst: Fields) -> None:
        """Compare the links to experiments: each one to a copy of it, and none to others."""
        ours, theirs = self._src.dataset_experiments(pair.src), set(self._dst.dataset_experiments(pair.dst))
        expected = [self._experiments(src_id, name) for src_id, name in ours.items()]
        if not (all(one & theirs for one in expected) and theirs <= set().union(*expected)):
            src["experiments"], dst["experiments"] = ", ".join(sorted(ours)), ", ".join(sorted(theirs))

    def _brought_home(self, record: Json) -> Json:
        """Return a record of the destination whose source names the runs of the source."""
        source = record.get("source") or {}
        data = source.get("source_data")
        if not isinstance(data, dict):
            return record
        home = {key: self._links.home(RUN, value) for key, value in data.items() if _is_run_id(value)}
        changed = {key: home.get(key) or value for key, value in data.items()}
        return {**record, "source": {**source, "source_data": changed}}

    # -- which records differ -----------------------------------------------------------------------------------

    def _tell(self, pair: Comparison, ours: Dict[bytes, bytes], theirs: Dict[bytes, bytes]) -> None:
        keys = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        if len(keys) > _MOST_DIFFERENT:
            pair.differ("records", f"{len(ours)} records", f"{len(keys)} of all are missing, other or more")
            return
        first, second = _some(self._src.records(pair.src), keys), _some(self._dst.records(pair.dst), keys)
        found = [item for key in sorted(keys) for item in self._differences(first.get(key), second.get(key))]
        for name, value, other in found[:_SHOWN]:
            pair.differ(name, value, other)
        if len(found) > _SHOWN:
            pair.differ("records", "", f"{len(found) - _SHOWN} more differences")

    def _differences(self, src: Optional[Json], dst: Optional[Json]) -> Iterator["tuple[str, Any, Any]"]:
        name = "record " + _text((src or dst or {}).get("inputs"))[:60]
        if src is None or dst is None:
            yield name, None if src is None else "there", None if dst is None else "there"
            return
        for part in _PARTS:
            ours, theirs = _part(src, part), _part(dst, part)
            if _text(ours) != _text(theirs) and not (part == "source" and self._same_source(ours, theirs)):
                yield f"{name}: {part}", _text(ours), _text(theirs)

    def _same_source(self, src: Any, dst: Any) -> bool:
        """Tell whether sources are the same but for the ids of runs."""
        if src is None or dst is None or src["source_type"] != dst["source_type"]:
            return False
        ours, theirs = src["source_data"], dst["source_data"]
        return ours.keys() == theirs.keys() and all(
            ours[key] == theirs[key]
            or (_is_run_id(ours[key]) and _is_run_id(theirs[key]) and self._links.same(RUN, ours[key], theirs[key], ""))
            for key in ours
        )


def _copies(src: Thing, there: Sequence[Thing], known: Set[str]) -> List[Thing]:
    """Return the copies of a dataset: those of its name, if some have it."""
    found = [dst for dst in there if dst.id in (src.id, src.key)]  # itself, or what it was made from
    found = found or [dst for dst in there if dst.key == src.id or (not dst.key and dst.id in known)]
    return [dst for dst in found if dst.name == src.name] or found


def _some(pages: Iterable[Sequence[Json]], keys: Set[bytes]) -> Dict[bytes, Json]:
    records = ((_hash(record.get("inputs"), 16), record) for page in pages for record in page)
    return {key: record for key, record in records if key in keys}


def _part(record: Json, name: str) -> Any:
    value = record.get(name)
    if name == "tags":
        return value or {}
    if name != "source" or not value:
        return None if name == "source" else value
    return {"source_type": str(value.get("source_type")).upper(), "source_data": value.get("source_data") or {}}


def _is_run_id(value: Any) -> bool:
    return isinstance(value, str) and _RUN_ID.match(value) is not None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _hash(value: Any, size: int) -> bytes:
    return hashlib.blake2b(_text(value).encode(), digest_size=size).digest()
