"""Exports a whole server to a directory: experiments, registered models, prompts, evaluation datasets and the rest."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Union

from mlflow_migration.bulk.experiments_exporter import Wanted, choose_experiments, export_experiments_of
from mlflow_migration.bulk.export_evaluation_datasets import DATASETS, export_datasets_if_any
from mlflow_migration.bulk.export_prompts import export_all_prompts, note_left_out_prompts
from mlflow_migration.bulk.kinds import export_kinds
from mlflow_migration.bulk.models_exporter import EXPERIMENTS, ModelsExporter, write_manifest
from mlflow_migration.client.registry import NoPrompts, PromptRegistry, Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.selection import ALL
from mlflow_migration.experiment.export_experiment import ms_of, selection_of
from mlflow_migration.model.export_model import list_of

SCRIPT = "export_all.py"
PROMPTS = "prompts"


def export_server(
    tracking: Tracking, registry: Registry, job: Job, directory: ExportDir, options: Mapping[str, Any]
) -> None:
    """Export all that a server and its registry have, and record each object.

    :param options: Those of the command.
    """
    models = ModelsExporter(tracking, registry, job, directory, options, SCRIPT)
    models.read([ALL])
    selection = selection_of(options)
    wanted = [
        Wanted(experiment, selection, models.models.get(experiment["experiment_id"], ()))
        for experiment in choose_experiments(tracking, job, [ALL], options)
    ]
    exported = export_experiments_of(tracking, job, wanted, directory.sub(EXPERIMENTS), options, SCRIPT)
    models.finish(exported.whole_runs, exported.failed_runs, exported.models)
    try:
        prompts = PromptRegistry(registry)
    except NoPrompts:
        note_left_out_prompts(registry, job.ledger)
    else:
        job.ledger.phase("exporting prompts", whole=True)
        export_all_prompts(tracking, prompts, job, [ALL], directory.sub(PROMPTS))
    job.ledger.phase("exporting evaluation datasets", whole=True)
    export_datasets_if_any(tracking, job, [ALL], directory.sub(DATASETS))
    job.ledger.phase("exporting the rest", whole=True)
    export_kinds(tracking, job, directory, SCRIPT, {item.experiment["experiment_id"] for item in wanted})
    write_manifest(tracking, job, directory, options, SCRIPT)


def export_all(
    output_dir: str,
    run_start_time: Union[None, int, str] = None,
    runs_until: Union[None, int, str] = None,
    stages: Union[str, List[str]] = "",
    export_latest_versions: bool = False,
    export_deleted_runs: bool = False,
    export_version_model: bool = False,
    export_permissions: bool = False,
    notebook_formats: Optional[List[str]] = None,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    export_deleted_experiments: bool = False,
    workers: int = 8,
) -> None:
    """Export a whole server: experiments with their runs and logged models, registered models, prompts, datasets.

    :param output_dir: Directory to export to.
    :param run_start_time: Only runs started at or after; UTC text, or ms since epoch.
    :param runs_until: Only runs started before; likewise.
    :param stages: Only versions in these stages; a list, or a comma separated text.
    :param export_latest_versions: Only the latest version of each stage.
    :param export_deleted_runs: Take deleted runs too.
    :param export_version_model: Take the registry's own copy of each version's model too.
    :param export_permissions: Take the permissions too, of a Databricks workspace.
    :param notebook_formats: Formats in which the runs' notebooks are taken, of a Databricks workspace.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param export_deleted_experiments: Take deleted experiments too.
    :param workers: The most requests in flight.
    :raises MlflowExportImportException: The export can't start.
    """
    options = {
        "run_start_time": ms_of(run_start_time),
        "runs_until": ms_of(runs_until),
        "stages": list_of(stages),
        "export_latest_versions": export_latest_versions,
        "export_deleted_runs": export_deleted_runs,
        "export_deleted_experiments": export_deleted_experiments,
        "export_version_model": export_version_model,
        "export_permissions": export_permissions,
        "notebook_formats": notebook_formats,
        "workers": workers,
        "registry_uri": None,
    }
    with exporting("export_all", output_dir, options, mlflow_client) as frm:
        export_server(frm.tracking, frm.registry, frm.job, frm.directory, options)


@command(
    "export-all", "tracking_uri", "registry_uri", "output_dir", "run_start_time", "runs_until", "changed_since",
    "export_deleted_runs", "export_deleted_experiments", "stages", "export_latest_versions", "export_version_model",
    "include_artifacts", "exclude_artifacts", "max_artifact_size", "export_permissions", "notebook_formats", "recheck",
    "require_admin", "workspaces", "engine", "engine_address",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_server(frm.tracking, frm.registry, frm.job, frm.directory, options)

    return export_script("export-all", options, "runs", work)


if __name__ == "__main__":
    main()
