"""What an export directory holds, whoever wrote it and when, in one shape.

Files of experiments and runs have changed over the years: with and without an envelope, ``run_uuid`` for ``run_id``,
tags as lists or dictionaries, metrics as single numbers, lists or histories, dataset inputs alone or together with
models, runs right below the experiment or in ``runs/``.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.export_dir import ExportDir, safe_name

Dct = Dict[str, Any]

_INTEGER = re.compile(r"[+-]?\d{1,19}\Z")
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # old MLflow wrote their number, from 1
_STAGES = ("active", "deleted")


def canonical_run(doc: Mapping[str, Any]) -> Dct:
    """Return a run out of its ``run.json``.

    :param doc: The file, with or without envelope.
    :return: ``info`` (``run_id`` always; ``run_name``, ``experiment_id``, ``user_id``, ``status``, ``start_time``,
        ``end_time``, ``artifact_uri`` may be None; ``lifecycle_stage`` is ``active`` if nothing is said), ``params``
        and ``tags`` (texts by key), ``metrics`` (lists of ``{value, timestamp, step}`` by key; NaN and infinities as
        floats), ``metrics_file`` (name of the file that holds them instead, or None), ``inputs`` (list of
        ``{dataset, tags}``, its tags a list of ``{key, value}``), ``model_inputs`` and ``model_outputs`` (lists of
        ``{model_id, step}``). Times are milliseconds since the epoch.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = _body(doc)
    tags = _texts(body.get("tags"), "tags")
    info = _info(_mapping(body.get("info"), "info"), tags)
    inputs = body.get("inputs")
    together = _mapping(inputs, "inputs") if isinstance(inputs, Mapping) else None
    dataset_inputs = together.get("dataset_inputs") if together is not None else inputs
    model_inputs = body.get("model_inputs")
    if model_inputs is None and together is not None:
        model_inputs = together.get("model_inputs")
    outputs = _mapping(body.get("outputs"), "outputs")
    return {
        "info": info,
        "params": _texts(body.get("params"), "params"),
        "tags": tags,
        "metrics": _metrics(body.get("metrics"), info["end_time"] or info["start_time"] or 0),
        "metrics_file": _text(body, "metrics_file", "metrics_file"),
        "inputs": [_dataset_input(item) for item in _list(dataset_inputs, "inputs")],
        "model_inputs": _models(model_inputs, "model_inputs"),
        "model_outputs": _models(outputs.get("model_outputs"), "outputs.model_outputs"),
    }


def canonical_experiment(doc: Mapping[str, Any]) -> Dct:
    """Return an experiment out of its ``experiment.json``.

    :param doc: The file, with or without envelope, or the answer of a server to ``experiments/get``.
    :return: ``experiment`` (its fields, with ``tags`` as a dictionary and times as numbers), ``runs`` and
        ``logged_models`` (ids, each once), and ``permissions`` if the file has them.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = _body(doc)
    fields = body.get("experiment")
    if fields is None:
        raise BadDirectory("'experiment' is missing")
    experiment = dict(_mapping(fields, "experiment"))
    experiment["tags"] = _texts(experiment.get("tags"), "experiment.tags")
    for key in ("experiment_id", "name", "artifact_location", "lifecycle_stage"):
        experiment[key] = _text(experiment, key, f"experiment.{key}")
    for key in ("creation_time", "last_update_time"):
        experiment[key] = _integer(experiment.get(key), f"experiment.{key}")
    result: Dct = {
        "experiment": experiment,
        "runs": _ids(body.get("runs", body.get("run_ids")), "runs"),
        "logged_models": _ids(body.get("logged_models"), "logged_models"),
    }
    if "permissions" in body:
        result["permissions"] = body["permissions"]
    return result


def run_dirs(exp_dir: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the id and the directory of each run of an exported experiment, each once.

    :param exp_dir: The experiment's directory: runs lie right in it or in its ``runs``.
    :return: Those that ``experiment.json`` lists come first, in its order, also if their file is missing: reading it
        then says so. Those only found on the disk, with a ``run.json``, follow.
    :raises BadDirectory: ``experiment.json`` can't be read.
    """
    return _object_dirs(_listed(exp_dir)["runs"], [exp_dir, exp_dir.sub("runs")], "run.json")


