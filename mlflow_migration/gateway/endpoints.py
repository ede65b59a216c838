"""What is particular to endpoints of the gateway: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from mlflow_migration.client import gateway
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies
from mlflow_migration.common.three_way import Plan
from mlflow_migration.gateway.definition import Definition

Json = Dict[str, Any]

_FIELDS = ("name", "routing_strategy", "experiment_id", "models")
_EMPTIED = ("fallback_config", "usage_tracking")  # an update may leave nothing of these


class GatewayEndpoints(Definition):
    """Endpoints with their models, the share or the order of each, and tags."""

    name, plural = "gateway_endpoint", "gateway_endpoints"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all endpoints; see :func:`gateway.read_endpoints`."""
        return gateway.read_endpoints(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the endpoint's id."""
        return str(doc["endpoint_id"])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with its new experiment; without one, the server may make one."""
        if not all(model["model"] for model in doc["models"]):
            raise BadDirectory("a model definition that it names is not at the source")
        done, lacking = super().translated(doc, copies)
        return (done if doc.get("experiment_id") else {**done, "unsaid": ["experiment_id"]}), lacking

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return all that can be changed."""
        tags = {f"tag:{key}": [value] for key, value in doc["tags"].items()}
        return {**{name: doc[name] for name in _FIELDS}, **{name: [doc[name]] for name in _EMPTIED}, **tags}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it, then set its tags."""
        endpoint_id = gateway.create_endpoint(tracking, doc)
        for key, value in doc["tags"].items():
            gateway.set_endpoint_tag(tracking, endpoint_id, key, str(value))
        return endpoint_id

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Write what changed; what a server can only write together keeps what the destination has."""
        fields = {name: doc[name] for name in todo.write if not name.startswith("tag:")}
        endpoint_id = self.id_of(there)
        if fields:
            with_models = not fields.keys().isdisjoint(("models", "fallback_config"))
            gateway.update_endpoint(tracking, endpoint_id, {**there, **fields}, with_models)
        for name in (*todo.write, *todo.drop):
            if name.startswith("tag:"):
                value = doc["tags"].get(name[4:]) if name in todo.write else None
                gateway.set_endpoint_tag(tracking, endpoint_id, name[4:], value)
