"""Backups: what is restored to where it came from, what a directory keeps, and what a command says of itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from benchmarks.make_data import log_metrics
from tests.support.compare import assert_same
from tests.support.moves import At, Moves, Source, point, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import id_map, records, statuses
from tests.support.rest import Json, Rest
from tests.support.scripts import script_path
from tests.support.servers import Server, clean_environment

SAME = {"experiment": {"unchanged": 1}, "logged_model": {"unchanged": 1}, "run": {"unchanged": 2}}


def small(source: Source) -> Dict[str, str]:
    """A run with a logged model and artifacts, and its child."""
    ids = {"parent": source.run("parent", 1000, (point("x", 1.0, 1),), tags={"k": "v"})}
    ids["child"] = source.run("child", 2000, parent=ids["parent"])
    ids["model"] = source.model(ids["parent"], "m")
    source.put(ids["parent"], "dir/a.txt", b"a")
    source.put(ids["parent"], "b.txt", b"bb")
    return ids


# ---- to another server and back


def test_back_with_source_tags(source: Source, moves: Moves) -> None:
    """A to B with source tags, and back: A gets none of them. Originals are in tags, and in the id map."""
    ids = small(source)
    assert moves.copy(source.name, source.name, "--import-source-tags")["logged_model"] == {"copied": 1}
    original = source.rest.logged_model(ids["model"])["info"]
    copy = Rest(moves.dst.uri).logged_model(id_map(moves.report, "logged_model")[ids["model"]])
    tags = {tag["key"]: tag["value"] for tag in copy["info"]["tags"]}
    assert tags["mlflow_exim.field.model_id"] == ids["model"]
    assert tags["mlflow_exim.field.creation_timestamp"] == str(original["creation_timestamp_ms"])
    assert tags["mlflow_exim.field.artifact_location"] == original["artifact_uri"]
    assert tags["mlflow_exim.field.experiment_id"] == source.id

    back = Moves(moves.script, moves.dst, moves.src, moves.home / "back")
    back.export(source.name)
    assert back.load(source.name, "--import-source-tags") == back.load(source.name) == SAME
    found = [source.rest.experiment(source.name), *(run["data"] for run in runs_of(moves.src, source.name))]
    found.append(source.rest.logged_model(ids["model"])["info"])
    assert not [tag for item in found for tag in item.get("tags") or () if tag["key"].startswith("mlflow_exim.")]


def originals(directory: Path) -> Dict[str, Json]:
    """What the id map keeps of what the source's servers had set, by kind and source id."""
    lines = [json.loads(line) for line in (directory / "id_map.jsonl").read_text().splitlines()]
    return {f"{line['kind']} {line.get('source', line['src_id'])}": line.get("original", {}) for line in lines}


def test_originals_in_the_id_map(source: Source, moves: Moves) -> None:
    """Times, locations and ids that no destination can have are kept without any option."""
    ids = small(source)
    moves.copy(source.name, source.name)
    kept = originals(moves.report)
    experiment, model = source.rest.experiment(source.name), source.rest.logged_model(ids["model"])["info"]
    names = ("name", "creation_time", "last_update_time", "artifact_location")
    assert kept[f"experiment {source.id}"] == {name: experiment[name] for name in names}
    info = source.rest.run(ids["parent"])["info"]
    assert kept[f"run {ids['parent']}"] == {name: info[name] for name in ("experiment_id", "artifact_uri")}
    assert kept[f"logged_model {ids['model']}"] == {
        "experiment_id": source.id,
        "creation_timestamp": model["creation_timestamp_ms"],
        "last_updated_timestamp": model["last_updated_timestamp_ms"],
        "artifact_location": model["artifact_uri"],
    }


