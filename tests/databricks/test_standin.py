"""The stand-in satisfies unmodified clients, and refuses what a workspace refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Dict, Tuple

import pytest
import requests

from tests.databricks.clients import LARGE
from tests.databricks.conftest import ROBOT, USERS
from tests.databricks.standin.server import StandIn
from tests.support.s3 import Bucket, S3Server
from tests.support.servers import PROJECT, clean_environment

MARY = "token-mary-one"


def seen(standin: StandIn, what: str, **env: str) -> Dict[str, Any]:
    """What a client saw (`tests.databricks.clients`)."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.databricks.clients", what]
    more = {**standin.env(), "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", **env}
    done = subprocess.run(command, cwd=PROJECT, env=clean_environment(more), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout[done.stdout.index("SEEN ") + 5 :])


def refusal(standin: StandIn, method: str, path: str, token: str = "", **arguments: Any) -> Tuple[int, str]:
    """Status and code of what must be refused."""
    with pytest.raises(requests.HTTPError) as caught:
        standin.call(method, path, token, **arguments)
    return caught.value.response.status_code, caught.value.response.json()["error_code"]


def test_mlflow_client(workspace):
    found = seen(
        workspace,
        "mlflow",
        MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=str(5 * 1024**2),
        MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE=str(5 * 1024**2),
    )
    model = {"MLmodel", "deep/ä b.txt", "empty"}
    assert found["uri"].startswith("dbfs:/databricks/mlflow-tracking/")
    assert found["user"] == "admin@example.com" and found["root"] and found["same"]
    assert set(found["files"]) == {"large.bin", *(f"model/{name}" for name in model)}
    assert found["files"]["large.bin"] == len(LARGE)
    assert found["status"] == "READY" and set(found["version"]) >= model
    assert found["spans"] == {"outer": [1, None, "x"], "inner": None}
    assert found["dbfs"] == found["volume"] == "hello"
    assert "/logged_models/m-" in found["logged"] and set(found["logged_files"]) >= model
    received = workspace.requests()
    assert [r for r in received if r["path"].endswith("/create-multipart-upload")]
    assert all(r["token"] is None for r in received if r["path"].startswith("/store/"))


def test_unity_catalog_client(workspace):
    found = seen(workspace, "unity")
    assert found["status"] == "READY" and "signature" in found["refusal"]
    assert set(found["files"]) >= {"MLmodel", "deep/ä b.txt", "empty"}
    assert found["aliases"] == {"best": "1"} and found["tags"] == {"team": "a"}
    assert "main.default.clients" in found["searched"] and found["versions"][-1] == "1"


@pytest.mark.slow
def test_unity_catalog_client_with_a_bucket(tmp_path):
    with S3Server(tmp_path) as s3, StandIn(tmp_path / "w", USERS, bucket=Bucket(s3.uri, "unity").create()) as standin:
        found = seen(standin, "unity", MLFLOW_S3_ENDPOINT_URL=s3.uri, AWS_DEFAULT_REGION="us-east-1")
        stored = Bucket(s3.uri, "unity").objects()
    assert found["status"] == "READY" and set(found["files"]) >= {"MLmodel", "deep/ä b.txt", "empty"}
    assert any(key.endswith("/models/1/MLmodel") for key in stored)


def test_oauth_of_a_service_principal(workspace):
    from databricks.sdk import WorkspaceClient

    client = WorkspaceClient(host=workspace.uri, client_id=ROBOT, client_secret="secret-robot-one")
    assert client.current_user.me().user_name == ROBOT


def test_databricks_sdk(workspace):
    found = seen(workspace, "sdk")
    assert found["me"] == "admin@example.com" and found["users"] == ["mary@example.com"]
    assert found["groups"] == ["admins", "engineers", "scientists", "users"]
    assert found["language"] == "PYTHON" and set(found["formats"].values()) == {True}
    assert found["listed"] == ["/Shared/deep/e", "/Shared/deep/er"]
    assert found["acl"]["mary@example.com"] == [["CAN_READ", False]]
    assert found["acl"]["users"] == [["CAN_MANAGE", True]]
    assert found["refusal"] == "INVALID_PARAMETER_VALUE"
    assert found["dbfs"] == "12345" and found["job"] == "SUCCESS"
    assert found["grants"] == {"account users": ["CREATE_MODEL", "EXECUTE", "USE_SCHEMA"]}
    assert found["direct"]["scientists"] == ["EXECUTE"]


