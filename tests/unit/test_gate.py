"""How many requests are let through at once, against servers of known behaviour."""

import threading
import time
from types import SimpleNamespace

import pytest

from mlflow_migration.client import gate as gate_module
from mlflow_migration.client.gate import Gate


@pytest.fixture
def clock(monkeypatch):
    moment = SimpleNamespace(now=0.0)
    monkeypatch.setattr(gate_module, "time", SimpleNamespace(monotonic=lambda: moment.now))
    return moment


def load(gate, clock, seconds_of, requests):
    """Keep the gate full: each request takes as long as `seconds_of` says for so many at once; the limits seen."""
    limits = []
    for _ in range(requests):
        at_once = gate.limit
        gate._in_flight = at_once - 1  # the others
        gate.__enter__()
        clock.now += seconds_of(at_once) / at_once
        gate.__exit__(None, None, None)
        limits.append(gate.limit)
    return limits


def test_it_climbs_where_more_at_once_brings_more(clock):
    gate = Gate(16)
    limits = load(gate, clock, lambda at_once: 0.040, 3000)  # a server that stalls, whatever the load
    assert limits[0] == 2
    assert min(limits[-500:]) >= 12
    assert max(limits) <= 16


def test_it_stays_low_where_one_connection_fills_the_server(clock):
    gate = Gate(16)
    limits = load(gate, clock, lambda at_once: 0.010 * at_once, 3000)
    assert max(limits[500:]) <= 4
    assert sum(limits[500:]) / len(limits[500:]) < 3


def test_it_comes_down_from_where_a_server_suffers(clock):
    gate = Gate(16)
    limits = load(gate, clock, lambda at_once: 0.010 if at_once <= 4 else 0.010 * at_once, 3000)
    assert 2.5 <= sum(limits[1000:]) / len(limits[1000:]) <= 6.5


def test_slow_down_halves_the_limit_but_not_below_one(clock):
    gate = Gate(16)
    load(gate, clock, lambda at_once: 0.040, 3000)
    before = gate.limit
    gate.slow_down()
    assert gate.limit == before // 2
    for _ in range(10):
        gate.slow_down()
    assert gate.limit == 1
    assert load(gate, clock, lambda at_once: 0.040, 2000)[-1] > 4  # and it recovers


def test_a_gate_that_is_not_full_learns_nothing(clock):
    gate = Gate(8)
    for _ in range(500):
        with gate:
            clock.now += 0.01
    assert gate.limit == 2


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_the_limit_at_once(most):
    gate, lock = Gate(most), threading.Lock()
    state = {"now": 0, "most": 0, "done": 0}

    def work():
        for _ in range(40):
            with gate:
                with lock:
                    state["now"] += 1
                    state["most"] = max(state["most"], state["now"])
                time.sleep(0.0005)
                with lock:
                    state["now"] -= 1
                    state["done"] += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert state["done"] == 320  # nobody waits for ever
    assert state["most"] <= most


def test_an_error_inside_gives_the_place_back():
    gate = Gate(1)
    for _ in range(3):
        with pytest.raises(KeyError), gate:
            raise KeyError
    with gate:
        pass
