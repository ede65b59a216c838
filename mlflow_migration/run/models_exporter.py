"""Exports logged models together with the runs that made or measured them, without which parts of them get lost."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput, NotFound
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.artifact_stores import note_absent
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_logged_model
from mlflow_migration.logged_model.logged_model_exporter import (
    FILTER,
    LOGGED_MODELS,
    export_one,
    matching_models,
    read_model,
    refuse_old,
)
from mlflow_migration.run.export_run import settings_of
from mlflow_migration.run.run_exporter import ExportSettings, RunExporter

Json = Dict[str, Any]

GROUP = 100  # runs that are read together: what one bulk history request takes


class LoggedModelsExporter:
    """Exports logged models of one server.

    :param tracking: The source.
    :param job: Ledger, threads, progress.
    :param settings: What is exported; deleted runs too, as models need them.
    :param script: Name of the command, for the files.
    :param run_dir: Gives the directory of a run.
    :param model_dir: Gives the directory of a logged model.
    :param with_runs: Take the runs that made or measured the models too, and what these link to.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        settings: ExportSettings,
        script: str,
        run_dir: Callable[[str], ExportDir],
        model_dir: Callable[[str], ExportDir],
        with_runs: bool,
    ) -> None:
        self._tracking, self._job, self._with_runs = tracking, job, with_runs
        self._settings, self._model_dir = settings.for_models(script), model_dir
        self._seen: Set[str] = set()
        self._experiments: Set[str] = set()
        self._links: Set[str] = set()  # ids of models that runs of these experiments have made
        self._seen_runs: Set[str] = set()
        self._waiting: Dict[str, None] = {}  # ids of runs that are still to be exported
        self._runs: Dict[str, str] = {}
        self.exporter = RunExporter(tracking, job, settings, script, run_dir)
        self.models: Dict[str, str] = {}
        """Experiment ids of the models that are in the directory now, by their ids."""
        self.failed: List[str] = []
        """Ids of the models that could not be exported."""
        self.left_out: List[str] = []
        """Ids of the models that the filter has left out."""

    @property
    def runs(self) -> Dict[str, str]:
        """Experiment ids of the runs that are whole in the directory, by their ids."""
        return {run_id: self._runs[run_id] for run_id in self.exporter.whole}

    def export_experiment(self, experiment_id: str, groups: Iterable[List[Json]]) -> None:
        """Export the logged models of an experiment, also those that are deleted as far as its runs name them.

        What can't be listed is recorded, and does not stop other experiments.

        :param groups: The experiment's runs, as ``runs/search`` returns them.
        """
        self._experiments.add(experiment_id)
        where = self._settings.where
        matched = self._job.executor.gather(lambda e: matching_models(self._tracking, e, where), [experiment_id])[0]
        if matched.error is not None:
            self._job.failed("experiment", experiment_id, matched.error)
            return
        matching = matched.value
        for page in self._parts(experiment_id, self._tracking.search_logged_models([experiment_id])):
            new = [model for model in page if self._is_new(model["info"]["model_id"])]
            wanted = [model for model in new if matching is None or model["info"]["model_id"] in matching]
            names = {model["info"]["model_id"]: model["info"].get("name") for model in new}
            for model in wanted:
                del names[model["info"]["model_id"]]
            self._leave_out(names)
            self._export([(model, False) for model in wanted])
        for group in self._parts(experiment_id, groups):
            for run in group:
                self._links.update(link["model_id"] for link in (run.get("outputs") or {}).get("model_outputs") or ())
            if self._with_runs:
                self._export_runs([run for run in group if run["info"]["run_id"] in self._waiting])

    def export_model(self, model: Json, deleted: bool) -> None:
        """Export one logged model, as REST returns it."""
        self._is_new(model["info"]["model_id"])
        self._export([(model, deleted)])

    def follow(self) -> None:
        """Export what no listing has shown: deleted models, and with the runs those that they need of elsewhere.

        To be called last.
        """
        self._export_linked(self._links | (self.exporter.models if self._with_runs else set()))
        while self._with_runs and self._waiting:
            ids = list(self._waiting)[:GROUP]
            self._take(ids)
            for run_id, run in self.exporter.export_by_id(ids).items():
                self._runs[run_id] = run["info"]["experiment_id"]
            self._export_linked(self.exporter.models)

    def _parts(self, experiment_id: str, parts: Iterable[List[Json]]) -> Iterator[List[Json]]:
        """Yield parts of a listing; that it can't be read is recorded."""
        iterator = iter(parts)
        while True:
            outcome = self._job.executor.gather(lambda found: next(found, None), [iterator])[0]
            if outcome.error is not None:
                self._job.failed("experiment", experiment_id, outcome.error)
            if outcome.value is None:
                return
            yield outcome.value

    def _is_new(self, model_id: str) -> bool:
        new = model_id not in self._seen
        self._seen.add(model_id)
        return new

    def _leave_out(self, names: Dict[str, Any]) -> None:
        self.left_out += names
        self._job.ledger.expect("logged_model", len(names))
        for model_id, name in names.items():
            self._job.ledger.record("logged_model", "skipped", model_id, name=name, reason=FILTER)

    def _export_linked(self, model_ids: Set[str]) -> None:
        """Export those models that no listing has shown."""
        new = [model_id for model_id in sorted(model_ids) if self._is_new(model_id)]
        if self._settings.where:
            self._leave_out(dict.fromkeys(new))
            return
        found: List[Tuple[Json, bool]] = []
        for read in self._job.executor.gather(lambda model_id: read_model(self._tracking, model_id), new):
            if read.error is None:
                if self._with_runs or read.get()[0]["info"]["experiment_id"] in self._experiments:
                    found.append(read.get())
                continue
            self._job.ledger.expect("logged_model", 1)
            if isinstance(read.error, NotFound):
                self._job.lost("logged_model", read.item, read.error, "logged-models")
            else:
                self._fail(read.item, read.error)
        self._export(found)

    def _export(self, models: Sequence[Tuple[Json, bool]]) -> None:
        """Export models, each with whether it is deleted, and note the runs that they name."""
        self._job.ledger.phase("exporting logged models")
        self._job.ledger.expect("logged_model", len(models))
        self._job.progress.add_total(len(models))

        def export(item: Tuple[Json, bool]) -> None:
            model, deleted = item
            target = self._model_dir(model["info"]["model_id"])
            export_one(self._tracking, self._job, model, target, self._settings, deleted)

        for outcome in self._job.executor.imap(export, models):
            info, data = outcome.item[0]["info"], outcome.item[0].get("data") or {}
            if outcome.error is None:
                self.models[info["model_id"]] = info["experiment_id"]
            else:
                self._fail(info["model_id"], outcome.error)
            self._job.progress.advance()
            named = [info.get("source_run_id"), *(metric.get("run_id") for metric in data.get("metrics") or ())]
            self._waiting.update((run_id, None) for run_id in named if run_id and run_id not in self._seen_runs)

    def _fail(self, model_id: str, ex: BaseException) -> None:
        self.failed.append(model_id)
        self._job.failed("logged_model", model_id, ex)

    def _export_runs(self, runs: Sequence[Json]) -> None:
        self._take([run["info"]["run_id"] for run in runs])
        self._job.ledger.expect("run", len(runs))
        self._job.progress.add_total(len(runs))
        self._runs.update((run["info"]["run_id"], run["info"]["experiment_id"]) for run in runs)
        self.exporter.export(runs)

    def _take(self, run_ids: Sequence[str]) -> None:
        self._seen_runs.update(run_ids)
        for run_id in run_ids:
            del self._waiting[run_id]


