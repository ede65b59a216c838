"""Unity Catalog as a model registry: that of Databricks, and the open-source server.

It keeps the files of each version itself, has names of three parts and no stages. Paths are those of MLflow's
``databricks_uc_registry_service.proto`` and, for the open-source server, ``unity_catalog_service.proto``.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional
from urllib.parse import parse_qsl, quote, urlencode

from mlflow_migration.client.databricks import FILES_API
from mlflow_migration.client.errors import BadInput, NotFound, Refused
from mlflow_migration.client.registry import HAS_NO_STAGE, PLACEHOLDER, VERSION_KEY, Registry
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.signed_urls import Signed
from mlflow_migration.client.tracking import Tracking, tag_dict, tag_list

Json = Dict[str, Any]

API = "/api/2.0/mlflow/unity-catalog"
OSS_API = "/api/2.1/unity-catalog"

STAGE_TAG = "mlflow_exim_stage"
"""Tag of a version: the stage of the workspace's version that it was made from."""

READY = "READY"

_NO_TAG_KEY = re.compile(r"[.,\-=/:]")
_OURS = {_NO_TAG_KEY.sub("_", key): key for key in (VERSION_KEY, PLACEHOLDER)}
_PAGE = 1_000


def is_catalog_name(name: str) -> bool:
    """Tell whether a registered model's name is one of Unity Catalog: catalog, schema and model."""
    return name.count(".") == 2 and all(name.split("."))


class UnityCatalog(Registry):
    """The models of a Databricks workspace's Unity Catalog.

    :param server: The workspace.
    :param tracking: The server that has the runs; the same object if that is this workspace.
    :param uri: URI of the registry, for messages and files.
    """

    keeps_files = True
    _api = API

    def __init__(self, server: Tracking, tracking: Tracking, uri: str) -> None:
        super().__init__(server, tracking)
        self.uri = uri
        # the workspace has a registry of its own, too, in which other models have the same numbers
        self.identity = f"{server.identity} unity-catalog"

    def tag_key(self, key: str) -> str:
        """Return the key with which a tag is kept: without characters that no tag of Unity Catalog may have."""
        return _NO_TAG_KEY.sub("_", key)

    # -- registered models --------------------------------------------------------------------------------------

    def search_models(self) -> Iterator[List[Json]]:
        """Yield pages of registered models; a listing has neither their tags nor their aliases."""

        def fetch(token: Optional[str]) -> Json:
            params = {"max_results": _PAGE, **({"page_token": token} if token else {})}
            return self._rest.get(f"{API}/registered-models/search", params)

        return paged(fetch, "registered_models")

    def model(self, name: str) -> Optional[Json]:
        """Return a registered model with its tags and aliases, or None."""
        if not is_catalog_name(name):
            return None
        found = self._found(f"{API}/registered-models/get", {"name": name})
        return dict(found["registered_model"]) if found is not None else None

    def _found(self, path: str, params: Mapping[str, Any]) -> Optional[Json]:
        try:
            return self._rest.get(path, params)
        except NotFound as ex:
            if not ex.error_code:
                raise
            return None

    def create_model(self, name: str, tags: Mapping[str, str], description: str) -> Json:
        """Create a registered model; its catalog and schema must be there.

        :raises BadInput: The name has not three parts.
        """
        _check_name(name)
        body = {"name": name, "tags": tag_list(self._with_keys(tags)), "description": description}
        return self._rest.post_once(
            f"{API}/registered-models/create", body, lambda: self.model(name), lambda r: dict(r["registered_model"])
        )

    def _with_keys(self, tags: Mapping[str, str]) -> Dict[str, str]:
        return {self.tag_key(key): value for key, value in tags.items()}

    def delete_model(self, name: str) -> None:
        """Delete a registered model with all its versions; it is no error if there is none."""
        try:
            for version in self.versions(name):  # one that has versions is not deleted
                self.delete_version(name, str(version["version"]))
            self._rest.delete(f"{API}/registered-models/delete", {"name": name})
        except NotFound as ex:
            if not ex.error_code:
                raise

    # -- versions -----------------------------------------------------------------------------------------------

    def versions(self, name: str) -> List[Json]:
        """Return all versions of a registered model, sorted by number, with their tags."""
        found = [version for page in self.search_versions(f"name='{name}'") for version in page]
        return sorted(found, key=lambda version: int(version["version"]))

    def search_versions(self, where: str = "") -> Iterator[List[Json]]:
        """Yield pages of versions with their tags, which a listing lacks.

        :param where: ``name='CATALOG.SCHEMA.MODEL'``; empty for those of all models.
        """
        if not where:
            for page in self.search_models():
                yield [version for model in page for version in self.versions(model["name"])]
            return

        def fetch(token: Optional[str]) -> Json:
            params: Json = {"filter": where, "max_results": _PAGE, **({"page_token": token} if token else {})}
            return self._rest.get(f"{API}/model-versions/search", params)

        for page in paged(fetch, "model_versions"):
            yield [self.version(version["name"], str(version["version"])) for version in page]

    def version(self, name: str, number: str) -> Json:
        """Return a version. Raises NotFound."""
        reply = self._rest.get(f"{API}/model-versions/get", {"name": name, "version": number})
        return _version(reply["model_version"])

    def create_version(self, body: Json, find: Callable[[], Optional[Json]]) -> Json:
        """Create a version, which has no files yet: see :meth:`finalize`.

        :param body: As ``model-versions/create`` of a workspace's registry takes it.
        :param find: Returns the version that an attempt of unknown outcome has made.
        """
        kept = ("name", "source", "run_id", "model_id", "description")
        own = {key: body[key] for key in kept if key in body}
        own["tags"] = tag_list(self._with_keys(tag_dict(body.get("tags"))))
        path = f"{API}/model-versions/create"
        return self._rest.post_once(path, own, find, lambda reply: _version(reply["model_version"]))

    def finalize(self, name: str, number: str) -> None:
        """Say that all files of a version are there; before that nobody can use it."""
        self._rest.post(f"{API}/model-versions/finalize", {"name": name, "version": number})

    def set_stage(self, name: str, number: str, stage: str) -> None:
        """Keep the stage of a version in a tag: Unity Catalog has no stages."""
        if stage == HAS_NO_STAGE:
            self.delete_version_tag(name, number, STAGE_TAG)
        else:
            self.set_version_tag(name, number, STAGE_TAG, stage)

    # -- files of versions --------------------------------------------------------------------------------------

    def credentials(self, name: str, number: str, writes: bool) -> Json:
        """Return temporary credentials for the files of a version, as MLflow's ``TemporaryCredentials`` has them."""
        operation = "MODEL_VERSION_OPERATION_READ_WRITE" if writes else "MODEL_VERSION_OPERATION_READ"
        body = {"name": name, "version": number, "operation": operation}
        reply = self._rest.search(f"{API}/model-versions/generate-temporary-credentials", body)
        return dict(reply.get("credentials") or {})

    def signed_url(self, path: str, writes: bool) -> Signed:
        """Return where a file of Databricks' own storage is read or written.

        :param path: Below ``/Models``.
        """
        which = "create-upload-url" if writes else "create-download-url"
        reply = self._rest.search(f"{FILES_API}/{which}", {"path": path})
        return Signed.of(self._rest, {"signed_uri": reply["url"], "headers": reply.get("headers")})


