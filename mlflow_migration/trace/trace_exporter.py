"""Exports traces: a page of infos at a time, the spans of those that are new or changed in batches."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from mlflow_migration.client import json_codec
from mlflow_migration.client.databricks_artifacts import TRACE_DATA
from mlflow_migration.client.errors import NotFound, Refused, describe
from mlflow_migration.client.traces import ARTIFACT_LOCATION, BATCH, SOURCE_RUN, Traces
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.artifact_stores import trace_store
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import old_info
from mlflow_migration.common.trace_files import (
    ATTACHMENTS,
    DATA_FILE,
    IN_ARTIFACTS,
    IN_DATABASE,
    NOWHERE,
    TRACE_FILE,
    TRACES,
    TRACES_FILE,
    canonical_spans,
    place_of_spans,
)

Json = Dict[str, Any]
Option = Optional[str]

_ATTACHMENT = re.compile(rb"mlflow-attachment://([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
_IN_PROGRESS = "IN_PROGRESS"


@dataclass(frozen=True)
class TraceSettings:
    """How traces are exported.

    :param script: Name of the command, for the files.
    :param recheck: Read spans again even where nothing seems to have changed.
    :param skip_attachments: Leave attachments out.
    :param known: Gives the fingerprint of what a former copy took, by source id.
    """

    script: str
    recheck: bool = False
    skip_attachments: bool = False
    known: Callable[[str], Optional[str]] = lambda trace_id: None


@dataclass
class _Work:
    info: Json
    target: ExportDir
    fingerprint: str
    is_new: bool
    run_ids: List[str]

    @property
    def trace_id(self) -> str:
        return str(self.info["trace_id"])


class TraceExporter:
    """Exports traces of one experiment.

    :param tracking: The source.
    :param job: Ledger, threads, progress.
    :param experiment_id: The experiment.
    :param directory_of: Gives the directory of a trace id.
    :param settings: How they are exported.
    :param refuses: Returns the option, or another reason, for which a trace is left out, None if it is wanted; gets its
        info and the ids of the runs that it is linked to.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        experiment_id: str,
        directory_of: Callable[[str], ExportDir],
        settings: TraceSettings,
        refuses: Callable[[Json, Sequence[str]], Option] = lambda info, run_ids: None,
    ) -> None:
        self._traces, self._job, self._experiment_id = Traces(tracking), job, experiment_id
        self._directory_of, self._settings, self._refuses = directory_of, settings, refuses
        self._links: Dict[str, List[str]] = {}
        self._lock = threading.Lock()
        self.failed: List[str] = []
        """Ids of the traces that could not be exported."""

    def groups(self, run_ids: Iterable[str] = ()) -> Iterator[List[str]]:
        """Export the traces of the experiment, and record each.

        :param run_ids: Runs whose links to traces are read.
        :return: Ids of traces that are whole now, or have not changed since a former copy, some at a time.
        """
        pages = self._traces.listing(self._experiment_id)
        first = next(pages, None)
        if first is None:
            return
        self._job.ledger.phase("exporting traces")
        self.read_links(run_ids)
        for outcome in self._job.executor.imap(self.export, self._batches(first, pages), window=2):
            yield outcome.get()

    def _batches(self, page: Optional[List[Json]], pages: Iterator[List[Json]]) -> Iterator[List[Json]]:
        while page:
            self._job.ledger.expect("trace", len(page))
            self._job.progress.add_total(len(page))
            for start in range(0, len(page), BATCH):
                yield page[start : start + BATCH]
            page = next(pages, None)

    def read_links(self, run_ids: Iterable[str]) -> None:
        """Read which traces are linked to runs: a server tells it for one run at a time."""
        if self._traces.rest.lacks("traces/search"):
            return  # such a server knows no links but the run in which a trace was made
        for outcome in self._job.executor.imap(self._linked, run_ids):
            if outcome.error is not None:
                self._job.lost("link", f"traces of run {outcome.item}", outcome.error, "links")
                continue
            for trace_id in outcome.get():
                self._links.setdefault(trace_id, []).append(outcome.item)

    def _linked(self, run_id: str) -> List[str]:
        pages = self._traces.linked(self._experiment_id, run_id)
        infos = [info for page in pages for info in page]
        return [i["trace_id"] for i in infos if (i.get("trace_metadata") or {}).get(SOURCE_RUN) != run_id]

    def export_run(self, run_id: str) -> None:
        """Export the traces that were made in a run, or are linked to it, and record each."""
        for page in self._traces.linked(self._experiment_id, run_id):
            for info in page:
                if (info.get("trace_metadata") or {}).get(SOURCE_RUN) != run_id:
                    self._links[info["trace_id"]] = [run_id]
            for some in self._batches(page, iter(())):
                self.export(some)

    def export(self, infos: Sequence[Json]) -> List[str]:
        """Export some traces, and record each; returns the ids of those that are whole now."""
        done: List[str] = []
        changed: List[_Work] = []
        for info in infos:
            trace_id = info["trace_id"]
            run_ids = sorted(self._links.get(trace_id, ()))
            option = self._refuses(info, run_ids)
            if option is not None:
                self._record("skipped", info, option)
                continue
            item = self._look(info, run_ids)
            if item is None:
                self._record("unchanged", info)
                done.append(trace_id)
            else:
                changed.append(item)
        if self._job.dry_run:
            for item in changed:
                self._record("copied" if item.is_new else "updated", item.info)
            return done + [item.trace_id for item in changed]
        spans = self._spans(changed)
        written = self._job.executor.gather(lambda item: self._write(item, spans.pop(item.trace_id, None)), changed)
        for outcome in written:
            if outcome.error is None:
                done.append(outcome.item.trace_id)
                continue
            with self._lock:
                self.failed.append(outcome.item.trace_id)
            self._job.failed("trace", outcome.item.trace_id, outcome.error)
            self._job.progress.advance()
        return done

    def _look(self, info: Json, run_ids: List[str]) -> Optional[_Work]:
        """Return what is to be done; None if that is nothing."""
        target, mark = self._directory_of(info["trace_id"]), fingerprint(info, run_ids)
        old = old_info(target, TRACE_FILE)
        if old is None:
            same = self._settings.known(info["trace_id"]) == mark
        else:
            same = old.get("fingerprint") == mark and not old.get("incomplete")
        # of one in progress more spans may have come, which its info does not show
        if same and not self._settings.recheck and info.get("state") != _IN_PROGRESS:
            return None
        return _Work(info, target, mark, old is None, run_ids)

    def _record(self, status: str, info: Json, reason: Optional[str] = None, losses: Sequence[str] = ()) -> None:
        name = (info.get("tags") or {}).get("mlflow.traceName")
        self._job.ledger.record("trace", status, info["trace_id"], name=name, reason=reason, losses=list(losses))
        self._job.progress.advance()

    # -- spans --------------------------------------------------------------------------------------------------

    def _spans(self, items: Sequence[_Work]) -> Dict[str, List[Json]]:
        """Return the spans of those that can be read together, by id."""
        wanted = [item.trace_id for item in items if place_of_spans(item.info) == IN_DATABASE]
        found: Dict[str, List[Json]] = {}
        waiting = [wanted] if wanted else []
        while waiting:
            some = waiting.pop()
            outcome = self._job.executor.gather(self._traces.batch, [some])[0]
            if outcome.error is None:
                found.update(outcome.get())
            elif len(some) > 1:
                # one that can't be given in this form makes the whole request fail
                waiting += [some[: len(some) // 2], some[len(some) // 2 :]]
        return found

    def _read(self, item: _Work, spans: Optional[List[Json]]) -> Tuple[List[Json], str, Optional[bytes]]:
        """Return the spans of a trace, where the source keeps them, and the file of those in its artifacts."""
        if spans is not None:
            return spans, IN_DATABASE, None
        if place_of_spans(item.info) == IN_DATABASE:
            try:
                found = self._traces.one(item.trace_id)
            except Refused:
                found = None
            if found is not None:
                return found, IN_DATABASE, None
        try:
            with self._file(item, "") as blocks:
                data = b"".join(blocks)
        except NotFound as ex:
            if not ex.error_code:
                raise
            return [], NOWHERE, None  # a trace of which only the info was written
        return canonical_spans(json_codec.loads(data)), IN_ARTIFACTS, data

    def _file(self, item: _Work, name: str) -> ContextManager[Iterator[bytes]]:
        """Give the bytes of an attachment, or of the file with the spans if no name is given."""
        location = (item.info.get("tags") or {}).get(ARTIFACT_LOCATION) or ""
        if not self._traces.keeps_files:
            return self._traces.artifact(item.trace_id, name)
        # a workspace gives only what is in its own store
        store = trace_store(self._traces, item.trace_id, location, ())
        return store.read(f"attachments/{name}" if name else TRACE_DATA)

    def _write(self, item: _Work, given: Optional[List[Json]]) -> None:
        problems: List[str] = []
        losses: Set[str] = set()
        spans: List[Json] = []
        place, data = NOWHERE, None
        read = self._job.executor.gather(lambda _: self._read(item, given), [None])[0]
        if read.error is None:
            spans, place, data = read.get()
        else:
            problems.append(f"its spans can't be read: {describe(read.error)}")
            losses.add("traces")
        if data is not None:
            with item.target.new_file(DATA_FILE) as out:
                out.write(data)
        body: Json = {"info": item.info, "spans_location": place, "run_ids": item.run_ids}
        raw = {"spans": json_codec.dumps(spans)}
        names = [] if self._settings.skip_attachments else attachments_in(data or raw["spans"], item.info)
        kept = [name for name in names if self._attachment(item, name, problems, losses)]
        about: Json = {"fingerprint": item.fingerprint, "num_spans": len(spans)}
        about.update({"attachments": kept} if kept else {})
        about.update({"incomplete": problems} if problems else {})
        text = envelope(self._settings.script, body, about, tracking_uri=self._traces.tracking.uri, raw=raw)
        item.target.write_json(TRACE_FILE, text)
        status = "incomplete" if problems else "copied" if item.is_new else "updated"
        self._record(status, item.info, "; ".join(problems) or None, sorted(losses))

    def _attachment(self, item: _Work, name: str, problems: List[str], losses: Set[str]) -> bool:
        """Bring an attachment into the directory; tells whether it is there."""

        def fetch(path: str) -> None:
            with item.target.new_file(path) as out, self._file(item, name) as blocks:
                for block in blocks:
                    out.write(block)
            self._job.ledger.add(artifacts=1, bytes=out.size)

        error = self._job.executor.gather(fetch, [f"{ATTACHMENTS}/{name}"])[0].error
        if error is not None:
            problems.append(f"attachment {name}: {describe(error)}")
            losses.add("artifacts")
            self._job.lost("artifact", f"{item.trace_id}/{name}", error, "artifacts")
        return error is None


def attachments_in(spans: bytes, info: Mapping[str, Any]) -> List[str]:
    """Return the names of the attachments that a trace refers to."""
    found = set(_ATTACHMENT.findall(spans))
    for name in ("request_preview", "response_preview"):
        found.update(_ATTACHMENT.findall(str(info.get(name) or "").encode("utf-8", "replace")))
    return sorted(name.decode() for name in found)


def fingerprint(info: Json, run_ids: Sequence[str]) -> str:
    """Return a hash of what a search tells about a trace, and of the runs that it is linked to."""
    facts = [{**info, "assessments": _sorted(info.get("assessments"))}, list(run_ids)]
    return hashlib.blake2b(_canonical(facts), digest_size=16).hexdigest()


def _sorted(assessments: Any) -> List[Json]:
    return sorted(assessments or (), key=lambda item: str(item.get("assessment_id") or ""))


def _canonical(doc: Any) -> bytes:
    # a server gives maps in any order
    return json.dumps(doc, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def export_traces_of_run(
    tracking: Tracking, job: Job, run_id: str, experiment_id: str, directory: ExportDir, settings: TraceSettings
) -> TraceExporter:
    """Export the traces that were made in a run, or are linked to it, below the run's directory."""
    exporter = TraceExporter(tracking, job, experiment_id, trace_place(directory), settings)
    exporter.export_run(run_id)
    return exporter


def write_list(directory: ExportDir, script: str, uri: str, experiments: Sequence[Json], failed: Sequence[str]) -> None:
    """Write traces.json.

    :param experiments: Each with its ``traces``.
    :param failed: Ids of the traces that could not be exported.
    """
    count = sum(len(experiment["traces"]) for experiment in experiments)
    info = {
        "num_total_traces": count + len(failed),
        "num_ok_traces": count,
        "num_failed_traces": len(failed),
        "failed_traces": list(failed),
    }
    text = envelope(script, {"experiments": list(experiments)}, info, tracking_uri=uri)
    directory.write_json(TRACES_FILE, text)


def export_one_trace(
    tracking: Tracking, job: Job, trace_id: str, directory: ExportDir, settings: TraceSettings
) -> TraceExporter:
    """Export a trace right into a directory, and record it.

    :raises NotFound: The server has no such trace.
    """
    traces = Traces(tracking)
    infos = traces.known([trace_id])
    if not infos:
        raise NotFound(f"{tracking.uri} has no trace with the id '{trace_id}'", http_status_code=404)
    info = infos[0]
    exporter = TraceExporter(tracking, job, experiment_of(info), lambda _: directory, settings)
    job.ledger.expect("trace", 1)
    job.progress.add_total(1)
    exporter.export([info])
    return exporter


def experiment_of(info: Mapping[str, Any]) -> str:
    """Return the id of the experiment that a trace belongs to; empty if its info does not tell."""
    place = info.get("trace_location") or {}
    return str((place.get("mlflow_experiment") or {}).get("experiment_id") or "") if isinstance(place, dict) else ""


def trace_place(parent: ExportDir) -> Callable[[str], ExportDir]:
    """Return what gives the directory of a trace id below the directory of an experiment or a run."""

    return lambda trace_id: parent.sub(TRACES, safe_name(trace_id))
