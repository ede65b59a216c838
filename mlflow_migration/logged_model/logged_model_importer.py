"""Imports logged models (MLflow 3) into one experiment, each once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import AbstractSet, Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import NotFound, Refused, describe
from mlflow_migration.client.tracking import LOG_BATCH, MODEL_KEY, Tracking, tag_list
from mlflow_migration.common.artifact_stores import logged_model_store
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import SOURCE_TAGS, IdMap, options_of, original, other_fix
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_logged_model
from mlflow_migration.common.source_tags import (
    SOURCE_URI,
    has_source_tags,
    mk_source_tags_mlflow_tag,
    mk_source_uri_tag,
    set_source_tags_for_field,
    without_source_tags,
)
from mlflow_migration.common.three_way import Plan, State, left_alone, number, plan, settled, short
from mlflow_migration.common.uploads import Uploads, artifacts_of, content_of, listed_files
from mlflow_migration.logged_model.logged_model_exporter import ARTIFACTS, flat

Json = Dict[str, Any]

_SERVER_TAGS = frozenset({MODEL_KEY, "mlflow.modelVersions"})
_FINAL = {"LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"}
_PARAMS_AT_ONCE = 100
_DELETION = ""  # where runs are named
_SET_BY_SERVER = ("experiment_id", "creation_timestamp", "last_updated_timestamp", "artifact_location")


@dataclass
class _Source:
    doc: Json
    info: Json
    directory: ExportDir


class ModelImporter:
    """Imports the logged models of a directory into one experiment.

    :param tracking: The destination.
    :param job: Ledger, threads, progress.
    :param experiment_id: The destination's experiment.
    :param id_map: What earlier imports did.
    :param mlmodel_fix: Write the new ids into MLmodel files.
    :param overwrite: Write again what was edited at the destination.
    :param recheck: Compare the bytes of artifacts too.
    :param source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param skip_artifacts: The directory has no artifacts, as they were to stay where they are.
    """

    def __init__(
        self,
        tracking: Tracking,
        job: Job,
        experiment_id: str,
        id_map: IdMap,
        *,
        mlmodel_fix: bool,
        overwrite: bool,
        recheck: bool,
        source_tags: bool,
        skip_artifacts: bool = False,
    ) -> None:
        self._tracking, self._job, self._experiment_id, self._id_map = tracking, job, experiment_id, id_map
        self._mlmodel_fix, self._overwrite, self._recheck = mlmodel_fix, overwrite, recheck
        self._source_tags, self._skip_artifacts = source_tags, skip_artifacts
        self.home = False
        """Whether models come back to where they were exported from: deleted ones are looked for by their ids."""
        self.left_out: AbstractSet[str] = frozenset()
        """Source ids of models that the export was not to take: that a run lacks these is no loss."""
        self.any_elsewhere = False
        """Whether logged models go into other experiments at the same time."""
        self._instead: Mapping[str, Json] = {}
        self._sources: Dict[str, _Source] = {}
        self._by_run: Dict[str, List[str]] = {}
        self._measured: Dict[str, Dict[str, None]] = {}
        self._owed: Dict[str, Dict[str, None]] = {}
        # a model -> the runs that bring its metrics, _DELETION, and what records it as whole once all is done
        self._unsettled: Dict[str, Tuple[Set[str], Callable[[], None]]] = {}
        self._linked: Dict[str, Sequence[str]] = {}
        self._runs_to_come: AbstractSet[str] = frozenset()
        self._looked = False
        self._there: Dict[str, Json] = {}
        self._by_key: Dict[str, Json] = {}
        self._locations: Dict[str, Tuple[str, str]] = {}
        self._done: Set[str] = set()
        self._kept: Set[str] = set()  # those that were not copied: the destination has had them before
        self._deletions: Dict[str, str] = {}
        self._lock = threading.Lock()
        self.run_ids: Mapping[str, str] = {}
        """Destination run ids by source run id; what imports the runs sets it."""
        self.ids: Dict[str, str] = {}
        """Destination model ids by source model id."""

    def put_instead(self, fields: Mapping[str, Json]) -> None:
        """Let logged models have other fields than those in the directory. To be called before :meth:`load`.

        :param fields: Fields by source id of the model.
        """
        self._instead = fields

    def load(
        self,
        directories: Sequence[Tuple[str, ExportDir]],
        runs: AbstractSet[str],
        existed: bool = True,
        home: bool = False,
    ) -> Set[str]:
        """Read which logged models the directory and the destination's experiment have; more may follow.

        :param directories: Id and directory of each logged model.
        :param runs: Source ids of the runs that will be imported with them.
        :param existed: The destination's experiment was there before.
        :param home: It is the experiment that the directory was exported from.
        :return: Source ids of the runs that have made or measured these models.
        """
        self.home = self.home or home
        self._runs_to_come = runs
        named: Set[str] = set()
        if directories:
            self._job.ledger.expect("logged_model", len(directories))
        for outcome in self._job.executor.gather(lambda item: read_logged_model(item[1]), directories):
            model_id, directory = outcome.item
            if outcome.error is not None:
                self._job.failed("logged_model", model_id, outcome.error)
                continue
            doc, info = outcome.get()
            doc.update(self._instead.get(model_id, {}))
            self._sources[model_id] = _Source(doc, info, directory)
            self._by_run.setdefault(doc["source_run_id"] or "", []).append(model_id)
            for metric in doc["metrics"]:
                self._measured.setdefault(metric["run_id"] or "", {})[model_id] = None
            named.update([doc["source_run_id"] or "", *(metric["run_id"] or "" for metric in doc["metrics"])])
        self._look(existed)
        here = [model_id for model_id, _ in directories if model_id in self._there]
        self.ids.update((own, own) for own in here)
        self.home = self.home or bool(here)
        return named - {""}

    def _look(self, existed: bool) -> None:
        """Read what the destination has, once."""
        if self._looked:
            return
        earlier = list(self._id_map.entries("logged_model", self._experiment_id))
        self.ids.update((entry["src_id"], entry["dst_id"]) for entry in earlier)
        if existed and not (self._sources or earlier):
            return  # only if there is something to be looked for
        self._looked = True
        for page in self._tracking.search_logged_models([self._experiment_id]) if existed else ():
            for model in page:
                self._remember(flat(model))
        # a copy beside it is not what others mean
        self.ids.update((own, own) for own in list(self.ids) if own in self._there)

    def _remember(self, model: Json) -> None:
        self._there[model["model_id"]] = model
        key = model["tags"].get(MODEL_KEY)
        if key:
            self._by_key[key] = model
            self.ids[key] = model["model_id"]

    def waited_for(self, src_run_id: str, linked: Iterable[str], brings_own: bool = True) -> bool:
        """Tell whether a run needs models that are still to come with other runs.

        :param linked: Ids of the models that the run has as inputs or outputs.
        :param brings_own: The models that it has made come with it.
        """
        own = self._by_run.get(src_run_id, ()) if brings_own else ()
        needed = (set(linked) & set(self._sources)).union(self._measured.get(src_run_id, ()))
        return any(model_id not in self._done and model_id not in own for model_id in needed)

    @property
    def any(self) -> bool:
        """Whether the directory has logged models."""
        return bool(self._sources) or self.any_elsewhere

    def replacements(self) -> List[Tuple[str, str]]:
        """Return (old, new) of locations and ids, for MLmodel files."""
        with self._lock:
            return [pair for pair in self._locations.values() if pair[0]] + list(self.ids.items())

    def in_text(self, text: str) -> str:
        """Return the text with the ids of models replaced."""
        for old, new in list(self.ids.items()):
            text = text.replace(old, new)
        return text

    # -- import -------------------------------------------------------------------------------------------------

    def link(self, src_run_id: str, outputs: Sequence[str]) -> None:
        """Tell which models the destination's run has as outputs: deleted ones are in no listing."""
        self._linked[src_run_id] = outputs

    def import_for_run(self, src_run_id: str) -> None:
        """Import the models that a run has made; what fails is recorded."""
        for model_id in self._by_run.get(src_run_id, ()):
            self._guarded(model_id)

    def confirm(self, src_id: str) -> None:
        """Record a model that has not changed at the source since the last import, and is not in the directory."""
        self._job.ledger.expect("logged_model", 1)
        entry = self._id_map.find("logged_model", self._experiment_id, src_id)
        there = None if entry is None else self._find(src_id, {}, entry)
        if entry is None or there is None:
            self._job.gone("logged_model", src_id)
            return
        with self._lock:
            self.ids[src_id] = there["model_id"]
        store = logged_model_store(self._tracking, there["model_id"], there.get("artifact_location") or "")
        now = _state(there, Uploads(store, self._job).there())
        same = (without_source_tags(now, "tag:") if _is_origin(there, src_id) else now) == entry["base"]
        self._job.ledger.record(
            "logged_model", "unchanged" if same else "differs", src_id, dst_id=there["model_id"],
            name=there.get("name"), reason=None if same else "changed at the destination and left alone",
        )  # fmt: skip

    def import_rest(self) -> None:
        """Import the models that have not come with their run."""
        for outcome in self._job.executor.imap(self._guarded, [i for i in self._sources if i not in self._done]):
            outcome.get()

    def _guarded(self, model_id: str) -> None:
        with self._lock:
            if model_id in self._done:
                return
            self._done.add(model_id)
        error = self._job.executor.gather(self._import, [model_id])[0].error
        if isinstance(error, NotFound) and not error.error_code:
            old = Refused("the destination is too old to hold logged models", http_status_code=404)
            self._job.lost("logged_model", model_id, old, "logged-models")
        elif error is not None:
            self._job.failed("logged_model", model_id, error)

    def _import(self, src_id: str) -> None:
        source = self._sources[src_id]
        doc = source.doc
        entry = self._id_map.find("logged_model", self._experiment_id, src_id)
        there = self._find(src_id, doc, entry)
        created = there is None
        own = there is not None and there["model_id"] == src_id
        origin = there is not None and _is_origin(there, src_id)
        if own or origin:
            self._kept.add(src_id)
        options = self._options(entry)
        if there is not None and entry is None and has_source_tags(there["tags"], doc["tags"], MODEL_KEY):
            options = sorted({*options, SOURCE_TAGS})  # although no id map says who asked for them
        doc = {**doc, "tags": _tags(doc, own, origin, SOURCE_TAGS in options, self._skip_artifacts)}
        if there is None:
            there = {**doc, "model_id": src_id} if self._job.dry_run else self._create(src_id, doc)
        with self._lock:
            self.ids[src_id] = there["model_id"]
            self._locations[src_id] = (doc.get("artifact_location") or "", there.get("artifact_location") or "")
        problems, losses, missing = self._known_problems(source)
        uploads = Uploads(
            logged_model_store(self._tracking, there["model_id"], there.get("artifact_location") or ""), self._job
        )
        files = listed_files(source.directory, ARTIFACTS, source.info)
        uploads.open(source.directory, ARTIFACTS, files, [] if own else self._all_replacements())
        wanted = _state(doc, uploads.sizes)
        now = _state(there, {} if created else uploads.there())
        if self._skip_artifacts:
            wanted.update(artifacts_of(now))  # what there are stay, and are no edit
        if origin:
            now = without_source_tags(now, "tag:")
        if self._job.dry_run and created:
            now = {}
        base = entry["base"] if entry is not None and entry["dst_id"] == there["model_id"] and not created else None
        unfinished = base is None and now.get("status") not in _FINAL and not (own or origin)
        # deleting it is the last that an import does, and nothing but an import can have meant to
        begun = {"lifecycle"} if wanted["lifecycle"] == "deleted" and not (own or origin) else set()
        begun.add(f"tag:{SOURCE_URI}")  # comes and goes with what was asked for
        todo = plan(wanted, now, now if created else base, self._overwrite, unfinished, begun)
        if not created:
            old = ((entry or {}).get("content") or {}).get("files") or {}
            new = content_of(source.info)["files"]
            fix = other_fix(entry, options) and not own
            moved, edited = uploads.other_bytes(now, old, new, self._recheck, fix)
            todo.write += moved
            (todo.write if self._overwrite else todo.differs).extend(edited)
        if now.get("lifecycle") == "deleted" and wanted["lifecycle"] == "active":
            # nothing can be written to it, and no request restores it
            todo = Plan(differs=sorted(todo.differs + todo.write + todo.drop))
            problems.append("deleted at the destination, where it can't be restored")
        for path, ex in self._write(doc, there, todo, uploads):
            problems.append(f"artifact {path}: {describe(ex)}")
            losses.add("artifacts")
            missing.append(f"artifact:{path}")
            if not self._job.dry_run:
                self._job.lost("artifact", f"{src_id}/{path}", ex, "artifacts")
        problem = self._run_problem(doc, there, created, own, origin)
        if problem:
            problems.append(problem)
            losses.add("logged-models")
        orphans, owed = self._to_come(src_id, doc, todo)
        for metric in orphans:
            problems.append(f"metric {metric.get('key')}: its run {metric.get('run_id')} is not at the destination")
            losses.add("values")
            missing.append(_metric_name(metric))
        if not self._job.dry_run:
            settle = partial(
                self._id_map.record, "logged_model", self._experiment_id, src_id, there["model_id"],
                content=content_of(source.info, missing, (entry or {}).get("content") or {}),
                original=original(doc, *_SET_BY_SERVER), options=options,
                **({"losses": sorted(losses)} if losses else {}),
            )  # fmt: skip
            whole = partial(
                settle, base=settled(wanted, base, todo, missing), fingerprint=source.info.get("fingerprint")
            )
            later = {metric["run_id"]: None for metric in owed}
            names = [_metric_name(metric) for metric in owed]
            if there["model_id"] in self._deletions:
                later[_DELETION] = None
                names.append("lifecycle")
            if later:
                # whoever is killed before all that has been done must find it missing
                settle(base=settled(wanted, base, todo, missing + names))
                with self._lock:
                    self._unsettled[src_id] = set(later), whole
            else:
                whole()
        if todo.differs:
            problems.append(left_alone(todo.differs, base))
        self._record(src_id, doc, there, created, todo, problems, losses)

    def _run_problem(self, doc: Json, there: Json, created: bool, own: bool, origin: bool) -> Optional[str]:
        """Return what is wrong with the run that the destination's model names; None if nothing is."""
        run_id, there_run = doc.get("source_run_id") or "", there.get("source_run_id")
        to_come = self._job.dry_run and run_id in self._runs_to_come
        if not run_id or to_come and created and not own:
            return None
        if own:
            if self.run_ids.get(run_id, None if to_come else run_id) == run_id:
                return None
            return f"its run {run_id} was made anew, and the new id can't be written into it"
        if there_run == self.run_ids.get(run_id, there_run if origin else None):
            return None
        return (
            f"its run {run_id} was not at the destination when it was made, and can't be named later: import the run"
            " first, and then the model into another experiment"
        )

    def _options(self, entry: Optional[Json]) -> List[str]:
        return options_of(entry, import_source_tags=self._source_tags, mlmodel_fix=self._mlmodel_fix)

    def known(self, src_id: str) -> Optional[str]:
        """Return the fingerprint of what an earlier import took of a model that it has brought over whole."""
        entry = self._id_map.find("logged_model", self._experiment_id, src_id)
        if entry is None or self._overwrite or entry.get("losses") or entry.get("options") != self._options(entry):
            return None
        return entry.get("fingerprint")

    def _find(self, src_id: str, doc: Json, entry: Optional[Json]) -> Optional[Json]:
        origin = (doc.get("tags") or {}).get(MODEL_KEY, "")
        known = entry["dst_id"] if entry is not None else ""
        there = self._there.get(src_id) or self._by_key.get(src_id)
        there = there or self._there.get(origin) or self._there.get(known)
        if there is not None:
            return there
        # deleted ones are not in any listing, nor are those of another experiment that a run uses
        candidates = [src_id] if self.home else []
        candidates += [known] if known else []
        candidates += [origin] if origin and doc.get("lifecycle_stage") == "deleted" else []
        linked = self._linked.get(doc.get("source_run_id") or "", ())
        candidates += [model_id for model_id in linked if model_id not in self._there]
        for model_id in dict.fromkeys(candidates):
            try:
                model = self._tracking.logged_model(model_id)
            except NotFound:
                continue
            here = model["info"].get("experiment_id") == self._experiment_id
            found = flat(model, deleted=here)
            is_origin = model_id in (origin, known) and here
            if model_id == src_id or is_origin or found["tags"].get(MODEL_KEY) == src_id:
                return found
        return None

    def _create(self, src_id: str, doc: Json) -> Json:
        params = tag_list(doc.get("params") or {})
        tags = {key: value for key, value in (doc.get("tags") or {}).items() if key not in _SERVER_TAGS}
        body: Json = {
            "experiment_id": self._experiment_id,
            "name": doc.get("name"),
            "params": params[:_PARAMS_AT_ONCE],
            "tags": tag_list({MODEL_KEY: src_id, **tags}),
        }
        if doc.get("model_type"):
            body["model_type"] = doc["model_type"]
        if doc.get("source_run_id"):
            body["source_run_id"] = self.run_ids.get(doc["source_run_id"], doc["source_run_id"])

        def find() -> Optional[Json]:
            for page in self._tracking.search_logged_models([self._experiment_id], f"tags.`{MODEL_KEY}` = '{src_id}'"):
                return dict(page[0])
            return None

        return flat(self._tracking.create_logged_model(body, find))

    def _known_problems(self, source: _Source) -> Tuple[List[str], Set[str], List[str]]:
        problems = [f"already in the export: {problem}" for problem in source.info["incomplete"]]
        return problems, {"artifacts"} if problems else set(), []

    def _all_replacements(self) -> List[Tuple[str, str]]:
        if not self._mlmodel_fix:
            return []
        return self.replacements() + list(self.run_ids.items())

    def _write(self, doc: Json, there: Json, todo: Plan, uploads: Uploads) -> List[Tuple[str, Exception]]:
        if self._job.dry_run:
            return uploads.unreadable()
        model_id = there["model_id"]
        tags = _only(doc.get("tags") or {}, "tag:", todo)
        if tags:
            self._tracking.set_model_tags(model_id, tag_list(tags))
        for name in [name for name in todo.drop if name.startswith("tag:")]:
            try:
                self._tracking.delete_model_tag(model_id, name[len("tag:") :])
            except NotFound:  # no request can name it
                todo.drop.remove(name)
                todo.differs.append(name)
        params = tag_list(_only(doc.get("params") or {}, "param:", todo))
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            self._tracking.log_model_params(model_id, params[start : start + _PARAMS_AT_ONCE])
        failed = uploads.send([name[len("artifact:") :] for name in todo.write if name.startswith("artifact:")])
        if "status" in todo.write and doc.get("status") in _FINAL:
            self._tracking.finalize_logged_model(model_id, doc["status"])
        if "lifecycle" in todo.write and doc.get("lifecycle_stage") == "deleted":
            self._deletions[model_id] = str(doc.get("model_id"))
        return failed

    def _record(
        self, src_id: str, doc: Json, there: Json, created: bool, todo: Plan, problems: List[str], losses: Set[str]
    ) -> None:
        status = "incomplete" if losses else "copied" if created else "updated" if not todo.empty else "unchanged"
        if todo.differs:
            status = "differs" if status in ("unchanged", "updated") else status
        self._job.ledger.record(
            "logged_model", status, src_id, dst_id=None if self._job.dry_run and created else there["model_id"],
            name=doc.get("name"),
            reason="; ".join(problems) or None, losses=sorted(losses),
        )  # fmt: skip

    # -- what needs runs ----------------------------------------------------------------------------------------

    def _to_come(self, src_id: str, doc: Json, todo: Plan) -> Tuple[List[Json], List[Json]]:
        """Return the metrics to be written that a model got in runs that are not at the destination, and in others."""
        orphans: List[Json] = []
        owed: List[Json] = []
        for metric in doc.get("metrics") or ():
            run_id = metric.get("run_id") or ""
            if _metric_name(metric) not in todo.write:
                continue
            if run_id in self._runs_to_come or run_id in self.run_ids:
                owed.append(metric)
                with self._lock:
                    self._owed.setdefault(run_id, {})[src_id] = None
            else:
                orphans.append(metric)
        return orphans, owed

    def log_metrics(self, src_run_id: str, dst_run_id: str) -> None:
        """Write the metrics that models got in a run, while that run can be written to."""
        with self._lock:
            owed = self._owed.pop(src_run_id, {})
        # a model that was not copied has its metrics, also of a run that is made anew
        models = [m for m in self._measured.get(src_run_id, ()) if m in owed or m not in self._kept]
        self._log_metrics(src_run_id, dst_run_id, models)

    def _log_metrics(self, src_run_id: str, dst_run_id: str, models: Iterable[str]) -> None:
        points = [
            _point(metric, self.ids[model_id])
            for model_id in models
            if model_id in self.ids
            for metric in self._sources[model_id].doc.get("metrics") or ()
            if metric.get("run_id") == src_run_id
        ]
        for start in range(0, len(points), LOG_BATCH):
            self._tracking.log_batch(dst_run_id, points[start : start + LOG_BATCH], [], [])
        for model_id in models:
            self._settle(model_id, src_run_id)

    def _settle(self, src_id: str, done: str) -> None:
        with self._lock:
            to_do, whole = self._unsettled.get(src_id, (set(), None))
            to_do.discard(done)
            if to_do or whole is None:
                return
            del self._unsettled[src_id]
        whole()

    def finish(self) -> None:
        """Write metrics that did not travel with their runs, and delete models, now that all links to them are made."""
        owed = [] if self._job.dry_run else [item for item in self._owed.items() if item[0] in self.run_ids]
        for done in self._job.executor.gather(
            lambda item: self._log_metrics(item[0], self.run_ids[item[0]], item[1]), owed
        ):
            if done.error is not None:
                self._job.lost("value", f"metrics of {', '.join(done.item[1])}", done.error, "values")
        for outcome in self._job.executor.gather(self._tracking.delete_logged_model, self._deletions):
            if outcome.error is not None and not isinstance(outcome.error, NotFound):
                self._job.failed("lifecycle", self._deletions[outcome.item], outcome.error)
            else:
                self._settle(self._deletions[outcome.item], _DELETION)


