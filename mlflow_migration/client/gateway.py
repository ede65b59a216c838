"""The definitions of the gateway of a server. Paths are those of MLflow's ``protos/service.proto``.

What an object refers to is named by its name, as names are unique here and ids are new at each server.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import NotFound, Refused
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API_3, Tracking
from mlflow_migration.client.webhooks import without_user_info

Json = Dict[str, Any]

_GATEWAY = f"{API_3}/gateway"
_PAGE = 1000
_SWITCHED_OFF = 501
_BINDING = ("endpoint_id", "resource_type", "resource_id")  # what names a binding, as it has no id
_NONE = "RESOURCE_DOES_NOT_EXIST"
SCORER = "scorer"
"""The only type of resource that is bound to endpoints so far."""


def _get(tracking: Tracking, path: str, params: Any = None) -> Json:
    """Ask a question.

    :raises NotFound: Without an error code: the server has no gateway, or it is switched off.
    """
    tracking.need_database()
    try:
        return tracking.rest.get(f"{_GATEWAY}/{path}", params)
    except Refused as ex:
        if ex.http_status_code == _SWITCHED_OFF:
            raise NotFound(ex.message, http_status_code=404) from ex
        raise


def _pages(tracking: Tracking, path: str, field: str) -> Iterator[Json]:
    def page(token: Optional[str]) -> Json:
        return _get(tracking, path, {"max_results": _PAGE, **({"page_token": token} if token else {})})

    for found in paged(page, field):
        yield from found


def _listed(tracking: Tracking, path: str, field: str) -> List[Json]:
    return list(_get(tracking, path).get(field) or ())


def _id(found: Iterator[Json], name: str, what: Tuple[str, str, str]) -> str:
    """Return the id of what has a name; `what` is the field of the name, that of the id, and a word for it."""
    there = next((one for one in found if one[what[0]] == name), None)
    if there is None:
        raise NotFound(f"its {what[2]} '{name}' is not at the destination", http_status_code=404, error_code=_NONE)
    return str(there[what[1]])


# -- secrets --------------------------------------------------------------------------------------------------------


def read_secrets(tracking: Tracking) -> Iterator[Json]:
    """Yield the secrets, without anything of their values.

    :return: ``secret_id``, ``name``, ``provider``, ``auth_config`` (how to log in; addresses without passwords) and
        ``fields``: the names of what has a value, such as ``api_key``; none if the secret has no value.
    :raises NotFound: Without an error code: the server has no gateway.
    """
    for secret in sorted(_listed(tracking, "secrets/list", "secrets"), key=lambda one: str(one["secret_name"])):
        config = secret.get("auth_config") or {}
        yield {
            "secret_id": secret["secret_id"],
            "name": secret["secret_name"],
            "provider": secret.get("provider") or "",
            "auth_config": {key: without_user_info(str(config[key]))[0] for key in sorted(config)},
            # even a masked value shows some characters of it
            "fields": sorted(secret.get("masked_values") or {}),
        }


def secret_id(tracking: Tracking, name: str) -> str:
    """Return the id of a secret.

    :raises NotFound: There is none of that name.
    """
    return _id(read_secrets(tracking), name, ("name", "secret_id", "secret"))


def create_secret(tracking: Tracking, secret: Json) -> str:
    """Create a secret that has no value yet, and return its id."""

    def find() -> Optional[str]:
        there = (one["secret_id"] for one in read_secrets(tracking) if one["name"] == secret["name"])
        return next(there, None)

    body = {"secret_name": secret["name"], "provider": secret["provider"], "auth_config": secret["auth_config"]}
    return tracking.rest.post_once(
        f"{_GATEWAY}/secrets/create", body, find, lambda reply: str(reply["secret"]["secret_id"])
    )


def update_secret(tracking: Tracking, of_id: str, auth_config: Mapping[str, str]) -> None:
    """Tell anew how a secret logs in."""
    tracking.rest.post(f"{_GATEWAY}/secrets/update", {"secret_id": of_id, "auth_config": dict(auth_config)})


# -- model definitions ----------------------------------------------------------------------------------------------


def read_model_definitions(tracking: Tracking) -> Iterator[Json]:
    """Yield the model definitions.

    :return: ``model_definition_id``, ``name``, ``secret`` (a name; empty if it was deleted), ``provider`` and
        ``model_name``.
    :raises NotFound: Without an error code: the server has no gateway.
    """
    found = _listed(tracking, "model-definitions/list", "model_definitions")
    for one in sorted(found, key=lambda definition: str(definition["name"])):
        yield {
            "model_definition_id": one["model_definition_id"],
            "name": one["name"],
            "secret": one.get("secret_name") or "",
            "provider": one.get("provider") or "",
            "model_name": one.get("model_name") or "",
        }


def create_model_definition(tracking: Tracking, definition: Json) -> str:
    """Create a model definition and return its id.

    :raises NotFound: There is no secret of its secret's name.
    """

    def find() -> Optional[str]:
        there = read_model_definitions(tracking)
        return next((one["model_definition_id"] for one in there if one["name"] == definition["name"]), None)

    body = {key: definition[key] for key in ("name", "provider", "model_name")}
    body["secret_id"] = secret_id(tracking, definition["secret"])
    return tracking.rest.post_once(
        f"{_GATEWAY}/model-definitions/create", body, find,
        lambda reply: str(reply["model_definition"]["model_definition_id"]),
    )  # fmt: skip


def update_model_definition(tracking: Tracking, of_id: str, fields: Json) -> None:
    """Give a model definition other values: of ``name``, ``secret``, ``provider`` and ``model_name``."""
    body = {key: value for key, value in fields.items() if key != "secret"}
    if "secret" in fields:
        body["secret_id"] = secret_id(tracking, fields["secret"])
    tracking.rest.post(f"{_GATEWAY}/model-definitions/update", {"model_definition_id": of_id, **body})


# -- endpoints ------------------------------------------------------------------------------------------------------


def read_endpoints(tracking: Tracking) -> Iterator[Json]:
    """Yield the endpoints.

    :return: ``endpoint_id``, ``name``, ``routing_strategy``, ``fallback_config``, ``experiment_id`` and
        ``usage_tracking`` as REST has them, ``tags``, and ``models``: each ``model`` (name of its definition),
        ``linkage_type``, ``weight`` and ``fallback_order``.
    :raises NotFound: Without an error code: the server has no gateway.
    """
    names = _names(tracking)[1]
    for one in sorted(_listed(tracking, "endpoints/list", "endpoints"), key=lambda endpoint: str(endpoint["name"])):
        yield {
            "endpoint_id": one["endpoint_id"],
            "name": one["name"],
            "routing_strategy": one.get("routing_strategy"),
            "fallback_config": one.get("fallback_config") or None,
            "experiment_id": one.get("experiment_id") or None,
            "usage_tracking": bool(one.get("usage_tracking", False)),
            "tags": {tag["key"]: tag.get("value", "") for tag in one.get("tags") or ()},
            "models": sorted(
                (_mapping(mapping, names) for mapping in one.get("model_mappings") or ()),
                key=lambda mapping: (mapping["linkage_type"], mapping["fallback_order"] or 0, mapping["model"]),
            ),
        }


def _names(tracking: Tracking) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the ids of model definitions by name, and the names by id."""
    ids = {one["name"]: str(one["model_definition_id"]) for one in read_model_definitions(tracking)}
    return ids, {of_id: name for name, of_id in ids.items()}


