"""Exports one experiment: its runs in order of their start, then the logged models, then experiment.json."""

from __future__ import annotations

from typing import AbstractSet, Any, Callable, Collection, Dict, Iterator, List, Optional

from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, Refused
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.artifact_stores import note_absent
from mlflow_migration.common.databricks_tags import TRACE_TABLES
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_experiment
from mlflow_migration.common.old_layouts import is_id
from mlflow_migration.common.permissions import experiment as experiment_permissions
from mlflow_migration.common.permissions import export_permissions, read_permissions
from mlflow_migration.common.timestamp_utils import fmt_ts_millis
from mlflow_migration.common.trace_files import TRACE_FILE, TRACES, TRACES_FILE, read_traces
from mlflow_migration.experiment.run_listing import RunListing, Selection
from mlflow_migration.experiment.trace_choice import TraceChoice
from mlflow_migration.logged_model.logged_model_exporter import LOGGED_MODELS, ExperimentModels
from mlflow_migration.run.run_exporter import ExportSettings, RunExporter
from mlflow_migration.run.run_file import RUN_FILE
from mlflow_migration.trace.trace_exporter import TraceExporter, TraceSettings, trace_place, write_list

Json = Dict[str, Any]

EXPERIMENT_FILE = "experiment.json"
Group = Dict[str, Optional[AbstractSet[str]]]
GROUP = 100  # runs that are read together: what one bulk history request takes


def find_experiment(tracking: Tracking, id_or_name: str) -> Json:
    """Return an experiment by name or, if there is none, by id.

    :raises BadInput: There is neither.
    """
    found = tracking.experiment_by_name(id_or_name)
    if found is None:
        try:
            found = tracking.experiment(id_or_name)
        except Refused as ex:
            if ex.http_status_code not in (400, 404):  # 400: an id is a number
                raise
            raise BadInput(f"{tracking.uri} has no experiment with the name or id '{id_or_name}'.") from ex
    return found


def refuse_other(experiment: Json, directory: ExportDir) -> None:
    """Refuse a directory with another experiment: the runs of both could not be told apart in it.

    :raises BadInput: It holds another one.
    """
    try:
        there = read_experiment(directory)["experiment"]
    except BadDirectory:
        return  # none, or a broken one, which is written anew
    # a number alone may be the same on another server
    for field in ("experiment_id", "creation_time"):
        old, new = there.get(field), experiment.get(field)
        if old and new and str(old) != str(new):
            raise BadInput(f"{directory.path} holds the export of another experiment, '{there.get('name')}'.")


def _holds_run(directory: ExportDir, name: str) -> bool:
    try:
        return is_id(name) and directory.sub(name).exists(RUN_FILE)
    except BadDirectory:  # a link in the place of the file
        return False


