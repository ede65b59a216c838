"""Opens what a command with one side works on, for console scripts and for the functions beside them."""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.servers import open_both, open_tracking, open_whole
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rights import check_registry_rights, check_rights, note_databricks_options
from mlflow_migration.common.session import input_dir, open_job, report_dir, run_command, tell, write_reports
from mlflow_migration.common.workspaces import (
    WORKSPACE,
    Arrival,
    Pair,
    are_named,
    arrive,
    chosen_of,
    each_pair,
    has_list,
    pair_up,
    place_of,
    read_list,
    workspaces_of,
    write_list,
)


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
    :param around: What :func:`import_script` was told to have around the work.
    """

    job: Job
    tracking: Tracking
    registry: Registry
    directory: ExportDir
    id_map: IdMap
    reports: ExportDir
    around: Any = None


def export_script(name: str, options: Mapping[str, Any], title: str, work: Callable[[Source], object]) -> int:
    """Do the work of an exporting console script and return its exit status.

    :param options: Those of the command; one with ``registry_uri`` uses a registry.
    :param title: What is counted, for the progress.
    """
    directory = ExportDir(options["output_dir"])

    def export(job: Job, place: ExportDir, workspace: str = "") -> None:
        dry_run, with_registry = bool(options["dry_run"]), "registry_uri" in options
        with _servers(options, "src", dry_run, None, with_registry, workspace) as sides:
            _check(job, sides, options, "read")
            work(Source(job, *sides, place))

    def body(job: Job) -> None:
        if options.get("workspaces"):
            _export_workspaces(name, job, options, directory, export)
            return
        if "workspaces" in options and has_list(directory):
            raise BadInput(f"{directory.path} holds an export of workspaces: give --workspaces or another directory.")
        export(job, directory)

    reports = report_dir(options["report_dir"], directory, options["dry_run"])
    return run_command(name, options, reports, title, body)


def import_script(
    name: str,
    options: Mapping[str, Any],
    title: str,
    work: Callable[[Destination], object],
    around: Optional[Callable[[Job, ExportDir], ContextManager[Any]]] = None,
) -> int:
    """Do the work of an importing console script and return its exit status; as :func:`export_script` else.

    :param around: Gets the job and the directory for reports, and gives what is around the work on all workspaces.
    """
    directory = input_dir(options["input_dir"])
    reports = report_dir(options["report_dir"], directory, options["dry_run"])

    def load(job: Job, place: ExportDir, value: Any, workspace: str = "") -> None:
        with _servers(options, "dst", job.dry_run, None, "registry_uri" in options, workspace) as sides:
            _check(job, sides, options, "write")
            with closing(IdMap(reports, sides[0].identity, writable=not job.dry_run)) as id_map:
                work(Destination(job, *sides, place, id_map, reports, value))

    def body(job: Job) -> None:
        with around(job, reports) if around else nullcontext() as value:
            if "workspaces" in options and (are_named(options) or has_list(directory)):
                _import_workspaces(job, options, directory, load, value)
            else:
                load(job, directory, value)

    return run_command(name, options, reports, title, body)


def _export_workspaces(
    name: str, job: Job, options: Mapping[str, Any], directory: ExportDir, export: Callable[..., None]
) -> None:
    """Export the workspaces that are named, each into a directory of its own."""
    if directory.exists("manifest.json"):
        raise BadInput(f"{directory.path} holds an export without workspaces: give another directory.")
    with open_whole(options["tracking_uri"], "src", workers=options["workers"]) as whole:
        chosen = {str(workspace["name"]): workspace for workspace in workspaces_of(whole, options["workspaces"])}
        uri = whole.uri
    before = {one["name"]: one for one in (read_list(directory)[0] if has_list(directory) else ())}
    done: List[str] = []

    def begin(_: Job, pair: Pair) -> Arrival:
        same = before.get(pair.src) == chosen[pair.src]
        return Arrival("unchanged" if same else "updated" if pair.src in before else "copied")

    def work(part: Job, pair: Pair) -> None:
        export(part, place_of(directory, pair.src), pair.src)
        done.append(pair.src)

    each_pair(job, [Pair(found) for found in chosen], begin, work)
    if not job.dry_run:
        failed = [found for found in chosen if found not in done]
        write_list(directory, name.replace("-", "_") + ".py", uri, [chosen[found] for found in done], failed)


def _import_workspaces(
    job: Job, options: Mapping[str, Any], directory: ExportDir, load: Callable[..., None], value: Any
) -> None:
    """Import each workspace of a directory, or all of one without workspaces into one that is named."""
    chosen, failed = chosen_of(directory, options["workspaces"])
    with open_whole(options["tracking_uri"], "dst", workers=options["workers"]) as whole:
        pairs = pair_up(chosen, options, whole)
        for name in failed:
            job.ledger.expect(WORKSPACE, 1)
            job.failed(WORKSPACE, name, BadDirectory("its export failed: it is not whole in the directory"))

        def work(part: Job, pair: Pair) -> None:
            load(part, place_of(directory, pair.src) if pair.src else directory, value, pair.dst)

        each_pair(job, pairs, lambda part, pair: arrive(part, whole, pair, options), work)


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
    options: Mapping[str, Any], side: str, dry_run: bool, mlflow_client: Any, with_registry: bool, workspace: str = ""
) -> Iterator[Tuple[Tracking, Registry]]:
    how: Dict[str, Any] = {
        "workers": int(options.get("workers") or 8),
        "mlflow_client": mlflow_client,
        "dry_run": dry_run and side == "dst",
        "workspace": workspace or None,
    }
    if with_registry:
        with open_both(options.get("tracking_uri"), options.get("registry_uri"), side, **how) as sides:
            yield sides
        return
    with open_tracking(options.get("tracking_uri"), side, **how) as tracking:
        yield tracking, Registry(tracking, tracking)


def _check(job: Job, sides: Tuple[Tracking, Registry], options: Mapping[str, Any], action: str) -> None:
    """Say what may be missing for lack of rights."""
    require_admin = bool(options.get("require_admin"))
    check_rights(sides[0], job.ledger, require_admin, action)
    check_registry_rights(sides[1], job.ledger, require_admin, action)
    note_databricks_options(job.ledger, options, sides[0], sides[1].server)
