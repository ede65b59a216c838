"""The traces of a server, in the shape in which they are compared. They are only read."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import MlflowExportImportException, NotFound, Unavailable
from mlflow_migration.client.traces import TRACE_KEY, Traces
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.executor import Executor
from mlflow_migration.verify.objects import Thing
from mlflow_migration.verify.trace_objects import Trace, spans_of, trace_of

Json = Dict[str, Any]

GROUP = 100  # traces that are compared together
_ATTEMPTS = 4


class ServerTraces:
    """Traces of one server.

    :param tracking: The server.
    :param executor: The threads.
    """

    def __init__(self, tracking: Tracking, executor: Executor) -> None:
        self._client, self._executor = Traces(tracking), executor

    def keys(self, experiment_id: str) -> Iterator[Tuple[str, str]]:
        """Yield id and key tag of the traces of an experiment; none on a server that knows no traces."""
        for page in self._client.listing(experiment_id):
            for info in page:
                yield info["trace_id"], (info.get("tags") or {}).get(TRACE_KEY, "")

    def pages(self, experiment: Thing) -> Iterator[List[Trace]]:
        """Yield the traces of an experiment without their spans, at most GROUP at a time."""
        for page in self._client.listing(experiment.id):
            for start in range(0, len(page), GROUP):
                yield [trace_of(info) for info in page[start : start + GROUP]]

    def by_id(self, trace_ids: Sequence[str]) -> Dict[str, Trace]:
        """Return traces without their spans by their ids; those that are there."""
        return {info["trace_id"]: trace_of(info) for info in self._client.known(trace_ids)}

    def key_of(self, trace_id: str) -> Optional[str]:
        """Return the key tag of a trace, empty if it has none; None if there is no such trace."""
        found = self.by_id([trace_id]).get(trace_id)
        return None if found is None else found.key

    def homes(self, key: str, experiment_ids: Sequence[str]) -> List[str]:
        """Return which of some experiments have a trace with that key tag."""
        if "'" in key:
            return []
        where = f"tags.`{TRACE_KEY}` = '{key}'"
        return [one for one in experiment_ids if next(self._client.search(one, where, page=1), None)]

    # -- spans and files ----------------------------------------------------------------------------------------

    def add_spans(self, traces: Sequence[Trace]) -> Dict[str, Exception]:
        """Read the spans of traces.

        :return: Why they can't be read, by id of the trace.
        """
        left = list(traces)
        stored = [trace.id for trace in traces if trace.in_database]
        try:
            found: Mapping[str, List[Json]] = self._client.batch(stored) if stored else {}
        except MlflowExportImportException:
            found = {}  # one that can't be read makes the whole request fail
        for trace in traces:
            if trace.id in found:
                trace.spans = spans_of(trace.id, found[trace.id])
        left = [trace for trace in traces if trace.spans is None]
        outcomes = self._executor.gather(self._add_spans, left)
        return {outcome.item.id: outcome.error for outcome in outcomes if outcome.error is not None}

    def _add_spans(self, trace: Trace) -> None:
        found = self._client.one(trace.id) if trace.in_database else None
        if found is None:
            content = self._file(trace.id, "")
            found = [] if content is None else json_codec.loads(content).get("spans") or []
        trace.spans = spans_of(trace.id, found)

    def attachment(self, trace: Trace, name: str) -> Optional[Tuple[str, int]]:
        """Return hash and size of a file of a trace; None if there is none."""
        content = self._file(trace.id, name)
        return None if content is None else (hashlib.sha256(content).hexdigest(), len(content))

    def attachments(self, trace: Trace) -> List[str]:
        """Return nothing: a server lists no files of a trace but those that its spans name."""
        return []

    def _file(self, trace_id: str, name: str) -> Optional[bytes]:
        for attempt in range(_ATTEMPTS):
            started = False
            try:
                with self._client.artifact(trace_id, name) as blocks:
                    started = True
                    return b"".join(blocks)
            except NotFound:
                return None
            except Unavailable:
                if not started or attempt == _ATTEMPTS - 1:  # only a body that broke off was not asked for again
                    raise
        return None

    # -- links --------------------------------------------------------------------------------------------------

    def runs(self, experiment_id: str, run_ids: Sequence[str]) -> Dict[str, Set[str]]:
        """Return which of some runs the traces of an experiment belong or are linked to, by trace."""
        found: Dict[str, Set[str]] = {}
        for outcome in self._executor.imap(lambda run_id: self._of_run(experiment_id, run_id), run_ids):
            for trace_id in outcome.get():
                found.setdefault(trace_id, set()).add(outcome.item)
        return found

    def _of_run(self, experiment_id: str, run_id: str) -> List[str]:
        return [info["trace_id"] for page in self._client.linked(experiment_id, run_id) for info in page]

    def of_prompt(self, experiment_id: str, name: str, version: str) -> Set[str]:
        """Return the traces of an experiment that are linked to a version of a prompt."""
        if "'" in name:
            return set()
        pages = self._client.search(experiment_id, f"prompt = '{name}/{version}'")
        return {info["trace_id"] for page in pages for info in page}
