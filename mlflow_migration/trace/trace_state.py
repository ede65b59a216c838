"""What of a trace is compared between source and destination, and how it is translated on its way."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set
from urllib.parse import quote_plus

from mlflow_migration.client import json_codec
from mlflow_migration.client.traces import ARTIFACT_LOCATION, SOURCE_RUN, SPANS_LOCATION, TRACE_KEY, duration_ms, millis
from mlflow_migration.common.three_way import State, short
from mlflow_migration.common.trace_files import otlp_id

Json = Dict[str, Any]

SERVER_TAGS = frozenset({
    ARTIFACT_LOCATION, SPANS_LOCATION, "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure",
})  # fmt: skip
"""Tags that a server sets itself, and refuses or spoils a trace for."""
FINALIZED = "mlflow.trace.infoFinalized"
"""Metadata by which a server says that it was given the info, and not only the spans."""
DERIVED = frozenset({
    "mlflow.trace.tokenUsage", "mlflow.trace.cost", "mlflow.trace.session", "mlflow.trace.user",
})  # fmt: skip
"""Metadata that a server makes from spans where it was not given."""
SOURCE_RUN_OF_ASSESSMENT = "mlflow.assessment.sourceRunId"
MODEL_ID = "mlflow.modelId"
LINKED_PROMPTS = "mlflow.linkedPrompts"
_EXPERIMENT_ID, _REQUEST_ID = "mlflow.experimentId", "mlflow.traceRequestId"
_PREVIEWS = ("request_preview", "response_preview")
_ATTACHMENT = "mlflow-attachment://"


def derived_id(experiment_id: str, trace_id: str) -> str:
    """Return the id that the copy of a trace gets in an experiment if its own is taken."""
    return f"tr-{_hash(experiment_id, trace_id)}"


def derived_assessment_id(trace_id: str, assessment_id: str) -> str:
    """Return the id of an assessment of such a copy.

    :param trace_id: The copy's id.
    """
    return f"a-{_hash(trace_id, assessment_id)}"


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


# -- on the way -------------------------------------------------------------------------------------------------


def translated(
    info: Json,
    dst_id: str,
    experiment_id: str,
    run_ids: Mapping[str, str],
    model_ids: Mapping[str, str],
    issue_ids: Mapping[str, str],
) -> Json:
    """Return an info as the destination gets it.

    :param info: The source's, as REST gives it.
    :param dst_id: The id that the trace has there; another one than the source's brings other ids of assessments.
    :param experiment_id: The destination's experiment.
    :param run_ids: Destination ids of runs by those of the source; an id that is not there stays.
    :param model_ids: The same for logged models.
    :param issue_ids: The same for issues.
    """
    src_id = info["trace_id"]
    tags = {key: value for key, value in (info.get("tags") or {}).items() if key not in SERVER_TAGS | {TRACE_KEY}}
    metadata = {key: value for key, value in (info.get("trace_metadata") or {}).items() if key != FINALIZED}
    for key, ids in ((SOURCE_RUN, run_ids), (MODEL_ID, model_ids)):
        if key in metadata:
            metadata[key] = ids.get(metadata[key], metadata[key])
    if dst_id != src_id:
        tags[TRACE_KEY] = src_id
    assessments = []
    for given in info.get("assessments") or ():
        item = {**given, "trace_id": dst_id}
        if dst_id != src_id:
            for key in ("assessment_id", "overrides"):
                if item.get(key):
                    item[key] = derived_assessment_id(dst_id, item[key])
        if is_issue(item):
            item["assessment_name"] = issue_ids.get(item["assessment_name"], item["assessment_name"])
        facts = dict(item.get("metadata") or {})
        if SOURCE_RUN_OF_ASSESSMENT in facts:
            run_id = facts[SOURCE_RUN_OF_ASSESSMENT]
            item["metadata"] = {**facts, SOURCE_RUN_OF_ASSESSMENT: run_ids.get(run_id, run_id)}
        assessments.append(item)
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    return {
        **info,
        "trace_id": dst_id, "trace_location": place, "trace_metadata": metadata, "tags": tags,
        "assessments": assessments,
    }  # fmt: skip


def translated_spans(spans: Sequence[Json], src_id: str, dst_id: str, experiments: Mapping[str, str]) -> List[Json]:
    """Return spans as the destination gets them.

    :param experiments: Destination ids of experiments by those of the source.
    """
    if src_id != dst_id:
        text = json_codec.dumps(list(spans))
        if _ATTACHMENT.encode() in text:
            old, new = (f"trace_id={quote_plus(i)}".encode() for i in (src_id, dst_id))
            spans = json_codec.loads(text.replace(old, new))
    own = base64.b64encode(otlp_id(dst_id) or b"").decode()
    before = base64.b64encode(otlp_id(src_id) or b"").decode()
    found = []
    for span in spans:
        attributes = [_attribute(item, experiments) for item in span.get("attributes") or ()]
        moved = {**span, "trace_id": own, "attributes": [item for item in attributes if item["key"] != _REQUEST_ID]}
        if before != own and span.get("links"):
            moved["links"] = [
                {**link, "trace_id": own} if link["trace_id"] == before else link for link in span["links"]
            ]
        found.append(moved)
    return found


def _attribute(item: Json, experiments: Mapping[str, str]) -> Json:
    if item["key"] != _EXPERIMENT_ID:
        return item
    value = (item.get("value") or {}).get("string_value")
    moved = experiments.get(str(value))
    return {"key": item["key"], "value": {"string_value": moved}} if moved else item


def translated_file(content: bytes, src_id: str, dst_id: str, experiments: Mapping[str, str]) -> bytes:
    """Return ``traces.json`` as the destination gets it: the same bytes where it names nothing that has a new id.

    :param experiments: Destination ids of experiments by those of the source.
    """
    old, new = (f"trace_id={quote_plus(i)}".encode() for i in (src_id, dst_id))
    try:
        doc = json_codec.loads(content.replace(old, new) if _ATTACHMENT.encode() in content else content)
        spans = [_span_of_file(span, src_id, dst_id, experiments) for span in doc["spans"]]
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
        return content  # what it is then is not known
    same = spans == json_codec.loads(content)["spans"]
    return content if same else json.dumps({**doc, "spans": spans}).encode()


def _span_of_file(span: Json, src_id: str, dst_id: str, experiments: Mapping[str, str]) -> Json:
    own, before = otlp_id(dst_id), otlp_id(src_id)
    moved = dict(span)
    if own is not None and before is not None and span.get("trace_id") == base64.b64encode(before).decode():
        moved["trace_id"] = base64.b64encode(own).decode()
    if span.get("attributes"):
        attributes = moved["attributes"] = dict(span["attributes"])
        for key, ids in ((_REQUEST_ID, {src_id: dst_id}), (_EXPERIMENT_ID, experiments)):
            value = json_codec.loads(attributes[key]) if key in attributes else None
            if isinstance(value, str) and value in ids:
                attributes[key] = json.dumps(ids[value])
    return moved


def is_issue(assessment: Json) -> bool:
    """Tell whether an assessment links its trace to an issue; then its name is the issue's id."""
    return assessment.get("issue") is not None and isinstance(assessment.get("assessment_name"), str)


