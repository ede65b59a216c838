"""What a worker of a cluster does: one unit of a bulk export or import, by the functions that do it on one machine."""

from __future__ import annotations

from contextlib import closing
from typing import Set

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadInput, Stopped, describe
from mlflow_migration.client.servers import open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.object_files import read_run, run_dirs
from mlflow_migration.common.session import open_job
from mlflow_migration.common.units import DONE_FILE, Unit, held, read_unit, refuse_ended
from mlflow_migration.experiment.experiment_exporter import GROUP
from mlflow_migration.experiment.export_experiment import SCRIPT
from mlflow_migration.run import export_run, import_run
from mlflow_migration.run.import_run import model_importer
from mlflow_migration.run.run_exporter import RunExporter
from mlflow_migration.run.run_importer import RunImporter
from mlflow_migration.run.state import links_of


def do_unit(folder: str, name: str) -> str:
    """Do a unit that is not done yet.

    :param folder: Path of the folder with the units.
    :param name: The unit's.
    :return: Empty, or why it could not be done; what single runs have met with is in the unit's ledger.
    """
    try:
        # by the executor: whatever goes wrong here is no reason to give up the other units
        error = Executor(1).gather(lambda _: _do(ExportDir(folder), name), [None])[0].error
    except Stopped as ex:
        error = ex
    return "" if error is None else describe(error)


def _do(folder: ExportDir, name: str) -> None:
    place = folder.sub(name)
    unit = read_unit(place)
    refuse_ended(folder)
    ledger = Ledger(None, unit.action, {})
    with open_job(ledger, "runs", {"workers": unit.workers, "quiet": True}) as job, held(
        folder, name, job.executor.stop
    ):
        if place.exists(DONE_FILE):  # by the worker that has just let it go
            return
        with Ledger(place, unit.action, {}) as job.ledger:
            models = _work(unit, job, place)
        place.write_json(DONE_FILE, json_codec.dumps({"models": sorted(models)}))


def _work(unit: Unit, job: Job, place: ExportDir) -> Set[str]:
    """Do the work; return the ids of the logged models that exported runs link to."""
    is_import = unit.action == "import"
    with open_tracking(
        unit.tracking_uri, "dst" if is_import else "src", workers=unit.workers, workspace=unit.workspace or None
    ) as tracking:
        if tracking.identity != unit.identity:
            raise BadInput(f"a worker of the cluster sees {tracking.identity} instead of {unit.identity}")
        if not is_import:
            return _export(unit, tracking, job)
        with closing(IdMap(place, tracking.identity)) as id_map:
            _import(unit, tracking, job, id_map)
    return set()


def _export(unit: Unit, tracking: Tracking, job: Job) -> Set[str]:
    directory = ExportDir(unit.directory)
    settings = export_run.settings_of(unit.settings)
    runs = RunExporter(tracking, job, settings, SCRIPT, lambda run_id: directory.sub(safe_name(run_id)))
    for at in range(0, len(unit.run_ids), GROUP):
        runs.export_by_id(unit.run_ids[at : at + GROUP])
    if not tracking.has_logged_models():
        return set()
    # also those of runs that another worker has written before it died
    links = job.executor.gather(lambda run_id: links_of(read_run(directory.sub(safe_name(run_id)))), list(runs.whole))
    return {model_id for found in links for model_id in found.get()}


def _import(unit: Unit, tracking: Tracking, job: Job, id_map: IdMap) -> None:
    """Import runs, but for those that link to logged models, whose order is for the command itself to keep."""
    settings = import_run.settings_of(unit.settings)
    models = model_importer(tracking, job, unit.experiment_id, id_map, settings)
    runs = RunImporter(tracking, job, settings, unit.experiment_id, id_map, models)
    runs.load()
    models.load([], frozenset(), home=runs.has_any(unit.run_ids))
    places = dict(run_dirs(ExportDir(unit.directory)))

    def load(run_id: str) -> None:
        if not links_of(read_run(places[run_id])):
            runs.import_run(run_id, places[run_id])

    for outcome in job.executor.imap(load, [run_id for run_id in unit.run_ids if run_id in places]):
        if outcome.error is not None:
            job.failed("run", outcome.item, outcome.error)
