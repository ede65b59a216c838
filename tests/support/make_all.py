"""Fills a server with at least one of each kind of object that MLflow stores."""

from __future__ import annotations

import copy
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Dict, Iterable, List
from urllib.parse import urlsplit

from tests.support.make_access import Login, create_role, create_user, grant
from tests.support.make_datasets import Datasets, records_of_all_kinds
from tests.support.make_gateway import GROUPS
from tests.support.make_kinds import EXPERIMENT, KINDS, TRACES, make_active_scorer, make_endpoint, make_trace
from tests.support.make_server import PROMPT, make_oddities
from tests.support.make_traces import TraceSource
from tests.support.rest import Json, Rest
from tests.support.servers import Server

#: what servers must be told to take all of it
VARIABLES = {
    "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "true",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
}
TEAM = "team-a"


def logged_in(server: Server, login: Login) -> Server:
    """The same server, whose URI has an administrator's name and password in it."""
    same = copy.copy(server)
    same.uri = f"http://{login[0]}:{login[1]}@{urlsplit(server.uri).netloc}"
    return same


def make_all(server: Server) -> None:
    """Make everything that one workspace can hold."""
    make_oddities(server)
    rest = Rest(server.uri)
    experiment_id = rest.post("experiments/create", {"name": EXPERIMENT})["experiment_id"]
    for trace_id in TRACES:
        make_trace(rest, experiment_id, trace_id)
    body = {"experiment_id": experiment_id, "run_name": "finder", "start_time": 1}
    run_id = rest.post("runs/create", body)["run"]["info"]["run_id"]
    model = rest.post("logged-models", {"experiment_id": experiment_id, "name": "agent", "source_run_id": run_id})
    model_id = model["model"]["info"]["model_id"]
    TraceSource(rest, experiment_id).everything([run_id], [(PROMPT, "1")], model_id)
    for kind in KINDS:
        kind.make(rest, experiment_id)
    make_endpoint(rest)
    make_active_scorer(rest, experiment_id)
    for group in GROUPS:
        group.make(rest, experiment_id)
    datasets = Datasets(server.uri)
    dataset_id = datasets.create("questions", [experiment_id], team="quality")
    datasets.add(dataset_id, *records_of_all_kinds(run_id))


def make_users(rest: Rest) -> None:
    """Make users with roles and permissions, and a workspace beside the default one with an experiment."""
    for name, is_admin in (("ann", False), ("bob", True)):
        create_user(rest, name, is_admin)
    experiment_id = rest.experiment(EXPERIMENT)["experiment_id"]
    grant(rest, "ann", "experiment", experiment_id, "EDIT")
    create_role(rest, "default", "readers", ["ann"], ("experiment", experiment_id, "READ"))
    rest.post("/api/3.0/mlflow/workspaces", {"name": TEAM, "description": "Another team"})


def rows(database: Path, tables: Iterable[str]) -> Dict[str, int]:
    """Number of rows of tables."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}


def empty(counts: Dict[str, int]) -> List[str]:
    """Names of what has none."""
    return sorted(name for name, count in counts.items() if not count)


def issues_of(document: Json) -> List[str]:
    """What a verification has found to be not the same."""
    return [f"{line['kind']} {line.get('src_id')}: {line['result']} {line.get('differences')}"
            for line in document["not_the_same"]]  # fmt: skip
