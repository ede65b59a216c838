"""What is particular to scorers, issues, label schemas and review queues: against a server that answers as told."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from mlflow_migration.bulk.kinds import KINDS
from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import BadDirectory, NotFound, Refused
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.kinds import COMING, Copies, folder_of
from mlflow_migration.common.three_way import Plan
from mlflow_migration.issue.issues import ISSUES
from mlflow_migration.label_schema.label_schemas import LABEL_SCHEMAS
from mlflow_migration.review_queue.review_queues import REVIEW_QUEUES
from mlflow_migration.scorer.scorers import SCORERS, has_code
from mlflow_migration.trace.trace_state import digest, state_of
from tests.support.stub import Reply, Stub, error, missing_route

A_RUN = "a" * 32
ABOUT = {"experiments": {"1": {"name": "wine"}}}


class Case:
    """A destination: an experiment 5 for the source's 1, and what is told by route."""

    def __init__(self):
        self.replies = {"experiments/get-by-name": {"experiment": {"experiment_id": "5"}}}
        self.stub = Stub(self._answer)
        self.id_map = IdMap(None, "there")

    def _answer(self, request):
        reply = self.replies.get(request.path.partition("/mlflow/")[2])
        reply = reply(request) if callable(reply) else reply
        if reply is None:
            return missing_route() if request.path.endswith("users/current") else Reply({})
        return reply if isinstance(reply, Reply) else Reply(reply)

    def copies(self, **options):
        return Copies(self.tracking, self.id_map, ABOUT, options)

    def writes(self, *verbs):
        """Return what was sent to routes that end so."""
        return [(one.path.rpartition("/")[2], one.json) for one in self.stub.requests if one.path.endswith(verbs)]


@pytest.fixture
def case():
    found = Case()
    with found.stub as stub:
        rest = RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1, direct=True)
        found.tracking = Tracking(rest)
        yield found
        rest.close()


# users are in a database of their own, wherever the rest is
@pytest.mark.parametrize("kind", [kind for kind in KINDS if folder_of(kind) != "users"], ids=lambda kind: kind.plural)
def test_a_server_with_its_data_in_files_knows_none(case, kind):
    case.replies["server-info"] = {"store_type": "FileStore"}
    with pytest.raises(NotFound, match="keeps its data in files") as caught:
        list(kind.read(case.tracking))
    assert not caught.value.error_code


# -- scorers


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("", False), ("7", False), ("[" * 100_000, False), ('{"call_source": null}', False),
        ('{"call_source": "return 1"}', True), ('{"a": [{"b": {"call_source": "x"}}]}', True),
    ],
)  # fmt: skip
def test_code_in_a_scorer(text, has):
    assert has_code(text) is has


def scorer(*numbers, **fields):
    versions = [{"version": number, "serialized_scorer": '{"call_source": "x"}'} for number in numbers]
    return {"scorer_id": "s", "experiment_id": "1", "name": "n", "versions": versions, "online": None, **fields}


@pytest.mark.parametrize("numbers", [(), (0,), (2, 1), (1, 1), (1, 1003)])
def test_numbers_of_versions_that_make_no_sense(case, numbers):
    with pytest.raises(BadDirectory):
        SCORERS.translated(scorer(*numbers), case.copies())


def test_a_server_that_refuses_code_is_told_apart_from_one_that_refuses_the_user(case):
    case.replies["scorers/register"] = error(400, "INVALID_PARAMETER_VALUE", "no")
    with pytest.raises(Refused, match="version 1 is a Python function.*MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS=true"):
        SCORERS.create(case.tracking, scorer(1))
    case.replies["scorers/register"] = error(403, "PERMISSION_DENIED", "no")
    with pytest.raises(Refused, match="does not permit"):
        SCORERS.create(case.tracking, scorer(1))


def test_online_scoring_is_only_translated_if_it_is_to_start(case):
    doc = scorer(1, online={"sample_rate": 0.5, "filter_string": None})
    assert SCORERS.translated(doc, case.copies())[0]["online"] is None
    assert SCORERS.translated(doc, case.copies(activate=True))[0]["online"] == doc["online"]


