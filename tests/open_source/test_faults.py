"""Servers, networks and disks fail in the middle: nothing is lost, nothing comes twice, and a repeat completes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from uuid import uuid4

import pytest

from benchmarks.make_data import make_everything
from tests.support.compare import assert_same, differences
from tests.support.moves import At, Moves, Source, counts_of, point, runs_of
from tests.support.proxy import Fault, Proxy
from tests.support.reports import ledger, records, statuses, table
from tests.support.rest import noise
from tests.support.scripts import Result, run_script
from tests.support.servers import Server

#: a request that fails twice is given up: for tests in which something stays broken
ONE_RETRY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}



@contextmanager
def proxies(moves: Moves) -> Iterator[Tuple[Proxy, Proxy]]:
    """Put a proxy before each of the two servers."""
    there = moves.src, moves.dst
    with Proxy(moves.src.uri) as src, Proxy(moves.dst.uri) as dst:
        moves.src, moves.dst = At(src.uri), At(dst.uri)  # type: ignore[assignment]
        yield src, dst
    moves.src, moves.dst = there


def make_runs(source: Source, number: int = 6) -> List[str]:
    """Runs with values and artifacts, each with a logged model of more params than one request takes."""
    ids = []
    for turn in range(number):
        points = tuple(point(key, float(turn), step) for key in ("x", f"own {turn}") for step in range(3))
        run_id = source.run(f"run {turn}", 1000 + turn, points, tags={"k": str(turn)}, parent=ids[-1] if ids else None)
        source.rest.post("runs/log-batch", {"run_id": run_id, "params": [{"key": "p", "value": str(turn)}]})
        for path in ("a.txt", "dir/b.bin"):
            source.put(run_id, path, noise(f"{turn} {path}", 500))
        model_id = source.model(run_id, f"model {turn}")
        for first in (0, 60):
            params = [{"key": f"p{at}", "value": str(at)} for at in range(first, first + 60)]
            source.rest.post(f"logged-models/{model_id}/params", {"model_id": model_id, "params": params})
        root = source.rest.logged_model(model_id)["info"]["artifact_uri"]
        source.rest.put_file(root, "weights.bin", noise(f"weights {turn}", 500))
        ids.append(run_id)
    return ids


def no_traceback(result: Result) -> None:
    assert "Traceback" not in result.stdout + result.stderr, result


def command(moves: Moves, way: str, name: str, **options: Any) -> Result:
    """Run one of the commands, as Moves does, with more environment."""
    env, check, args = options.pop("env", {}), options.pop("check", 0), options.pop("args", ())
    to = options.pop("to", name)
    assert not options
    parts: Tuple[Any, ...]
    if way == "export":
        uri, parts = moves.src.uri, ("export-experiment", "--experiment", name, "--output-dir", moves.home / "export")
    elif way == "import":
        uri, parts = moves.dst.uri, ("import-experiment", "--experiment-name", to)
        parts += ("--input-dir", moves.home / "export", "--report-dir", moves.report)
    else:
        uri, parts = "http://127.0.0.1:1", ("copy-experiment", "--experiment", name, "--experiment-name", to)
        parts += ("--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", moves.dst.uri, "--report-dir", moves.report)
    result = moves.script(*parts, *args, env={"MLFLOW_TRACKING_URI": uri, **env}, check=check)
    no_traceback(result)
    return result


# ---- servers that fail now and then


@pytest.fixture(scope="module")
def exported(src_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Tuple[Source, Path]:
    """An experiment of runs with logged models, and its export. Not to be changed."""
    source = Source(src_server, f"faults {uuid4().hex[:8]}")
    make_runs(source)
    home = tmp_path_factory.mktemp("exported")
    options = ("--experiment", source.name, "--output-dir", home / "export")
    run_script("export-experiment", *options, env={"MLFLOW_TRACKING_URI": src_server.uri}, cwd=home)
    return source, home / "export"


def take(exported: Tuple[Source, Path], moves: Moves) -> Source:
    """Put a copy of the export where imports look for it; its source."""
    shutil.copytree(exported[1], moves.home / "export")
    return exported[0]


def assert_one_copy(moves: Moves, source: Source, name: str, number: int = 6) -> None:
    """All of the source is there, once."""
    assert len(runs_of(moves.dst, name)) == number
    assert_same((moves.src.uri, source.name), (moves.dst.uri, name))


@pytest.mark.parametrize("fault", [{"after_commit": True, "status": 500}, {"drop_reply": True}], ids=["500", "dropped"])
def test_writes_of_unknown_outcome(
    fault: Dict[str, Any], exported: Tuple[Source, Path], moves: Moves, experiment_name: str
) -> None:
    """A write that took effect although its reply says otherwise, or got lost, is not done a second time."""
    source = take(exported, moves)
    wanted = {
        "*/experiments/create": (1,),
        "*/runs/create": (1, 2, 5),
        "*/runs/outputs": (1, 3, 6),
        "*/logged-models": (1, 2, 6),
        "*/logged-models/*/params": (1, 4, 5),
    }
    with proxies(moves) as (_, dst):
        faults = {path: dst.on("POST", path, number=numbers, **fault) for path, numbers in wanted.items()}
        counts = moves.load(experiment_name)
        assert {path: fault.hits for path, fault in faults.items()} == {path: len(n) for path, n in wanted.items()}
        # none was even sent again: for each object there is one request
        sent = {path: dst.count("POST", path) for path in wanted}
        assert sent == {**dict.fromkeys(wanted, 6), "*/experiments/create": 1}
    assert counts == {"experiment": {"copied": 1}, "logged_model": {"copied": 6}, "run": {"copied": 6}}
    assert_one_copy(moves, source, experiment_name)


@pytest.mark.parametrize("way", ["directory", "copy"])
def test_some_requests_fail(
    way: str, exported: Tuple[Source, Path], moves: Moves, src_server: Server, experiment_name: str
) -> None:
    """Of all requests, 3 in 100 are answered 500, 3 with 429, some get lost and some replies too: nobody notices."""
    if way == "directory":
        name = experiment_name + " source"
        ids = make_everything(src_server.uri, name, deleted_models=True)
        number = sum(len(object_id) == 32 for object_id in ids.values())  # logged models have longer ids
    else:
        name, number = exported[0].name, 6
    with proxies(moves) as both:
        faults: List[Fault] = []
        for proxy in both:
            faults += [
                proxy.on(number=range(6, 10_000, 33), status=500),
                proxy.on(number=range(12, 10_000, 33), status=429, retry_after=0.1),
                proxy.on(number=range(18, 10_000, 99), drop_request=True),
                proxy.on(number=range(24, 10_000, 99), drop_reply=True),
            ]
        if way == "directory":
            command(moves, "export", name, args=("--export-deleted-runs",))
            counts = counts_of(command(moves, "import", name, to=experiment_name))
        else:
            counts = counts_of(command(moves, "copy", name, to=experiment_name, args=("--export-deleted-runs",)))
        assert all(fault.hits for fault in faults), faults
    assert counts["run"] == {"copied": number} and counts["experiment"] == {"copied": 1}
    assert_same((moves.src.uri, name), (moves.dst.uri, experiment_name))


def test_server_goes_away_for_some_seconds(source: Source, moves: Moves) -> None:
    """Commands wait for a server that comes back, wherever they are."""
    make_runs(source)
    with proxies(moves) as (src, dst):
        faults = [
            src.on("GET", "*/mlflow-artifacts/artifacts/*", number=5, after=lambda _: src.go_away(3)),
            dst.on("POST", "*/runs/create", number=3, after=lambda _: dst.go_away(1)),
            dst.on("POST", "*/runs/outputs", number=5, before=lambda _: dst.go_away(1)),
        ]
        moves.export(source.name)
        moves.load(source.name)
        assert [fault.hits for fault in faults] == [1, 1, 1]
    assert_one_copy(moves, source, source.name)


# ---- servers that stay away


@pytest.mark.parametrize(
    ("way", "side", "method", "path", "number"),
    [
        ("export", "src", "GET", "*/mlflow-artifacts/artifacts/*", 4),
        ("import", "dst", "POST", "*/runs/create", 3),
        ("copy", "src", "GET", "*/get-history-bulk", 4),
        ("copy", "dst", "POST", "*/runs/update", 2),
    ],
)
def test_server_goes_away_for_good(
    way: str, side: str, method: str, path: str, number: int, exported: Tuple[Source, Path], moves: Moves,
    experiment_name: str,
) -> None:  # fmt: skip
    """The command ends with a summary that accounts for each object; when the server is back a repeat completes it."""
    source, name = exported[0], experiment_name
    if way == "import":
        take(exported, moves)
    with proxies(moves) as both:
        proxy = both[side == "dst"]
        fault = proxy.on(method, path, number=number, after=lambda _: proxy.stop())
        result = command(moves, way, source.name, to=name, check=1, env=ONE_RETRY, args=("--workers", "1"))
        assert fault.hits == 1
        assert f"Stopped early: {proxy.uri} does not answer any more" in result.stdout
        assert table(result.stdout)["run"]["found"] == 6
        lines = ledger(moves.home / "export" if way == "export" else moves.report)
        # it is not waited for once for each object
        assert sum(line["status"] == "failed" for line in lines) <= 2
        proxy.start()
        proxy.clear()
        command(moves, way, source.name, to=name)
        if way == "export":
            moves.load(name)
    assert_one_copy(moves, source, name)


# ---- artifacts that can't be read


def artifact(server: Server, root_uri: str, path: str) -> Path:
    """Where an artifact lies that the server proxies."""
    return server.root / "artifacts" / root_uri.replace("mlflow-artifacts:/", "").strip("/") / path


@pytest.mark.parametrize("fault", ["missing", "unreadable"])
def test_artifact_that_cannot_be_read(fault: str, source: Source, moves: Moves, src_server: Server) -> None:
    """It fails alone and is named wherever its run goes; a repeat completes the run when the artifact is back."""
    first, second = make_runs(source, 2)
    root = source.rest.run(first)["info"]["artifact_uri"]
    source.put(first, "dir/broken.bin", b"broken")
    name, other = source.name, source.name + " accepted"
    both = (src_server.uri, name), (moves.dst.uri, name)
    with proxies(moves) as (src, _):
        if fault == "missing":
            path = artifact(src_server, root, "dir/broken.bin")
            src.on("GET", "*/broken.bin", number=1, before=lambda _: path.unlink())
        else:
            src.on("GET", "*/broken.bin", status=500)
        result = command(moves, "export", name, env=ONE_RETRY, check=1)
        (line,) = records(moves.home / "export", "artifact", "failed")
        assert line["src_id"] == f"{first}/dir/broken.bin" and line["src_id"] in result.stdout
        assert statuses(moves.home / "export") == {first: "incomplete", second: "copied"}
        assert "dir/broken.bin" in records(moves.home / "export", src_id=first)[0]["reason"]
        src.clear()

        assert moves.load(name, status=1)["run"] == {"incomplete": 1, "copied": 1}
        assert "already in the export: artifact dir/broken.bin" in moves.reason(first)
        if fault == "missing":
            source.put(first, "dir/broken.bin", b"broken")
        (found,) = differences(*both)
        assert "artifact 'dir/broken.bin': missing" in found
        assert moves.load(name, status=1)["run"] == {"incomplete": 1, "unchanged": 1}
        accept = ("--accept-loss", "artifacts")
        assert moves.load(other, *accept)["run"] == {"copied": 2}
        assert records(moves.report, "run", "copied", first)[0]["losses"] == ["artifacts"]

        moves.export(name)
        assert statuses(moves.home / "export") == {first: "updated", second: "unchanged"}
        for new_name in (name, other):
            assert moves.load(new_name)["run"] == {"updated": 1, "unchanged": 1}
            assert_same(both[0], (moves.dst.uri, new_name))


def test_unreadable_artifacts_leave_an_older_export_alone(source: Source, moves: Moves) -> None:
    """What an earlier export has saved is not given up because the source can't give it any more."""
    (run_id,) = make_runs(source, 1)
    directory = moves.export(source.name)
    files = {path: path.read_bytes() for path in directory.rglob("artifacts/**/*") if path.is_file()}
    assert len(files) == 3
    with proxies(moves) as (src, _):
        source.tag(run_id, "k", "new")
        for path, args in (("artifacts", ()), ("artifacts/*", ("--recheck", "full"))):
            src.clear()
            src.on("GET", f"*/mlflow-artifacts/{path}", status=500)
            command(moves, "export", source.name, env=ONE_RETRY, check=1, args=args)
            assert statuses(directory) == {run_id: "incomplete"}
            assert files == {path: path.read_bytes() for path in directory.rglob("artifacts/**/*") if path.is_file()}
    moves.load(source.name, status=1)
    assert "already in the export" in moves.reason(run_id)
    assert_same((moves.src.uri, source.name), (moves.dst.uri, source.name))