def _mapping(mapping: Json, names: Mapping[str, str]) -> Json:
    return {
        "model": names.get(mapping["model_definition_id"], ""),
        "linkage_type": mapping.get("linkage_type"),
        "weight": mapping.get("weight"),
        "fallback_order": mapping.get("fallback_order"),
    }


def create_endpoint(tracking: Tracking, endpoint: Json) -> str:
    """Create an endpoint, without its tags, and return its id.

    :raises NotFound: A model definition is not there.
    """

    def find() -> Optional[str]:
        there = read_endpoints(tracking)
        return next((one["endpoint_id"] for one in there if one["name"] == endpoint["name"]), None)

    body = {"name": endpoint["name"], **_body(tracking, endpoint)}
    return tracking.rest.post_once(
        f"{_GATEWAY}/endpoints/create", body, find, lambda reply: str(reply["endpoint"]["endpoint_id"])
    )


def _body(tracking: Tracking, endpoint: Json) -> Json:
    ids, _ = _names(tracking)
    configs = []
    for model in endpoint["models"]:
        if model["model"] not in ids:
            reason = f"its model definition '{model['model']}' is not at the destination"
            raise NotFound(reason, http_status_code=404, error_code=_NONE)
        config = {key: value for key, value in model.items() if key != "model" and value is not None}
        configs.append({**config, "model_definition_id": ids[model["model"]]})
    body = {key: endpoint[key] for key in ("routing_strategy", "fallback_config", "experiment_id", "usage_tracking")}
    return {"model_configs": configs, **{key: value for key, value in body.items() if value is not None}}


