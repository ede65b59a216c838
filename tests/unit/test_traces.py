"""Traces of any tool and age in one shape; what is compared of them, and in which order they must be written."""

import base64
import json

import pytest

from mlflow_migration.client import otlp
from mlflow_migration.client.errors import BadDirectory, Refused
from mlflow_migration.client.traces import _batches, duration, duration_ms, info_of_2, millis, timestamp
from mlflow_migration.common.artifact_stores import trace_store
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.object_files import trace_dirs
from mlflow_migration.common.trace_files import canonical_spans, otlp_id, read_trace, read_traces
from mlflow_migration.trace.trace_exporter import attachments_in, fingerprint
from mlflow_migration.trace.trace_state import (
    derived_id,
    digest,
    issues_of,
    late_assessments,
    prompts_of,
    state_of,
    translated,
    translated_spans,
    unreachable,
    would_be_changed,
)

ID = "tr-" + "ab" * 16
INFO = {"trace_id": ID, "request_time": "2025-01-01T00:00:00.123Z", "execution_duration": "1.500s", "state": "OK"}
SPAN = {
    "trace_id": base64.b64encode(b"\xab" * 16).decode(),
    "span_id": base64.b64encode(b"\x01" * 8).decode(),
    "name": "s",
    "start_time_unix_nano": 1735689600123000000,
    "end_time_unix_nano": 1735689601623000000,
    "attributes": [{"key": "k", "value": {"string_value": "v"}}],
}


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2025-01-01T00:00:00Z", 1735689600000),
        ("2025-01-01T00:00:00.1Z", 1735689600100),
        ("2025-01-01T00:00:00.123456789Z", 1735689600123),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        (None, 0),
    ],
)
def test_times(text, ms):
    assert millis(text) == ms
    assert millis(timestamp(ms)) == ms


@pytest.mark.parametrize(("text", "ms"), [("0s", 0), ("1.5s", 1500), ("0.001s", 1), ("-0.250s", -250), ("12s", 12000)])
def test_durations(text, ms):
    assert duration_ms(text) == ms
    assert duration_ms(duration(ms)) == ms


def test_no_duration_is_none():
    assert duration_ms(None) is None


def test_infos_of_mlflow_2_get_the_shape_of_mlflow_3():
    info = info_of_2({
        "request_id": "abc", "experiment_id": "7", "timestamp_ms": 1735689600123, "execution_time_ms": 5,
        "status": "OK", "request_metadata": [{"key": "mlflow.traceInputs", "value": "in"}], "tags": [{"key": "t"}],
    })  # fmt: skip
    assert info == {
        "trace_id": "abc", "request_time": "2025-01-01T00:00:00.123Z", "execution_duration": "0.005s", "state": "OK",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "7"}},
        "trace_metadata": {"mlflow.traceInputs": "in"}, "tags": {"t": ""}, "request_preview": "in",
    }  # fmt: skip


def test_few_ids_go_into_one_query_and_long_ones_into_several():
    assert [len(some) for some in _batches([f"tr-{n:032x}" for n in range(250)])] == [100, 100, 50]
    assert [len(some) for some in _batches(["ü" * 600] * 3)] == [1, 1, 1]


# -- OTLP -------------------------------------------------------------------------------------------------------


def test_a_span_is_encoded_as_protobuf_has_it():
    span = {"trace_id": "qw==", "span_id": "AQ==", "name": "s", "start_time_unix_nano": 1, "status": {"code": 2}}
    inside = b"\x0a\x01\xab\x12\x01\x01\x2a\x01s\x39\x01" + b"\0" * 7 + b"\x7a\x02\x18\x02"
    scope = b"\x12" + bytes([len(inside)]) + inside
    resource = b"\x12" + bytes([len(scope)]) + scope
    assert otlp.encode([span]) == b"\x0a" + bytes([len(resource)]) + resource


def test_values_are_encoded_by_their_type():
    def encoded(value):
        return otlp._value(value)

    assert encoded({"string_value": "ab"}) == b"\x0a\x02ab"
    assert encoded({"bool_value": False}) == b"\x10\x00"
    assert encoded({"int_value": -1}) == b"\x18" + b"\xff" * 9 + b"\x01"
    assert encoded({"int_value": 300}) == b"\x18\xac\x02"
    assert encoded({"double_value": 1.0}) == b"\x21" + b"\0" * 6 + b"\xf0\x3f"
    assert encoded({"double_value": "NaN"})[-2:] in (b"\xf8\x7f", b"\xf8\xff")
    assert encoded({"array_value": {}}) == b"\x2a\x00"
    assert encoded({"kvlist_value": {"values": [{"key": "k"}]}}) == b"\x32\x07\x0a\x05\x0a\x01k\x12\x00"
    assert encoded(None) == b""
    with pytest.raises(ValueError, match="64 bits"):
        encoded({"int_value": 2**63})


