"""Spreads the runs of a bulk export or import over the workers of a cluster.

The workers go ahead: each does units of runs by the same functions, with a ledger and an id map in the unit's folder.
Then the command does its work as ever, as a repeat: it finds what the workers have done, does the rest, such as what a
dead worker has left, and records each object, once. What a worker has recorded of a run is what it then says.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.bulk.unit_work import do_unit
from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import describe
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.append_log import stored_lines
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import LEDGER_FILE
from mlflow_migration.common.object_files import read_logged_model
from mlflow_migration.common.units import DONE_FILE, FOLDER, SETTINGS, STOP_FILE, Unit, wait_until_free
from mlflow_migration.experiment.experiment_exporter import GROUP, refuse_other
from mlflow_migration.experiment.experiment_importer import ExperimentImporter
from mlflow_migration.experiment.run_listing import RunListing
from mlflow_migration.run.run_batch import Part

if TYPE_CHECKING:
    from mlflow_migration.bulk.experiments_exporter import Wanted

Json = Dict[str, Any]
Named = Sequence[Tuple[str, Unit]]

UNIT_RUNS = 50  # at least; a unit that a dead worker leaves is done again as a whole
UNITS = 64  # of an experiment, at most: each worker of an import reads which runs the destination has
_ROUNDS = 3
_NOT_DONE = ("failed", "skipped")

_log = log.getLogger(__name__)


@dataclass
class Ahead:
    """What the workers have done of an experiment.

    :param runs: Ids of the runs that they have looked at as closely as was asked for.
    :param models: Ids of the logged models that these link to.
    """

    runs: Set[str] = field(default_factory=set)
    models: Set[str] = field(default_factory=set)


def export_ahead(
    tracking: Tracking, job: Job, wanted: Sequence[Wanted], directory: ExportDir, options: Mapping[str, Any]
) -> Dict[str, Ahead]:
    """Let the workers export runs; return what they have done by id of the experiment.

    :param directory: The one with the experiments.
    :param options: Those of the command.
    """
    if job.dry_run:
        return {}
    settle(job, directory)
    if job.engine is None:
        return {}
    settings = {name: value for name, value in options.items() if name in SETTINGS}

    def split(item: Wanted) -> List[Unit]:
        experiment_id = str(item.experiment["experiment_id"])
        place = directory.sub(safe_name(experiment_id))
        refuse_other(item.experiment, place)
        deleted = item.experiment.get("lifecycle_stage") == "deleted" or options.get("export_deleted_runs")
        groups = RunListing(tracking, experiment_id, item.selection).groups(GROUP)
        run_ids = [str(run["info"]["run_id"]) for group in groups for run in group]
        given = {**settings, "export_deleted_runs": bool(deleted)}
        return _split(_unit("export", tracking, job, experiment_id, place, given), run_ids)

    # an experiment that can't be listed fails below, where it is recorded
    units = [unit for found in job.executor.gather(split, wanted) for unit in found.value or ()]
    return _spread(job, directory, units, whole=True)


def import_ahead(
    tracking: Tracking,
    job: Job,
    options: Mapping[str, Any],
    id_map: IdMap,
    found: Sequence[Tuple[ExperimentImporter, Part, ExportDir]],
) -> None:
    """Let the workers import runs that have nothing to do with logged models, and take note of what they have done.

    :param options: Those of the command.
    :param found: Experiments: what imports them, their runs and logged models, and their directories.
    """
    place = id_map.directory
    if job.dry_run or place is None:
        return
    if settle(job, place, id_map):
        for _, part, _ in found:
            part.runs.load()
    if job.engine is None:
        return
    settings = {name: value for name, value in options.items() if name in SETTINGS}
    tied = _tied(job, [part for _, part, _ in found])
    units: List[Unit] = []
    for importer, part, directory in found:
        if importer.is_settled:
            run_ids = [run_id for run_id, _ in part.found[0] if run_id not in tied]
            unit = _unit("import", tracking, job, importer.experiment_id, directory, settings)
            units += _split(unit, run_ids)
    ahead = _spread(job, place, units, id_map)
    for importer, part, _ in found:
        if importer.experiment_id in ahead:
            part.runs.load()
            part.runs.fresh = ahead[importer.experiment_id].runs


def _tied(job: Job, parts: Sequence[Part]) -> Set[str]:
    """Return the ids of the runs that have made or measured logged models."""
    places = [place for part in parts for _, place in part.found[1]]
    models = [read.get()[0] for read in job.executor.gather(read_logged_model, places) if read.error is None]
    return {
        run_id or ""
        for model in models
        for run_id in (model["source_run_id"], *(metric["run_id"] for metric in model["metrics"]))
    }


def _unit(
    action: str, tracking: Tracking, job: Job, experiment_id: str, directory: ExportDir, settings: Mapping[str, Any]
) -> Unit:
    return Unit(
        action, tracking.uri, tracking.workspace or "", tracking.identity, experiment_id, _path(directory), (),
        settings, job.executor.workers,
    )  # fmt: skip


def _path(directory: ExportDir) -> str:
    return os.path.abspath(directory.path) if directory.is_local else directory.path


def _split(unit: Unit, run_ids: Sequence[str]) -> List[Unit]:
    size = max(UNIT_RUNS, -(-len(run_ids) // UNITS))
    return [replace(unit, run_ids=tuple(run_ids[at : at + size])) for at in range(0, len(run_ids), size)]


# -- the work of the workers ----------------------------------------------------------------------------------------


def settle(job: Job, place: ExportDir, id_map: Optional[IdMap] = None) -> bool:
    """End the units that a killed command has left, and take over what its workers have written into their id maps.

    :param place: The directory that holds the folder with the units.
    :return: Whether there were any.
    """
    folder = place.sub(FOLDER)
    if not folder.exists():
        return False
    _log.info("Waiting for workers that an earlier command has left")
    folder.write_json(STOP_FILE, b"{}")
    names = folder.names()
    job.executor.gather(lambda name: wait_until_free(folder.sub(name)), names)
    if id_map is not None:
        for name in names:
            _take_over(folder.sub(name), id_map)
    place.remove(FOLDER)
    return True


def _spread(
    job: Job, place: ExportDir, units: Sequence[Unit], id_map: Optional[IdMap] = None, *, whole: bool = False
) -> Dict[str, Ahead]:
    """Let the workers do units; return what they have done by id of the experiment."""
    assert job.engine is not None
    if not units:
        return {}
    job.ledger.phase(f"spreading runs over {job.engine.name}", whole=whole)
    folder = place.sub(FOLDER)
    named = [(f"{number:06d}", unit) for number, unit in enumerate(units)]
    for written in job.executor.gather(lambda item: _write(folder.sub(item[0]), item[1], id_map), named):
        written.get()
    try:
        _run(job, folder, named)
    except BaseException:
        folder.write_json(STOP_FILE, b"{}")  # the workers end what they are at; a repeat waits for that
        raise
    ahead = _merge(job, folder, named, id_map)
    place.remove(FOLDER)
    return ahead


def _write(place: ExportDir, unit: Unit, id_map: Optional[IdMap]) -> None:
    place.make()
    if id_map is not None:  # what earlier imports did with these runs
        with closing(IdMap(place, unit.identity)) as own:
            for run_id in unit.run_ids:
                entry = id_map.find("run", unit.experiment_id, run_id)
                if entry is not None:
                    own.record(**{key: value for key, value in entry.items() if key != "destination"})
    unit.write(place)


def _run(job: Job, folder: ExportDir, named: Named) -> None:
    """Let the workers do the units, those of dead workers again; note why some are left."""
    engine = job.engine
    assert engine is not None
    reasons: Set[str] = set()
    left = [name for name, _ in named]
    for _ in range(_ROUNDS):
        _log.info("%d units of runs go to the workers of %s", len(left), engine.name)
        done = job.executor.gather(lambda names: engine.run(do_unit, [(_path(folder), n) for n in names]), [left])[0]
        reasons = {describe(done.error)} if done.error is not None else set(done.get()) - {""}
        left = [name for name in left if not folder.sub(name).exists(DONE_FILE)]
        if not left:
            return
        job.executor.check()
    why = "; ".join(sorted(reasons)) or "they do not write to the directory that this machine sees"
    job.ledger.note(
        f"{len(left)} of {len(named)} units of runs could not be done by workers of {engine.name}, so this machine did "
        f"what they lack: {why}"
    )


def _merge(job: Job, folder: ExportDir, named: Named, id_map: Optional[IdMap]) -> Dict[str, Ahead]:
    """Take over what the workers have recorded."""
    ahead: Dict[str, Ahead] = {}
    for name, unit in named:
        place, of_unit = folder.sub(name), ahead.setdefault(unit.experiment_id, Ahead())
        if place.exists(LEDGER_FILE):
            of_unit.runs |= _take_ledger(job, place)
        if place.exists(DONE_FILE):
            of_unit.models.update(place.read_json(DONE_FILE)["models"])
        if id_map is not None:
            _take_over(place, id_map)
    return ahead


def _take_ledger(job: Job, place: ExportDir) -> Set[str]:
    """Take over what became of runs, and how much was carried; return their ids."""
    runs: Set[str] = set()
    carried: Counter[str] = Counter()
    of_attempt: Mapping[str, int] = {}
    for line in _lines(place):
        if line.get("event") == "start":  # of another worker, as the former has died
            carried.update(of_attempt)
            of_attempt = {}
        of_attempt = line.get("carried", of_attempt)
        if line.get("event") == "note" and line["text"] not in job.ledger.notes:
            job.ledger.note(line["text"])
        if line.get("kind") == "run" and line["status"] not in _NOT_DONE:
            runs.add(line["src_id"])
            job.ledger.done_ahead(line)
    carried.update(of_attempt)
    job.ledger.add(**carried)
    return runs


def _lines(place: ExportDir) -> Iterator[Json]:
    for text in stored_lines(place, LEDGER_FILE):
        try:
            line = json_codec.loads(text)
        except ValueError:
            continue  # the half line of a worker that was killed
        yield line


def _take_over(place: ExportDir, id_map: IdMap) -> None:
    own = IdMap(place, id_map.destination, writable=False)
    for entry in own.entries("run"):
        id_map.record(**{key: value for key, value in entry.items() if key != "destination"})
