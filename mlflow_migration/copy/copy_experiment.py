"""Copies one experiment, also to another server; repeated, it takes only what is new or changed."""

from __future__ import annotations

from typing import Any, Mapping

from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.copy.pipeline import Pipeline, open_leg
from mlflow_migration.copy.two_sides import export_half, import_half, refuse_reference, run_copy, way_station
from mlflow_migration.experiment.experiment_exporter import find_experiment
from mlflow_migration.experiment.export_experiment import refuse_deleted
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
    refuse_deleted(experiment, options)
    with way_station(None if job.dry_run else options.get("temp_dir")) as directory:
        jobs = export_half(job), import_half(job)
        jobs[0].dry_run = False  # what would be done can only be told from what is there
        leg = open_leg((src, dst), jobs, options, id_map, experiment, name, directory)
        pipeline = Pipeline(src, jobs, options, directory, bool(options.get("temp_dir")), [leg])
        pipeline.copy()
        return pipeline.parts[0].runs


@command(
    "copy-experiment", "src_mlflow_uri", "dst_mlflow_uri", "experiment", "experiment_name", "run_ids",
    "check_nested_runs", "filter", "run_start_time", "runs_until", "changed_since", "export_deleted_runs",
    "export_deleted_experiments", "logged_models_filter", "artifacts", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "import_source_tags", "use_src_user_id", "copy_permissions", "principal_mapping_file",
    "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin", "temp_dir",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    refuse_reference(options)

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap) -> None:
        copy_one_experiment(job, src, dst, options["experiment"], options["experiment_name"], options, id_map)

    return run_copy("copy-experiment", options, "runs", work)


if __name__ == "__main__":
    main()
