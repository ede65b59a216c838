"""Compares the traces of experiments with their copies: what REST tells of them, their links, spans and files."""

from __future__ import annotations

import re
import threading
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import describe
from mlflow_migration.common.job import Job
from mlflow_migration.verify.compare import Comparison, How, guarded
from mlflow_migration.verify.kinds import ISSUE, SPECS
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import LOGGED_MODEL, RUN, TRACE, Fields, Thing
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.server_side import ServerSide
from mlflow_migration.verify.trace_objects import COMPUTED, ISSUE_ID, LINKED_PROMPTS, Trace, numbered, prompts_in

_REFERENCES = {
    "metadata:mlflow.sourceRun": RUN,
    "metadata:mlflow.assessment.sourceRunId": RUN,
    "metadata:mlflow.modelId": LOGGED_MODEL,
    "metadata:mlflow.assessment.scorerTraceId": TRACE,
}
"""Fields that are an id, and of what."""

_EXPERIMENT = "attribute:mlflow.experimentId"
_PROMPTS = (f"tag:{LINKED_PROMPTS}", f"attribute:{LINKED_PROMPTS}")
_TRACE_ID = re.compile(r"tr-[0-9a-f]{32}")
_OF_DELETED_RUN = "their run is deleted at the source; --export-deleted-runs counts them as missing"
_AT_ONCE = 4  # groups of traces in memory, each with the spans of both sides
_MOST_BYTES = 20_000_000  # of the spans of traces that are read together

Experiments = Callable[[str, Optional[str]], Set[str]]


