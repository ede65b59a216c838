"""Units of a command's work that workers of a cluster do: what they are told, and who is at work on which.

A unit is a folder in storage that all workers see. It holds ``unit.json`` with the worker's orders, the ledger and the
id map of the unit, ``lease.json`` while a worker is at it, and ``done.json`` once it is done. Orders name servers,
experiments, runs and paths: credentials are the worker's own.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple
from uuid import uuid4

from mlflow_migration.client import json_codec
from mlflow_migration.client.credentials import without_userinfo
from mlflow_migration.client.errors import BadDirectory, BadInput, Stopped
from mlflow_migration.common.export_dir import ExportDir

FOLDER = "engine-units"
UNIT_FILE, LEASE_FILE, DONE_FILE, STOP_FILE = "unit.json", "lease.json", "done.json", "stop.json"
SETTINGS = frozenset({
    "include_artifacts", "exclude_artifacts", "max_artifact_size", "recheck", "export_deleted_runs",
    "import_source_tags", "use_src_user_id", "mlmodel_fix", "on_refused", "on_destination_change",
})  # fmt: skip
"""Options that may be part of a worker's orders: none of them can hold a secret."""
BEAT_SECONDS = 1.0
PATIENCE_SECONDS = 10.0  # a worker whose lease has not changed for so long is dead
_LOOK_SECONDS = 0.25

Json = Dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """A worker's orders.

    :param action: ``export`` or ``import``.
    :param tracking_uri: The server, without credentials.
    :param workspace: Its workspace; empty for the default one.
    :param identity: The server's ``Tracking.identity``: the worker must see the same.
    :param experiment_id: The source's experiment of an export, the destination's of an import.
    :param directory: Path of the exported experiment.
    :param run_ids: Source ids of the runs.
    :param settings: Options by name, of SETTINGS.
    :param workers: Number of requests at a time.
    :raises BadInput: The URI or the path holds credentials.
    :raises ValueError: An option is none of SETTINGS.
    """

    action: str
    tracking_uri: str
    workspace: str
    identity: str
    experiment_id: str
    directory: str
    run_ids: Tuple[str, ...]
    settings: Mapping[str, Any]
    workers: int

    def __post_init__(self) -> None:
        for place in (self.tracking_uri, self.identity, self.directory):
            if without_userinfo(place) != place:
                where = without_userinfo(place)
                raise BadInput(f"With --engine the address {where} must come without credentials: give them to workers")
        if self.settings.keys() - SETTINGS:
            raise ValueError(f"no orders of a worker: {sorted(self.settings.keys() - SETTINGS)}")

    def write(self, place: ExportDir) -> None:
        """Write the orders into the unit's folder."""
        place.write_json(UNIT_FILE, json_codec.dumps(asdict(self)))


def read_unit(place: ExportDir) -> Unit:
    """Return the orders of a unit.

    :raises BadDirectory: They can't be read: the storage is none that this machine sees.
    """
    doc = place.read_json(UNIT_FILE)
    try:
        return Unit(**{**doc, "run_ids": tuple(doc["run_ids"])})
    except (TypeError, KeyError, ValueError) as ex:
        raise BadDirectory(f"{place.path}/{UNIT_FILE} holds no orders") from ex


@contextmanager
def held(folder: ExportDir, name: str, stop: Callable[[str], None]) -> Iterator[None]:
    """Hold a unit meanwhile, so that no other worker is at it; first wait until none is.

    :param folder: The one with all units.
    :param stop: Called with the reason as soon as the work must end, as the command has ended or lost the unit.
    """
    place, holder, ended = folder.sub(name), uuid4().hex, threading.Event()
    while _holder(place) != holder:
        contested = place.exists(LEASE_FILE)
        wait_until_free(place)
        _write_lease(place, holder, 0)
        if contested:  # others may have waited, too: the last one that writes has it
            time.sleep(2 * _LOOK_SECONDS)

    def beat() -> None:
        number = 0
        while not ended.wait(BEAT_SECONDS):
            number += 1
            try:
                if folder.exists(STOP_FILE):
                    stop("the command that it was for has ended")
                if _holder(place) != holder:
                    stop("another worker has taken the unit over")
                    return
                _write_lease(place, holder, number)
            except (OSError, BadDirectory):
                stop("the shared directory can't be written")
                return

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _holder(place) == holder:
            place.remove(LEASE_FILE)


def wait_until_free(place: ExportDir) -> None:
    """Wait until no worker is at a unit: it has let it go, or is dead."""
    seen, since = _lease(place), time.monotonic()
    while seen is not None and time.monotonic() - since < PATIENCE_SECONDS:
        time.sleep(_LOOK_SECONDS)
        now = _lease(place)
        if now != seen:
            seen, since = now, time.monotonic()


def refuse_ended(folder: ExportDir) -> None:
    """Start nothing for a command that has ended.

    :raises Stopped: It has.
    """
    if folder.exists(STOP_FILE):
        raise Stopped("the command that it was for has ended")


def _lease(place: ExportDir) -> Optional[Json]:
    try:
        return place.read_json(LEASE_FILE) if place.exists(LEASE_FILE) else None
    except BadDirectory:  # it has just gone
        return None


def _holder(place: ExportDir) -> Optional[str]:
    return (_lease(place) or {}).get("holder")


def _write_lease(place: ExportDir, holder: str, beat: int) -> None:
    place.write_json(LEASE_FILE, json_codec.dumps({"holder": holder, "beat": beat}))
