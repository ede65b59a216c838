"""What is read of webhooks, the gateway and MCP servers, and what is not."""

from __future__ import annotations

import json

import pytest

from mlflow_migration.client import gateway, mcp_servers, webhooks
from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import NotFound, Refused
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.tracking import Tracking
from tests.support.stub import Reply, Stub, error, missing_route

READS = (
    webhooks.read_webhooks,
    mcp_servers.read_mcp_servers,
    gateway.read_secrets,
    gateway.read_model_definitions,
    gateway.read_endpoints,
    gateway.read_guardrails,
    gateway.read_bindings,
    gateway.read_budgets,
)
GATEWAY = READS[2:]


def name_of(read):
    return read.__name__


def found(read, routes):
    """What is read of a server that answers these routes, by the end of the path; and the paths it was asked."""

    def answer(request):
        for end, reply in routes.items():
            if request.path.endswith(end):
                return reply if isinstance(reply, Reply) else Reply(reply)
        return missing_route()

    with Stub(answer) as stub:
        tracking = Tracking(RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1))
        return list(read(tracking)), [request.path for request in stub.requests]


@pytest.mark.parametrize("read", READS, ids=name_of)
def test_a_file_store_is_not_asked(read):
    with pytest.raises(NotFound) as caught:
        found(read, {"server-info": {"store_type": "FileStore"}, "": Reply(b"broken", 500)})
    assert caught.value.error_code == ""


@pytest.mark.parametrize("read", READS, ids=name_of)
def test_an_old_server_has_no_such_route(read):
    with pytest.raises(NotFound) as caught:
        found(read, {})
    assert caught.value.error_code == ""


@pytest.mark.parametrize("read", GATEWAY, ids=name_of)
def test_a_gateway_that_is_switched_off_has_none(read):
    with pytest.raises(NotFound) as caught:
        found(read, {"/list": error(501, "NOT_IMPLEMENTED", "The gateway is disabled")})
    assert caught.value.error_code == ""


def test_another_error_of_the_gateway_is_one():
    with pytest.raises(Refused) as caught:
        found(gateway.read_secrets, {"/list": error(400, "INVALID_PARAMETER_VALUE", "no")})
    assert caught.value.http_status_code == 400


def test_nothing_of_a_value_is_read():
    secret = {
        "secret_id": "s-1",
        "secret_name": "key",
        "provider": "openai",
        "masked_values": {"api_key": "sk-...cdef", "other": "***"},
        "auth_config": {"api_base": "https://me:hunter2@example.com/v1", "auth_mode": "key"},
    }
    docs, _ = found(gateway.read_secrets, {"/list": {"secrets": [secret]}})
    assert docs == [
        {
            "secret_id": "s-1",
            "name": "key",
            "provider": "openai",
            "auth_config": {"api_base": "https://example.com/v1", "auth_mode": "key"},
            "fields": ["api_key", "other"],
        }
    ]
    assert not any(word in json.dumps(docs) for word in ("sk-", "cdef", "hunter2"))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://me:pass@example.com:8443/a?b=c", ("https://example.com:8443/a?b=c", True)),
        ("https://token@example.com/", ("https://example.com/", True)),
        ("https://example.com/me@home", ("https://example.com/me@home", False)),
        ("https://[::1]:5/x", ("https://[::1]:5/x", False)),
        ("https://[broken", ("https://[broken", False)),
    ],
)
def test_user_and_password_of_an_address(url, kept):
    assert webhooks.without_user_info(url) == kept


def test_webhooks_come_in_pages():
    def answer(request):
        if "server-info" in request.path:
            return missing_route()
        token = request.query.get("page_token")
        webhook = {"webhook_id": "2" if token else "1", "name": "w", "url": "https://u:p@example.com/x", "events": []}
        return Reply({"webhooks": [webhook], **({} if token else {"next_page_token": "t"})})

    with Stub(answer) as stub:
        tracking = Tracking(RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1))
        docs = list(webhooks.read_webhooks(tracking))
    assert [doc["webhook_id"] for doc in docs] == ["1", "2"]
    assert {(doc["url"], doc["has_password"], doc["status"]) for doc in docs} == {
        ("https://example.com/x", True, "ACTIVE")
    }


ICON, OF_VERSION = {"src": "https://example.com/i.png"}, {"src": "https://example.com/v.png"}


@pytest.mark.parametrize(
    ("shown", "own"),
    [
        ({"description": "of the version", "icons": [{**OF_VERSION, "source": "version"}]}, (None, None)),
        ({"description": "its own", "icons": [{**ICON, "source": "server"}]}, ("its own", [ICON])),
        ({"description": "", "icons": []}, ("", [])),
        ({"description": None, "icons": None}, (None, None)),
    ],
)
def test_what_an_mcp_server_shows_of_its_latest_version_is_not_its_own(shown, own):
    text = {"name": "a.b/c", "version": "1.0.0", "description": "of the version"}
    server = {"name": "a.b/c", "latest_version": "1.0.0", "access_endpoints": [], "aliases": [], "tags": {}, **shown}
    version = {"version": "1.0.0", "server_json": text, "tools": [{"name": "t", "title": None}]}
    routes = {"c/versions": {"mcp_server_versions": [version]}, "/mcp-servers": {"mcp_servers": [server]}}
    (doc,), paths = found(mcp_servers.read_mcp_servers, routes)
    assert (doc["description"], doc["icons"]) == own
    assert doc["versions"][0]["tools"] == [{"name": "t"}]
    assert paths[-1] == "/api/3.0/mlflow/mcp-servers/a.b/c/versions"


@pytest.mark.parametrize(
    ("now", "then", "sent"),
    [
        ("draft", "deprecated", ["active", "deprecated"]),
        ("deprecated", "draft", ["active", "draft"]),
        ("active", "draft", ["draft"]),
    ],
)
def test_a_status_is_reached_through_those_between(now, then, sent):
    with Stub(lambda request: Reply({})) as stub:
        tracking = Tracking(RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1))
        mcp_servers.update_version(tracking, "a.b/c", "1.0.0+x", {"status": then}, now)
        assert [request.json["status"] for request in stub.requests] == sent
        assert stub.requests[0].raw == "/api/3.0/mlflow/mcp-servers/a.b/c/versions/1.0.0%2Bx"


def test_what_is_named_and_not_there_is_told():
    for call, word in (
        (lambda tracking: gateway.secret_id(tracking, "x"), "its secret 'x' is not at the destination"),
        (lambda tracking: gateway.endpoint_id(tracking, "x"), "its endpoint 'x' is not at the destination"),
    ):
        with pytest.raises(NotFound, match=word):
            found(lambda tracking, call=call: [call(tracking)], {"/list": {}})


def test_the_endpoint_of_a_guardrail_is_told_by_its_name():
    guardrail = {"guardrail_id": "g", "name": "polite", "scorer": {"experiment_id": 1, "scorer_name": "tone"}}
    routes = {
        "guardrails/list": {"guardrails": [{**guardrail, "action_endpoint_id": "plain"}]},
        "endpoints/list": {"endpoints": [{"endpoint_id": "e-1", "name": "plain"}, {"endpoint_id": "e-2", "name": "b"}]},
        "list-for-endpoint": {"configs": [{"guardrail_id": "g", "execution_order": 2}]},
    }
    (doc,), _ = found(gateway.read_guardrails, routes)
    assert (doc["action_endpoint"], doc["endpoints"]) == ("plain", {"plain": 2, "b": 2})
