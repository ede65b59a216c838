"""Exports one trace to a directory."""

from __future__ import annotations

from typing import Any, Mapping

from mlflow_migration.client.errors import (
    BadDirectory,
    BadInput,
    MlflowExportImportException,
    NotFound,
    describe,
)
from mlflow_migration.client.traces import Traces
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.trace_files import read_trace
from mlflow_migration.trace.trace_exporter import TraceExporter, TraceSettings, export_one_trace

SCRIPT = "export_trace.py"

_log = log.getLogger(__name__)


def export_listed_trace(
    tracking: Tracking, job: Job, trace_id: str, directory: ExportDir, options: Mapping[str, Any]
) -> TraceExporter:
    """Export a trace, and record it.

    :param options: Those of the command.
    :raises BadInput: The server has no such trace, or the directory holds another one.
    """
    try:
        there = read_trace(directory)["info"]["trace_id"]
    except BadDirectory:
        there = trace_id  # none, or a broken one, which is written anew
    if there != trace_id:
        raise BadInput(f"{directory.path} holds the export of another trace, {there}.")
    settings = TraceSettings(SCRIPT, recheck=options.get("recheck") == "full")
    try:
        return export_one_trace(tracking, job, trace_id, directory, settings)
    except NotFound as ex:
        raise BadInput(describe(ex)) from ex


def export_trace(request_id: str, output_dir: str, mlflow_client: Any = None) -> Any:
    """Export a trace.

    :param request_id: Its id.
    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :return: The trace as an MLflow entity; None if it failed, or if the installed MLflow has no such class.
    """
    from mlflow_migration.trace.entities import trace_entity

    try:
        with exporting("export_trace", output_dir, {}, mlflow_client, "traces", request_id=request_id) as frm:
            exporter = export_listed_trace(frm.tracking, frm.job, request_id, frm.directory, {})
            if exporter.failed:
                raise MlflowExportImportException(f"it could not be exported; see {frm.job.ledger.path}")
            return trace_entity(Traces(frm.tracking), read_trace(frm.directory)["info"])
    except MlflowExportImportException as ex:
        _log.error("Trace %s was not exported: %s", request_id, describe(ex))
        return None


@command("export-trace", "tracking_uri", "request_id", "output_dir", "recheck", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_listed_trace(frm.tracking, frm.job, options["request_id"], frm.directory, options)

    return export_script("export-trace", options, "traces", work)


if __name__ == "__main__":
    main()