def test_damaged_export(source: Source, moves: Moves) -> None:
    """Files that are missing or cut in the directory are named, all else arrives, and a repeated export heals it."""
    first, second, third = make_runs(source, 3)
    model_id = source.rest.run(third)["outputs"]["model_outputs"][0]["model_id"]
    directory = moves.export(source.name)
    (directory / first / "artifacts/dir/b.bin").unlink()
    (directory / second / "artifacts/a.txt").write_bytes(b"cut")
    (directory / "logged_models" / model_id / "artifacts/weights.bin").unlink()
    counts = moves.load(source.name, status=1)
    assert counts["run"] == {"incomplete": 2, "copied": 1}
    assert counts["logged_model"] == {"incomplete": 1, "copied": 2}
    failed = {line["src_id"]: line["reason"] for line in records(moves.report, "artifact", "failed")}
    assert set(failed) == {f"{first}/dir/b.bin", f"{second}/a.txt", f"{model_id}/weights.bin"}
    assert "is missing" in failed[f"{first}/dir/b.bin"] and "has 3 bytes" in failed[f"{second}/a.txt"]
    both = (moves.src.uri, source.name), (moves.dst.uri, source.name)
    found = differences(*both)
    assert len(found) == 3 and all("missing" in text and "artifact" in text for text in found)
    assert moves.load(source.name, "--accept-loss", "artifacts")["run"] == {"copied": 2, "unchanged": 1}
    moves.export(source.name)
    assert statuses(directory) == {first: "updated", second: "updated", third: "unchanged"}
    assert statuses(directory, "logged_model")[model_id] == "updated"
    moves.load(source.name)
    assert_same(*both)


