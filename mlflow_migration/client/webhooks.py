"""The webhooks of a server. Paths are those of MLflow's ``protos/webhooks.proto``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional, Tuple
from urllib.parse import quote, urlsplit

from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API, Tracking

Json = Dict[str, Any]

_WEBHOOKS = f"{API}/webhooks"
_PAGE = 100  # the most that a server gives at a time


def read_webhooks(tracking: Tracking) -> Iterator[Json]:
    """Yield the webhooks of a server.

    :return: ``webhook_id``, ``name``, ``description``, ``url`` without user and password, ``has_password`` (whether
        there was one), ``events`` (each ``entity`` and ``action``, in one order) and ``status``. No server tells the
        secret with which it signs, nor whether there is one.
    :raises NotFound: Without an error code: the server has no such route.
    """

    def page(token: Optional[str]) -> Json:
        params: Json = {"max_results": _PAGE, **({"page_token": token} if token else {})}
        return tracking.rest.get(_WEBHOOKS, params)

    tracking.need_database()
    for found in paged(page, "webhooks"):
        for webhook in found:
            url, has_password = without_user_info(str(webhook["url"]))
            events = [{"entity": one["entity"], "action": one["action"]} for one in webhook.get("events") or ()]
            yield {
                "webhook_id": webhook["webhook_id"],
                "name": webhook["name"],
                "description": webhook.get("description") or "",
                "url": url,
                "has_password": has_password,
                "events": sorted(events, key=lambda one: (one["entity"], one["action"])),
                "status": webhook.get("status") or "ACTIVE",
            }


def without_user_info(url: str) -> Tuple[str, bool]:
    """Return an address without user and password, and whether it had any."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, False
    _, mark, host = parts.netloc.rpartition("@")
    return (parts._replace(netloc=host).geturl(), True) if mark else (url, False)


def create_webhook(tracking: Tracking, webhook: Json) -> str:
    """Create a webhook and return its id.

    :param webhook: As :func:`read_webhooks` yields one, with the status that it is to have.
    """

    def find() -> Optional[str]:
        same = [one for one in read_webhooks(tracking) if all(one[key] == webhook[key] for key in ("name", "url"))]
        fresh = [one["webhook_id"] for one in same if one["webhook_id"] not in before]
        return fresh[0] if fresh else None

    # a name is no key of a webhook: which ones are there already tells whether a lost reply has made another
    before = {one["webhook_id"] for one in read_webhooks(tracking)}
    body = {key: webhook[key] for key in ("name", "description", "url", "events", "status")}
    return tracking.rest.post_once(_WEBHOOKS, body, find, lambda reply: str(reply["webhook"]["webhook_id"]))


def update_webhook(tracking: Tracking, webhook_id: str, **fields: Any) -> None:
    """Give a webhook other values.

    :param fields: Of ``name``, ``description``, ``url``, ``events`` and ``status`` those that change.
    """
    tracking.rest.patch(f"{_WEBHOOKS}/{quote(webhook_id, safe='')}", fields)
