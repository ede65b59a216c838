"""What is compared: objects of either side in one shape, flat, so that their comparison is that of two dictionaries.

Nothing here is shared with what imports compare: a mistake there must not hide itself here.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Protocol, Tuple

from mlflow_migration.client.tracking import tag_dict

Json = Dict[str, Any]
Fields = Dict[str, Any]

EXPERIMENT, RUN, LOGGED_MODEL = "experiment", "run", "logged_model"
MODEL, VERSION = "registered_model", "model_version"
PROMPT, PROMPT_VERSION = "prompt", "prompt_version"
TRACE = "trace"
DATASET = "evaluation_dataset"

OWN_TAGS = ("mlflow_exim.", "mlflow_exim_")
"""Beginnings of the keys of tags that only say where a copy came from; Unity Catalog takes no dots."""

PARENT, ROOT, HISTORY = "mlflow.parentRunId", "mlflow.rootRunId", "mlflow.log-model.history"
_OF_NOTEBOOK = ("tag:mlflow.experiment.sourceType", "tag:mlflow.experiment.sourceId")
_TELEMETRY = "TelemetryDestinationId", "TraceDestinationPath"
_TABLES = "TraceSpanStorageTable", "TraceLogStorageTable", "TraceAnnotationsTable"
RUN_SET_BY_DATABRICKS = ("user_id", "tag:mlflow.user", f"tag:{ROOT}", f"tag:{HISTORY}", *_OF_NOTEBOOK)
EXPERIMENT_SET_BY_DATABRICKS = (
    "tag:mlflow.ownerId", "tag:mlflow.ownerEmail", "tag:mlflow.experimentType", *_OF_NOTEBOOK,
    *(f"tag:mlflow.experiment.databricks{name}" for name in (*_TELEMETRY, *_TABLES)),
)  # fmt: skip
_SET_BY_SERVER = frozenset({"mlflow.runName", "mlflow.modelVersions"})
_LARGEST = 1.7976931348623157e308
_POINT = struct.Struct("<dqq")
_MODULUS = 1 << 128


class Files(Protocol):
    """The artifacts of an object."""

    root: str

    def sizes(self) -> Dict[str, int]:
        """Return bytes by path."""

    def sha256(self, path: str) -> str:
        """Return the hash of a file, in hex."""

    def content(self, path: str, most: int) -> Optional[bytes]:
        """Return a file's bytes, None if they are more than ``most``."""


