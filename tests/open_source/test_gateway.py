"""Webhooks, the gateway and MCP servers from server to server: with everything, and by their own scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from tests.support.make_gateway import GROUPS, Group, set_secrets
from tests.support.make_kinds import V3, make_scorers, names_of_experiments
from tests.support.moves import Counts, counts_of
from tests.support.rest import Json, Rest
from tests.support.scripts import Result
from tests.support.servers import Server

SERVER = {"MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https"}
NUMBERS = {name: number for group in GROUPS for name, number in group.numbers.items()}


@pytest.fixture(scope="module")
def sides(server: Callable[..., Server]) -> Tuple[Server, Server]:
    """A server with some of each kind, and one with nothing but an experiment."""
    src, dst = server(**SERVER), server(**SERVER)
    # the experiment is to have another id at the destination
    Rest(dst.uri).post("experiments/create", {"name": "first of the destination"})
    experiment_id = Rest(src.uri).post("experiments/create", {"name": "judged/one"})["experiment_id"]
    make_scorers(Rest(src.uri), experiment_id)
    for group in GROUPS:
        group.make(Rest(src.uri), experiment_id)
    return src, dst


def run(run_script: Callable[..., Result], server: Server, *args: Any, status: int = 0) -> Counts:
    result = run_script(*args, env={"MLFLOW_TRACKING_URI": server.uri}, check=status)
    assert "do not reconcile" not in result.stdout, result
    return counts_of(result)


def read(sides: Tuple[Server, Server], group: Group) -> List[List[Json]]:
    """What both sides have."""
    return [group.read(Rest(side.uri), names_of_experiments(Rest(side.uri))) for side in sides]


def test_all_arrive_with_a_copy_of_everything(
    sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    src, dst = sides
    copy = ("copy-all", "--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri, "--report-dir", tmp_path)
    copy += ("--verify", "full")
    first = run_script(*copy, check=1)
    # the server has bound a scorer that names an endpoint
    ended: Dict[str, Dict[str, int]] = {name: {"copied": number} for name, number in NUMBERS.items()}
    ended["gateway_binding"] = {"copied": 1, "unchanged": 1}
    ended.update(gateway_secret={"incomplete": 2}, gateway_budget={"skipped": 2})
    counts = counts_of(first)
    assert {name: counts[name] for name in NUMBERS} == ended
    assert "set it by hand (api_key)" in first.stdout
    assert "Where there is one, set it by hand: off, to-chat" in first.stdout
    assert "Not the same" not in first.stdout
    assert {one["status"] for one in Rest(dst.uri).get("webhooks")["webhooks"]} == {"DISABLED"}
    set_secrets(Rest(dst.uri))
    counts = run(run_script, dst, *copy, "--activate")
    ended = {name: {"unchanged": number} for name, number in NUMBERS.items()}
    active = {"gateway_budget": {"copied": 2}, "webhook": {"updated": 2, "unchanged": 1}}
    assert {name: counts[name] for name in NUMBERS} == {**ended, **active}
    for group in GROUPS:
        ours, theirs = read(sides, group)
        assert len(ours) >= sum(group.numbers.values())
        assert ours == theirs
    for options in ((), ("--activate",)):
        counts = run(run_script, dst, *copy, *options)
        assert {name: counts[name] for name in NUMBERS} == ended
    counts = run(run_script, dst, "verify-migration", *copy[1:5], "--depth", "full")
    assert {name: counts[name] for name in NUMBERS} == {name: {"same": number} for name, number in NUMBERS.items()}


@pytest.mark.parametrize("group", GROUPS, ids=[group.name for group in GROUPS])
def test_changes_arrive_by_the_scripts(
    group: Group, sides: Tuple[Server, Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    src, dst = sides
    store = (f"export-{group.name}", "--output-dir", tmp_path)
    load = (f"import-{group.name}", "--input-dir", tmp_path)
    if group.name != "mcp-servers":
        load += ("--activate",)
    assert run(run_script, src, *store) == {name: {"copied": number} for name, number in group.numbers.items()}
    unchanged = {name: {"unchanged": number} for name, number in group.numbers.items()}
    assert run(run_script, dst, *load) == unchanged
    group.change(Rest(src.uri))
    run(run_script, src, *store)
    counts = run(run_script, dst, *load)
    assert all("updated" in counts[name] for name in group.numbers if name != "gateway_binding")
    assert {status for of_kind in counts.values() for status in of_kind} <= {"updated", "unchanged"}
    ours, theirs = read(sides, group)
    assert ours == theirs
    assert run(run_script, dst, *load) == unchanged


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
