"""Kinds of objects that one rule moves: each by its own scripts, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from tests.support.make_kinds import (
    EXPERIMENT,
    KINDS,
    ONLINE,
    TRACES,
    Kind,
    issue_links,
    make_active_scorer,
    make_endpoint,
    make_trace,
    names_of_experiments,
    online,
)
from tests.support.moves import Counts, counts_of
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server


@pytest.fixture(scope="module")
def sides(server: Callable[..., Server]) -> Tuple[Server, Server]:
    """A server with some of each kind, and one with the experiment alone."""
    src, dst = server(MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS="true"), server()
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


def test_all_arrive_with_a_copy_of_everything(
    sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    """Whether they are there already or not; the verification at the end finds nothing."""
    src, dst = sides
    both = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri, "--report-dir", tmp_path / "report")
    result = run_script("copy-all", *both, "--verify", "full", check=0)
    assert "do not reconcile" not in result.stdout, result
    counts, names = counts_of(result), [names_of_experiments(Rest(side.uri)) for side in sides]
    for kind in KINDS:
        # an issue was there before the traces that are linked to it
        assert set(counts[kind.name]) <= {"copied", "unchanged", *(["updated"] if kind.name == "issue" else [])}
        assert sum(counts[kind.name].values()) == kind.number + kind.defaults
        ours, theirs = (kind.read(Rest(side.uri), of) for side, of in zip(sides, names))
        assert ours == theirs
    ours, theirs = (issue_links(Rest(side.uri)) for side in sides)
    assert len(ours) == 3
    assert ours == theirs
    # as it is, and as one that knows nothing of the copies
    for more in ((), ("--report-dir", tmp_path / "another")):
        again = run_script("copy-all", *both, *more, check=0)
        assert {status for of_kind in counts_of(again).values() for status in of_kind} == {"unchanged"}
        assert issue_links(Rest(dst.uri)) == ours


def test_scorers_that_do_something(
    sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    """Online scoring waits for --activate; a function goes only to a server that takes such, which the reason says."""
    src, dst = sides
    rests = [Rest(side.uri) for side in sides]
    experiments = [rest.experiment(EXPERIMENT)["experiment_id"] for rest in rests]
    for rest in rests:
        make_endpoint(rest)
    make_active_scorer(rests[0], experiments[0])
    out, renames = tmp_path / "out", tmp_path / "renames.csv"
    assert run(run_script, src, "export-scorers", "--output-dir", out)["scorer"] == {"copied": 4}
    load = ("import-scorers", "--input-dir", out)
    for more, configs in (((), {}), (("--activate",), {"auto": ONLINE}), ((), {"auto": ONLINE})):
        result = run_script(*load, *more, env={"MLFLOW_TRACKING_URI": dst.uri}, check=1)
        counts = counts_of(result)["scorer"]
        assert (counts.pop("failed"), sum(counts.values())) == (1, 3)
        assert counts.get("updated") == (1 if more else None)
        assert "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS=true" in result.stdout
        assert online(rests[1], experiments[1]) == configs
    verify = ("verify-migration", "--input-dir", out, "--dst-mlflow-uri", dst.uri)
    result = run_script(*verify, env={"MLFLOW_TRACKING_URI": dst.uri}, check=1)
    assert counts_of(result)["scorer"] == {"same": 3, "missing": 1}
    assert f"{EXPERIMENT}/code" in result.stdout
    # into another experiment of the source, which takes functions
    rests[0].post("experiments/create", {"name": "other/one"})
    renames.write_text("judged,other\n")
    load += ("--experiment-rename-file", renames, "--report-dir", tmp_path / "again")
    assert run(run_script, src, *load)["scorer"] == {"copied": 4}
    copies = [one for one in KINDS[0].read(rests[0], names_of_experiments(rests[0])) if one["scorer_name"] == "code"]
    assert [one["experiment"] for one in copies] == [EXPERIMENT, "other/one"]
    assert copies[0]["serialized_scorer"] == copies[1]["serialized_scorer"]
