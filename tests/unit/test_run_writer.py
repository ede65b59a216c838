"""Values that a server refuses or cuts: the others arrive, and nothing is lost without a word."""

import json

import pytest

from mlflow_migration.client.errors import Refused
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress
from mlflow_migration.run.run_writer import RunWriter, ValueRefused


class Server:
    """A run of a server that refuses keys with "bad", and long values or cuts them."""

    def __init__(self, param_limit=6000, cuts=True, most_bytes=None):
        self.param_limit, self.cuts, self.most_bytes = param_limit, cuts, most_bytes
        self.params, self.tags, self.points, self.calls, self.reads = {}, {}, [], [], 0

    def log_batch(self, run_id, metrics, params, tags):
        self.calls.append(len(metrics) + len(params) + len(tags))
        assert len(params) <= 100
        assert len(tags) <= 100
        assert self.calls[-1] <= 1000
        if self.most_bytes and len(json.dumps([metrics, params, tags])) > self.most_bytes:
            raise Refused("Request Entity Too Large", http_status_code=413)
        for item in metrics + params + tags:
            if "bad" in item["key"]:
                raise Refused(f"Names may not be {item['key']}", http_status_code=400)
        for item in params:
            if len(item["value"]) > self.param_limit and not self.cuts:
                raise Refused(f"had length {len(item['value'])}, which exceeds length limit of {self.param_limit}",
                              http_status_code=400)  # fmt: skip
        self.points += metrics
        self.params.update((p["key"], p["value"][: self.param_limit]) for p in params)
        self.tags.update((t["key"], t["value"][:8000]) for t in tags)

    def run(self, run_id):
        self.reads += 1
        pairs = [[{"key": k, "value": v} for k, v in values.items()] for values in (self.params, self.tags)]
        return {"data": {"params": pairs[0], "tags": pairs[1]}}

    def delete_tag(self, run_id, key):
        self.tags.pop(key, None)


@pytest.fixture
def write(tmp_path):
    """Writes values to a server; the writer, and the ledger's lines about values."""

    def go(server, on_refused="skip", metrics=(), params=(), tags=()):
        params, tags = dict(params), dict(tags)
        with Ledger(ExportDir(str(tmp_path)), "test", {}) as ledger, Executor(1) as executor:
            writer = RunWriter(server, Job(ledger, executor, Progress(True, "")), "dst", "src", on_refused)
            try:
                writer.write(iter(metrics), params, tags)
                writer.check_long(params, tags)
            finally:
                ledger.close()
        lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
        return writer.refusals, [line for line in lines if line.get("kind") == "value"]

    return go


def point(key, step=0):
    return {"key": key, "value": 1.0, "timestamp": 1, "step": step}


def test_batches_are_filled_and_nothing_is_read_back_for_short_values(write):
    server = Server()
    refusals, lines = write(
        server,
        metrics=[point("m", n) for n in range(2500)],
        params={f"p{n}": "v" for n in range(150)},
        tags={f"t{n}": "v" for n in range(120)},
    )
    assert (len(server.points), len(server.params), len(server.tags)) == (2500, 150, 120)
    assert server.calls == [1000, 1000, 770]
    assert (refusals.fields, lines, server.reads) == ([], [], 0)


def test_a_refused_value_does_not_keep_the_others_out(write):
    server = Server()
    refusals, lines = write(
        server,
        metrics=[point("bad metric" if n == 700 else "m", n) for n in range(1500)],
        params={"bad": "1", **{f"p{n}": "v" for n in range(99)}},
        tags={"t": "v", "bad tag": "full value"},
    )
    assert (len(server.points), len(server.params), server.tags) == (1499, 99, {"t": "v"})
    assert sorted(refusals.fields) == ["metric:bad metric", "param:bad", "tag:bad tag"]
    assert len(server.calls) < 80
    assert {(line["src_id"], line["status"]) for line in lines} == {
        ("src/metric/bad metric", "skipped"),
        ("src/param/bad", "skipped"),
        ("src/tag/bad tag", "skipped"),
    }
    kept = next(line for line in lines if line["src_id"] == "src/tag/bad tag")
    assert kept["value"]["value"] == "full value"
    assert "Names may not be" in kept["reason"]


