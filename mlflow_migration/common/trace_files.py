"""Traces in a directory: the file that this package writes, and those of another tool, in one shape.

A span has the shape that REST gives it (OTLP's JSON with snake_case names); ``traces.json`` in the artifacts of a trace
has MLflow's own, of which there are two: that of MLflow 3, and that of MLflow 2 with a ``context``.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.traces import SPANS_LOCATION, duration, info_of_2, millis, timestamp
from mlflow_migration.common.export_dir import ExportDir

Json = Dict[str, Any]

TRACE_FILE = "trace.json"
TRACES_FILE = "traces.json"
TRACES = "traces"
DATA_FILE = "artifacts/traces.json"
"""The spans as the source keeps them in the trace's artifacts."""
ATTACHMENTS = "artifacts/attachments"

IN_DATABASE, IN_ARTIFACTS, NOWHERE = "database", "artifacts", "none"
"""Where the source keeps the spans of a trace."""

_DATABASE = ("TRACKING_STORE", "ARCHIVE_REPO")
_REQUEST_ID = "mlflow.traceRequestId"
_CODES = {0: "STATUS_CODE_UNSET", 1: "STATUS_CODE_OK", 2: "STATUS_CODE_ERROR"}
_HEX = re.compile(r"[0-9a-f]{32}")
_STATUS = re.compile(r"(?:StatusCode\.|STATUS_CODE_)?(UNSET|OK|ERROR)")


def otlp_id(trace_id: str) -> Optional[bytes]:
    """Return the 16 bytes by which OTLP names a trace; None for one whose id has another form."""
    plain = trace_id[3:] if trace_id.startswith("tr-") else ""
    return bytes.fromhex(plain) if _HEX.fullmatch(plain) else None


def place_of_spans(info: Mapping[str, Any]) -> str:
    """Return where a server keeps the spans of a trace, as its info tells: the database, or else its artifacts."""
    return IN_DATABASE if (info.get("tags") or {}).get(SPANS_LOCATION) in _DATABASE else IN_ARTIFACTS


def read_trace(directory: ExportDir) -> Json:
    """Return the trace of a directory; see :func:`canonical_trace`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    doc = directory.read_json(TRACE_FILE)
    try:
        trace = canonical_trace(doc)
        if trace["spans"] is None:
            trace["spans"] = canonical_spans(directory.read_json(DATA_FILE)) if directory.exists(DATA_FILE) else []
            trace["spans_location"] = IN_ARTIFACTS if directory.exists(DATA_FILE) else NOWHERE
        return trace
    except BadDirectory as ex:
        raise BadDirectory(f"{directory.path}/{TRACE_FILE}: {ex.message}") from ex
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as ex:
        raise BadDirectory(f"{directory.path}/{TRACE_FILE}: it is no trace: {ex!r}") from ex


def canonical_trace(doc: Any) -> Json:
    """Return a trace in the shape that this package writes, whoever wrote it.

    :param doc: The content of trace.json.
    :return: ``info`` as REST gives it, ``spans``, or None if another file has them, ``spans_location``, ``run_ids`` of
        the runs that it is linked to, and ``about``: what the export says about it.
    :raises BadDirectory: It is none.
    """
    body = doc.get("mlflow") if isinstance(doc, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("info"), dict):
        raise BadDirectory("'mlflow.info' is missing")
    info = _info(body["info"])
    spans = body.get("spans")
    if spans is not None and not (isinstance(spans, list) and all(isinstance(span, dict) for span in spans)):
        raise BadDirectory("'mlflow.spans' is no list of objects")
    run_ids = body.get("run_ids") or []
    if not isinstance(run_ids, list) or not all(isinstance(run_id, str) for run_id in run_ids):
        raise BadDirectory("'mlflow.run_ids' is no list of ids")
    about = doc.get("info") if isinstance(doc.get("info"), dict) else {}
    return {
        "info": info,
        "spans": spans,
        "spans_location": str(body.get("spans_location") or place_of_spans(info)),
        "run_ids": run_ids,
        "about": {
            "fingerprint": str(about.get("fingerprint") or ""),
            "incomplete": [str(problem) for problem in about.get("incomplete") or ()],
            "attachments": [str(name) for name in about.get("attachments") or ()],
        },
    }


def _info(info: Json) -> Json:
    """Return an info as REST gives it; another tool writes the fields of MLflow's classes."""
    if "request_id" in info and "trace_id" not in info:
        info = info_of_2({**info, "request_metadata": _pairs(info), "tags": _list(info.get("tags"))})
    trace_id = info.get("trace_id")
    if not isinstance(trace_id, str) or not trace_id:
        raise BadDirectory("'mlflow.info.trace_id' is missing")
    found = {key: value for key, value in info.items() if value is not None and not key.startswith("_")}
    # by the class it may be an enum's name or its value
    found["state"] = str(info.get("state") or info.get("status") or "STATE_UNSPECIFIED").rpartition(".")[2]
    time = info.get("request_time", info.get("timestamp_ms", 0))
    found["request_time"] = timestamp(time) if isinstance(time, int) else timestamp(millis(time))
    took = info.get("execution_duration", info.get("execution_time_ms"))
    if took is not None:
        found["execution_duration"] = duration(took) if isinstance(took, int) else str(took)
    for key in ("trace_metadata", "tags"):
        given = info.get(key) or {}
        pairs = given if isinstance(given, dict) else {item["key"]: item.get("value", "") for item in given}
        found[key] = {str(name): str(value) for name, value in pairs.items()}
    for key in ("client_request_id", "request_preview", "response_preview"):
        if key in found:
            found[key] = str(found[key])
    found["assessments"] = [_assessment(item) for item in info.get("assessments") or ()]
    return found


