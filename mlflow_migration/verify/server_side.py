"""What a server has, in the shape in which it is compared. It is only read."""

from __future__ import annotations

import threading
from itertools import chain
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from mlflow_migration.client import databricks
from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.evaluation_datasets import DATASET_KEY, EvaluationDatasets, NoEvaluationDatasets
from mlflow_migration.client.registry import (
    IS_PROMPT,
    VERSION_KEY,
    NoPrompts,
    PromptRegistry,
    Registry,
    is_placeholder,
    version_id,
)
from mlflow_migration.client.tracking import BULK_ROWS, MODEL_KEY, RUN_KEY, Tracking, tag_dict
from mlflow_migration.common.artifact_stores import Presence, logged_model_store, run_store, version_store
from mlflow_migration.common.executor import Executor
from mlflow_migration.verify.datasets import dataset_thing
from mlflow_migration.verify.files import StoreFiles
from mlflow_migration.verify.kinds import Spec, read_server
from mlflow_migration.verify.links import KEYS
from mlflow_migration.verify.objects import (
    EXPERIMENT,
    EXPERIMENT_SET_BY_DATABRICKS,
    LOGGED_MODEL,
    PROMPT,
    PROMPT_VERSION,
    RUN,
    RUN_SET_BY_DATABRICKS,
    TRACE,
    VERSION,
    Files,
    PointSum,
    Thing,
    experiment_fields,
    kept_fields,
    logged_model_fields,
    model_metrics,
    registered_fields,
    run_fields,
    run_links,
    version_fields,
)
from mlflow_migration.verify.server_traces import ServerTraces

Json = Dict[str, Any]

GROUP = 100  # runs that are compared together


