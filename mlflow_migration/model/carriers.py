"""Finds what a version of a directory is made from at the destination, and makes it where there is nothing."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadDirectory, MlflowExportImportException
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.artifact_stores import Store, uri_store
from mlflow_migration.common.artifacts import is_mlmodel
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_info, read_logged_model, read_run
from mlflow_migration.logged_model.logged_model_exporter import ARTIFACTS
from mlflow_migration.model.holder import FOLDER, hold
from mlflow_migration.model.model_exporter import MODEL_FILE, MODEL_LAYOUT, VERSION_MODELS, Layout
from mlflow_migration.model.sources import RUN, Place, is_in_object_store, locate, model_ids
from mlflow_migration.run.run_file import RUN_FILE

Json = Dict[str, Any]

_MLMODEL_MOST = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """What a version is made from at the destination.

    :param source: Its ``source``.
    :param run_id: The run that it names, or None.
    :param model_id: The logged model, or None.
    :param problems: What of its model could not be brought there.
    :param notes: What else is to be said.
    :param store: Where its files are, if that is neither a run nor a logged model that ``source`` names by its id.
    """

    source: str
    run_id: Optional[str] = None
    model_id: Optional[str] = None
    problems: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    store: Optional[Store] = None


@dataclass(frozen=True)
class _Files:
    """Artifacts that lie in the directory: where, and dicts of path and size in bytes."""

    source: ExportDir
    folder: str
    files: List[Json]


@dataclass(frozen=True)
class Arrived:
    """What has been imported.

    :param run_ids: Destination run ids by source run id.
    :param run_infos: Info of the destination's runs by source run id, as far as it is known.
    :param model_ids: Destination ids of logged models by those of the source.
    :param experiment_id: Gives the destination's experiment for runs that only hold the model of a version.
    """

    run_ids: Mapping[str, str]
    run_infos: Mapping[str, Json]
    model_ids: Mapping[str, str]
    experiment_id: Callable[[], str]


class Carriers:
    """The runs, logged models and copies of models that a directory has for the versions of a registered model.

    :param directory: Of the registered model.
    :param run_dirs: Ids and directories of its runs.
    :param model_dirs: Those of its logged models.
    :param layout: Where copies of models lie in it.
    :param roots: Artifact roots at the source of more runs, and of more logged models, by id: they have been imported,
        and are not in the directory.
    :param artifacts: What becomes of artifacts: ``copy``, ``skip`` or ``reference``.
    :raises BadDirectory: ``model.json`` can't be read.
    """

    def __init__(
        self,
        directory: ExportDir,
        run_dirs: List[Tuple[str, ExportDir]],
        model_dirs: List[Tuple[str, ExportDir]],
        layout: Layout = MODEL_LAYOUT,
        roots: Tuple[Mapping[str, str], Mapping[str, str]] = (MappingProxyType({}), MappingProxyType({})),
        artifacts: str = "copy",
    ) -> None:
        self._directory, self._layout, self._artifacts = directory, layout, artifacts
        self._runs: Dict[str, _Files] = {}
        self._models: Dict[str, _Files] = {}
        self._run_roots: Dict[str, str] = dict(roots[0])
        self._model_roots: Dict[str, str] = dict(roots[1])
        self._lacks: List[str] = []
        for run_id, place in run_dirs:
            with suppress(BadDirectory):  # its import fails, and says why
                root = read_run(place)["info"].get("artifact_uri") or ""
                info = read_info(place, RUN_FILE) or {}
                self._runs[run_id] = _files(place, info)
                self._lacks += info.get("incomplete") or []
                self._run_roots[run_id] = root
        for model_id, place in model_dirs:
            with suppress(BadDirectory):
                doc, info = read_logged_model(place)
                self._models[model_id] = _files(place, info)
                self._lacks += info.get("incomplete") or []
                self._model_roots[model_id] = doc.get("artifact_location") or ""
        self._own = (read_info(directory, MODEL_FILE) or {}).get(VERSION_MODELS) or {}

    def lacking(self, versions: List[Json]) -> Optional[str]:
        """Return the first thing that the directory lacks of what the versions need; None if it has all."""
        if not versions:
            return "it has no version"
        if self._lacks:
            return self._lacks[0]
        for version in versions:
            if not self._has_model(version):
                return f"neither the run nor the model of version {version['version']} is there"
        own = [self._own_copy(version) for version in versions]
        for files in [*self._runs.values(), *self._models.values(), *filter(None, own)]:
            for file in files.files:
                if files.source.size(f"{files.folder}/{file['path']}") != file["size"]:
                    return f"{files.source.path}/{files.folder}/{file['path']} is not there as it should be"
        return None

    def check(self, version: Json) -> None:
        """Refuse a version for which the directory has no model.

        :raises BadDirectory: It has none.
        """
        if not self._has_model(version):
            raise BadDirectory("neither its run nor its model is in the directory")

    def _has_model(self, version: Json) -> bool:
        return self._found(version) is not None or self._stays(version) or self._own_copy(version) is not None

    def _stays(self, version: Json) -> bool:
        """Tell whether a version, whose model nothing brings, keeps its source."""
        return self._artifacts == "reference" and is_in_object_store(version["source"])

    def arrive(self, tracking: Tracking, registry: Registry, job: Job, arrived: Arrived) -> None:
        """Take note of what has been imported, and where to."""
        self._tracking, self._registry, self._job, self._arrived = tracking, registry, job, arrived
        self._knows_logged_models = tracking.knows_logged_models()
        # a registry elsewhere can't tell what a location means, and one that keeps the files is given them from there
        self._by_id = registry.is_apart or registry.keeps_files

    def source(self, version: Json) -> Source:
        """Return what a version is made from at the destination.

        :raises BadDirectory: The directory has no model for it.
        :raises MlflowExportImportException: What it is made from could not be imported.
        """
        found = self._found(version)
        if found is None and self._stays(version):
            store = uri_store(self._tracking, version["source"]) if self._registry.keeps_files else None
            return Source(version["source"], self._arrived.run_ids.get(version["run_id"]), store=store)
        if found is None:
            own = self._own_copy(version)
            if own is None:
                raise BadDirectory("neither its run nor its model is in the directory")
            return self._held(version, own)
        if found.kind == RUN:
            run_id = self._arrived.run_ids.get(found.id)
            if run_id is None:
                raise MlflowExportImportException(f"its run {found.id} could not be imported")
            other = version["run_id"] and version["run_id"] != found.id
            notes = [f"it names the run that has its model, not {version['run_id']}"] if other else []
            if found.by_id or self._by_id:
                return Source(f"runs:/{run_id}/{found.path}".rstrip("/"), run_id, notes=notes)
            info = self._arrived.run_infos.get(found.id) or self._tracking.run(run_id)["info"]
            return Source(_joined(info["artifact_uri"], found.path), run_id, notes=notes)
        return self._of_logged_model(version, found)

    def _of_logged_model(self, version: Json, found: Place) -> Source:
        model_id = self._arrived.model_ids.get(found.id)
        if self._is_held(found):
            return self._held(version, self._models[found.id], found.path)
        if model_id is None:
            raise MlflowExportImportException(f"its logged model {found.id} could not be imported")
        run_id = self._arrived.run_ids.get(version["run_id"])
        if found.by_id or self._registry.keeps_files:
            return Source(_joined(f"models:/{model_id}", found.path), run_id, model_id)
        root = self._tracking.logged_model(model_id)["info"]["artifact_uri"]
        return Source(_joined(root, found.path), run_id, model_id)

    def holds(self, version: Json) -> bool:
        """Tell whether a version's model is, or comes, into a run of its own at the destination."""
        found = self._found(version)
        if found is not None:
            return self._is_held(found)
        return not self._stays(version) and self._own_copy(version) is not None

    def _is_held(self, found: Place) -> bool:
        # a server before MLflow 3 has no logged models, and one that has only the registry knows none
        # Unity Catalog gets the files anyway, so its versions may name what is elsewhere
        apart = self._registry.is_apart and not self._registry.keeps_files
        return found.kind != RUN and (apart or not self._knows_logged_models)

    def _held(self, version: Json, files: _Files, path: str = "") -> Source:
        info, problems = hold(
            self._tracking, self._job, self._arrived.experiment_id(), version, files.source, files.folder, files.files,
            skipped=self._artifacts == "skip",
        )  # fmt: skip
        root = f"runs:/{info['run_id']}" if self._by_id else info["artifact_uri"]
        return Source(_joined(_joined(root, FOLDER), path), info["run_id"], problems=problems)

    def _found(self, version: Json) -> Optional[Place]:
        source, location = version["source"], version["_download_uri"]
        found = locate(source, location, self._run_roots, self._model_roots)
        if found is not None and ".." in found.path.split("/"):
            raise BadDirectory(f"its source {source} leads out of its {found.kind}")
        return found or self._among_artifacts(version, sorted(model_ids(source, location)))

    def _among_artifacts(self, version: Json, ids: List[str]) -> Optional[Place]:
        """Find a logged model that another tool has saved among its run's artifacts: its MLmodel file has the id."""
        run = self._runs.get(version["run_id"])
        for file in run.files if run is not None and ids else ():
            if not is_mlmodel(file["path"]) or file["size"] > _MLMODEL_MOST:
                continue
            assert run is not None
            with run.source.open_read(f"{run.folder}/{file['path']}") as stream:
                text = stream.read(_MLMODEL_MOST).decode("utf-8", "replace")
            if any(model_id in text for model_id in ids):
                return Place(RUN, version["run_id"], posixpath.dirname(file["path"]))
        return None

    def _own_copy(self, version: Json) -> Optional[_Files]:
        number = version["version"]
        listed = self._own.get(number)
        folder = self._layout.own_copy(number)
        if listed is None:
            # another tool lists none
            listed = [{"path": path, "size": size} for path, size in self._directory.files(folder)]
        return _Files(self._directory, folder, listed) if listed or self._artifacts == "skip" else None


def _files(place: ExportDir, info: Json) -> _Files:
    listed = info.get("artifacts")
    if listed is None:
        listed = [{"path": path, "size": size} for path, size in place.sub(ARTIFACTS).files()]
    return _Files(place, ARTIFACTS, listed)


def _joined(root: str, path: str) -> str:
    return f"{root.rstrip('/')}/{path}".rstrip("/") if path else root
