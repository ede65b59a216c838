"""Complete metric histories of many runs with few requests, in bounded memory."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.tracking import BULK_ROWS, BULK_RUNS, Tracking
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.object_files import read_points

Json = Dict[str, Any]

SIDE_FILE = "metrics.jsonl"
SIDE_FILE_FROM = 50_000  # points of one run from which its histories go to a file of their own
LINE_POINTS = 1_000
MEMORY = 96 * 1024 * 1024  # bytes of encoded points held by all runs that are being exported


class Budget:
    """Bytes of points that may be held in memory by all runs together."""

    def __init__(self, most: int = MEMORY) -> None:
        self._left, self._lock = most, threading.Lock()

    def take(self, count: int) -> bool:
        """Take ``count`` bytes; False if there are not as many left (they are taken all the same)."""
        with self._lock:
            self._left -= count
            return self._left >= 0

    def give(self, count: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._left += count


class RunMetrics:
    """The histories of one run: encoded in memory, or in the side file once they are many.

    :param target: The run's directory.
    :param budget: Shared by all runs.
    """

    def __init__(self, target: ExportDir, budget: Budget) -> None:
        self._target, self._budget = target, budget
        self._parts: Dict[str, List[bytes]] = {}
        self._held = 0
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._file: Any = None
        self.points = 0

    def add(self, key: str, points: Sequence[Json]) -> None:
        """Add points as REST gives them; called by several threads."""
        if not points:
            return
        shaped = [
            {
                "value": json_codec.encode_number(point.get("value", 0.0)),
                "timestamp": int(point.get("timestamp", 0)),
                "step": int(point.get("step", 0)),
            }
            for point in points
        ]
        with self._lock:
            self.points += len(shaped)
            if self._file is not None:
                self._spill(key, shaped)
                return
            text = json_codec.dumps(shaped)[1:-1]
            self._parts.setdefault(key, []).append(text)
            self._held += len(text)
            if not self._budget.take(len(text)) or self.points > SIDE_FILE_FROM:
                self._open_file()

    def _open_file(self) -> None:
        self._file = self._stack.enter_context(self._target.new_file(SIDE_FILE))
        for key, parts in self._parts.items():
            self._spill(key, json_codec.loads(b"[" + b",".join(parts) + b"]"))
        self._release()

    def _spill(self, key: str, points: List[Json]) -> None:
        for start in range(0, len(points), LINE_POINTS):
            rows = [[p["value"], p["timestamp"], p["step"]] for p in points[start : start + LINE_POINTS]]
            self._file.write(json_codec.dumps({"key": key, "points": rows}) + b"\n")

    def _release(self) -> None:
        self._budget.give(self._held)
        self._parts, self._held = {}, 0

    def finish(self) -> Tuple[bytes, Optional[str]]:
        """Return the JSON object of all histories, and the name of the side file if that holds them instead."""
        if self._file is not None:
            self._stack.close()
            return b"{}", SIDE_FILE
        lines = [
            b"      " + json_codec.dumps(key) + b": [" + b",".join(parts) + b"]"
            for key, parts in sorted(self._parts.items())
        ]
        text = b"{\n" + b",\n".join(lines) + b"\n    }" if lines else b"{}"
        self._release()
        return text, None

    def discard(self) -> None:
        """Drop what was read; nothing of it stays in the directory."""
        self._release()
        if self._file is not None:
            self._file = None
            self._stack.__exit__(OSError, OSError("discarded"), None)


def read_histories(
    tracking: Tracking, executor: Executor, runs: Dict[str, Tuple[List[str], RunMetrics]]
) -> Dict[str, Exception]:
    """Read all histories of a group of runs.

    :param runs: Of each run id, the metric keys that it has, and where its points go.
    :return: Of each run whose histories could not be read, why.
    """
    by_key: Dict[str, List[str]] = {}
    for run_id, (keys, _) in runs.items():
        for key in keys:
            by_key.setdefault(key, []).append(run_id)

    def read(item: Tuple[str, List[str]]) -> None:
        key, run_ids = item
        _read_key(tracking, key, run_ids, {run_id: runs[run_id][1] for run_id in run_ids})

    work = [
        (key, run_ids[start : start + BULK_RUNS])
        for key, run_ids in by_key.items()
        for start in range(0, len(run_ids), BULK_RUNS)
    ]
    broken: Dict[str, Exception] = {}
    for outcome in executor.gather(read, work):
        if outcome.error is not None:
            broken.update(dict.fromkeys(outcome.item[1], outcome.error))
    return broken


def _read_key(tracking: Tracking, key: str, run_ids: List[str], sinks: Dict[str, RunMetrics]) -> None:
    todo = sorted(run_ids)
    group = len(todo)
    while todo:
        asked = todo[:group]
        points = tracking.bulk_history(asked, key)
        if points is None:
            for run_id in todo:
                _read_alone(tracking, run_id, key, sinks[run_id])
            return
        by_run: Dict[str, List[Json]] = {}
        for point in points:
            by_run.setdefault(point["run_id"], []).append(point)
        del points
        if sum(map(len, by_run.values())) < BULK_ROWS:
            for run_id, found in by_run.items():
                sinks[run_id].add(key, found)
            todo = todo[group:]
            continue
        # The reply is cut. It is sorted by run id, so all runs in it are whole but for the last one.
        last = next(reversed(list(by_run)))
        cut = by_run.pop(last)
        for run_id, found in by_run.items():
            sinks[run_id].add(key, found)
        if not by_run:
            _read_alone(tracking, last, key, sinks[last])
            by_run[last] = cut
        todo = [run_id for run_id in todo if run_id not in by_run]
        group = max(1, len(by_run))


def _read_alone(tracking: Tracking, run_id: str, key: str, sink: RunMetrics) -> None:
    for points in tracking.history(run_id, key):
        sink.add(key, points)


def stored_points(doc: Json, source: ExportDir) -> Iterator[Json]:
    """Yield the points of a run's directory as log-batch takes them, key by key, whatever their number.

    :param doc: The canonical run.
    :param source: Its directory, for the side file.
    """
    for key, points in doc["metrics"].items():
        for point in points:
            yield {
                "key": key,
                "value": json_codec.encode_number(point["value"]),
                "timestamp": point["timestamp"],
                "step": point["step"],
            }
    if doc.get("metrics_file"):
        for key, points in read_points(source, SIDE_FILE):
            for point in points:
                yield {"key": key, **point, "value": json_codec.encode_number(point["value"])}
