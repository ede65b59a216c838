"""Runs the points of a full-size proof. Each prints PASS or FAIL; what has passed is kept and not done again."""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from tests.support.servers import PROJECT

HOME = PROJECT / ".bench"
#: whether a point holds, and what was seen
Verdict = Tuple[bool, str]
#: name, seconds that it may take, what to do
Point = Tuple[str, int, Callable[[], Verdict]]


def run_tests(*args: str) -> Verdict:
    """Tests that hold a point at its full size."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "", *args], cwd=PROJECT, capture_output=True, text=True
    )
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
    return done.returncode == 0 and "skipped" not in last, last


def _package() -> str:
    """A hash of the package: what has passed counts only for the package that passed."""
    digest = hashlib.sha256()
    for path in sorted((PROJECT / "mlflow_migration").rglob("*.py")):
        digest.update(str(path.relative_to(PROJECT)).encode() + path.read_bytes())
    return digest.hexdigest()


class _State:
    """What has passed, in a file of a proof."""

    def __init__(self, proof: str) -> None:
        self._path = HOME / f"{proof}.json"
        self._package = _package()  # of the start: what passed while somebody changed it counts for neither

    def passed(self) -> Dict[str, Any]:
        try:
            state = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}
        return dict(state["passed"]) if state.get("package") == self._package else {}

    def save(self, name: str, figures: Optional[str]) -> None:
        """Note that a point has passed; None if it has not."""
        passed = self.passed()  # another process may have proved other points meanwhile
        passed.pop(name, None)
        if figures is not None:
            passed[name] = figures
        HOME.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"package": self._package, "passed": passed}, indent=2) + "\n"
        self._path.write_text(text, encoding="utf-8")


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


def prove(proof: str, points: List[Point], args: Optional[List[str]] = None, about: Optional[str] = None) -> int:
    """Command line of a proof.

    :param proof: Its name, for the file with what has passed.
    :param points: What is to be proved.
    :param args: Arguments; default those of the process.
    :param about: Text of ``--help``.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="also what has passed already")
    parser.add_argument("--only", default="", help="only points with this word in their names")
    options = parser.parse_args(args)
    state = _State(proof)
    passed = state.passed()
    failed = 0
    for name, seconds, point in points:
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
        except Exception as ex:  # noqa: BLE001 -- whatever it is, the other points are to be done
            traceback.print_exc()
            good, figures = False, str(ex)
        print(f"{'PASS' if good else 'FAIL'}  {name}: {figures} ({time.monotonic() - start:.0f} s)", flush=True)
        state.save(name, figures if good else None)
        failed += not good
    print(f"{failed} failed" if failed else "all passed")
    return int(bool(failed))
