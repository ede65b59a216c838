"""Finds the MLmodel file of a model by any of MLflow's model URIs."""

from __future__ import annotations

import io
import posixpath
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, Optional

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, NotFound, Refused
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.artifact_stores import Store, logged_model_store, run_store, uri_store, version_store
from mlflow_migration.model.sources import RUN, locate, model_ids

MLMODEL = "MLmodel"
MAX_BYTES = 16 * 1024 * 1024

_RUN = re.compile(r"runs:/+([^/]+)/?(.*)\Z")
_LOGGED_MODEL = re.compile(r"models:/+(m-[0-9a-f]{32})/?(.*)\Z")
_VERSION = re.compile(r"models:/+(?P<name>[^/]+)(?:/(?P<which>[^/]+)|@(?P<alias>[^/@]+))\Z")


@dataclass(frozen=True)
class ModelFile:
    """The MLmodel file of a model.

    :param uri: Names the model by where it lies: ``runs:/``, ``models:/m-``, or a location.
    :param store: The artifacts of its run or logged model, or at the location.
    :param folder: Directory of the model in there.
    :param is_registrys: It lies where only the registry knows of it.
    """

    uri: str
    store: Store
    folder: str = ""
    is_registrys: bool = False

    @property
    def path(self) -> str:
        """The file's path in the store."""
        return posixpath.join(self.folder, MLMODEL)

    def read(self) -> bytes:
        """Return the bytes of the file.

        :raises NotFound: There is none.
        :raises MlflowExportImportException: It can't be read, or is too big for one.
        """
        try:
            # servers before MLflow 3 answer a question for a file that is not there as if they had broken down
            _, files = self.store.list_dir(self.folder)
            if self.path not in (file.path for file in files):
                raise NotFound(f"There is no MLmodel file at {self.uri}.", http_status_code=404)
        except Refused as ex:
            if isinstance(ex, NotFound):
                raise
            # a store that can't be listed may still be read
        content = b""
        with self.store.read(self.path) as blocks:
            for block in blocks:
                content += block
                if len(content) > MAX_BYTES:
                    raise MlflowExportImportException(f"its MLmodel file has more than {MAX_BYTES} bytes")
        return content

    def write(self, content: bytes) -> None:
        """Replace the file.

        :raises MlflowExportImportException: It can't be written.
        """
        self.store.write(self.path, lambda: io.BytesIO(content), len(content))


@contextmanager
def open_model(
    model_uri: str, side: str, tracking_uri: Optional[str], registry_uri: Optional[str], mlflow_client: Any = None
) -> Iterator[ModelFile]:
    """Give the MLmodel file that a model URI leads to.

    :param model_uri: ``models:/NAME/VERSION`` (or a stage, or ``latest``), ``models:/NAME@ALIAS``, ``models:/m-ID``,
        ``runs:/ID/PATH``, or the location of a model's artifacts.
    :param side: ``src``, or ``dst`` if the file is going to be written.
    :param tracking_uri: The tracking server; default as for every command.
    :param registry_uri: The server with the registry; likewise.
    :param mlflow_client: A given MlflowClient: it decides servers and credentials.
    :raises BadInput: The URI is malformed, or there is no such model.
    :raises NotFound: There is no such run, logged model or version.
    """
    uri = model_uri.strip()
    if not uri.startswith(("models:", "runs:", "mlflow-artifacts:")):
        yield ModelFile(uri, uri_store(None, uri))
        return
    with open_tracking(tracking_uri, side, mlflow_client=mlflow_client) as tracking:
        run, logged_model = _RUN.match(uri), _LOGGED_MODEL.match(uri)
        if uri.startswith("mlflow-artifacts:"):
            yield ModelFile(uri, uri_store(tracking, uri))
        elif run:
            yield of_run(tracking, tracking.run(run[1])["info"], run[2].strip("/"))
        elif logged_model:
            yield of_logged_model(tracking, tracking.logged_model(logged_model[1])["info"], logged_model[2].strip("/"))
        else:
            with open_registry(tracking, registry_uri, side) as registry:
                yield of_version(tracking, registry, _version(registry, uri))


