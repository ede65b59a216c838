"""Exports the logged models (MLflow 3) of several experiments to one directory."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from mlflow_migration.client.errors import BadDirectory, BadInput, Refused
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.artifact_stores import note_absent
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import object_dirs, read_logged_models
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.experiment.run_listing import RunListing, Selection
from mlflow_migration.logged_model.logged_model_exporter import (
    LOGGED_MODEL_FILE,
    LOGGED_MODELS_FILE,
    matching_models,
    refuse_old,
)
from mlflow_migration.run.export_run import settings_of
from mlflow_migration.run.models_exporter import GROUP, LoggedModelsExporter
from mlflow_migration.run.run_file import RUN_FILE

Json = Dict[str, Any]

SCRIPT = "export_logged_models.py"
ALL = "all"


def chosen_experiments(tracking: Tracking, ids: Sequence[str], otherwise: str) -> Tuple[List[Json], List[Json]]:
    """Return the experiments that are asked for, and those that ``all`` leaves out as they are deleted.

    :param otherwise: What takes a deleted one.
    :raises BadInput: The server has no such experiment, or it is deleted.
    """
    if list(ids) == [ALL]:
        every = [experiment for page in tracking.search_experiments() for experiment in page]
        deleted = [experiment for experiment in every if experiment.get("lifecycle_stage") == "deleted"]
        return [experiment for experiment in every if experiment not in deleted], deleted
    found = []
    for experiment_id in dict.fromkeys(ids):
        try:
            found.append(tracking.experiment(experiment_id))
        except Refused as ex:
            if ex.http_status_code not in (400, 404):  # 400: an id is a number
                raise
            raise BadInput(f"{tracking.uri} has no experiment with the id '{experiment_id}'.") from ex
        if found[-1].get("lifecycle_stage") == "deleted":
            raise BadInput(f"The experiment '{found[-1]['name']}' is deleted; {otherwise}.")
    return found, []


_OTHERWISE = "export-experiment --export-deleted-experiments takes it with its logged models"


def export_listed_models(
    tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any]
) -> LoggedModelsExporter:
    """Export the logged models of experiments, and record each object.

    :param options: Those of the command.
    :raises BadInput: There is no such experiment, the server refuses the filter or is one before MLflow 3, or the
        directory holds experiments of another server.
    """
    refuse_old(tracking)
    settings = settings_of({**options, "export_deleted_runs": True})
    chosen, deleted = chosen_experiments(tracking, options["experiment_ids"], _OTHERWISE)
    old = _old_list(directory, chosen)
    for experiment in chosen[:1]:
        matching_models(tracking, experiment["experiment_id"], settings.models)  # a bad filter, before anything is done
    for experiment in deleted:
        job.ledger.record(
            "experiment", "skipped", experiment["experiment_id"], name=experiment["name"],
            reason=f"deleted; {_OTHERWISE}",
        )  # fmt: skip
    if not job.dry_run:
        directory.make()

    def place(object_id: str) -> ExportDir:
        return directory.sub(safe_name(object_id))

    exporter = LoggedModelsExporter(tracking, job, settings, SCRIPT, place, place, bool(options["export_runs"]))
    for experiment in chosen:
        experiment_id = experiment["experiment_id"]
        exporter.export_experiment(experiment_id, RunListing(tracking, experiment_id, Selection()).groups(GROUP))
    exporter.follow()
    note_absent(tracking, job.ledger)
    if not job.dry_run:
        body = {"experiments": _listed(tracking, directory, exporter, chosen, old)}
        info = {
            "num_total_logged_models": len(exporter.models) + len(exporter.failed),
            "num_ok_logged_models": len(exporter.models),
            "num_failed_logged_models": len(exporter.failed),
            "failed_logged_models": exporter.failed,
            **({"skipped_logged_models": exporter.left_out} if exporter.left_out else {}),
        }
        directory.write_json(LOGGED_MODELS_FILE, envelope(SCRIPT, body, info, tracking_uri=tracking.uri))
    return exporter


def _old_list(directory: ExportDir, chosen: Sequence[Json]) -> List[Json]:
    """Return the experiments of earlier exports into the directory.

    :raises BadInput: They are of another server.
    """
    try:
        old: List[Json] = read_logged_models(directory)["experiments"]
    except BadDirectory:
        return []  # none, or a broken one, which is written anew
    times = {experiment["experiment_id"]: experiment.get("creation_time") for experiment in chosen}
    for experiment in old:
        then, now = experiment["creation_time"], times.get(experiment["id"])
        if then and now and int(now) != then:  # a number alone may be the same on another server
            raise BadInput(f"{directory.path} holds logged models of another server's experiment {experiment['id']}.")
    return old


def _listed(
    tracking: Tracking,
    directory: ExportDir,
    exporter: LoggedModelsExporter,
    chosen: Sequence[Json],
    old: Sequence[Json],
) -> List[Json]:
    """Return what logged_models.json lists: by experiment, what is in the directory now or since an earlier export."""
    experiments: Dict[str, Json] = {
        experiment["id"]: {**experiment, "logged_models": [], "runs": []} for experiment in old
    }
    for experiment in chosen:
        experiments[experiment["experiment_id"]] = _entry(experiment)
    for kind, file, found in (
        ("logged_models", LOGGED_MODEL_FILE, exporter.models),
        ("runs", RUN_FILE, exporter.runs),
    ):
        # what the source has deleted since stays, as does what was not asked for this time
        for experiment in old:
            for object_id, place in object_dirs(directory, experiment[kind]):
                if object_id not in found and place.exists(file):
                    experiments[experiment["id"]][kind].append(object_id)
        for object_id, experiment_id in found.items():
            if experiment_id not in experiments:  # of elsewhere, but models here need it
                experiments[experiment_id] = _entry(tracking.experiment(experiment_id))
            experiments[experiment_id][kind].append(object_id)
    return [{**entry, "logged_models": sorted(entry["logged_models"])} for entry in experiments.values()]


def _entry(experiment: Json) -> Json:
    return {
        "id": experiment["experiment_id"],
        "name": experiment["name"],
        "creation_time": experiment.get("creation_time"),
        "logged_models": [],
        "runs": [],
    }


def export_logged_models(
    experiment_ids: Union[str, Sequence[str]],
    output_dir: str,
    logged_models_filter: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    export_runs: bool = True,
    workers: int = 8,
) -> Tuple[List[str], List[str]]:
    """Export the logged models of experiments.

    :param experiment_ids: Ids of the experiments, as a list or a comma separated text; ``all`` means every active one.
    :param output_dir: Directory to export to.
    :param logged_models_filter: MLflow's filter string; empty means all.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param export_runs: Take the runs that made or measured them too, and the logged models that these link to.
    :param workers: The most requests in flight.
    :return: Ids of the logged models that are in the directory, and of those that failed.
    :raises MlflowExportImportException: The export can't start.
    """
    ids = experiment_ids.split(",") if isinstance(experiment_ids, str) else experiment_ids
    options = {
        "experiment_ids": [str(experiment_id).strip() for experiment_id in ids],
        "logged_models_filter": logged_models_filter,
        "export_runs": export_runs,
        "workers": workers,
    }
    with exporting("export_logged_models", output_dir, options, mlflow_client, "objects") as frm:
        exporter = export_listed_models(frm.tracking, frm.job, frm.directory, options)
    return list(exporter.models), exporter.failed


@command(
    "export-logged-models", "tracking_uri", "experiment_ids", "output_dir", "logged_models_filter", "export_runs",
    "include_artifacts", "exclude_artifacts", "max_artifact_size", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_listed_models(frm.tracking, frm.job, frm.directory, options)

    return export_script("export-logged-models", options, "objects", work)


if __name__ == "__main__":
    main()