# -- issues


def issue(**fields):
    return {"issue_id": "i", "experiment_id": "1", "name": "n", "description": "d", "status": "pending", **fields}


def test_the_run_of_an_issue(case):
    case.replies["runs/get"] = error(404, "RESOURCE_DOES_NOT_EXIST", "no")
    doc, lacking = ISSUES.translated(issue(source_run_id=A_RUN), case.copies())
    assert (doc["experiment_id"], doc["source_run_id"]) == ("5", None)
    assert lacking == [f"the run {A_RUN} that has found it is not at the destination"]
    assert ISSUES.translated(issue(source_run_id=A_RUN), case.copies(**{COMING: True}))[1] == []
    case.replies["runs/search"] = {"runs": [{"info": {"run_id": "b" * 32}}]}
    case.replies["experiments/search"] = {"experiments": [{"experiment_id": "5", "name": "wine"}]}
    doc, lacking = ISSUES.translated(issue(source_run_id=A_RUN), case.copies())
    assert (doc["source_run_id"], lacking) == ("b" * 32, [])


def test_what_never_changes_of_an_issue(case):
    todo = Plan(write=["status", "categories", "created_by"])
    ISSUES.change(case.tracking, issue(), issue(status="resolved", categories=["c"], created_by="ann"), todo)
    assert (todo.write, todo.differs) == (["status"], ["categories", "created_by"])
    assert case.writes("issues/i") == [("i", {"issue_id": "i", "status": "resolved"})]


def test_an_issue_whose_reply_is_lost_is_made_once(case):
    made = {**issue(experiment_id="5"), "created_timestamp": 7}
    others = [{**made, "issue_id": "old", "created_timestamp": 1}, {**made, "issue_id": "not", "status": "resolved"}]
    case.replies["issues"] = Reply(status=500)
    case.replies["issues/search"] = {"issues": [*others, made]}
    assert ISSUES.create(case.tracking, issue(experiment_id="5")) == "i"
    assert len(case.writes("mlflow/issues")) == 1


class Pool(NamedTuple):
    executor: Executor


@pytest.fixture
def pool():
    with Executor(1) as executor:
        yield Pool(executor)


def link(assessment_id, name, **more):
    return {"assessment_id": assessment_id, "assessment_name": name, "issue": {"issue_name": "n"}, **more}


def linked(trace_id, *assessments, **tags):
    place = {"mlflow_experiment": {"experiment_id": "5"}}
    info = {"trace_id": trace_id, "trace_location": place, "request_time": "2024-05-01T00:00:00Z", "state": "OK"}
    return {**info, "tags": tags, "trace_metadata": {"k": "v"}, "assessments": list(assessments)}


