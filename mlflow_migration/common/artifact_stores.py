"""Where artifacts lie on both sides of a move: one directory of a root is listed, one file read or written.

A root URI decides the way: ``mlflow-artifacts:`` goes through the tracking server's proxy, a path of this machine
through the file system, the roots of a Databricks workspace through its routes, anything else (``s3://``, ``gs://``,
``dbfs:`` ...) through MLflow's own artifact repositories with the credentials these take; where only the server can
reach such a store, the server is asked for each file.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, ContextManager, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union
from urllib.parse import unquote, urlparse, urlsplit, urlunparse

from mlflow_migration.client.databricks_artifacts import (
    DbfsFiles,
    SignedFiles,
    TraceFiles,
    VersionFiles,
    VolumeFiles,
    is_in_registry,
    is_in_tracking,
    is_in_volume,
    owner_of,
)
from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, NotFound, Refused
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.traces import Traces
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.client.unity_catalog import UnityCatalog
from mlflow_migration.common.ledger import Ledger

_SHARED_WITH_IT = 4  # of a directory that the server has, too: it and what holds other runs and logged models
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class File:
    """A file of an artifact tree: its path below the root, and its size in bytes."""

    path: str
    size: int


def _taken_for(path: str) -> str:
    """Return what an MLflow server takes a path for: it decodes it, and drops an empty query or fragment at its end."""
    try:
        return urlunparse(urlparse(unquote(path)))
    except ValueError:
        return ""


def _refuse_other_name(path: str) -> None:
    """Refuse a path that the server would take for another one: that could be the name of another file.

    :raises Refused: It is one.
    """
    if _taken_for(path) != path:
        raise Refused(f"the server can't be given the name {path!r}: it decodes it", http_status_code=400)


class Store:
    """One artifact root. Paths are relative to it."""

    uri = ""
    """URI of the root, if it is that of a run, a logged model or a version."""
    owner = ""
    """Id of that."""

    @property
    def location(self) -> Optional[str]:
        """URI of the root, if this machine reaches it in an object store."""
        return None

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        """Return the directories and the files of one directory, as paths below the root."""
        raise NotImplementedError

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        """Give a file's bytes."""
        raise NotImplementedError

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        """Write a file of ``size`` bytes."""
        raise NotImplementedError


class ProxiedStore(Store):
    """Artifacts behind the tracking server's proxy; what the proxy can't give is read in the server's own way."""

    def __init__(self, tracking: Tracking, root: str, through_server: Store) -> None:
        self._tracking, self._root, self._server = tracking, root, through_server

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        return _split(self._tracking.proxied_files(posixpath.join(self._root, path) if path else self._root), path)

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        _refuse_other_name(posixpath.join(self._root, path))
        try:
            posixpath.basename(path).encode("latin-1")
        except UnicodeEncodeError:
            # the proxy of a server before MLflow 3 names the file in a header, and fails if that is not Latin-1
            return self._server.read(path)
        return self._tracking.proxied_file(posixpath.join(self._root, path))

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        _refuse_other_name(posixpath.join(self._root, path))
        self._tracking.put_proxied_file(posixpath.join(self._root, path), open_body, size)


