"""Finds experiments that need each other: runs have parents, and logged models, in other experiments."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Set

from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.executor import Executor
from mlflow_migration.experiment.run_listing import RunListing, Selection
from mlflow_migration.run.run_importer import RELATIVES

Json = Dict[str, Any]

_GROUP = 500


class _Ids(NamedTuple):
    own: Set[str]
    needed: Set[str]


def related(tracking: Tracking, executor: Executor, experiments: Sequence[Json]) -> List[List[Json]]:
    """Return experiments in groups, so that none needs one of another group.

    An input of a run that is a logged model of another experiment does not show here, as no search tells it.

    :param tracking: Their server.
    :param experiments: As REST returns them.
    """
    knows_models = bool(experiments) and tracking.knows_logged_models()
    ids: Dict[str, _Ids] = {}
    for outcome in executor.gather(lambda e: _ids(tracking, e["experiment_id"], knows_models), experiments):
        # what can't be listed fails when it is copied, where it is recorded
        ids[outcome.item["experiment_id"]] = outcome.value or _Ids(set(), set())
    owners = {object_id: experiment_id for experiment_id, found in ids.items() for object_id in found.own}
    group = {experiment_id: experiment_id for experiment_id in ids}

    def root(experiment_id: str) -> str:
        while group[experiment_id] != experiment_id:
            experiment_id = group[experiment_id]
        return experiment_id

    for experiment_id, found in ids.items():
        for owner in {owners[needed] for needed in found.needed if needed in owners}:
            group[root(experiment_id)] = root(owner)
    groups: Dict[str, List[Json]] = {}
    for experiment in experiments:
        groups.setdefault(root(experiment["experiment_id"]), []).append(experiment)
    return list(groups.values())


def _ids(tracking: Tracking, experiment_id: str, knows_models: bool) -> _Ids:
    """Return the ids of an experiment's runs and logged models, and those that they name of others."""
    own: Set[str] = set()
    needed: Set[str] = set()
    for runs in RunListing(tracking, experiment_id, Selection()).groups(_GROUP):
        for run in runs:
            own.add(run["info"]["run_id"])
            tags = tag_dict((run.get("data") or {}).get("tags"))
            needed.update(tags[key] for key in RELATIVES if key in tags)
            needed.update(link["model_id"] for link in (run.get("outputs") or {}).get("model_outputs") or ())
    for page in tracking.search_logged_models([experiment_id]) if knows_models else ():
        for model in page:
            own.add(model["info"]["model_id"])
            needed.add(model["info"].get("source_run_id") or "")
            metrics = (model.get("data") or {}).get("metrics") or ()
            needed.update(metric.get("run_id") or "" for metric in metrics)
    return _Ids(own, needed - own)
