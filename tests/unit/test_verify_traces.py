"""verify-migration of traces without servers: one shape for spans of all ages, exact types, directories alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

import pytest

from benchmarks.prove_traces import _not_compared
from mlflow_migration.trace.trace_state import translated_file
from mlflow_migration.verify.compare import Comparison
from mlflow_migration.verify.kinds import SPECS, KindsVerifier
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.trace_objects import Trace, numbered, prompts_in, spans_of, trace_of
from mlflow_migration.verify.trace_verifier import TraceVerifier, _portions
from mlflow_migration.verify.verify_migration import verify_migration
from tests.support.make_traces import assessment, exact, file_span, info, span_id_of, trace_id_of
from tests.support.rest import Json

TRACE = trace_id_of("unit")
ROOT, CHILD = span_id_of("root"), span_id_of("child")
VALUES = {"text": "ü", "int": 1, "float": 1.0, "list": [1, "a", None, True], "object": {"a": {"b": 2.5}}, "null": None}


def b64(hex_id: str) -> str:
    return base64.b64encode(bytes.fromhex(hex_id)).decode()


def any_value(value: Any) -> Json:
    """An attribute's value as `traces/batchGet` has it."""
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, list):
        return {"array_value": {"values": [any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlist_value": {"values": pairs(value)}}
    kinds = {str: "string_value", int: "int_value", float: "double_value"}
    return {} if value is None else {kinds[type(value)]: value}


def pairs(values: Json) -> List[Json]:
    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def stored(**changes: Any) -> Json:
    """A span as `traces/batchGet` gives it."""
    return {
        "trace_id": b64(TRACE[3:]), "span_id": b64(CHILD), "parent_span_id": b64(ROOT), "name": "child",
        "start_time_unix_nano": 5, "end_time_unix_nano": 7, "status": {"code": "STATUS_CODE_OK"},
        "attributes": [{"key": "mlflow.traceRequestId", "value": {"string_value": TRACE}}, *pairs(VALUES)],
        "events": [{"name": "seen", "time_unix_nano": 6, "attributes": pairs({"n": 1})}],
        **changes,
    }  # fmt: skip


def in_file(**changes: Any) -> Json:
    """The same in `traces.json` of MLflow 3."""
    values = {"mlflow.traceRequestId": TRACE, **VALUES}
    return {
        **stored(), "events": [{"name": "seen", "time_unix_nano": 6, "attributes": {"n": 1}}], "links": [],
        "attributes": {key: json.dumps(value, indent=1) for key, value in values.items()}, **changes,
    }  # fmt: skip


def old() -> Json:
    """The same in `traces.json` of MLflow 2."""
    return {
        "name": "child", "context": {"trace_id": f"0x{TRACE[3:]}", "span_id": f"0x{CHILD}"}, "parent_id": f"0x{ROOT}",
        "start_time": 5, "end_time": 7, "status_code": "OK", "status_message": "",
        "attributes": in_file()["attributes"], "events": [{"name": "seen", "timestamp": 6, "attributes": {"n": 1}}],
    }  # fmt: skip


def test_a_span_is_the_same_in_each_shape() -> None:
    fields = spans_of(TRACE, [stored()])[CHILD]
    assert fields["parent"] == ROOT and fields["end_time"] == 7 and fields["attribute:float"] == "1.0"
    assert "attribute:mlflow.traceRequestId" not in fields and "trace" not in fields
    assert spans_of(TRACE, [in_file()]) == spans_of(TRACE, [old()]) == {CHILD: fields}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"attributes": pairs({**VALUES, "int": 1.0})}, "attribute:int"),
        ({"attributes": pairs({**VALUES, "list": [1, "a", None, 1]})}, "attribute:list"),
        ({"attributes": pairs({**VALUES, "null": ""})}, "attribute:null"),
        ({"attributes": pairs({**VALUES, "mlflow.traceRequestId": "tr-another"})}, "attribute:mlflow.traceRequestId"),
        ({"parent_span_id": ""}, "parent"),
        ({"status": {}}, "status"),
        ({"status": {"code": "STATUS_CODE_OK", "message": "but"}}, "status message"),
        ({"end_time_unix_nano": 8}, "end_time"),
        ({"events": [{"name": "seen", "time_unix_nano": 6, "attributes": pairs({"n": 2})}]}, "event:0"),
        ({"links": [{"trace_id": b64("ab" * 16), "span_id": b64("cd" * 8)}]}, "link:0"),
        ({"trace_id": b64("ab" * 16)}, "trace"),
    ],
)
def test_what_differs_in_a_span(changes: Json, field: str) -> None:
    ours, theirs = (spans_of(TRACE, [stored(**one)])[CHILD] for one in ({}, changes))
    assert {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} == {field}


