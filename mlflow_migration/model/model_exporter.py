"""Exports one registered model: its versions, and the runs and logged models that these come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, describe
from mlflow_migration.client.registry import HAS_NO_STAGE, Registry, is_placeholder, is_prompt
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.client.unity_catalog import is_catalog_name
from mlflow_migration.common.artifact_stores import note_absent, version_store
from mlflow_migration.common.artifacts import choose, list_files
from mlflow_migration.common.downloads import Downloads, kept
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import old_info, read_model
from mlflow_migration.common.old_layouts import canonical_version
from mlflow_migration.common.permissions import export_permissions, read_permissions, registered_model
from mlflow_migration.common.timestamp_utils import with_times
from mlflow_migration.logged_model.logged_model_exporter import ExperimentModels
from mlflow_migration.model.sources import RUN, is_copy, is_in_object_store, locate, model_ids
from mlflow_migration.run.run_exporter import ExportSettings, RunExporter

Json = Dict[str, Any]

MODEL_FILE = "model.json"
VERSION_MODELS = "version_models"


@dataclass(frozen=True)
class Layout:
    """Where things lie in a directory.

    :param run: Gives the directory of a run.
    :param own_copy: Gives the folder with the registry's copy of a version's model, by number.
    """

    run: Callable[[ExportDir, str], ExportDir]
    own_copy: Callable[[str], str]


MODEL_LAYOUT = Layout(
    lambda directory, run_id: directory.sub(safe_name(run_id)), lambda number: f"{VERSION_MODELS}/{number}"
)
"""Of a registered model with all its versions."""

VERSION_LAYOUT = Layout(lambda directory, run_id: directory.sub("run"), lambda number: "version_model")
"""Of one version."""


@dataclass(frozen=True)
class VersionSelection:
    """Which versions of a model are taken, and with what.

    :param numbers: Only these.
    :param stages: Only those in one of these stages, named in any case.
    :param latest: Only the latest of each stage.
    :param own_copies: Take the registry's own copy of each one's model too.
    :param tells: Record the versions that are left out.
    :param references: Leave models in an object store where they are, unless a run or logged model brings them.
    """

    numbers: Tuple[str, ...] = ()
    stages: Tuple[str, ...] = ()
    latest: bool = False
    own_copies: bool = False
    tells: bool = True
    references: bool = False

    def left_out(self, versions: Sequence[Json]) -> Dict[str, str]:
        """Return the option that leaves a version out, by number, for those that are left out."""
        wanted = {stage.lower() for stage in self.stages}
        newest = {_stage(version): version["version"] for version in versions}
        found: Dict[str, str] = {}
        for version in versions:
            number = str(version["version"])
            if self.numbers and number not in self.numbers:
                found[number] = "--versions"
            elif wanted and _stage(version).lower() not in wanted:
                found[number] = "--stages"
            elif self.latest and newest[_stage(version)] != version["version"]:
                found[number] = "--export-latest-versions"
        return found


def _stage(version: Json) -> str:
    return version.get("current_stage") or HAS_NO_STAGE


@dataclass
class VersionWork:
    """A version on its way. ``location``: where the registry says that its model is, if that was asked."""

    doc: Json
    location: str = ""
    run: Optional[Json] = None
    problems: List[str] = field(default_factory=list)
    artifacts: Optional[List[Json]] = None
    gone: List[str] = field(default_factory=list)

    @property
    def number(self) -> str:
        return str(self.doc["version"])

    @property
    def key(self) -> str:
        return f"{self.doc['name']}/{self.number}"

    @property
    def models(self) -> Set[str]:
        """Ids of the logged models that it names."""
        return model_ids(self.doc.get("source") or "", self.location)


@dataclass
class ModelWork:
    """A registered model on its way. ``old``: what the directory has of it."""

    model: Json
    versions: List[VersionWork]
    directory: ExportDir
    old: Optional[Json]


@dataclass(frozen=True)
class Carried:
    """What travels apart from the versions.

    :param runs: Ids of runs that are whole in the directory.
    :param failed_runs: Ids of those that could not be exported.
    :param models: Artifact roots of the logged models that are in the directory, by id.
    """

    runs: AbstractSet[str]
    failed_runs: AbstractSet[str]
    models: Mapping[str, str]


class ModelExporter:
    """Exports registered models of one registry.

    :param tracking: The server with the runs.
    :param registry: The model registry.
    :param job: Ledger, threads, progress.
    :param settings: How runs are exported.
    :param selection: Which versions are taken.
    :param script: Name of the command, for the files.
    :param layout: Where things lie in the directory.
    """

    def __init__(
        self,
        tracking: Tracking,
        registry: Registry,
        job: Job,
        settings: ExportSettings,
        selection: VersionSelection,
        script: str,
        layout: Layout = MODEL_LAYOUT,
    ) -> None:
        self._tracking, self._registry, self._job, self._layout = tracking, registry, job, layout
        self._settings, self._selection, self._script = settings, selection, script
        self._saved: Dict[str, List[Json]] = {}  # artifacts of the registry's copies that the directory has

    def export(self, name: str, directory: ExportDir) -> None:
        """Export a registered model with its runs and logged models, and record each object; see :meth:`read`."""
        work = self.read(name, directory)
        runs = self._export_runs(work.versions, directory)
        models = self._export_logged_models(work.versions, runs, directory)
        self.finish(work, Carried(set(runs.whole), set(runs.failed), models))

    def read(self, name: str, directory: ExportDir) -> ModelWork:
        """Read a registered model and its versions.

        :param name: Its name.
        :param directory: Where it will be exported to.
        :raises BadInput: There is no such model, it is a prompt, it lacks a version that is asked for by its number, or
            the directory holds another one.
        """
        model = self._registry.model(name)
        if model is None:
            hint = " A name of three parts is one of Unity Catalog: give --registry-uri databricks-uc."
            is_elsewhere = self._registry.server.is_databricks and is_catalog_name(name)
            hint = hint if is_elsewhere and not self._registry.keeps_files else ""
            raise BadInput(f"{self._registry.uri} has no registered model '{name}'.{hint}")
        if is_prompt(model):
            raise BadInput(f"'{name}' is a prompt, not a model.")
        old = self._refuse_other(model, directory)
        self._saved = (old_info(directory, MODEL_FILE) or {}).get(VERSION_MODELS) or {}
        versions = self._chosen(name)
        if not self._job.dry_run:
            directory.make()
        self._job.ledger.expect("registered_model", 1)
        # what another version is made from only the registry knows
        copies = [version for version in versions if is_copy(version.doc.get("source") or "")]
        for outcome in self._job.executor.gather(self._locate, copies):
            outcome.item.location = outcome.value or ""
        return ModelWork(model, versions, directory, old)

    def finish(self, work: ModelWork, carried: Carried) -> None:
        """Write a registered model whose runs and logged models have been exported, and record it and its versions.

        :param work: What :meth:`read` has returned; its versions know their runs now.
        :param carried: What travels apart from the versions.
        """
        versions = work.versions
        found = {
            v.run["info"]["run_id"]: v.run["info"].get("artifact_uri") or "" for v in versions if v.run is not None
        }
        runs = {run_id: uri for run_id, uri in found.items() if run_id in carried.runs}
        self._job.ledger.phase("exporting model versions")
        for outcome in self._job.executor.gather(
            lambda v: self._own_copy(v, runs, carried.models, found, work.directory), versions
        ):
            if outcome.error is not None:
                outcome.item.problems.append(f"its model can't be read: {describe(outcome.error)}")
                self._job.lost("artifact", f"{outcome.item.key}/model", outcome.error, "artifacts")
        note_absent(self._tracking, self._job.ledger)
        self._finish(work.model, versions, carried.failed_runs, work.directory, work.old)

    def _refuse_other(self, model: Json, directory: ExportDir) -> Optional[Json]:
        """Return what the directory has of the model; None if nothing."""
        try:
            there = read_model(directory)
        except BadDirectory:
            return None  # none, or a broken one, which is written anew
        old, new = there["model"], model
        same = str(old.get("creation_timestamp")) == str(new.get("creation_timestamp"))
        if old["name"] != new["name"] or not (same or old.get("creation_timestamp") is None):
            raise BadInput(f"{directory.path} holds the export of another registered model, '{old['name']}'.")
        return there

    def _chosen(self, name: str) -> List[VersionWork]:
        # what an import has left in a gap of the numbers is no version of anybody's
        there = [version for version in self._registry.versions(name) if not is_placeholder(version)]
        missing = sorted(set(self._selection.numbers) - {str(version["version"]) for version in there})
        if missing:
            raise BadInput(f"The registered model '{name}' has no version {', '.join(missing)}.")
        left_out = self._selection.left_out(there)
        told = left_out if self._selection.tells else {}
        self._job.ledger.expect("model_version", len(there) - len(left_out) + len(told))
        for number, option in told.items():
            self._job.ledger.record("model_version", "skipped", f"{name}/{number}", reason=option)
        return [VersionWork(version) for version in there if str(version["version"]) not in left_out]

    # -- runs and logged models ---------------------------------------------------------------------------------

    def _export_runs(self, versions: Sequence[VersionWork], directory: ExportDir) -> RunExporter:
        exporter = RunExporter(
            self._tracking,
            self._job,
            self._settings,
            self._script,
            lambda run_id: self._layout.run(directory, run_id),
        )
        ids = list(dict.fromkeys(v.doc["run_id"] for v in versions if v.doc.get("run_id")))
        runs = exporter.export_by_id(ids)
        for version in versions:
            version.run = runs.get(version.doc.get("run_id") or "")
        return exporter

    def _export_logged_models(
        self, versions: Sequence[VersionWork], runs: RunExporter, directory: ExportDir
    ) -> Dict[str, str]:
        """Export the logged models of the runs and those that versions name; return their roots by id."""
        named = {found for version in versions for found in version.models}
        experiments: Dict[str, Set[str]] = {}
        for version in versions:
            if version.run is not None and version.doc["run_id"] in runs.whole:
                experiments.setdefault(version.run["info"]["experiment_id"], set())
        roots: Dict[str, str] = {}
        for read in self._job.executor.gather(self._tracking.logged_model, sorted(named | runs.models)):
            if read.error is not None:
                self._job.ledger.expect("logged_model", 1)
                self._job.lost("logged_model", read.item, read.error, "logged-models")
                continue
            info = read.get()["info"]
            experiments.setdefault(info["experiment_id"], set()).add(read.item)
            roots[read.item] = info.get("artifact_uri") or ""
        exported: Set[str] = set()
        for experiment_id, linked in sorted(experiments.items()):
            settings = self._settings.for_models(self._script)
            models = ExperimentModels(self._tracking, self._job, experiment_id, directory, settings)
            models.export_rest(runs.whole, linked, everything=False)
            exported |= models.ids
        return {model_id: root for model_id, root in roots.items() if model_id in exported}

    def _locate(self, version: VersionWork) -> str:
        return self._registry.artifact_uri(version.doc["name"], version.number)

    # -- versions -----------------------------------------------------------------------------------------------

    def _own_copy(
        self,
        version: VersionWork,
        carried: Dict[str, str],
        models: Mapping[str, str],
        found: Dict[str, str],
        directory: ExportDir,
    ) -> None:
        """Take a version's model out of the registry's own place, if nothing else carries it or that is asked for."""
        source = version.doc.get("source") or ""
        is_carried = locate(source, version.location, carried, models) is not None
        if self._selection.references and not is_carried and is_in_object_store(source):
            return
        if (is_carried or self._settings.skip_artifacts) and not self._selection.own_copies:
            return
        version.location = version.location or self._locate(version)
        uri = version.location or source
        place = locate(source, version.location, found, models)
        if place is not None and place.by_id:  # runs:/ and models:/ are names, not places
            root = (found if place.kind == RUN else models)[place.id]
            uri = f"{root.rstrip('/')}/{place.path}".rstrip("/")
        if uri.startswith(("runs:", "models:")):
            raise MlflowExportImportException(f"nothing is where {uri} was")
        store = version_store(self._tracking, self._registry, version.doc["name"], version.number, uri)
        listed = list_files(store, self._job.executor)
        if not listed and not self._settings.artifacts.skip:
            raise MlflowExportImportException(f"there are no artifacts at {uri}")
        chosen = choose(listed, self._settings.artifacts, self._job, version.key)
        if self._job.dry_run:
            return
        before = {"artifacts": self._saved.get(version.number, [])}
        saved = Downloads(self._job, version.key, directory, self._layout.own_copy(version.number), before)
        version.artifacts = saved.fetch(store, listed, chosen, self._settings.recheck, version.problems)
        version.gone = saved.gone

    def _finish(
        self,
        model: Json,
        versions: Sequence[VersionWork],
        failed_runs: AbstractSet[str],
        directory: ExportDir,
        old: Optional[Json],
    ) -> None:
        before = {version["version"]: version for version in (old or {}).get("versions", ())}
        aliases = {item["alias"]: str(item["version"]) for item in model.get("aliases") or ()}
        docs = [self._doc(version, aliases, failed_runs) for version in versions]
        fields = {key: value for key, value in model.items() if key not in ("latest_versions", "aliases")}
        fields["tags"] = model.get("tags") or []
        fields["aliases"] = [{"alias": alias, "version": number} for alias, number in sorted(aliases.items())]
        numbers = {version.number for version in versions}
        # what an earlier export has saved stays: the source has deleted it since, or it was not asked for this time
        earlier = [
            {**version, "aliases": sorted(alias for alias, named in aliases.items() if named == number)}
            for number, version in before.items()
            if number not in numbers
        ]
        every = sorted(docs + earlier, key=lambda doc: int(doc["version"]))
        permissions = self._permissions(model["name"]) if self._settings.permissions else None
        if permissions is not None:
            fields["permissions"] = permissions
        body = {"registered_model": {**with_times(fields), "versions": every}}
        info = self._info(versions, len(every))
        self._record(model, versions, docs, before, old)
        if not self._job.dry_run:
            directory.write_json(MODEL_FILE, envelope(self._script, body, info, tracking_uri=self._tracking.uri))

    def _permissions(self, name: str) -> Optional[Json]:
        server = self._registry.server
        if not server.is_databricks:
            return None

        def read() -> Json:
            return read_permissions(server.rest, registered_model(self._registry, name))

        return export_permissions(self._job, f"registered_model/{name}", read)

    def _doc(self, version: VersionWork, aliases: Dict[str, str], failed_runs: AbstractSet[str]) -> Json:
        doc = with_times({**version.doc, "tags": tag_dict(version.doc.get("tags"))})
        doc["aliases"] = sorted(alias for alias, number in aliases.items() if number == version.number)
        doc["_download_uri"] = version.location
        if version.run is not None:
            doc["_run_artifact_uri"] = version.run["info"].get("artifact_uri")
        if version.doc.get("run_id") in failed_runs:
            version.problems.append("its run could not be exported")
        return doc

    def _info(self, versions: Sequence[VersionWork], saved: int) -> Json:
        artifacts = {version.number: version.artifacts for version in versions if version.artifacts is not None}
        artifacts = {**self._saved, **artifacts}
        incomplete = {version.number: version.problems for version in versions if version.problems}
        return {
            "num_target_versions": len(versions),
            "num_dst_versions": saved,
            "export_latest_versions": self._selection.latest,
            **({VERSION_MODELS: artifacts} if artifacts else {}),
            **({"incomplete_versions": incomplete} if incomplete else {}),
        }

    def _record(
        self,
        model: Json,
        versions: Sequence[VersionWork],
        docs: Sequence[Json],
        before: Dict[str, Json],
        old: Optional[Json],
    ) -> None:
        for version, doc in zip(versions, docs):
            there = before.get(version.number)
            status = "copied" if there is None else "unchanged" if there == canonical_version(doc) else "updated"
            self._job.ledger.record(
                "model_version", "incomplete" if version.problems else status, version.key,
                reason="; ".join(version.problems + kept(version.gone)) or None,
                losses=["artifacts"] if version.problems else [],
            )  # fmt: skip
        lacking = sum(bool(version.problems) for version in versions)
        same = old is not None and all(
            str(old["model"].get(key) or "") == str(model.get(key) or "")
            for key in ("description", "last_updated_timestamp")
        )
        self._job.ledger.record(
            "registered_model",
            "incomplete" if lacking else "copied" if old is None else "unchanged" if same else "updated",
            model["name"], reason=f"{lacking} of its versions are not whole" if lacking else None,
            losses=["artifacts"] if lacking else [],
        )  # fmt: skip
