"""Imports the traces of several experiments from a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.destination import destination_experiment
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.trace_files import TRACES_FILE, read_traces
from mlflow_migration.trace.trace_importer import TraceImporter, destination_ids

Json = Dict[str, Any]


def import_traces_of(tracking: Tracking, job: Job, directory: ExportDir, id_map: IdMap, overwrite: bool) -> None:
    """Import the traces of a directory, each into the experiment of the same name, and record each.

    :raises BadInput: The directory holds no whole export of traces.
    """
    if not directory.exists(TRACES_FILE):
        raise BadInput(f"{directory.path} holds no whole export of traces: there is no {TRACES_FILE}.")
    listed = read_traces(directory)
    there = {trace_id for experiment in listed["experiments"] for trace_id in experiment["traces"]}
    for trace_id in listed["failed"]:
        if trace_id not in there:
            job.ledger.expect("trace", 1)
            job.lost("trace", trace_id, BadDirectory("its export failed: it is not in the directory"), "traces")
    by_name: Dict[str, List[str]] = {}
    for experiment in listed["experiments"]:
        if experiment["traces"]:
            by_name.setdefault(experiment["name"], []).extend(experiment["traces"])
    for name, ids in by_name.items():
        outcome = job.executor.gather(
            lambda item: _import(tracking, job, directory, id_map, overwrite, *item), [(name, ids)]
        )
        error = outcome[0].error
        if error is not None:
            job.failed("experiment", None, error, name=name)


def _import(
    tracking: Tracking, job: Job, directory: ExportDir, id_map: IdMap, overwrite: bool, name: str, ids: List[str]
) -> None:
    found: List[Tuple[str, ExportDir]] = [(trace_id, directory.sub(safe_name(trace_id))) for trace_id in ids]
    experiment = destination_experiment(tracking, job, name, {})
    experiment_id = str((experiment or {}).get("experiment_id", ""))
    existed = experiment is not None and not experiment.get("created")
    importer = TraceImporter(tracking, job, experiment_id, id_map, overwrite=overwrite)
    if existed:
        importer.run_ids, importer.model_ids = destination_ids(tracking, experiment_id)
    importer.load(existed)
    importer.import_all(found)


def import_traces(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> None:
    """Import traces into experiments of the same names.

    :param input_dir: Directory of the exported traces.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {"on_destination_change": on_destination_change, "workers": workers}
    overwrite = on_destination_change == "overwrite"
    with importing("import_traces", input_dir, report_dir, options, mlflow_client, "traces") as to:
        import_traces_of(to.tracking, to.job, to.directory, to.id_map, overwrite)


@command("import-traces", "tracking_uri", "input_dir", "on_destination_change", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    overwrite = options["on_destination_change"] == "overwrite"

    def work(to: Destination) -> None:
        import_traces_of(to.tracking, to.job, to.directory, to.id_map, overwrite)

    return import_script("import-traces", options, "traces", work)


if __name__ == "__main__":
    main()
