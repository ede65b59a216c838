"""Artifacts that a Databricks workspace keeps: through presigned URLs of the cloud's store, in volumes, or in DBFS.

The routes are those of MLflow's ``databricks_artifacts.proto``, for versions of registered models those of its
``databricks_models_artifact_repo``, https://docs.databricks.com/api/workspace/files and https://docs.databricks.com/api/workspace/dbfs.
Presigned URLs are secrets and say by themselves what they allow: no credentials of the workspace go there.
"""

from __future__ import annotations

import base64
import os
import posixpath
import re
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Callable, ContextManager, Dict, Iterator, List, NamedTuple, Optional, Tuple
from urllib.parse import quote, unquote, urlsplit

from mlflow_migration.client.databricks import FILES_API, directory_entries
from mlflow_migration.client.errors import (
    BadInput,
    MlflowExportImportException,
    NotFound,
    Refused,
    Unauthorized,
    Unavailable,
)
from mlflow_migration.client.rest_client import RestClient, paged
from mlflow_migration.client.signed_urls import Signed, read_signed, renewing
from mlflow_migration.client.tracking import API, Tracking

Json = Dict[str, Any]
OpenBody = Callable[[], BinaryIO]

DBFS = "/api/2.0/dbfs"
_ROOT = "/databricks/mlflow-tracking/"
_DBFS_URI = re.compile("dbfs:(//[^/]*)?(?=/)")
_VOLUME = re.compile("/[vV]olumes?/")
_REGISTRY_ROOT = "/databricks/mlflow-registry/"
TRACE_DATA = "traces.json"
"""The file with the spans of a trace."""
_ATTEMPTS = 5  # of a file, without a byte's progress
_DBFS_BLOCK = 1024 * 1024  # the most that a read or an add-block takes
_MOST_PARTS = 10_000  # of an upload to S3
_AZURE_VERSION = "2021-08-06"


class Owner(NamedTuple):
    """What has an artifact root in the workspace's own store.

    :param is_model: It is a logged model, not a run.
    :param id: Its id.
    :param path: The path below its root that is meant; empty for the root itself.
    """

    is_model: bool
    id: str
    path: str


def owner_of(uri: str) -> Optional[Owner]:
    """Return whose artifacts a URI names, such as ``dbfs:/databricks/mlflow-tracking/1/RUN_ID/artifacts/model``.

    :return: None if they lie elsewhere.
    """
    parts = urlsplit(uri)
    if parts.scheme != "dbfs" or not unquote(parts.path).startswith(_ROOT):
        return None
    names = unquote(parts.path)[len(_ROOT) :].strip("/").split("/")
    is_model = names[1:2] == ["logged_models"]
    names = names[2 if is_model else 1 :]
    if len(names) < 2 or names[1] != "artifacts":
        return None
    return Owner(is_model, names[0], "/".join(names[2:]))


def is_in_tracking(uri: str) -> bool:
    """Tell whether a URI names a place in the workspace's own store of runs, logged models and traces."""
    return _path(uri).startswith(_ROOT)


def is_in_volume(uri: str) -> bool:
    """Tell whether a URI names a place in a volume of Unity Catalog."""
    return _VOLUME.match(_path(uri)) is not None


def _path(uri: str) -> str:
    """Return the path of a ``dbfs:`` URI as it stands: it is a name, in which nothing is encoded; else nothing."""
    match = _DBFS_URI.match(uri)
    return uri[match.end() :] if match else ""


def is_in_registry(uri: str) -> bool:
    """Tell whether a URI names the copy of a version's files that the registry of a workspace keeps."""
    return _path(uri).startswith(_REGISTRY_ROOT)


