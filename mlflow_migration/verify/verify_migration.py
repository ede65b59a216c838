"""Tells whether a copy is whole: server against server, a directory against a server, or a directory by itself.

It only reads. It shares no code with what imports write and compare.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

from mlflow_migration.client.errors import BadDirectory, BadInput, describe
from mlflow_migration.client.servers import open_both, open_whole
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.artifacts import ArtifactFilter
from mlflow_migration.common.cli import command, finish
from mlflow_migration.common.executor import Outcome
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.permissions import principals_of
from mlflow_migration.common.rename_utils import get_renames, rename
from mlflow_migration.common.rights import check_registry_rights, check_rights
from mlflow_migration.common.selection import choose_names, wanted_names
from mlflow_migration.common.session import input_dir as existing_dir
from mlflow_migration.common.session import open_job, report_dir
from mlflow_migration.common.two_servers import two_registries, two_servers
from mlflow_migration.common.workspaces import (
    WORKSPACE,
    Pair,
    are_named,
    chosen_of,
    has_list,
    pair_up,
    paired_servers,
    place_of,
)
from mlflow_migration.verify.compare import How
from mlflow_migration.verify.datasets import DatasetsVerifier
from mlflow_migration.verify.directory_check import DirectoryCheck
from mlflow_migration.verify.directory_side import DirectorySide
from mlflow_migration.verify.experiment_verifier import ExperimentVerifier
from mlflow_migration.verify.kinds import SPECS, KindsVerifier, Spec
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import EXPERIMENT, MODEL, PROMPT, TRACE, Thing
from mlflow_migration.verify.registry_verifier import RegistryVerifier
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.server_side import ServerSide
from mlflow_migration.verify.trace_verifier import TraceVerifier

Names = Union[str, Sequence[str], None]
_WORDS = {MODEL: "registered model", PROMPT: "prompt"}
_DELETED_EXPERIMENT = "deleted at the source, without a copy; --export-deleted-experiments counts them as missing"


@dataclass(frozen=True)
class Selection:
    """Which objects of the source are compared, and what they are called at the destination.

    :param experiments: Names or ids, beginnings with ``*``, ``all``, or a .txt file. None is none, unless all of
        these are None: then everything is compared.
    :param models: Names of registered models, likewise.
    :param prompts: Names of prompts, likewise.
    :param evaluation_datasets: Names or ids of evaluation datasets, likewise.
    :param experiment_renames: What replaces which beginning of an experiment's name.
    :param model_renames: The same for registered models.
    :param lenient: What is named and not there is left to who has named it.
    """

    experiments: Names = None
    models: Names = None
    prompts: Names = None
    evaluation_datasets: Names = None
    experiment_renames: Mapping[str, str] = field(default_factory=dict)
    model_renames: Mapping[str, str] = field(default_factory=dict)
    lenient: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing is named, so that everything is wanted."""
        return all(one is None for one in (self.experiments, self.models, self.prompts, self.evaluation_datasets))

    def wanted(self, given: Names) -> List[str]:
        """Return the names of one kind; empty if none is wanted."""
        if given is None:
            return ["all"] if self.is_everything else []
        return wanted_names(given)