def of_run(tracking: Tracking, info: Mapping[str, Any], path: str) -> ModelFile:
    """Return the file of a model that a run has made.

    :param info: The run's info.
    :param path: Of the model, below the run's artifacts; or the name of a logged model of the run, which comes first,
        as for MLflow itself.
    """
    name, _, below = path.partition("/")
    found = _logged_model(tracking, info, name) if name else None
    return of_logged_model(tracking, found, below) if found is not None else _in_run(tracking, info, path)


def _in_run(tracking: Tracking, info: Mapping[str, Any], path: str) -> ModelFile:
    store = run_store(tracking, info["run_id"], info.get("artifact_uri") or "")
    return ModelFile(f"runs:/{info['run_id']}/{path}".rstrip("/"), store, path)


def _logged_model(tracking: Tracking, info: Mapping[str, Any], name: str) -> Optional[Dict[str, Any]]:
    where = "" if "'" in name else f"name = '{name}'"
    for page in tracking.search_logged_models([info["experiment_id"]], where):
        for model in page:
            fields: Dict[str, Any] = model["info"]
            if fields.get("name") == name and fields.get("source_run_id") == info["run_id"]:
                return fields
    return None


def of_logged_model(tracking: Tracking, info: Mapping[str, Any], path: str = "") -> ModelFile:
    """Return the file of a logged model.

    :param info: The logged model's info.
    :param path: Directory below its artifacts.
    """
    model_id = info["model_id"]
    store = logged_model_store(tracking, model_id, info.get("artifact_uri") or "")
    return ModelFile(f"models:/{model_id}/{path}".rstrip("/"), store, path)


def of_version(tracking: Tracking, registry: Registry, version: Mapping[str, Any]) -> ModelFile:
    """Return the file of a registered model's version: that of the run or logged model that it is made from, if known.

    :param version: The version as REST returns it.
    """
    name, number, source = version["name"], str(version["version"]), version.get("source") or ""
    location = ""
    found = _carrier(tracking, source, version)
    if found is None:
        location = registry.artifact_uri(name, number)
        found = _carrier(tracking, location, version)
    return found or ModelFile(location, version_store(tracking, registry, name, number, location), is_registrys=True)


def _carrier(tracking: Tracking, uri: str, version: Mapping[str, Any]) -> Optional[ModelFile]:
    """Return the file in the run or logged model that a source or location of a version lies in, if it is in one."""
    named = _RUN.match(uri)
    logged = model_ids(uri)
    run_ids = {named[1] if named else "", "" if logged else version.get("run_id") or ""} - {""}
    runs = _infos(lambda run_id: tracking.run(run_id)["info"], run_ids)
    models = _infos(lambda model_id: tracking.logged_model(model_id)["info"], logged)
    place = locate(uri, "", _roots(runs), _roots(models))
    if place is None:
        return None
    if place.kind != RUN:
        return of_logged_model(tracking, models[place.id], place.path)
    return (of_run if place.by_id else _in_run)(tracking, runs[place.id], place.path)


def _infos(read: Callable[[str], Dict[str, Any]], ids: Iterable[str]) -> Dict[str, Dict[str, Any]]:
    found: Dict[str, Dict[str, Any]] = {}
    for object_id in ids:
        with suppress(NotFound):
            found[object_id] = read(object_id)
    return found


def _roots(infos: Mapping[str, Mapping[str, Any]]) -> Dict[str, str]:
    return {object_id: info.get("artifact_uri") or "" for object_id, info in infos.items()}


def _version(registry: Registry, uri: str) -> Dict[str, Any]:
    match = _VERSION.match(uri)
    if not match:
        raise BadInput(
            f"{uri} is no model URI such as models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID or runs:/ID/PATH."
        )
    name, which = match["name"], match["which"]
    if match["alias"]:
        aliases = (registry.model(name) or {}).get("aliases") or []
        which = next((str(item["version"]) for item in aliases if item["alias"] == match["alias"]), None)
        if which is None:
            raise BadInput(f"There is no registered model {name} with an alias {match['alias']}.")
    if which.isdigit():
        return registry.version(name, which)
    versions = registry.versions(name)
    if which.lower() != "latest":
        versions = [version for version in versions if version.get("current_stage", "").lower() == which.lower()]
    if not versions:
        raise BadInput(f"There is no {uri}.")
    return versions[-1]
