"""The directory of an export: what every tool reads and writes, on this machine or in an object store.

Nothing in it is trusted: each name that comes from data is checked, no symlink is followed, no file is
read without limit.
"""

from __future__ import annotations

import codecs
import copy
import hashlib
import json
import os
import re
from contextlib import contextmanager
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, BinaryIO, ContextManager, Dict, Iterator, List, Optional, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.common.local_files import UNFINISHED, LocalFiles

MAX_LINE_BYTES = 64 * 1024 * 1024
_MAX_JSON_BYTES = 256 * 1024 * 1024
_DBFS = "/dbfs"
_HEAD_BYTES = 16 * 1024
_MAX_NAME_BYTES = 200

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_DRIVE = re.compile(r"[A-Za-z]:($|[/\\])")
_UNSAFE_IN_NAME = re.compile(r"[^\w.\-+ @=,]|[. ]\Z")
_WINDOWS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def safe_name(name: str) -> str:
    """Return a name given by a server as one component of a path.

    Ids and most names stay as they are; other characters become ``%XX`` of their UTF-8 bytes, so that
    ``urllib.parse.unquote`` gives the name back, unless it was longer than 200 bytes: then its end is a hash.

    :param name: Any text.
    :return: Never ``.``, ``..``, empty or a device of Windows, and at most 200 bytes long.
    """
    safe = _UNSAFE_IN_NAME.sub(_escape, name)
    if _WINDOWS_DEVICE.match(safe) or UNFINISHED.fullmatch(safe) or safe.startswith(".") and not safe.strip("."):
        safe = "".join(f"%{byte:02X}" for byte in safe[0].encode()) + safe[1:]
    if len(safe.encode()) > _MAX_NAME_BYTES:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        start = safe.encode()[: _MAX_NAME_BYTES - len(digest) - 1].decode("utf-8", "ignore")
        safe = re.sub(r"%[0-9A-F]?\Z", "", start) + "~" + digest  # no plain name has a tilde
    return safe or "%"


def _escape(match: "re.Match[str]") -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "surrogatepass"))


def _refusal(rel: str) -> Optional[str]:
    """Return why a relative name must not be used, None if it may."""
    if not rel:
        return "it is empty"
    if "\0" in rel:
        return "it holds a NUL"
    if rel[0] in "/\\" or _DRIVE.match(rel):
        return "it is absolute"
    if any(part == ".." for part in re.split(r"[/\\]", rel)):
        return "it leads out of its directory"
    parts = rel.split("/")
    if "" in parts or "." in parts:
        return "it has an empty component or a '.'"
    if os.name == "nt" and re.search(r"[\\:]", rel):
        return "this system takes a backslash or a colon in it for something else"
    if UNFINISHED.fullmatch(parts[-1]):
        return "names like this are for unfinished files"
    if re.search("[\ud800-\udfff]", rel):
        return "it is not Unicode text"
    return None


def max_json_bytes() -> int:
    """Return the size in bytes above which a JSON file is refused.

    :raises BadInput: ``MLFLOW_MIGRATION_MAX_JSON_BYTES`` is no number.
    """
    text = os.environ.get("MLFLOW_MIGRATION_MAX_JSON_BYTES")
    if not text:
        return _MAX_JSON_BYTES
    if not text.isdigit():
        raise BadInput(f"MLFLOW_MIGRATION_MAX_JSON_BYTES is no number of bytes: {text}")
    return int(text)


class HashingWriter:
    """A file being written, with the ``size`` in bytes of what it got so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Write all the bytes and return their number."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes written so far, in hex."""
        return self._hash.hexdigest()


