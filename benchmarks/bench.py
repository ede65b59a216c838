"""`make bench`: our commands beside the server's own ceiling for the same work.

    python -m benchmarks.bench [--size medium] [--server-workers 1 4] [--rounds 3]

Ceiling and command alternate, on the same data and on fresh destinations; a figure is the median of its rounds.
benchmarks/README.md explains the columns.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from benchmarks.ceiling import CONNECTIONS, export_ceiling, import_ceiling
from benchmarks.make_data import SIZES, make
from tests.support.scripts import script_path
from tests.support.servers import NEWEST, Server, clean_environment

_REQUESTS = re.compile(r": (\d+) requests$", re.MULTILINE)


@dataclass
class Cost:
    """What one piece of work took: seconds, requests, seconds of our own processor time, and MiB at the peak."""

    seconds: float
    requests: int
    cpu: float = 0.0
    peak: float = 0.0

    @classmethod
    def of(cls, costs: Sequence[Cost]) -> Cost:
        """Several pieces one after another."""
        return cls(
            sum(c.seconds for c in costs),
            sum(c.requests for c in costs),
            sum(c.cpu for c in costs),
            max(c.peak for c in costs),
        )


@dataclass
class Row:
    """A line of the result: the median round of some work.

    ``ratio``: how many times as long it takes as its ceiling. ``faster``: of a repeat, how many times as fast it is as
    the first time.
    """

    work: str
    cost: Cost
    ratio: Optional[float] = None
    faster: Optional[float] = None
    note: str = ""


def run(uri: str, name: str, *args: object, status: int = 0) -> Cost:
    """Run one of the scripts and measure its process.

    :param uri: MLFLOW_TRACKING_URI.
    :param status: The exit status that it must have.
    :raises RuntimeError: It has another.
    """
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        process = subprocess.Popen(
            [script_path(name), *map(str, args)],
            env=clean_environment({"MLFLOW_TRACKING_URI": uri}),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        peaks, ended = [0.0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                peaks.append(_peak(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, code, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        ended.set()
        watcher.join()
        process.returncode = os.WEXITSTATUS(code) if os.WIFEXITED(code) else -1
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if process.returncode != status:
        raise RuntimeError(f"{name} ended with {process.returncode}:\n{text[-3000:]}")
    requests = sum(map(int, _REQUESTS.findall(text)))
    return Cost(seconds, requests, usage.ru_utime + usage.ru_stime, max(peaks))


def _peak(pid: int) -> float:
    """The largest memory of a process so far, MiB. (The figure that wait4 gives begins with its parent's memory.)"""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


# ---- the commands


def export_all(server: Server, names: Sequence[str], home: Path) -> Cost:
    """Export each experiment into a directory below `home`."""
    return Cost.of([run(server.uri, "export-experiment", "--experiment", n, "--output-dir", home / n) for n in names])


def import_all(server: Server, names: Sequence[str], home: Path) -> Cost:
    """Import each experiment's directory below `home`; the reports go beside them."""
    reports = home / f"report-{server.root.name}"
    return Cost.of(
        [
            run(
                server.uri,
                "import-experiment",
                "--experiment-name",
                n,
                "--input-dir",
                home / n,
                "--report-dir",
                reports / n,
            )  # fmt: skip
            for n in names
        ]
    )


def copy_all(src: Server, dst: Server, names: Sequence[str], home: Path) -> Cost:
    """Copy each experiment."""
    both = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri)
    return Cost.of(
        [
            run(
                src.uri,
                "copy-experiment",
                *both,
                "--experiment",
                n,
                "--experiment-name",
                n,
                "--report-dir",
                home / f"copied-{n}",
            )  # fmt: skip
            for n in names
        ]
    )


# ---- servers and data


class Bench:
    """Servers and directories of a benchmark.

    :param home: Directory for all of them. The source's data stays there for the next time.
    :param size: A key of SIZES.
    :param version: MLflow of the servers.
    """

    def __init__(self, home: Path, size: str, version: str = NEWEST) -> None:
        self.home, self.size, self.version = home, size, version
        self._started: List[Server] = []
        self._number = 0
        # an empty database takes a server seconds to make: they copy one another's
        os.environ.setdefault("MLFLOW_MIGRATION_TEST_DIR", str(home))
        home.mkdir(parents=True, exist_ok=True)

    def source(self, workers: int) -> Server:
        """The server with the data."""
        root = self.home / f"source-{self.size}-{self.version}"
        done = root / "made"
        if root.exists() and not done.exists():
            shutil.rmtree(root)
        server = self.start(self._server(root, 1 if not done.exists() else workers))
        if not done.exists():
            make(server.uri, self.size)
            server.stop()
            done.touch()
            server = self.start(self._server(root, workers))
        return server

    def destination(self, workers: int) -> Server:
        """A new and empty server."""
        self._number += 1
        root = self.home / f"destination-{os.getpid()}-{self._number}"
        return self.start(self._server(root, workers))

    def directory(self) -> Path:
        """A new directory."""
        self._number += 1
        return self.home / f"export-{os.getpid()}-{self._number}"

    def remove(self, *things: object) -> None:
        """Remove servers and directories for good."""
        for thing in things:
            if isinstance(thing, Server):
                thing.stop()
                thing = thing.root
            shutil.rmtree(str(thing), ignore_errors=True)

    def _server(self, root: Path, workers: int) -> Server:
        # MLflow 2 kills a worker that needs more than 30 s for a reply, as it may for a long history
        return Server(root, self.version, workers, env={"GUNICORN_CMD_ARGS": "--timeout=3600"})

    def start(self, server: Server) -> Server:
        """Start a server that is stopped at the end."""
        self._started.append(server)
        return server.start()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._started:
            server.stop()
        for path in self.home.glob(f"*-{os.getpid()}-*"):
            shutil.rmtree(path, ignore_errors=True)


