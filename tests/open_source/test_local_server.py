"""Real local stores, served: sources keep their bytes, destinations get what is written, no server stays behind."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_migration.client import local_server
from mlflow_migration.client.errors import BadInput, describe
from tests.support.moves import Source, counts_of
from tests.support.scripts import heed_interrupts
from tests.support.servers import NoEnvironmentError, mlflow_env

pytest.importorskip("flask", reason="needs all of MLflow, as the extra [local] installs it")

ROOT = Path(__file__).parents[2]

FILL = """
import sys
from pathlib import Path
from mlflow import MlflowClient

client = MlflowClient(sys.argv[1])
experiment = client.create_experiment("one", tags={"kind": "first"})
run = client.create_run(experiment, run_name="a run").info
for step, value in ((3, 1.5), (4, float("nan"))):
    client.log_metric(run.run_id, "loss", value, step=step)
client.log_param(run.run_id, "p", "v")
note = Path("note.txt")
note.write_text("hello")
client.log_artifact(run.run_id, str(note))
client.set_terminated(run.run_id)
gone = client.create_experiment("gone")
client.create_run(gone)
client.delete_experiment(gone)
client.create_registered_model("model")
client.create_model_version("model", run.artifact_uri, run.run_id)
# an experiment of the time when this store was behind a usual server
proxied = client.create_experiment("proxied", artifact_location="mlflow-artifacts:/77")
held = client.create_run(proxied).info.run_id
place = Path("mlartifacts", "77", held, "artifacts")
place.mkdir(parents=True)
(place / "held.txt").write_text("held")
"""

# what a command does, in a process of its own that is going to be killed
HOLD = """
import sys, time
from mlflow_migration.client import local_server

with local_server.serve(sys.argv[1], writable=True) as url:
    print(url, flush=True)
    time.sleep(600)
"""


def fill(python, uri, place):
    """Make a store with an MLflow of any version."""
    place.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([str(python), "-c", FILL, uri], cwd=place, env=environment, check=True, timeout=300)


def fingerprint(place):
    """Return path and hash of each file of a tree, and the path of each folder."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(place.rglob("*"))
    }


