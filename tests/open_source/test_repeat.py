"""Everything may be repeated: what has not changed stays, what has changed follows, and nothing comes twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from benchmarks.make_data import end_run, log_metrics, make_everything
from tests.support.compare import RUN_KEY, assert_same
from tests.support.moves import At, Moves, Source, point, runs_of, writes
from tests.support.proxy import Proxy
from tests.support.reports import id_map, ledger, statuses
from tests.support.rest import Rest
from tests.support.servers import Server


def test_nothing_changed(moves: Moves, experiment_name: str) -> None:
    """A second export and a second import of everything find it all unchanged and write nothing."""
    ids = make_everything(moves.src.uri, experiment_name, deleted_models=True)
    objects = len(ids) - 1
    with Proxy(moves.src.uri) as src, Proxy(moves.dst.uri) as dst:
        moves.src, moves.dst = At(src.uri), At(dst.uri)
        directory = moves.export(experiment_name, "--export-deleted-runs")
        files = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.parent != directory}
        first = src.count()
        src.clear()
        moves.export(experiment_name, "--export-deleted-runs")
        assert Counter(line["status"] for line in ledger(directory)) == {"unchanged": objects, "copied": 1}
        assert files == {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.parent != directory}
        assert src.count() < first / 2 and not writes(src)
        assert src.count("GET", "*/metrics/get-history*") == 0

        moves.load(experiment_name)
        number = len(runs_of(moves.dst, experiment_name))
        dst.clear()
        moves.load(experiment_name)
        assert Counter(line["status"] for line in moves.ledger()) == {"unchanged": objects + 1}
        assert writes(dst) == {}
        assert len(runs_of(moves.dst, experiment_name)) == number
        # the copy of a copy: in one go, with a report of its own
        for expected in ("copied", "unchanged"):
            dst.clear()
            moves.copy(experiment_name, experiment_name + " copy", "--export-deleted-runs")
            assert Counter(line["status"] for line in moves.ledger()) == {expected: objects + 1}
        assert writes(dst) == {}
        for name in (experiment_name, experiment_name + " copy"):
            assert_same((moves.src.uri, experiment_name), (moves.dst.uri, name))


# ---- changes at the source

KINDS = (
    "untouched", "points", "new metric", "tag", "tag deleted", "note", "renamed", "ended", "deleted", "restored",
    "artifact", "input", "param", "model", "parent",
)  # fmt: skip


def make(source: Source) -> Dict[str, str]:
    """A run for each kind of change."""
    ids = {}
    for number, kind in enumerate(KINDS):
        ids[kind] = source.run(
            kind, 1000 + number, (point("x", 1.0, 1),), end=kind != "ended",
            tags={"k": "old", "mlflow.note.content": "old"}, parent=ids.get("points"),
        )  # fmt: skip
    source.put(ids["artifact"], "a.txt", b"old")
    source.delete(ids["restored"])
    ids["its model"] = source.model(ids["model"], "m")
    tag = {"experiment_id": source.id, "key": "k", "value": "old"}
    source.rest.post("experiments/set-experiment-tag", tag)
    return ids


def change(source: Source, ids: Dict[str, str]) -> None:
    """Change all but one of the runs."""
    rest, model_id = source.rest, ids["its model"]
    log_metrics(rest, ids["points"], [point("x", 2.0, 2), point("x", float("1e300"), 3)])
    log_metrics(rest, ids["new metric"], [point("y", 2.0, 2)])
    source.tag(ids["tag"], "k", "new")
    rest.post("runs/delete-tag", {"run_id": ids["tag deleted"], "key": "k"})
    source.tag(ids["note"], "mlflow.note.content", "# new")
    rest.post("runs/update", {"run_id": ids["renamed"], "run_name": "another name"})
    end_run(rest, ids["ended"], "FAILED", 5_000)
    source.delete(ids["deleted"])
    rest.post("runs/restore", {"run_id": ids["restored"]})
    source.put(ids["artifact"], "a.txt", b"longer than before")
    source.put(ids["artifact"], "dir/b.txt", b"new")
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "s"}
    rest.post("runs/log-inputs", {"run_id": ids["input"], "datasets": [{"dataset": dataset, "tags": []}]})
    rest.post("runs/log-parameter", {"run_id": ids["param"], "key": "p", "value": ""})
    log_metrics(rest, ids["model"], [point("acc", 0.5, 1, model_id=model_id)])
    body = {"model_id": model_id, "tags": [{"key": "stage", "value": "prod"}]}
    rest.patch(f"logged-models/{model_id}/tags", body)
    source.tag(ids["parent"], "mlflow.parentRunId", ids["tag"])
    for key in ("k", "mlflow.note.content"):
        rest.post("experiments/set-experiment-tag", {"experiment_id": source.id, "key": key, "value": "new"})


@pytest.mark.parametrize("way", ["directory", "copy"])
def test_changes_follow(way: str, moves: Moves, source: Source) -> None:
    """What changed at the source, and nothing else, is exported again and brought up to date."""
    both = (moves.src.uri, source.name), (moves.dst.uri, source.name)

    def move(*args: str) -> Dict[str, str]:
        if way == "directory":
            directory = moves.export(source.name, *args)
            exported = statuses(directory)
            moves.load(source.name)
            # the export has said the same
            assert exported == statuses(moves.report)
        else:
            moves.copy(source.name, source.name, *args)
        return {**statuses(moves.report), **statuses(moves.report, "logged_model")}

    ids = make(source)
    assert move("--export-deleted-runs") == dict.fromkeys(ids.values(), "copied")
    change(source, ids)
    ids["new"] = source.run("new", 500, (point("x", 1.0, 1),), parent=ids["untouched"])
    ids["new model"] = source.model(ids["new"], "m2")
    # a run that was taken before is followed when it gets deleted, without an option
    expected = {ids[kind]: "copied" if kind.startswith("new") and kind != "new metric" else "updated" for kind in ids}
    expected[ids["untouched"]] = "unchanged"
    assert move() == expected
    assert_same(*both)
    assert Counter(line["status"] for line in moves.ledger() if line["kind"] == "experiment") == {"updated": 1}
    assert set(move().values()) == {"unchanged"}
    assert_same(*both)


def test_running_again(moves: Moves, source: Source) -> None:
    """A run that is taken up again after its end follows, too."""
    run_id = source.run("r", points=(point("x", 1.0, 1),))
    both = (moves.src.uri, source.name), (moves.dst.uri, source.name)
    for status in ("RUNNING", "FINISHED", "RUNNING", "KILLED"):
        moves.copy(source.name, source.name)
        source.rest.post("runs/update", {"run_id": run_id, "status": status, "end_time": 9000})
        log_metrics(source.rest, run_id, [point("x", 1.0, len(status))])
        assert moves.copy(source.name, source.name)["run"] == {"updated": 1}
        assert_same(*both)


# ---- more than two servers, more than one destination


def small(source: Source) -> Dict[str, str]:
    """Nested runs, one with a logged model and an artifact."""
    ids = {"parent": source.run("parent", 2000, (point("x", 1.0, 1),))}
    ids["child"] = source.run("child", 1000, parent=ids["parent"], tags={"k": "v"})
    ids["model"] = source.model(ids["child"], "m")
    source.put(ids["child"], "dir/a.txt", b"a")
    return ids


def test_chain_and_back(moves: Moves, source: Source, server_222: Server) -> None:
    """A to B to C keeps everything and names the immediate source; B back to A recognises A's own runs."""
    ids = {role: i for role, i in small(source).items() if role != "model"}
    a, b = moves.src, moves.dst
    name, name_c = source.name, source.name + " C"
    moves.copy(name, name)
    to_b = id_map(moves.report)
    # B to C, an experiment of the same server as A
    back = Moves(moves.script, b, a, moves.home / "back")
    back.export(name)
    back.load(name_c)
    to_c = id_map(back.report)
    assert set(to_b) == set(ids.values()) and set(to_b.values()) == set(to_c)
    assert_same((b.uri, name), (a.uri, name_c))
    chained = {src: to_c[dst] for src, dst in to_b.items()}
    models = id_map(moves.report, "logged_model"), id_map(back.report, "logged_model")
    model_map = {src: models[1][dst] for src, dst in models[0].items()}
    assert_same((a.uri, name), (a.uri, name_c), run_map=chained, model_map=model_map)

    # B back to A: nothing new
    counts = back.load(name)
    assert counts == {"experiment": {"unchanged": 1}, "logged_model": {"unchanged": 1}, "run": {"unchanged": 2}}
    assert len(runs_of(a, name)) == 2 and len(source.rest.logged_models(source.id)) == 1
    own = {run["info"]["run_id"]: run for run in runs_of(a, name)}
    assert set(own) == set(ids.values())
    assert not any(tag["key"] == RUN_KEY for run in own.values() for tag in run["data"].get("tags") or [])

    # a new run of B comes to A, and from there not to B again
    there = Source.__new__(Source)
    there.__dict__.update(server=b, rest=Rest(b.uri), name=name, id=Rest(b.uri).experiment(name)["experiment_id"])
    new = there.run("new in B", parent=to_b[ids["parent"]])
    back.export(name)
    assert back.load(name)["run"] == {"copied": 1, "unchanged": 2}
    copied = [run for run in runs_of(a, name) if run["info"]["run_id"] not in own]
    tags = {tag["key"]: tag["value"] for tag in copied[0]["data"]["tags"]}
    assert len(copied) == 1 and (tags[RUN_KEY], tags["mlflow.parentRunId"]) == (new, ids["parent"])
    assert moves.copy(name, name)["run"] == {"unchanged": 3}
    assert len(runs_of(b, name)) == 3


