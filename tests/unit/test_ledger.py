"""The ledger: what is written, counted, shown, and what it must never hold."""

import contextlib
import json
import os
import threading
import time

import pytest

from mlflow_migration.client.errors import BadInput, Stopped, Unavailable
from mlflow_migration.common import append_log
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.ledger import LEDGER_FILE, STATUSES, Ledger


class LocalDir:
    """As much of an ExportDir as a ledger needs."""

    def __init__(self, path, is_local=True):
        self.path = str(path)
        self.is_local = is_local

    def make(self):
        os.makedirs(self.path, exist_ok=True)

    def exists(self, rel):
        return os.path.exists(os.path.join(self.path, rel))

    def open_read(self, rel):
        return open(os.path.join(self.path, rel), "rb")

    @contextlib.contextmanager
    def new_file(self, rel):
        path = os.path.join(self.path, rel)
        with open(path + ".tmp", "wb") as file:
            yield file
        os.replace(path + ".tmp", path)


def lines_of(path):
    with open(os.path.join(str(path), LEDGER_FILE), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_each_object_is_one_line_between_start_and_end(tmp_path):
    with Ledger(LocalDir(tmp_path / "new"), "export-run", {"run_id": "a"}) as ledger:
        ledger.record("run", "copied", "a", dst_id="b", name="n", size=3)
    start, line, end = lines_of(tmp_path / "new")
    assert (start["event"], start["command"], start["options"]) == ("start", "export-run", {"run_id": "a"})
    assert line == {"kind": "run", "status": "copied", "src_id": "a", "dst_id": "b", "name": "n", "size": 3}
    assert (end["event"], end["counts"], end["exit_status"]) == ("end", {"run": {"copied": 1}}, 0)


def test_a_line_is_on_disk_at_once(tmp_path):
    ledger = Ledger(LocalDir(tmp_path), "c", {})
    ledger.record("run", "unchanged", "a")
    assert len(lines_of(tmp_path)) == 2
    ledger.close()
    ledger.close()
    assert len(lines_of(tmp_path)) == 3


def test_a_second_command_appends_even_after_half_a_line(tmp_path):
    (tmp_path / LEDGER_FILE).write_bytes(b'{"kind": "run"}\n{"half')
    Ledger(LocalDir(tmp_path), "c", {}).close()
    lines = (tmp_path / LEDGER_FILE).read_bytes().splitlines()
    assert lines[:2] == [b'{"kind": "run"}', b'{"half']
    assert json.loads(lines[2])["event"] == "start"


def test_a_directory_that_cannot_append_gets_old_and_new_lines_at_the_end(tmp_path):
    for _ in range(2):
        with Ledger(LocalDir(tmp_path, is_local=False), "c", {}) as ledger:
            ledger.record("run", "copied", "a")
    assert len(lines_of(tmp_path)) == 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_no_regular_file_is_not_written(tmp_path, kind):
    outside = tmp_path / "outside"
    outside.write_text("safe")
    inside = tmp_path / "in"
    inside.mkdir()
    if kind == "link":
        (inside / LEDGER_FILE).symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(inside / LEDGER_FILE)
    else:
        (inside / LEDGER_FILE).mkdir()
    with pytest.raises(BadInput, match=LEDGER_FILE):
        Ledger(LocalDir(inside), "c", {})
    assert outside.read_text() == "safe"


def test_secrets_are_not_written(tmp_path):
    options = {"uri": "http://me:hush@host", "list": ["http://me:hush@host"], "data": '{"string_value": "hush"}'}
    with Ledger(LocalDir(tmp_path), "c", options) as ledger:
        ledger.record("run", "failed", "a", reason="http://me:hush@host said no")
        ledger.note("at http://me:hush@host")
        ledger.stop(Unavailable("http://me:hush@host is gone"))
    assert "hush" not in (tmp_path / LEDGER_FILE).read_text()
    assert "hush" not in ledger.summary()


def test_full_values_and_odd_ones_are_kept_as_strict_json(tmp_path):
    with Ledger(LocalDir(tmp_path), "c", {}) as ledger:
        ledger.record(
            "param", "failed", value="token=x " * 1000, number=float("nan"), half="\ud800", deep={"a": {1, 2}}
        )
    line = lines_of(tmp_path)[1]
    assert line["value"] == "token=x " * 1000
    assert (line["number"], line["half"], line["deep"]) == ("NaN", "\\ud800", {"a": [1, 2]})


@pytest.mark.parametrize("status", STATUSES)
def test_exit_status(status):
    ledger = Ledger(None, "c", {})
    ledger.record("run", status, "a")
    assert ledger.exit_status == (1 if status in ("incomplete", "failed") else 0)


def test_a_status_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="lost"):
        Ledger(None, "c", {}).record("run", "lost")


