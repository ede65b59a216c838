"""What one run of a command carries along: its ledger, its threads, its progress, and how it treats failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

from mlflow_migration.client.errors import NotFound, describe
from mlflow_migration.common.engine import Engine
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress
from mlflow_migration.common.store_copies import StoreCopies


@dataclass
class Job:
    """One run of a command.

    :param ledger: Where the fate of each object is recorded.
    :param executor: The threads that do the work.
    :param progress: What is shown meanwhile.
    :param dry_run: Write nothing, only tell what would be done.
    :param fail_fast: Start nothing more after the first failure.
    :param copies: In a copy: what lets stores copy artifacts themselves.
    :param engine: The workers of a cluster that go ahead with runs; None if this machine does all.
    :param principals: Which users, groups and service principals of a workspace have been found to exist.
    """

    ledger: Ledger
    executor: Executor
    progress: Progress
    dry_run: bool = False
    fail_fast: bool = False
    copies: Optional[StoreCopies] = None
    engine: Optional[Engine] = None
    principals: Dict[Tuple[str, str, str], bool] = field(default_factory=dict)

    def failed(self, kind: str, src_id: Optional[str], ex: BaseException, **details: Any) -> None:
        """Record an object that could not be moved."""
        self.ledger.record(kind, "failed", src_id, reason=describe(ex), **details)
        if self.fail_fast:
            self.executor.stop("--fail-fast")

    def gone(self, kind: str, src_id: str) -> None:
        """Record an object that has not changed at the source, but whose copy is not at the destination any more."""
        text = "it is gone from the destination; --recheck full copies it again"
        self.failed(kind, src_id, NotFound(text, http_status_code=404))

    def lost(self, kind: str, src_id: str, ex: BaseException, loss: str, **details: Any) -> None:
        """Record a part of an object that could not be moved, unless the user accepts this kind of loss.

        :param loss: One of options.LOSS_KINDS.
        """
        if self.ledger.accepts(loss):
            self.ledger.record(kind, "skipped", src_id, reason=f"--accept-loss {loss}: {describe(ex)}", **details)
        else:
            self.failed(kind, src_id, ex, **details)
