"""Tags of prompts that name experiments and runs by their ids, which are others at the destination."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Mapping, Optional

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.tracking import RUN_KEY, Tracking, tag_dict
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.old_layouts import is_id

Json = Dict[str, Any]

EXPERIMENTS = "_mlflow_experiment_ids"
RUNS = ("mlflow.prompt.run_ids", "mlflow.prompt.associatedRunIds")
_LATER = "is not at the destination: import it and then repeat"


def experiments_of(prompt: Json) -> List[str]:
    """Return the ids of the experiments that a prompt, as REST returns it, is linked to."""
    return _ids(tag_dict(prompt.get("tags")).get(EXPERIMENTS, ""))


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

    def translated(self, doc: Json, experiments: Mapping[str, str]) -> Json:
        """Return a prompt whose tags name what the destination has.

        :param doc: The prompt as ``read_model`` returns a registered model; it is left as it is.
        :param experiments: Names of experiments by id at the source.
        :return: The same with ``unlinked``: what the destination lacks, as lists of sentences by number of a version;
            that of the prompt itself is under the empty text.
        """
        unlinked: Dict[str, List[str]] = {}

        def tags_of(owner: Json, key: str) -> Json:
            problems: List[str] = []
            tags = {tag: self._value(tag, value, experiments, problems) for tag, value in owner["tags"].items()}
            if problems:
                unlinked[key] = problems
            return {**owner, "tags": {tag: value for tag, value in tags.items() if value is not None}}

        model = tags_of(doc["model"], "")
        versions = [tags_of(version, version["version"]) for version in doc["versions"]]
        return {**doc, "model": model, "versions": versions, "unlinked": unlinked}

    def _value(self, tag: str, value: str, experiments: Mapping[str, str], problems: List[str]) -> Optional[str]:
        if tag == EXPERIMENTS:
            ids = self._all(
                value, lambda found: self._experiment(found, experiments.get(found)), "experiment", problems
            )
            return f",{','.join(ids)}," if ids else None
        if tag in RUNS:
            ids = self._all(value, self._run, "run", problems)
            return ",".join(ids) or None
        return value

    def _all(self, value: str, find: Callable[[str], List[str]], kind: str, problems: List[str]) -> List[str]:
        ids: List[str] = []
        for src_id in _ids(value):
            with self._lock:
                key = f"{kind}/{src_id}"
                if key not in self._found:
                    self._found[key] = find(src_id)
                found = self._found[key]
            ids += found
            if not found:
                problems.append(f"its {kind} {src_id} {_LATER}")
        return list(dict.fromkeys(ids))

    def _experiment(self, src_id: str, name: Optional[str]) -> List[str]:
        known = [
            entry["dst_id"]
            for entry in self._id_map.entries("experiment")
            if entry.get("source") == src_id and (entry.get("original") or {}).get("name", name) == name
        ]
        if known or name is None:
            return known
        there = self._tracking.experiment_by_name(name)
        return [] if there is None else [str(there["experiment_id"])]

    def _run(self, src_id: str) -> List[str]:
        if not is_id(src_id):
            return []
        try:
            return [str(self._tracking.run(src_id)["info"]["run_id"])]  # the source's own server
        except NotFound:
            pass
        if self._experiments is None:
            pages = self._tracking.search_experiments()
            self._experiments = [str(found["experiment_id"]) for page in pages for found in page]
        # each copy of the run has used the prompt
        copies = self._tracking.search_runs(self._experiments, f"tags.`{RUN_KEY}` = '{src_id}'")
        return sorted(run["info"]["run_id"] for page in copies for run in page)


def _ids(value: str) -> List[str]:
    return [found.strip() for found in value.split(",") if found.strip()]
