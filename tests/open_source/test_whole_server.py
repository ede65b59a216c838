"""A whole server goes to another: experiments, registered models and prompts, with their links to each other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

from tests.support.compare import differences
from tests.support.compare_models import RegistryRest, model_differences
from tests.support.kills import run_killed
from tests.support.make_prompts import Prompts, prompt_differences
from tests.support.make_server import PROMPT, make_oddities
from tests.support.moves import Counts, counts_of, writes
from tests.support.proxy import Proxy
from tests.support.scripts import Result
from tests.support.servers import Server


@pytest.fixture(scope="module")
def filled(server: Callable[..., Server]) -> Tuple[Server, List[str], List[str]]:
    """A server with some of all; names of its experiments and models."""
    src = server()
    return (src, *make_oddities(src))


def run(run_script: Callable[..., Result], server: Server, *args: Any, status: int = 0) -> Counts:
    result = run_script(*args, env={"MLFLOW_TRACKING_URI": server.uri}, check=status)
    assert "do not reconcile" not in result.stdout, result
    return counts_of(result)


def test_everything_arrives_once(
    filled: Tuple[Server, List[str], List[str]],
    server: Callable[..., Server],
    run_script: Callable[..., Result],
    tmp_path: Path,
) -> None:
    src, experiments, models = filled
    dst = server()
    all_of_it = ("--export-deleted-runs", "--export-deleted-experiments")
    export = ("export-all", "--output-dir", tmp_path / "out")
    left_out = run(run_script, src, *export)
    assert left_out["experiment"] == {"copied": 4, "skipped": 1}
    exported = run(run_script, src, *export, *all_of_it)
    assert exported["experiment"] == {"copied": 5}
    for file in ("run.json", "logged_model.json"):
        stored = [path.parent.name for path in (tmp_path / "out").rglob(file)]
        assert len(stored) == len(set(stored)), "each is stored once"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())["info"]
    assert (manifest["models"]["num_ok_models"], manifest["experiments"]["status"]["experiments"]) == (2, 5)
    load = ("import-all", "--input-dir", tmp_path / "out", "--report-dir", tmp_path / "report")
    loaded = run(run_script, dst, *load)
    assert loaded["registered_model"] == {"copied": 2}
    assert loaded["prompt"] == {"copied": 1}
    assert loaded["experiment"] == {"copied": 4, "unchanged": 1}  # experiment 0 is there from the start
    for _ in range(2):
        found = [text for name in experiments for text in differences((src.uri, name), (dst.uri, name))]
        found += [text for name in models for text in model_differences((src.uri, name), (dst.uri, name))]
        found += prompt_differences(Prompts(src.uri), PROMPT, Prompts(dst.uri), PROMPT)
        assert found == []
        ids = {model: RegistryRest(dst.uri).experiment(model)["experiment_id"] for model in ("first", "Default")}
        tags = {tag["key"]: tag["value"] for tag in RegistryRest(dst.uri).model(PROMPT)["tags"]}
        assert tags["_mlflow_experiment_ids"] == f",{ids['first']},{ids['Default']},"
        again = run(run_script, dst, *load)
        assert {status for counts in again.values() for status in counts} == {"unchanged"}
    assert {status for kind, counts in run(run_script, src, *export, *all_of_it).items() for status in counts} <= {
        "unchanged", "copied"
    }  # fmt: skip
    # what verifies knows nothing of how it was moved

    def verify(*args: Any, status: int = 0) -> str:
        return run_script("verify-migration", "--depth", "full", *args, check=status).stdout

    to = ("--dst-mlflow-uri", dst.uri, "--report-dir", tmp_path / "report", *all_of_it)
    kinds = ("experiment", "run", "logged_model", "registered_model", "model_version", "prompt", "prompt_version")
    for source in (("--src-mlflow-uri", src.uri), ("--input-dir", tmp_path / "out")):
        rows = {words[0]: words[1:] for words in map(str.split, verify(*source, *to).splitlines()) if words}
        assert all(rows[kind][0] == rows[kind][1] != "0" for kind in kinds), rows
    alone = ("--input-dir", tmp_path / "out", "--report-dir", tmp_path / "alone")
    verify(*alone)
    some = next((tmp_path / "out" / "experiments").rglob("model.bin"))
    some.write_bytes(b"x" * some.stat().st_size)
    assert "model.bin" in verify(*alone, status=1)


@pytest.mark.slow
def test_a_copy_and_what_has_changed_since(
    filled: Tuple[Server, List[str], List[str]],
    server: Callable[..., Server],
    run_script: Callable[..., Result],
    start_script: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Copied in one go, killed on the way; a repeat writes nothing, but what is new at the source."""
    src, _, _ = filled
    dst = server()
    report, temp = tmp_path / "report", tmp_path / "temp"
    temp.mkdir()
    all_of_it = ("--export-deleted-runs", "--export-deleted-experiments")
    both = ("--src-mlflow-uri", src.uri, "--report-dir", report, *all_of_it)

    def copy(*args: Any, to: str = dst.uri, status: int = 0) -> Counts:
        command = ("copy-all", *both, "--dst-mlflow-uri", to, *args)
        result = run_script(*command, check=status, env={"TMPDIR": temp})
        assert "do not reconcile" not in result.stdout, result
        assert list(temp.iterdir()) == []
        return counts_of(result)

    with Proxy(dst.uri) as proxy:
        killed = ("copy-all", *both, "--dst-mlflow-uri", proxy.uri)
        assert run_killed(proxy, killed, "POST", "*/runs/update", 9) == ""
    copied = copy()
    assert set(copied["run"]) <= {"copied", "updated", "unchanged"}
    verify = ("verify-migration", "--depth", "full", "--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri)
    run_script(*verify, *all_of_it, "--report-dir", report)
    again = copy()
    assert {status for counts in again.values() for status in counts} == {"unchanged"}
    with Proxy(dst.uri) as proxy:
        copy(to=proxy.uri)
        assert writes(proxy) == {}
    rest = RegistryRest(src.uri)
    body = {"experiment_id": rest.experiment("first")["experiment_id"], "run_name": "new since then", "start_time": 7}
    new = rest.post("runs/create", body)["run"]["info"]["run_id"]
    assert copy()["run"] == {"copied": 1, "unchanged": again["run"]["unchanged"]}
    version = {"name": "first", "source": f"runs:/{new}/nothing", "run_id": new}
    number = rest.post("model-versions/create", version)["model_version"]["version"]
    copies = _copies(report)
    process = start_script(*killed[:-1], dst.uri, "--every", "1h", env={"TMPDIR": temp})
    deadline = time.monotonic() + 120
    while _copies(report) == copies:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    time.sleep(1)  # its summary is printed after the ledger's last line
    process.terminate()
    output = process.communicate(timeout=60)
    assert process.returncode == 0, output  # between two copies it just ends
    assert model_differences((src.uri, "first"), (dst.uri, "first"), run_gone=(int(number),)) == []


def _copies(report: Path) -> int:
    """How many copies have ended."""
    return (report / "ledger.jsonl").read_text().count('"event":"end"')
