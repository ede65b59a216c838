"""An open-source Unity Catalog server in this process, as far as it has registered models.

Shapes are those of MLflow's ``unity_catalog_messages.proto``; unmodified MLflow is a client of it in
``test_open_catalog.py``.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Tuple
from urllib.parse import parse_qsl, unquote

Json = Dict[str, Any]
TOKEN = "token-of-the-catalog"
_API = "/api/2.1/unity-catalog/"
_PAGE = 2  # models or versions


class RefusalError(Exception):
    """An error reply."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class OpenCatalog:
    """Serves until closed.

    :param root: Directory for the files of versions.
    :param schemas: Those that are there, as ``CATALOG.SCHEMA``.
    """

    def __init__(self, root: Path, schemas: Tuple[str, ...] = ("main.default", "main.prod")) -> None:
        self.root, self.schemas = root, schemas
        self.models: Dict[str, Json] = {}
        self.versions: Dict[Tuple[str, str], Json] = {}
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

    def of(self, name: str) -> List[Json]:
        """The versions of a model."""
        return [version for (model, _), version in self.versions.items() if model == name]

    def answer(self, method: str, parts: List[str], given: Json) -> Json:
        """The reply to a request: its path below ``unity-catalog`` in parts, and its query and body in one."""
        if parts == ["temporary-model-version-credentials"]:
            return {}
        if parts == ["models"]:
            return self._new_model(given) if method == "POST" else _page("registered_models", self.models, given)
        if parts == ["models", "versions"]:
            return self._new_version(given)
        if len(parts) == 2:
            return self._model(method, parts[1], given)
        if len(parts) == 3:
            self._the_model(parts[1])
            return _page("model_versions", {version["version"]: version for version in self.of(parts[1])}, given)
        return self._version(method, parts, given)

    def _new_model(self, given: Json) -> Json:
        schema = f"{given['catalog_name']}.{given['schema_name']}"
        name = f"{schema}.{given['name']}"
        if schema not in self.schemas:
            raise RefusalError(404, "NOT_FOUND", f"Schema '{schema}' does not exist.")
        if name in self.models:
            raise RefusalError(409, "ALREADY_EXISTS", f"'{name}' already exists")
        now = next(self._clock)
        fields = {key: given.get(key, "") for key in ("name", "catalog_name", "schema_name", "comment")}
        self.models[name] = {**fields, "full_name": name, "created_at": now, "updated_at": now}
        return self.models[name]

    def _the_model(self, name: str) -> Json:
        if name not in self.models:
            raise RefusalError(404, "NOT_FOUND", f"Registered model '{name}' does not exist.")
        return self.models[name]

    def _model(self, method: str, name: str, given: Json) -> Json:
        model = self._the_model(name)
        if method == "PATCH":
            model["comment"] = given["comment"]
        if method == "DELETE":
            if self.of(name) and given.get("force") != "true":
                raise RefusalError(400, "FAILED_PRECONDITION", f"'{name}' is not empty.")
            self.versions = {key: version for key, version in self.versions.items() if key[0] != name}
            del self.models[name]
        return model

    def _new_version(self, given: Json) -> Json:
        keys = ("model_name", "catalog_name", "schema_name", "source", "run_id", "comment")
        fields = {key: given.get(key, "") for key in keys}
        name = f"{fields['catalog_name']}.{fields['schema_name']}.{fields['model_name']}"
        model = self._the_model(name)
        number = model["last"] = model.get("last", 0) + 1
        now = next(self._clock)
        self.versions[name, str(number)] = {
            **fields, "version": number, "status": "PENDING_REGISTRATION", "created_at": now, "updated_at": now,
            "storage_location": f"file://{self.root}/{name}/{number}",
        }  # fmt: skip
        return self.versions[name, str(number)]

    def _version(self, method: str, parts: List[str], given: Json) -> Json:
        key = parts[1], parts[3]
        if key not in self.versions:
            raise RefusalError(404, "NOT_FOUND", f"'{parts[1]}' has no version {parts[3]}.")
        version = self.versions[key]
        if parts[4:] == ["finalize"]:
            version["status"] = "READY"
        elif method == "PATCH":
            version["comment"] = given["comment"]
        elif method == "DELETE":
            del self.versions[key]
        return version


def _page(what: str, found: Dict[Any, Json], given: Json) -> Json:
    start = int(given.get("page_token") or 0)
    token = {"next_page_token": str(start + _PAGE)} if start + _PAGE < len(found) else {}
    return {what: list(found.values())[start : start + _PAGE], **token}


class _Handler(BaseHTTPRequestHandler):
    owner: OpenCatalog
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        pass

    def _do(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = 200
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise RefusalError(401, "UNAUTHENTICATED", "no credentials")
            if not path.startswith(_API):
                raise RefusalError(404, "NOT_FOUND", f"No API found for '{self.command} {path}'")
            given = {**dict(parse_qsl(query)), **(json.loads(body) if body else {})}
            with self.owner.lock:
                reply = self.owner.answer(self.command, unquote(path)[len(_API) :].split("/"), given)
        except RefusalError as ex:
            status, reply = ex.status, {"error_code": ex.code, "message": str(ex)}
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815 -- names that http.server wants
