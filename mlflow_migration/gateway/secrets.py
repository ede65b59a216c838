"""What is particular to secrets of the gateway: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

from mlflow_migration.client import gateway
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.three_way import Plan
from mlflow_migration.gateway.definition import Definition

Json = Dict[str, Any]


class GatewaySecrets(Definition):
    """Secrets by name, without a value: model definitions need one of that name."""

    name, plural = "gateway_secret", "gateway_secrets"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all secrets; see :func:`gateway.read_secrets`."""
        return gateway.read_secrets(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the secret's id."""
        return str(doc["secret_id"])

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return how it logs in: nothing else can be changed."""
        return {"auth_config": [doc["auth_config"]], "provider": [doc["provider"]]}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it without a value."""
        return gateway.create_secret(tracking, doc)

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Write how it logs in."""
        impossible = [name for name in todo.write if name != "auth_config"]
        todo.write = [name for name in todo.write if name not in impossible]
        todo.differs += impossible
        if todo.write:
            gateway.update_secret(tracking, self.id_of(there), doc["auth_config"])

    def by_hand(self, doc: Json, there: Optional[Json]) -> List[str]:
        """Tell of a value that is not set."""
        if not doc["fields"] or (there or {}).get("fields"):
            return []
        return [f"no server tells its value: set it by hand ({', '.join(doc['fields'])})"]
