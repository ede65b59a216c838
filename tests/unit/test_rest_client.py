"""What the REST client sends, and when it sends it again, against a server that fails as a test says."""

import email.utils
import io
import json
import math
import threading
import time
from types import SimpleNamespace

import pytest

from mlflow_migration.client import rest_client
from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import (
    BadInput,
    Gone,
    NotFound,
    Refused,
    Stopped,
    Unauthorized,
    Unavailable,
    describe,
    redact,
)
from mlflow_migration.client.rest_client import RestClient, paged
from mlflow_migration.client.tracking import Tracking
from tests.support.stub import Reply, Stub, error, missing_route


@pytest.fixture(autouse=True)
def naps(monkeypatch):
    """Nobody sleeps; the seconds that would have been slept."""
    slept = []
    events = SimpleNamespace(Lock=threading.Lock, Event=lambda: SimpleNamespace(wait=slept.append))
    monkeypatch.setattr(rest_client, "threading", events)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    return slept


@pytest.fixture
def serve():
    """Starts a server that gives the replies one after another, the last one again and again."""
    started = []

    def start(*replies, headers=(), workers=4):
        left = list(replies)

        def answer(request):
            reply = left.pop(0) if len(left) > 1 else left[0]
            return reply(request) if callable(reply) else reply

        stub = Stub(answer).__enter__()
        started.append(stub)
        connection = Connection(stub.uri, dict(headers), None, True, None, stub.uri)
        return stub, RestClient(connection, workers, direct=True)

    yield start
    for stub in started:
        stub.__exit__()


OK = Reply({"ok": 1})


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_failures_are_tried_again(serve, naps, status):
    stub, client = serve(error(status), error(status), OK)
    assert client.get("/x") == {"ok": 1}
    assert len(stub.requests) == 3
    assert len(naps) == 2
    assert naps[1] > naps[0]


def test_a_broken_connection_is_tried_again(serve):
    stub, client = serve(None, None, OK)
    assert client.post("/x", {"a": 1}) == {"ok": 1}
    assert [request.json for request in stub.requests] == [{"a": 1}] * 3


def test_a_reply_that_breaks_off_is_asked_for_again(serve, naps):
    stub, client = serve(Reply({"ok": 1}, missing=5), OK)
    assert client.get("/x") == {"ok": 1}
    assert (len(stub.requests), len(naps)) == (2, 1)
    stub, client = serve(Reply({"ok": 1}, missing=5))
    assert client.post_once("/x", {}, lambda: "found", bool) == "found"
    assert len(stub.requests) == 1


@pytest.mark.parametrize(("status", "attempts"), [(503, 9), (500, 6)])
def test_retries_end(serve, status, attempts):
    stub, client = serve(error(status, "TEMPORARILY", "later"))
    with pytest.raises(Unavailable) as caught:
        client.get("/x")
    assert [request.path for request in stub.requests].count("/x") == attempts
    assert caught.value.http_status_code == status
    assert "later" in caught.value.message


def test_an_error_after_the_server_was_away_is_tried_again(serve):
    """A server that comes back may greet with an error: that is the first of its kind."""
    away = [error(503)] * 6
    stub, client = serve(*away, error(500), OK)
    assert client.get("/x") == {"ok": 1}
    stub, client = serve(*away, error(500), OK)
    assert client.post_once("/x", {}, lambda: None, lambda reply: reply["ok"]) == 1


@pytest.mark.parametrize(
    ("reply", "health", "gone"),
    [
        (None, None, "can't be reached: Remote end closed connection without response"),
        (None, OK, ""),
        (error(503), error(502), "does not answer any more: GET /x: 503"),
        (error(503), missing_route(), ""),
    ],
)
def test_a_server_is_gone_that_answers_nothing_else_either(serve, monkeypatch, reply, health, gone):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    stub, client = serve(lambda request: health if request.path == "/health" else reply)
    with pytest.raises(Unavailable) as caught:
        client.get("/x")
    assert [request.path for request in stub.requests] == ["/x", "/x", "/health"]
    assert isinstance(caught.value, Gone) == bool(gone)
    assert f"{client.url} {gone}" in caught.value.message if gone else "GET /x: " in caught.value.message


def test_other_failures_are_no_reason_to_ask_whether_the_server_is_there(serve, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    stub, client = serve(error(500))
    with pytest.raises(Unavailable) as caught:
        client.get("/x")
    assert (len(stub.requests), type(caught.value)) == (2, Unavailable)


def test_who_waits_for_the_next_attempt_is_woken_by_the_end(serve, monkeypatch):
    monkeypatch.setattr(rest_client, "threading", threading)
    stub, client = serve(Reply({}, 503, {"Retry-After": "60"}))
    threading.Timer(0.2, client.close).start()
    start = time.monotonic()
    for send in (lambda: client.get("/x"), lambda: client.post_once("/x", {}, lambda: None, bool)):
        with pytest.raises(Stopped):
            send()
    assert time.monotonic() - start < 10


def test_the_number_of_retries_is_that_of_mlflow(serve, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    stub, client = serve(error(503))
    with pytest.raises(Unavailable):
        client.get("/x")
    assert [request.path for request in stub.requests] == ["/x", "/x", "/x", "/health"]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (401, Unauthorized), (403, Unauthorized), (404, NotFound), (409, Refused)]
)
def test_refusals_are_not_tried_again(serve, naps, status, kind):
    stub, client = serve(error(status, "SOME_CODE", "because"))
    with pytest.raises(Refused) as caught:
        client.get("/x")
    assert type(caught.value) is kind
    assert caught.value.error_code == "SOME_CODE"
    assert "because" in caught.value.message
    assert (len(stub.requests), naps) == (1, [])


