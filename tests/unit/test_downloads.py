"""Artifacts on their way into a directory: what is there stays, what the source can't give is not given up."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest

from mlflow_migration.client.errors import Unavailable
from mlflow_migration.common.artifact_stores import File, Store
from mlflow_migration.common.downloads import Downloads
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress

Json = Dict[str, Any]


class Files(Store):
    """A source's files; None for one that can't be read."""

    def __init__(self, files: Dict[str, Optional[bytes]]) -> None:
        self.files = files
        self.reads: List[str] = []

    @contextmanager
    def read(self, path: str) -> Iterator[Iterator[bytes]]:
        self.reads.append(path)
        data = self.files[path]
        if data is None:
            raise Unavailable("no")
        yield iter([data])


class Export:
    """Exports one object again and again."""

    def __init__(self, home: Path) -> None:
        self.home, self.info, self.problems = home, {}, []  # type: Path, Json, List[str]

    def __call__(
        self, files: Dict[str, Optional[bytes]], recheck: bool = False, listed: bool = True, only: str = ""
    ) -> List[str]:
        """The files that were read."""
        store, self.problems = Files(files), []
        self.ledger = Ledger(None, "c", {})
        with Executor(2) as executor:
            job = Job(self.ledger, executor, Progress(True, "x"))
            downloads = Downloads(job, "r", ExportDir(str(self.home)), "artifacts", self.info)
            found = [File(path, len(data or b"123")) for path, data in files.items()]
            wanted = [file for file in found if file.path.startswith(only)]
            stored = downloads.fetch(store, found if listed else None, wanted, recheck, self.problems)
        self.gone = downloads.gone
        assert self.gone == [entry["path"] for entry in stored if entry.get("gone")]
        self.info = {"artifacts": stored}
        sizes = {path: len(data) for path, data in self.there.items()}
        assert {entry["path"]: entry["size"] for entry in stored} == sizes
        return sorted(store.reads)

    @property
    def there(self) -> Dict[str, bytes]:
        """The files of the directory."""
        root = self.home / "artifacts"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def test_only_what_is_new_or_changed_is_read(export: Export) -> None:
    assert export({"a": b"1", "d/b": b"22"}) == ["a", "d/b"]
    assert export({"a": b"1", "d/b": b"22"}) == []
    assert export({"a": b"1", "d/b": b"333", "c": b""}) == ["c", "d/b"]
    assert export({"a": b"9"}, recheck=True) == ["a"]
    assert export.there == {"a": b"9", "d/b": b"333", "c": b""}
    (export.home / "artifacts/a").unlink()
    assert export({"a": b"9"}) == ["a"]


def test_what_the_source_cannot_give_stays(export: Export) -> None:
    export({"a": b"1", "b": b"2"})
    assert export({"a": None, "b": b"2", "c": None}) == ["a", "c"]
    assert export.there == {"a": b"1", "b": b"2"}
    assert [problem.split(":")[0] for problem in export.problems] == ["artifact a", "artifact c"]
    assert "is kept" in export.problems[0] and "is kept" not in export.problems[1]
    assert export.ledger.counts == {"artifact": {"failed": 2}}
    (export.home / "artifacts/b").write_bytes(b"damaged")
    export({}, listed=False)
    assert export.there == {"a": b"1"}


def test_what_the_source_no_longer_has_stays(export: Export) -> None:
    export({"a": b"1", "b": b"2"})
    assert export({"b": b"2"}) == []
    assert (export.gone, export.there) == (["a"], {"a": b"1", "b": b"2"})
    assert export({}) == []
    assert (export.gone, export.there) == (["a", "b"], {"a": b"1", "b": b"2"})
    (export.home / "artifacts/b").unlink()
    assert export({"a": b"1"}) == []
    assert (export.gone, export.there) == ([], {"a": b"1"})


def test_what_is_not_wanted_this_time_stays_unless_it_has_changed(export: Export) -> None:
    export({"a": b"1", "b": b"2", "c": b"3"})
    assert export({"a": b"9", "b": b"2", "c": b"33"}, only="a") == []
    assert (export.gone, export.there) == ([], {"a": b"1", "b": b"2"})


def test_all_there(export: Export, tmp_path: Path) -> None:
    def all_there() -> bool:
        return Downloads(None, "r", ExportDir(str(tmp_path)), "artifacts", export.info).all_there(Files({}))  # type: ignore[arg-type]

    export({"a": b"1", "d/b": b"22"})
    assert all_there()
    (tmp_path / "artifacts/d/b").write_bytes(b"2")
    assert not all_there()
    (tmp_path / "artifacts/d/b").unlink()
    (tmp_path / "artifacts/d/b").symlink_to(tmp_path / "artifacts/a")
    assert not all_there()
    export.info["artifacts"][1]["path"] = "../a"
    assert not all_there()
