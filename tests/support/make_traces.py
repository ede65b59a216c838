"""Traces of every kind, written with plain REST requests; and many at once, for benchmarks.

Spans are written as OTLP in JSON, which is the only way by which a server takes them into its database.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from tests.support.rest import API, Json, Rest, noise

API_3 = "/api/3.0/mlflow"
OTLP = "/v1/traces"
TRACE_KEY = "mlflow_exim.trace.trace_id"
LOCATION = "mlflow.artifactLocation"
#: of all traces, in ms since epoch
START = 1_700_000_000_123
BATCH = 100  # traces of one OTLP request
ATTACHMENT = "0b7e8cbb-5d3f-4c8e-9d56-6d1a4f2f9c11"
PICTURE = noise("attachment", 40_000)


# ---- values as REST takes them


def trace_id_of(seed: str) -> str:
    """An id as MLflow makes them, the same for the same seed."""
    return f"tr-{hashlib.md5(seed.encode()).hexdigest()}"


def span_id_of(seed: str) -> str:
    """16 hex digits, the same for the same seed."""
    return hashlib.sha256(seed.encode()).hexdigest()[:16]


def time_text(ms: int) -> str:
    """A time of ms since epoch as protobuf writes it."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds") + "Z"


def any_value(value: Any) -> Json:
    """An attribute's value in OTLP."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes(value)}}
    return {"stringValue": str(value)}


def attributes(values: Mapping[str, Any]) -> List[Json]:
    """Attributes in OTLP."""
    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def span(trace_id: str, name: str, parent: str = "", start: int = START, took: Optional[int] = 5, **more: Any) -> Json:
    """A span in OTLP.

    :param name: Unique in its trace, for its id is made of it.
    :param parent: Name of its parent; empty for a root.
    :param start: ms since epoch.
    :param took: ms; None if it has not ended.
    :param more: Other fields; `attributes` as a dictionary.
    """
    found: Json = {
        "traceId": trace_id[len("tr-") :],
        "spanId": span_id_of(name),
        "name": name,
        "startTimeUnixNano": str(start * 1_000_000 + 17),
        "status": {"code": "STATUS_CODE_OK"},
        **more,
        "attributes": attributes(more.get("attributes", {})),
    }
    if parent:
        found["parentSpanId"] = span_id_of(parent)
    if took is not None:
        found["endTimeUnixNano"] = str((start + took) * 1_000_000 + 23)
    return found


def event(name: str, at: int, **values: Any) -> Json:
    """An event of a span; `at` in ms since epoch."""
    return {"name": name, "timeUnixNano": str(at * 1_000_000 + 1), "attributes": attributes(values)}


def link(**values: Any) -> Json:
    """A link of a span, to one of a trace that nobody has."""
    # the server takes these ids in base64, unlike those of the span itself
    ids = (base64.b64encode(bytes.fromhex("ab" * size)).decode() for size in (16, 8))
    return {**dict(zip(("traceId", "spanId"), ids)), "attributes": attributes(values)}


def info(trace_id: str, experiment_id: str, **more: Any) -> Json:
    """What a trace is without its spans.

    :param more: Other fields than the id, the experiment, and those that are the same for most.
    """
    return {
        "trace_id": trace_id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}},
        "request_time": time_text(START),
        "execution_duration": "1.234s",
        "state": "OK",
        "request_preview": '{"question": "What is \\u00fc?"}',
        "response_preview": '"an answer"',
        "trace_metadata": {"mlflow.trace_schema.version": "3", "mlflow.user": "somebody"},
        "tags": {"mlflow.traceName": "a trace"},
        **more,
    }


def assessment(trace_id: str, name: str, at: int = 0, **more: Any) -> Json:
    """An assessment; its value is one of `feedback`, `expectation`, `issue` in `more`.

    :param at: ms after START.
    """
    return {
        "assessment_id": f"a-{hashlib.md5(f'{trace_id} {name}'.encode()).hexdigest()}",
        "assessment_name": name,
        "trace_id": trace_id,
        "source": {"source_type": "HUMAN", "source_id": "annotator@example.com"},
        "create_time": time_text(START + at),
        "last_update_time": time_text(START + at + 500),
        **more,
    }


def exact(value: Any) -> Json:
    """An expectation that keeps the types of its value."""
    return {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": json.dumps(value)}}


# ---- writing


def start(rest: Rest, doc: Json) -> str:
    """Make a trace of its info, with its assessments; its id."""
    rest.call("POST", f"{API_3}/traces", json={"trace": {"trace_info": doc}})
    return str(doc["trace_id"])


def log_spans(rest: Rest, experiment_id: str, spans: Sequence[Json]) -> None:
    """Write spans, of any number of traces."""
    body = {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}
    rest.call("POST", OTLP, json=body, headers={"x-mlflow-experiment-id": experiment_id})


def link_runs(rest: Rest, run_id: str, *trace_ids: str) -> None:
    """Link traces to a run."""
    for first in range(0, len(trace_ids), 100):
        rest.post("traces/link-to-run", {"trace_ids": trace_ids[first : first + 100], "run_id": run_id})


def artifact_root(rest: Rest, doc: Json) -> str:
    """Where the files of a trace belong, as the server says."""
    return str(rest.call("GET", f"{API_3}/traces/{doc['trace_id']}")["trace"]["trace_info"]["tags"][LOCATION])


def put_spans_file(rest: Rest, root: str, spans: Sequence[Json]) -> None:
    """Put spans where an artifact-backed trace has them."""
    rest.put_file(root, "traces.json", json.dumps({"spans": spans}).encode())


def file_span(trace_id: str, name: str, parent: str = "", otel_id: str = "", **values: Any) -> Json:
    """A span as traces.json has it: ids in base64, each attribute as JSON text."""

    def encoded(hex_id: str) -> str:
        return base64.b64encode(bytes.fromhex(hex_id)).decode()

    own = otel_id or trace_id[len("tr-") :]
    values = {"mlflow.traceRequestId": trace_id, **values}
    return {
        "trace_id": encoded(own),
        "span_id": encoded(span_id_of(name)),
        "parent_span_id": encoded(span_id_of(parent)) if parent else None,
        "name": name,
        "start_time_unix_nano": START * 1_000_000 + 17,
        "end_time_unix_nano": (START + 5) * 1_000_000 + 23,
        "events": [{"name": "seen", "time_unix_nano": START * 1_000_000 + 20, "attributes": {"n": 1}}],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {key: json.dumps(value) for key, value in values.items()},
        "links": [],
    }


# ---- one of each kind


class TraceSource:
    """Makes traces in one experiment; what it has made is in `ids`, by role."""

    def __init__(
        self, rest: Rest, experiment_id: str, seed: str = "", copies: Optional[Mapping[str, str]] = None
    ) -> None:
        """Nothing is sent yet.

        :param seed: Makes the ids different from those of other experiments; default is the experiment's id and server.
        :param copies: The ids of traces by role, to make what an import would have made of them under new ids.
        """
        self.rest, self.experiment_id = rest, experiment_id
        self.seed = seed or f"{rest.uri} {rest.workspace} {experiment_id}"
        self.ids: Dict[str, str] = {}
        self._copies = copies or {}

    def info(self, role: str, trace_id: str = "", **more: Any) -> Json:
        """The info of a new trace, not yet sent."""
        self.ids[role] = trace_id or trace_id_of(f"{self.seed} {role}")
        doc = info(self.ids[role], self.experiment_id, **more)
        if role in self._copies:
            doc["tags"] = {**doc["tags"], TRACE_KEY: self._copies[role]}
        return doc

    def everything(
        self, runs: Sequence[str] = (), prompts: Sequence[Tuple[str, str]] = (), model_id: str = ""
    ) -> Dict[str, str]:
        """One trace of each kind.

        :param runs: Runs to link traces to.
        :param prompts: Names and versions of prompts to link a trace to.
        :param model_id: A logged model that a trace was made with.
        :return: Ids by role.
        """
        self.plain()
        self.failed()
        self.custom_ids()
        self.in_progress()
        self.in_artifacts()
        self.attached()
        self.assessed(runs)
        self.of_a_session()
        self.bare()
        self.linked(runs, prompts, model_id)
        return self.ids

    def plain(self) -> None:
        """Ten spans in a tree, with events, links and attributes of all types."""
        doc = self.info("plain", client_request_id="request 7/\u00e4")
        trace_id = start(self.rest, doc)
        spans = [span(trace_id, "root", took=90, attributes=_VALUES)]
        spans.append(
            span(
                trace_id, "llm", "root", START + 1, 40,
                attributes=_usage(11, 7), kind="SPAN_KIND_CLIENT",
                events=[event("first token", START + 3, n=1, text="\u00fc", share=0.25, yes=True)],
                links=[link(why="cause", n=2)],
            )
        )  # fmt: skip
        spans += [
            span(trace_id, f"level {n}", "llm" if n < 3 else f"level {n - 1}", START + n, n, attributes={"n": n})
            for n in range(2, 8)
        ]
        spans.append(span(trace_id, "unset", "root", status={}))
        # the same name, and a start before that of its parent
        spans.append({**span(trace_id, "early", "root", START - 100, 1), "name": "llm"})
        log_spans(self.rest, self.experiment_id, spans)

    def failed(self) -> None:
        """A trace that ended with an exception."""
        trace_id = start(self.rest, self.info("failed", state="ERROR", response_preview=""))
        error = {"exception.message": "no \u00fc", "exception.type": "ValueError", "exception.stacktrace": "at\n line"}
        status = {"code": "STATUS_CODE_ERROR", "message": "ValueError: no"}
        spans = [
            span(trace_id, "root", status=status),
            span(trace_id, "tool", "root", status=status, events=[event("exception", START + 1, **error)]),
        ]
        log_spans(self.rest, self.experiment_id, spans)

    def custom_ids(self) -> None:
        """Ids that are not MLflow's own: no spans can be in the database."""
        doc = self.info("custom", f"my custom id {span_id_of(self.seed)}", client_request_id="custom")
        start(self.rest, doc)
        own = [file_span(doc["trace_id"], "root", otel_id="12" * 16, n=1)]
        own.append(file_span(doc["trace_id"], "child", "root", otel_id="12" * 16))
        put_spans_file(self.rest, artifact_root(self.rest, doc), own)
        start(self.rest, self.info("slash", f"my custom id/1 {span_id_of(self.seed)}"))

    def in_progress(self) -> None:
        """Traces that have not ended: one with its first spans, one without any."""
        doc = self.info("in progress", state="IN_PROGRESS")
        for name in ("execution_duration", "response_preview"):
            del doc[name]
        trace_id = start(self.rest, doc)
        spans = [span(trace_id, "child", "root"), span(trace_id, "open", "root", took=None)]
        log_spans(self.rest, self.experiment_id, spans)
        doc = self.info("no spans", state="IN_PROGRESS", trace_metadata={}, tags={})
        for name in ("execution_duration", "response_preview", "request_preview"):
            del doc[name]
        start(self.rest, doc)

    def in_artifacts(self) -> None:
        """A trace whose spans are a file."""
        doc = self.info("artifact")
        trace_id = start(self.rest, doc)
        usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        spans = [
            file_span(
                trace_id,
                "root",
                **{"mlflow.spanInputs": {"a": [1, None, "\u00fc"]}, "mlflow.experimentId": self.experiment_id},
            ),
            file_span(trace_id, "llm", "root", **{"mlflow.chat.tokenUsage": usage, "mlflow.spanType": "CHAT_MODEL"}),
        ]
        put_spans_file(self.rest, artifact_root(self.rest, doc), spans)

    def attached(self) -> None:
        """A trace with files."""
        doc = self.info("attached")
        trace_id = start(self.rest, doc)
        uri = f"mlflow-attachment://{ATTACHMENT}?content_type=image%2Fpng&trace_id={trace_id}"
        log_spans(self.rest, self.experiment_id, [span(trace_id, "root", attributes={"mlflow.spanOutputs": [uri]})])
        self.rest.put_file(artifact_root(self.rest, doc), f"attachments/{ATTACHMENT}", PICTURE)

    def assessed(self, runs: Sequence[str] = ()) -> None:
        """Assessments of each kind."""
        doc = self.info("assessed")
        trace_id = doc["trace_id"]
        doc["assessments"] = assessments(trace_id, runs)
        start(self.rest, doc)
        log_spans(self.rest, self.experiment_id, [span(trace_id, "root"), span(trace_id, "llm", "root")])
        # an overridden one turns invalid only when the one that overrides it comes later
        first = assessment(trace_id, "overridden", feedback={"value": "bad"})
        second = assessment(trace_id, "overrides", 2_000, feedback={"value": "good"}, overrides=first["assessment_id"])
        second["assessment_name"] = "overridden"
        for each in (first, second):
            self.rest.call("POST", f"{API_3}/traces/{trace_id}/assessments", json={"assessment": each})

    def of_a_session(self) -> None:
        """Two traces of one conversation; the metadata of one comes from its spans."""
        metadata = {"mlflow.trace.session": "session 1", "mlflow.trace.user": "user 1", "custom": "x" * 250}
        usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
        metadata["mlflow.trace.tokenUsage"] = json.dumps(usage)
        metadata["mlflow.trace.cost"] = json.dumps({"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75})
        tags = {"mlflow.traceName": "turn 1", "team": "a", "empty": "", "key with / and .": "\u00fc\n"}
        trace_id = start(self.rest, self.info("session", trace_metadata=metadata, tags=tags))
        # its spans tell other amounts
        log_spans(self.rest, self.experiment_id, [span(trace_id, "root", attributes=_usage(1, 2))])
        trace_id = start(self.rest, self.info("session by span"))
        values = {"session.id": "session 1", "user.id": "user 1", **_usage(5, 6)}
        log_spans(self.rest, self.experiment_id, [span(trace_id, "root", attributes=values)])

    def bare(self) -> None:
        """A trace that only OTLP has told of, with its resource."""
        trace_id = self.ids["bare"] = trace_id_of(f"{self.seed} bare")
        values = {"mlflow.spanInputs": {"q": "who?"}, "mlflow.spanOutputs": "me", "mlflow.traceTag.color": "red"}
        body = {
            "resourceSpans": [
                {
                    "resource": {"attributes": attributes({"service.name": "shop", "replicas": 3})},
                    "scopeSpans": [{"spans": [span(trace_id, "root", attributes=values)]}],
                }
            ]
        }
        self.rest.call("POST", OTLP, json=body, headers={"x-mlflow-experiment-id": self.experiment_id})
        if "bare" in self._copies:
            tag = {"key": TRACE_KEY, "value": self._copies["bare"]}
            self.rest.call("PATCH", f"{API_3}/traces/{trace_id}/tags", json=tag)

    def linked(self, runs: Sequence[str], prompts: Sequence[Tuple[str, str]], model_id: str) -> None:
        """Traces that name runs, a logged model and prompts."""
        metadata: Dict[str, str] = {"mlflow.sourceRun": runs[0]} if runs else {}
        if model_id:
            metadata["mlflow.modelId"] = model_id
        names = [{"name": name, "version": version} for name, version in prompts]
        tags = {"mlflow.traceName": "linked"}
        if prompts:
            tags["mlflow.linkedPrompts"] = json.dumps(names)
        trace_id = start(self.rest, self.info("linked", trace_metadata=metadata, tags=tags))
        values = {"mlflow.experimentId": self.experiment_id}
        if prompts:
            values["mlflow.linkedPrompts"] = json.dumps(names)
        log_spans(self.rest, self.experiment_id, [span(trace_id, "root", attributes=values)])
        for run_id in runs:
            link_runs(self.rest, run_id, trace_id)
        if runs:
            link_runs(self.rest, runs[-1], self.ids["plain"], self.ids["slash"], self.ids["artifact"])
        if prompts:
            self.rest.post("traces/link-prompts", {"trace_id": trace_id, "prompt_versions": names})


_VALUES: Json = {
    "mlflow.spanType": "CHAIN", "mlflow.spanInputs": {"question": "What is \u00fc?", "n": 1, "share": 0.1},
    "mlflow.spanOutputs": ["an answer", None, True, 2, 2.5, {}], "text": "a\nb", "empty": "", "int": 2**53 + 1,
    "negative": -7, "float": 0.1, "whole float": 2.0, "tiny": 5e-324, "yes": True, "no": False, "list": [1, 2, 3],
    "mixed": [1, "a", None, 2.5, [True]], "nothing": [], "object": {"a": {"b": [1]}, "c": ""},
    "json text": '{"a": 1}', "number text": "17", "long": "x" * 20_000,
}  # fmt: skip


def _usage(tokens_in: int, tokens_out: int) -> Json:
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    cost = {"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75}
    return {
        "mlflow.chat.tokenUsage": usage, "mlflow.llm.cost": cost, "mlflow.llm.model": "gpt", "mlflow.spanType": "LLM",
        "mlflow.llm.provider": "openai",
    }  # fmt: skip


def assessments(trace_id: str, runs: Sequence[str] = ()) -> List[Json]:
    """Assessments of each kind of value, source and field."""

    def one(name: str, at: int = 0, **more: Any) -> Json:
        return assessment(trace_id, name, at, **more)

    judge = {"source_type": "LLM_JUDGE", "source_id": "openai:/gpt"}
    values = {"text": "good", "yes": True, "no": False, "number": 0.1, "whole": 3, "list": ["a", 1, None], "null": None}
    found = [one(f"feedback {name}", n, feedback={"value": value}) for n, (name, value) in enumerate(values.items())]
    found.append(one("feedback object", feedback={"value": {"a": {"b": [1.5, "x"]}}}))
    error = {"error_code": "RATE_LIMIT", "error_message": "too many", "stack_trace": "at\n line 1"}
    found.append(one("feedback error", 50, feedback={"value": None, "error": error}, source=judge))
    found.append(one("expected text", expectation={"value": "an answer"}))
    found.append(one("expected number", expectation={"value": 0.25}))
    exactly = {"int": 3, "big": 2**60 + 1, "float": 2.0, "nested": {"a": [1, 2.0, {"b": None}], "c": True}, "list": []}
    found += [one(f"expected {name}", expectation=exact(value)) for name, value in exactly.items()]
    code = {"source_type": "CODE", "source_id": "scorer.py"}
    found.append(one("why", 100, feedback={"value": 1.0}, rationale="because\n\u00fc", source=code))
    found.append(one("of a span", feedback={"value": 2.0}, span_id=span_id_of("llm"), source=judge))
    metadata = {"mlflow.assessment.judgeCost": "0.25", "k": "v"}
    if runs:
        metadata["mlflow.assessment.sourceRunId"] = runs[0]
    found.append(one("with metadata", feedback={"value": "x"}, metadata=metadata, source=judge))
    found.append(one("an issue", issue={"issue_name": "wrong tone"}))
    return found


# ---- many


def many_bodies(
    experiment_id: str, n: int, spans: int, assessed: int, seed: str
) -> Iterator[Tuple[List[Json], List[Json]]]:
    """Infos, and spans in OTLP, of many traces, as many at a time as one OTLP request takes."""
    judge = {"source_type": "LLM_JUDGE", "source_id": "judge"}
    for first in range(0, n, BATCH):
        infos: List[Json] = []
        all_spans: List[Json] = []
        for i in range(first, min(first + BATCH, n)):
            trace_id, at = trace_id_of(f"{seed} {i}"), START + i * 1000
            doc = info(trace_id, experiment_id, request_time=time_text(at), execution_duration="0.25s")
            doc["tags"] = {"mlflow.traceName": f"answer {i % 10}", "batch": str(i // BATCH)}
            doc["trace_metadata"] = {"mlflow.trace.session": f"session {i // 5}", "mlflow.user": "somebody"}
            doc["assessments"] = [
                assessment(trace_id, f"score {k}", i, feedback={"value": (i * 7 + k) % 100 / 100}, source=judge)
                for k in range(assessed)
            ]
            infos.append(doc)
            all_spans += [
                span(
                    trace_id, f"step {k}", f"step {(k - 1) // 2}" if k else "", at + k, 200 - k,
                    attributes={
                        "mlflow.spanType": "CHAIN" if k % 3 else "LLM",
                        "mlflow.spanInputs": {"question": f"question {i}, step {k}: " + "why " * 20},
                        "mlflow.spanOutputs": f"answer {i}, step {k}: " + "because " * 15,
                        **({} if k % 3 else {"mlflow.chat.tokenUsage": {"input_tokens": 9, "output_tokens": k}}),
                    },
                    events=[event("seen", at + k, n=k)] if k % 5 == 0 else [],
                )
                for k in range(spans)
            ]  # fmt: skip
        yield infos, all_spans


def many(rest: Rest, experiment_id: str, n: int, spans: int, assessments: int, seed: str = "") -> List[str]:
    """Make many traces; their ids.

    :param spans: Of each.
    :param assessments: Of each.
    :param seed: Makes the ids different from those of other experiments.
    """
    ids: List[str] = []
    for infos, all_spans in many_bodies(experiment_id, n, spans, assessments, seed or f"{rest.uri} {experiment_id}"):
        rest.map(lambda doc: start(rest, doc), infos)
        if all_spans:
            log_spans(rest, experiment_id, all_spans)
        ids += [doc["trace_id"] for doc in infos]
    return ids


# ---- before MLflow 3


def old_trace(rest: Rest, experiment_id: str, seed: str, spans: int = 3) -> str:
    """A trace of MLflow 2.14 to 2.22, of which the server makes the id; its spans are a file."""
    body = {
        "experiment_id": experiment_id,
        "timestamp_ms": START,
        "request_metadata": [{"key": "mlflow.traceInputs", "value": json.dumps({"seed": seed})}],
        "tags": [{"key": "mlflow.traceName", "value": seed}, {"key": "team", "value": "a"}],
    }
    found = rest.call("POST", f"{API}/traces", json=body)["trace_info"]
    trace_id = found["request_id"]
    end = {
        "request_id": trace_id,
        "timestamp_ms": START + 500,
        "status": "OK",
        "request_metadata": [{"key": "mlflow.traceOutputs", "value": '"done"'}],
        "tags": [{"key": "later", "value": "1"}],
    }
    rest.call("PATCH", f"{API}/traces/{trace_id}", json=end)
    root = next(tag["value"] for tag in found["tags"] if tag["key"] == LOCATION)
    put_spans_file(rest, root, [_old_span(trace_id, n) for n in range(spans)])
    return str(trace_id)


def _old_span(trace_id: str, n: int) -> Json:
    seed = f"{trace_id} "
    return {
        "name": f"step {n}",
        "context": {"span_id": f"0x{span_id_of(f'{seed}{n}')}", "trace_id": f"0x{trace_id_of(seed)[3:]}"},
        "parent_id": f"0x{span_id_of(f'{seed}{n - 1}')}" if n else None,
        "start_time": START * 1_000_000 + n,
        "end_time": (START + 5) * 1_000_000 + n,
        "status_code": "OK",
        "status_message": "",
        "attributes": {"mlflow.traceRequestId": json.dumps(trace_id), "mlflow.spanInputs": json.dumps({"n": n})},
        "events": [{"name": "seen", "timestamp": START * 1000, "attributes": {"n": n}}],
    }