def test_assessments_of_copies_with_other_ids() -> None:
    """They are told by what they say, and what overrides what is still the same."""

    def made(trace_id: str, **changes: Any) -> Dict[str, Json]:
        first = assessment(trace_id, "overridden", feedback={"value": 1.0}, metadata={"run": trace_id})
        second = assessment(trace_id, "overrides", 5, expectation=exact([1]), overrides=first["assessment_id"])
        docs = [second, {**first, **changes}]
        return numbered(trace_of(info(trace_id, "1", assessments=docs)).assessments)

    ours, theirs = made(TRACE), made(trace_id_of("other"))
    assert ours.keys() == theirs.keys() == {"0 (overridden)", "1 (overrides)"}
    assert ours["1 (overrides)"] == theirs["1 (overrides)"] and ours["1 (overrides)"]["overrides"] == "0 (overridden)"
    changed = made(TRACE, valid=False)["0 (overridden)"]
    assert {key for key, value in changed.items() if ours["0 (overridden)"][key] != value} == {"valid"}


class Issues:
    """A side, or what is a copy of what: as much of it as is asked."""

    def __init__(self, copies: Dict[str, str], **names: str) -> None:
        self.copies, self.names = copies, names

    def objects(self, spec: Any) -> Any:
        return [{"issue_id": one, "name": name} for one, name in self.names.items()], {}

    def entries(self, kind: str) -> List[Json]:
        return [{"src_id": src, "dst_id": dst} for src, dst in self.copies.items()] if kind == "issue" else []


@pytest.mark.parametrize(
    ("copies", "theirs", "named", "differs"),
    [
        ({"i1": "j1"}, {"j1": "slow"}, "j1", False),
        ({"i1": "j1"}, {"j1": "slow", "j2": "slow"}, "j2", True),
        ({"i1": "j1"}, {"j1": "slow"}, "i1", True),
        ({}, {"j1": "slow"}, "j1", False),
        ({}, {"j1": "wrong"}, "j1", True),
        ({}, {"j1": "slow"}, "i1", True),
        ({}, {}, "i1", False),  # the issue itself is missing, which is told of it
        ({}, {"i1": "slow", "j1": "slow"}, "i1", False),
    ],
)
def test_issues_that_traces_name(copies: Dict[str, str], theirs: Dict[str, str], named: str, differs: bool) -> None:
    """An assessment that links a trace to an issue names the issue's copy."""

    def linked(issue_id: str, trace_id: str) -> Trace:
        docs = [{**assessment(trace_id, issue_id, issue={"issue_name": "slow"}), "assessment_id": "a-1"}]
        docs.append({**assessment(trace_id, "i1", feedback={"value": 1.0}), "assessment_id": "a-2"})
        return trace_of(info(trace_id, "1", assessments=docs))

    verifier: Any = TraceVerifier.__new__(TraceVerifier)
    TraceVerifier.__init__(
        verifier, None, Issues({}, i1="slow"), Issues({}, **theirs), Issues(copies), None, None, set(), set(),  # type: ignore[arg-type]
        lambda src_id, name: set(), lambda name: [name],
    )  # fmt: skip
    src, dst = linked("i1", TRACE), linked(named, TRACE)
    pair = Comparison(src, dst)
    verifier._links.there = lambda kind, scope: set()
    verifier._links.same = verifier._links.same_text = lambda *names: False
    verifier._parts(pair, "assessment", src.assessments, dst.assessments)
    shown = "i1 (the source's id)" if named == "i1" else named
    assert pair.differences == ([("assessment:a-1:issue id", "i1", shown)] if differs else [])


