"""The one pool of threads: a bounded window over it, errors as values, and no pool inside a pool."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Callable, Generic, Iterable, Iterator, List, Optional, Set, Type, TypeVar

A = TypeVar("A")
T = TypeVar("T")


@dataclass
class Outcome(Generic[A, T]):
    """What became of one item: a value or an error."""

    item: A
    value: Optional[T] = None
    error: Optional[Exception] = None

    def get(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Executor:
    """Runs functions over items on a bounded number of threads; with one worker, in the calling thread.

    :param workers: Number of threads.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(1, workers)
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="worker") if self.workers > 1 else None
        self._stopped = threading.Event()

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if kind is not None:
            self.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def stop(self) -> None:
        """Start nothing more; what runs ends by itself."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopped.is_set()

    def imap(
        self, function: Callable[[A], T], items: Iterable[A], window: Optional[int] = None
    ) -> Iterator[Outcome[A, T]]:
        """Yield outcomes as they come; only some items more than there are workers are taken ahead.

        :param window: How many items are in work at once, if fewer: for items that gather on their part.

        After :meth:`stop` nothing more is started. Not to be called inside a task: use :meth:`gather` there.
        """
        if self._pool is None:
            for item in items:
                if self.stopped:
                    return
                yield _run(function, item)
            return
        running: Set["Future[Outcome[A, T]]"] = set()
        try:
            for item in items:
                if self.stopped:
                    break
                running.add(self._pool.submit(_run, function, item))
                if len(running) >= (window or self.workers + 2):
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BaseException:
            self.stop()
            for future in running:
                future.cancel()
            raise

    def gather(self, function: Callable[[A], T], items: Iterable[A]) -> List[Outcome[A, T]]:
        """Return the outcomes of all items, in their order; idle workers help the calling thread.

        The caller works on the items itself and waits only for those that a helper has begun, so tasks that gather
        inside tasks can't block each other.
        """
        todo = list(items)
        outcomes: List[Optional[Outcome[A, T]]] = [None] * len(todo)
        numbers = iter(range(len(todo)))
        lock = threading.Lock()
        begun: Set[threading.Event] = set()

        def work(finished: Optional[threading.Event]) -> None:
            with lock:
                if finished is not None:
                    begun.add(finished)
            try:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    outcomes[number] = _run(function, todo[number])
            finally:
                if finished is not None:
                    finished.set()

        if self._pool is not None:
            for _ in range(min(self.workers - 1, len(todo) - 1)):
                self._pool.submit(work, threading.Event())
        work(None)
        with lock:
            helpers = list(begun)
        for helper in helpers:
            helper.wait()
        return [outcome for outcome in outcomes if outcome is not None]


def _run(function: Callable[[A], T], item: A) -> Outcome[A, T]:
    try:
        return Outcome(item, value=function(item))
    except Exception as ex:  # noqa: BLE001 -- the package's only catch-all: one bad object must not stop its neighbours
        return Outcome(item, error=ex)
