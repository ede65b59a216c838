"""Exports one registered model to a directory."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from mlflow_migration.client.errors import BadInput
from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.model.model_exporter import ModelExporter, VersionSelection
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
        references=options.get("artifacts") == "reference",
    )


def list_of(value: Union[None, str, Sequence[str]]) -> Optional[List[str]]:
    """Return what a function is given as a list or as a comma separated text; None for nothing."""
    if not isinstance(value, str):
        return [str(item) for item in value] if value else None
    return [item.strip() for item in value.split(",") if item.strip()] or None


def _exporter(frm: Source, options: Mapping[str, Any], selection: VersionSelection) -> ModelExporter:
    return ModelExporter(frm.tracking, frm.registry, frm.job, settings_of(options), selection, SCRIPT)


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
    :param export_permissions: Take the permissions too, of a Databricks workspace.
    :param export_deleted_runs: Take deleted runs too; without it the model of a version whose run is deleted is taken
        alone.
    :param notebook_formats: Formats in which the runs' notebooks are taken, of a Databricks workspace.
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
        "registry_uri": None,
    }
    selection = selection_of(options)
    with exporting("export_model", output_dir, options, mlflow_client, model=model_name) as frm:
        _exporter(frm, options, selection).export(model_name, frm.directory)
    return frm.job.ledger.exit_status == 0, model_name


@command(
    "export-model", "tracking_uri", "registry_uri", "model", "output_dir", "versions", "stages",
    "export_latest_versions", "export_version_model", "export_deleted_runs", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "export_permissions", "notebook_formats", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    selection = selection_of(options)

    def work(frm: Source) -> None:
        _exporter(frm, options, selection).export(options["model"], frm.directory)

    return export_script("export-model", options, "runs", work)


if __name__ == "__main__":
    main()
