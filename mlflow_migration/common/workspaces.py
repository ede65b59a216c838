"""Workspaces of servers: which are meant, which of the destination they go into, and the directory that has them.

A workspace has names of its own for experiments, registered models and prompts, so each is a work of its own within
one command. Where none is named, a server means the one that is called ``default``; see ``client/tracking.py``.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput, Gone, MlflowExportImportException, Stopped
from mlflow_migration.client.servers import open_whole
from mlflow_migration.client.tracking import DEFAULT_WORKSPACE, Tracking
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope, get_info, get_mlflow
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import PartLedger
from mlflow_migration.common.rename_utils import get_renames, rename
from mlflow_migration.common.selection import ALL, choose_names, wanted_names

Json = Dict[str, Any]

WORKSPACE = "workspace"
WORKSPACES = "workspaces"
WORKSPACES_FILE = "workspaces.json"


class Pair(NamedTuple):
    """A workspace of the source, and the one of the destination that it goes into.

    :param src: Its name; empty where none is named: then it is the one that the variables say, if any.
    :param dst: The name there; likewise.
    :param description: That of the source's; None if the destination's may be another.
    """

    src: str = ""
    dst: str = ""
    description: Optional[str] = None

    def part(self, job: Job) -> Job:
        """Return the job of this pair: each of its records tells the workspace."""
        if not (self.src or self.dst):
            return job
        return replace(job, ledger=PartLedger(job.ledger, **self.about))

    @property
    def about(self) -> Dict[str, str]:
        """What tells the workspace in a record: its name at the source, and at the destination if that is another."""
        about = {WORKSPACE: self.src or self.dst} if self.src or self.dst else {}
        return {**about, **({"dst_workspace": self.dst} if self.src and self.dst not in ("", self.src) else {})}


class Arrival(NamedTuple):
    """What became of a workspace itself.

    :param status: As the ledger has them.
    :param reason: Why; None if that is clear.
    :param is_there: Something can be written into it: not where it would only be made.
    """

    status: str
    reason: Optional[str] = None
    is_there: bool = True


# -- which are meant ------------------------------------------------------------------------------------------------


def choose_workspaces(names: Any, there: Sequence[Json], where: str) -> List[Json]:
    """Return the workspaces that are meant.

    :param names: As :func:`wanted_names` takes them.
    :param there: Those that there are, as REST returns them.
    :param where: What has them, for messages.
    :raises BadInput: One is not there.
    """
    chosen, unknown = choose_names(wanted_names(names), [str(workspace["name"]) for workspace in there])
    if unknown:
        raise BadInput(f"{where} has no workspace '{unknown[0]}'.")
    return [workspace for workspace in there if workspace["name"] in chosen]


def workspaces_of(whole: Tracking, names: Any) -> List[Json]:
    """Return the workspaces of a server that are meant; see :func:`choose_workspaces`.

    :raises BadInput: The server has none, or not this one.
    """
    if not whole.has_workspaces():
        raise BadInput(f"{whole.uri} has no workspaces: leave out --workspaces.")
    return choose_workspaces(names, whole.workspaces(), whole.uri)


def pair_up(chosen: Optional[Sequence[Json]], options: Mapping[str, Any], destination: Tracking) -> List[Pair]:
    """Return which workspace goes into which.

    :param chosen: Those of the source; None if it has none, or none is named.
    :param options: ``workspace_rename_file`` and ``dst_workspace`` of the command.
    :param destination: The server that they go to.
    :raises BadInput: They can't go there.
    """
    into, file = options.get("dst_workspace"), options.get("workspace_rename_file")
    if into and file:
        raise BadInput("Give --dst-workspace or --workspace-rename-file, not both.")
    if file and chosen is None:
        raise BadInput("--workspace-rename-file is for a source with workspaces: name them by --workspaces.")
    has = destination.has_workspaces()
    if into and not has:
        raise BadInput(f"{destination.uri} has no workspaces: leave out --dst-workspace.")
    if chosen is None:
        return [Pair("", into or "")]
    if (into or not has) and len(chosen) != 1:
        why = "--dst-workspace takes one workspace" if into else f"{destination.uri} has no workspaces, so it takes one"
        raise BadInput(f"{why}, and {len(chosen)} are meant: name one by --workspaces.")
    if not has:
        if file:
            raise BadInput(f"{destination.uri} has no workspaces: leave out --workspace-rename-file.")
        return [Pair(str(chosen[0]["name"]))]
    if into:
        return [Pair(str(chosen[0]["name"]), into)]
    return _renamed(chosen, get_renames(file))


def _renamed(chosen: Sequence[Json], renames: Mapping[str, str]) -> List[Pair]:
    pairs: Dict[str, Pair] = {}
    for workspace in chosen:
        name = str(workspace["name"])
        new = rename(name, renames, WORKSPACE)
        if new in pairs:
            raise BadInput(f"Both '{pairs[new].src}' and '{name}' would become the workspace '{new}'.")
        pairs[new] = Pair(name, new, str(workspace.get("description") or ""))
    return list(pairs.values())


def are_named(options: Mapping[str, Any]) -> bool:
    """Tell whether any option of a command is about workspaces."""
    return any(options.get(name) for name in (WORKSPACES, "workspace_rename_file", "dst_workspace"))


@contextmanager
def paired_servers(options: Mapping[str, Any]) -> Iterator[Tuple[List[Pair], Optional[Tracking]]]:
    """Give which workspace of the source goes into which of the destination, and the destination as a whole.

    :param options: Those of a command with two servers. Without any about workspaces there is one pair without names,
        and None.
    :raises BadInput: They can't go there.
    """
    if not are_named(options):
        yield [Pair()], None
        return
    workers = int(options.get("workers") or 8)
    with open_whole(options.get("dst_mlflow_uri"), "dst", two_sided=True, workers=workers) as dst:
        chosen: Optional[List[Json]] = None
        if options.get(WORKSPACES):
            with open_whole(options.get("src_mlflow_uri"), "src", two_sided=True, workers=workers) as src:
                chosen = workspaces_of(src, options[WORKSPACES])
        pairs = pair_up(chosen, options, dst)
        renames = options.get("experiment_rename_file") or options.get("model_rename_file")
        if chosen is not None and src.rest.url == dst.rest.url and not renames:
            for pair in pairs:
                if pair.src == (pair.dst or DEFAULT_WORKSPACE):
                    raise BadInput(f"Source and destination are the same workspace '{pair.src}' of the same server.")
        yield pairs, dst


# -- one after the other --------------------------------------------------------------------------------------------


def each_pair(
    job: Job, pairs: Sequence[Pair], begin: Callable[[Job, Pair], Arrival], work: Callable[[Job, Pair], object]
) -> None:
    """Do the work of each workspace, and record what became of it.

    Where the source has no workspaces none is recorded, and errors are those of the command.

    :param begin: Makes the workspace, or tells what became of it.
    :param work: Moves what it holds; gets the job of the workspace.
    """
    for pair in pairs:
        if pair.src:
            job.ledger.expect(WORKSPACE, 1)
    for pair in pairs:
        part = pair.part(job)
        try:
            arrival = begin(part, pair)
            if arrival.is_there:
                work(part, pair)
        except (Stopped, Gone):
            raise
        except MlflowExportImportException as ex:
            if not pair.src:
                raise
            part.failed(WORKSPACE, pair.src, ex)
            continue
        if pair.src:
            part.ledger.record(
                WORKSPACE, arrival.status, pair.src, dst_id=pair.dst or None, reason=arrival.reason
            )  # fmt: skip


def arrive(job: Job, whole: Optional[Tracking], pair: Pair, options: Mapping[str, Any]) -> Arrival:
    """Make the destination's workspace if it is absent, and tell what became of it.

    :param whole: The destination's server; None if no workspace is named.
    :param options: ``on_destination_change`` of the command.
    """
    if whole is None or not pair.dst:
        return Arrival("copied")
    there = {str(workspace["name"]): workspace for workspace in whole.workspaces()}.get(pair.dst)
    if there is None and job.dry_run:
        job.ledger.note(f"The workspace '{pair.dst}' would be made and get everything, which is not counted here.")
        return Arrival("copied", is_there=False)
    if there is None:
        whole.create_workspace(pair.dst, pair.description or "")
        if not pair.src:
            job.ledger.note(f"The workspace '{pair.dst}' is new.")
        return Arrival("copied")
    if pair.description in (None, there.get("description") or ""):
        return Arrival("unchanged")
    if options.get("on_destination_change") != "overwrite":
        return Arrival("differs", "the destination's workspace has another description")
    if not job.dry_run:
        whole.describe_workspace(pair.dst, str(pair.description))
    return Arrival("updated")


# -- the directory --------------------------------------------------------------------------------------------------


def place_of(directory: ExportDir, name: str) -> ExportDir:
    """Return the directory of a workspace within that of an export."""
    return directory.sub(WORKSPACES, safe_name(name))


def has_list(directory: ExportDir) -> bool:
    """Tell whether a directory is an export of workspaces."""
    return directory.sub(WORKSPACES).exists(WORKSPACES_FILE)


def read_list(directory: ExportDir) -> Tuple[List[Json], List[str]]:
    """Return the workspaces of an export, as REST returns them, and the names of those whose export failed.

    :raises BadDirectory: The list can't be read.
    """
    doc = directory.sub(WORKSPACES).read_json(WORKSPACES_FILE)
    listed = get_mlflow(doc).get(WORKSPACES)
    failed = get_info(doc).get("failed_workspaces") or []
    is_list = isinstance(listed, list) and all(isinstance(one, dict) and _is_name(one.get("name")) for one in listed)
    if not is_list or not isinstance(failed, list) or not all(map(_is_name, failed)):
        raise BadDirectory(f"{directory.path}/{WORKSPACES}/{WORKSPACES_FILE} is no list of workspaces")
    return list({one["name"]: one for one in listed or ()}.values()), failed


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def write_list(directory: ExportDir, script: str, uri: str, done: Sequence[Json], failed: Sequence[str]) -> None:
    """Write which workspaces an export consists of; those of earlier exports stay.

    :param done: Those that are exported now, as REST returns them.
    :param failed: Names of those that could not be.
    """
    before, _ = read_list(directory) if has_list(directory) else ([], [])
    listed = {workspace["name"]: workspace for workspace in [*before, *done]}
    names = sorted(name for name in listed if name not in failed)
    info = {"num_workspaces": len(names), "failed_workspaces": sorted(failed)}
    body = {WORKSPACES: [listed[name] for name in names]}
    directory.sub(WORKSPACES).write_json(WORKSPACES_FILE, envelope(script, body, info, tracking_uri=uri))


def chosen_of(directory: ExportDir, names: Any) -> Tuple[Optional[List[Json]], List[str]]:
    """Return the workspaces of an export that are meant, and those that are meant and not there as they failed.

    :param names: As :func:`wanted_names` takes them; None means all.
    :return: None and nothing if it is no export of workspaces.
    :raises BadInput: They are named and not there.
    """
    if not has_list(directory):
        if names:
            raise BadInput(f"{directory.path} holds no workspaces: leave out --workspaces.")
        return None, []
    listed, failed = read_list(directory)
    both = [*listed, *({"name": name} for name in failed)]
    meant = choose_workspaces(names or ALL, both, directory.path)
    return [one for one in meant if one["name"] not in failed], [one["name"] for one in meant if one["name"] in failed]
