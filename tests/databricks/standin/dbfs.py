"""DBFS: files outside the artifact roots, through its API and the /dbfs/ paths that MLflow's client uses."""

from __future__ import annotations

import base64
import itertools
import shutil
from typing import Any, Dict, List, Tuple

from werkzeug.wrappers import Response

from tests.databricks.standin.platform import ApiError, Call, Platform, Route, absent, denied, exists, invalid
from tests.databricks.standin.store import Store

_DBFS = "/api/2.0/dbfs"
_MAX_BYTES = 1 << 20  # of a read, a block or a put
_CLOSED = ("/databricks/mlflow-tracking", "/databricks/mlflow-registry")


def routes(platform: Platform, store: Store) -> List[Route]:
    """All of them."""
    handles: Dict[str, Tuple[str, bytearray]] = {}
    numbers = itertools.count(1)

    def opened(path: str) -> str:
        path = path[len("dbfs:") :] if path.startswith("dbfs:") else path
        if not path.startswith("/"):
            raise invalid(f"Path must be absolute: {path}")
        path = "/" + path.strip("/")
        if path.startswith(_CLOSED):
            raise denied(f"No operations allowed on this path: dbfs:{path}")
        return path

    def info(path: str) -> Dict[str, Any]:
        file = store.path(path)
        if not file.exists():
            raise absent(f"No file or directory exists on path dbfs:{path}.")
        stat, is_dir = file.stat(), file.is_dir()
        size = 0 if is_dir else stat.st_size
        return {"path": path, "is_dir": is_dir, "file_size": size, "modification_time": int(stat.st_mtime * 1000)}

    def list_(call: Call) -> Dict[str, Any]:
        path = opened(call.need("path"))
        if not info(path)["is_dir"]:
            return {"files": [info(path)]}
        names = [f"{path.rstrip('/')}/{name}" for name, _ in store.list(path)]
        found = [info(p) for p in names if not p.startswith(_CLOSED)]
        return {"files": found} if found else {}

    def read(call: Call) -> Dict[str, Any]:
        path = opened(call.need("path"))
        if info(path)["is_dir"]:
            raise invalid(f"Cannot read a directory: dbfs:{path}")
        length = call.number("length", _MAX_BYTES // 2)
        if length > _MAX_BYTES:
            raise ApiError(400, "MAX_READ_SIZE_EXCEEDED", "The read length exceeds 1 MB")
        start = call.number("offset", 0)
        data = store.path(path).read_bytes()[start : start + length]
        return {"bytes_read": len(data), "data": base64.b64encode(data).decode()}

    def create(call: Call) -> Dict[str, Any]:
        path = opened(call.need("path"))
        if store.path(path).exists() and not call.flag("overwrite"):
            raise exists(f"A file or directory already exists at the input path dbfs:{path}.")
        handle = str(next(numbers))
        handles[handle] = (path, bytearray())
        return {"handle": int(handle)}

    def add_block(call: Call) -> Dict[str, Any]:
        handle = call.need("handle")
        if handle not in handles:
            raise absent(f"No open handle: {handle}")
        data = base64.b64decode(call.need("data"))
        if len(data) > _MAX_BYTES:
            raise ApiError(400, "MAX_BLOCK_SIZE_EXCEEDED", "The block exceeds 1 MB")
        handles[handle][1].extend(data)
        return {}

    def close(call: Call) -> Dict[str, Any]:
        handle = call.need("handle")
        if handle not in handles:
            raise absent(f"No open handle: {handle}")
        path, data = handles.pop(handle)
        store.write(path, bytes(data))
        return {}

    def put(call: Call) -> Dict[str, Any]:
        path, sent = opened(call.need("path")), call.request.files.get("contents")
        if store.path(path).exists() and not call.flag("overwrite"):
            raise exists(f"A file or directory already exists at the input path dbfs:{path}.")
        data = sent.read() if sent else base64.b64decode(call.args.get("contents") or "")
        if not sent and len(data) > _MAX_BYTES:
            raise ApiError(400, "MAX_BLOCK_SIZE_EXCEEDED", "The contents exceed 1 MB")
        store.write(path, data)
        return {}

    def mkdirs(call: Call) -> Dict[str, Any]:
        path = store.path(opened(call.need("path")))
        if path.is_file():
            raise exists(f"A file exists at dbfs:{call.args['path']}.")
        path.mkdir(parents=True, exist_ok=True)
        return {}

    def delete(call: Call) -> Dict[str, Any]:
        path = store.path(opened(call.need("path")))
        if path.is_file():
            path.unlink()
        elif path.is_dir():
            if any(path.iterdir()) and not call.flag("recursive"):
                raise ApiError(400, "IO_ERROR", "The directory is not empty")
            shutil.rmtree(path)
        return {}

    def download(_: Call, path: str) -> Response:
        file = opened(f"/{path}")
        if info(file)["is_dir"]:
            raise invalid(f"Cannot read a directory: dbfs:{file}")
        return Response(store.path(file).read_bytes(), mimetype="application/octet-stream")

    def upload(call: Call, path: str) -> Response:
        store.write(opened(f"/{path}"), call.request.get_data())
        return Response(status=200)

    return [
        ("GET", f"{_DBFS}/get-status", lambda call: info(opened(call.need("path")))),
        ("GET", f"{_DBFS}/list", list_),
        ("GET", f"{_DBFS}/read", read),
        ("POST", f"{_DBFS}/create", create),
        ("POST", f"{_DBFS}/add-block", add_block),
        ("POST", f"{_DBFS}/close", close),
        ("POST", f"{_DBFS}/put", put),
        ("POST", f"{_DBFS}/mkdirs", mkdirs),
        ("POST", f"{_DBFS}/delete", delete),
        ("GET", "/dbfs/<path:path>", download),
        ("POST", "/dbfs/<path:path>", upload),
    ]
