"""Exports many experiments into one directory, all at once: each run and each logged model is stored once."""

from __future__ import annotations

import time
from typing import AbstractSet, Any, Collection, Dict, List, Mapping, NamedTuple, Sequence, Set

from mlflow_migration.bulk.spread import Ahead, export_ahead
from mlflow_migration.client.errors import BadDirectory, NotFound
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope, get_mlflow
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import holds, read_experiments
from mlflow_migration.common.selection import ALL
from mlflow_migration.experiment.experiment_exporter import EXPERIMENT_FILE, ExperimentExporter
from mlflow_migration.experiment.export_experiment import export_found
from mlflow_migration.experiment.run_listing import Selection
from mlflow_migration.logged_model.logged_model_exporter import LOGGED_MODELS, export_one, read_model
from mlflow_migration.run.export_run import settings_of
from mlflow_migration.run.run_exporter import RunExporter

Json = Dict[str, Any]

EXPERIMENTS_FILE = "experiments.json"
AT_ONCE = 4  # experiments: their runs share the same threads, and each keeps some of its runs in memory


class Wanted(NamedTuple):
    """An experiment that is to be exported.

    :param experiment: As REST returns it.
    :param selection: Which of its runs are taken.
    :param linked: Ids of logged models that are wanted, whatever their runs.
    """

    experiment: Json
    selection: Selection
    linked: Collection[str] = ()


class Exported(NamedTuple):
    """What was exported.

    :param runs: Exporters of the runs by id of the experiment; experiments that failed are left out.
    :param models: Ids of the logged models that are in the directory.
    """

    runs: Dict[str, RunExporter]
    models: AbstractSet[str]

    @property
    def whole_runs(self) -> Set[str]:
        """Ids of the runs that are whole in the directory."""
        return {run_id for runs in self.runs.values() for run_id in runs.whole}

    @property
    def failed_runs(self) -> Set[str]:
        """Ids of the runs that could not be exported."""
        return {run_id for runs in self.runs.values() for run_id in runs.failed}


def choose_experiments(tracking: Tracking, job: Job, wanted: Sequence[str], options: Mapping[str, Any]) -> List[Json]:
    """Return the experiments that are asked for; those that are left out, or are not there, are recorded.

    :param wanted: Names or ids, beginnings of either with a ``*`` at the end, or ``all``.
    :param options: Those of the command.
    """
    every = [experiment for page in tracking.search_experiments() for experiment in page]
    chosen: Dict[str, Json] = {}
    unknown: List[str] = []
    for text in wanted:
        found = _fitting(every, text, is_all=len(wanted) == 1 and text.lower() == ALL)
        chosen.update((experiment["experiment_id"], experiment) for experiment in found)
        unknown += [] if found else [text]
    deleted = [e for e in chosen.values() if e.get("lifecycle_stage") == "deleted"]
    left_out = [] if options.get("export_deleted_experiments") else deleted
    job.ledger.expect("experiment", len(chosen) + len(unknown))
    for text in unknown:
        job.failed("experiment", text, NotFound("there is no such experiment", http_status_code=404))
    for experiment in left_out:
        del chosen[experiment["experiment_id"]]
        job.ledger.record(
            "experiment",
            "skipped",
            experiment["experiment_id"],
            name=experiment["name"],
            reason="deleted; --export-deleted-experiments takes it",
        )
    return sorted(chosen.values(), key=lambda experiment: int(experiment["experiment_id"]))


def _fitting(experiments: Sequence[Json], text: str, is_all: bool) -> List[Json]:
    if is_all:
        return list(experiments)
    for key in ("name", "experiment_id"):  # a name is tried first
        found = [experiment for experiment in experiments if experiment[key] == text]
        if found:
            return found
    if not text.endswith("*"):
        return []
    start = text[:-1]
    return [e for e in experiments if e["name"].startswith(start) or e["experiment_id"].startswith(start)]


