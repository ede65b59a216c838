"""What the directory of an export has, in the shape in which it is compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.evaluation_datasets import DATASET_KEY
from mlflow_migration.client.registry import VERSION_KEY, version_id
from mlflow_migration.client.tracking import MODEL_KEY, RUN_KEY
from mlflow_migration.common.executor import Executor, Outcome
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.object_files import (
    evaluation_dataset_dirs,
    logged_model_dirs,
    prompt_dirs,
    read_evaluation_dataset,
    read_evaluation_datasets,
    read_experiment,
    read_info,
    read_logged_model,
    read_model,
    read_points,
    read_prompt,
    read_prompts,
    read_records,
    read_run,
    read_version,
    run_dirs,
    trace_dirs,
)
from mlflow_migration.verify.datasets import dataset_thing
from mlflow_migration.verify.directory_traces import DirectoryTraces
from mlflow_migration.verify.files import DirectoryFiles
from mlflow_migration.verify.kinds import SPECS, Spec, read_directory
from mlflow_migration.verify.objects import (
    DATASET,
    EXPERIMENT,
    EXPERIMENT_SET_BY_DATABRICKS,
    LOGGED_MODEL,
    MODEL,
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
    latest_of,
    logged_model_fields,
    model_metrics,
    registered_fields,
    run_fields,
    run_links,
    version_fields,
)

Json = Dict[str, Any]

ARTIFACTS = "artifacts"
_RECORDS = 500  # records of a dataset in memory together
_GROUP = 20  # runs in memory together, with their points
_BULK = ("experiments", "models", "prompts", "evaluation_datasets")


@dataclass
class Parts:
    """Which directories hold what, whichever tool wrote them.

    :param experiments: Experiments.
    :param loose: Runs and logged models that are there without their experiment.
    :param models: Registered models.
    :param prompts: Prompts, or one version of a prompt.
    :param datasets: Evaluation datasets, or one of them.
    :param kinds: Objects of the kinds that one rule exports.
    :param traces: Traces that are there without their experiment.
    """

    experiments: List[ExportDir] = field(default_factory=list)
    loose: List[ExportDir] = field(default_factory=list)
    models: List[ExportDir] = field(default_factory=list)
    prompts: List[ExportDir] = field(default_factory=list)
    datasets: List[ExportDir] = field(default_factory=list)
    kinds: List[ExportDir] = field(default_factory=list)
    traces: List[ExportDir] = field(default_factory=list)

    def found(self) -> bool:
        """Tell whether there is anything."""
        parts = (self.experiments, self.loose, self.traces, self.models, self.prompts, self.datasets, self.kinds)
        return any(parts)


def parts_of(directory: ExportDir) -> Parts:
    """Find out what a directory is the export of.

    :raises BadInput: It is none.
    """
    parts = Parts()
    _collect(directory, parts, depth=0)
    for spec in SPECS:
        file = f"{spec.plural}.json"
        parts.kinds += [place for place in (directory.sub(spec.folder or spec.plural), directory) if place.exists(file)]
    if not parts.found():
        raise BadInput(f"{directory.path} is no export: it has none of the files that exports have.")
    return parts


def _collect(directory: ExportDir, parts: Parts, depth: int) -> None:
    if directory.exists("version.json") or directory.exists("model.json"):
        parts.models.append(directory)
        parts.loose.append(directory)
    elif directory.exists("experiment.json"):
        parts.experiments.append(directory)
    elif directory.exists("run.json"):
        parts.loose.append(directory)
    elif directory.exists("prompt.json") or directory.exists("prompts_summary.json"):
        parts.prompts.append(directory)
    elif directory.exists("trace.json") or directory.exists("traces.json") or trace_dirs(directory):
        parts.traces.append(directory)
    elif directory.exists("evaluation_dataset.json") or directory.exists("evaluation_datasets_summary.json"):
        parts.datasets.append(directory)
    elif depth < 2 and (directory.exists("experiments.json") or directory.exists("models.json")):
        for name in directory.names():
            _collect(directory.sub(name), parts, 2)
    elif depth == 0 and not any(directory.exists(name) for name in _BULK) and prompt_dirs(directory):
        parts.prompts.append(directory)
    elif depth == 0:
        for name in filter(directory.exists, _BULK):
            _collect(directory.sub(name), parts, 1)


class DirectorySide:
    """A directory of an export.

    :param directory: The directory.
    :param executor: The threads.
    :param full: All points of metrics will be compared.
    :raises BadInput: It is no export.
    """

    where = ""  # all its runs count

    def __init__(self, directory: ExportDir, executor: Executor, full: bool) -> None:
        self.directory, self._executor, self._full = directory, executor, full
        self.parts = parts_of(directory)
        self.uri = directory.path
        self.traces = DirectoryTraces(executor, [*self.parts.loose, *self.parts.traces])
        """Its traces."""
        self._sums: Dict[str, Dict[str, PointSum]] = {}
        self._keys: Dict[Tuple[str, str], str] = {}
        self._models: Optional[Dict[str, ExportDir]] = None
        self._prompts: Optional[Dict[str, Thing]] = None

    # -- experiments and runs -----------------------------------------------------------------------------------

    def experiments(self) -> Iterator[Thing]:
        """Yield all experiments; one that can't be read has its error."""
        for directory in self.parts.experiments:
            try:
                doc = read_experiment(directory)
            except BadDirectory as ex:
                yield Thing(EXPERIMENT, directory.path, place=directory, error=ex)
                continue
            found = doc["experiment"]
            yield Thing(
                EXPERIMENT,
                found["experiment_id"] or "",
                found["name"] or "",
                experiment_fields(found),
                deleted=found["lifecycle_stage"] == "deleted",
                kept=kept_fields(found["tags"] or {}, EXPERIMENT_SET_BY_DATABRICKS),
                place=directory,
                versions=[Thing(RUN, run_id, error=_LOST) for run_id in doc["failed_runs"]],
            )

    def runs(self, experiment: Thing) -> Iterator[List[Thing]]:
        """Yield the runs of an experiment, some at a time."""
        found = run_dirs(experiment.place)
        there = {run_id for run_id, _ in found}
        lost = [run for run in experiment.versions if run.id not in there]
        if lost:
            yield lost
        yield from self._read_runs(found)

    def loose_runs(self) -> Iterator[List[Thing]]:
        """Yield the runs that are there without their experiment, some at a time."""
        for directory in self.parts.loose:
            if directory.exists("run.json"):
                yield from self._read_runs([("", directory)])
            elif directory.exists("version.json"):
                yield from self._read_runs([("", directory.sub("run"))] if directory.exists("run/run.json") else [])
            else:
                yield from self._read_runs(run_dirs(directory))

    def _read_runs(self, found: Sequence[Tuple[str, ExportDir]]) -> Iterator[List[Thing]]:
        for start in range(0, len(found), _GROUP):
            outcomes = self._executor.gather(lambda item: self._run(item[1]), found[start : start + _GROUP])
            yield [_value(outcome, RUN) for outcome in outcomes]

    def _run(self, directory: ExportDir) -> Thing:
        doc = read_run(directory)
        info = read_info(directory, "run.json") or {}
        latest, sums = self._points_of(doc, directory)
        run_id = doc["info"]["run_id"]
        self._sums[run_id] = sums
        self._keys[RUN, run_id] = doc["tags"].get(RUN_KEY, "")
        root = doc["info"]["artifact_uri"] or ""
        return Thing(
            RUN,
            run_id,
            doc["info"]["run_name"] or "",
            run_fields({**doc, "latest": latest}),
            self._keys[RUN, run_id],
            doc["info"]["experiment_id"] or "",
            doc["info"]["lifecycle_stage"] == "deleted",
            run_links(doc),
            keys=sorted(latest),
            kept=kept_fields(doc["tags"], RUN_SET_BY_DATABRICKS),
            files=DirectoryFiles(directory, ARTIFACTS, info.get("artifacts"), root),
            place=directory,
        )

    def _points_of(self, doc: Json, directory: ExportDir) -> Tuple[Dict[str, Json], Dict[str, PointSum]]:
        latest: Dict[str, Json] = {}
        sums: Dict[str, PointSum] = {}
        for key, points in all_points(doc, directory):
            newest = latest_of(points, latest.get(key))
            if newest is not None:
                latest[key] = newest
            if self._full and points:
                sums.setdefault(key, PointSum()).add(points)
        return latest, sums

    def add_model_inputs(self, run: Thing) -> None:
        """Do nothing: a directory tells them with the run."""

    def point_sums(self, runs: Sequence[Thing]) -> Tuple[Dict[str, Dict[str, PointSum]], Dict[str, Exception]]:
        """Return the sums of all points of some runs by run and key; they are forgotten then."""
        return {run.id: self._sums.pop(run.id, {}) for run in runs}, {}

    def points(self, run: Thing, key: str) -> Iterator[List[Json]]:
        """Yield the points of one metric, some at a time."""
        for found, points in all_points(read_run(run.place), run.place):
            if found == key:
                yield points

    # -- logged models ------------------------------------------------------------------------------------------

    def logged_models(self, experiment: Thing) -> Iterator[List[Thing]]:
        """Yield the logged models of an experiment, some at a time."""
        yield from self._read_models(logged_model_dirs(experiment.place))

    def loose_models(self) -> Iterator[List[Thing]]:
        """Yield the logged models that are there without their experiment, some at a time."""
        for directory in self.parts.loose:
            yield from self._read_models(logged_model_dirs(directory))

    def _read_models(self, found: Sequence[Tuple[str, ExportDir]]) -> Iterator[List[Thing]]:
        for start in range(0, len(found), _GROUP):
            outcomes = self._executor.gather(lambda item: self._logged_model(item[1]), found[start : start + _GROUP])
            yield [_value(outcome, LOGGED_MODEL) for outcome in outcomes]

    def _logged_model(self, directory: ExportDir) -> Thing:
        doc, info = read_logged_model(directory)
        deleted = doc["lifecycle_stage"] == "deleted"
        model_id = doc["model_id"] or ""
        self._keys[LOGGED_MODEL, model_id] = doc["tags"].get(MODEL_KEY, "")
        return Thing(
            LOGGED_MODEL,
            model_id,
            doc["name"] or "",
            logged_model_fields(doc, deleted),
            self._keys[LOGGED_MODEL, model_id],
            str(doc.get("experiment_id") or ""),
            deleted,
            metrics=model_metrics(doc["metrics"]),
            files=DirectoryFiles(directory, ARTIFACTS, info.get("artifacts"), doc["artifact_location"] or ""),
            place=directory,
        )

    def logged_model(self, model_id: str, deleted: bool) -> Optional[Thing]:
        """Return None: a directory has no others than those that it lists."""
        return None

    def key_of(self, kind: str, object_id: str) -> Optional[str]:
        """Return the key tag of what was read so far, empty if it has none; None if there is no such object."""
        if kind == TRACE:
            return self.traces.key_of(object_id)
        return self._keys.get((kind, object_id))

    def objects(self, spec: Spec) -> Optional[Tuple[List[Json], Dict[str, str]]]:
        """Return the objects of a kind, and the names of their experiments by id; None if the directory has none."""
        return read_directory(spec, self.directory)

    # -- evaluation datasets ------------------------------------------------------------------------------------

    def datasets(self) -> List[Thing]:
        """Return all evaluation datasets; one that is listed and can't be read has its error."""
        found: List[Thing] = []
        for directory in self.parts.datasets:
            if directory.exists("evaluation_dataset.json"):
                found.append(_dataset(directory.path, directory, single=True))
                continue
            summary = read_evaluation_datasets(directory)
            there = [_dataset(name, sub, single=False) for name, sub in evaluation_dataset_dirs(directory)]
            known = {thing.id for thing in there}
            named = {**summary["datasets"], **summary["failed"]}
            lost = [Thing(DATASET, key, name, error=_LOST) for key, name in named.items() if key not in known]
            found += there + lost
        return found

    def dataset_experiments(self, dataset: Thing) -> Dict[str, Optional[str]]:
        """Return the names of the experiments that a dataset is linked to by id, as far as they are known."""
        doc = dataset.place.doc
        named = {key: about.get("name") for key, about in doc["experiments"].items()}
        return {key: named.get(key) for key in doc["dataset"]["experiment_ids"]}

    def records(self, dataset: Thing) -> Iterator[List[Json]]:
        """Yield the records of a dataset, some at a time."""
        records = read_records(dataset.place.doc, dataset.place.directory)
        while True:
            some = list(islice(records, _RECORDS))
            if not some:
                return
            yield some

    # -- registered models and prompts --------------------------------------------------------------------------

    def models(self) -> Iterator[str]:
        """Yield the names of the registered models."""
        if self._models is None:
            self._models = {}
            for directory in self.parts.models:
                try:
                    name = _model_doc(directory)[0]["model"]["name"]
                except BadDirectory:
                    name = directory.path  # reading it again says why
                self._models[name] = directory
        yield from self._models

    def prompts(self) -> Iterator[str]:
        """Yield the names of the prompts."""
        if self._prompts is None:
            self._prompts = {}
            for directory in self.parts.prompts:
                self._read_prompts(directory, self._prompts)
        yield from self._prompts

    def registered(self, kind: str, name: str) -> Optional[Thing]:
        """Return a registered model or a prompt with its versions."""
        if kind == PROMPT:
            return (self._prompts or {}).get(name)
        directory = (self._models or {})[name]
        doc, single = _model_doc(directory)
        info = read_info(directory, "model.json") or {}
        thing = Thing(MODEL, name, name, registered_fields(doc["model"]))
        thing.place = {"aliases": doc["aliases"], "experiments": {}, "single": single}
        for version in doc["versions"]:
            place = {**version, "name": name, "directory": directory, "own": info.get("version_models") or {}}
            thing.versions.append(_version(VERSION, place))
        thing.versions += [_lost(VERSION, name, number) for number in doc["failed"]]
        return thing

    def permissions(self, thing: Thing, asked: bool) -> Optional[Json]:
        """Return the permissions of an experiment or registered model; None if the directory has none."""
        if thing.kind == EXPERIMENT:
            return read_experiment(thing.place).get("permissions")
        return _model_doc((self._models or {})[thing.name])[0].get("permissions")

    def version_files(self, version: Thing) -> Optional[Files]:
        """Return the files of a version's model that the directory has for this version alone; None if it has none."""
        directory, number = version.place["directory"], version.place["version"]
        for folder in (f"version_models/{number}", "version_model"):
            if directory.exists(folder):
                return DirectoryFiles(directory, folder, version.place["own"].get(number))
        return None

    def _read_prompts(self, directory: ExportDir, found: Dict[str, Thing]) -> None:
        if directory.exists("prompt.json"):
            self._add_prompt(directory, found, single=True)
            return
        for _, sub in prompt_dirs(directory):
            self._add_prompt(sub, found, single=False)
        if not directory.exists("prompts_summary.json"):
            return
        summary = read_prompts(directory)
        for whole in summary["prompts"]:
            name = whole["model"]["name"]
            thing = found.setdefault(name, _prompt(name))
            thing.fields = registered_fields(whole["model"])
            thing.place.update(aliases=whole["aliases"], experiments=_names(whole), whole=True)
            there = {version.name for version in thing.versions}
            lost = [number for number in whole["numbers"] if f"{name}/{number}" not in there]
            thing.versions += [_lost(PROMPT_VERSION, name, number) for number in sorted({*whole["failed"], *lost})]
        for name in summary["failed"]:
            found.setdefault(name, _prompt(name)).error = _LOST

    def _add_prompt(self, directory: ExportDir, found: Dict[str, Thing], single: bool) -> None:
        try:
            doc = read_prompt(directory)
        except BadDirectory as ex:
            found[directory.path] = Thing(PROMPT, directory.path, error=ex)
            return
        version = doc["version"]
        thing = found.setdefault(version["name"], _prompt(version["name"]))
        thing.versions.append(_version(PROMPT_VERSION, version))
        thing.place["single"] = single
        thing.place["aliases"].update(dict.fromkeys(version["aliases"], version["version"]))