def update_endpoint(tracking: Tracking, of_id: str, endpoint: Json, with_models: bool) -> None:
    """Bring all of an endpoint but its tags up to date; as :func:`create_endpoint` else.

    :param with_models: Its models or its fallback change: a server takes both or none.
    """
    body = {"endpoint_id": of_id, "name": endpoint["name"], **_body(tracking, endpoint)}
    if not with_models:
        del body["model_configs"]
        body.pop("fallback_config", None)
    tracking.rest.post(f"{_GATEWAY}/endpoints/update", body)


def set_endpoint_tag(tracking: Tracking, of_id: str, key: str, value: Optional[str]) -> None:
    """Give an endpoint a tag, or take it away.

    :param value: None to take it away.
    """
    if value is None:
        tracking.rest.delete(f"{_GATEWAY}/endpoints/delete-tag", {"endpoint_id": of_id, "key": key})
    else:
        tracking.rest.post(f"{_GATEWAY}/endpoints/set-tag", {"endpoint_id": of_id, "key": key, "value": value})


def endpoint_id(tracking: Tracking, name: str) -> str:
    """Return the id of an endpoint.

    :raises NotFound: There is none of that name.
    """
    found = iter(_listed(tracking, "endpoints/list", "endpoints"))
    return _id(found, name, ("name", "endpoint_id", "endpoint"))


def _endpoint_names(tracking: Tracking) -> Dict[str, str]:
    return {one["endpoint_id"]: one["name"] for one in _listed(tracking, "endpoints/list", "endpoints")}


# -- guardrails -----------------------------------------------------------------------------------------------------


def read_guardrails(tracking: Tracking) -> Iterator[Json]:
    """Yield the guardrails.

    :return: ``guardrail_id``, ``name``, ``experiment_id``, ``scorer`` (a name), ``scorer_version``, ``stage``,
        ``action``, ``action_endpoint`` (a name, or empty) and ``endpoints``: the order of execution (or None) by the
        name of each endpoint that it is put on.
    :raises NotFound: Without an error code: the server has no gateway, or one without guardrails.
    """
    found = list(_pages(tracking, "guardrails/list", "guardrails"))
    names = _endpoint_names(tracking) if found else {}
    put: Dict[str, Json] = {}
    for of_id, name in names.items():
        for config in _get(tracking, "guardrails/list-for-endpoint", {"endpoint_id": of_id}).get("configs") or ():
            put.setdefault(config["guardrail_id"], {})[name] = config.get("execution_order")
    for one in sorted(found, key=lambda guardrail: (str(guardrail["name"]), str(guardrail["guardrail_id"]))):
        scorer = one.get("scorer") or {}
        yield {
            "guardrail_id": one["guardrail_id"],
            "name": one["name"],
            "experiment_id": str(scorer.get("experiment_id") or ""),
            "scorer": scorer.get("scorer_name") or "",
            "scorer_version": scorer.get("scorer_version"),
            "stage": one.get("stage"),
            "action": one.get("action"),
            # the field is called an id and has the name
            "action_endpoint": names.get(str(one.get("action_endpoint_id")), one.get("action_endpoint_id") or ""),
            "endpoints": put.get(one["guardrail_id"], {}),
        }


