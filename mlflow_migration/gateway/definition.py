"""What all kinds of definitions of the gateway have in common: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from mlflow_migration.common.kinds import Copies

Json = Dict[str, Any]


class Definition:
    """Something of the gateway that has a name of its own and refers to others by theirs."""

    loss, folder = "gateway", "gateway"

    def title(self, doc: Json) -> str:
        """Return its name."""
        return str(doc["name"])

    def key(self, doc: Json) -> str:
        """Return its name, which is unique."""
        return str(doc["name"])

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return its experiment, if it has one."""
        return [str(doc["experiment_id"])] if doc.get("experiment_id") else []

    def runs(self, doc: Json) -> Sequence[str]:
        """Return none."""
        return []

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with its new experiment, if it has one."""
        if not doc.get("experiment_id"):
            return doc, []
        return {**doc, "experiment_id": copies.experiment(str(doc["experiment_id"]))}, []