def test_what_a_store_can_not_do_is_not_tried_again(serve, naps):
    stub, client = serve(error(500, "FEATURE_DISABLED", "not with FileStore"))
    with pytest.raises(Refused) as caught:
        client.get("/x")
    assert (len(stub.requests), naps, caught.value.error_code) == (1, [], "FEATURE_DISABLED")


def test_retry_after_is_obeyed(serve, naps):
    soon = email.utils.formatdate(time.time() + 7, usegmt=True)
    waits = [Reply({}, 429, {"Retry-After": value}) for value in ("3", soon, "100000", "whenever")]
    _, client = serve(*waits, OK)
    client.get("/x")
    assert 3 <= naps[0] <= 3.3
    assert 5 <= naps[1] <= 7.3
    assert naps[2] <= 301
    assert naps[3] < 30


def test_a_write_whose_reply_got_lost_is_asked_for_before_it_is_repeated(serve):
    for lost in (None, error(500), error(504)):
        stub, client = serve(lost, OK)
        assert client.post_once("/create", {}, lambda: "found", lambda reply: "made") == "found"
        assert len(stub.requests) == 1
        stub, client = serve(lost, lost, OK)
        assert client.post_once("/create", {}, lambda: None, lambda reply: "made") == "made"
        assert len(stub.requests) == 3


def test_a_refused_write_is_not_asked_for_unless_an_attempt_may_have_worked(serve):
    def never():
        raise AssertionError("asked")

    _, client = serve(error(400, "INVALID", "no"))
    with pytest.raises(Refused):
        client.post_once("/create", {}, never, lambda reply: "made")
    # it exists already: the attempt before had made it, although it did not show at once
    answers = iter([None, "found"])
    _, client = serve(error(500), error(400, "RESOURCE_ALREADY_EXISTS"))
    assert client.post_once("/create", {}, lambda: next(answers), lambda reply: "made") == "found"
    _, client = serve(error(500), error(400, "INVALID"))
    with pytest.raises(Refused):
        client.post_once("/create", {}, lambda: None, lambda reply: "made")


def test_a_write_is_given_up_at_last(serve):
    stub, client = serve(None)
    with pytest.raises(Unavailable):
        client.post_once("/create", {}, lambda: None, lambda reply: "made")
    assert [request.path for request in stub.requests] == ["/create"] * 9 + ["/health"]


def test_bare_nan_is_never_sent(serve):
    stub, client = serve(OK)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError):
            client.post("/x", {"metrics": [{"value": value}]})
    client.post("/x", {"value": "NaN", "none": None})
    assert [request.json for request in stub.requests] == [{"value": "NaN", "none": None}]


def test_parameters_are_encoded(serve):
    stub, client = serve(OK)
    client.get("/x", [("run_id", "a b"), ("run_id", "c&d"), ("path", "\u00e9+%#")])
    assert stub.requests[0].query == {"run_id": ["a b", "c&d"], "path": ["\u00e9+%#"]}
    assert "+" not in stub.requests[0].raw


def test_what_is_no_json_is_said_in_a_sentence(serve):
    _, client = serve(Reply(b"<html>Welcome</html>"))
    with pytest.raises(Refused, match="is it the address of an MLflow tracking server"):
        client.get("/x")
    _, client = serve(Reply(b""))
    assert client.post("/x", {}) == {}


def test_a_redirect_goes_on_only_on_the_same_host(serve):
    secret = {"Authorization": "Basic c2VjcmV0"}
    other, _ = serve(OK)
    stub, client = serve(Reply({}, 302, {"Location": "/y?a=1"}), OK, headers=secret)
    assert client.get("/x") == {"ok": 1}
    assert stub.requests[1].path == "/y"
    _, client = serve(Reply({}, 302, {"Location": other.uri + "/login?token=hush"}), headers=secret)
    with pytest.raises(Unauthorized) as caught:
        client.get("/x")
    assert other.requests == []
    assert "hush" not in str(caught.value)
    stub, client = serve(Reply({}, 307, {"Location": "/y"}), headers=secret)
    with pytest.raises(Unauthorized):
        client.post("/x", {})
    assert len(stub.requests) == 1


def test_the_workspace_header_is_not_sent_to_workspaces(serve):
    stub, client = serve(OK, headers={"X-MLFLOW-WORKSPACE": "team"})
    client.get("/api/2.0/mlflow/runs/get")
    client.get("/api/3.0/mlflow/workspaces")
    assert ["X-MLFLOW-WORKSPACE" in request.headers for request in stub.requests] == [True, False]


