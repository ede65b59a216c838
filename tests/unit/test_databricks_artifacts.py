"""Artifacts of a workspace over the wire: expired URLs, replies that break off, Azure's blocks, DBFS."""

from __future__ import annotations

import base64
import io
import re
from typing import Any, List, Optional

import pytest

from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.databricks_artifacts import DbfsFiles, Owner, SignedFiles, owner_of
from mlflow_migration.client.errors import BadInput, Unauthorized
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.databricks_tags import EXPERIMENT_TAGS, RUN_TAGS, as_taken
from mlflow_migration.common.destination import check_experiment_name
from tests.support.stub import Reply, Request, Stub, error

ROOT = "dbfs:/databricks/mlflow-tracking/7"
DATA = bytes(range(256)) * 4000


class Workspace:
    """Gives a URL for each question, and a store behind them that says no when it is told to."""

    def __init__(self, kind: str = "AWS_PRESIGNED_URL") -> None:
        self.kind, self.given = kind, 0
        self.broken: List[Any] = []  # one answer each, before the good ones
        self.stub = Stub(self.answer)

    def __enter__(self) -> Workspace:
        self.stub.__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        self.stub.__exit__(*args)

    def answer(self, request: Request) -> Optional[Reply]:
        if request.path.startswith("/api/"):
            self.given += 1
            uri = f"{self.stub.uri}/store/f?sig=a%2Fb%3D&n={self.given}"
            headers = [{"name": "x-signed", "value": "yes"}]
            return Reply({"credential_infos": [{"signed_uri": uri, "type": self.kind, "headers": headers}]})
        if self.broken:
            return self.broken.pop(0)
        found = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
        return Reply(DATA[int(found[1]) :], 206) if found else Reply(DATA)

    def files(self) -> SignedFiles:
        """The artifacts of a run."""
        return SignedFiles(Tracking(RestClient(connection(self.stub.uri))), Owner(False, "r", ""))

    def stored(self) -> List[Request]:
        """What the store was asked."""
        return [one for one in self.stub.requests if one.path.startswith("/store")]


def connection(uri: str) -> Connection:
    return Connection(uri, {"Authorization": "Bearer secret"}, None, True, None, "databricks://P", is_databricks=True)


def read(files: Any) -> bytes:
    with files.read("f") as blocks:
        return b"".join(blocks)


@pytest.mark.parametrize(
    ("uri", "owner"),
    [
        (f"{ROOT}/abc/artifacts", Owner(False, "abc", "")),
        (f"{ROOT}/abc/artifacts/model/data", Owner(False, "abc", "model/data")),
        (f"{ROOT}/logged_models/m-1/artifacts", Owner(True, "m-1", "")),
        (f"{ROOT}/tr-1", None),
        ("dbfs:/mnt/x/abc/artifacts", None),
        ("s3://databricks/mlflow-tracking/7/abc/artifacts", None),
    ],
)
def test_whose_artifacts_a_uri_names(uri: str, owner: Optional[Owner]) -> None:
    assert owner_of(uri) == owner


def test_no_credentials_go_to_a_presigned_url() -> None:
    with Workspace() as workspace:
        assert read(workspace.files()) == DATA
        workspace.files().write("f", lambda: io.BytesIO(b"12"), 2)
    for request in workspace.stored():
        assert "Authorization" not in request.headers and "Content-Type" not in request.headers
        assert request.headers["x-signed"] == "yes"
        assert "sig=a%2Fb%3D&" in request.raw, "the query is sent as it was signed"
    assert workspace.stored()[-1].body == b"12"


def test_what_broke_off_is_gone_on_with_by_a_new_url() -> None:
    with Workspace() as workspace:
        workspace.broken = [Reply(DATA[:600_000], missing=len(DATA) - 600_000), Reply(b"<Error/>", 403)]
        assert read(workspace.files()) == DATA
    assert workspace.given == 3
    assert [one.headers.get("Range", "")[:6] for one in workspace.stored()][1:] == ["bytes="] * 2


def test_a_store_that_knows_no_ranges() -> None:
    with Workspace() as workspace:
        workspace.broken = [Reply(DATA[:600_000], missing=len(DATA) - 600_000), Reply(DATA)]
        assert read(workspace.files()) == DATA


def test_a_url_that_expired_before_the_upload_is_renewed_once() -> None:
    with Workspace() as workspace:
        workspace.broken = [Reply(b"", 403)]
        workspace.files().write("f", lambda: io.BytesIO(b"12"), 2)
        workspace.broken = [Reply(b"", 403)] * 2
        with pytest.raises(Unauthorized) as caught:
            workspace.files().write("f", lambda: io.BytesIO(b"12"), 2)
    assert "sig" not in caught.value.message, "a presigned URL is a secret"


def test_blocks_of_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", "2")
    with Workspace("AZURE_SAS_URI") as workspace:
        workspace.files().write("f", lambda: io.BytesIO(b"12345"), 5)
        *blocks, listed = workspace.stored()
        assert [block.body for block in blocks] == [b"12", b"34", b"5"]
        ids = [block.query["blockid"][0] for block in blocks]
        assert ids == re.findall(r"<Uncommitted>(.*?)<", listed.body.decode())
        workspace.kind = "AZURE_ADLS_GEN2_SAS_URI"
        workspace.files().write("f", lambda: io.BytesIO(b"123"), 3)
    sent = [(one.method, one.query.get("position"), one.body) for one in workspace.stored()[-4:]]
    assert sent == [("PUT", None, b""), ("PATCH", ["0"], b"12"), ("PATCH", ["2"], b"3"), ("PATCH", ["3"], b"")]


def test_dbfs_begins_anew_where_a_block_may_have_arrived() -> None:
    written: List[bytes] = []
    broken = [error(503), error(429)]

    def answer(request: Request) -> Optional[Reply]:
        if request.path.endswith("/create"):
            written.clear()
        if request.path.endswith("/add-block"):
            written.append(base64.b64decode(request.json["data"]))
            if broken:
                reply = broken.pop(0)
                if reply.status == 429:
                    written.pop()
                    reply.headers["Retry-After"] = "0"
                return reply
        return Reply({"handle": 1})

    with Stub(answer) as stub:
        DbfsFiles(RestClient(connection(stub.uri)), "dbfs:/mnt/x").write("f", lambda: io.BytesIO(b"12"), 2)
    assert b"".join(written) == b"12"
    assert [one.json["path"] for one in stub.requests if one.path.endswith("/create")] == ["/mnt/x/f"] * 2


def test_tags_that_a_workspace_sets_itself_stay_as_source_tags() -> None:
    taken = as_taken({"mlflow.user": "a", "team": "b", "mlflow.source.name": "c"}, RUN_TAGS)
    assert taken == {"team": "b", "mlflow.source.name": "c", "mlflow_exim.mlflow_tag.user": "a"}
    assert as_taken({"mlflow.ownerId": "1"}, EXPERIMENT_TAGS) == {"mlflow_exim.mlflow_tag.ownerId": "1"}


@pytest.mark.parametrize("name", ["churn", "/Users/x/", ""])
def test_names_that_no_experiment_of_a_workspace_has(name: str) -> None:
    tracking = Tracking(RestClient(connection("http://127.0.0.1:1")))
    with pytest.raises(BadInput, match="absolute path"):
        check_experiment_name(tracking, name)
    check_experiment_name(tracking, "/Users/x/churn")
