"""The client with which the tests compare servers."""

import pytest
import requests

from tests.support.rest import Rest
from tests.support.stub import Reply, Stub


def test_questions_are_asked_again_when_a_connection_breaks():
    replies = [None, None, Reply({"run": {"info": {}}})]
    with Stub(lambda _: replies.pop(0)) as stub:
        assert Rest(stub.uri).run("a") == {"info": {}}
    assert len(stub.requests) == 3


def test_writes_are_not_sent_again_when_a_connection_breaks():
    with Stub(lambda _: None) as stub, pytest.raises(requests.ConnectionError):
        Rest(stub.uri).post("runs/create", {})
    assert len(stub.requests) == 1
