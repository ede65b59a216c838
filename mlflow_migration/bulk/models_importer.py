"""Imports many registered models; the runs and logged models of their versions come with the experiments."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from mlflow_migration.bulk.experiments_importer import Imported, import_experiments_of
from mlflow_migration.bulk.models_exporter import EXPERIMENTS, MODELS, MODELS_FILE
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import model_dirs, read_model, read_models
from mlflow_migration.common.rename_utils import rename
from mlflow_migration.model.carriers import Arrived, Carriers
from mlflow_migration.model.destination import VersionSettings
from mlflow_migration.model.import_model import why_not_deleted
from mlflow_migration.model.model_importer import RegisteredModelImporter
from mlflow_migration.model.sources import model_ids
from mlflow_migration.run.import_run import settings_of

Json = Dict[str, Any]


class Came(NamedTuple):
    """What has come with experiments.

    :param run_ids: Destination run ids by source run id.
    :param run_infos: Info of the destination's runs by source run id, as far as it is known.
    :param model_ids: Destination ids of logged models by those of the source.
    :param runs: Directories of runs by id.
    :param models: Those of logged models.
    :param roots: Artifact roots at the source of runs, and of logged models, that have no directory.
    """

    run_ids: Mapping[str, str]
    run_infos: Mapping[str, Json]
    model_ids: Mapping[str, str]
    runs: Mapping[str, ExportDir]
    models: Mapping[str, ExportDir]
    roots: Tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})


def came_with(experiments: Sequence[Imported]) -> Came:
    """Return what has come with experiments of a directory."""
    parts = [item.part for item in experiments if item.part is not None]
    return Came(
        {src_id: dst_id for part in parts for src_id, dst_id in part.runs.ids.items()},
        {src_id: info for part in parts for src_id, info in part.runs.infos.items()},
        {src_id: dst_id for part in parts for src_id, dst_id in part.models.ids.items()},
        {run_id: place for part in parts for run_id, place in part.found[0]},
        {model_id: place for part in parts for model_id, place in part.found[1]},
    )


def import_models_of(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    renames: Tuple[Mapping[str, str], Mapping[str, str]],
) -> None:
    """Import the experiments of a directory, then the registered models, and record each object.

    :param options: Those of the command.
    :param renames: What replaces which beginning of the name of an experiment, and of a registered model.
    :raises BadInput: The directory holds no whole export of registered models.
    """
    if not directory.sub(MODELS).exists(MODELS_FILE):
        raise BadInput(
            f"{directory.path} holds no whole export of registered models: there is no {MODELS}/{MODELS_FILE}."
        )
    done = import_experiments_of(tracking, job, directory.sub(EXPERIMENTS), options, id_map, renames[0])
    import_listed_models(tracking, registry, job, directory.sub(MODELS), options, id_map, renames[1], came_with(done))


def import_listed_models(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    renames: Mapping[str, str],
    came: Came,
) -> None:
    """Import registered models whose experiments have been imported, and record each object.

    :param directory: The one with the models.
    :param options: Those of the command.
    :param renames: What replaces which beginning of a name.
    :param came: What has come with the experiments.
    """
    importer = _Models(tracking, registry, job, options, id_map, came)
    failed = read_models(directory)["failed"]
    job.ledger.expect("registered_model", len(failed))
    for name in failed:
        job.failed("registered_model", name, BadDirectory("its export failed: it is not in the directory"))
    by_name: Dict[str, List[Tuple[str, ExportDir]]] = {}
    for read in job.executor.gather(lambda item: _name(item[1], renames), model_dirs(directory)):
        if read.error is None:
            by_name.setdefault(read.get(), []).append(read.item)
        else:
            job.ledger.expect("registered_model", 1)
            job.failed("registered_model", read.item[0], read.error)

    def load(item: Tuple[str, List[Tuple[str, ExportDir]]]) -> None:
        # those that go into one model do so one after the other
        for src_name, place in item[1]:
            outcome = job.executor.gather(lambda here: importer.load(here, item[0]), [place])[0]
            if outcome.error is not None:
                job.ledger.expect("registered_model", 1)
                job.failed("registered_model", src_name, outcome.error)

    for loaded in job.executor.imap(load, sorted(by_name.items())):
        loaded.get()


def _name(place: ExportDir, renames: Mapping[str, str]) -> str:
    return rename(read_model(place)["model"]["name"], renames, "registered model")


class _Models:
    """Imports registered models one by one."""

    def __init__(
        self,
        tracking: Tracking,
        registry: Registry,
        job: Job,
        options: Mapping[str, Any],
        id_map: IdMap,
        came: Came,
    ) -> None:
        self._tracking, self._registry, self._job = tracking, registry, job
        self._options, self._id_map = options, id_map
        self._lock = threading.Lock()
        self._holders: Dict[str, str] = {}  # experiments that hold models of versions without a run, by name
        self._came = came

    def load(self, place: ExportDir, name: str) -> None:
        """Import the registered model of a directory under a name, and record each object."""
        doc = read_model(place)
        versions = doc["versions"]
        came = self._came
        runs = list(dict.fromkeys(v["run_id"] for v in versions if v["run_id"] in came.runs))
        named = sorted({found for v in versions for found in model_ids(v["source"], v["_download_uri"])})
        found = (
            [(run_id, came.runs[run_id]) for run_id in runs],
            [(model_id, came.models[model_id]) for model_id in named if model_id in came.models],
        )
        carriers = Carriers(place, *found, roots=came.roots, artifacts=self._options.get("artifacts") or "copy")
        carriers.arrive(
            self._tracking,
            self._registry,
            self._job,
            Arrived(came.run_ids, came.run_infos, came.model_ids, lambda: self._holder(name)),
        )
        options = self._options
        how = VersionSettings.of(options)
        importer = RegisteredModelImporter(self._registry, self._job, settings_of(options), how, self._id_map, name)
        delete = bool(options.get("delete_model"))
        conflicts = importer.prepare(doc, anew=delete)
        if delete:
            conflicts += self._why_not_deleted(carriers, doc, runs)
        if conflicts:
            importer.refuse(conflicts)
            return
        if delete and not self._job.dry_run:
            self._registry.delete_model(name)
        importer.import_model(carriers)

    def _why_not_deleted(self, carriers: Carriers, doc: Json, runs: Sequence[str]) -> List[str]:
        reason = why_not_deleted(carriers, doc)
        lacking = [run_id for run_id in runs if run_id not in self._came.run_ids]
        if lacking and not self._job.dry_run:
            reason = reason or f"run {lacking[0]} could not be imported"
        return [f"the destination's model is not deleted: {reason}"] if reason else []

    def _holder(self, name: str) -> str:
        """Return the experiment for runs that only hold the model of a version: it is called like the model."""
        with self._lock:
            if name not in self._holders:
                experiment = destination_experiment(self._tracking, self._job, name, {})
                if experiment is not None and experiment.get("lifecycle_stage") == "deleted":
                    raise BadInput(f"the experiment '{name}', for the models of versions without a run, is deleted")
                self._holders[name] = str((experiment or {}).get("experiment_id", ""))
            return self._holders[name]
