"""Traces arrive with all that REST can keep: spans, assessments, links, attachments, times, states and ids."""

from __future__ import annotations

import base64
import json
import os
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
import requests

from mlflow_migration.client import otlp
from tests.support.moves import At, Moves, Source
from tests.support.proxy import Proxy
from tests.support.reports import id_map, statuses, table
from tests.support.rest import Json, Rest
from tests.support.servers import Server

NO_WRITE = ("/search", "/batchGetInfos")
KINDS = ("full", "open", "bare", "root", "early", "file")
OLD_DATA = {
    "spans": [
        {
            "name": "old", "context": {"span_id": "0x00000000000000a1", "trace_id": "0x" + "ab" * 16},
            "parent_id": None, "start_time": 1735689600123000000, "end_time": 1735689600123000005,
            "status_code": "OK", "status_message": "", "attributes": {"mlflow.spanType": '"TOOL"'}, "events": [],
        }
    ],
    "request": "{}",
}  # fmt: skip
SERVERS = ("mlflow.artifactLocation", "mlflow.trace.spansLocation", "mlflow_exim.trace.trace_id")


def writes(proxy: Proxy) -> Dict[str, int]:
    """What was sent to a server beside questions."""
    return {r: n for r, n in proxy.counts().items() if not r.startswith("GET ") and not r.endswith(NO_WRITE)}