def ask(url, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def experiments(url):
    found = ask(url, "experiments/search", {"max_results": 100, "view_type": "ALL"})["experiments"]
    return {experiment["name"]: experiment for experiment in found}


def runs(url, experiment):
    return ask(url, "runs/search", {"experiment_ids": [experiment["experiment_id"]], "run_view_type": "ALL"})["runs"]


def check_all_is_read(url):
    """Look at everything that :data:`FILL` made."""
    found = experiments(url)
    assert {"one": "active", "gone": "deleted", "proxied": "active"}.items() <= {
        name: experiment["lifecycle_stage"] for name, experiment in found.items()
    }.items()
    assert found["one"]["tags"] == [{"key": "kind", "value": "first"}]
    (run,) = runs(url, found["one"])
    run_id = run["info"]["run_id"]
    assert run["info"]["status"] == "FINISHED" and run["data"]["params"] == [{"key": "p", "value": "v"}]
    history = ask(url, f"metrics/get-history?run_id={run_id}&metric_key=loss")["metrics"]
    assert [(point["step"], str(point["value"])) for point in history] == [(3, "1.5"), (4, "NaN")]
    assert [file["path"] for file in ask(url, f"artifacts/list?run_id={run_id}")["files"]] == ["note.txt"]
    assert len(runs(url, found["gone"])) == 1
    assert len(ask(url, "registered-models/search")["registered_models"]) == 1
    assert len(ask(url, "model-versions/search")["model_versions"]) == 1
    (run,) = runs(url, found["proxied"])
    assert [file["path"] for file in ask(url, f"artifacts/list?run_id={run['info']['run_id']}")["files"]] == [
        "held.txt"
    ]


def gone(url):
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except urllib.error.URLError:
        return True
    return False


def test_a_sqlite_source(tmp_path, monkeypatch):
    place = tmp_path / "source"
    fill(sys.executable, "sqlite:///mlflow.db", place)
    before = fingerprint(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/elsewhere")
    with local_server.serve(f"sqlite:///{place}/mlflow.db", writable=False) as url:
        check_all_is_read(url)
        # whatever is written ends in the snapshot
        ask(url, "experiments/create", {"name": "new"})
    assert fingerprint(place) == before
    assert gone(url)


def test_a_folder_as_source(tmp_path):
    place = tmp_path / "a place"
    fill(sys.executable, str(place / "mlruns"), place)
    before = fingerprint(place)
    with local_server.serve((place / "mlruns").as_uri(), writable=False) as url:
        check_all_is_read(url)
    assert fingerprint(place) == before
    assert gone(url)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["mlruns", "sqlite:///mlflow.db"])
def test_a_store_that_was_moved(store, tmp_path, run_script, monkeypatch):
    """Artifacts lie where the folder is now, or it is said that they can't be found."""
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION", raising=False)
    place, moved = tmp_path / "old", tmp_path / "new"
    fill(sys.executable, str(place / store) if store == "mlruns" else store, place)
    place.rename(moved)
    uri = str(moved / store) if store == "mlruns" else f"sqlite:///{moved}/mlflow.db"

    def export(name, to, **options):
        there = ("--experiment", name, "--output-dir", tmp_path / to, "--quiet")
        done = run_script("export-experiment", "--tracking-uri", uri, *there, cwd=tmp_path, **options)
        return done, {path.name: path.read_text() for path in (tmp_path / to).rglob("*.txt")}

    done, files = export("one", "first")
    assert files == {"note.txt": "hello"} and "Note:" not in done.stdout
    assert export("proxied", "second")[1] == {"held.txt": "held"}
    # what can't be found
    (moved / "mlartifacts").rename(tmp_path / "elsewhere")
    done, _ = export("one", "third", check=2)
    assert "stores artifacts itself" in done.stderr and not (tmp_path / "third").exists()
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", str(tmp_path / "elsewhere"))
    env = {"MLFLOW_ARTIFACTS_DESTINATION": tmp_path / "elsewhere"}
    assert export("proxied", "fourth", env=env)[1] == {"held.txt": "held"}
    if store != "mlruns":
        (moved / "mlruns").rename(tmp_path / "lost")
        done, files = export("one", "fifth", env=env)
        assert files == {} and f"Note: There is no folder {place}/mlruns/1 on this machine" in done.stdout


def test_an_older_sqlite_database(tmp_path):
    """As a source it is read through an upgraded copy, as a destination it is refused."""
    try:
        python = mlflow_env("2.9")
    except NoEnvironmentError as ex:
        pytest.skip(str(ex))
    place = tmp_path / "source"
    fill(python, "sqlite:///mlflow.db", place)
    uri = f"sqlite:///{place}/mlflow.db"
    before = fingerprint(place)
    with pytest.raises(BadInput) as caught:
        with local_server.serve(uri, writable=True):
            pass
    assert describe(caught.value).endswith(f"mlflow db upgrade {uri}")
    with local_server.serve(uri, writable=False) as url:
        check_all_is_read(url)
    assert fingerprint(place) == before


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("kind", "number"), [("sqlite", signal.SIGKILL), pytest.param("folder", signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_new_destination_and_a_command_that_is_killed(kind, number, tmp_path):
    place, temporary = tmp_path / "new", tmp_path / "temporary"
    temporary.mkdir()
    root = place if kind == "folder" else place / "mlruns"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", HOLD, str(place) if kind == "folder" else f"sqlite:///{place}/mlflow.db"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "preexec_fn": heed_interrupts}
    with subprocess.Popen(command, env=environment, **streams) as holder:
        try:
            url = holder.stdout.readline().decode().strip()
            assert url, "the server did not start"
            new_id = ask(url, "experiments/create", {"name": "new"})["experiment_id"]
            location = experiments(url)["new"]["artifact_location"]
            holder.send_signal(number)
            holder.wait(60)
        finally:
            holder.kill()
    assert location == f"{root.as_uri()}/{new_id}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (gone(url) and not list(temporary.glob("mlflow-migration-*"))):
        time.sleep(0.1)
    assert gone(url)
    assert not list(temporary.glob("mlflow-migration-*"))
    if kind == "folder":
        assert (place / new_id / "meta.yaml").exists()
        return
    with closing(sqlite3.connect(place / "mlflow.db")) as connection:
        assert connection.execute("SELECT experiment_id FROM experiments WHERE name = 'new'").fetchall() == [
            (int(new_id),)
        ]


def test_a_server_that_does_not_start(tmp_path, monkeypatch):
    """MLflow's own words are in the message."""
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NoSuchPool")
    with pytest.raises(BadInput, match="did not start") as caught:
        with local_server.serve(f"sqlite:///{tmp_path}/mlflow.db", writable=True):
            pass
    assert "NoSuchPool" in describe(caught.value)


@pytest.mark.slow
def test_dry_runs_into_a_local_store(src_server, experiment_name, tmp_path, run_script):
    """What would be done is told; the store is neither made nor changed."""
    source = Source(src_server, experiment_name)
    source.run("r", tags={"k": "v"})
    export = ("--experiment", experiment_name, "--output-dir", tmp_path / "export")
    run_script("export-experiment", *export, env={"MLFLOW_TRACKING_URI": src_server.uri})
    place = tmp_path / "place"
    uri = f"sqlite:///{place}/store/mlflow.db"
    one = ("--experiment-name", experiment_name, "--report-dir", tmp_path / "report")
    load = ("import-experiment", "--input-dir", tmp_path / "export", "--tracking-uri", uri, *one)
    both = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", uri)
    copy = ("copy-experiment", "--experiment", experiment_name, *both, *one)
    # each command starts servers of its own, which takes its time
    assert counts_of(run_script(*load, "--dry-run"))["run"] == {"copied": 1}
    assert not place.exists() and not (tmp_path / "report").exists()
    run_script(*load)
    before = fingerprint(place)
    assert counts_of(run_script(*copy, "--dry-run"))["run"] == {"unchanged": 1}
    assert fingerprint(place) == before
    onto_itself = ("--src-mlflow-uri", uri, "--dst-mlflow-uri", uri, "--experiment", experiment_name)
    refused = run_script("copy-experiment", *onto_itself, *one, check=2)
    assert "are the same experiment" in refused.stderr