def export_one_logged_model(
    tracking: Tracking, job: Job, model_id: str, directory: ExportDir, options: Mapping[str, Any]
) -> LoggedModelsExporter:
    """Export a logged model into a directory of its own.

    :param options: Those of the command.
    :raises BadInput: The server has no such logged model, or the directory holds another one.
    """
    refuse_old(tracking)
    try:
        there = read_logged_model(directory)[0]["model_id"] or model_id
    except BadDirectory:
        there = model_id  # none, or a broken one, which is written anew
    if there != model_id:
        raise BadInput(f"{directory.path} holds the export of another logged model, {there}.")
    try:
        model, deleted = read_model(tracking, model_id)
    except NotFound as ex:
        raise BadInput(f"{tracking.uri} has no logged model with the id '{model_id}'.") from ex

    def model_dir(other_id: str) -> ExportDir:
        return directory if other_id == model_id else directory.sub(LOGGED_MODELS, safe_name(other_id))

    exporter = LoggedModelsExporter(
        tracking, job, settings_of({**options, "export_deleted_runs": True}), "export_logged_model.py",
        lambda run_id: directory.sub(safe_name(run_id)), model_dir, bool(options["export_runs"]),
    )  # fmt: skip
    exporter.export_model(model, deleted)
    exporter.follow()
    note_absent(tracking, job.ledger)
    return exporter