# -- directories ------------------------------------------------------------------------------------------------


def write(path, doc):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(doc), encoding="utf-8")


def test_a_trace_of_another_tool_is_read(tmp_path):
    """It writes the fields of MLflow's classes, and spans in the artifacts as MLflow 3 has them."""
    info = {
        "trace_id": ID, "request_time": 1735689600123, "execution_duration": 1500, "state": "TraceState.OK",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "7"}},
        "trace_metadata": {"mlflow.sourceRun": "r"}, "tags": {"mlflow.traceName": "n"}, "client_request_id": None,
        "assessments": [
            {"assessment_type": "Feedback", "name": "q", "value": 3, "source": {"source_type": "HUMAN"},
             "assessment_id": "a-1", "create_time_ms": 1735689600123, "last_update_time_ms": 1735689600124,
             "rationale": "r", "valid": True},
            {"assessment_type": "expectation", "name": "e", "value": {"a": 1}, "source": {"source_type": "CODE"}},
        ],
    }  # fmt: skip
    write(tmp_path / "trace.json", {"system": {}, "mlflow": {"info": info, "data": []}})
    span = {
        "trace_id": SPAN["trace_id"], "span_id": SPAN["span_id"], "parent_span_id": None, "name": "s",
        "start_time_unix_nano": 5, "end_time_unix_nano": 0, "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {"a": "[1, 2.5, null, {\"b\": true}]", "text": "no json", "none": "null"},
        "events": [{"name": "e", "time_unix_nano": 6, "attributes": {"k": 1}}],
        "links": [{"trace_id": ID, "span_id": "0000000000000009", "attributes": {"w": "v"}}],
    }  # fmt: skip
    write(tmp_path / "artifacts" / "traces.json", {"spans": [span]})
    trace = read_trace(ExportDir(str(tmp_path)))
    found = trace["info"]
    assert {key: found[key] for key in INFO} == INFO
    assert "client_request_id" not in found
    assert found["assessments"] == [
        {"assessment_id": "a-1", "assessment_name": "q", "source": {"source_type": "HUMAN"}, "rationale": "r",
         "valid": True, "feedback": {"value": 3}, "create_time": "2025-01-01T00:00:00.123Z",
         "last_update_time": "2025-01-01T00:00:00.124Z"},
        {"assessment_name": "e", "source": {"source_type": "CODE"},
         "expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '{"a":1}'}}},
    ]  # fmt: skip
    assert trace["spans_location"] == "artifacts"
    assert trace["spans"] == [{
        "trace_id": SPAN["trace_id"], "span_id": SPAN["span_id"], "name": "s", "start_time_unix_nano": 5,
        "status": {"code": "STATUS_CODE_OK"},
        "attributes": [
            {"key": "a", "value": {"array_value": {"values": [
                {"int_value": 1}, {"double_value": 2.5}, {},
                {"kvlist_value": {"values": [{"key": "b", "value": {"bool_value": True}}]}}]}}},
            {"key": "text", "value": {"string_value": "no json"}}, {"key": "none"},
        ],
        "events": [{"time_unix_nano": 6, "name": "e", "attributes": [{"key": "k", "value": {"int_value": 1}}]}],
        "links": [{"trace_id": SPAN["trace_id"], "span_id": "AAAAAAAAAAk=",
                   "attributes": [{"key": "w", "value": {"string_value": "v"}}]}],
    }]  # fmt: skip


def test_spans_of_mlflow_2_get_the_same_shape():
    span = {
        "name": "s", "context": {"span_id": "0x1", "trace_id": "0x" + "ab" * 16}, "parent_id": "0x2",
        "start_time": 5, "end_time": 6, "status_code": "ERROR", "status_message": "bad", "attributes": {}, "events": [],
    }  # fmt: skip
    assert canonical_spans({"spans": [span]}) == [{
        "trace_id": SPAN["trace_id"], "span_id": "AAAAAAAAAAE=", "parent_span_id": "AAAAAAAAAAI=", "name": "s",
        "start_time_unix_nano": 5, "end_time_unix_nano": 6, "attributes": [],
        "status": {"code": "STATUS_CODE_ERROR", "message": "bad"},
    }]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        [], {"info": []}, {"info": {}}, {"info": {"trace_id": 3}}, {"info": {**INFO, "assessments": [3]}},
        {"info": {**INFO, "request_time": "soon"}}, {"info": INFO, "spans": {}}, {"info": INFO, "spans": [1]},
        {"info": INFO, "spans": [], "run_ids": [1]}, {"info": {**INFO, "tags": 3}},
    ],
)  # fmt: skip
def test_what_is_no_trace_is_refused_with_the_name_of_the_file(tmp_path, body):
    write(tmp_path / "trace.json", {"mlflow": body})
    with pytest.raises(BadDirectory, match=r"trace\.json: "):
        read_trace(ExportDir(str(tmp_path)))


