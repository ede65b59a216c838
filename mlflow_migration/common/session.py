"""Opens and ends one run of a command: ledger, threads, progress."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, Mapping, Optional

from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, describe
from mlflow_migration.common import log
from mlflow_migration.common.cli import finish
from mlflow_migration.common.engine import open_engine
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import LEDGER_FILE, Ledger
from mlflow_migration.common.progress import Progress
from mlflow_migration.common.report import REPORT_FILES, write_report

REPORT_DIR = "mlflow-migration-report"

_log = log.getLogger(__name__)


def input_dir(path: str) -> ExportDir:
    """Return the directory to import from.

    :raises BadInput: There is none.
    """
    directory = ExportDir(path)
    if not directory.exists():
        raise BadInput(f"There is no directory {path} to import from.")
    return directory


def report_dir(given: Optional[str], fallback: Optional[ExportDir], dry_run: bool = False) -> ExportDir:
    """Return the directory for ledger and id map.

    :param given: ``--report-dir``.
    :param fallback: The directory of the export, which is taken if it can be written to; else ``REPORT_DIR`` below
        the working directory is.
    :param dry_run: Nothing will be written, so that is not tried.
    """
    if given:
        return ExportDir(given)
    if fallback is not None and (dry_run or _writable(fallback)):
        return fallback
    return ExportDir(REPORT_DIR)


def _writable(directory: ExportDir) -> bool:
    if not directory.is_local:
        try:
            directory.make()
        except BadDirectory:
            return False
        return True
    path = os.path.abspath(directory.path)
    while not os.path.exists(path):  # an export makes its directory
        path = os.path.dirname(path)
    return os.access(path, os.W_OK)


@contextmanager
def open_job(ledger: Ledger, title: str, options: Mapping[str, Any]) -> Iterator[Job]:
    """Give a job with its threads and progress, and end both.

    :param options: Those of the command: workers, quiet, dry_run, fail_fast, engine, engine_address; what is absent
        has its default.
    :raises BadInput: The engine can't be used.
    """
    with open_engine(options) as engine, Progress(bool(options.get("quiet")), title) as progress, Executor(
        int(options.get("workers") or 8)
    ) as executor:
        yield Job(
            ledger, executor, progress, dry_run=bool(options.get("dry_run")), fail_fast=bool(options.get("fail_fast")),
            engine=engine,
        )  # fmt: skip


def tell(ledger: Ledger) -> None:
    """Log the summary of a function's work if anything is not whole: functions print none."""
    if ledger.exit_status:
        _log.warning("%s", ledger.summary())


def run_command(
    name: str, options: Mapping[str, Any], directory: Optional[ExportDir], title: str, work: Callable[[Job], object]
) -> int:
    """Do the work of a console script and return its exit status; the summary is printed.

    :param directory: Where the ledger goes; None keeps it in memory.
    :param title: What is counted, for the progress.
    """
    directory = None if options.get("dry_run") else directory
    is_new = directory is not None and directory.is_local and not directory.exists()
    ledger = Ledger(directory, name, options, accept_loss=options.get("accept_loss") or ())

    def body() -> None:
        with open_job(ledger, title, options) as job:
            work(job)

    def report() -> None:
        if directory is not None:
            write_reports(ledger, directory)

    try:
        return finish(ledger, body, closed=report)
    except MlflowExportImportException:
        if directory is not None and is_new and not ledger.begun:
            _remove(directory)
        raise


def write_reports(ledger: Ledger, directory: ExportDir) -> None:
    """Write report.json and report.html beside a ledger that is closed; that it can't be done is only logged."""
    # by the executor, as nothing that goes wrong here may hide what the command did
    outcome = Executor(1).gather(write_report, [directory])[0]
    if outcome.error is not None:
        _log.warning("The report is not written: %s", describe(outcome.error))
        _log.debug("Where it arose:", exc_info=outcome.error)
    ledger.report = outcome.value


def _remove(directory: ExportDir) -> None:
    """Remove a new directory again, as the command could not start; what else is in it stays."""
    for name in (LEDGER_FILE, *REPORT_FILES):
        with suppress(OSError):
            os.unlink(os.path.join(directory.path, name))
    with suppress(OSError):
        os.rmdir(directory.path)
