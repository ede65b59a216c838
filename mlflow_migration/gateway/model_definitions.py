"""What is particular to model definitions of the gateway: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from mlflow_migration.client import gateway
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies
from mlflow_migration.common.three_way import Plan
from mlflow_migration.gateway.definition import Definition

Json = Dict[str, Any]

_FIELDS = ("name", "secret", "provider", "model_name")


class GatewayModelDefinitions(Definition):
    """Models of providers, each with the secret that opens it."""

    name, plural = "gateway_model_definition", "gateway_model_definitions"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all model definitions; see :func:`gateway.read_model_definitions`."""
        return gateway.read_model_definitions(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the definition's id."""
        return str(doc["model_definition_id"])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it as it is: it names its secret."""
        if not doc["secret"]:
            raise BadDirectory("its secret was deleted at the source, and no server takes a model without one")
        return doc, []

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return all that can be changed."""
        return {name: doc[name] for name in _FIELDS}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it."""
        return gateway.create_model_definition(tracking, doc)

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Write the fields that changed."""
        if todo.write:
            gateway.update_model_definition(tracking, self.id_of(there), {name: doc[name] for name in todo.write})
