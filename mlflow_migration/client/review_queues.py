"""The review queues of a server: traces that people look at. Paths are those of MLflow's
``protos/review_queues.proto``."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.label_schemas import label_schemas_of
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API_3, Tracking

Json = Dict[str, Any]

_QUEUES = f"{API_3}/review-queues"
_PAGE = 1_000
_AT_ONCE = 100  # items in one request

PENDING = "PENDING"
"""Status of an item that nobody has reviewed."""

PERSONAL = "USER"
"""Type of the queue that each user has for himself: it asks for all labels and can't be changed."""


def read_review_queues(tracking: Tracking) -> Iterator[Json]:
    """Yield the review queues of all active experiments, by experiment and name.

    :return: What REST returns, with ``label_schemas`` (their names) instead of ``schema_ids``, and with ``items``
        (what REST returns of each, by the id of its trace).
    :raises NotFound: Without an error code: the server has no such route, or no database.
    """
    tracking.need_database()
    for experiment_id in tracking.active_experiments():
        queues = _queues_of(tracking, experiment_id)
        names = _names_of_schemas(tracking, experiment_id) if any(one.get("schema_ids") for one in queues) else {}
        for queue in sorted(queues, key=lambda one: str(one["name"])):
            # a label schema that was deleted leaves its id behind
            schemas = sorted(names[one] for one in queue.get("schema_ids") or () if one in names)
            plain = {name: value for name, value in queue.items() if name != "schema_ids"}
            users = sorted(queue.get("users") or ())
            yield {**plain, "users": users, "label_schemas": schemas, "items": items_of(tracking, queue["queue_id"])}


def _queues_of(tracking: Tracking, experiment_id: str) -> List[Json]:
    params = {"experiment_id": experiment_id}
    return _all(tracking, f"{_QUEUES}/list", params, "review_queues")


def items_of(tracking: Tracking, queue_id: str) -> List[Json]:
    """Return the items of a queue by their traces; none if it was deleted meanwhile."""
    found = _all(tracking, f"{_QUEUES}/items/list", {"queue_id": queue_id}, "items")
    plain = ({name: value for name, value in item.items() if name != "queue_id"} for item in found)
    return sorted(plain, key=lambda item: str(item["item_id"]))


def _all(tracking: Tracking, path: str, params: Mapping[str, str], field: str) -> List[Json]:
    def fetch(token: Optional[str]) -> Json:
        token_param = {"page_token": token} if token else {}
        return tracking.rest.get(path, {**params, "max_results": str(_PAGE), **token_param})

    try:
        return [one for page in paged(fetch, field) for one in page]
    except NotFound as ex:
        if not ex.error_code:
            raise
        return []  # it was deleted meanwhile


def _names_of_schemas(tracking: Tracking, experiment_id: str) -> Dict[str, str]:
    return {one["schema_id"]: one["name"] for one in label_schemas_of(tracking, experiment_id)}


def create_review_queue(tracking: Tracking, queue: Mapping[str, Any]) -> Json:
    """Create a review queue without its items, and return it as REST does.

    Where a server checks users, who asks for the queue owns it.

    :param queue: As :func:`read_review_queues` yields them; its label schemas must be there.
    """
    experiment_id, name = str(queue["experiment_id"]), str(queue["name"])
    owner = str(queue.get("created_by") or "")

    def find() -> Optional[Json]:
        return next((one for one in _queues_of(tracking, experiment_id) if one["name"] == name), None)

    def parse(reply: Json) -> Json:
        return dict(reply["review_queue"])

    if queue["queue_type"] == PERSONAL and owner == name:
        # such a queue is owned by its user, whoever asks for it
        body: Json = {"experiment_id": experiment_id, "user": name}
        return tracking.rest.post_once(f"{_QUEUES}/get-or-create-user", body, find, parse)
    body = {"experiment_id": experiment_id, "name": name, "queue_type": queue["queue_type"], "users": queue["users"]}
    body["schema_ids"] = _ids_of_schemas(tracking, experiment_id, queue["label_schemas"])
    return tracking.rest.post_once(f"{_QUEUES}/create", body, find, parse)


def _ids_of_schemas(tracking: Tracking, experiment_id: str, names: Sequence[str]) -> List[str]:
    if not names:
        return []
    ids = {one["name"]: str(one["schema_id"]) for one in label_schemas_of(tracking, experiment_id)}
    return [ids[name] for name in names]


def update_review_queue(tracking: Tracking, queue_id: str, queue: Mapping[str, Any], fields: Sequence[str]) -> None:
    """Change a review queue.

    :param queue: As it is to be.
    :param fields: Of ``name``, ``created_by``, ``users`` and ``label_schemas`` those that are to be written.
    """
    body: Json = {"queue_id": queue_id}
    if "name" in fields:
        body["name"] = queue["name"]
    if "created_by" in fields:
        body["new_owner"] = queue["created_by"]
    if "users" in fields:
        body.update(update_users=True, users=queue["users"])
    if "label_schemas" in fields:
        ids = _ids_of_schemas(tracking, str(queue["experiment_id"]), queue["label_schemas"])
        body.update(update_schema_ids=True, schema_ids=ids)
    tracking.rest.post(f"{_QUEUES}/update", body)


def add_items(tracking: Tracking, queue_id: str, trace_ids: Sequence[str]) -> None:
    """Put traces of its experiment into a review queue; those that are in it stay as they are."""
    _in_parts(trace_ids, lambda some: tracking.rest.post(f"{_QUEUES}/items/add", {"queue_id": queue_id, **some}))


def remove_items(tracking: Tracking, queue_id: str, trace_ids: Sequence[str]) -> None:
    """Take traces out of a review queue; it is no error if they are not in it."""
    _in_parts(trace_ids, lambda some: tracking.rest.post(f"{_QUEUES}/items/remove", {"queue_id": queue_id, **some}))


def _in_parts(trace_ids: Sequence[str], send: Callable[[Json], Any]) -> None:
    for start in range(0, len(trace_ids), _AT_ONCE):
        send({"item_ids": list(trace_ids[start : start + _AT_ONCE])})


def set_item_status(tracking: Tracking, queue_id: str, trace_id: str, status: str, completed_by: str) -> None:
    """Say how far the review of a trace is.

    :param completed_by: Who has reviewed it; a server that checks users notes the one who asks instead.
    """
    body = {"queue_id": queue_id, "item_id": trace_id, "status": status}
    if completed_by:
        body["completed_by"] = completed_by
    tracking.rest.post(f"{_QUEUES}/items/set-status", body)


def traces_there(tracking: Tracking, experiment_id: str, trace_ids: Sequence[str]) -> Set[str]:
    """Return which traces are in an experiment: only these can be in its queues."""
    found: Set[str] = set()

    def ask(some: Json) -> None:
        body = {"trace_ids": some["item_ids"]}
        for info in tracking.rest.search(f"{API_3}/traces/batchGetInfos", body).get("trace_infos") or ():
            place = (info.get("trace_location") or {}).get("mlflow_experiment") or {}
            if str(place.get("experiment_id")) == experiment_id:
                found.add(str(info["trace_id"]))

    _in_parts(trace_ids, ask)
    return found
