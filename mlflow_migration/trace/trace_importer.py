"""Imports traces into one experiment, each once: infos with one request each, the spans of many in one request."""

from __future__ import annotations

import hashlib
import io
import posixpath
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import (
    AbstractSet,
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import MlflowExportImportException, NotFound, Refused, describe
from mlflow_migration.client.traces import ARTIFACT_LOCATION, BATCH, SOURCE_RUN, SPANS_LOCATION, TRACE_KEY, Traces
from mlflow_migration.client.tracking import MODEL_KEY, RUN_KEY, Tracking, tag_dict
from mlflow_migration.common.artifact_stores import trace_store
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import old_info
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled, short
from mlflow_migration.common.trace_files import (
    ATTACHMENTS,
    DATA_FILE,
    IN_ARTIFACTS,
    TRACE_FILE,
    data_file,
    otlp_id,
    read_trace,
)
from mlflow_migration.trace.trace_exporter import experiment_of
from mlflow_migration.trace.trace_state import (
    FINALIZED,
    derived_assessment_id,
    derived_id,
    digest,
    is_issue,
    issues_of,
    late_assessments,
    prompts_of,
    state_of,
    translated,
    translated_file,
    translated_spans,
    unreachable,
    untouched,
    would_be_changed,
)

Json = Dict[str, Any]
Found = Sequence[Tuple[str, ExportDir]]

_SPANS_AT_ONCE = 5_000  # in one request, but for those of a single trace
_IN_PROGRESS = "IN_PROGRESS"
TOO_OLD = "the destination takes no traces by REST: it is a server before MLflow 3"


@dataclass
class _Work:
    """A trace on its way."""

    src_id: str
    doc: Json
    directory: ExportDir
    dst_id: str
    created: bool = False
    deleted: bool = False
    info: Json = field(default_factory=dict)  # as the destination gets it
    spans: List[Json] = field(default_factory=list)
    there: Optional[Json] = None
    beside: State = field(default_factory=dict)
    base: Optional[State] = None
    wanted: State = field(default_factory=dict)
    todo: Plan = field(default_factory=Plan)
    missing: List[str] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)
    losses: Set[str] = field(default_factory=set)
    error: Optional[Exception] = None

    def lacks(self, name: str, problem: str, loss: str) -> None:
        """Take note of a part that could not be written."""
        self.missing.append(name)
        self.problems.append(problem)
        self.losses.add(loss)

    @property
    def writes(self) -> bool:
        """Whether its info, or something in it, is to be written."""
        return any(name not in ("spans", "files", "prompts") and name[:5] != "link:" for name in self.todo.write)


