"""A whole server in the making: experiments, runs, registered models and prompts with their links to each other."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Tuple

from benchmarks.make_data import START_TIME, create_run, end_run, make_everything
from tests.support.compare_models import RegistryRest
from tests.support.make_models import MLMODEL, Models, Registered, tags
from tests.support.make_prompts import Prompts
from tests.support.moves import Source, point
from tests.support.rest import Json, Rest, noise
from tests.support.servers import Server

PROMPT = "a-prompt"
#: versions of each registered model: few and many beside each other, 50 of 10 models
VERSIONS = (1, 9, 2, 8, 3, 7, 4, 6, 5, 5)
#: as `verify-migration` names them
KINDS = ("experiment", "run", "logged_model", "registered_model", "model_version", "prompt", "prompt_version")


@dataclass(frozen=True)
class ServerSize:
    """How much to make. Beside it there is the experiment "Default" without runs."""

    experiments: int
    runs: int  # per experiment
    models: int
    prompts: int
    file_bytes: int = 4_000  # of the larger artifact of each run
    oddities: bool = True  # also what `make_oddities` makes

    @property
    def versions(self) -> int:
        """Versions of all models."""
        return sum(VERSIONS[i % len(VERSIONS)] for i in range(self.models))


@dataclass
class Made:
    """What was made by size, by its ids at the source."""

    #: experiments in the order of their making; those that are deleted
    experiments: Dict[str, str] = field(default_factory=dict)
    deleted: List[str] = field(default_factory=list)
    #: runs that are active, in experiments that are: id -> experiment id
    runs: Dict[str, str] = field(default_factory=dict)
    models: List[str] = field(default_factory=list)
    prompts: List[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """For a file."""
        return asdict(self)


# ---- a server with some of all


def make_oddities(server: Server) -> Tuple[List[str], List[str]]:
    """Make a server with some of all that it can hold; the prompt is PROMPT.

    :return: Names of its experiments, names of its registered models.
    """
    make_everything(server.uri, "everything", deleted_models=True)
    models = [Models(server, "first"), Models(server, "second")]
    models[0].everything(mlflow3=True)
    models[1].many(5, True, random.Random(1))
    deleted = Source(server, "deleted")
    deleted.run("in a deleted experiment")
    deleted.rest.post("experiments/delete", {"experiment_id": deleted.id})
    rest = RegistryRest(server.uri)
    rest.post("runs/create", {"experiment_id": "0", "run_name": "of experiment 0", "start_time": 5})
    prompts = Prompts(server.uri)
    prompts.everything(PROMPT)
    prompts.tag(PROMPT, "_mlflow_experiment_ids", f",{models[0].id},0,")
    return ["everything", "first", "second", "deleted", "Default"], ["first", "second"]


# ---- a server of some size


class _Maker:
    """Makes a server by size."""

    def __init__(self, server: Server, size: ServerSize) -> None:
        self.size, self.uri = size, server.uri
        self.rest = Rest(server.uri)
        self.made = Made()
        self.made_runs: Dict[int, List[Json]] = {}
        self.logged: List[Tuple[str, str]] = []  # id of a logged model, of its run
        self.newest: Dict[str, str] = {}  # id of an experiment -> of its newest logged model

    # -- experiments

    def experiment(self, number: int) -> None:
        name = f"team-{number % 5}/experiment {number}"
        body = {"name": name, "tags": [{"key": "mlflow.note.content", "value": f"Nr. {number}: für alle"}]}
        self.made.experiments[name] = self.rest.post("experiments/create", body)["experiment_id"]

    def runs(self, number: int) -> None:
        """The runs of an experiment: every fifth has children, in some experiments those of the one before too."""
        experiment_id = list(self.made.experiments.values())[number]
        runs: List[Json] = []
        self.made_runs[number] = runs
        for i in range(self.size.runs):
            parent = runs[i - i % 5]["info"]["run_id"] if i % 5 in (1, 2) else None
            if i % 5 == 3 and number % 10 == 1:
                parent = self.made_runs[number - 1][i - 3]["info"]["run_id"]
            runs.append(self.run(experiment_id, number, i, parent))

    def run(self, experiment_id: str, number: int, i: int, parent: Any) -> Json:
        start = START_TIME + (number * self.size.runs + i) * 60_000
        made = create_run(
            self.rest, experiment_id, f"run {i}", start, parent=parent, user_id=f"user-{i % 7}",
            tags={"team": f"{number % 5}", "mlflow.source.name": "train.py", "empty": ""},
        )  # fmt: skip
        run_id = made["info"]["run_id"]
        metrics = [point(key, (i + 1) / (step + 1), step) for key in ("loss", "auc") for step in range(20)]
        odd = {**point("nan", 0.0, 0), "value": "NaN"} if i % 3 else point("single", 1e-300 * i, -1, timestamp=5)
        params = [{"key": f"param_{k}", "value": f"{i * k}" if k else ""} for k in range(6)]
        self.rest.post("runs/log-batch", {"run_id": run_id, "metrics": [*metrics, odd], "params": params})
        root = made["info"]["artifact_uri"]
        self.rest.put_file(root, "notes.txt", f"of run {i}".encode())
        self.rest.put_file(root, "data/weights.bin", noise(run_id, self.size.file_bytes))
        if i % 4 == 0:
            self.rest.put_file(root, "model/MLmodel", MLMODEL.format(run_id=run_id, model_id="").encode())
            self.rest.put_file(root, "model/model.bin", noise(f"model of {run_id}", 500))
        if i % 10 == 3:
            self.logged_model(experiment_id, run_id)
        if i % 10 == 4:
            dataset = {"name": "train", "digest": f"{number}", "source_type": "local", "source": "{}"}
            model = {"model_id": self.newest[experiment_id]}
            body = {"run_id": run_id, "datasets": [{"dataset": dataset}], "models": [model]}
            self.rest.post("runs/log-inputs", body)
        if i % 10 != 9:  # these still run
            end_run(self.rest, run_id, "FAILED" if i % 10 == 8 else "FINISHED", start + 5_000)
        return made

    def logged_model(self, experiment_id: str, run_id: str) -> None:
        body = {"experiment_id": experiment_id, "name": "net", "source_run_id": run_id, "tags": tags(2)}
        info = self.rest.post("logged-models", body)["model"]["info"]
        model_id = info["model_id"]
        text = MLMODEL.format(run_id=run_id, model_id=model_id)
        self.rest.put_file(info["artifact_uri"], "MLmodel", text.encode())
        self.rest.put_file(info["artifact_uri"], "data/model.bin", noise(model_id, 500))
        self.rest.patch(f"logged-models/{model_id}", {"model_id": model_id, "status": "LOGGED_MODEL_READY"})
        self.rest.post("runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id, "step": 1}]})
        auc = point("auc", 0.5, 100, model_id=model_id)
        self.rest.post("runs/log-batch", {"run_id": run_id, "metrics": [auc]})
        self.newest[experiment_id] = model_id
        self.logged.append((model_id, run_id))

    # -- the registry

    def model(self, number: int) -> None:
        """A registered model whose versions come from a few runs, one of which may be deleted later."""
        chance = random.Random(number)
        made = Registered(self.uri, f"model-{number % 5} {number}", description="für alle", tags=tags(2))
        runs = self.made_runs[number % self.size.experiments]
        place = runs[number % 5 * 4 % (len(runs) // 4 * 4)]["info"]  # has a model; the first run will be deleted
        places = [
            (f"runs:/{place['run_id']}/model", place["run_id"], ""),
            (f"{place['artifact_uri']}/model", place["run_id"], ""),
        ]
        if self.logged:
            model_id, run_id = self.logged[number * 7 % len(self.logged)]
            places.append((f"models:/{model_id}", run_id, model_id))
        last = ""
        for i in range(VERSIONS[number % len(VERSIONS)]):
            if (i + number) % 4 == 1:
                made.gap(1 + i % 3)
            last = made.version(*places[i % len(places)], description=f"the {i}.", tags=tags(chance.randrange(3)))
            if chance.random() < 0.3:
                made.stage(last, chance.choice(["Staging", "Production", "Archived"]))
            if chance.random() < 0.3:
                made.alias(f"alias-{i}", last)
        made.alias("champion", last)

    def prompt(self, number: int) -> None:
        name = f"prompt-{number}"
        prompts = Prompts(self.uri)
        prompts.everything(name, longest=2_000)
        first = next(iter(self.made.experiments.values()))
        prompts.tag(name, "_mlflow_experiment_ids", f",{first},0,")

    # -- what is deleted, at last

    def delete(self, number: int) -> None:
        """Every 20th run goes, and every 12th experiment with all its runs."""
        name, experiment_id = list(self.made.experiments.items())[number]
        ids = [run["info"]["run_id"] for run in self.made_runs[number]]
        gone = ids[::20]
        for run_id in gone:
            self.rest.post("runs/delete", {"run_id": run_id})
        if number % 12 == 11:
            self.rest.post("experiments/delete", {"experiment_id": experiment_id})
            self.made.deleted.append(name)
        else:
            self.made.runs.update((run_id, experiment_id) for run_id in ids if run_id not in gone)

    def make(self) -> Made:
        numbers = range(self.size.experiments)
        for number in numbers:
            self.experiment(number)
        # those with children of another experiment's runs come after these
        self.rest.map(self.runs, [number for number in numbers if number % 10 != 1])
        self.rest.map(self.runs, [number for number in numbers if number % 10 == 1])
        self.rest.map(self.model, range(self.size.models))
        self.rest.map(self.prompt, range(self.size.prompts))
        for number in numbers:
            self.delete(number)
        self.made.models = [f"model-{i % 5} {i}" for i in range(self.size.models)]
        self.made.prompts = [f"prompt-{i}" for i in range(self.size.prompts)]
        return self.made


def make_server(server: Server, size: ServerSize) -> Made:
    """Fill an empty server: nested runs, also across experiments, deleted ones, metrics, artifacts, logged models;
    registered models with gaps, aliases, stages and versions that share a run; prompts.
    """
    if size.oddities:
        make_oddities(server)
    return _Maker(server, size).make()


# ---- what a server has


def inventory(uri: str) -> Dict[str, int]:
    """How many objects of each kind a server has, deleted ones too (logged models: if a run names them), asked anew."""
    rest = RegistryRest(uri)
    body = {"view_type": "ALL", "max_results": 1000}
    ids = [experiment["experiment_id"] for experiment in rest.pages("experiments/search", body, "experiments")]
    found: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    found["experiment"] = len(ids)
    runs = [run for of_one in rest.map(rest.runs, ids) for run in of_one]
    found["run"] = len(runs)
    logged = {one["info"]["model_id"] for of_one in rest.map(rest.logged_models, ids) for one in of_one}
    logged.update(link["model_id"] for run in runs for link in (run.get("outputs") or {}).get("model_outputs") or ())
    found["logged_model"] = len(logged)
    models = rest.get("registered-models/search", {"max_results": 1000}).get("registered_models") or []
    found["registered_model"] = len(models)
    found["model_version"] = sum(rest.map(lambda model: len(rest.versions(model["name"])), models))
    prompts = Prompts(uri)
    names = prompts.names("")
    found["prompt"] = len(names)
    found["prompt_version"] = sum(len(prompts.versions(name)) for name in names)
    return dict(found)
