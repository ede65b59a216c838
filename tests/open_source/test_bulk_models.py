"""Many registered models go through one directory with the experiments of their runs, each run once."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from tests.support.compare_models import RegistryRest, model_differences
from tests.support.make_models import Models, numbers_of
from tests.support.moves import Counts, counts_of, runs_of
from tests.support.reports import records
from tests.support.scripts import Result
from tests.support.servers import PROJECT, Server


class Bulk:
    """Models of one name's beginning, and the scripts that move them."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path, start: str) -> None:
        self.script, self.src, self.dst, self.home, self.start = run_script, src, dst, home, start
        self.report = home / "report"

    def export(self, *args: Any, names: str = "", status: int = 0) -> Counts:
        command = ("export-models", "--models", names or f"{self.start}*", "--output-dir", self.home / "out", *args)
        return counts_of(self.script(*command, env={"MLFLOW_TRACKING_URI": self.src.uri}, check=status))

    def load(self, *args: Any, status: int = 0) -> Counts:
        command = ("import-models", "--input-dir", self.home / "out", "--report-dir", self.report, *args)
        result = self.script(*command, env={"MLFLOW_TRACKING_URI": self.dst.uri}, check=status)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def differences(self, name: str, new_name: str = "") -> List[str]:
        return model_differences((self.src.uri, name), (self.dst.uri, new_name or name))

    def reasons(self) -> str:
        return "; ".join(str(line.get("reason")) for line in records(self.report))


@pytest.fixture
def bulk(
    run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str
) -> Bulk:
    return Bulk(run_script, src_server, dst_server, tmp_path, experiment_name)


def test_models_that_share_runs(bulk: Bulk) -> None:
    """Versions of several models made from the same runs; a repeat adds nothing, and brings what is new."""
    start, server, dst_server, tmp_path = bulk.start, bulk.src, bulk.dst, bulk.home
    first, second = Models(server, f"{start} first"), Models(server, f"{start} second")
    first.everything(mlflow3=True)
    second.many(6, True, random.Random(3))
    run = first.run_with_model("model", name="shared")
    unused = first.run("no version is made from it")
    for made in (first, second):
        made.version(f"runs:/{run}/model", run)
    second.create_model(f"{start} empty")
    exported = bulk.export()
    assert exported["registered_model"] == {"copied": 3}
    assert exported["experiment"] == {"copied": 2}
    stored = [path.parent.name for path in (tmp_path / "out").rglob("run.json")]
    assert len(stored) == len(set(stored)), "each run is stored once"
    assert run in stored and unused not in stored
    loaded = bulk.load()
    assert {kind: set(counts) for kind, counts in loaded.items()}.items() >= {
        "registered_model": {"copied"}, "model_version": {"copied"}, "experiment": {"copied"}, "run": {"copied"},
    }.items()  # fmt: skip
    for name in (first.name, second.name):
        assert bulk.differences(name) == []
    assert numbers_of(dst_server, f"{start} empty") == []
    last = [RegistryRest(dst_server.uri).versions(name)[-1] for name in (first.name, second.name)]
    assert last[0]["run_id"] == last[1]["run_id"], "both are made from one copy of the shared run"
    for more in ((), ("--report-dir", tmp_path / "elsewhere")):
        again = bulk.load(*more)
        assert {status for counts in again.values() for status in counts} == {"unchanged"}, more
    first.alias("champion", "1")
    first.version(f"runs:/{run}/model", run)
    bulk.export(names=first.name)
    assert json.loads((tmp_path / "out" / "models" / "models.json").read_text())["mlflow"]["models"] == sorted(
        [first.name, second.name, f"{start} empty"]
    )
    assert bulk.load()["model_version"]["copied"] == 1
    assert bulk.differences(first.name) == []
    assert bulk.export("--export-all-runs", "--export-deleted-runs")["run"]["copied"] >= 2
    assert "copied" in bulk.load()["run"]
    assert bulk.differences(first.name) == []


