"""What a copy leaves in a store, and how the store is asked to copy it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import pytest

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common import store_copies
from mlflow_migration.common.artifact_stores import File, RepositoryStore, Store
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.store_copies import StoreCopies

SRC, DST = RepositoryStore("s3://a/root/run/artifacts"), RepositoryStore("s3://b/new")


class Cloud:
    """A store with objects; what is asked of it, and what it refuses."""

    def __init__(self, objects: Dict[str, Tuple[int, str]]) -> None:
        self.objects, self.refuses = objects, False
        self.asked: List[Any] = []

    def parse(self, uri: str) -> Tuple[str, str]:
        bucket, _, key = uri.partition("://")[2].partition("/")
        return bucket, key

    def look(self, found: Tuple[str, str]) -> Tuple[int, str]:
        self.asked.append(found)
        return self.objects["/".join(found)]

    def copy(self, source: Tuple[str, str], target: Tuple[str, str], size: int) -> None:
        self.asked.append((source, target, size))
        if self.refuses:
            raise PermissionError("AccessDenied")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The store that s3:// means; it has two files."""
    made = Cloud({"a/root/run/artifacts/x": (1, "e1"), "a/root/run/artifacts/d/y": (2, "e2")})
    monkeypatch.setattr(store_copies, "_made", lambda scheme, root: made)
    return made


@pytest.fixture
def ledger() -> Ledger:
    """One without a file."""
    return Ledger(None, "c", {})


def test_leave(cloud: Cloud, ledger: Ledger) -> None:
    copies = StoreCopies(ledger)
    assert copies.leave(SRC, File("d/y", 7)) == {"path": "d/y", "size": 2, "etag": "e2", "left_at": SRC.location}
    unknown = {"path": "gone", "size": 1, "left_at": SRC.location}
    assert copies.leave(SRC, File("gone", 1)) == unknown, "it is named when it can't be brought"
    assert "etag" in (copies.leave(SRC, File("x", 1)) or {}), "one file says nothing of the others"
    assert copies.leave(RepositoryStore("dbfs:/x"), File("x", 1)) == {"path": "x", "size": 1, "left_at": "dbfs:/x"}
    assert copies.leave(SRC, File("gone", 1), recheck=True) is None, "what is in it must be known"
    assert "etag" in (copies.leave(SRC, File("x", 1), recheck=True) or {})
    assert copies.leave(Store(), File("x", 1)) is None
    assert copies.leave(SRC, File("x", 0)) is None, "its size may not be known"


def test_unreadable_place_is_asked_once(cloud: Cloud, ledger: Ledger) -> None:
    copies = StoreCopies(ledger)
    for name in ("gone", "x"):
        assert "etag" not in (copies.leave(SRC, File(name, 1)) or {"etag": ""})
    assert len(cloud.asked) == 1


def test_only_what_this_copy_has_seen_is_taken(cloud: Cloud, ledger: Ledger) -> None:
    """A directory could name any place: it must not make somebody with rights read that."""
    copies = StoreCopies(ledger)
    with pytest.raises(BadDirectory, match="an earlier copy has left it"):
        copies.source(str(SRC.location))
    entry = {"path": "x", "size": 1, "left_at": "s3://a/secrets"}
    assert not copies.still_left(SRC, entry) and not copies.still_left(Store(), entry)
    with pytest.raises(BadDirectory):
        copies.source("s3://a/secrets")
    assert copies.still_left(SRC, {**entry, "left_at": SRC.location})
    assert copies.source(str(SRC.location)) is SRC
    copies.forget(SRC.owner)
    with pytest.raises(BadDirectory):
        copies.source(str(SRC.location))


def _bring(copies: StoreCopies, store: Store, carry: Optional[Exception] = None) -> List[str]:
    carried: List[str] = []
    copies.still_left(SRC, {"left_at": SRC.uri})

    def go() -> None:
        carried.append("x")
        if carry is not None:
            raise carry

    copies.bring(str(SRC.location), store, "x", 1, go)
    return carried