# ---- disks that are full or can't be written to


def mount(path: Path, options: str) -> None:
    """Mount a file system in memory, or mount it again with other options."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk, and with the command mount")
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")


@contextmanager
def small_disk(path: Path, size: str, full: bool = False) -> Iterator[Callable[[str], None]]:
    """A file system of its own; gives a function that mounts it again with other options."""
    mount(path, f"size={size}")
    try:
        if full:
            with pytest.raises(OSError, match="No space left"), open(path / "filler", "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
        yield lambda options: mount(path, f"remount,{options}")
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


NO_SPACE = "No space left on device: "


@pytest.mark.parametrize(("size", "full", "status"), [("600k", False, 1), ("64k", True, 2)], ids=["soon", "at once"])
def test_full_disk_at_export(size: str, full: bool, status: int, source: Source, moves: Moves) -> None:
    """The command says that the disk is full and ends; when there is room a repeat completes the export."""
    for run_id in make_runs(source):
        source.put(run_id, "large.bin", noise(run_id, 200_000))
    directory = moves.home / "export"
    with small_disk(directory, size, full) as remount:
        result = command(moves, "export", source.name, check=status)
        assert f"{NO_SPACE}{directory}" in result.stdout + result.stderr, result
        if status == 1:
            assert table(result.stdout)["run"]["found"] == 6 and "reconcile" not in result.stdout
        remount("size=16m")
        moves.export(source.name)
        assert not list(directory.rglob("*.part"))
        moves.load(source.name)
        assert_one_copy(moves, source, source.name)


@pytest.mark.parametrize("full", [False, True], ids=["soon", "at once"])
def test_full_disk_for_reports(full: bool, exported: Tuple[Source, Path], moves: Moves, experiment_name: str) -> None:
    """An import that can't say any more what it does ends with a summary; a repeat completes it."""
    source, name = take(exported, moves), experiment_name
    with small_disk(moves.report, "12k", full) as remount:
        result = command(moves, "import", source.name, to=name, check=2 if full else 1)
        assert f"{NO_SPACE}{moves.report}" in result.stdout + result.stderr, result
        if not full:
            assert f"Stopped early: {NO_SPACE}{moves.report}" in result.stdout
            assert 0 < len(runs_of(moves.dst, name))
        remount("size=16m")
        moves.load(name)
        assert_one_copy(moves, source, name)
        counts = moves.load(name)
        assert counts == {"experiment": {"unchanged": 1}, "logged_model": {"unchanged": 6}, "run": {"unchanged": 6}}


