"""`make prove-tracking`: at full size, what the tests hold at a small one. Each point prints PASS or FAIL.

    python -m benchmarks.prove_tracking [--again] [--only WORD]

It may be stopped: points that have passed with the present package are kept in .bench/prove-tracking.json.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Dict, Iterator, List, Optional

from benchmarks.bench import HEAD, Bench, Cost, Row, export_all, import_all, line, measure, run
from benchmarks.make_data import SIZES, make_everything
from benchmarks.proofs import HOME, Point, Verdict, prove, run_tests
from tests.support.compare import differences
from tests.support.kills import Kills
from tests.support.servers import NEWEST, Server

RATIO = 1.5  # of our time to that of the server's ceiling
REPEAT = {"export": 20, "import": 10}  # times faster when nothing has changed
MEMORY = 400.0  # MiB
KILLS = 20


def _names(size: str) -> List[str]:
    return [f"{size}-{i}" for i in range(SIZES[size].experiments)]


def _differences(src: Server, dst: Server, size: str) -> List[str]:
    return [text for name in _names(size) for text in differences((src.uri, name), (dst.uri, name))]


# ---- the points


def round_trip() -> Verdict:
    """The medium set goes through a directory: no difference, and a repeat adds nothing."""
    with Bench(HOME, "medium") as bench:
        src, dst, home = bench.source(1), bench.destination(1), bench.directory()
        export_all(src, _names("medium"), home)
        for _ in range(2):
            import_all(dst, _names("medium"), home)
        found = _differences(src, dst, "medium")
    return not found, f"{len(found)} differences in {_amount('medium')}" + "".join(f"\n  {text}" for text in found[:10])


def _amount(size: str) -> str:
    plan = SIZES[size]
    runs = plan.experiments * plan.runs
    return f"{runs:,} runs, {runs * plan.metrics * plan.points:,} points, {runs * plan.artifacts:,} artifacts"


def speed(work: str, workers: int) -> Verdict:
    """Export or import of the medium set beside the server's ceiling; the repeat where nothing has changed."""
    with Bench(HOME, "medium") as bench:
        rows = {row.work: row for row in _shown(measure(bench, workers, 3, [work]))}
    return speed_verdict(rows, work, workers)


def speed_verdict(rows: Dict[str, Row], work: str, workers: int) -> Verdict:
    """Whether the measured rows are fast enough.

    :param rows: By name, as `measure` gives them.
    :param work: "export" or "import".
    :param workers: Of the server. With several, the first export takes so little time that the starts of the commands
        are half of a repeat: how many times faster that is says nothing then and is not demanded.
    """
    ratio, faster = rows[work].ratio or math.inf, rows[f"{work}, nothing changed"].faster or 0.0
    good = ratio <= RATIO and (workers > 1 or faster >= REPEAT[work])
    demand = f"at least {REPEAT[work]}" if workers == 1 else "not demanded with several workers"
    return good, f"{ratio:.2f} times the ceiling (at most {RATIO}), repeated {faster:.1f} times faster ({demand})"


def _shown(rows: Iterator[Row]) -> Iterator[Row]:
    print(HEAD, flush=True)
    for row in rows:
        print(line(row), flush=True)
        yield row


def requests() -> Verdict:
    """Requests of an export of the medium set, beside those for each artifact and directory."""
    plan = SIZES["medium"]
    with Bench(HOME, "medium") as bench:
        cost = export_all(bench.source(1), _names("medium"), bench.directory())
    runs = plan.experiments * plan.runs
    files = runs * (plan.artifacts + 1)
    most = 2 * runs + plan.experiments * plan.metrics * math.ceil(plan.runs / 20) + 50
    return cost.requests - files <= most, f"{cost.requests} requests, {files} for artifacts; {most} more are allowed"


