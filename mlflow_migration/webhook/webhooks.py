"""What is particular to webhooks: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mlflow_migration.client import webhooks
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies
from mlflow_migration.common.three_way import Plan

Json = Dict[str, Any]

_OFF = "DISABLED"
_FIELDS = ("name", "description", "url", "events", "status")


class Webhooks:
    """Webhooks with their events. They arrive switched off, and without the secret with which they sign."""

    name, plural, loss = "webhook", "webhooks", "webhooks"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all webhooks; see :func:`webhooks.read_webhooks`."""
        return webhooks.read_webhooks(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the webhook's id."""
        return str(doc["webhook_id"])

    def title(self, doc: Json) -> str:
        """Return its name. Its address may hold what only its receiver is to know."""
        return str(doc["name"])

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []

    def runs(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it switched off without ``--activate``; whoever switches it on at the destination is left alone."""
        if copies.activate:
            return doc, []
        return {**doc, "status": _OFF, "unsaid": ["status"]}, []

    def key(self, doc: Json) -> str:
        """Return name and address: a server takes several of one name."""
        return f"{doc['name']} {doc['url']}"

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return all that can be changed."""
        # in lists, as an empty description is one too
        return {name: [doc[name]] for name in _FIELDS}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it."""
        return webhooks.create_webhook(tracking, doc)

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Write the fields that changed. An address with a password is only written by hand."""
        if there["has_password"] and "url" in todo.write:
            todo.write.remove("url")
            todo.differs.append("url")
        fields = {name: doc[name] for name in todo.write}
        if fields:
            webhooks.update_webhook(tracking, self.id_of(there), **fields)

    def by_hand(self, doc: Json, there: Optional[Json]) -> List[str]:
        """Tell of a password in the address."""
        if not doc["has_password"] or (there or {}).get("has_password"):
            return []
        return ["its address has a user or password at the source, which are not exported: set the address by hand"]

    def to_do(self, made: Sequence[Json]) -> str:
        """Tell of the secrets."""
        names = ", ".join(sorted({self.title(doc) for doc in made}))
        return f"No server tells the secrets with which webhooks sign. Where there is one, set it by hand: {names}"


WEBHOOKS = Webhooks()