def issues_of(info: Json) -> Set[str]:
    """Return the ids of the issues that a trace is linked to."""
    return {item["assessment_name"] for item in info.get("assessments") or () if is_issue(item)}


def late_assessments(assessments: Sequence[Json]) -> List[Json]:
    """Return those that must come after the ones that they override, in an order in which that works.

    One that is added to a trace makes the one that it overrides invalid, one that comes with the trace does not.
    """
    invalid = {item.get("assessment_id") for item in assessments if item.get("valid") is False}
    rest = [item for item in assessments if item.get("overrides") in invalid and item.get("overrides")]
    found: List[Json] = []
    while rest:
        waiting = {item.get("assessment_id") for item in rest}
        free = [item for item in rest if item["overrides"] not in waiting] or rest
        found += free
        rest = [item for item in rest if item not in free]
    return found


def unreachable(assessments: Sequence[Json]) -> List[str]:
    """Return the ids of those that are not valid although none overrides them: nothing makes them so."""
    overridden = {item.get("overrides") for item in assessments}
    return [
        str(item.get("assessment_id"))
        for item in assessments
        if item.get("valid") is False and item.get("assessment_id") not in overridden
    ]


def would_be_changed(info: Json, spans: Sequence[Json]) -> bool:
    """Tell whether a server sets something in a trace's info anew when its spans come after it."""
    if not spans:
        return False
    starts = [int(span.get("start_time_unix_nano") or 0) for span in spans]
    ends = [int(span["end_time_unix_nano"]) for span in spans if span.get("end_time_unix_nano")]
    begin, took = millis(info.get("request_time")), duration_ms(info.get("execution_duration"))
    if info.get("state") not in ("OK", "ERROR") and any(not span.get("parent_span_id") for span in spans):
        return True
    if begin > min(starts) // 1_000_000:
        return True
    return bool(ends) and (took is None or begin + took < max(ends) // 1_000_000)


def untouched(info: Json) -> Json:
    """Return what each request to write a trace has to say again of its info, so that it stays.

    :param info: As the destination has it.
    """
    told = ("request_time", "execution_duration", "state", "client_request_id")
    return {key: info[key] for key in told if info.get(key) is not None}


def prompts_of(info: Json) -> List[Json]:
    """Return name and version of the prompts that a trace is linked to, as its tag tells."""
    try:
        found = json.loads((info.get("tags") or {}).get(LINKED_PROMPTS) or "[]")
        return [{"name": str(item["name"]), "version": str(int(item["version"]))} for item in found]
    except (TypeError, ValueError, KeyError, AttributeError):
        return []  # a tag that is none of MLflow's


# -- compared ---------------------------------------------------------------------------------------------------


def state_of(info: Json, like: Optional[Json] = None) -> State:
    """Return what is compared of an info.

    :param info: As the destination has it, or gets it.
    :param like: The info of the source: what a server makes itself counts only if the source has it. None leaves it
        out altogether.
    """
    metadata = {key: value for key, value in (info.get("trace_metadata") or {}).items() if key != FINALIZED}
    facts = [
        millis(info.get("request_time")),
        duration_ms(info.get("execution_duration")),
        info.get("state") or "STATE_UNSPECIFIED",
        info.get("client_request_id") or "",
        sorted((key, value) for key, value in metadata.items() if key not in DERIVED),
    ]
    state = {"info": short(json_codec.dumps(facts).decode("utf-8", "replace"))}
    wanted = (like or {}).get("trace_metadata") or {}
    for key in DERIVED & wanted.keys() & metadata.keys():
        state[f"metadata:{key}"] = short(_json(metadata[key]))
    for key in _PREVIEWS:
        if (like or {}).get(key) is not None and info.get(key) is not None:
            state[key] = short(info[key])
    for key, value in (info.get("tags") or {}).items():
        if key not in SERVER_TAGS and key != TRACE_KEY:
            state[f"tag:{key}"] = short(value)
    for item in info.get("assessments") or ():
        state[f"assessment:{item.get('assessment_id')}"] = short(_facts(item))
    return state


def digest(info: Json) -> bytes:
    """Return a short hash of what is compared of an info at first."""
    return hashlib.blake2b(json.dumps(state_of(info), sort_keys=True).encode(), digest_size=12).digest()


def _json(text: Any) -> Any:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (TypeError, ValueError):
        return text


def _facts(item: Json) -> str:
    """Return what an assessment says, but for its id and whether it is valid, which follows from the others."""
    facts = {key: value for key, value in item.items() if key not in ("assessment_id", "trace_id", "valid") and value}
    for key in ("create_time", "last_update_time"):
        if key in facts:
            facts[key] = millis(facts[key])
    for key in ("feedback", "expectation"):
        if key in item:
            # a server keeps all numbers as floats
            facts[key] = {name: _floats(value) for name, value in (item[key] or {}).items() if value is not None}
    return json.dumps(facts, sort_keys=True)


def _floats(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    return value