class Verifier:
    """Compares a source with a destination.

    :param job: Threads and progress.
    :param src: The source.
    :param dst: The destination.
    :param id_maps: What imports have written about the destination.
    :param selection: What is compared.
    :param how: How it is compared.
    :param report: Gets the results.
    """

    def __init__(
        self,
        job: Job,
        src: Any,
        dst: ServerSide,
        id_maps: Sequence[IdMap],
        selection: Selection,
        how: How,
        report: Report,
    ) -> None:
        self._job, self._src, self._dst, self._how, self._report = job, src, dst, how, report
        self._selection = selection
        self._links = Links(src, dst, id_maps)
        self._experiments = ExperimentVerifier(job, src, dst, self._links, how, report)
        self._names: Optional[Dict[str, str]] = None

    def verify(self) -> bool:
        """Compare everything that is selected.

        :return: Whether there was anything.
        :raises BadInput: What is selected is not at the source, or source and destination are the same.
        """
        experiments = self._chosen_experiments()
        models = self._chosen(self._selection.models, self._src.models(), _WORDS[MODEL])
        prompts = self._chosen(self._selection.prompts, self._src.prompts(), _WORDS[PROMPT])
        datasets = self._chosen_datasets()
        loose = isinstance(self._src, DirectorySide) and bool(self._src.parts.loose or self._src.parts.traces)
        self._job.progress.add_total(len(models) + len(prompts) + len(datasets))
        pairs = [(src, dst) for src in experiments for dst in self._copies(src)]
        for _, dst in pairs:
            self._experiments.index(dst.id)
        for outcome in map(self._guarded, pairs):
            if outcome.error is not None:
                self._report.broken(outcome.item[0], outcome.error)
        if loose:
            self._experiments.loose()
        self._traces(pairs, loose)
        registry = RegistryVerifier(
            self._job, self._src, self._dst, self._links, self._how, self._report, self._experiments.compared,
            self._experiment_ids,
        )  # fmt: skip
        for kind, names in ((MODEL, models), (PROMPT, prompts)):
            for name in names:
                self._registered(registry, kind, name)
        DatasetsVerifier(
            self._job, self._src, self._dst, self._links, self._how.depth, self._report, self._experiment_ids
        ).compare(datasets)
        if self._selection.is_everything:
            self._kinds({dst.id for _, dst in pairs})
        return bool(self._report.begun or experiments or models or prompts or datasets or loose)

    def _traces(self, pairs: Sequence[Tuple[Thing, Thing]], loose: bool) -> None:
        """Compare the traces of all experiments: what they name has been compared by now."""
        verifier = TraceVerifier(
            self._job, self._src, self._dst, self._links, self._how, self._report, self._experiments.compared,
            self._experiments.left_out, self._experiment_ids, lambda name: self._new_names(PROMPT, name),
        )  # fmt: skip
        for _, dst in pairs:
            verifier.index(dst.id)
        for src, dst in pairs:
            for outcome in self._job.executor.gather(lambda pair: verifier.experiment(*pair), [(src, dst)]):
                if outcome.error is not None:
                    reason = f"those of experiment {src.name}: {describe(outcome.error)}"
                    self._report.record(TRACE, "error", reason=reason)
        if loose:
            verifier.loose()

    def _kinds(self, scopes: Set[str]) -> None:
        """Compare what a server has beside these."""
        verifier = KindsVerifier(
            self._links, self._report, self._how.depth, self._experiment_ids, self._new_names, scopes
        )

        def compare(spec: Spec) -> None:
            ours = self._src.objects(spec)
            if ours is None:
                return
            theirs = self._dst.objects(spec, there=True)
            verifier.compare(spec, ours, theirs or ([], {}))

        for outcome in self._job.executor.gather(compare, SPECS):
            if outcome.error is not None:
                self._report.broken(Thing(outcome.item.kind, outcome.item.plural), outcome.error)

    def _guarded(self, pair: Tuple[Thing, Thing]) -> Outcome[Tuple[Thing, Thing], None]:
        """Compare an experiment; if its runs can't even be listed, the others are compared nevertheless."""
        return self._job.executor.gather(lambda item: self._experiments.experiment(*item), [pair])[0]

    def _registered(self, registry: RegistryVerifier, kind: str, name: str) -> None:
        new_names = self._new_names(kind, name)
        if name in new_names and self._is_one_registry():
            raise BadInput(f"Source and destination are the same {_WORDS[kind]} '{name}' of one server.")
        for outcome in self._job.executor.gather(lambda new: registry.registered(kind, name, new), new_names):
            if outcome.error is not None:
                self._report.broken(Thing(kind, name), outcome.error)

    def _is_one_registry(self) -> bool:
        return isinstance(self._src, ServerSide) and self._src.registry_identity == self._dst.registry_identity

    # -- what is compared with what -----------------------------------------------------------------------------

    def _chosen(self, given: Names, names: Iterable[str], what: str) -> List[str]:
        wanted = self._selection.wanted(given)
        if not wanted:
            return []
        chosen, unknown = choose_names(wanted, names)
        if unknown and not self._selection.lenient:
            raise BadInput(f"{self._src.uri} has no {what} '{unknown[0]}'.")
        return chosen

    def _chosen_datasets(self) -> List[Thing]:
        given = self._selection.evaluation_datasets
        there = self._src.datasets() if self._selection.wanted(given) else []
        names = dict.fromkeys([one.name for one in there] + [one.id for one in there])
        chosen = set(self._chosen(given, names, "evaluation dataset"))
        return [one for one in there if one.name in chosen or one.id in chosen]

    def _chosen_experiments(self) -> List[Thing]:
        wanted = self._selection.wanted(self._selection.experiments)
        if not wanted:
            return []
        there: List[Thing] = []
        for experiment in self._src.experiments():
            if experiment.error is None:
                there.append(experiment)
            else:
                self._report.missing(experiment)
        names = {experiment.id: experiment.name for experiment in there}
        by_name = [names.get(name, name) if name not in names.values() else name for name in wanted]
        chosen = set(self._chosen(by_name, names.values(), "experiment"))
        return [experiment for experiment in there if experiment.name in chosen]

    def _copies(self, src: Thing) -> List[Thing]:
        """Return the copies of an experiment; that there is none is recorded."""
        found = [self._dst.experiment_by_id(dst_id) for dst_id in sorted(self._experiment_ids(src.id, src.name))]
        copies = [dst for dst in found if dst is not None]
        if any(dst.id == src.id for dst in copies) and getattr(self._src, "identity", "") == self._dst.identity:
            raise BadInput(f"Source and destination are the same experiment '{src.name}' of the same server.")
        if not copies and src.deleted and not self._how.deleted_experiments:
            self._report.leave_out(EXPERIMENT, _DELETED_EXPERIMENT)
        elif not copies:
            self._report.missing(src)
        return copies

    def _experiment_ids(self, src_id: str, name: Optional[str]) -> Set[str]:
        """Return the ids that an experiment of the source has at the destination.

        :param name: Its name; None if it is only named by its id.
        """
        is_link, renames = name is None, self._selection.experiment_renames
        if name is None:
            if self._names is None:
                self._names = {one.id: one.name for one in self._src.experiments()}
            name = self._names.get(src_id)
        if name is not None and renames:
            there = self._dst.experiment_by_name(rename(name, renames, "experiment"))
            if there or not is_link:
                return {there.id} if there else set()
        known = {
            str(entry["dst_id"])
            for entry in self._links.entries(EXPERIMENT)
            if entry.get("source") == src_id and (entry.get("original") or {}).get("name", name) == name
        }
        known = {dst_id for dst_id in known if self._dst.experiment_by_id(dst_id) is not None}
        if known or name is None or renames:
            return known
        there = self._dst.experiment_by_name(name)
        return {there.id} if there else set()

    def _new_names(self, kind: str, name: str) -> List[str]:
        """Return the names of the copies of a registered model or prompt."""
        if kind == MODEL and self._selection.model_renames:
            return [rename(name, self._selection.model_renames, "model")]
        known = {
            str(entry["experiment_id"]).partition(":/")[2]
            for entry in self._links.entries(kind)
            if entry["src_id"] == name
        }
        return sorted(known) or [name]


