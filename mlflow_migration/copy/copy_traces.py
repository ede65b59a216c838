"""Copies the traces of one experiment, also to another server; repeated, it takes only what is new or changed."""

from __future__ import annotations

from typing import Any, Mapping

from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.copy.two_sides import export_half, import_half, refuse_same, run_copy, way_station
from mlflow_migration.experiment.experiment_exporter import find_experiment
from mlflow_migration.experiment.export_experiment import refuse_deleted
from mlflow_migration.trace.trace_exporter import TraceExporter, TraceSettings, trace_place
from mlflow_migration.trace.trace_importer import TraceImporter, destination_ids
from mlflow_migration.trace.trace_pipe import copy_groups

SCRIPT = "copy_traces.py"


def copy_traces_of(
    job: Job, src: Tracking, dst: Tracking, id_or_name: str, name: str, options: Mapping[str, Any], id_map: IdMap
) -> None:
    """Copy the traces of an experiment, and record each.

    :param id_or_name: The source's experiment.
    :param name: Name of the destination's experiment.
    :param options: Those of the command.
    :raises BadInput: There is no such experiment, or the destination can't take it.
    """
    experiment = find_experiment(src, id_or_name)
    refuse_deleted(experiment, options)
    there = dst.experiment_by_name(name)
    refuse_same(src, dst, experiment["experiment_id"], (there or {}).get("experiment_id"))
    there = destination_experiment(dst, job, name, {})
    experiment_id = str((there or {}).get("experiment_id", ""))
    existed = there is not None and not there.get("created")
    reads, writes = export_half(job), import_half(job)
    reads.dry_run = False  # what would be done can only be told from what is there
    importer = TraceImporter(
        dst, writes, experiment_id, id_map, overwrite=options["on_destination_change"] == "overwrite"
    )
    if existed:
        importer.run_ids, importer.model_ids = destination_ids(dst, experiment_id)
    importer.load(existed)
    again = options.get("recheck") == "full"
    settings = TraceSettings(SCRIPT, again, known=(lambda trace_id: None) if again else importer.known)
    with way_station(None if job.dry_run else options.get("temp_dir")) as directory:
        place = trace_place(directory)
        exporter = TraceExporter(src, reads, experiment["experiment_id"], place, settings)
        runs = (run["info"]["run_id"] for page in src.search_runs([experiment["experiment_id"]]) for run in page)
        copy_groups(exporter.groups(runs), writes, lambda: importer, place, bool(options.get("temp_dir")))


@command(
    "copy-traces", "src_mlflow_uri", "dst_mlflow_uri", "experiment", "experiment_name", "export_deleted_experiments",
    "on_destination_change", "recheck", "require_admin", "temp_dir",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap) -> None:
        copy_traces_of(job, src, dst, options["experiment"], options["experiment_name"], options, id_map)

    return run_copy("copy-traces", options, "traces", work)


if __name__ == "__main__":
    main()
