"""What single endpoints need beside the client's retries."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List

import pytest

from mlflow_migration.client import rest_client, tracking
from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import Refused, Unavailable
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.tracking import Tracking
from tests.support.stub import Reply, Stub, error

Json = Dict[str, Any]

RACES = (
    "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name, datasets.digest",
    '(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "dataset_pk"',
    "(pymysql.err.IntegrityError) (1062, \"Duplicate entry '1-train-abc' for key 'datasets.PRIMARY'\")",
)


def _log_inputs(replies: List[Reply]) -> int:
    """Send it to a server that gives these replies; how many it took."""
    left: Iterator[Reply] = iter(replies)
    with Stub(lambda request: next(left)) as stub:
        client = RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1, direct=True)
        try:
            Tracking(client).log_inputs("r", [{"dataset": {"name": "train", "digest": "abc"}}], [])
        finally:
            taken = len(stub.requests)
    return taken


@pytest.mark.parametrize("message", RACES)
def test_two_runs_that_bring_the_same_dataset(message: str) -> None:
    """The server refuses the one that comes second by a moment: once more, the dataset is there."""
    assert _log_inputs([error(400, "BAD_REQUEST", message), error(400, "BAD_REQUEST", message), Reply({})]) == 3


POINTS = [{"value": n / 3, "timestamp": n, "step": n} for n in range(25)]


def _history(monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> List[List[Json]]:
    """What is read of a server that gives these replies, ten points at a time."""
    monkeypatch.setattr(tracking, "_CHUNK", 10)
    monkeypatch.setattr(rest_client, "_BLOCK", 16)
    left: Iterator[Reply] = iter(replies)
    with Stub(lambda request: next(left)) as stub:
        client = RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1, direct=True)
        chunks = list(Tracking(client).history("r", "loss"))
        assert next(left, None) is None
    return chunks


def _cut(points: List[Json], at: int) -> Reply:
    """A reply of which the end gets lost."""
    body = json.dumps({"metrics": points}).encode()
    size = len(json.dumps({"metrics": points[:at]}))
    return Reply(body[:size], missing=len(body) - size)


def test_a_history_that_breaks_off_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """No point is handed on twice, and none is left out."""
    whole = Reply({"metrics": POINTS})
    for replies in ((whole,), (_cut(POINTS, 3), whole), (_cut(POINTS, 22), _cut(POINTS, 13), whole)):
        assert _history(monkeypatch, *replies) == [POINTS[:10], POINTS[10:20], POINTS[20:]]


def test_a_history_that_changes_while_it_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which points are new can't be told, so the run is not taken half."""
    with pytest.raises(Unavailable, match="loss: its history changed"):
        _history(monkeypatch, _cut(POINTS, 12), Reply({"metrics": POINTS[1:]}))


def test_a_dataset_that_is_refused_for_good() -> None:
    """What is refused for another reason is not sent again; nor for ever what always meets another."""
    with pytest.raises(Refused, match="too long"):
        _log_inputs([error(400, "INVALID_PARAMETER_VALUE", "name is too long")])
    with pytest.raises(Refused, match="UNIQUE"):
        _log_inputs([error(400, "BAD_REQUEST", RACES[0])] * 5)
