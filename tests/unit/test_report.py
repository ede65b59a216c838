"""report.html and report.json: what they say of a ledger, whoever wrote it, and that they never hide a result."""

import json
import logging
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from mlflow_migration.client.errors import BadInput, Unavailable
from mlflow_migration.common import ledger as ledger_module
from mlflow_migration.common import report
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.make_report import main
from mlflow_migration.common.report_page import page
from mlflow_migration.common.session import run_command

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e"
MINUTE = "2026-01-01T00:0{}:00.000+00:00"


@pytest.fixture
def planted(tmp_path):
    """Writes lines to a ledger and gives the facts of its report; texts are written as they are."""

    def plant(*lines):
        text = "".join(
            (line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))) + "\n" for line in lines
        )
        with open(tmp_path / "ledger.jsonl", "a", encoding="utf-8") as file:
            file.write(text)
        return report.read_report(ExportDir(str(tmp_path)))

    return plant


def start(minute=0, **more):
    return {"event": "start", "time": MINUTE.format(minute), "command": "import-run", "version": "1.0.0", **more}


def end(minute=3, status=0, **more):
    return {"event": "end", "time": MINUTE.format(minute), "command": "import-run", "exit_status": status, **more}


def run(status, name="n", **more):
    return {"kind": "run", "status": status, "src_id": "a", "name": name, **more}


