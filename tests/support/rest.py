"""A bare REST client for making and comparing data: nothing of the tested package, nothing of MLflow's client."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

Json = Dict[str, Any]
T = TypeVar("T")
R = TypeVar("R")

API = "/api/2.0/mlflow"
AJAX = "/ajax-api/2.0/mlflow"


class RestError(Exception):
    """The server answered something else than 2xx."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the status and the start of the reply."""
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Rest:
    """One tracking server, used by several threads."""

    def __init__(self, uri: str, threads: int = 8, auth: Optional[Tuple[str, str]] = None) -> None:
        """Nothing is sent yet. `threads` bounds the connections and the tasks of `map`.

        `uri` may end in `#NAME` of a workspace of the server.
        """
        self.uri, _, self.workspace = uri.rstrip("/").partition("#")
        self.threads = threads
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = auth
        if self.workspace:
            self._session.headers["X-MLFLOW-WORKSPACE"] = self.workspace
        # a server may close a kept-alive connection just when a question is sent; urllib3 repeats questions only
        again = Retry(total=3, status=0, redirect=0, backoff_factor=0.1)
        self._session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=threads, max_retries=again))
        self._has_bulk = True

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> List[R]:
        """Results of fn for each item, in order, by several threads."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(fn, items))

    def call(self, method: str, path: str, **options: Any) -> Json:
        """One request; the parsed reply.

        :raises RestError: any answer but 2xx.
        """
        reply = self._session.request(method, self.uri + path, timeout=600, **options)
        if reply.status_code >= 300:
            raise RestError(reply.status_code, reply.text)
        return dict(json.loads(reply.content)) if reply.content else {}

    def get(self, path: str, params: Any = None) -> Json:
        """GET below /api/2.0/mlflow."""
        return self.call("GET", _full(path), params=params)

    def post(self, path: str, body: Json) -> Json:
        """POST below /api/2.0/mlflow."""
        return self.call("POST", _full(path), json=body)

    def patch(self, path: str, body: Json) -> Json:
        """PATCH below /api/2.0/mlflow."""
        return self.call("PATCH", _full(path), json=body)

    def pages(self, path: str, body: Json, key: str) -> Iterator[Json]:
        """All objects of a paged search."""
        token = None
        while True:
            reply = self.post(path, {**body, "page_token": token} if token else body)
            yield from reply.get(key) or []
            token = reply.get("next_page_token")
            if not token:
                return

    # ---- experiments and runs

    def experiment(self, name: str) -> Json:
        """An experiment by its name or id, deleted or not."""
        try:
            return dict(self.get("experiments/get-by-name", {"experiment_name": name})["experiment"])
        except RestError as ex:
            if ex.status != 404 or not name.isdigit():
                raise
        return dict(self.get("experiments/get", {"experiment_id": name})["experiment"])

    def runs(self, experiment_id: str) -> List[Json]:
        """All runs, deleted ones too; with the latest values of metrics only."""
        body = {"experiment_ids": [experiment_id], "run_view_type": "ALL", "max_results": 5000}
        return list(self.pages("runs/search", body, "runs"))

    def run(self, run_id: str) -> Json:
        """One run with its inputs and outputs."""
        return dict(self.get("runs/get", {"run_id": run_id})["run"])

    def has_logged_models(self) -> bool:
        """Whether the server knows logged models (MLflow 3)."""
        try:
            self.post("logged-models/search", {"experiment_ids": ["0"], "max_results": 1})
        except RestError as ex:
            if ex.status in (404, 405):
                return False
            raise
        return True

    def logged_models(self, experiment_id: str) -> List[Json]:
        """The active logged models of an experiment."""
        return list(
            self.pages("logged-models/search", {"experiment_ids": [experiment_id], "max_results": 500}, "models")
        )

    def logged_model(self, model_id: str) -> Json:
        """A logged model, deleted or not."""
        return dict(self.get(f"logged-models/{model_id}", {"allow_deleted": "true"})["model"])

    def is_deleted_model(self, model_id: str) -> bool:
        """Whether a logged model that exists is deleted: it cannot be had without asking for deleted ones."""
        try:
            self.get(f"logged-models/{model_id}")
        except RestError as ex:
            if ex.status == 404:
                return True
            raise
        return False

    # ---- metrics

    def history(self, run_id: str, key: str) -> List[Json]:
        """All points of a metric of a run."""
        return list(self._points(run_id, key))

    def _points(self, run_id: str, key: str) -> Iterator[Json]:
        params: Json = {"run_id": run_id, "metric_key": key, "max_results": 25000}
        while True:
            try:
                reply = self.get("metrics/get-history", params)
            except RestError:
                if "max_results" not in params or "page_token" in params:
                    raise
                del params["max_results"]  # a server of before paging
                continue
            yield from reply.get("metrics") or []
            if not reply.get("next_page_token"):
                return
            params["page_token"] = reply["next_page_token"]

    def histories(self, run_ids: List[str], key: str) -> Dict[str, Iterable[Json]]:
        """All points of a metric of at most 100 runs; long ones as iterators, since they may be millions."""
        if len(run_ids) > 1 and self._has_bulk:
            params = [("metric_key", key), ("max_results", "25000")] + [("run_id", run_id) for run_id in run_ids]
            try:
                rows = self.call("GET", f"{AJAX}/metrics/get-history-bulk", params=params).get("metrics") or []
            except RestError:
                self._has_bulk = False
                rows = []
            if 0 < len(rows) < 25000:
                found: Dict[str, List[Json]] = {run_id: [] for run_id in run_ids}
                for row in rows:
                    found[row["run_id"]].append(row)
                return dict(found)
        return {run_id: self._points(run_id, key) for run_id in run_ids}

    # ---- artifacts

    def run_files(self, run_id: str, path: str = "") -> Dict[str, int]:
        """All artifacts of a run: path below its root -> bytes."""
        return self._files(lambda where: self.get("artifacts/list", {"run_id": run_id, **where}), "path", path)

    def model_files(self, model_id: str) -> Dict[str, int]:
        """All artifacts of a logged model: path below its root -> bytes."""
        route = f"logged-models/{model_id}/artifacts/directories"
        return self._files(lambda where: self.get(route, where), "artifact_directory_path", "")

    def _files(self, listing: Callable[[Json], Json], parameter: str, path: str) -> Dict[str, int]:
        found: Dict[str, int] = {}
        where: Json = {parameter: path} if path else {}
        while True:
            reply = listing(where)
            for file in reply.get("files") or []:
                if file.get("is_dir"):
                    found.update(self._files(listing, parameter, file["path"]))
                else:
                    found[file["path"]] = int(file.get("file_size") or 0)
            if not reply.get("next_page_token"):
                return found
            where["page_token"] = reply["next_page_token"]

    def run_file(self, run_id: str, path: str) -> bytes:
        """Bytes of an artifact of a run."""
        return self._bytes("/get-artifact", {"run_uuid": run_id, "path": path})

    def model_file(self, model_id: str, path: str) -> bytes:
        """Bytes of an artifact of a logged model."""
        return self._bytes(f"{AJAX}/logged-models/{model_id}/artifacts/files", {"artifact_file_path": path})

    def _bytes(self, path: str, params: Json) -> bytes:
        reply = self._session.get(self.uri + path, params=params, timeout=600)
        if reply.status_code != 200:
            raise RestError(reply.status_code, reply.text)
        return reply.content

    def put_file(self, root_uri: str, path: str, data: bytes) -> None:
        """Write an artifact below a root that the server proxies, or of this machine, or of the tests' own S3 store."""
        root = urlsplit(root_uri)
        if root.scheme in ("", "file"):
            target = Path(unquote(root.path)) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            return
        if root.scheme == "s3":
            from tests.support.s3 import of_environment

            of_environment(root.netloc).put(f"{root.path.strip('/')}/{path}", data)
            return
        if root.scheme != "mlflow-artifacts":
            raise ValueError(f"cannot write to {root_uri}")
        where = f"{root.path.strip('/')}/{path}"
        reply = self._session.put(
            f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{quote(where)}", data=data, timeout=600
        )
        if reply.status_code >= 300:
            raise RestError(reply.status_code, reply.text)

    def delete_file(self, root_uri: str, path: str) -> None:
        """Delete an artifact below a root that the server proxies."""
        where = f"{urlsplit(root_uri).path.strip('/')}/{path}"
        self.call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{quote(where)}")


def _full(path: str) -> str:
    """A path of another API than 2.0 begins with a slash."""
    return path if path.startswith("/") else f"{API}/{path}"


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not compress and are the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)
