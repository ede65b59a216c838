"""copy-all and import-all verify at their end what they have done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Tuple
from uuid import uuid4

import pytest

from tests.support.compare_models import RegistryRest
from tests.support.make_models import Models
from tests.support.moves import point, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import records
from tests.support.rest import Json
from tests.support.scripts import Result
from tests.support.servers import Server

RUN_KEY = "mlflow_exim.run_info.run_id"


@pytest.fixture
def models(src_server: Server) -> Models:
    """An experiment with two runs, and a registered model of one version."""
    made = Models(src_server, f"verified at end {uuid4().hex[:8]}")
    run_id = made.run_with_model("model")
    made.run("other", points=(point("loss", 0.5, 1),), tags={"kept": "yes"})
    made.version(f"runs:/{run_id}/model", run_id)
    return made


def copies(server: Server, name: str) -> Dict[str, str]:
    """The destination's runs by their name."""
    return {run["info"]["run_name"]: run["info"]["run_id"] for run in runs_of(server, name)}


def spoiling(dst: Server, name: str) -> Proxy:
    """A proxy before the destination: when the registered model comes, a tag is taken from a run that has arrived."""

    def spoil(_: Any) -> None:
        body = {"run_id": copies(dst, name)["other"], "key": "kept"}
        RegistryRest(dst.uri).post("runs/delete-tag", body)

    proxy = Proxy(dst.uri)
    proxy.on("GET", "*/registered-models/get", number=1, before=spoil)
    return proxy


def test_copy_all(models: Models, dst_server: Server, run_script: Callable[..., Result], tmp_path: Path) -> None:
    report = tmp_path / "report"
    only = ("--experiments", models.name, "--models", models.name)

    def copy(*args: Any, status: int = 0) -> Tuple[Result, Json]:
        both = ("--src-mlflow-uri", models.server.uri, "--dst-mlflow-uri", proxy.uri, "--report-dir", report)
        result = run_script("copy-all", *both, *only, *args, check=status)
        return result, json.loads((report / "report.json").read_text())["verification"]

    with spoiling(dst_server, models.name) as proxy:
        result, verification = copy(status=1)
        assert all(line["status"] in ("copied", "unchanged") for line in records(report)), "the copy itself saw nothing"
        assert (verification["depth"], verification["result"]) == ("metadata", "different")
        runs = verification["counts"]["run"]
        assert (runs["same"], runs["differs"], runs["missing"]) == (1, 1, 0)
        assert verification["counts"]["model_version"]["same"] == 1
        assert "tag:kept: 'yes' became absent" in result.stdout
        lines = [json.loads(line) for line in (report / "verification.jsonl").read_text().splitlines()]
        assert [line["name"] for line in lines] == ["other"]
        # the repeat finds the edit, and says so: then it is told, and what was told is no surprise
        proxy.clear()
        _, verification = copy()
        assert len(records(report, "run", "differs")) == 1
        assert verification["result"] == "same"
        assert verification["left_out"] == [
            {"kind": "run", "reason": "not whole, as the command has told itself", "number": 1}
        ]
        result, verification = copy("--verify", "none")
        assert verification is None
        assert "Verified" not in result.stdout
        # brought back, with all bytes and points compared
        result, verification = copy("--on-destination-change", "overwrite", "--verify", "full")
        assert verification["counts"]["run"]["same"] == 2
        assert "2 of them byte by byte" in result.stdout
        _, verification = copy("--verify", "counts", "--runs-until", "1970-01-01")
        assert verification["counts"].get("run") is None, "runs that were not asked for are not compared"


@pytest.mark.slow
def test_import_all(models: Models, dst_server: Server, run_script: Callable[..., Result], tmp_path: Path) -> None:
    directory = tmp_path / "out"
    script = {"env": {"MLFLOW_TRACKING_URI": models.server.uri}}
    run_script("export-models", "--models", models.name, "--export-all-runs", "--output-dir", directory, **script)
    load = ("import-all", "--input-dir", directory, "--report-dir", tmp_path)
    with spoiling(dst_server, models.name) as proxy:
        result = run_script(*load, env={"MLFLOW_TRACKING_URI": proxy.uri}, check=1)
    assert "Verified at depth metadata" in result.stdout
    assert "tag:kept: 'yes' became absent" in result.stdout
    end = json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[-1])
    assert (end["exit_status"], end["verification"]["counts"]["run"]["differs"]) == (1, 1)
    html = (tmp_path / "report.html").read_text()
    assert "<h2>Verification</h2>" in html
    assert "the verification found 1 that is not the same" in html
    run_script(*load, env={"MLFLOW_TRACKING_URI": dst_server.uri})


@pytest.mark.slow
def test_a_destination_that_goes_away_then(
    models: Models, dst_server: Server, run_script: Callable[..., Result], tmp_path: Path
) -> None:
    """What can't be verified is not well."""
    both = ("--src-mlflow-uri", models.server.uri, "--report-dir", tmp_path, "--experiments", models.name)
    with Proxy(dst_server.uri) as proxy:
        run_script("copy-all", *both, "--dst-mlflow-uri", proxy.uri)
        # the repeat writes nothing: the last questions are those of the verification
        proxy.clear()
        run_script("copy-all", *both, "--dst-mlflow-uri", proxy.uri, "--verify", "none")
        number = len(proxy.requests)
        proxy.clear()
        proxy.on("*", "*", number=range(number + 1, number + 999), status=403)
        result = run_script("copy-all", *both, "--dst-mlflow-uri", proxy.uri, check=1)
    assert "403" in result.stdout