def export_experiments_of(
    tracking: Tracking,
    job: Job,
    wanted: Sequence[Wanted],
    directory: ExportDir,
    options: Mapping[str, Any],
    script: str,
) -> Exported:
    """Export experiments, each into a directory with the name of its id, and record each object.

    :param options: Those of the command.
    :param script: Name of the command, for the files.
    """
    ids = frozenset(item.experiment["experiment_id"] for item in wanted)
    took: Dict[str, float] = {}
    if not job.dry_run:
        directory.make()
    ahead = export_ahead(tracking, job, wanted, directory, options)
    job.ledger.phase("exporting experiments", whole=True)

    def export(item: Wanted) -> ExperimentExporter:
        start = time.monotonic()
        experiment_id = item.experiment["experiment_id"]
        place = directory.sub(safe_name(experiment_id))
        done = ahead.get(experiment_id, Ahead())
        linked = {*item.linked, *done.models}
        exporter = export_found(
            tracking, job, item.experiment, place, options, item.selection, linked, ids, fresh=done.runs
        )
        took[experiment_id] = round(time.monotonic() - start, 3)
        return exporter

    exported: Dict[str, RunExporter] = {}
    taken: Set[str] = set()
    foreign: Set[str] = set()
    failed: List[Json] = []
    for outcome in job.executor.imap(export, wanted, window=AT_ONCE):
        experiment = outcome.item.experiment
        if outcome.error is None:
            exported[experiment["experiment_id"]] = outcome.get().runs
            taken |= outcome.get().models.ids
            foreign.update(outcome.get().models.foreign)
        else:
            failed.append(experiment)
            job.failed("experiment", experiment["experiment_id"], outcome.error, name=experiment["name"])
    rest = export_rest(tracking, job, directory, options, foreign - taken)
    if not job.dry_run:
        _write(tracking, directory, [item.experiment for item in wanted], failed, exported, took, options, script)
    return Exported(exported, taken.union(rest))


def export_rest(
    tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any], model_ids: AbstractSet[str]
) -> Dict[str, str]:
    """Export logged models that runs of other experiments link to, and that their own experiment has not taken.

    :param directory: The one with the experiments.
    :param options: Those of the command.
    :param model_ids: Their ids.
    :return: Ids of their experiments by id of the logged model.
    """
    rest = sorted(model_ids)
    settings = settings_of(options).for_models("export_experiments.py")

    def export(model_id: str) -> str:
        model, deleted = read_model(tracking, model_id)
        experiment_id = str(model["info"]["experiment_id"])
        place = directory.sub(safe_name(experiment_id), LOGGED_MODELS, safe_name(model_id))
        export_one(tracking, job, model, place, settings, deleted)
        return experiment_id

    job.ledger.expect("logged_model", len(rest))
    done = job.executor.gather(export, rest)
    for outcome in done:
        if outcome.error is not None:
            job.failed("logged_model", outcome.item, outcome.error)
    return {outcome.item: outcome.get() for outcome in done if outcome.error is None}


def _write(
    tracking: Tracking,
    directory: ExportDir,
    wanted: Sequence[Json],
    failed: Sequence[Json],
    exported: Mapping[str, RunExporter],
    took: Mapping[str, float],
    options: Mapping[str, Any],
    script: str,
) -> None:
    names = {experiment["experiment_id"]: experiment["name"] for experiment in wanted}
    entries = {
        experiment_id: {
            "id": experiment_id,
            "name": names[experiment_id],
            "ok_runs": len(runs.whole),
            "failed_runs": len(runs.failed),
            "duration": took[experiment_id],
        }
        for experiment_id, runs in exported.items()
    }
    listed = [entries.get(entry["id"], entry) for entry in _before(directory)]
    listed += [entry for experiment_id, entry in entries.items() if entry not in listed]
    asked = ("experiments", "export_permissions", "run_start_time", "runs_until", "export_deleted_runs")
    info = {
        "experiment_names": [entry["name"] for entry in listed] + [experiment["name"] for experiment in failed],
        "options": {name: options.get(name) for name in (*asked, "notebook_formats", "use_threads")},
        "status": {
            "experiments": len(listed),
            "total_runs": sum(entry["ok_runs"] + entry["failed_runs"] for entry in listed),
            "ok_runs": sum(entry["ok_runs"] for entry in listed),
            "failed_runs": sum(entry["failed_runs"] for entry in listed),
            "duration": round(sum(took.values()), 3),
        },
    }
    directory.write_json(EXPERIMENTS_FILE, envelope(script, {"experiments": listed}, info, tracking_uri=tracking.uri))


def _before(directory: ExportDir) -> List[Json]:
    """Return what earlier exports have listed and what is still there: it was not asked for this time."""
    try:
        ids = read_experiments(directory)["ids"]
    except BadDirectory:
        return []  # none, or a broken one, which is written anew
    entries = {str(entry["id"]): entry for entry in get_mlflow(directory.read_json(EXPERIMENTS_FILE))["experiments"]}
    numbers = ("ok_runs", "failed_runs")
    return [
        {**dict.fromkeys(numbers, 0), **entries[experiment_id]}
        for experiment_id in ids
        if holds(directory.sub(safe_name(experiment_id)), EXPERIMENT_FILE)
    ]
