"""A file of JSON lines that only grows: the ledger, and the map of ids.

An object store can't append to an object. There the lines are collected and stored when the file is closed; those that
must outlive a killed command go into objects of their own before, in a folder beside, until a later command closes.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from typing import BinaryIO, Iterator, List, Set

from mlflow_migration.client.errors import Stopped, describe
from mlflow_migration.common.export_dir import ExportDir


class AppendLog:
    """Appends JSON lines to a file of a directory. Not thread-safe.

    :param directory: The directory; made if it is not there.
    :param name: Name of the file.
    :raises OSError: It can't be written to.
    :raises BadDirectory: The object store can't be.
    """

    def __init__(self, directory: ExportDir, name: str) -> None:
        self._directory, self._name = directory, name
        self.path = f"{directory.path.rstrip('/')}/{name}"
        directory.make()
        self._file: BinaryIO = _open(self.path) if directory.is_local else tempfile.TemporaryFile(buffering=0)
        self._safe = 0
        self._pieces: Set[str] = set()

    def write(self, line: bytes) -> None:
        """Append a line; a local file has it at once.

        :param line: JSON, without the newline.
        :raises Stopped: It can't be written: what is done from now on could not be told any more.
        """
        data = line + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as ex:
            self._file.truncate(end)  # half a line would spoil the one that is written when there is room again
            raise Stopped(describe(OSError(ex.errno, ex.strerror, self.path))) from ex

    def sync(self) -> None:
        """Store the lines so far, so that they outlive us, whatever becomes of us."""
        if self._directory.is_local:
            return
        self._file.seek(self._safe)
        lines = self._file.read()
        if lines:
            piece = f"{_folder(self._name)}/{time.time_ns():020d}"
            self._directory.write_json(piece, lines)
            self._safe += len(lines)
            self._pieces.add(piece)

    def close(self) -> None:
        """Close the file; on an object store all lines are written now."""
        try:
            if not self._directory.is_local:
                self._append_remote()
        finally:
            self._file.close()

    def _append_remote(self) -> None:
        pieces = _pieces(self._directory, self._name)
        others = [piece for piece in pieces if piece not in self._pieces]
        with self._directory.new_file(self._name) as target:
            for name in _present(self._directory, [self._name, *others]):
                with self._directory.open_read(name) as source:
                    shutil.copyfileobj(source, target)
            self._file.seek(0)
            shutil.copyfileobj(self._file, target)
        for piece in pieces:
            self._directory.remove(piece)


def stored_lines(directory: ExportDir, name: str) -> Iterator[bytes]:
    """Give the lines of such a file, and those that killed commands have left beside it.

    :raises BadDirectory: It can't be read.
    """
    for file in _present(directory, [name, *_pieces(directory, name)]):
        yield from directory.lines(file)


def _folder(name: str) -> str:
    return f"{name}.pieces"


def _pieces(directory: ExportDir, name: str) -> List[str]:
    folder = _folder(name)
    return sorted(f"{folder}/{path}" for path, _ in directory.files(folder)) if directory.exists(folder) else []


def _present(directory: ExportDir, names: List[str]) -> List[str]:
    return [name for name in names if directory.exists(name)]


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