def memory(size: str, version: str) -> Verdict:
    """Peak memory of an export and of an import, from and to a server; and the copy is whole."""
    with Bench(HOME, size, version) as bench:
        src, dst, home = bench.source(1), bench.destination(1), bench.directory()
        costs: Dict[str, Cost] = {"export": export_all(src, _names(size), home)}
        costs["import"] = import_all(dst, _names(size), home)
        costs["repeat"] = import_all(dst, _names(size), home)
        found = _differences(src, dst, size)
    figures = ", ".join(f"{name} {cost.peak:.0f} MiB in {cost.seconds:.0f} s" for name, cost in costs.items())
    good = not found and all(0 < cost.peak < MEMORY for cost in costs.values())
    return good, f"{figures} (under {MEMORY:.0f}), {len(found)} differences in {_amount(size)}"


def kills() -> Verdict:
    """An import is killed at 20 moments, and repeated each time."""
    with Bench(HOME, "kills") as bench:
        src, dst, home = bench.destination(1), bench.destination(1), bench.directory()
        make_everything(src.uri, "everything", deleted_models=True)
        options = ("--experiment", "everything", "--output-dir", home / "export", "--export-deleted-runs")
        run(src.uri, "export-experiment", *options)
        killer = Kills((src.uri, "everything"), home / "export", dst.uri, home / "reports")
        moments = killer.moments(KILLS)
        wrong = 0
        for moment in moments:
            found = killer.kill_and_repeat(moment)
            wrong += bool(found)
            print(f"  {moment}: {'; '.join(found) or 'no difference'}", flush=True)
    return not wrong, f"{wrong} of {len(moments)} moments left a difference or a double"


def huge_files() -> Verdict:
    """A line of 1 GB, and a file of 1 GB: each one clear error, without the memory for it."""
    with Bench(HOME, "small") as bench:
        src, dst, home = bench.source(1), bench.destination(1), bench.directory()
        name = _names("small")[0]
        export_all(src, [name], home)
        first, second = sorted(path for path in (home / name).iterdir() if (path / "run.json").exists())[:2]
        with open(first / "run.json", "r+b") as file:
            file.truncate(2**30)
        doc = json.loads((second / "run.json").read_text())
        doc["mlflow"].update(metrics={}, metrics_file="metrics.jsonl")
        (second / "run.json").write_text(json.dumps(doc))
        with open(second / "metrics.jsonl", "wb") as file:
            file.truncate(2**30)
        cost = run(dst.uri, "import-experiment", "--experiment-name", name, "--input-dir", home / name, status=1)
        lines = [json.loads(text) for text in (home / name / "ledger.jsonl").read_text().splitlines()]
    failed = {text["src_id"]: text["reason"] for text in lines if text.get("status") == "failed"}
    copied = sum(text.get("kind") == "run" and text.get("status") == "copied" for text in lines)
    expected = {first.name: "has 1073741824 bytes", second.name: "is longer than"}
    good = failed.keys() == expected.keys() and all(part in failed[run_id] for run_id, part in expected.items())
    # the runs that the export has recorded are counted too
    good = good and copied == 2 * SIZES["small"].runs - len(expected) and cost.peak < MEMORY
    return good, f"{sorted(failed.values())}, {cost.peak:.0f} MiB"


POINTS: List[Point] = [
    ("round trip of the medium set", 3600, round_trip),
    ("requests of an export", 900, requests),
    ("speed of an export, server with 1 worker", 1800, lambda: speed("export", 1)),
    ("speed of an export, server with 4 workers", 1800, lambda: speed("export", 4)),
    ("speed of an import, server with 1 worker", 5400, lambda: speed("import", 1)),
    ("speed of an import, server with 4 workers", 5400, lambda: speed("import", 4)),
    ("memory, wide set", 3600, lambda: memory("wide", NEWEST)),
    ("memory, long set", 3600, lambda: memory("long", NEWEST)),
    ("memory, long set, MLflow 2.9", 3600, lambda: memory("long", "2.9")),
    (f"kill -9 at {KILLS} moments of an import", 1800, kills),
    ("hostile directories", 900, lambda: run_tests("tests/open_source/test_hostile.py")),
    ("a line and a file of 1 GB", 600, huge_files),
    ("Python 3.8 and 3.13", 900, lambda: run_tests("tests/open_source/test_pythons.py", "-k", "everything")),
]


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    return prove("prove-tracking", POINTS, args, __doc__)


if __name__ == "__main__":
    sys.exit(main())
