"""`make prove-engine`: thousands of runs by the workers of a cluster, one of them killed. Prints PASS or FAIL.

    python -m benchmarks.prove_engine [--again] [--runs 5000]

What has passed with the present package is kept in .bench/prove-engine.json. With fewer runs it tells how things are
going, and keeps its state in a file of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, List, Optional

from benchmarks.bench import Bench
from benchmarks.make_data import make
from benchmarks.migrations import listed
from benchmarks.proofs import HOME, Point, Verdict, prove
from tests.support.clusters import DaskCluster
from tests.support.compare import differences
from tests.support.moves import counts_of, writes
from tests.support.proxy import Proxy
from tests.support.rest import Rest
from tests.support.scripts import run_script

RUNS = 5_000  # of one experiment
DATA = {"experiments": 1, "metrics": 3, "points": 20, "params": 4, "tags": 2, "artifacts": 1, "artifact_bytes": 2_000}
TIMEOUT = 3600.0  # seconds for a command


def worker_killed(runs: int) -> Verdict:
    """Two workers export and import; one is killed half-way of the import. All is there, once."""
    found: List[str] = []
    with Bench(HOME, "engine") as bench:
        src, dst, home = bench.destination(2), bench.destination(2), bench.directory()
        (name,) = make(src.uri, "small", prefix="engine", runs=runs, **DATA)
        home.mkdir(parents=True)
        with Proxy(dst.uri) as proxy, DaskCluster(home / "dask") as cluster:
            engine = ("--engine", "dask", "--engine-address", cluster.address)
            out = ("--output-dir", home / "export")
            exported = _timed(
                home, "export-experiments", "--tracking-uri", src.uri, "--experiments", name, *out, *engine
            )
            kill = proxy.on("POST", "*/runs/create", number=runs // 2, after=lambda _: cluster.kill_worker(0))
            load = ("import-experiments", "--tracking-uri", proxy.uri, "--input-dir", home / "export", *engine)
            imported = _timed(home, *load)
            found += [] if kill.hits == 1 else ["no worker was killed"]
            proxy.clear()
            counts = counts_of(run_script(*load, cwd=home, timeout=TIMEOUT))
            found += [] if counts["run"] == {"unchanged": runs} else [f"the repeat ended as {counts['run']}"]
            found += [f"the repeat has written {writes(proxy)}"] if writes(proxy) else []
        found += _verified(home, src.uri, dst.uri, name, runs)
        found += differences((src.uri, name), (dst.uri, name))
        there = len(Rest(dst.uri).runs(Rest(dst.uri).experiment(name)["experiment_id"]))
        found += [f"{runs} runs became {there}"] if there != runs else []
    return not found, f"{listed(found)} in {runs:,} runs; exported in {exported:.0f} s, imported in {imported:.0f} s"


def _timed(home: Path, *command: Any) -> float:
    start = time.monotonic()
    result = run_script(*command, cwd=home, timeout=TIMEOUT)
    assert "could not be done by workers" not in result.stdout, result
    return time.monotonic() - start


def _verified(home: Path, src: str, dst: str, name: str, runs: int) -> List[str]:
    """What a verification at full depth finds, and what it has not compared."""
    sides = ("--src-mlflow-uri", src, "--dst-mlflow-uri", dst, "--experiments", name)
    report = ("--depth", "full", "--report-dir", home / "verified")
    run_script("verify-migration", *sides, *report, cwd=home, check=None, timeout=TIMEOUT)
    document = json.loads((home / "verified" / "verification.json").read_text())
    found = [json.dumps(line, ensure_ascii=False) for line in document["not_the_same"]]
    same = document["counts"].get("run", {}).get("same")
    found += [f"{same} of {runs} runs are the same"] if same != runs else []
    compared = document["compared"]
    return found + ([] if compared.get("hashed") and compared.get("points") else [f"compared: {compared}"])


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=int, default=RUNS)
    own, rest = parser.parse_known_args(args)
    proof = "prove-engine" if own.runs == RUNS else f"prove-engine-{own.runs}"
    points: List[Point] = [("a worker killed", 7200, lambda: worker_killed(own.runs))]
    return prove(proof, points, rest, __doc__)


if __name__ == "__main__":
    sys.exit(main())