def test_renamed_deleted_and_broken(bulk: Bulk) -> None:
    """New names; a conflict, a broken file and a name that is not there stop no other; --delete-model is careful."""
    names = [f"{bulk.start} {letter}" for letter in "abc"]
    made = [Models(bulk.src, name) for name in names]
    for models in made:
        run = models.run_with_model("model")
        models.version(f"{models.root(run)}/model", run)
        models.version(f"runs:/{run}/model", run)
    without = made[0].run_with_model("model", name="deleted")
    made[0].version(f"{made[0].root(without)}/model", without)
    made[0].delete(without)
    exported = bulk.export(names=f"{','.join(names)},nobody", status=1)
    assert exported["registered_model"] == {"copied": 3, "failed": 1}
    there = Models(bulk.dst, f"new {names[1]}")
    other = there.run_with_model("model")
    there.version(f"runs:/{other}/model", other)
    (bulk.home / "renames.csv").write_text(f"{bulk.start},new {bulk.start}\n", encoding="utf-8")
    renamed = ("--model-rename-file", bulk.home / "renames.csv", "--experiment-rename-file", bulk.home / "renames.csv")
    broken = bulk.home / "out" / "models" / names[2] / "model.json"
    whole = broken.read_text()
    broken.write_text("{")
    loaded = bulk.load(*renamed, status=1)
    assert loaded["registered_model"] == {"copied": 1, "failed": 3}
    assert "another version 1" in bulk.reasons()
    assert bulk.differences(names[0], f"new {names[0]}") == []
    holders = [run["info"]["run_name"] for run in runs_of(bulk.dst, f"new {names[0]}")]
    assert f"{names[0]} version 3" in holders
    broken.write_text(whole)
    run_file = next(path for path in (bulk.home / "out" / "experiments").rglob("run.json") if _of(path, made[1].id))
    lost = run_file.parent / "artifacts" / "model" / "data" / "model.bin"
    content = lost.read_bytes()
    lost.unlink()
    loaded = bulk.load(*renamed, "--delete-model", status=1)
    assert "the destination's model is not deleted" in bulk.reasons()
    assert numbers_of(bulk.dst, f"new {names[1]}") == [1]
    lost.write_bytes(content)
    bulk.load(*renamed, "--delete-model", status=1)  # the one that the source does not have is still listed as failed
    for name in names:
        assert bulk.differences(name, f"new {name}") == []


def test_a_directory_of_the_earlier_tool(bulk: Bulk) -> None:
    """Written by its export-all on a server of MLflow 2.22; entries of its list are repeated, as in old exports."""
    shutil.copytree(PROJECT / "tests/data/old_layouts/mlflow_export_import_1_2_0_bulk", bulk.home / "out")
    new = {name: f"{bulk.start} {name}" for name in ("first", "second")}
    (bulk.home / "renames.csv").write_text("".join(f"{old},{name}\n" for old, name in new.items()), encoding="utf-8")
    renamed = ("--model-rename-file", bulk.home / "renames.csv", "--experiment-rename-file", bulk.home / "renames.csv")
    command = ("import-all", "--input-dir", bulk.home / "out", "--report-dir", bulk.report, *renamed)
    runs = len(list((bulk.home / "out").rglob("run.json")))
    for status in ("copied", "unchanged"):
        done = counts_of(bulk.script(*command, env={"MLFLOW_TRACKING_URI": bulk.dst.uri}))
        assert done == {
            "experiment": {status: 2}, "run": {status: runs}, "registered_model": {status: 2},
            "model_version": {status: 10},
        }  # fmt: skip
    rest = RegistryRest(bulk.dst.uri)
    for old, name in new.items():
        doc = json.loads((bulk.home / "out" / "models" / old / "model.json").read_text())["mlflow"]["registered_model"]
        there = rest.versions(name)
        assert [v["version"] for v in there] == [v["version"] for v in sorted(doc["versions"], key=_number)]
        for version in there:
            files = rest.files(rest.download_uri(name, version["version"]))
            whole_root = "artifacts" in version["source"].split("/")[-1]
            assert {"MLmodel", "data/model.bin"} <= files.keys() or whole_root, (version, files)


def _number(version: Dict[str, Any]) -> int:
    return int(version["version"])


def _of(path: Path, experiment_id: str) -> bool:
    info: Dict[str, Any] = json.loads(path.read_text())["mlflow"]["info"]
    return bool(info["experiment_id"] == experiment_id)
