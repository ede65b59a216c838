"""What is particular to bindings of the gateway: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from mlflow_migration.client import gateway
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.scorers import scorer_versions
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies
from mlflow_migration.common.three_way import Plan
from mlflow_migration.gateway.definition import Definition

Json = Dict[str, Any]


class GatewayBindings(Definition):
    """What uses an endpoint, such as a scorer: while it is bound, the endpoint's settings reach it."""

    name, plural = "gateway_binding", "gateway_bindings"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all bindings; see :func:`gateway.read_bindings`."""
        return gateway.read_bindings(tracking)

    def id_of(self, doc: Json) -> str:
        """Return its id."""
        return str(doc["binding_id"])

    def title(self, doc: Json) -> str:
        """Return what is bound to which endpoint."""
        return f"{doc['endpoint']}/{doc['resource_type']}/{doc['scorer'] or doc['resource_id']}"

    def key(self, doc: Json) -> str:
        """Return endpoint and resource in terms of the destination."""
        return repr([doc[name] for name in ("endpoint", "resource_type", "experiment_id", "scorer")])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with the experiment of its scorer."""
        if doc["resource_type"] != gateway.SCORER:
            raise BadDirectory(f"nothing is known of a resource of type '{doc['resource_type']}'")
        if not (doc["endpoint"] and doc["scorer"]):
            raise BadDirectory("its scorer or its endpoint is not at the source")
        return super().translated(doc, copies)

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return nothing: it is there or not."""
        return {}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Bind the scorer."""
        versions = scorer_versions(tracking, str(doc["experiment_id"]), str(doc["scorer"]))
        if not versions:
            raise BadDirectory(f"its scorer '{doc['scorer']}' is not at the destination; import that first")
        return gateway.create_binding(tracking, str(doc["endpoint"]), gateway.SCORER, str(versions[0]["scorer_id"]))

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Do nothing: it is there."""
