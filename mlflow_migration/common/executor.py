"""The one pool of threads: a bounded window over it, errors as values, and no pool inside a pool."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Callable, Generic, Iterable, Iterator, List, Optional, Set, Type, TypeVar

from mlflow_migration.client.errors import Gone, Stopped, describe
from mlflow_migration.common import log

_INTERRUPTED = "interrupted"
_THREADS = "worker"
_log = log.getLogger(__name__)

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

    It can be told to stop, and stops by itself when a server is gone: then what runs ends by itself, nothing more is
    started, and who waits for it gets Stopped.

    :param workers: Number of threads.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(1, workers)
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix=_THREADS) if self.workers > 1 else None
        self._reason: Optional[str] = None

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if kind is not None:
            self.stop(_INTERRUPTED)
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            _log.info("Interrupted: what runs is waited for. Once more, and it is not.")
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def stop(self, reason: str) -> None:
        """Start nothing more; what runs ends by itself.

        :param reason: Why, for Stopped; the first one counts.
        """
        self._reason = self._reason or reason

    @property
    def stopped(self) -> bool:
        """Whether nothing more is started."""
        return self._reason is not None

    def check(self) -> None:
        """Raise Stopped if nothing more is to be started."""
        if self._reason is not None:
            raise Stopped(self._reason)

    def imap(
        self, function: Callable[[A], T], items: Iterable[A], window: Optional[int] = None
    ) -> Iterator[Outcome[A, T]]:
        """Yield outcomes as they come; only some items more than there are workers are taken ahead.

        Inside a task the calling thread works on the items itself, and idle workers help it.

        :param window: How many items are in work at once, if fewer: for items that gather on their part.
        :raises Stopped: After the outcomes of what was started, if that was not all or should not be gone on from.
        """
        if self._pool is None:
            for item in items:
                self.check()
                yield self._run(function, item)
            self.check()
            return
        if threading.current_thread().name.startswith(_THREADS):
            yield from self._imap_inside(function, items, min(window or self.workers, self.workers) - 1)
            return
        running: Set["Future[Outcome[A, T]]"] = set()
        try:
            for item in items:
                if self.stopped:
                    break
                running.add(self._pool.submit(self._run, function, item))
                if len(running) >= (window or self.workers + 2):
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from _ended(done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from _ended(done)
        except BaseException as ex:
            if not isinstance(ex, (Exception, GeneratorExit)):
                self.stop(_INTERRUPTED)
            begun = [future for future in running if not future.cancel()]
            if not self.stopped:
                wait(begun)
            raise
        self.check()

    def _imap_inside(self, function: Callable[[A], T], items: Iterable[A], helpers: int) -> Iterator[Outcome[A, T]]:
        """Do the work of :meth:`imap` inside a task, which must not wait for a place in the pool.

        :param helpers: How many items others may have in work at once.
        """
        assert self._pool is not None
        source, lock = iter(items), threading.Lock()

        def one() -> List[Outcome[A, T]]:
            with lock:
                taken = [] if self.stopped else list(islice(source, 1))
            return [self._run(function, item) for item in taken]

        def told(get: Callable[[], List[Outcome[A, T]]]) -> List[Outcome[A, T]]:
            try:
                return get()
            except Stopped:
                return []  # others that run meanwhile have outcomes to be told

        asked: List["Future[List[Outcome[A, T]]]"] = []
        try:
            while True:
                asked += [self._pool.submit(one) for _ in range(helpers - len(asked))]
                own = told(one)
                yield from own
                waiting: List["Future[List[Outcome[A, T]]]"] = []
                for future in asked:
                    # asked once: one that ends between two questions must be in one of both
                    if future.done():
                        yield from told(future.result)
                    else:
                        waiting.append(future)
                asked = waiting
                if not own:
                    break
            while asked:
                future = asked.pop()
                if not future.cancel():  # it has begun
                    yield from told(future.result)
        finally:
            # what has begun uses what the caller is going to close
            wait([future for future in asked if not future.cancel()])
        self.check()

    def gather(self, function: Callable[[A], T], items: Iterable[A]) -> List[Outcome[A, T]]:
        """Return the outcomes of all items, in their order; idle workers help the calling thread.

        The caller works on the items itself and waits only for those that a helper has begun, so tasks that gather
        inside tasks can't block each other.

        :raises Stopped: Not all items were started.
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
                        number = None if self.stopped else next(numbers, None)
                    if number is None:
                        return
                    outcomes[number] = self._run(function, todo[number])
            except Stopped:
                return
            except BaseException:
                self.stop(_INTERRUPTED)
                raise
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
        done = [outcome for outcome in outcomes if outcome is not None]
        if len(done) < len(todo):
            self.check()
        return done

    def _run(self, function: Callable[[A], T], item: A) -> Outcome[A, T]:
        try:
            return Outcome(item, value=function(item))
        except Stopped as ex:
            self.stop(describe(ex))
            raise
        except Exception as ex:  # noqa: BLE001 -- the package's only catch-all: one bad object must not stop its neighbours
            if isinstance(ex, Gone):
                self.stop(describe(ex))
            return Outcome(item, error=ex)


def any_busy() -> bool:
    """Tell whether threads of any executor still run."""
    return any(thread.name.startswith(_THREADS) for thread in threading.enumerate())


def _ended(futures: Iterable["Future[Outcome[A, T]]"]) -> Iterator[Outcome[A, T]]:
    for future in futures:
        try:
            yield future.result()
        except Stopped:
            continue  # others that run meanwhile have outcomes to be told
