"""Artifacts of runs, logged models and traces: listings, credentials (presigned URLs) and uploads in parts."""

from __future__ import annotations

from typing import Any, Dict, List

from tests.databricks.standin.mlflow_api import MlflowApi
from tests.databricks.standin.platform import Call, Platform, Route, invalid
from tests.databricks.standin.store import Store, inner

_MAX_PATHS = 2000  # of a request for credentials
_MLFLOW = "/api/2.0/mlflow"


def key_of(uri: str) -> str:
    """Key in the store of a dbfs: URI."""
    return uri.split(":", 1)[1].strip("/").replace("/models/m-", "/logged_models/m-").replace("/traces/", "/")


def files_of(store: Store, root: str, path: str) -> List[Dict[str, Any]]:
    """`FileInfo` of what is in a directory below a key, or of the file itself."""
    path = inner(path)
    file = store.path(f"{root}/{path}")
    if path and file.is_file():
        return [{"path": path, "is_dir": False, "file_size": file.stat().st_size}]
    prefix = f"{path}/" if path else ""
    return [
        {"path": prefix + name, "is_dir": size is None, **({} if size is None else {"file_size": size})}
        for name, size in store.list(f"{root}/{path}")
    ]


def page_of(call: Call, platform: Platform, name: str, items: List[Any]) -> Dict[str, Any]:
    """One page of a list, and the token of the next."""
    start, size = call.number("page_token", 0), platform.settings.page_size
    found = {name: items[start : start + size]}
    return {**found, "next_page_token": str(start + size)} if start + size < len(items) else found


def routes(platform: Platform, api: MlflowApi, store: Store) -> List[Route]:
    """All of them."""

    def run_root(call: Call, level: str) -> str:
        run_id = call.args.get("run_id") or call.need("run_uuid")
        return key_of(api.check_run(call.user, str(run_id), level)["artifact_uri"])

    def model_root(call: Call, model_id: str, level: str) -> str:
        return key_of(api.check_model(call.user, model_id, level)["artifact_uri"])

    def list_run(call: Call) -> Dict[str, Any]:
        root = run_root(call, "CAN_READ")
        files = files_of(store, root, str(call.args.get("path") or ""))
        return {"root_uri": f"dbfs:/{root}", **page_of(call, platform, "files", files)}

    def list_model(call: Call, model_id: str) -> Dict[str, Any]:
        root = model_root(call, model_id, "CAN_READ")
        files = files_of(store, root, str(call.args.get("artifact_directory_path") or ""))
        return {"root_uri": f"dbfs:/{root}", **page_of(call, platform, "files", files)}

    def credentials(root: str, paths: List[str], method: str, owner: Dict[str, str]) -> List[Dict[str, Any]]:
        if len(paths) > _MAX_PATHS:
            raise invalid(f"Too many paths: {len(paths)}, at most {_MAX_PATHS} are allowed")
        return [{**owner, "path": p, **store.credential(method, f"{root}/{inner(p)}")} for p in paths]

    def of_run(call: Call, method: str) -> Dict[str, Any]:
        root = run_root(call, "CAN_READ" if method == "GET" else "CAN_EDIT")
        infos = credentials(root, call.many("path"), method, {"run_id": call.need("run_id")})
        return page_of(call, platform, "credential_infos", infos)

    def of_model(call: Call, model_id: str, method: str) -> Dict[str, Any]:
        root = model_root(call, model_id, "CAN_READ" if method == "GET" else "CAN_EDIT")
        infos = credentials(root, call.many("paths"), method, {})
        found = [{"model_id": model_id, "credential_info": info} for info in infos]
        return page_of(call, platform, "credentials", found)

    def of_trace(call: Call, request_id: str, method: str) -> Dict[str, Any]:
        info = platform.ask("GET", f"traces/{request_id}/info")["trace_info"]
        api.check_experiment(call.user, info["experiment_id"], "CAN_READ" if method == "GET" else "CAN_EDIT")
        key = f"databricks/mlflow-tracking/{info['experiment_id']}/{request_id}/artifacts"
        path = inner(str(call.args.get("path") or "traces.json"))
        return {"credential_info": {"path": path, **store.credential(method, f"{key}/{path}")}}

    def begin(call: Call) -> Dict[str, Any]:
        key = f"{run_root(call, 'CAN_EDIT')}/{inner(call.need('path'))}"
        upload, count = store.begin(), call.number("num_parts", 0)
        if not 1 <= count <= 10_000:
            raise invalid(f"Invalid number of parts: {count}")
        owner = {"run_id": call.need("run_id"), "path": call.need("path")}
        parts = [
            {**owner, **store.credential("PUT", key, uploadId=upload, partNumber=str(n))} for n in range(1, count + 1)
        ]
        abort = {**owner, **store.credential("DELETE", key, uploadId=upload)}
        return {"upload_id": upload, "upload_credential_infos": parts, "abort_credential_info": abort}

    def part_url(call: Call) -> Dict[str, Any]:
        key = f"{run_root(call, 'CAN_EDIT')}/{inner(call.need('path'))}"
        extra = {"uploadId": call.need("upload_id"), "partNumber": call.need("part_number")}
        owner = {"run_id": call.need("run_id"), "path": call.need("path")}
        return {"upload_credential_info": {**owner, **store.credential("PUT", key, **extra)}}

    def complete(call: Call) -> Dict[str, Any]:
        key = f"{run_root(call, 'CAN_EDIT')}/{inner(call.need('path'))}"
        store.complete(key, call.need("upload_id"), call.args.get("part_etags") or [])
        return {}

    artifacts, models = f"{_MLFLOW}/artifacts", f"{_MLFLOW}/logged-models/<model_id>/artifacts"
    traces = f"{_MLFLOW}/traces/<request_id>/credentials-for-data"
    return [
        ("GET", f"{artifacts}/list", list_run),
        ("POST", f"{artifacts}/credentials-for-read", lambda call: of_run(call, "GET")),
        ("POST", f"{artifacts}/credentials-for-write", lambda call: of_run(call, "PUT")),
        ("POST", f"{artifacts}/create-multipart-upload", begin),
        ("POST", f"{artifacts}/complete-multipart-upload", complete),
        ("GET", f"{artifacts}/get-presigned-upload-part-url", part_url),
        ("GET", f"{models}/directories", list_model),
        ("POST", f"{models}/credentials-for-download", lambda call, model_id: of_model(call, model_id, "GET")),
        ("POST", f"{models}/credentials-for-upload", lambda call, model_id: of_model(call, model_id, "PUT")),
        ("GET", f"{traces}-download", lambda call, request_id: of_trace(call, request_id, "GET")),
        ("GET", f"{traces}-upload", lambda call, request_id: of_trace(call, request_id, "PUT")),
    ]
