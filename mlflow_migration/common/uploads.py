"""Brings the artifacts of one object from its directory to the destination's store."""

from __future__ import annotations

import io
from typing import BinaryIO, Dict, List, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.artifacts import Store, check_mlmodel, is_mlmodel, list_files, rewritten
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job

_MLMODEL_MOST = 16 * 1024 * 1024


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
        if found != size:
            what = "is missing in the directory" if found is None else f"has {found} bytes in the directory, not {size}"
            raise BadDirectory(f"{self._source.path}/{name} {what}")

    def _send(self, path: str) -> None:
        self._check(path)
        self._store.write(path, lambda: self._open(path), self.sizes[path])
        self._job.progress.advance(0, bytes=self.sizes[path])

    def _open(self, path: str) -> BinaryIO:
        text = self._texts.get(path)
        return self._source.open_read(f"{self._folder}/{path}") if text is None else io.BytesIO(text)