def create_guardrail(tracking: Tracking, guardrail: Json, scorer_id: str) -> str:
    """Create a guardrail, put on no endpoint yet, and return its id.

    :param guardrail: As :func:`read_guardrails` yields one.
    :param scorer_id: That of its scorer at this server.
    """
    fields = ("name", "experiment_id", "scorer", "scorer_version", "stage", "action", "action_endpoint")

    def find() -> Optional[str]:
        same = (one for one in read_guardrails(tracking) if all(one[key] == guardrail[key] for key in fields))
        return next((one["guardrail_id"] for one in same if one["guardrail_id"] not in before), None)

    # a name is no key of a guardrail: which ones are there already tells whether a lost reply has made another
    before = {one["guardrail_id"] for one in _pages(tracking, "guardrails/list", "guardrails")}
    body = {key: guardrail[key] for key in ("name", "scorer_version", "stage", "action")}
    body["scorer_id"] = scorer_id
    if guardrail["action_endpoint"]:
        body["action_endpoint_id"] = endpoint_id(tracking, guardrail["action_endpoint"])
    return tracking.rest.post_once(
        f"{_GATEWAY}/guardrails/create", body, find, lambda reply: str(reply["guardrail"]["guardrail_id"])
    )


def put_guardrail(tracking: Tracking, guardrail_id: str, endpoint: str, order: Optional[int], is_there: bool) -> None:
    """Put a guardrail on an endpoint, or give it another place among those of the endpoint.

    :param endpoint: Name of the endpoint.
    :param order: Its place; None for no particular one.
    :param is_there: It is on the endpoint already.
    """
    body: Json = {"endpoint_id": endpoint_id(tracking, endpoint), "guardrail_id": guardrail_id}
    if order is not None:
        body["execution_order"] = int(order)
    if is_there:
        tracking.rest.patch(f"{_GATEWAY}/guardrails/update-config", body)
        return

    def find() -> Optional[bool]:
        params = {"endpoint_id": body["endpoint_id"]}
        configs = _get(tracking, "guardrails/list-for-endpoint", params).get("configs") or ()
        return any(config["guardrail_id"] == guardrail_id for config in configs) or None

    tracking.rest.post_once(f"{_GATEWAY}/guardrails/add-to-endpoint", body, find, lambda reply: True)


def take_guardrail(tracking: Tracking, guardrail_id: str, endpoint: str) -> None:
    """Take a guardrail from an endpoint."""
    body = {"endpoint_id": endpoint_id(tracking, endpoint), "guardrail_id": guardrail_id}
    tracking.rest.delete(f"{_GATEWAY}/guardrails/remove-from-endpoint", body)


# -- bindings -------------------------------------------------------------------------------------------------------


