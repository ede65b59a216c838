"""What is particular to budget policies of the gateway: see ``common/kinds.py``."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Tuple

from mlflow_migration.client import gateway
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies
from mlflow_migration.common.three_way import Plan
from mlflow_migration.gateway.definition import Definition

Json = Dict[str, Any]

_KEY = ("target_scope", "endpoint", "user", "budget_unit", "duration")
_FIELDS = (*_KEY, "budget_amount", "budget_action")


class GatewayBudgets(Definition):
    """Budget policies. A server can't switch one off, so they are only made with ``--activate``."""

    name, plural = "gateway_budget", "gateway_budgets"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all budget policies; see :func:`gateway.read_budgets`."""
        return gateway.read_budgets(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the policy's id."""
        return str(doc["budget_policy_id"])

    def title(self, doc: Json) -> str:
        """Return its amount and whom it is about."""
        told = (doc["budget_amount"], doc["budget_unit"], doc["target_scope"], doc["endpoint"] or doc["user"])
        return " ".join(str(one) for one in told if one)

    def key(self, doc: Json) -> str:
        """Return whom it is about, and for how long it counts."""
        return json.dumps([doc[name] for name in _KEY], sort_keys=True)

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it, held back without ``--activate``."""
        return (doc if copies.activate else {**doc, "held_back": "without --activate: it would work at once"}), []

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return all that can be changed."""
        return {name: doc[name] for name in _FIELDS}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it."""
        return gateway.create_budget(tracking, doc)

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Write what changed."""
        if todo.write:
            gateway.update_budget(tracking, self.id_of(there), {**there, **{name: doc[name] for name in todo.write}})