def test_traces_in_review_queues_may_have_other_ids() -> None:
    """Copies of traces under other ids are the same; a trace that is another one is not."""

    class Links:
        def same(self, kind: str, src_id: str, dst_id: str, experiment_id: str) -> bool:
            return (kind, src_id, dst_id) in {("trace", "t1", "u1"), ("trace", "t2", "u2")}

    def queue(experiment_id: str, **items: str) -> Json:
        found = [{"item_id": one, "item_type": "TRACE", "status": status} for one, status in items.items()]
        return {"experiment_id": experiment_id, "name": "q", "items": found}

    def differences(**theirs: str) -> List[Any]:
        report: Any = Report(None, {})
        told: List[Any] = []
        report.compared = lambda thing, dst_id, differences, errors: told.extend(differences)
        spec = next(spec for spec in SPECS if spec.kind == "review_queue")
        verifier = KindsVerifier(Links(), report, "full", lambda src_id, name: {"9"}, lambda of, name: [name], {"9"})  # type: ignore[arg-type]
        ours = queue("1", t1="COMPLETE", t2="PENDING", t3="PENDING")
        verifier.compare(spec, ([ours], {}), ([queue("9", **theirs)], {}))
        return told

    assert differences(u1="COMPLETE", u2="PENDING", t3="PENDING") == []
    assert differences(u1="COMPLETE", u2="DECLINED", t3="PENDING") == [("items.[t2].status", "PENDING", "DECLINED")]
    wrong = {name for name, _, _ in differences(u1="COMPLETE", u2="PENDING", u3="PENDING")}
    assert {name.partition("]")[0] for name in wrong} == {"items.[t3", "items.[u3"}


def test_fields_of_a_trace() -> None:
    """What servers set counts nothing; JSON counts as what it says; the key tag tells the origin."""
    metadata = {"mlflow.trace.tokenUsage": '{"b": 1,  "a": 2}', "mlflow.trace.infoFinalized": "true"}
    tags = {"mlflow.artifactLocation": "x", "mlflow.trace.spansLocation": "TRACKING_STORE", "a": "1"}
    trace = trace_of(info(TRACE, "7", trace_metadata=metadata, tags={**tags, "mlflow_exim.trace.trace_id": "tr-old"}))
    assert (trace.key, trace.parent_id, trace.in_database) == ("tr-old", "7", True)
    other = trace_of(info(TRACE, "7", trace_metadata={"mlflow.trace.tokenUsage": '{"a":2,"b":1}'}, tags={"a": "1"}))
    assert trace.fields == other.fields
    assert trace.fields["execution_duration"] == 1234 and "metadata:mlflow.trace.tokenUsage" in trace.fields


def test_prompts_that_a_tag_names() -> None:
    assert prompts_in('[{"name": "a", "version": 1}, {"name": "b", "version": "2"}]') == [("a", "1"), ("b", "2")]
    assert [list(prompts_in(text)) for text in ("", "x", "{}", "[1]", None)] == [[]] * 5


def test_large_traces_are_read_a_few_at_a_time() -> None:
    def pair(size: int) -> Comparison:
        stats = {"mlflow.trace.sizeStats": json.dumps({"total_size_bytes": size, "num_spans": 3})}
        trace = trace_of(info(TRACE, "1", trace_metadata=stats if size else {}))
        return Comparison(trace, trace)

    sizes = [0] * 30 + [15_000_000, 15_000_000, 1, 90_000_000]
    assert [len(some) for some in _portions([pair(size) for size in sizes])] == [31, 2, 1]


def test_the_proof_counts_what_was_compared() -> None:
    """A verification that has compared less than there is does not count as one without differences."""
    whole = {"compared": {"spans": 20, "assessments": 6}, "counts": {"trace": {"same": 2}}}
    assert _not_compared(whole, (2, 10, 3)) == []
    assert len(_not_compared({"compared": {}, "counts": {}}, (2, 10, 3))) == 3


# ---- directories by themselves


def write(home: Path, trace_id: str, **changes: Any) -> Path:
    """A trace in the directory of an export."""
    place = home / "traces" / trace_id
    place.mkdir(parents=True)
    spans = [file_span(trace_id, "root", n=1), file_span(trace_id, "child", "root")]
    body = {"info": info(trace_id, "1"), "spans": spans, "spans_location": "database", "run_ids": []}
    doc = {"mlflow": {**body, **changes}, "info": {"attachments": changes.get("attachments", [])}}
    (place / "trace.json").write_text(json.dumps(doc))
    return place


def found(home: Path, depth: str = "full") -> Tuple[Dict[str, int], Set[Tuple[str, str, str]]]:
    """Counts of traces, and what is wrong with them: id, result, field."""
    document = verify_migration(input_dir=str(home), depth=depth, report_dir=str(home.parent / "report"))
    lines = {
        (line["src_id"], line["result"], item["field"])
        for line in document["not_the_same"]
        for item in line.get("differences") or [{"field": ""}]
        if line["kind"] == "trace"
    }
    return document["counts"].get("trace", {}), lines


