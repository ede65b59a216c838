"""Imports logged models on their own, with the runs that made or measured them where the directory has those."""

from __future__ import annotations

from typing import List, Optional, Set

from mlflow_migration.client.errors import BadInput, NotFound
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import (
    logged_model_dirs,
    object_dirs,
    read_logged_model,
    read_logged_models,
    run_dirs,
)
from mlflow_migration.logged_model.logged_model_exporter import LOGGED_MODEL_FILE, LOGGED_MODELS_FILE, refuse_old
from mlflow_migration.run.import_run import model_importer
from mlflow_migration.run.run_batch import Found, Part, import_batch, tell_failed
from mlflow_migration.run.run_importer import ImportSettings, RunImporter
from mlflow_migration.run.state import canonical


def _part(
    tracking: Tracking, job: Job, experiment_name: str, runs: Found, models: Found, settings: ImportSettings, ids: IdMap
) -> Part:
    """Return what goes into an experiment, which is created if absent.

    :raises BadInput: It is deleted.
    """
    experiment = destination_experiment(tracking, job, experiment_name, {})
    experiment_id = str((experiment or {}).get("experiment_id", ""))
    existed = experiment is not None and not experiment.get("created")
    importer = model_importer(tracking, job, experiment_id, ids, settings)
    part = Part(RunImporter(tracking, job, settings, experiment_id, ids, importer), importer, (runs, models), existed)
    if existed:
        part.runs.load()
    return part


def import_one_logged_model(
    tracking: Tracking,
    job: Job,
    directory: ExportDir,
    experiment_name: str,
    settings: ImportSettings,
    id_map: IdMap,
    *,
    run_id: Optional[str] = None,
    model_type: Optional[str] = None,
    step: Optional[int] = None,
) -> bool:
    """Import the logged model of a directory with what has come with it, and record each object.

    :param run_id: A run of the destination, in place of the one that made the model.
    :param model_type: In place of the model's.
    :param step: With ``run_id``: the model becomes an output of that run, at this step.
    :return: Whether the destination has the model now.
    :raises BadInput: The directory holds no logged model, or the destination can't take it.
    """
    if not directory.exists(LOGGED_MODEL_FILE):
        raise BadInput(f"{directory.path} holds no exported logged model: there is no {LOGGED_MODEL_FILE}.")
    refuse_old(tracking)
    doc, _ = read_logged_model(directory)
    src_id = doc["model_id"]
    if not src_id:
        raise BadInput(f"{directory.path}/{LOGGED_MODEL_FILE} names no model_id.")
    others = [item for item in logged_model_dirs(directory) if item[0] != src_id]
    runs = run_dirs(directory)
    if run_id is not None:
        _refuse_run(tracking, run_id)
        for object_id in [object_id for object_id, _ in runs if object_id == doc["source_run_id"]]:
            job.ledger.expect("run", 1)
            job.ledger.record("run", "skipped", object_id, reason=f"the run {run_id} is taken in its place")
        runs = [item for item in runs if item[0] != doc["source_run_id"]]
    part = _part(tracking, job, experiment_name, runs, [(src_id, directory), *others], settings, id_map)
    instead = {"model_type": model_type} if model_type is not None else {}
    if run_id is not None:
        part.runs.ids[doc["source_run_id"] or run_id] = run_id
        instead["source_run_id"] = doc["source_run_id"] or run_id
    part.models.put_instead({src_id: instead})
    import_batch(job, part)
    arrived = src_id in part.models.ids
    if run_id is not None and step is not None and arrived and not job.dry_run:
        _make_output(tracking, run_id, part.models.ids[src_id], step)
    return arrived


def _refuse_run(tracking: Tracking, run_id: str) -> None:
    try:
        run = tracking.run(run_id)
    except NotFound as ex:
        raise BadInput(f"{tracking.uri} has no run with the id '{run_id}'.") from ex
    if run["info"].get("lifecycle_stage") == "deleted":
        raise BadInput(f"The run '{run_id}' is deleted; restore it or name another one.")


def _make_output(tracking: Tracking, run_id: str, model_id: str, step: int) -> None:
    def present() -> Optional[bool]:
        outputs = canonical(tracking.run(run_id))["model_outputs"]
        return True if any(output["model_id"] == model_id for output in outputs) else None

    if not present():
        tracking.log_outputs(run_id, [{"model_id": model_id, "step": step}], present)


def import_listed_models(
    tracking: Tracking, job: Job, directory: ExportDir, settings: ImportSettings, id_map: IdMap
) -> None:
    """Import the logged models of several experiments, each into the one of the same name, and record each object.

    :raises BadInput: The directory holds no whole export of logged models, or the destination can't take them.
    """
    if not directory.exists(LOGGED_MODELS_FILE):
        raise BadInput(f"{directory.path} holds no whole export of logged models: there is no {LOGGED_MODELS_FILE}.")
    refuse_old(tracking)
    doc = read_logged_models(directory)
    parts: List[Part] = []
    there: Set[str] = set()
    for experiment in doc["experiments"]:
        found = object_dirs(directory, experiment["runs"]), object_dirs(directory, experiment["logged_models"])
        there.update(object_id for object_id, _ in found[1])
        if not any(found):
            continue
        opened = job.executor.gather(
            lambda item: _part(tracking, job, item[0], *item[1], settings, id_map), [(experiment["name"], found)]
        )[0]
        if opened.error is None:
            opened.get().models.left_out = set(doc["left_out_models"])
            parts.append(opened.get())
            continue
        for kind, objects in zip(("run", "logged_model"), found):
            job.ledger.expect(kind, len(objects))
            for object_id, _ in objects:
                job.failed(kind, object_id, opened.error)
    tell_failed(job, "logged_model", "logged-models", doc["failed_logged_models"], there)
    import_batch(job, *parts)
