"""Tags of prompts that name experiments and runs by their ids, which are others at the destination."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from mlflow_migration.client.tracking import tag_dict
from mlflow_migration.common.links import Links, not_there

Json = Dict[str, Any]

EXPERIMENTS = "_mlflow_experiment_ids"
RUNS = ("mlflow.prompt.run_ids", "mlflow.prompt.associatedRunIds")


def experiments_of(prompt: Json) -> List[str]:
    """Return the ids of the experiments that a prompt, as REST returns it, is linked to."""
    return _ids(tag_dict(prompt.get("tags")).get(EXPERIMENTS, ""))


def runs_of(version: Json) -> List[str]:
    """Return the ids of the runs that a version, as REST returns it, is linked to."""
    tags = tag_dict(version.get("tags"))
    return [found for tag in RUNS for found in _ids(tags.get(tag, ""))]


def translated(
    links: Links,
    tags: Mapping[str, str],
    there: Mapping[str, str],
    experiments: Mapping[str, Json],
    runs: Mapping[str, str],
) -> Tuple[Dict[str, str], List[str]]:
    """Return tags that name what the destination has, and a sentence for each tag whose ids are not all there.

    What such a tag names at the destination stays: it may be what can't be told now.

    :param links: Finds what the ids have become.
    :param tags: Tags of a prompt or of a version, as at the source.
    :param there: Those that the destination has.
    :param experiments: ``name`` and ``creation_time`` of experiments by id at the source.
    :param runs: What runs of the source were themselves imported from, by id.
    """
    found, problems = dict(tags), []
    for tag in (EXPERIMENTS, *RUNS):
        if tag not in tags:
            continue
        what = "experiment" if tag == EXPERIMENTS else "run"
        if tag == EXPERIMENTS:
            ids, lacking = _all(tags[tag], lambda i: links.experiments(i, experiments.get(i)))
        else:
            # each copy of the run has used the prompt
            ids, lacking = _all(tags[tag], lambda i: links.runs(i, runs.get(i, "")))
        if lacking:
            ids = list(dict.fromkeys(_ids(there.get(tag, "")) + ids))
            problems.append(not_there(what, lacking))
        text = ",".join(ids)
        found[tag] = f",{text}," if tag == EXPERIMENTS else text
        if not ids:
            del found[tag]
    return found, problems


def _all(value: str, find: Callable[[str], List[str]]) -> Tuple[List[str], List[str]]:
    ids: List[str] = []
    lacking: List[str] = []
    for src_id in _ids(value):
        found = find(src_id)
        ids += found
        lacking += [] if found else [src_id]
    return list(dict.fromkeys(ids)), lacking


def _ids(value: str) -> List[str]:
    return [found.strip() for found in value.split(",") if found.strip()]
