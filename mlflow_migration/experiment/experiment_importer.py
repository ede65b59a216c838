"""Imports one experiment: the experiment itself, its runs, what links them, and at last whether it is deleted."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mlflow_migration.client.errors import BadInput, Refused, describe
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.old_layouts import canonical_experiment, logged_model_dirs, run_dirs
from mlflow_migration.common.source_tags import mk_source_tags_mlflow_tag, set_source_tags_for_field
from mlflow_migration.common.three_way import State, plan, settled, short, words
from mlflow_migration.experiment.experiment_exporter import EXPERIMENT_FILE
from mlflow_migration.run.import_run import model_importer
from mlflow_migration.run.run_importer import ImportSettings, RunImporter

Json = Dict[str, Any]


class ExperimentImporter:
    """Imports one experiment into a destination experiment.

    :param tracking: The destination.
    :param job: Ledger, threads, progress.
    :param settings: How runs are imported.
    :param id_map: What earlier imports did.
    :param name: Name of the destination's experiment.
    """

    def __init__(self, tracking: Tracking, job: Job, settings: ImportSettings, id_map: IdMap, name: str) -> None:
        self._tracking, self._job, self._settings, self._id_map = tracking, job, settings, id_map
        self._name = name
        self._lock = threading.Lock()
        self._refused: Dict[str, str] = {}
        self._there = tracking.experiment_by_name(name)
        self._existed = self._there is not None
        self._active = self._there is None or self._there.get("lifecycle_stage") != "deleted"
        self.runs: Optional[RunImporter] = None

    def prepare(self) -> None:
        """Read what the destination has. To be called before :meth:`import_experiment`."""
        experiment_id = str((self._there or {}).get("experiment_id", ""))
        self._models = model_importer(self._tracking, self._job, experiment_id, self._id_map, self._settings)
        self.runs = RunImporter(
            self._tracking, self._job, self._settings, experiment_id, self._id_map, self._models, self._wake
        )
        if self._existed:
            self.runs.load()

    def import_experiment(self, directory: ExportDir, unchanged: Sequence[str] = ()) -> RunImporter:
        """Import the experiment of a directory, and record each object.

        :param directory: Where it was exported to.
        :param unchanged: Source ids of runs that are not in the directory, as they have not changed since last time.
        :return: The importer of its runs, with their ids.
        :raises BadInput: The directory holds no whole experiment, or the destination's is deleted.
        """
        if not directory.exists(EXPERIMENT_FILE):
            raise BadInput(f"{directory.path} holds no whole export of an experiment: there is no {EXPERIMENT_FILE}.")
        doc = canonical_experiment(directory.read_json(EXPERIMENT_FILE))
        source = doc["experiment"]
        deleted = source.get("lifecycle_stage") == "deleted"
        if not (self._active or deleted or self._settings.overwrite):
            raise BadInput(
                f"The destination's experiment '{self._name}' is deleted; restore it, name another one, or give"
                " --on-destination-change overwrite."
            )
        wanted = self._wanted_tags(source)
        if not self._existed and not self._job.dry_run:
            self._create(wanted)
        if self.runs is None or not self._existed:
            self.prepare()
        assert self.runs is not None
        self._import_runs(self.runs, directory, unchanged)
        status, reason, base = self._bring_up_to_date(wanted)
        self._set_lifecycle(deleted, self.runs)
        self._record(source, status, reason, base)
        return self.runs

    # -- the experiment itself ----------------------------------------------------------------------------------

    def _wanted_tags(self, source: Json) -> Dict[str, str]:
        tags = dict(source.get("tags") or {})
        if self._settings.source_tags:
            extra: Dict[str, str] = {}
            set_source_tags_for_field({k: v for k, v in source.items() if k != "tags"}, extra)
            extra.update(mk_source_tags_mlflow_tag(tags))
            tags.update(extra)
        return tags

    def _create(self, tags: Mapping[str, str]) -> None:
        try:
            experiment_id = self._tracking.create_experiment(self._name, tags)
        except Refused as ex:
            if ex.http_status_code != 400 or not tags:
                raise
            # one of the tags is refused: the experiment first, then its tags one by one
            experiment_id = self._tracking.create_experiment(self._name, {})
            for key, value in tags.items():
                self._set_tag(experiment_id, key, value)
        self._there = {**self._tracking.experiment(experiment_id), "created": True}

    def _set_tag(self, experiment_id: str, key: str, value: str) -> None:
        try:
            self._tracking.set_experiment_tag(experiment_id, key, value)
        except Refused as ex:
            self._refused["tag:" + key] = f"tag {key}: {describe(ex)}"
            self._job.ledger.record("value", "skipped", f"experiment/tag/{key}", reason=describe(ex), value=value)

    def _wake(self) -> None:
        """Make a deleted experiment active for the time of writing; :meth:`_set_lifecycle` puts it back."""
        with self._lock:
            if not self._active and self._there is not None:
                self._tracking.restore_experiment(self._there["experiment_id"])
                self._active = True

    def _bring_up_to_date(self, tags: Mapping[str, str]) -> Tuple[str, Optional[str], Optional[State]]:
        """Return status, reason and the base for the next time."""
        wanted = {"tag:" + key: short(value) for key, value in tags.items()}
        if self._there is None:
            return "copied", None, None
        if self._there.get("created"):
            base = {name: value for name, value in wanted.items() if name not in self._refused}
            return ("incomplete" if self._refused else "copied"), "; ".join(self._refused.values()) or None, base
        there = {"tag:" + key: short(value) for key, value in tag_dict(self._there.get("tags")).items()}
        entry = self._id_map.find("experiment", self._there["experiment_id"], self._name)
        if entry is None and not self._settings.overwrite:
            # an experiment that was there before is somebody's own: its tags are left alone
            different = sorted(name for name, value in wanted.items() if there.get(name) != value)
            reason = f"it was there before, so its tags are left alone: {words(different)}" if different else None
            return ("differs" if different else "unchanged"), reason, None
        todo = plan(wanted, there, entry["base"] if entry else None, self._settings.overwrite, unfinished=False)
        todo.differs = [name for name in todo.differs if name in wanted or entry is not None]
        if not self._job.dry_run:
            for name in todo.write:
                self._wake()
                self._set_tag(self._there["experiment_id"], name[len("tag:") :], tags[name[len("tag:") :]])
        base = settled(wanted, entry["base"] if entry else None, todo, list(self._refused))
        # REST can't remove a tag of an experiment
        left = todo.drop + todo.differs
        reason = "; ".join([*self._refused.values()] + ([f"left alone: {words(left)}"] if left else []))
        status = "incomplete" if self._refused else "updated" if todo.write else "differs" if left else "unchanged"
        return status, reason or None, base

    def _set_lifecycle(self, deleted: bool, runs: RunImporter) -> None:
        if not deleted or not self._active or self._job.dry_run or self._there is None:
            return
        self._tracking.delete_experiment(self._there["experiment_id"])
        # that has deleted all runs; those that are active in the source's deleted experiment come back
        for src_id in runs.active:
            self._tracking.restore_run(runs.ids[src_id])

    def _record(self, source: Json, status: str, reason: Optional[str], base: Optional[State]) -> None:
        src_id = str(source.get("experiment_id") or "")
        dst_id = str((self._there or {}).get("experiment_id") or "")
        if base is not None and not self._job.dry_run:
            self._id_map.record("experiment", dst_id, self._name, dst_id, base=base, source=src_id)
        self._job.ledger.record(
            "experiment", status, src_id, dst_id=dst_id or None, name=self._name, reason=reason,
            losses=["values"] if self._refused else [],
        )  # fmt: skip

    # -- its runs -----------------------------------------------------------------------------------------------

    def _import_runs(self, runs: RunImporter, directory: ExportDir, unchanged: Sequence[str]) -> None:
        found = [item for item in run_dirs(directory) if item[0] not in set(unchanged)]
        self._job.ledger.expect("run", len(found))
        self._job.progress.add_total(len(found) + len(unchanged))
        self._models.load(logged_model_dirs(directory), self._existed)
        first: List[Tuple[str, ExportDir]] = []
        later: List[Tuple[str, ExportDir]] = []
        for outcome in self._job.executor.imap(lambda item: runs.waits(*item), found):
            # what can't be read fails below, where it is recorded
            (later if outcome.value else first).append(outcome.item)
        order = {run_id: place for place, (run_id, _) in enumerate(found)}
        for src_id in unchanged:
            runs.confirm(src_id)
            self._job.progress.advance()
        for part in (first, later):
            part.sort(key=lambda item: order[item[0]])
            for done in self._job.executor.imap(lambda item: runs.import_run(*item), part):
                if done.error is not None:
                    self._job.failed("run", done.item[0], done.error)
                self._job.progress.advance()
            if part is first:
                self._models.import_rest({src_id for src_id, _ in later})
        runs.link_parents()
        self._models.finish()
