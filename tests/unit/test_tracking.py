"""What single endpoints need beside the client's retries."""

from __future__ import annotations

from typing import Iterator, List

import pytest

from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import Refused
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.tracking import Tracking
from tests.support.stub import Reply, Stub, error

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


def test_a_dataset_that_is_refused_for_good() -> None:
    """What is refused for another reason is not sent again; nor for ever what always meets another."""
    with pytest.raises(Refused, match="too long"):
        _log_inputs([error(400, "INVALID_PARAMETER_VALUE", "name is too long")])
    with pytest.raises(Refused, match="UNIQUE"):
        _log_inputs([error(400, "BAD_REQUEST", RACES[0])] * 5)
