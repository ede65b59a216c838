"""Sources are in use: runs begin, end and go away while they are exported; none that was there throughout is lost."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Set

import pytest

from benchmarks.make_data import create_run, end_run, log_metrics
from tests.support.compare import assert_same
from tests.support.moves import At, Moves, Source, point, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import statuses

START = 1_700_000_000_000


class User:
    """Creates, ends and deletes runs whenever a request of the export passes."""

    def __init__(self, source: Source, endless: List[str]) -> None:
        self.source, self.endless = source, endless
        self.created: List[str] = []
        self.ended: Set[str] = set()
        self.deleted: Set[str] = set()
        self.gone: Set[str] = set()
        self._lock = threading.Lock()

    def act(self, _: Any) -> None:
        """One more thing happens: of each kind in turn."""
        with self._lock:
            turn = len(self.created)
            rest = self.source.rest
            # some start now, some in the past as runs of other clocks or of imports do, one without a start
            start = [START + 10_000_000 + turn, START + 50 + turn, 5, None][turn % 4]
            run_id = create_run(rest, self.source.id, f"new {turn}", start)["info"]["run_id"]
            self.created.append(run_id)
            log_metrics(rest, run_id, [point("x", float(turn), turn)])
            if turn % 2:
                self.source.delete(run_id)
                self.deleted.add(run_id)
            if self.endless:
                run_id = self.endless.pop()
                if turn % 3:
                    end_run(rest, run_id, end_time=START + turn)
                    self.ended.add(run_id)
                else:
                    self.source.delete(run_id)
                    self.deleted.add(run_id)


@pytest.mark.slow
def test_source_in_use(moves: Moves, source: Source) -> None:
    """More runs than a page of the listing, and of each page a part changes while the next is asked for."""
    ids = source.rest.map(
        lambda i: create_run(source.rest, source.id, f"run {i}", START + i // 3)["info"]["run_id"],
        range(520),
    )
    for run_id in ids[:8]:
        log_metrics(source.rest, run_id, [point("x", 1.0, 1)])
    user = User(source, [*ids[:8], *ids[495:515]])
    options = ("--export-deleted-runs", "--exclude-artifacts", "*")
    with Proxy(moves.src.uri) as proxy:
        there, moves.src = moves.src, At(proxy.uri)
        during = [
            proxy.on("POST", "*/runs/search", number=range(1, 30), before=user.act, delay=0.05),
            proxy.on("GET", "*/get-history*", number=range(1, 8), after=user.act, delay=0.05),
        ]
        moves.copy(source.name, source.name, *options)
        found = statuses(moves.report)
        assert sum(fault.hits for fault in during) == len(user.created) >= 6
        assert user.ended and user.deleted
        missed = {run_id for run_id in ids if run_id not in found}
        assert missed == set()
        proxy.clear()
        # quiet now: the repeat takes the rest, and all is as at the source
        moves.copy(source.name, source.name, *options)
        found = statuses(moves.report)
    assert set(found) == {*ids, *user.created}
    changed = {run_id for run_id, status in found.items() if status != "unchanged"}
    assert changed <= {*user.created, *user.ended, *user.deleted}
    assert len(runs_of(moves.dst, source.name)) == len(ids) + len(user.created)
    assert_same((there.uri, source.name), (moves.dst.uri, source.name))


def test_deleted_meanwhile(moves: Moves, source: Source) -> None:
    """A run that is deleted, or deleted for good, between listing and reading is taken or named, others are taken."""
    ids = [source.run(f"run {number}", 1000 + number, (point("x", 1.0, 1),)) for number in range(5)]
    for run_id in ids:
        source.put(run_id, "a.txt", run_id.encode())
    with Proxy(moves.src.uri) as proxy:
        there, moves.src = moves.src, At(proxy.uri)
        proxy.on("POST", "*/runs/search", number=1, after=lambda _: source.delete(ids[2]))
        moves.export(source.name)
        assert statuses(moves.home / "export") == dict.fromkeys(ids, "copied")
        moves.export(source.name)
        assert statuses(moves.home / "export")[ids[2]] == "updated"
    moves.load(source.name)
    assert_same((there.uri, source.name), (moves.dst.uri, source.name))


def test_running_runs(moves: Moves, source: Source) -> None:
    """A run that goes on arrives as RUNNING and without an end, and a repeat completes it."""
    running = source.run("running", points=(point("x", 1.0, 1),), end=False)
    scheduled = source.run("scheduled", end=False)
    source.rest.post("runs/update", {"run_id": scheduled, "status": "SCHEDULED"})
    ended = source.run("ended")
    both = (moves.src.uri, source.name), (moves.dst.uri, source.name)

    def there() -> Dict[str, str]:
        return {run["info"]["run_name"]: run["info"]["status"] for run in runs_of(moves.dst, source.name)}

    moves.export(source.name)
    moves.load(source.name)
    assert there() == {"running": "RUNNING", "scheduled": "SCHEDULED", "ended": "FINISHED"}
    assert_same(*both)
    log_metrics(source.rest, running, [point("x", 2.0, 2), point("y", 1.0, 1)])
    source.put(running, "model/weights.bin", b"w" * 1000)
    moves.export(source.name)
    assert moves.load(source.name)["run"] == {"updated": 1, "unchanged": 2}
    assert there()["running"] == "RUNNING"
    assert_same(*both)
    end_run(source.rest, running, "KILLED", START)
    end_run(source.rest, scheduled)
    moves.export(source.name)
    found = statuses(moves.home / "export")
    assert found == {running: "updated", scheduled: "updated", ended: "unchanged"}
    moves.load(source.name)
    assert there() == {"running": "KILLED", "scheduled": "FINISHED", "ended": "FINISHED"}
    assert_same(*both)
