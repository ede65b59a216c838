"""Kinds of objects that one rule moves: each by its own scripts, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Tuple

import pytest

from tests.support.make_kinds import KINDS, V3, Kind, names_of_experiments
from tests.support.moves import Counts, counts_of
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server

EXPERIMENT = "judged/one"
SERVER = {"MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https"}


@pytest.fixture(scope="module")
def sides(server: Callable[..., Server]) -> Tuple[Server, Server]:
    """A server with some of each kind, and one with the experiment alone."""
    src, dst = server(**SERVER), server(**SERVER)
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
    numbers = {kind.name: kind.number, **kind.more}

    def expect(status: str, counts: Counts) -> None:
        assert {name: counts.get(name) for name in numbers} == {name: {status: n} for name, n in numbers.items()}

    for status in ("copied", "unchanged"):
        expect(status, run(run_script, src, f"export-{kind.plural}", "--output-dir", out))
    load = (f"import-{kind.plural}", "--input-dir", out, *kind.options)
    verify = ("verify-migration", "--input-dir", out, "--dst-mlflow-uri", dst.uri, "--depth", "full")
    assert run(run_script, dst, *verify, status=1)[kind.name] == {"missing": kind.number}
    for status in ("copied", "unchanged"):
        expect(status, run(run_script, dst, *load))
        ours, theirs = (kind.read(Rest(side.uri), names_of_experiments(Rest(side.uri))) for side in sides)
        assert len(ours) >= kind.number
        assert ours == theirs
        if status == "copied" and kind.by_hand is not None:
            kind.by_hand(Rest(dst.uri))
    expect("same", run(run_script, dst, *verify))
    expect("same", run(run_script, src, "verify-migration", "--input-dir", out))


CHANGING = [kind for kind in KINDS if kind.change is not None]


@pytest.mark.parametrize("kind", CHANGING, ids=[kind.plural for kind in CHANGING])
def test_changes_arrive(
    kind: Kind, sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    src, dst = sides
    load = (f"import-{kind.plural}", "--input-dir", tmp_path, *kind.options)
    store = (f"export-{kind.plural}", "--output-dir", tmp_path)
    run(run_script, src, *store)
    assert run(run_script, dst, *load)[kind.name] == {"unchanged": kind.number}
    assert kind.change is not None
    kind.change(Rest(src.uri))
    assert run(run_script, src, *store)[kind.name]["updated"] > 0
    counts = run(run_script, dst, *load)
    assert counts[kind.name]["updated"] > 0
    assert not any("copied" in statuses or "differs" in statuses for statuses in counts.values())
    ours, theirs = (kind.read(Rest(side.uri), names_of_experiments(Rest(side.uri))) for side in sides)
    assert ours == theirs
    again = run(run_script, dst, *load)
    assert {status for name in (kind.name, *kind.more) for status in again[name]} == {"unchanged"}


def test_nothing_starts_by_itself(
    sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    src, dst = sides
    budget = {"budget_unit": "USD", "budget_amount": 3, "duration": {"unit": "HOURS", "value": 1}}
    budget.update(target_scope="GLOBAL", budget_action="REJECT")
    event = {"entity": "MODEL_VERSION", "action": "CREATED"}
    Rest(src.uri).post("webhooks", {"name": "late", "url": "http://me:hunter2@127.0.0.1:9/late", "events": [event]})
    Rest(src.uri).post(f"{V3}/gateway/budgets/create", budget)
    secret = {"secret_name": "late", "secret_value": {"api_key": "sk-hunter2"}}
    Rest(src.uri).post(f"{V3}/gateway/secrets/create", secret)

    def late(key: str) -> Any:
        found = {one["name"]: one for one in Rest(dst.uri).get("webhooks")["webhooks"]}
        return found["late"][key] if "late" in found else None

    for group in ("webhooks", "gateway"):
        run(run_script, src, f"export-{group}", "--output-dir", tmp_path / group)
    assert not any("unter2" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    gateway = ("import-gateway", "--input-dir", tmp_path / "gateway")
    webhooks = ("import-webhooks", "--input-dir", tmp_path / "webhooks")
    for _ in range(2):
        counts = run(run_script, dst, *gateway, status=1)
        assert counts["gateway_budget"] == {"unchanged": 2, "skipped": 1}
        assert counts["gateway_secret"] == {"unchanged": 2, "incomplete": 1}
        assert run(run_script, dst, *webhooks, status=1)["webhook"] == {"unchanged": 3, "incomplete": 1}
        assert late("status") == "DISABLED"
    verify = ("verify-migration", "--input-dir", tmp_path / "webhooks", "--dst-mlflow-uri", dst.uri)
    assert run(run_script, dst, *verify, status=1)["webhook"] == {"same": 3, "differs": 1}
    fields = {"url": "http://me:hunter2@127.0.0.1:9/late", "status": "ACTIVE"}
    Rest(dst.uri).patch(f"webhooks/{late('webhook_id')}", fields)
    for options in ((), ("--on-destination-change", "overwrite")):
        assert run(run_script, dst, *webhooks, *options)["webhook"] == {"unchanged": 4}
        assert late("status") == "ACTIVE"
    accept = ("--activate", "--accept-loss", "secrets")
    assert run(run_script, dst, *gateway, *accept)["gateway_budget"] == {"unchanged": 2, "copied": 1}
