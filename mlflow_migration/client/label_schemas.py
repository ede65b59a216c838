"""The label schemas of a server: what reviewers are asked. Paths are those of MLflow's ``protos/label_schemas.proto``.

Each experiment has a default one from the first time that it is asked for its label schemas.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API_3, Tracking

Json = Dict[str, Any]

_LABEL_SCHEMAS = f"{API_3}/label-schemas"
_PAGE = 1_000
_GIVEN = ("experiment_id", "name", "type", "instruction", "enable_comment", "input")


def read_label_schemas(tracking: Tracking) -> Iterator[Json]:
    """Yield the label schemas of all active experiments, by experiment and name, as REST returns them.

    :raises NotFound: Without an error code: the server has no such route, or no database.
    """
    tracking.need_database()
    for experiment_id in tracking.active_experiments():
        yield from label_schemas_of(tracking, experiment_id)


def label_schemas_of(tracking: Tracking, experiment_id: str) -> List[Json]:
    """Return the label schemas of an experiment by name; none if it was deleted meanwhile."""

    def fetch(token: Optional[str]) -> Json:
        params = {"experiment_id": experiment_id, "max_results": str(_PAGE)}
        return tracking.rest.get(f"{_LABEL_SCHEMAS}/list", {**params, **({"page_token": token} if token else {})})

    try:
        found = [one for page in paged(fetch, "label_schemas") for one in page]
    except NotFound as ex:
        if not ex.error_code:
            raise
        return []
    return sorted(found, key=lambda one: str(one["name"]))


def create_label_schema(tracking: Tracking, schema: Mapping[str, Any]) -> str:
    """Create a label schema, and return its id.

    :param schema: As :func:`read_label_schemas` yields them; what only a server can give is left out.
    """
    body = {name: schema[name] for name in _GIVEN if name in schema}

    def find() -> Optional[str]:
        there = label_schemas_of(tracking, str(body["experiment_id"]))
        return next((str(one["schema_id"]) for one in there if one["name"] == body["name"]), None)

    path = f"{_LABEL_SCHEMAS}/create"
    return tracking.rest.post_once(path, body, find, lambda reply: str(reply["label_schema"]["schema_id"]))


def update_label_schema(tracking: Tracking, schema_id: str, fields: Mapping[str, Any]) -> None:
    """Change a label schema.

    :param fields: Of ``name``, ``instruction``, ``enable_comment`` and ``input`` those that are to be written.
    """
    tracking.rest.patch(f"{_LABEL_SCHEMAS}/update", {"schema_id": schema_id, **fields})
