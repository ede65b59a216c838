"""What is compared of traces: the shape of objects.py, with the assessments and spans as parts that have fields."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.traces import TRACE_KEY, duration_ms, millis
from mlflow_migration.verify.objects import TRACE, Fields, Thing, tags_of

Json = Dict[str, Any]

COMPUTED = frozenset(
    f"metadata:{name}"
    for name in ("mlflow.trace.tokenUsage", "mlflow.trace.cost", "mlflow.trace.session", "mlflow.trace.user")
)
"""What servers make up from the spans of a trace, where nobody has told it."""

LINKED_PROMPTS = "mlflow.linkedPrompts"
ISSUE_ID = "issue id"
"""Field of an assessment that links its trace to an issue."""
_SET_BY_SERVER = frozenset({"mlflow.trace.infoFinalized", "mlflow.artifactLocation", "mlflow.trace.spansLocation"})
_REQUEST_ID = "mlflow.traceRequestId"
_ATTACHMENT = re.compile(r"mlflow-attachment://([0-9a-fA-F\-]{36})")
_HEX = re.compile(r"[0-9a-f]{16}(?:[0-9a-f]{16})?\Z")
_OTEL_ID = re.compile(r"tr-([0-9a-f]{32})\Z")


@dataclass
class Trace(Thing):
    """One trace of one side.

    :param assessments: Fields of each, by id.
    :param spans: Fields of each, by id in hex; None if they are not read.
    :param runs: Ids of the runs that it is linked to.
    :param in_database: Whether the server has the spans in its database.
    """

    assessments: Dict[str, Fields] = field(default_factory=dict)
    spans: Optional[Dict[str, Fields]] = None
    runs: Set[str] = field(default_factory=set)
    in_database: bool = False

    @property
    def attachments(self) -> List[str]:
        """Names of the files that the spans refer to."""
        found: Set[str] = set()
        for span in (self.spans or {}).values():
            for value in span.values():
                found.update(_ATTACHMENT.findall(value) if isinstance(value, str) else ())
        return sorted(found)


def trace_of(info: Mapping[str, Any], place: Any = None) -> Trace:
    """Return a trace without its spans.

    :param info: As MLflow 3's REST API gives it.
    :param place: Where a directory has it.
    """
    tags = dict(info.get("tags") or {})
    location = (info.get("trace_location") or {}).get("mlflow_experiment") or {}
    return Trace(
        TRACE,
        str(info["trace_id"]),
        tags.get("mlflow.traceName", ""),
        _fields(info, tags),
        tags.get(TRACE_KEY, ""),
        str(location.get("experiment_id") or ""),
        place=place,
        assessments={str(one["assessment_id"]): _assessment(one) for one in info.get("assessments") or ()},
        in_database=tags.get("mlflow.trace.spansLocation") in ("TRACKING_STORE", "ARCHIVE_REPO"),
    )


def _fields(info: Mapping[str, Any], tags: Mapping[str, str]) -> Fields:
    fields: Fields = {
        "request_time": millis(info.get("request_time")),
        "execution_duration": duration_ms(info.get("execution_duration")),
        "state": info.get("state") or "STATE_UNSPECIFIED",
    }
    for name in ("client_request_id", "request_preview", "response_preview"):
        fields[name] = info.get(name)
    metadata = info.get("trace_metadata") or {}
    fields.update((f"metadata:{key}", plain(value)) for key, value in metadata.items() if key not in _SET_BY_SERVER)
    tags = {key: value for key, value in tags.items() if key not in _SET_BY_SERVER}
    fields.update((key, plain(value)) for key, value in tags_of(tags).items())
    return fields


def plain(value: Any) -> Any:
    """Return a text of JSON without its layout, as the server writes some anew; anything else as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return canonical(json_codec.loads(value))
    except (ValueError, RecursionError):
        return value


