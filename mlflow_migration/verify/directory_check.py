"""Checks the directory of an export by itself: all that it lists is there, whole and harmless."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import BadDirectory, describe
from mlflow_migration.common.artifacts import check_mlmodel, is_mlmodel
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_info, read_run
from mlflow_migration.verify import mlmodel
from mlflow_migration.verify.compare import Comparison, guarded
from mlflow_migration.verify.directory_side import DirectorySide, all_points
from mlflow_migration.verify.files import DirectoryFiles
from mlflow_migration.verify.kinds import SPECS, title
from mlflow_migration.verify.objects import LOGGED_MODEL, MODEL, PROMPT, RUN, TRACE, VERSION, Thing
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.trace_objects import Trace

_FILE = {RUN: "run.json", LOGGED_MODEL: "logged_model.json", TRACE: "trace.json"}


class DirectoryCheck:
    """Checks one directory.

    :param job: Threads and progress.
    :param side: The directory.
    :param depth: ``counts``, ``metadata`` or ``full``.
    :param report: Gets the results.
    """

    def __init__(self, job: Job, side: DirectorySide, depth: str, report: Report) -> None:
        self._job, self._side, self._depth, self._report = job, side, depth, report
        self._ids: Set[Tuple[str, str]] = set()

    def check(self) -> None:
        """Check everything."""
        for experiment in self._side.experiments():
            self._experiment(experiment)
        self._things(self._side.loose_runs())
        self._things(self._side.loose_models())
        self._things(self._side.traces.loose())
        for kind, names in ((MODEL, self._side.models()), (PROMPT, self._side.prompts())):
            for name in names:
                self._registered(kind, name)
        self._datasets()
        self._kinds()
        self._strangers()

    def _datasets(self) -> None:
        """Check the evaluation datasets: all records can be read, and are as many as there are to be."""
        pairs: List[Comparison] = []
        for thing in self._side.datasets():
            if thing.error is not None:
                self._report.missing(thing)
            else:
                pairs.append(Comparison(thing, thing))

        def read(pair: Comparison) -> None:
            self._report.add(records=sum(map(len, self._side.records(pair.src))))

        guarded(self._job.executor, read, pairs)
        for pair in pairs:
            pair.record(self._report)

    def _kinds(self) -> None:
        """Check the objects of the kinds that have one file: all of it can be read."""
        for spec in SPECS:
            try:
                found = self._side.objects(spec)
            except BadDirectory as ex:
                self._report.missing(Thing(spec.kind, spec.plural, error=ex))
                continue
            if found is None:
                continue
            for doc in found[0]:
                self._report.compared(Thing(spec.kind, title(spec, doc, found[1])), title(spec, doc, found[1]), (), ())

    def _experiment(self, experiment: Thing) -> None:
        if experiment.error is not None:
            self._report.missing(experiment)
            return
        pair = Comparison(experiment, experiment)
        info = read_info(experiment.place, "experiment.json") or {}
        total, good, failed = (info.get(f"num_{name}_runs") for name in ("total", "ok", "failed"))
        if isinstance(total, int) and isinstance(good, int) and isinstance(failed, int):
            # some tools count only those that they exported
            if total not in (good, good + failed):
                pair.differ("number of runs", f"{total} in all", f"{good} exported and {failed} failed")
        pair.record(self._report)
        self._things(self._side.runs(experiment))
        self._things(self._side.logged_models(experiment))
        self._things(self._side.traces.pages(experiment))

    # -- runs, logged models and traces -------------------------------------------------------------------------

    def _things(self, groups: Iterator[Sequence[Thing]]) -> None:
        for group in groups:
            pairs: List[Comparison] = []
            for thing in group:
                if thing.error is None:
                    pairs.append(Comparison(thing, thing))
                elif thing.place is not None and not thing.place.exists(_FILE[thing.kind]):
                    self._report.record(thing.kind, "missing", thing.id)
                else:
                    self._report.missing(thing)
            self._ids.update((pair.src.kind, pair.src.id) for pair in pairs)
            guarded(self._job.executor, self._thing, pairs)
            for pair in pairs:
                pair.record(self._report)
            self._job.progress.advance(len(group))

    def _thing(self, pair: Comparison) -> None:
        thing = pair.src
        info = read_info(thing.place, _FILE[thing.kind]) or {}
        for problem in info.get("incomplete") or ():
            pair.differ("export", "whole", f"incomplete: {problem}")
        if self._depth == "counts":
            return
        if isinstance(thing, Trace):
            self._trace(pair, thing, info)
            return
        assert isinstance(thing.files, DirectoryFiles)
        self._files(pair, thing.files)
        expected = info.get("num_metric_points")
        if thing.kind == RUN and self._depth == "full" and isinstance(expected, int):
            points = sum(len(found) for _, found in all_points(read_run(thing.place), thing.place))
            self._report.add(points=points)
            if points != expected:
                pair.differ("number of metric points", expected, points)

    def _trace(self, pair: Comparison, trace: Trace, info: Dict[str, Any]) -> None:
        """Look for the spans and files of a trace."""
        self._report.add(assessments=len(trace.assessments))
        if self._depth != "full":
            return
        broken = self._side.traces.add_spans([trace])
        if broken:
            pair.errors.append(describe(broken[trace.id]))
            return
        spans, trace.spans = trace.spans or {}, None
        self._report.add(spans=len(spans))
        for span_id, span in spans.items():
            if span["parent"] and span["parent"] not in spans and trace.fields["state"] != "IN_PROGRESS":
                pair.differ(f"span:{span_id}", f"parent {span['parent']}", None)
        there = self._side.traces.attachments(trace)
        listed = info["attachments"] if isinstance(info.get("attachments"), list) else there
        for name in sorted({*there, *listed}):
            if name not in there or name not in listed:
                pair.differ(f"attachment:{name}", *(name if name in one else None for one in (listed, there)))

    def _files(self, pair: Comparison, files: DirectoryFiles) -> None:
        there = files.there()
        recorded = files.recorded
        sizes = there if recorded is None else files.sizes()
        self._report.add(artifacts=len(sizes))
        for path in sorted(sizes.keys() | there.keys()):
            if sizes.get(path) != there.get(path):
                pair.differ(f"artifact:{path}", _bytes(sizes.get(path)), _bytes(there.get(path)))
        if self._depth != "full":
            return
        whole = sorted(path for path in sizes.keys() & there.keys() if sizes[path] == there[path])
        for outcome in self._job.executor.gather(lambda path: self._content(pair, files, path), whole):
            if outcome.error is not None:
                pair.errors.append(f"artifact {outcome.item}: {describe(outcome.error)}")

    def _content(self, pair: Comparison, files: DirectoryFiles, path: str) -> None:
        real = files.real_sha256(path)
        self._report.add(hashed=1, bytes=files.sizes()[path])
        if files.sha256(path) != real:
            pair.differ(f"artifact:{path}", f"SHA-256 {files.sha256(path)}", f"SHA-256 {real}")
        elif is_mlmodel(path):
            check_mlmodel(path, files.content(path, mlmodel.MOST) or b"")

    # -- registered models and prompts --------------------------------------------------------------------------

    def _registered(self, kind: str, name: str) -> None:
        outcome = self._job.executor.gather(lambda _: self._side.registered(kind, name), [name])[0]
        if outcome.error is not None:
            self._report.record(kind, "error", name, reason=describe(outcome.error))
            return
        thing = outcome.get()
        if thing is None or thing.error is not None:
            self._report.missing(thing or Thing(kind, name))
            return
        Comparison(thing, thing).record(self._report)
        pairs = [Comparison(version, version) for version in thing.versions if version.error is None]
        for version in thing.versions:
            if version.error is not None:
                self._report.missing(version)
        guarded(self._job.executor, self._version, pairs)
        for pair in pairs:
            pair.src.id = pair.src.name
            pair.record(self._report)

    def _version(self, pair: Comparison) -> None:
        version = pair.src
        if version.kind != VERSION:
            return
        files = self._side.version_files(version)
        if isinstance(files, DirectoryFiles):
            if self._depth != "counts":
                self._files(pair, files)
            return
        words = set(_words(version.place))
        if not any(object_id in words for kind, object_id in self._ids):
            pair.differ("model", "its run, its logged model or a copy of it", None)

    # -- what else is there -------------------------------------------------------------------------------------

    def _strangers(self) -> None:
        """Look at every name in the directory: one that is no plain file or leads out of it is an error."""

        def walk(directory: ExportDir) -> int:
            return sum(1 for _ in directory.files())

        outcome = self._job.executor.gather(walk, [self._side.directory])[0]
        if outcome.error is not None:
            self._report.record("file", "error", reason=describe(outcome.error))


def _words(version: Dict[str, Any]) -> Iterator[str]:
    for text in (version.get("run_id"), version.get("source"), version.get("_download_uri")):
        yield from (text or "").replace(":", "/").split("/")


def _bytes(size: Optional[int]) -> Optional[str]:
    return None if size is None else f"{size} bytes"