def _refuse_nothing(anything: bool, uri: str) -> None:
    if not anything:
        raise BadInput(f"{uri} has nothing to compare.")


def how_of(options: Mapping[str, Any]) -> How:
    """Return how the options of a command want objects to be compared."""
    chosen = ArtifactFilter(
        tuple(options.get("include_artifacts") or ()),
        tuple(options.get("exclude_artifacts") or ()),
        options.get("max_artifact_size"),
        options.get("artifacts") == "skip",
    )
    return How(
        options.get("depth") or "metadata",
        bool(options.get("export_deleted_runs")),
        bool(options.get("export_deleted_experiments")),
        chosen,
        options.get("mlmodel_fix") is not False,
        bool(options.get("use_src_user_id")),
        options.get("artifacts") == "reference",
        _permissions(options),
        principals_of(options),
    )


def _permissions(options: Mapping[str, Any]) -> Optional[bool]:
    asked = [bool(options[name]) for name in ("import_permissions", "copy_permissions") if name in options]
    return asked[0] if asked else True if options.get("export_permissions") else None


def selection_of(options: Mapping[str, Any], lenient: bool = False) -> Selection:
    """Return which objects the options of a command select.

    :param lenient: See :class:`Selection`.
    """
    return Selection(
        options.get("experiments"),
        options.get("models"),
        options.get("prompts"),
        options.get("evaluation_datasets"),
        get_renames(options.get("experiment_rename_file")),
        get_renames(options.get("model_rename_file")),
        lenient,
    )