class OpenUnityCatalog(UnityCatalog):
    """The models of an open-source Unity Catalog server, which has neither tags nor aliases.

    What a version was made from is kept behind the ``#`` of its source, where nothing else reads it.
    """

    def search_models(self) -> Iterator[List[Json]]:
        """Yield pages of registered models."""

        def fetch(token: Optional[str]) -> Json:
            params = {"max_results": _PAGE, **({"page_token": token} if token else {})}
            return self._rest.get(f"{OSS_API}/models", params)

        for page in paged(fetch, "registered_models"):
            yield [_open_model(info) for info in page]

    def model(self, name: str) -> Optional[Json]:
        """Return a registered model, or None."""
        found = self._found(_path(name), {}) if is_catalog_name(name) else None
        return _open_model(found) if found is not None else None

    def create_model(self, name: str, tags: Mapping[str, str], description: str) -> Json:
        """Create a registered model. Raises Refused if it is to have tags."""
        _check_name(name)
        if tags:
            raise _not_there("tags")
        catalog, schema, model = name.split(".")
        body = {"name": model, "catalog_name": catalog, "schema_name": schema, "comment": description}
        return self._rest.post_once(f"{OSS_API}/models", body, lambda: self.model(name), _open_model)

    def describe_model(self, name: str, description: str) -> None:
        """Set the description of a registered model."""
        self._rest.patch(_path(name), {"comment": description})

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        """Refuse: there are none. Raises Refused."""
        raise _not_there("tags")

    def delete_model_tag(self, name: str, key: str) -> None:
        """Do nothing: there are none."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Refuse: there are none. Raises Refused."""
        raise _not_there("aliases")

    def delete_alias(self, name: str, alias: str) -> None:
        """Do nothing: there are none."""

    def delete_model(self, name: str) -> None:
        """Delete a registered model with all its versions; it is no error if there is none."""
        try:
            self._rest.delete(f"{_path(name)}?force=true")
        except NotFound as ex:
            if not ex.error_code:
                raise

    def search_versions(self, where: str = "") -> Iterator[List[Json]]:
        """Yield pages of versions; see :meth:`UnityCatalog.search_versions`."""
        if not where:
            yield from super().search_versions()
            return
        name = where.partition("=")[2].strip().strip("'")

        def fetch(token: Optional[str]) -> Json:
            params = {"max_results": _PAGE, **({"page_token": token} if token else {})}
            return self._rest.get(f"{_path(name)}/versions", params)

        for page in paged(fetch, "model_versions"):
            yield [_open_version(info) for info in page]

    def version(self, name: str, number: str) -> Json:
        """Return a version. Raises NotFound."""
        return _open_version(self._rest.get(_path(name, number)))

    def create_version(self, body: Json, find: Callable[[], Optional[Json]]) -> Json:
        """Create a version, which has no files yet; see :meth:`UnityCatalog.create_version`.

        :raises Refused: It is to have tags.
        """
        catalog, schema, model = body["name"].split(".")
        tags = tag_dict(body.get("tags"))
        if set(tags) - {VERSION_KEY, PLACEHOLDER}:
            raise _not_there("tags")
        ours = urlencode({key: tags[key] for key in (VERSION_KEY, PLACEHOLDER) if key in tags}, quote_via=quote)
        own = {"model_name": model, "catalog_name": catalog, "schema_name": schema, "source": body["source"]}
        if ours:
            own["source"] = f"{body['source']}#{ours}"
        optional = {"run_id": body.get("run_id"), "comment": body.get("description")}
        own.update({key: value for key, value in optional.items() if value})
        return self._rest.post_once(f"{OSS_API}/models/versions", own, find, _open_version)

    def finalize(self, name: str, number: str) -> None:
        """Say that all files of a version are there."""
        self._rest.patch(f"{_path(name, number)}/finalize", {"full_name": name, "version": int(number)})

    def describe_version(self, name: str, number: str, description: str) -> None:
        """Set the description of a version."""
        self._rest.patch(_path(name, number), {"comment": description})

    def set_version_tag(self, name: str, number: str, key: str, value: str) -> None:
        """Refuse: there are none. Raises Refused."""
        raise _not_there("stages and tags" if key == STAGE_TAG else "tags")

    def delete_version_tag(self, name: str, number: str, key: str) -> None:
        """Do nothing: there are none."""

    def delete_version(self, name: str, number: str) -> None:
        """Delete a version. It is no error if there is none."""
        try:
            self._rest.delete(_path(name, number))
        except NotFound as ex:
            if not ex.error_code:
                raise

    def artifact_uri(self, name: str, number: str) -> str:
        """Return where the files of a version are. Raises NotFound."""
        return str(self._rest.get(_path(name, number)).get("storage_location") or "")

    def credentials(self, name: str, number: str, writes: bool) -> Json:
        """Return temporary credentials for the files of a version."""
        catalog, schema, model = name.split(".")
        body = {
            "catalog_name": catalog,
            "schema_name": schema,
            "model_name": model,
            "version": int(number),
            "operation": "READ_WRITE_MODEL_VERSION" if writes else "READ_MODEL_VERSION",
        }
        return self._rest.search(f"{OSS_API}/temporary-model-version-credentials", body)


