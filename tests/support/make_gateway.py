"""Makes webhooks, definitions of the gateway and MCP servers, and reads them back to be compared.

It talks to the server's REST API by itself and shares no code with the package.
"""

from __future__ import annotations

import json
from typing import Callable, Dict, List, Mapping, NamedTuple

from tests.support.make_kinds import V3, scorer_text
from tests.support.rest import Json, Rest


class Group(NamedTuple):
    """What one pair of scripts moves.

    :param name: Of the scripts: ``export-<name>``.
    :param numbers: How many ``make`` makes, by the kind's name in the ledger.
    :param make: Makes some; gets the server and the id of an experiment with the scorer ``tone``.
    :param read: Returns what the server has, without what no copy can have; experiments by their names.
    :param change: Changes something of each kind that can be changed.
    """

    name: str
    numbers: Mapping[str, int]
    make: Callable[[Rest, str], None]
    read: Callable[[Rest, Dict[str, str]], List[Json]]
    change: Callable[[Rest], None]


def make_webhooks(rest: Rest, experiment_id: str) -> None:
    """Make two webhooks of one name, and one that is switched off."""
    events = [{"entity": "MODEL_VERSION", "action": "CREATED"}, {"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    for name, url, more in (
        ("to-chat", "http://127.0.0.1:9/chat", {"description": "All new versions", "secret": "signs-with-this"}),
        ("to-chat", "http://127.0.0.1:9/other?a=b", {"events": [{"entity": "BUDGET_POLICY", "action": "EXCEEDED"}]}),
        ("off", "http://127.0.0.1:9/off", {"status": "DISABLED"}),
    ):
        rest.post("webhooks", {"name": name, "url": url, "events": events, **more})


def webhooks(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return all webhooks."""
    kept = ("name", "url", "description", "events", "status")
    found = [{key: one.get(key) for key in kept} for one in rest.get("webhooks").get("webhooks") or []]
    for one in found:
        one["events"].sort(key=lambda event: event["entity"])
    return sorted(found, key=lambda one: one["url"])


def change_webhooks(rest: Rest) -> None:
    """Change all that a webhook has."""
    fields: Json = {"name": "renamed", "url": "http://127.0.0.1:9/new", "description": "", "status": "DISABLED"}
    events = [{"entity": "PROMPT", "action": "CREATED"}]
    for one in rest.get("webhooks")["webhooks"]:
        if one["name"] != "off":
            rest.patch(f"webhooks/{one['webhook_id']}", {"events": events, **(fields if "?" not in one["url"] else {})})


SECRETS = {"provider-key": "sk-first-1234567890", "other-key": "sk-second-1234567890"}


def make_gateway(rest: Rest, experiment_id: str) -> None:
    """Make secrets, models, endpoints, bindings and guardrails of scorers, and budgets."""
    gateway = f"{V3}/gateway"
    models = {}
    for name, value in SECRETS.items():
        body = {"secret_name": name, "provider": "openai", "secret_value": {"api_key": value}}
        secret = rest.post(f"{gateway}/secrets/create", {**body, "auth_config": {"auth_mode": "key"}})["secret"]
        body = {"secret_id": secret["secret_id"], "provider": "openai", "model_name": f"gpt-{len(models)}"}
        made = rest.post(f"{gateway}/model-definitions/create", {"name": f"model-{name}", **body})
        models[name] = made["model_definition"]["model_definition_id"]
    first, second = models.values()
    configs = [
        {"model_definition_id": first, "linkage_type": "PRIMARY", "weight": 0.25},
        {"model_definition_id": second, "linkage_type": "PRIMARY", "weight": 0.75},
        {"model_definition_id": second, "linkage_type": "FALLBACK", "weight": 1.0, "fallback_order": 1},
    ]
    split = {"routing_strategy": "REQUEST_BASED_TRAFFIC_SPLIT", "experiment_id": experiment_id}
    fall = {"fallback_config": {"strategy": "SEQUENTIAL", "max_attempts": 2}}
    made = rest.post(f"{gateway}/endpoints/create", {"name": "chat", "model_configs": configs, **split, **fall})
    chat = made["endpoint"]["endpoint_id"]
    plain = {"name": "plain", "model_configs": configs[:1], "usage_tracking": False}
    made = rest.post(f"{gateway}/endpoints/create", plain)
    for key, value in (("team", "search"), ("empty", "")):
        rest.post(f"{gateway}/endpoints/set-tag", {"endpoint_id": chat, "key": key, "value": value})
    # a scorer that names an endpoint is bound to it by the server
    text = scorer_text("guard", "Is {{ outputs }} polite?").replace("openai:/gpt-4o-mini", "gateway:/plain")
    rest.post(f"{V3}/scorers/register", {"experiment_id": experiment_id, "name": "guard", "serialized_scorer": text})
    scorer = rest.get(f"{V3}/scorers/versions", {"experiment_id": experiment_id, "name": "tone"})["scorers"][0]
    scorer_id = scorer["scorer_id"]
    bound = {"endpoint_id": chat, "resource_type": "scorer", "resource_id": scorer_id}
    rest.post(f"{gateway}/endpoints/bindings/create", bound)
    body = {"scorer_id": scorer_id, "scorer_version": 3, "stage": "AFTER", "action": "SANITIZATION"}
    plain_id = made["endpoint"]["endpoint_id"]
    for order in (2, None):
        made = rest.post(
            f"{gateway}/guardrails/create",
            {"name": "polite", **body, **({"action_endpoint_id": plain_id} if order else {})},
        )
        put = {"endpoint_id": chat, "guardrail_id": made["guardrail"]["guardrail_id"]}
        rest.post(f"{gateway}/guardrails/add-to-endpoint", {**put, **({"execution_order": order} if order else {})})
    body = {"budget_unit": "USD", "duration": {"unit": "DAYS", "value": 7}, "budget_action": "REJECT"}
    targets = ({"target_scope": "GLOBAL"}, {"target_scope": "ENDPOINT", "target_value": chat})
    for amount, target in zip((12.5, 100), targets):
        rest.post(f"{gateway}/budgets/create", {**body, **target, "budget_amount": amount})


def gateway(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return all definitions of the gateway."""
    path = f"{V3}/gateway"
    endpoints = rest.get(f"{path}/endpoints/list").get("endpoints") or []
    called = {one["endpoint_id"]: one["name"] for one in endpoints}
    scorers = {one["scorer_id"]: one["scorer_name"] for one in rest.get(f"{V3}/scorers/list").get("scorers") or []}
    found: List[Json] = [
        {key: one.get(key) for key in ("secret_name", "provider", "auth_config")}
        for one in rest.get(f"{path}/secrets/list").get("secrets") or []
    ]
    for one in rest.get(f"{path}/model-definitions/list").get("model_definitions") or []:
        found.append({key: one.get(key) for key in ("name", "secret_name", "provider", "model_name")})
    for one in endpoints:
        mappings = [
            [mapping["model_definition"]["name"], *map(mapping.get, ("linkage_type", "weight", "fallback_order"))]
            for mapping in one["model_mappings"]
        ]
        experiment = names.get(one.get("experiment_id") or "")
        tags = sorted((tag["key"], tag.get("value")) for tag in one.get("tags") or [])
        kept = {key: one.get(key) for key in ("name", "routing_strategy", "fallback_config", "usage_tracking")}
        found.append({**kept, "models": sorted(mappings, key=str), "experiment": experiment, "tags": tags})
        params = {"endpoint_id": one["endpoint_id"]}
        for config in rest.get(f"{path}/guardrails/list-for-endpoint", params).get("configs") or []:
            guardrail = {key: config["guardrail"].get(key) for key in ("name", "stage", "action")}
            scorer = config["guardrail"]["scorer"]
            acts = config["guardrail"].get("action_endpoint_id")  # it is the name
            place = {"on": one["name"], "order": config.get("execution_order"), "acts": acts}
            found.append({**guardrail, **place, "scorer": [scorer["scorer_name"], scorer["scorer_version"]]})
    for one in rest.get(f"{path}/endpoints/bindings/list").get("bindings") or []:
        found.append({"bound": called[one["endpoint_id"]], "name": scorers[one["resource_id"]]})
    for one in rest.get(f"{path}/budgets/list").get("budget_policies") or []:
        kept = {key: one[key] for key in ("budget_unit", "budget_amount", "duration", "target_scope", "budget_action")}
        found.append({**kept, "about": called.get(one.get("target_value") or "")})
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))


