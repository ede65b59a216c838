"""Complete histories out of replies that are cut, in bounded memory, and back out of the directory."""

import json
import math
import threading

import pytest

from mlflow_migration.client.errors import Unavailable
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.run import histories
from mlflow_migration.run.histories import Budget, RunMetrics, read_histories, stored_points


class Server:
    """Histories by run and key; bulk replies are cut at `rows`, sorted by run id as MLflow does."""

    def __init__(self, data, rows=25, bulk=True):
        self.data, self.rows, self.has_bulk = data, rows, bulk
        self.bulk_calls, self.single_calls, self.broken = [], [], set()
        self.lock = threading.Lock()

    def points(self, run_id, key):
        return self.data[run_id].get(key, [])

    def bulk_history(self, run_ids, key):
        if not self.has_bulk:
            return None
        assert len(run_ids) <= 100
        with self.lock:
            self.bulk_calls.append((tuple(run_ids), key))
        if self.broken & set(run_ids):
            raise Unavailable("no")
        rows = [{**p, "run_id": run_id, "key": key} for run_id in sorted(run_ids) for p in self.points(run_id, key)]
        return rows[: self.rows]

    def history(self, run_id, key):
        with self.lock:
            self.single_calls.append((run_id, key))
        if run_id in self.broken:
            raise Unavailable("no")
        found = self.points(run_id, key)
        for start in range(0, len(found), 10):
            yield found[start : start + 10]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(histories, "BULK_ROWS", 25)
    monkeypatch.setattr(histories, "SIDE_FILE_FROM", 40)
    monkeypatch.setattr(histories, "LINE_POINTS", 7)


def series(count, start=0):
    return [{"value": n / 3, "timestamp": 1000 + n, "step": start + n} for n in range(count)]


def exported(server, tmp_path, workers=3, budget=None):
    """Read all runs of a server; of each, what its directory gives back."""
    budget = budget or Budget()
    sinks = {run_id: RunMetrics(ExportDir(str(tmp_path / run_id)), budget) for run_id in server.data}
    with Executor(workers) as executor:
        broken = read_histories(server, executor, {i: (sorted(server.data[i]), sinks[i]) for i in sinks})
    result = {}
    for run_id, sink in sinks.items():
        if run_id in broken:
            sink.discard()
            continue
        text, side_file = sink.finish()
        doc = {"metrics": json.loads(text), "metrics_file": side_file}
        found = {}
        for point in stored_points(doc, ExportDir(str(tmp_path / run_id))):
            found.setdefault(point.pop("key"), []).append(point)
        assert sink.points == sum(map(len, found.values()))
        result[run_id] = found
    return result, broken


def whole(server):
    return {run_id: {key: points for key, points in keys.items() if points} for run_id, keys in server.data.items()}


def test_few_points_of_many_runs_take_one_request_for_each_key(tmp_path):
    server = Server({f"r{n}": {"a": series(1), "b": series(1)} for n in range(12)})
    found, broken = exported(server, tmp_path)
    assert (found, broken) == (whole(server), {})
    assert len(server.bulk_calls) == 2
    assert server.single_calls == []


def test_more_runs_than_a_request_takes(tmp_path, monkeypatch):
    server = Server({f"r{n:03}": {"a": series(1)} for n in range(230)}, rows=1000)
    monkeypatch.setattr(histories, "BULK_ROWS", 1000)
    assert exported(server, tmp_path)[0] == whole(server)
    assert sorted(len(ids) for ids, _ in server.bulk_calls) == [30, 100, 100]


@pytest.mark.parametrize(
    "lengths", [[10] * 9, [24, 1, 25, 26, 3], [25], [100], [1, 60, 1], [25, 25, 25], [5, 20, 5, 20]]
)
@pytest.mark.parametrize("workers", [1, 4])
def test_replies_that_are_cut_lose_nothing(tmp_path, lengths, workers):
    server = Server({f"r{n}": {"a": series(count)} for n, count in enumerate(lengths)})
    found, broken = exported(server, tmp_path, workers)
    assert (found, broken) == (whole(server), {})
    assert len(server.bulk_calls) + len(server.single_calls) <= 2 * len(lengths) + 1


def test_a_server_without_the_bulk_route(tmp_path):
    server = Server({"r1": {"a": series(12), "b": series(3)}, "r2": {"a": series(30)}}, bulk=False)
    assert exported(server, tmp_path)[0] == whole(server)
    assert sorted(server.single_calls) == [("r1", "a"), ("r1", "b"), ("r2", "a")]


def test_long_histories_go_to_a_side_file(tmp_path):
    server = Server({"long": {"a": series(90), "b": series(2)}, "short": {"a": series(2)}}, bulk=False)
    assert exported(server, tmp_path)[0] == whole(server)
    assert (tmp_path / "long" / histories.SIDE_FILE).exists()
    assert not (tmp_path / "short").exists()
    lines = (tmp_path / "long" / histories.SIDE_FILE).read_text().splitlines()
    assert max(len(json.loads(line)["points"]) for line in lines) <= 7


def test_when_memory_is_short_points_go_to_side_files_and_memory_is_given_back(tmp_path):
    budget = Budget(1500)
    server = Server({f"r{n}": {"a": series(20)} for n in range(6)}, bulk=False)
    assert exported(server, tmp_path, budget=budget)[0] == whole(server)
    assert any((tmp_path / run_id).exists() for run_id in server.data)
    assert budget.take(1500)


def test_a_run_that_can_not_be_read_is_told_and_leaves_nothing(tmp_path):
    server = Server({"bad": {"a": series(60)}, "good": {"a": series(60)}}, bulk=False)
    server.broken = {"bad"}
    with_error, broken = exported(server, tmp_path, workers=1)
    assert set(broken) <= {"bad", "good"}
    assert "bad" in broken
    assert isinstance(broken["bad"], Unavailable)
    assert not (tmp_path / "bad").exists() or not list((tmp_path / "bad").iterdir())
    # what was read of the others is whole
    assert all(with_error[run_id] == whole(server)[run_id] for run_id in with_error)


def test_odd_values_and_keys(tmp_path):
    points = [
        {"value": math.nan, "timestamp": 0, "step": -5},
        {"value": "NaN", "timestamp": 1, "step": 0},
        {"value": math.inf, "timestamp": 2**53, "step": 2**63 - 1},
        {"value": 5e-324, "timestamp": 3, "step": 1},
        {},
    ]
    server = Server({"r": {'a "quoted" \u00e9/\\': points}}, bulk=False)
    (found,) = exported(server, tmp_path)[0]["r"].values()
    assert [point["value"] for point in found] == ["NaN", "NaN", "Infinity", 5e-324, 0.0]
    assert found[2]["step"] == 2**63 - 1
    assert found[4] == {"value": 0.0, "timestamp": 0, "step": 0}


def test_a_discarded_side_file_is_gone(tmp_path):
    sink = RunMetrics(ExportDir(str(tmp_path / "r")), Budget())
    sink.add("a", series(60))
    sink.discard()
    assert not list((tmp_path / "r").iterdir())