def test_bring(cloud: Cloud, ledger: Ledger) -> None:
    copies = StoreCopies(ledger)
    assert _bring(copies, DST) == []
    assert cloud.asked == [(("a", "root/run/artifacts/x"), ("b", "new/x"), 1)]
    for elsewhere in (Store(), RepositoryStore("gs://b/new")):
        assert _bring(copies, elsewhere) == ["x"]
    assert len(cloud.asked) == 1 and not ledger.notes


def test_refused_way_is_asked_once(cloud: Cloud, ledger: Ledger) -> None:
    copies = StoreCopies(ledger)
    cloud.refuses = True
    with pytest.raises(KeyError):
        _bring(copies, DST, KeyError("the file itself is what can't be read"))
    assert not ledger.notes
    assert _bring(copies, DST) == _bring(copies, DST) == ["x"]
    assert len(cloud.asked) == 2
    (note,) = ledger.notes
    assert "s3://a to s3://b" in note and "AccessDenied" in note
    _bring(copies, RepositoryStore("s3://c/new"))
    assert len(cloud.asked) == 3, "another bucket may be another matter"


def test_missing_library(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    def fails(self: Any) -> None:
        raise ImportError("no boto3")

    monkeypatch.setattr(RepositoryStore, "repository", fails)
    copies = StoreCopies(ledger)
    assert "etag" not in (copies.leave(SRC, File("x", 1)) or {"etag": ""})
    assert _bring(copies, DST) == ["x"]


class Client:
    """What boto3 and google-cloud-storage are asked for."""

    def __init__(self) -> None:
        self.asked: List[Any] = []

    def parse_s3_compliant_uri(self, uri: str) -> Tuple[str, str]:
        return Cloud({}).parse(uri)

    parse_gcs_uri = parse_s3_compliant_uri

    def get_s3_file_upload_extra_args(self) -> Optional[Dict[str, str]]:
        return {"ServerSideEncryption": "AES256"}

    def _get_s3_client(self) -> Client:
        return self

    def head_object(self, **asked: Any) -> Dict[str, Any]:
        return {"ContentLength": 5, "ETag": '"e"'}

    def copy(self, *args: Any, **options: Any) -> None:
        self.asked.append((args, options))


@pytest.mark.parametrize(("size", "threads"), [(5, False), (6 * 2**30, True)])
def test_s3(size: int, threads: bool) -> None:
    """The managed copy is used: it copies what is above 5 GB in parts. What is asked of uploads is asked of copies."""
    pytest.importorskip("boto3")
    client = Client()
    s3 = store_copies._S3(client)
    assert s3.look(("a", "k")) == (5, "e")
    s3.copy(("a", "k"), ("b", "l"), size)
    ((args, options),) = client.asked
    assert args == ({"Bucket": "a", "Key": "k"}, "b", "l")
    assert options["ExtraArgs"] == {"ServerSideEncryption": "AES256"}
    config = options["Config"]
    assert config.use_threads is threads and config.multipart_threshold < 5 * 2**30


class Blob:
    """An object of google-cloud-storage."""

    def __init__(self, client: GoogleClient, name: str) -> None:
        self.client, self.name, self.size, self.generation = client, name, None, None  # type: ignore[var-annotated]

    def reload(self) -> None:
        self.size, self.generation = 5, 17

    def rewrite(self, source: Blob, token: Optional[str] = None) -> Tuple[Optional[str], int, int]:
        self.client.asked.append((source.name, self.name, token))
        return {None: "1", "1": "2", "2": None}[token], 0, 0


class GoogleClient(Client):
    """A client of google-cloud-storage; also what MLflow's repository is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.client = self
        self.place = ""

    def bucket(self, name: str) -> GoogleClient:
        self.place = name
        return self

    def blob(self, key: str) -> Blob:
        return Blob(self, f"{self.place}/{key}")


def test_gcs() -> None:
    """A large file takes several requests."""
    client = GoogleClient()
    gcs = store_copies._Gcs(client)
    assert gcs.look(("a", "k")) == (5, "17")
    gcs.copy(("a", "k"), ("b", "l"), 5)
    assert client.asked == [("a/k", "b/l", None), ("a/k", "b/l", "1"), ("a/k", "b/l", "2")]
