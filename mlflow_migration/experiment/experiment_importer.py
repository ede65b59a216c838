"""Imports one experiment: the experiment itself, its runs, what links them, and at last whether it is deleted."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadInput, Refused, describe
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.databricks_tags import EXPERIMENT_TAGS, as_taken, without_own
from mlflow_migration.common.destination import check_experiment_name, make_parent_directory
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import SOURCE_TAGS, IdMap, options_of, original
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import logged_model_dirs, read_experiment, run_dirs, trace_dirs
from mlflow_migration.common.permissions import experiment as experiment_permissions
from mlflow_migration.common.permissions import import_permissions
from mlflow_migration.common.source_tags import (
    ExportTags,
    mk_source_tags_mlflow_tag,
    set_source_tags_for_field,
    without_source_tags,
)
from mlflow_migration.common.three_way import Plan, State, plan, settled, short, words
from mlflow_migration.experiment.experiment_exporter import EXPERIMENT_FILE
from mlflow_migration.run.import_run import model_importer
from mlflow_migration.run.run_batch import Part, import_batch, tell_failed
from mlflow_migration.run.run_importer import ImportSettings, RunImporter
from mlflow_migration.run.run_writer import shortened
from mlflow_migration.trace.trace_importer import TraceImporter

Json = Dict[str, Any]

_EXISTS = "RESOURCE_ALREADY_EXISTS"


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
        self._lock, self._traces_lock = threading.Lock(), threading.Lock()
        self._refused: Dict[str, str] = {}
        self._instead: Dict[str, str] = {}
        self._unsettled = False
        self._home = self._origin = False
        check_experiment_name(tracking, name)
        self._there = tracking.experiment_by_name(name)
        self._existed = self._there is not None
        self._active = self._there is None or self._there.get("lifecycle_stage") != "deleted"
        self.runs: Optional[RunImporter] = None
        self._traces: Optional[TraceImporter] = None
        self._trace_dirs: List[Tuple[str, ExportDir]] = []
        self.permissions: Any = None
        """The permissions of the source's experiment, as experiment.json has them."""

    @property
    def experiment_id(self) -> str:
        """Id of the destination's experiment; empty if a dry run would create it."""
        return str((self._there or {}).get("experiment_id") or "")

    @property
    def is_settled(self) -> bool:
        """Whether runs can be written as they are: the experiment is there, active, and not about to change that."""
        return self._there is not None and self._active and not self._unsettled

    def prepare(self) -> None:
        """Read what the destination has. To be called before :meth:`import_experiment`."""
        self._models = model_importer(self._tracking, self._job, self.experiment_id, self._id_map, self._settings)
        self.runs = RunImporter(
            self._tracking, self._job, self._settings, self.experiment_id, self._id_map, self._models, self._wake
        )
        if self._existed:
            self._unsettled = bool((self._found() or {}).get("unsettled"))
            self.runs.any_stage = self._unsettled
            self.runs.load()

    def import_experiment(self, directory: ExportDir) -> RunImporter:
        """Import the experiment of a directory, and record each object; see :meth:`part`.

        :return: The importer of its runs, with their ids.
        """
        part = self.part(directory)
        import_batch(self._job, part)
        self.finish()
        return part.runs

    def part(self, directory: ExportDir) -> Part:
        """Return what a directory has for the experiment, which is created if absent; :meth:`finish` does the rest.

        :raises BadInput: The directory holds no whole experiment, or the destination's is deleted.
        """
        if not directory.exists(EXPERIMENT_FILE):
            raise BadInput(f"{directory.path} holds no whole export of an experiment: there is no {EXPERIMENT_FILE}.")
        doc = read_experiment(directory)
        found = run_dirs(directory), logged_model_dirs(directory)  # what can't be read shows before anything is made
        self._trace_dirs = trace_dirs(directory)
        self.permissions = doc.get("permissions")
        part = self.begin(doc["experiment"])
        part.found = found
        tell_failed(self._job, "run", "runs", doc["failed_runs"], {run_id for run_id, _ in part.found[0]})
        part.models.left_out = set(doc["left_out_models"])
        return part

    def begin(self, source: Json) -> Part:
        """Create the experiment if it is absent, and return what runs and logged models are imported with.

        :param source: The source's experiment, as :func:`canonical_experiment` returns it.
        :raises BadInput: The destination's is deleted.
        """
        self._source = source
        deleted = self._source.get("lifecycle_stage") == "deleted"
        if not (self._active or deleted or self._settings.overwrite):
            raise BadInput(
                f"The destination's experiment '{self._name}' is deleted; restore it, name another one, or give"
                " --on-destination-change overwrite."
            )
        self._wanted = self._wanted_tags(self._source)
        if not self._existed and not self._job.dry_run:
            self._create(self._wanted)
        if self.runs is None or not self._existed:
            self.prepare()
        assert self.runs is not None
        self._was_active = self._active
        return Part(self.runs, self._models, ([], []), self._existed, home=self._home)

    def ready_for_traces(self) -> TraceImporter:
        """Return what imports traces; by now it is known what has become of runs and logged models."""
        assert self.runs is not None
        with self._traces_lock:
            if self._traces is None:
                traces = TraceImporter(
                    self._tracking, self._job, self.experiment_id, self._id_map,
                    overwrite=self._settings.overwrite, wake=self._wake,
                )  # fmt: skip
                traces.run_ids = {**self._earlier("run"), **self.runs.ids}
                traces.model_ids = {**self._earlier("logged_model"), **self._models.ids}
                traces.load(self._existed)
                self._traces = traces
        return self._traces

    def _earlier(self, kind: str) -> Dict[str, str]:
        return {entry["src_id"]: entry["dst_id"] for entry in self._id_map.entries(kind, self.experiment_id)}

    def finish(self) -> None:
        """Import traces, and bring the experiment itself up to date, now that its runs are there, and record it."""
        assert self.runs is not None
        if self._trace_dirs:
            self.ready_for_traces().import_all(self._trace_dirs)
        status, reason, base = self._bring_up_to_date(self._wanted)
        deleted = self._source.get("lifecycle_stage") == "deleted"
        moved = self._existed and deleted == self._was_active
        different = self._set_lifecycle(deleted, self.runs)
        if different:
            status = "differs" if status in ("unchanged", "updated") else status
            reason = "; ".join(filter(None, [reason, different]))
        elif moved and status == "unchanged":
            status = "updated"
        self._record(self._source, status, reason, base)
        if self._settings.permissions:
            self._grant()

    def _grant(self) -> None:
        """Grant the permissions of the source's experiment, and record it; nothing happens but on Databricks."""
        rest, there = self._tracking.rest, self.experiment_id
        if not self._tracking.is_databricks:
            return
        src_id = f"experiment/{self._source.get('experiment_id') or ''}"
        what = (lambda: experiment_permissions(there)) if there else None
        import_permissions(self._job, rest, src_id, what, self.permissions, self._settings.principals)

    # -- the experiment itself ----------------------------------------------------------------------------------

    def _wanted_tags(self, source: Json) -> Dict[str, str]:
        tags = self._copied_tags(source)
        if not self._tracking.is_databricks:
            return tags
        if (source.get("tags") or {}).get("mlflow.experimentType") == "NOTEBOOK" and not self._home:
            self._job.ledger.note(f"The experiment '{self._name}' was that of a notebook; its copy is one of its own.")
        return (without_own if self._home or self._origin else as_taken)(tags, EXPERIMENT_TAGS)

    def _copied_tags(self, source: Json) -> Dict[str, str]:
        tags = dict(source.get("tags") or {})
        self._home = self._is_here(source)
        if self._home:
            return tags
        self._origin = self._is_here(tags, ExportTags.PREFIX_FIELD + ".")
        if self._origin:  # an import elsewhere has made the source from it, and those tags with it
            return without_source_tags(tags)
        if SOURCE_TAGS in self._options():
            extra: Dict[str, str] = {}
            set_source_tags_for_field({k: v for k, v in source.items() if k != "tags"}, extra)
            extra.update(mk_source_tags_mlflow_tag(tags))
            tags.update(extra)
        return tags

    def _is_here(self, facts: Mapping[str, Any], prefix: str = "") -> bool:
        """Tell whether facts are about the destination's experiment. Many servers have an experiment of its id."""
        there, created = self._there or {}, facts.get(prefix + "creation_time")
        return created is not None and all(
            str(facts.get(prefix + name)) == str(there.get(name)) for name in ("experiment_id", "creation_time")
        )

    def _options(self) -> List[str]:
        return options_of(self._found(), import_source_tags=self._settings.source_tags)

    def known(self, object_id: str) -> Optional[str]:
        """Return the fingerprint of what an earlier import took of a run or logged model; None if none took it.

        :param object_id: Its id at the source.
        """
        assert self.runs is not None
        found = self.runs.known(object_id)
        return self._models.known(object_id) if found is None else found

    def _create(self, tags: Mapping[str, str]) -> None:
        make_parent_directory(self._tracking, self._name)
        try:
            experiment_id = self._tracking.create_experiment(self._name, tags)
        except Refused as ex:
            if ex.http_status_code != 400:
                raise
            if ex.error_code == _EXISTS:
                # another one that gets this name was faster
                self._there = self._tracking.experiment_by_name(self._name)
                if self._there is not None:
                    return
            if not tags:
                raise
            # one of the tags is refused: the experiment first, then its tags one by one
            experiment_id = self._tracking.create_experiment(self._name, {})
            for key, value in tags.items():
                self._set_tag(experiment_id, key, value)
        facts: Json = {"base": {}, "options": self._options()}
        self._id_map.record("experiment", experiment_id, self._name, experiment_id, **facts)
        self._there = {**self._tracking.experiment(experiment_id), "created": True}

    def _set_tag(self, experiment_id: str, key: str, value: str) -> None:
        try:
            self._tracking.set_experiment_tag(experiment_id, key, value)
        except Refused as ex:
            cut = shortened(value, ex) if self._settings.on_refused == "truncate" else None
            if cut is not None:
                self._tracking.set_experiment_tag(experiment_id, key, cut)
            self._refuse(key, value, describe(ex) if cut is None else f"cut to {len(cut)} characters", cut)
            old = tag_dict((self._there or {}).get("tags")).get(key)
            if cut is None and old is not None and not self._tracking.delete_experiment_tag(experiment_id, key):
                self._instead["tag:" + key] = short(old)  # a server too old to remove what is no longer true

    def _refuse(self, key: str, value: str, reason: str, there: Optional[str]) -> None:
        """Record a tag that the destination does not have, or only cut."""
        self._refused["tag:" + key] = f"tag {key}: {reason}"
        if there is not None:
            self._instead["tag:" + key] = short(there)
        status = "skipped" if there is None else "incomplete"
        self._job.ledger.record(
            "value", status, f"experiment/tag/{key}", reason=reason, losses=["values"], value=value
        )  # fmt: skip

    def _check(self, tags: Mapping[str, str], there: Mapping[str, str]) -> None:
        """Find what the destination has cut, or did not keep, without saying so."""
        for key, value in tags.items():
            found = there.get(key)
            if found != value and "tag:" + key not in self._refused:
                reason = "did not keep it" if found is None else f"cuts it to {len(found)} characters"
                self._refuse(key, value, f"the destination {reason}", found)

    def _wake(self) -> None:
        """Make a deleted experiment active for the time of writing; :meth:`_set_lifecycle` puts it back."""
        with self._lock:
            if not self._active and self._there is not None:
                self._unsettle()
                self._tracking.restore_experiment(self._there["experiment_id"])
                self._active = True

    def _bring_up_to_date(self, tags: Mapping[str, str]) -> Tuple[str, Optional[str], Optional[State]]:
        """Return status, reason and the base for the next time."""
        wanted = {"tag:" + key: short(value) for key, value in tags.items()}
        if self._there is None:
            return "copied", None, None
        if self._there.get("created"):
            self._check(tags, tag_dict(self._there.get("tags")))
            base = {**{name: value for name, value in wanted.items() if name not in self._refused}, **self._instead}
            return self._lacking or "copied", "; ".join(self._refused.values()) or None, base
        own = tag_dict(self._there.get("tags"))
        if self._tracking.is_databricks:
            own = without_own(own, EXPERIMENT_TAGS)
        seen = without_source_tags(own) if self._origin else own
        there = {"tag:" + key: short(value) for key, value in seen.items()}
        entry = self._found()
        known = entry["base"] if entry is not None else None
        if known is None and not self._settings.overwrite:
            # an experiment that was there before is somebody's own: its tags are left alone
            named = ("tag:" + key for key in tags)
            different = sorted(name for name in named if there.get(name) != wanted[name])
            reason = f"it was there before, so its tags are left alone: {words(different)}" if different else None
            return ("differs" if different else "unchanged"), reason, None
        todo = plan(wanted, there, known, self._settings.overwrite, unfinished=False)
        todo.differs = [name for name in todo.differs if name in wanted or known is not None]
        if not self._job.dry_run:
            self._write_tags(self._there["experiment_id"], tags, todo)
        base = {**settled(wanted, known, todo, list(self._refused)), **self._instead}
        left = todo.differs
        reason = "; ".join([*self._refused.values()] + ([f"left alone: {words(left)}"] if left else []))
        status = "differs" if left else "unchanged" if todo.empty else "updated"
        return self._lacking or status, reason or None, base

    @property
    def _lacking(self) -> Optional[str]:
        """The status of an experiment that lacks tags; None if it lacks none."""
        return ("failed" if self._settings.on_refused == "fail" else "incomplete") if self._refused else None

    def _write_tags(self, experiment_id: str, tags: Mapping[str, str], todo: Plan) -> None:
        for name in todo.write:
            self._wake()
            self._set_tag(experiment_id, name[len("tag:") :], tags[name[len("tag:") :]])
        for name in list(todo.drop):
            self._wake()
            if not self._tracking.delete_experiment_tag(experiment_id, name[len("tag:") :]):
                todo.drop.remove(name)
                todo.differs.append(name)

    def _found(self) -> Optional[Json]:
        """Return what the id map has of the experiment."""
        return self._id_map.find("experiment", str((self._there or {}).get("experiment_id", "")), self._name)

    def _unsettle(self) -> None:
        """Say before it is done that the stages of all runs change with the experiment's, until they are set."""
        self._unsettled = True
        dst_id = str((self._there or {}).get("experiment_id", ""))
        base = (self._found() or {}).get("base")
        facts = {"base": base, "options": self._options(), "unsettled": True}
        self._id_map.announce("experiment", dst_id, self._name, dst_id, **facts)

    def _set_lifecycle(self, deleted: bool, runs: RunImporter) -> Optional[str]:
        """Set the stages of the experiment and, as they change with it, of its runs; return what is left alone."""
        if self._there is None:
            return None
        if deleted and self._active and not (self._is_ours(runs) or self._settings.overwrite):
            return "it was there before, so it is left active although the source's is deleted"
        if self._job.dry_run:
            return None
        if deleted and self._active:
            self._unsettle()
            self._tracking.delete_experiment(self._there["experiment_id"])
        elif not deleted:
            self._wake()
        if not self._unsettled:
            return None
        # deleting an experiment deletes all its runs, restoring it restores them all
        change, stage = (self._tracking.restore_run, "active") if deleted else (self._tracking.delete_run, "deleted")
        there = [run_id for run_id in runs.ids if runs.stages.get(run_id) == stage]
        self._unsettled = False
        for outcome in self._job.executor.gather(lambda run_id: change(runs.ids[run_id]), there):
            if outcome.error is not None:
                self._unsettled = True
                self._job.failed("lifecycle", outcome.item, outcome.error)
        return None

    def _is_ours(self, runs: RunImporter) -> bool:
        """Tell whether an import has made the experiment."""
        entry = self._found() or {}
        return bool((self._there or {}).get("created")) or entry.get("base") is not None or runs.only_copies

    def _record(self, source: Json, status: str, reason: Optional[str], base: Optional[State]) -> None:
        src_id = str(source.get("experiment_id") or "")
        dst_id = str((self._there or {}).get("experiment_id") or "")
        if not self._job.dry_run:
            self._id_map.record(
                "experiment", dst_id, self._name, dst_id, base=base, source=src_id,
                original=original(source, "name", "creation_time", "last_update_time", "artifact_location"),
                options=self._options(),
                **({"unsettled": True} if self._unsettled else {}),
            )  # fmt: skip
        self._job.ledger.record(
            "experiment", status, src_id, dst_id=dst_id or None, name=self._name, reason=reason,
            losses=["values"] if self._refused else [],
        )  # fmt: skip