class SignedFiles:
    """The artifacts of a run or a logged model, below a path.

    :param tracking: The workspace.
    :param owner: Whose.
    """

    def __init__(self, tracking: Tracking, owner: Owner) -> None:
        self._tracking, self._rest, self._owner = tracking, tracking.rest, owner

    def _full(self, path: str) -> str:
        return posixpath.join(self._owner.path, path)

    def entries(self, path: str) -> Iterator[Tuple[str, Json]]:
        """Yield the path and what the workspace says of each entry of a directory."""
        full = self._full(path).rstrip("/")
        listed = self._tracking.logged_model_files if self._owner.is_model else self._tracking.run_files
        for page in listed(self._owner.id, full):
            for item in page:
                if item["path"] != full:  # a file lists itself
                    yield posixpath.join(path, posixpath.basename(item["path"].rstrip("/"))), item

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        """Read a file; see :func:`read_signed`."""
        full = self._full(path)
        return read_signed(lambda: self._signed(full, "read"))

    def write(self, path: str, open_body: OpenBody, size: int) -> None:
        """Write a file of ``size`` bytes."""
        full = self._full(path)
        signed = self._signed(full, "write")
        if signed.type == "AWS_PRESIGNED_URL" and size > _bytes("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", 500):
            self._write_parts(path, open_body, size)
        else:
            _write(signed, lambda: self._signed(full, "write"), open_body, size)

    # -- credentials --------------------------------------------------------------------------------------------

    def _signed(self, full: str, what: str) -> Signed:
        if self._owner.is_model:
            verb = {"read": "download", "write": "upload"}[what]
            route = f"{API}/logged-models/{quote(self._owner.id, safe='')}/artifacts/credentials-for-{verb}"
            found = self._rest.search(route, {"paths": [full]}).get("credentials") or []
            found = [one.get("credential_info") or {} for one in found]
        else:
            body = {"run_id": self._owner.id, "path": [full]}
            found = self._rest.search(f"{API}/artifacts/credentials-for-{what}", body).get("credential_infos") or []
        if not found:
            uri = self._rest.connection.uri
            raise NotFound(f"{uri} gives no credentials for the artifact {full}", http_status_code=404)
        return Signed.of(self._rest, found[0])

    # -- large files, in S3's parts -----------------------------------------------------------------------------

    def _write_parts(self, path: str, open_body: OpenBody, size: int) -> None:
        full = self._full(path)
        chunk = max(_bytes("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", 10), -(-size // _MOST_PARTS))
        number = -(-size // chunk)
        about = {"run_id": self._owner.id, "path": full}
        upload = self._rest.post(f"{API}/artifacts/create-multipart-upload", {**about, "num_parts": number})
        about["upload_id"] = upload["upload_id"]
        try:
            etags = []
            with open_body() as body:
                for index, info in enumerate(upload["upload_credential_infos"]):
                    etag = self._send_part(Signed.of(self._rest, info), body.read(chunk), {**about}, index + 1)
                    etags.append({"part_number": index + 1, "etag": etag})
            self._rest.post_once(
                f"{API}/artifacts/complete-multipart-upload", {**about, "part_etags": etags},
                lambda: self._is_there(path, size), lambda reply: True,
            )  # fmt: skip
        except BaseException:
            with suppress(MlflowExportImportException):  # the first error says what is wrong
                Signed.of(self._rest, upload["abort_credential_info"]).send("DELETE")
            raise

    def _send_part(self, signed: Signed, part: bytes, about: Json, number: int) -> str:
        try:
            return str(signed.send("PUT", part).headers["ETag"])
        except Unauthorized:
            route = f"{API}/artifacts/get-presigned-upload-part-url"
            info = self._rest.get(route, {**about, "part_number": number})["upload_credential_info"]
            return str(Signed.of(self._rest, info).send("PUT", part).headers["ETag"])

    def _is_there(self, path: str, size: int) -> Optional[bool]:
        found = dict(self.entries(posixpath.dirname(path)))
        return True if int((found.get(path) or {}).get("file_size") or -1) == size else None


class TraceFiles:
    """What a workspace keeps of a trace: ``traces.json``, which has its spans, and ``attachments/NAME``.

    :param rest: Client of the workspace.
    :param trace_id: Id of the trace.
    """

    def __init__(self, rest: RestClient, trace_id: str) -> None:
        self._rest, self._trace_id = rest, trace_id

    def entries(self, path: str) -> Iterator[Tuple[str, Json]]:
        """Yield nothing: no workspace lists them."""
        return iter(())

    def _signed(self, path: str, what: str) -> Signed:
        route = f"{API}/traces/{quote(self._trace_id, safe='')}/credentials-for-data-{what}"
        reply = self._rest.get(route, {"path": path} if path != TRACE_DATA else None)
        return Signed.of(self._rest, reply["credential_info"])

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        """Read a file; see :func:`read_signed`."""
        return read_signed(lambda: self._signed(path, "download"))

    def write(self, path: str, open_body: OpenBody, size: int) -> None:
        """Write a file of ``size`` bytes."""
        _write(self._signed(path, "upload"), lambda: self._signed(path, "upload"), open_body, size)


class VersionFiles:
    """The copy of a version's files that the registry of a workspace keeps. It can only be read.

    :param rest: Client of the workspace.
    :param name: Name of the registered model.
    :param number: Number of the version.
    """

    def __init__(self, rest: RestClient, name: str, number: str) -> None:
        self._rest, self._version = rest, {"name": name, "version": number}

    def entries(self, path: str) -> Iterator[Tuple[str, Json]]:
        """Yield the path and what the workspace says of each entry of a directory."""

        def fetch(token: Optional[str]) -> Json:
            params = {**self._version, "path": path, **({"page_token": token} if token else {})}
            return self._rest.get(f"{API}/model-versions/list-artifacts", params)

        for page in paged(fetch, "files"):
            for item in page:
                if item["path"] != path:  # a file lists itself
                    yield item["path"].rstrip("/"), item

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        """Read a file; see :func:`read_signed`."""

        def sign() -> Signed:
            params = {**self._version, "path": path}
            return Signed.of(self._rest, self._rest.get(f"{API}/model-versions/get-signed-download-uri", params))

        return read_signed(sign)

    def write(self, path: str, open_body: OpenBody, size: int) -> None:
        """Refuse: only the registry itself writes there. Raises Refused."""
        raise Refused("the registry's copies of models can't be written", http_status_code=400)


class VolumeFiles:
    """Artifacts in a volume of Unity Catalog.

    :param rest: Client of the workspace.
    :param uri: Their root, ``dbfs:/Volumes/CATALOG/SCHEMA/VOLUME/...``.
    """

    def __init__(self, rest: RestClient, uri: str) -> None:
        self._rest, self._root = rest, _path(uri).rstrip("/")

    def _route(self, path: str) -> str:
        return f"{FILES_API}/files{quote(posixpath.join(self._root, path))}"

    def entries(self, path: str) -> Iterator[Tuple[str, Json]]:
        """Yield the path and what the workspace says of each entry of a directory."""
        return directory_entries(self._rest, self._root, path)

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        """Read a file."""
        return self._rest.stream(self._route(path))

    def write(self, path: str, open_body: OpenBody, size: int) -> None:
        """Write a file of ``size`` bytes; directories above it are made."""
        self._rest.request("PUT", self._route(path), "overwrite=true", open_body=open_body, size=size)


class DbfsFiles:
    """Artifacts in DBFS, outside of the workspace's own store.

    :param rest: Client of the workspace.
    :param uri: Their root, ``dbfs:/...``.
    """

    def __init__(self, rest: RestClient, uri: str) -> None:
        self._rest, self._root = rest, _path(uri).rstrip("/")

    def _full(self, path: str) -> str:
        return posixpath.join(self._root, path).rstrip("/")

    def entries(self, path: str) -> Iterator[Tuple[str, Json]]:
        """Yield the path and what the workspace says of each entry of a directory."""
        full = self._full(path)
        try:
            found = self._rest.get(f"{DBFS}/list", {"path": full}).get("files") or []
        except NotFound:
            return
        for item in found:
            if item["path"] != full:
                yield posixpath.join(path, posixpath.basename(item["path"].rstrip("/"))), item

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        """Read a file."""
        yield self._blocks(self._full(path))

    def _blocks(self, full: str) -> Iterator[bytes]:
        done = 0
        while True:
            reply = self._rest.get(f"{DBFS}/read", {"path": full, "offset": done, "length": _DBFS_BLOCK})
            block = base64.b64decode(reply.get("data") or "")
            if not block:
                return
            done += len(block)
            yield block

    def write(self, path: str, open_body: OpenBody, size: int) -> None:
        """Write a file; from its start again if it is not known whether a block has arrived."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._write(self._full(path), open_body)
            except Unavailable:
                if attempt == _ATTEMPTS - 1:
                    raise

    def _write(self, full: str, open_body: OpenBody) -> None:
        handle = self._rest.post(f"{DBFS}/create", {"path": full, "overwrite": True})["handle"]
        for block in _chunks(open_body, _DBFS_BLOCK):
            body = {"handle": handle, "data": base64.b64encode(block).decode()}
            self._add(body)
        self._rest.request("POST", f"{DBFS}/close", body={"handle": handle}, retry=False)

    def _add(self, body: Json) -> None:
        while True:
            try:
                self._rest.request("POST", f"{DBFS}/add-block", body=body, retry=False)
                return
            except Unavailable as ex:
                if ex.http_status_code != 429:
                    raise
                self._rest.pause(ex)  # it was not even looked at


def _write(signed: Signed, sign: Callable[[], Signed], open_body: OpenBody, size: int) -> None:
    """Write a file of ``size`` bytes as the kind of its store wants it.

    :param sign: Gives a new URL.
    """
    if signed.type == "AZURE_SAS_URI":
        _write_blocks(signed, sign, open_body)
    elif signed.type == "AZURE_ADLS_GEN2_SAS_URI":
        _append(signed, sign, open_body)
    else:
        renewing(signed, sign, lambda to: to.send("PUT", open_body=open_body, size=size))


def _write_blocks(signed: Signed, sign: Callable[[], Signed], open_body: OpenBody) -> None:
    """Write to Azure's blob store: https://learn.microsoft.com/rest/api/storageservices/put-block."""
    kept = {"x-ms-version": _AZURE_VERSION}
    ids: List[str] = []
    for block in _chunks(open_body):
        block_id = base64.b64encode(b"%032d" % len(ids)).decode()
        more = f"comp=block&blockid={quote(block_id, safe='')}"
        signed = renewing(signed, sign, _sender("PUT", block, more, {**kept, "x-ms-blob-type": "BlockBlob"}))
        ids.append(block_id)
    listed = "".join(f"<Uncommitted>{block_id}</Uncommitted>" for block_id in ids)
    content = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
    renewing(signed, sign, _sender("PUT", content, "comp=blocklist", kept))


def _append(signed: Signed, sign: Callable[[], Signed], open_body: OpenBody) -> None:
    """Write to Azure's data lake: https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path."""
    signed = renewing(signed, sign, _sender("PUT", b"", "resource=file"))
    done = 0
    for block in _chunks(open_body):
        signed = renewing(signed, sign, _sender("PATCH", block, f"action=append&position={done}"))
        done += len(block)
    renewing(signed, sign, _sender("PATCH", b"", f"action=flush&position={done}"))


def _sender(method: str, body: bytes, more: str, headers: Optional[Dict[str, str]] = None) -> Callable[[Signed], Any]:
    return lambda to: to.send(method, body, more, headers)


def _chunks(open_body: OpenBody, size: int = 0) -> Iterator[bytes]:
    size = size or _bytes("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", 10)
    with open_body() as body:
        yield from iter(lambda: body.read(size), b"")


def _bytes(name: str, megabytes: int) -> int:
    """Return the number of bytes that one of MLflow's variables says."""
    text = os.environ.get(name) or ""
    if text and not (text.isdigit() and int(text)):
        raise BadInput(f"{name} must be a number of bytes, not {text!r}")
    return int(text) if text else megabytes * 1024 * 1024