def _work(job: Job, options: Mapping[str, Any], reports: Optional[ExportDir], report: Report) -> None:
    """Open both sides and compare them."""
    if not options.get("input_dir"):
        with paired_servers(options) as (pairs, whole):
            found = [_two_servers(job, options, reports, report, pair) for pair in _arrived(pairs, whole, report)]
        _refuse_nothing(any(found) or report.begun, "The source")
        return
    if options.get("src_mlflow_uri") or options.get("src_registry_uri"):
        raise BadInput("Give --input-dir or --src-mlflow-uri, not both: the source is a directory or a server.")
    directory = existing_dir(str(options["input_dir"]))
    if not (are_named(options) or has_list(directory)):
        _refuse_nothing(_directory(job, options, (directory, directory), reports, report, Pair()), directory.path)
        return
    chosen, failed = chosen_of(directory, options.get("workspaces"))
    with ExitStack() as stack:
        pairs, whole = [Pair(str(workspace["name"])) for workspace in chosen or ()], None
        if options.get("dst_mlflow_uri"):
            workers = int(options.get("workers") or 8)
            whole = stack.enter_context(open_whole(options["dst_mlflow_uri"], "dst", two_sided=True, workers=workers))
            pairs = pair_up(chosen, options, whole)
        elif chosen is None or options.get("workspace_rename_file") or options.get("dst_workspace"):
            raise BadInput("--workspace-rename-file and --dst-workspace are for a comparison with a server.")
        report.begin(**{"directory" if whole is None else "source": directory.path})
        for name in failed:
            report.broken(Thing(WORKSPACE, name), BadDirectory("its export failed: it is not whole in the directory"))
        found = []
        for pair in _arrived(pairs, whole, report):
            place = place_of(directory, pair.src) if pair.src else directory
            found.append(_directory(job, options, (directory, place), reports, report, pair))
    _refuse_nothing(any(found) or report.begun, directory.path)


def _arrived(pairs: Sequence[Pair], whole: Optional[Tracking], report: Report) -> Iterator[Pair]:
    """Yield the workspaces that are at the destination; what is recorded meanwhile tells which it is."""
    named = whole.workspaces() if whole is not None and any(pair.dst for pair in pairs) else []
    there = {str(one["name"]): one for one in named}
    for pair in pairs:
        with report.part((), **pair.about):
            if pair.dst and pair.dst not in there:
                report.begin(destination=whole.uri if whole is not None else "")
                report.missing(Thing(WORKSPACE, pair.src or pair.dst))
                continue
            if pair.dst and pair.description is not None:
                ours, theirs = pair.description, str(there[pair.dst].get("description") or "")
                found = [("description", ours, theirs)] if ours != theirs else []
                report.begin(destination=whole.uri if whole is not None else "")
                report.compared(Thing(WORKSPACE, pair.src), pair.dst, found, ())
            yield pair