def set_secrets(rest: Rest) -> None:
    """Give the secrets their values."""
    for secret in rest.get(f"{V3}/gateway/secrets/list")["secrets"]:
        value = SECRETS.get(secret["secret_name"], "set by hand")
        body = {"secret_id": secret["secret_id"], "secret_value": {"api_key": value}}
        rest.post(f"{V3}/gateway/secrets/update", body)


def change_gateway(rest: Rest) -> None:
    """Change what can be changed of each kind of definition."""
    path = f"{V3}/gateway"
    for secret in rest.get(f"{path}/secrets/list")["secrets"]:
        body = {"secret_id": secret["secret_id"], "auth_config": {"auth_mode": "other", "region": "here"}}
        rest.post(f"{path}/secrets/update", body)
    ids = {}
    for one in rest.get(f"{path}/model-definitions/list")["model_definitions"]:
        ids[one["name"]] = one["model_definition_id"]
        body = {"model_definition_id": one["model_definition_id"], "model_name": f"{one['model_name']}-mini"}
        rest.post(f"{path}/model-definitions/update", body)
    called = {one["name"]: one["endpoint_id"] for one in rest.get(f"{path}/endpoints/list")["endpoints"]}
    configs = [{"model_definition_id": of_id, "linkage_type": "PRIMARY", "weight": 0.5} for of_id in ids.values()]
    body = {"fallback_config": {"strategy": "SEQUENTIAL", "max_attempts": 7}, "model_configs": configs}
    rest.post(f"{path}/endpoints/update", {"endpoint_id": called["chat"], **body})
    rest.post(f"{path}/endpoints/set-tag", {"endpoint_id": called["chat"], "key": "team", "value": "ads"})
    rest.call("DELETE", f"{path}/endpoints/delete-tag", json={"endpoint_id": called["chat"], "key": "empty"})
    rest.post(f"{path}/endpoints/update", {"endpoint_id": called["plain"], "name": "plainer"})
    for number, one in enumerate(rest.get(f"{path}/guardrails/list")["guardrails"]):
        body = {"guardrail_id": one["guardrail_id"], "endpoint_id": called["chat"]}
        if number:
            rest.patch(f"{path}/guardrails/update-config", {**body, "execution_order": 9})
        else:
            rest.call("DELETE", f"{path}/guardrails/remove-from-endpoint", json=body)
            rest.post(f"{path}/guardrails/add-to-endpoint", {**body, "endpoint_id": called["plain"]})
    for one in rest.get(f"{path}/budgets/list")["budget_policies"]:
        body = {"budget_policy_id": one["budget_policy_id"], "budget_amount": 77.25, "budget_action": "ALERT"}
        rest.post(f"{path}/budgets/update", body)


