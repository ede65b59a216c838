"""The two workspaces of tests that can run anywhere: stand-ins, or real ones whose profiles two variables name."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

VARIABLES = ("MLFLOW_MIGRATION_TEST_DATABRICKS_SRC", "MLFLOW_MIGRATION_TEST_DATABRICKS_DST")
_CONFIG = "DATABRICKS_CONFIG_FILE"


@dataclass(frozen=True)
class Side:
    """A workspace.

    :param uri: ``databricks://PROFILE``.
    :param env: Variables by which a script finds the profile.
    :param home: Directory of the workspace that the tests keep to.
    :param call: Sends a request: method, route below the host, and the query of a GET or else the body by keyword.
    """

    uri: str
    env: Dict[str, str]
    home: str
    call: Callable[..., Any]


def real_profiles() -> List[str]:
    """The profiles of real workspaces, if they are named: of source and destination.

    :raises pytest.UsageError: Only one of the two is.
    """
    named = [os.environ.get(name, "").strip() for name in VARIABLES]
    if any(named) and not all(named):
        raise pytest.UsageError(f"set both {' and '.join(VARIABLES)}, or neither")
    return named if all(named) else []


def _real_call(profile: str) -> Callable[..., Any]:
    from databricks.sdk import WorkspaceClient

    api = WorkspaceClient(profile=profile).api_client

    def call(method: str, route: str, **arguments: Any) -> Any:
        return api.do(method, route, **({"query": arguments} if method == "GET" else {"body": arguments}))

    return call


def _side(profile: str, env: Dict[str, str], call: Callable[..., Any]) -> Side:
    """A directory of its own in the home of the user whose credentials these are."""
    user = call("GET", "/api/2.0/preview/scim/v2/Me")["userName"]
    home = f"/Users/{user}/mlflow-migration-tests-{uuid.uuid4().hex[:8]}"
    call("POST", "/api/2.0/workspace/mkdirs", path=home)
    return Side(f"databricks://{profile}", env, home, call)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[Side, Side]]:
    """Two workspaces: (source, destination). What tests make below their `home` is removed at the end."""
    profiles = real_profiles()
    if profiles:
        env = {_CONFIG: os.environ[_CONFIG]} if os.environ.get(_CONFIG) else {}
        both = [_side(profile, env, _real_call(profile)) for profile in profiles]
        try:
            yield both[0], both[1]
        finally:
            for side in both:
                _remove(side)
        return
    from tests.databricks.standin.server import StandIn, User, write_config

    home = tmp_path_factory.mktemp("sides")
    standins = [StandIn(home / name, {f"token-{name}": User(f"{name}@example.com", (), True)}) for name in ("a", "b")]
    try:
        for standin in standins:
            standin.start(wait=False)
        for standin in standins:
            standin.wait()
        config = write_config(home / "config", {"A": (standins[0], "token-a"), "B": (standins[1], "token-b")})
        env = {_CONFIG: str(config)}
        yield _side("A", env, standins[0].call), _side("B", env, standins[1].call)
    finally:
        for standin in standins:
            standin.stop()


def _remove(side: Side) -> None:
    """Remove the experiments of the tests, and their directory."""
    where = f"name LIKE '{side.home}/%'"
    found = side.call("POST", "/api/2.0/mlflow/experiments/search", filter=where, max_results=1000)
    for experiment in found.get("experiments") or []:
        side.call("POST", "/api/2.0/mlflow/experiments/delete", experiment_id=experiment["experiment_id"])
    side.call("POST", "/api/2.0/workspace/delete", path=side.home, recursive=True)


class Experiment:
    """An experiment in a workspace."""

    def __init__(self, side: Side, name: str) -> None:
        self.side, self.name = side, f"{side.home}/{name}"
        self.id = self._post("experiments/create", name=self.name)["experiment_id"]

    def run(self, name: str, **params: str) -> str:
        """A finished run with parameters and two points of a metric; its id."""
        made = self._post("runs/create", experiment_id=self.id, run_name=name, start_time=1_000)
        run_id = str(made["run"]["info"]["run_id"])
        metrics = [{"key": "m", "value": step / 2, "timestamp": 1_000 + step, "step": step} for step in (1, 2)]
        listed = [{"key": key, "value": value} for key, value in params.items()]
        self._post("runs/log-batch", run_id=run_id, metrics=metrics, params=listed)
        self._post("runs/update", run_id=run_id, status="FINISHED", end_time=2_000)
        return run_id

    def runs(self) -> List[Any]:
        """Its runs, as a search tells of them."""
        return list(self._post("runs/search", experiment_ids=[self.id]).get("runs") or [])

    def _post(self, route: str, **body: Any) -> Any:
        return self.side.call("POST", f"/api/2.0/mlflow/{route}", **body)


def experiment_file(directory: Path) -> Any:
    """What the export of an experiment says of it."""
    return json.loads((directory / "experiment.json").read_text(encoding="utf-8"))["mlflow"]
