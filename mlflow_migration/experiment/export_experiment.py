"""Exports one experiment to a directory."""

from __future__ import annotations

from typing import AbstractSet, Any, Collection, List, Mapping, Optional, Tuple, Union

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.servers import with_client
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.options import parse_time
from mlflow_migration.experiment.experiment_exporter import ExperimentExporter, find_experiment
from mlflow_migration.experiment.run_listing import Selection
from mlflow_migration.run.export_run import settings_of
from mlflow_migration.run.run_exporter import RunExporter

_log = log.getLogger(__name__)

SCRIPT = "export_experiment.py"


def selection_of(options: Mapping[str, Any]) -> Selection:
    """Return which runs the options of a command select."""
    if options.get("check_nested_runs") and not options.get("run_ids"):
        _log.warning("--check-nested-runs has no effect without --run-ids.")
    return Selection(
        run_ids=tuple(options.get("run_ids") or ()),
        nested=bool(options.get("check_nested_runs")),
        where=options.get("filter") or "",
        start_from=options.get("run_start_time"),
        start_until=options.get("runs_until"),
        changed_since=options.get("changed_since"),
    )


def refuse_deleted(experiment: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Tell whether an experiment is deleted.

    :raises BadInput: It is, and it is not asked for.
    """
    deleted = bool(experiment.get("lifecycle_stage") == "deleted")
    if deleted and not options.get("export_deleted_experiments"):
        raise BadInput(f"The experiment '{experiment['name']}' is deleted; --export-deleted-experiments takes it.")
    return deleted


def export_one_experiment(
    tracking: Tracking, job: Job, id_or_name: str, directory: ExportDir, options: Mapping[str, Any]
) -> RunExporter:
    """Export an experiment by name or id.

    :param options: Those of the command.
    :raises BadInput: There is no such experiment, or it is deleted and not asked for.
    """
    experiment = find_experiment(tracking, id_or_name)
    refuse_deleted(experiment, options)
    return export_found(tracking, job, experiment, directory, options, selection_of(options)).runs


def export_found(
    tracking: Tracking,
    job: Job,
    experiment: Mapping[str, Any],
    directory: ExportDir,
    options: Mapping[str, Any],
    selection: Selection,
    linked: Collection[str] = (),
    elsewhere: AbstractSet[str] = frozenset(),
    fresh: AbstractSet[str] = frozenset(),
) -> ExperimentExporter:
    """Export an experiment, and record it; return what has exported it.

    :param experiment: As REST returns it.
    :param options: Those of the command.
    :param selection: Which runs are taken.
    :param linked: Ids of logged models that are wanted, whatever their runs.
    :param elsewhere: Ids of experiments that are exported at the same time.
    :param fresh: Ids of runs that workers of a cluster have exported just now.
    """
    deleted = experiment.get("lifecycle_stage") == "deleted"
    # all runs of a deleted experiment count as deleted
    settings = settings_of({**options, "export_deleted_runs": deleted or options.get("export_deleted_runs")})
    exporter = ExperimentExporter(
        tracking, job, settings, selection, SCRIPT, dict(experiment), directory, linked=linked, elsewhere=elsewhere
    )
    exporter.runs.fresh = fresh
    exporter.export()
    failed = len(exporter.runs.failed)
    job.ledger.record(
        "experiment", "incomplete" if failed else "copied", experiment["experiment_id"], name=experiment["name"],
        reason=f"{failed} of its runs could not be exported" if failed else None,
    )  # fmt: skip
    return exporter


def ms_of(value: Union[None, int, str]) -> Optional[int]:
    """Return a time that a function is given, as UTC text or ms since epoch, in ms since epoch."""
    return parse_time(value) if isinstance(value, str) and value else value or None


def export_experiment(
    experiment_id_or_name: str,
    output_dir: str,
    run_ids: Union[None, str, List[str]] = None,
    export_permissions: bool = False,
    run_start_time: Union[None, int, str] = None,
    export_deleted_runs: bool = False,
    check_nested_runs: bool = False,
    notebook_formats: Optional[List[str]] = None,
    runs_until: Union[None, int, str] = None,
    logged_models_filter: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    filter: Optional[str] = None,
    changed_since: Union[None, int, str] = None,
    export_deleted_experiments: bool = False,
    workers: int = 8,
) -> Tuple[int, int]:
    """Export an experiment with its runs and logged models.

    :param experiment_id_or_name: Name or id; a name is tried first.
    :param output_dir: Directory to export to.
    :param run_ids: Only these runs; a list, or a comma separated text.
    :param export_permissions: Take the permissions too, of a Databricks workspace.
    :param run_start_time: Only runs started at or after; UTC text, or ms since epoch.
    :param export_deleted_runs: Take deleted runs too.
    :param check_nested_runs: With ``run_ids``: take their descendants too.
    :param notebook_formats: Formats in which the runs' notebooks are taken, of a Databricks workspace.
    :param runs_until: Only runs started before; as ``run_start_time``.
    :param logged_models_filter: MLflow's filter string for logged models; empty means all.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param filter: MLflow's filter string for runs.
    :param changed_since: Only runs started or ended at or after, or still running.
    :param export_deleted_experiments: Export it even if it is deleted.
    :param workers: The most requests in flight.
    :return: Number of runs that are whole in the directory, and of those that failed.
    :raises MlflowExportImportException: The export can't start.
    """
    runs_until, mlflow_client = with_client(runs_until, mlflow_client, None)
    options = {
        "run_ids": run_ids.split(",") if isinstance(run_ids, str) else run_ids,
        "export_permissions": export_permissions,
        "run_start_time": ms_of(run_start_time),
        "runs_until": ms_of(runs_until),
        "changed_since": ms_of(changed_since),
        "export_deleted_runs": export_deleted_runs,
        "export_deleted_experiments": export_deleted_experiments,
        "check_nested_runs": check_nested_runs,
        "notebook_formats": notebook_formats,
        "logged_models_filter": logged_models_filter,
        "filter": filter,
        "workers": workers,
    }
    about = {"experiment": experiment_id_or_name}
    with exporting("export_experiment", output_dir, options, mlflow_client, **about) as frm:
        runs = export_one_experiment(frm.tracking, frm.job, experiment_id_or_name, frm.directory, options)
    return len(runs.whole), len(runs.failed)


@command(
    "export-experiment", "tracking_uri", "experiment", "output_dir", "run_ids", "check_nested_runs", "filter",
    "run_start_time", "runs_until", "changed_since", "export_deleted_runs", "export_deleted_experiments",
    "logged_models_filter", "include_artifacts", "exclude_artifacts", "max_artifact_size", "export_permissions",
    "notebook_formats", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_one_experiment(frm.tracking, frm.job, options["experiment"], frm.directory, options)

    return export_script("export-experiment", options, "runs", work)


if __name__ == "__main__":
    main()
