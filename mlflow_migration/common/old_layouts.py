"""What an export directory holds, whoever wrote it and when, in one shape.

Files of experiments and runs have changed over the years: with and without an envelope, ``run_uuid`` for ``run_id``,
tags as lists or dictionaries, metrics as single numbers, lists or histories, dataset inputs alone or together with
models, statuses of logged models by one name or another. Nothing else gets to a server, which stores a part of what it
can't read, and says nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.registry import IS_PROMPT, MODEL_CONFIG, PROMPT_TEXT, PROMPT_TYPE, RESPONSE_FORMAT

Dct = Dict[str, Any]

_INTEGER = re.compile(r"[+-]?\d{1,19}\Z")
_INT64 = 2**63  # a server drops without a word what is not below, and all that follows it in the request
_ID = re.compile(
    r"(?!(?:runs|logged_models|version_models|artifacts)\Z)[a-zA-Z0-9][\w\-]{0,255}\Z"
)  # as MLflow has it, and no folder of ours
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # old MLflow wrote their number, from 1
_MODEL_STATUSES = ("PENDING", "READY", "UPLOAD_FAILED")  # likewise
_MODEL_METRIC_TEXTS = ("run_id", "dataset_name", "dataset_digest")
_STAGES = ("active", "deleted")


def is_id(text: str) -> bool:
    """Tell whether a text can be the id of a run or a logged model."""
    return bool(_ID.match(text))


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


def canonical_logged_model(doc: Mapping[str, Any]) -> Dct:
    """Return a logged model out of its ``logged_model.json``.

    :param doc: The file, with or without envelope.
    :return: Its fields, with ``tags`` and ``params`` as texts by key, ``status`` and ``lifecycle_stage`` as REST and
        our own files have them, and ``metrics``, each with ``key``, ``value`` (NaN and infinities as texts),
        ``timestamp`` and ``step``; ``run_id``, ``dataset_name`` and ``dataset_digest`` may be None.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = dict(_body(doc))
    texts = ("model_id", "name", "artifact_location", "model_type", "source_run_id", "status_message")
    body.update((key, _text(body, key, key)) for key in texts)
    body["status"] = _model_status(body.get("status"))
    body["lifecycle_stage"] = _text(body, "lifecycle_stage", "lifecycle_stage") or "active"
    if body["lifecycle_stage"] not in _STAGES:
        raise BadDirectory(f"'lifecycle_stage' is {_shown(body['lifecycle_stage'])}")
    body["tags"], body["params"] = _texts(body.get("tags"), "tags"), _texts(body.get("params"), "params")
    time = _integer(body.get("creation_timestamp"), "creation_timestamp") or 0
    body["metrics"] = [_model_metric(item, time) for item in _list(body.get("metrics"), "metrics")]
    return body


def canonical_logged_models(doc: Mapping[str, Any]) -> Dct:
    """Return the list of an export of logged models out of its ``logged_models.json``.

    :param doc: The file, with or without envelope.
    :return: ``experiments`` (each with ``id``, ``name``, ``creation_time``, which may be None, and the ids of its
        ``logged_models`` and ``runs``), ``failed_logged_models`` (ids of those that could not be exported) and
        ``left_out_models`` (ids of those that a filter has left out).
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    experiments = []
    for item in _list(_body(doc).get("experiments"), "experiments"):
        fields = _mapping(item, "experiments")
        name = _text(fields, "name", "experiments.name")
        if not name:
            raise BadDirectory("'experiments.name' is missing")
        experiments.append(
            {
                "id": _text(fields, "id", "experiments.id"),
                "name": name,
                "creation_time": _integer(fields.get("creation_time"), "experiments.creation_time"),
                "logged_models": _ids(fields.get("logged_models"), "experiments.logged_models"),
                "runs": _ids(fields.get("runs"), "experiments.runs"),
            }
        )
    info = _mapping(doc.get("info"), "info")
    return {
        "experiments": experiments,
        "failed_logged_models": _ids(info.get("failed_logged_models"), "info.failed_logged_models"),
        "left_out_models": _ids(info.get("skipped_logged_models"), "info.skipped_logged_models"),
    }


def canonical_models(doc: Mapping[str, Any]) -> Dct:
    """Return what ``models.json`` says of an export of several registered models.

    :param doc: The file, with or without envelope.
    :return: ``names`` of the models, each once, and ``failed`` (those that could not be exported).
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    info = _mapping(doc.get("info"), "info")
    names, failed = _ids(_body(doc).get("models"), "models"), _ids(info.get("failed_models"), "info.failed_models")
    return {"names": names, "failed": [name for name in failed if name not in names]}


