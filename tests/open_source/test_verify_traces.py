"""verify-migration of traces: copies that are whole are the same at every depth; each planted change is reported.

The copies are made by plain requests, not by the package: what it writes has no part in this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Set, Tuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support.compare_traces import trace_differences
from tests.support.make_prompts import Prompts
from tests.support.make_traces import (
    API_3,
    ATTACHMENT,
    START,
    TRACE_KEY,
    TraceSource,
    artifact_root,
    assessment,
    event,
    file_span,
    info,
    link,
    link_runs,
    log_spans,
    old_trace,
    put_spans_file,
    span,
    span_id_of,
    start,
    trace_id_of,
)
from tests.support.rest import Json, Rest
from tests.support.scripts import run_script
from tests.support.servers import Server

RUN_KEY = "mlflow_exim.run_info.run_id"
MODEL_KEY = "mlflow_exim.field.model_id"
TRACES = 13
Found = Set[Tuple[str, str, str]]


class Side:
    """One server with an experiment full of traces, as a source or as what an import would have made of it."""

    def __init__(self, server: Server, name: str, prompt: str, seed: str = "", copy_of: Any = None) -> None:
        self.rest, self.name, self.prompt = Rest(server.uri), name, prompt
        self.id = self.rest.post("experiments/create", {"name": name})["experiment_id"]
        homes = copy_of.runs if copy_of else ["", ""]
        self.runs = [self._run(f"run {i}", home) for i, home in enumerate(homes)]
        model = {"experiment_id": self.id, "name": "model", "tags": _tag(MODEL_KEY, copy_of.model if copy_of else "")}
        self.model = self.rest.post("logged-models", model)["model"]["info"]["model_id"]
        if not copy_of or copy_of.rest.uri != server.uri:
            prompts = Prompts(server.uri)
            prompts.create(prompt)
            for text in ("first", "second"):
                prompts.version(prompt, text)
        copies = copy_of.ids if copy_of and seed != copy_of.source.seed else None
        self.source = TraceSource(self.rest, self.id, seed, copies)
        self.ids = self.source.everything(self.runs, [(prompt, "1")], self.model)

    def _run(self, name: str, home: str) -> str:
        body = {"experiment_id": self.id, "run_name": name, "start_time": 1, "tags": _tag(RUN_KEY, home)}
        return str(self.rest.post("runs/create", body)["run"]["info"]["run_id"])

    def info(self, role: str) -> Json:
        """What the server says about a trace."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.id}}
        found = self.rest.call("POST", f"{API_3}/traces/search", json={"locations": [place], "max_results": 500})
        return next(dict(one) for one in found["traces"] if one["trace_id"] == self.ids[role])

    def tag(self, role: str, key: str, value: str) -> None:
        """Set a tag of a trace."""
        self.rest.call("PATCH", f"{API_3}/traces/{self.ids[role]}/tags", json={"key": key, "value": value})


def _tag(key: str, value: str) -> List[Json]:
    return [{"key": key, "value": value}] if value else []


@dataclass
class Copied:
    """An experiment and its copy."""

    src: Side
    dst: Side
    home: Path
    expected: Found = field(default_factory=set)

    def verify(self, *args: Any, status: int = 0) -> Json:
        uris = ("--src-mlflow-uri", self.src.rest.uri, "--dst-mlflow-uri", self.dst.rest.uri)
        (self.home / "renames.csv").write_text(f"{self.src.name},{self.dst.name}\n")
        names = ("--experiments", self.src.name, "--experiment-rename-file", self.home / "renames.csv")
        report = ("--report-dir", self.home / "report")
        run_script("verify-migration", *uris, *names, *report, *args, cwd=self.home, check=status)
        return dict(json.loads((self.home / "report" / "verification.json").read_text()))

    def differences(self) -> List[str]:
        """What a comparison of another kind finds."""
        pairs = dict(zip([*self.src.runs, self.src.model], [*self.dst.runs, self.dst.model]))
        sides = ((one.rest.uri, one.name) for one in (self.src, self.dst))
        return trace_differences(*sides, run_map=pairs, prompts=[(self.src.prompt, "1"), (self.src.prompt, "2")])