def test_traces_that_were_linked_to_an_issue_name_its_copy(case, pool):
    """Nothing else of them is written, and what the id map has of them goes on; a search finds them until then."""
    judged = {"assessment_id": "a-2", "assessment_name": "i", "feedback": {"value": 1}}
    one = linked("t1", link("a-1", "i", last_update_time="2024-05-01T00:00:07Z"), judged, link("a-3", "other"))
    two = linked("t2", link("a-4", "i"), **{"mlflow_exim.trace.trace_id": "t0"})
    there = {info["trace_id"]: info for info in (one, two)}
    written = []

    def search(request):
        assert request.json["filter"] == "issue.id = 'i'"
        done = {info["trace_id"] for info in written}
        return {"traces": [info for trace_id, info in there.items() if trace_id not in done][:1]}

    def write(request):
        written.append(request.json["trace"]["trace_info"])
        return {"trace": {"trace_info": written[-1]}}

    case.replies.update({"traces/search": search, "traces": write})
    base = state_of(one)
    case.id_map.record(
        "trace", "5", "t1", "t1", base=base, seen=digest(one).hex(), open=["i", "other"], fingerprint="f"
    )
    edited = dict.fromkeys(state_of(two), "edited since")
    case.id_map.record("trace", "5", "t0", "t2", base=edited, seen="edited", open=["i"])
    doc = issue(experiment_id="5")
    assert ISSUES.name_copy(case.tracking, pool, case.id_map, issue(), doc, "j") == 2
    same = {"trace_location": one["trace_location"], "request_time": "2024-05-01T00:00:00Z", "state": "OK"}
    same.update(tags={}, trace_metadata={})
    renamed = link("a-1", "j", last_update_time="2024-05-01T00:00:07Z")
    assert written == [
        {**same, "trace_id": "t1", "assessments": [renamed]},
        {**same, "trace_id": "t2", "assessments": [link("a-4", "j")]},
    ]
    now = {**one, "assessments": [renamed, *one["assessments"][1:]]}
    entry = case.id_map.find("trace", "5", "t1")
    assert (entry["base"], entry["seen"], entry["open"]) == (state_of(now), digest(now).hex(), ["other"])
    assert entry["base"] != base
    assert entry["fingerprint"] == "f"
    entry = case.id_map.find("trace", "5", "t0")
    assert (entry["base"], entry["seen"], entry["open"]) == (edited, "edited", [])
    asked = len(case.stub.requests)
    assert ISSUES.name_copy(case.tracking, pool, case.id_map, issue(), doc, "i") == 0
    assert ISSUES.name_copy(case.tracking, pool, case.id_map, issue(issue_id="i' OR"), doc, "j") == 0
    assert len(case.stub.requests) == asked


# -- label schemas


def label(kind="text", **fields):
    plain = {"schema_id": "l", "experiment_id": "1", "name": "n", "type": "FEEDBACK", "input": {kind: {}}}
    return {**plain, **fields}


@pytest.mark.parametrize(
    ("there", "wanted", "written"),
    [
        (label(), label(type="EXPECTATION"), ["input", "instruction", "name"]),
        (label("text"), label("numeric"), ["instruction", "name"]),
        (
            label(input={"categorical": {"options": ["a"], "multi_select": True}}),
            label(input={"categorical": {"options": ["a", "b"]}}), ["instruction", "name"],
        ),
        (label(is_default=True), label(), []),
    ],
)  # fmt: skip
def test_what_never_changes_of_a_label_schema(case, there, wanted, written):
    todo = Plan(write=["input", "instruction", "name", *(["type"] if there["type"] != wanted["type"] else [])])
    names = set(todo.write)
    LABEL_SCHEMAS.change(case.tracking, there, wanted, todo)
    assert todo.write == written
    assert set(todo.differs) == names - set(written)
    sent = case.writes("label-schemas/update")
    assert [sorted(set(body) - {"schema_id"}) for _, body in sent] == ([written] if written else [])
    assert all(body["instruction"] == "" for _, body in sent)  # none is written as an empty one


# -- review queues


def queue(*items, **fields):
    plain = {"queue_id": "q", "experiment_id": "1", "name": "May", "queue_type": "CUSTOM", "users": ["bob"]}
    listed = [{"item_id": name, "status": status, "completed_by": who} for name, status, who in items]
    return {**plain, "created_by": "cat", "label_schemas": [], "items": listed, **fields}


def there_are(case, *trace_ids):
    place = {"mlflow_experiment": {"experiment_id": "5"}}
    infos = [{"trace_id": trace_id, "trace_location": place} for trace_id in trace_ids]
    elsewhere = {"trace_id": "c", "trace_location": {"mlflow_experiment": {"experiment_id": "6"}}}
    case.replies["traces/batchGetInfos"] = {"trace_infos": [*infos, elsewhere]}


def test_traces_that_are_not_there_are_named(case):
    there_are(case, "a")
    doc = queue(("a", "PENDING", None), ("b", "PENDING", None), ("c", "PENDING", None))
    found, lacking = REVIEW_QUEUES.translated(doc, case.copies())
    assert [item["item_id"] for item in found["items"]] == ["a"]
    assert lacking == ["2 of its traces are not at the destination: b, c"]
    assert len(REVIEW_QUEUES.translated(doc, case.copies(**{COMING: True}))[0]["items"]) == 3