def _two_servers(
    job: Job, options: Mapping[str, Any], reports: Optional[ExportDir], report: Report, pair: Pair
) -> bool:
    """Compare two servers, or a workspace of each; tells whether there was anything."""
    options = {**options, "dry_run": True}
    with two_servers(options, pair=pair) as servers, two_registries(*servers, options, pair) as registries:
        for tracking, registry in zip(servers, registries):
            _check(job, tracking, registry, options)
        id_maps = _id_maps(servers[1].identity, reports)
        _tell(job, report)
        sides = [ServerSide(tracking, registry, job.executor) for tracking, registry in zip(servers, registries)]
        report.begin(source=sides[0].uri, destination=sides[1].uri)
        selection, how = selection_of(options), how_of(options)
        return Verifier(job, sides[0], sides[1], id_maps, selection, how, report).verify()


def _directory(
    job: Job,
    options: Mapping[str, Any],
    directories: Tuple[ExportDir, ExportDir],
    reports: Optional[ExportDir],
    report: Report,
    pair: Pair,
) -> bool:
    """Compare a directory with a server, or look whether it is whole; tells whether there was anything.

    :param directories: The one that is given, which has the id map, and the one to be compared: of a workspace in it.
    """
    how = how_of(options)
    side = DirectorySide(directories[1], job.executor, how.depth == "full")
    if not options.get("dst_mlflow_uri"):
        report.begin(directory=side.uri)
        DirectoryCheck(job, side, how.depth, report).check()
        return True
    with open_both(
        options["dst_mlflow_uri"], options.get("dst_registry_uri"), "dst", two_sided=True,
        workers=int(options.get("workers") or 8), dry_run=True, workspace=pair.dst or None,
    ) as (tracking, registry):  # fmt: skip
        _check(job, tracking, registry, options)
        _tell(job, report)
        report.begin(source=side.uri, destination=tracking.uri)
        dst = ServerSide(tracking, registry, job.executor)
        id_maps = _id_maps(tracking.identity, reports, directories[0])
        return Verifier(job, side, dst, id_maps, selection_of(options), how, report).verify()


def _check(job: Job, tracking: Any, registry: Any, options: Mapping[str, Any]) -> None:
    require_admin = bool(options.get("require_admin"))
    check_rights(tracking, job.ledger, require_admin, "read")
    check_registry_rights(registry, job.ledger, require_admin, "read")


def _tell(job: Job, report: Report) -> None:
    for note in job.ledger.notes:
        report.note(note)


def _id_maps(identity: str, *directories: Optional[ExportDir]) -> List[IdMap]:
    return [IdMap(directory, identity, writable=False) for directory in directories if directory is not None]


def _run(options: Mapping[str, Any], *, show: bool) -> Report:
    reports = report_dir(options.get("report_dir"), None)
    report = Report(reports, options)

    def work() -> None:
        with open_job(Ledger(None, "verify-migration", options), "objects", options) as job:
            _work(job, options, reports, report)

    finish(report, work, show=show)
    return report