def _check_name(name: str) -> None:
    if not is_catalog_name(name):
        raise BadInput(f"'{name}' is no name of Unity Catalog, which has three parts: CATALOG.SCHEMA.MODEL.")


def _version(doc: Mapping[str, Any]) -> Json:
    """Return a version as a workspace's registry would have it: the stage out of its tag, our keys as they are."""
    tags = {_OURS.get(key, key): value for key, value in tag_dict(doc.get("tags")).items()}
    stage = tags.pop(STAGE_TAG, HAS_NO_STAGE)
    return {**doc, "tags": tag_list(tags), "current_stage": stage}


def _open_model(info: Mapping[str, Any]) -> Json:
    return {
        "name": info.get("full_name") or f"{info['catalog_name']}.{info['schema_name']}.{info['name']}",
        "creation_timestamp": info.get("created_at") or 0,
        "last_updated_timestamp": info.get("updated_at") or 0,
        "description": info.get("comment") or "",
    }


def _open_version(info: Mapping[str, Any]) -> Json:
    source, _, ours = str(info.get("source") or "").partition("#")
    return {
        "name": f"{info['catalog_name']}.{info['schema_name']}.{info['model_name']}",
        "version": str(info["version"]),
        "creation_timestamp": info.get("created_at") or 0,
        "last_updated_timestamp": info.get("updated_at") or 0,
        "description": info.get("comment") or "",
        "source": source,
        "run_id": info.get("run_id") or "",
        "status": info.get("status") or "",
        "tags": tag_list(dict(parse_qsl(ours))),
        "current_stage": HAS_NO_STAGE,
    }


def _path(name: str, number: str = "") -> str:
    return f"{OSS_API}/models/{quote(name, safe='')}" + (f"/versions/{number}" if number else "")


def _not_there(what: str) -> Refused:
    return Refused(f"an open-source Unity Catalog has no {what}", http_status_code=400)
