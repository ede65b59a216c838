"""Imports one registered model from a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.registry import IS_PROMPT, Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import logged_model_dirs, read_model, run_dirs
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.tables import table
from mlflow_migration.model.carriers import Arrived, Carriers
from mlflow_migration.model.destination import VersionSettings
from mlflow_migration.model.given_runs import BulkModelImporter, ModelImporter
from mlflow_migration.model.model_exporter import MODEL_FILE
from mlflow_migration.model.model_importer import RegisteredModelImporter
from mlflow_migration.run.import_run import model_importer, settings_of
from mlflow_migration.run.run_batch import Found, Part, import_batch
from mlflow_migration.run.run_importer import ImportSettings, RunImporter

_log = log.getLogger(__name__)

__all__ = ["BulkModelImporter", "ModelImporter", "import_model", "import_one_model", "import_with_runs", "main"]


def import_one_model(
    tracking: Tracking, registry: Registry, job: Job, directory: ExportDir, options: Mapping[str, Any], id_map: IdMap
) -> None:
    """Import the registered model of a directory with its runs and logged models, and record each object.

    :param options: Those of the command.
    :raises BadInput: The directory holds no registered model, or not all that ``--delete-model`` needs, or the
        experiment can't be written to.
    """
    name, experiment_name = options["model"], options["experiment_name"]
    if not directory.exists(MODEL_FILE):
        raise BadInput(f"{directory.path} holds no whole export of a registered model: there is no {MODEL_FILE}.")
    doc = read_model(directory)
    if IS_PROMPT in doc["model"]["tags"]:
        raise BadInput(f"{directory.path} holds a prompt, not a model.")
    found = run_dirs(directory), logged_model_dirs(directory)
    carriers = Carriers(directory, *found, artifacts=options.get("artifacts") or "copy")
    delete = bool(options.get("delete_model"))
    if delete:
        reason = why_not_deleted(carriers, doc)
        if reason:
            raise BadInput(f"The model '{name}' is not deleted, as {directory.path} is not whole: {reason}.")
    settings = settings_of(options)
    how = VersionSettings.of(options)
    importer = RegisteredModelImporter(registry, job, settings, how, id_map, name)
    conflicts = importer.prepare(doc, anew=delete)
    if conflicts:
        importer.refuse(conflicts)
        for kind, objects in zip(("run", "logged_model"), found):
            job.ledger.expect(kind, len(objects))
            for object_id, _ in objects:
                job.ledger.record(kind, "skipped", object_id, reason="its registered model was not imported")
        return
    import_with_runs(tracking, registry, job, importer, carriers, found, experiment_name, {}, settings, id_map, delete)
    if options.get("verbose") and not job.dry_run:
        _show(registry, name)


def why_not_deleted(carriers: Carriers, doc: Mapping[str, Any]) -> Optional[str]:
    """Return what a directory lacks to make a registered model anew; None if it has all.

    :param doc: The model as the directory has it.
    """
    lost = [*doc["failed"], *doc["incomplete"]]
    failed = f"version {', '.join(lost)} could not be exported as a whole" if lost else None
    return carriers.lacking(doc["versions"]) or failed


def _show(registry: Registry, name: str) -> None:
    """Log a table of the versions that the destination has now."""
    aliases: Dict[str, List[str]] = {}
    for item in (registry.model(name) or {}).get("aliases") or ():
        aliases.setdefault(str(item["version"]), []).append(item["alias"])
    columns = ("version", "current_stage", "aliases", "run_id", "source")
    rows = [
        {**dict.fromkeys(columns, ""), **version, "aliases": ", ".join(aliases.get(version["version"], ()))}
        for version in registry.versions(name)
    ]
    _log.info("Versions of '%s':\n%s", name, table(rows, columns))


def import_with_runs(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    importer: RegisteredModelImporter,
    carriers: Carriers,
    found: Tuple[Found, Found],
    experiment_name: str,
    experiment_tags: Mapping[str, str],
    settings: ImportSettings,
    id_map: IdMap,
    delete: bool = False,
) -> None:
    """Import the runs and logged models of a directory, then the versions that are made from them.

    :param importer: The importer of the registered model, prepared.
    :param carriers: What the directory has for the versions.
    :param found: Ids and directories of its runs and logged models.
    :param experiment_tags: Tags of the experiment if it is created.
    :param delete: Delete the destination's model first.
    :raises BadInput: The experiment can't be written to.
    """
    experiment = destination_experiment(tracking, job, experiment_name, experiment_tags)
    experiment_id = str((experiment or {}).get("experiment_id", ""))
    existed = experiment is not None and not experiment.get("created")
    models = model_importer(tracking, job, experiment_id, id_map, settings)
    runs = RunImporter(tracking, job, settings, experiment_id, id_map, models)
    if existed:
        runs.load()
    import_batch(job, Part(runs, models, found, existed))
    carriers.arrive(tracking, registry, job, Arrived(runs.ids, runs.infos, models.ids, lambda: experiment_id))
    if delete and not job.dry_run:
        failed = sum(job.ledger.counts.get(kind, {}).get("failed", 0) for kind in ("run", "logged_model", "artifact"))
        if failed:
            importer.refuse(
                [f"the destination's model is not deleted, as {failed} of what it needs could not be imported"]
            )
            return
        registry.delete_model(importer.name)
    importer.import_model(carriers)


def import_model(
    model_name: str,
    experiment_name: str,
    input_dir: str,
    delete_model: bool = False,
    import_permissions: bool = False,
    import_source_tags: bool = False,
    verbose: bool = False,
    await_creation_for: Optional[int] = None,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    principal_renames: Union[None, str, Mapping[str, str]] = None,
    on_version_conflict: str = "fail",
    fill_gaps: str = "small",
    on_destination_change: str = "keep",
    workers: int = 8,
) -> None:
    """Import a registered model with its versions, their runs and logged models.

    :param model_name: Name of the destination's registered model; it is created if absent.
    :param experiment_name: Destination experiment of the runs; it is created if absent.
    :param input_dir: Directory of the exported model.
    :param delete_model: First delete the destination's model with all its versions.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param verbose: Log a table of the versions that the destination has then.
    :param await_creation_for: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param principal_renames: New names of users, groups and service principals, for the permissions: a dict, or the
        path of a file.
    :param on_version_conflict: ``fail``, ``skip`` or ``renumber``.
    :param fill_gaps: ``small`` or ``always``.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "model": model_name,
        "experiment_name": experiment_name,
        "delete_model": delete_model,
        "verbose": verbose,
        "import_permissions": import_permissions,
        "principal_mapping_file": principal_renames,
        "import_source_tags": import_source_tags,
        "on_version_conflict": on_version_conflict,
        "fill_gaps": fill_gaps,
        "on_destination_change": on_destination_change,
        "workers": workers,
        "registry_uri": None,
    }
    with importing("import_model", input_dir, report_dir, options, mlflow_client) as to:
        import_one_model(to.tracking, to.registry, to.job, to.directory, options, to.id_map)


@command(
    "import-model", "tracking_uri", "registry_uri", "input_dir", "model", "experiment_name", "delete_model",
    "on_version_conflict", "fill_gaps", "import_source_tags", "use_src_user_id", "import_permissions",
    "principal_mapping_file", "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
    "await_creation_for",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(to: Destination) -> None:
        if options["await_creation_for"] is not None:
            to.job.ledger.note("--await-creation-for has no effect: versions are ready when they are made.")
        import_one_model(to.tracking, to.registry, to.job, to.directory, options, to.id_map)

    return import_script("import-model", options, "runs", work)


if __name__ == "__main__":
    main()
