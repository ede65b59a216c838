"""run.json: how a run is written, and what is read of it before the whole is needed."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mlflow_migration.client import json_codec
from mlflow_migration.common.artifact_stores import File
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.timestamp_utils import fmt_ts_millis

Json = Dict[str, Any]

RUN_FILE = "run.json"
ARTIFACTS = "artifacts"


def fingerprint(run: Json, files: Optional[Sequence[File]], settings: Sequence[Any]) -> str:
    """Return what changes whenever a search shows another run, another list of artifacts, or other settings apply.

    :param run: Run as ``runs/search`` returns it.
    :param files: Its artifacts; None if they could not be listed.
    :param settings: What decides which artifacts are copied.
    """
    ordered = {
        "info": run["info"],
        "data": {kind: _sorted(items) for kind, items in sorted((run.get("data") or {}).items())},
        "inputs": run.get("inputs"),
        "outputs": run.get("outputs"),
        "files": None if files is None else [[file.path, file.size] for file in files],
        "settings": list(settings),
    }
    try:
        text = json_codec.dumps(ordered)
    except ValueError:  # a NaN that is a number: few servers send one, and to look for it takes longest
        text = json_codec.dumps(_plain(ordered))
    return hashlib.sha256(text).hexdigest()


def _sorted(items: Sequence[Mapping[str, Any]]) -> List[Mapping[str, Any]]:
    return sorted(items, key=lambda item: str(item.get("key")))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return json_codec.encode_number(value)


def run_json(
    run: Json, metrics: bytes, metrics_file: Optional[str], info: Json, script: str, tracking_uri: str
) -> bytes:
    """Return the text of run.json.

    :param run: The canonical run.
    :param metrics: Its histories, encoded.
    :param metrics_file: Name of the side file, if the histories are there instead.
    :param info: The file's own facts: fingerprint, artifacts, what is missing.
    """
    fields = dict(run["info"])
    for name in ("start_time", "end_time"):
        if fields.get(name):
            fields["_" + name] = fmt_ts_millis(int(fields[name]))
    body: Json = {
        "info": fields,
        "params": dict(sorted(run["params"].items())),
        "tags": dict(sorted(run["tags"].items())),
        "inputs": run["inputs"],
        "model_inputs": run["model_inputs"],
        "outputs": {"model_outputs": run["model_outputs"]},
    }
    if metrics_file:
        body["metrics_file"] = metrics_file
    return envelope(script, body, info, tracking_uri=tracking_uri, raw={"metrics": metrics})
