"""Workspaces for the Databricks tests: stand-ins, each in front of a real MLflow server."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Tuple

import pytest

from tests.databricks.standin.server import StandIn, User, write_config

#: application id of a service principal, which logs in by OAuth
ROBOT = "11111111-2222-3333-4444-555555555555"
USERS = {
    "token-admin-one": User("admin@example.com", (), True),
    "token-mary-one": User("mary@example.com", ("scientists",)),
    "token-sam-one": User("sam@example.com", ("engineers",)),
    "token-robot-one": User(ROBOT, is_service_principal=True, client_secret="secret-robot-one"),
}
SECOND_USERS = {
    "token-admin-two": User("admin@example.com", (), True),
    "token-mary-two": User("mary.smith@example.com", ("scientists",)),
}


@contextmanager
def _pair(home: Path) -> Iterator[Tuple[StandIn, StandIn]]:
    both = StandIn(home / "one", USERS), StandIn(home / "two", SECOND_USERS)
    try:
        for standin in both:
            standin.start(wait=False)
        yield both[0].wait(), both[1].wait()
    finally:
        for standin in both:
            standin.stop()


@pytest.fixture(scope="session")
def shared_workspaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[StandIn, StandIn]]:
    """Two workspaces for all modules, as one takes long to start: names of what a module makes are its own."""
    with _pair(tmp_path_factory.mktemp("databricks")) as both:
        yield both


@pytest.fixture(scope="module")
def empty_workspaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[StandIn, StandIn]]:
    """Two workspaces that a module has for itself."""
    with _pair(tmp_path_factory.mktemp("databricks")) as both:
        yield both


@pytest.fixture(scope="module")
def workspace(shared_workspaces: Tuple[StandIn, StandIn]) -> StandIn:
    """A workspace with the users of `USERS`, which has forgotten what modules before have asked for."""
    shared_workspaces[0].forget_requests()
    return shared_workspaces[0]


@pytest.fixture(scope="module")
def second_workspace(shared_workspaces: Tuple[StandIn, StandIn]) -> StandIn:
    """Another one, with the users of `SECOND_USERS`."""
    shared_workspaces[1].forget_requests()
    return shared_workspaces[1]


@pytest.fixture
def config_env(workspace: StandIn, second_workspace: StandIn, tmp_path: Path) -> Dict[str, str]:
    """Variables of a script that reaches both admins as databricks://ONE and databricks://TWO."""
    profiles = {"ONE": (workspace, "token-admin-one"), "TWO": (second_workspace, "token-admin-two")}
    return {"DATABRICKS_CONFIG_FILE": str(write_config(tmp_path / "databrickscfg", profiles))}