@pytest.fixture(scope="module")
def copied(src_server: Server, dst_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Copied:
    """A copy on another server: the ids of traces are kept."""
    name = f"traces {uuid4().hex[:8]}"
    src = Side(src_server, name, name.replace(" ", "-"), name)
    return Copied(src, Side(dst_server, name, src.prompt, name, src), tmp_path_factory.mktemp("copied"))


def found(document: Json) -> Found:
    """What is not the same: id at the source (or the destination), result, field."""
    return {
        (line.get("src_id") or line.get("dst_id", ""), line["result"], item["field"])
        for line in document["not_the_same"]
        for item in line.get("differences") or [{"field": line.get("reason", "") if line["result"] == "error" else ""}]
    }


def test_copies_that_kept_their_ids_are_the_same(copied: Copied) -> None:
    """At every depth, and all of it was compared."""
    assert copied.differences() == []
    for depth in ("counts", "metadata", "full"):
        document = copied.verify("--depth", depth)
        assert found(document) == set(), depth
        assert document["counts"]["trace"]["same"] == TRACES
    compared = document["compared"]
    assert compared["assessments"] == 22 and compared["spans"] == 25
    assert compared["hashed"] == 1 and compared["bytes"] == 40_000


def test_copies_that_got_new_ids_are_the_same(src_server: Server, tmp_path: Path) -> None:
    """On one server the copies have other ids, and so have their assessments; each is found by its tag."""
    name = f"twice {uuid4().hex[:8]}"
    src = Side(src_server, name, name.replace(" ", "-"))
    copied = Copied(src, Side(src_server, f"{name} again", src.prompt, copy_of=src), tmp_path)
    assert copied.differences() == []
    for depth in ("counts", "metadata", "full"):
        document = copied.verify("--depth", depth)
        assert found(document) == set(), depth
        assert document["counts"]["trace"]["same"] == TRACES
    assert document["compared"]["assessments"] == 22
    # what names an object of the source is told, also where its id is the same text
    doc = copied.dst.info("linked")
    doc["trace_metadata"]["mlflow.sourceRun"] = src.runs[0]
    del doc["tags"]["mlflow.artifactLocation"], doc["tags"]["mlflow.trace.spansLocation"]
    start(copied.dst.rest, doc)
    fields = {(src.ids["linked"], "differs", "metadata:mlflow.sourceRun")}
    assert found(copied.verify(status=1)) == fields


# ---- planted changes


class Plants:
    """Changes the destination, and knows what is to be found of each change."""

    def __init__(self, copied: Copied) -> None:
        self.src, self.dst, self.rest = copied.src, copied.dst, copied.dst.rest
        self.expected: Found = set()
        self.only_full: Found = set()

    def expect(self, role: str, *fields: str, result: str = "differs", full: bool = False) -> str:
        new = {(self.dst.ids[role], result, name) for name in fields or ("",)}
        self.expected |= new
        self.only_full |= new if full else set()
        return self.dst.ids[role]

    def again(self, role: str, **changes: Any) -> None:
        """Write an info anew."""
        doc = {**self.dst.info(role), **changes}
        for key in ("mlflow.artifactLocation", "mlflow.trace.spansLocation"):
            doc["tags"].pop(key, None)
        start(self.rest, doc)

    def infos(self) -> None:
        metadata = self.dst.info("session")["trace_metadata"]
        metadata.update({"custom": "y", "new": "1", "mlflow.trace.session": "session 2"})
        usage = {"input_tokens": 1, "output_tokens": 20, "total_tokens": 120}
        metadata["mlflow.trace.tokenUsage"] = json.dumps(usage)
        self.again("session", trace_metadata=metadata)
        names = ("custom", "new", "mlflow.trace.session", "mlflow.trace.tokenUsage")
        self.expect("session", *(f"metadata:{name}" for name in names))
        self.again("in progress", state="OK", execution_duration="7s", request_preview="another", response_preview="")
        self.expect("in progress", "state", "execution_duration", "request_preview", "response_preview")
        time = "2023-11-14T22:13:20.124Z"
        self.again("plain", request_time=time, client_request_id="request 8")
        self.expect("plain", "request_time", "client_request_id")

    def tags(self) -> None:
        for key, value in (("team", "b"), ("added", "1")):
            self.dst.tag("session", key, value)
        path = f"{API_3}/traces/{self.dst.ids['session']}/tags"
        self.rest.call("DELETE", path, params={"key": "empty"}, json={"key": "empty"})
        self.expect("session", "tag:team", "tag:added", "tag:empty")

    def assessments(self) -> None:
        trace_id = self.dst.ids["assessed"]
        ids = {one["assessment_name"]: one["assessment_id"] for one in self.dst.info("assessed")["assessments"]}
        path = f"{API_3}/traces/{trace_id}/assessments"
        self.rest.call("DELETE", f"{path}/{ids['why']}")
        new = assessment(trace_id, "added later", feedback={"value": 1.0})
        self.rest.call("POST", path, json={"assessment": new})
        changed = {"assessment_id": ids["feedback number"], "trace_id": trace_id, "feedback": {"value": 0.2}}
        body = {"assessment": changed, "update_mask": "feedback"}
        self.rest.call("PATCH", f"{path}/{ids['feedback number']}", json=body)
        overrides = assessment(trace_id, "overrides too", feedback={"value": 1.0}, overrides=ids["expected text"])
        self.rest.call("POST", path, json={"assessment": overrides})
        added = [f"assessment:{one['assessment_id']}" for one in (new, overrides)]
        number = f"assessment:{ids['feedback number']}"
        self.expect("assessed", f"assessment:{ids['why']}", *added, f"{number}:feedback", f"{number}:last_update_time")
        self.expect("assessed", f"assessment:{ids['expected text']}:valid")

    def spans(self) -> None:
        trace_id = self.expect("failed", f"span:{span_id_of('more')}", full=True)
        tool = f"span:{span_id_of('tool')}"
        names = ("status", "status message", "event:0", "event:1", "attribute:int", "start_time", "end_time", "link:0")
        self.expect("failed", *(f"{tool}:{name}" for name in names), full=True)
        events = [event("exception", START + 1), event("another", START + 2)]
        tool_again = span(trace_id, "tool", "root", START + 1, attributes={"int": 1}, events=events, links=[link()])
        log_spans(self.rest, self.dst.id, [tool_again, span(trace_id, "more", "root")])
        # the same number of another type, and other bytes of the same length
        trace_id = self.expect("attached", f"span:{span_id_of('root')}:attribute:n", full=True)
        uri = f"mlflow-attachment://{ATTACHMENT}?content_type=image%2Fpng&trace_id={trace_id}"
        for side, n in ((self.src, 2), (self.dst, 2.0)):
            values = {"mlflow.spanOutputs": [uri], "n": n}
            log_spans(side.rest, side.id, [span(trace_id, "root", attributes=values)])
        self.expect("attached", f"attachment:{ATTACHMENT}", full=True)
        self.rest.put_file(
            artifact_root(self.rest, self.dst.info("attached")), f"attachments/{ATTACHMENT}", b"x" * 40_000
        )
        trace_id = self.expect("artifact", f"span:{span_id_of('llm')}", full=True)
        self.expect("artifact", f"span:{span_id_of('root')}:attribute:mlflow.spanInputs", full=True)
        changed = file_span(trace_id, "root", **{"mlflow.spanInputs": {"a": [2]}, "mlflow.experimentId": self.dst.id})
        put_spans_file(self.rest, artifact_root(self.rest, self.dst.info("artifact")), [changed])

    def links(self) -> None:
        link_runs(self.rest, self.dst.runs[0], self.expect("custom", f"run:{self.src.runs[0]}"))
        link_runs(self.src.rest, self.src.runs[1], self.expect("session by span", f"run:{self.src.runs[1]}"))
        new = self.rest.post("runs/create", {"experiment_id": self.dst.id, "start_time": 1})["run"]["info"]["run_id"]
        link_runs(self.rest, new, self.expect("bare", f"run:{new} of the destination"))
        self.expected.add((new, "extra", ""))
        names = [{"name": self.src.prompt, "version": "2"}]
        for side in (self.src, self.dst):
            side.tag("bare", "mlflow.linkedPrompts", json.dumps(names))
        body = {"trace_id": self.expect("bare", f"prompt:{self.src.prompt}/2"), "prompt_versions": names}
        self.src.rest.post("traces/link-prompts", body)
        self.dst.tag("linked", "mlflow.linkedPrompts", json.dumps(names))
        self.expect("linked", "tag:mlflow.linkedPrompts")

    def whole_traces(self) -> None:
        gone = self.expect("no spans", result="missing")
        self.rest.post("traces/delete-traces", {"experiment_id": self.dst.id, "request_ids": [gone]})
        for tags in ({}, {TRACE_KEY: self.src.ids["slash"]}, {TRACE_KEY: "tr-of-nobody"}):
            trace_id = trace_id_of(f"{self.dst.id} {tags}")
            start(self.rest, info(trace_id, self.dst.id, tags=tags))
            self.expected.add((trace_id, "extra", ""))


def test_each_planted_change_is_found_and_nothing_else(copied: Copied) -> None:
    """One change of each kind at the destination, and one verification of all of them at each depth."""
    plants = Plants(copied)
    plants.infos()
    plants.tags()
    plants.assessments()
    plants.spans()
    plants.links()
    plants.whole_traces()
    document = copied.verify("--depth", "full", status=1)
    assert found(document) == plants.expected
    assert found(copied.verify(status=1)) == plants.expected - plants.only_full
    reasons = {line["reason"] for line in document["not_the_same"] if line["result"] == "extra"}
    src = copied.src.ids["slash"]
    assert reasons == {
        "made by no import", f"a second copy of {src}", "made from tr-of-nobody, which the source does not have"
    }  # fmt: skip
    there = {kind for one, kind, _ in found(copied.verify("--depth", "counts", status=1))}
    assert there == {"missing", "extra"}
    # the other comparison sees them, too
    seen = "\n".join(copied.differences())
    for role, trace_id in copied.dst.ids.items():
        is_planted = any(one == trace_id for one, _, _ in plants.expected) or role == "slash"
        assert (trace_id in seen) == is_planted, role


# ---- what the package has moved


def test_an_older_source_and_directories(server_222: Server, dst_server: Server, tmp_path: Path) -> None:
    """Traces of MLflow 2 came whole, through a directory; a changed span is found from the server and the directory."""
    name = f"older {uuid4().hex[:8]}"
    rest, there = Rest(server_222.uri), Rest(dst_server.uri)
    experiment_id = rest.post("experiments/create", {"name": name})["experiment_id"]
    ids = [old_trace(rest, experiment_id, f"{name} {n}") for n in range(3)]
    home, report = tmp_path / "export", ("--report-dir", tmp_path / "report")
    run_script(
        "export-traces", "--experiment-ids", experiment_id, "--output-dir", home, *report,
        env={"MLFLOW_TRACKING_URI": rest.uri}, cwd=tmp_path,
    )  # fmt: skip
    run_script("import-traces", "--input-dir", home, *report, env={"MLFLOW_TRACKING_URI": there.uri}, cwd=tmp_path)
    assert trace_differences((rest.uri, name), (there.uri, name), links=False) == []

    def verify(*source: Any, status: int) -> Found:
        depth = ("--depth", "full", "--report-dir", tmp_path / "report")
        run_script("verify-migration", *source, *depth, cwd=tmp_path, check=status)
        document = dict(json.loads((tmp_path / "report" / "verification.json").read_text()))
        assert sum(document["counts"]["trace"].values()) == len(ids)
        assert document["compared"]["spans"] == 3 * len(ids)
        return found(document)

    dst = ("--dst-mlflow-uri", there.uri)
    sources: List[Tuple[Any, ...]] = [("--src-mlflow-uri", rest.uri, "--experiments", name), ("--input-dir", home)]
    for source in sources:
        assert verify(*source, *dst, status=0) == set()
    assert verify("--input-dir", home, status=0) == set()
    place = {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": there.experiment(name)["experiment_id"]},
    }
    infos = there.call("POST", f"{API_3}/traces/search", json={"locations": [place], "max_results": 500})["traces"]
    copy = next(one for one in infos if ids[0] in (one["trace_id"], one["tags"].get(TRACE_KEY)))
    root = urlsplit(copy["tags"]["mlflow.artifactLocation"]).path.strip("/")
    path = f"/api/2.0/mlflow-artifacts/artifacts/{root}/traces.json"
    spans = there.call("GET", path)["spans"]
    spans[1]["name"] = "another"
    put_spans_file(there, copy["tags"]["mlflow.artifactLocation"], spans)
    for source in sources:
        changed = verify(*source, *dst, status=1)
        assert {(one, result) for one, result, _ in changed} == {(ids[0], "differs")}
        assert [field.rpartition(":")[2] for _, _, field in changed] == ["name"]


def test_a_server_without_traces(server_29: Server, src_server: Server, tmp_path: Path) -> None:
    """There are none, and nothing is said about it."""
    name = f"old {uuid4().hex[:8]}"
    for server in (server_29, src_server):
        Rest(server.uri).post("experiments/create", {"name": name})
    uris = ("--src-mlflow-uri", server_29.uri, "--dst-mlflow-uri", src_server.uri)
    result = run_script("verify-migration", *uris, "--experiments", name, "--depth", "full", cwd=tmp_path)
    assert "trace" not in result.stdout
