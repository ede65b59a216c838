"""Copies of experiments: groups of runs are imported while others are exported, and few lie in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List
from uuid import uuid4

import pytest

from mlflow_migration.copy import copy_all, copy_experiment
from mlflow_migration.experiment import experiment_exporter
from mlflow_migration.run.run_batch import Batches
from tests.support.compare import differences
from tests.support.moves import Source, point
from tests.support.reports import ledger
from tests.support.rest import Rest
from tests.support.servers import Server

RUNS, GROUP = 60, 5


@pytest.fixture
def source(src_server: Server) -> Source:
    """Many runs, among them some that need what is made by later ones."""
    made = Source(src_server, f"pipeline {uuid4().hex[:8]}")
    ids = [made.run(f"run {i}", 1000 + i, (point("loss", i, 1),), end=False) for i in range(RUNS)]
    for i in range(0, RUNS, 7):
        made.put(ids[i], "data.bin", bytes([i]) * 1000)
    models = {i: made.model(ids[i], f"model {i}") for i in (2, 8, 30, 31)}
    # made by an early run and measured by a late one, and by a run that is deleted
    made.rest.post("runs/log-batch", {"run_id": ids[50], "metrics": [point("score", 1, 1, model_id=models[2])]})
    made.rest.post("runs/log-batch", {"run_id": ids[51], "metrics": [point("score", 2, 1, model_id=models[8])]})
    # used by an early run, and by a late one
    for user, model in ((3, 30), (55, 31)):
        inputs = {"run_id": ids[user], "datasets": [], "models": [{"model_id": models[model]}]}
        made.rest.post("runs/log-inputs", inputs)
    made.tag(ids[1], "mlflow.parentRunId", ids[58])  # a parent that comes later
    made.tag(ids[59], "mlflow.parentRunId", ids[0])
    made.delete(ids[51], ids[1])
    return made


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> List[int]:
    """How many runs lay in the temporary directory whenever some were to be imported."""
    temp, counts = tmp_path / "temp", []
    temp.mkdir()
    monkeypatch.setenv("TMPDIR", str(temp))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(experiment_exporter, "GROUP", GROUP)
    take = Batches.take

    def counted(self: Batches, *parts: Any) -> None:
        counts.append(len(list(temp.rglob("run.json"))))
        take(self, *parts)

    monkeypatch.setattr(Batches, "take", counted)
    return counts


def run(command: Any, *args: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        command.main(list(map(str, args)), standalone_mode=False)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", [pytest.param("copy-experiment", marks=pytest.mark.slow), "copy-all"])
def test_few_lie_in_between(name: str, source: Source, dst_server: Server, seen: List[int], tmp_path: Path) -> None:
    both = ("--src-mlflow-uri", source.server.uri, "--dst-mlflow-uri", dst_server.uri, "--report-dir", tmp_path)
    if name == "copy-all":
        command, names, new_name = copy_all.main, ("--experiments", source.name), source.name
    else:
        new_name = f"{source.name} by itself"
        command, names = copy_experiment.main, ("--experiment", source.name, "--experiment-name", new_name)
    args = (*both, *names, "--export-deleted-runs", "True", "--quiet", "True")
    assert run(command, *args) == 0
    assert len(seen) >= RUNS // GROUP, "it came in groups"
    # those that wait for others: the runs that made, measured or use a model together with later ones
    waiting = 8
    assert 0 < max(seen) <= 3 * GROUP + waiting
    assert {line["status"] for line in ledger(tmp_path)} == {"copied"}
    assert differences((source.server.uri, source.name), (dst_server.uri, new_name)) == []
    assert list((tmp_path / "temp").iterdir()) == []
    seen.clear()
    assert run(command, *args) == 0
    assert set(seen) == {0}
    assert {line["status"] for line in ledger(tmp_path)} == {"unchanged"}
    assert differences((source.server.uri, source.name), (dst_server.uri, new_name)) == []


@pytest.mark.slow
def test_what_an_earlier_copy_left_in_a_temporary_directory(
    source: Source, dst_server: Server, seen: List[int], tmp_path: Path
) -> None:
    """It is taken up with what it needs: a run that uses a model of a later one waits for that."""
    both = ("--src-mlflow-uri", source.server.uri, "--dst-mlflow-uri", dst_server.uri)
    args = (*both, "--experiment", source.name, "--export-deleted-runs", "True", "--quiet", "True")
    args += ("--temp-dir", tmp_path / "kept")
    for new_name in ("one", "two"):
        report = ("--experiment-name", f"{source.name} {new_name}", "--report-dir", tmp_path / new_name)
        assert run(copy_experiment.main, *args, *report) == 0
        found = differences((source.server.uri, source.name), (dst_server.uri, f"{source.name} {new_name}"))
        assert found == []


def test_models_of_other_experiments(src_server: Server, dst_server: Server, seen: List[int], tmp_path: Path) -> None:
    """A run that uses a logged model of another experiment comes after that, and the model comes once."""
    name = f"pipelines {uuid4().hex[:8]}"
    first, second = (Source(src_server, f"{name} {which}") for which in ("a", "b"))
    models = {}
    for each in (first, second):
        maker = each.run("maker")
        models[each.name] = each.model(maker, "made here")
    for user, model in ((first, second), (second, first)):
        deleted = user.run("user, deleted")
        for run_id in (user.run("user"), deleted):
            inputs = {"run_id": run_id, "datasets": [], "models": [{"model_id": models[model.name]}]}
            user.rest.post("runs/log-inputs", inputs)
        user.delete(deleted)
    both = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri, "--report-dir", tmp_path)
    args = (*both, "--experiments", f"{name}*", "--export-deleted-runs", "True", "--quiet", "True")
    for status in ("copied", "unchanged"):
        assert run(copy_all.main, *args, "--verify", "full") == 0
        lines = ledger(tmp_path)
        assert {line["status"] for line in lines} == {status}
        assert len([line for line in lines if line["kind"] == "logged_model"]) == 2
        rest = Rest(dst_server.uri)
        for each in (first, second):
            found = rest.logged_models(rest.experiment(each.name)["experiment_id"])
            assert [model["info"]["name"] for model in found] == ["made here"], "no second copy where it is used"


def test_two_that_get_one_name(src_server: Server, dst_server: Server, tmp_path: Path) -> None:
    """They are copied at the same time, and all runs are in one experiment: neither is too late to make it."""
    name = f"merged {uuid4().hex[:8]}"
    made = [Source(src_server, f"{name} {which}") for which in "abcd"]
    for each in made:
        each.run(each.name, 1000, (point("loss", 0.5, 1),))
    renames = tmp_path / "renames.csv"
    renames.write_text("".join(f"{each.name},{name}\n" for each in made))
    both = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri, "--report-dir", tmp_path)
    args = (*both, "--experiments", f"{name}*", "--experiment-rename-file", renames, "--quiet", "True")
    assert run(copy_all.main, *args) == 0
    rest = Rest(dst_server.uri)
    found = [one["info"]["run_name"] for one in rest.runs(rest.experiment(name)["experiment_id"])]
    assert sorted(found) == [each.name for each in made]
    assert run(copy_all.main, *args) == 0
    assert {line["status"] for line in ledger(tmp_path)} == {"unchanged"}
