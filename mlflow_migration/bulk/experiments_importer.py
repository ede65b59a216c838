"""Imports many experiments of a directory, all at once: what refers to each other may be in different ones."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from mlflow_migration.bulk.experiments_exporter import EXPERIMENTS_FILE
from mlflow_migration.bulk.spread import import_ahead
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import experiment_dirs, read_experiment, read_experiments
from mlflow_migration.common.rename_utils import rename
from mlflow_migration.experiment.experiment_exporter import EXPERIMENT_FILE
from mlflow_migration.experiment.experiment_importer import ExperimentImporter
from mlflow_migration.run.import_run import settings_of
from mlflow_migration.run.run_batch import Part, import_batch

Json = Dict[str, Any]


class Imported(NamedTuple):
    """An experiment of the directory.

    :param src_id: Its id at the source.
    :param importer: What has imported it; None if it failed.
    :param part: Its runs and logged models; likewise.
    """

    src_id: str
    importer: Optional[ExperimentImporter] = None
    part: Optional[Part] = None


def import_experiments_of(
    tracking: Tracking,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    renames: Mapping[str, str],
) -> List[Imported]:
    """Import the experiments of a directory, each into the one of the same or its new name, and record each object.

    :param options: Those of the command.
    :param renames: What replaces which beginning of a name.
    :raises BadInput: The directory holds no whole export of experiments.
    """
    if not directory.exists(EXPERIMENTS_FILE):
        raise BadInput(f"{directory.path} holds no whole export of experiments: there is no {EXPERIMENTS_FILE}.")
    failed = read_experiments(directory)["failed"]
    job.ledger.expect("experiment", len(failed))
    for name in failed:
        job.failed("experiment", name, BadDirectory("its export failed: it is not in the directory"))
    by_name: Dict[str, List[Tuple[str, ExportDir]]] = {}
    found = experiment_dirs(directory)
    job.ledger.expect("experiment", len(found))
    settings = settings_of(options)
    done: Dict[str, Imported] = {experiment_id: Imported(experiment_id) for experiment_id, _ in found}
    for read in job.executor.gather(lambda item: _name(item[1], renames), found):
        if read.error is None:
            by_name.setdefault(read.get(), []).append(read.item)
        else:
            job.failed("experiment", read.item[0], read.error)

    def prepare(item: Tuple[str, Tuple[str, ExportDir]]) -> Imported:
        name, (experiment_id, place) = item
        importer = ExperimentImporter(tracking, job, settings, id_map, name)
        return Imported(experiment_id, importer, importer.part(place))

    # of those that go into one experiment, the first makes it
    for turn in range(max(map(len, by_name.values()), default=0)):
        now = [(name, places[turn]) for name, places in by_name.items() if len(places) > turn]
        for outcome in job.executor.gather(prepare, now):
            experiment_id = outcome.item[1][0]
            if outcome.error is None:
                done[experiment_id] = outcome.get()
            else:
                job.failed("experiment", experiment_id, outcome.error, name=outcome.item[0])
    whole = [item for item in done.values() if item.part is not None]
    places = dict(found)
    todo = [
        (item.importer, item.part, places[item.src_id])
        for item in whole
        if item.importer is not None and item.part is not None
    ]
    import_ahead(tracking, job, options, id_map, todo)
    import_batch(job, *(part for _, part, _ in todo))
    for ended in job.executor.gather(_finish, whole):
        if ended.error is not None:
            job.failed("experiment", ended.item.src_id, ended.error)
    return list(done.values())


def _name(place: ExportDir, renames: Mapping[str, str]) -> str:
    name = read_experiment(place)["experiment"]["name"]
    if not name:
        raise BadDirectory(f"{place.path}/{EXPERIMENT_FILE}: 'experiment.name' is missing")
    return rename(name, renames, "experiment")


def _finish(item: Imported) -> None:
    assert item.importer is not None
    item.importer.finish()
