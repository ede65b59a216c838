"""Exports the traces of several experiments to one directory."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from mlflow_migration.bulk.export_logged_models import chosen_experiments
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.traces import SOURCE_RUN
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.trace_files import TRACE_FILE, TRACES_FILE, read_traces
from mlflow_migration.trace.trace_exporter import TraceExporter, TraceSettings, write_list

Json = Dict[str, Any]

SCRIPT = "export_traces.py"
_OTHERWISE = "export-experiment --export-deleted-experiments takes it with its traces"


def export_traces_of(
    tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any], run_id: Optional[str] = None
) -> Tuple[List[str], List[str]]:
    """Export the traces of experiments, and record each object.

    :param options: Those of the command.
    :param run_id: Only the traces that were made in this run, or are linked to it.
    :return: Ids of the traces that are whole, and of those that failed.
    :raises BadInput: There is no such experiment, or the directory holds traces of another server.
    """
    chosen, deleted = chosen_experiments(tracking, options["experiment_ids"], _OTHERWISE)
    old = _old_list(directory, chosen)
    for experiment in deleted:
        job.ledger.record(
            "experiment", "skipped", experiment["experiment_id"], name=experiment["name"],
            reason=f"deleted; {_OTHERWISE}",
        )  # fmt: skip
    if not job.dry_run:
        directory.make()
    done: List[str] = []
    failed: List[str] = []
    listed = {entry["id"]: entry for entry in old}
    settings = TraceSettings(SCRIPT, recheck=options.get("recheck") == "full")
    for experiment in chosen:
        exporter = TraceExporter(
            tracking, job, experiment["experiment_id"], lambda i: directory.sub(safe_name(i)), settings,
            lambda info, run_ids: _refusal(info, run_ids, run_id),
        )  # fmt: skip
        ids = [i for group in exporter.groups(_run_ids(tracking, experiment, run_id)) for i in group]
        done += ids
        failed += exporter.failed
        listed[experiment["experiment_id"]] = _entry(
            experiment, ids, listed.get(experiment["experiment_id"]), directory
        )
    if not job.dry_run:
        write_list(directory, SCRIPT, tracking.uri, list(listed.values()), failed)
    return done, failed


def _refusal(info: Json, run_ids: Sequence[str], run_id: Optional[str]) -> Optional[str]:
    if run_id is None or run_id in run_ids or (info.get("trace_metadata") or {}).get(SOURCE_RUN) == run_id:
        return None
    return f"it belongs to another run than {run_id}"


def _run_ids(tracking: Tracking, experiment: Json, run_id: Optional[str]) -> Sequence[str]:
    """Return the runs whose links to traces are read."""
    if run_id is not None:
        return [run_id]
    pages = tracking.search_runs([experiment["experiment_id"]])
    return [run["info"]["run_id"] for page in pages for run in page]


def _old_list(directory: ExportDir, chosen: Sequence[Json]) -> List[Json]:
    """Return the experiments of earlier exports into the directory.

    :raises BadInput: They are of another server.
    """
    try:
        old: List[Json] = read_traces(directory)["experiments"] if directory.exists(TRACES_FILE) else []
    except BadDirectory:
        return []  # a broken one, which is written anew
    times = {experiment["experiment_id"]: experiment.get("creation_time") for experiment in chosen}
    for experiment in old:
        then, now = experiment["creation_time"], times.get(experiment["id"])
        if then and now and int(now) != int(then):  # a number alone may be the same on another server
            raise BadInput(f"{directory.path} holds traces of another server's experiment {experiment['id']}.")
    return old


def _entry(experiment: Json, ids: Sequence[str], old: Optional[Json], directory: ExportDir) -> Json:
    """Return what traces.json lists: what is in the directory now, or since an earlier export."""
    there = set(ids)
    kept = [i for i in (old or {}).get("traces", ()) if i not in there]
    kept = [trace_id for trace_id in kept if directory.sub(safe_name(trace_id)).exists(TRACE_FILE)]
    return {
        "id": experiment["experiment_id"],
        "name": experiment["name"],
        "creation_time": experiment.get("creation_time"),
        "traces": sorted([*ids, *kept]),
    }


def export_traces(
    experiment_ids: Union[str, Sequence[str]],
    output_dir: str,
    run_id: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Tuple[List[str], List[str]]:
    """Export the traces of experiments.

    :param experiment_ids: Ids of the experiments, as a list or a comma separated text; ``all`` means every active one.
    :param output_dir: Directory to export to.
    :param run_id: Only the traces that were made in this run, or are linked to it.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: Ids of the traces that are whole in the directory, and of those that failed.
    :raises MlflowExportImportException: The export can't start.
    """
    ids = experiment_ids.split(",") if isinstance(experiment_ids, str) else experiment_ids
    options = {"experiment_ids": [str(experiment_id).strip() for experiment_id in ids], "workers": workers}
    with exporting("export_traces", output_dir, options, mlflow_client, "traces") as frm:
        return export_traces_of(frm.tracking, frm.job, frm.directory, options, run_id)


@command("export-traces", "tracking_uri", "experiment_ids", "output_dir", "recheck", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_traces_of(frm.tracking, frm.job, frm.directory, options)

    return export_script("export-traces", options, "traces", work)


if __name__ == "__main__":
    main()