def test_read_only_input(exported: Tuple[Source, Path], moves: Moves, experiment_name: str, tmp_path: Path) -> None:
    """A directory that can't be written to is imported, and the reports lie in the working directory."""
    disk = moves.home / "disk"
    with small_disk(disk, "16m") as remount:
        directory = Path(shutil.copytree(exported[1], disk / "export"))
        before = sorted((path, path.stat().st_mtime_ns) for path in directory.rglob("*"))
        remount("ro")
        args = ("--experiment-name", experiment_name, "--input-dir", directory)
        for status in ("copied", "unchanged"):
            moves.script("import-experiment", *args, env={"MLFLOW_TRACKING_URI": moves.dst.uri})
            report = tmp_path / "mlflow-migration-report"
            assert {line["status"] for line in ledger(report)} == {status}
            assert (report / "id_map.jsonl").exists()
        assert before == sorted((path, path.stat().st_mtime_ns) for path in directory.rglob("*"))
    assert_one_copy(moves, exported[0], experiment_name)


# ---- commands that are told to stop


@pytest.mark.parametrize(
    ("way", "number", "method", "path", "at"),
    [
        ("export", signal.SIGINT, "GET", "*/mlflow-artifacts/artifacts/*", 5),
        ("export", signal.SIGTERM, "GET", "*/get-history-bulk", 4),
        ("import", signal.SIGINT, "POST", "*/runs/create", 4),
        ("import", signal.SIGTERM, "POST", "*/runs/outputs", 3),
    ],
)
def test_told_to_stop(
    way: str, number: int, method: str, path: str, at: int, exported: Tuple[Source, Path], moves: Moves,
    start_script: Callable[..., Any], experiment_name: str,
) -> None:  # fmt: skip
    """The command ends soon and with a summary, and a repeat takes up where it was."""
    source, name = exported[0], experiment_name
    if way == "import":
        take(exported, moves)
    process: Optional[Any] = None

    def tell(_: Any) -> None:
        assert process is not None
        process.send_signal(number)

    with proxies(moves) as both:
        proxy = both[way == "import"]
        fault = proxy.on(method, path, number=at, after=tell)
        parts = {
            "export": ("export-experiment", "--experiment", source.name, "--output-dir", moves.home / "export"),
            "import": (
                "import-experiment", "--experiment-name", name, "--input-dir", moves.home / "export",
                "--report-dir", moves.report,
            ),
        }[way]  # fmt: skip
        process = start_script(*parts, "--workers", "2", env={"MLFLOW_TRACKING_URI": proxy.uri})
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
        result = Result(list(parts), process.returncode, stdout, stderr, 0)
        no_traceback(result)
        assert fault.hits == 1
        assert result.status == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], result
        assert "Stopped early: interrupted. Not done: " in stdout, result
        counts = counts_of(result)
        assert sum(counts.get("run", {}).values()) < 6, result
        ended = ledger(moves.home / "export" if way == "export" else moves.report)
        assert len(ended) == sum(n for row in counts.values() for n in row.values())
        assert not list(moves.home.rglob("*.part"))
        proxy.clear()
        command(moves, way, source.name, to=name)
        if way == "export":
            moves.load(name)
    assert_one_copy(moves, source, name)


