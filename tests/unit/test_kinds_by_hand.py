"""What the one rule for kinds does about what is held back, left unsaid, or set by hand."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.kinds import folder_of, import_kind
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress
from mlflow_migration.gateway.kinds import GATEWAY
from mlflow_migration.scorer.scorers import SCORERS


class Server:
    uri = identity = "http://there"

    def __init__(self):
        self.bells = {}


class Bells:
    """Bells ring by themselves unless they are mute, and have a key that nobody tells."""

    name, plural, loss = "bell", "bells", "webhooks"

    def read(self, server):
        return iter([dict(bell) for bell in server.bells.values()])

    def id_of(self, doc):
        return str(doc["id"])

    def title(self, doc):
        return str(doc["name"])

    def key(self, doc):
        return str(doc["name"])

    def experiments(self, doc):
        return []

    def runs(self, doc):
        return []

    def translated(self, doc, copies):
        if doc["name"] == "lost":
            raise BadDirectory("it has no clapper")
        if copies.activate:
            return doc, []
        held = {"held_back": "it would ring"} if doc["name"] == "loud" else {}
        return {**doc, "mute": True, "unsaid": ["mute"], **held}, []

    def state(self, doc):
        return {"mute": [doc["mute"]], "tone": doc["tone"]}

    def create(self, server, doc):
        bell_id = f"new-{doc['id']}"
        server.bells[bell_id] = {**doc, "id": bell_id, "locked": False}
        return bell_id

    def change(self, server, there, doc, todo):
        for name in todo.write:
            server.bells[there["id"]][name] = doc[name]

    def by_hand(self, doc, there):
        return ["no lock"] if doc["locked"] and not (there or {}).get("locked") else []

    def to_do(self, made):
        return f"Look after {', '.join(doc['name'] for doc in made)}."


def bell(bell_id, name, **more):
    return {"id": bell_id, "name": name, "mute": False, "tone": "c", "locked": False, **more}


class Case:
    def __init__(self, tmp_path):
        self.out, self.reports = ExportDir(str(tmp_path / "out")), ExportDir(str(tmp_path / "reports"))
        self.reports.make()
        self.server = Server()

    def load(self, *bells, accept=(), dry_run=False, **options):
        """Import them; what became of each as status and reason by name, and the notes."""
        self.out.make()
        self.out.write_json("bells.json", json.dumps({"mlflow": {"bells": bells}}).encode())
        ended = {}
        ledger = Ledger(None, "import-bells", {}, accept_loss=accept)
        record = ledger.record

        def spy(kind, status, src_id=None, **details):
            record(kind, status, src_id, **details)
            counted = ledger.counts["bell"]
            ended[details["name"]] = next(one for one in counted if counted[one] > seen.get(one, 0)), details["reason"]
            seen.clear()
            seen.update(counted)

        seen = {}
        ledger.record = spy
        with Executor(1) as executor, closing(IdMap(self.reports, "http://there", writable=not dry_run)) as id_map:
            job = Job(ledger, executor, Progress(True, ""), dry_run=dry_run)
            import_kind(Bells(), self.server, job, self.out, options, id_map)
        assert not ledger.unreconciled
        return ended, ledger.notes

    def there(self, name):
        return next(one for one in self.server.bells.values() if one["name"] == name)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_what_is_held_back_is_skipped_until_it_is_wanted(case):
    for dry_run in (True, False):
        assert case.load(bell("1", "loud"), dry_run=dry_run)[0] == {"loud": ("skipped", "it would ring")}
        assert case.server.bells == {}
    assert case.load(bell("1", "loud"), activate=True)[0]["loud"][0] == "copied"
    # once it is there it is kept up to date like everything
    assert case.load(bell("1", "loud", tone="d"))[0]["loud"][0] == "updated"
    assert case.there("loud") == {**bell("new-1", "loud", tone="d")}


def test_what_is_unsaid_is_written_once_and_then_left_to_the_destination(case):
    assert case.load(bell("1", "small"))[0]["small"][0] == "copied"
    assert case.there("small")["mute"] is True
    case.there("small")["mute"] = False
    for how in ({}, {"on_destination_change": "overwrite"}):
        assert case.load(bell("1", "small"), **how)[0]["small"] == ("unchanged", None)
        assert case.there("small")["mute"] is False


def test_what_nobody_touched_is_switched_on_later(case):
    case.load(bell("1", "small"))
    case.load(bell("1", "small", tone="d"))
    assert case.load(bell("1", "small", tone="d"), activate=True)[0]["small"][0] == "updated"
    assert case.there("small")["mute"] is False


def test_what_is_to_be_set_by_hand_is_incomplete_until_it_is(case):
    locked = bell("1", "safe", locked=True)
    assert case.load(locked, dry_run=True)[0] == {"safe": ("incomplete", "no lock")}
    for _ in ("made", "there"):
        assert case.load(locked)[0] == {"safe": ("incomplete", "no lock")}
    assert case.load(locked, accept=["secrets"])[0] == {"safe": ("unchanged", "no lock")}
    assert case.load(bell("1", "safe", locked=True, tone="d"), accept=["secrets"])[0]["safe"][0] == "updated"
    case.there("safe")["locked"] = True
    assert case.load(bell("1", "safe", locked=True, tone="d"))[0] == {"safe": ("unchanged", None)}


def test_a_new_object_without_what_is_accepted_is_copied(case):
    assert case.load(bell("1", "safe", locked=True), accept=["secrets"])[0]["safe"][0] == "copied"
    assert case.load(bell("2", "other", locked=True), accept=["webhooks"])[0]["other"][0] == "incomplete"


def test_what_is_left_to_do_is_told_of_what_was_made(case):
    assert case.load(bell("1", "a"), bell("2", "b"))[1] == ["Look after a, b."]
    assert case.load(bell("1", "a"), bell("2", "b"))[1] == []
    assert case.load(bell("1", "a"), bell("3", "c"))[1] == ["Look after c."]


def test_what_cant_be_had_at_all_is_a_loss_that_may_be_accepted(case):
    assert case.load(bell("1", "lost"))[0] == {"lost": ("failed", "it has no clapper")}
    ended = case.load(bell("1", "lost"), accept=["webhooks"])[0]
    assert ended == {"lost": ("skipped", "--accept-loss webhooks: it has no clapper")}


def test_kinds_of_a_group_share_a_folder():
    assert {folder_of(kind) for kind in GATEWAY} == {"gateway"}
    assert len({kind.plural for kind in GATEWAY}) == len(GATEWAY)
    assert folder_of(SCORERS) == "scorers"
