"""The traces of a directory, in the shape in which they are compared."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.object_files import object_dirs, trace_dirs
from mlflow_migration.common.trace_files import ATTACHMENTS, TRACE_FILE, TRACES, TRACES_FILE, read_trace, read_traces
from mlflow_migration.verify.objects import TRACE, Thing
from mlflow_migration.verify.server_traces import GROUP
from mlflow_migration.verify.trace_objects import Trace, spans_of, trace_of

_BLOCK = 1024 * 1024


class DirectoryTraces:
    """Traces of one directory.

    :param executor: The threads.
    :param loose: Directories of traces, or with traces, that are there without their experiment.
    """

    def __init__(self, executor: Executor, loose: Sequence[ExportDir]) -> None:
        self._executor, self._loose = executor, loose
        self._keys: Dict[str, str] = {}

    def pages(self, experiment: Thing) -> Iterator[List[Trace]]:
        """Yield the traces of an experiment without their spans, at most GROUP at a time."""
        found = trace_dirs(experiment.place)
        if experiment.place.exists(f"{TRACES}/{TRACES_FILE}"):
            yield _lost(experiment.place.sub(TRACES), {trace_id for trace_id, _ in found})
        yield from self._read(found)

    def loose(self) -> Iterator[List[Trace]]:
        """Yield the traces that are there without their experiment, some at a time."""
        for directory in self._loose:
            if directory.exists(TRACE_FILE):
                yield from self._read([("", directory)])
            elif directory.exists(TRACES_FILE):
                ids = [trace_id for one in read_traces(directory)["experiments"] for trace_id in one["traces"]]
                yield _lost(directory, set(ids))
                yield from self._read(object_dirs(directory, ids))
            else:
                yield from self._read(trace_dirs(directory))

    def _read(self, found: Sequence[Tuple[str, ExportDir]]) -> Iterator[List[Trace]]:
        for start in range(0, len(found), GROUP):
            group: List[Trace] = []
            for outcome in self._executor.gather(lambda item: self._trace(item[1]), found[start : start + GROUP]):
                trace_id, directory = outcome.item
                lost = Trace(TRACE, trace_id or directory.path, place=directory, error=outcome.error)
                group.append(outcome.get() if outcome.error is None else lost)
            yield group

    def _trace(self, directory: ExportDir) -> Trace:
        doc = read_trace(directory)
        trace = trace_of(doc["info"], directory)
        trace.runs = set(doc["run_ids"])
        self._keys[trace.id] = trace.key
        return trace

    def key_of(self, trace_id: str) -> Optional[str]:
        """Return the key tag of a trace that was read so far, empty if it has none; None if there is no such trace."""
        return self._keys.get(trace_id)

    def by_id(self, trace_ids: Sequence[str]) -> Dict[str, Trace]:
        """Return nothing: a directory has no other traces than those that it lists."""
        return {}

    # -- spans and files ----------------------------------------------------------------------------------------

    def add_spans(self, traces: Sequence[Trace]) -> Dict[str, Exception]:
        """Read the spans of traces.

        :return: Why they can't be read, by id of the trace.
        """
        outcomes = self._executor.gather(_add_spans, traces)
        return {outcome.item.id: outcome.error for outcome in outcomes if outcome.error is not None}

    def attachments(self, trace: Trace) -> List[str]:
        """Return the names of the files of a trace."""
        there = trace.place.exists(ATTACHMENTS)
        return sorted(name for name, _ in trace.place.files(ATTACHMENTS)) if there else []

    def attachment(self, trace: Trace, name: str) -> Optional[Tuple[str, int]]:
        """Return hash and size of a file of a trace; None if there is none."""
        path = f"{ATTACHMENTS}/{name}"
        if not trace.place.exists(path):
            return None
        digest, size = hashlib.sha256(), 0
        with trace.place.open_read(path) as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
                size += len(block)
        return digest.hexdigest(), size

    # -- links --------------------------------------------------------------------------------------------------

    def runs(self, experiment_id: str, run_ids: Sequence[str]) -> Dict[str, Set[str]]:
        """Return nothing: each trace of a directory tells its runs itself."""
        return {}

    def of_prompt(self, experiment_id: str, name: str, version: str) -> Optional[Set[str]]:
        """Return None: a directory tells only what the tags of the traces say."""
        return None


def _lost(directory: ExportDir, there: Set[str]) -> List[Trace]:
    """Return the traces that a list says could not be exported, and that are not there from an earlier time."""
    lost = BadDirectory("its export failed: it is not in the directory")
    try:
        failed = read_traces(directory)["failed"]
    except BadDirectory as ex:
        return [Trace(TRACE, directory.path, place=directory, error=ex)]
    return [Trace(TRACE, trace_id, error=lost) for trace_id in failed if trace_id not in there]


def _add_spans(trace: Trace) -> None:
    spans: List[Any] = read_trace(trace.place)["spans"]
    trace.spans = spans_of(trace.id, spans)
