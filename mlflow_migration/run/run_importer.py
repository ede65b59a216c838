"""Imports runs into one experiment: each once, however often it is asked for, and whatever an earlier import left."""

from __future__ import annotations

import hashlib
import threading
import zlib
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, Refused, Unavailable, describe
from mlflow_migration.client.tracking import RUN_KEY, Tracking, tag_dict, tag_list
from mlflow_migration.common.artifact_stores import Presence, Store, run_store
from mlflow_migration.common.databricks_tags import RUN_TAGS, SOURCE_TAGS_OF_RUNS, USER_ID, as_taken, without_own
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import SOURCE_TAGS, IdMap, options_of, original, other_fix
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_info, read_run
from mlflow_migration.common.source_tags import (
    SOURCE_URI,
    ExportTags,
    has_source_tags,
    mk_source_tags,
    mk_source_tags_mlflow_tag,
    mk_source_uri_tag,
    without_source_tags,
)
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled, short, words
from mlflow_migration.common.uploads import Uploads, artifacts_of, content_of, listed_files
from mlflow_migration.logged_model.logged_model_importer import ModelImporter
from mlflow_migration.notebook.notebooks import import_notebook_of_run
from mlflow_migration.run.histories import stored_points
from mlflow_migration.run.run_file import ARTIFACTS, RUN_FILE
from mlflow_migration.run.run_writer import SMALLEST_TAG_LIMIT, RunWriter
from mlflow_migration.run.state import canonical, latest_of, state_of

Json = Dict[str, Any]

PARENT = "mlflow.parentRunId"
RELATIVES = (PARENT, "mlflow.rootRunId")
Others = Callable[[str, Iterable[str]], Iterable[ModelImporter]]
_ID_TAGS = frozenset({*RELATIVES, "mlflow.log-model.history"})


@dataclass(frozen=True)
class ImportSettings:
    """How runs are imported.

    :param source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param mlmodel_fix: Write the new ids into MLmodel files.
    :param on_refused: ``skip``, ``truncate`` or ``fail``.
    :param overwrite: Write again what was edited or deleted at the destination.
    :param recheck: Compare all fields and bytes even where the directory has not changed since the last import.
    :param skip_artifacts: The directory has no artifacts, as they were to stay where they are.
    :param permissions: Grant the permissions of experiments and registered models, which Databricks has.
    :param principals: New names of users, groups and service principals, for the permissions.
    :param notebook_dir: Directory of the workspace for the runs' notebooks; empty if they are not wanted.
    """

    source_tags: bool = False
    use_src_user_id: bool = False
    mlmodel_fix: bool = True
    on_refused: str = "skip"
    overwrite: bool = False
    recheck: bool = False
    skip_artifacts: bool = False
    permissions: bool = False
    principals: Mapping[str, str] = field(default_factory=dict)
    notebook_dir: str = ""


@dataclass
class _Run:
    """One run on its way.

    ``own``: the destination's run is the source's itself. ``origin``: the source's was once made from it.
    """

    src_id: str
    doc: Json
    source: ExportDir
    fingerprint: str
    info: Json
    files: List[Json]
    options: List[str]
    options_before: Optional[List[str]] = None
    tags: Dict[str, str] = field(default_factory=dict)
    content_before: Json = field(default_factory=dict)
    other_fix: bool = False
    dst: Json = field(default_factory=dict)
    created: bool = False
    own: bool = False
    origin: bool = False
    mapped: Dict[str, str] = field(default_factory=dict)
    begun: AbstractSet[str] = frozenset()
    instead: Dict[str, str] = field(default_factory=dict)
    problems: List[str] = field(default_factory=list)
    losses: Set[str] = field(default_factory=set)
    missing: List[str] = field(default_factory=list)
    partial: bool = False  # nothing is lost, but a later export may bring more

    @property
    def dst_id(self) -> str:
        return str(self.dst["info"]["run_id"])

    def lost(self, loss: str, problem: str, *fields: str) -> None:
        self.losses.add(loss)
        self.problems.append(problem)
        self.missing += fields


