"""How many requests are in flight: as many as the server shows to be good, for reads and writes apart."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Optional, Type

_WINDOW = 24  # completions between two decisions: long enough to see a trend, short enough to adapt early
_GAIN = 1.05  # one more connection is kept only where it brings at least 5 %


class Gate:
    """Lets a limited number of requests through at once and moves the limit to where throughput is best.

    It climbs: one more (or one fewer) in flight for a window of completions; where throughput does not get better
    it goes back. A 429 or 503 halves the limit at once.

    :param most: Upper bound, the number of worker threads.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._limit = min(2, self._most)
        self._in_flight = 0
        self._condition = threading.Condition()
        self._done = 0
        self._since = time.monotonic()
        self._rate = 0.0
        self._step = 1

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight now."""
        return self._limit

    def __enter__(self) -> "Gate":
        with self._condition:
            while self._in_flight >= self._limit:
                self._condition.wait()
            self._in_flight += 1
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with self._condition:
            # only a window in which the gate was full tells something about the limit
            full = self._in_flight >= self._limit
            self._in_flight -= 1
            if full:
                self._done += 1
                if self._done >= _WINDOW:
                    self._decide()
            self._condition.notify()

    def _decide(self) -> None:
        now = time.monotonic()
        rate = self._done / max(now - self._since, 1e-6)
        if rate < self._rate * _GAIN:
            self._step = -self._step
        self._rate = rate if self._rate == 0 else max(rate, 0.9 * self._rate)
        self._limit = min(self._most, max(1, self._limit + self._step))
        if self._limit in (1, self._most):
            self._step = 1 if self._limit == 1 else -1
        self._done, self._since = 0, now
        self._condition.notify_all()

    def slow_down(self) -> None:
        """Halve the limit: the server said that it gets too much."""
        with self._condition:
            self._limit = max(1, self._limit // 2)
            self._step, self._rate, self._done, self._since = 1, 0.0, 0, time.monotonic()