def test_errors_hold_no_secrets(serve):
    _, client = serve(error(400, "X", "bad token=abcdef https://joe:pw@host/"))
    with pytest.raises(Refused) as caught:
        client.get("/x")
    assert "abcdef" not in describe(caught.value) + str(caught.value)
    assert "pw" not in describe(caught.value) + str(caught.value)


def test_a_stream_that_breaks_off_is_an_error(serve):
    _, client = serve(Reply(b"x" * 1000, missing=500))
    with pytest.raises(Unavailable, match="broke off after"), client.stream("/x") as blocks:
        list(blocks)
    _, client = serve(Reply(b"x" * 1000))
    with client.stream("/x") as blocks:
        assert b"".join(blocks) == b"x" * 1000


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_an_upload_that_is_repeated_starts_anew(serve, size):
    opened = []

    def open_body():
        opened.append(io.BytesIO(b"z" * size))
        return opened[-1]

    stub, client = serve(error(503), None, OK)
    client.upload("/file", open_body, size)
    assert [len(request.body) for request in stub.requests] == [size] * 3
    assert len(opened) == 3
    assert all(body.closed for body in opened)


def test_routes_that_a_server_lacks_are_asked_for_once(serve):
    for reply in (missing_route(), error(405), error(501)):
        stub, client = serve(reply)
        assert client.optional("new", lambda client=client: client.get("/new")) is None
        assert client.optional("new", lambda client=client: client.get("/new")) is None
        assert (len(stub.requests), client.lacks("new"), client.lacks("other")) == (1, True, False)


def test_an_object_that_is_not_there_is_no_missing_route(serve):
    for reply, kind in ((error(404, "RESOURCE_DOES_NOT_EXIST"), NotFound), (error(400, "INVALID"), Refused)):
        _, client = serve(reply)
        with pytest.raises(kind):
            client.optional("new", lambda client=client: client.get("/new"))
        assert not client.lacks("new")


def test_pages():
    replies = {None: {"runs": [1, 2], "next_page_token": "a"}, "a": {"next_page_token": "b"}, "b": {"runs": [3]}}
    assert list(paged(replies.__getitem__, "runs")) == [[1, 2], [3]]
    # a server that gives the same token for ever
    assert list(paged(lambda token: {"runs": [1], "next_page_token": "t"}, "runs")) == [[1], [1]]


def test_connections_are_kept_and_shared_by_threads(serve):
    stub, client = serve(OK, workers=4)
    threads = [threading.Thread(target=lambda: [client.get("/x") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.requests_sent == len(stub.requests) == 80
    assert len({request.port for request in stub.requests}) <= 4


def test_numbers_come_as_they_are(serve):
    _, client = serve(Reply(b'{"a": 0.1, "b": 9223372036854775807, "c": NaN}'))
    got = client.get("/x")
    assert (got["a"], got["b"], math.isnan(got["c"])) == (0.1, 2**63 - 1, True)
    assert json.dumps(got["a"]) == "0.1"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://user:s3cr@etPW@127.0.0.1:5977", "http://127.0.0.1:5977"),
        ("http://user:s3cr'etPW@h/x", "http://h/x"),
        ("http://user:s3cr/etPW@h", "http://h"),
        ("postgresql://u:pa/ss@host/db", "postgresql://host/db"),
        ("http://t0ken@h", "http://h"),
        ("overwrite_signature: True, token: Trueish", "overwrite_signature: True, token: ***"),
        ("at http://u:p@h: no reply from http://u:p@h", "at http://h: no reply from http://h"),
        ("http://h:5000/a@b, s3://bucket/a@b/c, me@x.y", "http://h:5000/a@b, s3://bucket/a@b/c, me@x.y"),
    ],
)
def test_passwords_in_addresses_are_not_shown(given, shown):
    assert redact(given) == shown


@pytest.mark.parametrize(
    "part", ["a", "a.b-", "http://", "http://a:", "a://:", "x@", "http://h/@", "token ", "password:"]
)
def test_a_long_text_takes_no_long_time(part):
    """Anybody may have written it: texts of errors quote values."""
    start = time.monotonic()
    redact(part * 20_000)
    assert time.monotonic() - start < 5  # it was minutes


def test_a_route_that_a_server_names_as_missing(serve):
    _, client = serve(error(404, "ENDPOINT_NOT_FOUND", "no such route"))
    assert client.optional("x", lambda: client.get("/x")) is None and client.lacks("x")


def test_histories_when_only_the_api_is_open(serve):
    """A web server in front may let only users of the pages into /ajax-api: then each history is asked for alone."""
    stub, client = serve(error(403, "PERMISSION_DENIED", "no"))
    assert Tracking(client).bulk_history(["r"], "m") is None
    assert [request.path for request in stub.requests] == ["/ajax-api/2.0/mlflow/metrics/get-history-bulk"]


@pytest.mark.parametrize("name", ["MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"])
def test_a_variable_that_is_no_number(name, monkeypatch):
    monkeypatch.setenv(name, "abc")
    with pytest.raises(BadInput, match=f"{name} must be a whole number, not 'abc'"):
        RestClient(Connection("http://h", {}, None, True, None, "http://h"))
