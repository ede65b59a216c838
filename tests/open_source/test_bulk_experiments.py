"""Many experiments go through one directory at once: what refers to each other may be in different ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from benchmarks.make_data import make_everything
from tests.support.compare import differences
from tests.support.moves import Counts, Source, counts_of, runs_of
from tests.support.reports import records
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server

PARENT = "mlflow.parentRunId"


class Bulk:
    """Experiments of one name's beginning, and the scripts that move them."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path, start: str) -> None:
        self.script, self.src, self.dst, self.home, self.start = run_script, src, dst, home, start
        self.report = home / "report"

    def run(self, server: Server, *args: Any, status: int = 0) -> Result:
        return self.script(*args, env={"MLFLOW_TRACKING_URI": server.uri}, check=status)

    def export(self, *args: Any, names: str = "", status: int = 0) -> Counts:
        command = ("export-experiments", "--experiments", names or f"{self.start}*", "--output-dir", self.home / "out")
        return counts_of(self.run(self.src, *command, *args, status=status))

    def load(self, *args: Any, status: int = 0) -> Counts:
        command = ("import-experiments", "--input-dir", self.home / "out", "--report-dir", self.report, *args)
        result = self.run(self.dst, *command, status=status)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def reasons(self) -> str:
        return "; ".join(str(line.get("reason")) for line in records(self.report))


@pytest.fixture
def bulk(
    run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str
) -> Bulk:
    return Bulk(run_script, src_server, dst_server, tmp_path, experiment_name)


def by_key(server: Server, name: str) -> Dict[str, str]:
    """Ids of copies by those of their sources."""
    return {tags(run)["mlflow_exim.run_info.run_id"]: run["info"]["run_id"] for run in runs_of(server, name)}


def tags(run: Any) -> Dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_experiments_that_need_each_other(bulk: Bulk) -> None:
    """Parents and logged models of other experiments are found there; a repeat adds nothing."""
    names = [f"{bulk.start} {letter}" for letter in "abc"]
    a, b, c = (Source(bulk.src, name) for name in names)
    parent = b.run("parent")
    model = b.model(parent, "shared")
    child = a.run("child", tags={PARENT: parent})
    a.rest.post("runs/outputs", {"run_id": child, "models": [{"model_id": model, "step": 3}]})
    grandchild = c.run("grandchild", tags={PARENT: child})
    for source, run in ((a, child), (b, parent), (c, grandchild)):
        source.put(run, "plots/a.txt", f"of {run}".encode())
    make_everything(bulk.src.uri, f"{bulk.start} everything")
    c.rest.post("experiments/delete", {"experiment_id": c.id})
    exported = bulk.export("--export-deleted-runs")
    assert exported["experiment"] == {"copied": 3, "skipped": 1}
    assert bulk.export("--export-deleted-runs", "--export-deleted-experiments")["experiment"] == {"copied": 4}
    on_disk = sorted(path.parent.name for path in (bulk.home / "out").rglob("logged_model.json"))
    assert len(on_disk) == len(set(on_disk)), "each logged model is stored once"
    listed = json.loads((bulk.home / "out" / "experiments.json").read_text())
    assert [entry["name"] for entry in listed["mlflow"]["experiments"]].count(names[0]) == 1
    (bulk.home / "renames.csv").write_text(f"{bulk.start},copy of {bulk.start}\n{names[1]},new b\n", encoding="utf-8")
    renamed = ("--experiment-rename-file", bulk.home / "renames.csv")
    loaded = bulk.load(*renamed)
    assert loaded["experiment"] == {"copied": 4}
    assert set(loaded["run"]) == {"copied"}
    new = [f"copy of {names[0]}", f"new b{names[1][len(names[1]) :]}", f"copy of {names[2]}"]
    pairs = [*zip(names, new), (f"{bulk.start} everything", f"copy of {bulk.start} everything")]
    ids = {src: dst for name in new for src, dst in by_key(bulk.dst, name).items()}
    models = Rest(bulk.dst.uri).logged_models(Rest(bulk.dst.uri).experiment(new[1])["experiment_id"])
    assert [found["info"]["name"] for found in models] == ["shared"]
    model_map = {model: models[0]["info"]["model_id"]}
    for ours, theirs in pairs:
        found = differences(
            (bulk.src.uri, ours), (bulk.dst.uri, theirs), model_map=model_map if theirs in new else None,
            ignore_tags={PARENT} if theirs in new else (),
        )  # fmt: skip
        # seen from the child's experiment, the run that made the model is a stranger
        found = [text for text in found if not (ours == names[0] and "source_run_id" in text)]
        assert found == [], (ours, found)
    links = {run["info"]["run_name"]: tags(run).get(PARENT) for name in new for run in runs_of(bulk.dst, name)}
    assert links == {"parent": None, "child": ids[parent], "grandchild": ids[child]}
    outputs = Rest(bulk.dst.uri).run(ids[child])["outputs"]["model_outputs"]
    assert outputs == [{"model_id": model_map[model], "step": 3}]
    for more in ((), ("--report-dir", bulk.home / "elsewhere")):
        again = bulk.load(*renamed, *more)
        assert {kind: set(counts) for kind, counts in again.items()} == {
            kind: {"unchanged"} for kind in ("experiment", "run", "logged_model")
        }, more


def test_one_bad_experiment_stops_no_other(bulk: Bulk) -> None:
    """Names that are not there, a broken file, a deleted destination; two experiments into one; what was lost."""
    names = [f"{bulk.start} {letter}" for letter in "abcd"]
    sources: List[Source] = [Source(bulk.src, name) for name in names]
    for source in sources:
        source.run(f"of {source.name}")
    exported = bulk.export(names=f"{names[0]},{sources[1].id},{names[2]},{names[3]},no such", status=1)
    assert exported["experiment"] == {"copied": 4, "failed": 1}
    broken = bulk.home / "out" / sources[0].id / "experiment.json"
    whole = broken.read_text()
    broken.write_text("{")
    there = Rest(bulk.dst.uri)
    deleted = there.post("experiments/create", {"name": names[1]})["experiment_id"]
    there.post("experiments/delete", {"experiment_id": deleted})
    (bulk.home / "renames.csv").write_text(f"{names[3]},{names[2]}\n", encoding="utf-8")
    renamed = ("--experiment-rename-file", bulk.home / "renames.csv")
    loaded = bulk.load(*renamed, status=1)
    assert loaded["experiment"]["failed"] == 2
    assert loaded["run"] == {"copied": 2}
    assert "is deleted" in bulk.reasons()
    assert sorted(run["info"]["run_name"] for run in runs_of(bulk.dst, names[2])) == [
        f"of {name}" for name in names[2:]
    ]
    broken.write_text(whole)
    there.post("experiments/restore", {"experiment_id": deleted})
    assert bulk.load(*renamed)["run"] == {"copied": 2, "unchanged": 2}
    assert bulk.load(*renamed)["run"] == {"unchanged": 4}
    # a new run at the source; a failed one stays so until it is exported
    sources[0].run("later")
    assert bulk.export(names=names[0])["run"] == {"copied": 1, "unchanged": 1}
    assert bulk.load(*renamed)["run"] == {"copied": 1, "unchanged": 4}
    (bulk.home / "out" / "experiments.json").unlink()
    refused = bulk.run(bulk.dst, "import-experiments", "--input-dir", bulk.home / "out", status=2).stderr
    assert "there is no experiments.json" in refused
