"""A server with at least one of each kind of object that MLflow stores goes to another one, in two set-ups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from tests.support.make_access import CONFIG
from tests.support.make_all import TEAM, VARIABLES, empty, issues_of, logged_in, make_all, make_users, rows
from tests.support.make_gateway import set_secrets
from tests.support.make_traces import TraceSource
from tests.support.moves import counts_of
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server
from tests.support.tables import AUTH, COPIED, SERVER, Fate

pytestmark = pytest.mark.slow

LOGIN = ("admin", "admin-s3cret-4711")
#: what the set-up without users has none of
_OF_WORKSPACES = {"workspaces"}


def copied(tables: Dict[str, Fate]) -> List[str]:
    return [name for name, fate in tables.items() if fate.fate == COPIED]


def check(run_script: Callable[..., Result], src: Server, dst: Server, home: Path, *more: Any, **env: str) -> None:
    """Copy everything, and compare it; repeat it, and nothing is written."""
    both = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri, *more)
    every = ("--export-deleted-runs", "--export-deleted-experiments", "--activate")
    work = ("copy-all", *both, *every, "--verify", "none", "--report-dir", home / "report")
    first = run_script(*work, env=env, check=None)
    assert "do not reconcile" not in first.stdout, first
    assert not any(of_kind.get("failed") for of_kind in counts_of(first).values()), first
    set_secrets(Rest(logged_in(dst, LOGIN).uri if env else dst.uri))
    run_script(*work, env=env, check=None)  # what waited for the secrets
    verify = ("verify-migration", *both, *every[:2], "--depth", "full", "--report-dir", home / "report")
    verified = run_script(*verify, env=env, check=None)
    document = json.loads((home / "report" / "verification.json").read_text())
    assert issues_of(document) == [], verified
    assert set(document["counts"]) >= {"run", "trace", "evaluation_dataset", "scorer", "issue", "webhook", "mcp_server"}
    again = counts_of(run_script(*work, env=env, check=None))
    assert {status for of_kind in again.values() for status in of_kind} <= {"unchanged", "skipped", "incomplete"}, again
    assert empty(rows(dst.root / "mlflow.db", copied(SERVER))) == empty(rows(src.root / "mlflow.db", copied(SERVER)))


def test_without_users(server: Callable[..., Server], run_script: Callable[..., Result], tmp_path: Path) -> None:
    src, dst = server(**VARIABLES), server(**VARIABLES)
    make_all(src)
    assert set(empty(rows(src.root / "mlflow.db", copied(SERVER)))) <= _OF_WORKSPACES
    check(run_script, src, dst, tmp_path)


def test_with_users_and_workspaces(
    server: Callable[..., Server], run_script: Callable[..., Result], tmp_path: Path
) -> None:
    config = tmp_path / "auth.ini"
    config.write_text(CONFIG.format(*LOGIN))
    auth = {"MLFLOW_AUTH_CONFIG_PATH": config, "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}
    args = ["--app-name", "basic-auth", "--enable-workspaces"]
    src, dst = (server(args=args, **VARIABLES, **auth) for _ in range(2))
    filled = logged_in(src, LOGIN)
    make_all(filled)
    make_users(Rest(filled.uri))
    team = Rest(f"{filled.uri}#{TEAM}")
    experiment_id = team.post("experiments/create", {"name": "of the team"})["experiment_id"]
    TraceSource(team, experiment_id).plain()
    assert empty(rows(src.root / "mlflow.db", copied(SERVER))) == []
    assert empty(rows(src.root / "basic_auth.db", copied(AUTH))) == []
    env = {
        f"MLFLOW_MIGRATION_{side}_TRACKING_{what}": value
        for side in ("SRC", "DST")
        for what, value in zip(("USERNAME", "PASSWORD"), LOGIN)
    }
    check(run_script, src, dst, tmp_path, "--workspaces", "all", **env)
    assert empty(rows(dst.root / "basic_auth.db", copied(AUTH))) == []
