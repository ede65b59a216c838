"""What tells records of evaluation datasets apart, and whether they are the same: short texts, whatever their size."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from mlflow_migration.client.evaluation_datasets import UPSERT_BYTES, UPSERT_RECORDS, USER_TAG, input_key

Json = Dict[str, Any]
Named = Tuple[str, Json]
"""A record as it is sent, and its name in states."""

RECORD = "record:"
"""Beginning of the names of records in states."""


class Known(NamedTuple):
    """What is kept of a record of the destination: enough to tell whether a merge makes it the source's.

    :param record_id: Its id.
    :param source: Hash of its source.
    :param keys: Keys of its tags and expectations.
    """

    record_id: str
    source: str
    keys: FrozenSet[str]


def name_of(record: Json) -> str:
    """Return the name of a record in a state."""
    return RECORD + input_key(record["inputs"])


def content_of(record: Json) -> str:
    """Return a hash of all that a record has beside its inputs, and that a server can be given."""
    return _hash([record.get("outputs"), record.get("expectations"), record.get("tags") or {}, _source(record)])


class Interned:
    """Makes :class:`Known` of records, of which most have the same keys: these are held once."""

    def __init__(self) -> None:
        self._keys: Dict[FrozenSet[str], FrozenSet[str]] = {}

    def known(self, record: Json) -> Known:
        """Return what is kept of a record."""
        keys = _keys(record)
        return Known(record["dataset_record_id"], _hash(_source(record)), self._keys.setdefault(keys, keys))


def can_merge(there: Known, record: Json) -> bool:
    """Tell whether a server that has a record can make it the source's: what it has more would stay."""
    keys = _keys(record)
    has, wanted = "expectations" in there.keys, "expectations" in keys
    same = has == wanted or (wanted and bool(record.get("expectations")))
    return same and there.source == _hash(_source(record)) and there.keys <= keys


def as_sent(record: Json, is_new: bool) -> List[Json]:
    """Return what makes a server have a record: one that somebody else has changed since is made, and then changed.

    :param is_new: The server does not have it.
    """
    sent = {key: record.get(key) for key in ("inputs", "outputs", "expectations", "source")}
    tags = dict(record.get("tags") or {})
    maker = record.get("created_by")
    if not is_new or tags.get(USER_TAG) == maker:
        return [{**sent, "tags": tags}]
    first = {key: value for key, value in tags.items() if key != USER_TAG}
    begun = {**sent, "tags": {**first, **({USER_TAG: maker} if maker else {})}}
    return [begun, {**sent, "tags": tags}] if USER_TAG in tags else [{**sent, "tags": tags}]


def batches(groups: Iterable[List[Named]]) -> Iterator[List[Named]]:
    """Yield records for requests of bounded length; what belongs together stays together."""
    batch: List[Named] = []
    size = 0
    for group in groups:
        length = sum(len(json.dumps(record)) for _, record in group)
        if batch and (size + length > UPSERT_BYTES or len(batch) + len(group) > UPSERT_RECORDS):
            yield batch
            batch, size = [], 0
        batch += group
        size += length
    if batch:
        yield batch


def with_new_runs(record: Json, new_id: Callable[[str], Optional[str]]) -> Json:
    """Return a record whose source names the destination's runs.

    :param new_id: Gives the new id for a value that may be the id of a run; None if it stays.
    """
    source = record.get("source")
    data = (source or {}).get("source_data")
    if not isinstance(data, dict):
        return record
    changed = {key: new_id(value) or value if isinstance(value, str) else value for key, value in data.items()}
    return {**record, "source": {**(source or {}), "source_data": changed}} if changed != data else record


def _source(record: Json) -> Any:
    """Return where a record came from, in the one form in which a server has it."""
    source = record.get("source")
    if not source:
        return None
    return {"source_type": str(source.get("source_type")).upper(), "source_data": source.get("source_data") or {}}


def _keys(record: Json) -> FrozenSet[str]:
    expectations = record.get("expectations")
    keys = [f"tag:{key}" for key in record.get("tags") or {}]
    keys += [f"expectation:{key}" for key in expectations or {}]
    return frozenset(keys + ["expectations"] * (expectations is not None))


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