class Page(HTMLParser):
    """The texts of a page's cells, its tags, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.loads, self.scripts = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for key, value in attrs if key in ("src", "href", "srcset", "action")]
        assert not [key for key, _ in attrs if key.startswith("on")]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "td":
            self.cells.append(data)


def test_facts_of_a_command(planted):
    facts = planted(
        start(options={"experiment_name": "e", "dry_run": False}),
        {"event": "server", "action": "write", "uri": "http://b"},
        {"event": "note", "text": "rights are not known"},
        {"event": "phase", "time": MINUTE.format(1), "name": "importing"},
        run("copied"),
        run("failed", reason="refused"),
        run("incomplete", losses=["artifacts"], dst_id="b"),
        run("copied", losses=["values"], accepted=True),
        {"kind": "artifact", "status": "skipped", "src_id": "a/x", "reason": "--max-artifact-size", "size": 7},
        {"kind": "artifact", "status": "skipped", "src_id": "a/y", "reason": "--max-artifact-size", "size": 5},
        {"event": "progress", "time": MINUTE.format(2), "done": {"run": 60}, "carried": {"bytes": 600}},
        end(
            3, 1, counts={"run": {"copied": 60}}, found={"run": 5}, carried={"bytes": 1200, "points": 9, "artifacts": 2}
        ),
    )
    assert (facts["outcome"], facts["exit_status"], facts["seconds"]) == ("not whole", 1, 180)
    assert facts["sentence"] == "Not all is well: of 6 objects, 1 failed and 1 is incomplete."
    assert (facts["servers"], facts["notes"]) == ({"write": "http://b"}, ["rights are not known"])
    assert facts["counts"] == {"artifact": {"skipped": 2}, "run": {"copied": 2, "incomplete": 1, "failed": 1}}
    assert (facts["found"], facts["carried"]["bytes"]) == ({"run": 5}, 1200)
    assert facts["phases"] == [{"name": "starting", "seconds": 60}, {"name": "importing", "seconds": 120}]
    assert facts["skipped"] == [{"kind": "artifact", "reason": "--max-artifact-size", "objects": 2, "bytes": 12}]
    assert facts["losses"] == [
        {"loss": "artifacts", "kind": "run", "objects": 1, "accepted": 0},
        {"loss": "values", "kind": "run", "objects": 0, "accepted": 1},
    ]
    failed, incomplete, *skipped = facts["objects"]
    assert failed == {"kind": "run", "status": "failed", "name": "n", "src_id": "a", "reason": "refused"}
    assert (incomplete["losses"], incomplete["dst_id"], skipped[1]["size"]) == (["artifacts"], "b", 5)
    # in all as much as was carried, at the times when it was
    rates = facts["throughput"]
    width = rates[0]["until"]
    assert (len(rates), rates[-1]["until"]) == (60, 180)
    assert [sum(step[key] for step in rates) * width for key in ("objects", "bytes", "points")] == pytest.approx(
        [60, 1200, 9], rel=0.01
    )
    assert (rates[0]["bytes"], rates[0]["points"], rates[-1]["objects"]) == (5, 0, 0)


@pytest.mark.parametrize(
    ("lines", "outcome", "sentence", "remedy"),
    [
        (
            [run("copied"), run("differs"), end()],
            "whole",
            "nothing is missing of 2 .* 1 had been changed",
            "Nothing is",
        ),
        ([end(status=2, stopped="no such server")], "not started", "could not start, .*: no such server.$", "Mend"),
        ([run("copied"), end(status=1, stopped="interrupted")], "stopped", "after 1 object: interrupted", "Repeat the"),
        ([run("copied")], "not ended", "not come to its end; so far there are 1 object", "If it was killed"),
        (
            [end(status=1, unreconciled=["run: 3 expected"])],
            "not whole",
            "some are not accounted",
            "Look at the reasons",
        ),
    ],
)
def test_what_it_says_first(planted, lines, outcome, sentence, remedy):
    facts = planted(start(), *lines)
    assert facts["outcome"] == outcome
    assert re.search(sentence, facts["sentence"])
    assert remedy in facts["what_to_do"]
    assert facts["sentence"] in page(facts)
    assert ("run: 3 expected" in page(facts)) == bool(facts["unreconciled"])


def test_it_is_about_the_last_command_and_names_those_before(planted):
    for minute in range(5):
        planted(start(minute), run("failed"), end(minute, 1, counts={"run": {"failed": 3}}))
    killed = [planted(start(6), run("failed")) for _ in range(20)]
    assert killed[0]["outcome"] == "not ended"
    facts = planted(start(8), run("copied"), end(9))
    assert (facts["outcome"], facts["counts"], facts["start"]) == ("whole", {"run": {"copied": 1}}, MINUTE.format(8))
    assert (len(facts["earlier"]), facts["earlier_left_out"]) == (20, 5)
    assert {(one["outcome"], one["end"]) for one in facts["earlier"]} == {("not ended", None)}
    assert killed[0]["earlier"][0]["objects"] == 3


def test_a_broken_or_hostile_ledger_breaks_nothing(planted, tmp_path):
    with pytest.raises(BadInput, match="no start of a command"):
        planted("{half")
    odd = [
        [],
        "x",
        {},
        {"event": []},
        {"kind": "run", "status": "lost"},
        {"kind": "run", "status": ["failed"]},
        {"a": 1},
    ]
    facts = planted(
        start(options=[1]), "{half", "[1]", '{"kind":"run","status":"failed","name":"\\ud800"}', *odd,
        {"kind": ["x"], "status": "failed", "losses": {"a": 1}, "size": -1, "name": {"deep": [1]}, "reason": 7},
        {"event": "progress", "time": "never", "done": [1], "carried": {"bytes": "many"}, "found": {"run": True}},
        {"event": "phase", "time": 5, "name": None}, {"event": "server"}, {"event": "note"},
        end(0, {"a": 1}, counts={"run": 7}, stopped=[1], unreconciled=5),
    )  # fmt: skip
    assert facts["counts"] == {"['x']": {"failed": 1}, "run": {"failed": 1}}
    assert facts["unreadable_lines"] == 8
    report.write_report(ExportDir(str(tmp_path)))
    assert "8 lines of the ledger" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_names_of_servers_are_text(planted, tmp_path):
    evil = dict.fromkeys(("kind", "src_id", "dst_id", "name", "reason"), EVIL)
    planted(
        start(command=EVIL),
        end(1, EVIL),
        start(2, command=EVIL, version=EVIL, options={EVIL: EVIL}),
        {"event": "server", "action": "read", "uri": EVIL},
        {"event": "note", "text": EVIL},
        {"event": "phase", "time": MINUTE.format(3), "name": EVIL},
        *({"status": status, "losses": [EVIL], **evil} for status in ledger_module.STATUSES),
        end(4, EVIL, stopped=EVIL, found={EVIL: 1}, unreconciled=[EVIL], carried={"bytes": 1, "points": 3, EVIL: 1}),
    )
    report.write_report(ExportDir(str(tmp_path)))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    made = Page(text)
    assert made.tags.count("script") == 1 and "img" not in made.tags and made.loads == []
    assert len(made.cells) > 50 and text.count("&lt;script&gt;") > 25
    assert "\x1b" not in text and "\u202e" not in text
    assert "http" not in re.sub(r"http-equiv", "", text), "it names no place in the network"


def test_many_objects_are_counted_and_some_listed(planted, tmp_path):
    lines = [run("failed", f"f{n}", reason="r" * 5000) for n in range(1500)]
    lines += [run("skipped", reason=f"why {n}") for n in range(1500)] + [run("copied")] * 1000
    facts = planted(start(), *lines, end(3, 1))
    assert facts["counts"]["run"] == {"copied": 1000, "skipped": 1500, "failed": 1500}
    assert (facts["left_out"], len(facts["objects"])) == ({"failed": 500, "skipped": 500}, 2000)
    assert sum(group["objects"] for group in facts["skipped"]) == 1500
    report.write_report(ExportDir(str(tmp_path)))
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    assert "500 more failed are in ledger.jsonl only" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_flood_of_progress_needs_no_memory():
    taken = report._Run({"time": MINUTE.format(0)})
    for n in range(5000):
        time = f"2026-01-01T{1 + n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}.000+00:00"
        taken.take({"event": "progress", "time": time, "done": {"run": n}})
    assert len(taken.points) <= 400
    rates = taken.facts()["throughput"]
    assert sum(step["objects"] for step in rates) * rates[0]["until"] == pytest.approx(4999, rel=0.01)


def test_phases_and_progress_are_in_the_ledger(monkeypatch, tmp_path):
    clock = iter(range(0, 10**6, 2))
    monkeypatch.setattr(ledger_module.time, "monotonic", lambda: next(clock))
    with ledger_module.Ledger(ExportDir(str(tmp_path)), "c", {}) as ledger:
        for name in ("one", "one", "two"):
            ledger.phase(name)
        ledger.expect("run", 5000)
        for _ in range(5000):
            ledger.record("run", "copied", "a")
            ledger.add(bytes=2)
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    events = [line for line in lines if line.get("event") in ("phase", "progress")]
    assert [line["name"] for line in events[:2]] == ["one", "two"]
    assert {key: events[2][key] for key in ("found", "done")} == {"found": {"run": 5000}, "done": {"run": 1}}
    assert events[-1]["carried"]["bytes"] > 9000
    assert 200 < len(events) < 800, "ever more seldom"
    assert lines[-1]["found"] == {"run": 5000}


# ---- written when a command ends


def options(**more):
    return {"quiet": True, "workers": 1, **more}


@pytest.mark.parametrize("ending", ["well", "failed", "stopped", "interrupted", "dry"])
def test_a_command_writes_it_however_it_ends(tmp_path, capsys, ending):
    def work(job):
        job.ledger.expect("run", 1)
        job.ledger.record(
            "run", "failed" if ending == "failed" else "copied", "a", reason="http://me:hush@host said no"
        )
        if ending == "stopped":
            raise Unavailable("the server is gone")
        if ending == "interrupted":
            raise KeyboardInterrupt

    def command():
        return run_command("c", options(dry_run=ending == "dry"), ExportDir(str(tmp_path)), "runs", work)

    if ending == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            command()
    else:
        assert command() == (0 if ending in ("well", "dry") else 1)
    printed = capsys.readouterr().out
    assert f"Report: {tmp_path}/report.html\nDetails" in printed or ending == "dry"
    if ending == "dry":
        assert os.listdir(tmp_path) == []
        return
    assert sorted(os.listdir(tmp_path)) == ["ledger.jsonl", *report.REPORT_FILES]
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["outcome"] == {"well": "whole", "failed": "not whole"}.get(ending, "stopped")
    assert "hush" not in (tmp_path / "report.html").read_text() + (tmp_path / "report.json").read_text()


def test_a_command_that_cannot_start_leaves_no_new_directory_and_tells_in_an_old_one(tmp_path):
    def work(job):
        raise BadInput("no such experiment")

    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with pytest.raises(BadInput, match="no such experiment"):
            run_command("c", options(), ExportDir(str(tmp_path / name)), "runs", work)
    assert os.listdir(tmp_path) == ["old"]
    assert json.loads((tmp_path / "old" / "report.json").read_text())["outcome"] == "not started"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ZeroDivisionError("a mistake of ours")])
def test_what_hinders_the_report_hides_nothing(tmp_path, monkeypatch, capsys, caplog, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(ExportDir, "write_json", refuse)
    caplog.set_level(logging.WARNING)
    work = lambda job: job.ledger.record("run", "failed", "a", reason="refused")  # noqa: E731
    assert run_command("c", options(), ExportDir(str(tmp_path)), "runs", work) == 1
    printed = capsys.readouterr().out
    assert "run a: failed: refused" in printed and "Report:" not in printed
    assert str(error.args[-1]) in caplog.text and "The report is not written" in caplog.text


def test_make_report(planted, tmp_path, monkeypatch):
    planted(start(), run("copied"))
    done = CliRunner().invoke(main, ["--report-dir", str(tmp_path), "--quiet"])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/report.html\n")
    assert json.loads((tmp_path / "report.json").read_text())["outcome"] == "not ended"
    done = CliRunner().invoke(main, ["--report-dir", str(tmp_path / "none")])
    assert done.exit_code == 2 and "name its directory by --report-dir" in done.output
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["--quiet"])
    assert done.exit_code == 2 and "There is no ledger.jsonl in mlflow-migration-report" in done.output
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.json").mkdir()
    done = CliRunner().invoke(main, ["--report-dir", str(tmp_path)])
    assert done.exit_code == 2 and "The report can't be written in" in done.output


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_in_a_browser(planted, tmp_path):
    """The page's own script runs, no other does, and it searches and sorts."""
    facts = planted(start(), run("failed", EVIL, reason="10"), run("failed", "two", reason="9"), end(3, 1))
    probe = """
      const input = document.querySelector("input[type=search]");
      input.value = "TWO"; input.dispatchEvent(new Event("input"));
      const rows = () => [...document.querySelector("table.search-me").tBodies[0].rows];
      const shown = rows().filter((row) => !row.hidden).length;
      document.querySelectorAll("table.search-me th button")[3].click();
      document.title = "shown " + shown + ", first " + rows()[0].cells[3].textContent + ", was " + document.title;
    """
    text = page(facts)
    # a browser refuses scripts that the page does not name, so the probe goes into the one that it does
    script = re.search("<script>(.*)</script>", text, re.DOTALL)[1]
    for name, changed in (("as_it_is", text), ("probed", re.sub("<meta http-equiv[^>]*>", "", text))):
        tail = f"<script>{probe}</script></body>" if name == "probed" else "</body>"
        (tmp_path / f"{name}.html").write_text(changed.replace("</body>", tail), encoding="utf-8")
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
             "--dump-dom", f"file://{tmp_path}/{name}.html"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        title = re.search("<title>(.*)</title>", done.stdout)[1]
        if name == "as_it_is":
            assert title == "import-run 2026-01-01 00:00:00 UTC"
            assert done.stdout.count('class="search"') == 1, f"refused: {script[:50]}"
        else:
            assert title.startswith("shown 1, first 9, was import-run"), done.stdout[-500:]


def test_the_workspace_of_an_object_is_shown(planted):
    facts = planted(start(), run("failed", workspace="team-a"), run("failed"), end(status=1))
    assert [row.get("workspace") for row in facts["objects"]] == ["team-a", None]
    assert "team-a" in Page(page(facts)).cells and ">workspace<" in page(facts)
    facts = planted(start(5), run("failed"), end(6, status=1))
    assert ">workspace<" not in page(facts)
