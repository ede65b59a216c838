"""What becomes of registered models in use: they predict the same, and imports of them are cut off and repeated."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from tests.support.compare_models import RegistryRest
from tests.support.kills import run_killed
from tests.support.make_models import MLMODEL, ModelMoves, Models, numbers_of
from tests.support.moves import At, counts_of
from tests.support.proxy import Proxy
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server, clean_environment


@pytest.fixture
def moves(run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path) -> ModelMoves:
    return ModelMoves(run_script, src_server, dst_server, tmp_path)


LOG = """
import sys, mlflow, warnings
warnings.filterwarnings("ignore")
from sklearn.linear_model import LinearRegression
class Plus(mlflow.pyfunc.PythonModel):
    def __init__(self, more): self.more = more
    def predict(self, context, model_input, params=None): return [v + self.more for v in model_input["a"]]
name = sys.argv[1]
mlflow.set_experiment(name)
with mlflow.start_run():
    for more in (1, 2):
        mlflow.pyfunc.log_model(f"plus{more}", python_model=Plus(more), registered_model_name=name)
    fitted = LinearRegression().fit([[0.0], [1.0]], [5.0, 8.0])
    mlflow.sklearn.log_model(fitted, "line", registered_model_name=name)
mlflow.MlflowClient().set_registered_model_alias(name, "best", "2")
"""
PREDICT = """
import sys, json, mlflow, pandas, warnings
warnings.filterwarnings("ignore")
name = sys.argv[1]
frame = pandas.DataFrame({"a": [10.0, 20.0]})
found = {}
for uri in (f"models:/{name}/1", f"models:/{name}/2", f"models:/{name}/3", f"models:/{name}@best"):
    model = mlflow.pyfunc.load_model(uri)
    data = frame.values if uri.endswith("/3") else frame
    found[uri] = [round(float(v), 6) for v in model.predict(data)]