def read_bindings(tracking: Tracking) -> Iterator[Json]:
    """Yield what is bound to endpoints. A server makes those of scorers itself when it gets the scorer.

    :return: ``binding_id`` (made up, as none has one), ``endpoint`` (a name), ``resource_type``, ``resource_id``, and
        for a scorer its ``experiment_id`` and ``scorer`` (a name); a scorer that is not there any more has neither.
    :raises NotFound: Without an error code: the server has no gateway.
    """
    found = _listed(tracking, "endpoints/bindings/list", "bindings")
    names = _endpoint_names(tracking) if found else {}
    scorers: Dict[str, Json] = {}
    if any(one.get("resource_type") == SCORER for one in found):
        reply = tracking.rest.get(f"{API_3}/scorers/list")
        scorers = {one["scorer_id"]: one for one in reply.get("scorers") or ()}
    for one in sorted(found, key=lambda binding: (names.get(binding["endpoint_id"], ""), binding["resource_id"])):
        scorer, endpoint = scorers.get(one["resource_id"]), names.get(one["endpoint_id"], "")
        yield {
            "binding_id": _binding_id(one),
            "endpoint": endpoint,
            "resource_type": one["resource_type"],
            "resource_id": one["resource_id"],
            "experiment_id": str(scorer["experiment_id"]) if scorer else None,
            "scorer": scorer["scorer_name"] if scorer else None,
        }


def _binding_id(binding: Json) -> str:
    return "/".join(str(binding[key]) for key in _BINDING)


def create_binding(tracking: Tracking, endpoint: str, resource_type: str, resource_id: str) -> str:
    """Bind something to an endpoint; return what :func:`read_bindings` calls its id.

    :param endpoint: Name of the endpoint.
    """

    def find() -> Optional[bool]:
        there = _listed(tracking, "endpoints/bindings/list", "bindings")
        return any(_binding_id(one) == _binding_id(body) for one in there) or None

    of_id = endpoint_id(tracking, endpoint)
    body = {"endpoint_id": of_id, "resource_type": resource_type, "resource_id": resource_id}
    tracking.rest.post_once(f"{_GATEWAY}/endpoints/bindings/create", body, find, lambda reply: True)
    return _binding_id(body)


# -- budgets --------------------------------------------------------------------------------------------------------

_POLICY = ("budget_unit", "budget_amount", "duration", "target_scope", "budget_action")


def read_budgets(tracking: Tracking) -> Iterator[Json]:
    """Yield the budget policies.

    :return: ``budget_policy_id``; ``budget_unit``, ``budget_amount``, ``duration``, ``target_scope`` and
        ``budget_action`` as REST has them; ``endpoint`` (a name) or ``user`` that it is about, else empty.
    :raises NotFound: Without an error code: the server has no gateway, or one without budgets.
    """
    found = list(_pages(tracking, "budgets/list", "budget_policies"))
    names = _endpoint_names(tracking) if found else {}
    for one in found:
        target, scope = one.get("target_value") or "", one.get("target_scope")
        yield {
            "budget_policy_id": one["budget_policy_id"],
            **{key: one.get(key) for key in _POLICY},
            "endpoint": names.get(target, "") if scope == "ENDPOINT" else "",
            "user": target if scope == "USER" else "",
        }


def create_budget(tracking: Tracking, budget: Json) -> str:
    """Create a budget policy and return its id. It works at once.

    :raises NotFound: Its endpoint is not there.
    """

    def find() -> Optional[str]:
        same = (one for one in read_budgets(tracking) if all(one[key] == budget[key] for key in _POLICY))
        return next((one["budget_policy_id"] for one in same if one["budget_policy_id"] not in before), None)

    before = {one["budget_policy_id"] for one in read_budgets(tracking)}
    return tracking.rest.post_once(
        f"{_GATEWAY}/budgets/create", _policy(tracking, budget), find,
        lambda reply: str(reply["budget_policy"]["budget_policy_id"]),
    )  # fmt: skip


def update_budget(tracking: Tracking, of_id: str, budget: Json) -> None:
    """Bring a budget policy up to date."""
    tracking.rest.post(f"{_GATEWAY}/budgets/update", {"budget_policy_id": of_id, **_policy(tracking, budget)})


def _policy(tracking: Tracking, budget: Json) -> Json:
    body = {key: budget[key] for key in _POLICY}
    target = endpoint_id(tracking, budget["endpoint"]) if budget["endpoint"] else budget["user"]
    return {**body, **({"target_value": target} if target else {})}