def canonical(value: Any) -> str:
    """Return a value as text that is the same for the same types and values only."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


# -- assessments ------------------------------------------------------------------------------------------------


def _assessment(doc: Mapping[str, Any]) -> Fields:
    fields: Fields = {
        "name": doc.get("assessment_name") or doc.get("name") or "",
        "create_time": millis(doc.get("create_time")),
        "last_update_time": millis(doc.get("last_update_time")),
        "span_id": doc.get("span_id") or "",
        "rationale": doc.get("rationale") or "",
        "overrides": doc.get("overrides") or "",
        "valid": doc.get("valid") is not False,
    }
    for key, value in (doc.get("source") or {}).items():
        fields[key] = value
    for kind in ("feedback", "expectation", "issue", "error"):
        if doc.get(kind) is not None:
            fields[kind] = canonical(doc[kind])
    if doc.get("issue") is not None:  # its name is the issue's id
        fields[ISSUE_ID] = fields["name"]
        fields["name"] = str(doc["issue"].get("issue_name") or "")
    fields.update((f"metadata:{key}", plain(value)) for key, value in (doc.get("metadata") or {}).items())
    return fields


def numbered(assessments: Mapping[str, Fields]) -> Dict[str, Fields]:
    """Return the assessments of a trace by names that both sides share, where a copy has other ids."""

    def known(item: Tuple[str, Fields]) -> str:
        return canonical({key: value for key, value in item[1].items() if not _is_reference(key)})

    names: Dict[str, str] = {}
    for number, (assessment_id, fields) in enumerate(sorted(assessments.items(), key=known)):
        names[assessment_id] = f"{number} ({fields['name']})"
    return {
        names[one]: {**fields, "overrides": names.get(fields["overrides"], fields["overrides"])}
        for one, fields in assessments.items()
    }


def _is_reference(key: str) -> bool:
    return key in ("overrides", ISSUE_ID) or key.startswith("metadata:")  # may hold ids, which differ on both sides


# -- spans ------------------------------------------------------------------------------------------------------


def spans_of(trace_id: str, docs: Iterable[Mapping[str, Any]]) -> Dict[str, Fields]:
    """Return the fields of a trace's spans by their ids in hex, whichever of the shapes of their time they have.

    :param trace_id: Of the trace.
    :param docs: As ``traces/batchGet`` or ``traces.json`` has them.
    """
    own = _OTEL_ID.match(trace_id)
    found: Dict[str, Fields] = {}
    for doc in docs:
        span_id, fields = _span(doc if "context" not in doc else _of_2(doc), trace_id, own.group(1) if own else "")
        found[span_id] = fields
    return found


def _span(doc: Mapping[str, Any], trace_id: str, own: str) -> Tuple[str, Fields]:
    status = doc.get("status") or {}
    fields: Fields = {
        "name": doc.get("name") or "",
        "parent": _hex(doc.get("parent_span_id")),
        "start_time": int(doc.get("start_time_unix_nano") or 0),
        "end_time": int(doc.get("end_time_unix_nano") or 0),
        "status": str(status.get("code") or "UNSET").replace("STATUS_CODE_", ""),
        "status message": status.get("message") or "",
    }
    trace = _hex(doc.get("trace_id"))
    if trace != own:  # a trace with an id of another kind has spans with one of their own
        fields["trace"] = trace
    for key, value in _attributes(doc.get("attributes")).items():
        if key != _REQUEST_ID or value != canonical(trace_id):
            fields[f"attribute:{key}"] = value
    for name, number in (("event", 0), ("link", 0)):
        for number, item in enumerate(doc.get(f"{name}s") or ()):
            fields[f"{name}:{number}"] = _event(item) if name == "event" else _link(item)
    return _hex(doc["span_id"]), fields


def _of_2(doc: Mapping[str, Any]) -> Json:
    """Return a span of MLflow 2 in the shape of MLflow 3's ``traces.json``."""
    return {
        "trace_id": doc["context"]["trace_id"],
        "span_id": doc["context"]["span_id"],
        "parent_span_id": doc.get("parent_id"),
        "name": doc.get("name"),
        "start_time_unix_nano": doc.get("start_time"),
        "end_time_unix_nano": doc.get("end_time"),
        "status": {"code": doc.get("status_code"), "message": doc.get("status_message")},
        "attributes": doc.get("attributes"),
        "events": doc.get("events"),
    }


def _event(doc: Mapping[str, Any]) -> str:
    time = doc.get("time_unix_nano")
    if time is None and doc.get("timestamp") is not None:
        time = doc["timestamp"]  # of MLflow 2
    return canonical([doc.get("name") or "", int(time or 0), _values(doc.get("attributes"))])


def _link(doc: Mapping[str, Any]) -> str:
    trace = str(doc.get("trace_id") or "")
    trace = trace if trace.startswith("tr-") else f"tr-{_hex(trace)}"
    return canonical([trace, _hex(doc.get("span_id")), _values(doc.get("attributes"))])


def _attributes(found: Any) -> Dict[str, str]:
    """Return attributes as canonical text: a list as OTLP has them, or the JSON text of each as a file has it."""
    if isinstance(found, Mapping):
        return {key: canonical(_loaded(value)) for key, value in found.items()}
    return {key: canonical(value) for key, value in _values(found).items()}


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json_codec.loads(value)
    except (ValueError, RecursionError):
        return value


def _values(found: Any) -> Json:
    if isinstance(found, Mapping):
        return dict(found)
    return {pair["key"]: _any_value(pair.get("value") or {}) for pair in found or ()}


def _any_value(value: Mapping[str, Any]) -> Any:
    for kind, found in value.items():
        if kind == "array_value":
            return [_any_value(item) for item in found.get("values") or ()]
        if kind == "kvlist_value":
            return _values(found.get("values"))
        return int(found) if kind == "int_value" else float(found) if kind == "double_value" else found
    return None


def _hex(value: Optional[str]) -> str:
    """Return an id in hex: REST has base64, older files have hex."""
    text = str(value or "")
    if text.startswith("0x"):
        return text[2:]
    if not text or _HEX.match(text):
        return text
    try:
        return base64.b64decode(text, validate=True).hex()
    except ValueError:
        return text


def prompts_in(text: Any) -> Sequence[Tuple[str, str]]:
    """Return names and versions of the prompts that a tag or attribute names."""
    try:
        found = json_codec.loads(text)
        return [(str(one["name"]), str(one["version"])) for one in found]
    except (ValueError, TypeError, KeyError):
        return ()
