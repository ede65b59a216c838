"""Exports one registered model to a directory."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.session import open_job, report_dir, run_command, tell
from mlflow_migration.model.model_exporter import ModelExporter, VersionSelection
from mlflow_migration.model.one_side import one_side
from mlflow_migration.run.export_run import settings_of

SCRIPT = "export_model.py"


def selection_of(options: Mapping[str, Any]) -> VersionSelection:
    """Return which versions the options of a command select.

    :raises BadInput: Both numbers and stages are given.
    """
    if options.get("versions") and options.get("stages"):
        raise BadInput("Give either --versions or --stages, not both.")
    return VersionSelection(
        numbers=tuple(options.get("versions") or ()),
        stages=tuple(options.get("stages") or ()),
        latest=bool(options.get("export_latest_versions")),
        own_copies=bool(options.get("export_version_model")),
    )


def list_of(value: Union[None, str, Sequence[str]]) -> Optional[List[str]]:
    """Return what a function is given as a list or as a comma separated text; None for nothing."""
    if not isinstance(value, str):
        return [str(item) for item in value] if value else None
    return [item.strip() for item in value.split(",") if item.strip()] or None


def export_model(
    model_name: str,
    output_dir: str,
    stages: Union[None, str, List[str]] = None,
    versions: Union[None, str, List[str]] = None,
    export_latest_versions: bool = False,
    export_version_model: bool = False,
    export_permissions: bool = False,
    export_deleted_runs: bool = False,
    notebook_formats: Optional[List[str]] = None,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Tuple[bool, str]:
    """Export a registered model with its versions, their runs and logged models.

    :param model_name: Its name.
    :param output_dir: Directory to export to.
    :param stages: Only versions in these stages; a list, or a comma separated text.
    :param versions: Only these versions; likewise, not together with ``stages``.
    :param export_latest_versions: Only the latest version of each stage.
    :param export_version_model: Take the registry's own copy of each version's model too.
    :param export_permissions: Has an effect only on Databricks.
    :param export_deleted_runs: Take deleted runs too; without it the model of a version whose run is deleted is taken
        alone.
    :param notebook_formats: Has an effect only on Databricks.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: Whether the model is whole in the directory, and its name.
    :raises MlflowExportImportException: The export can't start.
    """
    options = {
        "stages": list_of(stages),
        "versions": list_of(versions),
        "export_latest_versions": export_latest_versions,
        "export_version_model": export_version_model,
        "export_permissions": export_permissions,
        "export_deleted_runs": export_deleted_runs,
        "notebook_formats": notebook_formats,
        "workers": workers,
        "quiet": True,
    }
    directory, selection = ExportDir(output_dir), selection_of(options)
    with open_tracking(None, "src", workers=workers, mlflow_client=mlflow_client) as tracking, open_registry(
        tracking, None, "src", workers=workers
    ) as registry, Ledger(
        directory, "export_model", {"model": model_name, "output_dir": output_dir, **options}
    ) as ledger, open_job(ledger, "runs", options) as job:
        exporter = ModelExporter(tracking, registry, job, settings_of(options), selection, SCRIPT)
        exporter.export(model_name, directory)
        tell(ledger)
    return ledger.exit_status == 0, model_name


@command(
    "export-model", "tracking_uri", "registry_uri", "model", "output_dir", "versions", "stages",
    "export_latest_versions", "export_version_model", "export_deleted_runs", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "export_permissions", "notebook_formats", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    directory, selection = ExportDir(options["output_dir"]), selection_of(options)

    def work(job: Job) -> None:
        with one_side(job, options, "src") as (tracking, registry):
            exporter = ModelExporter(tracking, registry, job, settings_of(options), selection, SCRIPT)
            exporter.export(options["model"], directory)

    reports = report_dir(options["report_dir"], directory, options["dry_run"])
    return run_command("export-model", options, reports, "runs", work)


if __name__ == "__main__":
    main()