def test_the_traces_of_a_directory(tmp_path: Path) -> None:
    home = tmp_path / "export"
    ids = [trace_id_of(f"dir {n}") for n in range(6)]
    home.mkdir()
    body = {"experiment": {"experiment_id": "1", "name": "e", "tags": {}, "lifecycle_stage": "active"}, "runs": []}
    (home / "experiment.json").write_text(json.dumps({"mlflow": {**body, "traces": ids}}))
    write(home, ids[0])
    name = "0b7e8cbb-5d3f-4c8e-9d56-6d1a4f2f9c11"
    for trace_id, there in ((ids[1], ("lost", name)), (ids[2], (name,))):
        files = write(home, trace_id, attachments=[name, "lost"] if trace_id == ids[1] else [name]) / "artifacts"
        (files / "attachments").mkdir(parents=True)
        for each in there[-1:]:
            (files / "attachments" / each).write_bytes(b"1")
    (write(home, ids[3]) / "trace.json").write_text("{")
    write(home, ids[4], spans=[file_span(ids[4], "child", "root")])
    counts, wrong = found(home)
    child = span_id_of("child")
    expected = {
        (ids[1], "differs", "attachment:lost"),
        (ids[3], "error", ""),
        (ids[4], "differs", f"span:{child}"),
        (ids[5], "missing", ""),
    }
    assert wrong == expected
    assert counts == {"same": 2, "missing": 1, "extra": 0, "differs": 2, "error": 1}
    assert found(home, "metadata")[1] == {item for item in expected if item[1] != "differs"}


def test_an_export_of_traces_lists_what_it_lacks(tmp_path: Path) -> None:
    ids = [trace_id_of(f"listed {n}") for n in range(3)]
    write(tmp_path / "work", ids[0])
    home = tmp_path / "work" / "traces"
    body = {"experiments": [{"id": "1", "name": "e", "traces": ids[:2]}]}
    (home / "traces.json").write_text(json.dumps({"mlflow": body, "info": {"failed_traces": [ids[2]]}}))
    counts, wrong = found(home)
    assert (counts["same"], wrong) == (1, {(ids[1], "missing", ""), (ids[2], "error", "")})


def test_a_trace_alone_and_traces_without_their_experiment(tmp_path: Path) -> None:
    for home in (write(tmp_path / "one", TRACE), tmp_path / "one"):
        counts, wrong = found(home)
        assert (counts["same"], wrong) == (1, set())


def test_a_trace_knows_its_attachments() -> None:
    uri = "mlflow-attachment://0b7e8cbb-5d3f-4c8e-9d56-6d1a4f2f9c11?content_type=image%2Fpng"
    span = file_span(TRACE, "root", picture={"url": [uri]})
    trace = Trace("trace", TRACE, spans=spans_of(TRACE, [span]))
    assert trace.attachments == ["0b7e8cbb-5d3f-4c8e-9d56-6d1a4f2f9c11"]


# ---- what a copy under another id says about itself


def test_the_file_of_a_copy_names_the_copy() -> None:
    """Ids in traces.json become those of the copy; a file that names nothing new stays as it is, byte by byte."""
    other = trace_id_of("the copy")
    uri = f"mlflow-attachment://0b7e8cbb-5d3f-4c8e-9d56-6d1a4f2f9c11?content_type=image%2Fpng&trace_id={TRACE}"
    spans = [file_span(TRACE, "root", picture=uri, **{"mlflow.experimentId": "1"}), file_span(TRACE, "child", "root")]
    content = json.dumps({"spans": spans, "more": 1}, indent=1).encode()
    moved = json.loads(translated_file(content, TRACE, other, {"1": "7"}))
    assert moved["more"] == 1 and TRACE not in json.dumps(moved)
    root = spans_of(other, moved["spans"])[ROOT]
    assert root["attribute:mlflow.experimentId"] == '"7"' and "trace" not in root
    assert spans_of(other, moved["spans"])[CHILD] == spans_of(TRACE, spans)[CHILD]
    assert translated_file(content, TRACE, TRACE, {"1": "1"}) == content
    assert [translated_file(text, TRACE, other, {}) for text in (b"{", b"[]", b'{"spans": 1}')] == [
        b"{", b"[]", b'{"spans": 1}'
    ]  # fmt: skip
