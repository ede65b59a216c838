"""Makes at least one of each kind of object that a server has few of, and reads them back to be compared.

It talks to the server's REST API by itself and shares no code with the package.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, NamedTuple

from tests.support.rest import Json, Rest

V3 = "/api/3.0/mlflow"
ENDPOINT = "judge"
ONLINE = {"sample_rate": 0.5, "filter_string": "attributes.status = 'OK'"}


class Kind(NamedTuple):
    """One kind.

    :param name: Its name in the ledger.
    :param plural: Of the scripts: ``export-<plural>``.
    :param number: How many ``make`` makes.
    :param make: Makes some; gets the server and the id of an experiment.
    :param read: Returns what the server has, without what no copy can have; experiments by their names.
    :param defaults: How many more a server has made by itself.
    """

    name: str
    plural: str
    number: int
    make: Callable[[Rest, str], None]
    read: Callable[[Rest, Dict[str, str]], List[Json]]
    defaults: int = 0


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


def make_active_scorer(rest: Rest, experiment_id: str) -> None:
    """Make a scorer that judges every second trace by a gateway endpoint, and one that is a Python function."""
    made = json.loads(scorer_text("auto", "Is {{ outputs }} right?"))
    made["instructions_judge_pydantic_data"]["model"] = f"gateway:/{ENDPOINT}"
    code = json.loads(scorer_text("code", ""))
    code.update(instructions_judge_pydantic_data=None, original_func_name="code", call_signature="(outputs)")
    code["call_source"] = "return len(outputs) > 3"
    for name, text in (("auto", made), ("code", code)):
        body = {"experiment_id": experiment_id, "name": name, "serialized_scorer": json.dumps(text)}
        rest.post(f"{V3}/scorers/register", body)
    body = {"experiment_id": experiment_id, "name": "auto", **ONLINE}
    rest.call("PUT", f"{V3}/scorers/online-config", json=body)


def make_endpoint(rest: Rest) -> None:
    """Make a gateway endpoint with a secret that is none."""
    secret = {"secret_name": "s", "secret_value": {"api_key": "none"}, "provider": "openai"}
    secret_id = rest.post(f"{V3}/gateway/secrets/create", secret)["secret"]["secret_id"]
    model = {"name": "m", "secret_id": secret_id, "provider": "openai", "model_name": "gpt-4o-mini"}
    made = rest.post(f"{V3}/gateway/model-definitions/create", model)["model_definition"]
    config = {"model_definition_id": made["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1}
    rest.post(f"{V3}/gateway/endpoints/create", {"name": ENDPOINT, "model_configs": [config]})


def online(rest: Rest, experiment_id: str) -> Json:
    """Return the online configurations of an experiment's scorers by name."""
    listed = rest.get(f"{V3}/scorers/list", {"experiment_id": experiment_id}).get("scorers") or []
    names = {one["scorer_id"]: one["scorer_name"] for one in listed}
    found = rest.get(f"{V3}/scorers/online-configs", [("scorer_ids", scorer_id) for scorer_id in names])["configs"]
    return {names[one["scorer_id"]]: {key: one[key] for key in ONLINE} for one in found}


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


def make_issues(rest: Rest, experiment_id: str) -> None:
    """Make issues: found by a run, by hand with the same name and less, and a later one that is the same as that."""
    run_id = rest.runs(experiment_id)[0]["info"]["run_id"]
    about = {"experiment_id": experiment_id, "name": "too slow"}
    found = {"description": "Ünder load", "status": "resolved", "severity": "high", "root_causes": ["a cache", "b"]}
    found.update(categories=["latency"], created_by="ann", source_run_id=run_id)
    made = [rest.post(f"{V3}/issues", {**about, **found})["issue"]["issue_id"]]
    for _ in range(2):
        made.append(rest.post(f"{V3}/issues", {**about, "description": "by hand"})["issue"]["issue_id"])
    for trace_id, issue_id in ((TRACES[0], made[0]), (TRACES[1], made[0]), (TRACES[1], made[1])):
        times = dict.fromkeys(("create_time", "last_update_time"), "2024-05-01T00:00:01Z")
        source = {"source_type": "LLM_JUDGE", "source_id": "ann"}
        doc = {"trace_id": trace_id, "assessment_name": issue_id, "issue": {"issue_name": "too slow"}}
        body = {"assessment": {**doc, **times, "source": source, "rationale": "10 s"}}
        rest.post(f"{V3}/traces/{trace_id}/assessments", body)


