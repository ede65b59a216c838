"""Which workspace goes into which, what tells them apart, and lists of them that are not trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from mlflow_migration.client.credentials import Connection, connect
from mlflow_migration.client.errors import BadDirectory, BadInput, Gone, Refused
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.servers import open_tracking, open_whole
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress
from mlflow_migration.common.workspaces import (
    Arrival,
    Pair,
    arrive,
    chosen_of,
    each_pair,
    has_list,
    pair_up,
    read_list,
    write_list,
)
from mlflow_migration.verify.objects import Thing
from mlflow_migration.verify.report import Report
from tests.support.stub import Reply, Request, Stub, error

URL = "http://server.example:5000"
A, B = {"name": "team-a", "description": "first"}, {"name": "team-b"}


class Whole:
    """As much of a server as pairing asks for."""

    uri = URL

    def __init__(self, has: bool = True, *there: Dict[str, str]) -> None:
        self._has, self._there = has, list(there)
        self.calls: List[Any] = []

    def has_workspaces(self) -> bool:
        return self._has

    def workspaces(self) -> List[Dict[str, str]]:
        return self._there

    def create_workspace(self, name: str, description: str) -> None:
        self.calls.append(("create", name, description))

    def describe_workspace(self, name: str, description: str) -> None:
        self.calls.append(("describe", name, description))


def pairs(chosen: Any, whole: Any = None, **options: Any) -> List[Pair]:
    return pair_up(chosen, options, whole or Whole())


@pytest.fixture
def renames(tmp_path: Path) -> str:
    path = tmp_path / "renames.csv"
    path.write_text("team-,squad-\n")
    return str(path)


def test_each_goes_where_it_is_to_go(renames: str) -> None:
    assert pairs(None) == [Pair("", "")]
    assert pairs(None, dst_workspace="x1") == [Pair("", "x1")]
    assert pairs([A, B]) == [Pair("team-a", "team-a", "first"), Pair("team-b", "team-b", "")]
    assert [pair.dst for pair in pairs([A, B], workspace_rename_file=renames)] == ["squad-a", "squad-b"]
    # several may go into one, one after the other, so its description may be that of any
    assert pairs([A], dst_workspace="x1") == [Pair("team-a", "x1", None)]
    assert pairs([A], Whole(False)) == [Pair("team-a", "")]
    assert pairs([]) == []


def test_what_can_not_go_there(renames: str) -> None:
    both = {"workspace_rename_file": renames, "dst_workspace": "x1"}
    for chosen, whole, options, words in (
        ([A], Whole(), both, "not both"),
        (None, Whole(), {"workspace_rename_file": renames}, "--workspaces"),
        (None, Whole(False), {"dst_workspace": "x1"}, "leave out --dst-workspace"),
        ([A, B], Whole(), {"dst_workspace": "x1"}, "2 are meant"),
        ([A, B], Whole(False), {}, "2 are meant"),
        ([], Whole(False), {}, "0 are meant"),
        ([A], Whole(False), {"workspace_rename_file": renames}, "leave out --workspace-rename-file"),
        ([{"name": "team-a"}, {"name": "squad-a"}], Whole(), {"workspace_rename_file": renames}, "squad-a"),
    ):
        with pytest.raises(BadInput, match=words):
            pairs(chosen, whole, **options)


def job(dry_run: bool = False) -> Job:
    return Job(Ledger(None, "copy-all", {}), Executor(1), Progress(True, "runs"), dry_run=dry_run)


def test_a_workspace_is_made_or_left_alone() -> None:
    pair = Pair("team-a", "x1", "first")
    for there, dry_run, options, status, calls in (
        ([], False, {}, "copied", [("create", "x1", "first")]),
        ([], True, {}, "copied", []),
        ([{"name": "x1", "description": "first"}], False, {}, "unchanged", []),
        ([{"name": "x1", "description": "other"}], False, {}, "differs", []),
        ([{"name": "x1"}], False, {"on_destination_change": "overwrite"}, "updated", [("describe", "x1", "first")]),
        ([{"name": "x1"}], True, {"on_destination_change": "overwrite"}, "updated", []),
    ):
        whole = Whole(True, *there)
        arrival = arrive(job(dry_run), whole, pair, options)  # type: ignore[arg-type]
        assert (arrival.status, whole.calls) == (status, calls)
        assert arrival.is_there is not (dry_run and not there)
    assert arrive(job(), Whole(True, {"name": "x1", "description": "other"}), Pair("", "x1"), {}).status == "unchanged"  # type: ignore[arg-type]


def test_one_that_fails_does_not_stop_the_others() -> None:
    work, done = job(), []

    def move(part: Job, pair: Pair) -> None:
        if pair.src == "team-a":
            raise Refused("no", http_status_code=403)
        part.ledger.expect("run", 1)
        part.ledger.record("run", "failed", "r1", name="first", reason="why")
        part.ledger.note("the same")
        assert part.ledger.counts == {"run": {"failed": 1}}
        done.append(pair.src)

    three = [Pair("team-a", "x1"), Pair("team-b", "team-b"), Pair("team-c", "")]
    each_pair(work, three, lambda part, pair: Arrival("copied"), move)
    assert done == ["team-b", "team-c"]
    assert work.ledger.counts == {"workspace": {"failed": 1, "copied": 2}, "run": {"failed": 2}}
    assert work.ledger.unreconciled == [] and work.ledger.notes == ["the same"]
    assert "workspace team-a: failed: no" in work.ledger.summary()
    assert "run r1 (first) in team-b: failed: why" in work.ledger.summary()


def test_a_server_that_is_gone_stops_all() -> None:
    def gone(part: Job, pair: Pair) -> None:
        raise Gone("gone")

    with pytest.raises(Gone):
        each_pair(job(), [Pair("team-a"), Pair("team-b")], lambda part, pair: Arrival("copied"), gone)
    with pytest.raises(BadInput):  # where there is no workspace to blame

        def bad(part: Job, pair: Pair) -> None:
            raise BadInput("bad")

        each_pair(job(), [Pair("", "x1")], lambda part, pair: Arrival("copied"), bad)
    plain = job()
    each_pair(plain, [Pair()], lambda part, pair: Arrival("copied"), lambda part, pair: None)
    assert plain.ledger.summary().splitlines()[-1] == "Nothing was found."


# -- the list -------------------------------------------------------------------------------------------------------


def test_the_list_keeps_those_of_earlier_exports(tmp_path: Path) -> None:
    directory = ExportDir(str(tmp_path))
    assert not has_list(directory) and chosen_of(directory, None) == (None, [])
    write_list(directory, "export_all.py", URL, [A, B], [])
    write_list(directory, "export_all.py", URL, [{"name": "team-a", "description": "new"}], ["team-b", "team-c"])
    assert read_list(directory) == ([{"name": "team-a", "description": "new"}], ["team-b", "team-c"])
    assert chosen_of(directory, None) == ([{"name": "team-a", "description": "new"}], ["team-b", "team-c"])
    assert chosen_of(directory, "team-b") == ([], ["team-b"])
    with pytest.raises(BadInput, match="has no workspace 'nope'"):
        chosen_of(directory, "nope")


@pytest.mark.parametrize("listed", [None, {}, ["team-a"], [{}], [{"name": 1}], [{"name": ""}]])
def test_a_list_that_is_none(tmp_path: Path, listed: Any) -> None:
    (tmp_path / "workspaces").mkdir()
    (tmp_path / "workspaces" / "workspaces.json").write_text(json.dumps({"mlflow": {"workspaces": listed}}))
    with pytest.raises(BadDirectory):
        read_list(ExportDir(str(tmp_path)))


def test_a_name_in_a_list_is_no_way_out(tmp_path: Path) -> None:
    from mlflow_migration.common.workspaces import place_of

    place = place_of(ExportDir(str(tmp_path)), "../../etc")
    assert Path(place.path).parent == tmp_path / "workspaces"


# -- servers --------------------------------------------------------------------------------------------------------


def tracking(workspace: Optional[str]) -> Tracking:
    return Tracking(RestClient(connect(URL, workspace=workspace), 1))


def test_workspaces_of_a_server_have_identities_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_WORKSPACE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    # id maps of before name the server alone
    assert {tracking(name).identity for name in (None, "", "default")} == {URL}
    assert tracking("team-a").identity == f"{URL}#team-a"
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team-b")
    assert tracking(None).identity == f"{URL}#team-b"
    assert tracking("team-a").rest.connection.headers["X-MLFLOW-WORKSPACE"] == "team-a"
    assert "X-MLFLOW-WORKSPACE" not in tracking("").rest.connection.headers
    with pytest.raises(BadInput, match="line break"):
        tracking("a\nb")


def test_a_server_that_takes_no_notice_of_a_workspace_is_refused() -> None:
    """Else all of it would be taken for that workspace."""
    with Stub(lambda request: Reply(b"no such page", 404) if "info" in request.path else Reply({})) as stub:
        with pytest.raises(BadInput, match="has no workspaces, and 'team-a' is asked for"):
            with open_tracking(stub.uri, "src", workspace="team-a"):
                pass
        assert [request.path for request in stub.requests] == ["/api/3.0/mlflow/server-info"]


def test_a_store_that_is_no_server_is_refused(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/x.db"
    for opened in (open_whole(store, "src"), open_tracking(store, "src", workspace="a1")):
        with pytest.raises(BadInput, match="is a local store"):
            with opened:
                pass


def test_making_a_workspace_whose_reply_got_lost() -> None:
    def answer(request: Request) -> Optional[Reply]:
        if request.method == "GET":
            return Reply({"workspaces": [{"name": "team-a"}]})
        assert request.json == {"name": "team-a", "description": "first"}
        return None

    with Stub(answer) as stub:
        server = Tracking(RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1))
        server.create_workspace("team-a", "first")
        assert [request.method for request in stub.requests] == ["POST", "GET"]


def test_a_workspace_that_is_there_is_refused() -> None:
    with Stub(lambda request: error(400, "RESOURCE_ALREADY_EXISTS", "it exists")) as stub:
        with pytest.raises(Refused, match="it exists"):
            Tracking(RestClient(Connection(stub.uri, {}, None, True, None, stub.uri), 1)).create_workspace("a1", "")


# -- the report of a verification -----------------------------------------------------------------------------------


def test_what_one_workspace_is_known_to_lack_counts_in_another() -> None:
    report = Report(None, {})
    with report.part({("registered_model", "same")}):
        with report.part({("registered_model", "same")}, workspace="team-a"):
            report.missing(Thing("registered_model", "same"))
        assert report.exit_status == 0
        with report.part((), workspace="team-b"):
            report.missing(Thing("registered_model", "same"))
    assert report.exit_status == 1
    assert report.document()["not_the_same"] == [
        {"kind": "registered_model", "result": "missing", "src_id": "same", "workspace": "team-b"}
    ]