def test_accepted_losses_count_as_copied_and_are_named():
    ledger = Ledger(None, "c", {}, accept_loss=["artifacts", "values"])
    ledger.record("run", "incomplete", "a", losses=["artifacts", "values"])
    ledger.record("run", "incomplete", "b", losses=["artifacts"])
    assert (ledger.counts, ledger.exit_status) == ({"run": {"copied": 2}}, 0)
    assert "artifacts of 2, values of 1" in ledger.summary()
    ledger.record("run", "incomplete", "c", losses=["artifacts", "inputs"])
    ledger.record("run", "incomplete", "d")
    assert (ledger.counts["run"]["incomplete"], ledger.exit_status) == (2, 1)


def test_counts_must_reconcile():
    ledger = Ledger(None, "c", {})
    ledger.expect("run", 2)
    ledger.expect("run", 1)
    ledger.record("run", "copied", "a")
    ledger.record("run", "skipped", "b", reason="--filter")
    assert ledger.exit_status == 1
    assert "run: 3 expected, 2 accounted for" in ledger.summary()
    ledger.record("run", "unchanged", "c")
    assert ledger.exit_status == 0
    assert "reconcile" not in ledger.summary()


def test_summary_has_a_column_for_each_status_and_a_row_for_each_kind():
    ledger = Ledger(None, "import-experiment", {})
    for at, status in enumerate(STATUSES):
        for _ in range(at + 1):
            ledger.record("run", status)
    ledger.record("experiment", "copied", "1")
    rows = {line.split()[0]: line.split()[1:] for line in ledger._table()}
    assert rows["kind"] == ["found", *STATUSES]
    assert rows["run"] == ["28", "1", "2", "3", "4", "5", "6", "7"]
    assert rows["experiment"] == ["1", "1", "0", "0", "0", "0", "0", "0"]


def test_summary_shows_twenty_reasons_the_worst_first():
    ledger = Ledger(None, "c", {})
    for at in range(30):
        ledger.record("run", "differs", f"d{at}", reason="edited")
    ledger.record("run", "failed", "f", name="a\x1b[31m\nb", reason="refused")
    text = ledger.summary()
    assert text.count("edited") == 20
    assert "and 10 more" in text
    headings = [line for line in text.splitlines() if line.endswith(":")]
    assert headings == ["Not whole:", "Left alone:"]
    assert text.index("run f (a [31m b): failed: refused") < text.index("d0")
    assert "\x1b" not in text


def test_summary_says_what_was_carried_and_between_which_servers(tmp_path):
    with Ledger(ExportDir(str(tmp_path)), "c", {}) as ledger:
        ledger.server("write", "http://me:secret@b")
        ledger.server("read", "http://a")
        ledger.record("run", "copied", "a")
        ledger.add(artifacts=1, bytes=3 * 2**20)
        ledger.add(artifacts=1_000, points=2_000)
        assert "Kept" not in ledger.summary()
        ledger.add(gone=2)
    lines = ledger.summary().splitlines()
    assert lines[:3] == ["c", "From: http://a", "To: http://b"]
    assert "Carried: 1,001 artifacts (3.0 MB), 2,000 points of metrics" in lines
    assert "Kept: 2 artifacts that the source no longer has" in lines
    written = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert written[1] == {"event": "server", "action": "write", "uri": "http://b"}
    assert written[-1]["carried"] == {"artifacts": 1001, "bytes": 3 * 2**20, "points": 2000, "gone": 2}
    dry = Ledger(None, "c", {"dry_run": True})
    dry.record("run", "copied", "a")
    assert "Carried" not in dry.summary()