class ServerSide:
    """One server.

    :param tracking: The server with the runs.
    :param registry: Its model registry.
    :param executor: The threads.
    :param started: Only runs that started at or after the first, and before the second, count; in ms since epoch.
    """

    def __init__(
        self,
        tracking: Tracking,
        registry: Registry,
        executor: Executor,
        started: Tuple[Optional[int], Optional[int]] = (None, None),
    ) -> None:
        self.tracking, self.registry, self._executor = tracking, registry, executor
        self.uri = tracking.uri
        self.identity, self.registry_identity = tracking.identity, registry.identity
        self.traces = ServerTraces(tracking, executor)
        """Its traces."""
        self._has_models: Optional[bool] = None
        self._presence: Tuple[str, Presence] = ("", Presence(tracking))
        self._lock = threading.Lock()
        self._evaluation: Optional[EvaluationDatasets] = None
        bounds = zip((">=", "<"), started)
        self.where = " and ".join(f"attributes.start_time {sign} {ms}" for sign, ms in bounds if ms is not None)
        """MLflow's filter string for the runs that count; empty if all do."""

    # -- experiments and runs -----------------------------------------------------------------------------------

    def experiments(self) -> Iterator[Thing]:
        """Yield all experiments, deleted ones too."""
        for page in self.tracking.search_experiments():
            yield from map(self._experiment, page)

    def experiment_by_id(self, experiment_id: str) -> Optional[Thing]:
        """Return an experiment, None if there is none."""
        try:
            return self._experiment(self.tracking.experiment(experiment_id))
        except NotFound:
            return None

    def experiment_by_name(self, name: str) -> Optional[Thing]:
        """Return an experiment, None if there is none."""
        found = self.tracking.experiment_by_name(name)
        return None if found is None else self._experiment(found)

    def _experiment(self, doc: Json) -> Thing:
        tags = tag_dict(doc.get("tags"))
        fields = experiment_fields({**doc, "tags": tags})
        deleted = doc.get("lifecycle_stage") == "deleted"
        return Thing(
            EXPERIMENT,
            str(doc["experiment_id"]),
            doc["name"],
            fields,
            deleted=deleted,
            kept=kept_fields(tags, EXPERIMENT_SET_BY_DATABRICKS),
            in_databricks=self.tracking.is_databricks,
        )

    def runs(self, experiment: Thing) -> Iterator[List[Thing]]:
        """Yield the runs of an experiment, deleted ones too, some at a time."""
        for page in self.tracking.search_runs([experiment.id], self.where, ["attributes.start_time ASC"], GROUP):
            yield self._runs(page)

    def runs_by_id(self, experiment_id: str, run_ids: Sequence[str]) -> Dict[str, Thing]:
        """Return runs of an experiment by their ids."""
        if not run_ids:
            return {}
        listed = ", ".join(f"'{run_id}'" for run_id in run_ids)
        found = chain.from_iterable(self.tracking.search_runs([experiment_id], f"attributes.run_id IN ({listed})"))
        return {thing.id: thing for thing in self._runs(list(found))}

    def keys_of_runs(self, experiment_ids: Sequence[str], where: str = "") -> Iterator[Tuple[str, str, str]]:
        """Yield experiment, id and key tag of runs, deleted ones too."""
        for page in self.tracking.search_runs(experiment_ids, where):
            for run in page:
                tags = tag_dict((run.get("data") or {}).get("tags"))
                yield run["info"]["experiment_id"], run["info"]["run_id"], tags.get(RUN_KEY, "")

    def run_home(self, run_id: str) -> str:
        """Return the experiment of a run, empty if there is no such run."""
        try:
            return str(self.tracking.run(run_id)["info"]["experiment_id"])
        except NotFound:
            return ""

    def _runs(self, page: Sequence[Json]) -> List[Thing]:
        if page and self._presence[0] != page[0]["info"]["experiment_id"]:  # one listing for an experiment
            self._presence = page[0]["info"]["experiment_id"], Presence(self.tracking)
        return [self._run(run, self._presence[1]) for run in page]

    def _run(self, run: Json, presence: Presence) -> Thing:
        info, data, tags = run["info"], run.get("data") or {}, tag_dict((run.get("data") or {}).get("tags"))
        latest = {point["key"]: point for point in data.get("metrics") or ()}
        doc = {
            "info": info,
            "params": tag_dict(data.get("params")),
            "tags": tags,
            "latest": latest,
            "inputs": (run.get("inputs") or {}).get("dataset_inputs") or (),
            "model_outputs": (run.get("outputs") or {}).get("model_outputs") or (),
        }
        run_id, uri = info["run_id"], info.get("artifact_uri") or ""
        store = run_store(self.tracking, run_id, uri)
        return Thing(
            RUN,
            run_id,
            info.get("run_name") or "",
            run_fields(doc),
            tags.get(RUN_KEY, ""),
            info["experiment_id"],
            info.get("lifecycle_stage") == "deleted",
            run_links(doc),
            keys=sorted(latest),
            kept=kept_fields(tags, RUN_SET_BY_DATABRICKS),
            in_databricks=self.tracking.is_databricks,
            files=StoreFiles(store, self._executor, uri, may_have=lambda: presence.may_have(info)),
        )

    def add_model_inputs(self, run: Thing) -> None:
        """Add the links to logged models that a run uses, which a search does not tell."""
        with self._lock:
            if self._has_models is None:
                self._has_models = self.tracking.has_logged_models()
        if self._has_models or run.models:
            inputs = self.tracking.run(run.id).get("inputs") or {}
            run.models.update(run_links({"model_inputs": inputs.get("model_inputs")}))

    # -- metric points ------------------------------------------------------------------------------------------

    def point_sums(self, runs: Sequence[Thing]) -> Tuple[Dict[str, Dict[str, PointSum]], Dict[str, Exception]]:
        """Return the sums of all points of some runs by run and key; and why they can't be read, by run."""
        sums = {run.id: {key: PointSum() for key in run.keys} for run in runs}
        by_key: Dict[str, List[str]] = {}
        for run in runs:
            for key in run.keys:
                by_key.setdefault(key, []).append(run.id)
        broken: Dict[str, Exception] = {}
        for outcome in self._executor.gather(lambda work: self._add_points(*work, sums), list(by_key.items())):
            if outcome.error is not None:
                broken.update(dict.fromkeys(outcome.item[1], outcome.error))
        return sums, broken

    def _add_points(self, key: str, run_ids: Sequence[str], sums: Mapping[str, Mapping[str, PointSum]]) -> None:
        found = self.tracking.bulk_history(run_ids, key) if len(run_ids) > 1 else None
        if found is not None and len(found) >= BULK_ROWS:  # it is cut
            half = len(run_ids) // 2
            self._add_points(key, run_ids[:half], sums)
            self._add_points(key, run_ids[half:], sums)
        elif found is not None:
            for point in found:
                sums[point["run_id"]][key].add([point])
        else:
            for run_id in run_ids:
                for points in self.tracking.history(run_id, key):
                    sums[run_id][key].add(points)

    def points(self, run: Thing, key: str) -> Iterator[List[Json]]:
        """Yield the points of one metric, some at a time."""
        return self.tracking.history(run.id, key)

    # -- logged models ------------------------------------------------------------------------------------------

    def logged_models(self, experiment: Thing) -> Iterator[List[Thing]]:
        """Yield the logged models of an experiment that are not deleted, some at a time."""
        for page in self.tracking.search_logged_models([experiment.id]):
            yield [self._logged_model(model, deleted=False) for model in page]

    def logged_model(self, model_id: str, deleted: bool) -> Optional[Thing]:
        """Return a logged model, None if there is none.

        :param deleted: Whether it is deleted; only a search tells.
        """
        try:
            return self._logged_model(self.tracking.logged_model(model_id), deleted)
        except NotFound:
            return None

    def _logged_model(self, model: Json, deleted: bool) -> Thing:
        info, data = model["info"], model.get("data") or {}
        tags = tag_dict(info.get("tags"))
        doc = {**info, "tags": tags, "params": tag_dict(data.get("params"))}
        model_id, uri = info["model_id"], info.get("artifact_uri") or ""
        return Thing(
            LOGGED_MODEL,
            model_id,
            info.get("name") or "",
            logged_model_fields(doc, deleted),
            tags.get(MODEL_KEY, ""),
            str(info.get("experiment_id") or ""),
            deleted,
            metrics=model_metrics(data.get("metrics") or ()),
            files=StoreFiles(logged_model_store(self.tracking, model_id, uri), self._executor, uri),
        )

    def key_of(self, kind: str, object_id: str) -> Optional[str]:
        """Return the key tag of a run, logged model or trace, empty if it has none; None if there is no such object."""
        if kind == TRACE:
            return self.traces.key_of(object_id)
        try:
            if kind == RUN:
                tags = (self.tracking.run(object_id).get("data") or {}).get("tags")
            else:
                tags = self.tracking.logged_model(object_id)["info"].get("tags")
        except NotFound:
            return None
        return tag_dict(tags).get(KEYS[kind], "")

    # -- evaluation datasets ------------------------------------------------------------------------------------

    def _datasets(self) -> EvaluationDatasets:
        with self._lock:
            if self._evaluation is None:
                self._evaluation = EvaluationDatasets(self.tracking)
            return self._evaluation

    def datasets(self) -> List[Thing]:
        """Return all evaluation datasets; none on a server that can hold none."""
        try:
            return [dataset_thing(doc, DATASET_KEY) for doc in self._datasets().search()]
        except NoEvaluationDatasets:
            return []

    def dataset_experiments(self, dataset: Thing) -> Dict[str, Optional[str]]:
        """Return the ids of the experiments that a dataset is linked to; their names are not told."""
        return dict.fromkeys(self._datasets().experiment_ids(dataset.id))

    def records(self, dataset: Thing) -> Iterator[List[Json]]:
        """Yield the records of a dataset, some at a time."""
        return self._datasets().records(dataset.id)

    # -- registered models and prompts --------------------------------------------------------------------------

    def objects(self, spec: Spec, there: bool = False) -> Optional[Tuple[List[Json], Dict[str, str]]]:
        """Return the objects of a kind, and the names of experiments by id; None if that can't be told.

        :param there: This is the destination.
        """
        found = read_server(spec, self.tracking, there)
        if found is None:
            return None
        return found, {one.id: one.name for one in self.experiments()} if found else {}

    def models(self) -> Iterator[str]:
        """Yield the names of the registered models that are no prompts."""
        for page in self.registry.search_models():
            yield from (found["name"] for found in page if IS_PROMPT not in tag_dict(found.get("tags")))

    def prompts(self) -> Iterator[str]:
        """Yield the names of the prompts; none on a server that is too old for them."""
        try:
            pages = PromptRegistry(self.registry).search_models()
        except NoPrompts:
            return
        for page in pages:
            yield from (found["name"] for found in page)

    def registered(self, kind: str, name: str) -> Optional[Thing]:
        """Return a registered model or a prompt with its versions; None if there is none of that kind and name."""
        doc = self.registry.model(name)
        if doc is None or (IS_PROMPT in tag_dict(doc.get("tags"))) != (kind == PROMPT):
            return None
        registry = PromptRegistry(self.registry) if kind == PROMPT else self.registry
        versions = [_version(kind, version) for version in registry.versions(name) if not is_placeholder(version)]
        aliases = {item["alias"]: str(item["version"]) for item in doc.get("aliases") or ()}
        fields = registered_fields({**doc, "tags": tag_dict(doc.get("tags"))})
        place = {"aliases": aliases, "experiments": {}}
        return Thing(kind, name, name, fields, versions=versions, place=place)

    def permissions(self, thing: Thing, asked: bool) -> Optional[Json]:
        """Return the permissions of an experiment or registered model; None if nobody asks, or it is no workspace."""
        server = self.tracking if thing.kind == EXPERIMENT else self.registry.server
        rest = server.rest
        if not (asked and server.is_databricks):
            return None
        if thing.kind == EXPERIMENT:
            return databricks.permissions(rest, "experiments", thing.id)
        if self.registry.keeps_files:
            return databricks.unity_permissions(rest, thing.name)
        return databricks.permissions(rest, "registered-models", databricks.registered_model_id(rest, thing.name))

    def version_files(self, version: Thing) -> Optional[Files]:
        """Return the files of a version's model."""
        name, number = version.place["name"], str(version.place["version"])
        uri = self.registry.artifact_uri(name, number)
        scheme, _, rest = uri.partition(":/")
        owner, _, path = rest.strip("/").partition("/")
        if scheme == "runs":
            root = self.tracking.run(owner)["info"]["artifact_uri"]
            return StoreFiles(run_store(self.tracking, owner, root), self._executor, root, path)
        if scheme == "models":
            root = self.tracking.logged_model(owner)["info"]["artifact_uri"]
            return StoreFiles(logged_model_store(self.tracking, owner, root), self._executor, root, path)
        return StoreFiles(version_store(self.tracking, self.registry, name, number, uri), self._executor, uri)


def _version(kind: str, doc: Json) -> Thing:
    tags = tag_dict(doc.get("tags"))
    doc = {**doc, "tags": tags}
    own_kind = PROMPT_VERSION if kind == PROMPT else VERSION
    name = f"{doc['name']}/{doc['version']}"
    return Thing(own_kind, version_id(doc), name, version_fields(doc), tags.get(VERSION_KEY, ""), place=doc)