def issues(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return all issues, with the name of the run that has found one."""
    found = []
    for issue in rest.pages(f"{V3}/issues/search", {}, "issues"):
        run_id = issue.pop("source_run_id", "")
        issue["run"] = rest.run(run_id)["info"]["run_name"] if run_id else ""
        found.append({**_kept(issue), "experiment": names[issue["experiment_id"]]})
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))


def issue_links(rest: Rest) -> List[Json]:
    """Return the assessments that link the traces to issues, with what the issue is in place of its id."""
    issues_by_id = {one["issue_id"]: _kept(one) for one in rest.pages(f"{V3}/issues/search", {}, "issues")}
    found: List[Json] = []
    for trace_id in TRACES:
        info = rest.get(f"{V3}/traces/{trace_id}")["trace"]["trace_info"]
        for one in info.get("assessments") or ():
            issue = issues_by_id[one["assessment_name"]]
            issue.pop("source_run_id", None)
            found.append({**one, "assessment_name": "", "of": issue})
    return sorted(found, key=lambda one: str(one["assessment_id"]))


def _kept(doc: Json) -> Json:
    """Return an object without what only its server can give."""
    lost = ("issue_id", "schema_id", "queue_id", "experiment_id")
    times = ("created_timestamp", "last_updated_timestamp", "created_at", "last_updated_at")
    times += ("creation_time_ms", "last_update_time_ms", "completed_time_ms")
    return {name: value for name, value in doc.items() if name not in lost + times}


LABELS: List[Json] = [
    {
        "name": "tone", "type": "FEEDBACK", "instruction": "How does it sound?", "enable_comment": True,
        "input": {"categorical": {"options": ["kind", "rude"], "multi_select": True}},
    },
    {"name": "length", "type": "EXPECTATION", "input": {"numeric": {"min_value": 0, "max_value": 0.5}}},
    {"name": "answer", "type": "EXPECTATION", "input": {"text": {"max_length": 100}}},
    {"name": "ok", "type": "FEEDBACK", "input": {"pass_fail": {"positive_label": "y", "negative_label": "n"}}},
]  # fmt: skip


def make_label_schemas(rest: Rest, experiment_id: str) -> None:
    """Make one label schema of each type of input."""
    for label in LABELS:
        rest.post(f"{V3}/label-schemas/create", {"experiment_id": experiment_id, **label})


def label_schemas(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return the label schemas of the experiments that both servers have."""
    found = []
    for experiment_id, name in names.items():
        listed = rest.get(f"{V3}/label-schemas/list", {"experiment_id": experiment_id, "max_results": 100})
        found += [{**_kept(one), "experiment": name} for one in listed["label_schemas"] if name in SHARED]
    return sorted(found, key=lambda one: (one["experiment"], one["name"]))


def make_trace(rest: Rest, experiment_id: str, trace_id: str) -> None:
    """Make a trace without spans."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    info = {"trace_id": trace_id, "trace_location": place, "request_time": "2024-05-01T00:00:00Z", "state": "OK"}
    rest.post(f"{V3}/traces", {"trace": {"trace_info": info}})


def make_review_queues(rest: Rest, experiment_id: str) -> None:
    """Make a queue with an owner and reviewed traces, one of a user, and an empty one; after label schemas."""
    about = {"experiment_id": experiment_id}
    listed = rest.get(f"{V3}/label-schemas/list", {**about, "max_results": 100})["label_schemas"]
    asked = [one["schema_id"] for one in listed if one["name"] in ("Feedback", "tone")]
    custom = {**about, "queue_type": "CUSTOM"}
    queue = rest.post(
        f"{V3}/review-queues/create", {**custom, "name": "May", "users": ["bob", "ann"], "schema_ids": asked}
    )["review_queue"]
    rest.post(f"{V3}/review-queues/update", {"queue_id": queue["queue_id"], "new_owner": "Cat"})
    rest.post(f"{V3}/review-queues/create", {**custom, "name": "empty"})
    personal = rest.post(f"{V3}/review-queues/get-or-create-user", {**about, "user": "bob"})["review_queue"]
    for queue_id, ids in ((queue["queue_id"], TRACES), (personal["queue_id"], TRACES[:1])):
        rest.post(f"{V3}/review-queues/items/add", {"queue_id": queue_id, "item_ids": ids})
    for trace_id, status, who in ((TRACES[0], "COMPLETE", "ann"), (TRACES[1], "DECLINED", "bob")):
        body = {"queue_id": queue["queue_id"], "item_id": trace_id, "status": status, "completed_by": who}
        rest.post(f"{V3}/review-queues/items/set-status", body)


def review_queues(rest: Rest, names: Dict[str, str]) -> List[Json]:
    """Return the review queues with their items and the names of their label schemas."""
    found = []
    for experiment_id, name in names.items():
        about = {"experiment_id": experiment_id}
        listed = rest.get(f"{V3}/label-schemas/list", about)["label_schemas"]
        schemas = {one["schema_id"]: one["name"] for one in listed}
        for queue in rest.get(f"{V3}/review-queues/list", about).get("review_queues") or ():
            asked = sorted(schemas[schema_id] for schema_id in queue.pop("schema_ids", ()))
            items = rest.get(f"{V3}/review-queues/items/list", {"queue_id": queue["queue_id"]}).get("items") or ()
            ordered = sorted(map(_kept, items), key=lambda one: one["item_id"])
            found.append({**_kept(queue), "schemas": asked, "items": ordered, "experiment": name})
    return sorted(found, key=lambda one: (one["experiment"], one["name"]))


EXPERIMENT = "judged/one"
SHARED = ("Default", EXPERIMENT)
"""Experiments that both servers have."""

TRACES = [f"tr-{digit * 32}" for digit in "123"]
"""Traces of the experiment, which both servers have."""

KINDS: List[Kind] = [
    Kind("scorer", "scorers", 2, make_scorers, scorers),
    Kind("issue", "issues", 3, make_issues, issues),
    Kind("label_schema", "label_schemas", len(LABELS), make_label_schemas, label_schemas, defaults=len(SHARED)),
    Kind("review_queue", "review_queues", 3, make_review_queues, review_queues),
]
