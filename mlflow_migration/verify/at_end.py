"""Verifies at the end of a copy or an import what it has done, as verify-migration does."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.verify.directory_side import DirectorySide
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.server_side import ServerSide
from mlflow_migration.verify.verify_migration import Verifier, how_of, selection_of

NOT_AT_ALL = "none"

_Side = Tuple[Tracking, Registry]


class Check:
    """The verification of one command.

    What the command itself has told to be not whole is expected to differ, and does not count.

    :param options: Those of the command.
    :param report: Gets the results; None if nothing is to be verified.
    """

    def __init__(self, options: Mapping[str, Any], report: Optional[Report]) -> None:
        self._options, self._report = options, report

    def servers(self, job: Job, src: _Side, dst: _Side, id_map: IdMap) -> None:
        """Compare two servers, as far as the options select what they have.

        :param job: Of the command, or of a part of its work.
        :param src: Tracking server and registry of the source.
        :param dst: Those of the destination.
        :param id_map: What the copy has written.
        """
        between = (self._options.get("run_start_time"), self._options.get("runs_until"))
        self._compare(job, ServerSide(*src, job.executor, started=between), dst, id_map)

    def directory(self, job: Job, directory: ExportDir, dst: _Side, id_map: IdMap) -> None:
        """Compare all of a directory with a server; as :meth:`servers` else."""
        full = self._options.get("verify") == "full"
        self._compare(job, DirectorySide(directory, job.executor, full), dst, id_map)

    def _compare(self, job: Job, src: Any, dst: _Side, id_map: IdMap) -> None:
        if self._report is None:
            return
        job.ledger.phase("verifying")
        if not self._report.sides:
            self._report.begin(source=src.uri, destination=dst[0].uri)
        there = ServerSide(*dst, job.executor)
        selection = selection_of(self._options, lenient=True)
        with self._report.part(job.ledger.told, **job.ledger.about):
            Verifier(job, src, there, [id_map], selection, how_of(self._options), self._report).verify()


@contextmanager
def check_at_end(job: Job, options: Mapping[str, Any], reports: Optional[ExportDir]) -> Iterator[Check]:
    """Give what verifies the work of a command; its result goes into the ledger, and so into the exit status.

    :param options: Those of the command; ``verify`` says how closely.
    :param reports: Where the files go.
    """
    depth = options.get("verify")
    if depth in (None, NOT_AT_ALL) or job.dry_run:
        yield Check(options, None)
        return
    facts: Dict[str, Any] = {**options, "depth": depth}
    report = Report(reports, facts)
    try:
        yield Check(facts, report)
    except BaseException as ex:
        report.stop(ex)
        raise
    finally:
        report.close()
        if report.begun:
            job.ledger.verified(report.facts(), report.text())