class LocalStore(Store):
    """Artifacts in a directory of this machine."""

    def __init__(self, root: str) -> None:
        self._root = root

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        dirs: List[str] = []
        files: List[File] = []
        try:
            entries = sorted(os.scandir(os.path.join(self._root, path)), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return dirs, files
        for entry in entries:
            name = posixpath.join(path, entry.name)
            if entry.is_symlink() and not self._inside(entry.path):
                files.append(File(name, -1))  # named, and refused when it is read
            elif entry.is_dir():
                dirs.append(name)
            elif entry.is_file():
                files.append(File(name, entry.stat().st_size))
        return dirs, files

    def _inside(self, path: str) -> bool:
        root = os.path.realpath(self._root)
        return os.path.commonpath([root, os.path.realpath(path)]) == root

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        full = os.path.join(self._root, path)
        if not self._inside(full):
            raise BadDirectory(f"{full} is a symbolic link that leads out of the artifact root")
        with open(full, "rb") as file:
            yield iter(lambda: file.read(_BLOCK), b"")

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        target = os.path.join(self._root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as out, open_body() as body:
                shutil.copyfileobj(body, out, _BLOCK)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


class RepositoryStore(Store):
    """Artifacts in a store that MLflow has a repository class for."""

    def __init__(self, uri: str) -> None:
        self.uri = self._uri = uri
        self._repository: Any = None

    @property
    def location(self) -> Optional[str]:
        return self._uri

    def repository(self) -> Any:
        """Return MLflow's repository of the root."""
        if self._repository is None:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            self._repository = get_artifact_repository(self._uri)
        return self._repository

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        found = self.repository().list_artifacts(path or None)
        return (
            [info.path for info in found if info.is_dir],
            [File(info.path, int(info.file_size or 0)) for info in found if not info.is_dir],
        )

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        with tempfile.TemporaryDirectory(prefix="mlflow-migration-") as folder:
            local = self.repository().download_artifacts(path, dst_path=folder)
            with open(local, "rb") as file:
                yield iter(lambda: file.read(_BLOCK), b"")

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        with tempfile.TemporaryDirectory(prefix="mlflow-migration-") as folder:
            local = os.path.join(folder, posixpath.basename(path))
            with open(local, "wb") as out, open_body() as body:
                shutil.copyfileobj(body, out, _BLOCK)
            self.repository().log_artifact(local, posixpath.dirname(path) or None)


class ServerReadStore(Store):
    """Artifacts that are read through the server's own download route, for runs and logged models. Read only."""

    def __init__(
        self,
        list_pages: Callable[[str], Iterator[List[Dict[str, Any]]]],
        read_file: Callable[[str], ContextManager[Iterator[bytes]]],
    ) -> None:
        self._list_pages, self._read_file = list_pages, read_file

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        found = [item for page in self._list_pages(path) for item in page]
        return sorted_out((item["path"], item) for item in found)

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        _refuse_other_name(path)
        return self._read_file(path)

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        raise Refused("this artifact store can't be written to from here", http_status_code=400)


class WorkspaceStore(Store):
    """Artifacts that a Databricks workspace gives and takes."""

    def __init__(self, files: Union[SignedFiles, TraceFiles, VersionFiles, VolumeFiles, DbfsFiles]) -> None:
        self._files = files

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        return sorted_out(self._files.entries(path), exact=True)

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        return self._files.read(path)

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        self._files.write(path, open_body, size)


class FallbackStore(Store):
    """The direct way to a store; the server's way for reading, once the direct one has failed where the server's works.

    :param place: What fails as one, such as a bucket.
    :param out_of_reach: The places that only the server reaches.
    """

    def __init__(self, direct: Store, through_server: Store, place: str, out_of_reach: Set[str]) -> None:
        self._direct, self._server = direct, through_server
        self._place, self._out_of_reach = place, out_of_reach

    @property
    def location(self) -> Optional[str]:
        return None if self._place in self._out_of_reach else self._direct.location

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        if self._place in self._out_of_reach:
            return self._server.list_dir(path)
        try:
            return self._direct.list_dir(path)
        except Exception as ex:  # noqa: BLE001 -- each cloud's library has errors of its own; the server may still reach it
            try:
                found = self._server.list_dir(path)
            except MlflowExportImportException:
                raise ex from None
            self._out_of_reach.add(self._place)
            return found

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        return (self._server if self._place in self._out_of_reach else self._direct).read(path)

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        self._direct.write(path, open_body, size)


class ServersDirectoryStore(Store):
    """Artifacts in a directory of the server, which may be one of this machine, too.

    A path alone does not tell, since two machines may have the same ones. So what this machine has not is asked of the
    server, and what is first written below a directory must be seen by the server.

    :param root: The path.
    :param direct: Its store, if it is one of this machine.
    :param shared: What has been found out: directories, and whether the server has the same.
    """

    def __init__(self, root: str, direct: Store, through_server: Store, shared: Dict[str, bool]) -> None:
        self._root, self._direct, self._server, self._shared = root, direct, through_server, shared

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        try:
            return self._readable().list_dir(path)
        except NotFound:
            # of a deleted logged model the server tells nothing
            if any(map(os.path.isdir, _ancestors(self._root)[:_SHARED_WITH_IT])):
                return self._direct.list_dir(path)
            raise

    def read(self, path: str) -> ContextManager[Iterator[bytes]]:
        return self._readable().read(path)

    def _readable(self) -> Store:
        return self._direct if os.path.isdir(self._root) else self._server

    def write(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        ancestors = _ancestors(self._root)
        known = next((self._shared[ancestor] for ancestor in ancestors if ancestor in self._shared), None)
        place = next(filter(os.path.isdir, ancestors), None)
        if known is False or place is None:
            self._server.write(path, open_body, size)
            return
        self._direct.write(path, open_body, size)
        if known is None and not self._is_seen(path):
            self._shared[place] = False
            _remove(os.path.join(self._root, path), place)
            self._server.write(path, open_body, size)
        if known is None:
            self._shared.update(dict.fromkeys(ancestors[:_SHARED_WITH_IT], True))

    def _is_seen(self, path: str) -> bool:
        folder = posixpath.dirname(path)
        if _taken_for(f"{folder}/") != f"{folder}/":
            folder, path = "", path.split("/")[0]
        dirs, files = self._server.list_dir(folder)
        return path in dirs or path in (file.path for file in files)


def _ancestors(root: str) -> List[str]:
    """Return where a server makes the directory of a run or logged model: up to what holds its artifact root."""
    # such as ROOT/EXPERIMENT/RUN/artifacts or ROOT/EXPERIMENT/models/MODEL/artifacts
    found = [root]
    while len(found) < 6 and len(os.path.dirname(found[-1])) > 1:
        found.append(os.path.dirname(found[-1]))
    return found


def _remove(path: str, place: str) -> None:
    """Remove a file, and the directories below a place that it leaves empty."""
    os.unlink(path)
    while os.path.dirname(path) != place:
        path = os.path.dirname(path)
        try:
            os.rmdir(path)
        except OSError:
            return


def run_store(tracking: Tracking, run_id: str, uri: str) -> Store:
    """Return the store of a run's artifacts.

    :param uri: The run's ``artifact_uri``.
    """
    server = ServerReadStore(
        lambda path: tracking.run_files(run_id, path), lambda path: tracking.run_file(run_id, path)
    )
    return _of(run_id, uri, _store(tracking, uri, server))


def logged_model_store(tracking: Tracking, model_id: str, uri: str) -> Store:
    """Return the store of a logged model's artifacts.

    :param uri: The model's ``artifact_uri``.
    """
    server = ServerReadStore(
        lambda path: tracking.logged_model_files(model_id, path),
        lambda path: tracking.logged_model_file(model_id, path),
    )
    return _of(model_id, uri, _store(tracking, uri, server))


def _of(owner: str, uri: str, store: Store) -> Store:
    store.owner, store.uri = owner, uri
    return store


def version_store(tracking: Tracking, registry: Registry, name: str, number: str, uri: str) -> Store:
    """Return the store of a model version's artifacts.

    :param tracking: The server that has the runs: it knows the stores that sources name.
    :param uri: Where the registry says that they are.
    """

    def unlisted(path: str) -> Iterator[List[Dict[str, Any]]]:
        raise Refused(f"the artifacts at {uri} can't be listed from here", http_status_code=400)

    if isinstance(registry, UnityCatalog):
        from mlflow_migration.common.catalog_store import catalog_store  # which is made of these stores

        return catalog_store(registry, name, number, uri)
    if registry.server.is_databricks and is_in_registry(uri):
        return _of(f"{name}/{number}", uri, WorkspaceStore(VersionFiles(registry.server.rest, name, number)))
    server = ServerReadStore(unlisted, lambda path: registry.version_file(name, number, path))
    return _of(f"{name}/{number}", uri, _store(tracking, uri, server))


def trace_store(traces: Traces, trace_id: str, uri: str, paths: Sequence[str]) -> Store:
    """Return the store of what a trace keeps in artifacts, which no server lists.

    :param uri: Its root, as the server names it.
    :param paths: What may be in it, below the root.
    :raises Refused: The root leads out of the experiment's: the server has made it from the trace's id.
    """
    if ".." in unquote(uri).split("/"):
        raise Refused(f"nothing can be kept at {uri!r}, which its id makes of it", http_status_code=400)
    if traces.keeps_files and (not uri or is_in_tracking(uri)):
        return _of(trace_id, uri, WorkspaceStore(TraceFiles(traces.rest, trace_id)))

    def listed(folder: str) -> Iterator[List[Dict[str, Any]]]:
        for path in paths:
            if posixpath.dirname(path) == folder:
                with read(path) as blocks:
                    next(blocks, b"")
                yield [{"path": path}]

    def read(path: str) -> ContextManager[Iterator[bytes]]:
        return traces.artifact(trace_id, posixpath.basename(path) if posixpath.dirname(path) else "")

    return _of(trace_id, uri, _store(traces.tracking, uri, ServerReadStore(listed, read)))


def uri_store(tracking: Optional[Tracking], uri: str) -> Store:
    """Return the store of a location that somebody names, such as ``s3://bucket/model`` or a directory.

    :param tracking: The server whose proxy ``mlflow-artifacts:`` means; None if the location is another one.
    :raises BadInput: There is no such directory on this machine, or the proxy is that of another server.
    """
    local = _local_path(uri)
    if local is not None:
        if not os.path.isdir(local):
            raise BadInput(f"There is no directory {local} on this machine.")
        return LocalStore(local)
    if tracking is None:
        return RepositoryStore(uri)
    root = proxied_root(tracking, uri)
    if root is None:
        raise BadInput(f"{uri} belongs to another server than {tracking.uri}.")
    return ProxiedStore(tracking, root, Store())


def proxied_root(tracking: Tracking, uri: str) -> Optional[str]:
    """Return the path of a root below the proxy of this tracking server, or None if it lies elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme != "mlflow-artifacts":
        return None
    if parts.netloc and parts.netloc != urlsplit(tracking.rest.url).netloc:
        return None
    return unquote(parts.path).strip("/") if "%" in parts.path else parts.path.strip("/")


def _workspace_store(tracking: Tracking, uri: str) -> Optional[Store]:
    """Return the store of a root that a Databricks workspace keeps, None if it is another one."""
    parts = urlsplit(uri)
    if not tracking.is_databricks or parts.scheme != "dbfs" or parts.netloc not in ("", "databricks"):
        return None
    owner = owner_of(uri)
    if owner is not None:
        return WorkspaceStore(SignedFiles(tracking, owner))
    if parts.path.startswith("/databricks/"):
        return None
    return WorkspaceStore((VolumeFiles if is_in_volume(uri) else DbfsFiles)(tracking.rest, uri))


def _store(tracking: Tracking, uri: str, server: Store) -> Store:
    kept = _workspace_store(tracking, uri)
    if kept is not None:
        return kept
    root = proxied_root(tracking, uri)
    if root is not None:
        return ProxiedStore(tracking, root, server)
    local = _local_path(uri)
    if local is not None:
        local = _found(tracking, local)
        direct = FallbackStore(LocalStore(local), server, local, tracking.out_of_reach)
        return direct if tracking.is_private else ServersDirectoryStore(local, direct, server, tracking.shared)
    if urlsplit(uri).scheme == "mlflow-artifacts":
        return server  # another server's proxy: this side's credentials are not for it
    parts = urlsplit(uri)
    return FallbackStore(RepositoryStore(uri), server, f"{parts.scheme}://{parts.netloc}", tracking.out_of_reach)


def note_absent(tracking: Tracking, ledger: Ledger) -> None:
    """Note which folders of a local store could not be found: artifacts that were there would be missed by nobody."""
    for place in sorted(tracking.absent):
        ledger.note(f"There is no folder {place} on this machine: artifacts that were in it are not copied.")


def _found(tracking: Tracking, root: str) -> str:
    """Return where an artifact root of a local store is now: its folder may have been moved since, or deleted.

    What can't be found is remembered; an experiment that never had artifacts has no folder either.
    """
    if tracking.artifact_folder is None or os.path.isdir(root):
        return root
    parts = root.split("/")
    for below in ("", ".trash"):
        for depth in (3, 4):  # EXPERIMENT/RUN/artifacts, EXPERIMENT/models/MODEL/artifacts
            place = os.path.join(tracking.artifact_folder, below, *parts[-depth:])
            if tracking.artifact_folder and os.path.isdir(os.path.dirname(place)):
                return place
    experiment = "/".join(parts[: -3 if parts[-3:-2] == ["models"] else -2])
    if not os.path.isdir(experiment):
        tracking.absent.add(experiment)
    return root


def _local_path(uri: str) -> Optional[str]:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path)
    return uri if not parts.scheme else None


def _split(found: Sequence[Dict[str, Any]], path: str) -> Tuple[List[str], List[File]]:
    return sorted_out((posixpath.join(path, posixpath.basename(item["path"].rstrip("/"))), item) for item in found)


def sorted_out(entries: Iterator[Tuple[str, Dict[str, Any]]], exact: bool = False) -> Tuple[List[str], List[File]]:
    """Return the directories and the files of a server's listing, given as paths and what it says of each.

    :param exact: The server takes every name for what it is.
    """
    dirs: List[str] = []
    files: List[File] = []
    for name, item in entries:
        if not item.get("is_dir"):
            files.append(File(name, int(item.get("file_size") or 0)))
        elif not exact and _taken_for(f"{name}/") != f"{name}/":
            files.append(File(name, -1))  # the server would list another one: named, and refused when it is read
        else:
            dirs.append(name)
    return dirs, files


class Presence:
    """Tells cheaply which runs can't have artifacts: one listing of an experiment's folder behind the proxy.

    It is made after the runs were read whose infos are asked about: a run that ended since may have got artifacts.
    So :meth:`forget` it before runs that are read later.

    :param tracking: The server.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._lock = threading.Lock()
        self._folders: Dict[str, Optional[Set[str]]] = {}

    def forget(self) -> None:
        """Make the listing anew when it is next needed."""
        with self._lock:
            self._folders.clear()

    def may_have(self, info: Dict[str, Any]) -> bool:
        """Tell whether a run may have artifacts.

        :param info: The run's info as REST returns it.
        """
        uri, run_id = info.get("artifact_uri") or "", info["run_id"]
        root = proxied_root(self._tracking, uri)
        if root is None or not root.endswith(f"/{run_id}/artifacts"):
            return bool(uri)
        folder = root[: -len(f"/{run_id}/artifacts")]
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = self._names(folder)
            there = self._folders[folder]
        # a run that goes on may have got its first artifact since
        return there is None or run_id in there or info.get("status") in ("RUNNING", "SCHEDULED")

    def _names(self, folder: str) -> Optional[Set[str]]:
        try:
            found = self._tracking.proxied_files(folder)
        except MlflowExportImportException:
            return None  # the listing of each run says why
        # an object store may cut a listing at a round number: then it tells nothing
        whole = not found or len(found) % 1000
        return {str(entry["path"]).rstrip("/").rpartition("/")[2] for entry in found} if whole else None