def test_a_hostile_id_leads_nowhere(tmp_path):
    trace_id = "../../evil"
    place = ExportDir(str(tmp_path)).sub("traces", safe_name(trace_id))
    assert place.path.startswith(f"{tmp_path}/traces/")
    write(
        tmp_path / "traces" / safe_name(trace_id) / "trace.json", {"mlflow": {"info": {**INFO, "trace_id": trace_id}}}
    )
    write(tmp_path / "experiment.json", {"mlflow": {"experiment": {"name": "e"}, "traces": [trace_id]}})
    [(found, directory)] = trace_dirs(ExportDir(str(tmp_path)))
    assert found == trace_id
    assert read_trace(directory)["info"]["trace_id"] == trace_id
    for uri in ("mlflow-artifacts:/1/traces/../../evil/artifacts", "file:///a/%2e%2e/b"):
        with pytest.raises(Refused, match="nothing can be kept"):
            trace_store(None, trace_id, uri, [])


def test_a_broken_list_is_refused(tmp_path):
    write(tmp_path / "traces.json", {"mlflow": {"experiments": [{"name": "no id"}]}})
    with pytest.raises(BadDirectory, match=r"traces\.json"):
        read_traces(ExportDir(str(tmp_path)))


# -- on the way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace_id", ["my id", "ab" * 16, "tr-" + "AB" * 16, "tr-" + "ab" * 15, ID + "0", ""])
def test_other_ids_have_no_place_among_spans(trace_id):
    assert otlp_id(trace_id) is None
    assert otlp_id(ID) == b"\xab" * 16


def test_a_copy_of_another_id_brings_its_own_ids_and_references():
    dst = derived_id("5", ID)
    assert dst == derived_id("5", ID)
    assert otlp_id(dst) is not None
    assert dst != derived_id("6", ID)
    info = {
        **INFO, "tags": {"a": "b", "mlflow.artifactLocation": "x", "mlflow_exim.trace.trace_id": "older"},
        "trace_metadata": {"mlflow.sourceRun": "r1", "mlflow.modelId": "m1", "mlflow.trace.infoFinalized": "true"},
        "assessments": [{"assessment_id": "a-1", "metadata": {"mlflow.assessment.sourceRunId": "r1"}},
                        {"assessment_id": "a-2", "overrides": "a-1"}],
    }  # fmt: skip
    found = translated(info, dst, "5", {"r1": "r2"}, {"m1": "m2"}, {})
    assert found["tags"] == {"a": "b", "mlflow_exim.trace.trace_id": ID}
    assert found["trace_metadata"] == {"mlflow.sourceRun": "r2", "mlflow.modelId": "m2"}
    first, second = found["assessments"]
    assert first["metadata"] == {"mlflow.assessment.sourceRunId": "r2"}
    assert first["assessment_id"] not in ("a-1", second["assessment_id"])
    assert second["overrides"] == first["assessment_id"]
    same = translated(info, ID, "5", {}, {}, {})
    assert same["tags"] == {"a": "b"}
    assert [item["assessment_id"] for item in same["assessments"]] == ["a-1", "a-2"]
    reference = f"mlflow-attachment://6b8f1c2a-9d3e-4f50-8172-8394a5b6c7d8?content_type=a&trace_id={ID}&size=1"
    spans = [{**SPAN, "attributes": [
        {"key": "in", "value": {"string_value": reference}},
        {"key": "mlflow.experimentId", "value": {"string_value": "1"}},
        {"key": "mlflow.traceRequestId", "value": {"string_value": ID}},
    ], "links": [{"trace_id": SPAN["trace_id"], "span_id": SPAN["span_id"]}]}]  # fmt: skip
    [span] = translated_spans(spans, ID, dst, {"1": "5"})
    own = base64.b64encode(otlp_id(dst)).decode()
    assert span["trace_id"] == span["links"][0]["trace_id"] == own
    assert span["attributes"] == [
        {"key": "in", "value": {"string_value": reference.replace(ID, dst)}},
        {"key": "mlflow.experimentId", "value": {"string_value": "5"}},
    ]
    assert attachments_in(json.dumps(spans).encode(), {}) == ["6b8f1c2a-9d3e-4f50-8172-8394a5b6c7d8"]


