"""Workers of a Dask or Spark cluster move runs; one that is killed half-way makes no difference."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from benchmarks.make_data import make_everything
from tests.support.clusters import DaskCluster, Tap
from tests.support.compare import differences
from tests.support.moves import Source, counts_of, point, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import records
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server

RUNS = 60  # of the larger experiment: two units
SMALL = 12
USER = "uses a model of the other experiment"
OURS, THEIRS = "token-of-the-driver", "token-of-the-workers"
Run = Callable[..., Result]


def names(start: str) -> List[str]:
    return [f"{start} {word}" for word in ("large", "small", "everything")]


@pytest.fixture(scope="module")
def made(src_server: Server) -> str:
    """Experiments with runs, parents in other units, deleted runs, logged models; what their names begin with."""
    start = f"engines {os.urandom(4).hex()}"
    large, small, _ = names(start)
    source = Source(src_server, large)
    parent = source.run("parent")
    for i in range(RUNS - 1):
        # parents that come long after their children too
        tags = {"mlflow.parentRunId": parent} if i % 3 == 0 else {}
        run_id = source.run(f"run {i}", 2000 + i, (point("loss", 0.5 + i, 1), point("loss", 0.25, 2)), tags=tags)
        if i % 4 == 0:
            source.put(run_id, "folder/a.txt", f"of {i}".encode())
        if i % 20 == 19:
            source.delete(run_id)
    source.tag(parent, "mlflow.parentRunId", run_id)
    other = Source(src_server, small)
    for i in range(SMALL):
        run_id = other.run(f"small {i}", 3000 + i, (point("acc", i, 0),))
    model = other.model(run_id, "model")
    user = source.run(USER, 9000)
    source.rest.post("runs/log-inputs", {"run_id": user, "datasets": [], "models": [{"model_id": model}]})
    make_everything(src_server.uri, names(start)[2])
    return start


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    root = tmp_path_factory.mktemp("dask")
    with DaskCluster(root, 3, {"MLFLOW_TRACKING_TOKEN": THEIRS}) as started:
        yield started


def export(run_script: Run, uri: str, start: str, out: Path, *args: Any, **how: Any) -> Result:
    wanted = ("--experiments", f"{start}*", "--export-deleted-runs", "--output-dir", out)
    return run_script("export-experiments", "--tracking-uri", uri, *wanted, *args, **how)


def load(run_script: Run, uri: str, out: Path, *args: Any, **how: Any) -> Result:
    where = ("--input-dir", out, "--report-dir", out.parent / "report")
    return run_script("import-experiments", "--tracking-uri", uri, *where, *args, **how)


def found_differences(src: Server, dst: Server, start: str) -> List[str]:
    """What is different, or there twice."""
    found: List[str] = []
    for name in names(start):
        found += differences((src.uri, name), (dst.uri, name))
        here, there = len(runs_of(src, name)), len(runs_of(dst, name))
        found += [f"{name}: {here} runs became {there}"] if here != there or not here else []
    # the comparison knows of one experiment at a time
    (user,) = [run for run in runs_of(dst, names(start)[0]) if run["info"]["run_name"] == USER]
    used = Rest(dst.uri).run(user["info"]["run_id"])["inputs"]["model_inputs"]
    assert used == [{"model_id": model_of(dst, names(start)[1])}]
    return [text for text in found if USER not in text or "model_inputs" not in text]


def model_of(server: Server, name: str) -> str:
    """Id of the only logged model of an experiment."""
    rest = Rest(server.uri)
    ids = [rest.experiment(name)["experiment_id"]]
    (model,) = rest.post("logged-models/search", {"experiment_ids": ids})["models"]
    return str(model["info"]["model_id"])


def clear(dst: Server, start: str, to: str) -> None:
    """Let another test have the names at the destination."""
    rest = Rest(dst.uri)
    for name in names(start):
        experiment_id = rest.experiment(name)["experiment_id"]
        rest.post("experiments/update", {"experiment_id": experiment_id, "new_name": f"{to} {name}"})


def test_dask_with_a_worker_killed(
    run_script: Run, src_server: Server, dst_server: Server, tmp_path: Path, made: str, cluster: DaskCluster
) -> None:
    """Zero differences and no doubles; no credential goes to the cluster; a repeat is idle."""
    out, tap = tmp_path / "out", Tap(cluster.port)
    args = ("--engine", "dask", "--engine-address", tap.address)
    how: Dict[str, Any] = {"env": {"MLFLOW_TRACKING_TOKEN": OURS}}
    total = sum(len(runs_of(src_server, name)) for name in names(made))
    result = export(run_script, src_server.uri, made, out, *args, **how)
    assert counts_of(result)["run"] == {"copied": total}
    assert "could not be done" not in result.stdout
    with Proxy(dst_server.uri) as proxy:
        proxy.on("POST", "*/runs/create", number=20, after=lambda _: cluster.kill_worker(0))
        result = load(run_script, proxy.uri, out, *args, **how)
        counts = counts_of(result)
        # a run that the killed worker has begun is completed by another one, or found whole if it had just ended
        assert sum(counts["run"].values()) == total
        assert set(counts["run"]) <= {"copied", "updated", "unchanged"}
        assert counts["run"]["copied"] >= total - 8
        assert "could not be done" not in result.stdout
        assert found_differences(src_server, dst_server, made) == []
        assert not (tmp_path / "report" / "engine-units").exists()
        again = load(run_script, proxy.uri, out, *args, **how)
        assert set(counts_of(again)["run"]) == {"unchanged"}
    assert b"engine-units" in tap.sent, "the tasks did pass here"
    assert OURS.encode() not in tap.sent
    assert THEIRS.encode() not in tap.sent
    tap.close()
    written = [path for root in (tmp_path, cluster.root) for path in root.rglob("*") if path.is_file()]
    assert [path for path in written if OURS.encode() in path.read_bytes()] == []
    assert not (out / "engine-units").exists()
    clear(dst_server, made, "dask")


def test_workers_that_can_do_nothing(run_script: Run, src_server: Server, tmp_path: Path, made: str) -> None:
    """This machine does what workers can't, and says so; without a cluster nothing is begun."""
    out = tmp_path / "out"
    hidden = {"MLFLOW_TRACKING_URI": src_server.uri, "MLFLOW_MIGRATION_MAX_JSON_BYTES": "10"}
    with DaskCluster(tmp_path / "dask", 2, hidden) as blind:
        args = ("--engine", "dask", "--engine-address", blind.address)
        result = export(run_script, src_server.uri, f"{made} small", out, *args)
        assert counts_of(result)["run"] == {"copied": SMALL}
        assert "1 of 1 units of runs could not be done by workers of dask" in result.stdout
    for words, message in (
        (("--engine", "dask"), "needs --engine-address"),
        (("--engine-address", "tcp://127.0.0.1:1"), "of no use without --engine"),
    ):
        refused = export(run_script, src_server.uri, made, tmp_path / "none", *words, check=2)
        assert message in refused.stderr
        assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_an_interrupted_command_is_repeated_on_one_machine(
    run_script: Run,
    start_script: Callable[..., Any],
    src_server: Server,
    dst_server: Server,
    tmp_path: Path,
    made: str,
    cluster: DaskCluster,
) -> None:
    """The workers end too, and the repeat takes over what they have done: nothing is made twice."""
    out = tmp_path / "out"
    export(run_script, src_server.uri, made, out)
    process: List[Any] = []
    with Proxy(dst_server.uri) as proxy:
        proxy.on("POST", "*/runs/create", number=25, after=lambda _: os.killpg(process[0].pid, signal.SIGKILL))
        args = ("--input-dir", out, "--report-dir", tmp_path / "report", "--tracking-uri", proxy.uri)
        engine = ("--engine", "dask", "--engine-address", cluster.address)
        process.append(start_script("import-experiments", *args, *engine))
        process[0].communicate(timeout=120)
        assert process[0].returncode == -signal.SIGKILL
        assert (tmp_path / "report" / "engine-units").exists()
        load(run_script, proxy.uri, out)
    assert found_differences(src_server, dst_server, made) == []
    assert not (tmp_path / "report" / "engine-units").exists()
    clear(dst_server, made, "interrupted")


