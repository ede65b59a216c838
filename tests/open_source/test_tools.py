"""The small tools, on models of MLflow 2 and 3: signatures as MLflow itself reads them, and what lists and finds."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from mlflow_migration.client.errors import BadInput, NotFound
from mlflow_migration.common.find_artifacts import find_artifacts, find_run_model_names
from mlflow_migration.tools.get_model_signature import get_model_signature
from mlflow_migration.tools.list_model_versions_without_signatures import as_pandas_df, search_model_versions
from mlflow_migration.tools.list_registered_models import list_registered_models
from mlflow_migration.tools.set_model_signature import set_signature
from tests.support.make_models import Models
from tests.support.scripts import Result
from tests.support.servers import Server, clean_environment

SIGNATURE = """signature:
  inputs: '[{"type": "double", "name": "Größe", "required": true}, {"type": "long", "name": "n", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
  params: null
"""
# nothing of this may change when another signature is written; what follows the signature neither
HEAD = "run_id: {run_id} # as logged\nmodel_id: {model_id}\nflavors:\n  python_function:\n    loader_module: x\n"
TAIL = "# für später\nunknown_to_mlflow:\n- {a: [1, 2], b: *id}\n".replace("*id", "'*id'")
# asks MLflow itself; prints JSON
ASK = """
import json, sys
import mlflow
answers = {}
for uri in sys.argv[1:]:
    found = mlflow.models.get_model_info(uri).signature
    answers[uri] = found and {k: v and json.loads(v) for k, v in found.to_dict().items()}
