"""What the server itself can do: the cheapest known plan of requests for an export or an import, sent by a bare client.

The client neither parses nor writes. Bodies are ready before the clock starts. Connections are kept open and never
wait for each other. A figure is the best of several numbers of connections, so that it tells what the server takes.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote, urlencode, urlsplit

from benchmarks.make_data import run_requests
from tests.support.rest import AJAX, API, Json, Rest

CONNECTIONS = (1, 2, 4, 8)
BULK_RUNS = 100  # runs whose histories of one metric come in one reply
BULK_ROWS = 25_000  # points of such a reply; as many mean that it is cut
HISTORY_PAGE = 50_000
PAGE = 1000  # runs in one page of a search
FILES = "/api/2.0/mlflow-artifacts/artifacts"
_JSON = {"Content-Type": "application/json"}
_RUN_ID = re.compile(rb'"run_id":\s*"([^"]+)"')

#: what one connection does without a pause: it gets the means to send a request and read its reply
Task = Callable[["Pipe"], None]


@dataclass
class Figure:
    """What one number of connections took."""

    seconds: float
    requests: int
    connections: int


class Pipe:
    """One connection that is kept open."""

    def __init__(self, uri: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(uri).netloc, timeout=600)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0

    def send(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        json_body: bool = True,
        headers: Optional[Mapping[str, str]] = None,
    ) -> bytes:
        """Send a request and read its reply to the end."""
        self._http.request(method, path, body, headers or (_JSON if body is not None and json_body else {}))
        if hasattr(socket, "TCP_QUICKACK"):
            # a server with several workers would wait some 40 ms for our acknowledgement; Linux forgets the option
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        reply = self._http.getresponse()
        data = reply.read()
        self.sent += 1
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {data[:300]!r}")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def drive(uri: str, tasks: Sequence[Task], connections: int) -> Figure:
    """Do tasks, each on one of some connections that never wait for each other.

    :raises RuntimeError: The server has answered something else than 200.
    """
    queue: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        queue.put(task)
    pipes = [Pipe(uri) for _ in range(connections)]
    errors: List[BaseException] = []

    def work(pipe: Pipe) -> None:
        try:
            while not errors:
                queue.get_nowait()(pipe)
        except Empty:
            pass
        except (OSError, http.client.HTTPException, RuntimeError) as ex:
            errors.append(ex)

    threads = [threading.Thread(target=work, args=(pipe,)) for pipe in pipes]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    for pipe in pipes:
        pipe.close()
    if errors:
        raise errors[0]
    return Figure(seconds, sum(pipe.sent for pipe in pipes), connections)


def together(figures: Sequence[Figure]) -> Figure:
    """What some pieces took, one after the other."""
    return Figure(sum(f.seconds for f in figures), sum(f.requests for f in figures), figures[0].connections)


# ---- export


def _export_plan(rest: Rest, name: str) -> Tuple[List[Task], List[Task]]:
    """Searches that follow one another; then everything else in any order."""
    experiment_id = rest.experiment(name)["experiment_id"]
    runs = rest.runs(experiment_id)
    body: Json = {"experiment_ids": [experiment_id], "run_view_type": "ALL", "max_results": PAGE}
    searches: List[bytes] = []
    for _ in range(0, max(len(runs), 1), PAGE):
        searches.append(json.dumps(body).encode())
        if len(searches) * PAGE < len(runs):
            body = {**body, "page_token": rest.post("runs/search", body)["next_page_token"]}

    def search(pipe: Pipe) -> None:
        for each in searches:
            pipe.send("POST", f"{API}/runs/search", each)

    rest_of_it: List[Task] = []
    ids = [run["info"]["run_id"] for run in runs]
    keys = sorted({metric["key"] for run in runs for metric in run["data"].get("metrics") or []})
    for key in keys:
        for first in range(0, len(ids), BULK_RUNS):
            rest_of_it.append(get(*_history_paths(rest, key, ids[first : first + BULK_RUNS])))
    for run in runs:
        run_id, root = run["info"]["run_id"], urlsplit(run["info"]["artifact_uri"]).path.strip("/")
        paths = [f"{API}/artifacts/list?run_id={run_id}"]
        paths += [f"{FILES}/{quote(root)}/{quote(path)}" for path in rest.run_files(run_id)]
        rest_of_it.append(get(*paths))
    return [search], rest_of_it


def _history_paths(rest: Rest, key: str, run_ids: List[str]) -> List[str]:
    """One request for all of these runs; pages of each run where that reply would be cut."""
    pairs = [("metric_key", key), ("max_results", str(BULK_ROWS)), *(("run_id", run_id) for run_id in run_ids)]
    path = f"{AJAX}/metrics/get-history-bulk?{urlencode(pairs)}"
    if len(rest.call("GET", path).get("metrics") or []) < BULK_ROWS:
        return [path]
    paths = []
    for run_id in run_ids:
        params: Json = {"run_id": run_id, "metric_key": key, "max_results": HISTORY_PAGE}
        while True:
            paths.append(f"{API}/metrics/get-history?{urlencode(params)}")
            token = rest.get("metrics/get-history", params).get("next_page_token")
            if not token:
                break
            params["page_token"] = token
    return paths


def get(*paths: str) -> Task:
    """Return what asks for some paths one after the other."""

    def task(pipe: Pipe) -> None:
        for path in paths:
            pipe.send("GET", path)

    return task


def export_ceiling(uri: str, names: Sequence[str], connections: Sequence[int] = CONNECTIONS) -> Figure:
    """The least time in which the server gives all of some experiments; one number of connections after another.

    :param uri: Tracking server.
    :param names: Experiments that `make_data.make` made; their artifacts are proxied.
    :param connections: Numbers of connections to try.
    :return: The fastest.
    """
    rest = Rest(uri)
    plans = [_export_plan(rest, name) for name in names]
    searches = [task for plan in plans for task in plan[0]]
    others = [task for plan in plans for task in plan[1]]
    return min(
        (together([drive(uri, searches, n), drive(uri, others, n)]) for n in connections),
        key=lambda figure: figure.seconds,
    )


# ---- import


def _import_task(experiment_id: str, requests: Json) -> Task:
    create = json.dumps({**requests["create"], "experiment_id": experiment_id}).encode()
    # all but the opening brace: the run id comes first
    batches = [json.dumps(batch)[1:].encode() for batch in requests["batches"]]
    end = json.dumps(requests["end"])[1:].encode()
    files: List[Tuple[str, bytes]] = [(quote(path), data) for path, data in requests["files"]]

    def task(pipe: Pipe) -> None:
        found = _RUN_ID.search(pipe.send("POST", f"{API}/runs/create", create))
        if found is None:
            raise RuntimeError("runs/create gave no run id")
        run_id = found.group(1)
        head = b'{"run_id": "%s", ' % run_id
        for batch in batches:
            pipe.send("POST", f"{API}/runs/log-batch", head + batch)
        for path, data in files:
            where = f"{FILES}/{experiment_id}/{run_id.decode()}/artifacts/{path}"
            pipe.send("PUT", where, data, json_body=False)
        pipe.send("POST", f"{API}/runs/update", head + end)

    return task


def import_ceiling(
    uri: str, size: str, prefix: str, connections: Sequence[int] = CONNECTIONS, **changes: Any
) -> Figure:
    """The least time in which the server takes all of a data set, into new experiments for each number of connections.

    :param uri: Tracking server.
    :param size: A key of `make_data.SIZES`.
    :param prefix: Start of the names of the experiments that are made; no such experiment may exist.
    :param connections: Numbers of connections to try.
    :param changes: Fields of Size that differ from it, as of `make_data.make`.
    :return: The fastest.
    """
    rest = Rest(uri)
    figures = []
    for n in connections:
        tasks: List[Task] = []
        made = 0
        for name, experiment_tags, runs in run_requests(size, f"{prefix}-{n}", **changes):
            body = {"name": name, "tags": experiment_tags}
            experiment_id = rest.post("experiments/create", body)["experiment_id"]
            made += 1
            tasks += [_import_task(experiment_id, requests) for requests in runs]
        figure = drive(uri, tasks, n)
        figures.append(Figure(figure.seconds, figure.requests + made, n))
    return min(figures, key=lambda figure: figure.seconds)
