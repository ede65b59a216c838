"""The issues of a server: problems that were found in traces. Paths are those of MLflow's ``protos/issues.proto``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Optional
from urllib.parse import quote

from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API_3, Tracking

Json = Dict[str, Any]

_ISSUES = f"{API_3}/issues"
_PAGE = 1_000
_GIVEN = (
    "experiment_id", "name", "description", "status", "severity", "root_causes", "source_run_id", "categories",
    "created_by",
)  # fmt: skip


def read_issues(tracking: Tracking) -> Iterator[Json]:
    """Yield the issues of all active experiments, the oldest first, as REST returns them.

    :raises NotFound: Without an error code: the server has no such route, or no database.
    """
    tracking.need_database()
    active = set(tracking.active_experiments())
    found = [issue for issue in _search(tracking, {}) if str(issue["experiment_id"]) in active]
    yield from sorted(found, key=lambda issue: (int(issue["created_timestamp"]), issue["issue_id"]))


def _search(tracking: Tracking, where: Mapping[str, str]) -> Iterator[Json]:
    def fetch(token: Optional[str]) -> Json:
        body: Json = {**where, "max_results": _PAGE, **({"page_token": token} if token else {})}
        return tracking.rest.search(f"{_ISSUES}/search", body)

    for page in paged(fetch, "issues"):
        yield from page


def create_issue(tracking: Tracking, issue: Mapping[str, Any]) -> str:
    """Create an issue, and return its id.

    :param issue: As :func:`read_issues` yields them; what only a server can give is left out.
    """
    body = {name: issue[name] for name in _GIVEN if issue.get(name)}

    def find() -> Optional[str]:
        # one that is the same in all that can be given: nothing tells two such apart
        there = _search(tracking, {"experiment_id": str(body["experiment_id"])})
        same = [one for one in there if {name: one[name] for name in _GIVEN if one.get(name)} == body]
        newest = max(same, key=lambda one: int(one["created_timestamp"]), default=None)
        return None if newest is None else str(newest["issue_id"])

    return tracking.rest.post_once(_ISSUES, body, find, lambda reply: str(reply["issue"]["issue_id"]))


def update_issue(tracking: Tracking, issue_id: str, fields: Mapping[str, str]) -> None:
    """Change an issue.

    :param fields: Of ``name``, ``description``, ``status`` and ``severity`` those that are to be written; none can be
        emptied.
    """
    tracking.rest.patch(f"{_ISSUES}/{quote(issue_id, safe='')}", {"issue_id": issue_id, **fields})
