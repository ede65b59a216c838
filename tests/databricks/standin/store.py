"""The object store behind a workspace: files below a directory, reached by presigned URLs as S3's are."""

from __future__ import annotations

import hashlib
import hmac
import os
import posixpath
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import quote, urlencode

from werkzeug.wrappers import Request, Response

from tests.databricks.standin.platform import Call, Platform, Route, absent, invalid

#: a header that is part of each signature: who leaves it out is refused
SIGNED_HEADER = ("x-amz-server-side-encryption", "AES256")
_PREFIX = "/store"
_RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")


class Store:
    """Files by key, such as databricks/mlflow-tracking/1/RUN/artifacts/model/MLmodel."""

    def __init__(self, platform: Platform) -> None:
        """Files lie below the root of the workspace's data."""
        self._platform = platform
        self._files, self._parts = platform.root / "store", platform.root / "parts"
        self._secret = os.urandom(16)

    def path(self, key: str) -> Path:
        """File of a key.

        :raises ApiError: The key leaves its place.
        """
        parts = key.strip("/").split("/")
        if ".." in parts or "\0" in key:
            raise invalid(f"Invalid path: {key}")
        return self._files.joinpath(*parts)

    def write(self, key: str, data: bytes) -> None:
        """Put a file."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def list(self, key: str) -> List[Tuple[str, Optional[int]]]:
        """What is right below a key: names and sizes, None for a directory; empty if nothing is there."""
        path = self.path(key)
        if not path.is_dir():
            return []
        return [(p.name, None if p.is_dir() else p.stat().st_size) for p in sorted(path.iterdir())]

    def copy(self, key: str, to: str) -> bool:
        """Copy all below a key; False if nothing is there."""
        if not self.path(key).is_dir():
            return False
        shutil.copytree(self.path(key), self.path(to), dirs_exist_ok=True)
        return True

    # ---- presigned URLs

    def sign(self, method: str, key: str, **extra: str) -> str:
        """A URL by which whoever has it can do one thing for a while, with `SIGNED_HEADER`."""
        query = {**extra, "X-Amz-Expires": str(time.time() + self._platform.settings.url_seconds)}
        query["X-Amz-Signature"] = self._signature(method, key, query)
        return f"{self._platform.url}{_PREFIX}/{quote(key.strip('/'))}?{urlencode(query)}"

    def _signature(self, method: str, key: str, query: Dict[str, str]) -> str:
        signed = "\n".join([method, key.strip("/"), *(f"{k}={v}" for k, v in sorted(query.items()))])
        return hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()

    def credential(self, method: str, key: str, **extra: str) -> Dict[str, Any]:
        """URL, headers and kind of an `ArtifactCredentialInfo`."""
        return {"signed_uri": self.sign(method, key, **extra), "headers": signed_headers(), "type": "AWS_PRESIGNED_URL"}

    def handle(self, call: Call, key: str) -> Response:
        """Answer a request to a presigned URL."""
        request = call.request
        refusal = self._refusal(request, key)
        if refusal:
            return refusal
        upload = request.args.get("uploadId")
        if request.method == "PUT":
            return self._put(request, key, upload)
        if request.method == "DELETE" and upload:
            shutil.rmtree(self._parts / upload, ignore_errors=True)
            return Response(status=204)
        return self.get(request, key)

    def _refusal(self, request: Request, key: str) -> Optional[Response]:
        query = dict(request.args)
        signature = query.pop("X-Amz-Signature", "")
        method = "GET" if request.method == "HEAD" else request.method
        if "Authorization" in request.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        if signature != self._signature(method, key, query):
            return _xml(403, "SignatureDoesNotMatch", "The request signature does not match")
        if request.headers.get(SIGNED_HEADER[0]) != SIGNED_HEADER[1]:
            return _xml(403, "AccessDenied", f"The signed header {SIGNED_HEADER[0]} is missing")
        if float(query["X-Amz-Expires"]) < time.time():
            return _xml(403, "AccessDenied", "Request has expired")
        return None

    def get(self, request: Request, key: str) -> Response:
        """A file, or the part of it that is asked for."""
        path = self.path(key)
        if not path.is_file():
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        size, match = path.stat().st_size, _RANGE.match(request.headers.get("Range", ""))
        first, last = 0, size - 1
        if match:
            first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
            if first > last:
                return _xml(416, "InvalidRange", "The requested range is not satisfiable")
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
        if match:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        body = () if request.method == "HEAD" else _read(path, first, last - first + 1)
        return Response(body, 206 if match else 200, headers, mimetype="application/octet-stream")

    def _put(self, request: Request, key: str, upload: Optional[str]) -> Response:
        path = self.path(key)
        if upload:
            path = self._parts / upload / request.args["partNumber"]
            if not path.parent.is_dir():
                return _xml(404, "NoSuchUpload", "The specified upload does not exist.")
        if (request.content_length or 0) > self._platform.settings.max_put_bytes:
            return _xml(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        path.parent.mkdir(parents=True, exist_ok=True)
        part, digest = path.with_name(f"{path.name}.{uuid.uuid4().hex}"), hashlib.md5()
        with open(part, "wb") as file:
            for chunk in iter(lambda: request.stream.read(1 << 20), b""):
                file.write(chunk)
                digest.update(chunk)
        os.replace(part, path)
        return Response(status=200, headers={"ETag": f'"{digest.hexdigest()}"'})

    # ---- uploads in parts

    def begin(self) -> str:
        """Begin an upload in parts; returns its id."""
        upload = uuid.uuid4().hex
        (self._parts / upload).mkdir(parents=True)
        return upload

    def complete(self, key: str, upload: str, parts: List[Dict[str, Any]]) -> None:
        """Join the parts.

        :raises ApiError: There is no such upload, or a part lacks, differs or is too small.
        """
        home = self._parts / upload
        if not upload.isalnum() or not home.is_dir():
            raise absent(f"Upload {upload} does not exist")
        files = [home / str(part["part_number"]) for part in sorted(parts, key=lambda p: int(p["part_number"]))]
        for path, part in zip(files, sorted(parts, key=lambda p: int(p["part_number"]))):
            if not path.exists() or hashlib.md5(path.read_bytes()).hexdigest() != str(part["etag"]).strip('"'):
                raise invalid(f"One or more of the specified parts could not be found: {part['part_number']}")
        if not files or any(p.stat().st_size < self._platform.settings.min_part_bytes for p in files[:-1]):
            raise invalid("Your proposed upload is smaller than the minimum allowed size")
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as whole:
            for path in files:
                whole.write(path.read_bytes())
        shutil.rmtree(home)


def signed_headers() -> List[Dict[str, str]]:
    """The headers that go with each presigned URL."""
    return [{"name": SIGNED_HEADER[0], "value": SIGNED_HEADER[1]}]


def inner(path: str) -> str:
    """A path within a run or model, normalised and without ways out.

    :raises ApiError: It leads out.
    """
    clean = posixpath.normpath(path) if path else ""
    if clean.startswith(("/", "..")):
        raise invalid(f"Invalid path: {path}")
    return "" if clean == "." else clean


def routes(store: Store) -> List[Route]:
    """All of them."""
    return [(method, f"{_PREFIX}/<path:key>", store.handle) for method in ("GET", "PUT", "DELETE")]


def _read(path: Path, first: int, size: int) -> Any:
    with open(path, "rb") as file:
        file.seek(first)
        while size > 0:
            chunk = file.read(min(size, 1 << 20))
            size -= len(chunk)
            yield chunk


def _xml(status: int, code: str, message: str) -> Response:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(text, status, mimetype="application/xml")