def _pairs(info: Json) -> List[Json]:
    return _list(info.get("request_metadata") or info.get("trace_metadata"))


def _list(pairs: Any) -> List[Json]:
    return [{"key": key, "value": value} for key, value in pairs.items()] if isinstance(pairs, dict) else pairs or []


def _assessment(item: Json) -> Json:
    """Return an assessment as REST gives it."""
    kind = str(item.get("assessment_type") or "").lower()
    if any(isinstance(item.get(name), dict) for name in ("feedback", "expectation", "issue")) and "source" in item:
        found = {key: value for key, value in item.items() if value is not None and key != "assessment_type"}
    else:
        found = {
            key: item[key]
            for key in ("assessment_id", "trace_id", "rationale", "metadata", "span_id", "overrides", "valid")
            if item.get(key) is not None
        }
        found["source"] = item.get("source") or {"source_type": "SOURCE_TYPE_UNSPECIFIED"}
        if "issue" in kind:
            found["issue"] = {"issue_name": str(item.get("issue_name") or item.get("value") or "")}
        elif "expectation" in kind:
            found["expectation"] = _expectation(item.get("value"))
        else:
            found["feedback"] = {"value": item.get("value"), **({"error": item["error"]} if item.get("error") else {})}
    found["assessment_name"] = str(item.get("assessment_name") or item.get("name") or "")
    for key in ("create_time", "last_update_time"):
        time = item.get(key, item.get(f"{key}_ms"))
        if time is not None:
            found[key] = timestamp(time) if isinstance(time, int) else timestamp(millis(time))
    return found


