"""What moving costs: requests, memory, and time beside the server's ceiling. Small, and with wide bounds of time, as
other tests run meanwhile; `make prove-tracking` holds the full sizes."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bench import export_all, import_all
from benchmarks.make_data import SIZES, make
from tests.support.compare import assert_same
from tests.support.servers import PROJECT, Server

# our commands need some 35 MiB before they do anything
LONG = {"points": 100_000}


def test_requests(src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str) -> None:
    """Beyond one for each artifact and directory: few for all runs together, and fewer when nothing has changed."""
    runs, plan = 45, SIZES["small"]
    names = make(src_server.uri, "small", prefix=experiment_name, experiments=1, runs=runs)
    files = runs * (plan.artifacts + 1)
    first = export_all(src_server, names, tmp_path)
    allowed = 2 * runs + plan.metrics * math.ceil(runs / 20) + 50
    # one a run is spent where the server has logged models: only a run itself tells which of them it uses
    assert files < first.requests <= files + runs + 20 < files + allowed
    again = export_all(src_server, names, tmp_path)
    assert runs <= again.requests <= runs + 15
    imported = import_all(dst_server, names, tmp_path)
    # a run is created, gets one batch and its artifacts, and ends
    assert imported.requests <= runs * (plan.artifacts + 3) + 15
    assert import_all(dst_server, names, tmp_path).requests <= runs + 15
    assert_same((src_server.uri, names[0]), (dst_server.uri, names[0]))


@pytest.mark.slow
def test_memory(src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str) -> None:
    """Many points of one run are never all in memory; `make prove-tracking` has many runs, and an old server, too."""
    names = make(src_server.uri, "long", prefix=experiment_name, **LONG)
    assert 20 < export_all(src_server, names, tmp_path).peak < 130
    for _ in range(2):
        assert 20 < import_all(dst_server, names, tmp_path).peak < 64
    assert_same((src_server.uri, names[0]), (dst_server.uri, names[0]))


def test_demo() -> None:
    """`make demo`, in the environment that is there."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo"], cwd=PROJECT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "copied" in done.stdout and "unchanged" in done.stdout
    assert "no difference" in done.stdout.lower()