def test_a_request_too_large_for_what_stands_in_between_is_parted(write):
    server = Server(most_bytes=20_000)
    refusals, lines = write(server, params={f"p{n}": "v" * 5000 for n in range(20)})
    assert len(server.params) == 20
    assert (refusals.fields, lines) == ([], [])


def test_a_value_that_a_server_cuts_is_found_by_reading_back(write):
    server = Server()
    refusals, lines = write(server, params={"long": "p" * 7000, "fits": "p" * 5999}, tags={"long": "t" * 9000})
    assert sorted(refusals.fields) == ["param:long", "tag:long"]
    assert server.tags == {}  # --on-refused skip: no tag is better than half a tag
    assert refusals.instead == {"param:long": "p" * 6000}  # a param can't be taken back
    assert {line["src_id"]: line["value"] for line in lines} == {
        "src/param/long": "p" * 7000,
        "src/tag/long": "t" * 9000,
    }
    assert server.reads == 1


def test_truncate_keeps_what_fits(write):
    server = Server(cuts=False, param_limit=500)
    refusals, lines = write(server, "truncate", params={"long": "p" * 700, "other": "v"}, tags={"long": "t" * 9000})
    assert server.params == {"long": "p" * 500, "other": "v"}
    assert server.tags == {"long": "t" * 8000}
    assert refusals.instead == {"param:long": "p" * 500, "tag:long": "t" * 8000}
    assert {line["status"] for line in lines} == {"incomplete"}
    assert {len(line["value"]) for line in lines} == {700, 9000}


def test_skip_leaves_a_refused_long_value_out(write):
    server = Server(cuts=False, param_limit=500)
    refusals, _ = write(server, params={"long": "p" * 700, "other": "v"})
    assert server.params == {"other": "v"}
    assert (refusals.fields, refusals.instead) == (["param:long"], {})


@pytest.mark.parametrize("values", [{"params": {"bad": "1"}}, {"params": {"long": "p" * 7000}}])
def test_fail_fails_the_run(write, values):
    with pytest.raises(ValueRefused):
        write(Server(), "fail", **values)


def test_an_old_value_does_not_stand_for_a_refused_one(write):
    server = Server()
    server.tags = {"bad tag": "old"}
    refusals, _ = write(server, tags={"bad tag": "new"})
    assert (refusals.fields, server.tags) == (["tag:bad tag"], {})


def test_a_point_that_is_there_already_is_no_loss(write):
    class Old(Server):
        def log_batch(self, run_id, metrics, params, tags):
            # MLflow 2.9 does not see that it has a NaN
            if any(m["value"] == "NaN" for m in metrics):
                raise Refused("(sqlite3.IntegrityError) UNIQUE constraint failed: metrics.key", http_status_code=400)
            super().log_batch(run_id, metrics, params, tags)

    server = Old()
    refusals, lines = write(server, metrics=[point("m"), {**point("m", 1), "value": "NaN"}, point("m", 2)])
    assert (len(server.points), refusals.fields, lines) == (2, [], [])


def test_what_is_no_matter_of_a_value_is_raised(write):
    class Deleted(Server):
        def log_batch(self, *_):
            raise Refused("The run must be in the 'active' state", http_status_code=400)

    class Forbidden(Server):
        def log_batch(self, *_):
            raise Refused("no", http_status_code=403)

    for server in (Deleted(), Forbidden()):
        with pytest.raises(Refused):
            write(server, params={"a": "1", "b": "2"})


def test_a_param_that_is_there_with_another_value_is_told(tmp_path):
    with Ledger(None, "test", {}) as ledger, Executor(1) as executor:
        writer = RunWriter(Server(), Job(ledger, executor, Progress(True, "")), "dst", "src", "skip")
        writer.refuse_change("p", "new", "old")
    assert writer.refusals.instead == {"param:p": "old"}
    assert "can't be changed" in writer.refusals.reasons[0]
    assert ledger.exit_status == 1
