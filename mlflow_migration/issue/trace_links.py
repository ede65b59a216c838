"""Makes traces name the copies of the issues that they are linked to.

An assessment links a trace to an issue, whose id is its name. Traces come with their experiments, when their issues
have no copies yet; the name is written anew when these have. The whole assessment is written in one request, with its
own id and times: a request that changes it would change its time, too.
"""

from __future__ import annotations

from typing import Any, Dict, Set

from mlflow_migration.client.traces import TRACE_KEY, Traces
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.trace.trace_state import digest, is_issue, state_of, untouched

Json = Dict[str, Any]

_OF_ENTRY = ("kind", "destination", "experiment_id", "src_id", "dst_id")


def name_copy(tracking: Tracking, job: Job, id_map: IdMap, experiment_id: str, src_id: str, dst_id: str) -> int:
    """Make all traces of an experiment that name an issue of the source name its copy.

    :param tracking: The destination.
    :param id_map: Gets what the traces have now, as far as it has them.
    :param experiment_id: The destination's experiment that has the copy.
    :param src_id: Id of the issue at the source.
    :param dst_id: Id of the copy.
    :return: How many traces did not yet.
    """
    if src_id == dst_id or "'" in src_id:
        return 0
    traces = Traces(tracking)
    done: Set[str] = set()
    while True:
        # what is written does not fit any more, so the next ones are always on the first page
        page = next(traces.search(experiment_id, f"issue.id = '{src_id}'"), [])
        found = [info for info in page if info["trace_id"] not in done]
        if not found:
            return len(done)

        def rename(info: Json) -> None:
            _remember(id_map, experiment_id, src_id, info, _renamed(traces, info, src_id, dst_id))

        for outcome in job.executor.gather(rename, found):
            outcome.get()
            done.add(outcome.item["trace_id"])


def _renamed(traces: Traces, info: Json, src_id: str, dst_id: str) -> Json:
    """Write the name of an issue's copy into a trace, and return the trace's info with it."""
    renamed = [
        {**item, "assessment_name": dst_id} if is_issue(item) and item["assessment_name"] == src_id else item
        for item in info["assessments"]
    ]
    body = {key: info[key] for key in ("trace_id", "trace_location")}
    written = [item for item, old in zip(renamed, info["assessments"]) if item != old]
    traces.create({**body, **untouched(info), "trace_metadata": {}, "tags": {}, "assessments": written})
    return {**info, "assessments": renamed}


def _remember(id_map: IdMap, experiment_id: str, src_id: str, before: Json, now: Json) -> None:
    """Write into the id map what a trace has now, so that it is not taken for an edit."""
    origin = (now.get("tags") or {}).get(TRACE_KEY) or now["trace_id"]
    entry = id_map.find("trace", experiment_id, origin)
    if entry is None or entry["dst_id"] != now["trace_id"]:
        return
    facts = {name: value for name, value in entry.items() if name not in _OF_ENTRY}
    base, old, new = entry["base"] or {}, state_of(before), state_of(now)
    moved = {name for name in new if new[name] != old[name] and base.get(name) == old[name]}
    if moved:
        facts["base"] = {**base, **{name: new[name] for name in moved}}
    if entry.get("seen") == digest(before).hex():
        facts["seen"] = digest(now).hex()
    still = [one for one in entry.get("open") or () if one != src_id]
    facts.update({"open": still} if "open" in facts else {})
    id_map.record("trace", experiment_id, origin, now["trace_id"], **facts)
