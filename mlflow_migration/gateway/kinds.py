"""All kinds of definitions of the gateway, in the order in which they need each other."""

from __future__ import annotations

from typing import Sequence

from mlflow_migration.common.kinds import Kind
from mlflow_migration.gateway.bindings import GatewayBindings
from mlflow_migration.gateway.budgets import GatewayBudgets
from mlflow_migration.gateway.endpoints import GatewayEndpoints
from mlflow_migration.gateway.guardrails import GatewayGuardrails
from mlflow_migration.gateway.model_definitions import GatewayModelDefinitions
from mlflow_migration.gateway.secrets import GatewaySecrets

ENDPOINTS: Sequence[Kind] = (GatewaySecrets(), GatewayModelDefinitions(), GatewayEndpoints())
"""What scorers may name."""
AFTER_SCORERS: Sequence[Kind] = (GatewayGuardrails(), GatewayBindings(), GatewayBudgets())
"""What may name scorers."""
GATEWAY: Sequence[Kind] = (*ENDPOINTS, *AFTER_SCORERS)