class ExperimentExporter:
    """Exports one experiment of a server into a directory.

    :param tracking: The source.
    :param job: Ledger, threads, progress.
    :param settings: How runs are exported.
    :param selection: Which runs are taken.
    :param script: Name of the command, for the files.
    :param experiment: As REST returns it.
    :param directory: Where to.
    :param known: Gives the fingerprint of what a former copy took, by source id.
    :param known_trace: The same for traces.
    :param linked: Ids of logged models that are wanted, whatever their runs.
    :param elsewhere: Ids of experiments that are exported at the same time.
    :raises BadInput: The directory holds another experiment, or the server refuses the filter of logged models.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        settings: ExportSettings,
        selection: Selection,
        script: str,
        experiment: Json,
        directory: ExportDir,
        known: Callable[[str], Optional[str]] = lambda object_id: None,
        *,
        known_trace: Callable[[str], Optional[str]] = lambda trace_id: None,
        linked: Collection[str] = (),
        elsewhere: AbstractSet[str] = frozenset(),
    ) -> None:
        refuse_other(experiment, directory)
        self._tracking, self._job, self._selection, self._script = tracking, job, selection, script
        self._settings = settings
        self._experiment, self._directory = experiment, directory
        self._linked, self._elsewhere = linked, elsewhere
        experiment_id = experiment["experiment_id"]
        self.models = ExperimentModels(tracking, job, experiment_id, directory, settings.for_models(script, known))
        """Exports the logged models."""
        self.runs = RunExporter(tracking, job, settings, script, lambda i: directory.sub(safe_name(i)), known)
        """Exports the runs; it has the ids of those that are whole and those that failed."""
        self._listing = RunListing(tracking, experiment_id, selection, self._left_out)
        self.traces = TraceExporter(
            tracking, job, experiment_id, trace_place(directory),
            TraceSettings(script, settings.recheck, settings.skip_artifacts or settings.artifacts.skip, known_trace),
            TraceChoice(selection, self._listing, self.runs).refuses,
        )  # fmt: skip
        """Exports the traces, once the runs are."""
        self.permissions: Optional[Json] = None
        """The experiment's permissions once it is written, if they are asked for and can be read."""
        self._trace_ids: List[str] = []

    def export(self) -> None:
        """Export the experiment."""
        for _ in self.groups():
            pass
        for ids in self.trace_groups():
            self._trace_ids += ids
        self.finish()

    def trace_groups(self) -> Iterator[List[str]]:
        """Export the traces, now that :meth:`groups` has ended; see :meth:`TraceExporter.groups`."""
        tables = tag_dict(self._experiment.get("tags")).get(TRACE_TABLES)
        if tables and self._tracking.is_databricks:
            self._job.ledger.expect("trace", 1)
            reason = "they are in tables of Unity Catalog, which only a SQL warehouse reads"
            self._job.lost("trace", f"those in {tables}", MlflowExportImportException(reason), "traces")
        return self.traces.groups(list(self.runs.whole))

    def groups(self) -> Iterator[Group]:
        """Export the runs, and yield those that are whole, a group at a time. :meth:`finish` does the rest.

        :return: Ids of the logged models that a run has as inputs or outputs, by its id; None if it was not written.
        :raises BadInput: The server refuses the filter of runs.
        """
        if not self._job.dry_run:
            self._directory.make()
        for outcome in self._job.executor.imap(self._group, self._announced(), window=2):
            yield outcome.get()

    def _group(self, runs: List[Json]) -> Group:
        self.runs.export(runs)
        links = {run["info"]["run_id"]: self.runs.links.pop(run["info"]["run_id"], None) for run in runs}
        return {run_id: found for run_id, found in links.items() if run_id in self.runs.whole}

    def finish(self) -> None:
        """Export the logged models that were not exported with runs, and write experiment.json."""
        for run_id in self._listing.not_found:
            self.runs.failed.append(run_id)
            self._job.ledger.expect("run", 1)
            self._job.ledger.record("run", "failed", run_id, reason="the experiment has no such run")
        linked = self.runs.models.union(self._linked)
        self.models.export_rest(self.runs.whole, linked, self._selection.everything, self._elsewhere)
        note_absent(self._tracking, self._job.ledger)
        if not self._job.dry_run:
            self._write()

    def _left_out(self, run_id: str, option: str) -> None:
        self._job.ledger.expect("run", 1)
        self._job.ledger.record("run", "skipped", run_id, reason=option)

    def _announced(self) -> Iterator[List[Json]]:
        for group in self._listing.groups(GROUP):
            self._job.ledger.expect("run", len(group))
            self._job.progress.add_total(len(group))
            yield group

    def _write(self) -> None:
        doc, runs = dict(self._experiment), self.runs
        doc["tags"] = dict(sorted(tag_dict(doc.get("tags")).items()))
        for name in ("creation_time", "last_update_time"):
            if doc.get(name):
                doc["_" + name] = fmt_ts_millis(int(doc[name]))
        names = self._directory.names()
        earlier = [name for name in names if name not in runs.whole and name not in (LOGGED_MODELS, TRACES)]
        # runs of earlier exports stay: this time they were not asked for, or the source has lost them since
        kept = [name for name in earlier if _holds_run(self._directory, name)]
        ids = kept + [run_id for run_id in self._listing.order if run_id in runs.whole]
        info: Json = {
            "num_total_runs": len(ids) + len(runs.failed),
            "num_ok_runs": len(ids),
            "num_failed_runs": len(runs.failed),
            "failed_runs": runs.failed,
        }
        if self.models.left_out:
            info["skipped_logged_models"] = sorted(self.models.left_out)
        body = {"experiment": doc, "runs": ids, "logged_models": sorted(self.models.ids)}
        body["traces"] = self._list_traces()
        self.permissions = self._read_permissions() if self._settings.permissions else None
        if self.permissions is not None:
            body["permissions"] = self.permissions
        text = envelope(self._script, body, info, tracking_uri=self._tracking.uri)
        self._directory.write_json(EXPERIMENT_FILE, text)

    def _read_permissions(self) -> Optional[Json]:
        rest, experiment_id = self._tracking.rest, str(self._experiment["experiment_id"])
        if not self._tracking.is_databricks:
            return None
        what = experiment_permissions(experiment_id)
        return export_permissions(self._job, f"experiment/{experiment_id}", lambda: read_permissions(rest, what))

    def _list_traces(self) -> List[str]:
        """Write the list of the traces that are here, also of those that earlier exports have left; return it."""
        place, experiment = self._directory.sub(TRACES), self._experiment
        ids = {safe_name(trace_id): trace_id for trace_id in self._trace_ids}
        if place.exists(TRACES_FILE):
            for trace_id in (i for found in read_traces(place)["experiments"] for i in found["traces"]):
                if place.sub(safe_name(trace_id)).exists(TRACE_FILE):
                    ids.setdefault(safe_name(trace_id), trace_id)
        found = sorted(ids.values())
        if found or self.traces.failed:
            entry = {"id": experiment["experiment_id"], "name": experiment["name"], "traces": found}
            write_list(place, self._script, self._tracking.uri, [entry], self.traces.failed)
        return found
