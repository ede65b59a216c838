"""Kinds of objects that one rule moves: each by its own scripts, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Tuple

import pytest

from tests.support.make_kinds import KINDS, Kind, names_of_experiments
from tests.support.moves import Counts, counts_of
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server

EXPERIMENT = "judged/one"


@pytest.fixture(scope="module")
def sides(server: Callable[..., Server]) -> Tuple[Server, Server]:
    """A server with some of each kind, and one with the experiment alone."""
    src, dst = server(), server()
    for side in (src, dst):
        body = {"name": EXPERIMENT}
        experiment_id = Rest(side.uri).post("experiments/create", body)["experiment_id"]
        for kind in KINDS if side is src else ():
            kind.make(Rest(side.uri), experiment_id)
        if side is src:  # the experiment is to have another id at the destination
            Rest(dst.uri).post("experiments/create", {"name": "first of the destination"})
    return src, dst


def run(run_script: Callable[..., Result], server: Server, *args: Any, status: int = 0) -> Counts:
    result = run_script(*args, env={"MLFLOW_TRACKING_URI": server.uri}, check=status)
    assert "do not reconcile" not in result.stdout, result
    return counts_of(result)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.plural for kind in KINDS])
def test_it_arrives_once(
    kind: Kind, sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    src, dst = sides
    out = tmp_path / "out"
    for status in ("copied", "unchanged"):
        assert run(run_script, src, f"export-{kind.plural}", "--output-dir", out)[kind.name] == {status: kind.number}
    load = (f"import-{kind.plural}", "--input-dir", out)
    verify = ("verify-migration", "--input-dir", out, "--dst-mlflow-uri", dst.uri, "--depth", "full")
    assert run(run_script, dst, *verify, status=1)[kind.name] == {"missing": kind.number}
    for status in ("copied", "unchanged"):
        assert run(run_script, dst, *load)[kind.name] == {status: kind.number}
        ours, theirs = (kind.read(Rest(side.uri), names_of_experiments(Rest(side.uri))) for side in sides)
        assert len(ours) >= kind.number
        assert ours == theirs
        assert run(run_script, dst, *verify)[kind.name] == {"same": kind.number}
    assert run(run_script, src, "verify-migration", "--input-dir", out)[kind.name] == {"same": kind.number}