class TraceImporter:
    """Imports traces into one experiment.

    :param tracking: The destination.
    :param job: Ledger, threads, progress.
    :param experiment_id: The destination's experiment; empty if a dry run would create it.
    :param id_map: What earlier imports did.
    :param overwrite: Write again what was edited at the destination.
    :param wake: Called before something is written: a deleted experiment takes nothing.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        experiment_id: str,
        id_map: IdMap,
        *,
        overwrite: bool,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._traces, self._job, self._experiment_id, self._id_map = Traces(tracking), job, experiment_id, id_map
        self._overwrite, self._wake = overwrite, wake
        self._there: Dict[str, bytes] = {}  # short hashes of the infos of the destination's traces
        self._unfinished: Set[str] = set()  # of those the ones without spans in the database
        self._by_key: Dict[str, str] = {}
        self._matches: Dict[str, AbstractSet[str]] = {}
        self._loaded = False
        self._lock = threading.Lock()
        self.run_ids: Mapping[str, str] = {}
        """Destination ids of runs by those of the source."""
        self.model_ids: Mapping[str, str] = {}
        """Destination ids of logged models by those of the source."""
        self._issue_ids: Dict[str, str] = {}

    # -- what is there ------------------------------------------------------------------------------------------

    def load(self, existed: bool = True) -> None:
        """Read what the destination has; to be called before any trace is imported.

        :param existed: The destination's experiment was there before.
        """
        if self._loaded:
            return
        self._loaded = True
        # those of an earlier import; what comes later is brought to its traces then
        entries = self._id_map.entries("issue")
        self._issue_ids = {str(entry["src_id"]): entry["dst_id"] for entry in entries if entry["dst_id"]}
        if not (existed and self._experiment_id):
            return
        for page in self._traces.listing(self._experiment_id):
            for info in page:
                trace_id, tags = info["trace_id"], info.get("tags") or {}
                self._there[trace_id] = digest(info)
                if SPANS_LOCATION not in tags:
                    self._unfinished.add(trace_id)
                if TRACE_KEY in tags:
                    self._by_key[tags[TRACE_KEY]] = trace_id

    def known(self, src_id: str) -> Optional[str]:
        """Return the fingerprint of what an earlier import took of a trace that is still as it left it; else None."""
        entry = self._id_map.find("trace", self._experiment_id, src_id)
        return entry.get("fingerprint") if entry is not None and self._as_it_was(entry) else None

    def _as_it_was(self, entry: Json) -> bool:
        if self._overwrite or entry.get("losses") or entry.get("base") is None:
            return False
        there = self._there.get(entry["dst_id"])
        if there is None or there.hex() != entry.get("seen"):
            return False
        # what it names has only come since
        return not any(one in self.run_ids or one in self._issue_ids for one in (entry.get("open") or ()))

    def confirm(self, src_ids: Iterable[str]) -> None:
        """Record traces that have not changed since the last import; see :meth:`known`."""
        for src_id in src_ids:
            entry = self._id_map.find("trace", self._experiment_id, src_id)
            dst_id = entry["dst_id"] if entry is not None else None
            self._job.ledger.record("trace", "unchanged", src_id, dst_id=dst_id)
            self._job.progress.advance()

    # -- importing ----------------------------------------------------------------------------------------------

    def import_all(self, found: Found) -> None:
        """Import the traces of a directory, and record each."""
        if not found:
            return
        self._job.ledger.phase("importing traces")
        self._job.ledger.expect("trace", len(found))
        self._job.progress.add_total(len(found))
        groups = (found[start : start + BATCH] for start in range(0, len(found), BATCH))
        for outcome in self._job.executor.imap(self.import_group, groups, window=2):
            for src_id, _ in outcome.item if outcome.error is not None else ():
                assert outcome.error is not None
                self._job.failed("trace", src_id, outcome.error)

    def import_group(self, found: Found) -> None:
        """Import some traces, at most BATCH, and record each."""
        # asked only where something is to be written
        if not (self._there or self._job.dry_run or self._traces.writable()):
            for src_id, _ in found:
                self._job.lost("trace", src_id, Refused(TOO_OLD, http_status_code=404), "traces")
                self._job.progress.advance()
            return
        works: List[_Work] = []
        for outcome in self._job.executor.gather(self._open, found):
            if outcome.error is not None:
                self._job.failed("trace", outcome.item[0], outcome.error)
                self._job.progress.advance()
                continue
            work = outcome.get()
            works += [work] if work is not None else []
        # not what is recorded already
        error = self._job.executor.gather(self._bring, [works])[0].error
        for work in works:
            work.error = work.error or error
            self._record(work)

    def _bring(self, works: Sequence[_Work]) -> None:
        self._place(works)
        for work in works:
            if work.error is None:
                self._plan(work)
        if not self._job.dry_run:
            self._write([work for work in works if not work.deleted])

    def _open(self, item: Tuple[str, ExportDir]) -> Optional[_Work]:
        """Read a trace; None if it has not changed, which is recorded."""
        name, directory = item
        about = old_info(directory, TRACE_FILE) or {}
        entry = self._id_map.find("trace", self._experiment_id, name)
        mark = about.get("fingerprint")
        if entry is not None and mark and entry.get("fingerprint") == mark and self._as_it_was(entry):
            if entry.get("state") != _IN_PROGRESS:
                self.confirm([name])
                return None
        doc = read_trace(directory)
        src_id = doc["info"]["trace_id"]
        return _Work(src_id, doc, directory, self._find(src_id, doc))

    def _find(self, src_id: str, doc: Json) -> str:
        """Return the id that a trace has at the destination, or gets if its own is free."""
        entry = self._id_map.find("trace", self._experiment_id, src_id)
        origin = (doc["info"].get("tags") or {}).get(TRACE_KEY, "")
        for trace_id in (src_id, self._by_key.get(src_id), origin, entry["dst_id"] if entry is not None else None):
            if trace_id and trace_id in self._there:
                return trace_id
        return src_id

    def _place(self, works: Sequence[_Work]) -> None:
        """Find out which traces are there, which of others' ids are taken, and what those that differ have."""
        new = [work for work in works if work.dst_id not in self._there]
        # to write a trace that another experiment has would take it away from there
        taken = {info["trace_id"]: info for info in self._traces.known([work.dst_id for work in new])}
        for work in new:
            entry = self._id_map.find("trace", self._experiment_id, work.src_id)
            work.deleted = entry is not None and entry["base"] is not None and not self._overwrite
            if work.dst_id in taken:
                work.dst_id = derived_id(self._experiment_id, work.src_id)
            work.created = True
        for outcome in self._job.executor.gather(self._translate, works):
            outcome.item.error = outcome.error
        differ = [w for w in works if w.error is None and not w.created and self._needs_look(w)]
        there = {info["trace_id"]: info for info in self._traces.known([work.dst_id for work in differ])}
        for work in differ:
            work.there = there.get(work.dst_id)
            if work.there is not None:
                self._restore_ids(work)
        unknown = [w for w in differ if w.there is not None and self._base(w) is None]
        for outcome in self._job.executor.gather(self._look_beside, unknown):
            outcome.item.error = outcome.error

    def _base(self, work: _Work) -> Optional[State]:
        """Return what the last import left of a trace; None if that is not known."""
        entry = self._id_map.find("trace", self._experiment_id, work.src_id)
        base: Optional[State] = entry["base"] if entry is not None and entry["dst_id"] == work.dst_id else None
        return None if work.created else base

    def _look_beside(self, work: _Work) -> None:
        """Find out what the destination has of that which its info does not tell."""
        for name in _beside(work.wanted):
            if name == "files":
                there = all(self._has_file(work, path) for path in self._files(work))
            elif name == "prompts":
                named = [f"{prompt['name']}/{prompt['version']}" for prompt in prompts_of(work.doc["info"])]
                there = all(work.dst_id in self._matching(f"prompt = '{prompt}'") for prompt in named)
            else:
                there = work.dst_id in self._matching(f"run_id = '{work.wanted[name]}'")
            if there:
                work.beside[name] = work.wanted[name]

    def _matching(self, where: str) -> AbstractSet[str]:
        """Return the ids of the destination's traces that fit a filter."""
        with self._lock:
            if where not in self._matches:
                pages = self._traces.search(self._experiment_id, where)
                self._matches[where] = {info["trace_id"] for page in pages for info in page}
            return self._matches[where]

    def _has_file(self, work: _Work, path: str) -> bool:
        try:
            with self._traces.artifact(work.dst_id, posixpath.basename(path) if path != DATA_FILE else "") as blocks:
                if path == DATA_FILE:
                    return b"".join(blocks) == self._data_file(work)
                return sum(map(len, blocks)) == work.directory.size(path)
        except Refused:
            return False

    def _translate(self, work: _Work) -> None:
        info = work.doc["info"]
        work.info = translated(info, work.dst_id, self._experiment_id, self.run_ids, self.model_ids, self._issue_ids)
        if self._is_origin(work):
            work.info["tags"].pop(TRACE_KEY, None)
        work.spans = translated_spans(work.doc["spans"], work.src_id, work.dst_id, self._experiments(work))
        work.wanted = state_of(work.info, info)
        if not self._in_artifacts(work):
            work.wanted["spans"] = hashlib.blake2b(json_codec.dumps(work.spans), digest_size=8).hexdigest()
        files = self._files(work)
        if files:
            work.wanted["files"] = short([[path, self._mark(work, path)] for path in files])
        if prompts_of(info):
            work.wanted["prompts"] = short(prompts_of(info))
        for run_id in work.doc["run_ids"]:
            if run_id in self.run_ids:
                work.wanted[f"link:{run_id}"] = self.run_ids[run_id]

    def _experiments(self, work: _Work) -> Dict[str, str]:
        return {experiment_of(work.doc["info"]): self._experiment_id}

    def _is_origin(self, work: _Work) -> bool:
        """Tell whether a source trace was once made from the destination's."""
        return work.dst_id != work.src_id and (work.doc["info"].get("tags") or {}).get(TRACE_KEY) == work.dst_id

    def _restore_ids(self, work: _Work) -> None:
        """Give assessments the ids that they have here: those of a trace that comes back, and issues not known yet."""
        there = {item["assessment_id"]: item for item in (work.there or {}).get("assessments") or ()}
        if self._is_origin(work):
            before = {}
            for assessment_id in there:
                carried = derived_assessment_id(work.src_id, assessment_id)
                before[derived_assessment_id(work.dst_id, carried)] = assessment_id
            for item in work.info["assessments"]:
                for key in ("assessment_id", "overrides"):
                    item[key] = before.get(item.get(key), item.get(key)) or ""
        unknown = issues_of(work.doc["info"]) - self._issue_ids.keys()
        for item in work.info["assessments"]:
            same = there.get(item.get("assessment_id"))
            # an import that has no such id map may have brought the issue
            if is_issue(item) and item["assessment_name"] in unknown and same is not None and is_issue(same):
                item["assessment_name"] = same["assessment_name"]
        old = [name for name in work.wanted if name.startswith("assessment:")]
        for name in old:
            del work.wanted[name]
        assessed = state_of(work.info, work.doc["info"])
        work.wanted.update((name, assessed[name]) for name in assessed if name.startswith("assessment:"))

    def _in_artifacts(self, work: _Work) -> bool:
        in_file = work.doc["spans_location"] == IN_ARTIFACTS or self._traces.keeps_files
        return in_file or not work.spans or otlp_id(work.dst_id) is None

    def _files(self, work: _Work) -> List[str]:
        """Return the files of a trace's artifacts, as paths in its directory."""
        files = [f"{ATTACHMENTS}/{name}" for name in work.doc["about"]["attachments"]]
        if self._has_data_file(work) or (self._traces.keeps_files and work.spans):
            files.append(DATA_FILE)
        return files

    def _has_data_file(self, work: _Work) -> bool:
        return work.directory.exists(DATA_FILE) and work.doc["spans_location"] == IN_ARTIFACTS

    def _data_file(self, work: _Work) -> bytes:
        """Return the file with a trace's spans as the destination gets it."""
        if not self._has_data_file(work):
            return data_file(work.spans, work.dst_id)
        with work.directory.open_read(DATA_FILE) as file:
            return translated_file(file.read(), work.src_id, work.dst_id, self._experiments(work))

    def _mark(self, work: _Work, path: str) -> Union[None, int, str]:
        """Return what changes when a file does: of an attachment, which never does, its size."""
        if path != DATA_FILE:
            return work.directory.size(path)
        return hashlib.blake2b(self._data_file(work), digest_size=8).hexdigest()

    def _needs_look(self, work: _Work) -> bool:
        """Tell whether the whole info of the destination's trace has to be read."""
        if self._there[work.dst_id] != digest(work.info) or self._overwrite:
            return True
        base, lacks_spans = self._base(work), "spans" in work.wanted and work.dst_id in self._unfinished
        return lacks_spans or (bool(_beside(work.wanted)) if base is None else base != work.wanted)

    def _plan(self, work: _Work) -> None:
        work.base = base = self._base(work)
        work.problems += [f"already in the export: {problem}" for problem in work.doc["about"]["incomplete"]]
        work.losses.update({"traces"} if work.problems else ())
        for assessment_id in unreachable(work.info.get("assessments") or ()):
            text = f"assessment {assessment_id} is not valid at the source, though no other one overrides it"
            work.problems.append(f"{text}: no request makes it so")
            work.losses.add("values")
        for run_id in work.doc["run_ids"]:
            if run_id not in self.run_ids:
                work.problems.append(f"the run {run_id} that it is linked to is not at the destination")
                work.losses.add("links")
        if "spans" not in work.wanted and work.spans and "files" not in work.wanted:
            form = "tr- and 32 hexadecimal digits"
            work.lacks("spans", f"a server keeps spans only of traces whose id is {form}, not {work.dst_id}", "traces")
        if work.created:
            work.todo = plan(work.wanted, {}, None, self._overwrite, unfinished=True)
            return
        if work.there is None:
            return  # as it was
        now = state_of(work.there, work.doc["info"])
        now.update(work.beside if base is None else {name: base[name] for name in _beside(work.wanted) if name in base})
        lacks_spans = work.dst_id in self._unfinished
        if "spans" in work.wanted:
            now.update({} if lacks_spans else {"spans": (base or work.wanted).get("spans", "")})
            if lacks_spans and base is not None:
                base = {name: value for name, value in base.items() if name != "spans"}
        # a workspace does not tell
        tells = not self._traces.keeps_files
        unfinished = base is None and tells and FINALIZED not in (work.there.get("trace_metadata") or {})
        todo = plan(work.wanted, now, base, self._overwrite, unfinished)
        todo.differs = [name for name in todo.differs if name in work.wanted or not name.startswith("metadata:")]
        work.todo = todo

    # -- writing ------------------------------------------------------------------------------------------------

    def _write(self, works: Sequence[_Work]) -> None:
        """Write what is to be written: infos first, then spans; where these would change an info, the other way."""
        busy = [work for work in works if not work.todo.empty]
        if busy:
            self._wake()
        after = {id(work) for work in busy if "spans" in work.todo.write and would_be_changed(work.info, work.spans)}
        plain = [work for work in busy if id(work) not in after]
        self._each(self._write_info, [work for work in plain if work.created or work.writes])
        self._write_spans([work for work in busy if "spans" in work.todo.write and work.error is None])
        self._each(self._write_info, [work for work in busy if id(work) in after])
        self._each(self._write_rest, busy)
        self._write_links(busy)

    def _each(self, function: Any, works: Sequence[_Work]) -> None:
        for outcome in self._job.executor.gather(function, [work for work in works if work.error is None]):
            outcome.item.error = outcome.error

    def _write_info(self, work: _Work) -> None:
        try:
            work.there = self._traces.create(self._body(work))
        except NotFound:
            if not work.created or work.dst_id != work.src_id:
                raise
            # another workspace has a trace with this id, or one of the assessments
            work.dst_id = derived_id(self._experiment_id, work.src_id)
            self._translate(work)
            work.there = self._traces.create(self._body(work))

    def _body(self, work: _Work) -> Json:
        late = {item["assessment_id"] for item in late_assessments(work.info["assessments"])}
        if work.created:
            kept = [item for item in work.info["assessments"] if item["assessment_id"] not in late]
            return {**work.info, "assessments": kept}
        # the request sets all that is in it, and leaves alone what is not
        write, info, there = set(work.todo.write), work.info, work.there or {}
        moved = "info" in write
        body = untouched(info if moved else there)
        body.update({key: info[key] for key in ("request_preview", "response_preview") if key in write})
        metadata = info["trace_metadata"]
        body["trace_metadata"] = {k: v for k, v in metadata.items() if moved or f"metadata:{k}" in write}
        body["tags"] = {key: value for key, value in info["tags"].items() if f"tag:{key}" in write}
        body["assessments"] = [
            item
            for item in info["assessments"]
            if f"assessment:{item['assessment_id']}" in write and item["assessment_id"] not in late
        ]
        return {**body, "trace_id": work.dst_id, "trace_location": info["trace_location"]}

    def _write_spans(self, works: Sequence[_Work]) -> None:
        some: List[_Work] = []
        count = 0
        for work in works:
            if some and count + len(work.spans) > _SPANS_AT_ONCE:
                self._log_spans(some)
                some, count = [], 0
            some.append(work)
            count += len(work.spans)
        if some:
            self._log_spans(some)

    def _log_spans(self, works: Sequence[_Work]) -> None:
        def log(some: Sequence[_Work]) -> None:
            self._traces.log_spans(self._experiment_id, [span for work in some for span in work.spans])

        error = self._job.executor.gather(log, [works])[0].error
        if error is None:
            return
        # one that is refused makes the whole request fail
        outcomes = self._job.executor.gather(log, [[work] for work in works]) if len(works) > 1 else []
        failed = [(outcome.item[0], outcome.error) for outcome in outcomes] or [(works[0], error)]
        for work, reason in failed:
            if reason is not None:
                work.lacks("spans", f"its spans could not be written: {describe(reason)}", "traces")

    def _write_rest(self, work: _Work) -> None:
        """Write what needs a request of its own."""
        write = set(work.todo.write)
        if "files" in write:
            self._upload(work)
        for name in [name for name in work.todo.drop if name.startswith("tag:")]:
            self._traces.delete_tag(work.dst_id, name[len("tag:") :])
        for name in [name for name in work.todo.drop if name.startswith("assessment:")]:
            self._traces.delete_assessment(work.dst_id, name[len("assessment:") :])
        for item in late_assessments(work.info["assessments"]):
            name, target = f"assessment:{item['assessment_id']}", f"assessment:{item['overrides']}"
            if not {name, target} & write:
                continue
            if not work.created:
                self._traces.delete_assessment(work.dst_id, item["assessment_id"])
            self._traces.create_assessment(work.dst_id, item)
        if "prompts" in write:
            self._traces.link_prompts(work.dst_id, prompts_of(work.info))

    def _upload(self, work: _Work) -> None:
        files = self._files(work)
        paths = [path[len("artifacts/") :] for path in files]
        location = ((work.there or {}).get("tags") or {}).get(ARTIFACT_LOCATION, "")
        if not location:
            known = self._traces.known([work.dst_id])
            location = (known[0].get("tags") or {}).get(ARTIFACT_LOCATION, "") if known else ""
        for path, name in zip(files, paths):
            loss = "traces" if path == DATA_FILE else "artifacts"
            try:
                store = trace_store(self._traces, work.dst_id, location, paths)
                if path == DATA_FILE:
                    content = self._data_file(work)
                    size: Optional[int] = len(content)
                    open_body: Callable[[], BinaryIO] = partial(io.BytesIO, content)
                else:
                    size, open_body = work.directory.size(path), partial(work.directory.open_read, path)
                if size is None:
                    open_body().close()  # says why
                store.write(name, open_body, size or 0)
                self._job.ledger.add(artifacts=1, bytes=size or 0)
            except (MlflowExportImportException, OSError) as ex:
                work.lacks("files", f"{path}: {describe(ex)}", loss)

    def _write_links(self, works: Sequence[_Work]) -> None:
        """Link traces to runs, as many at a time as go with one run."""
        by_run: Dict[str, List[_Work]] = {}
        for work in works:
            for name in work.todo.write if work.error is None else ():
                if name.startswith("link:"):
                    by_run.setdefault(work.wanted[name], []).append(work)

        def link(item: Tuple[str, List[_Work]]) -> None:
            self._traces.link_to_run([work.dst_id for work in item[1]], item[0])

        for outcome in self._job.executor.gather(link, list(by_run.items())):
            for work in outcome.item[1] if outcome.error is not None else ():
                assert outcome.error is not None
                name = next(name for name, run_id in work.wanted.items() if run_id == outcome.item[0])
                work.lacks(name, f"it could not be linked to run {outcome.item[0]}: {describe(outcome.error)}", "links")

    # -- the end ------------------------------------------------------------------------------------------------

    def _record(self, work: _Work) -> None:
        name = (work.doc["info"].get("tags") or {}).get("mlflow.traceName")
        self._job.progress.advance()
        if work.deleted:
            self._job.ledger.record(
                "trace", "differs", work.src_id, name=name, reason="deleted at the destination and left alone"
            )
            return
        if work.error is not None:
            self._job.failed("trace", work.src_id, work.error, name=name)
            return
        status = "incomplete" if work.losses else "copied" if work.created else None
        status = status or ("unchanged" if work.todo.empty else "updated")
        if work.todo.differs:
            work.problems.append(left_alone(work.todo.differs, work.base))
            status = status if work.losses else "differs"
        if not self._job.dry_run:
            self._remember(work)
        self._job.ledger.record(
            "trace", status, work.src_id, dst_id=None if self._job.dry_run and work.created else work.dst_id,
            name=name, reason="; ".join(work.problems) or None, losses=sorted(work.losses),
        )  # fmt: skip

    def _remember(self, work: _Work) -> None:
        seen = digest(work.info).hex() if not work.todo.differs else None
        named = [(work.doc["info"].get("trace_metadata") or {}).get(SOURCE_RUN), *work.doc["run_ids"]]
        open_ids = {run_id for run_id in named if run_id and run_id not in self.run_ids}
        open_ids |= issues_of(work.doc["info"]) - self._issue_ids.keys()
        in_progress = work.info.get("state") == _IN_PROGRESS
        self._id_map.record(
            "trace", self._experiment_id, work.src_id, work.dst_id,
            base=settled(work.wanted, work.base, work.todo, work.missing),
            fingerprint=work.doc["about"]["fingerprint"],
            **({"seen": seen} if seen else {}),
            **({"open": sorted(open_ids)} if open_ids else {}),
            **({"state": _IN_PROGRESS} if in_progress else {}),
            **({"losses": sorted(work.losses)} if work.losses else {}),
        )  # fmt: skip


def _beside(wanted: State) -> List[str]:
    """Return the fields that no info tells: links and files."""
    return [name for name in wanted if name in ("files", "prompts") or name.startswith("link:")]


def destination_ids(tracking: Tracking, experiment_id: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the ids of an experiment's runs, and of its logged models, by those that they were copied from.

    :param experiment_id: The destination's; its own ids are among the keys, as traces may come back to it.
    """
    run_ids: Dict[str, str] = {}
    model_ids: Dict[str, str] = {}
    for page in tracking.search_runs([experiment_id]):
        for run in page:
            run_id = run["info"]["run_id"]
            run_ids[run_id] = run_id
            run_ids.setdefault(tag_dict(run["data"].get("tags")).get(RUN_KEY) or run_id, run_id)
    for page in tracking.search_logged_models([experiment_id]):
        for model in page:
            model_id = model["info"]["model_id"]
            model_ids[model_id] = model_id
            model_ids.setdefault(tag_dict(model["info"].get("tags")).get(MODEL_KEY) or model_id, model_id)
    return run_ids, model_ids