class TraceSource:
    """Makes traces in an experiment by plain requests."""

    def __init__(self, uri: str, experiment_id: str) -> None:
        self.uri, self.experiment_id = uri, experiment_id
        self.session = requests.Session()

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """Send a request that must succeed."""
        response = self.session.request(method, self.uri + path, json=body, **more)
        assert response.status_code < 300, f"{method} {path}: {response.status_code} {response.text[:500]}"
        return response

    def post(self, trace_id: str, **more: Any) -> Json:
        """Create a trace without spans."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment_id}}
        info = {
            "trace_id": trace_id, "trace_location": place, "request_time": "2025-01-01T00:00:00.123Z",
            "execution_duration": "1.500s", "state": "OK", "trace_metadata": {"a": "b"},
            "tags": {"mlflow.traceName": "näme", "x": "y", "empty": ""}, "request_preview": "ask",
            "response_preview": "said", **more,
        }  # fmt: skip
        return self.call("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}}).json()["trace"][
            "trace_info"
        ]

    def spans(self, *spans: Json) -> None:
        """Write spans."""
        headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": self.experiment_id}
        self.call("POST", "/v1/traces", data=otlp.encode(spans), headers=headers)

    def put(self, trace_id: str, path: str, data: bytes) -> None:
        """Write a file among the artifacts of a trace."""
        url = f"/api/2.0/mlflow-artifacts/artifacts/{self.experiment_id}/traces/{trace_id}/artifacts/{path}"
        self.call("PUT", url, data=data)

    def assess(self, trace_id: str, assessment: Json) -> None:
        """Add an assessment."""
        path = f"/api/3.0/mlflow/traces/{trace_id}/assessments"
        self.call("POST", path, {"assessment": {**assessment, "trace_id": trace_id}})


def new_id() -> str:
    """An id as MLflow 3 gives traces."""
    return "tr-" + os.urandom(16).hex()


def span(trace_id: str, number: int, parent: int = 0, **more: Any) -> Json:
    """A span; number 1 is a root."""
    one = {
        "trace_id": base64.b64encode(bytes.fromhex(trace_id[3:])).decode(), "name": f"span {number}",
        "span_id": base64.b64encode(number.to_bytes(8, "big")).decode(),
        "start_time_unix_nano": 1735689600123000000 + number, "end_time_unix_nano": 1735689601623000000 - number,
        "status": {"code": "STATUS_CODE_OK"},
        "attributes": [{"key": "mlflow.spanType", "value": {"string_value": "CHAIN"}}],
    }  # fmt: skip
    if parent:
        one["parent_span_id"] = base64.b64encode(parent.to_bytes(8, "big")).decode()
    return {**one, **more}


def assessment(name: str, **more: Any) -> Json:
    """An assessment with an id and times of its own."""
    return {
        "assessment_id": "a-" + uuid.uuid4().hex, "assessment_name": name,
        "source": {"source_type": "HUMAN", "source_id": "me@x"}, "create_time": "2025-01-02T03:04:05.678Z",
        "last_update_time": "2025-01-03T00:00:00.001Z", **more,
    }  # fmt: skip


def attributes(**values: Any) -> List[Json]:
    """Attributes of a span out of OTLP values."""
    return [{"key": key, "value": value} for key, value in values.items()]


def everything(source: Source) -> Dict[str, str]:
    """Make one trace of each kind; returns their ids, and those of runs, by name."""
    at = TraceSource(source.server.uri, source.id)
    run, other = source.run("made in"), source.run("linked")
    full, open_, bare, root, early, file = new_id(), new_id(), new_id(), new_id(), new_id(), f"my own id {new_id()}"
    attachment = str(uuid.uuid4())
    first = assessment("quality", feedback={"value": 0.5}, rationale="because")
    second = assessment("quality", feedback={"value": True}, overrides=first["assessment_id"])
    at.post(full, client_request_id="client-1", assessments=[
        first,
        assessment("truth", expectation={"value": "yes"}, metadata={"mlflow.assessment.sourceRunId": run, "k": "v"}),
        assessment("exact", expectation={"serialized_value": {
            "serialization_format": "JSON_FORMAT", "value": '{"a": [1, 2.0, null], "b": "é"}'}}),
        assessment("broken", feedback={"error": {"error_code": "E", "error_message": "m", "stack_trace": "s"}},
                   source={"source_type": "LLM_JUDGE", "source_id": "judge"}, span_id="0000000000000001"),
        assessment("many", feedback={"value": ["x", "y"]}, source={"source_type": "CODE", "source_id": "f"}),
    ], trace_metadata={
        "mlflow.sourceRun": run, "mlflow.trace.session": "s-1", "mlflow.trace.user": "u-1", "plain": "ü",
        "mlflow.trace.tokenUsage": '{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}',
    }, tags={"mlflow.traceName": "full", "mlflow.linkedPrompts": '[{"name": "p", "version": "2"}]'})  # fmt: skip
    at.assess(full, second)
    link = {"trace_id": base64.b64encode(os.urandom(16)).decode(), "span_id": "AAAAAAAAAAk=",
            "attributes": attributes(why={"string_value": "since"})}  # fmt: skip
    reference = f"mlflow-attachment://{attachment}?content_type=image%2Fpng&trace_id={full}&size=6"
    usage = [{"key": key, "value": {"int_value": n}} for key, n in (("input_tokens", 3), ("output_tokens", 4))]
    at.spans(
        span(full, 1, attributes=attributes(**{
            "mlflow.spanInputs": {"kvlist_value": {"values": [{"key": "image", "value": {"string_value": reference}}]}},
            "mlflow.experimentId": {"string_value": source.id}, "none": {}, "big": {"int_value": 2**62},
            "float": {"double_value": 1.0}, "list": {"array_value": {"values": [{"bool_value": False}, {}]}},
            "empty list": {"array_value": {}}, "empty": {"kvlist_value": {}}, "text": {"string_value": "1"},
        }), events=[{"name": "ev", "time_unix_nano": 1735689600123000009,
                     "attributes": attributes(k={"bool_value": True})}], links=[link],
            status={"code": "STATUS_CODE_ERROR", "message": "bad"}),
        span(full, 2, 1, attributes=attributes(**{
            "mlflow.chat.tokenUsage": {"kvlist_value": {"values": usage}},
            "mlflow.llm.cost": {"kvlist_value": {"values": [{"key": "total_cost", "value": {"double_value": 0.25}}]}},
        })),
    )  # fmt: skip
    at.put(full, f"attachments/{attachment}", b"\x89PNG\r\n")
    at.call("POST", "/api/2.0/mlflow/traces/link-to-run", {"trace_ids": [full, open_, bare], "run_id": other})
    prompts = {"trace_id": full, "prompt_versions": [{"name": "p", "version": "2"}]}
    at.call("POST", "/api/2.0/mlflow/traces/link-prompts", prompts)
    # in progress: a child has ended, the root has not; and one whose root has
    at.post(open_, state="IN_PROGRESS", execution_duration=None)
    at.spans(span(open_, 2, 1))
    at.spans(span(root, 1))
    at.post(root, state="IN_PROGRESS")
    # its spans would move its times
    at.spans(span(early, 1))
    at.post(early, request_time="2025-06-01T00:00:00.000Z", execution_duration="0.001s", state="ERROR")
    at.post(bare)
    at.post(file)
    at.put(file, "traces.json", json.dumps(OLD_DATA).encode())
    return {"full": full, "open": open_, "bare": bare, "root": root, "early": early, "file": file, "run": run,
            "other": other, "attachment": attachment, "second": second["assessment_id"]}  # fmt: skip


def infos_of(rest: Rest, experiment: str) -> Dict[str, Json]:
    """The infos of an experiment's traces by id."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    found: List[Json] = []
    body: Json = {"locations": [place], "max_results": 100}
    while True:
        reply = requests.post(f"{rest.uri}/api/3.0/mlflow/traces/search", json=body).json()
        found += reply.get("traces", [])
        if not reply.get("next_page_token"):
            return {info["trace_id"]: info for info in found}
        body["page_token"] = reply["next_page_token"]