class RunImporter:
    """Imports runs into one experiment of the destination.

    :param tracking: The destination.
    :param job: Ledger, threads, progress.
    :param settings: How.
    :param experiment_id: The destination's experiment.
    :param id_map: What earlier imports did.
    :param models: Imports the logged models that the runs have.
    :param before_write: Called before anything is written to the experiment.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        settings: ImportSettings,
        experiment_id: str,
        id_map: IdMap,
        models: ModelImporter,
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracking, self._job, self._settings = tracking, job, settings
        self._experiment_id, self._id_map, self._models = experiment_id, id_map, models
        self._before_write = before_write
        self._presence = Presence(tracking)
        self._by_key: Dict[str, bytes] = {}  # packed
        self._by_id: Dict[str, bytes] = {}
        self._relatives: Dict[Tuple[str, str], Set[str]] = {}
        self._created: Set[str] = set()
        self._lock = threading.Lock()
        self.ids: Dict[str, str] = {}
        """Destination run ids by source run id."""
        self.parents: Dict[str, Optional[str]] = {}
        """Source ids of the parents by source run id."""
        self.infos: Dict[str, Json] = {}
        """Info of the destination's runs by source run id."""
        self.stages: Dict[str, str] = {}
        """Lifecycle stages at the source by source run id."""
        self.fresh: AbstractSet[str] = frozenset()
        """Source ids of runs that workers of a cluster have compared just now, as closely as was asked for."""
        self.any_stage = False
        """Whether the stages that runs have at the destination mean nothing: the experiment's deletion sets them."""
        self.only_copies = True
        """Whether the experiment had no runs but those that imports have made."""
        models.run_ids = self.ids
        self._others: Others = lambda src_id, links: ()

    # -- what is there ------------------------------------------------------------------------------------------

    def load(self, where: str = "") -> None:
        """Read which runs the experiment has.

        :param where: MLflow's filter string, if not all are of interest.
        """
        for page in self._tracking.search_runs([self._experiment_id], where):
            for run in page:
                self.remember(run)

    def remember(self, run: Json) -> None:
        """Take note of one of the experiment's runs, as REST returns it."""
        text = _packed(run)
        run_id = run["info"]["run_id"]
        tags = tag_dict((run.get("data") or {}).get("tags"))
        self._by_id[run_id] = text
        if run_id in self.ids:  # a copy beside it is not what others mean
            self.ids[run_id] = run_id
        key = tags.get(RUN_KEY)
        if key:
            self._by_key[key] = text
            self.ids[key] = key if key in self._by_id else run_id
        else:
            self.only_copies = False
        self._note_relatives(run_id, tags)

    def share(self, run_ids: Dict[str, str], model_ids: Dict[str, str], others: Others) -> None:
        """Let runs and logged models refer to those that are imported into other experiments at the same time.

        :param run_ids: Destination run ids by source run id, of all these experiments; those known here are added.
        :param model_ids: Those of logged models, likewise.
        :param others: Gives the importers of the models that a run has measured, or links to.
        """
        run_ids.update(self.ids)
        model_ids.update(self._models.ids)
        self.ids = self._models.run_ids = run_ids
        self._models.ids = model_ids
        self._others = others

    def _importers(self, src_id: str, links: Iterable[str] = ()) -> List[ModelImporter]:
        return [self._models, *(models for models in self._others(src_id, links) if models is not self._models)]

    def recognise(self, src_ids: Iterable[str]) -> None:
        """Let others refer to runs that the experiment itself has, although they are not imported now."""
        for src_id in src_ids:
            if src_id in self._by_id:
                self.ids.setdefault(src_id, src_id)

    def outputs_of(self, src_id: str) -> List[str]:
        """Return the ids of the logged models that the destination's run has as outputs."""
        there = self._find(src_id)
        outputs = [] if there is None else canonical(_unpacked(there))["model_outputs"]
        return [output["model_id"] for output in outputs]

    def has_any(self, src_ids: Iterable[str]) -> bool:
        """Tell whether any of these runs is one of the experiment's own: what is imported comes from here."""
        return any(src_id in self._by_id for src_id in src_ids)

    def _find(self, src_id: str, entry: Optional[Json] = None) -> Optional[bytes]:
        """Return the run that a source run is, or that an import has made from it.

        :param entry: What the id map has of it.
        """
        there = self._by_id.get(src_id) or self._by_key.get(src_id)
        return there or (self._by_id.get(entry["dst_id"]) if entry is not None else None)

    def _find_origin(self, doc: Json) -> Optional[bytes]:
        """Return the run that an import elsewhere has made the source run from."""
        return self._by_id.get(doc["tags"].get(RUN_KEY, ""))

    def waits(self, src_id: str, source: ExportDir) -> bool:
        """Tell whether a run should come after others, as it uses or measures their logged models."""
        if not self._models.any:
            return False
        doc = read_run(source)
        links = [link["model_id"] for link in doc["model_outputs"] + doc["model_inputs"]]
        importers = self._importers(src_id, links)
        return any(models.waited_for(src_id, links, models is self._models) for models in importers)

    # -- one run ------------------------------------------------------------------------------------------------

    def begin(self, src_id: str, source: ExportDir) -> None:
        """Make the run, if it is not there, and its logged models, so that other runs can refer to them.

        :meth:`import_run` does the rest.

        :raises MlflowExportImportException: It can't be imported.
        """
        there = self._find(src_id)
        if there is None:
            run = self._read(src_id, source, self._info(source), "")
            there = self._find_origin(run.doc)
            if there is None and not self._job.dry_run:
                self._create(run)
                there = _packed(run.dst)
                with self._lock:
                    self._created.add(src_id)
                    self._by_key[src_id] = there
        dst = {} if there is None else _unpacked(there)
        if dst:
            with self._lock:
                self.ids[src_id] = dst["info"]["run_id"]
        self._import_models(src_id, dst)

    def _import_models(self, src_id: str, dst: Json) -> None:
        outputs = (dst.get("outputs") or {}).get("model_outputs") or ()
        self._models.link(src_id, [output["model_id"] for output in outputs])
        self._models.import_for_run(src_id)

    def _info(self, source: ExportDir) -> Json:
        info = read_info(source, RUN_FILE)
        if info is None:
            raise BadDirectory(f"{source.path} has no {RUN_FILE}: its export is not whole")
        return info

    def import_run(self, src_id: str, source: ExportDir) -> Optional[str]:
        """Import a run and record it.

        :param src_id: Its id at the source.
        :param source: Its directory.
        :return: The destination's run id; None in a dry run that would create it.
        :raises MlflowExportImportException: It can't be imported.
        """
        dst_id = self._import(src_id, source)
        if self._settings.notebook_dir and self._tracking.is_databricks:
            import_notebook_of_run(
                self._job, self._tracking.rest, src_id, dst_id or "", source, ARTIFACTS, self._settings.notebook_dir
            )  # fmt: skip
        return dst_id

    def _import(self, src_id: str, source: ExportDir) -> Optional[str]:
        info = self._info(source)
        mark = info.get("fingerprint") or _hash(source)
        entry = self._id_map.find("run", self._experiment_id, src_id)
        there = self._find(src_id, entry)
        looked = not self._settings.recheck or src_id in self.fresh
        if there is not None and entry is not None and looked:
            same = entry.get("fingerprint") == mark and entry.get("content") == content_of(info)
            same = same and entry.get("options") == self._options(entry)
            if same and entry["base"] is not None and not entry.get("losses") and self._as_it_was(src_id, there, entry):
                return entry["dst_id"]  # type: ignore[no-any-return]
        run = self._read(src_id, source, info, mark, entry)
        if there is None:
            there = self._find_origin(run.doc)
        elif entry is None and not (run.own or run.origin):
            self._keep_source_tags(run, there)
        if self._job.dry_run and there is None:
            self._import_models(src_id, {})
            self._foretell(run)
            return None
        if there is None:
            self._create(run)
        else:
            run.dst = _unpacked(there)
            run.created = src_id in self._created
        with self._lock:
            self.ids[src_id] = run.dst_id
            self.infos[src_id] = run.dst["info"]
        self._import_models(src_id, run.dst)
        base: Optional[State] = None
        if entry is not None and entry["dst_id"] == run.dst_id and not run.created:
            base, run.begun = entry["base"], frozenset(entry.get("begun") or ())
            run.content_before, run.options_before = entry.get("content") or {}, entry.get("options")
            run.other_fix = other_fix(entry, run.options) and not run.own
        elif not (run.own or run.origin) and self.stages[src_id] == "deleted":
            run.begun = frozenset({"lifecycle"})  # deleting it is the last that an import does
        self._bring_up_to_date(run, base)
        return run.dst_id

    def _options(self, entry: Optional[Json]) -> List[str]:
        settings = self._settings
        return options_of(
            entry, import_source_tags=settings.source_tags, use_src_user_id=settings.use_src_user_id,
            mlmodel_fix=settings.mlmodel_fix,
        )  # fmt: skip

    def _foretell(self, run: _Run) -> None:
        """Record what would become of a run that is not there."""
        uploads = Uploads(Store(), self._job)
        uploads.open(run.source, ARTIFACTS, run.files, [])
        for path, ex in uploads.unreadable():
            run.lost("artifacts", f"artifact {path}: {describe(ex)}", f"artifact:{path}")
        self._in_terms_of_destination(run)
        run.created = True
        self._job.ledger.record(
            "run", self._status(run, Plan()), run.src_id, name=run.doc["info"].get("run_name"),
            reason=self._reason(run, Plan(), None), losses=sorted(run.losses),
        )  # fmt: skip

    def known(self, src_id: str) -> Optional[str]:
        """Return the fingerprint of what an earlier import took of a run; None if none took it.

        It is empty if the run has to be looked at again: it is not whole, or options ask for something else.
        """
        entry = self._id_map.find("run", self._experiment_id, src_id)
        if entry is None or self._find(src_id, entry) is None:
            return None
        again = entry.get("losses") or self._settings.overwrite or entry.get("options") != self._options(entry)
        return "" if again else entry.get("fingerprint") or ""

    def confirm(self, src_id: str) -> None:
        """Record a run that has not changed at the source since the last import; see :meth:`known`."""
        entry = self._id_map.find("run", self._experiment_id, src_id)
        there = self._find(src_id, entry)
        if entry is None or there is None:
            self._job.gone("run", src_id)
            return
        if self._as_it_was(src_id, there, entry):
            return
        dst = _unpacked(there)
        with self._lock:
            self.ids[src_id] = entry["dst_id"]
            self.infos[src_id] = dst["info"]
            self.stages[src_id] = entry["base"].get("lifecycle", "active")
        self._job.ledger.record(
            "run", "differs", src_id, dst_id=entry["dst_id"], reason="changed at the destination and left alone"
        )

    def _as_it_was(self, src_id: str, there: bytes, entry: Json) -> bool:
        """Record a run whose source has not changed since the last import, if the destination has not either."""
        dst = _unpacked(there)
        if entry["dst_id"] != dst["info"]["run_id"]:
            return False
        is_origin = src_id not in self._by_id and src_id not in self._by_key
        sizes = {name[len("artifact:") :] for name in entry["base"] if name.startswith("artifact:")}
        run, files = self._with_inputs(canonical(dst), entry["base"]), self._listed(dst["info"], bool(sizes))
        # with its ids as they are, for a child whose parent has only come later
        for state in (state_of(run, files), state_of(run, files, self._map_tag)):
            self._leave_out(state, entry["base"])
            if (without_source_tags(state, "tag:") if is_origin else state) == entry["base"]:
                break
        else:
            return False
        with self._lock:
            self.ids[src_id] = entry["dst_id"]
            self.infos[src_id] = dst["info"]
            self.parents[src_id] = entry.get("parent")
            self.stages[src_id] = entry["base"].get("lifecycle", "active")
        self._job.ledger.record("run", "unchanged", src_id, dst_id=entry["dst_id"], name=dst["info"].get("run_name"))
        return True

    def _leave_out(self, there: State, wanted: State) -> None:
        """Make equal what says nothing: what the server has made up, and the stage that is set at the end."""
        if "name" not in wanted:
            there.pop("name", None)
        if self.any_stage and "lifecycle" in wanted:
            there["lifecycle"] = wanted["lifecycle"]
        if self._tracking.is_databricks:
            for key in RUN_TAGS:
                there.pop("tag:" + key, None)

    def _listed(self, info: Json, expected: bool) -> Dict[str, int]:
        if not expected and not self._presence.may_have(info):
            return {}
        return self._uploads(info).there()

    def _uploads(self, info: Json) -> Uploads:
        return Uploads(run_store(self._tracking, info["run_id"], info["artifact_uri"]), self._job)

    def _with_inputs(self, run: Json, base: Mapping[str, str]) -> Json:
        # only runs/get tells model inputs
        if any(name.startswith("model_input:") for name in base):
            inputs = self._tracking.run(run["info"]["run_id"]).get("inputs") or {}
            run["model_inputs"] = inputs.get("model_inputs") or []
        return run

    def _read(self, src_id: str, source: ExportDir, info: Json, mark: str, entry: Optional[Json] = None) -> _Run:
        doc = read_run(source)
        doc["info"]["status"] = doc["info"].get("status") or "FINISHED"
        if doc.get("metrics_file"):
            doc["latest"] = _latest_streamed(doc, source)
        else:
            doc["latest"] = {key: latest_of(points) for key, points in doc["metrics"].items() if points}
        files = listed_files(source, ARTIFACTS, info)
        own = src_id in self._by_id
        origin = not own and src_id not in self._by_key and self._find_origin(doc) is not None
        run = _Run(src_id, doc, source, mark, info, files, self._options(entry), own=own, origin=origin)
        run.tags = self._tags(run)
        with self._lock:
            self.parents[src_id] = doc["tags"].get(PARENT)
            self.stages[src_id] = doc["info"].get("lifecycle_stage") or "active"
        for problem in info["incomplete"]:
            run.lost("artifacts", f"already in the export: {problem}")
        return run

    def _tags(self, run: _Run) -> Dict[str, str]:
        """Return the tags that the destination should have, with the source's ids."""
        doc = run.doc
        tags = {key: value for key, value in doc["tags"].items() if key not in (RUN_KEY, "mlflow.runName")}
        if run.own or run.origin:
            tags = without_own(tags, RUN_TAGS) if self._tracking.is_databricks else tags
            return tags if run.own else without_source_tags(tags)
        if self._settings.skip_artifacts:
            tags = {**mk_source_uri_tag(doc["info"].get("artifact_uri") or ""), **tags}
        if SOURCE_TAGS in run.options:
            tags.update(mk_source_tags_mlflow_tag(doc["tags"]))
            kept = {key: value for key, value in doc["info"].items() if key != "run_id"}
            tags.update(mk_source_tags(kept, ExportTags.PREFIX_RUN_INFO))
        if self._settings.use_src_user_id and doc["info"].get("user_id"):
            tags["mlflow.user"] = doc["info"]["user_id"]
        if self._tracking.is_databricks:
            tags = as_taken(tags, RUN_TAGS)
            tags.update({USER_ID: doc["info"]["user_id"]} if doc["info"].get("user_id") else {})
        return tags

    def _keep_source_tags(self, run: _Run, there: bytes) -> None:
        """Go on with the source tags that a copy has, although no id map says who asked for them."""
        tags = tag_dict((_unpacked(there).get("data") or {}).get("tags"))
        if self._tracking.is_databricks:
            tags = without_own(tags, SOURCE_TAGS_OF_RUNS)
        if has_source_tags(tags, run.doc["tags"], RUN_KEY):
            run.options = sorted({*run.options, SOURCE_TAGS})
            run.tags = self._tags(run)

    def _map_tag(self, key: str, value: str) -> str:
        if key not in _ID_TAGS:
            return value
        if key != "mlflow.log-model.history":
            return self.ids.get(value, value)
        return self._models.in_text(self._in_text(value))

    def _in_text(self, text: str) -> str:
        for word in set(_words(text)):
            if word in self.ids:
                text = text.replace(word, self.ids[word])
        return text

    def _create(self, run: _Run) -> None:
        self._before_write()
        info = run.doc["info"]
        tags = {key: self._map_tag(key, value) for key, value in run.tags.items()}
        name = info.get("run_name") or run.doc["tags"].get("mlflow.runName") or ""
        body: Json = {"experiment_id": self._experiment_id, "start_time": int(info.get("start_time") or 0)}
        body.update({"user_id": info.get("user_id") or "", "run_name": name})
        key = {RUN_KEY: run.src_id}
        short_tags = {key: value for key, value in tags.items() if len(value) <= SMALLEST_TAG_LIMIT}
        for some in (tags, short_tags, {}):
            if some is short_tags and len(some) == len(tags):
                continue
            try:
                run.dst = self._tracking.create_run({**body, "tags": tag_list({**key, **some})}, run.src_id)
                break
            except (Refused, Unavailable) as ex:
                # a database may answer 500 to what is too long for it
                too_long = ex.http_status_code == 500 and len(short_tags) < len(some)
                if not some or (ex.http_status_code != 400 and not too_long):
                    raise
        if tags and not some:  # one is refused: the run has come first, its tags follow one by one
            run.dst["data"] = {}
        run.created = True
        with self._lock:
            self.ids[run.src_id] = run.dst_id
        self._note_relatives(run.dst_id, tags)

    def _note_relatives(self, dst_id: str, tags: Mapping[str, str]) -> None:
        with self._lock:
            for key in RELATIVES:
                if tags.get(key) and not (self._tracking.is_databricks and key in RUN_TAGS):
                    self._relatives.setdefault((key, tags[key]), set()).add(dst_id)

    # -- the comparison and what follows ------------------------------------------------------------------------

    def _bring_up_to_date(self, run: _Run, base: Optional[State]) -> None:
        # once: what other threads import meanwhile would change it
        run.mapped = {key: self._map_tag(key, value) for key, value in run.tags.items()}
        if run.own or run.origin:
            self._keep_ids(run)
        uploads = self._uploads(run.dst["info"])
        uploads.open(run.source, ARTIFACTS, run.files, self._replacements(run))
        wanted = state_of(self._in_terms_of_destination(run), uploads.sizes)
        if run.created:
            if "name" not in wanted:
                run.problems.append("it has no name, so the destination has made one up")
            there: State = state_of(canonical(run.dst), {})
            self._leave_out(there, wanted)
            todo = plan(wanted, there, there, overwrite=False, unfinished=True)
            unfinished = True
        else:
            now = self._with_inputs(canonical(run.dst), wanted)
            there = state_of(now, self._listed(run.dst["info"], bool(uploads.sizes)))
            if self._settings.skip_artifacts:
                wanted.update(artifacts_of(there))  # what there are stay, and are no edit
            self._leave_out(there, wanted)
            if run.origin:
                there = without_source_tags(there, "tag:")
            # ids of the source that an import has left there, as what they mean had not come yet
            run.begun |= {f"tag:{SOURCE_URI}"}  # comes and goes with what was asked for
            run.begun |= {"tag:" + key for key in _ID_TAGS & set(run.tags) if now["tags"].get(key) == run.tags[key]}
            # a run that came from here and goes on is somebody's own
            unfinished = base is None and there["status"] == "RUNNING" and not (run.own or run.origin)
            todo = plan(wanted, there, base, self._settings.overwrite, unfinished, run.begun)
            unfinished = unfinished or any(name.startswith(("metric:", "points")) for name in run.begun)
            unfinished = self._look_closer(run, todo, there, uploads) or unfinished
        if "lifecycle" in todo.differs:
            # its stage is somebody's choice, and nothing can be written to a run that is deleted
            todo, unfinished = Plan(differs=sorted(todo.differs + todo.write + todo.drop)), False
        if self._job.dry_run:
            fixed = [name for name in todo.write if name.startswith("param:") and name in there]
            if fixed:
                run.lost("values", f"the destination has other values: {words(fixed)}", *fixed)
            self._record(run, todo, wanted, base)
            return
        if not todo.empty or unfinished:
            self._before_write()
            if not run.created:
                fields = [*todo.write, *todo.drop, *run.begun]
                self._begin_to_write(run.src_id, run.dst_id, base, fields, run.content_before, run.options_before)
            self._write(run, todo, uploads, there, unfinished)
        self._record(run, todo, wanted, base)

    def _keep_ids(self, run: _Run) -> None:
        """Leave a run that came from here the ids in its tags: whose they are may only show when others are read."""
        there = tag_dict((run.dst.get("data") or {}).get("tags"))
        for key in _ID_TAGS & set(run.tags) & set(there):
            if run.origin or there[key] == run.tags[key]:
                run.mapped[key] = there[key]

    def _look_closer(self, run: _Run, todo: Plan, there: State, uploads: Uploads) -> bool:
        """Plan what states don't show: points that are not the latest, bytes of the same number.

        :return: Whether all points are to be written again; a server drops those that it has.
        """
        old, new, recheck = run.content_before, content_of(run.info), self._settings.recheck
        moved, edited = uploads.other_bytes(there, old.get("files") or {}, new["files"], recheck, run.other_fix)
        planned = set(todo.write)
        todo.write += [name for name in moved if name not in planned]
        (todo.write if self._settings.overwrite else todo.differs).extend(edited)
        if old and old.get("points") != new["points"]:
            todo.write.append("points")
            return True
        return recheck

    def _begin_to_write(
        self, src_id: str, dst_id: str, base: Optional[State], fields: List[str], content: Json,
        options: Optional[List[str]],
    ) -> None:  # fmt: skip
        """Say before it is done what is done to a run that was whole: half done it would look like somebody's edit.

        :param content: What the last import took, and ``options`` its options.
        """
        self._id_map.announce(
            "run", self._experiment_id, src_id, dst_id, fingerprint="", base=base,
            parent=self.parents.get(src_id), begun=sorted({"lifecycle", *fields}), content=content,
            options=options,
        )  # fmt: skip

    def _in_terms_of_destination(self, run: _Run) -> Json:
        doc = dict(run.doc)
        doc["tags"] = run.mapped
        # those of the experiment's own run are there, whether or not the directory has them
        ids = {link["model_id"]: link["model_id"] for link in doc["model_outputs"] + doc["model_inputs"] if run.own}
        ids.update(self._models.ids)
        for links in ("model_outputs", "model_inputs"):
            doc[links] = [{**link, "model_id": ids[link["model_id"]]} for link in doc[links] if link["model_id"] in ids]
        for link in run.doc["model_outputs"] + run.doc["model_inputs"]:
            if link["model_id"] in ids:
                continue
            if link["model_id"] in self._models.left_out:
                run.partial = True
                run.problems.append(f"the export was not to take the logged model {link['model_id']}")
            else:
                run.lost("logged-models", f"the logged model {link['model_id']} is not at the destination")
        return doc

    def _replacements(self, run: _Run) -> List[Tuple[str, str]]:
        if run.own or not self._settings.mlmodel_fix:
            return []
        locations = [(run.doc["info"].get("artifact_uri") or "", run.dst["info"].get("artifact_uri") or "")]
        return locations + self._models.replacements() + [(run.src_id, run.dst_id)]

    def _write(self, run: _Run, todo: Plan, uploads: Uploads, there: State, unfinished: bool) -> None:
        if there["lifecycle"] == "deleted":
            self._tracking.restore_run(run.dst_id)
        writer = RunWriter(self._tracking, self._job, run.dst_id, run.src_id, self._settings.on_refused)
        params = _only(run.doc["params"], "param:", todo)
        for key in [key for key in params if "param:" + key in there]:
            writer.refuse_change(key, params.pop(key), there["param:" + key])
        tags = _only(run.mapped, "tag:", todo)
        points: Iterator[Json] = iter(())
        if unfinished or todo.touches("metric:"):
            points = stored_points(run.doc, run.source)
        writer.write(points, params, tags)
        for name in todo.drop:
            self._tracking.delete_tag(run.dst_id, name[len("tag:") :])
        self._note_relatives(run.dst_id, tags)
        writer.check_long(*((run.doc["params"], run.mapped) if run.created else (params, tags)))
        run.instead = {name: short(value) for name, value in writer.refusals.instead.items()}
        if writer.infinite:
            run.problems.append(f"{writer.infinite} infinite values became the largest number, as servers keep none")
        if writer.refusals.fields:
            run.lost("values", "; ".join(writer.refusals.reasons), *writer.refusals.fields)
        self._write_links(run, todo, writer)
        for path, ex in uploads.send([name[len("artifact:") :] for name in todo.write if name.startswith("artifact:")]):
            run.lost("artifacts", f"artifact {path}: {describe(ex)}", f"artifact:{path}")
            self._job.lost("artifact", f"{run.src_id}/{path}", ex, "artifacts")
        for models in self._importers(run.src_id):
            models.log_metrics(run.src_id, run.dst_id)
        self._finish(run, todo, there)

    def _write_links(self, run: _Run, todo: Plan, writer: RunWriter) -> None:
        if todo.touches("input:"):
            writer.write_inputs(run.doc["inputs"])
        if writer.refused_inputs.fields:
            run.lost("inputs", "; ".join(writer.refused_inputs.reasons), *writer.refused_inputs.fields)
        outputs = [
            {"model_id": model_id, "step": output.get("step", 0)}
            for output in run.doc["model_outputs"]
            for model_id in [self._models.ids.get(output["model_id"])]
            if model_id and f"output:{model_id}" in todo.write
        ]
        if outputs:
            self._tracking.log_outputs(run.dst_id, outputs, lambda: self._has_outputs(run.dst_id, outputs))
        inputs = [name[len("model_input:") :] for name in todo.write if name.startswith("model_input:")]
        if inputs:
            self._tracking.log_inputs(run.dst_id, [], [{"model_id": model_id} for model_id in inputs])

    def _has_outputs(self, run_id: str, outputs: List[Json]) -> Optional[bool]:
        there = canonical(self._tracking.run(run_id))["model_outputs"]
        return True if {o["model_id"] for o in outputs} <= {o["model_id"] for o in there} else None

    def _finish(self, run: _Run, todo: Plan, there: State) -> None:
        """Set name, status and end, which says that the run is whole; then delete it if the source's is deleted."""
        info = run.doc["info"]
        fields: Json = {}
        if "name" in todo.write and info.get("run_name"):
            fields["run_name"] = info["run_name"]
        if "status" in todo.write or "end" in todo.write:
            fields["status"] = info["status"]
            if info.get("end_time"):
                fields["end_time"] = int(info["end_time"])
        if fields:
            self._tracking.update_run(run.dst_id, **fields)
        if info.get("lifecycle_stage") == "deleted":
            self._tracking.delete_run(run.dst_id)
        run.dst["info"].update(fields, lifecycle_stage=info.get("lifecycle_stage") or "active")

    def _record(self, run: _Run, todo: Plan, wanted: State, base: Optional[State]) -> None:
        inherited = run.doc["tags"].get(RUN_KEY)
        losses = sorted({*run.losses, "logged-models"} if run.partial else run.losses)
        if not self._job.dry_run:
            self._id_map.record(
                "run", self._experiment_id, run.src_id, run.dst_id, fingerprint=run.fingerprint,
                content=content_of(run.info, run.missing, run.content_before), parent=run.doc["tags"].get(PARENT),
                base={**settled(wanted, base, todo, run.missing), **run.instead},
                original=original(run.doc["info"], "experiment_id", "artifact_uri"),
                options=run.options,
                **({"inherited": inherited} if inherited else {}),
                **({"losses": losses} if losses else {}),
            )  # fmt: skip
        self._job.ledger.record(
            "run", self._status(run, todo), run.src_id, dst_id=run.dst_id, name=run.doc["info"].get("run_name"),
            reason=self._reason(run, todo, base), losses=sorted(run.losses),
            **({"differs": todo.differs} if todo.differs else {}),
        )  # fmt: skip

    def _status(self, run: _Run, todo: Plan) -> str:
        if run.losses:
            return "incomplete"
        if run.created:
            return "copied"
        return "differs" if todo.differs else "unchanged" if todo.empty else "updated"

    def _reason(self, run: _Run, todo: Plan, base: Optional[State]) -> Optional[str]:
        reasons = list(run.problems)
        if todo.differs:
            reasons.append(left_alone(todo.differs, base))
        return "; ".join(reasons) or None

    # -- links between runs -------------------------------------------------------------------------------------

    def link_parents(self) -> None:
        """Point children to parents and roots that arrived after them, now or in an earlier import."""
        if self._job.dry_run:
            return
        sources = {dst_id: src_id for src_id, dst_id in self.ids.items()}
        work: Dict[str, List[Tuple[str, str]]] = {}
        for (key, relative), children in self._relatives.items():
            if self.ids.get(relative, relative) != relative:
                for child in children:
                    work.setdefault(child, []).append((key, relative))
        for outcome in self._job.executor.gather(lambda item: self._repoint(*item, sources.get(item[0])), work.items()):
            if outcome.error is not None:
                child = outcome.item[0]
                self._job.lost("parent", sources.get(child, child), outcome.error, "parents")

    def _repoint(self, child: str, links: List[Tuple[str, str]], src_id: Optional[str]) -> None:
        run = self._tracking.run(child)
        tags = canonical(run)["tags"]
        # what has another value was created after its parent, or somebody has changed it
        targets = {key: self.ids[relative] for key, relative in links if tags.get(key) == relative}
        if not targets:
            return
        self._before_write()
        entry = self._id_map.find("run", self._experiment_id, src_id) if src_id else None
        deleted = run["info"].get("lifecycle_stage") == "deleted"
        if deleted:
            if entry is not None:
                fields = ["tag:" + key for key in targets]
                content = entry.get("content") or {}
                self._begin_to_write(str(src_id), child, entry["base"], fields, content, entry.get("options"))
            self._tracking.restore_run(child)
        for key, target in targets.items():
            self._tracking.set_tag(child, key, target)
        if deleted:
            self._tracking.delete_run(child)
        if entry is not None and entry["base"] is not None:
            entry["base"].update(("tag:" + key, short(target)) for key, target in targets.items())
            named = ("kind", "destination", "experiment_id", "src_id", "dst_id")
            facts = {key: value for key, value in entry.items() if key not in named}
            self._id_map.record("run", self._experiment_id, str(src_id), child, **facts)


def _only(values: Mapping[str, str], prefix: str, todo: Plan) -> Dict[str, str]:
    names = {name[len(prefix) :] for name in todo.write if name.startswith(prefix)}
    return {key: value for key, value in values.items() if key in names}


def _words(text: str) -> List[str]:
    return "".join(char if char.isalnum() or char == "-" else " " for char in text).split()


def _packed(run: Json) -> bytes:
    """Return a run in a fraction of the memory: of many thousand only one at a time is looked at."""
    return zlib.compress(json_codec.dumps(_encoded(run)), 1)


def _unpacked(run: bytes) -> Json:
    return dict(json_codec.loads(zlib.decompress(run)))


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    return json_codec.encode_number(value)


def _hash(source: ExportDir) -> str:
    source.check_json_size(RUN_FILE)
    digest = hashlib.sha256()
    with source.open_read(RUN_FILE) as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _latest_streamed(doc: Json, source: ExportDir) -> Dict[str, Any]:
    latest: Dict[str, Any] = {}
    for point in stored_points(doc, source):
        there = latest.get(point["key"])
        latest[point["key"]] = point if there is None else latest_of([there, point])
    return latest