def test_a_link_to_an_issue_names_its_copy_as_soon_as_that_is_known():
    link, other = ({"assessment_id": f"a-{name}", "assessment_name": name, "issue": {}} for name in ("i1", "i2"))
    judged = {"assessment_id": "a-3", "assessment_name": "i1", "feedback": {"value": 1}}
    info = {**INFO, "assessments": [link, other, judged]}
    found = translated(info, ID, "5", {}, {}, {"i1": "j1"})
    assert [item["assessment_name"] for item in found["assessments"]] == ["j1", "i2", "i1"]
    assert issues_of(info) == {"i1", "i2"}
    assert issues_of(found) == {"j1", "i2"}
    hostile = {**INFO, "assessments": [{"issue": {}, "assessment_name": ["i1"]}, {"issue": {}}]}
    assert issues_of(hostile) == set()
    assert translated(hostile, ID, "5", {}, {}, {"i1": "j1"})["assessments"][0]["assessment_name"] == ["i1"]


def test_overriding_assessments_come_after_those_that_they_override():
    first, second = {"assessment_id": "1", "valid": False}, {"assessment_id": "2", "overrides": "1", "valid": False}
    third, gone = {"assessment_id": "3", "overrides": "2"}, {"assessment_id": "4", "overrides": "gone"}
    still = {"assessment_id": "5", "valid": True}
    beside = {"assessment_id": "6", "overrides": "5"}
    every = [third, second, gone, first, still, beside]
    assert late_assessments(every) == [second, third]
    assert unreachable(every) == []
    assert unreachable([{"assessment_id": "7", "valid": False}]) == ["7"]


@pytest.mark.parametrize(
    ("info", "span", "changed"),
    [
        ({}, {}, False),
        ({"state": "IN_PROGRESS"}, {}, True),
        ({"state": "IN_PROGRESS"}, {"parent_span_id": "AQ=="}, False),
        ({"request_time": "2025-01-01T00:00:01Z"}, {}, True),
        ({"execution_duration": "1.499s"}, {}, True),
        ({"execution_duration": None}, {}, True),
        ({"execution_duration": None}, {"end_time_unix_nano": 0}, False),
        ({"execution_duration": "2s"}, {}, False),
    ],
)
def test_spans_come_first_where_they_would_change_the_info(info, span, changed):
    assert would_be_changed({**INFO, **info}, [{**SPAN, **span}]) is changed
    assert not would_be_changed({**INFO, **info}, [])


def test_what_a_server_makes_itself_counts_only_if_the_source_has_it():
    there = {
        **INFO,
        "request_preview": "p",
        "trace_metadata": {"mlflow.trace.user": "u", "mlflow.trace.infoFinalized": "true"},
    }
    assert state_of(there, INFO) == state_of(INFO, INFO)
    assert digest(there) == digest(INFO)
    assert state_of(there, there) != state_of(INFO, there)
    assert digest({**INFO, "tags": {"a": "b"}}) != digest(INFO)
    one = {"assessment_id": "1", "assessment_name": "n", "feedback": {"value": 3}, "valid": True, "rationale": ""}
    other = {"assessment_id": "1", "assessment_name": "n", "feedback": {"value": 3.0}, "trace_id": ID}
    assert digest({**INFO, "assessments": [one]}) == digest({**INFO, "assessments": [other]})
    assert digest({**INFO, "assessments": [{**one, "feedback": {"value": 4}}]}) != digest(
        {**INFO, "assessments": [one]}
    )


def test_order_says_nothing():
    one = {**INFO, "tags": {"a": "1", "b": "2"}, "assessments": [{"assessment_id": "1"}, {"assessment_id": "2"}]}
    other = {**INFO, "tags": {"b": "2", "a": "1"}, "assessments": [{"assessment_id": "2"}, {"assessment_id": "1"}]}
    assert fingerprint(one, ["r"]) == fingerprint(other, ["r"])
    assert digest(one) == digest(other)
    assert fingerprint(one, ["r"]) != fingerprint(one, [])


@pytest.mark.parametrize(
    ("tag", "prompts"),
    [
        ('[{"name": "p", "version": 2}]', [{"name": "p", "version": "2"}]),
        ("", []), ("no json", []), ("[3]", []), ('{"a": 1}', []), ('[{"name": "p", "version": "x"}]', []),
    ],
)  # fmt: skip
def test_linked_prompts(tag, prompts):
    assert prompts_of({"tags": {"mlflow.linkedPrompts": tag}}) == prompts