def plain(info: Json, renames: Dict[str, str]) -> Json:
    """An info in one form: ids of the other side replaced, what the server sets left out."""
    text = json.dumps(info)
    for old, new in renames.items():
        text = text.replace(old, new)
    found = json.loads(text)
    found.pop("trace_location")
    found["tags"] = {key: value for key, value in found["tags"].items() if key not in SERVERS}
    found.get("trace_metadata", {}).pop("mlflow.trace.infoFinalized", None)
    found["assessments"] = sorted(
        found.get("assessments", []), key=lambda item: item["assessment_name"] + str(item["valid"])
    )
    return found


def data_of(uri: str, trace_id: str) -> Any:
    """The spans of a trace as the web page gets them; None if there are none."""
    response = requests.get(f"{uri}/ajax-api/2.0/mlflow/get-trace-artifact", params={"request_id": trace_id})
    return json.loads(response.content) if response.status_code == 200 else None


def linked(uri: str, experiment: str, run_id: str) -> List[str]:
    """The ids of the traces of a run."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    body = {"locations": [place], "max_results": 100, "filter": f"run_id = '{run_id}'"}
    found = requests.post(f"{uri}/api/3.0/mlflow/traces/search", json=body).json()
    return sorted(info["trace_id"] for info in found.get("traces", []))


def check_same(src: Rest, dst: Rest, source_id: str, name: str, made: Dict[str, str], renamed: bool = False) -> None:
    """Compare both sides; counts, so that it fails when nothing has arrived."""
    there = dst.experiment(name)["experiment_id"]
    runs = {run["data"]["tags"][n]["value"]: run["info"]["run_id"] for run in dst.runs(there)
            for n, tag in enumerate(run["data"]["tags"]) if tag["key"] == "mlflow_exim.run_info.run_id"}  # fmt: skip
    before, after = infos_of(src, source_id), infos_of(dst, there)
    keys = {info["tags"].get("mlflow_exim.trace.trace_id", i): i for i, info in after.items()}
    assert keys.keys() == before.keys()
    assert len(before) == 6
    renames = {v: k for k, v in runs.items()}
    if renamed:
        assert not before.keys() & after.keys()
        renames.update({new: old for old, new in keys.items()})
    for trace_id, info in before.items():
        copy = after[keys[trace_id]]
        wanted, found = plain(info, {}), plain(copy, renames)
        if renamed:
            for item in (*wanted["assessments"], *found["assessments"]):
                item.pop("assessment_id")
                item["overrides"] = bool(item.pop("overrides", None))
        assert found == wanted
        spans = data_of(src.uri, trace_id)
        text = json.dumps(data_of(dst.uri, keys[trace_id])).replace(keys[trace_id], trace_id)
        if spans is not None:
            for one, other in zip(spans["spans"], json.loads(text)["spans"]):
                for side, experiment in ((one, source_id), (other, there)):
                    if side["attributes"].get("mlflow.experimentId") is not None:
                        assert side["attributes"].pop("mlflow.experimentId") == json.dumps(experiment)
                    if renamed and keys[trace_id] != trace_id:
                        side.pop("trace_id", None)
                assert one == other
            assert len(spans["spans"]) == len(json.loads(text)["spans"])
        else:
            assert trace_id == made["bare"] and text == "null"
    for run in (made["run"], made["other"]):
        wanted_ids = linked(src.uri, source_id, run)
        assert wanted_ids
        assert linked(dst.uri, there, runs[run]) == sorted(keys[i] for i in wanted_ids)
    params = {"request_id": keys[made["full"]], "path": made["attachment"]}
    assert requests.get(f"{dst.uri}/ajax-api/2.0/mlflow/get-trace-artifact", params=params).content == b"\x89PNG\r\n"
    filters = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": there}}],
               "max_results": 5, "filter": "prompt = 'p/2'"}  # fmt: skip
    found = requests.post(f"{dst.uri}/api/3.0/mlflow/traces/search", json=filters).json()["traces"]
    assert [info["trace_id"] for info in found] == [keys[made["full"]]]


@pytest.fixture
def made(source: Source) -> Dict[str, str]:
    """The ids of traces of all kinds in an experiment of the source."""
    return everything(source)


def through(moves: Moves, src: str = "", dst: str = "") -> Moves:
    """The same moves by other addresses of the servers."""
    other = Moves(moves.script, moves.src, moves.dst, moves.home)
    other.src, other.dst = At(src or moves.src.uri), At(dst or moves.dst.uri)  # type: ignore[assignment]
    return other


def test_experiment_arrives_with_everything_and_a_repeat_adds_nothing(
    moves: Moves, source: Source, made: Dict[str, str]
) -> None:
    name, src, dst = source.name, Rest(moves.src.uri), Rest(moves.dst.uri)
    moves.export(name)
    with Proxy(moves.dst.uri) as proxy:
        assert through(moves, dst=proxy.uri).load(name)["trace"] == {"copied": 6}
        # one request a trace and one to see whether the server takes them, the spans of all in one
        assert proxy.count("POST", "*/mlflow/traces") == 7
        assert proxy.count("POST", "/v1/traces") == 1
    check_same(src, dst, source.id, name, made)
    with Proxy(moves.src.uri) as proxy:
        through(moves, src=proxy.uri).export(name)
        # those in progress are read again, and nothing else
        assert statuses(moves.home / "export", "trace") == {
            made[key]: "updated" if key in ("open", "root") else "unchanged" for key in KINDS
        }
        assert proxy.count("GET", "*/traces/batchGet") == 1
        assert not proxy.count("GET", "*/get-trace-artifact")
    with Proxy(moves.dst.uri) as proxy:
        assert through(moves, dst=proxy.uri).load(name)["trace"] == {"unchanged": 6}
        assert writes(proxy) == {}


def test_copies_follow_the_source_and_leave_alone_what_was_edited(
    moves: Moves, source: Source, made: Dict[str, str]
) -> None:
    name, at = source.name, TraceSource(moves.src.uri, source.id)
    assert moves.copy(name, name)["trace"] == {"copied": 6}
    check_same(Rest(moves.src.uri), Rest(moves.dst.uri), source.id, name, made)
    with Proxy(moves.dst.uri) as proxy:
        assert through(moves, dst=proxy.uri).copy(name, name)["trace"] == {"unchanged": 6}
        assert writes(proxy) == {}
    # both sides go on
    new = assessment("later", feedback={"value": "good"})
    at.assess(made["early"], new)
    at.call("PATCH", f"/api/3.0/mlflow/traces/{made['early']}/tags", {"key": "x", "value": "other"})
    there = TraceSource(moves.dst.uri, "")
    there.call("PATCH", f"/api/3.0/mlflow/traces/{made['bare']}/tags", {"key": "x", "value": "edited"})
    at.post(made["open"], state="OK", execution_duration="1.400s")
    at.spans(span(made["open"], 1))
    counts = moves.copy(name, name)
    assert counts["trace"] == {"updated": 2, "unchanged": 3, "differs": 1}
    assert "tag x" in moves.reason(made["bare"])
    experiment = Rest(moves.dst.uri).experiment(name)["experiment_id"]
    after = infos_of(Rest(moves.dst.uri), experiment)
    assert after[made["early"]]["tags"]["x"] == "other"
    assert [item["assessment_id"] for item in after[made["early"]]["assessments"]] == [new["assessment_id"]]
    assert after[made["bare"]]["tags"]["x"] == "edited"
    assert after[made["open"]]["state"] == "OK"
    assert len(data_of(moves.dst.uri, made["open"])["spans"]) == 2
    assert moves.copy(name, name, "--on-destination-change", "overwrite")["trace"]["updated"] >= 1
    check_same(Rest(moves.src.uri), Rest(moves.dst.uri), source.id, name, made)


def test_another_experiment_of_the_same_server_gets_copies_of_its_own(
    run_script: Callable[..., Any], src_server: Server, source: Source, made: Dict[str, str], tmp_path: Path
) -> None:
    moves, rest = Moves(run_script, src_server, src_server, tmp_path), Rest(src_server.uri)
    before = infos_of(rest, source.id)
    assert moves.copy(source.name, f"{source.name} copy")["trace"] == {"copied": 6}
    assert infos_of(rest, source.id) == before
    check_same(rest, rest, source.id, f"{source.name} copy", made, renamed=True)
    with Proxy(src_server.uri) as proxy:
        again = through(moves, dst=proxy.uri).copy(source.name, f"{source.name} copy")
        assert again["trace"] == {"unchanged": 6}
        assert writes(proxy) == {}


def test_an_import_that_was_cut_off_is_completed(moves: Moves, source: Source, made: Dict[str, str]) -> None:
    name, rest = source.name, Rest(moves.dst.uri)
    moves.export(name)
    with Proxy(moves.dst.uri) as proxy:
        # infos arrive, spans, late assessments and links do not
        proxy.on("POST", "/v1/traces", status=400)
        proxy.on("POST", "*/assessments", status=400)
        proxy.on("POST", "*/link-to-run", status=400)
        through(moves, dst=proxy.uri).load(name, status=1)
    (moves.report / "id_map.jsonl").unlink()  # as of one that was killed before it could write that
    with Proxy(moves.dst.uri) as proxy:
        # a reply gets lost
        proxy.on("POST", "/v1/traces", number=1, drop_reply=True)
        through(moves, dst=proxy.uri).load(name)
    check_same(Rest(moves.src.uri), rest, source.id, name, made)


def test_single_scripts_move_a_trace_and_the_traces_of_experiments(
    run_script: Callable[..., Any], moves: Moves, source: Source, made: Dict[str, str], tmp_path: Path
) -> None:
    src, dst = {"MLFLOW_TRACKING_URI": moves.src.uri}, {"MLFLOW_TRACKING_URI": moves.dst.uri}
    one, many, name = tmp_path / "one", tmp_path / "many", source.name
    run_script("export-trace", "--trace-id", made["file"], "--output-dir", one, env=src, check=0)
    run_script("import-trace", "--input-dir", one, "--experiment-name", f"{name} one", env=dst, check=0)
    experiment = Rest(moves.dst.uri).experiment(f"{name} one")["experiment_id"]
    assert list(infos_of(Rest(moves.dst.uri), experiment)) == [made["file"]]
    assert data_of(moves.dst.uri, made["file"])["spans"][0]["name"] == "old"
    run_script("export-traces", "--experiment-ids", source.id, "--output-dir", many, env=src, check=0)
    # the runs that they are linked to are not there
    result = run_script("import-traces", "--input-dir", many, "--report-dir", moves.report, env=dst, check=1)
    assert table(result.stdout)["trace"]["copied"] == 3
    assert table(result.stdout)["trace"]["incomplete"] == 3
    experiment = Rest(moves.dst.uri).experiment(name)["experiment_id"]
    # the one that has gone elsewhere stays there
    assert len(infos_of(Rest(moves.dst.uri), experiment)) == 6
    assert made["file"] not in infos_of(Rest(moves.dst.uri), experiment)
    # now the runs come, and what names them follows
    assert moves.copy(name, name)["trace"] == {"updated": 3, "unchanged": 3}
    both = ("--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", moves.dst.uri, "--report-dir", moves.report)
    result = run_script("copy-traces", *both, "--experiment", name, "--experiment-name", name, check=0)
    assert table(result.stdout)["trace"]["unchanged"] == 6


def test_a_run_takes_its_traces_along_and_run_ids_leaves_out_the_others(
    moves: Moves, source: Source, made: Dict[str, str], run_script: Callable[..., Any], tmp_path: Path
) -> None:
    src, dst = {"MLFLOW_TRACKING_URI": moves.src.uri}, {"MLFLOW_TRACKING_URI": moves.dst.uri}
    run_script("export-run", "--run-id", made["other"], "--output-dir", tmp_path / "run", env=src, check=0)
    into = ("--experiment-name", f"{source.name} run", "--report-dir", moves.report)
    result = run_script("import-run", "--input-dir", tmp_path / "run", *into, env=dst, check=0)
    assert table(result.stdout)["trace"]["copied"] == 3
    run_id = id_map(moves.report)[made["other"]]
    experiment = Rest(moves.dst.uri).experiment(f"{source.name} run")["experiment_id"]
    assert linked(moves.dst.uri, experiment, run_id) == sorted(made[key] for key in ("full", "open", "bare"))
    moves.export(source.name, "--run-ids", made["run"], to="part")
    assert statuses(moves.home / "part", "trace") == {
        made[key]: "copied" if key == "full" else "skipped" for key in KINDS
    }


def old_trace(server: Server, name: str) -> Tuple[str, str, str]:
    """Make a trace and its run on a server of MLflow 2, and one in progress; ids of both and of the run."""
    source = Source(server, name)
    run = source.run("made in")
    at = TraceSource(server.uri, source.id)
    found = []
    for metadata in ([{"key": "mlflow.traceInputs", "value": "in"}, {"key": "mlflow.sourceRun", "value": run}], []):
        body = {"experiment_id": source.id, "timestamp_ms": 1735689600123, "request_metadata": metadata,
                "tags": [{"key": "mlflow.traceName", "value": "f"}]}  # fmt: skip
        found.append(at.call("POST", "/api/2.0/mlflow/traces", body).json()["trace_info"]["request_id"])
    end = {"request_id": found[0], "timestamp_ms": 1735689601000, "status": "ERROR",
           "request_metadata": [{"key": "mlflow.traceOutputs", "value": "out"}], "tags": []}  # fmt: skip
    at.call("PATCH", f"/api/2.0/mlflow/traces/{found[0]}", end)
    at.put(found[0], "traces.json", json.dumps(OLD_DATA).encode())
    return found[0], found[1], run


def test_traces_of_mlflow_2_arrive_and_go_nowhere_else(
    run_script: Callable[..., Any], server_222: Server, dst_server: Server, experiment_name: str, tmp_path: Path
) -> None:
    done, begun, run = old_trace(server_222, experiment_name)
    moves = Moves(run_script, server_222, dst_server, tmp_path)
    assert moves.copy(experiment_name, experiment_name)["trace"] == {"copied": 2}
    experiment = Rest(dst_server.uri).experiment(experiment_name)["experiment_id"]
    infos = infos_of(Rest(dst_server.uri), experiment)
    info = infos[done]
    assert infos.keys() == {done, begun}
    assert (info["state"], info["request_time"], info["execution_duration"]) == (
        "ERROR", "2025-01-01T00:00:00.123Z", "0.877s",
    )  # fmt: skip
    assert (info["request_preview"], info["response_preview"]) == ("in", "out")
    assert info["trace_metadata"]["mlflow.sourceRun"] == id_map(moves.report)[run]
    assert infos[begun]["state"] == "IN_PROGRESS"
    assert data_of(dst_server.uri, done) == OLD_DATA
    back = Moves(run_script, dst_server, server_222, tmp_path)
    assert back.copy(experiment_name, f"{experiment_name} back", status=1)["trace"] == {"failed": 2}
    assert "takes no traces" in back.reason(done)
    assert back.copy(experiment_name, f"{experiment_name} 2", "--accept-loss", "traces")["trace"] == {"skipped": 2}