@pytest.mark.parametrize("recheck", [(), ("--recheck", "full")])
def test_a_run_that_was_deleted_at_the_destination_stays_deleted(recheck: Any, source: Source, moves: Moves) -> None:
    """What is left alone is left alone: nothing is written to it, and it is not restored."""
    run_id = source.run("r", points=(point("m", 1.0, 1),))
    moves.export(source.name)
    moves.load(source.name)
    copy = id_map(moves.report)[run_id]
    there = Rest(moves.dst.uri)
    there.post("runs/delete", {"run_id": copy})
    log_metrics(source.rest, run_id, [point("m", 2.0, 2)])
    moves.export(source.name)
    for _ in range(2):
        assert moves.load(source.name, *recheck)["run"] == {"differs": 1}
        assert there.run(copy)["info"]["lifecycle_stage"] == "deleted"
        assert len(there.history(copy, "m")) == 1
    assert moves.load(source.name, "--on-destination-change", "overwrite")["run"] == {"updated": 1}
    assert there.run(copy)["info"]["lifecycle_stage"] == "active" and len(there.history(copy, "m")) == 2


@pytest.mark.slow
def test_a_run_that_gets_artifacts_while_others_are_exported(source: Source, moves: Moves) -> None:
    """It ends after the first runs were looked at, and before it is listed itself."""
    for number in range(501):
        source.run(f"run {number}", start=1000 + number)
    late = source.run("late", start=5000, end=False)

    def finish() -> None:
        source.put(late, "a.txt", b"late")
        source.rest.post("runs/update", {"run_id": late, "status": "FINISHED", "end_time": 6000})

    with Proxy(moves.src.uri) as proxy:
        # the second page of runs is asked for when the first ones have been looked at
        proxy.on("POST", "*/runs/search", number=2, before=lambda _: finish())
        moves.src = At(proxy.uri)  # type: ignore[assignment]
        directory = moves.export(source.name)
    assert (directory / late / "artifacts" / "a.txt").read_bytes() == b"late"


# ---- what a directory keeps


def test_artifacts_that_the_source_has_lost_stay(source: Source, moves: Moves) -> None:
    """A backup that is repeated keeps the files that are gone from the source, says so, and imports them."""
    ids = small(source)
    directory = moves.export(source.name)
    before = {path: path.read_bytes() for path in directory.rglob("*.txt")}
    assert len(before) == 2
    root = source.rest.run(ids["parent"])["info"]["artifact_uri"]
    for path in ("b.txt", "dir/a.txt"):
        source.rest.delete_file(root, path)
    for expected in ("updated", "unchanged"):
        moves.export(source.name)
        assert statuses(directory)[ids["parent"]] == expected
        assert {path: path.read_bytes() for path in directory.rglob("*.txt")} == before
        if expected == "updated":
            (line,) = records(directory, "run", src_id=ids["parent"])
            assert line["reason"] == "kept, although the source no longer has them: b.txt, dir/a.txt"
    assert moves.load(source.name)["run"] == {"copied": 2}
    copy = id_map(moves.report)[ids["parent"]]
    assert set(Rest(moves.dst.uri).run_files(copy)) >= {"b.txt", "dir/a.txt"}
    # they come back, and all is as it was
    source.put(ids["parent"], "dir/a.txt", b"a")
    source.put(ids["parent"], "b.txt", b"bb")
    moves.export(source.name)
    assert "gone" not in (directory / ids["parent"] / "run.json").read_text()
    assert_same((moves.src.uri, source.name), (moves.dst.uri, source.name))


def test_a_copy_keeps_what_the_source_has_lost(source: Source, moves: Moves) -> None:
    """At the destination, and says so; its directory has no artifacts."""
    ids = small(source)
    moves.copy(source.name, source.name, "--temp-dir", moves.home / "way")
    assert not list((moves.home / "way").rglob("*.txt"))
    source.rest.delete_file(source.rest.run(ids["parent"])["info"]["artifact_uri"], "b.txt")
    moves.copy(source.name, source.name, "--temp-dir", moves.home / "way")
    assert "b.txt" in moves.reason(ids["parent"])
    assert "b.txt" in Rest(moves.dst.uri).run_files(id_map(moves.report)[ids["parent"]])