class ExportDir:
    """A directory of an export.

    Relative names use ``/`` on every system. They come from data, so each is checked: absolute names, ``..``, empty
    components, NUL and drive letters are refused; on this machine so is every symlink below the directory that
    the user named (which may be one itself).

    :param path: A local path, ``dbfs:/...`` (read as ``/dbfs/...``), ``file:///...``, or a URL such as ``s3://``,
        ``gs://``, ``abfss://``.
    :raises BadInput: It is a file, or no such store can be used, for instance because a package is missing.
    """

    def __init__(self, path: str) -> None:
        if not path:
            raise BadInput("the name of the directory is empty")
        if path.startswith("dbfs:"):
            if not os.path.isdir(_DBFS):
                raise BadInput(
                    f"{path} can't be used: dbfs:/ is reached through the mount {_DBFS} of a Databricks cluster, and "
                    f"there is no {_DBFS} on this machine"
                )
            path = f"{_DBFS}/" + path[len("dbfs:") :].lstrip("/")
        elif path.startswith("file://"):
            path = path[len("file://") :]
        self.is_local: bool = not _URL.match(path)
        if self.is_local and os.path.isfile(path):
            raise BadInput(f"{path} is a file, not a directory")
        self._files: Any = LocalFiles(path) if self.is_local else _remote(path)
        self._parts: Tuple[str, ...] = ()
        self.path: str = self._files.path(())

    def __repr__(self) -> str:
        return f"ExportDir({self.path!r})"

    def sub(self, *names: str) -> "ExportDir":
        """Return a directory below this one; it need not exist.

        :param names: One component each.
        :raises BadDirectory: A name is no safe single component.
        """
        for name in names:
            self._check(name)
            if "/" in name:
                raise BadDirectory(f"{self.path}: the name {name!r} is refused: it has more than one component")
        child = copy.copy(self)
        child._parts = (*self._parts, *names)
        child.path = self._files.path(child._parts)
        return child

    def _check(self, rel: str) -> Tuple[str, ...]:
        why = _refusal(rel) if isinstance(rel, str) else "it is no text"
        if why:
            raise BadDirectory(f"{self.path}: the name {rel!r} is refused: {why}")
        return (*self._parts, *rel.split("/"))

    def make(self) -> None:
        """Create the directory and its parents; one that exists is fine.

        :raises OSError: It can't be.
        :raises BadDirectory: It is in an object store that takes no objects.
        """
        self._files.make(self._parts)

    def exists(self, rel: str = "") -> bool:
        """Tell whether a file or directory is there; without a name: this directory."""
        return bool(self._files.exists(self._check(rel) if rel else self._parts))

    def names(self) -> List[str]:
        """Return the names of the directories in this one, sorted; symlinks are left out."""
        return list(self._files.names(self._parts))

    def size(self, rel: str) -> Optional[int]:
        """Return the bytes of a regular file, None if there is none."""
        size: Optional[int] = self._files.size(self._check(rel))
        return size

    def open_read(self, rel: str) -> BinaryIO:
        """Open a regular file for reading.

        :raises BadDirectory: It is missing, something else, or behind a symlink.
        """
        file: BinaryIO = self._files.open_read(self._check(rel))
        return file

    @contextmanager
    def new_file(self, rel: str) -> Iterator[HashingWriter]:
        """Give a file to write to, whose parents are made.

        It appears under its name when the block ends, whole; an exception leaves no trace and keeps an older file.
        """
        with self._files.new_file(self._check(rel)) as file:
            yield HashingWriter(file)

    def write_json(self, rel: str, text: bytes) -> None:
        """Write a file at once: it is there whole or not at all."""
        with self._files.new_file(self._check(rel)) as file:
            file.write(text)

    def local_path(self, rel: str) -> ContextManager[str]:
        """Give the path of a local file with these bytes: the file itself, or a copy that lives as the block does."""
        path: ContextManager[str] = self._files.local_path(self._check(rel))
        return path

    def files(self, rel: str = "") -> Iterator[Tuple[str, int]]:
        """Give the path below ``rel``, and the bytes, of each regular file there.

        :raises BadDirectory: One is a symlink or no regular file, or its name is refused.
        """
        for parts, size in self._files.files(self._check(rel) if rel else self._parts):
            path = "/".join(parts)
            self._check(path)
            yield path, size

    def remove(self, rel: str) -> None:
        """Remove a file or a tree; nothing there is fine."""
        self._files.remove(self._check(rel))

    def lines(self, rel: str) -> Iterator[bytes]:
        """Give the lines of a file, without their ends and without empty ones.

        :raises BadDirectory: A line is longer than 64 MiB.
        """
        with self.open_read(rel) as file:
            number = 0
            while True:
                line = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise BadDirectory(f"{self._name(rel)}: line {number} is longer than {MAX_LINE_BYTES} bytes")
                line = line.rstrip(b"\r\n")
                if line:
                    yield line

    def read_json(self, rel: str) -> Dict[str, Any]:
        """Return the JSON object in a file.

        Bare ``NaN`` and ``Infinity`` of old exports are understood.

        :raises BadDirectory: The file is missing, too big, broken, or holds something else than an object.
        """
        with self.open_read(rel) as file:
            data = file.read(self.check_json_size(rel) + 1)
        return self._decoded(rel, data)

    def read_info(self, rel: str) -> Optional[Dict[str, Any]]:
        """Return the ``info`` of an envelope, in most cases from the first bytes of the file alone.

        :return: None if there is no file, an empty dictionary if it has no ``info``.
        :raises BadDirectory: The file can't be read.
        """
        parts = self._check(rel)
        wanted = _HEAD_BYTES
        while True:
            head: Optional[bytes] = self._files.head(parts, wanted)
            if head is None:
                return None
            try:
                found = _info_in(head)
            except _CutError:
                if len(head) < wanted:
                    break
                wanted = min(wanted * 8, max_json_bytes())
                if len(head) >= wanted:
                    break
                continue
            except RecursionError as ex:
                raise BadDirectory(f"{self._name(rel)} is nested too deeply") from ex
            if found is None:
                break
            return found
        # another tool's order of keys, no info, or broken: the whole file decides
        info = self.read_json(rel).get("info")
        return info if isinstance(info, dict) else {}

    def check_json_size(self, rel: str) -> int:
        """Refuse a JSON file that is too big to be read; return the limit in bytes.

        :raises BadDirectory: It is too big.
        """
        size, limit = self.size(rel), max_json_bytes()
        if size is not None and size > limit:
            raise BadDirectory(
                f"{self._name(rel)} has {size} bytes, more than the {limit} that are read"
                " (MLFLOW_MIGRATION_MAX_JSON_BYTES can be set higher)"
            )
        return limit

    def _name(self, rel: str) -> str:
        return str(self._files.path((*self._parts, rel)))

    def _decoded(self, rel: str, data: bytes) -> Dict[str, Any]:
        try:
            doc = json_codec.loads(data)
        except RecursionError as ex:
            raise BadDirectory(f"{self._name(rel)} is nested too deeply") from ex
        except json.JSONDecodeError as ex:
            raise BadDirectory(f"{self._name(rel)} is no JSON: line {ex.lineno}, column {ex.colno}: {ex.msg}") from ex
        except UnicodeDecodeError as ex:
            line = data.count(b"\n", 0, ex.start) + 1
            raise BadDirectory(f"{self._name(rel)} is no JSON: line {line} is not UTF-8") from ex
        except ValueError as ex:  # such as a number of a million digits
            raise BadDirectory(f"{self._name(rel)} is no JSON: {ex}") from ex
        if not isinstance(doc, dict):
            raise BadDirectory(f"{self._name(rel)} holds no JSON object at its top")
        if _SURROGATE.search(data) and not _is_unicode(doc):
            raise BadDirectory(f"{self._name(rel)} holds half of a pair of surrogates, which is no Unicode text")
        return doc


def _is_unicode(doc: Any) -> bool:
    try:
        return bool(json.dumps(doc, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _remote(url: str) -> Any:
    from mlflow_migration.common.remote_files import RemoteFiles  # loads fsspec

    return RemoteFiles(url)


class _CutError(Exception):
    """The text ends, or is broken, before the value does."""


def _info_in(head: bytes) -> Optional[Dict[str, Any]]:
    """Return ``info`` out of the first bytes of an envelope.

    :return: None if ``mlflow``, which is big, comes before it, or if it is no object.
    :raises _CutError: More bytes are needed, or it is no JSON.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
        position = _after(text, 0, "{")
        while True:
            key, position = scanstring(text, _after(text, position, '"'), True)
            position = _skip(text, _after(text, position, ":"))
            if key == "mlflow":
                return None
            value, position = _DECODER.raw_decode(text, position)
            if key == "info":
                return value if isinstance(value, dict) else None
            position = _after(text, position, ",")
    except ValueError as ex:
        raise _CutError from ex


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _after(text: str, position: int, expected: str) -> int:
    position = _skip(text, position)
    if text[position : position + 1] != expected:
        raise _CutError
    return position + 1
