"""Tags of prompts that name experiments and runs by their ids, which are others at the destination."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.tracking import RUN_KEY, Tracking, tag_dict
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.old_layouts import is_id

Json = Dict[str, Any]

EXPERIMENTS = "_mlflow_experiment_ids"
RUNS = ("mlflow.prompt.run_ids", "mlflow.prompt.associatedRunIds")
_SHOWN = 3  # ids in a sentence


def experiments_of(prompt: Json) -> List[str]:
    """Return the ids of the experiments that a prompt, as REST returns it, is linked to."""
    return _ids(tag_dict(prompt.get("tags")).get(EXPERIMENTS, ""))


def runs_of(version: Json) -> List[str]:
    """Return the ids of the runs that a version, as REST returns it, is linked to."""
    tags = tag_dict(version.get("tags"))
    return [found for tag in RUNS for found in _ids(tags.get(tag, ""))]


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

    def translated(
        self,
        tags: Mapping[str, str],
        there: Mapping[str, str],
        experiments: Mapping[str, Json],
        runs: Mapping[str, str],
    ) -> Tuple[Dict[str, str], List[str]]:
        """Return tags that name what the destination has, and a sentence for each tag whose ids are not all there.

        What such a tag names at the destination stays: it may be what can't be told now.

        :param tags: Tags of a prompt or of a version, as at the source.
        :param there: Those that the destination has.
        :param experiments: ``name`` and ``creation_time`` of experiments by id at the source.
        :param runs: What runs of the source were themselves imported from, by id.
        """
        found, problems = dict(tags), []
        for tag in (EXPERIMENTS, *RUNS):
            if tag not in tags:
                continue
            if tag == EXPERIMENTS:
                what, ids, lacking = (
                    "experiment",
                    *self._all(tags[tag], lambda i: self._experiment(i, experiments.get(i))),
                )
            else:
                what, ids, lacking = "run", *self._all(tags[tag], lambda i: self._run(i, runs.get(i, "")))
            if lacking:
                ids = list(dict.fromkeys(_ids(there.get(tag, "")) + ids))
                more = f" and {len(lacking) - _SHOWN} more" * (len(lacking) > _SHOWN)
                named = f"{', '.join(lacking[:_SHOWN])}{more}"
                problems.append(f"its {what} {named} is not at the destination; a repeat finds what was imported since")
            text = ",".join(ids)
            found[tag] = f",{text}," if tag == EXPERIMENTS else text
            if not ids:
                del found[tag]
        return found, problems

    def _all(self, value: str, find: Callable[[str], List[str]]) -> Tuple[List[str], List[str]]:
        ids: List[str] = []
        lacking: List[str] = []
        for src_id in _ids(value):
            with self._lock:
                found = self._found.get(src_id)
            if found is None:
                found = find(src_id)
                with self._lock:
                    self._found[src_id] = found
            ids += found
            lacking += [] if found else [src_id]
        return list(dict.fromkeys(ids)), lacking

    def _experiment(self, src_id: str, about: Optional[Json]) -> List[str]:
        about = about or {}
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
        # each copy of the run has used the prompt
        copies = self._tracking.search_runs(self._experiments, f"tags.`{RUN_KEY}` = '{src_id}'")
        return sorted(run["info"]["run_id"] for page in copies for run in page)


def _is_same(about: Json, original: Json) -> bool:
    """Tell whether two descriptions are of one experiment: a server may be another one that has such an id too."""
    if about.get("creation_time") and original.get("creation_time"):
        return str(about["creation_time"]) == str(original["creation_time"])
    return about.get("name", original.get("name")) == original.get("name", about.get("name"))


def _ids(value: str) -> List[str]:
    return [found.strip() for found in value.split(",") if found.strip()]
