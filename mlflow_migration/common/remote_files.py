"""Files of an export directory in an object store, through fsspec. An object is there whole or not at all."""

from __future__ import annotations

import io
import os
import posixpath
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Sequence, Tuple, cast

from mlflow_migration.client.errors import BadDirectory, BadInput, describe, redact

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}

_BLOCK = 1024 * 1024

Parts = Sequence[str]


class RemoteFiles:
    """A root directory in an object store; files in it are named by their path components, already checked one by one.

    Only those methods of fsspec are used that don't take ``*``, ``?`` and ``[`` in a name as a pattern.

    :param url: Such as ``s3://bucket/prefix``.
    :raises BadInput: The package for this store is missing, or there is no such store.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._fs, self._root = _file_system(self._url)
        self._takes_objects = False

    def path(self, parts: Parts) -> str:
        """Return the URL, without secrets."""
        return posixpath.join(redact(self._url), *parts)

    def _key(self, parts: Parts) -> str:
        return posixpath.join(self._root, *parts)

    def _ask(self, parts: Parts, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of the file system.

        :raises FileNotFoundError: There is no such object.
        :raises BadDirectory: Anything else went wrong.
        """
        try:
            return getattr(self._fs, method)(*args, **options)
        except FileNotFoundError:
            raise
        except Exception as ex:  # each store's library has errors of its own
            raise BadDirectory(f"{self.path(parts)} can't be used: {describe(ex)}") from ex

    def _put(self, parts: Parts, method: str, *args: Any) -> None:
        try:
            self._ask(parts, method, *args)
        except FileNotFoundError as ex:
            raise BadDirectory(f"{self.path(parts)} can't be written: {describe(ex)}") from ex

    def _info(self, parts: Parts) -> Optional[Dict[str, Any]]:
        try:
            return cast(Dict[str, Any], self._ask(parts, "info", self._key(parts)))
        except FileNotFoundError:
            return None

    def make(self, parts: Parts) -> None:
        """Find out whether objects can be written; directories need not be made in an object store.

        :raises BadDirectory: They can't.
        """
        if not self._takes_objects:
            key = self._key((*parts, f".mlflow_migration.{secrets.token_hex(8)}.part"))
            self._put(parts, "pipe_file", key, b"")
            self._takes_objects = True
            try:
                self._ask(parts, "rm_file", key)
            except (FileNotFoundError, BadDirectory):
                return  # where nothing may be removed, an empty object stays

    def exists(self, parts: Parts) -> bool:
        """Tell whether an object, or one below this name, is there."""
        return self._info(parts) is not None

    def size(self, parts: Parts) -> Optional[int]:
        """Return the bytes of an object, None if there is none."""
        info = self._info(parts)
        return int(info.get("size") or 0) if info and info["type"] == "file" else None

    def names(self, parts: Parts) -> List[str]:
        """Return the names of the directories in a directory, sorted."""
        try:
            found = self._ask(parts, "ls", self._key(parts), detail=True)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(info["name"].rstrip("/")) for info in found if info["type"] == "directory")

    def open_read(self, parts: Parts) -> BinaryIO:
        """Open an object for reading.

        :raises BadDirectory: It is missing.
        """
        if self.size(parts) is None:
            raise BadDirectory(f"{self.path(parts)} is missing")
        # fsspec's own files have no bounded readline
        return io.BufferedReader(self._ask(parts, "open", self._key(parts), "rb"), _BLOCK)

    def head(self, parts: Parts, size: int) -> Optional[bytes]:
        """Return the first bytes of an object, None if there is none."""
        there = self.size(parts)
        if not there:  # a store refuses a range of an empty object
            return None if there is None else b""
        return cast(bytes, self._ask(parts, "cat_file", self._key(parts), start=0, end=min(size, there)))

    @contextmanager
    def new_file(self, parts: Parts) -> Iterator[BinaryIO]:
        """Give a file to write to; it is stored when the block ends well.

        The bytes go to this machine first: an upload that is broken off would else leave a part of the object or
        of a multi-part upload, and the stores differ in how that is undone.
        """
        with tempfile.TemporaryDirectory(prefix="mlflow-migration-") as folder:
            path = os.path.join(folder, "content")
            with open(path, "wb") as file:
                yield file
            if os.path.getsize(path):
                self._put(parts, "put_file", path, self._key(parts))
            else:
                self._put(parts, "pipe_file", self._key(parts), b"")

    @contextmanager
    def local_path(self, parts: Parts) -> Iterator[str]:
        """Give the path of a copy of an object, which lives as long as the block."""
        with tempfile.TemporaryDirectory(prefix="mlflow-migration-") as folder:
            path = os.path.join(folder, parts[-1])
            with self.open_read(parts) as source, open(path, "wb") as file:
                shutil.copyfileobj(source, file, _BLOCK)
            yield path

    def files(self, parts: Parts) -> Iterator[Tuple[Tuple[str, ...], int]]:
        """Give the components below a directory, and the bytes, of each object, in the order of their names."""
        for name, size in self._find(parts):
            yield tuple(name.split("/")), size

    def _find(self, parts: Parts) -> List[Tuple[str, int]]:
        top = self._key(parts) + "/"
        try:
            found = self._ask(parts, "find", top.rstrip("/"), detail=True)
        except FileNotFoundError:
            return []
        # memory:// puts a slash before its names; a name that ends in one only marks a directory
        return sorted(
            (info["name"][info["name"].index(top) + len(top) :], int(info.get("size") or 0))
            for info in found.values()
            if top in info["name"] and not info["name"].endswith("/") and info["type"] == "file"
        )

    def remove(self, parts: Parts) -> None:
        """Remove an object and all below its name, if there are any."""
        for name, _ in self._find(parts):
            self._ask(parts, "rm_file", self._key((*parts, name)))
        if self.size(parts) is not None:
            self._ask(parts, "rm_file", self._key(parts))


def _file_system(url: str) -> Tuple[Any, str]:
    scheme = url.split("://", 1)[0]
    extra = _EXTRAS.get(scheme)
    try:
        import fsspec

        options: Dict[str, Any] = {"use_listings_cache": False}  # others write there, too
        if extra == "s3":
            options.update(_s3_options())
        file_system, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as ex:
        if extra is None:
            raise BadInput(f"{scheme}:// directories need a package that is not installed: {ex}") from ex
        raise BadInput(f"{scheme}:// directories need: pip install mlflow-migration[{extra}]") from ex
    except ValueError as ex:
        raise BadInput(f"{redact(url)} is no directory that can be used here: {ex}") from ex
    return file_system, root.rstrip("/")


def _s3_options() -> Dict[str, Any]:
    """Return what MLflow's own variables say about an S3 store that is not Amazon's."""
    client: Dict[str, Any] = {}
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    if endpoint:
        client["endpoint_url"] = endpoint
    if os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1"):
        client["verify"] = False
    return {"client_kwargs": client} if client else {}