print(json.dumps(answers))
"""


def of_mlflow(server: Server, *uris: str) -> Dict[str, Any]:
    """The signatures that MLflow reads."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, *uris],
        env=clean_environment({"MLFLOW_TRACKING_URI": server.uri}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answers: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


class Signed(Models):
    """A registered model in the making, some of whose models have signatures."""

    def mlmodel(self, run_id: str, path: str, signature: str = SIGNATURE, model_id: str = "") -> bytes:
        """Put an MLmodel file into a run, or into a logged model; its bytes."""
        content = (HEAD.format(run_id=run_id, model_id=model_id) + signature + TAIL).encode()
        if model_id:
            self.rest.put_file(self.rest.logged_model(model_id)["info"]["artifact_uri"], "MLmodel", content)
        else:
            self.put(run_id, path, content)
        return content


@pytest.fixture
def made(src_server: Server, experiment_name: str, monkeypatch: pytest.MonkeyPatch) -> Signed:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", src_server.uri)
    return Signed(src_server, experiment_name)


def test_get(made: Signed, run_script: Callable[..., Result], server_29: Server, tmp_path: Path) -> None:
    """By whatever URI: the signature that MLflow reads itself, with and without its help."""
    name, run = made.name, made.run("trained")
    made.mlmodel(run, "deep/er/MLmodel")
    made.mlmodel(run, "plain/MLmodel", "")
    model_id = made.model(run, "logged")
    made.mlmodel(run, "", SIGNATURE.replace("double", "float"), model_id)
    made.put(run, "logged/note.txt", b"a directory of the run that has the name of its logged model")
    made.alias("champion", made.version(f"runs:/{run}/deep/er", run))
    made.version(f"models:/{model_id}", run, model_id)
    made.stage("2", "Staging")
    made.version(f"{made.root(run)}/plain", run)
    made.version(f"models:/{name}/2")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_bytes(made.rest.run_file(run, "deep/er/MLmodel"))
    uris = [
        f"models:/{name}/1", f"models:/{name}@champion", f"models:/{name}/2", f"models:/{name}/Staging",
        f"models:/{name}/3", f"models:/{name}/4", f"models:/{name}/latest", f"models:/{model_id}",
        f"runs:/{run}/deep/er", f"runs:/{run}/logged", f"runs:/{run}/plain", f"{made.root(run)}/deep/er",
        str(tmp_path / "model"),
    ]  # fmt: skip
    wanted = of_mlflow(made.server, *uris)
    assert [bool(signature) for signature in wanted.values()] == [uri not in (uris[4], uris[10]) for uri in uris]
    assert {uri: get_model_signature(uri) for uri in uris} == wanted
    assert {uri: get_model_signature(uri, True) for uri in uris} == wanted
    env = {"MLFLOW_TRACKING_URI": made.server.uri}
    shown = run_script("get-model-signature", "--model-uri", uris[0], env=env)
    assert json.loads(shown.stdout) == wanted[uris[0]]
    none = run_script("get-model-signature", "--model-uri", uris[4], "--output-file", tmp_path / "none.json", env=env)
    assert "has no signature" in none.stderr
    assert not none.stdout
    assert (tmp_path / "none.json").read_text() == "null\n"
    gone = run_script("get-model-signature", "--model-uri", f"models:/{name}@gone", env=env, check=2)
    assert f"no registered model {name} with an alias gone" in gone.stderr
    for uri in (f"models:/{name}/9", f"runs:/{'0' * 32}/x", f"runs:/{run}/deep", f"models:/m-{'0' * 32}"):
        with pytest.raises(NotFound):
            get_model_signature(uri)
    for uri in (f"models:/{name}", "models:/", "runs:/", str(tmp_path / "nothing"), f"models:/{name}/Archived"):
        with pytest.raises(BadInput):
            get_model_signature(uri)
    old = Signed(server_29, name)
    run = old.run("trained")
    old.mlmodel(run, "model/MLmodel")
    old.version(f"runs:/{run}/model", run)
    for uri in (f"runs:/{run}/model", f"models:/{name}/1"):
        assert get_model_signature(uri, tracking_uri=old.server.uri) == wanted[uris[0]]
    with pytest.raises(NotFound):
        get_model_signature(f"runs:/{run}/gone", tracking_uri=old.server.uri)


def test_set(made: Signed, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """The signature that MLflow infers is written where the model is; all else in the file stays byte for byte."""
    run, uri = made.run("trained"), f"models:/{made.name}/1"
    before = made.mlmodel(run, "model/MLmodel")
    made.mlmodel(run, "plain/MLmodel", "")
    model_id = made.model(run, "logged")
    made.mlmodel(run, "", "", model_id)
    made.version(f"runs:/{run}/model", run)
    made.version("s3://bucket/model")
    made.version(uri)
    (tmp_path / "in.csv").write_text("a,ä\n1.5,x\n2.5,y\n", encoding="utf-8")
    (tmp_path / "out.csv").write_text("p\n0.5\n0.25\n")
    files = ("--input-file", tmp_path / "in.csv", "--output-file", tmp_path / "out.csv")
    env = {"MLFLOW_TRACKING_URI": made.server.uri}
    refused = run_script("set-model-signature", "--model-uri", uri, *files, env=env, check=2)
    assert "--overwrite-signature" in refused.stderr
    assert made.rest.run_file(run, "model/MLmodel") == before
    told = run_script("set-model-signature", "--model-uri", uri, *files, "--overwrite-signature", env=env).stdout
    assert f"{uri} is made from runs:/{run}/model" in told
    set_signature(f"runs:/{run}/plain", str(tmp_path / "in.csv"), None, False)
    set_signature(f"models:/{model_id}", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), False)
    found = of_mlflow(made.server, uri, f"runs:/{run}/plain", f"models:/{model_id}")
    assert [column["name"] for column in found[uri]["inputs"]] == ["a", "ä"]
    assert [column["type"] for column in found[uri]["inputs"]] == ["double", "string"]
    assert [column["name"] for column in found[uri]["outputs"]] == ["p"]
    assert found[f"runs:/{run}/plain"] == {**found[uri], "outputs": None}
    assert found[f"models:/{model_id}"] == found[uri]
    assert {where: get_model_signature(where) for where in found} == found
    set_signature(f"models:/{made.name}/3", str(tmp_path / "out.csv"), None, True)
    copied = get_model_signature(uri)
    assert copied == {"inputs": found[uri]["outputs"], "outputs": None, "params": None}
    head = HEAD.format(run_id=run, model_id="").encode()
    after = made.rest.run_file(run, "model/MLmodel")
    assert after.startswith(head + b"signature:\n")
    assert after.endswith(TAIL.partition("\n")[2].encode())
    assert made.rest.run_file(run, "plain/MLmodel").startswith(head + TAIL.encode() + b"signature:\n")
    for model, sample, words in (
        (f"models:/{made.name}/2", "in.csv", "made from s3://bucket/model"),
        (f"runs:/{run}/model", "absent.csv", "can't be read"),
    ):
        with pytest.raises(BadInput, match=words):
            set_signature(model, str(tmp_path / sample), None, True)
    assert made.rest.run_file(run, "model/MLmodel") == after


def test_lists(made: Signed, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """Versions without a signature, and those of which nobody knows; and the registered models, prompts left out."""
    name, run = made.name, made.run("trained")
    made.mlmodel(run, "model/MLmodel")
    made.mlmodel(run, "plain/MLmodel", "")
    made.mlmodel(run, "broken/MLmodel", "signature: [1]\n")
    for path in ("model", "plain", "gone", "broken"):
        made.version(f"runs:/{run}/{path}", run)
    made.alias("champion", "2")
    is_prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    made.create_model(f"{name} prompt", tags=is_prompt)
    made.version("dummy-source", of=f"{name} prompt", tags=is_prompt)
    where = f"name LIKE '{name}%'"
    frame = as_pandas_df(where)
    assert list(frame.columns) == ["model", "version", "run_id", "error"]
    rows: List[Dict[str, str]] = frame.to_dict("records")
    assert [(row["model"], row["version"], row["run_id"]) for row in rows] == [(name, v, run) for v in "234"]
    assert rows[0]["error"] == ""
    assert "There is no MLmodel file" in rows[1]["error"]
    assert "signature is none that MLflow writes" in rows[2]["error"]
    assert [version.version for version in search_model_versions(None, where)] == list("1234")
    args = ("list-model-versions-without-signatures", "--filter", where)
    env = {"MLFLOW_TRACKING_URI": made.server.uri}
    shown = run_script(*args, env=env, check=1)
    assert [line.rsplit(run)[0].split()[-1] for line in shown.stdout.splitlines()[2:]] == ["2", "3", "4"]
    run_script(*args, "--output-file", tmp_path / "found.csv", env=env, check=1)
    with open(tmp_path / "found.csv", encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    models = {model["name"]: model for model in list_registered_models()}
    assert f"{name} prompt" not in models
    assert models[name]["aliases"] == [{"alias": "champion", "version": "2"}]
    run_script("list-registered-models", "--output-file", tmp_path / "models.json", env=env)
    listed = json.loads((tmp_path / "models.json").read_text(encoding="utf-8"))["registered_models"]
    assert models[name] in listed
    shown = run_script("list-registered-models", "--tracking-uri", made.server.uri)
    assert any(line.startswith(name) and "champion=2" in line for line in shown.stdout.splitlines())


def test_find(made: Signed, run_script: Callable[..., Result]) -> None:
    """Files and directories of that very name, down to a level."""
    run = made.run_with_model("", "a", "a/b", "a/b/c")
    made.put(run, "a/MLmodel.bak", b"x")
    every = ["MLmodel", "a/MLmodel", "a/b/MLmodel", "a/b/c/MLmodel"]
    for level in range(4):
        assert find_artifacts(None, run, "", "MLmodel", level) == every[:level]
        assert find_artifacts(None, run, "a", "MLmodel", level) == every[1 : 1 + level]
    assert find_artifacts(None, run, "", "b") == ["a/b"]
    assert find_run_model_names(None, run) == ["", "a", "a/b", "a/b/c"]
    args = ("find-artifacts", "--tracking-uri", made.server.uri, "--run-id", run, "--target")
    assert run_script(*args, "MLmodel").stdout.split() == every
    assert run_script(*args, "MLmodel", "--path", "a", "--max-level", "1").stdout.split() == every[1:2]
    assert not run_script(*args, "absent").stdout


def python_m(module: str, *args: Any, status: int = 0) -> str:
    """Run a tool that has no script; what it prints."""
    command = [sys.executable, "-m", f"mlflow_migration.tools.experimental.{module}", *map(str, args)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_one_model_of_many(made: Signed, dst_server: Server, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """A model comes out of a directory of several, is rewritten, and is imported under its new name."""
    name, run, bulk = made.name, made.run("trained"), tmp_path / "bulk"
    made.mlmodel(run, "model/MLmodel")
    for _ in range(3):
        made.version(f"runs:/{run}/model", run)
    other = Signed(made.server, f"{name} other")
    env = {"MLFLOW_TRACKING_URI": made.server.uri}
    for source in (made, other):
        run_script("export-model", "--model", source.name, "--output-dir", bulk / "models" / source.name, env=env)
        run_script(
            "export-experiment", "--experiment", source.id, "--output-dir", bulk / "experiments" / source.id, env=env
        )
    renames = ("--dst-model", f"{name} new", "--dst-experiment", f"{name} lab")
    python_m("filter_one_model", "--input-dir", bulk, "--output-dir", tmp_path / "one", "--src-model", name, *renames)
    assert {path.name for path in (tmp_path / "one" / "experiments").iterdir()} == {made.id, "experiments.json"}
    sample = Path(__file__).parents[2] / "mlflow_migration/tools/experimental/samples/custom_export_rewriters.py"
    told = python_m("rewrite_export", "--input-dir", tmp_path / "one", "--custom-rewriters-module", sample)
    assert "registered_model      1       0        1" in told
    env = {"MLFLOW_TRACKING_URI": dst_server.uri}
    model_dir, experiment_dir = tmp_path / "one" / "models" / f"{name} new", tmp_path / "one" / "experiments" / made.id
    where = ("--model", f"{name} new", "--experiment-name", f"{name} runs")
    run_script("import-model", *where, "--input-dir", model_dir, env=env)
    copies = made.registry.__class__(dst_server.uri)
    versions = copies.versions(f"{name} new")
    assert [version["version"] for version in versions] == ["2", "3"]
    assert copies.run_file(versions[0]["run_id"], "model/MLmodel").endswith(TAIL.encode())
    experiment = json.loads((experiment_dir / "experiment.json").read_text(encoding="utf-8"))["mlflow"]
    assert experiment["experiment"]["name"] == f"moved/{name} lab"
    run_script("import-experiment", "--experiment-name", f"{name} lab", "--input-dir", experiment_dir, env=env)
    assert len(copies.runs(copies.experiment(f"{name} lab")["experiment_id"])) == 1
