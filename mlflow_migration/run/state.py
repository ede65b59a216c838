"""What a run looks like, field by field, for the comparison of a repeat."""

from __future__ import annotations

from typing import Any, Callable, Dict, FrozenSet, Iterable, Mapping, Optional

from mlflow_migration.client.tracking import RUN_KEY, tag_dict
from mlflow_migration.common.three_way import State, number, short

Json = Dict[str, Any]

UNKEPT_TAGS = frozenset({RUN_KEY, "mlflow.runName"})
"""Tags that say nothing: the key of the copy, and the run's name, which is a field of its own."""


def canonical(run: Json) -> Json:
    """Return a run as ``runs/search`` gives it in the shape that run.json has (without histories)."""
    info, data = run["info"], run.get("data") or {}
    inputs, outputs = run.get("inputs") or {}, run.get("outputs") or {}
    return {
        "info": info,
        "params": tag_dict(data.get("params")),
        "tags": tag_dict(data.get("tags")),
        "latest": {m["key"]: m for m in data.get("metrics") or ()},
        "inputs": inputs.get("dataset_inputs") or [],
        "model_inputs": inputs.get("model_inputs") or [],
        "model_outputs": outputs.get("model_outputs") or [],
    }


def links_of(run: Json) -> FrozenSet[str]:
    """Return the ids of the logged models that a canonical run has as inputs or outputs."""
    return frozenset(link["model_id"] for link in run["model_outputs"] + run["model_inputs"])


def latest_of(points: Iterable[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """Return the point that MLflow calls the latest: by step, then time, then value."""

    def order(point: Mapping[str, Any]) -> Any:
        value = float(point["value"])
        return point["step"], point["timestamp"], value if value == value else 0.0  # a server keeps NaN as 0 and a mark

    return max(points, key=order, default=None)


def state_of(
    run: Json, artifacts: Mapping[str, int], map_tag: Callable[[str, str], str] = lambda key, value: value
) -> State:
    """Return the state of a run.

    :param run: Canonical run, with ``latest`` (key to point).
    :param artifacts: Sizes in bytes by path.
    :param map_tag: Gives a tag's value as the destination should have it.
    """
    info = run["info"]
    state = {
        "status": str(info.get("status") or ""),
        "end": str(info.get("end_time") or 0),
        "lifecycle": str(info.get("lifecycle_stage") or "active"),
    }
    if info.get("run_name"):  # a server makes a name up where none is given
        state["name"] = short(info["run_name"])
    for key, value in run["params"].items():
        state["param:" + key] = short(value)
    for key, value in run["tags"].items():
        if key not in UNKEPT_TAGS:
            state["tag:" + key] = short(map_tag(key, value))
    for key, point in run["latest"].items():
        state["metric:" + key] = short([number(point.get("value", 0.0)), point.get("timestamp"), point.get("step", 0)])
    for entry in run["inputs"]:
        dataset = entry["dataset"]
        state[f"input:{dataset.get('name')}:{dataset.get('digest')}"] = short(
            sorted(tag_dict(entry.get("tags")).items())
        )
    for output in run["model_outputs"]:
        state["output:" + output["model_id"]] = str(output.get("step", 0))
    for entry in run["model_inputs"]:
        state["model_input:" + entry["model_id"]] = ""
    for path, size in artifacts.items():
        state["artifact:" + path] = str(size)
    return state