def _expectation(value: Any) -> Json:
    if isinstance(value, (dict, list)):
        text = json_codec.dumps(value).decode()
        return {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": text}}
    return {"value": value}


def read_traces(directory: ExportDir) -> Json:
    """Return what the list of a directory's traces says.

    :return: ``experiments``, each with ``id``, ``name``, ``creation_time`` (ms, or None) and ``traces`` (ids), and
        ``failed``: ids of those that could not be exported.
    :raises BadDirectory: The file can't be read; it is named.
    """
    doc = directory.read_json(TRACES_FILE)
    try:
        found = [
            {
                "id": str(item["id"]),
                "name": str(item["name"]),
                "creation_time": item.get("creation_time"),
                "traces": [str(trace_id) for trace_id in item.get("traces") or ()],
            }
            for item in doc["mlflow"]["experiments"]
        ]
        return {"experiments": found, "failed": [str(i) for i in (doc.get("info") or {}).get("failed_traces") or ()]}
    except (TypeError, ValueError, KeyError, AttributeError) as ex:
        raise BadDirectory(f"{directory.path}/{TRACES_FILE}: it is no list of traces: {ex!r}") from ex


# -- spans ------------------------------------------------------------------------------------------------------


def canonical_spans(doc: Any) -> List[Json]:
    """Return the spans of ``traces.json`` as REST gives them.

    :raises BadDirectory: There are none in it.
    """
    spans = doc.get("spans") if isinstance(doc, dict) else None
    if not isinstance(spans, list):
        raise BadDirectory("it holds no spans")
    try:
        return [_span(span) for span in spans]
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as ex:
        raise BadDirectory(f"a span in it can't be read: {ex!r}") from ex


def _span(span: Json) -> Json:
    if "context" in span:
        return _span_of_2(span)
    status = span.get("status") or {}
    found = {
        "trace_id": span["trace_id"],
        "span_id": span["span_id"],
        "name": span.get("name") or "",
        "start_time_unix_nano": int(span.get("start_time_unix_nano") or 0),
        "attributes": _attributes(span.get("attributes") or {}),
        "status": _status(status.get("code"), status.get("message")),
    }
    if span.get("parent_span_id"):
        found["parent_span_id"] = span["parent_span_id"]
    if span.get("end_time_unix_nano"):
        found["end_time_unix_nano"] = int(span["end_time_unix_nano"])
    events = [_event(event, event.get("time_unix_nano")) for event in span.get("events") or ()]
    links = [_link(link) for link in span.get("links") or ()]
    return {**found, **({"events": events} if events else {}), **({"links": links} if links else {})}


def _span_of_2(span: Json) -> Json:
    found = {
        "trace_id": _bytes(span["context"]["trace_id"], 16),
        "span_id": _bytes(span["context"]["span_id"], 8),
        "name": span.get("name") or "",
        "start_time_unix_nano": int(span.get("start_time") or 0),
        "attributes": _attributes(span.get("attributes") or {}),
        "status": _status(span.get("status_code"), span.get("status_message")),
    }
    if span.get("parent_id"):
        found["parent_span_id"] = _bytes(span["parent_id"], 8)
    if span.get("end_time"):
        found["end_time_unix_nano"] = int(span["end_time"])
    # MLflow 2 writes the times of events in ns, and some of its versions in microseconds
    events = [_event(event, event.get("timestamp")) for event in span.get("events") or ()]
    return {**found, **({"events": events} if events else {})}


def _bytes(text: str, size: int) -> str:
    plain = text[2:] if text.startswith("0x") else text
    try:
        return base64.b64encode(bytes.fromhex(plain.rjust(size * 2, "0"))).decode()
    except ValueError:
        base64.b64decode(text, validate=True)
        return text


def _status(code: Any, message: Any) -> Json:
    known = _STATUS.fullmatch(str(code or ""))
    name = known[1] if known else "UNSET"
    return {
        **({"message": str(message)} if message else {}),
        **({"code": f"STATUS_CODE_{name}"} if name != "UNSET" else {}),
    }


def _event(event: Json, time: Any) -> Json:
    attributes = [{"key": key, **_any(value)} for key, value in (event.get("attributes") or {}).items()]
    found = {"time_unix_nano": int(time or 0), "name": event.get("name") or ""}
    return {**found, **({"attributes": attributes} if attributes else {})}


def _link(link: Json) -> Json:
    trace = otlp_id(str(link.get("trace_id") or ""))
    attributes = [{"key": key, **_any(value)} for key, value in (link.get("attributes") or {}).items()]
    return {
        "trace_id": base64.b64encode(trace).decode() if trace is not None else _bytes(str(link.get("trace_id")), 16),
        "span_id": _bytes(str(link.get("span_id")), 8),
        **({"attributes": attributes} if attributes else {}),
    }


def _attributes(attributes: Mapping[str, Any]) -> List[Json]:
    return [{"key": key, **_any(_decoded(value))} for key, value in attributes.items()]


def _decoded(value: Any) -> Any:
    """Return an attribute's value, which MLflow keeps as JSON text; what is none is a text as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json_codec.loads(value)
    except (ValueError, RecursionError):
        return value


def _any(value: Any) -> Json:
    """Return a value as OTLP's AnyValue; without any for null."""
    encoded = _any_value(value)
    return {} if encoded is None else {"value": encoded}


def _any_value(value: Any) -> Optional[Json]:
    if value is None:
        return None
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return {"int_value": value}
    if isinstance(value, (int, float)):
        return {"double_value": json_codec.encode_number(float(value))}
    if isinstance(value, list):
        return {"array_value": {"values": [_any_value(item) or {} for item in value]} if value else {}}
    if isinstance(value, dict):
        pairs = [{"key": str(key), **_any(item)} for key, item in value.items()]
        return {"kvlist_value": {"values": pairs} if pairs else {}}
    raise ValueError(f"{type(value).__name__} is no JSON value")


# -- spans, the other way -----------------------------------------------------------------------------------------


def data_file(spans: Sequence[Json], trace_id: str) -> bytes:
    """Return ``traces.json`` as MLflow 3 writes it.

    :param spans: As REST gives them.
    :param trace_id: Of the trace, which MLflow looks for in each span.
    """
    # with bare NaN, as MLflow writes and reads it
    return json.dumps({"spans": [_file_span(span, trace_id) for span in spans]}).encode()


def _file_span(span: Json, trace_id: str) -> Json:
    status = span.get("status") or {}
    code = status.get("code") or 0
    attributes = {key: json.dumps(value) for key, value in _plain_pairs(span.get("attributes")).items()}
    return {
        "trace_id": span["trace_id"],
        "span_id": span["span_id"],
        "parent_span_id": span.get("parent_span_id") or None,
        "name": span.get("name") or "",
        "start_time_unix_nano": int(span.get("start_time_unix_nano") or 0),
        "end_time_unix_nano": int(span["end_time_unix_nano"]) if span.get("end_time_unix_nano") else None,
        "events": [
            {
                "name": event.get("name") or "",
                "time_unix_nano": int(event.get("time_unix_nano") or 0),
                "attributes": _plain_pairs(event.get("attributes")),
            }
            for event in span.get("events") or ()
        ],
        "status": {"code": _CODES.get(code, code), "message": status.get("message") or ""},
        "attributes": {_REQUEST_ID: json.dumps(trace_id), **attributes},
        "links": [
            {
                "trace_id": f"tr-{_hex(link['trace_id'])}",
                "span_id": _hex(link["span_id"]),
                "attributes": _plain_pairs(link.get("attributes")),
            }
            for link in span.get("links") or ()
        ],
    }


def _hex(text: str) -> str:
    return base64.b64decode(text).hex()


def _plain_pairs(pairs: Any) -> Json:
    """Return OTLP's attributes as a dict."""
    return {pair["key"]: _plain(pair.get("value")) for pair in pairs or ()}


def _plain(value: Optional[Mapping[str, Any]]) -> Any:
    """Return the value of OTLP's AnyValue; None for one without any."""
    if not value:
        return None
    kind, found = next(iter(value.items()))
    if kind == "int_value":
        return int(found)
    if kind == "double_value":
        return float(found)
    if kind == "array_value":
        return [_plain(item) for item in found.get("values") or ()]
    if kind == "kvlist_value":
        return _plain_pairs(found.get("values"))
    return found
