"""What servers themselves can do with traces: the least requests that read them from one and write them to the other.

Bodies are ready before the clock starts: infos as JSON, one a request as there is no other way, and spans of 100 traces
at a time as OTLP protobuf, which servers take soonest.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any, Dict, List, Sequence, Tuple
from urllib.parse import urlencode

from benchmarks.ceiling import CONNECTIONS, Figure, Pipe, Task, drive, get
from tests.support.make_traces import API_3, BATCH, OTLP, many_bodies
from tests.support.rest import Json, Rest

PAGE = 500  # infos in a reply
_JSON = {"Content-Type": "application/json"}
_TRIED = 200  # traces with which the number of connections is found

#: traces, and spans and assessments of each
Size = Tuple[int, int, int]


def _protobuf(spans: Sequence[Json]) -> bytes:
    """Spans as the tests make them, as OTLP protobuf; by the classes that MLflow itself takes it with."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    def encoded(span: Json) -> Json:
        ids = {key: value for key, value in span.items() if key in ("traceId", "spanId", "parentSpanId")}
        return {**span, **{key: base64.b64encode(bytes.fromhex(value)).decode() for key, value in ids.items()}}

    body = {"resourceSpans": [{"scopeSpans": [{"spans": [encoded(span) for span in spans]}]}]}
    return bytes(ParseDict(body, ExportTraceServiceRequest()).SerializeToString())


def _posting(path: str, body: bytes, headers: Dict[str, str]) -> Task:
    def task(pipe: Pipe) -> None:
        pipe.send("POST", path, body, headers=headers)

    return task


def write_tasks(rest: Rest, name: str, size: Size) -> List[Task]:
    """What writes as many traces as wanted into a new experiment of that name."""
    experiment_id = rest.post("experiments/create", {"name": name})["experiment_id"]
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment_id}
    posts: List[Task] = []
    logs: List[Task] = []
    for infos, spans in many_bodies(experiment_id, *size, seed=f"{rest.uri} {name}"):
        posts += [_post_info(info) for info in infos]
        logs.append(_posting(OTLP, _protobuf(spans), headers))
    return posts + logs


def _post_info(info: Json) -> Task:
    body = json.dumps({"trace": {"trace_info": info}}).encode()
    return _posting(f"{API_3}/traces", body, _JSON)


def read_tasks(rest: Rest, name: str) -> List[Task]:
    """What reads all traces of an experiment, with their spans."""
    experiment_id = rest.experiment(name)["experiment_id"]
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    body: Json = {"locations": [place], "max_results": PAGE}
    pages: List[Task] = []
    ids: List[str] = []
    while True:
        pages.append(
            _posting(f"{API_3}/traces/search", json.dumps(body).encode(), {"Content-Type": "application/json"})
        )
        reply = rest.call("POST", f"{API_3}/traces/search", json=body)
        ids += [info["trace_id"] for info in reply.get("traces") or []]
        if not reply.get("next_page_token"):
            break
        body = {**body, "page_token": reply["next_page_token"]}
    some = [ids[first : first + BATCH] for first in range(0, len(ids), BATCH)]
    queries = [urlencode([("trace_ids", trace_id) for trace_id in batch]) for batch in some]
    return pages + [get(f"{API_3}/traces/batchGet?{query}") for query in queries]


def best_of(uri: str, name: str, size: Size) -> int:
    """The number of connections with which a server takes traces soonest."""
    rest = Rest(uri)
    part = (min(_TRIED, size[0]), *size[1:])

    def seconds(n: int) -> float:
        return drive(uri, write_tasks(rest, f"{name} {n}", part), n).seconds

    return min(CONNECTIONS, key=seconds)


def reads(uri: str, name: str) -> Figure:
    """The least time in which a server gives all traces of an experiment."""
    return min((drive(uri, read_tasks(Rest(uri), name), n) for n in CONNECTIONS), key=lambda found: found.seconds)


def writes(uri: str, name: str, size: Size, connections: int) -> Figure:
    """The least time in which a server takes traces into a new experiment of that name."""
    return drive(uri, write_tasks(Rest(uri), name, size), connections)


def both(src: Tuple[str, str, int], dst: Tuple[str, str, int], size: Size) -> Figure:
    """The least time in which one server gives all traces of an experiment and another takes as many.

    :param src: Address, name of the experiment, number of connections.
    :param dst: The same; the experiment is new.
    """
    work: Sequence[Tuple[Any, ...]] = (
        (src[0], read_tasks(Rest(src[0]), src[1]), src[2]),
        (dst[0], write_tasks(Rest(dst[0]), dst[1], size), dst[2]),
    )
    figures: List[Figure] = []
    threads = [threading.Thread(target=lambda one=one: figures.append(drive(*one))) for one in work]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(figures) != len(work):
        raise RuntimeError("the ceiling could not be measured")
    return Figure(time.monotonic() - start, sum(figure.requests for figure in figures), dst[2])