class TraceVerifier:
    """Compares the traces of one verification.

    :param job: Threads and progress.
    :param src: The source.
    :param dst: The destination.
    :param links: What is a copy of what.
    :param how: What is compared.
    :param report: Gets the results.
    :param runs: The runs that were compared, with their copies: kind, source id, destination id.
    :param left_out: Deleted runs that are not expected to have copies.
    :param experiments: Returns the ids that an experiment of the source has at the destination.
    :param prompts: Returns the names that a prompt of the source has at the destination.
    """

    def __init__(
        self,
        job: Job,
        src: Any,
        dst: ServerSide,
        links: Links,
        how: How,
        report: Report,
        runs: Set[Tuple[str, str, str]],
        left_out: Set[str],
        experiments: Experiments,
        prompts: Callable[[str], List[str]],
    ) -> None:
        self._job, self._src, self._dst, self._links = job, src, dst, links
        self._how, self._report, self._compared, self._left_out = how, report, runs, left_out
        self._experiments, self._prompts = experiments, prompts
        self._seen: Set[str] = set()
        self._expected: Dict[str, Set[str]] = {}
        self._all: Optional[List[str]] = None
        self._issues: Optional[Tuple[Dict[str, str], ...]] = None
        self._issues_lock = threading.Lock()

    def index(self, experiment_id: str) -> None:
        """Read which traces an experiment of the destination has, before anything is compared."""
        for trace_id, key in self._dst.traces.keys(experiment_id):
            self._links.note(TRACE, experiment_id, trace_id, key)
        self._links.note_id_map(experiment_id, TRACE)

    def experiment(self, src: Thing, dst: Thing) -> None:
        """Compare the traces of an experiment with those of its copy."""
        self._job.progress.add_total(len(self._links.there(TRACE, dst.id)))
        linked = _Linked(self._src, self._dst, src.id, dst.id, self._runs_of(dst.id), self._links.there(RUN, dst.id))
        matched: Set[str] = set()
        groups = self._groups(src, dst, linked, matched)
        for outcome in self._job.executor.imap(lambda pairs: self._compare(pairs, linked), groups, _AT_ONCE):
            outcome.get()
        self._extra(dst.id, matched)

    def _groups(self, src: Thing, dst: Thing, linked: "_Linked", matched: Set[str]) -> Iterator[List[Comparison]]:
        for group in self._src.traces.pages(src):
            if self._how.depth != "counts":
                linked.read_runs()
            yield self._matched(group, dst.id, matched, linked)

    def _runs_of(self, experiment_id: str) -> Set[str]:
        """Return the runs of the source that were compared with runs of an experiment of the destination."""
        there = self._links.there(RUN, experiment_id)
        return {src_id for kind, src_id, dst_id in self._compared if kind == RUN and dst_id in there}

    def loose(self) -> None:
        """Compare traces that a directory has without their experiment: they may have gone into any."""
        for group in self._src.traces.loose():
            fresh = [trace for trace in group if trace.id not in self._seen]
            homes: Dict[str, List[Trace]] = {}
            for trace in fresh:
                for experiment_id in self._homes(trace):
                    homes.setdefault(experiment_id, []).append(trace)
            for experiment_id, traces in homes.items():
                if experiment_id and not self._links.there(TRACE, experiment_id):
                    self.index(experiment_id)
                linked = self._linked_of(traces, experiment_id)
                self._compare(self._matched(traces, experiment_id, set(), linked), linked)

    def _linked_of(self, traces: Sequence[Trace], experiment_id: str) -> "_Linked":
        """Return the links of traces to runs that came with them."""
        named = {run_id for trace in traces for run_id in trace.runs}
        runs = [(src_id, dst_id) for kind, src_id, dst_id in self._compared if kind == RUN and src_id in named]
        ours, theirs = ({pair[side] for pair in runs} for side in (0, 1))
        linked = _Linked(self._src, self._dst, "", experiment_id, ours, theirs)
        if self._how.depth != "counts":
            linked.read_runs()
        return linked

    def _homes(self, trace: Trace) -> List[str]:
        """Return the destination's experiments that have a copy of a trace; an empty id if none has."""
        if trace.error is not None:
            return [""]
        known = [entry["dst_id"] for entry in self._links.entries(TRACE) if entry["src_id"] == trace.id]
        found = self._dst.traces.by_id(sorted({trace.id, *known}))
        copies = [copy for copy in found.values() if copy.id == trace.id or copy.key == trace.id]
        if copies:
            return sorted({copy.parent_id for copy in copies})
        if self._all is None:
            self._all = [experiment.id for experiment in self._dst.experiments()]
        return self._dst.traces.homes(trace.id, self._all) or [""]

    # -- what is compared with what -----------------------------------------------------------------------------

    def _matched(
        self, traces: Sequence[Trace], experiment_id: str, matched: Set[str], linked: "_Linked"
    ) -> List[Comparison]:
        """Return traces with their copies, of which only the ids are known yet; what lacks one is recorded."""
        pairs: List[Comparison] = []
        for trace in traces:
            self._seen.add(trace.id)
            found = [] if trace.error is not None else self._links.copies(trace, experiment_id)
            matched.update(found)
            if not found:
                self._lacking(trace, linked)
                continue
            pair = Comparison(trace, Trace(TRACE, found[0], parent_id=experiment_id), experiment_id)
            if len(found) > 1:
                pair.differ("copies", "1", f"{len(found)}: {', '.join(found)}")
            pairs.append(pair)
        return pairs

    def _lacking(self, trace: Trace, linked: "_Linked") -> None:
        self._job.progress.advance()
        run_id = trace.fields.get("metadata:mlflow.sourceRun")
        if trace.error is None and run_id in self._left_out and not linked.runs_of(0, trace):
            self._report.leave_out(TRACE, _OF_DELETED_RUN)
        else:
            self._report.missing(trace)

    def _extra(self, experiment_id: str, matched: Set[str]) -> None:
        left = sorted(self._links.there(TRACE, experiment_id) - matched)
        not_asked_for: Mapping[str, Trace] = {}
        if self._src.where:
            not_asked_for = self._src.traces.by_id([self._links.home(TRACE, one) or one for one in left])
        for dst_id in left:
            home = self._links.home(TRACE, dst_id)
            if (home or dst_id) in not_asked_for:
                continue
            reason = "made by no import" if not home else f"made from {home}, which the source does not have"
            if home in self._seen:
                reason = f"a second copy of {home}"
            self._report.record(TRACE, "extra", dst_id=dst_id, reason=reason)

    # -- comparing ----------------------------------------------------------------------------------------------

    def _compare(self, pairs: List[Comparison], linked: "_Linked") -> None:
        if self._how.depth != "counts":
            pairs = self._read(pairs)
            whole = self._how.depth == "full"
            for some in _portions(pairs) if whole else [pairs]:
                if whole:
                    self._read_spans(some)
                readable = [pair for pair in some if not pair.errors]
                guarded(self._job.executor, lambda pair: self._trace(pair, linked), readable)
                for pair in some:
                    pair.src.spans = pair.dst.spans = None  # type: ignore[attr-defined]
        for pair in pairs:
            pair.record(self._report)
        self._job.progress.advance(len(pairs))

    def _read(self, pairs: Sequence[Comparison]) -> List[Comparison]:
        """Read what the copies are; one that has gone meanwhile is missing."""
        there = self._dst.traces.by_id([pair.dst.id for pair in pairs])
        for pair in pairs:
            if pair.dst.id in there:
                pair.dst = there[pair.dst.id]
            else:
                self._report.missing(pair.src)
        return [pair for pair in pairs if pair.dst.id in there]

    def _read_spans(self, pairs: Sequence[Comparison]) -> None:
        sides = ((self._src.traces, "src"), (self._dst.traces, "dst"))
        outcomes = self._job.executor.gather(
            lambda side: side[0].add_spans([getattr(pair, side[1]) for pair in pairs]), sides
        )
        for outcome in outcomes:
            broken = outcome.value or {}
            for pair in pairs:
                ex = outcome.error or broken.get(getattr(pair, outcome.item[1]).id)
                if ex is not None:
                    pair.errors.append(f"its spans can't be compared: {describe(ex)}")

    def _trace(self, pair: Comparison, linked: "_Linked") -> None:
        src, dst = pair.src, pair.dst
        assert isinstance(src, Trace) and isinstance(dst, Trace)
        computed = COMPUTED - src.fields.keys()
        self._fields(pair, src.fields, {key: value for key, value in dst.fields.items() if key not in computed})
        self._linked_runs(pair, linked)
        self._linked_prompts(pair, linked)
        is_renamed = src.id != dst.id
        first, second = (numbered(one.assessments) if is_renamed else one.assessments for one in (src, dst))
        self._parts(pair, "assessment", first, second)
        self._report.add(assessments=len(first))
        if src.spans is not None and dst.spans is not None:
            self._parts(pair, "span", src.spans, dst.spans)
            self._report.add(spans=len(src.spans))
            self._attachments(pair, src, dst)

    def _parts(self, pair: Comparison, what: str, src: Mapping[str, Fields], dst: Mapping[str, Fields]) -> None:
        for part_id in sorted(src.keys() | dst.keys()):
            name = f"{what}:{part_id}"
            if part_id in src and part_id in dst:
                self._fields(pair, src[part_id], dst[part_id], f"{name}:")
            else:
                pair.differ(name, *(side[part_id]["name"] if part_id in side else None for side in (src, dst)))

    def _fields(self, pair: Comparison, src: Fields, dst: Fields, start: str = "") -> None:
        for name in sorted(src.keys() | dst.keys()):
            ours, theirs = src.get(name), dst.get(name)
            if name in src and name in dst and self._same(pair, name, ours, theirs):
                continue
            shown = f"{theirs} (the source's id)" if ours == theirs and name in src and name in dst else theirs
            pair.differ(f"{start}{name}", ours, shown)

    def _same(self, pair: Comparison, name: str, src: Any, dst: Any) -> bool:
        """Tell whether a field of a trace, of an assessment or of a span says the same on both sides."""
        if name in _REFERENCES:
            return self._links.same(_REFERENCES[name], src or "", dst or "", pair.scope)
        if name == ISSUE_ID:
            return self._same_issue(src, dst)
        if name == _EXPERIMENT:
            return self._same_experiment(src, dst)
        if type(src) is not type(dst):
            return False
        if src == dst or not isinstance(src, str):
            return bool(src == dst)
        if name in _PROMPTS:
            return self._same_prompts(src, dst)
        theirs = self._brought_home(pair, dst)
        return src == theirs or self._links.same_text(src, theirs, pair.scope)

    def _brought_home(self, pair: Comparison, text: str) -> str:
        """Return a text of the copy with the ids of the source's traces, where their copies have others."""
        text = text.replace(pair.dst.id, pair.src.id)
        there = self._links.there(TRACE, pair.scope)

        def home(match: "re.Match[str]") -> str:
            found = match.group()
            return (self._links.home(TRACE, found) or found) if found in there else found

        return _TRACE_ID.sub(home, text)

    def _same_experiment(self, src: str, dst: str) -> bool:
        ours, theirs = src.strip('"'), dst.strip('"')
        if ours not in self._expected:  # asked once: most spans of an experiment name the same
            self._expected[ours] = self._experiments(ours, None)
        expected = self._expected[ours]
        return theirs in expected if expected else ours == theirs

    def _same_issue(self, src: str, dst: str) -> bool:
        """Tell whether an id names the copy of an issue: as an import has noted it, else by its own name."""
        known = {str(entry["dst_id"]) for entry in self._links.entries(ISSUE) if entry["src_id"] == src}
        if dst in known:
            return True
        ours, theirs = self._names_of_issues()
        if src != dst:
            return not known and src in ours and ours[src] == theirs.get(dst)
        # the source's id may stay where nothing is a copy of the issue
        return src in theirs or not (known or ours.get(src) in theirs.values())

    def _names_of_issues(self) -> Tuple[Dict[str, str], ...]:
        """Return the names of the issues of both sides by id."""
        spec = next(spec for spec in SPECS if spec.kind == ISSUE)
        with self._issues_lock:
            if self._issues is None:
                found = [side.objects(spec) or ((), {}) for side in (self._src, self._dst)]
                self._issues = tuple({str(one["issue_id"]): str(one["name"]) for one in docs} for docs, _ in found)
            return self._issues

    def _same_prompts(self, src: str, dst: str) -> bool:
        ours, theirs = prompts_in(src), prompts_in(dst)
        return bool(ours) and len(ours) == len(theirs) and all(
            version == new_version and new_name in self._prompts(name)
            for (name, version), (new_name, new_version) in zip(ours, theirs)
        )  # fmt: skip

    # -- links and files ----------------------------------------------------------------------------------------

    def _linked_runs(self, pair: Comparison, linked: "_Linked") -> None:
        ours, there = (linked.runs_of(side, trace) for side, trace in enumerate((pair.src, pair.dst)))
        theirs: Fields = {}
        for run_id in there:
            same = [one for one in ours if self._links.same(RUN, one, run_id, pair.scope)]
            home = same[0] if same else self._links.home(RUN, run_id)
            theirs[f"run:{home or f'{run_id} of the destination'}"] = "linked"
        pair.fields({f"run:{run_id}": "linked" for run_id in ours}, theirs)

    def _linked_prompts(self, pair: Comparison, linked: "_Linked") -> None:
        """Compare the links to prompts, of those that the tag names: a server can only be asked about one it knows."""
        for name, version in prompts_in(pair.src.fields.get(_PROMPTS[0])):
            ours = linked.to_prompt(0, pair.src.id, name, version)
            theirs = any(linked.to_prompt(1, pair.dst.id, new_name, version) for new_name in self._prompts(name))
            if ours is not None and ours != theirs:
                pair.differ(f"prompt:{name}/{version}", *("linked" if one else None for one in (ours, theirs)))

    def _attachments(self, pair: Comparison, src: Trace, dst: Trace) -> None:
        if self._how.artifacts.skip:
            return
        for name in sorted({*src.attachments, *self._src.traces.attachments(src)}):
            ours, theirs = self._src.traces.attachment(src, name), self._dst.traces.attachment(dst, name)
            if ours is None and theirs is None:
                continue
            self._report.add(artifacts=1, hashed=1, bytes=(ours or theirs or ("", 0))[1])
            if ours != theirs:
                pair.differ(f"attachment:{name}", *(one and f"SHA-256 {one[0]}" for one in (ours, theirs)))


