"""Evaluation datasets in the making, and what REST tells of them."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Sequence

from tests.support.rest import Json, Rest

ROOT = "/api/3.0/mlflow/datasets"
KEY = "mlflow_exim.evaluation_dataset.dataset_id"


class Datasets:
    """Evaluation datasets of one server, made as MLflow's client makes them."""

    def __init__(self, uri: str) -> None:
        """Nothing is sent yet."""
        self.rest = Rest(uri)

    def create(self, name: str, experiments: Sequence[str] = (), **tags: Any) -> str:
        """Make a dataset; its id."""
        body = {"name": name, "experiment_ids": list(experiments), "tags": json.dumps(tags)}
        return str(self.rest.call("POST", f"{ROOT}/create", json=body)["dataset"]["dataset_id"])

    def add(self, dataset_id: str, *records: Json) -> None:
        """Add records, or change those with the same inputs."""
        self.rest.call("POST", f"{ROOT}/{dataset_id}/records", json={"records": json.dumps(records)})

    def tag(self, dataset_id: str, **tags: str) -> None:
        """Set tags."""
        self.rest.call("PATCH", f"{ROOT}/{dataset_id}/tags", json={"tags": json.dumps(tags)})

    def remove(self, dataset_id: str, inputs: Json) -> None:
        """Remove the record with these inputs."""
        found = [one["dataset_record_id"] for one in self.records(dataset_id) if one["inputs"] == inputs]
        assert len(found) == 1
        self.rest.call("DELETE", f"{ROOT}/{dataset_id}/records", json={"dataset_record_ids": found})

    def unlink(self, dataset_id: str, experiment_id: str) -> None:
        """Take the link to an experiment away."""
        self.rest.call("POST", f"{ROOT}/{dataset_id}/remove-experiments", json={"experiment_ids": [experiment_id]})

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset."""
        self.rest.call("DELETE", f"{ROOT}/{dataset_id}")

    def named(self, name: str) -> List[Json]:
        """All datasets whose names begin so, oldest first, with their tags decoded."""
        body = {"max_results": 50_000, "order_by": ["created_time ASC"]}
        found = self.rest.call("POST", f"{ROOT}/search", json=body).get("datasets") or []
        return [{**one, "tags": json.loads(one["tags"])} for one in found if one["name"].startswith(name)]

    def copy(self, src_id: str, name: Optional[str] = None) -> Json:
        """The one dataset that was made from another one."""
        found = [one for one in self.named(name or "") if one["tags"].get(KEY) == src_id]
        assert len(found) == 1, found
        return found[0]

    def records(self, dataset_id: str) -> List[Json]:
        """All records."""
        found: List[Json] = []
        params: Dict[str, Any] = {"max_results": 1000}
        while True:
            reply = self.rest.call("GET", f"{ROOT}/{dataset_id}/records", params=params)
            found += json.loads(reply["records"])
            if not reply.get("next_page_token"):
                return found
            params["page_token"] = reply["next_page_token"]

    def shape(self, dataset_id: str) -> Json:
        """All of a dataset that a copy can have, with names for its experiments."""
        about = self.rest.call("GET", f"{ROOT}/{dataset_id}")["dataset"]
        ids = self.rest.call("GET", f"{ROOT}/{dataset_id}/experiment-ids").get("experiment_ids") or []
        tags = json.loads(about["tags"])
        kept = ("inputs", "outputs", "expectations", "tags", "source", "source_id", "source_type", "created_by")
        kept = (*kept, "last_updated_by")
        records = [{key: one[key] for key in kept if key in one} for one in self.records(dataset_id)]
        return {
            "name": about["name"],
            "created_by": about.get("created_by"),
            "profile": about.get("profile"),
            "tags": {key: value for key, value in tags.items() if key != KEY},
            "experiments": sorted(
                self.rest.get("experiments/get", {"experiment_id": one})["experiment"]["name"] for one in ids
            ),
            # NaN is not equal to itself, so as text
            "records": sorted(json.dumps(one, sort_keys=True) for one in records),
        }


def records_of_all_kinds(run_id: str) -> List[Json]:
    """Records with what is hard to keep; the first one is changed by somebody else in the same request."""
    human = {"source_type": "HUMAN", "source_data": {"source_id": run_id, "note": "by hand"}}
    trace = {"source_type": "TRACE", "source_data": {"trace_id": "tr-" + "0a" * 16, "session_id": "0b" * 16}}
    return [
        {"inputs": {"q": 1}, "outputs": None, "expectations": {"a": 1}, "tags": {"mlflow.user": "al"}, "source": human},
        {"inputs": {"q": 1}, "tags": {"mlflow.user": "bo", "hard": "yes"}},
        {"inputs": {}, "outputs": "a text", "expectations": None},
        {"inputs": {"nan": float("nan"), "half": "\ud800x"}, "outputs": None},
        {"inputs": {"big": 2**70}, "outputs": {}, "expectations": {}, "tags": {}},
        {"inputs": {"f": 1.0, "i": 1, "ü": ["„“", None, True]}, "outputs": [1, 2], "source": trace},
    ]
