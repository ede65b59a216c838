"""What copies share: a temporary directory, and one ledger for both halves."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Callable, ContextManager, Iterator, Mapping, Optional, TypeVar

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger, PassingLedger
from mlflow_migration.common.rights import check_rights, note_databricks_options
from mlflow_migration.common.session import report_dir, run_command
from mlflow_migration.common.store_copies import StoreCopies
from mlflow_migration.common.two_servers import two_servers
from mlflow_migration.common.workspaces import Pair, arrive, each_pair, paired_servers

T = TypeVar("T")


class HalfLedger(PassingLedger):
    """The ledger of one half of a copy: passes on to the ledger of the whole what the other half can't know.

    :param whole: The ledger of the copy.
    :param passes: Tells by kind and status whether a record counts for the whole.
    :param expects: Whether the numbers expected by this half count for the whole.
    """

    def __init__(self, whole: Ledger, passes: Callable[[str, str], bool], expects: Callable[[str], bool]) -> None:
        super().__init__(whole)
        self._passes, self._expects = passes, expects

    def record(self, kind: str, status: str, src_id: Optional[str] = None, **details: Any) -> None:
        """Record for the whole, if it counts there."""
        if self._passes(kind, status):
            super().record(kind, status, src_id, **details)

    def add(self, **amounts: int) -> None:
        """Add for the whole what only this half can tell: what is carried, or what the source has lost."""
        carried = self._passes("artifact", "copied")
        super().add(**{name: amount for name, amount in amounts.items() if carried or name == "gone"})

    def phase(self, name: str, *, whole: bool = False) -> None:
        """Begin no part of the whole."""
        # both halves work at the same time: what they are about says nothing of the time that it takes

    def expect(self, kind: str, n: int) -> None:
        """Expect for the whole, if that counts there."""
        if self._expects(kind):
            super().expect(kind, n)


def export_half(job: Job) -> Job:
    """Return the job of the exporting half: it tells how many there are, and which never reach the import."""

    def passes(kind: str, status: str) -> bool:
        return status in ("failed", "skipped")

    return replace(job, ledger=HalfLedger(job.ledger, passes, lambda kind: True), copies=_copies(job))


def import_half(job: Job) -> Job:
    """Return the job of the importing half: it tells what became of each object."""
    ledger = HalfLedger(job.ledger, lambda kind, status: True, lambda kind: False)
    return replace(job, ledger=ledger, copies=_copies(job))


def _copies(job: Job) -> StoreCopies:
    """Return what both halves of a copy share: the one leaves artifacts where they are, the other has them copied."""
    job.copies = job.copies or StoreCopies(job.ledger)
    return job.copies


@contextmanager
def way_station(given: Optional[str]) -> Iterator[ExportDir]:
    """Give the directory in which objects lie on their way.

    :param given: ``--temp-dir``: used and left as it is; without it a new one is made and removed at the end.
    """
    if given:
        directory = ExportDir(given)
        directory.make()
        yield directory
        return
    path = tempfile.mkdtemp(prefix="mlflow-migration-")
    try:
        yield ExportDir(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run_copy(
    name: str,
    options: Mapping[str, Any],
    title: str,
    work: Callable[[Job, Tracking, Tracking, IdMap], object],
) -> int:
    """Do the work of a copying console script and return its exit status.

    :param work: Gets the job, the source, the destination and the id map.
    """

    def of_pair(job: Job, src: Tracking, dst: Tracking, id_map: IdMap, _pair: Pair, _value: None) -> None:
        work(job, src, dst, id_map)

    return run_copies(name, options, title, of_pair, lambda _: nullcontext())


def run_copies(
    name: str,
    options: Mapping[str, Any],
    title: str,
    work: Callable[[Job, Tracking, Tracking, IdMap, Pair, T], object],
    around: Callable[[Job], ContextManager[T]],
) -> int:
    """Do the work of a copying console script for each pair of workspaces that its options name.

    :param work: As of :func:`run_copy`; gets also the pair, and what ``around`` gives.
    :param around: What is around the work on all pairs.
    """
    reports = report_dir(options.get("report_dir"), None)

    def copy(job: Job, pair: Pair, value: T) -> None:
        with two_servers(options, pair=pair) as (src, dst):
            for tracking, action in ((src, "read"), (dst, "write")):
                check_rights(tracking, job.ledger, bool(options.get("require_admin")), action)
            both = all(tracking.rest.connection.is_databricks for tracking in (src, dst))
            note_databricks_options(job.ledger, options, *((src, dst) if both else ()))
            with closing(IdMap(reports, dst.identity, writable=not job.dry_run)) as id_map:
                job.ledger.phase("copying")
                work(job, src, dst, id_map, pair, value)

    def body(job: Job) -> None:
        with around(job) as value, paired_servers(options) as (pairs, whole):
            each_pair(
                job, pairs, lambda part, pair: arrive(part, whole, pair, options),
                lambda part, pair: copy(part, pair, value),
            )  # fmt: skip

    return run_command(name, options, reports, title, body)


def refuse_reference(options: Mapping[str, Any]) -> None:
    """Refuse to reference artifacts where runs are what is copied.

    :raises BadInput: That is asked for.
    """
    if options.get("artifacts") == "reference":
        raise BadInput(
            "--artifacts reference keeps the source of model versions; a run can't keep its artifacts where they are,"
            " as the destination's experiment fixes the artifact root of its runs. Give copy or skip."
        )


def refuse_same(src: Tracking, dst: Tracking, src_experiment: str, dst_experiment: Optional[str]) -> None:
    """Refuse to copy an experiment onto itself.

    :raises BadInput: Source and destination are the same.
    """
    if src.identity == dst.identity and src_experiment == dst_experiment:
        raise BadInput("Source and destination are the same experiment of the same server.")
