"""What is particular to guardrails of the gateway: see ``common/kinds.py``."""

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

_FIELDS = ("name", "experiment_id", "scorer", "scorer_version", "stage", "action", "action_endpoint")


class GatewayGuardrails(Definition):
    """Guardrails, and the endpoints that they are put on. A guardrail itself never changes."""

    name, plural = "gateway_guardrail", "gateway_guardrails"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all guardrails; see :func:`gateway.read_guardrails`."""
        return gateway.read_guardrails(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the guardrail's id."""
        return str(doc["guardrail_id"])

    def key(self, doc: Json) -> str:
        """Return all but where it is put: a server takes several of one name."""
        return repr([doc[name] for name in _FIELDS])

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with the experiment of its scorer."""
        if not doc["scorer"]:
            raise BadDirectory("its scorer is not at the source")
        return super().translated(doc, copies)

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what it is, and its place on each endpoint."""
        put = {f"endpoint:{name}": [order] for name, order in doc["endpoints"].items()}
        return {**{name: doc[name] for name in _FIELDS}, **put}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it, and put it on its endpoints."""
        versions = scorer_versions(tracking, str(doc["experiment_id"]), str(doc["scorer"]))
        if not versions:
            raise BadDirectory(f"its scorer '{doc['scorer']}' is not at the destination; import that first")
        guardrail_id = gateway.create_guardrail(tracking, doc, str(versions[0]["scorer_id"]))
        for endpoint, order in doc["endpoints"].items():
            gateway.put_guardrail(tracking, guardrail_id, endpoint, order, False)
        return guardrail_id

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Put it elsewhere, or take it away."""
        impossible = [name for name in todo.write if not name.startswith("endpoint:")]
        todo.write = [name for name in todo.write if name not in impossible]
        todo.differs += impossible
        for name in todo.write:
            endpoint = name[len("endpoint:") :]
            order = doc["endpoints"][endpoint]
            gateway.put_guardrail(tracking, self.id_of(there), endpoint, order, endpoint in there["endpoints"])
        for name in todo.drop:
            gateway.take_guardrail(tracking, self.id_of(there), name[len("endpoint:") :])
