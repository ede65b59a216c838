"""Which permissions an import grants, against a stub that answers as a workspace does."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from typing import Any, Dict, Iterator, List, Optional

import pytest

from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.permissions import Securable, direct_grants, import_permissions
from mlflow_migration.common.progress import Progress
from mlflow_migration.verify.permissions import differences
from tests.support.stub import Reply, Request, Stub, error

EXPERIMENT = Securable("experiments", "7")
FUNCTION = Securable("function", "main.default.m")


def acl(*rows: Any) -> Dict[str, Any]:
    """A list as a workspace answers: (kind, name, level, inherited)."""
    entries = [
        {kind: name, "all_permissions": [{"permission_level": level, "inherited": inherited}]}
        for kind, name, level, inherited in rows
    ]
    return {"permission_levels": [], "permissions": {"object_id": "/experiments/1", "access_control_list": entries}}


def privileges(**by_principal: List[str]) -> Dict[str, Any]:
    rows = [{"principal": name.replace("_at_", "@"), "privileges": found} for name, found in by_principal.items()]
    return {"permissions": {"privilege_assignments": rows}, "effective_permissions": {"privilege_assignments": []}}


class Workspace:
    """What the stub knows: permissions that are there, users, principals that a PATCH refuses."""

    def __init__(self, there: Dict[str, Any], users: List[str], refused: List[str]) -> None:
        self.there, self.users, self.refused = there, users, refused
        self.granted: List[Any] = []

    def answer(self, request: Request) -> Optional[Reply]:
        if "/scim/" in request.path:
            attribute, _, name = request.query["filter"][0].partition(" eq ")
            found = [user for user in self.users if user == json.loads(name)]
            return Reply({"Resources": [{attribute: user} for user in found]})
        if request.method == "PATCH":
            if any(name in request.body.decode() for name in self.refused):
                return error(400, "INVALID_PARAMETER_VALUE", "no")
            self.granted.append(request.json)
            return Reply({})
        return Reply(self.there)


@contextmanager
def imported(
    doc: Any,
    what: Optional[Securable] = EXPERIMENT,
    there: Any = None,
    users: Any = ("mary", "data"),
    refused: Any = (),
    names: Any = None,
    accept: Any = (),
    dry_run: bool = False,
) -> Iterator[Any]:
    """Grant what a file says; gives the ledger and the bodies of the requests that granted."""
    workspace = Workspace(there or {}, list(users), list(refused))
    ledger = Ledger(None, "test", {}, accept_loss=accept)
    with Stub(workspace.answer) as stub, Executor(1) as executor:
        connection = Connection(stub.uri, {}, None, True, None, "databricks", is_databricks=True)
        with closing(RestClient(connection)) as rest:
            job = Job(ledger, executor, Progress(True, "runs"), dry_run=dry_run)
            import_permissions(job, rest, "experiment/1", None if what is None else (lambda: what), doc, names or {})
    yield ledger, workspace.granted


def test_only_what_was_given_directly_is_granted() -> None:
    doc = acl(
        ("user_name", "mary", "CAN_READ", False),
        ("group_name", "data", "CAN_EDIT", False),
        ("group_name", "admins", "CAN_MANAGE", True),
    )
    with imported(doc) as (ledger, granted):
        assert ledger.counts["permissions"] == {"copied": 1}
        (body,) = granted
        assert body["access_control_list"] == [
            {"user_name": "mary", "permission_level": "CAN_READ"},
            {"group_name": "data", "permission_level": "CAN_EDIT"},
        ]


def test_what_is_there_is_not_granted_again_and_nobody_loses_anything() -> None:
    doc = acl(("user_name", "mary", "CAN_READ", False))
    for level, status in (("CAN_READ", "unchanged"), ("CAN_MANAGE", "differs")):
        with imported(doc, there=acl(("user_name", "mary", level, False))["permissions"]) as (ledger, granted):
            assert (ledger.counts["permissions"], granted) == ({status: 1}, [])
    with imported(doc, there=acl(("user_name", "mary", "CAN_MANAGE", True))["permissions"]) as (ledger, granted):
        assert ledger.counts["permissions"] == {"copied": 1}
        assert len(granted) == 1, "what is inherited there may go with a directory"


def test_principals_that_are_not_there_are_named() -> None:
    doc = acl(("user_name", "bob", "CAN_READ", False), ("user_name", "mary", "CAN_READ", False))
    with imported(doc) as (ledger, granted):
        assert ledger.counts["permissions"] == {"incomplete": 1}
        assert "user 'bob'" in ledger.summary() and len(granted[0]["access_control_list"]) == 1
        assert ledger.exit_status == 1
    with imported(doc, accept=["permissions"]) as (ledger, _):
        assert (ledger.counts["permissions"], ledger.exit_status) == ({"copied": 1}, 0)
    with imported(doc, names={"bob": "mary"}) as (ledger, granted):
        assert granted[0]["access_control_list"] == [{"user_name": "mary", "permission_level": "CAN_READ"}]


def test_one_that_is_refused_does_not_take_the_others_along() -> None:
    doc = acl(("user_name", "mary", "CAN_READ", False), ("group_name", "data", "CAN_READ", False))
    with imported(doc, refused=["mary"]) as (ledger, granted):
        assert [entry["access_control_list"][0]["group_name"] for entry in granted] == ["data"]
        assert "user 'mary' does not get CAN_READ" in ledger.summary()


def test_privileges_of_unity_catalog() -> None:
    doc = privileges(mary=["EXECUTE", "MANAGE"], data=["EXECUTE"])
    there = privileges(data=["EXECUTE"])["permissions"]
    with imported(doc, FUNCTION, there=there) as (ledger, granted):
        assert granted == [{"changes": [{"principal": "mary", "add": ["EXECUTE", "MANAGE"]}]}]
    with imported(doc, EXPERIMENT) as (ledger, granted):
        assert ledger.counts["permissions"] == {"incomplete": 1} and not granted


def test_a_dry_run_grants_nothing_and_tells_who_is_missing() -> None:
    doc = acl(("user_name", "bob", "CAN_READ", False), ("user_name", "mary", "CAN_READ", False))
    with imported(doc, None, dry_run=True) as (ledger, granted):
        assert (ledger.counts["permissions"], granted) == ({"incomplete": 1}, [])


def test_an_export_without_permissions_is_no_error() -> None:
    with imported(None) as (ledger, granted):
        assert (ledger.exit_status, granted) == (0, []) and "--export-permissions" in ledger.summary()


@pytest.mark.parametrize(
    "doc",
    [
        {"access_control_list": [{"user_name": "mary", "permission_level": "CAN_READ"}]},
        {"permissions": {"access_control_list": [{"user_name": "mary", "permission_level": "CAN_READ"}]}},
        acl(("user_name", "mary", "CAN_READ", False)),
    ],
)
def test_layouts(doc: Any) -> None:
    assert direct_grants(doc) == {("user_name", "mary"): ["CAN_READ"]}
    assert differences(doc, doc, {}) == []


@pytest.mark.parametrize("doc", [3, {"permissions": [1]}, {"access_control_list": [{"x": 1}]}, {"permissions": None}])
def test_broken_layouts(doc: Any) -> None:
    with pytest.raises(BadDirectory):
        direct_grants(doc)
    with pytest.raises(BadDirectory):
        differences(doc, {}, {})


def test_verification_finds_what_is_lacking() -> None:
    src = acl(("user_name", "mary", "CAN_EDIT", False), ("group_name", "admins", "CAN_MANAGE", True))
    for dst in ({}, acl(("user_name", "mary", "CAN_READ", False)), acl(("user_name", "mary", "CAN_EDIT", True))):
        assert [name for name, *_ in differences(src, dst, {})] == ["user_name:mary"]
    assert differences(src, acl(("user_name", "maria", "CAN_EDIT", False)), {"mary": "maria"}) == []
    more = privileges(mary=["EXECUTE", "MANAGE"])
    assert differences(privileges(mary=["EXECUTE"]), more, {}) == []
    assert differences(more, privileges(mary=["EXECUTE"]), {}) != []
