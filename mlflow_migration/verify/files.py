"""The artifacts of one object, on a server or in a directory: listed and hashed, never held."""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Dict, List, Optional

from mlflow_migration.client.errors import BadDirectory, Unavailable
from mlflow_migration.common.artifact_stores import Store
from mlflow_migration.common.artifacts import list_files
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.notebook_files import notebook_paths

Json = Dict[str, Any]

_ATTEMPTS = 4
_BLOCK = 1024 * 1024


class StoreFiles:
    """Artifacts in a store of a server.

    :param store: The store.
    :param root: Its URI.
    :param base: The folder in it that counts; paths are below it.
    :param may_have: Tells cheaply whether there can be any.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        root: str,
        base: str = "",
        may_have: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._executor, self._base, self._may_have = store, executor, base, may_have
        self.root = root

    def sizes(self) -> Dict[str, int]:
        """Return bytes by path."""
        if not self._may_have():
            return {}
        start = f"{self._base}/" if self._base else ""
        return {file.path[len(start) :]: file.size for file in list_files(self._store, self._executor, self._base)}

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}" if self._base else path

    def sha256(self, path: str) -> str:
        """Return the hash of a file, in hex."""
        digest = hashlib.sha256()

        def take(block: bytes) -> bool:
            digest.update(block)
            return True

        def begin() -> None:
            nonlocal digest
            digest = hashlib.sha256()

        self._read(path, begin, take)
        return digest.hexdigest()

    def content(self, path: str, most: int) -> Optional[bytes]:
        """Return a file's bytes, None if they are more than ``most``."""
        found = bytearray()

        def take(block: bytes) -> bool:
            found.extend(block)
            return len(found) <= most

        self._read(path, found.clear, take)
        return bytes(found) if len(found) <= most else None

    def _read(self, path: str, begin: Callable[[], None], take: Callable[[bytes], bool]) -> None:
        for attempt in range(_ATTEMPTS):
            begin()
            started = False
            try:
                with self._store.read(self._full(path)) as blocks:
                    started = True
                    for block in blocks:
                        if not take(block):
                            return
                return
            except Unavailable:
                if not started or attempt == _ATTEMPTS - 1:  # only a body that broke off was not asked for again
                    raise


class DirectoryFiles:
    """Artifacts in a directory.

    :param directory: Of the object.
    :param folder: The folder in it.
    :param listed: ``path``, ``size`` and ``sha256`` of each, as the export recorded them; None if it recorded none.
    :param root: Where the source had them.
    """

    def __init__(self, directory: ExportDir, folder: str, listed: Optional[List[Json]], root: str = "") -> None:
        self._directory, self._folder, self.root = directory, folder, root
        self._listed = None if listed is None else {item["path"]: item for item in listed}

    @property
    def recorded(self) -> Optional[Dict[str, Json]]:
        """What the export recorded, by path."""
        return self._listed

    def sizes(self) -> Dict[str, int]:
        """Return bytes by path: what the export recorded, else what is there."""
        return self.there() if self._listed is None else {path: item["size"] for path, item in self._listed.items()}

    def there(self) -> Dict[str, int]:
        """Return bytes by path of the files that are there; those of a run's notebook are no artifacts."""
        if not self._directory.exists(self._folder):
            return {}
        notebook = notebook_paths(self._directory, self._folder) - (self._listed or {}).keys()
        return {path: size for path, size in self._directory.files(self._folder) if path not in notebook}

    def sha256(self, path: str) -> str:
        """Return the hash of a file, in hex: what the export recorded, else that of the file."""
        recorded = (self._listed or {}).get(path, {}).get("sha256")
        return str(recorded) if recorded else self.real_sha256(path)

    def real_sha256(self, path: str) -> str:
        """Return the hash of the file that is there."""
        digest = hashlib.sha256()
        with self._directory.open_read(f"{self._folder}/{path}") as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
        return digest.hexdigest()

    def content(self, path: str, most: int) -> Optional[bytes]:
        """Return a file's bytes, None if they are more than ``most``.

        :raises BadDirectory: They are not those that the export recorded.
        """
        with self._directory.open_read(f"{self._folder}/{path}") as file:
            found: bytes = file.read(most + 1)
        if len(found) > most:
            return None
        if hashlib.sha256(found).hexdigest() != self.sha256(path):
            raise BadDirectory(f"{self._directory.path}/{self._folder}/{path} has other bytes than were exported")
        return found
