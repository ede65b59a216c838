"""The scorers of a server: what judges traces. Paths are those of MLflow's ``protos/service.proto``."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Sequence

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.tracking import API_3, Tracking

Json = Dict[str, Any]

_SCORERS = f"{API_3}/scorers"
_ASKED = 100  # scorers in one question for their online configurations


def read_scorers(tracking: Tracking) -> Iterator[Json]:
    """Yield the scorers of all active experiments.

    :return: ``scorer_id``, ``experiment_id``, ``name``, ``versions`` (each ``version``, ``serialized_scorer`` and
        ``creation_time`` in ms, by number) and ``online`` (``sample_rate``, ``filter_string``; None if there is none).
    :raises NotFound: Without an error code: the server has no such route, or no database.
    """
    tracking.need_database()
    found = [_described(tracking, scorer) for scorer in tracking.rest.get(f"{_SCORERS}/list").get("scorers") or ()]
    online = _online(tracking, [scorer["scorer_id"] for scorer in found])
    for scorer in sorted(found, key=lambda one: (int(one["experiment_id"]), one["name"])):
        yield {**scorer, "online": online.get(scorer["scorer_id"])}


def _described(tracking: Tracking, latest: Json) -> Json:
    params = {"experiment_id": str(latest["experiment_id"]), "name": latest["scorer_name"]}
    versions = tracking.rest.get(f"{_SCORERS}/versions", params).get("scorers") or []
    return {
        "scorer_id": latest["scorer_id"],
        "experiment_id": str(latest["experiment_id"]),
        "name": latest["scorer_name"],
        "versions": sorted(map(_version, versions), key=lambda version: int(version["version"])),
    }


def _version(scorer: Json) -> Json:
    return {
        "version": int(scorer["scorer_version"]),
        "serialized_scorer": scorer.get("serialized_scorer") or "",
        "creation_time": scorer.get("creation_time"),
    }


def _online(tracking: Tracking, scorer_ids: Sequence[str]) -> Dict[str, Json]:
    """Return the online configurations by id of the scorer, as far as the server knows such."""
    found: Dict[str, Json] = {}

    def ask(ids: Sequence[str]) -> Json:
        return tracking.rest.get(f"{_SCORERS}/online-configs", [("scorer_ids", scorer_id) for scorer_id in ids])

    for start in range(0, len(scorer_ids), _ASKED):
        some = scorer_ids[start : start + _ASKED]
        reply = tracking.rest.optional("scorers/online-configs", partial(ask, some))
        for config in (reply or {}).get("configs") or ():
            found[config["scorer_id"]] = {name: config.get(name) for name in ("sample_rate", "filter_string")}
    return found


def register_scorer(tracking: Tracking, experiment_id: str, name: str, version: int, serialized: str) -> str:
    """Register the next version of a scorer, and return the scorer's id.

    :param version: The number that it is going to get.
    """

    def find() -> Optional[str]:
        there = scorer_versions(tracking, experiment_id, name)
        return next((str(one["scorer_id"]) for one in there if int(one["scorer_version"]) >= version), None)

    body = {"experiment_id": experiment_id, "name": name, "serialized_scorer": serialized}
    return tracking.rest.post_once(f"{_SCORERS}/register", body, find, lambda reply: str(reply["scorer_id"]))


def scorer_versions(tracking: Tracking, experiment_id: str, name: str) -> List[Json]:
    """Return all versions of a scorer as REST returns them; none if there is no such scorer."""
    try:
        reply = tracking.rest.get(f"{_SCORERS}/versions", {"experiment_id": experiment_id, "name": name})
    except NotFound as ex:
        if not ex.error_code:
            raise
        return []
    return list(reply.get("scorers") or ())


def delete_scorer_version(tracking: Tracking, experiment_id: str, name: str, version: int) -> None:
    """Delete a version of a scorer; it is no error if there is none."""
    try:
        body = {"experiment_id": experiment_id, "name": name, "version": version}
        tracking.rest.delete(f"{_SCORERS}/delete", body)
    except NotFound as ex:
        if not ex.error_code:
            raise


def set_online_scoring(
    tracking: Tracking, experiment_id: str, name: str, sample_rate: float, filter_string: Optional[str]
) -> None:
    """Let a share of an experiment's new traces be judged by a scorer.

    :param sample_rate: That share; 0 for none.
    :param filter_string: Only traces that match MLflow's filter string; None for all.
    """
    body = {"experiment_id": experiment_id, "name": name, "sample_rate": sample_rate, "filter_string": filter_string}
    tracking.rest.put(f"{_SCORERS}/online-config", body)
