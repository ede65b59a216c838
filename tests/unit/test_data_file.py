"""traces.json as this package writes it: what MLflow reads of it, and what comes out again."""

from __future__ import annotations

import base64
import json
import math
from typing import Any, Dict

import pytest

from mlflow_migration.common.trace_files import canonical_spans, data_file

TRACE_ID = "tr-" + "0a" * 16
OWN = base64.b64encode(bytes.fromhex("0a" * 16)).decode()


def span_id(number: int) -> str:
    return base64.b64encode(number.to_bytes(8, "big")).decode()


def pair(key: str, **value: Any) -> Dict[str, Any]:
    return {"key": key, **({"value": value} if value else {})}


NUMBERS = [pair("nan", double_value="NaN"), pair("list", array_value={"values": [{"double_value": "Infinity"}, {}]})]
ATTRIBUTES = [
    pair("text", string_value="ä \ud83d"),
    pair("int", int_value=2**53 + 1),
    pair("bool", bool_value=False),
    pair("nothing"),
    pair("map", kvlist_value={"values": [pair("a", array_value={"values": [{"int_value": 1}]})]}),
    *NUMBERS,
]
SPANS = [
    {
        "trace_id": OWN, "span_id": span_id(1), "name": "outer", "start_time_unix_nano": 10**18 + 1,
        "end_time_unix_nano": 10**18 + 3, "attributes": ATTRIBUTES,
        "status": {"code": "STATUS_CODE_ERROR", "message": "bad"},
        "events": [{"time_unix_nano": 10**18 + 2, "name": "seen", "attributes": NUMBERS}],
        "links": [{"trace_id": OWN, "span_id": span_id(7), "attributes": [pair("why", string_value="so")]}],
    },
    {
        "trace_id": OWN, "span_id": span_id(2), "parent_span_id": span_id(1), "name": "inner",
        "start_time_unix_nano": 10**18 + 2, "attributes": [], "status": {},
    },
]  # fmt: skip


def without_id(spans: Any) -> Any:
    """Spans without the attribute that MLflow wants in the file."""
    keep = [[item for item in span["attributes"] if item["key"] != "mlflow.traceRequestId"] for span in spans]
    return [{**span, "attributes": attributes} for span, attributes in zip(spans, keep)]


def test_nothing_is_lost() -> None:
    assert without_id(canonical_spans(json.loads(data_file(SPANS, TRACE_ID)))) == SPANS


def test_status_codes_may_be_numbers() -> None:
    spans = [{**SPANS[1], "status": {"code": number}} for number in (0, 1, 2)]
    found = json.loads(data_file(spans, TRACE_ID))["spans"]
    assert [span["status"]["code"][12:] for span in found] == ["UNSET", "OK", "ERROR"]


def test_mlflow_reads_it() -> None:
    entities = pytest.importorskip("mlflow.entities")
    if not hasattr(entities, "TraceLocation"):
        pytest.skip("MLflow 2 has another form")
    outer, inner = (entities.Span.from_dict(doc) for doc in json.loads(data_file(SPANS, TRACE_ID))["spans"])
    assert (outer.trace_id, outer.name, inner.parent_id) == (TRACE_ID, "outer", outer.span_id)
    assert outer.attributes["int"] == 2**53 + 1 and math.isnan(outer.attributes["nan"])
    assert outer.events[0].attributes["list"] == [math.inf, None]
    assert outer.status.status_code.value == "ERROR" and inner.end_time_ns is None
