"""Unity Catalog's model registry: three-level names, aliases instead of stages, and versions with a signature."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List

import yaml
from werkzeug.wrappers import Response

from tests.databricks.standin.artifacts import page_of
from tests.databricks.standin.platform import (
    ApiError,
    Call,
    Platform,
    Route,
    absent,
    denied,
    exists,
    invalid,
    now,
)
from tests.databricks.standin.store import Store, signed_headers
from tests.databricks.standin.unity_rights import UnityRights

_UNITY = "/api/2.0/mlflow/unity-catalog"
_FILES = "/api/2.0/fs"
_NOT_IN_TAG_KEYS = re.compile(r"[.,\-=/:]")
_FILTER = re.compile(r"^\s*(name|run_id)\s*=\s*'([^']*)'\s*$")


@dataclass
class Model:
    """A registered model."""

    name: str
    owner: str
    description: str = ""
    tags: Dict[str, str] = field(default_factory=dict)
    aliases: Dict[str, str] = field(default_factory=dict)
    versions: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    last: int = 0  # number of the newest version there ever was
    created: int = field(default_factory=now)
    updated: int = field(default_factory=now)


class Unity:
    """The registered models."""

    def __init__(self, platform: Platform, rights: UnityRights, store: Store) -> None:
        """Nothing is registered yet."""
        self._platform, self._rights, self._store = platform, rights, store
        self._models: Dict[str, Model] = {}

    # ---- models

    def _model(self, call: Call, privilege: str, name: str = "") -> Model:
        name = name or call.need("name")
        model = self._models.get(name)
        if model is None:
            self._check_name(name)
            raise absent(f"Registered model '{name}' does not exist.")
        self._rights.check(call.user, "function", name, privilege)
        return model

    def _check_name(self, name: str) -> None:
        parts = name.split(".")
        if len(parts) != 3 or not all(parts):
            raise invalid(f"Model name '{name}' must be of the form <catalog_name>.<schema_name>.<model_name>")
        if not any(schema.split(".")[0] == parts[0] for schema in self._platform.schemas):
            raise ApiError(404, "CATALOG_DOES_NOT_EXIST", f"Catalog '{parts[0]}' does not exist.")
        if ".".join(parts[:2]) not in self._platform.schemas:
            raise ApiError(404, "SCHEMA_DOES_NOT_EXIST", f"Schema '{'.'.join(parts[:2])}' does not exist.")

    def create(self, call: Call) -> Dict[str, Any]:
        """POST registered-models/create."""
        name = call.need("name")
        self._check_name(name)
        self._rights.check(call.user, "schema", name.rpartition(".")[0], "CREATE_MODEL")
        if name in self._models:
            raise exists(f"Function or Model '{name}' already exists")
        model = Model(name, call.user.name, str(call.args.get("description") or ""), _checked(call.args.get("tags")))
        self._models[name] = model
        self._rights.own("function", name, call.user.name)
        return {"registered_model": _model_shape(model)}

    def get(self, call: Call) -> Dict[str, Any]:
        """GET registered-models/get."""
        return {"registered_model": _model_shape(self._model(call, "EXECUTE"))}

    def update(self, call: Call) -> Dict[str, Any]:
        """PATCH registered-models/update."""
        model = self._model(call, "MANAGE")
        if call.args.get("new_name"):
            new = call.need("new_name")
            new = new if new.count(".") == 2 else f"{model.name.rpartition('.')[0]}.{new}"
            self._check_name(new)
            if new in self._models:
                raise exists(f"Function or Model '{new}' already exists")
            self._models[new] = self._models.pop(model.name)
            self._rights.move(model.name, new)
            model.name = new
        if "description" in call.args:
            model.description = str(call.args["description"])
        model.updated = now()
        return {"registered_model": _model_shape(model)}

    def delete(self, call: Call) -> Dict[str, Any]:
        """DELETE registered-models/delete, with all versions."""
        del self._models[self._model(call, "MANAGE").name]
        return {}

    def search(self, call: Call) -> Dict[str, Any]:
        """GET registered-models/search: without tags and aliases."""
        found = []
        for name, model in sorted(self._models.items()):
            if self._rights.has(call.user, "function", name, "EXECUTE"):
                shape = _model_shape(model)
                found.append({k: v for k, v in shape.items() if k not in ("tags", "aliases")})
        return self._page(call, "registered_models", found)

    def _page(self, call: Call, name: str, found: List[Dict[str, Any]]) -> Dict[str, Any]:
        if not call.args.get("max_results"):
            return page_of(call, self._platform, name, found)
        start, size = call.number("page_token", 0), call.number("max_results", 100)
        rest = {"next_page_token": str(start + size)} if start + size < len(found) else {}
        return {name: found[start : start + size], **rest}

    # ---- tags and aliases

    def set_model_tag(self, call: Call) -> Dict[str, Any]:
        """POST registered-models/set-tag."""
        self._model(call, "APPLY_TAG").tags.update(_checked([{"key": call.need("key"), "value": call.args["value"]}]))
        return {}

    def delete_model_tag(self, call: Call) -> Dict[str, Any]:
        """DELETE registered-models/delete-tag."""
        self._model(call, "APPLY_TAG").tags.pop(call.need("key"), None)
        return {}

    def set_version_tag(self, call: Call) -> Dict[str, Any]:
        """POST model-versions/set-tag."""
        tag = _checked([{"key": call.need("key"), "value": call.args["value"]}])
        self._version(call, "APPLY_TAG")["tags"].update(tag)
        return {}

    def delete_version_tag(self, call: Call) -> Dict[str, Any]:
        """DELETE model-versions/delete-tag."""
        self._version(call, "APPLY_TAG")["tags"].pop(call.need("key"), None)
        return {}

    def set_alias(self, call: Call) -> Dict[str, Any]:
        """POST registered-models/alias."""
        self._version(call, "MANAGE")
        self._model(call, "MANAGE").aliases[call.need("alias")] = call.need("version")
        return {}

    def delete_alias(self, call: Call) -> Dict[str, Any]:
        """DELETE registered-models/alias."""
        self._model(call, "MANAGE").aliases.pop(call.need("alias"), None)
        return {}

    def by_alias(self, call: Call) -> Dict[str, Any]:
        """GET registered-models/alias."""
        model, alias = self._model(call, "EXECUTE"), call.need("alias")
        if alias not in model.aliases:
            raise absent(f"Alias '{alias}' of '{model.name}' does not exist.")
        return {"model_version": _version_shape(model, model.versions[model.aliases[alias]])}

    # ---- versions

    def _version(self, call: Call, privilege: str, name: str = "", version: str = "") -> Dict[str, Any]:
        model, version = self._model(call, privilege, name), version or call.need("version")
        if version not in model.versions:
            raise absent(f"Model version '{model.name}' version {version} does not exist.")
        return model.versions[version]

    def create_version(self, call: Call) -> Dict[str, Any]:
        """POST model-versions/create: its files are to be written next."""
        model = self._model(call, "MANAGE")
        source = call.need("source")
        with self._platform.lock:
            model.last += 1
        names = ("source", "run_id", "description", "run_tracking_server_id", "model_id")
        given = {n: str(call.args[n]) for n in names if call.args.get(n)}
        place = f"unity/{uuid.uuid4().hex}/models/{model.last}"
        bucket = self._platform.bucket
        version = {
            **given,
            "source": source,
            "name": model.name,
            "version": str(model.last),
            "user_id": call.user.name,
            "creation_timestamp": now(),
            "last_updated_timestamp": now(),
            "status": "PENDING_REGISTRATION",
            "storage_location": f"s3://{bucket['name']}/{place}" if bucket else f"dbfs:/{place}",
            "tags": _checked(call.args.get("tags")),
        }
        model.versions[str(model.last)] = version
        return {"model_version": _version_shape(model, version)}

    def finalize(self, call: Call) -> Dict[str, Any]:
        """POST model-versions/finalize: without a signature for inputs and outputs it is refused."""
        version = self._version(call, "MANAGE")
        try:
            text = self._read(version["storage_location"], "MLmodel")
        except FileNotFoundError:
            raise invalid("The model version has no MLmodel file.") from None
        signature = (yaml.safe_load(text) or {}).get("signature") or {}
        if not signature.get("inputs") or not signature.get("outputs"):
            version["status"] = "FAILED_REGISTRATION"
            raise invalid("All models in the Unity Catalog must have a signature with both inputs and outputs.")
        version.update(status="READY", last_updated_timestamp=now())
        return {"model_version": _version_shape(self._model(call, "MANAGE"), version)}

    def _read(self, location: str, name: str) -> bytes:
        bucket = self._platform.bucket
        if not bucket:
            return self._store.path(f"{location[len('dbfs:/') :]}/{name}").read_bytes()
        import boto3

        env = bucket["env"]
        s3 = boto3.client(
            "s3",
            endpoint_url=env["MLFLOW_S3_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            region_name=env["AWS_DEFAULT_REGION"],
        )
        key = f"{location.split('/', 3)[3]}/{name}"
        try:
            return s3.get_object(Bucket=bucket["name"], Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            raise FileNotFoundError(key) from None

    def get_version(self, call: Call) -> Dict[str, Any]:
        """GET model-versions/get."""
        version = self._version(call, "EXECUTE")
        return {"model_version": _version_shape(self._model(call, "EXECUTE"), version)}

    def update_version(self, call: Call) -> Dict[str, Any]:
        """PATCH model-versions/update."""
        version = self._version(call, "MANAGE")
        version.update(description=str(call.args.get("description") or ""), last_updated_timestamp=now())
        return {"model_version": _version_shape(self._model(call, "MANAGE"), version)}

    def delete_version(self, call: Call) -> Dict[str, Any]:
        """DELETE model-versions/delete, and the aliases that name it."""
        number = self._version(call, "MANAGE")["version"]
        model = self._model(call, "MANAGE")
        del model.versions[number]
        model.aliases = {alias: known for alias, known in model.aliases.items() if known != number}
        return {}

    def search_versions(self, call: Call) -> Dict[str, Any]:
        """GET model-versions/search: by name or by run, without tags and aliases."""
        match = _FILTER.match(str(call.args.get("filter") or ""))
        if not match:
            raise invalid("The filter must be of the form name = 'model_name' or run_id = 'run_id'")
        found = []
        for name, model in sorted(self._models.items()):
            if not self._rights.has(call.user, "function", name, "EXECUTE"):
                continue
            for version in sorted(model.versions.values(), key=lambda v: -int(v["version"])):
                if {"name": name, "run_id": version.get("run_id")}[match[1]] == match[2]:
                    shape = _version_shape(model, version)
                    found.append({k: v for k, v in shape.items() if k not in ("tags", "aliases")})
        return self._page(call, "model_versions", found)

    def download_uri(self, call: Call) -> Dict[str, Any]:
        """GET model-versions/get-download-uri."""
        return {"artifact_uri": self._version(call, "EXECUTE")["storage_location"]}

    # ---- files

    def credentials(self, call: Call) -> Dict[str, Any]:
        """POST model-versions/generate-temporary-credentials."""
        writes = str(call.args.get("operation")) in ("MODEL_VERSION_OPERATION_READ_WRITE", "2")
        version = self._version(call, "MANAGE" if writes else "EXECUTE")
        if writes and version["status"] != "PENDING_REGISTRATION":
            raise invalid("The files of a registered version can't be changed.")
        bucket = self._platform.bucket
        expires = now() + int(self._platform.settings.url_seconds * 1000)
        if not bucket:
            return {"credentials": {"storage_mode": "DEFAULT_STORAGE", "expiration_time": expires}}
        env = bucket["env"]
        keys = {
            "access_key_id": env["AWS_ACCESS_KEY_ID"],
            "secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
            "session_token": "tests-session-token",
        }
        given = {"aws_temp_credentials": keys, "expiration_time": expires, "storage_mode": "CUSTOMER_HOSTED"}
        return {"credentials": given}

    def _place(self, call: Call, path: str, writes: bool) -> str:
        """Key in the store of /Models/CATALOG/SCHEMA/MODEL/VERSION/PATH or /Volumes/CATALOG/SCHEMA/VOLUME/PATH."""
        parts = path.strip("/").split("/")
        if parts[0] == "Volumes" and ".".join(parts[1:3]) in self._platform.schemas and len(parts) > 3:
            return "/".join(parts)
        if parts[0] == "WorkspaceInternal":
            # MLflow's client tries the Files API for artifacts of runs first; it takes a 404 for an empty directory
            raise denied("The Files API is not enabled for artifacts in this workspace.")
        if len(parts) < 5 or parts[0] != "Models":
            raise ApiError(404, "NOT_FOUND", f"{path} is not found")
        privilege = "MANAGE" if writes else "EXECUTE"
        version = self._version(call, privilege, ".".join(parts[1:4]), parts[4])
        if writes and version["status"] != "PENDING_REGISTRATION":
            raise invalid("The files of a registered version can't be changed.")
        return "/".join([version["storage_location"][len("dbfs:/") :], *parts[5:]])

    def url(self, call: Call, method: str) -> Dict[str, Any]:
        """POST fs/create-download-url, fs/create-upload-url."""
        key = self._place(call, call.need("path"), method == "PUT")
        return {"url": self._store.sign(method, key), "headers": signed_headers()}

    def file(self, call: Call, path: str) -> Response:
        """GET, HEAD, PUT fs/files/PATH: of volumes; files of versions are reached by URLs only."""
        key = self._place(call, path, call.request.method == "PUT")
        if not key.startswith("Volumes/"):
            raise ApiError(404, "NOT_FOUND", f"/{path} is not found")
        if call.request.method == "PUT":
            if self._store.path(key).exists() and not call.flag("overwrite"):
                raise ApiError(409, "ALREADY_EXISTS", f"/{path} exists")
            self._store.write(key, call.request.get_data())
            return Response(status=204)
        return self._store.get(call.request, key)

    def directory(self, call: Call, path: str) -> Dict[str, Any]:
        """GET fs/directories/PATH."""
        key = self._place(call, path.rstrip("/"), False)
        if not self._store.path(key).is_dir():
            raise ApiError(404, "NOT_FOUND", f"/{path} is no directory")
        entries = [
            {
                "path": f"/{path.strip('/')}/{name}",
                "name": name,
                "is_directory": size is None,
                **({} if size is None else {"file_size": size}),
            }
            for name, size in self._store.list(key)
        ]
        return page_of(call, self._platform, "contents", entries)


def _checked(tags: Any) -> Dict[str, str]:
    for tag in tags or ():
        if _NOT_IN_TAG_KEYS.search(tag["key"]):
            raise invalid(f"Tag key '{tag['key']}' contains one of the characters . , - = / :")
    return {tag["key"]: str(tag.get("value") or "") for tag in tags or ()}


def _listed(tags: Dict[str, str]) -> List[Dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _model_shape(model: Model) -> Dict[str, Any]:
    return {
        "name": model.name,
        "creation_timestamp": model.created,
        "last_updated_timestamp": model.updated,
        "user_id": model.owner,
        "description": model.description,
        "tags": _listed(model.tags),
        "aliases": [{"alias": alias, "version": version} for alias, version in model.aliases.items()],
    }


def _version_shape(model: Model, version: Dict[str, Any]) -> Dict[str, Any]:
    aliases = [{"alias": a, "version": v} for a, v in model.aliases.items() if v == version["version"]]
    return {**version, "name": model.name, "tags": _listed(version["tags"]), "aliases": aliases}


def routes(unity: Unity) -> List[Route]:
    """All of them."""
    models: Dict[str, Callable[..., Dict[str, Any]]] = {
        "POST create": unity.create,
        "GET get": unity.get,
        "PATCH update": unity.update,
        "DELETE delete": unity.delete,
        "GET search": unity.search,
        "POST set-tag": unity.set_model_tag,
        "DELETE delete-tag": unity.delete_model_tag,
        "POST alias": unity.set_alias,
        "DELETE alias": unity.delete_alias,
        "GET alias": unity.by_alias,
    }
    versions: Dict[str, Callable[..., Dict[str, Any]]] = {
        "POST create": unity.create_version,
        "GET get": unity.get_version,
        "PATCH update": unity.update_version,
        "DELETE delete": unity.delete_version,
        "GET search": unity.search_versions,
        "POST finalize": unity.finalize,
        "POST set-tag": unity.set_version_tag,
        "DELETE delete-tag": unity.delete_version_tag,
        "GET get-download-uri": unity.download_uri,
        "POST generate-temporary-credentials": unity.credentials,
        "POST emit-lineage": lambda _: {},
    }
    enabled = "is-databricks-sdk-models-artifact-repository-enabled"
    found: List[Route] = [
        ("GET", f"{_UNITY}/registered-models:{enabled}", lambda _: {enabled.replace("-", "_"): False}),
        ("POST", f"{_FILES}/create-download-url", lambda call: unity.url(call, "GET")),
        ("POST", f"{_FILES}/create-upload-url", lambda call: unity.url(call, "PUT")),
        ("GET", f"{_FILES}/directories/<path:path>", unity.directory),
        *((method, f"{_FILES}/files/<path:path>", unity.file) for method in ("GET", "PUT")),
    ]
    for kind, table in (("registered-models", models), ("model-versions", versions)):
        for verb, function in table.items():
            method, name = verb.split()
            found.append((method, f"{_UNITY}/{kind}/{name}", function))
    return found
