"""Artifact stores: names that a server takes for others, stores that only the server reaches, directories of others."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple

import pytest

from mlflow_migration.client.errors import NotFound, Refused, Unavailable
from mlflow_migration.common.artifact_stores import (
    FallbackStore,
    File,
    LocalStore,
    Presence,
    ProxiedStore,
    ServerReadStore,
    ServersDirectoryStore,
    Store,
    _found,
    note_absent,
)

RENAMED = ["a%41", "50%25", "x?", "x;", "x#", "a\nb", "d%2Fx/file", "%FF"]
KEPT = ["100%", "a b", "\u00fc \u6c49", "a=b,c;d@e!.txt", "what?.txt", "50% off", "a+b", "HTTP/x", ".hidden"]


class Server(Store):
    """What a server has: the files of a directory."""

    def __init__(self, root: Path) -> None:
        self.asked: List[str] = []
        self._local = LocalStore(str(root))

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        self.asked.append(path)
        return self._local.list_dir(path)

    def read(self, path: str) -> Any:
        return self._local.read(path)

    def write(self, path: str, open_body: Any, size: int) -> None:
        raise Refused("not from here", http_status_code=400)


class Tracking:
    """The proxy's part of a tracking server."""

    def __init__(self) -> None:
        self.paths: List[str] = []

    @contextmanager
    def proxied_file(self, path: str) -> Iterator[Iterator[bytes]]:
        self.paths.append(path)
        yield iter(())

    def put_proxied_file(self, path: str, open_body: Any, size: int) -> None:
        self.paths.append(path)


def put(store: Store, path: str, data: bytes = b"data") -> None:
    store.write(path, lambda: io.BytesIO(data), len(data))


@pytest.mark.parametrize("name", RENAMED)
def test_a_name_that_a_server_takes_for_another_is_refused(name: str) -> None:
    """Neither way of a server is asked for it, as that could be another file."""
    tracking = Tracking()
    proxied = ProxiedStore(tracking, "1/run/artifacts", Store())  # type: ignore[arg-type]
    read = ServerReadStore(lambda path: iter(()), tracking.proxied_file)
    for refused in (lambda: put(proxied, name), lambda: proxied.read(name), lambda: read.read(name)):
        with pytest.raises(Refused, match="decodes it"):
            refused()
    assert tracking.paths == []


@pytest.mark.parametrize("name", KEPT)
def test_other_odd_names_pass(name: str) -> None:
    """What a server takes as it is goes to the server."""
    tracking = Tracking()
    put(ProxiedStore(tracking, "1/run/artifacts", Store()), name)  # type: ignore[arg-type]
    with ServerReadStore(lambda path: iter(()), tracking.proxied_file).read(name):
        assert tracking.paths == [f"1/run/artifacts/{name}", name]


def test_a_directory_that_the_server_can_t_list_is_named() -> None:
    """Its files are not lost without a word: it comes as a file, which is refused when it is read."""
    entries = [{"path": "day=a%3Ab", "is_dir": True}, {"path": "plain", "is_dir": True}, {"path": "f", "file_size": 3}]
    found = ServerReadStore(lambda path: iter([entries]), Tracking().proxied_file).list_dir("")
    assert found == (["plain"], [File("day=a%3Ab", -1), File("f", 3)])


# ---- the server's way


class Unreachable(Store):
    """A store that this machine does not reach."""

    def __init__(self) -> None:
        self.asked = 0

    def list_dir(self, path: str) -> Tuple[List[str], List[File]]:
        self.asked += 1
        raise RuntimeError("no credentials")


def test_what_only_the_server_reaches_is_read_through_it(tmp_path: Path) -> None:
    """Once one listing has shown it, no other store object of that bucket tries the direct way."""
    (tmp_path / "a.txt").write_bytes(b"a")
    direct, place = Unreachable(), "s3://bucket"
    out_of_reach: Set[str] = set()
    for _ in range(2):
        store = FallbackStore(direct, Server(tmp_path), place, out_of_reach)
        assert store.list_dir("") == ([], [File("a.txt", 1)])
    with FallbackStore(direct, Server(tmp_path), place, out_of_reach).read("a.txt") as blocks:
        assert list(blocks) == [b"a"]
    assert direct.asked == 1


def test_where_neither_way_works_the_direct_one_s_error_is_told() -> None:
    """And the direct way is tried again: it may have been a moment's failure."""

    class Silent(Store):
        def list_dir(self, path: str) -> Any:
            raise Refused("nor here", http_status_code=403)

    direct = Unreachable()
    out_of_reach: Set[str] = set()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no credentials"):
            FallbackStore(direct, Silent(), "s3://bucket", out_of_reach).list_dir("")
    assert direct.asked == 2 and not out_of_reach


# ---- directories of the server


def directory_store(here: Path, server: Server, shared: Dict[str, bool], run: str = "run") -> ServersDirectoryStore:
    root = str(here / "1" / run / "artifacts")
    return ServersDirectoryStore(root, LocalStore(root), server, shared)


