"""Artifacts of a copy do not lie in its directory: each is brought from the source when its run or model is written.

The exporting half leaves a file where it is, and records where that is. Where both sides are in one object store, the
importing half asks that to copy the file, so that its bytes do not pass through this machine. That takes one account
that may read the one place and write to the other. Elsewhere, and where the store refuses, the file comes here for the
moment that it takes to send it on: nobody has to know beforehand who may do what.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, Optional, Protocol, Set, Tuple, Type, Union
from urllib.parse import urlsplit

from mlflow_migration.client.errors import BadDirectory, describe
from mlflow_migration.common.artifact_stores import File, RepositoryStore, Store
from mlflow_migration.common.ledger import Ledger

Json = Dict[str, Any]
Object = Tuple[str, str]
"""Bucket and key."""

LEFT_AT = "left_at"
"""In the record of a file that stays in the source's store: the URI of the artifact root there."""

_PART = 512 * 1024 * 1024  # larger files are copied in parts of this size, some at a time


class _Cloud(Protocol):
    """One kind of object store, reached as MLflow reaches it."""

    def parse(self, uri: str) -> Object:
        """Return bucket and key of a location."""

    def look(self, found: Object) -> Tuple[int, str]:
        """Return the size in bytes of an object, and what is another one once it has been written anew."""

    def copy(self, source: Object, target: Object, size: int) -> None:
        """Copy an object, within the store."""


class _S3:
    def __init__(self, repository: Any) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._owner: Json = getattr(repository, "_bucket_owner_params", {})

    def _client(self) -> Any:
        with self._lock:  # boto3 makes clients one at a time; MLflow keeps them for some minutes
            return self._repository._get_s3_client()

    def parse(self, uri: str) -> Object:
        bucket, key = self._repository.parse_s3_compliant_uri(uri)
        return bucket, key

    def look(self, found: Object) -> Tuple[int, str]:
        head = self._client().head_object(Bucket=found[0], Key=found[1], **self._owner)
        return int(head["ContentLength"]), str(head["ETag"]).strip('"')

    def copy(self, source: Object, target: Object, size: int) -> None:
        from boto3.s3.transfer import TransferConfig

        self._client().copy(
            {"Bucket": source[0], "Key": source[1]},
            *target,
            ExtraArgs={**self._owner, **(self._repository.get_s3_file_upload_extra_args() or {})},
            Config=TransferConfig(
                multipart_threshold=_PART, multipart_chunksize=_PART, use_threads=size >= _PART, max_concurrency=4
            ),
        )


class _Gcs:
    def __init__(self, repository: Any) -> None:
        self._repository = repository

    def parse(self, uri: str) -> Object:
        bucket, key = self._repository.parse_gcs_uri(uri)
        return bucket, key

    def _blob(self, found: Object) -> Any:
        return self._repository.client.bucket(found[0]).blob(found[1])

    def look(self, found: Object) -> Tuple[int, str]:
        blob = self._blob(found)
        blob.reload()
        return int(blob.size), str(blob.generation)

    def copy(self, source: Object, target: Object, size: int) -> None:
        blob, token = self._blob(target), None
        while True:  # a large one takes several requests
            token = blob.rewrite(self._blob(source), token=token)[0]
            if token is None:
                return


# Azure answers before its copy has ended, and what MLflow uses there does not tell when it has: it is left out
_CLOUDS: Dict[str, Type[Union[_S3, _Gcs]]] = {"s3": _S3, "gs": _Gcs}


