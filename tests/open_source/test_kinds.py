"""Kinds of objects that one rule moves: each by its own scripts, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from tests.support.make_kinds import EXPERIMENT, KINDS, TRACES, Kind, make_trace, names_of_experiments
from tests.support.moves import Counts, counts_of
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server


@pytest.fixture(scope="module")
def sides(server: Callable[..., Server]) -> Tuple[Server, Server]:
    """A server with some of each kind, and one with the experiment alone."""
    src, dst = server(), server()
    rest = Rest(dst.uri)
    rest.post("experiments/create", {"name": "first of the destination"})  # so the other one gets another id there
    run_id = _make_shared(Rest(src.uri), [])
    _make_shared(rest, [{"key": "mlflow_exim.run_info.run_id", "value": run_id}])
    experiment_id = Rest(src.uri).experiment(EXPERIMENT)["experiment_id"]
    for kind in KINDS:
        kind.make(Rest(src.uri), experiment_id)
    return src, dst


def _make_shared(rest: Rest, tags: List[Dict[str, str]]) -> str:
    """Make what both sides have, as an import of experiments leaves it; returns the id of the run."""
    experiment_id = rest.post("experiments/create", {"name": EXPERIMENT})["experiment_id"]
    for trace_id in TRACES:
        make_trace(rest, experiment_id, trace_id)
    run = rest.post("runs/create", {"experiment_id": experiment_id, "run_name": "finder", "tags": tags})["run"]
    return str(run["info"]["run_id"])


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
    script, whole = kind.plural.replace("_", "-"), kind.number + kind.defaults
    defaults = {"unchanged": kind.defaults} if kind.defaults else {}
    for status in ("copied", "unchanged"):
        assert run(run_script, src, f"export-{script}", "--output-dir", out)[kind.name] == {status: whole}
    load = (f"import-{script}", "--input-dir", out)
    verify = ("verify-migration", "--input-dir", out, "--dst-mlflow-uri", dst.uri, "--depth", "full")
    same = {"same": kind.defaults} if kind.defaults else {}
    assert run(run_script, dst, *verify, status=1)[kind.name] == {"missing": kind.number, **same}
    for done in ({"copied": kind.number, **defaults}, {"unchanged": whole}):
        assert run(run_script, dst, *load)[kind.name] == done
        ours, theirs = (kind.read(Rest(side.uri), names_of_experiments(Rest(side.uri))) for side in sides)
        assert len(ours) >= whole
        assert ours == theirs
        assert run(run_script, dst, *verify)[kind.name] == {"same": whole}
    assert run(run_script, src, "verify-migration", "--input-dir", out)[kind.name] == {"same": whole}
