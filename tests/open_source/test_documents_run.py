"""The commands that the documents show, really run: those marked with ``<!-- run -->``, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
import requests

from tests.documents import ROOT, Block, blocks, commands
from tests.support.make_datasets import Datasets
from tests.support.scripts import run_script
from tests.support.servers import Server, clean_environment

DOCUMENTS = ("single.md", "bulk.md", "copy.md", "governance.md", "tools.md")
SHOWN_RUN = "6b8f1c2a9d3e4f5061728394a5b6c7d8"
SHOWN_MODEL = "m-204983abc3e84c1b963532003144eee5"
EXPERIMENT = "sklearn-wine"


def _post(server: Server, path: str, body: Dict[str, Any]) -> Dict[str, Any]:
    response = requests.post(f"{server.uri}/api/2.0/mlflow/{path}", json=body, timeout=60)
    response.raise_for_status()
    found: Dict[str, Any] = response.json()
    return found


def _runs(server: Server, experiment: str, view: str = "ALL") -> Dict[str, Dict[str, Any]]:
    found = requests.get(
        f"{server.uri}/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": experiment}, timeout=60
    ).json()
    body = {"experiment_ids": [found["experiment"]["experiment_id"]], "run_view_type": view, "max_results": 100}
    return {run["info"]["run_name"]: run for run in _post(server, "runs/search", body).get("runs", [])}


def _tags(run: Dict[str, Any]) -> Dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def _make_run(server: Server, experiment_id: str, name: str, parent: str = "") -> str:
    tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
    body = {"experiment_id": experiment_id, "user_id": "mary", "run_name": name, "start_time": 1_700_000_000_000}
    run_id = str(_post(server, "runs/create", {**body, "tags": tags})["run"]["info"]["run_id"])
    points = [{"key": "rmse", "value": 0.9, "timestamp": 1_700_000_000_000 + i, "step": i} for i in range(3)]
    _post(server, "runs/log-batch", {"run_id": run_id, "metrics": points, "params": [{"key": "depth", "value": "4"}]})
    _post(server, "runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 1_700_000_009_000})
    return run_id


@dataclass(frozen=True)
class Stage:
    """Two servers, and what stands there for the names that the documents use."""

    source: Server
    destination: Server
    experiment_id: str
    run_id: str
    model_id: str
    suffix: str
    folder: Path

    def name(self, shown: str) -> str:
        """The name of an experiment that the documents call ``shown``."""
        return shown.replace(EXPERIMENT, EXPERIMENT + self.suffix)

    def adapted(self, text: str) -> str:
        """A block of a document, for these servers."""
        text = text.replace("http://localhost:5000", self.source.uri)
        text = text.replace("http://localhost:5001", self.destination.uri)
        text = text.replace("--experiment-ids 1 ", f"--experiment-ids {self.experiment_id} ")
        text = self.name(text).replace(SHOWN_RUN, self.run_id).replace(SHOWN_MODEL, self.model_id)
        return text.replace("/tmp/export", str(self.folder))


@pytest.fixture
def stage(servers: Tuple[Server, Server], tmp_path: Path) -> Stage:
    """A source with the experiment of the documents, and a destination without."""
    source, destination = servers
    suffix = uuid.uuid4().hex[:8]
    experiment_id = _post(source, "experiments/create", {"name": EXPERIMENT + suffix})["experiment_id"]
    run_id = _make_run(source, experiment_id, "sweep")
    _make_run(source, experiment_id, "depth-4", parent=run_id)
    _post(source, "runs/delete", {"run_id": _make_run(source, experiment_id, "gone")})
    _post(source, "registered-models/create", {"name": EXPERIMENT + suffix})
    artifacts = f"{source.uri}/api/2.0/mlflow-artifacts/artifacts/{experiment_id}/{run_id}/artifacts"
    requests.put(f"{artifacts}/model/MLmodel", data=b"flavors: {}", timeout=60).raise_for_status()
    version = {"name": EXPERIMENT + suffix, "source": f"runs:/{run_id}/model", "run_id": run_id}
    _post(source, "model-versions/create", version)
    _post(source, "registered-models/alias", {"name": EXPERIMENT + suffix, "alias": "champion", "version": "1"})
    prompt = f"{EXPERIMENT}{suffix}-prompt"
    is_prompt = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    link = {"key": "_mlflow_experiment_ids", "value": f",{experiment_id},"}
    _post(source, "registered-models/create", {"name": prompt, "description": "d", "tags": [is_prompt, link]})
    text = {"key": "mlflow.prompt.text", "value": "Describe {{ name }}."}
    body = {"name": prompt, "source": "dummy-source", "description": "first", "tags": [is_prompt, text]}
    _post(source, "model-versions/create", body)
    _post(source, "registered-models/alias", {"name": prompt, "alias": "production", "version": "1"})
    questions = Datasets(source.uri)
    dataset_id = questions.create(f"{EXPERIMENT}{suffix}-questions", [experiment_id], **{"mlflow.user": "mary"})
    human = {"source_type": "HUMAN", "source_data": {}}
    record = {"inputs": {"question": "Which?"}, "outputs": None, "expectations": {"answer": "a white one"}}
    questions.add(dataset_id, {**record, "tags": {"mlflow.user": "mary"}, "source": human})
    (tmp_path / "wine.csv").write_text("alcohol\n13.2\n12.8\n", encoding="utf-8")
    (tmp_path / "quality.csv").write_text("quality\n0.5\n0.75\n", encoding="utf-8")
    model = {"experiment_id": experiment_id, "name": "model", "source_run_id": run_id}
    info = _post(source, "logged-models", model)["model"]["info"]
    model_id, root = info["model_id"], info["artifact_uri"].partition(":/")[2]
    place = f"{source.uri}/api/2.0/mlflow-artifacts/artifacts/{root.strip('/')}/MLmodel"
    requests.put(place, data=b"flavors: {}", timeout=60).raise_for_status()
    _post(source, "runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id, "step": 0}]})
    measured = {"key": "rmse", "value": 0.9, "timestamp": 1_700_000_000_000, "step": 0, "model_id": model_id}
    _post(source, "runs/log-batch", {"run_id": run_id, "metrics": [measured]})
    _make_trace(source, experiment_id, run_id)
    return Stage(source, destination, experiment_id, run_id, model_id, suffix, tmp_path)


def _make_trace(server: Server, experiment_id: str, run_id: str) -> None:
    """A trace with a span, whose id has that of the run in it as in the documents."""
    trace_id = f"tr-{run_id}"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    info = {"trace_id": trace_id, "trace_location": place, "request_time": "2025-01-01T00:00:00Z", "state": "OK",
            "trace_metadata": {"mlflow.sourceRun": run_id}}  # fmt: skip
    body = {"trace": {"trace_info": info}}
    requests.post(f"{server.uri}/api/3.0/mlflow/traces", json=body, timeout=60).raise_for_status()
    span = {"traceId": run_id, "spanId": "00000000000000a1", "name": "ask", "startTimeUnixNano": "1735689600000000000"}
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    headers = {"x-mlflow-experiment-id": experiment_id}
    requests.post(f"{server.uri}/v1/traces", json=spans, headers=headers, timeout=60).raise_for_status()


def _run(block: Block, stage: Stage) -> None:
    text = stage.adapted(block.text)
    if block.language == "python":
        command = [sys.executable, "-c", text]
        result = subprocess.run(
            command, env=clean_environment(), cwd=stage.folder, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, f"{block.name}\n{result.stdout}\n{result.stderr}"
        return
    for words in commands(text):
        done = run_script(words[0], *words[1:], cwd=stage.folder, check=None)
        assert done.status == 0, f"{block.name}\n{done}"


def test_shown_commands_do_what_the_text_says(stage: Stage) -> None:
    for name in DOCUMENTS:
        for block in blocks(ROOT / name):
            if block.run:
                _run(block, stage)
    _check_copies(stage)
    _check_files(stage)


def _check_copies(stage: Stage) -> None:
    destination = stage.destination
    wanted = {"sweep": "active", "depth-4": "active", "gone": "deleted"}
    copies = _runs(destination, stage.name(EXPERIMENT))
    assert {name: run["info"]["lifecycle_stage"] for name, run in copies.items()} == wanted
    assert set(_runs(destination, stage.name("sklearn-wine-one-run"))) == {"sweep"}
    assert set(_runs(destination, stage.name("sklearn-wine-copied-run"))) == {"sweep"}
    assert set(_runs(destination, stage.name("sklearn-wine-copy"), "ACTIVE_ONLY")) == {"sweep", "depth-4"}
    assert _tags(copies["depth-4"])["mlflow.parentRunId"] == copies["sweep"]["info"]["run_id"]
    assert _tags(copies["sweep"])["mlflow_exim.run_info.run_id"] == stage.run_id
    assert _tags(copies["sweep"])["mlflow_exim.run_info.start_time"] == "1700000000000"
    found = requests.get(
        f"{destination.uri}/api/2.0/mlflow/registered-models/get", {"name": stage.name(EXPERIMENT)}, timeout=60
    ).json()["registered_model"]
    assert found["aliases"] == [{"alias": "champion", "version": "1"}]
    assert set(_runs(destination, stage.name("sklearn-wine-models"))) == {"sweep"}
    assert set(_runs(destination, stage.name("sklearn-wine-logged-model"))) == {"sweep"}
    assert set(_runs(destination, stage.name("sklearn-wine-production"))) == {"sweep"}
    assert set(_runs(destination, stage.name("sklearn-wine-copied-models"))) == {"sweep"}
    assert set(_runs(destination, stage.name("sklearn-wine-deep"))) == {"sweep"}
    bulk = stage.folder / "models" / "experiments"
    assert len(list((stage.folder / "experiments").glob("*/run.json"))) == 0
    assert sorted(path.parent.name for path in bulk.rglob("run.json")) == [stage.run_id]
    there = _prompts(destination, stage.name("sklearn-wine-prompt"))
    assert there == [stage.name("sklearn-wine-prompt"), stage.name("sklearn-wine-prompt-alone")]
    datasets = [found["name"] for found in Datasets(destination.uri).named(stage.name("sklearn-wine-questions"))]
    assert sorted(datasets) == [stage.name("sklearn-wine-questions"), stage.name("sklearn-wine-questions-alone")]
    # the model had none, and got one
    assert (stage.folder / "versions.csv").read_text(encoding="utf-8") == "model,version,run_id,error\n"
    assert json.loads((stage.folder / "experiments.json").read_text(encoding="utf-8"))["experiments"]
    lines = _lines(stage.folder / "experiment" / "ledger.jsonl")
    statuses = {"copied", "updated", "unchanged", "incomplete", "skipped", "failed", "differs"}
    assert {line["status"] for line in lines if "kind" in line} <= statuses
    events = {"start", "server", "note", "phase", "progress", "end"}
    assert {line["event"] for line in lines if "kind" not in line} <= events


def _prompts(server: Server, prefix: str) -> List[str]:
    found = requests.get(
        f"{server.uri}/api/2.0/mlflow/registered-models/search",
        {"filter": f"name LIKE '{prefix}%' AND tag.`mlflow.prompt.is_prompt` = 'true'"}, timeout=60,
    ).json()  # fmt: skip
    return [model["name"] for model in found.get("registered_models", [])]


def _lines(path: Path) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _shape(value: Any, depth: int) -> Any:
    if depth == 0 or not isinstance(value, dict):
        return None
    return {key: _shape(item, depth - 1) for key, item in value.items()}


def _check_files(stage: Stage) -> None:
    """What export_format.md shows has the keys of what is written."""
    shown = [json.loads(block.text) for block in blocks(ROOT / "export_format.md") if block.language == "json"]
    shown = [doc for doc in shown if doc.keys() & {"system", "info", "mlflow"}]  # others are parts of files
    system, run, experiment = shown[0], shown[1], shown[2]
    written = json.loads((stage.folder / "experiment" / stage.run_id / "run.json").read_text(encoding="utf-8"))
    assert list(written) == ["system", "info", "mlflow"]
    assert list(written["system"]) == list(system["system"])
    assert _shape(written["info"], 1) == _shape(run["info"], 1)
    assert list(written["mlflow"]) == list(run["mlflow"])
    assert set(written["mlflow"]["info"]) == set(run["mlflow"]["info"])
    written = json.loads((stage.folder / "experiment" / "experiment.json").read_text(encoding="utf-8"))
    assert _shape(written["info"], 1) == _shape(experiment["info"], 1)
    assert list(written["mlflow"]) == list(experiment["mlflow"])
    written = json.loads((stage.folder / "good_models" / "logged_models.json").read_text(encoding="utf-8"))
    listed = shown[4]
    assert set(written["info"]) == set(listed["info"]) - {"skipped_logged_models"}
    assert set(written["mlflow"]["experiments"][0]) == set(listed["mlflow"]["experiments"][0])
    assert [len(written["mlflow"]["experiments"][0][kind]) for kind in ("logged_models", "runs")] == [1, 1]
    written = json.loads((stage.folder / "model" / "model.json").read_text(encoding="utf-8"))
    model = shown[5]["mlflow"]["registered_model"]
    assert set(written["info"]) == set(shown[5]["info"]) - {"version_models"}
    assert set(written["mlflow"]["registered_model"]) == set(model)
    assert set(written["mlflow"]["registered_model"]["versions"][0]) == set(model["versions"][0])
    written = json.loads((stage.folder / "version" / "version.json").read_text(encoding="utf-8"))
    documented = (ROOT / "export_format.md").read_text(encoding="utf-8").partition("## model.json")[2]
    assert all(f"`{key}`" in documented for key in written["info"])
    written = json.loads((stage.folder / "prompt" / "prompt.json").read_text(encoding="utf-8"))
    assert set(written) == {"system", "mlflow"}
    prompt = next(block["mlflow"] for block in shown if "prompt" in block.get("mlflow", {}))
    assert _shape(written["mlflow"], 1) == _shape(prompt, 1)
    assert set(written["mlflow"]["prompt"]) == set(prompt["prompt"])
    assert set(written["mlflow"]["registered_model"]) == set(prompt["registered_model"])
    written = json.loads((stage.folder / "dataset" / "evaluation_dataset.json").read_text(encoding="utf-8"))
    dataset = next(block for block in shown if "evaluation_dataset" in block.get("mlflow", {}))
    assert _shape(written["mlflow"], 1) == _shape(dataset["mlflow"], 1)
    assert set(written["info"]) == set(dataset["info"])
    ours, theirs = (doc["mlflow"]["evaluation_dataset"] for doc in (written, dataset))
    assert set(ours) == set(theirs)
    assert set(ours["records"][0]) == set(theirs["records"][0])
    entries = _lines(stage.folder / "experiment" / "id_map.jsonl") + _lines(stage.folder / "model" / "id_map.jsonl")
    documented = (ROOT / "export_format.md").read_text(encoding="utf-8").partition("## id_map.jsonl")[2]
    assert all(f"`{key}`" in documented for entry in entries for key in entry)