def make_mcp_servers(rest: Rest, experiment_id: str) -> None:
    """Make a server with everything, and one with nothing."""
    path = f"{V3}/mcp-servers"
    rest.post(path, {"name": "org.example/empty", "description": "Nothing yet"})
    name = "com.example/weather"
    rest.post(path, {"name": name})
    own = f"{path}/{name}"
    rest.patch(own, {"display_name": "Weather"})
    tool = {"name": "forecast", "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    for version, status in (("1.0.0", "active"), ("1.1.0-rc.1", "draft"), ("0.9.0+old", "active")):
        text = {"name": name, "version": version, "description": f"Weather {version}", "_meta": {"x": [1, None]}}
        body = {"server_json": text, "status": status, "source": "https://example.com/repo"}
        hidden = {"tools": [tool], "connect_options": {"remote": {"hidden": True}}} if status == "draft" else {}
        rest.post(f"{own}/versions", {**body, **hidden})
    rest.patch(f"{own}/versions/0.9.0%2Bold", {"status": "deprecated"})
    rest.post(f"{own}/tags", {"key": "team/a", "value": "search"})
    rest.post(f"{own}/versions/1.0.0/tags", {"key": "checked", "value": "yes"})
    rest.post(f"{own}/aliases", {"alias": "production", "version": "1.0.0"})
    for target in ({"server_alias": "production"}, {"server_version": "1.1.0-rc.1", "transport_type": "sse"}):
        rest.post(f"{own}/endpoints", {"url": "https://weather.example.com/mcp", **target})


def change_mcp_servers(rest: Rest) -> None:
    """Change all that can be changed of an MCP server and its versions, and add a version."""
    name = "com.example/weather"
    own = f"{V3}/mcp-servers/{name}"
    rest.patch(f"{V3}/mcp-servers/org.example/empty", {"display_name": "Now with a name", "description": ""})
    rest.patch(own, {"display_name": None, "description": "Of the server itself"})
    rest.patch(f"{own}/versions/1.1.0-rc.1", {"tools": [{"name": "now"}], "connect_options": {}})
    rest.patch(f"{own}/versions/1.0.0", {"status": "draft"})
    rest.patch(f"{own}/versions/0.9.0%2Bold", {"status": "active"})
    rest.post(f"{own}/versions", {"server_json": {"name": name, "version": "2.0.0"}, "status": "active"})
    rest.call("DELETE", f"{own}/tags/team%2Fa")
    rest.post(f"{own}/versions/1.0.0/tags", {"key": "checked", "value": "no"})
    for endpoint in rest.get(own)["access_endpoints"]:
        if endpoint["server_version"]:
            rest.call("DELETE", f"{own}/endpoints/{endpoint['id']}")
    rest.post(f"{own}/endpoints", {"url": "https://weather.example.com/new", "server_alias": "latest"})
    rest.post(f"{own}/aliases", {"alias": "production", "version": "2.0.0"})


def mcp_servers(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return all MCP servers."""
    found: List[Json] = []
    no_copy = ("created_by", "last_updated_by", "creation_timestamp", "last_updated_timestamp", "id")
    for server in rest.get(f"{V3}/mcp-servers")["mcp_servers"]:
        versions = rest.get(f"{V3}/mcp-servers/{server['name']}/versions")["mcp_server_versions"]
        for one in (server, *versions):
            found.append({key: value for key, value in one.items() if key not in (*no_copy, "access_endpoints")})
        for endpoint in server["access_endpoints"]:
            kept = {key: value for key, value in endpoint.items() if key not in (*no_copy, "resolved_version")}
            found.append({**kept, "version": endpoint["resolved_version"]["version"]})
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))


GROUPS: List[Group] = [
    Group("webhooks", {"webhook": 3}, make_webhooks, webhooks, change_webhooks),
    Group(
        "gateway",
        {
            "gateway_secret": 2, "gateway_model_definition": 2, "gateway_endpoint": 2, "gateway_guardrail": 2,
            "gateway_binding": 2, "gateway_budget": 2,
        },
        make_gateway,
        gateway,
        change_gateway,
    ),
    Group("mcp-servers", {"mcp_server": 2}, make_mcp_servers, mcp_servers, change_mcp_servers),
]  # fmt: skip
