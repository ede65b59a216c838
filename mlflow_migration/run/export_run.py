"""Exports one run to a directory."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, NotFound, describe
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.artifact_stores import note_absent
from mlflow_migration.common.artifacts import ArtifactFilter
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_run
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.logged_model.logged_model_exporter import ExperimentModels
from mlflow_migration.notebook.notebooks import formats_of
from mlflow_migration.run.run_exporter import ExportSettings, RunExporter
from mlflow_migration.trace.trace_exporter import TraceSettings, export_traces_of_run

SCRIPT = "export_run.py"

_log = log.getLogger(__name__)


def settings_of(options: Mapping[str, Any]) -> ExportSettings:
    """Return the settings of an export from the options of a command; what is absent has its default."""
    return ExportSettings(
        artifacts=ArtifactFilter(
            tuple(options.get("include_artifacts") or ()),
            tuple(options.get("exclude_artifacts") or ()),
            options.get("max_artifact_size"),
            options.get("artifacts") == "skip",
        ),
        skip_artifacts=bool(options.get("skip_download_run_artifacts")),
        recheck=options.get("recheck") == "full",
        deleted_runs=bool(options.get("export_deleted_runs")),
        models=options.get("logged_models_filter") or "",
        permissions=bool(options.get("export_permissions")),
        notebooks=formats_of(options),
    )


def export_one_run(
    tracking: Tracking, job: Job, run_id: str, directory: ExportDir, settings: ExportSettings
) -> RunExporter:
    """Export a run with its logged models and its traces.

    :raises BadInput: The server has no such run, or the directory holds another one.
    """
    try:
        there = read_run(directory)["info"]["run_id"]
    except BadDirectory:
        there = run_id  # none, or a broken one, which is written anew
    if there != run_id:
        raise BadInput(f"{directory.path} holds the export of another run, {there}.")
    try:
        run = tracking.run(run_id)
    except NotFound as ex:
        raise BadInput(f"{tracking.uri} has no run with the id '{run_id}'.") from ex
    # a search leaves these out, and the fingerprint must be the same whichever way the run was read
    (run.get("inputs") or {}).pop("model_inputs", None)
    exporter = RunExporter(tracking, job, settings, SCRIPT, lambda _: directory)
    job.ledger.expect("run", 1)
    job.progress.add_total(1)
    exporter.export([run])
    experiment_id = run["info"]["experiment_id"]
    models = ExperimentModels(tracking, job, experiment_id, directory, settings.for_models(SCRIPT))
    models.export_rest(exporter.whole, exporter.models, everything=False)
    if exporter.whole:
        traces = TraceSettings(SCRIPT, settings.recheck, settings.skip_artifacts or settings.artifacts.skip)
        export_traces_of_run(tracking, job, run_id, experiment_id, directory, traces)
    note_absent(tracking, job.ledger)
    return exporter


def export_run(
    run_id: str,
    output_dir: str,
    export_deleted_runs: bool = False,
    skip_download_run_artifacts: bool = False,
    notebook_formats: Optional[List[str]] = None,
    raise_exception: bool = False,
    mlflow_client: Any = None,
    export_logged_models: bool = False,
) -> Any:
    """Export a run.

    :param run_id: Id of the run.
    :param output_dir: Directory to export to.
    :param export_deleted_runs: Export it even if it is deleted.
    :param skip_download_run_artifacts: Leave its artifacts out.
    :param notebook_formats: Formats in which its notebook is taken, of a Databricks workspace.
    :param raise_exception: Raise what makes the export fail, instead of returning None.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param export_logged_models: For callers of today's tools; a run's logged models always travel with it.
    :return: The run as an MLflow entity; None if it was skipped or failed.
    :raises MlflowExportImportException: Only with ``raise_exception``.
    """
    options = {
        "export_deleted_runs": export_deleted_runs,
        "skip_download_run_artifacts": skip_download_run_artifacts,
        "notebook_formats": notebook_formats,
    }
    try:
        with exporting("export_run", output_dir, options, mlflow_client, run_id=run_id) as frm:
            exporter = export_one_run(frm.tracking, frm.job, run_id, frm.directory, settings_of(options))
            if run_id in exporter.failed:
                raise MlflowExportImportException(f"Run {run_id} could not be exported; see {frm.job.ledger.path}")
            if run_id not in exporter.whole:
                return None
            from mlflow_migration.run.entities import run_entity

            return run_entity(frm.tracking.run(run_id))
    except MlflowExportImportException as ex:
        if raise_exception:
            raise
        _log.error("Run %s was not exported: %s", run_id, describe(ex))
        return None


@command(
    "export-run", "tracking_uri", "run_id", "output_dir", "notebook_formats", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    # asked for by its id, a run is wanted whether it is deleted or not
    settings = settings_of({**options, "export_deleted_runs": True})

    def work(frm: Source) -> None:
        export_one_run(frm.tracking, frm.job, options["run_id"], frm.directory, settings)

    return export_script("export-run", options, "runs", work)


if __name__ == "__main__":
    main()
