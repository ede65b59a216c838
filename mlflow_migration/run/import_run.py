"""Imports one run from a directory into an experiment."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, Refused
from mlflow_migration.client.servers import with_client
from mlflow_migration.client.tracking import RUN_KEY, Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import logged_model_dirs, read_run, trace_dirs
from mlflow_migration.common.old_layouts import is_id
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.permissions import principals_of
from mlflow_migration.logged_model.logged_model_importer import ModelImporter
from mlflow_migration.notebook.notebooks import notebook_dir_of
from mlflow_migration.run.run_file import RUN_FILE
from mlflow_migration.run.run_importer import RELATIVES, ImportSettings, RunImporter
from mlflow_migration.trace.trace_importer import TraceImporter

Json = Dict[str, Any]


def settings_of(options: Mapping[str, Any]) -> ImportSettings:
    """Return the settings of an import from the options of a command; what is absent has its default."""
    return ImportSettings(
        source_tags=bool(options.get("import_source_tags")),
        use_src_user_id=bool(options.get("use_src_user_id")),
        mlmodel_fix=options.get("mlmodel_fix") is not False,
        on_refused=options.get("on_refused") or "skip",
        overwrite=options.get("on_destination_change") == "overwrite",
        recheck=options.get("recheck") == "full",
        skip_artifacts=options.get("artifacts") == "skip",
        permissions=bool(options.get("import_permissions")),
        principals=principals_of(options),
        notebook_dir=notebook_dir_of(options),
    )


def model_importer(
    tracking: Tracking, job: Job, experiment_id: str, id_map: IdMap, settings: ImportSettings
) -> ModelImporter:
    """Return the importer of the logged models that travel with runs."""
    return ModelImporter(
        tracking, job, experiment_id, id_map,
        mlmodel_fix=settings.mlmodel_fix, overwrite=settings.overwrite, recheck=settings.recheck,
        source_tags=settings.source_tags, skip_artifacts=settings.skip_artifacts,
    )  # fmt: skip


def import_one_run(
    tracking: Tracking, job: Job, directory: ExportDir, experiment_name: str, settings: ImportSettings, id_map: IdMap
) -> RunImporter:
    """Import the run of a directory with its logged models and its traces, and record each.

    :raises BadInput: The directory holds no run, or the experiment can't be written to.
    """
    if not directory.exists(RUN_FILE):
        raise BadInput(f"{directory.path} holds no exported run: there is no {RUN_FILE}.")
    doc, model_dirs, found = read_run(directory), logged_model_dirs(directory), trace_dirs(directory)
    src_id = doc["info"]["run_id"]
    job.ledger.expect("run", 1)
    job.progress.add_total(1)
    job.ledger.phase("reading what is there")
    experiment = destination_experiment(tracking, job, experiment_name, {})
    experiment_id = str((experiment or {}).get("experiment_id", ""))
    models = model_importer(tracking, job, experiment_id, id_map, settings)
    runs = RunImporter(tracking, job, settings, experiment_id, id_map, models)
    if experiment is not None and not experiment.get("created"):
        # the run itself, its parent and root, its children, and what it was itself copied from
        relatives = [doc["tags"][key] for key in RELATIVES if is_id(doc["tags"].get(key, ""))]
        for wanted in {src_id, *relatives}:
            runs.load(f"tags.`{RUN_KEY}` = '{wanted}'")
        for key in RELATIVES:
            runs.load(f"tags.`{key}` = '{src_id}'")
        for own in {src_id, doc["tags"].get(RUN_KEY, ""), *relatives} - {""}:
            _load_own(tracking, runs, experiment_id, own)
    models.load(model_dirs, {src_id}, existed=experiment is not None, home=runs.has_any([src_id]))
    job.ledger.phase("importing runs and logged models")
    if models.any:
        # the run may use models of other runs
        job.executor.gather(lambda _: runs.begin(src_id, directory), [None])
        models.import_rest()
    outcome = job.executor.gather(lambda _: runs.import_run(src_id, directory), [None])[0]
    if outcome.error is not None:
        job.failed("run", src_id, outcome.error)
    models.finish()
    runs.link_parents()
    if found:
        traces = TraceImporter(tracking, job, experiment_id, id_map, overwrite=settings.overwrite)
        traces.run_ids, traces.model_ids = runs.ids, models.ids
        traces.load(existed=experiment is not None and not experiment.get("created"))
        traces.import_all(found)
    job.progress.advance()
    return runs


def _load_own(tracking: Tracking, runs: RunImporter, experiment_id: str, run_id: str) -> None:
    try:
        run = tracking.run(run_id)
    except Refused:
        return
    if run["info"]["experiment_id"] == experiment_id:
        runs.remember(run)


def import_run(
    input_dir: str,
    experiment_name: str,
    import_source_tags: bool = False,
    dst_notebook_dir: Optional[str] = None,
    use_src_user_id: bool = False,
    mlmodel_fix: bool = True,
    import_logged_models: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
) -> Tuple[Any, Optional[str]]:
    """Import a run.

    :param input_dir: Directory of the exported run.
    :param experiment_name: Destination experiment; it is created if absent.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param dst_notebook_dir: Directory of a Databricks workspace for the runs' notebooks.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param mlmodel_fix: Write the new ids into MLmodel files.
    :param import_logged_models: For callers of today's tools; a run's logged models always travel with it.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :return: The run as an MLflow entity, and the source id of its parent or None.
    :raises MlflowExportImportException: It can't be imported.
    """
    _, mlflow_client = with_client(import_logged_models, mlflow_client, False)
    options = {
        "import_source_tags": import_source_tags,
        "dst_notebook_dir": dst_notebook_dir,
        "use_src_user_id": use_src_user_id,
        "mlmodel_fix": mlmodel_fix,
    }
    with importing("import_run", input_dir, report_dir, options, mlflow_client, experiment_name=experiment_name) as to:
        runs = import_one_run(to.tracking, to.job, to.directory, experiment_name, settings_of(options), to.id_map)
        ledger = to.job.ledger
        if not runs.infos or ledger.counts.get("run", {}).get("failed"):
            raise MlflowExportImportException(f"The run of {input_dir} could not be imported; see {ledger.path}")
        src_id = next(iter(runs.infos))
        from mlflow_migration.run.entities import run_entity

        return run_entity(to.tracking.run(runs.ids[src_id])), runs.parents.get(src_id)


@command(
    "import-run", "tracking_uri", "input_dir", "experiment_name", "import_source_tags", "use_src_user_id",
    "dst_notebook_dir", "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    name, settings = options["experiment_name"], settings_of(options)

    def work(to: Destination) -> None:
        import_one_run(to.tracking, to.job, to.directory, name, settings, to.id_map)

    return import_script("import-run", options, "runs", work)


if __name__ == "__main__":
    main()
