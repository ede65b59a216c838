"""What moving costs: requests, memory, and time beside the server's ceiling. Small, and with wide bounds of time, as
other tests run meanwhile; `make prove-tracking` holds the full sizes."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from benchmarks.bench import export_all, import_all
from benchmarks.make_data import SIZES, make
from tests.support.compare import assert_same
from tests.support.servers import PROJECT, Server

# our commands need some 35 MiB before they do anything
WIDE = {"runs": 400}
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


@pytest.mark.parametrize(
    ("size", "changes", "exporting", "importing"),
    [("wide", WIDE, 64, 64), ("long", LONG, 130, 64)],
    ids=["wide", "long"],
)
def test_memory(
    size: str, changes: Dict[str, int], exporting: int, importing: int, src_server: Server, dst_server: Server,
    tmp_path: Path, experiment_name: str,
) -> None:  # fmt: skip
    """Many runs, or many points of one run, are never all in memory."""
    names = make(src_server.uri, size, prefix=experiment_name, **changes)
    assert 20 < export_all(src_server, names, tmp_path).peak < exporting
    assert 20 < import_all(dst_server, names, tmp_path).peak < importing
    assert 20 < import_all(dst_server, names, tmp_path).peak < importing
    assert_same((src_server.uri, names[0]), (dst_server.uri, names[0]))


def test_memory_of_a_history_that_comes_whole(server_29: Server, tmp_path: Path, experiment_name: str) -> None:
    """An old server gives a history in one piece; it is read as a stream."""
    names = make(server_29.uri, "long", prefix=experiment_name, **LONG)
    assert 20 < export_all(server_29, names, tmp_path).peak < 130
    assert (tmp_path / names[0]).exists()


def test_demo() -> None:
    """`make demo`, in the environment that is there."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.demo"], cwd=PROJECT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "copied" in done.stdout and "unchanged" in done.stdout
    assert "no difference" in done.stdout.lower()
