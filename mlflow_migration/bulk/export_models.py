"""Exports many registered models with their versions and the runs of these to a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Union

from mlflow_migration.bulk.models_exporter import export_models_of
from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.selection import wanted_names
from mlflow_migration.experiment.export_experiment import ms_of
from mlflow_migration.model.export_model import list_of

SCRIPT = "export_models.py"


def export_models(
    model_names: Union[str, Sequence[str]],
    output_dir: str,
    stages: Union[str, Sequence[str]] = "",
    export_latest_versions: bool = False,
    export_all_runs: bool = False,
    export_permissions: bool = False,
    run_start_time: Union[None, int, str] = None,
    runs_until: Union[None, int, str] = None,
    export_deleted_runs: bool = False,
    export_version_model: bool = False,
    notebook_formats: Optional[List[str]] = None,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Dict[str, Any]:
    """Export registered models with their versions, and the runs and logged models of these.

    :param model_names: Names, as a list or a comma separated text, also ``all``, beginnings with a ``*``, or a ``.txt``
        file with one in each line.
    :param output_dir: Directory to export to.
    :param stages: Only versions in these stages; a list, or a comma separated text.
    :param export_latest_versions: Only the latest version of each stage.
    :param export_all_runs: Take all runs of the experiments, not only those of versions.
    :param export_permissions: Take the permissions too, of a Databricks workspace.
    :param run_start_time: With ``export_all_runs``: only runs started at or after; UTC text, or ms since epoch.
    :param runs_until: With ``export_all_runs``: only runs started before; likewise.
    :param export_deleted_runs: Take deleted runs too.
    :param export_version_model: Take the registry's own copy of each version's model too.
    :param notebook_formats: Formats in which the runs' notebooks are taken, of a Databricks workspace.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: ``model_names``, ``options``, ``models`` and ``experiments``, as ``info`` of manifest.json has them.
    :raises MlflowExportImportException: The export can't start.
    """
    options = {
        "models": model_names,
        "stages": list_of(stages),
        "export_latest_versions": export_latest_versions,
        "export_all_runs": export_all_runs,
        "export_permissions": export_permissions,
        "run_start_time": ms_of(run_start_time),
        "runs_until": ms_of(runs_until),
        "export_deleted_runs": export_deleted_runs,
        "export_version_model": export_version_model,
        "notebook_formats": notebook_formats,
        "workers": workers,
        "registry_uri": None,
    }
    wanted = wanted_names(model_names)
    with exporting("export_models", output_dir, options, mlflow_client) as frm:
        return export_models_of(frm.tracking, frm.registry, frm.job, wanted, frm.directory, options, SCRIPT)


@command(
    "export-models", "tracking_uri", "registry_uri", "models", "output_dir", "stages", "export_latest_versions",
    "export_all_runs", "run_start_time", "runs_until", "export_deleted_runs", "export_version_model",
    "include_artifacts", "exclude_artifacts", "max_artifact_size", "export_permissions", "notebook_formats", "recheck",
    "require_admin", "engine", "engine_address",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    wanted = wanted_names(options["models"])

    def work(frm: Source) -> None:
        export_models_of(frm.tracking, frm.registry, frm.job, wanted, frm.directory, options, SCRIPT)

    return export_script("export-models", options, "runs", work)


if __name__ == "__main__":
    main()
