"""The one rule for objects that a server has few of, with a kind and a server made up for it."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from mlflow_migration.client.errors import BadInput, NotFound, Stopped, Unauthorized
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.kinds import COMING, export_kind, import_kind
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress


class Server:
    """As much of a tracking server as the rule asks for: one experiment, and things by id."""

    uri = identity = "http://there"

    def __init__(self, experiment_id="1", **things):
        self.experiments = [{"experiment_id": experiment_id, "name": "wine", "creation_time": 1}]
        self.things = {thing_id: {"id": thing_id, **thing} for thing_id, thing in things.items()}
        self.writes = []

    def search_experiments(self):
        yield self.experiments

    def active_experiments(self):
        return [one["experiment_id"] for one in self.experiments]

    def experiment_by_name(self, name):
        return next((one for one in self.experiments if one["name"] == name), None)


def thing(name, text="", experiment_id="1"):
    return {"experiment_id": experiment_id, "name": name, "text": text, "size": 1}


class Things:
    name, plural, loss = "thing", "some_things", "scorers"
    error = None  # what reading raises
    dies = ""  # when the process ends: "before", "after" or "half" of a write

    def read(self, server):
        if self.error is not None:
            raise self.error
        return iter([dict(one) for one in server.things.values()])

    def id_of(self, doc):
        return str(doc["id"])

    def title(self, doc):
        return str(doc["name"])

    def experiments(self, doc):
        return [doc["experiment_id"]]

    def runs(self, doc):
        return []

    def translated(self, doc, copies):
        lacking = ["its tail is lost"] if doc["text"] == "tailless" else []
        return {**doc, "experiment_id": copies.experiment(doc["experiment_id"])}, lacking

    def key(self, doc):
        return f"{doc['experiment_id']}/{doc['name']}"

    def state(self, doc):
        return {"text": doc["text"], "size": doc["size"]}

    def create(self, server, doc):
        self._die("before")
        thing_id = f"new{len(server.writes)}"
        server.things[thing_id] = {**doc, "id": thing_id}
        server.writes.append(("create", doc["name"]))
        self._die("after")
        return thing_id

    def change(self, server, there, doc, todo):
        todo.differs += [name for name in todo.write if doc[name] == "refused"]
        todo.write = [name for name in todo.write if doc[name] != "refused"]
        for name in todo.write:
            server.things[there["id"]][name] = doc[name]
            server.writes.append((name, doc["name"]))
            self._die("half")

    def _die(self, when):
        if self.dies == when:
            raise Stopped("killed")


class Case:
    """An export directory, a report directory, and both sides."""

    def __init__(self, tmp_path):
        self.out, self.reports = ExportDir(str(tmp_path / "out")), ExportDir(str(tmp_path / "reports"))
        self.reports.make()
        self.kind = Things()

    def ended(self, work, dry_run=False):
        """Return what became of each object, as status and reason by name; and the ledger."""
        lines = []
        ledger = Ledger(None, "import-some-things", {})
        record = ledger.record

        def spy(kind, status, src_id=None, **details):
            lines.append((details.get("name") or src_id, status, details.get("reason")))
            record(kind, status, src_id, **details)

        ledger.record = spy
        with Executor(1) as executor:
            work(Job(ledger, executor, Progress(True, ""), dry_run=dry_run))
        assert not ledger.unreconciled
        return lines, ledger

    def export(self, server, **how):
        return self.ended(lambda job: export_kind(self.kind, server, job, self.out, "export_some_things.py"), **how)

    def load(self, server, dry_run=False, **options):
        with closing(IdMap(self.reports, server.identity, writable=not dry_run)) as id_map:
            return self.ended(
                lambda job: import_kind(self.kind, server, job, self.out, options, id_map), dry_run=dry_run
            )[0]

    def write(self, **fields):
        self.out.make()
        info = fields.pop("info", {})
        self.out.write_json("some_things.json", json.dumps({"system": {}, "info": info, "mlflow": fields}).encode())

    def stored(self):
        return {one["id"]: one for one in self.out.read_json("some_things.json")["mlflow"]["some_things"]}


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


# -- export


def test_a_repeated_export_says_what_changed_and_keeps_what_is_gone(case):
    src = Server(a=thing("one"), b=thing("two"))
    assert [line[1] for line in case.export(src)[0]] == ["copied", "copied"]
    src.things["a"]["text"] = "new"
    del src.things["b"]
    src.things["c"] = {"id": "c", **thing("three")}
    assert case.export(src)[0] == [("one", "updated", None), ("three", "copied", None)]
    assert {key: one["text"] for key, one in case.stored().items()} == {"a": "new", "b": "", "c": ""}
    assert [line[1] for line in case.export(src)[0]] == ["unchanged", "unchanged"]


def test_what_belongs_to_an_experiment_made_meanwhile_comes_next_time(case):
    src = Server(a=thing("one"), b=thing("two", experiment_id="2"), c=thing("three", experiment_id="gone"))
    src.experiments.append({"experiment_id": "2", "name": "new"})

    def export(listed):
        return case.ended(
            lambda job: export_kind(case.kind, src, job, case.out, "export_some_things.py", frozenset(listed))
        )[0]

    lines = export(["1"])
    assert [line[:2] for line in lines] == [("two", "skipped"), ("one", "copied"), ("three", "copied")]
    assert "repeat the command" in lines[0][2]
    assert set(case.stored()) == {"a", "c"}
    assert [line[1] for line in export(["1", "2"])] == ["unchanged", "copied", "unchanged"]


@pytest.mark.parametrize("error", [NotFound("none", http_status_code=404), Unauthorized("no", http_status_code=403)])
def test_a_server_that_tells_nothing_has_none(case, error):
    case.kind.error = error
    lines, ledger = case.export(Server(a=thing("one")))
    assert lines == []
    assert not case.out.exists("some_things.json")
    assert bool(ledger.notes) == isinstance(error, Unauthorized)


def test_an_export_without_writing(case):
    assert case.export(Server(a=thing("one")), dry_run=True)[0] == [("one", "copied", None)]
    assert not case.out.exists("some_things.json")


def test_the_export_of_something_else_is_left_alone(case):
    case.write(some_things=7)
    with pytest.raises(BadInput, match="'some_things' is no list of objects; export into an empty directory"):
        case.export(Server(a=thing("one")))


# -- import


def test_hostile_objects_do_not_stop_their_neighbours(case):
    hostile = [
        {}, {"id": "x"}, {"id": "y", "experiment_id": "1", "name": "n", "text": ["deep"]},
        {"id": "z", **thing("elsewhere", experiment_id="../7")}, {"id": {"a": 1}, **thing("odd", experiment_id=["1"])},
    ]  # fmt: skip
    about = {"1": {"name": "wine"}, "../7": {"name": ["no", "text"]}, "8": 7}
    things = [*hostile, {"id": "a", **thing("one")}]
    case.write(some_things=things, experiments=about, info={"failed_some_things": ["q"]})
    dst = Server("5")
    lines = case.load(dst)
    assert [line[1] for line in lines].count("failed") == 6
    assert lines[0][:2] == ("q", "failed")
    assert lines[-1] == ("one", "copied", None)
    assert [one["experiment_id"] for one in dst.things.values()] == ["5"]
    assert all("/" not in str(name) for name, _, _ in lines)


@pytest.mark.parametrize("found", [7, {"a": 1}, ["text"], None])
def test_a_file_that_is_no_export(case, found):
    case.write(some_things=found, other=1)
    with pytest.raises(Exception, match="'some_things' is no list of objects"):
        case.load(Server())


def test_no_file(case):
    case.out.make()
    with pytest.raises(BadInput, match="holds no export of some things: there is no some_things.json"):
        case.load(Server())


def test_a_destination_without_the_route(case):
    case.export(Server(a=thing("one"), b=thing("two")))
    case.kind.error = NotFound("no route", http_status_code=404)
    lines = case.load(Server())
    assert [(status, reason) for _, status, reason in lines] == [
        ("failed", "the destination's server knows no some things")
    ] * 2


def test_a_repeat_writes_nothing_and_follows_the_source(case):
    src, dst = Server(a=thing("one"), b=thing("two")), Server("5")
    case.export(src)
    assert [line[1] for line in case.load(dst)] == ["copied", "copied"]
    wrote = list(dst.writes)
    assert [line[1] for line in case.load(dst)] == ["unchanged", "unchanged"]
    assert dst.writes == wrote
    src.things["b"].update(text="new")
    case.export(src)
    assert [line[1] for line in case.load(dst)] == ["unchanged", "updated"]
    assert dst.writes == [*wrote, ("text", "two")]


def test_a_dry_run_writes_nothing(case):
    src, dst = Server(a=thing("one")), Server("5")
    case.export(src)
    assert case.load(dst, dry_run=True) == [("one", "copied", None)]
    case.load(dst)
    src.things["a"].update(text="new")
    case.export(src)
    wrote, known = list(dst.writes), list(case.reports.lines("id_map.jsonl"))
    assert case.load(dst, dry_run=True) == [("one", "updated", None)]
    assert (dst.writes, list(case.reports.lines("id_map.jsonl"))) == (wrote, known)


def test_an_experiment_that_would_have_come_before_is_not_missed(case):
    case.export(Server(a=thing("one")))
    dst = Server()
    dst.experiments = []
    assert case.load(dst, dry_run=True, **{COMING: True}) == [("one", "copied", None)]
    [(_, status, reason)] = case.load(dst)
    assert (status, reason) == ("failed", "its experiment 'wine' is not at the destination; import that first")
    assert dst.writes == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_is_made(case, when):
    dst = Server("5")
    case.export(Server(a=thing("one", "text"), b=thing("two")))
    case.kind.dies = when
    with pytest.raises(Stopped):
        case.load(dst)
    if when == "after":
        dst.things["new0"]["text"] = "half of it"
    case.kind.dies = ""
    statuses = [line[1] for line in case.load(dst)]
    assert statuses == ["copied" if when == "before" else "updated", "copied"]
    assert sorted((one["name"], one["text"]) for one in dst.things.values()) == [("one", "text"), ("two", "")]


def test_killed_while_it_is_changed(case):
    src, dst = Server(a=thing("one")), Server("5")
    case.export(src)
    case.load(dst)
    src.things["a"].update(text="new", size=2)
    case.export(src)
    case.kind.dies = "half"
    with pytest.raises(Stopped):
        case.load(dst)
    dst.things["new0"]["size"] = 17  # neither what it was nor what it is to be: our own half of a write
    case.kind.dies = ""
    assert case.load(dst) == [("one", "updated", None)]
    assert (dst.things["new0"]["text"], dst.things["new0"]["size"]) == ("new", 2)


def test_what_was_deleted_at_the_destination_stays_so(case):
    dst = Server("5")
    case.export(Server(a=thing("one")))
    case.load(dst)
    dst.things.clear()
    for _ in range(2):
        assert case.load(dst) == [("one", "differs", "deleted at the destination and left alone")]
    assert case.load(dst, on_destination_change="overwrite") == [("one", "copied", None)]
    assert [one["name"] for one in dst.things.values()] == ["one"]
    assert case.load(dst) == [("one", "unchanged", None)]


def test_what_was_changed_at_the_destination_stays_so(case):
    src, dst = Server(a=thing("one", "old")), Server("5")
    case.export(src)
    case.load(dst)
    dst.things["new0"]["text"] = "theirs"
    src.things["a"].update(text="ours", size=2)
    case.export(src)
    for _ in range(2):
        assert case.load(dst) == [("one", "differs", "changed at the destination and left alone: text")]
        assert (dst.things["new0"]["text"], dst.things["new0"]["size"]) == ("theirs", 2)
    assert case.load(dst, on_destination_change="overwrite") == [("one", "updated", None)]
    assert dst.things["new0"]["text"] == "ours"


def test_what_a_server_refuses_to_change_differs_each_time(case):
    src, dst = Server(a=thing("one", "old")), Server("5")
    case.export(src)
    case.load(dst)
    src.things["a"]["text"] = "refused"
    case.export(src)
    for _ in range(2):
        assert [line[:2] for line in case.load(dst)] == [("one", "differs")]
    assert dst.things["new0"]["text"] == "old"


def test_several_of_one_key_each_find_their_own(case):
    src = Server(a=thing("same", "1"), b=thing("same", "2"), c=thing("same", "2"), d=thing("same", "3"))
    dst = Server("5", x=thing("same", "2", "5"), y=thing("same", "1", "5"), z=thing("other", "1", "5"))
    case.export(src)
    assert [line[1] for line in case.load(dst)] == ["unchanged", "unchanged", "copied", "copied"]
    assert sorted(one["text"] for one in dst.things.values() if one["name"] == "same") == ["1", "2", "2", "3"]
    wrote = list(dst.writes)
    assert [line[1] for line in case.load(dst)] == ["unchanged"] * 4
    assert dst.writes == wrote


def test_the_copy_of_one_is_not_taken_for_that_of_another(case):
    dst = Server("5")
    case.export(Server(a=thing("one")))
    case.load(dst)
    case.write(some_things=[{"id": "other", **thing("one")}], experiments={"1": {"name": "wine"}})
    assert case.load(dst) == [("one", "copied", None)]
    assert len(dst.things) == 2


def test_what_the_destination_can_not_have(case):
    case.export(Server(a=thing("one", "tailless")))
    assert case.load(Server("5")) == [("one", "incomplete", "its tail is lost")]


def test_a_hostile_id_map_is_no_help(case):
    dst = Server("5", x=thing("one", "", "5"))
    case.export(Server(a=thing("one")))
    entry = {"kind": "thing", "destination": dst.identity, "experiment_id": "", "src_id": "a", "dst_id": "x"}
    lines = [{**entry, "begun": 7}, {**entry, "base": ["no"]}, {**entry, "dst_id": 3}, {**entry, "base": {"text": 7}}]
    with case.reports.new_file("id_map.jsonl") as file:
        file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    assert case.load(dst) == [("one", "unchanged", None)]
    assert dst.writes == []
