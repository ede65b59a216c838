"""Exports many experiments with their runs to a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from mlflow_migration.bulk.experiments_exporter import (
    EXPERIMENTS_FILE,
    Wanted,
    choose_experiments,
    export_experiments_of,
)
from mlflow_migration.client.servers import with_client
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import get_info
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.selection import wanted_names
from mlflow_migration.experiment.export_experiment import ms_of, selection_of

SCRIPT = "export_experiments.py"


def export_chosen(tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any]) -> None:
    """Export the experiments that the options of a command name, and record each object."""
    chosen = choose_experiments(tracking, job, wanted_names(options["experiments"]), options)
    selection = selection_of(options)
    wanted = [Wanted(experiment, selection) for experiment in chosen]
    export_experiments_of(tracking, job, wanted, directory, options, SCRIPT)


def export_experiments(
    experiments: Union[str, Sequence[str]],
    output_dir: str,
    export_permissions: bool = False,
    run_start_time: Union[None, int, str] = None,
    runs_until: Union[None, int, str] = None,
    export_deleted_runs: bool = False,
    notebook_formats: Optional[List[str]] = None,
    use_threads: bool = False,
    logged_models_filter: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    export_deleted_experiments: bool = False,
    workers: int = 8,
) -> Dict[str, Any]:
    """Export experiments with their runs and logged models.

    :param experiments: Names or ids, as a list or a comma separated text, also ``all``, beginnings with a ``*``, or a
        ``.txt`` file with one in each line.
    :param output_dir: Directory to export to.
    :param export_permissions: Take the permissions too, of a Databricks workspace.
    :param run_start_time: Only runs started at or after; UTC text, or ms since epoch.
    :param runs_until: Only runs started before; likewise.
    :param export_deleted_runs: Take deleted runs too.
    :param notebook_formats: Formats in which the runs' notebooks are taken, of a Databricks workspace.
    :param use_threads: For callers of today's tools.
    :param logged_models_filter: MLflow's filter string for logged models; empty means all.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param export_deleted_experiments: Take deleted experiments too.
    :param workers: The most requests in flight.
    :return: ``experiment_names``, ``options`` and ``status``, as ``info`` of experiments.json has them.
    :raises MlflowExportImportException: The export can't start.
    """
    logged_models_filter, mlflow_client = with_client(logged_models_filter, mlflow_client, None)
    options = {
        "experiments": experiments,
        "export_permissions": export_permissions,
        "run_start_time": ms_of(run_start_time),
        "runs_until": ms_of(runs_until),
        "export_deleted_runs": export_deleted_runs,
        "export_deleted_experiments": export_deleted_experiments,
        "notebook_formats": notebook_formats,
        "logged_models_filter": logged_models_filter,
        "workers": workers,
    }
    with exporting("export_experiments", output_dir, options, mlflow_client) as frm:
        export_chosen(frm.tracking, frm.job, frm.directory, options)
    return get_info(frm.directory.read_json(EXPERIMENTS_FILE))


@command(
    "export-experiments", "tracking_uri", "experiments", "output_dir", "filter", "run_start_time", "runs_until",
    "changed_since", "export_deleted_runs", "export_deleted_experiments", "logged_models_filter", "include_artifacts",
    "exclude_artifacts", "max_artifact_size", "export_permissions", "notebook_formats", "recheck", "require_admin",
    "engine", "engine_address",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    wanted_names(options["experiments"])

    def work(frm: Source) -> None:
        export_chosen(frm.tracking, frm.job, frm.directory, options)

    return export_script("export-experiments", options, "runs", work)


if __name__ == "__main__":
    main()
