"""What is particular to label schemas: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from mlflow_migration.client import label_schemas
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies, OfExperiment
from mlflow_migration.common.three_way import Plan

Json = Dict[str, Any]


class LabelSchemas(OfExperiment):
    """Label schemas of experiments. The default one of an experiment is made by the server and never changes."""

    name, plural, loss = "label_schema", "label_schemas", "label-schemas"
    id_field = "schema_id"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all label schemas; see :func:`label_schemas.read_label_schemas`."""
        return label_schemas.read_label_schemas(tracking)

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with its new experiment."""
        return {**doc, "experiment_id": copies.experiment(str(doc["experiment_id"]))}, []

    def is_default(self, doc: Json) -> bool:
        """Tell whether the server has made it."""
        return bool(doc.get("is_default"))

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what it asks for; nothing of a default one."""
        if self.is_default(doc):
            return {}
        return {
            "name": doc["name"],
            "type": doc["type"],
            "instruction": [doc.get("instruction") or ""],  # none is a state too: it can be written
            "enable_comment": bool(doc.get("enable_comment")),
            "input": doc["input"],
        }

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it as it is."""
        return label_schemas.create_label_schema(tracking, doc)

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Change what a server lets change: labels that were given must keep their meaning."""
        fixed = ["type"] if _nature(there) == _nature(doc) else ["type", "input"]
        if self.is_default(there):
            fixed = list(todo.write)
        todo.differs += [name for name in todo.write if name in fixed]
        todo.write = [name for name in todo.write if name not in fixed]
        if todo.write:
            empty = {"instruction": "", "enable_comment": False}
            fields = {name: doc.get(name, empty.get(name)) for name in todo.write}
            label_schemas.update_label_schema(tracking, self.id_of(there), fields)


def _nature(doc: Json) -> Tuple[List[str], bool]:
    """Return what the input of a label schema is for ever."""
    return sorted(doc["input"]), bool((doc["input"].get("categorical") or {}).get("multi_select"))


LABEL_SCHEMAS = LabelSchemas()
