"""`make prove-traces`: thousands of traces, beside the servers' own ceiling. Each point prints PASS or FAIL.

    python -m benchmarks.prove_traces [--again] [--only WORD] [--traces 5000]

It may be stopped: points that have passed with the present package are kept in .bench/prove-traces.json. With fewer
traces it tells how things are going, and keeps its state in a file of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from benchmarks import trace_ceiling
from benchmarks.bench import Bench, Cost
from benchmarks.bench import run as run_measured
from benchmarks.migrations import listed
from benchmarks.proofs import HOME, Point, Verdict, prove
from benchmarks.trace_ceiling import Size
from tests.support.compare_traces import trace_differences
from tests.support.make_traces import many
from tests.support.moves import Counts, counts_of
from tests.support.rest import Rest
from tests.support.scripts import run_script
from tests.support.servers import Server

TRACES = 5_000
SPANS, ASSESSMENTS = 10, 3  # of each
SHARE = 0.8  # of the ceiling, at least
TIMEOUT = 3600.0  # seconds for a command
NAME = "many traces"


def source_of(bench: Bench, size: Size) -> Server:
    """A server with the traces, which is made once and kept."""
    home = HOME / f"source-traces-{size[0]}"
    maker = Path(many.__code__.co_filename).read_text(encoding="utf-8")
    digest = hashlib.sha256(json.dumps([size, maker]).encode()).hexdigest()
    done = home / "made"
    if not done.exists() or done.read_text() != digest:
        shutil.rmtree(home, ignore_errors=True)
        server = bench.start(Server(home))
        rest = Rest(server.uri)
        experiment_id = rest.post("experiments/create", {"name": NAME})["experiment_id"]
        many(rest, experiment_id, *size, seed="many")
        server.stop()
        done.write_text(digest)
    return bench.start(Server(home))


class Work:
    """A source and an empty destination, and the commands between them.

    :param bench: Has the servers.
    :param size: Of the source.
    """

    def __init__(self, bench: Bench, size: Size) -> None:
        self.size = size
        self.src, self.dst = source_of(bench, size), bench.destination(1)
        self.home = bench.directory()
        self.home.mkdir(parents=True)
        self.report = self.home / "report"
        self._both = ("--src-mlflow-uri", self.src.uri, "--dst-mlflow-uri", self.dst.uri)

    def copy(self) -> Cost:
        """Copy the traces."""
        names = ("--experiment", NAME, "--experiment-name", NAME)
        return run_measured(self.src.uri, "copy-traces", *self._both, *names, "--report-dir", self.report)

    def export(self) -> Cost:
        """Export the experiment."""
        names = ("--experiment", NAME, "--output-dir", self.home / "export")
        return run_measured(self.src.uri, "export-experiment", *names, "--report-dir", self.home / "exported")

    def load(self) -> Cost:
        """Import it."""
        names = ("--experiment-name", NAME, "--input-dir", self.home / "export")
        return run_measured(self.dst.uri, "import-experiment", *names, "--report-dir", self.report)

    def again(self, *command: Any) -> Counts:
        """Run a command; how many objects of which kind ended how."""
        result = run_script(*command, "--report-dir", self.report, cwd=self.home, timeout=TIMEOUT)
        return counts_of(result)

    def copy_again(self) -> Counts:
        """Copy the traces once more."""
        return self.again("copy-traces", *self._both, "--experiment", NAME, "--experiment-name", NAME)

    def load_again(self) -> Counts:
        """Import once more."""
        names = ("--experiment-name", NAME, "--input-dir", self.home / "export")
        return self.again("import-experiment", "--tracking-uri", self.dst.uri, *names)

    def differences(self, *source: Any) -> Tuple[List[str], float]:
        """What is not the same, as two comparisons that share nothing tell; and the seconds of our own.

        :param source: Options that name the source.
        """
        report = self.home / "verified"
        command = ("verify-migration", *source, "--dst-mlflow-uri", self.dst.uri, "--experiments", NAME)
        options = ("--depth", "full", "--report-dir", report)
        start = time.monotonic()
        run_script(*command, *options, cwd=self.home, check=None, timeout=TIMEOUT)
        seconds = time.monotonic() - start
        document = dict(json.loads((report / "verification.json").read_text()))
        found = [json.dumps(line, ensure_ascii=False) for line in document["not_the_same"]]
        found += _not_compared(document, self.size)
        return found + trace_differences((self.src.uri, NAME), (self.dst.uri, NAME)), seconds


def _not_compared(document: Dict[str, Any], size: Size) -> List[str]:
    traces, spans, assessments = size
    wanted = {"spans": traces * spans, "assessments": traces * assessments}
    found = [f"{document['compared'].get(kind)} of {n} {kind} compared" for kind, n in wanted.items()
             if document["compared"].get(kind) != n]  # fmt: skip
    same = document["counts"].get("trace", {}).get("same")
    return found + ([f"{same} of {traces} traces are the same"] if same != traces else [])


def _content(server: Server) -> str:
    """A hash of a server's database: whatever is written changes it."""
    digest = hashlib.sha256()
    for path in sorted(server.root.glob("mlflow.db*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _not_idle(work: Work, counts: Counts, before: str) -> List[str]:
    """What a repeat has written, and what it does not call unchanged."""
    found = [] if _content(work.dst) == before else ["the repeat has written something"]
    ended = counts.get("trace")
    return found + ([f"the repeat ended as {ended}"] if ended != {"unchanged": work.size[0]} else [])


@contextmanager
def _working(size: Size) -> Iterator[Tuple[Bench, Work]]:
    with Bench(HOME, "traces") as bench:
        yield bench, Work(bench, size)


def copied(size: Size) -> Verdict:
    """Traces are copied beside what both servers can do at the same time; the copy is whole, and a repeat idle."""
    with _working(size) as (bench, work):
        other = bench.destination(1)
        reading = trace_ceiling.reads(work.src.uri, NAME)
        n = trace_ceiling.best_of(other.uri, "tried", size)
        ceiling = trace_ceiling.both((work.src.uri, NAME, reading.connections), (other.uri, NAME, n), size)
        bench.remove(other)
        cost = work.copy()
        found, verified = work.differences("--src-mlflow-uri", work.src.uri)
        before = _content(work.dst)
        found += _not_idle(work, work.copy_again(), before)
    share = ceiling.seconds / cost.seconds
    figures = (
        f"{share:.0%} of the ceiling (at least {SHARE:.0%}): {cost.seconds:.1f} s, {cost.requests} requests, "
        f"{cost.cpu:.1f} s of our CPU, {cost.peak:.0f} MiB; ceiling {ceiling.seconds:.1f} s with {n} connections, "
        f"reading alone {reading.seconds:.1f} s; verified in {verified:.1f} s: {listed(found)}"
    )
    return share >= SHARE and not found, figures


def by_directory(size: Size) -> Verdict:
    """Export and import beside what a server gives and takes; the copy is whole, and a repeat idle."""
    with _working(size) as (bench, work):
        other = bench.destination(1)
        reading = trace_ceiling.reads(work.src.uri, NAME)
        exported = work.export()
        writing = trace_ceiling.writes(other.uri, NAME, size, trace_ceiling.best_of(other.uri, "tried", size))
        bench.remove(other)
        imported = work.load()
        found, verified = work.differences("--input-dir", work.home / "export")
        before = _content(work.dst)
        found += _not_idle(work, work.load_again(), before)
    share = (reading.seconds + writing.seconds) / (exported.seconds + imported.seconds)
    figures = (
        f"{share:.0%} of the ceiling (at least {SHARE:.0%}): export {exported.seconds:.1f} s, ceiling "
        f"{reading.seconds:.1f} s; import {imported.seconds:.1f} s, ceiling {writing.seconds:.1f} s with "
        f"{writing.connections} connections; {max(exported.peak, imported.peak):.0f} MiB; "
        f"verified in {verified:.1f} s: {listed(found)}"
    )
    return share >= SHARE and not found, figures


def points(traces: int) -> List[Point]:
    """What is proved, with some number of traces."""
    size = (traces, SPANS, ASSESSMENTS)
    return [
        ("copy of traces", 3600, lambda: copied(size)),
        ("traces through a directory", 3600, lambda: by_directory(size)),
    ]


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--traces", type=int, default=TRACES)
    own, rest = parser.parse_known_args(args)
    proof = "prove-traces" if own.traces == TRACES else f"prove-traces-{own.traces}"
    return prove(proof, points(own.traces), rest, __doc__)


if __name__ == "__main__":
    sys.exit(main())