class StoreCopies:
    """What one copy leaves at the source, and brings from there. Thread-safe.

    :param ledger: Gets a note if a store refuses to copy.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._clouds: Dict[str, Optional[_Cloud]] = {}
        self._stores: Dict[str, Store] = {}  # by artifact root
        self._roots: Dict[str, str] = {}  # by id of the run or logged model
        self._readable: Set[str] = set()
        self._unreadable: Set[str] = set()
        self._refused: Set[Tuple[str, str]] = set()

    # -- the exporting half -------------------------------------------------------------------------------------

    def leave(self, store: Store, file: File, recheck: bool = False) -> Optional[Json]:
        """Leave a file where it is.

        :param store: Where it lies.
        :param recheck: It must be known what is in it.
        :return: What is recorded of it; None if it has to be brought here.
        """
        if not store.uri or file.size <= 0:  # a listing without sizes says 0
            return None
        found = self._look(store, file)
        if found is None and recheck:
            return None
        self._know(store)
        return {"path": file.path, "size": file.size, **(found or {}), LEFT_AT: store.uri}

    def _look(self, store: Store, file: File) -> Optional[Json]:
        """Return what an object store says of a file, None if there is none, or no right to read it."""
        root = store.location
        cloud = None if root is None else self._cloud(root)
        if root is None or cloud is None or _place(root) in self._unreadable:
            return None
        try:
            size, etag = cloud.look(_below(cloud.parse(root), file.path))
        except Exception:  # noqa: BLE001 -- each cloud's library has errors of its own; reading it tells what is wrong
            with self._lock:
                self._unreadable.update({_place(root)} - self._readable)
            return None
        with self._lock:
            self._readable.add(_place(root))
        return {"size": size, "etag": etag}

    def _know(self, store: Store) -> None:
        with self._lock:
            self._stores[store.uri] = store
            self._roots[store.owner] = store.uri

    def still_left(self, store: Store, entry: Json) -> bool:
        """Tell whether a file that an earlier copy has left at the source is one of this artifact root."""
        if not store.uri or entry[LEFT_AT] != store.uri:
            return False
        self._know(store)
        return True

    def forget(self, owner: str) -> None:
        """Forget what was left of a run or logged model: all of it has been brought."""
        with self._lock:
            self._stores.pop(self._roots.pop(owner, ""), None)

    # -- the importing half -------------------------------------------------------------------------------------

    def source(self, root: str) -> Store:
        """Return where files were left.

        :param root: As the directory has it, which might come from anybody: only what this copy has seen counts.
        :raises BadDirectory: It has left nothing there.
        """
        with self._lock:
            if root in self._stores:
                return self._stores[root]
        raise BadDirectory(f"an earlier copy has left it at the source, at {root}")

    def bring(self, root: str, store: Store, path: str, size: int, carry: Callable[[], None]) -> None:
        """Bring a file that was left to the destination.

        :param root: Where it was left.
        :param store: Where it goes to.
        :param path: Its path below both.
        :param size: Bytes of it.
        :param carry: Brings it through this machine, where the store does not copy it.
        """
        here, there = self.source(root).location, store.location
        cloud = None if here is None else self._cloud(here)
        if here is None or there is None or cloud is None or _scheme(there) != _scheme(here):
            carry()
            return
        way = _place(here), _place(there)
        why: Exception
        if way not in self._refused:
            try:
                cloud.copy(_below(cloud.parse(here), path), _below(cloud.parse(there), path), size)
                return
            except Exception as ex:  # noqa: BLE001 -- as above; if it is the file's fault, carrying it tells
                why = ex
        carry()
        with self._lock:
            if way in self._refused:
                return
            self._refused.add(way)  # what this machine can carry will not be asked of the store again
        self._ledger.note(
            f"The store does not copy from {way[0]} to {way[1]} itself, so artifacts pass through this machine:"
            f" {describe(why)}"
        )

    def _cloud(self, root: str) -> Optional[_Cloud]:
        scheme = _scheme(root)
        if scheme not in _CLOUDS:
            return None
        with self._lock:
            if scheme not in self._clouds:
                self._clouds[scheme] = _made(scheme, root)
            return self._clouds[scheme]


def _made(scheme: str, root: str) -> Optional[_Cloud]:
    try:
        return _CLOUDS[scheme](RepositoryStore(root).repository())
    except Exception:  # noqa: BLE001 -- such as a library that is missing: who reads or writes there says so
        return None


def _scheme(uri: str) -> str:
    return urlsplit(uri).scheme


def _place(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _below(root: Object, path: str) -> Object:
    bucket, key = root
    return bucket, f"{key.rstrip('/')}/{path}".lstrip("/")
