"""`make prove-tracking`: at full size, what the tests hold at a small one. Each point prints PASS or FAIL.

    python -m benchmarks.prove_tracking [--again] [--only WORD]

It may be stopped: points that have passed with the present package are kept in .bench/prove-tracking.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from benchmarks.bench import HEAD, Bench, Cost, Row, export_all, import_all, line, measure, run
from benchmarks.make_data import SIZES, make_everything
from tests.support.compare import differences
from tests.support.kills import Kills
from tests.support.servers import NEWEST, PROJECT, Server

HOME = PROJECT / ".bench"
STATE = HOME / "prove-tracking.json"
RATIO = 1.5  # of our time to that of the server's ceiling
REPEAT = {"export": 20, "import": 10}  # times faster when nothing has changed
MEMORY = 400.0  # MiB
KILLS = 20
#: whether the point holds, and what was seen
Verdict = Tuple[bool, str]


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


def tests(*args: str) -> Verdict:
    """Tests that hold a point at its full size."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *args], cwd=PROJECT, capture_output=True, text=True)
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
    return done.returncode == 0 and "skipped" not in last, last


#: name, seconds that it may take, what to do
POINTS: List[Tuple[str, int, Callable[[], Verdict]]] = [
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
    ("hostile directories", 900, lambda: tests("tests/open_source/test_hostile.py")),
    ("a line and a file of 1 GB", 600, huge_files),
    ("Python 3.8 and 3.13", 900, lambda: tests("tests/open_source/test_pythons.py", "-k", "everything")),
]


# ---- how they are run


def _package() -> str:
    """A hash of the package: what has passed counts only for the package that passed."""
    digest = hashlib.sha256()
    for path in sorted((PROJECT / "mlflow_migration").rglob("*.py")):
        digest.update(str(path.relative_to(PROJECT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _passed(package: str) -> Dict[str, Any]:
    try:
        state = dict(json.loads(STATE.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    return dict(state["passed"]) if state.get("package") == package else {}


def _save(package: str, passed: Dict[str, Any]) -> None:
    STATE.parent.mkdir(parents=True, exist_ok=True)
    STATE.write_text(json.dumps({"package": package, "passed": passed}, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _within(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="also what has passed already")
    parser.add_argument("--only", default="", help="only points with this word in their names")
    options = parser.parse_args(args)
    package = _package()  # of the start: what passed while somebody changed it counts for neither
    passed = _passed(package)
    failed = 0
    for name, seconds, point in POINTS:
        if options.only not in name:
            continue
        if name in passed and not options.again:
            print(f"PASS  {name} (earlier): {passed[name]}", flush=True)
            continue
        print(f"...   {name}", flush=True)
        start = time.monotonic()
        try:
            with _within(seconds):
                good, figures = point()
        except (RuntimeError, OSError, AssertionError) as ex:  # requests' errors are OSErrors, and so is a timeout
            traceback.print_exc()
            good, figures = False, str(ex)
        print(f"{'PASS' if good else 'FAIL'}  {name}: {figures} ({time.monotonic() - start:.0f} s)", flush=True)
        passed = _passed(package)  # another process may have proved other points meanwhile
        passed.pop(name, None)
        if good:
            passed[name] = figures
        _save(package, passed)
        failed += not good
    print(f"{failed} failed" if failed else "all passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
