"""Imports one trace from a directory into an experiment."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.client.traces import SOURCE_RUN, Traces
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.trace_files import TRACE_FILE, read_trace
from mlflow_migration.trace.trace_importer import TraceImporter, destination_ids


def import_one_trace(
    tracking: Tracking,
    job: Job,
    directory: ExportDir,
    experiment_name: str,
    id_map: IdMap,
    overwrite: bool,
    run_id: Optional[str] = None,
) -> Tuple[str, str]:
    """Import the trace of a directory, and record it.

    :param run_id: A run of the destination that takes the place of the one that the trace was made in.
    :return: Its source id, and the id of the destination's experiment, which is empty in a dry run that would make it.
    :raises BadInput: The directory holds no trace, or the experiment can't be written to.
    """
    if not directory.exists(TRACE_FILE):
        raise BadInput(f"{directory.path} holds no exported trace: there is no {TRACE_FILE}.")
    doc = read_trace(directory)
    src_id, source_run = doc["info"]["trace_id"], (doc["info"].get("trace_metadata") or {}).get(SOURCE_RUN)
    if run_id is not None and source_run is None:
        raise BadInput(f"The trace {src_id} was made in no run, so no other one can take its place.")
    experiment = destination_experiment(tracking, job, experiment_name, {})
    experiment_id = str((experiment or {}).get("experiment_id", ""))
    importer = TraceImporter(tracking, job, experiment_id, id_map, overwrite=overwrite)
    run_ids: Dict[str, str] = {}
    if experiment is not None and not experiment.get("created"):
        run_ids, importer.model_ids = destination_ids(tracking, experiment_id)
    importer.run_ids = {**run_ids, **({source_run: run_id} if source_run and run_id else {})}
    importer.load(existed=experiment is not None and not experiment.get("created"))
    importer.import_all([(src_id, directory)])
    return src_id, experiment_id


def import_trace(
    input_dir: str,
    experiment_name: str,
    run_id: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_destination_change: str = "keep",
) -> Any:
    """Import a trace.

    :param input_dir: Directory of the exported trace.
    :param experiment_name: Destination experiment; it is created if absent.
    :param run_id: A run of the destination that takes the place of the one that the trace was made in.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :return: Its root span as an MLflow entity; None if it has none, or if the installed MLflow has no such class.
    :raises MlflowExportImportException: It can't be imported.
    """
    from mlflow_migration.trace.entities import root_span, trace_entity

    options = {"on_destination_change": on_destination_change}
    about = {"experiment_name": experiment_name, "run_id": run_id}
    overwrite = on_destination_change == "overwrite"
    with importing("import_trace", input_dir, report_dir, options, mlflow_client, "traces", **about) as to:
        where = to.tracking, to.job, to.directory, experiment_name, to.id_map, overwrite
        src_id, experiment_id = import_one_trace(*where, run_id)
        entry = to.id_map.find("trace", experiment_id, src_id)
        if entry is None:
            raise MlflowExportImportException(
                f"The trace of {input_dir} could not be imported; see {to.job.ledger.path}"
            )
        traces = Traces(to.tracking)
        infos = traces.known([entry["dst_id"]])
        return root_span(trace_entity(traces, infos[0])) if infos else None


@command("import-trace", "tracking_uri", "input_dir", "experiment_name", "on_destination_change", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    overwrite = options["on_destination_change"] == "overwrite"

    def work(to: Destination) -> None:
        import_one_trace(to.tracking, to.job, to.directory, options["experiment_name"], to.id_map, overwrite)

    return import_script("import-trace", options, "traces", work)


if __name__ == "__main__":
    main()
