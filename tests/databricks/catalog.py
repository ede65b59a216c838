"""A Unity Catalog in this process: the routes of Databricks with signed URLs, and those of the open-source server.

Shapes are those of MLflow's ``databricks_uc_registry_messages.proto``, ``unity_catalog_messages.proto`` and
``databricks_filesystem_service.proto``; unmodified MLflow is a client of it in ``test_registries.py``.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

Json = Dict[str, Any]
TOKEN = "token-of-the-catalog"
_BAD_KEY = re.compile(r"[.,\-=/:]")


class RefusalError(Exception):
    """An error reply."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Catalog:
    """Serves until closed.

    :param root: Folder for the files of the open-source server.
    :param schemas: Those that are there, as ``CATALOG.SCHEMA``.
    """

    def __init__(self, root: Path, schemas: Tuple[str, ...] = ("main.default", "main.prod")) -> None:
        self.root, self.schemas = root, schemas
        self.models: Dict[str, Json] = {}
        self.versions: Dict[Tuple[str, str], Json] = {}
        self.files: Dict[str, bytes] = {}
        self.requests: List[Tuple[str, str, Optional[str]]] = []
        self.fail_uploads = 0
        self.lock = threading.RLock()
        self._clock = itertools.count(int(time.time() * 1000))
        catalog = self

        class Handler(_Handler):
            owner = catalog

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    # ---- what both kinds of routes do

    def new_model(self, name: str, description: str, tags: List[Json]) -> Json:
        if name.count(".") != 2:
            raise RefusalError(400, "INVALID_PARAMETER_VALUE", "specify all three levels")
        if name.rpartition(".")[0] not in self.schemas:
            raise RefusalError(404, "NOT_FOUND", f"Schema '{name.rpartition('.')[0]}' does not exist.")
        if name in self.models:
            raise RefusalError(409, "RESOURCE_ALREADY_EXISTS", f"'{name}' already exists")
        for tag in tags:
            self.check_key(tag["key"])
        now = next(self._clock)
        model = {"name": name, "description": description, "creation_timestamp": now, "last_updated_timestamp": now}
        self.models[name] = {**model, "tags": list(tags), "aliases": {}, "last": 0}
        return self.models[name]

    def the_model(self, name: str) -> Json:
        if name not in self.models:
            raise RefusalError(404, "RESOURCE_DOES_NOT_EXIST", f"Registered model '{name}' does not exist.")
        return self.models[name]

    def the_version(self, name: str, number: Any) -> Json:
        if (name, str(number)) not in self.versions:
            raise RefusalError(404, "RESOURCE_DOES_NOT_EXIST", f"'{name}' has no version {number}.")
        return self.versions[name, str(number)]

    def new_version(self, name: str, storage: Callable[[str], str], fields: Json) -> Json:
        model = self.the_model(name)
        for tag in fields.get("tags", ()):
            self.check_key(tag["key"])
        model["last"] += 1
        number, now = str(model["last"]), next(self._clock)
        version = {
            **fields, "name": name, "version": number, "status": "PENDING_REGISTRATION", "creation_timestamp": now,
            "last_updated_timestamp": now, "storage_location": storage(number),
        }  # fmt: skip
        self.versions[name, number] = version
        return version

    def check_key(self, key: str) -> None:
        if _BAD_KEY.search(key):
            raise RefusalError(400, "INVALID_PARAMETER_VALUE", f"Tag key '{key}' has a character that is refused")

    def of(self, name: str) -> List[Json]:
        return [version for (model, _), version in self.versions.items() if model == name]

    def drop_model(self, name: str, force: bool) -> None:
        self.the_model(name)
        if self.of(name) and not force:
            raise RefusalError(400, "BAD_REQUEST", f"'{name}' is not empty.")
        for version in self.of(name):
            del self.versions[name, version["version"]]
        del self.models[name]

    def finalize(self, name: str, number: Any) -> Json:
        version = self.the_version(name, number)
        version["status"] = "READY"
        return version


