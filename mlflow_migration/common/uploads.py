"""Brings the artifacts of one object from its directory to the destination's store."""

from __future__ import annotations

import hashlib
import io
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.artifact_stores import Store
from mlflow_migration.common.artifacts import check_mlmodel, download, is_mlmodel, list_files, rewritten
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.notebook_files import notebook_paths
from mlflow_migration.common.store_copies import LEFT_AT
from mlflow_migration.common.three_way import State

_MLMODEL_MOST = 16 * 1024 * 1024
_BLOCK = 1024 * 1024


def content_of(
    info: Mapping[str, Any], missing: Sequence[str] = (), before: Mapping[str, Any] = MappingProxyType({})
) -> Dict[str, Any]:
    """Return what tells contents of an export apart that look the same in a search: points and bytes.

    :param info: ``info`` of run.json or logged_model.json.
    :param missing: Fields that could not be written to the destination.
    :param before: The same of the last import: what was left at the source this time is as it was.
    """
    files = {}
    for entry in info.get("artifacts") or ():
        known = entry.get("sha256") or entry.get("etag") or (before.get("files") or {}).get(entry["path"])
        if known is not None:
            files[entry["path"]] = str(known)[:16]
    files.update((name[len("artifact:") :], "") for name in missing if name.startswith("artifact:"))
    lacks_points = any(name.startswith("metric:") for name in missing)
    return {"points": -1 if lacks_points else info.get("num_metric_points"), "files": files}


def artifacts_of(state: State) -> State:
    """Return the artifacts of a state."""
    return {name: value for name, value in state.items() if name.startswith("artifact:")}


