"""Logged models on their own: with and without runs, measured elsewhere, deleted; read anew on both sides by REST."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional

import pytest

from mlflow_migration.bulk.export_logged_models import export_logged_models
from mlflow_migration.client.errors import BadInput
from mlflow_migration.logged_model.export_logged_model import export_logged_model
from mlflow_migration.logged_model.import_logged_model import import_logged_model
from tests.support.compare import MODEL_KEY, RUN_KEY
from tests.support.compare_models import RegistryRest
from tests.support.kills import run_killed
from tests.support.make_models import MLMODEL
from tests.support.moves import Counts, Source, counts_of, point
from tests.support.proxy import Proxy
from tests.support.reports import records, statuses
from tests.support.rest import Json
from tests.support.scripts import Result
from tests.support.servers import Server

DATA = Path(__file__).parents[1] / "data" / "old_layouts" / "runs_apart"


class Made(Source):
    """An experiment with logged models in the making."""

    def logged(self, name: str, run_id: str = "", *, outputs: bool = True, **fields: Any) -> str:
        """A logged model with params, tags and files; an output of its run if it has one."""
        body = {"experiment_id": self.id, "name": name, "source_run_id": run_id, **fields}
        body["params"] = [{"key": f"p{i}", "value": f"{name} {i}"} for i in range(120)][:100]
        body["tags"] = [{"key": "team", "value": f"{name}'s"}, {"key": "empty", "value": ""}]
        info = self.rest.post("logged-models", body)["model"]["info"]
        model_id = str(info["model_id"])
        description = MLMODEL.format(run_id=run_id, model_id=model_id)
        self.rest.put_file(info["artifact_uri"], "MLmodel", description.encode())
        self.rest.put_file(info["artifact_uri"], "data/weights.bin", model_id.encode() * 50)
        if run_id and outputs:
            self.rest.post("runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id, "step": 2}]})
        return model_id

    def measure(self, run_id: str, model_id: str, key: str, values: Iterable[float], dataset: str = "") -> None:
        """Let a run use a model and log metrics of it."""
        self.rest.post("runs/log-inputs", {"run_id": run_id, "models": [{"model_id": model_id}]})
        more: Json = {"model_id": model_id}
        more.update({"dataset_name": dataset, "dataset_digest": "d1"} if dataset else {})
        points = [point(key, value, step, **more) for step, value in enumerate(values, 1)]
        self.rest.post("runs/log-batch", {"run_id": run_id, "metrics": points})

    def ready(self, *model_ids: str) -> None:
        """Say that models are ready."""
        for model_id in model_ids:
            body = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
            self.rest.patch(f"logged-models/{model_id}", body)

    def delete_model(self, model_id: str) -> None:
        """Mark a model as deleted."""
        self.rest.call("DELETE", f"/api/2.0/mlflow/logged-models/{model_id}")


@dataclass
class World:
    """Three experiments that need each other's models, and the names of what they hold."""

    names: List[str]
    ids: List[str]
    models: Dict[str, str] = field(default_factory=dict)
    runs: Dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def world(src_server: Server) -> World:
    """Made once; nothing changes it."""
    name = f"logged_{src_server.port}_{id(src_server)}"
    one, two, three = (Made(src_server, f"{name} {number}") for number in "123")
    made = World([one.name, two.name, three.name], [one.id, two.id, three.id])
    runs, models = made.runs, made.models
    runs["train"] = one.run("train", points=(point("loss", 0.5, 1), point("loss", 0.25, 2)), end=False)
    runs["gone"] = one.run("gone", end=False)
    runs["judge"] = one.run("judge", end=False)
    runs["afar"] = two.run("afar", end=False)
    runs["third"] = three.run("third", end=False)
    one.run("has nothing to do with models")
    models["a"] = one.logged("a", runs["train"], model_type="agent")
    models["deleted"] = one.logged("deleted", runs["train"])
    models["alone"] = one.logged("alone")
    models["of deleted run"] = one.logged("of deleted run", runs["gone"])
    models["b"] = two.logged("b", runs["train"])  # its run is of another experiment
    models["pending"] = two.logged("pending")
    models["c"] = three.logged("c", runs["third"])
    one.measure(runs["train"], models["a"], "rmse", (0.5, 0.25), "wine")
    one.measure(runs["judge"], models["a"], "score", (1.0,))
    one.measure(runs["judge"], models["deleted"], "score", (0.125,))
    one.measure(runs["gone"], models["of deleted run"], "rmse", (3.0,))
    two.measure(runs["afar"], models["a"], "from afar", (7.5,))
    three.measure(runs["third"], models["b"], "third", (8.5,))
    one.ready(*(model_id for name, model_id in models.items() if name != "pending"))
    for run_id in runs.values():
        one.rest.post("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 5000})
    one.delete(runs["gone"])
    one.delete_model(models["deleted"])
    return made


class Side:
    """What a server has in some experiments, in terms of the source's ids."""

    def __init__(self, server: Server, names: Iterable[str]) -> None:
        self.rest = RegistryRest(server.uri)
        self.models: Dict[str, Json] = {}
        self.runs: Dict[str, Json] = {}
        self.ids: Dict[str, str] = {}
        docs: List[Json] = []
        for name in names:
            experiment_id = self.rest.experiment(name)["experiment_id"]
            runs = [self.rest.run(run["info"]["run_id"]) for run in self.rest.runs(experiment_id)]
            ids = {model["info"]["model_id"]: name for model in self.rest.logged_models(experiment_id)}
            for run in runs:
                for link in (run.get("outputs") or {}).get("model_outputs") or ():
                    model = self.rest.logged_model(link["model_id"])
                    if model["info"]["experiment_id"] == experiment_id:
                        ids[link["model_id"]] = name
            docs += [self._keyed(run, run["info"]["run_id"], run["data"].get("tags"), name) for run in runs]
            for model_id in ids:
                model = self.rest.logged_model(model_id)
                docs.append(self._keyed(model, model_id, model["info"].get("tags"), name))
        for doc in docs:
            into = self.models if "artifact_uri" in doc["model"]["info"] and doc["is_model"] else self.runs
            assert doc["key"] not in into, f"two copies of {doc['key']}"
            into[doc["key"]] = self._facts(doc)

    def _keyed(self, doc: Json, own: str, tags: Optional[List[Json]], name: str) -> Json:
        key_tag = MODEL_KEY if own.startswith("m-") else RUN_KEY
        key = next((tag["value"] for tag in tags or () if tag["key"] == key_tag), own)
        self.ids[own] = key
        return {"model": doc, "key": key, "own": own, "is_model": own.startswith("m-"), "experiment": name}

    def _facts(self, doc: Json) -> Json:
        info, data = doc["model"]["info"], doc["model"].get("data") or {}
        tags = info.get("tags") if doc["is_model"] else data.get("tags")
        facts: Json = {
            "experiment": doc["experiment"],
            "tags": {t["key"]: t.get("value", "") for t in tags or () if t["key"] not in (MODEL_KEY, RUN_KEY)},
            "params": sorted((p["key"], p.get("value", "")) for p in data.get("params") or ()),
            "files": self.rest.files(info["artifact_uri"]),
        }
        if not doc["is_model"]:
            both = {**(doc["model"].get("inputs") or {}), **(doc["model"].get("outputs") or {})}
            for links in ("model_inputs", "model_outputs"):
                facts[links] = sorted((self.ids[i["model_id"]], i.get("step", 0)) for i in both.get(links) or ())
            keys = [metric["key"] for metric in data.get("metrics") or ()]
            points = [(key, p["value"], p["step"]) for key in keys for p in self.rest.history(doc["own"], key)]
            return {**facts, "points": sorted(points), "stage": info["lifecycle_stage"], "name": info["run_name"]}
        measured = ("key", "value", "timestamp", "step", "dataset_name", "dataset_digest")
        metrics = [(*(m.get(key) for key in measured), self.ids[m["run_id"]]) for m in data.get("metrics") or ()]
        fields = {key: info.get(key) for key in ("name", "model_type", "status")}
        run_id = info.get("source_run_id") or ""
        fields.update(run=self.ids.get(run_id, run_id), deleted=self.rest.is_deleted_model(doc["own"]))
        return {**facts, **fields, "metrics": sorted(metrics, key=repr)}


def _found(result: Result) -> Counts:
    return {kind: row for kind, row in counts_of(result).items() if row}


class Scripts:
    """Runs the scripts between the two servers."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path) -> None:
        self.script, self.src, self.dst, self.home, self.report = run_script, src, dst, home, home / "report"

    def export(self, name: str, *args: Any, to: str = "export", status: int = 0) -> Counts:
        """Export; how many objects of which kind ended how."""
        env = {"MLFLOW_TRACKING_URI": self.src.uri}
        return _found(self.script(name, "--output-dir", self.home / to, *args, env=env, check=status))

    def load(self, name: str, *args: Any, frm: str = "export", status: int = 0, report: str = "report") -> Counts:
        """Import; how many objects of which kind ended how."""
        self.report = self.home / report
        command = (name, "--input-dir", self.home / frm, "--report-dir", self.report, *args)
        result = self.script(*command, env={"MLFLOW_TRACKING_URI": self.dst.uri}, check=status)
        assert "do not reconcile" not in result.stdout, result
        return _found(result)

    def reasons(self) -> Dict[str, str]:
        """Why logged models of the last import are as they are."""
        return {line["src_id"]: str(line.get("reason") or "") for line in records(self.report, "logged_model")}


@pytest.fixture
def scripts(run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path) -> Scripts:
    return Scripts(run_script, src_server, dst_server, tmp_path)


def test_models_of_experiments(scripts: Scripts, world: World) -> None:
    """Everything arrives in experiments of the same names, with what it needs of another one; repeats add nothing."""
    two = ("export-logged-models", "--experiment-ids", ",".join(world.ids[:2]))
    assert scripts.export(*two) == {"logged_model": {"copied": 7}, "run": {"copied": 5}}
    assert scripts.load("import-logged-models") == {"logged_model": {"copied": 7}, "run": {"copied": 5}}
    ours, theirs = Side(scripts.src, world.names), Side(scripts.dst, world.names)
    assert set(ours.models) == set(theirs.models) == set(world.models.values())
    assert set(theirs.runs) == set(world.runs.values()) and len(ours.runs) == 6
    for kind in ("models", "runs"):
        for object_id, found in getattr(theirs, kind).items():
            assert found == getattr(ours, kind)[object_id]
    assert sum(len(model["files"]) for model in theirs.models.values()) == 14
    assert sum(len(model["metrics"]) for model in theirs.models.values()) == 7
    assert theirs.models[world.models["deleted"]]["deleted"] is True
    for report in ("report", "another"):
        repeated = scripts.load("import-logged-models", report=report)
        assert repeated == {"logged_model": {"unchanged": 7}, "run": {"unchanged": 5}}
    assert scripts.export(*two) == {"logged_model": {"unchanged": 7}, "run": {"unchanged": 5}}
    # what was exported before stays listed
    scripts.export("export-logged-models", "--experiment-ids", world.ids[2], "--export-runs", "False")
    listed = json.loads((scripts.home / "export" / "logged_models.json").read_text())["mlflow"]["experiments"]
    assert {item["name"]: (len(item["logged_models"]), len(item["runs"])) for item in listed} == {
        world.names[0]: (4, 3), world.names[1]: (2, 1), world.names[2]: (1, 1),
    }  # fmt: skip
    # without runs the models find those that are there
    alone = ("--export-runs", "False")
    assert scripts.export(*two, *alone, to="alone") == {"logged_model": {"copied": 6}}
    assert scripts.load("import-logged-models", frm="alone", report="third") == {"logged_model": {"unchanged": 6}}
    after = Side(scripts.dst, world.names)
    assert (after.models, after.runs) == (theirs.models, theirs.runs)


def test_one_model(
    scripts: Scripts, world: World, experiment_name: str, monkeypatch: pytest.MonkeyPatch, server_29: Server
) -> None:
    """It comes with its runs and what these link to; without them it finds those that are there, or says it lacks."""
    model_id = world.models["a"]
    one = ("export-logged-model", "--model-id", model_id)
    to = ("import-logged-model", "--experiment-name", experiment_name)
    everything = {"logged_model": {"copied": 4}, "run": {"copied": 4}}
    assert scripts.export(*one, "--dry-run", to="never") == everything
    assert not (scripts.home / "never").exists()
    assert scripts.export(*one) == everything
    assert scripts.load(*to, "--dry-run") == everything
    assert scripts.load(*to) == everything
    ours, theirs = Side(scripts.src, world.names), Side(scripts.dst, [experiment_name])
    assert set(theirs.models) == {world.models[name] for name in ("a", "deleted", "b", "c")}
    for kind in ("models", "runs"):
        for object_id, found in getattr(theirs, kind).items():
            assert {**found, "experiment": ""} == {**getattr(ours, kind)[object_id], "experiment": ""}
    for report in ("report", "another"):
        assert scripts.load(*to, report=report) == {"logged_model": {"unchanged": 4}, "run": {"unchanged": 4}}
    assert scripts.export(*one, "--export-runs", "False", to="bare") == {"logged_model": {"copied": 1}}
    assert scripts.load(*to, frm="bare", report="bare report") == {"logged_model": {"unchanged": 1}}
    elsewhere = ("import-logged-model", "--experiment-name", experiment_name + " bare")
    assert scripts.load(*elsewhere, frm="bare", status=1) == {"logged_model": {"incomplete": 1}}
    reason = scripts.reasons()[model_id]
    assert "import the run first" in reason and "metric from afar: its run" in reason
    assert len(Side(scripts.dst, [experiment_name + " bare"]).models[model_id]["files"]) == 2
    # a run of the destination in place of the source's
    own = Made(scripts.dst, experiment_name + " own")
    run_id = own.run("of the destination")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", scripts.dst.uri)
    for _ in range(2):
        bare = str(scripts.home / "bare")
        import_logged_model(bare, own.name, run_id, model_type="mine", step=7, report_dir=str(scripts.home / "own"))
    (model,) = own.rest.logged_models(own.id)
    assert (model["info"]["source_run_id"], model["info"]["model_type"]) == (run_id, "mine")
    assert {metric["run_id"] for metric in model["data"]["metrics"]} == {run_id}
    run = own.rest.run(run_id)
    assert run["outputs"] == {"model_outputs": [{"model_id": model["info"]["model_id"], "step": 7}]}
    assert {metric["key"] for metric in run["data"]["metrics"]} == {"rmse"}
    for refused, why in (({"run_id": "f" * 32}, "no run with the id"), ({"step": 1}, "give run_id too")):
        with pytest.raises(BadInput, match=why):
            import_logged_model(bare, own.name, **refused)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", scripts.src.uri)
    entity = export_logged_model(model_id, bare, export_runs=False)
    assert (entity.model_id, entity.source_run_id, entity.tags["team"]) == (model_id, world.runs["train"], "a's")
    assert len(entity.metrics) == 4 and export_logged_model("m-" + "0" * 32, bare) is None
    ids, failed = export_logged_models([world.ids[1]], str(scripts.home / "two"), "name = 'pending'")
    assert (ids, failed) == ([world.models["pending"]], [])
    # what can't start
    env = {"MLFLOW_TRACKING_URI": scripts.src.uri}
    for args, words in (
        (("--model-id", world.models["b"], "--output-dir", scripts.home / "bare"), f"another logged model, {model_id}"),
        (("--model-id", "m-" + "0" * 32, "--output-dir", scripts.home / "new"), "has no logged model"),
        ((*one[1:], "--output-dir", scripts.home / "new", "--tracking-uri", server_29.uri), "before MLflow 3"),
    ):
        assert words in scripts.script(one[0], *args, env=env, check=2).stderr
    old = (*to, "--input-dir", scripts.home / "export", "--tracking-uri", server_29.uri)
    assert "before MLflow 3" in scripts.script(*old, check=2).stderr
    assert not (scripts.home / "new").exists()


def renamed(directory: Path, suffix: str) -> List[str]:
    """Let models of a directory go into other experiments; their names."""
    path = directory / "logged_models.json"
    doc = json.loads(path.read_text())
    for item in doc["mlflow"]["experiments"]:
        item["name"] += suffix
    path.write_text(json.dumps(doc))
    return [item["name"] for item in doc["mlflow"]["experiments"]]


def assert_all_arrived(ours: Side, theirs: Side, models: int = 7, runs: int = 5) -> None:
    """All models and their runs are there, in experiments of any name."""
    assert (len(theirs.models), len(theirs.runs)) == (models, runs)
    for kind in ("models", "runs"):
        for object_id, found in getattr(theirs, kind).items():
            assert found == {**getattr(ours, kind)[object_id], "experiment": found["experiment"]}


def test_filter(scripts: Scripts, world: World, experiment_name: str) -> None:
    """What it leaves out is counted and no loss; an export of all brings it later."""
    every = ("export-logged-models", "--experiment-ids", ",".join(world.ids))
    counts = scripts.export(*every, "--logged-models-filter", "name LIKE 'a%'")
    assert counts == {"logged_model": {"copied": 2, "skipped": 5}, "run": {"copied": 3}}
    found = statuses(scripts.home / "export", "logged_model")
    assert {name for name in world.models if found[world.models[name]] == "copied"} == {"a", "alone"}
    names = renamed(scripts.home / "export", f" {experiment_name}")
    assert scripts.load("import-logged-models") == {"logged_model": {"copied": 2}, "run": {"copied": 3}}
    scripts.export(*every)
    assert renamed(scripts.home / "export", f" {experiment_name}") == names
    counts = scripts.load("import-logged-models")
    assert counts == {"logged_model": {"unchanged": 2, "copied": 5}, "run": {"copied": 2, "updated": 2, "unchanged": 1}}
    assert_all_arrived(Side(scripts.src, world.names), Side(scripts.dst, names))
    both = ("--src-mlflow-uri", scripts.src.uri, "--dst-mlflow-uri", scripts.dst.uri, "--report-dir", scripts.report)
    names = ("--experiment", world.names[0], "--experiment-name", experiment_name)
    copy = ("copy-experiment", *both, *names)
    # that was measured in another experiment, too
    counts = _found(scripts.script(*copy, "--logged-models-filter", "name = 'a'", check=1))
    assert counts["logged_model"] == {"incomplete": 1, "skipped": 4}
    assert counts["run"] == {"copied": 3, "skipped": 1}
    bad = ("--experiment-ids", world.ids[0], "--output-dir", scripts.home / "no", "--tracking-uri", scripts.src.uri)
    refused = scripts.script("export-logged-models", *bad, "--logged-models-filter", "x ~ 1", check=2)
    assert "can't make sense of --logged-models-filter" in refused.stderr
    refused = scripts.script("export-logged-models", "--experiment-ids", "99999", *bad[2:], check=2)
    assert "no experiment with the id '99999'" in refused.stderr
    refused = scripts.script("export-experiment", "--experiment", *bad[1:], "--logged-models-filter", "x ~ 1", check=2)
    assert "can't make sense of --logged-models-filter" in refused.stderr
    assert not (scripts.home / "no").exists()
    listed = scripts.home / "export" / "logged_models.json"
    listed.write_text(listed.read_text().replace('"creation_time": ', '"creation_time": 1'))
    other = (*every, "--output-dir", scripts.home / "export", "--tracking-uri", scripts.src.uri)
    assert "another server's experiment" in scripts.script(*other, check=2).stderr


def test_broken_and_killed(scripts: Scripts, world: World, experiment_name: str) -> None:
    """What means harm or is broken fails alone; what was cut off is completed, and nothing is made twice."""
    directory = scripts.home / "whole"
    scripts.export("export-logged-models", "--experiment-ids", ",".join(world.ids), to="whole")
    names = renamed(directory, " " + experiment_name)
    command = ("import-logged-models", "--input-dir", directory, "--report-dir", scripts.home / "report")
    with Proxy(scripts.dst.uri) as proxy:
        for number in (2, 2):
            assert run_killed(proxy, command, "POST", "*/logged-models", number) == ""
            shutil.rmtree(scripts.home / "report")
    assert sum(scripts.load("import-logged-models", frm="whole")["logged_model"].values()) == 7
    assert_all_arrived(Side(scripts.src, world.names), Side(scripts.dst, names))

    names = renamed(directory, " broken")
    doc = json.loads((directory / "logged_models.json").read_text())
    doc["mlflow"]["experiments"][0]["logged_models"] += ["../../outside", "m-" + "0" * 32]
    (directory / "logged_models.json").write_text(json.dumps(doc))
    (directory / world.models["pending"] / "artifacts" / "data" / "weights.bin").unlink()
    (directory / world.models["alone"] / "logged_model.json").write_text("{")
    counts = scripts.load("import-logged-models", frm="whole", status=1)
    assert counts["logged_model"] == {"copied": 5, "incomplete": 1, "failed": 3}
    assert counts["run"] == {"copied": 5}
    assert len(Side(scripts.dst, names).models) == 6


def test_killed_before_a_model_is_whole(scripts: Scripts, experiment_name: str) -> None:
    """What is done for a model when its runs have come, its metrics and its deletion, counts as done only then."""
    made = Made(scripts.src, experiment_name)
    model_ids = []
    for name in ("one", "two"):
        run_id = made.run(name)
        model_ids.append(made.logged(name, run_id))
        made.measure(run_id, model_ids[-1], "auc", (0.5,))
        made.ready(model_ids[-1])
    made.delete_model(model_ids[0])
    copied = f"{experiment_name} copied"
    with Proxy(scripts.dst.uri) as proxy:
        both = ("--src-mlflow-uri", scripts.src.uri, "--dst-mlflow-uri", proxy.uri)
        names = ("--experiment", experiment_name, "--experiment-name", copied)
        command = ("copy-experiment", *both, *names, "--report-dir", scripts.home / "report")
        for number in (1, 2):
            assert run_killed(proxy, command, "POST", "*/runs/log-batch", number, "before") == ""
        assert run_killed(proxy, command, "DELETE", "*/logged-models/*", 1, "before") == ""
        counts = _found(scripts.script(*command))
        assert sum(counts["logged_model"].values()) == 2
        assert_all_arrived(Side(scripts.src, [experiment_name]), Side(scripts.dst, [copied]), models=2, runs=2)
        rest = RegistryRest(scripts.dst.uri)
        (left,) = rest.logged_models(rest.experiment(copied)["experiment_id"])  # deleted ones are not listed
        assert left["info"]["name"] == "two"
        counts = _found(scripts.script(*command))
        assert (counts["logged_model"], counts["run"]) == ({"unchanged": 2}, {"unchanged": 2})


def test_directory_of_an_earlier_tool(scripts: Scripts, experiment_name: str) -> None:
    """Logged models alone; with their run there before, they are whole."""
    shutil.copytree(DATA / "logged_models", scripts.home / "export")
    (name,) = renamed(scripts.home / "export", f" {experiment_name}")
    run = ("import-run", "--input-dir", next((DATA / "runs").iterdir()), "--experiment-name", name)
    assert scripts.script(*run, "--tracking-uri", scripts.dst.uri, "--report-dir", scripts.home / "r", check=1)
    for status in ("copied", "unchanged"):
        assert scripts.load("import-logged-models") == {"logged_model": {status: 1}}
    (model,) = Side(scripts.dst, [name]).models.values()
    assert (model["name"], model["model_type"], model["status"]) == ("agent", "agent", "LOGGED_MODEL_READY")
    assert model["run"] == "0e" * 16 and list(model["files"]) == ["MLmodel"]
    assert (model["params"], model["tags"]) == ([("p", "1")], {"t": "2"})
    one = ("import-logged-model", "--experiment-name", name + " alone")
    frm = "export/m-" + "1a" * 16
    assert scripts.load(*one, frm=frm, status=1, report="another") == {"logged_model": {"incomplete": 1}}


def test_back_home(scripts: Scripts, experiment_name: str) -> None:
    """Models that are still there are found; one that is gone for good is made anew, and finds its run."""
    made = Made(scripts.src, experiment_name)
    run_id = made.run("trained")
    model_id = made.logged("m", run_id, outputs=False)  # no run shows it when it is deleted
    made.measure(run_id, model_id, "rmse", (0.5,))
    made.ready(model_id)
    scripts.export("export-logged-models", "--experiment-ids", made.id, "--export-runs", "False")
    home = ("import-logged-models", "--tracking-uri", scripts.src.uri)
    assert scripts.load(*home) == {"logged_model": {"unchanged": 1}}
    gone = "m-" + "f" * 32
    for path in (scripts.home / "export").rglob("logged_model*.json"):
        path.write_text(path.read_text().replace(model_id, gone))
    (scripts.home / "export" / model_id).rename(scripts.home / "export" / gone)
    assert scripts.load(*home) == {"logged_model": {"copied": 1}}
    assert scripts.load(*home, report="another") == {"logged_model": {"unchanged": 1}}
    old, new = sorted(made.rest.logged_models(made.id), key=lambda model: model["info"]["model_id"] != model_id)
    assert new["info"]["source_run_id"] == old["info"]["source_run_id"] == run_id
    assert [metric["run_id"] for metric in new["data"]["metrics"]] == [run_id]
    made.delete_model(model_id)
    scripts.export("export-logged-model", "--model-id", model_id, "--export-runs", "False", to="deleted")
    back = ("import-logged-model", "--tracking-uri", scripts.src.uri, "--experiment-name", experiment_name)
    assert scripts.load(*back, frm="deleted", report="third") == {"logged_model": {"unchanged": 1}}
    assert len(made.rest.logged_models(made.id)) == 1