def test_a_trace_whose_id_was_taken(case):
    there_are(case, "other")
    case.id_map.record("trace", "5", "a", "other")
    found, lacking = REVIEW_QUEUES.translated(queue(("a", "COMPLETE", "ann")), case.copies())
    assert (found["items"], lacking) == ([{"item_id": "other", "status": "COMPLETE", "completed_by": "ann"}], [])


def test_a_label_schema_that_is_not_there(case):
    with pytest.raises(BadDirectory, match="its label schema 'tone' is not at the destination"):
        REVIEW_QUEUES.translated(queue(label_schemas=["tone"]), case.copies())


def test_a_server_that_checks_users_signs_reviews_itself(case):
    there_are(case, "a", "b", "d")
    case.replies["users/current"] = {"user": {"username": "Admin"}}
    doc = queue(("a", "COMPLETE", "ann"), ("b", "DECLINED", "admin"), ("d", "PENDING", None), created_by=None)
    found, lacking = REVIEW_QUEUES.translated(doc, case.copies())
    assert [item["completed_by"] for item in found["items"]] == ["admin", "admin", None]
    assert found["created_by"] == "Admin"
    assert lacking == ["1 reviews by ann are noted by the destination as those of Admin"]
    assert doc["items"][0]["completed_by"] == "ann"


def test_who_has_reviewed_a_trace_is_changed_by_opening_it_again(case):
    there = queue(("a", "COMPLETE", "ann"), ("b", "PENDING", None), ("x", "PENDING", None), experiment_id="5")
    wanted = queue(("a", "COMPLETE", "bob"), ("b", "DECLINED", "bob"), ("n", "PENDING", None), label_schemas=["tone"])
    todo = Plan(write=["item:a", "item:b", "item:n", "label_schemas", "users"], drop=["item:x"])
    REVIEW_QUEUES.change(case.tracking, there, wanted, todo)
    assert todo.differs == ["label_schemas"]  # it has traces
    update = {"queue_id": "q", "update_users": True, "users": ["bob"]}
    assert case.writes("update", "add", "remove", "set-status") == [
        ("update", update),
        ("add", {"queue_id": "q", "item_ids": ["n"]}),
        ("set-status", {"queue_id": "q", "item_id": "a", "status": "PENDING"}),
        ("set-status", {"queue_id": "q", "item_id": "a", "status": "COMPLETE", "completed_by": "bob"}),
        ("set-status", {"queue_id": "q", "item_id": "b", "status": "DECLINED", "completed_by": "bob"}),
        ("remove", {"queue_id": "q", "item_ids": ["x"]}),
    ]


@pytest.mark.parametrize(
    ("fields", "route"),
    [
        ({"queue_type": "USER", "name": "bob", "created_by": "bob"}, "get-or-create-user"),
        ({"queue_type": "USER", "name": "bob", "created_by": None}, "create"),
        ({}, "create"),
    ],
)
def test_the_owner_of_a_new_queue(case, fields, route):
    reply = {"review_queue": {"queue_id": "new", "created_by": "me"}}
    case.replies.update({"review-queues/create": reply, "review-queues/get-or-create-user": reply})
    assert REVIEW_QUEUES.create(case.tracking, queue(**fields)) == "new"
    owner = [] if fields else [("update", {"queue_id": "new", "new_owner": "cat"})]
    sent = case.writes("create", "get-or-create-user", "update")
    assert [verb for verb, _ in sent] == [route, *(verb for verb, _ in owner)]
    assert sent[1:] == owner


@pytest.mark.parametrize("broken", [{"items": [7]}, {"items": 7}, {"label_schemas": 7}, {"items": [{}]}, {"name": 7}])
def test_a_hostile_queue_is_refused_or_harmless(case, broken):
    there_are(case)
    try:
        found, _ = REVIEW_QUEUES.translated(queue(**broken), case.copies())
        json.dumps(REVIEW_QUEUES.state(found))
    except (BadDirectory, KeyError, TypeError, ValueError, AttributeError, IndexError):
        return  # the rule says that it is not what an export writes
    assert broken == {"name": 7}