def listed_files(source: ExportDir, folder: str, info: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Return what an export says of each artifact of an object: path, size in bytes and more.

    :param source: Directory of the object.
    :param folder: Its folder with artifacts.
    :param info: ``info`` of its file; other tools list nothing there, so what is in the folder counts.
    """
    if "artifacts" in info:
        return list(info["artifacts"])
    found = source.files(folder) if source.exists(folder) else ()
    notebook = notebook_paths(source, folder)
    return [{"path": path, "size": size} for path, size in found if path not in notebook]


class Uploads:
    """The artifacts of one run or logged model on their way.

    :param store: The destination.
    :param job: Threads and progress.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self._store, self._job = store, job
        self._texts: Dict[str, bytes] = {}
        self._bad: Dict[str, Exception] = {}
        self._left: Dict[str, Dict[str, Any]] = {}  # records of what a copy has left at the source
        self.sizes: Dict[str, int] = {}
        """Sizes in bytes that the files will have at the destination."""

    def there(self) -> Dict[str, int]:
        """Return the sizes in bytes of the files that the destination has."""
        return {file.path: file.size for file in list_files(self._store, self._job.executor)}

    def open(
        self,
        source: ExportDir,
        folder: str,
        files: Sequence[Dict[str, Any]],
        replacements: Sequence[Tuple[str, str]],
    ) -> None:
        """Take the files of a directory.

        :param source: Directory of the object.
        :param folder: Its folder with artifacts.
        :param files: What the object's file records of each; see :func:`listed_files`. What is brought from the source
            gets its hash.
        :param replacements: What is replaced in MLmodel files: (old, new), in this order.
        """
        self._source, self._folder = source, folder
        self.sizes = {file["path"]: file["size"] for file in files}
        self._left = {file["path"]: file for file in files if LEFT_AT in file}
        for path in self.sizes.keys() - self._left.keys():
            if not is_mlmodel(path):
                continue
            try:
                self._texts[path] = self._mlmodel(path, replacements)
                self.sizes[path] = len(self._texts[path])
            except (BadDirectory, OSError) as ex:
                self._bad[path] = ex

    def _mlmodel(self, path: str, replacements: Sequence[Tuple[str, str]]) -> bytes:
        with self._source.open_read(f"{self._folder}/{path}") as file:
            content = file.read(_MLMODEL_MOST + 1)
        if len(content) > _MLMODEL_MOST:
            raise BadDirectory(f"{path} is too large for an MLmodel file")
        check_mlmodel(path, content)
        return rewritten(content, replacements)

    def other_bytes(
        self, there: State, old: Mapping[str, str], new: Mapping[str, str], read: bool, other_fix: bool = False
    ) -> Tuple[List[str], List[str]]:
        """Find files of the same size but with other bytes, which no listing shows.

        :param there: State of the destination.
        :param old: Hashes of the source's files at the last import, by path.
        :param new: Hashes of the source's files now.
        :param read: Read the destination's files.
        :param other_fix: Ids in MLmodel files were not replaced last time and are now, or the other way round.
        :return: Fields of the files that have changed at the source, and of those that only the destination has so.
        """
        same = [path for path, size in sorted(self.sizes.items()) if there.get("artifact:" + path) == str(size)]
        other = [
            path
            for path in same
            if (path in new and old.get(path, new[path]) != new[path]) or (other_fix and is_mlmodel(path))
        ]
        moved = set(other)
        if read:
            differ = self._job.executor.gather(self._differs, [path for path in same if path not in self._bad])
            other = [outcome.item for outcome in differ if outcome.get()]
        fields = ["artifact:" + path for path in other if path in moved]
        return fields, ["artifact:" + path for path in other if path not in moved]

    def _differs(self, path: str) -> bool:
        hashes = []
        for side in (self._blocks(path), self._store.read(path)):
            digest = hashlib.sha256()
            with side as blocks:
                for block in blocks:
                    digest.update(block)
            hashes.append(digest.digest())
        return hashes[0] != hashes[1]

    @contextmanager
    def _blocks(self, path: str) -> Iterator[Iterator[bytes]]:
        if path in self._left:
            with self._where_left(path).read(path) as blocks:
                yield blocks
            return
        with self._open(path) as file:
            yield iter(lambda: file.read(_BLOCK), b"")

    def unreadable(self) -> List[Tuple[str, Exception]]:
        """Return the files that the directory does not have as it should, with the reason."""
        outcomes = self._job.executor.gather(self._check, sorted(self.sizes))
        return [(outcome.item, outcome.error) for outcome in outcomes if outcome.error is not None]

    def send(self, paths: Sequence[str]) -> List[Tuple[str, Exception]]:
        """Upload files; returns those that could not be, with the reason."""
        outcomes = self._job.executor.gather(self._send, paths)
        return [(outcome.item, outcome.error) for outcome in outcomes if outcome.error is not None]

    def _check(self, path: str) -> None:
        if path in self._bad:
            raise self._bad[path]
        name, size = f"{self._folder}/{path}", self.sizes[path]
        if path in self._left:
            self._source.size(name)  # refuses what can't be a name in a directory
            self._where_left(path)
            return
        found = size if path in self._texts else self._source.size(name)
        if found is None:
            self._source.open_read(name).close()  # says why
        if found != size:
            raise BadDirectory(f"{self._source.path}/{name} has {found} bytes in the directory, not {size}")

    def _send(self, path: str) -> None:
        self._check(path)
        if path in self._left and self._job.copies is not None:
            self._job.copies.bring(
                self._left[path][LEFT_AT], self._store, path, self.sizes[path], lambda: self._carry(path)
            )  # fmt: skip
        else:
            self._store.write(path, lambda: self._open(path), self.sizes[path])
        self._job.progress.advance(0, bytes=self.sizes[path])
        self._job.ledger.add(artifacts=1, bytes=self.sizes[path])

    def _where_left(self, path: str) -> Store:
        if self._job.copies is None:
            raise BadDirectory(f"{path} is not in the directory: a copy has left it at the source")
        return self._job.copies.source(self._left[path][LEFT_AT])

    def _carry(self, path: str) -> None:
        """Bring a file that was left at the source here, and on from here."""
        name = f"{self._folder}/{path}"
        try:
            found = download(self._where_left(path), path, self._source, name)
            self.sizes[path] = found["size"]
            if "etag" not in self._left[path]:
                self._left[path]["sha256"] = found["sha256"]
            self._store.write(path, lambda: self._source.open_read(name), self.sizes[path])
        finally:
            self._source.remove(name)

    def _open(self, path: str) -> BinaryIO:
        text = self._texts.get(path)
        return self._source.open_read(f"{self._folder}/{path}") if text is None else io.BytesIO(text)
