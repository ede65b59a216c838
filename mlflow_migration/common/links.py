"""Finds what experiments and runs that an object names by their ids have become at the destination."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.tracking import RUN_KEY, Tracking, tag_dict
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.old_layouts import is_id

Json = Dict[str, Any]

_SHOWN = 3  # ids in a sentence


class Origins:
    """Describes experiments and runs of the source so that :class:`Links` finds their copies. Thread-safe.

    :param tracking: The source.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._experiments: Optional[Dict[str, Json]] = None  # all by id, once one is named
        self._runs: Dict[str, Optional[str]] = {}
        self._lock = threading.Lock()

    def experiment(self, experiment_id: str) -> Optional[Json]:
        """Return ``name`` and ``creation_time`` (ms), which name an experiment for ever; None if there is none."""
        with self._lock:
            if self._experiments is None:
                pages = self._tracking.search_experiments()
                self._experiments = {found["experiment_id"]: found for page in pages for found in page}
            found = self._experiments.get(experiment_id)
        return {key: found[key] for key in ("name", "creation_time") if key in found} if found else None

    def run(self, run_id: str) -> Optional[str]:
        """Return the run that a run was imported from; None if it was not, or if there is none."""
        return self._origin(run_id) or None

    def has_run(self, run_id: str) -> bool:
        """Tell whether there is a run."""
        return self._origin(run_id) is not None

    def _origin(self, run_id: str) -> Optional[str]:
        """Return the key tag of a run, empty if it has none; None if there is no such run."""
        with self._lock:
            if run_id in self._runs:
                return self._runs[run_id]
        try:
            known: Optional[str] = tag_dict(self._tracking.run(run_id)["data"].get("tags")).get(RUN_KEY, "")
        except NotFound:
            known = None
        with self._lock:
            self._runs[run_id] = known
        return known


class Links:
    """Finds what runs and experiments of the source have become at the destination. Thread-safe.

    :param tracking: The destination.
    :param id_map: What earlier imports did.
    """

    def __init__(self, tracking: Tracking, id_map: IdMap) -> None:
        self._tracking, self._id_map = tracking, id_map
        self._found: Dict[str, List[str]] = {}
        self._experiments: Optional[List[str]] = None
        self._lock = threading.Lock()

    def experiments(self, src_id: str, about: Optional[Json]) -> List[str]:
        """Return the ids of the destination's copies of an experiment.

        :param about: Its ``name`` and ``creation_time`` (ms), as far as they are known.
        """
        return self._once(f"experiment {src_id}", lambda: self._experiment(src_id, about or {}))

    def runs(self, src_id: str, origin: str = "") -> List[str]:
        """Return the ids of the destination's copies of a run.

        :param origin: What the run was itself imported from; empty if it was not.
        """
        return self._once(f"run {src_id}", lambda: self._run(src_id, origin))

    def _once(self, name: str, find: Callable[[], List[str]]) -> List[str]:
        with self._lock:
            found = self._found.get(name)
        if found is None:
            found = find()
            with self._lock:
                self._found[name] = found
        return found

    def _experiment(self, src_id: str, about: Json) -> List[str]:
        known = [
            str(entry["dst_id"])
            for entry in self._id_map.entries("experiment")
            if entry.get("source") == src_id and _is_same(about, entry.get("original") or {})
        ]
        if known or not about.get("name"):
            return known
        there = self._tracking.experiment_by_name(about["name"])
        return [] if there is None else [str(there["experiment_id"])]

    def _run(self, src_id: str, origin: str) -> List[str]:
        for run_id in filter(is_id, (src_id, origin)):
            try:
                return [str(self._tracking.run(run_id)["info"]["run_id"])]  # one of the destination's own
            except NotFound:
                continue
        if not is_id(src_id):
            return []
        if self._experiments is None:
            pages = self._tracking.search_experiments()
            self._experiments = [str(found["experiment_id"]) for page in pages for found in page]
        copies = self._tracking.search_runs(self._experiments, f"tags.`{RUN_KEY}` = '{src_id}'")
        return sorted(run["info"]["run_id"] for page in copies for run in page)


def _is_same(about: Json, original: Json) -> bool:
    """Tell whether two descriptions are of one experiment: a server may be another one that has such an id too."""
    if about.get("creation_time") and original.get("creation_time"):
        return str(about["creation_time"]) == str(original["creation_time"])
    return about.get("name", original.get("name")) == original.get("name", about.get("name"))


def not_there(what: str, lacking: List[str]) -> str:
    """Return the sentence about links to objects that the destination does not have.

    :param what: Their kind, in words.
    :param lacking: Their ids at the source.
    """
    more = f" and {len(lacking) - _SHOWN} more" * (len(lacking) > _SHOWN)
    named = f"{', '.join(lacking[:_SHOWN])}{more}"
    return f"its {what} {named} is not at the destination; a repeat finds what was imported since"