def test_told_to_stop_while_it_waits(
    exported: Tuple[Source, Path], moves: Moves, start_script: Callable[..., Any], experiment_name: str
) -> None:
    """Ctrl-C does not wait until a busy server may be asked again."""
    source, name = take(exported, moves), experiment_name
    with proxies(moves) as (_, dst):
        dst.on("POST", "*/runs/log-batch", status=429, retry_after=300)
        process = start_script(
            "import-experiment", "--experiment-name", name, "--input-dir", moves.home / "export", "--report-dir",
            moves.report, env={"MLFLOW_TRACKING_URI": dst.uri},
        )  # fmt: skip
        interrupt(process, lambda: dst.count("POST", "*/runs/log-batch"))
        dst.clear()
        moves.load(name)
    assert_one_copy(moves, source, name)


def interrupt(process: Any, when: Callable[[], Any], times: int = 1) -> None:
    """Press Ctrl-C when something has come true; the process ends soon and in order."""
    try:
        end = time.monotonic() + 60
        while not when():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    result = Result(process.args, process.returncode, stdout, stderr, 0)
    no_traceback(result)
    assert result.status == 130 and "Stopped early: interrupted. Not done: " in stdout, result


def test_told_twice_to_stop(exported: Tuple[Source, Path], moves: Moves, start_script: Callable[..., Any]) -> None:
    """Only the second Ctrl-C leaves a request alone that is on its way."""
    source, directory = exported[0], moves.home / "export"
    with proxies(moves) as (src, _):
        hang = src.on("GET", "*/get-history-bulk", number=2, delay=90)
        args = ("--experiment", source.name, "--output-dir", directory)
        process = start_script("export-experiment", *args, env={"MLFLOW_TRACKING_URI": src.uri})
        interrupt(process, lambda: hang.hits, times=2)
        src.clear()
        moves.export(source.name)
    assert statuses(directory) == dict.fromkeys(statuses(exported[1]), "copied")


