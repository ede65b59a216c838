"""Workspaces for the Databricks tests: stand-ins, each in front of a real MLflow server."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, Tuple

import pytest

from tests.databricks.standin.server import StandIn, User, write_config

USERS = {
    "token-admin-one": User("admin@example.com", (), True),
    "token-mary-one": User("mary@example.com", ("scientists",)),
    "token-sam-one": User("sam@example.com", ("engineers",)),
}
SECOND_USERS = {
    "token-admin-two": User("admin@example.com", (), True),
    "token-mary-two": User("mary.smith@example.com", ("scientists",)),
}


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[StandIn, StandIn]]:
    """Two workspaces that a module has for itself: (source, destination)."""
    home = tmp_path_factory.mktemp("databricks")
    both = StandIn(home / "one", USERS), StandIn(home / "two", SECOND_USERS)
    for standin in both:
        standin.start(wait=False)
    yield both[0].wait(), both[1].wait()
    for standin in both:
        standin.stop()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A workspace that a module has for itself, with the users of `USERS`."""
    with StandIn(tmp_path_factory.mktemp("databricks"), USERS) as standin:
        yield standin


@pytest.fixture(scope="module")
def second_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Another one, with the users of `SECOND_USERS`."""
    with StandIn(tmp_path_factory.mktemp("databricks-second"), SECOND_USERS) as standin:
        yield standin


@pytest.fixture
def config_env(workspace: StandIn, second_workspace: StandIn, tmp_path: Path) -> Dict[str, str]:
    """Variables of a script that reaches both admins as databricks://ONE and databricks://TWO."""
    profiles = {"ONE": (workspace, "token-admin-one"), "TWO": (second_workspace, "token-admin-two")}
    return {"DATABRICKS_CONFIG_FILE": str(write_config(tmp_path / "databrickscfg", profiles))}
