"""Copies one experiment, also to another server; repeated, it takes only what is new or changed."""

from __future__ import annotations

from typing import Any, Mapping

from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.copy.two_sides import export_half, import_half, refuse_same, run_copy, way_station
from mlflow_migration.experiment.experiment_exporter import ExperimentExporter, find_experiment
from mlflow_migration.experiment.experiment_importer import ExperimentImporter
from mlflow_migration.experiment.export_experiment import SCRIPT, refuse_deleted, selection_of
from mlflow_migration.run.export_run import settings_of as export_settings
from mlflow_migration.run.import_run import settings_of as import_settings
from mlflow_migration.run.run_importer import RunImporter


def copy_one_experiment(
    job: Job, src: Tracking, dst: Tracking, id_or_name: str, name: str, options: Mapping[str, Any], id_map: IdMap
) -> RunImporter:
    """Copy an experiment with its runs and logged models.

    :param id_or_name: The source's experiment.
    :param name: Name of the destination's experiment.
    :param options: Those of the command.
    :raises BadInput: There is no such experiment, or the destination can't take it.
    """
    experiment = find_experiment(src, id_or_name)
    deleted = refuse_deleted(experiment, options)
    there = dst.experiment_by_name(name)
    refuse_same(src, dst, experiment["experiment_id"], (there or {}).get("experiment_id"))
    importer = ExperimentImporter(dst, import_half(job), import_settings(options), id_map, name)
    importer.prepare()
    settings = export_settings({**options, "export_deleted_runs": deleted or options.get("export_deleted_runs")})
    with way_station(None if job.dry_run else options.get("temp_dir")) as directory:
        half = export_half(job)
        half.dry_run = False  # what would be done can only be told from what is there
        exporter = ExperimentExporter(src, half, settings, selection_of(options), SCRIPT)
        known = (lambda object_id: None) if options.get("recheck") == "full" else importer.known
        exported = exporter.export(experiment, directory, known)
        return importer.import_experiment(directory, exported.whole, exported.exported_models)


@command(
    "copy-experiment", "src_mlflow_uri", "dst_mlflow_uri", "experiment", "experiment_name", "run_ids",
    "check_nested_runs", "filter", "run_start_time", "runs_until", "changed_since", "export_deleted_runs",
    "export_deleted_experiments", "logged_models_filter", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "import_source_tags", "use_src_user_id", "mlmodel_fix", "on_refused",
    "on_destination_change", "recheck", "require_admin", "temp_dir",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap) -> None:
        copy_one_experiment(job, src, dst, options["experiment"], options["experiment_name"], options, id_map)

    return run_copy("copy-experiment", options, "runs", work)


if __name__ == "__main__":
    main()