class _Linked:
    """The links of the traces of an experiment and of its copy.

    :param src: The source.
    :param dst: The destination.
    :param src_id: Id of the experiment.
    :param dst_id: Id of its copy.
    :param ours: Runs that have copies there.
    :param theirs: Runs of the copy.
    """

    def __init__(self, src: Any, dst: ServerSide, src_id: str, dst_id: str, ours: Set[str], theirs: Set[str]) -> None:
        self._src, self._dst, self._ids = src, dst, (src_id, dst_id)
        self._run_ids = (ours, theirs)
        self._runs: Optional[Tuple[Dict[str, Set[str]], ...]] = None
        self._of_prompts: Dict[Tuple[int, str, str], Optional[Set[str]]] = {}
        self._lock = threading.Lock()

    def read_runs(self) -> None:
        """Ask once which traces are linked to the runs."""
        if self._runs is None:
            sides = zip((self._src, self._dst), self._ids, self._run_ids)
            self._runs = tuple(side.traces.runs(one, sorted(runs)) for side, one, runs in sides)

    def runs_of(self, side: int, trace: Thing) -> Set[str]:
        """Return the runs that a trace belongs or is linked to, of those that count.

        :param side: 0 for the source, 1 for the destination.
        """
        assert isinstance(trace, Trace)
        linked = {*trace.runs, *(self._runs[side].get(trace.id, ()) if self._runs is not None else ())}
        linked.add(trace.fields.get("metadata:mlflow.sourceRun") or "")
        return linked & self._run_ids[side]

    def to_prompt(self, side: int, trace_id: str, name: str, version: str) -> Optional[bool]:
        """Tell whether a trace is linked to a version of a prompt; None if its side can't tell.

        :param side: 0 for the source, 1 for the destination.
        """
        key = (side, name, version)
        with self._lock:  # the first one asks
            if key not in self._of_prompts:
                traces = (self._src, self._dst)[side].traces
                self._of_prompts[key] = traces.of_prompt(self._ids[side], name, version)
            found = self._of_prompts[key]
        return None if found is None else trace_id in found


def _portions(pairs: Sequence[Comparison]) -> Iterator[List[Comparison]]:
    """Yield the pairs in portions whose spans fit into memory, as far as their traces tell how large they are."""
    some: List[Comparison] = []
    size = 0
    for pair in pairs:
        text = str(pair.src.fields.get("metadata:mlflow.trace.sizeStats") or "")
        found = re.search(r'"total_size_bytes": (\d+)', text)
        bytes_of_it = int(found.group(1)) if found else 0
        if some and size + bytes_of_it > _MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(pair)
        size += bytes_of_it
    if some:
        yield some
