"""Every endpoint of evaluation datasets that the package uses, one method each: JSON in, JSON out.

Paths are those of MLflow's REST API (``mlflow/protos/datasets.proto``). Times are ms since epoch. Tags and records
travel as JSON inside of JSON; here they are decoded. Records may hold what strict JSON can't: NaN, integers of any
length.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence
from urllib.parse import quote

from mlflow_migration.client.errors import Incapable, NotFound, Refused, Unauthorized
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API_3, Tracking

Json = Dict[str, Any]

DATASET_KEY = "mlflow_exim.evaluation_dataset.dataset_id"
"""Tag of an imported evaluation dataset: the id of the one that it was made from."""

USER_TAG = "mlflow.user"
"""Tag whose value a server takes for who has created a dataset or a record, where it comes with its creation."""

UPSERT_RECORDS = 500  # records of one request
UPSERT_BYTES = 4 * 1024 * 1024
_ROOT = f"{API_3}/datasets"
_PAGE = 1_000
_RECORDS_PAGE = 1_000
_RECORDS_BYTES = 8 * 1024 * 1024  # of one reply, as far as records are about as long as those before


class NoEvaluationDatasets(Incapable):
    """A server can't hold evaluation datasets: it is older than MLflow 3.4, or its store is one of files."""


class EvaluationDatasets:
    """The evaluation datasets of one server.

    :param tracking: The server.
    :raises NoEvaluationDatasets: It can't hold any.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._rest, self._tracking = tracking.rest, tracking
        self.uri = tracking.uri
        self._scoped = False
        try:
            found = self._rest.optional("evaluation-datasets", lambda: self._search({"max_results": 1}))
        except Unauthorized as ex:
            if ex.http_status_code != 403:
                raise
            # users of basic-auth who are no administrators must name experiments that they may read
            self._scoped, found = True, {}
        except Refused as ex:
            if ex.error_code != "FEATURE_DISABLED":
                raise
            found = None
        if found is None:
            version = tracking.version()
            what = f"runs MLflow {version}" if version else "is a server"
            raise NoEvaluationDatasets(
                f"{self.uri} {what} with a store that holds no evaluation datasets: they came with 3.4, and need a"
                " database.",
                version,
            )

    def _search(self, body: Json) -> Json:
        return self._rest.search(f"{_ROOT}/search", body)

    def search(self, experiment_ids: Sequence[str] = ()) -> List[Json]:
        """Return all datasets, oldest first, each once, with their tags but without records and experiments.

        :param experiment_ids: Only those linked to one of these.
        """
        scope = list(experiment_ids)
        if self._scoped and not scope:
            scope = [str(found["experiment_id"]) for page in self._tracking.search_experiments() for found in page]
            if not scope:
                return []

        def fetch(token: Optional[str]) -> Json:
            body: Json = {"max_results": _PAGE, "order_by": ["created_time ASC"]}
            body.update({"experiment_ids": scope} if scope else {})
            return self._search({**body, **({"page_token": token} if token else {})})

        # pages are offsets: one that is deleted meanwhile moves the others
        found = {dataset["dataset_id"]: dataset for page in paged(fetch, "datasets") for dataset in page}
        return [_decoded(dataset) for dataset in found.values()]

    def dataset(self, dataset_id: str) -> Optional[Json]:
        """Return a dataset as :meth:`search` does, None if there is none."""
        try:
            return _decoded(self._rest.get(_path(dataset_id))["dataset"])
        except NotFound as ex:
            if not ex.error_code:
                raise
            return None

    def experiment_ids(self, dataset_id: str) -> List[str]:
        """Return the ids of the experiments that a dataset is linked to, sorted."""
        return sorted(map(str, self._rest.get(f"{_path(dataset_id)}/experiment-ids").get("experiment_ids") or ()))

    def records(self, dataset_id: str) -> Iterator[List[Json]]:
        """Yield the records of a dataset, oldest first, some at a time: as many as make a reply of bounded length."""
        token: Optional[str] = None
        size = _RECORDS_PAGE // 10
        while True:
            params = {"max_results": size, **({"page_token": token} if token else {})}
            reply = self._rest.get(f"{_path(dataset_id)}/records", params)
            text = reply.get("records") or "[]"
            page: List[Json] = json.loads(text)  # unlike others it keeps long integers
            if page:
                size = max(1, min(_RECORDS_PAGE, _RECORDS_BYTES * len(page) // len(text)))
                yield page
            token = reply.get("next_page_token") or None
            if token is None:
                return

    def create(self, name: str, tags: Mapping[str, str], experiment_ids: Sequence[str]) -> Json:
        """Create a dataset; its tags hold DATASET_KEY, by which an attempt is found whose reply got lost."""
        before = {found["dataset_id"] for found in self._with_key(name, tags[DATASET_KEY])}

        def find() -> Optional[Json]:
            made = [found for found in self._with_key(name, tags[DATASET_KEY]) if found["dataset_id"] not in before]
            return made[0] if made else None

        body = {"name": name, "tags": json.dumps(dict(tags)), "experiment_ids": list(experiment_ids)}
        return self._rest.post_once(f"{_ROOT}/create", body, find, lambda reply: _decoded(reply["dataset"]))

    def _with_key(self, name: str, key: str) -> List[Json]:
        # no filter on a tag whose key has dots finds anything
        return [found for found in self.search() if found["name"] == name and found["tags"].get(DATASET_KEY) == key]

    def set_tags(self, dataset_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a dataset; others stay."""
        self._rest.patch(f"{_path(dataset_id)}/tags", {"tags": json.dumps(dict(tags))})

    def delete_tag(self, dataset_id: str, key: str) -> None:
        """Remove a tag of a dataset. Raises NotFound for a key with a slash."""
        self._rest.delete(f"{_path(dataset_id)}/tags/{quote(key, safe='')}")

    def add_experiments(self, dataset_id: str, experiment_ids: Sequence[str]) -> None:
        """Link a dataset to experiments."""
        self._rest.post(f"{_path(dataset_id)}/add-experiments", {"experiment_ids": list(experiment_ids)})

    def remove_experiments(self, dataset_id: str, experiment_ids: Sequence[str]) -> None:
        """Take links to experiments away."""
        self._rest.post(f"{_path(dataset_id)}/remove-experiments", {"experiment_ids": list(experiment_ids)})

    def upsert(self, dataset_id: str, records: Sequence[Json]) -> None:
        """Add records, or merge them into those with the same inputs: all of them or, if one is refused, none.

        Outputs are replaced, expectations and tags are added to those that are there.
        """
        self._rest.post(f"{_path(dataset_id)}/records", {"records": json.dumps(list(records))})

    def delete_records(self, dataset_id: str, record_ids: Sequence[str]) -> None:
        """Delete records of a dataset by their ids."""
        self._rest.delete(f"{_path(dataset_id)}/records", {"dataset_record_ids": list(record_ids)})

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset with its records, for good; it is no error if there is none."""
        self._rest.delete(_path(dataset_id))


def input_key(inputs: Any) -> str:
    """Return what tells the records of a dataset apart: the first 96 bits of the hash that servers make of inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]


def _path(dataset_id: str) -> str:
    return f"{_ROOT}/{quote(dataset_id, safe='')}"


def _decoded(dataset: Json) -> Json:
    """Return a dataset with its tags as a dictionary; a tag that was given null has no value."""
    tags = json.loads(dataset.get("tags") or "{}") or {}
    return {**dataset, "tags": {key: "" if value is None else str(value) for key, value in tags.items()}}