@dataclass(frozen=True)
class DatasetPlace:
    """Where a directory has an evaluation dataset.

    :param doc: Its file, without the records that may lie beside it.
    :param single: It was exported alone.
    """

    directory: ExportDir
    doc: Json
    single: bool


def _dataset(name: str, directory: ExportDir, single: bool) -> Thing:
    try:
        doc = read_evaluation_dataset(directory)
    except BadDirectory as ex:
        return Thing(DATASET, name, error=ex)
    return dataset_thing(doc["dataset"], DATASET_KEY, DatasetPlace(directory, doc, single))


_LOST = BadDirectory("its export failed: it is not in the directory")


def _lost(kind: str, name: str, number: str) -> Thing:
    return Thing(kind, f"{name}/{number}", f"{name}/{number}", error=_LOST)


def _names(whole: Json) -> Dict[str, str]:
    """Return the names of the experiments that a prompt is linked to, by id at the source."""
    return {experiment_id: about["name"] for experiment_id, about in whole["experiments"].items() if about["name"]}


def _prompt(name: str) -> Thing:
    return Thing(PROMPT, name, name, place={"aliases": {}, "experiments": {}, "single": False, "whole": False})


def _version(kind: str, doc: Json) -> Thing:
    name = f"{doc['name']}/{doc['version']}"
    return Thing(kind, version_id(doc), name, version_fields(doc), doc["tags"].get(VERSION_KEY, ""), place=doc)


def _model_doc(directory: ExportDir) -> Tuple[Json, bool]:
    """Return the registered model of a directory, and whether it has only one of its versions."""
    if not directory.exists("version.json"):
        return read_model(directory), False
    version = read_version(directory)
    model = {"name": version["name"], "tags": {}}
    return {"model": model, "versions": [version], "aliases": {}, "failed": []}, True


def all_points(doc: Json, directory: ExportDir) -> Iterator[Tuple[str, List[Json]]]:
    """Yield key and points, some at a time, of all metrics of a run of a directory.

    :param doc: The run as ``read_run`` returns it.
    """
    yield from doc["metrics"].items()
    if doc.get("metrics_file"):
        yield from read_points(directory, doc["metrics_file"])


def _value(outcome: "Outcome[Tuple[str, ExportDir], Thing]", kind: str) -> Thing:
    if outcome.error is None:
        return outcome.get()
    object_id, directory = outcome.item
    return Thing(kind, object_id or directory.path, place=directory, error=outcome.error)
