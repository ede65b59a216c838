"""id_map.jsonl: which object became which, and what the destination had when the last import left it.

One line an object and import; the last one of an object counts. ``base`` is what a repeat compares with to tell what
was changed at the source from what was changed at the destination. ``original`` is what no destination can have.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadInput, Stopped, describe
from mlflow_migration.common.append_log import AppendLog, stored_lines
from mlflow_migration.common.export_dir import ExportDir

ID_MAP_FILE = "id_map.jsonl"
SOURCE_TAGS = "import_source_tags"
MLMODEL_FIX = "mlmodel_fix"
_IN_MEMORY = 1024 * 1024  # bytes

Json = Dict[str, Any]
_TYPES = {
    "base": dict, "content": dict, "begun": list, "losses": list, "fingerprint": str, "parent": str, "original": dict,
    "options": list, "open": list,
}  # fmt: skip


_Key = Tuple[str, str, str]
"""Kind, experiment of the destination, id at the source."""


class _Lines:
    """The last line of each object: in memory only as long as there are few."""

    def __init__(self) -> None:
        self._text = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)
        self._places: Dict[_Key, Tuple[int, int]] = {}  # where in the text, and how long
        self._end = 0

    def get(self, key: _Key) -> Optional[bytes]:
        """Return a line; None if there is none.

        :raises Stopped: It can't be read.
        """
        place = self._places.get(key)
        if place is None:
            return None
        with _room():
            self._text.seek(place[0])
            return self._text.read(place[1])

    def put(self, key: _Key, line: bytes) -> None:
        """Keep a line.

        :raises Stopped: There is no room for it.
        """
        with _room():
            self._text.seek(self._end)
            self._text.write(line)
        self._places[sys.intern(key[0]), sys.intern(key[1]), key[2]] = (self._end, len(line))
        self._end += len(line)

    def keys(self) -> List[_Key]:
        """Return what there are lines of."""
        return list(self._places)

    def close(self) -> None:
        """Forget all."""
        self._text.close()


@contextmanager
def _room() -> Iterator[None]:
    """Let all work end where the temporary directory has no room."""
    try:
        yield
    except OSError as ex:
        raise Stopped(describe(OSError(ex.errno, ex.strerror, tempfile.gettempdir()))) from ex


class IdMap:
    """The id map of one destination. Thread-safe.

    :param directory: Where id_map.jsonl is; None keeps it in memory.
    :param destination: The destination's ``Tracking.identity``; lines of others are left alone.
    :param writable: False in a dry run.
    :raises BadInput: The file can't be written there.
    """

    def __init__(self, directory: Optional[ExportDir], destination: str, writable: bool = True) -> None:
        self.directory = directory
        self.destination = destination
        self._lock = threading.Lock()
        self._lines = _Lines()
        if directory is not None:
            for line in stored_lines(directory, ID_MAP_FILE):
                self._remember(line)
        self._log: Optional[AppendLog] = None
        if directory is not None and writable:
            try:
                self._log = AppendLog(directory, ID_MAP_FILE)
            except OSError as ex:
                raise BadInput(f"{ID_MAP_FILE} can't be written in {directory.path}: {describe(ex)}") from ex

    def _remember(self, line: bytes) -> None:
        try:
            entry = json_codec.loads(line)
            if entry["destination"] == self.destination and _is_ours(entry):
                self._lines.put((entry["kind"], entry["experiment_id"], entry["src_id"]), line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # the half line of a killed command, or none of ours

    def find(self, kind: str, experiment_id: str, src_id: str) -> Optional[Json]:
        """Return the last line of an object, or None.

        :param experiment_id: The destination's experiment.
        """
        with self._lock:
            line = self._lines.get((kind, experiment_id, src_id))
        return None if line is None else {"base": None, **json_codec.loads(line)}

    def entries(self, kind: str, experiment_id: Optional[str] = None) -> Iterator[Json]:
        """Yield the last lines of all objects of a kind, of one destination experiment only or of all."""
        for key in self._lines.keys():
            if key[0] == kind and experiment_id in (None, key[1]):
                with self._lock:
                    line = self._lines.get(key)
                yield json_codec.loads(line or b"")

    def record(self, kind: str, experiment_id: str, src_id: str, dst_id: str, **facts: Any) -> None:
        """Write what an object became.

        :param facts: ``base``, ``fingerprint`` and whatever else helps to trace it.
        """
        entry = {
            "kind": kind, "destination": self.destination, "experiment_id": experiment_id,
            "src_id": src_id, "dst_id": dst_id, **facts,
        }  # fmt: skip
        key, line = (kind, experiment_id, src_id), json_codec.dumps(entry)
        with self._lock:
            if self._lines.get(key) == line:
                return
            if self._log is not None:
                self._log.write(line)
            self._lines.put(key, line)

    def announce(self, kind: str, experiment_id: str, src_id: str, dst_id: str, **facts: Any) -> None:
        """Write what is going to be done to an object, so that it is known even if we are killed meanwhile."""
        self.record(kind, experiment_id, src_id, dst_id, **facts)
        with self._lock:
            if self._log is not None:
                self._log.sync()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
        if self._log is not None:
            self._log.close()
            self._log = None


def options_of(entry: Optional[Mapping[str, Any]], **options: bool) -> List[str]:
    """Return the options that have a say in what a copy has; with others a repeat has to look at it again.

    :param entry: What the id map has of the object: a copy that has source tags keeps them without being asked again.
    :param options: Those of this import, by name.
    """
    kept = SOURCE_TAGS in ((entry or {}).get("options") or ())
    return sorted({name for name, on in options.items() if on} | ({SOURCE_TAGS} if kept else set()))


def other_fix(entry: Optional[Mapping[str, Any]], options: List[str]) -> bool:
    """Tell whether ids in MLmodel files were not replaced last time and are now, or the other way round."""
    before = (entry or {}).get("options")
    return before is not None and (MLMODEL_FIX in before) != (MLMODEL_FIX in options)


def original(doc: Mapping[str, Any], *fields: str) -> Json:
    """Return what the source's server had set itself, so that no destination can have it.

    :param doc: The object as the export has it.
    :param fields: Names of such fields; those without a value are left out.
    """
    return {name: doc[name] for name in fields if doc.get(name)}


def _is_ours(entry: Json) -> bool:
    """Tell whether an entry has the shape that :meth:`IdMap.record` gives it: the file may come from anyone."""
    files = (entry.get("content") or {}).get("files")
    known = [(entry.get(name), kind) for name, kind in _TYPES.items()] + [(files, dict)]
    return isinstance(entry["dst_id"], str) and all(value is None or isinstance(value, kind) for value, kind in known)