def java() -> Tuple[bool, str]:
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True)
    except OSError as ex:
        return False, str(ex)
    return done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java") or not java()[0], reason="Spark needs Java, and there is none")
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="needs pyspark: make test-all installs it")
def test_spark_with_a_worker_killed(
    run_script: Run, src_server: Server, dst_server: Server, tmp_path: Path, made: str
) -> None:
    """A process of Spark's is killed half-way; Spark does its task again."""
    out = tmp_path / "out"
    args = ("--engine", "spark", "--engine-address", "local[2,4]")
    how: Dict[str, Any] = {"env": {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}}
    total = sum(len(runs_of(src_server, name)) for name in names(made))
    result = export(run_script, src_server.uri, made, out, *args, **how)
    assert counts_of(result)["run"] == {"copied": total}
    assert "could not be done" not in result.stdout
    killed: List[int] = []

    def kill(_: Any) -> None:
        for pid in _workers_of_spark():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return

    with Proxy(dst_server.uri) as proxy:
        proxy.on("POST", "*/runs/create", number=20, after=kill)
        result = load(run_script, proxy.uri, out, *args, **how)
    assert killed
    assert "could not be done" not in result.stdout
    assert sum(counts_of(result)["run"].values()) == total
    assert found_differences(src_server, dst_server, made) == []
    assert records(tmp_path / "report", kind="run")
    clear(dst_server, made, "spark")


def _workers_of_spark() -> List[int]:
    """Ids of the processes in which Spark runs tasks: children of its daemons, of this account."""
    parents: Dict[int, int] = {}
    daemons = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, stat = (path / "cmdline").read_bytes(), (path / "stat").read_text()
        except OSError:
            continue
        if b"pyspark.daemon" in command:
            daemons.add(int(path.name))
            parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    return [pid for pid in daemons if parents[pid] in daemons]