# ---- the measurement


def _best(measure: Callable[[int], float]) -> int:
    """The number of connections with which a part of the work is done soonest."""
    return min(CONNECTIONS, key=measure)


def _median(costs: Sequence[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def measure(bench: Bench, workers: int, rounds: int, work: Sequence[str]) -> Iterator[Row]:
    """Measure with some number of server workers.

    :param rounds: How often ceiling and command alternate.
    :param work: Of "export", "import" and "copy", what is wanted; each with its repeat where nothing has changed.
    """
    names = [f"{bench.size}-{i}" for i in range(SIZES[bench.size].experiments)]
    src = bench.source(workers)
    exported = bench.directory()
    if "export" in work:
        best = _best(lambda n: export_ceiling(src.uri, names[:1], [n]).seconds)
        costs: Dict[str, List[Cost]] = {"ceiling": [], "export": [], "repeat": []}
        for _ in range(rounds):
            figure = export_ceiling(src.uri, names, [best])
            costs["ceiling"].append(Cost(figure.seconds, figure.requests))
            bench.remove(exported)
            costs["export"].append(export_all(src, names, exported))
            costs["repeat"].append(export_all(src, names, exported))
        yield from _rows("export", costs, best)
    else:
        export_all(src, names, exported)
    if "import" in work:
        place = bench.destination(workers)
        best = _best(lambda n: import_ceiling(place.uri, bench.size, "try", [n], experiments=1).seconds)
        bench.remove(place)
        costs = {"ceiling": [], "import": [], "repeat": []}
        for _ in range(rounds):
            place = bench.destination(workers)
            figure = import_ceiling(place.uri, bench.size, "ceiling", [best])
            costs["ceiling"].append(Cost(figure.seconds, figure.requests))
            bench.remove(place)
            place = bench.destination(workers)
            costs["import"].append(import_all(place, names, exported))
            costs["repeat"].append(import_all(place, names, exported))
            bench.remove(place)
        yield from _rows("import", costs, best)
    if "copy" in work:
        place, reports = bench.destination(workers), bench.directory()
        yield Row("copy", copy_all(src, place, names, reports))
        yield Row("copy, nothing changed", copy_all(src, place, names, reports))
        bench.remove(place, reports)
    bench.remove(exported)
    src.stop()


def _rows(name: str, costs: Dict[str, List[Cost]], connections: int) -> Iterator[Row]:
    # of each round the ratio, of the ratios the median: what a noisy machine does to a round, it does to both
    ratio = statistics.median(a.seconds / b.seconds for a, b in zip(costs[name], costs["ceiling"]))
    faster = statistics.median(a.seconds / b.seconds for a, b in zip(costs[name], costs["repeat"]))
    yield Row(f"{name}, the server's ceiling", _median(costs["ceiling"]), note=f"{connections} connections")
    yield Row(name, _median(costs[name]), ratio)
    yield Row(f"{name}, nothing changed", _median(costs["repeat"]), faster=faster)


HEAD = f"{'work':32} {'wall s':>8} {'ratio':>6} {'requests':>9} {'CPU s':>7} {'peak MiB':>9}"


def line(row: Row) -> str:
    """A row as text."""
    cost = row.cost
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
    own = f"{cost.cpu:7.1f} {cost.peak:9.0f}" if cost.peak else f"{'':7} {'':9}"
    note = row.note if row.faster is None else f"{row.faster:.0f} times faster"
    return f"{row.work:32} {cost.seconds:8.1f} {ratio:>6} {cost.requests:9d} {own}  {note}".rstrip()


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="medium")
    parser.add_argument("--server-workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs="+", choices=["export", "import", "copy"], default=["export", "import", "copy"])
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="directory for servers and exports")
    options = parser.parse_args(args)
    with Bench(options.home.absolute(), options.size) as bench:
        for workers in options.server_workers:
            print(f"\n{options.size} set, server with {workers} worker{'s' if workers > 1 else ''}\n{HEAD}", flush=True)
            for row in measure(bench, workers, options.rounds, options.work):
                print(line(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