def test_summary_says_which_option_skipped_how_many_and_what_is_known_before():
    ledger = Ledger(None, "c", {"dry_run": True})
    ledger.note("rights are not known")
    for _ in range(3):
        ledger.record("run", "skipped", "a", reason="--filter")
    lines = ledger.summary().splitlines()
    assert "would be done" in lines[0]
    assert lines[1] == "Note: rights are not known"
    assert "  3 run: --filter" in lines


def test_stopped_work_is_bad():
    ledger = Ledger(None, "c", {})
    ledger.record("run", "copied", "a")
    ledger.stop(Unavailable("the server is gone"))
    assert ledger.exit_status == 1
    assert "Stopped early: the server is gone. Repeat" in ledger.summary()
    ledger.expect("run", 3)
    assert "Stopped early: the server is gone. Not done: 2 run. Repeat" in ledger.summary()
    assert "reconcile" not in ledger.summary()


def test_what_leaves_the_block_is_in_the_end_line(tmp_path):
    with pytest.raises(Unavailable), Ledger(LocalDir(tmp_path), "c", {}) as ledger:
        ledger.record("run", "copied", "a")
        raise Unavailable("the server is gone")
    assert (lines_of(tmp_path)[-1]["stopped"], lines_of(tmp_path)[-1]["exit_status"]) == ("the server is gone", 1)


def test_work_that_is_stopped_before_its_first_object_had_begun():
    ledger = Ledger(None, "c", {})
    ledger.stop(Unavailable("the server is gone"))
    assert not ledger.begun
    ledger.stop(Stopped("--fail-fast"))
    assert ledger.begun


@pytest.fixture
def full(monkeypatch):
    """Lets a disk get full: gives a list with how many bytes it still takes."""
    room = []

    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, data):
            if not room:
                return self._file.write(data)
            if not room[0]:
                raise OSError(28, "No space left on device")
            taken = data[: room[0]]
            room[0] -= len(taken)
            return self._file.write(taken)

    opened = append_log._open
    monkeypatch.setattr(append_log, "_open", lambda path: Full(opened(path)))
    return room


def test_a_full_disk_ends_the_work_and_spoils_no_line(tmp_path, full):
    ledger = Ledger(LocalDir(tmp_path), "c", {})
    full.append(100)
    ledger.record("run", "copied", "a")
    with pytest.raises(Stopped, match="No space left on device: .*/ledger.jsonl"):
        ledger.record("run", "copied", "b" * 100)
    full.clear()
    ledger.record("run", "copied", "c")
    assert [line.get("src_id") for line in lines_of(tmp_path)] == [None, "a", "c"]
    assert ledger.counts == {"run": {"copied": 3}}
    full.append(0)
    assert ledger.exit_status == 0
    ledger.close()
    assert ledger.exit_status == 1
    assert "No space left on device" in ledger.summary()


def test_a_disk_that_is_full_before_anything_is_done(tmp_path, full):
    full.append(0)
    with pytest.raises(BadInput, match="can't be written in .*: No space left on device"):
        Ledger(LocalDir(tmp_path), "c", {})


def test_threads_write_whole_lines(tmp_path):
    with Ledger(LocalDir(tmp_path), "c", {}) as ledger:

        def work():
            for at in range(200):
                ledger.record("run", "copied", str(at), value="x" * 500)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum("kind" in line for line in lines_of(tmp_path)) == 1600
    assert ledger.counts == {"run": {"copied": 1600}}


def test_ten_thousand_unchanged_lines_are_cheap(tmp_path):
    ledger = Ledger(LocalDir(tmp_path), "c", {})
    start = time.process_time()
    for at in range(10_000):
        ledger.record("run", "unchanged", str(at))
    assert time.process_time() - start < 0.6
    ledger.close()
