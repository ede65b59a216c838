"""Brings the artifacts of one object from its directory to the destination's store."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO, Dict, List, Mapping, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.artifact_stores import Store
from mlflow_migration.common.artifacts import check_mlmodel, is_mlmodel, list_files, rewritten
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.three_way import State

_MLMODEL_MOST = 16 * 1024 * 1024
_BLOCK = 1024 * 1024


def content_of(info: Mapping[str, Any], missing: Sequence[str] = ()) -> Dict[str, Any]:
    """Return what tells contents of an export apart that look the same in a search: points and bytes.

    :param info: ``info`` of run.json or logged_model.json.
    :param missing: Fields that could not be written to the destination.
    """
    files = {entry["path"]: str(entry.get("sha256"))[:16] for entry in info.get("artifacts") or ()}
    files.update((name[len("artifact:") :], "") for name in missing if name.startswith("artifact:"))
    lacks_points = any(name.startswith("metric:") for name in missing)
    return {"points": -1 if lacks_points else info.get("num_metric_points"), "files": files}


class Uploads:
    """The artifacts of one run or logged model on their way.

    :param store: The destination.
    :param job: Threads and progress.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self._store, self._job = store, job
        self._texts: Dict[str, bytes] = {}
        self._bad: Dict[str, Exception] = {}
        self.sizes: Dict[str, int] = {}
        """Sizes in bytes that the files will have at the destination."""

    def there(self) -> Dict[str, int]:
        """Return the sizes in bytes of the files that the destination has."""
        return {file.path: file.size for file in list_files(self._store, self._job.executor)}

    def open(
        self, source: ExportDir, folder: str, sizes: Dict[str, int], replacements: Sequence[Tuple[str, str]]
    ) -> None:
        """Take the files of a directory.

        :param source: Directory of the object.
        :param folder: Its folder with artifacts.
        :param sizes: Size in bytes by path, as the object's file records them.
        :param replacements: What is replaced in MLmodel files: (old, new), in this order.
        """
        self._source, self._folder, self.sizes = source, folder, dict(sizes)
        for path in sizes:
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
            path for path in same if old.get(path, new.get(path)) != new.get(path) or (other_fix and is_mlmodel(path))
        ]
        moved = set(other)
        if read:
            differ = self._job.executor.gather(self._differs, [path for path in same if path not in self._bad])
            other = [outcome.item for outcome in differ if outcome.get()]
        fields = ["artifact:" + path for path in other if path in moved]
        return fields, ["artifact:" + path for path in other if path not in moved]

    def _differs(self, path: str) -> bool:
        wanted, found = hashlib.sha256(), hashlib.sha256()
        with self._open(path) as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                wanted.update(block)
        with self._store.read(path) as blocks:
            for block in blocks:
                found.update(block)
        return wanted.digest() != found.digest()

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
        found = size if path in self._texts else self._source.size(name)
        if found is None:
            self._source.open_read(name).close()  # says why
        if found != size:
            raise BadDirectory(f"{self._source.path}/{name} has {found} bytes in the directory, not {size}")

    def _send(self, path: str) -> None:
        self._check(path)
        self._store.write(path, lambda: self._open(path), self.sizes[path])
        self._job.progress.advance(0, bytes=self.sizes[path])
        self._job.ledger.add(artifacts=1, bytes=self.sizes[path])

    def _open(self, path: str) -> BinaryIO:
        text = self._texts.get(path)
        return self._source.open_read(f"{self._folder}/{path}") if text is None else io.BytesIO(text)