class _Handler(BaseHTTPRequestHandler):
    owner: Catalog
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        pass

    def _do(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization")
        status, reply = 200, b""
        try:
            with self.owner.lock:
                self.owner.requests.append((self.command, path, token))
                if path.startswith("/store/"):
                    reply = self._store(unquote(path[len("/store") :]), body, token)
                else:
                    arguments = dict(parse_qsl(query))
                    arguments.update(json.loads(body) if body else {})
                    reply = json.dumps(self._answer(unquote(path), arguments, token)).encode()
        except RefusalError as ex:
            status, reply = ex.status, json.dumps({"error_code": ex.code, "message": str(ex)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _do  # noqa: N815 -- names that http.server wants

    def _store(self, path: str, body: bytes, token: Optional[str]) -> bytes:
        if token:
            raise RefusalError(400, "InvalidArgument", "Only one auth mechanism allowed")
        if self.command == "PUT":
            if self.owner.fail_uploads:
                self.owner.fail_uploads -= 1
                raise RefusalError(400, "Bad", "told to fail")
            self.owner.files[path] = body
            return b""
        if path not in self.owner.files:
            raise RefusalError(404, "NoSuchKey", path)
        return self.owner.files[path]

    def _answer(self, path: str, given: Json, token: Optional[str]) -> Any:
        if token != f"Bearer {TOKEN}":
            raise RefusalError(401, "UNAUTHENTICATED", "no credentials")
        for start, answer in (
            ("/api/2.0/mlflow/unity-catalog/", self._databricks),
            ("/api/2.0/fs/", self._filesystem),
            ("/api/2.1/unity-catalog/", self._open),
        ):
            if path.startswith(start):
                return answer(f"{self.command} {path[len(start) :]}", given)
        raise RefusalError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {path}'")

    # ---- Databricks

    def _databricks(self, route: str, given: Json) -> Any:
        owner, name = self.owner, given.get("name", "")
        kind, _, verb = route.partition(" ")[2].partition("/")
        if route == "GET registered-models:is-databricks-sdk-models-artifact-repository-enabled":
            return {"is_databricks_sdk_models_artifact_repository_enabled": False}
        if route == "GET registered-models/search":
            names = sorted(owner.models)
            start = int(given.get("page_token") or 0)
            bare = ("tags", "aliases", "last")
            page = [{k: v for k, v in owner.models[n].items() if k not in bare} for n in names[start : start + 2]]
            more = {"next_page_token": str(start + 2)} if start + 2 < len(names) else {}
            return {"registered_models": page, **more}
        if kind == "registered-models":
            return self._databricks_model(f"{self.command} {verb}", name, given)
        if verb == "search":
            wanted = re.fullmatch(r"name='([^']+)'", given["filter"])
            if not wanted:
                raise RefusalError(400, "INVALID_PARAMETER_VALUE", f"Unsupported filter {given['filter']}")
            bare = ("tags", "storage_location")
            return {"model_versions": [{k: v for k, v in x.items() if k not in bare} for x in owner.of(wanted[1])]}
        if verb == "create":
            keys = ("source", "run_id", "description", "tags", "model_id")
            fields = {key: given[key] for key in keys if key in given}
            folder = f"s3://managed/{name}"
            return {"model_version": owner.new_version(name, lambda number: f"{folder}/{number}", fields)}
        version = owner.the_version(name, given["version"])
        number = version["version"]
        if verb == "update":
            version["description"] = given["description"]
        elif verb == "delete":
            del owner.versions[name, number]
        elif verb in ("set-tag", "delete-tag"):
            _tag(owner, version, verb, given)
        elif verb == "generate-temporary-credentials":
            return {"credentials": {"storage_mode": "DEFAULT_STORAGE"}}
        elif verb == "get-download-uri":
            return {"artifact_uri": version["storage_location"]}
        elif verb == "finalize":
            owner.finalize(name, number)
        elif verb != "get":
            raise RefusalError(404, "ENDPOINT_NOT_FOUND", route)
        aliases = [{"alias": a, "version": n} for a, n in owner.models[name]["aliases"].items() if n == number]
        return {"model_version": {**version, "aliases": aliases}}

    def _databricks_model(self, verb: str, name: str, given: Json) -> Any:
        owner = self.owner
        if verb == "POST create":
            owner.new_model(name, given.get("description", ""), given.get("tags", []))
        model = owner.the_model(name)
        if verb == "PATCH update":
            model["description"] = given["description"]
        elif verb == "DELETE delete":
            owner.drop_model(name, False)
        elif verb in ("POST set-tag", "DELETE delete-tag"):
            _tag(owner, model, verb.split()[1], given)
        elif verb == "POST alias":
            model["aliases"][given["alias"]] = owner.the_version(name, given["version"])["version"]
        elif verb == "DELETE alias":
            model["aliases"].pop(given["alias"], None)
        elif verb not in ("POST create", "GET get"):
            raise RefusalError(404, "ENDPOINT_NOT_FOUND", verb)
        aliases = [{"alias": alias, "version": number} for alias, number in model["aliases"].items()]
        return {"registered_model": {**{k: v for k, v in model.items() if k != "last"}, "aliases": aliases}}

    def _filesystem(self, route: str, given: Json) -> Any:
        if route in ("POST create-upload-url", "POST create-download-url"):
            return {"url": f"{self.owner.uri}/store{quote(given['path'])}?signature=s", "headers": []}
        folder = route.partition("directories")[2].rstrip("/") + "/"
        below = {path: len(content) for path, content in self.owner.files.items() if path.startswith(folder)}
        if not below:
            raise RefusalError(404, "NOT_FOUND", f"there is no directory {folder}")
        dirs = {path[len(folder) :].split("/")[0] for path in below if "/" in path[len(folder) :]}
        found = [{"path": folder + name, "is_directory": True} for name in sorted(dirs)]
        found += [
            {"path": path, "is_directory": False, "file_size": size, "name": path.rpartition("/")[2]}
            for path, size in below.items()
            if "/" not in path[len(folder) :]
        ]
        return {"contents": found}

    # ---- the open-source server

    def _open(self, route: str, given: Json) -> Any:
        owner, parts = self.owner, urlsplit(route.partition(" ")[2]).path.split("/")
        if route == "POST temporary-model-version-credentials":
            return {}
        if route == "GET models":
            return {"registered_models": [_model_info(model) for model in owner.models.values()]}
        if route == "POST models":
            name = f"{given['catalog_name']}.{given['schema_name']}.{given['name']}"
            return _model_info(owner.new_model(name, given.get("comment", ""), []))
        if route == "POST models/versions":
            name = f"{given['catalog_name']}.{given['schema_name']}.{given['model_name']}"
            fields = {"source": given["source"], "run_id": given.get("run_id", "")}
            fields["description"] = given.get("comment", "")
            return _version_info(owner.new_version(name, lambda number: f"file://{owner.root}/{name}/{number}", fields))
        name = parts[1]
        model = owner.the_model(name)
        if len(parts) == 2:
            if self.command == "PATCH":
                model["description"] = given["comment"]
            if self.command == "DELETE":
                owner.drop_model(name, given.get("force") == "true")
            return _model_info(model)
        if len(parts) == 3:
            return {"model_versions": [_version_info(version) for version in owner.of(name)]}
        version = owner.the_version(name, parts[3])
        if parts[4:] == ["finalize"]:
            owner.finalize(name, parts[3])
        elif self.command == "PATCH":
            version["description"] = given["comment"]
        elif self.command == "DELETE":
            del owner.versions[name, parts[3]]
        return _version_info(version)


def _tag(owner: Catalog, thing: Json, verb: str, given: Json) -> None:
    owner.check_key(given["key"])
    thing["tags"] = [tag for tag in thing.get("tags", []) if tag["key"] != given["key"]]
    if verb == "set-tag":
        thing["tags"].append({"key": given["key"], "value": given["value"]})


def _model_info(model: Json) -> Json:
    catalog, schema, name = model["name"].split(".")
    return {
        "name": name, "catalog_name": catalog, "schema_name": schema, "full_name": model["name"],
        "comment": model["description"], "created_at": model["creation_timestamp"],
        "updated_at": model["last_updated_timestamp"],
    }  # fmt: skip


def _version_info(version: Json) -> Json:
    catalog, schema, name = version["name"].split(".")
    return {
        "model_name": name, "catalog_name": catalog, "schema_name": schema, "version": int(version["version"]),
        "source": version["source"], "run_id": version["run_id"], "comment": version["description"],
        "status": version["status"], "storage_location": version["storage_location"],
        "created_at": version["creation_timestamp"], "updated_at": version["last_updated_timestamp"],
    }  # fmt: skip
