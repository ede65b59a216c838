"""The revision of the notebook that a run used travels with it; download-notebook takes one alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Dict, List

import pytest
import requests

from tests.databricks.standin.server import StandIn
from tests.support.scripts import run_script

MLFLOW = "/api/2.0/mlflow"
PATH = "/Shared/train model"
FIRST = "// Databricks notebook source\nval x = 1\n\n// COMMAND ----------\n\nprintln(x)\n"
SECOND = "// Databricks notebook source\nval x = 2\n"


def workspace_api(standin: StandIn, method: str, verb: str, **arguments: Any) -> Dict[str, Any]:
    headers = {"Authorization": f"Bearer {next(iter(standin.users))}"}
    how: Dict[str, Any] = {"params": arguments} if method == "GET" else {"json": arguments}
    answer = requests.request(method, f"{standin.uri}/api/2.0/workspace/{verb}", headers=headers, timeout=60, **how)
    assert answer.status_code == 200, answer.text
    found: Dict[str, Any] = answer.json()
    return found


def revision_of(standin: StandIn, source: str, language: str = "SCALA", path: str = PATH) -> str:
    """Write a revision of a notebook; return its id."""
    content = base64.b64encode(source.encode()).decode()
    body = {"path": path, "format": "SOURCE", "language": language, "content": content, "overwrite": True}
    workspace_api(standin, "POST", "import", **body)
    return str(workspace_api(standin, "GET", "get-status", path=path)["modified_at"])


def source_of(standin: StandIn, path: str) -> str:
    reply = workspace_api(standin, "GET", "export", path=path, format="SOURCE")
    return base64.b64decode(reply["content"]).decode()


def records(directory: Path) -> List[Dict[str, Any]]:
    lines = (directory / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line.get("kind") == "notebook"]


def imports(standin: StandIn) -> int:
    return sum(one["path"] == "/api/2.0/workspace/import" for one in standin.requests())


@pytest.fixture(scope="module")
def revision(workspace: StandIn) -> str:
    """Id of the first of two revisions."""
    first = revision_of(workspace, FIRST)
    revision_of(workspace, SECOND)
    return first


@pytest.fixture(scope="module")
def runs(workspace: StandIn, revision: str) -> Dict[str, str]:
    """Runs of one experiment by what they are: of a notebook's revision, of a commit, of no notebook, of one gone."""
    experiment_id = workspace.call("POST", f"{MLFLOW}/experiments/create", name="/Shared/notebooks")["experiment_id"]

    def made(**tags: str) -> str:
        listed = [{"key": f"mlflow.databricks.{key}", "value": value} for key, value in tags.items()]
        body = {"experiment_id": experiment_id, "start_time": 1, "tags": listed}
        run_id = workspace.call("POST", f"{MLFLOW}/runs/create", **body)["run"]["info"]["run_id"]
        workspace.call("POST", f"{MLFLOW}/runs/update", run_id=run_id, status="FINISHED", end_time=2)
        return str(run_id)

    return {
        "revision": made(notebookPath=PATH, notebookRevisionID=revision),
        "commit": made(notebookPath="/Repos/x/train", gitRepoCommit="abc123"),
        "none": made(),
        "gone": made(notebookPath="/Shared/gone", notebookRevisionID="1"),
    }