def test_narrower_options_take_nothing_away(source: Source, moves: Moves) -> None:
    """What an earlier export has saved stays when less is asked for."""
    ids = small(source)
    directory = moves.export(source.name)
    before = {path: path.read_bytes() for path in directory.rglob("*.txt")}
    for options in (("--max-artifact-size", "1"), ("--exclude-artifacts", "*"), ("--include-artifacts", "none")):
        moves.export(source.name, *options)
        assert {path: path.read_bytes() for path in directory.rglob("*.txt")} == before
        assert "gone" not in (directory / ids["parent"] / "run.json").read_text()
    moves.load(source.name)
    assert_same((moves.src.uri, source.name), (moves.dst.uri, source.name))


# ---- what a command says


def test_what_was_carried_is_told(source: Source, moves: Moves) -> None:
    """Servers, artifacts and points, of an export, of an import and of a copy."""
    small(source)
    both = ("--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", moves.dst.uri, "--report-dir", moves.report)
    exported = moves.script(
        "export-experiment", "--experiment", source.name, "--output-dir", moves.home / "export", "--quiet",
        env={"MLFLOW_TRACKING_URI": moves.src.uri},
    )  # fmt: skip
    imported = moves.script(
        "import-experiment", "--experiment-name", source.name, "--input-dir", moves.home / "export", "--quiet",
        env={"MLFLOW_TRACKING_URI": moves.dst.uri, "MLFLOW_MIGRATION_DST_TRACKING_URI": "http://127.0.0.1:1"},
    )  # fmt: skip
    names = ("--experiment", source.name, "--experiment-name", source.name + " copy")
    copied = moves.script("copy-experiment", *both, *names, "--quiet")
    assert exported.stdout.startswith(f"export-experiment\nFrom: {moves.src.uri}\n\n")
    assert imported.stdout.startswith(f"import-experiment\nTo: {moves.dst.uri}\n\n")
    assert copied.stdout.startswith(f"copy-experiment\nFrom: {moves.src.uri}\nTo: {moves.dst.uri}\n\n")
    for done in (exported, imported, copied):
        assert "Carried: 2 artifacts (0.0 MB), 1 points of metrics" in done.stdout


def test_the_reader_of_the_output_goes_away(source: Source, tmp_path: Path) -> None:
    """Behind `| head` the work goes on to its end, quietly."""
    small(source)
    command = f"'{script_path('export-experiment')}' --experiment '{source.name}' --output-dir '{tmp_path}/x'"
    done = subprocess.run(
        ["bash", "-c", f"{command} --verbose | head -1; exit ${{PIPESTATUS[0]}}"],
        env=clean_environment({"MLFLOW_TRACKING_URI": source.server.uri}), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert set(statuses(tmp_path / "x").values()) == {"copied"} and len(statuses(tmp_path / "x")) == 2


def test_a_command_that_cannot_start_leaves_nothing(
    src_server: Server, tmp_path: Path, run_script: Callable[..., Any]
) -> None:
    """A mistyped name, an empty value: one sentence, status 2, no directory."""
    env = {"MLFLOW_TRACKING_URI": src_server.uri}
    (tmp_path / "file").write_text("")
    there = ("--experiment", "Default", "--output-dir", tmp_path / "x")
    for args, words in (
        (("--experiment", "no such one", "--output-dir", tmp_path / "x"), "no experiment with the name"),
        ((*there, "--run-ids", ""), "the list is empty"),
        (("--experiment", " ", "--output-dir", tmp_path / "x"), "it is empty"),
        (("--experiment", "Default", "--output-dir", tmp_path / "file"), "is a file, not a directory"),
    ):
        done = run_script("export-experiment", *args, "--quiet", env=env, check=2)
        assert words in done.stderr, done
        assert not (tmp_path / "x").exists()