def test_one_directory_into_two_experiments(moves: Moves, source: Source, server_222: Server) -> None:
    """Each experiment gets a copy of its own, also on a third server, with one report for all; repeats add none."""
    small(source)
    moves.export(source.name)
    names = [f"{source.name} {number}" for number in range(2)]
    other = Moves(moves.script, moves.src, server_222, moves.home)
    for expected in ("copied", "unchanged"):
        for name in names:
            assert moves.load(name)["run"] == {expected: 2}
        assert other.load(names[0], "--accept-loss", "logged-models")["run"]
    for name in names:
        assert_same((moves.src.uri, source.name), (moves.dst.uri, name))
    assert len(runs_of(server_222, names[0])) == 2


@pytest.mark.parametrize("change_it", [False, True])
def test_lost_id_map(change_it: bool, moves: Moves, source: Source) -> None:
    """Without the file the destination's tags still tell what is there: nothing comes twice, additions follow."""
    ids = small(source)
    moves.export(source.name)
    moves.load(source.name)
    (moves.report / "id_map.jsonl").unlink()
    runs = {"unchanged": 2}
    if change_it:
        source.tag(ids["parent"], "k", "added")
        source.tag(ids["child"], "k", "changed")
        log_metrics(source.rest, ids["parent"], [point("x", 2.0, 2)])
        moves.export(source.name)
        # whose change the other tag is can't be known any more: it is left alone and told
        runs = {"updated": 1, "differs": 1}
    counts = moves.load(source.name)
    assert counts["run"] == runs and counts["logged_model"] == {"unchanged": 1}
    assert len(runs_of(moves.dst, source.name)) == 2
    both = (moves.src.uri, source.name), (moves.dst.uri, source.name)
    if change_it:
        assert "tag k" in moves.reason(ids["child"])
        assert moves.load(source.name, "--on-destination-change", "overwrite")["run"]["updated"] == 1
    assert_same(*both)
    # the new map is whole
    assert moves.load(source.name)["run"] == {"unchanged": 2}


def test_runs_alone(moves: Moves, source: Source, tmp_path: Path, run_script: Callable[..., Any]) -> None:
    """export-run, import-run and copy-run may be repeated as well."""
    ids = small(source)
    run_id = ids["child"]
    exporting = ("--tracking-uri", moves.src.uri, "--run-id", run_id, "--output-dir", tmp_path / "run")
    copying = (
        "--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", moves.dst.uri, "--run-id", run_id,
        "--experiment-name", source.name + " copy", "--report-dir", tmp_path / "copy",
    )  # fmt: skip
    for expected in ("copied", "unchanged", "updated"):
        if expected == "updated":
            log_metrics(source.rest, run_id, [point("x", 2.0, 2)])
            source.tag(run_id, "k", "new")
        run_script("export-run", *exporting)
        assert statuses(tmp_path / "run") == {run_id: expected}
        assert moves.load(source.name, script="import-run", to="run")["run"] == {expected: 1}
        run_script("copy-run", *copying)
        assert statuses(tmp_path / "copy") == {run_id: expected}
        for name in (source.name, source.name + " copy"):
            assert_same(
                (moves.src.uri, source.name), (moves.dst.uri, name), only=[run_id], experiment=False
            )  # fmt: skip
