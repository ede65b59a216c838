"""Exports runs, a group at a time: listings first, then histories for all of them, then each run's files."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import MlflowExportImportException, NotFound, describe
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.artifact_stores import File, Presence, Store, run_store
from mlflow_migration.common.artifacts import ArtifactFilter, choose, list_files, skip_unlisted
from mlflow_migration.common.downloads import Downloads, kept
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import old_info
from mlflow_migration.common.old_layouts import is_id
from mlflow_migration.logged_model.logged_model_exporter import ModelSettings
from mlflow_migration.notebook.notebooks import save_notebook_of_run
from mlflow_migration.run.histories import Budget, RunMetrics, read_histories
from mlflow_migration.run.run_file import ARTIFACTS, RUN_FILE, fingerprint, run_json
from mlflow_migration.run.state import canonical, links_of

Json = Dict[str, Any]


@dataclass(frozen=True)
class ExportSettings:
    """How runs are exported.

    :param artifacts: Which artifacts are taken.
    :param skip_artifacts: Take none at all.
    :param recheck: Read histories and artifacts again even where nothing seems to have changed.
    :param deleted_runs: Take deleted runs too.
    :param models: MLflow's filter string for the logged models that travel with the runs; empty means all.
    :param permissions: Take the permissions of experiments and registered models, which Databricks has.
    :param notebooks: Formats in which the runs' notebooks are taken, which Databricks has.
    """

    artifacts: ArtifactFilter = field(default_factory=ArtifactFilter)
    skip_artifacts: bool = False
    recheck: bool = False
    deleted_runs: bool = False
    models: str = ""
    permissions: bool = False
    notebooks: Tuple[str, ...] = ()

    def for_models(self, script: str, known: Callable[[str], Optional[str]] = lambda model_id: None) -> ModelSettings:
        """Return the same settings for the logged models that travel with the runs."""
        return ModelSettings(script, self.artifacts, self.skip_artifacts, self.recheck, known, self.models)

    def facts(self) -> List[Any]:
        """Return what changes the content of an export."""
        chosen = self.artifacts
        facts = [list(chosen.include), list(chosen.exclude), chosen.max_size, self.skip_artifacts or chosen.skip]
        return [*facts, list(self.notebooks)] if self.notebooks else facts


@dataclass
class _Work:
    run: Json
    target: ExportDir
    old: Optional[Json]
    saved: Downloads
    files: Optional[List[File]] = field(default_factory=list)
    chosen: List[File] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def run_id(self) -> str:
        return str(self.run["info"]["run_id"])


class RunExporter:
    """Exports runs of one server into directories.

    :param tracking: The source.
    :param job: Ledger, threads, progress.
    :param settings: What is exported.
    :param script: Name of the command, for the files.
    :param directory_of: Gives the directory of a run id.
    :param known: Gives the fingerprint of what a former copy took, where there is no directory to tell.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        settings: ExportSettings,
        script: str,
        directory_of: Callable[[str], ExportDir],
        known: Callable[[str], Optional[str]] = lambda run_id: None,
    ) -> None:
        self._tracking, self._job, self._settings = tracking, job, settings
        self._script, self._directory_of, self._known = script, directory_of, known
        self._budget = Budget()
        self._lock = threading.Lock()
        self._presence = Presence(tracking)
        self._models_exist: Optional[bool] = None
        self.whole: Dict[str, None] = {}
        """Ids of the runs whose directories are whole, or that have not changed since a former copy."""
        self.failed: List[str] = []
        self.models: Set[str] = set()
        """Ids of the logged models that the runs link to."""
        self.fresh: AbstractSet[str] = frozenset()
        """Ids of runs that workers of a cluster have read just now, as closely as was asked for."""
        self.links: Dict[str, AbstractSet[str]] = {}
        """The same by id of the run, of those that were written."""

    def export(self, runs: Sequence[Json]) -> None:
        """Export some runs, as ``runs/search`` returned them, and record each. Raises nothing for a single run."""
        self._presence.forget()
        self._job.ledger.phase("exporting runs")
        found = [outcome.get() for outcome in self._job.executor.gather(self._look, runs)]
        changed = [item for item in found if item is not None]
        if self._job.dry_run:
            self._foretell(changed)
            return
        metrics = {item.run_id: RunMetrics(item.target, self._budget) for item in changed}
        try:
            self._take(changed, metrics)
        finally:
            for each in metrics.values():
                each.discard()

    def export_by_id(self, run_ids: Sequence[str]) -> Dict[str, Json]:
        """Export runs by their ids, and record each that the server has.

        :return: The runs, as REST returned them, by id.
        """
        runs: Dict[str, Json] = {}
        for outcome in self._job.executor.gather(self._tracking.run, run_ids):
            if isinstance(outcome.error, NotFound):
                continue
            if outcome.error is not None:
                self.failed.append(outcome.item)
                self._job.ledger.expect("run", 1)
                self._job.failed("run", outcome.item, outcome.error)
                continue
            runs[outcome.item] = outcome.get()
            # a search leaves these out, and the fingerprint must be the same whichever way the run was read
            (runs[outcome.item].get("inputs") or {}).pop("model_inputs", None)
        self._job.ledger.expect("run", len(runs))
        self._job.progress.add_total(len(runs))
        self.export(list(runs.values()))
        return runs

    def _take(self, changed: Sequence[_Work], metrics: Mapping[str, RunMetrics]) -> None:
        keys = {item.run_id: [m["key"] for m in (item.run.get("data") or {}).get("metrics") or ()] for item in changed}
        broken = read_histories(self._tracking, self._job.executor, {i: (keys[i], metrics[i]) for i in metrics})
        readable = [item for item in changed if item.run_id not in broken]
        for item in changed:
            if item.run_id in broken:
                self._fail(item.run_id, broken[item.run_id])

        def write(item: _Work) -> None:
            # on its own, so that the first one that fails can stop the others
            error = self._job.executor.gather(lambda _: self._write(item, metrics[item.run_id]), [item])[0].error
            if error is not None:
                self._fail(item.run_id, error)

        for outcome in self._job.executor.gather(write, readable):
            outcome.get()

    def _foretell(self, changed: Sequence[_Work]) -> None:
        for outcome in self._job.executor.gather(self._model_inputs, changed):
            if outcome.error is not None:
                self._fail(outcome.item.run_id, outcome.error)
            else:
                self._done(outcome.item)

    def _look(self, run: Json) -> Optional[_Work]:
        """Return what is to be done; None if that is nothing, which is recorded."""
        item = self._begin(run)
        if item is None:
            return None
        error = self._job.executor.gather(self._list, [item])[0].error
        if error is not None and self._settings.artifacts.skip:
            skip_unlisted(self._job, item.run_id)
        elif error is not None:
            item.files = None
            item.problems.append(f"its artifacts can't be listed: {describe(error)}")
        item.chosen = choose(item.files or (), self._settings.artifacts, self._job, item.run_id)
        return None if self._unchanged(item) else item

    def _begin(self, run: Json) -> Optional[_Work]:
        info = run["info"]
        run_id = str(info["run_id"])
        if not is_id(run_id):
            self._fail(run_id, MlflowExportImportException(f"{run_id!r} is no id of a run"))
            return None
        target = self._directory_of(run_id)
        old = old_info(target, RUN_FILE)
        # a run that was taken before is followed when it gets deleted
        taken = old is not None or self._known(run_id) is not None
        if info.get("lifecycle_stage") == "deleted" and not (self._settings.deleted_runs or taken):
            self._job.ledger.record("run", "skipped", run_id, reason="deleted; --export-deleted-runs takes it")
            self._job.progress.advance()
            return None
        with self._lock:
            self.models.update(m["model_id"] for m in (run.get("outputs") or {}).get("model_outputs") or ())
        return _Work(run, target, old, Downloads(self._job, run_id, target, ARTIFACTS, old))

    def _list(self, item: _Work) -> None:
        if self._settings.skip_artifacts:
            return
        had_some = bool((item.old or {}).get("artifacts"))
        if not had_some and not self._presence.may_have(item.run["info"]):
            return
        item.files = list_files(self._store(item), self._job.executor)

    def _store(self, item: _Work) -> Store:
        return run_store(self._tracking, item.run_id, item.run["info"].get("artifact_uri") or "")

    def _unchanged(self, item: _Work) -> bool:
        item.fingerprint = fingerprint(item.run, item.files, self._settings.facts())
        if item.problems or self._settings.recheck and item.run_id not in self.fresh:
            return False
        if item.old is None:
            if self._known(item.run_id) != item.fingerprint:
                return False
        elif item.old.get("fingerprint") != item.fingerprint or item.old.get("incomplete"):
            return False
        elif not item.saved.all_there(self._store(item)):
            return False
        self._done(item, "unchanged")
        return True

    def _write(self, item: _Work, metrics: RunMetrics) -> None:
        run = canonical(item.run)
        run["model_inputs"] = self._model_inputs(item)
        with self._lock:
            self.links[item.run_id] = links_of(run)
        listed = None if self._settings.skip_artifacts else item.files
        stored = item.saved.fetch(self._store(item), listed, item.chosen, self._settings.recheck, item.problems)
        text, side_file = metrics.finish()
        # what lacks its notebook is looked at again
        mark = item.fingerprint if self._save_notebook(item) else ""
        info: Json = {"fingerprint": mark, "num_metric_points": metrics.points, "artifacts": stored}
        if item.problems:
            info["incomplete"] = item.problems
        self._job.ledger.add(points=metrics.points)
        item.target.write_json(RUN_FILE, run_json(run, text, side_file, info, self._script, self._tracking.uri))
        self._done(item)

    def _save_notebook(self, item: _Work) -> bool:
        if not (self._settings.notebooks and self._tracking.is_databricks):
            return True
        tags = tag_dict((item.run.get("data") or {}).get("tags"))
        return save_notebook_of_run(
            self._job, self._tracking.rest, item.run_id, tags, self._settings.notebooks, item.target, ARTIFACTS,
            [file.path for file in item.files or ()],
        )  # fmt: skip

    def _model_inputs(self, item: _Work) -> List[Json]:
        """Return the links to logged models that the run uses, which only ``runs/get`` tells."""
        if not self._may_use_models(item.run):
            return []
        inputs = self._tracking.run(item.run_id).get("inputs") or {}
        found: List[Json] = inputs.get("model_inputs") or []
        with self._lock:
            self.models.update(link["model_id"] for link in found)
        return found

    def _may_use_models(self, run: Json) -> bool:
        if (run.get("outputs") or {}).get("model_outputs"):
            return True
        with self._lock:
            if self._models_exist is None:
                self._models_exist = self._tracking.has_logged_models()
            return self._models_exist

    def _done(self, item: _Work, status: Optional[str] = None) -> None:
        with self._lock:
            self.whole[item.run_id] = None
        self._job.ledger.record(
            "run",
            status or ("incomplete" if item.problems else "updated" if item.old is not None else "copied"),
            item.run_id,
            name=item.run["info"].get("run_name"),
            reason="; ".join(item.problems + kept(item.saved.gone)) or None,
            losses=["artifacts"] if item.problems else [],
        )
        self._job.progress.advance()

    def _fail(self, run_id: str, ex: BaseException) -> None:
        with self._lock:
            self.failed.append(run_id)
        self._job.failed("run", run_id, ex)
        self._job.progress.advance()
