"""The pool of threads: bounded, errors as values, no deadlock."""

import threading
import time

import pytest

from mlflow_migration.client.errors import Gone, Stopped
from mlflow_migration.common.executor import Executor


def outcomes(found):
    return [(o.item, o.value, type(o.error).__name__ if o.error else None) for o in found]


def invert(n):
    return 10 // n


@pytest.mark.parametrize("workers", [1, 4])
def test_errors_are_values_and_stop_no_neighbour(workers):
    with Executor(workers) as executor:
        expected = [(1, 10, None), (0, None, "ZeroDivisionError"), (2, 5, None)]
        assert outcomes(executor.gather(invert, [1, 0, 2])) == expected
        assert sorted(outcomes(executor.imap(invert, [1, 0, 2]))) == sorted(expected)
        failed = executor.gather(invert, [0])[0]
        with pytest.raises(ZeroDivisionError):
            failed.get()
        assert executor.gather(invert, []) == []
        assert list(executor.imap(invert, [])) == []


def test_one_worker_is_the_calling_thread():
    with Executor(1) as executor:
        threads = {o.get() for o in executor.imap(lambda _: threading.get_ident(), range(5))}
        threads |= {o.get() for o in executor.gather(lambda _: threading.get_ident(), range(5))}
    assert threads == {threading.get_ident()}


def test_many_workers_work_at_once_and_have_names():
    together = threading.Barrier(4, timeout=10)
    with Executor(4) as executor:
        names = [o.get() for o in executor.imap(lambda _: (together.wait(), threading.current_thread().name), range(4))]
    assert len({name for _, name in names}) == 4
    assert all(name.startswith("worker") for _, name in names)


def test_no_more_than_the_workers_at_once_and_little_is_taken_ahead():
    lock = threading.Lock()
    state = {"now": 0, "most": 0, "taken": 0, "ahead": 0}

    def source():
        for n in range(200):
            state["taken"] += 1
            yield n

    def work(n):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        time.sleep(0.001)
        with lock:
            state["now"] -= 1
        return n

    with Executor(3) as executor:
        done = []
        for outcome in executor.imap(work, source()):
            done.append(outcome.get())
            state["ahead"] = max(state["ahead"], state["taken"] - len(done))
    assert sorted(done) == list(range(200))
    assert state["most"] == 3
    assert state["ahead"] <= 6


