"""Brings the files of a version into Unity Catalog, which keeps them itself, and takes none without a signature."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from typing import Any, Dict, List, NamedTuple, Tuple

from mlflow_migration.client.errors import MlflowExportImportException, describe
from mlflow_migration.client.unity_catalog import READY, UnityCatalog
from mlflow_migration.common.artifact_stores import File, Store, logged_model_store, run_store
from mlflow_migration.common.artifacts import list_files
from mlflow_migration.common.catalog_store import catalog_store
from mlflow_migration.common.job import Job
from mlflow_migration.model.carriers import Source

Json = Dict[str, Any]

_BY_ID = re.compile(r"(runs|models):/+([^/]+)/?(.*)\Z")
_MLMODEL = "MLmodel"
_MLMODEL_MOST = 16 * 1024 * 1024


class NoSignature(MlflowExportImportException):
    """Unity Catalog takes no version of a model that does not say what goes in and what comes out."""


class _Found(NamedTuple):
    """Files of a model: the store, the folder in it, and the files, with paths below the store's root."""

    store: Store
    folder: str
    files: List[File]


class CatalogFiles:
    """Gives versions of Unity Catalog their files, out of the runs and logged models that have arrived.

    :param registry: Unity Catalog.
    :param job: Threads and progress.
    """

    def __init__(self, registry: UnityCatalog, job: Job) -> None:
        self._registry, self._job = registry, job

    def check(self, place: Source) -> None:
        """Refuse, before a number is used up, what Unity Catalog would not take.

        :param place: What a version is made from.
        :raises NoSignature: Its model has no signature with inputs and outputs.
        :raises MlflowExportImportException: Its files can't be read.
        """
        found = self._find(place)
        path = posixpath.join(found.folder, _MLMODEL)
        if path not in (file.path for file in found.files):
            raise NoSignature(f"Unity Catalog takes only MLflow models, and there is no MLmodel file at {place.source}")
        content = b""
        with found.store.read(path) as blocks:
            for block in blocks:
                content += block
                if len(content) > _MLMODEL_MOST:
                    raise NoSignature(f"its MLmodel file has more than {_MLMODEL_MOST} bytes")
        lacking = [what for what in ("inputs", "outputs") if what not in _signature(content)]
        if lacking:
            raise NoSignature(
                f"Unity Catalog takes no version whose model has no signature with inputs and outputs, and this one"
                f" lacks {' and '.join(lacking)}: set-model-signature gives the source's model one, then copy it again"
            )

    def complete(self, version: Json, place: Source) -> List[str]:
        """Bring a version's files, and say that all are there; what an earlier import has brought is not sent again.

        :param version: The version as the registry has it.
        :param place: What it is made from.
        :return: What could not be brought; then the version stays as one that nobody can use.
        """
        name, number = version["name"], str(version["version"])
        uri = version.get("storage_location") or self._registry.artifact_uri(name, number)
        target = catalog_store(self._registry, name, number, uri, writes=True)
        found = self._find(place)
        there = {file.path: file.size for file in list_files(target, self._job.executor)}

        def send(file: File) -> None:
            path = posixpath.relpath(file.path, found.folder) if found.folder else file.path
            if there.get(path) != file.size:
                self._send(found.store, file, target, path)

        problems: List[str] = []
        for outcome in self._job.executor.gather(send, found.files):
            if outcome.error is not None:
                problems.append(f"artifact {outcome.item.path}: {describe(outcome.error)}")
                self._job.lost("artifact", f"{name}/{number}/{outcome.item.path}", outcome.error, "artifacts")
        if not problems:
            self._registry.finalize(name, number)
            version["status"] = READY
        return problems

    def _send(self, source: Store, file: File, target: Store, path: str) -> None:
        with tempfile.TemporaryDirectory(prefix="mlflow-migration-") as folder:
            kept = os.path.join(folder, "file")  # a store may want to read it more than once
            with open(kept, "wb") as out, source.read(file.path) as blocks:
                for block in blocks:
                    out.write(block)
            target.write(path, lambda: open(kept, "rb"), os.path.getsize(kept))

    def _find(self, place: Source) -> _Found:
        store, folder = self._store(place)
        files = list_files(store, self._job.executor, folder)
        if not files:
            raise MlflowExportImportException(f"there are no artifacts at {place.source}, which it is to be made from")
        return _Found(store, folder, files)

    def _store(self, place: Source) -> Tuple[Store, str]:
        if place.store is not None:
            return place.store, ""
        tracking = self._registry.tracking
        match = _BY_ID.match(place.source)
        if match is None:
            raise MlflowExportImportException(f"{place.source} names no run and no logged model to take its files from")
        owner, path = match[2], match[3].strip("/")
        if match[1] == "runs":
            return run_store(tracking, owner, tracking.run(owner)["info"]["artifact_uri"]), path
        return logged_model_store(tracking, owner, tracking.logged_model(owner)["info"]["artifact_uri"]), path


def _signature(content: bytes) -> List[str]:
    """Return what the signature of an MLmodel file has: inputs, outputs, params."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(content, Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise NoSignature("its MLmodel file is broken") from None
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = [value for key, value in pairs if key.value == "signature"]
    if not found or not isinstance(found[-1], yaml.MappingNode):
        return []
    return [key.value for key, value in found[-1].value if value.value not in ("", "null", "~")]
