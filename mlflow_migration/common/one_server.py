"""Opens what a command with one side works on, for console scripts and for the functions beside them."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Optional, Tuple

from mlflow_migration.client.registry import Registry
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rights import check_registry_rights, check_rights, note_databricks_options
from mlflow_migration.common.session import input_dir, open_job, report_dir, run_command, tell, write_reports


@dataclass(frozen=True)
class Source:
    """What an export works on.

    :param job: Ledger, threads, progress.
    :param tracking: The server with the runs.
    :param registry: The model registry that belongs to it.
    :param directory: Where to.
    """

    job: Job
    tracking: Tracking
    registry: Registry
    directory: ExportDir


@dataclass(frozen=True)
class Destination:
    """What an import works on.

    :param job: Ledger, threads, progress.
    :param tracking: The server for the runs.
    :param registry: The model registry that belongs to it.
    :param directory: Where from.
    :param id_map: What earlier imports did.
    :param reports: Where ledger and id map are.
    """

    job: Job
    tracking: Tracking
    registry: Registry
    directory: ExportDir
    id_map: IdMap
    reports: ExportDir


def export_script(name: str, options: Mapping[str, Any], title: str, work: Callable[[Source], object]) -> int:
    """Do the work of an exporting console script and return its exit status.

    :param options: Those of the command; one with ``registry_uri`` uses a registry.
    :param title: What is counted, for the progress.
    """
    directory = ExportDir(options["output_dir"])

    def body(job: Job) -> None:
        with _servers(options, "src", bool(options["dry_run"]), None, "registry_uri" in options) as sides:
            _check(job, sides, options, "read")
            work(Source(job, *sides, directory))

    reports = report_dir(options["report_dir"], directory, options["dry_run"])
    return run_command(name, options, reports, title, body)


def import_script(name: str, options: Mapping[str, Any], title: str, work: Callable[[Destination], object]) -> int:
    """Do the work of an importing console script and return its exit status; as :func:`export_script` else."""
    directory = input_dir(options["input_dir"])
    reports = report_dir(options["report_dir"], directory, options["dry_run"])

    def body(job: Job) -> None:
        with _servers(options, "dst", job.dry_run, None, "registry_uri" in options) as sides:
            _check(job, sides, options, "write")
            with closing(IdMap(reports, sides[0].identity, writable=not job.dry_run)) as id_map:
                work(Destination(job, *sides, directory, id_map, reports))

    return run_command(name, options, reports, title, body)


@contextmanager
def exporting(
    name: str, output_dir: str, options: Mapping[str, Any], mlflow_client: Any, title: str = "runs", **about: Any
) -> Iterator[Source]:
    """Give what an exporting function works on; its summary is logged if anything is not whole.

    :param name: Name of the function, for the ledger.
    :param options: As a command has them; one with ``registry_uri`` uses a registry.
    :param mlflow_client: Decides servers and credentials; None for what the environment says.
    :param title: What is counted, for the progress.
    :param about: What else is to be in the ledger.
    """
    directory = ExportDir(output_dir)
    with _servers(options, "src", False, mlflow_client, "registry_uri" in options) as sides:
        with _job(directory, name, {"output_dir": output_dir, **about, **options}, title) as job:
            yield Source(job, *sides, directory)


@contextmanager
def importing(
    name: str,
    given: str,
    reports: Optional[str],
    options: Mapping[str, Any],
    mlflow_client: Any,
    title: str = "runs",
    **about: Any,
) -> Iterator[Destination]:
    """Give what an importing function works on; as :func:`exporting` else.

    :param given: Path of the directory to import from.
    :param reports: That of the directory for ledger and id map, or None.
    :raises BadInput: There is no such directory.
    """
    directory = input_dir(given)
    place = report_dir(reports, directory)
    with _servers(options, "dst", False, mlflow_client, "registry_uri" in options) as sides:
        with _job(place, name, {"input_dir": given, **about, **options}, title) as job:
            with closing(IdMap(place, sides[0].identity)) as id_map:
                yield Destination(job, *sides, directory, id_map, place)


@contextmanager
def _job(directory: ExportDir, name: str, options: Mapping[str, Any], title: str) -> Iterator[Job]:
    ledger = Ledger(directory, name, options)
    try:
        with ledger:
            with open_job(ledger, title, {**options, "quiet": True}) as job:
                yield job
            tell(ledger)
    finally:
        if ledger.begun:
            write_reports(ledger, directory)


@contextmanager
def _servers(
    options: Mapping[str, Any], side: str, dry_run: bool, mlflow_client: Any, with_registry: bool
) -> Iterator[Tuple[Tracking, Registry]]:
    workers = int(options.get("workers") or 8)
    dry_run = dry_run and side == "dst"
    with ExitStack() as stack:
        tracking = stack.enter_context(
            open_tracking(
                options.get("tracking_uri"), side, workers=workers, mlflow_client=mlflow_client, dry_run=dry_run
            )
        )
        registry = Registry(tracking, tracking)
        if with_registry:
            registry = stack.enter_context(
                open_registry(tracking, options.get("registry_uri"), side, workers=workers, dry_run=dry_run)
            )
        yield tracking, registry


def _check(job: Job, sides: Tuple[Tracking, Registry], options: Mapping[str, Any], action: str) -> None:
    """Say what may be missing for lack of rights."""
    require_admin = bool(options.get("require_admin"))
    check_rights(sides[0], job.ledger, require_admin, action)
    check_registry_rights(sides[1], job.ledger, require_admin, action)
    note_databricks_options(job.ledger, options)