def test_a_window_bounds_what_is_in_work():
    lock = threading.Lock()
    now, most = [0], [0]

    def work(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1

    with Executor(8) as executor:
        list(executor.imap(work, range(30), window=2))
    assert most[0] <= 2


def test_tasks_that_gather_inside_tasks_do_not_block_each_other():
    def leaf(n):
        time.sleep(0.001)
        return n

    def middle(n):
        return sum(o.get() for o in executor.gather(leaf, range(n)))

    def top(n):
        return sum(o.get() for o in executor.gather(middle, range(n)))

    with Executor(3) as executor:
        done = {}

        def run():
            done["sums"] = sorted(o.get() for o in executor.imap(top, [5] * 12))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(30)
        assert done == {"sums": [10] * 12}


def test_tasks_that_take_from_generators_inside_tasks():
    """As an export of many experiments does: bounded, each item once, and idle workers help."""
    lock, state = threading.Lock(), {"now": 0, "most": 0, "threads": set()}

    def leaf(n):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
            state["threads"].add(threading.current_thread().name)
        time.sleep(0.002)
        with lock:
            state["now"] -= 1
        if n % 7 == 3:
            raise ValueError(n)
        return n

    def task(n):
        found = list(executor.imap(leaf, (n * 100 + i for i in range(40))))
        assert sum(o.error is not None for o in found) == sum(o.item % 7 == 3 for o in found)
        return sorted(o.item for o in found)

    with Executor(4) as executor:
        done = {}

        def run():
            done["items"] = sorted(o.get() for o in executor.imap(task, range(3)))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(30)
        assert done == {"items": [[n * 100 + i for i in range(40)] for n in range(3)]}
    assert 2 <= state["most"] <= 4
    assert len(state["threads"]) == 4


def test_a_window_bounds_helpers_inside_a_task_too():
    lock, now, most = threading.Lock(), [0], [0]

    def leaf(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1

    with Executor(8) as executor:
        list(executor.imap(lambda _: list(executor.imap(leaf, range(30), window=2)), [None]))
    assert most[0] == 2


def test_an_error_of_the_source_inside_a_task_is_the_tasks():
    def source():
        yield from range(20)
        raise ValueError("the server is gone")

    def task(_):
        return len(list(executor.imap(lambda n: time.sleep(0.001), source())))

    with Executor(4) as executor:
        outcome = list(executor.imap(task, [None]))[0]
    assert "the server is gone" in str(outcome.error)


def test_stop_ends_what_takes_from_a_generator_inside_a_task():
    started = []

    def leaf(n):
        started.append(n)
        if n == 5:
            executor.stop("enough")

    with Executor(3) as executor, pytest.raises(Stopped, match="enough"):
        list(executor.imap(lambda _: list(executor.imap(leaf, range(1000))), [None, None]))
    assert len(started) < 30


def test_gather_keeps_the_order_whatever_takes_long():
    with Executor(4) as executor:
        found = executor.gather(lambda n: time.sleep(0.01 if n % 3 == 0 else 0) or n, range(30))
    assert [o.get() for o in found] == list(range(30))


@pytest.mark.parametrize("workers", [1, 3])
def test_stop_starts_nothing_more_and_ends_what_runs(workers):
    started = []
    with Executor(workers) as executor:
        found = []
        with pytest.raises(Stopped, match="enough"):
            for outcome in executor.imap(lambda n: started.append(n) or n, range(1000)):
                found.append(outcome.get())
                if len(found) == 5:
                    executor.stop("enough")
                    executor.stop("the first reason counts")
        assert executor.stopped
    assert sorted(found) == sorted(started)
    assert 5 <= len(started) <= 12


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ex", [Gone("enough"), Stopped("enough")])
def test_a_server_that_is_gone_stops_all_work(workers, ex):
    started, told = [], []

    def leaf(item):
        started.append(item)
        if len(started) == 5:
            raise ex

    def task(n):
        for outcome in executor.gather(leaf, [(n, part) for part in range(4)]):
            outcome.get()
        return n

    with Executor(workers) as executor:
        with pytest.raises(Stopped, match="enough"):
            for outcome in executor.imap(task, range(1000)):
                told.append(outcome.value)
        with pytest.raises(Stopped, match="enough"):
            executor.gather(leaf, [1])
        assert executor.gather(leaf, []) == []
    assert 5 <= len(started) <= 12
    # what had been done whole is told
    whole = {n for n, _ in started if sum(n == other for other, _ in started) == 4}
    assert {n for n in told if n is not None} <= whole


def test_a_gathering_that_was_stopped_waits_for_what_has_begun():
    ended = []

    def work(n):
        if n == 1:
            time.sleep(0.05)
            executor.stop("enough")
        else:
            time.sleep(0.2)
            ended.append(n)

    with Executor(3) as executor:
        with pytest.raises(Stopped):
            executor.gather(work, range(100))
        assert 1 <= len(ended) == len(set(ended)) <= 2


def test_an_error_of_the_source_is_raised_and_stops_nothing_else():
    def source():
        yield from range(5)
        raise OSError("the listing broke")

    started = []
    with Executor(2) as executor:
        with pytest.raises(OSError, match="the listing broke"):
            list(executor.imap(started.append, source()))
        begun = len(started)
        assert [outcome.get() for outcome in executor.gather(invert, [1, 2])] == [10, 5]
    assert len(started) == begun <= 5


class _EndsMeanwhile:
    """A future that ends just after it was asked for the first time whether it has."""

    def __init__(self, result):
        self._result, self._asked = result, 0

    def done(self):
        self._asked += 1
        return self._asked > 1

    def cancel(self):
        return False

    def result(self):
        return self._result


class _Helper:
    """A pool whose helpers have all done their work at once."""

    def submit(self, function, *args):
        return _EndsMeanwhile(function(*args))

    def shutdown(self, wait):
        pass


def test_what_ends_at_the_very_moment_is_not_forgotten():
    def task():
        executor._pool = _Helper()
        return sorted(outcome.get() for outcome in executor.imap(lambda n: n, range(50)))

    with Executor(4) as executor:
        (outcome,) = executor.imap(lambda _: task(), [None])
    assert outcome.get() == list(range(50))
