"""How far a command is: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, Optional

from mlflow_migration.common import log

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_REDRAWS = 0.1
_log = log.getLogger(__name__)


class Progress:
    """Shows done and total numbers, the rate and the time left. Thread-safe; a context manager that closes it.

    :param quiet: Show nothing.
    :param title: What is counted, such as "Export runs".
    """

    def __init__(self, quiet: bool, title: str) -> None:
        self.title = title
        self.total = self.total_bytes = 0
        self.done = self.done_bytes = 0
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._bar: Optional[Any] = None
        self._ticker: Optional[threading.Thread] = None
        self._drawn = 0.0
        if quiet:
            return
        if sys.stdout.isatty():
            self._bar, self._task = _live_bar(title)
        else:
            self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticker.start()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_total(self, n: int, bytes: int = 0) -> None:
        """Add to what there is to do: objects, and bytes of artifacts."""
        with self._lock:
            self.total += n
            self.total_bytes += bytes
            self._draw()

    def advance(self, n: int = 1, bytes: int = 0) -> None:
        """Add to what is done: objects, and bytes of artifacts."""
        with self._lock:
            self.done += n
            self.done_bytes += bytes
            self._draw()

    def close(self) -> None:
        """Stop showing. Closing again does nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._bar is not None:
            self._draw(at_once=True)
            self._bar.stop()
        if self._ticker is not None:
            self._ticker.join()

    def text(self) -> str:
        """Return the figures as one line, such as ``120 of 500 runs (24 %), 35.2/s, 11 s left, 1.5 MB``."""
        seconds = max(time.monotonic() - self._start, 1e-6)
        rate = self.done / seconds
        parts = [f"{self.done:,} of {self.total:,}"]
        if self.total:
            parts[0] += f" ({100 * self.done // self.total} %)"
        parts.append(f"{rate:.1f}/s")
        if self.done_bytes:
            of_total = f" of {megabytes(self.total_bytes)}" if self.total_bytes else ""
            parts.append(f"{megabytes(self.done_bytes)}{of_total} MB")
        if rate and self.total > self.done:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)

    def _draw(self, at_once: bool = False) -> None:
        if self._bar is None:
            return
        now = time.monotonic()
        if at_once or now - self._drawn > _SECONDS_BETWEEN_REDRAWS:
            self._drawn = now
            self._bar.update(self._task, total=self.total or None, completed=self.done, figures=self.text())

    def _tick(self) -> None:
        while not self._closed.wait(_SECONDS_BETWEEN_LINES):
            _log.info("%s: %s", self.title, self.text())


def _live_bar(title: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=Console(file=sys.stdout),
        redirect_stderr=False,
    )
    task = bar.add_task(title, total=None, figures="")
    bar.start()
    return bar, task


def megabytes(number: int) -> str:
    """Return a number of bytes in MiB, such as ``1,234.5``."""
    return f"{number / 2**20:,.1f}"


def duration(seconds: float) -> str:
    """Return seconds in words, such as ``5 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