def _is_origin(there: Json, src_id: str) -> bool:
    """Tell whether a source model was once made from the destination's."""
    return bool(there["model_id"] != src_id and there["tags"].get(MODEL_KEY) != src_id)


def _tags(doc: Json, own: bool, origin: bool, source_tags: bool, skip_artifacts: bool) -> Dict[str, str]:
    """Return the tags that the destination should have."""
    tags = dict(doc.get("tags") or {})
    if origin:
        return without_source_tags(tags)
    if skip_artifacts and not own:
        tags = {**mk_source_uri_tag(doc.get("artifact_location") or ""), **tags}
    if source_tags and not own:
        # its tag of the id says whose copy it is itself
        set_source_tags_for_field({key: doc[key] for key in doc if key != "model_id"}, tags)
        tags.update(mk_source_tags_mlflow_tag(doc.get("tags") or {}))
    return tags


def _point(metric: Json, model_id: str) -> Json:
    point: Json = {key: metric[key] for key in ("key", "value", "timestamp", "step") if key in metric}
    point["model_id"] = model_id
    for name in ("dataset_name", "dataset_digest"):
        if metric.get(name):
            point[name] = metric[name]
    return point


def _state(doc: Json, sizes: Mapping[str, int]) -> State:
    state = {
        "name": short(doc.get("name") or ""),
        "status": str(doc.get("status") or ""),
        "type": short(doc.get("model_type") or ""),
        "lifecycle": str(doc.get("lifecycle_stage") or "active"),
    }
    for key, value in (doc.get("params") or {}).items():
        state["param:" + key] = short(value)
    for key, value in (doc.get("tags") or {}).items():
        if key not in _SERVER_TAGS:
            state["tag:" + key] = short(value)
    for metric in doc.get("metrics") or ():
        value = number(metric.get("value", 0.0))
        state[_metric_name(metric)] = short(0.0 if value == "NaN" else value)  # a server has no place for NaN here
    for path, size in sizes.items():
        state["artifact:" + path] = str(size)
    return state


def _metric_name(metric: Json) -> str:
    return "metric:" + ":".join(str(metric.get(part) or "") for part in ("key", "step", "timestamp", "dataset_name"))


def _only(values: Mapping[str, str], prefix: str, todo: Plan) -> Dict[str, str]:
    return {key: value for key, value in values.items() if prefix + key in todo.write}