def test_the_same_path_on_another_machine(tmp_path: Path) -> None:
    """Nothing is written to a directory that the server does not have, and the server's files are listed."""
    here, there = tmp_path / "here" / "mlruns", tmp_path / "there"
    (here / "1").mkdir(parents=True)
    there.mkdir()
    (there / "model.pkl").write_bytes(b"model")
    server = Server(there)
    shared: Dict[str, bool] = {}
    store = directory_store(here, server, shared)
    assert store.list_dir("") == ([], [File("model.pkl", 5)])
    with store.read("model.pkl") as blocks:
        assert b"".join(blocks) == b"model"
    for run in ("run", "run", "another run"):
        server.asked.clear()
        with pytest.raises(Refused, match="not from here"):
            put(directory_store(here, server, shared, run), "dir/a.txt")
        assert os.listdir(here / "1") == []
    assert server.asked == []  # what was found out is known


@pytest.mark.parametrize("name", ["a.txt", "dir/a.txt", "d%41/a.txt", "e%41.txt"])
def test_a_directory_that_both_have(tmp_path: Path, name: str) -> None:
    """A root that nobody has used yet is made; the server is asked once."""
    here = tmp_path / "server" / "artifacts"
    here.parent.mkdir()
    shared: Dict[str, bool] = {}
    server = Server(here / "1" / "run" / "artifacts")
    store = directory_store(here, server, shared)
    assert store.list_dir("") == ([], [])
    put(store, name)
    asked = len(server.asked)
    for run in ("run", "another run"):
        put(directory_store(here, server, shared, run), f"more {name}")
    assert len(server.asked) == asked == 2
    assert (here / "1" / "another run" / "artifacts" / f"more {name}").read_bytes() == b"data"
    assert store.list_dir("") != ([], []) and len(server.asked) == asked


def test_a_deleted_logged_model_without_artifacts(tmp_path: Path) -> None:
    """The server tells nothing of it; where it would lie shows that there are none, if that is here."""

    class Silent(Store):
        def list_dir(self, path: str) -> Any:
            raise NotFound("deleted", http_status_code=404)

    root = tmp_path / "mlruns" / "1" / "models" / "m-1" / "artifacts"
    store = ServersDirectoryStore(str(root), LocalStore(str(root)), Silent(), {})
    with pytest.raises(NotFound):
        store.list_dir("")
    (tmp_path / "mlruns" / "1").mkdir(parents=True)
    assert store.list_dir("") == ([], [])


def test_a_path_of_nowhere_near(tmp_path: Path) -> None:
    """A server's path of which this machine has not even the surroundings is not made here."""
    server = Server(tmp_path / "there")
    with pytest.raises(Refused, match="not from here"):
        put(directory_store(tmp_path / "data" / "of" / "another", server, {}), "a.txt")
    assert os.listdir(tmp_path) == []


class Local:
    """What is known of a local store that is a source."""

    def __init__(self, folder: Path) -> None:
        self.artifact_folder, self.absent, self.notes = str(folder), set(), []  # type: str, Set[str], List[str]

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("below", ["", ".trash"])
@pytest.mark.parametrize("root", ["1/run/artifacts", "1/models/m-1/artifacts"])
def test_artifacts_of_a_store_that_was_moved_are_found(tmp_path: Path, root: str, below: str) -> None:
    local = Local(tmp_path / "new")
    (tmp_path / "new" / below / root).mkdir(parents=True)
    place = str(tmp_path / "new" / below / root)
    assert _found(local, str(tmp_path / "old" / root)) == place  # type: ignore[arg-type]
    (tmp_path / "old" / root).mkdir(parents=True)
    assert _found(local, str(tmp_path / "old" / root)) == str(tmp_path / "old" / root)  # type: ignore[arg-type]
    assert not local.absent


@pytest.mark.parametrize("root", ["1/run/artifacts", "1/models/m-1/artifacts"])
def test_artifacts_that_cannot_be_found_are_told(tmp_path: Path, root: str) -> None:
    local = Local(tmp_path / "new")
    assert _found(local, str(tmp_path / "old" / root)) == str(tmp_path / "old" / root)  # type: ignore[arg-type]
    note_absent(local, local)  # type: ignore[arg-type]
    assert len(local.notes) == 1 and str(tmp_path / "old" / "1") + " " in local.notes[0]
    # a run or logged model without artifacts has no folder either
    (tmp_path / "old" / "1").mkdir(parents=True)
    local = Local(tmp_path / "new")
    _found(local, str(tmp_path / "old" / root))  # type: ignore[arg-type]
    assert not local.absent


def test_a_folder_that_cannot_be_listed_is_asked_for_once() -> None:
    """Each run may have artifacts then; that the listing of each fails too is told there."""

    class Broken(Tracking):
        def proxied_files(self, path: str) -> List[Dict[str, Any]]:
            self.paths.append(path)
            raise Unavailable("500")

    tracking = Broken()
    presence = Presence(tracking)  # type: ignore[arg-type]
    infos = [{"run_id": run_id, "artifact_uri": f"mlflow-artifacts:/1/{run_id}/artifacts"} for run_id in ("a", "b")]
    assert all(presence.may_have(info) for info in infos)
    assert tracking.paths == ["1"]