def canonical_experiments(doc: Mapping[str, Any]) -> Dct:
    """Return what ``experiments.json`` says of an export of several experiments.

    :param doc: The file, with or without envelope.
    :return: ``ids`` of the experiments, each once and in their order, and ``failed`` (names or ids of those that could
        not be exported).
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    ids: Dict[str, str] = {}
    for item in _list(_body(doc).get("experiments"), "experiments"):
        fields = _mapping(item, "experiments")
        experiment_id = _text(fields, "id", "experiments.id")
        if not experiment_id:
            raise BadDirectory("'experiments.id' is missing")
        ids[experiment_id] = _text(fields, "name", "experiments.name") or ""
    info = _mapping(doc.get("info"), "info")
    asked_for = [_plain_text(name, "info.experiment_names") for name in _list(info.get("experiment_names"), "names")]
    known = {*ids, *ids.values()}
    return {"ids": list(ids), "failed": [name for name in asked_for if name not in known]}


def canonical_experiment(doc: Mapping[str, Any]) -> Dct:
    """Return an experiment out of its ``experiment.json``.

    :param doc: The file, with or without envelope, or the answer of a server to ``experiments/get``.
    :return: ``experiment`` (its fields, with ``tags`` as a dictionary and times as numbers), ``runs``,
        ``logged_models`` and ``traces`` (ids, each once), ``failed_runs`` (ids of those that could not be exported),
        ``left_out_models`` (ids of logged models that a filter has left out), and ``permissions`` if the file has them.
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
    info = _mapping(doc.get("info"), "info")
    result: Dct = {
        "experiment": experiment,
        "runs": _ids(body.get("runs", body.get("run_ids")), "runs"),
        "logged_models": _ids(body.get("logged_models"), "logged_models"),
        "traces": _ids(body.get("traces"), "traces"),
        "failed_runs": _ids(info.get("failed_runs"), "info.failed_runs"),
        "left_out_models": _ids(info.get("skipped_logged_models"), "info.skipped_logged_models"),
    }
    if "permissions" in body:
        result["permissions"] = body["permissions"]
    return result


def canonical_model(doc: Mapping[str, Any]) -> Dct:
    """Return a registered model out of its ``model.json``.

    :param doc: The file, with or without envelope.
    :return: ``model`` (its fields, with ``tags`` as texts by key), ``versions`` (sorted by number, each with the number
        as a text in ``version``, ``tags`` as texts by key and ``source``, ``run_id``, ``run_link``, ``description``,
        ``current_stage``, ``_download_uri``, which are texts, empty if nothing is said), ``aliases`` (numbers by alias)
        ``failed`` (numbers of versions that could not be exported), ``incomplete`` (what others lack, as lists of
        texts by number), and ``permissions`` if the file has them. Times are ms since epoch.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    fields = _body(doc).get("registered_model")
    if fields is None:
        raise BadDirectory("'registered_model' is missing")
    model = dict(_mapping(fields, "registered_model"))
    permissions = {"permissions": model.pop("permissions")} if "permissions" in model else {}
    listed = model.pop("versions", None)
    latest = model.pop("latest_versions", None)  # all that very old exports have
    numbered = {}
    for item in _list(latest if listed is None else listed, "registered_model.versions"):
        version = canonical_version(item)
        version["name"] = _text(model, "name", "registered_model.name") or ""
        numbered[int(version["version"])] = version
    model["tags"] = _texts(model.get("tags"), "registered_model.tags")
    for key in ("name", "description"):
        model[key] = _text(model, key, f"registered_model.{key}") or ""
    _times(model, "registered_model")
    listed = model.pop("aliases", None)
    aliases = _aliases(listed)
    for number, version in sorted(numbered.items()) if listed is None else ():
        aliases.update(dict.fromkeys(version["aliases"], str(number)))
    info = _mapping(doc.get("info"), "info")
    failed = [_mapping(item, "info.failed_versions") for item in _list(info.get("failed_versions"), "failed_versions")]
    incomplete = _mapping(info.get("incomplete_versions"), "info.incomplete_versions")
    return {
        "model": model,
        "versions": [numbered[number] for number in sorted(numbered)],
        "aliases": aliases,
        "failed": [_version_number(item.get("version"), "info.failed_versions") for item in failed],
        "incomplete": {
            str(number): [_plain_text(text, "info.incomplete_versions") for text in _list(texts, "incomplete_versions")]
            for number, texts in incomplete.items()
        },
        **permissions,
    }


def canonical_prompt(doc: Mapping[str, Any]) -> Dct:
    """Return a version of a prompt out of its ``prompt.json``.

    :param doc: The file, with or without envelope.
    :return: ``version`` (as :func:`canonical_model` has it; its tags hold the template and whatever else a prompt has),
        ``runs`` (what runs that it names were imported from, by id) and ``whole``: what the file has of the prompt as
        a whole, as in :func:`canonical_prompts`, or None.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = _body(doc)
    raw = body.get("model_version")
    version = canonical_version(_version_of_prompt(body) if raw is None else raw)
    version["name"] = _text(version, "name", "prompt.name")
    if not version["name"]:
        raise BadDirectory("'prompt.name' is missing")
    version["tags"].setdefault(IS_PROMPT, "true")
    runs = _texts(body.get("runs"), "runs")
    whole = None if body.get("registered_model") is None else _whole_prompt(body)
    return {"version": version, "runs": runs, "whole": whole}