def test_a_run_there_and_here(
    second_workspace: StandIn, config_env: Dict[str, str], runs: Dict[str, str], revision: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    frm = ("--tracking-uri", "databricks://ONE", "--run-id", runs["revision"], "--output-dir", out)
    run_script("export-run", *frm, "--notebook-formats", "SOURCE,HTML,JUPYTER,DBC", env=config_env)
    place = out / "artifacts" / "notebooks"
    assert (place / "train model.source").read_text(encoding="utf-8") == FIRST, "not the revision of the run"
    assert b"NOTEBOOK_MODEL" in (place / "train model.html").read_bytes()
    assert json.loads((place / "train model.jupyter").read_text(encoding="utf-8"))["cells"]
    assert (place / "train model.dbc").read_bytes()[:2] == b"PK"
    manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == {
        "mlflow.databricks.notebookPath": PATH,
        "mlflow.databricks.notebookRevisionID": revision,
        "formats": ["SOURCE", "HTML", "JUPYTER", "DBC"],
        "language": "SCALA",
    }
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run["info"]["artifacts"] == [], "the notebook is no artifact"

    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/notebooks copy")
    to += ("--dst-notebook-dir", "/Shared/of runs/", "--report-dir", tmp_path / "report")
    for count in (1, 0):
        second_workspace.forget_requests()
        done = run_script("import-run", *to, env=config_env)
        assert imports(second_workspace) == count, done
    first, second = records(tmp_path / "report")
    assert (first["status"], second["status"]) == ("copied", "unchanged")
    dst_path = first["dst_id"]
    base, dst_run, name = dst_path.rsplit("/", 2)
    assert (base, name) == ("/Shared/of runs", "train model") and len(dst_run) == 32
    assert source_of(second_workspace, dst_path) == FIRST
    there = workspace_api(second_workspace, "GET", "get-status", path=dst_path)
    assert there["language"] == "SCALA"
    listed = [one for one in second_workspace.requests() if "artifacts" in one["path"] and one["method"] != "GET"]
    assert not listed, "the notebook became an artifact"


def test_an_experiment(
    second_workspace: StandIn, config_env: Dict[str, str], runs: Dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    frm = ("--tracking-uri", "databricks://ONE", "--experiment", "/Shared/notebooks", "--output-dir", out)
    done = run_script("export-experiment", *frm, "--notebook-formats", "source", env=config_env, check=1)
    status = {one["src_id"]: one for one in records(out)}
    assert set(status) == {runs["revision"], runs["commit"], runs["gone"]}
    assert status[runs["revision"]]["status"] == "copied"
    assert status[runs["commit"]]["status"] == "skipped" and "abc123" in status[runs["commit"]]["reason"]
    assert status[runs["gone"]]["status"] == "failed", done
    again = run_script(
        "export-experiment", *frm, "--notebook-formats", "source", "--accept-loss", "notebooks",
        env=config_env,
    )  # fmt: skip
    assert [one["status"] for one in records(out) if one["src_id"] == runs["gone"]] == ["failed", "skipped"], again

    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/notebooks of all")
    to += ("--dst-notebook-dir", "/Shared/of all", "--report-dir", tmp_path / "report")
    run_script("import-experiment", *to, env=config_env)
    status = {one["src_id"]: one for one in records(tmp_path / "report")}
    assert source_of(second_workspace, status[runs["revision"]]["dst_id"]) == FIRST
    assert {status[runs[one]]["status"] for one in ("commit", "gone")} == {"skipped"}, "not said that it is not there"
    refused = run_script("import-experiment", *to[:-4], "--dst-notebook-dir", "relative", env=config_env, check=2)
    assert "absolute path" in refused.stderr


def test_r_does_not_become_python(
    workspace: StandIn, second_workspace: StandIn, config_env: Dict[str, str], tmp_path: Path
) -> None:
    path, language = "/Shared/in R", "R"  # its sources begin as those of Python do
    source = "# Databricks notebook source\nx <- 1\n"
    revision = revision_of(workspace, source, language, path)
    experiment = workspace.call("POST", f"{MLFLOW}/experiments/create", name=f"/Shared/exp {language}")
    tags = {"mlflow.databricks.notebookPath": path, "mlflow.databricks.notebookRevisionID": revision}
    listed = [{"key": key, "value": value} for key, value in tags.items()]
    body = {"experiment_id": experiment["experiment_id"], "start_time": 1, "tags": listed}
    run_id = workspace.call("POST", f"{MLFLOW}/runs/create", **body)["run"]["info"]["run_id"]
    out = tmp_path / "out"
    frm = ("--tracking-uri", "databricks://ONE", "--run-id", run_id, "--output-dir", out)
    run_script("export-run", *frm, "--notebook-formats", "SOURCE", env=config_env)
    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/languages")
    to += ("--dst-notebook-dir", "/Shared/languages of runs", "--report-dir", tmp_path / "report")
    run_script("import-run", *to, env=config_env)
    (record,) = records(tmp_path / "report")
    there = workspace_api(second_workspace, "GET", "get-status", path=record["dst_id"])
    assert there["language"] == language


def test_download(config_env: Dict[str, str], revision: str, tmp_path: Path) -> None:
    frm = ("--tracking-uri", "databricks://ONE", "--notebook", PATH, "--output-dir", tmp_path / "now")
    run_script("download-notebook", *frm, env=config_env)
    assert [path.name for path in (tmp_path / "now").iterdir()] == ["train model.source"]
    assert (tmp_path / "now" / "train model.source").read_text(encoding="utf-8") == SECOND
    frm = (*frm[:-1], tmp_path / "then", "--revision", revision, "--notebook-formats", "SOURCE,DBC")
    run_script("download-notebook", *frm, env=config_env)
    assert (tmp_path / "then" / "train model.source").read_text(encoding="utf-8") == FIRST
    assert (tmp_path / "then" / "train model.dbc").read_bytes()[:2] == b"PK"


def test_what_can_not_be_downloaded(config_env: Dict[str, str], tmp_path: Path) -> None:
    frm = ("--output-dir", tmp_path / "out", "--tracking-uri")
    one = (*frm, "databricks://ONE", "--notebook", "/Shared/no")
    lost = run_script("download-notebook", *one, env=config_env, check=1)
    assert "doesn't exist" in lost.stderr
    for uri, path in (("databricks://ONE", "relative"), ("http://127.0.0.1:9", "/x")):
        run_script("download-notebook", *frm, uri, "--notebook", path, env=config_env, check=2)
