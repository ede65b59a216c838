"""Files of an export directory on this machine: no symlink is followed below its root, a file is whole or not there."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager
from typing import BinaryIO, Iterator, List, Optional, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory

# what a killed process leaves behind; no file of an export has such a name
UNFINISHED = re.compile(r"\.mlflow_migration\.[0-9a-f]{16}\.part")

# a FIFO must not block an open; on Windows these two flags don't exist
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})

Parts = Sequence[str]


class LocalFiles:
    """A root directory of this machine; files in it are named by their path components, already checked one by one.

    :param root: The root; it may be a symlink itself.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def path(self, parts: Parts) -> str:
        """Return the path, unchecked."""
        return os.path.join(self._root, *parts)

    def _stat(self, parts: Parts) -> Optional[os.stat_result]:
        """Return what is there, None if nothing is; refuse a symlink at any component."""
        found: Optional[os.stat_result] = None
        path = self._root
        for part in parts:
            path = os.path.join(path, part)
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat.S_ISLNK(found.st_mode):
                raise BadDirectory(f"{path} is a symbolic link, which is not followed")
        if found is None:
            try:
                return os.stat(self._root)
            except (FileNotFoundError, NotADirectoryError):
                return None
        return found

    def make(self, parts: Parts) -> None:
        """Create the directory and its parents."""
        self._stat(parts)
        os.makedirs(self.path(parts), exist_ok=True)

    def exists(self, parts: Parts) -> bool:
        """Tell whether a file or directory is there."""
        return self._stat(parts) is not None

    def size(self, parts: Parts) -> Optional[int]:
        """Return the bytes of a regular file, None if there is none."""
        found = self._stat(parts)
        return found.st_size if found and stat.S_ISREG(found.st_mode) else None

    def names(self, parts: Parts) -> List[str]:
        """Return the names of the directories in a directory, sorted; symlinks are left out."""
        if self._stat(parts) is None:
            return []
        with os.scandir(self.path(parts)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def open_read(self, parts: Parts) -> BinaryIO:
        """Open a regular file.

        :raises BadDirectory: It is missing or something else.
        """
        path = self.path(parts)
        found = self._stat(parts)
        if found is None:
            raise BadDirectory(f"{path} is missing")
        if not stat.S_ISREG(found.st_mode):
            raise BadDirectory(f"{path} is no regular file")
        return open(os.open(path, _READ), "rb")

    def head(self, parts: Parts, size: int) -> Optional[bytes]:
        """Return the first bytes of a file, None if there is none."""
        if self._stat(parts) is None:
            return None
        with self.open_read(parts) as file:
            return file.read(size)

    @contextmanager
    def new_file(self, parts: Parts) -> Iterator[BinaryIO]:
        """Give a file to write to; it gets its name when the block ends well and vanishes when it does not."""
        self._stat(parts)
        target = self.path(parts)
        folder = os.path.dirname(target)
        unfinished = os.path.join(folder, f".mlflow_migration.{secrets.token_hex(8)}.part")
        try:
            handle = os.open(unfinished, _CREATE, 0o666)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            handle = os.open(unfinished, _CREATE, 0o666)
        try:
            with open(handle, "wb") as file:
                yield file
            os.replace(unfinished, target)
        except BaseException as ex:
            os.unlink(unfinished)
            if isinstance(ex, OSError) and ex.errno in _FULL:
                ex.filename = target  # the system names none
            raise

    @contextmanager
    def local_path(self, parts: Parts) -> Iterator[str]:
        """Give the path of a regular file."""
        self.open_read(parts).close()
        yield self.path(parts)

    def files(self, parts: Parts) -> Iterator[Tuple[Tuple[str, ...], int]]:
        """Give the components below a directory, and the bytes, of each regular file, in the order of their names."""
        found = self._stat(parts)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            raise BadDirectory(f"{self.path(parts)} is no directory")
        yield from self._walk(self.path(parts))

    def _walk(self, top: str) -> Iterator[Tuple[Tuple[str, ...], int]]:
        # a stack of our own: a directory a thousand levels deep is no reason to fail
        todo: List[Tuple[str, ...]] = [()]
        while todo:
            below = todo.pop()
            folders: List[Tuple[str, ...]] = []
            with os.scandir(os.path.join(top, *below)) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.is_symlink():
                        raise BadDirectory(f"{entry.path} is a symbolic link, which is not followed")
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((*below, entry.name))
                    elif not entry.is_file(follow_symlinks=False):
                        raise BadDirectory(f"{entry.path} is neither a regular file nor a directory")
                    elif not UNFINISHED.fullmatch(entry.name):
                        yield (*below, entry.name), entry.stat(follow_symlinks=False).st_size
            todo += reversed(folders)

    def remove(self, parts: Parts) -> None:
        """Remove a file or a tree, if there is one."""
        found = self._stat(parts)
        if found is None:
            return
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(self.path(parts))
        else:
            os.unlink(self.path(parts))
