"""A file of JSON lines that only grows: the ledger, and the map of ids."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from typing import Any, BinaryIO, Dict

from mlflow_migration.client import json_codec
from mlflow_migration.common.export_dir import ExportDir


class AppendLog:
    """Appends JSON lines to a file of a directory. Not thread-safe.

    :param directory: The directory; made if it is not there.
    :param name: Name of the file.
    :raises OSError: It can't be written to.
    """

    def __init__(self, directory: ExportDir, name: str) -> None:
        self._directory, self._name = directory, name
        self.path = f"{directory.path.rstrip('/')}/{name}"
        directory.make()
        self._file: BinaryIO = _open(self.path) if directory.is_local else tempfile.TemporaryFile()

    def write(self, line: Dict[str, Any]) -> None:
        """Append a line; a local file has it at once."""
        self._file.write(json_codec.dumps(line) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; on an object store, which can't append, all lines are written now."""
        if not self._directory.is_local:
            _append_remote(self._directory, self._name, self._file)
        self._file.close()


def _open(path: str) -> BinaryIO:
    # the directory may come from anyone: a link or a pipe by that name is not followed
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666), "r+b", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("it is no regular file")
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        # a killed command may have left half a line
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def _append_remote(directory: ExportDir, name: str, file: BinaryIO) -> None:
    with tempfile.TemporaryFile() as old:
        if directory.exists(name):
            with directory.open_read(name) as present:
                shutil.copyfileobj(present, old)
        old.seek(0)
        file.seek(0)
        with directory.new_file(name) as target:
            for source in (old, file):
                for line in source:
                    target.write(line)