def _version_of_prompt(body: Mapping[str, Any]) -> Dct:
    """Return a version as REST would, out of what other tools write of a prompt."""
    if body.get("prompt") is None:
        raise BadDirectory("'prompt' is missing")
    prompt = _mapping(body["prompt"], "prompt")
    template = prompt.get("template")
    if not isinstance(template, (str, list)):
        raise BadDirectory(f"'prompt.template' is neither text nor a list of messages: {_shown(template)}")
    tags = _texts(prompt.get("tags"), "prompt.tags")
    tags.setdefault(IS_PROMPT, "true")
    if isinstance(template, str):
        tags.setdefault(PROMPT_TEXT, template)
    else:
        tags.setdefault(PROMPT_TEXT, json_codec.dumps(template).decode())
        tags.setdefault(PROMPT_TYPE, "chat")
    for field, key in (("response_format", RESPONSE_FORMAT), ("model_config", MODEL_CONFIG)):
        if prompt.get(field) is not None:
            tags.setdefault(key, json_codec.dumps(prompt[field]).decode())
    kept = ("name", "version", "aliases", "user_id", "creation_timestamp", "last_updated_timestamp")
    description = prompt.get("commit_message") or prompt.get("description")
    return {**{key: prompt.get(key) for key in kept}, "description": description, "tags": tags}


