"""What goes to the workers of a cluster, and who holds a unit of work."""

from __future__ import annotations

import pickle
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import pytest

from mlflow_migration.bulk.unit_work import do_unit
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.common import units
from mlflow_migration.common.engine import Engine, open_engine
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.ledger import Ledger, PartLedger
from mlflow_migration.common.options import OPTIONS
from mlflow_migration.common.units import (
    DONE_FILE,
    LEASE_FILE,
    SETTINGS,
    STOP_FILE,
    Unit,
    held,
    read_unit,
    wait_until_free,
)
from tests.support.stub import Stub, error

UNIT = Unit(
    "export", "http://host:5000", "", "http://host:5000", "1", "/shared/out/1", ("a", "b"), {"recheck": "full"}, 4
)
TOKEN = "s3cret-token"


def test_orders_come_back(tmp_path: Path) -> None:
    """A worker reads what was written; a folder that it can't see, or with something else, is named."""
    place = ExportDir(str(tmp_path)).sub("000001")
    UNIT.write(place)
    assert read_unit(place) == UNIT
    with pytest.raises(BadDirectory):
        read_unit(ExportDir(str(tmp_path)).sub("000002"))
    place.write_json("unit.json", b'{"action": "export"}')
    with pytest.raises(BadDirectory, match="holds no orders"):
        read_unit(place)


@pytest.mark.parametrize("field", ["tracking_uri", "identity", "directory"])
def test_orders_hold_no_credentials(field: str) -> None:
    """Neither in an address nor as an option."""
    with pytest.raises(BadInput, match="without credentials") as caught:
        replace(UNIT, **{field: f"https://user:{TOKEN}@host/path"})
    assert TOKEN not in str(caught.value)
    with pytest.raises(ValueError, match="no orders"):
        replace(UNIT, settings={"mlflow_client": TOKEN})


def test_options_of_orders_are_options() -> None:
    """None of them is private."""
    assert set(OPTIONS) >= SETTINGS
    assert not any(OPTIONS[name].private for name in SETTINGS)


def test_a_task_is_two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else can travel, and what travels names a function of the package: no credential of this process."""
    pytest.importorskip("joblib")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    engine = Engine("sequential")
    wrong: List[Any] = [("path",), ("path", "name", "more"), ("path", {"token": TOKEN}), (engine, "name")]
    for task in wrong:
        with pytest.raises(TypeError, match="two texts"):
            engine.run(do_unit, [task])
    from joblib import delayed

    data = pickle.dumps(delayed(do_unit)("/shared/engine-units", "000001"))
    assert b"do_unit" in data
    assert b"engine-units" in data
    assert TOKEN.encode() not in data
    assert len(data) < 300


def test_a_worker_says_why_not(tmp_path: Path) -> None:
    """A unit that can't be done raises nothing: the others go on."""
    (tmp_path / "units").mkdir()
    assert "unit.json" in do_unit(str(tmp_path / "units"), "000001")


def test_credentials_are_the_workers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from its environment; nothing that it writes or says has them."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    with Stub(lambda request: error(401, message="who are you")) as stub:
        replace(UNIT, tracking_uri=stub.uri, identity=stub.uri).write(ExportDir(str(tmp_path)).sub("000001"))
        said = do_unit(str(tmp_path), "000001")
    assert {request.headers.get("Authorization") for request in stub.requests} == {f"Bearer {TOKEN}"}
    assert "who are you" in said
    assert TOKEN not in said
    assert [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in path.read_text()] == []
    assert not (tmp_path / "000001" / DONE_FILE).exists()


def test_no_engine() -> None:
    """An address alone is refused, a dry run connects to nothing."""
    with open_engine({}) as engine:
        assert engine is None
    with open_engine({"engine": "dask", "engine_address": "tcp://127.0.0.1:1", "dry_run": True}) as engine:
        assert engine is None
    with pytest.raises(BadInput, match="without --engine"), open_engine({"engine_address": "tcp://127.0.0.1:1"}):
        pass


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named, with the command that brings them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'mlflow-migration\[spark\]'"), open_engine({"engine": "spark"}):
        pass


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(units, "PATIENCE_SECONDS", 0.6)
    monkeypatch.setattr(units, "_LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
def test_one_worker_at_a_time(tmp_path: Path) -> None:
    """Another waits while the holder lives, and takes over from a dead one."""
    folder = ExportDir(str(tmp_path))
    place = folder.sub("000001")
    events: List[str] = []

    def second() -> None:
        with held(folder, "000001", events.append):
            events.append("second")

    thread = threading.Thread(target=second)
    with held(folder, "000001", events.append):
        thread.start()
        time.sleep(1)  # longer than the patience with a dead one
        events.append("first")
    thread.join()
    assert events == ["first", "second"]
    assert not place.exists(LEASE_FILE)
    place.write_json(LEASE_FILE, b'{"holder": "dead", "beat": 7}')
    start = time.monotonic()
    wait_until_free(place)
    assert time.monotonic() - start >= 0.5


@pytest.mark.usefixtures("quick")
def test_work_ends_with_the_command(tmp_path: Path) -> None:
    """A worker is told so, also if another has taken its unit over."""
    folder = ExportDir(str(tmp_path))
    for name, file, text in (("a", "stop", "has ended"), ("b", "lease", "taken the unit over")):
        told: List[str] = []
        with held(folder, name, told.append):
            if file == "lease":
                (tmp_path / STOP_FILE).unlink()
                folder.sub(name).write_json(LEASE_FILE, b'{"holder": "another", "beat": 1}')
            else:
                folder.write_json(STOP_FILE, b"{}")
            time.sleep(0.3)
        assert told
        assert text in told[0]


def test_the_ledger_says_what_a_worker_did() -> None:
    """Where the command itself finds a run unchanged; also for a part of the work, such as a workspace."""
    whole = Ledger(None, "import-experiments", {})
    part = PartLedger(whole, workspace="w")
    part.done_ahead({"kind": "run", "status": "copied", "src_id": "a"})
    part.done_ahead({"kind": "run", "status": "unchanged", "src_id": "b"})
    part.done_ahead({"kind": "run", "status": "copied", "src_id": "c"})
    part.record("run", "unchanged", "a")
    part.record("run", "unchanged", "b")
    part.record("run", "incomplete", "c", losses=["artifacts"])
    assert whole.counts == part.counts == {"run": {"copied": 1, "unchanged": 1, "incomplete": 1}}