print("RESULT" + json.dumps(found))
"""


def python(server: Server, code: str, *args: str, **env: str) -> str:
    """Run a program of a user of a server, in an environment of the server's MLflow."""
    more = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", **env}
    command = [server.python, "-c", code, *args]
    done = subprocess.run(command, env=clean_environment(more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def predictions(server: Server, name: str, **env: str) -> Dict[str, List[float]]:
    """What the versions of a model predict."""
    text = python(server, PREDICT, name, **env)
    found: Dict[str, List[float]] = json.loads(text.partition("RESULT")[2])
    return found


PREDICTED = {"/1": [11, 21], "/2": [12, 22], "@best": [12, 22]}


@pytest.fixture(scope="module")
def used(src_server: Server) -> Tuple[str, Dict[str, List[float]]]:
    """A model of the source's server with three versions, and what these predict."""
    name = f"used_{os.urandom(4).hex()}"
    python(src_server, LOG, name)
    return name, predictions(src_server, name)


@pytest.mark.slow
def test_models_predict_the_same(moves: ModelMoves, used: Tuple[str, Dict[str, List[float]]]) -> None:
    """Three models of one run, by their numbers and by alias."""
    name, before = used
    assert {uri[len(f"models:/{name}") :]: found for uri, found in before.items()}.items() >= PREDICTED.items()
    moves.export(name)
    moves.load(name)
    assert moves.differences(name, name) == []
    assert predictions(moves.dst, name) == before


@pytest.mark.slow
def test_models_of_mlflow_2_predict_the_same(
    run_script: Callable[..., Result], server_29: Server, dst_server: Server, tmp_path: Path
) -> None:
    moves, name = ModelMoves(run_script, server_29, dst_server, tmp_path), f"old_{os.urandom(4).hex()}"
    python(server_29, LOG, name)
    moves.export(name)
    moves.load(name)
    assert moves.differences(name, name) == []
    after = predictions(dst_server, name)
    assert {uri[len(f"models:/{name}") :]: found for uri, found in after.items()}.items() >= PREDICTED.items()


@pytest.mark.slow
def test_registry_on_another_server(
    run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path, used: Any
) -> None:
    """The runs go to one server and the models to another; the versions load there."""
    name, before = used
    export = ("export-model", "--model", name, "--output-dir", tmp_path / "export")
    run_script(*export, env={"MLFLOW_TRACKING_URI": src_server.uri})
    other = src_server  # its registry has the name already
    command = ("import-model", "--experiment-name", f"{name} apart", "--input-dir", tmp_path / "export")
    to = ("--model", f"{name}_copy", "--tracking-uri", dst_server.uri, "--registry-uri", other.uri)
    done = run_script(*command, *to, "--report-dir", tmp_path / "report")
    assert counts_of(done)["model_version"] == {"copied": 3}
    with pytest.raises(Exception, match="404"):
        RegistryRest(dst_server.uri).model(f"{name}_copy")
    apart = {"MLFLOW_TRACKING_URI": dst_server.uri, "MLFLOW_REGISTRY_URI": other.uri}
    after = predictions(dst_server, f"{name}_copy", **apart)
    assert [after[uri.replace(name, f"{name}_copy")] for uri in before] == list(before.values())
    # and from there again, as the environment says it
    again = ("export-model", "--model", f"{name}_copy", "--output-dir", tmp_path / "again")
    assert counts_of(run_script(*again, env=apart))["model_version"] == {"copied": 3}
    done = run_script(*command, *to, "--report-dir", tmp_path / "other report")
    assert counts_of(done)["model_version"] == {"unchanged": 3}


@pytest.mark.parametrize(
    ("method", "path", "number", "when"),
    [
        ("POST", "*/registered-models/create", 1, "after"),
        ("POST", "*/model-versions/create", 3, "after"),  # a placeholder
        ("POST", "*/model-versions/create", 4, "before"),
        ("DELETE", "*/model-versions/delete", 2, "after"),
        ("POST", "*/model-versions/transition-stage", 1, "before"),
        ("POST", "*/runs/create", 4, "after"),  # the run that holds a model
    ],
)
def test_killed_and_repeated(
    moves: ModelMoves, src_server: Server, dst_server: Server, method: str, path: str, number: int, when: str
) -> None:
    """Nothing is doubled, no placeholder is left, nothing is missing."""
    experiment_name = f"killed_{os.urandom(4).hex()}"
    made = Models(src_server, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name)
    with Proxy(dst_server.uri) as proxy:
        command = moves.command(experiment_name, "--workers", 1)
        assert run_killed(proxy, command, method, path, number, when) == ""
    moves.load(experiment_name)
    assert moves.differences(experiment_name, experiment_name) == []
    again = moves.load(experiment_name)
    assert again["model_version"] == {"unchanged": len(numbers)}
    assert again["registered_model"] == {"unchanged": 1}
    rest = Rest(dst_server.uri)
    runs = rest.runs(rest.experiment(f"{experiment_name} runs")["experiment_id"])
    assert len(runs) == again["run"]["unchanged"] + 1


def old_model(home: Path, name: str, versions: List[Dict[str, Any]], **fields: Any) -> None:
    """A directory as another tool writes it."""
    home.mkdir(exist_ok=True)
    body = {"registered_model": {"name": name, "description": "old", "tags": [], **fields, "versions": versions}}
    (home / "model.json").write_text(json.dumps({"system": {}, "info": {}, "mlflow": body}))


def old_run(home: Path, run_id: str, files: Dict[str, str]) -> None:
    """The directory of a run, as another tool writes it."""
    for path, text in files.items():
        target = home / run_id / "artifacts" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    info = {"run_id": run_id, "status": "FINISHED", "start_time": 1, "end_time": 2, "experiment_id": "7"}
    info.update(artifact_uri=f"dbfs:/databricks/mlflow-tracking/7/{run_id}/artifacts", lifecycle_stage="active")
    body = {"info": info, "params": {}, "metrics": {}, "tags": {}, "inputs": []}
    (home / run_id / "run.json").write_text(json.dumps({"system": {}, "mlflow": body}))


def test_directories_of_other_tools(
    run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str
) -> None:
    """Each version gets its own model, also where the source names a logged model that the directory does not have."""
    moves, home = ModelMoves(run_script, src_server, dst_server, tmp_path), tmp_path / "export"
    first, second = "0a" * 16, "0b" * 16
    logged = "m-" + "0c" * 16
    plain = {"a/MLmodel": MLMODEL.format(run_id=first, model_id=""), "b/MLmodel": "x: 1", "c.txt": "c"}
    old_run(home, first, plain)
    old_run(home, second, {"x/MLmodel": "y: 1", "m/MLmodel": MLMODEL.format(run_id=second, model_id=logged)})
    (home / "version_models" / "7").mkdir(parents=True)
    (home / "version_models" / "7" / "MLmodel").write_text("z: 1")
    root = f"dbfs:/databricks/mlflow-tracking/7/{first}/artifacts"
    common = {"tags": {"k": "v"}, "current_stage": "Staging", "aliases": []}
    versions = [
        {"version": "7", "source": "dbfs:/elsewhere", "run_id": "0d" * 16, **common},
        {"version": "10", "source": f"{root}/a", "run_id": first, **common},
        {"version": 9, "source": f"/mount/7/{first}/artifacts/b", "run_id": first, "aliases": ["old"], "tags": {}},
        {"version": "12", "source": f"models:/{logged}", "run_id": second, "tags": [{"key": "l", "value": "w"}]},
    ]
    versions[1]["aliases"] = ["new"]
    old_model(home, "another name", versions)
    assert moves.load(experiment_name)["model_version"] == {"copied": 4}
    rest = RegistryRest(dst_server.uri)
    assert numbers_of(dst_server, experiment_name) == [7, 9, 10, 12]
    expected = {7: "z: 1", 9: "x: 1"}
    for version in rest.versions(experiment_name):
        number = int(version["version"])
        uri = rest.download_uri(experiment_name, str(number))
        root_of_run = rest.run(version["run_id"])["info"]["artifact_uri"]
        assert uri.startswith(root_of_run)
        text = rest.run_file(version["run_id"], uri[len(root_of_run) :].strip("/") + "/MLmodel").decode()
        assert text == expected.get(number, text)
        if number not in expected:
            assert version["run_id"] in text
        assert version["current_stage"] == ("Staging" if number in (7, 10) else "None")
    found = {alias["alias"]: alias["version"] for alias in rest.model(experiment_name)["aliases"]}
    assert found == {"old": "9", "new": "10"}
    assert moves.load(experiment_name)["model_version"] == {"unchanged": 4}


def test_versions_that_an_export_has_lost_are_told(
    run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str
) -> None:
    moves, home = ModelMoves(run_script, src_server, dst_server, tmp_path), tmp_path / "export"
    run = "0a" * 16
    old_run(home, run, {"a/MLmodel": "x: 1"})
    version = {"version": "1", "source": f"dbfs:/7/{run}/artifacts/a", "run_id": run}
    old_model(home, "m", [version, {"version": "3", "source": "dbfs:/gone", "run_id": "0b" * 16}])
    doc = json.loads((home / "model.json").read_text())
    doc["info"]["failed_versions"] = [{"version": "2", "message": "deleted run"}]
    (home / "model.json").write_text(json.dumps(doc))
    assert moves.load(experiment_name, status=1)["model_version"] == {"copied": 1, "failed": 2}
    assert "its export failed" in moves.reasons("model_version")
    assert "neither its run nor its model" in moves.reasons("model_version")
    counts = moves.load(experiment_name, "--accept-loss", "versions", status=1)
    assert counts["model_version"] == {"unchanged": 1, "skipped": 1, "failed": 1}


# ---- what a review has found


def test_held_model_is_completed(
    moves: ModelMoves,
    run_script: Callable[..., Result],
    src_server: Server,
    dst_server: Server,
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """An upload that fails leaves the version incomplete, until a repeat has brought it."""
    made = Models(src_server, experiment_name)
    run = made.run_with_model("model")
    made.version(f"{made.root(run)}/model", run)
    made.delete(run)
    moves.export(experiment_name)
    with Proxy(dst_server.uri) as proxy:
        proxy.on("PUT", "*/model.bin", status=403)
        broken = ModelMoves(run_script, src_server, At(proxy.uri), tmp_path)
        for _ in range(2):
            assert broken.load(experiment_name, status=1)["model_version"] == {"incomplete": 1}
    assert moves.load(experiment_name)["model_version"] == {"unchanged": 1}
    assert moves.differences(experiment_name, experiment_name) == []


def test_incomplete_exports_stay_incomplete(
    moves: ModelMoves,
    run_script: Callable[..., Result],
    src_server: Server,
    dst_server: Server,
    tmp_path: Path,
    experiment_name: str,
) -> None:
    made = Models(src_server, experiment_name)
    run = made.run_with_model("model")
    made.version(f"{made.root(run)}/model", run)
    made.delete(run)
    with Proxy(src_server.uri) as proxy:
        proxy.on("GET", "*/model.bin", status=403)
        broken = ModelMoves(run_script, At(proxy.uri), dst_server, tmp_path)
        assert broken.export(experiment_name, status=1)["model_version"] == {"incomplete": 1}
    assert "is not deleted" in moves.load_refused(experiment_name, "--delete-model")
    for _ in range(2):
        assert moves.load(experiment_name, status=1)["model_version"] == {"incomplete": 1}
    moves.export(experiment_name)
    moves.load(experiment_name)
    assert moves.differences(experiment_name, experiment_name) == []


def test_model_deleted_as_a_whole_is_made_anew_also_in_two_steps(
    moves: ModelMoves, src_server: Server, dst_server: Server
) -> None:
    """What is on record of the deleted model says nothing about the new one."""
    name = f"anew_{os.urandom(4).hex()}"
    made = Models(src_server, name)
    numbers = made.everything(mlflow3=True)
    moves.export(name)
    moves.load(name)
    rest = RegistryRest(dst_server.uri)
    rest.call("DELETE", "/api/2.0/mlflow/registered-models/delete", json={"name": name})
    with Proxy(dst_server.uri) as proxy:
        command = moves.command(name, "--workers", 1)
        assert run_killed(proxy, command, "POST", "*/model-versions/create", 2, "after") == ""
    moves.load(name)
    assert moves.differences(name, name) == []
    assert moves.load(name)["model_version"] == {"unchanged": len(numbers)}


def test_aliases_of_others_stay(
    moves: ModelMoves, src_server: Server, dst_server: Server, experiment_name: str
) -> None:
    """Neither overwriting nor leaving out versions takes an alias away from what others have made."""
    made = Models(src_server, experiment_name)
    run = made.run_with_model("model")
    for _ in range(2):
        made.version(f"runs:/{run}/model", run)
    made.alias("champion", "2")
    theirs = Models(dst_server, experiment_name)
    own = theirs.run_with_model("model")
    theirs.version(f"runs:/{own}/model", own)
    theirs.alias("prod", "1")
    theirs.registry.post("registered-models/set-tag", {"name": experiment_name, "key": "mine", "value": "1"})
    moves.export(experiment_name)
    args = ("--on-version-conflict", "renumber", "--on-destination-change", "overwrite")
    for _ in range(2):
        moves.load(experiment_name, *args)
        model = theirs.registry.model(experiment_name)
        assert {a["alias"]: a["version"] for a in model["aliases"]} == {"prod": "1", "champion": "3"}
    # the champion moves on to a version that is not exported
    made.version(f"runs:/{run}/model", run)
    made.alias("champion", "3")
    moves.export(experiment_name, "--versions", "1,2")
    moves.load(experiment_name, *args)
    model = theirs.registry.model(experiment_name)
    assert {a["alias"]: a["version"] for a in model["aliases"]} == {"prod": "1", "champion": "3"}
    assert {tag["key"] for tag in model["tags"]} >= {"mine"}
    # and is taken away
    made.registry.call(
        "DELETE", "/api/2.0/mlflow/registered-models/alias", json={"name": experiment_name, "alias": "champion"}
    )
    moves.export(experiment_name, "--versions", "1")
    moves.load(experiment_name, *args)
    assert theirs.registry.model(experiment_name)["aliases"] == [{"alias": "prod", "version": "1"}]


def test_placeholders_do_not_travel(
    moves: ModelMoves, src_server: Server, dst_server: Server, experiment_name: str
) -> None:
    made = Models(src_server, experiment_name)
    run = made.run_with_model("model")
    mark = [{"key": "mlflow_exim.placeholder", "value": "true"}]
    made.version(f"runs:/{run}/model", run, tags=mark)
    made.version(f"runs:/{run}/model", run)
    assert moves.export(experiment_name)["model_version"] == {"copied": 1}
    for _ in range(2):
        moves.load(experiment_name)
        assert numbers_of(dst_server, experiment_name) == [2]


def test_prompts_are_no_models(moves: ModelMoves, src_server: Server, dst_server: Server, experiment_name: str) -> None:
    made = Models(src_server, experiment_name)
    run = made.run_with_model("model")
    made.version(f"runs:/{run}/model", run)
    prompt = {"tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}
    made.create_model(experiment_name + " p", **prompt)
    Models(dst_server, experiment_name + " q").create_model(experiment_name + " p", **prompt)
    assert "is a prompt" in moves.export_refused(experiment_name + " p")
    moves.export(experiment_name)
    assert "is a prompt" in moves.load_refused(experiment_name + " p", "--delete-model")


@pytest.mark.slow
def test_registry_of_a_local_store(
    moves: ModelMoves,
    run_script: Callable[..., Result],
    src_server: Server,
    dst_server: Server,
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """MLFLOW_REGISTRY_URI counts beside a local store, too, and its password is not shown."""
    made = Models(src_server, experiment_name)
    run = made.run_with_model("model")
    made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    with Proxy(dst_server.uri) as proxy:
        registry = proxy.uri.replace("://", "://bob:pass@")
        env = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mine.db", "MLFLOW_REGISTRY_URI": registry}
        done = run_script(*moves.command(experiment_name), env=env)
    assert "The model registry is at" in done.stdout
    assert "pass" not in done.stdout
    assert numbers_of(dst_server, experiment_name) == [1]


def test_lost_replies(
    moves: ModelMoves,
    run_script: Callable[..., Result],
    src_server: Server,
    dst_server: Server,
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """A server that does the work and then answers 500, or nothing: no second version, no number is lost."""
    made = Models(src_server, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name)
    with Proxy(dst_server.uri) as proxy:
        faults = [
            proxy.on("POST", "*/registered-models/create", number=1, status=500, after_commit=True),
            proxy.on("POST", "*/model-versions/create", number=[1, 3, 8], status=500, after_commit=True),
            proxy.on("POST", "*/model-versions/create", number=[2, 5], drop_reply=True),
            proxy.on("DELETE", "*/model-versions/delete", number=2, status=500, after_commit=True),
            proxy.on("POST", "*/registered-models/alias", number=1, status=429),
        ]
        shaky = ModelMoves(run_script, src_server, At(proxy.uri), tmp_path)
        assert shaky.load(experiment_name)["model_version"] == {"copied": len(numbers)}
        assert all(fault.hits for fault in faults)
    assert moves.differences(experiment_name, experiment_name) == []
    assert moves.load(experiment_name)["model_version"] == {"unchanged": len(numbers)}


def test_a_version_that_fails_keeps_its_number(
    moves: ModelMoves,
    run_script: Callable[..., Result],
    src_server: Server,
    dst_server: Server,
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """Later ones wait for it, unless that is not wanted; a repeat makes them all."""
    made = Models(src_server, experiment_name)
    runs = [made.run_with_model("model", name=f"run {i}") for i in range(3)]
    for run in runs:
        made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    with Proxy(dst_server.uri) as proxy:
        proxy.on("POST", "*/runs/create", number=2, status=403)
        shaky = ModelMoves(run_script, src_server, At(proxy.uri), tmp_path)
        counts = shaky.load(experiment_name, "--workers", 1, status=1)
    assert counts["run"] == {"copied": 2, "failed": 1}
    assert counts["model_version"] in ({"copied": 1, "failed": 2}, {"failed": 3}, {"copied": 2, "failed": 1})
    assert moves.load(experiment_name)["model_version"].keys() <= {"copied", "unchanged"}
    assert moves.differences(experiment_name, experiment_name) == []