def canonical_prompts(doc: Mapping[str, Any]) -> Dct:
    """Return what ``prompts_summary.json`` says.

    :param doc: The file, with or without envelope.
    :return: ``prompts`` (a list, each with ``model``, ``aliases`` and ``failed`` as in :func:`canonical_model`,
        ``numbers`` of the versions that the directory has, and ``experiments``: ``name`` and ``creation_time`` by id at
        the source), ``failed`` (names of prompts that could not be exported), and ``is_ours``: it lists all prompts.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = _body(doc)
    return {
        "prompts": [_whole_prompt(_mapping(item, "prompts")) for item in _list(body.get("prompts"), "prompts")],
        "failed": _ids(body.get("failed_prompts"), "failed_prompts"),
        "is_ours": "prompts" in body,
    }


def _whole_prompt(item: Mapping[str, Any]) -> Dct:
    found = canonical_model(item)
    found["model"]["tags"].setdefault(IS_PROMPT, "true")
    numbers = [_version_number(number, "versions") for number in _list(item.get("versions"), "versions")]
    kept = {key: found[key] for key in ("model", "aliases", "failed")}
    return {**kept, "numbers": numbers, "experiments": _experiments(item.get("experiments"))}


def _experiments(items: Any) -> Dct:
    """Return ``name`` and ``creation_time`` of experiments by id."""
    experiments: Dct = {}
    for experiment_id, fields in _mapping(items, "experiments").items():
        about = _mapping(fields, "experiments")
        time = _integer(about.get("creation_time"), "experiments.creation_time")
        experiments[experiment_id] = {"name": _text(about, "name", "experiments.name"), "creation_time": time}
    return experiments


def canonical_evaluation_dataset(doc: Mapping[str, Any]) -> Dct:
    """Return an evaluation dataset out of its ``evaluation_dataset.json``.

    :param doc: The file, with or without envelope.
    :return: ``dataset`` (fields as REST has them; ``tags`` is a dictionary, ``experiment_ids`` a list), ``records``
        (see :func:`canonical_record`, for each), ``records_file`` (name of the file that holds them instead, or None),
        ``num_records`` (how many there are to be, None if the file does not tell), ``experiments`` (``name`` and
        ``creation_time`` by id at the source) and ``runs`` (what runs that records name were imported from, by id;
        None if the file does not tell which these are).
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = _body(doc)
    if body.get("evaluation_dataset") is None:
        raise BadDirectory("'evaluation_dataset' is missing")
    fields = dict(_mapping(body["evaluation_dataset"], "evaluation_dataset"))
    records = _list(fields.pop("records", None), "evaluation_dataset.records")
    for key in ("dataset_id", "name", "created_by", "last_updated_by"):
        fields[key] = _text(fields, key, f"evaluation_dataset.{key}")
    for key in ("dataset_id", "name"):
        if not fields[key]:
            raise BadDirectory(f"'evaluation_dataset.{key}' is missing")
    fields["tags"] = _texts(fields.get("tags"), "evaluation_dataset.tags")
    ids = _list(fields.get("experiment_ids"), "evaluation_dataset.experiment_ids")
    fields["experiment_ids"] = sorted({_plain_text(item, "evaluation_dataset.experiment_ids") for item in ids})
    info = _mapping(doc.get("info"), "info")
    return {
        "dataset": fields,
        "records": records,
        "records_file": _text(body, "records_file", "records_file"),
        "num_records": _integer(info.get("num_records"), "info.num_records"),
        "experiments": _experiments(body.get("experiments")),
        "runs": None if body.get("runs") is None else _texts(body["runs"], "runs"),
    }


def canonical_record(item: Any) -> Dct:
    """Return a record of an evaluation dataset as a server takes it.

    :param item: As the directory has it; what strict JSON can't hold is there as a text with JSON in it.
    :return: ``inputs``, ``outputs``, ``expectations``, ``tags``, ``source``, ``dataset_record_id`` and ``created_by``;
        None for what it does not have.
    :raises BadDirectory: It is no record.
    """
    try:
        fields = _mapping(json.loads(item) if isinstance(item, str) else item, "records")
    except (ValueError, RecursionError) as ex:
        raise BadDirectory(f"'records' holds a text that is no JSON: {_shown(item)}") from ex
    if not isinstance(fields.get("inputs"), Mapping):
        raise BadDirectory("'records' holds a record without 'inputs'")
    for key in ("expectations", "tags", "source"):
        _mapping(fields.get(key), f"records.{key}")
    record = {key: fields.get(key) for key in ("inputs", "outputs", "expectations", "tags")}
    record["source"] = fields.get("source") or None
    record.update((key, _text(fields, key, f"records.{key}")) for key in ("dataset_record_id", "created_by"))
    return record