def verify_migration(
    src_mlflow_uri: Optional[str] = None,
    dst_mlflow_uri: Optional[str] = None,
    *,
    src_registry_uri: Optional[str] = None,
    dst_registry_uri: Optional[str] = None,
    input_dir: Optional[str] = None,
    experiments: Names = None,
    models: Names = None,
    prompts: Names = None,
    experiment_renames: Union[None, str, Mapping[str, str]] = None,
    model_renames: Union[None, str, Mapping[str, str]] = None,
    workspaces: Names = None,
    workspace_renames: Union[None, str, Mapping[str, str]] = None,
    dst_workspace: Optional[str] = None,
    depth: str = "metadata",
    export_deleted_runs: bool = False,
    export_deleted_experiments: bool = False,
    include_artifacts: Sequence[str] = (),
    exclude_artifacts: Sequence[str] = (),
    max_artifact_size: Optional[int] = None,
    mlmodel_fix: bool = True,
    use_src_user_id: bool = False,
    require_admin: bool = False,
    report_dir: Optional[str] = None,
    workers: int = 8,
    artifacts: str = "copy",
    evaluation_datasets: Names = None,
    export_permissions: bool = False,
    principal_renames: Union[None, str, Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """Tell whether a copy is whole.

    :param src_mlflow_uri: Source server or local store.
    :param dst_mlflow_uri: Destination server or local store; without it ``input_dir`` is checked by itself.
    :param src_registry_uri: Server with the source's registry; default is the source.
    :param dst_registry_uri: Server with the destination's registry; default is the destination.
    :param input_dir: Directory of an export, instead of a source server.
    :param experiments: Names or ids of experiments, a list or as the option takes them. Where nothing of its kind is
        given, everything is compared; else only what is given.
    :param models: Names of registered models.
    :param prompts: Names of prompts.
    :param experiment_renames: What replaces which beginning of an experiment's name, or a file with that.
    :param model_renames: The same for registered models.
    :param workspaces: Names of workspaces of the source, a list or as the option takes them.
    :param workspace_renames: The same as ``experiment_renames``, for workspaces.
    :param dst_workspace: Workspace of the destination that everything has gone into.
    :param depth: ``counts``, ``metadata`` or ``full``.
    :param export_deleted_runs: Deleted runs count as missing if they have no copy.
    :param export_deleted_experiments: So do deleted experiments.
    :param include_artifacts: Only artifacts whose path matches one of these globs are compared.
    :param exclude_artifacts: None whose path matches one of these.
    :param max_artifact_size: None above this size in bytes.
    :param mlmodel_fix: MLmodel files are expected to have the new ids.
    :param use_src_user_id: The tag ``mlflow.user`` is expected to be the source run's user.
    :param require_admin: Don't start unless the credentials are known to see everything.
    :param report_dir: Directory of the report and of the id map; default ``mlflow-migration-report``.
    :param workers: Number of requests at a time, at most.
    :param artifacts: How they were copied: ``copy``, ``skip`` or ``reference``.
    :param evaluation_datasets: Names or ids of evaluation datasets.
    :param export_permissions: Compare the permissions of two workspaces. Those that a directory has are, anyway.
    :param principal_renames: New names of users, groups and service principals: a dict, or the path of a file.
    :return: The report, as ``verification.json`` has it.
    :raises BadInput: It could not start.
    """
    options = dict(locals())
    options["experiment_rename_file"] = options.pop("experiment_renames")
    options["model_rename_file"] = options.pop("model_renames")
    options["workspace_rename_file"] = options.pop("workspace_renames")
    options["principal_mapping_file"] = options.pop("principal_renames")
    return _run({**options, "quiet": True}, show=False).document()


@command(
    "verify-migration", "src_mlflow_uri", "dst_mlflow_uri", "src_registry_uri", "dst_registry_uri", "input_dir",
    "experiments", "models", "prompts", "evaluation_datasets", "experiment_rename_file", "model_rename_file",
    "workspaces", "workspace_rename_file", "dst_workspace", "depth", "export_deleted_runs",
    "export_deleted_experiments", "artifacts", "include_artifacts", "exclude_artifacts", "max_artifact_size",
    "mlmodel_fix", "use_src_user_id", "export_permissions", "principal_mapping_file", "require_admin",
    common=("report_dir", "workers", "use_threads", "quiet", "verbose"),
    optional=("input_dir", "experiments", "models", "prompts", "evaluation_datasets"),
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return _run(options, show=True).exit_status


if __name__ == "__main__":
    main()