def test_refusals_of_experiments_and_runs(workspace):
    create = ("POST", "/api/2.0/mlflow/experiments/create")
    assert refusal(workspace, *create, name="/Shared/none/e") == (404, "RESOURCE_DOES_NOT_EXIST")
    assert refusal(workspace, *create, name="/Users/mary@example.com") == (400, "RESOURCE_ALREADY_EXISTS")
    made = workspace.call(*create, MARY, name="/Users/mary@example.com/own")["experiment_id"]
    run = workspace.call("POST", "/api/2.0/mlflow/runs/create", MARY, experiment_id=made)["run"]["info"]["run_id"]
    tag = {"run_id": run, "key": "mlflow.rootRunId", "value": "x"}
    assert refusal(workspace, "POST", "/api/2.0/mlflow/runs/set-tag", **tag) == (400, "INVALID_PARAMETER_VALUE")
    get = ("GET", "/api/2.0/mlflow/runs/get")
    assert refusal(workspace, *get, "token-sam-one", run_id=run) == (403, "PERMISSION_DENIED")
    entry = {"group_name": "engineers", "permission_level": "CAN_READ"}
    path = f"/api/2.0/permissions/experiments/{made}"
    workspace.call("PATCH", path, MARY, access_control_list=[entry])
    assert workspace.call(*get, "token-sam-one", run_id=run)["run"]["info"]["run_id"] == run
    nobody = {"access_control_list": [{"user_name": "no@example.com", "permission_level": "CAN_READ"}]}
    assert refusal(workspace, "PATCH", path, MARY, **nobody) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_notebook_experiments_and_revisions(workspace):
    path, sent = "/Users/mary@example.com/nb", {"format": "SOURCE", "language": "SQL", "overwrite": True}
    moments = []
    for content in ("c2VsZWN0IDE=", "c2VsZWN0IDI="):
        workspace.call("POST", "/api/2.0/workspace/import", MARY, path=path, content=content, **sent)
        status = workspace.call("GET", "/api/2.0/workspace/get-status", MARY, path=path)
        moments.append(status["modified_at"])
    revision = json.dumps({"revision_timestamp": moments[0]})
    found = workspace.call("GET", "/api/2.0/workspace/export", MARY, path=path, revision=revision)
    assert found == {"content": "c2VsZWN0IDE=", "file_type": "sql"}
    tags = [
        {"key": "mlflow.experiment.sourceType", "value": "NOTEBOOK"},
        {"key": "mlflow.experiment.sourceId", "value": str(status["object_id"])},
    ]
    made = workspace.call("POST", "/api/2.0/mlflow/experiments/create", MARY, name=path, tags=tags)
    found = workspace.call("GET", "/api/2.0/mlflow/experiments/get", MARY, **made)["experiment"]
    assert found["name"] == path
    assert {"key": "mlflow.experimentType", "value": "NOTEBOOK"} in found["tags"]


def test_tokens_routes_and_presigned_urls(workspace):
    me = f"{workspace.uri}/api/2.0/preview/scim/v2/Me"
    assert requests.get(me, timeout=30).status_code == 401
    assert requests.get(me, auth=("admin@example.com", "token-admin-one"), timeout=30).status_code == 401
    assert requests.get(me, headers={"Authorization": "Bearer token-admin-two"}, timeout=30).status_code == 403
    for path in ("/version", "/graphql", "/ajax-api/2.0/mlflow/runs/search", "/api/2.0/mlflow-artifacts/artifacts"):
        assert refusal(workspace, "GET", path) == (404, "ENDPOINT_NOT_FOUND")
    made = workspace.call("POST", "/api/2.0/mlflow/experiments/create", name="/Shared/urls")["experiment_id"]
    run = workspace.call("POST", "/api/2.0/mlflow/runs/create", experiment_id=made)["run"]["info"]["run_id"]
    route = "/api/2.0/mlflow/artifacts/credentials-for-write"
    info = workspace.call("POST", route, run_id=run, path=["a.txt"])["credential_infos"][0]
    headers = {h["name"]: h["value"] for h in info["headers"]}
    put = info["signed_uri"]
    assert requests.put(put, b"x", timeout=30).status_code == 403
    assert requests.put(put, b"x", headers={**headers, "Authorization": "Bearer x"}, timeout=30).status_code == 400
    assert requests.get(put, headers=headers, timeout=30).status_code == 403
    assert requests.put(put, b"x", headers=headers, timeout=30).status_code == 200
    listed = workspace.call("GET", "/api/2.0/mlflow/artifacts/list", run_id=run)["files"]
    assert listed == [{"path": "a.txt", "is_dir": False, "file_size": 1}]


def test_rate_limit(workspace):
    workspace.control(rate_limit=3)
    try:
        headers = {"Authorization": "Bearer token-admin-one"}
        url = f"{workspace.uri}/api/2.0/preview/scim/v2/Me"
        answers = [requests.get(url, headers=headers, timeout=30) for _ in range(6)]
    finally:
        workspace.control(rate_limit=0)
    limited = [a for a in answers if a.status_code == 429]
    assert limited and limited[0].headers["Retry-After"] == "1"
    assert limited[0].json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