def canonical_evaluation_datasets(doc: Mapping[str, Any]) -> Dct:
    """Return what ``evaluation_datasets_summary.json`` says.

    :param doc: The file, with or without envelope.
    :return: ``datasets`` (name by id, of those that the directory has) and ``failed`` (the same of those that could not
        be exported); both are empty where another tool wrote it.
    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    body = _body(doc)
    found: Dct = {}
    for name, field in (("datasets", "evaluation_datasets"), ("failed", "failed_evaluation_datasets")):
        items = [_mapping(item, field) for item in _list(body.get(field), field)]
        named = {_text(item, "dataset_id", f"{field}.dataset_id"): _text(item, "name", field) for item in items}
        if not all(named.keys()) or not all(named.values()):
            raise BadDirectory(f"'{field}' holds an item without id or name")
        found[name] = named
    return found


def canonical_info(info: Any) -> Dct:
    """Return what an export says about an object.

    :param info: ``info`` of its file, None if it has none.
    :return: ``artifacts``, if the export lists them: a list of ``{path, size, sha256}``, whose paths are not checked;
        of files that a copy has left at the source, ``etag`` and ``left_at`` too;
        ``version_models``, if it has them: such lists by number of a version;
        ``incomplete`` (list of texts), ``fingerprint`` (may be None), and whatever else there is.
    :raises BadDirectory: A field has another shape; it is named.
    """
    fields = dict(_mapping(info, "info"))
    fields["fingerprint"] = _text(fields, "fingerprint", "info.fingerprint")
    problems = _list(fields.get("incomplete"), "info.incomplete")
    fields["incomplete"] = [_plain_text(item, "info.incomplete") for item in problems]
    if "artifacts" in fields:
        fields["artifacts"] = _artifacts(fields["artifacts"], "info.artifacts")
    if "version_models" in fields:
        of_versions = _mapping(fields["version_models"], "info.version_models")
        fields["version_models"] = {
            _version_number(number, "info.version_models"): _artifacts(items, "info.version_models")
            for number, items in of_versions.items()
        }
    return fields


def canonical_points(line: bytes) -> Tuple[str, List[Dct]]:
    """Return key and points out of a line of a run's side file; points as in :func:`canonical_run`.

    :raises BadDirectory: It is no such line.
    """
    try:
        fields = _mapping(json_codec.loads(line), "line")
    except RecursionError as ex:
        raise BadDirectory("it is nested too deeply") from ex
    except ValueError as ex:
        raise BadDirectory(f"it is no JSON: {ex}") from ex
    key = _plain_text(fields.get("key"), "key")
    points = []
    for row in _list(fields.get("points"), "points"):
        if not isinstance(row, list) or len(row) != 3:
            raise BadDirectory(f"'points' holds something else than value, time and step: {_shown(row)}")
        points.append(_point({"value": row[0], "timestamp": row[1], "step": row[2]}, key, 0))
    return key, points


def _body(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = doc.get("mlflow")
    return doc if inner is None else _mapping(inner, "mlflow")


def _info(info: Mapping[str, Any], tags: Mapping[str, str]) -> Dct:
    run_id = _text(info, "run_id", "info.run_id") or _text(info, "run_uuid", "info.run_uuid")
    if not run_id:
        raise BadDirectory("'info.run_id' is missing")
    if not is_id(run_id):
        raise BadDirectory(f"'info.run_id' is no id of a run: {_shown(run_id)}")
    name = _text(info, "run_name", "info.run_name") or _text(info, "name", "info.name") or tags.get("mlflow.runName")
    stage = _text(info, "lifecycle_stage", "info.lifecycle_stage") or "active"
    if stage not in _STAGES:
        raise BadDirectory(f"'info.lifecycle_stage' is {_shown(stage)}")
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
        raise BadDirectory(f"'info.status' is {_shown(value)}")
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
    if type(timestamp) is not int or not -_INT64 <= timestamp < _INT64:
        timestamp = _integer(timestamp, f"metrics.{key}.timestamp")
    if type(step) is not int or not -_INT64 <= step < _INT64:
        step = _integer(step, f"metrics.{key}.step")
    return {"value": value, "timestamp": time if timestamp is None else timestamp, "step": step or 0}


def _number(value: Any, key: str) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)  # also of the texts NaN, Infinity and -Infinity
        except (ValueError, OverflowError):
            pass
    raise BadDirectory(f"'metrics.{key}.value' is no number: {_shown(value)}")


def _dataset_input(item: Any) -> Dct:
    fields = _mapping(item, "inputs")
    dataset = _mapping(fields.get("dataset"), "inputs.dataset")
    if not isinstance(dataset.get("name"), str):
        raise BadDirectory("'inputs.dataset.name' is no text")
    tags = _texts(fields.get("tags"), "inputs.tags")
    return {
        "dataset": _texts({key: value for key, value in dataset.items() if value is not None}, "inputs.dataset"),
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


def _artifacts(items: Any, field: str) -> List[Dct]:
    return [_artifact(item) for item in _list(items, field)]


def _artifact(item: Any) -> Dct:
    fields = _mapping(item, "info.artifacts")
    path, size = _plain_text(fields.get("path"), "info.artifacts.path"), fields.get("size")
    if type(size) is not int or size < 0:
        raise BadDirectory(f"'info.artifacts.size' of {path} is no size: {_shown(size)}")
    known = {"path": path, "size": size, "sha256": _text(fields, "sha256", "info.artifacts.sha256")}
    left = {name: _text(fields, name, f"info.artifacts.{name}") for name in ("etag", "left_at") if fields.get(name)}
    return {**known, **left}


def canonical_version_file(doc: Mapping[str, Any]) -> Dct:
    """Return a model version out of its ``version.json``; see :func:`canonical_version`.

    :param doc: The file, with or without envelope.
    """
    fields = _body(doc).get("model_version")
    if fields is None:
        raise BadDirectory("'model_version' is missing")
    version = canonical_version(fields)
    version["name"] = _text(version, "name", "model_version.name") or ""
    return version


def canonical_version(item: Any) -> Dct:
    """Return a version of a registered model as :func:`canonical_model` has it.

    :raises BadDirectory: A field has another shape than any tool has ever written; it is named.
    """
    version = dict(_mapping(item, "registered_model.versions"))
    number = version["version"] = _version_number(version.get("version"), "registered_model.versions")
    field = f"version {number}"
    version["tags"] = _texts(version.get("tags"), f"{field}: tags")
    for key in ("source", "run_id", "run_link", "description", "current_stage", "_download_uri"):
        version[key] = _text(version, key, f"{field}: {key}") or ""
    version["aliases"] = [_plain_text(alias, f"{field}: aliases") for alias in _list(version.get("aliases"), "aliases")]
    _times(version, field)
    return version


def _version_number(value: Any, field: str) -> str:
    number = _integer(value, field)
    if number is None or not 0 < number < 2**31:
        raise BadDirectory(f"'{field}' holds {_shown(value)}, which is no number of a version")
    return str(number)


def _times(fields: Dct, field: str) -> None:
    for key in ("creation_timestamp", "last_updated_timestamp"):
        fields[key] = _integer(fields.get(key), f"{field}: {key}")


def _aliases(items: Any) -> Dict[str, str]:
    field = "registered_model.aliases"
    if isinstance(items, Mapping):
        pairs = list(items.items())
    else:
        fields = [_mapping(item, field) for item in _list(items, field)]
        pairs = [(item.get("alias"), item.get("version")) for item in fields]
    return {_plain_text(alias, field): _version_number(number, field) for alias, number in pairs}


def _plain_text(value: Any, field: str) -> str:
    try:
        return str(value.encode(), "utf-8")
    except AttributeError:
        raise BadDirectory(f"'{field}' is no text: {_shown(value)}") from None
    except UnicodeEncodeError:
        raise BadDirectory(f"'{field}' is no Unicode text: {_shown(value)}") from None


def _model_status(value: Any) -> Optional[str]:
    name = value[len("LOGGED_MODEL_") :] if isinstance(value, str) and value.startswith("LOGGED_MODEL_") else value
    if name in (None, "", 0, "UNSPECIFIED"):
        return None
    if name == "FAILED":  # as MLflow's Python class calls it
        name = "UPLOAD_FAILED"
    if isinstance(name, int) and 1 <= name <= len(_MODEL_STATUSES):
        name = _MODEL_STATUSES[name - 1]
    if name not in _MODEL_STATUSES:
        raise BadDirectory(f"'status' is {_shown(value)}")
    return f"LOGGED_MODEL_{name}"


def _model_metric(item: Any, time: int) -> Dct:
    fields = _mapping(item, "metrics")
    key = _text(fields, "key", "metrics.key")
    if key is None:
        raise BadDirectory("'metrics' holds an item without a key")
    point = _point(fields, key, time)
    point.update(key=key, value=json_codec.encode_number(point["value"]))
    point.update((name, _text(fields, name, f"metrics.{key}.{name}")) for name in _MODEL_METRIC_TEXTS)
    return point


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
    if value is None:
        return None
    number = value
    if isinstance(value, str) and _INTEGER.match(value) or isinstance(value, float) and value.is_integer():
        number = int(value)
    if type(number) is not int or not -_INT64 <= number < _INT64:
        raise BadDirectory(f"'{field}' is no integer of 64 bits: {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:90]}... ({len(text)} characters)"


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
