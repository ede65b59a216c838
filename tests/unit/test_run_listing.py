"""The listing of an experiment that changes while it is read: each run once, none that was there throughout missed."""

import itertools
import random
import re

import pytest

from mlflow_migration.client.errors import NotFound
from mlflow_migration.experiment import run_listing
from mlflow_migration.experiment.run_listing import RunListing, Selection


class Server:
    """Searches as MLflow does: by start time, pages by offset; `between` is called after each page."""

    def __init__(self, starts=()):
        self.runs = {}
        self.requests = 0
        self.between = lambda: None
        for number, start in enumerate(starts):
            self.add(f"r{number:05}", start)

    def add(self, run_id, start, status="FINISHED", end=None, parent=None):
        info = {"run_id": run_id, "status": status}
        for name, value in (("start_time", start), ("end_time", end)):
            if value is not None:
                info[name] = value
        tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
        self.runs[run_id] = {"info": info, "data": {"tags": tags}}

    def matching(self, where):
        bounds = re.findall(r"attributes\.start_time (>=|<) (-?\d+)", where)
        for run in self.runs.values():
            start = run["info"].get("start_time")
            if bounds and start is None:
                continue
            if "parentRunId" in where and not run["data"]["tags"]:
                continue
            if all(start >= int(bound) if sign == ">=" else start < int(bound) for sign, bound in bounds):
                yield run

    def run(self, run_id):
        if run_id not in self.runs:
            raise NotFound("no such run", http_status_code=404)
        return {"info": {**self.runs[run_id]["info"], "experiment_id": "7"}}

    def search_runs(self, experiment_ids, where="", order_by=(), page=500):
        assert experiment_ids == ["7"]
        assert order_by == ("attributes.start_time ASC",)
        for offset in itertools.count(0, page):
            found = sorted(self.matching(where), key=_order)[offset : offset + page]
            self.requests += 1
            self.between()
            if found:
                yield found
            if len(found) < page:
                return


def _order(run):
    start = run["info"].get("start_time")
    return start is None, start, run["info"]["run_id"]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(run_listing, "PAGE", 10)


def listed(server, size=7, **selection):
    listing = RunListing(server, "7", Selection(**selection))
    groups = list(listing.groups(size))
    assert all(0 < len(group) <= size for group in groups)
    ids = [run["info"]["run_id"] for group in groups for run in group]
    assert len(set(ids)) == len(ids)
    assert ids == listing.order
    return ids, listing


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 95])
def test_a_quiet_experiment(count):
    server = Server(range(1000, 1000 + count))
    ids, _ = listed(server)
    assert ids == [f"r{n:05}" for n in range(count)]  # in order of their start
    assert server.requests <= count // 5 + 14


@pytest.mark.parametrize("starts", [[5] * 35, [None] * 35, [5] * 25 + [6] * 25 + [None] * 3, [0, -3, 0, None]])
def test_runs_that_started_at_once_or_never(starts):
    ids, _ = listed(Server(starts))
    assert len(ids) == len(starts)


def test_runs_that_go_away_do_not_hide_others():
    server = Server(range(100))
    doomed = iter([f"r{n:05}" for n in range(0, 90, 3)])

    def remove():
        for run_id in itertools.islice(doomed, 3):
            del server.runs[run_id]

    server.between = remove
    ids, _ = listed(server)
    assert set(server.runs) <= set(ids)


def test_runs_that_come_meanwhile_are_taken():
    server = Server(range(50))
    new = iter([("late", 1000), ("backdated", 3), ("never started", None)])
    server.between = lambda: [server.add(*run) for run in itertools.islice(new, 1)]
    ids, _ = listed(server)
    assert {"late", "backdated", "never started"} <= set(ids)
    assert len(ids) == 53


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_what_was_there_throughout_is_listed(seed):
    dice = random.Random(seed)
    server = Server([dice.choice([None, dice.randrange(60), dice.randrange(5)]) for _ in range(dice.randrange(120))])
    throughout = set(server.runs)
    numbers = itertools.count()

    def change():
        if server.requests > 40:
            return
        for _ in range(dice.randrange(4)):
            if dice.random() < 0.5 and server.runs:
                gone = dice.choice(sorted(server.runs))
                del server.runs[gone]
                throughout.discard(gone)
            else:
                server.add(f"new{next(numbers)}", dice.choice([None, dice.randrange(90)]))

    server.between = change
    ids, _ = listed(server)
    assert throughout <= set(ids)


def test_selections_by_time():
    server = Server(range(100, 140))
    assert len(listed(server, start_from=110)[0]) == 30
    assert len(listed(server, start_until=110)[0]) == 10
    assert listed(server, start_from=110, start_until=112)[0] == ["r00010", "r00011"]


def test_changed_since_takes_what_started_ended_or_still_runs():
    server = Server()
    server.add("old", 10, end=20)
    server.add("ended later", 10, end=60)
    server.add("started later", 55)
    server.add("running", 10, status="RUNNING")
    server.add("scheduled", None, status="SCHEDULED")
    assert sorted(listed(server, changed_since=50)[0]) == ["ended later", "running", "scheduled", "started later"]


def test_selection_by_ids():
    server = Server(range(30))
    server.add("child", 3, parent="r00029")
    server.add("grandchild", 2, parent="child")
    server.add("other's child", 2, parent="r00001")
    ids, listing = listed(server, run_ids=("r00029", "no such"))
    assert (ids, listing.not_found) == (["r00029"], ["no such"])
    ids, listing = listed(server, run_ids=("r00029",), nested=True)
    assert (sorted(ids), listing.not_found) == (["child", "grandchild", "r00029"], [])


def test_what_is_left_out_is_told_with_the_option():
    server = Server(range(10))
    server.add("late", 30, parent="r00001")
    told = {}
    chosen = Selection(run_ids=("r00001", "r00002", "none"), nested=True, start_until=20, changed_since=2)
    listing = RunListing(server, "7", chosen, told.setdefault)
    assert [[run["info"]["run_id"] for run in group] for group in listing.groups(9)] == [["r00002"]]
    expected = {f"r{n:05}": "--run-ids" for n in range(10)}
    expected.update({"r00001": "--changed-since", "late": "--runs-until"})
    del expected["r00002"]
    assert (told, listing.not_found) == (expected, ["none"])


def test_a_users_filter_is_kept_in_every_request():
    assert Selection(where=" metrics.rmse < 1 ").filter(None) == "metrics.rmse < 1"
    assert Selection(where="a = 1", start_from=5, start_until=9).filter(7) == (
        "attributes.start_time >= 7 and attributes.start_time < 9 and a = 1"
    )
    assert Selection(start_from=9).filter(7) == "attributes.start_time >= 9"
    assert Selection().filter(None) == ""
    assert Selection().everything
    assert not Selection(where="a = 1").everything