@dataclass
class PointSum:
    """The points of one metric, whatever their number and order: how many, and a sum over their hashes."""

    number: int = 0
    total: int = 0

    def add(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Add points as REST gives them."""
        for point in points:
            digest = hashlib.blake2b(packed(point), digest_size=16).digest()
            self.total = (self.total + int.from_bytes(digest, "little")) % _MODULUS
            self.number += 1


@dataclass
class Thing:
    """One object of one side.

    :param kind: What it is.
    :param id: Its id there.
    :param name: Its name, for the reader.
    :param fields: What is compared, by names such as ``status``, ``tag:team``, ``metric:loss``.
    :param key: What its key tag says that it was made from; empty if it has none.
    :param parent_id: Id of its experiment.
    :param deleted: Whether it is marked as deleted.
    :param models: Steps of the logged models that it is linked to, by (``output`` or ``model_input``, id).
    :param metrics: Metrics of a logged model, each as value, time, step, run, dataset and its digest, by key.
    :param keys: Keys of its metrics.
    :param files: Its artifacts; None if it can have none.
    :param versions: Those of a registered model.
    :param place: Where a directory has it.
    :param kept: Fields that a Databricks workspace sets itself, as its source tags say that they were before.
    :param in_databricks: It is in such a workspace.
    :param error: Why it can't be read.
    """

    kind: str
    id: str
    name: str = ""
    fields: Fields = field(default_factory=dict)
    key: str = ""
    parent_id: str = ""
    deleted: bool = False
    models: Dict[Tuple[str, str], int] = field(default_factory=dict)
    metrics: Dict[str, List[Tuple[Any, ...]]] = field(default_factory=dict)
    keys: List[str] = field(default_factory=list)
    files: Optional[Files] = None
    versions: List["Thing"] = field(default_factory=list)
    place: Any = None
    kept: Fields = field(default_factory=dict)
    in_databricks: bool = False
    error: Optional[Exception] = None


def _number(value: Any) -> float:
    """Return a metric's value as every server has it: none keeps infinities or the sign of zero."""
    number = float(value or 0.0)
    if math.isinf(number):
        return math.copysign(_LARGEST, number)
    return number + 0.0 if number == number else math.nan


def number_text(value: Any) -> str:
    """Return such a value as text."""
    return repr(_number(value))


def packed(point: Mapping[str, Any]) -> bytes:
    """Return a point as 24 bytes that are the same whatever it is written as."""
    return _POINT.pack(_number(point.get("value")), int(point.get("timestamp") or 0), int(point.get("step") or 0))


def unpacked(data: bytes) -> str:
    """Return such a point in words."""
    value, time, step = _POINT.unpack(data)
    return f"{value!r} at time {time}, step {step}"


def tags_of(tags: Mapping[str, str]) -> Fields:
    """Return the tags that count as fields."""
    return {
        f"tag:{key}": value for key, value in tags.items() if not key.startswith(OWN_TAGS) and key not in _SET_BY_SERVER
    }


def experiment_fields(doc: Mapping[str, Any]) -> Fields:
    """Return the fields of an experiment; its tags are a dictionary."""
    return {"lifecycle_stage": doc.get("lifecycle_stage") or "active", **tags_of(doc.get("tags") or {})}


def run_fields(doc: Mapping[str, Any]) -> Fields:
    """Return the fields of a run.

    :param doc: ``info``, ``params``, ``tags``, ``latest`` (points by key) and ``inputs``.
    """
    info = doc["info"]
    fields: Fields = {
        "name": info.get("run_name") or "",
        "status": info.get("status") or "FINISHED",
        "start_time": int(info.get("start_time") or 0),
        "end_time": int(info.get("end_time") or 0),
        "user_id": info.get("user_id") or "",
        "lifecycle_stage": info.get("lifecycle_stage") or "active",
    }
    fields.update((f"param:{key}", value) for key, value in doc["params"].items())
    fields.update(tags_of(doc["tags"]))
    for key, point in doc["latest"].items():
        fields[f"metric:{key}"] = unpacked(packed(point))
    for item in doc["inputs"]:
        dataset = {key: value for key, value in item["dataset"].items() if value}
        name = f"input:{dataset.pop('name', '')}:{dataset.pop('digest', '')}"
        fields[name] = {"tags": tag_dict(item.get("tags")), **dataset}
    return fields


def kept_fields(tags: Mapping[str, str], set_by_it: Iterable[str]) -> Fields:
    """Return what source tags say of the fields that a Databricks workspace sets itself.

    :param tags: Tags of the copy.
    :param set_by_it: The fields.
    """
    kept: Fields = {}
    for name in set_by_it:
        key = name.replace("tag:mlflow.", "mlflow_exim.mlflow_tag.")
        if name == "user_id":
            key = "mlflow_exim.run_info.user_id"
        if key in tags:
            kept[name] = tags[key]
    return kept


def run_links(doc: Mapping[str, Any]) -> Dict[Tuple[str, str], int]:
    """Return the logged models that a run is linked to; inputs have no step that REST keeps."""
    links = {("model_input", item["model_id"]): 0 for item in doc.get("model_inputs") or ()}
    links.update((("output", item["model_id"]), int(item.get("step") or 0)) for item in doc.get("model_outputs") or ())
    return links


def latest_of(points: Iterable[Mapping[str, Any]], so_far: Optional[Json] = None) -> Optional[Json]:
    """Return the point that a server calls the latest: by step, then time, then value, of which NaN counts as 0."""

    def order(point: Mapping[str, Any]) -> Tuple[int, int, float]:
        value = float(point["value"])
        return int(point["step"]), int(point["timestamp"]), 0.0 if math.isnan(value) else value

    for point in points:
        if so_far is None or order(point) > order(so_far):
            so_far = dict(point)
    return so_far


def logged_model_fields(doc: Mapping[str, Any], deleted: bool) -> Fields:
    """Return the fields of a logged model but for its metrics; its tags and params are dictionaries."""
    fields: Fields = {name: doc.get(name) or "" for name in ("name", "model_type", "source_run_id")}
    fields["status"] = doc.get("status") or "LOGGED_MODEL_READY"
    fields["lifecycle_stage"] = "deleted" if deleted else "active"
    fields.update((f"param:{key}", value) for key, value in (doc.get("params") or {}).items())
    fields.update(tags_of(doc.get("tags") or {}))
    return fields


def model_metrics(metrics: Iterable[Mapping[str, Any]]) -> Dict[str, List[Tuple[Any, ...]]]:
    """Return the metrics of a logged model by key. No server keeps NaN there: it stores 0."""
    found: Dict[str, List[Tuple[Any, ...]]] = {}
    for item in metrics:
        value = number_text(item.get("value"))
        row = ("0.0" if value == "nan" else value, int(item.get("timestamp") or 0), int(item.get("step") or 0))
        dataset = (item.get("dataset_name") or "", item.get("dataset_digest") or "")
        found.setdefault(item["key"], []).append((*row, item.get("run_id") or "", *dataset))
    return {key: sorted(rows) for key, rows in found.items()}


def registered_fields(doc: Mapping[str, Any]) -> Fields:
    """Return the fields of a registered model or prompt but for its aliases; its tags are a dictionary."""
    return {"description": doc.get("description") or "", **tags_of(doc.get("tags") or {})}


def version_fields(doc: Mapping[str, Any]) -> Fields:
    """Return the fields of a version that do not name its source; its tags are a dictionary."""
    stage = doc.get("current_stage") or "None"
    return {
        "version": str(doc["version"]),
        "stage": stage,
        "run_link": doc.get("run_link") or "",
        **registered_fields(doc),
    }
