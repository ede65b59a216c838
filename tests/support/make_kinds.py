"""Makes at least one of each kind of object that a server has few of, and reads them back to be compared.

It talks to the server's REST API by itself and shares no code with the package.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, NamedTuple

from tests.support.rest import Json, Rest

V3 = "/api/3.0/mlflow"


class Kind(NamedTuple):
    """One kind.

    :param name: Its name in the ledger.
    :param plural: Of the scripts: ``export-<plural>``.
    :param number: How many ``make`` makes.
    :param make: Makes some; gets the server and the id of an experiment.
    :param read: Returns what the server has, without what no copy can have; experiments by their names.
    """

    name: str
    plural: str
    number: int
    make: Callable[[Rest, str], None]
    read: Callable[[Rest, Dict[str, str]], List[Json]]


def names_of_experiments(rest: Rest) -> Dict[str, str]:
    """Return the names of all experiments by id."""
    body = {"view_type": "ALL", "max_results": 1000}
    found = rest.post("experiments/search", body).get("experiments") or []
    return {one["experiment_id"]: one["name"] for one in found}


def scorer_text(name: str, instructions: str) -> str:
    """Return a judge made from instructions as MLflow's own client serializes it."""
    judge = {"instructions": instructions, "model": "openai:/gpt-4o-mini"}
    empty = dict.fromkeys(("builtin_scorer_class", "builtin_scorer_pydantic_data", "call_source", "call_signature"))
    fields = {"mlflow_version": "3.17.2", "serialization_version": 1, "name": name, "description": None}
    return json.dumps({**fields, "aggregations": [], **empty, "instructions_judge_pydantic_data": judge})


def make_scorers(rest: Rest, experiment_id: str) -> None:
    """Make a scorer with a gap in its versions that judges new traces, and another one."""
    for name, versions in (("tone", 4), ("length", 1)):
        for version in range(1, versions + 1):
            text = scorer_text(name, f"Version {version}: is the {name} of {{{{ outputs }}}} right?")
            body = {"experiment_id": experiment_id, "name": name, "serialized_scorer": text}
            rest.post(f"{V3}/scorers/register", body)
    rest.call("DELETE", f"{V3}/scorers/delete", json={"experiment_id": experiment_id, "name": "tone", "version": 2})


def scorers(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return all versions of all scorers."""
    found: List[Json] = []
    for latest in rest.get(f"{V3}/scorers/list").get("scorers") or []:
        params = {"experiment_id": latest["experiment_id"], "name": latest["scorer_name"]}
        for version in rest.get(f"{V3}/scorers/versions", params)["scorers"]:
            kept: Dict[str, Any] = {key: version[key] for key in ("scorer_name", "scorer_version", "serialized_scorer")}
            found.append({**kept, "experiment": names[str(version["experiment_id"])]})
    return sorted(found, key=lambda one: (one["experiment"], one["scorer_name"], one["scorer_version"]))


KINDS: List[Kind] = [Kind("scorer", "scorers", 2, make_scorers, scorers)]