@pytest.mark.parametrize("way", ["export", "import", "copy"])
def test_fail_fast(way: str, source: Source, moves: Moves) -> None:
    """Nothing more is begun after the first failure, and the summary says so."""
    ids = make_runs(source, 6)
    args = ("--fail-fast", "--workers", "1")
    source.put(ids[1], "broken.bin", b"broken")
    with proxies(moves) as (src, _):
        if way == "import":
            moves.export(source.name)
            file = moves.home / "export" / ids[1] / "run.json"
            text = file.read_text()
            file.write_text("{")
        else:
            src.on("GET", "*/broken.bin", status=404)
        result = command(moves, way, source.name, check=1, args=args)
        assert "Stopped early: --fail-fast. Not done: " in result.stdout
        assert counts_of(result).get("experiment") is None
        report = moves.home / "export" if way == "export" else moves.report
        found = {object_id: status for object_id, status in statuses(report).items() if status == "copied"}
        # the first one was whole when the second failed
        assert found == {ids[0]: "copied"}
        if way == "import":
            assert len(runs_of(moves.dst, source.name)) == 1
        src.clear()
        if way == "import":
            file.write_text(text)
        command(moves, way, source.name)
        if way == "export":
            moves.load(source.name)
    assert_one_copy(moves, source, source.name)
