"""What is particular to review queues: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Tuple

from mlflow_migration.client import review_queues
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.label_schemas import label_schemas_of
from mlflow_migration.client.review_queues import PENDING, PERSONAL
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies, OfExperiment
from mlflow_migration.common.three_way import Plan, words

Json = Dict[str, Any]

_FIELDS = ("name", "created_by", "users", "label_schemas")
_ITEM = "item:"


class ReviewQueues(OfExperiment):
    """Review queues of experiments with their items. The items are traces."""

    name, plural, loss = "review_queue", "review_queues", "review-queues"
    id_field = "queue_id"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all review queues; see :func:`review_queues.read_review_queues`."""
        return review_queues.read_review_queues(tracking)

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with its new experiment and with the items whose traces are there.

        :raises BadDirectory: A label schema that it asks for is not there: it could not be added later.
        """
        experiment_id = copies.experiment(str(doc["experiment_id"]))
        lacking: List[str] = []
        # a trace gets another id only where its own is taken
        copied = [copies.object("trace", str(item["item_id"]), experiment_id) for item in doc["items"]]
        items = [{**item, "item_id": dst_id or item["item_id"]} for item, dst_id in zip(doc["items"], copied)]
        if not copies.coming:
            self._check_label_schemas(doc, copies.tracking, experiment_id)
            ids = [str(item["item_id"]) for item in items]
            there = review_queues.traces_there(copies.tracking, experiment_id, ids)
            absent = [item_id for item_id in ids if item_id not in there]
            items = [item for item in items if item["item_id"] in there]
            if absent:
                lacking.append(f"{len(absent)} of its traces are not at the destination: {words(absent)}")
        found = {**doc, "experiment_id": experiment_id, "items": items}
        if copies.signer:
            lacking += self._sign(found, copies.signer)
        return found, lacking

    def _check_label_schemas(self, doc: Json, tracking: Tracking, experiment_id: str) -> None:
        if not doc["label_schemas"]:
            return
        there = {one["name"] for one in label_schemas_of(tracking, experiment_id)}
        absent = [name for name in doc["label_schemas"] if name not in there]
        if absent:
            raise BadDirectory(f"its label schema '{absent[0]}' is not at the destination; import that first")

    def _sign(self, doc: Json, signer: str) -> List[str]:
        """Put in who a server that checks users takes for the reviewer, whoever it was."""
        others = [item for item in doc["items"] if item.get("completed_by") not in (None, "", signer.lower())]
        signed = {item["item_id"]: {**item, "completed_by": signer.lower()} for item in others}
        doc["items"] = [signed.get(item["item_id"], item) for item in doc["items"]]
        doc["created_by"] = doc.get("created_by") or signer
        named = sorted({str(item["completed_by"]) for item in others})
        told = f"{len(others)} reviews by {words(named)} are noted by the destination as those of {signer}"
        return [told] if others else []

    def key(self, doc: Json) -> str:
        """Return experiment and name, which are unique together, in whichever case."""
        return f"{doc['experiment_id']}/{str(doc['name']).lower()}"

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what it is and how far the review of each trace is."""
        found: Dict[str, Any] = {
            f"{_ITEM}{item['item_id']}": [item["status"], str(item.get("completed_by") or "")] for item in doc["items"]
        }
        if doc["queue_type"] != PERSONAL:
            found.update({name: doc.get(name) for name in _FIELDS})
        return {**found, "queue_type": doc["queue_type"]}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it and put its items in."""
        there = review_queues.create_review_queue(tracking, doc)
        queue_id = str(there["queue_id"])
        owner = doc.get("created_by")
        if owner and owner != there.get("created_by") and doc["queue_type"] != PERSONAL:
            review_queues.update_review_queue(tracking, queue_id, doc, ["created_by"])
        self._write_items(tracking, queue_id, doc["items"], {})
        return queue_id

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Change what a server lets change: a queue with traces in it keeps its label schemas."""
        fixed = ["queue_type", *(["label_schemas"] if there["items"] else [])]
        todo.differs += [name for name in todo.write if name in fixed]
        todo.write = [name for name in todo.write if name not in fixed]
        fields = [name for name in todo.write if name in _FIELDS]
        queue_id = self.id_of(there)
        if fields:
            review_queues.update_review_queue(tracking, queue_id, doc, fields)
        wanted = [item for item in doc["items"] if f"{_ITEM}{item['item_id']}" in todo.write]
        self._write_items(tracking, queue_id, wanted, {str(item["item_id"]): item for item in there["items"]})
        dropped = [name[len(_ITEM) :] for name in todo.drop if name.startswith(_ITEM)]
        review_queues.remove_items(tracking, queue_id, dropped)

    def _write_items(self, tracking: Tracking, queue_id: str, wanted: Sequence[Json], there: Dict[str, Json]) -> None:
        """Put items in, and say how far each is.

        :param there: Those that are in the queue, by their traces.
        """
        new = [str(item["item_id"]) for item in wanted if item["item_id"] not in there]
        review_queues.add_items(tracking, queue_id, new)
        for item in wanted:
            item_id, status, reviewer = str(item["item_id"]), str(item["status"]), str(item.get("completed_by") or "")
            now = str((there.get(item_id) or {}).get("status") or PENDING)
            if now == status != PENDING:
                # who has reviewed it can only be changed by opening it again
                review_queues.set_item_status(tracking, queue_id, item_id, PENDING, "")
            if now != status or status != PENDING:
                review_queues.set_item_status(tracking, queue_id, item_id, status, reviewer)


REVIEW_QUEUES = ReviewQueues()