def logged_model_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the id and the directory of each logged model in ``logged_models``, each once; see :func:`run_dirs`.

    :param directory: Of an experiment or of a run.
    """
    listed = _listed(directory)["logged_models"]
    return _object_dirs(listed, [directory.sub("logged_models")], "logged_model.json")


def _listed(directory: ExportDir) -> Dct:
    if not directory.exists("experiment.json"):
        return {"runs": [], "logged_models": []}
    try:
        return canonical_experiment(directory.read_json("experiment.json"))
    except BadDirectory as ex:
        if directory.path in ex.message:
            raise
        raise BadDirectory(f"{directory.path}/experiment.json: {ex.message}") from ex


def _object_dirs(listed: List[str], parents: List[ExportDir], file: str) -> List[Tuple[str, ExportDir]]:
    on_disk: Dict[str, ExportDir] = {}
    for parent in reversed(parents):  # the first parent wins
        for name in parent.names():
            directory = _sub(parent, name)
            if _holds(directory, file):
                on_disk[name] = directory
    found: Dict[str, ExportDir] = {}
    for object_id in listed:
        known = next((name for name in (object_id, safe_name(object_id)) if name in on_disk), None)
        found[object_id] = on_disk.pop(known) if known else _sub(parents[0], object_id)
    found.update(on_disk)
    return list(found.items())


def _sub(parent: ExportDir, name: str) -> ExportDir:
    """Return a directory by its name; under the safe form of a hostile one nothing is found, and the reader says so."""
    try:
        return parent.sub(name)
    except BadDirectory:
        return parent.sub(safe_name(name))


def _holds(directory: ExportDir, file: str) -> bool:
    try:
        return directory.exists(file)
    except BadDirectory:
        return True  # a symlink: reading it will say so


def _body(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = doc.get("mlflow")
    return doc if inner is None else _mapping(inner, "mlflow")


def _info(info: Mapping[str, Any], tags: Mapping[str, str]) -> Dct:
    run_id = _text(info, "run_id", "info.run_id") or _text(info, "run_uuid", "info.run_uuid")
    if not run_id:
        raise BadDirectory("'info.run_id' is missing")
    name = _text(info, "run_name", "info.run_name") or _text(info, "name", "info.name") or tags.get("mlflow.runName")
    stage = _text(info, "lifecycle_stage", "info.lifecycle_stage") or "active"
    if stage not in _STAGES:
        raise BadDirectory(f"'info.lifecycle_stage' is {stage!r}")
    return {
        "run_id": run_id,
        "run_name": name,
        "experiment_id": _text(info, "experiment_id", "info.experiment_id"),
        "user_id": _text(info, "user_id", "info.user_id"),
        "status": _status(info.get("status")),
        "start_time": _integer(info.get("start_time"), "info.start_time"),
        "end_time": _integer(info.get("end_time"), "info.end_time"),
        "lifecycle_stage": stage,
        "artifact_uri": _text(info, "artifact_uri", "info.artifact_uri"),
    }


def _status(value: Any) -> Optional[str]:
    if value is None:
        return None
    if isinstance(value, str) and value in _STATUSES:
        return value
    number = _integer(value, "info.status")
    if number is None or not 1 <= number <= len(_STATUSES):
        raise BadDirectory(f"'info.status' is {value!r}")
    return _STATUSES[number - 1]


def _metrics(metrics: Any, time: int) -> Dict[str, List[Dct]]:
    """Return histories by key; ``time`` in milliseconds is that of values without one."""
    found: Dict[str, List[Dct]] = {}
    if isinstance(metrics, list):
        for item in metrics:
            key = item.get("key") if isinstance(item, Mapping) else None
            if not isinstance(key, str):
                raise BadDirectory("'metrics' holds an item without a key")
            found.setdefault(key, []).append(_point(item, key, time))
        return found
    for key, points in _mapping(metrics, "metrics").items():
        if isinstance(points, list):
            found[key] = [_point(point, key, time) for point in points]
        else:
            found[key] = [_point(points, key, time)]
    return found


def _point(point: Any, key: str, time: int) -> Dct:
    if not isinstance(point, Mapping):
        return {"value": _number(point, key), "timestamp": time, "step": 0}
    value, timestamp, step = point.get("value"), point.get("timestamp"), point.get("step")
    # most points of most files need no more than this, and there are millions of them
    if type(value) is not float:
        value = _number(value, key)
    if type(timestamp) is not int:
        timestamp = _integer(timestamp, f"metrics.{key}.timestamp")
    if type(step) is not int:
        step = _integer(step, f"metrics.{key}.step")
    return {"value": value, "timestamp": time if timestamp is None else timestamp, "step": step or 0}


def _number(value: Any, key: str) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)  # also of the texts NaN, Infinity and -Infinity
        except (ValueError, OverflowError):
            pass
    raise BadDirectory(f"'metrics.{key}.value' is no number: {value!r}")


def _dataset_input(item: Any) -> Dct:
    fields = _mapping(item, "inputs")
    dataset = _mapping(fields.get("dataset"), "inputs.dataset")
    if not isinstance(dataset.get("name"), str):
        raise BadDirectory("'inputs.dataset.name' is no text")
    tags = _texts(fields.get("tags"), "inputs.tags")
    return {
        "dataset": {key: value for key, value in dataset.items() if value is not None},
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }


def _models(items: Any, field: str) -> List[Dct]:
    models = []
    for item in _list(items, field):
        fields = _mapping(item, field)
        model_id = _text(fields, "model_id", f"{field}.model_id")
        if not model_id:
            raise BadDirectory(f"'{field}.model_id' is missing")
        models.append({"model_id": model_id, "step": _integer(fields.get("step"), f"{field}.step") or 0})
    return models


def _texts(items: Any, field: str) -> Dict[str, str]:
    """Return a dictionary of texts out of one, or out of a list of ``{key, value}``."""
    if isinstance(items, list):
        pairs = []
        for item in items:
            key = item.get("key") if isinstance(item, Mapping) else None
            if not isinstance(key, str):
                raise BadDirectory(f"'{field}' holds an item without a key")
            pairs.append((key, item.get("value")))
    else:
        pairs = list(_mapping(items, field).items())
    for key, value in pairs:
        if isinstance(value, (dict, list)):
            raise BadDirectory(f"'{field}.{key}' is no text")
    return {key: "" if value is None else value if isinstance(value, str) else str(value) for key, value in pairs}


def _ids(items: Any, field: str) -> List[str]:
    ids: Dict[str, None] = {}
    for item in _list(items, field):
        if not isinstance(item, str) or not item:
            raise BadDirectory(f"'{field}' holds something else than ids")
        ids[item] = None
    return list(ids)


def _text(fields: Mapping[str, Any], key: str, field: str) -> Optional[str]:
    value = fields.get(key)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):  # ids of experiments were numbers once
        return str(value)
    raise BadDirectory(f"'{field}' is no text")


def _integer(value: Any, field: str) -> Optional[int]:
    if value is None or type(value) is int:
        return value
    if isinstance(value, str) and _INTEGER.match(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise BadDirectory(f"'{field}' is no integer: {value!r}")


def _mapping(value: Any, field: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadDirectory(f"'{field}' is no object")
    return value


def _list(value: Any, field: str) -> List[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadDirectory(f"'{field}' is no list")
    return value
