"""The report of an import that is not whole: what failed, lacks something or was left out is in both files."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from tests.support.moves import Moves
from tests.support.reports import ledger

EVIL = "<img src=x onerror=alert(1)>"
PARAM = "p" * 7000


def _write_run(root: Path, run_id: str, name: str, **more: object) -> None:
    info = {"run_id": run_id, "run_name": name, "status": "FINISHED", "start_time": 1000, "end_time": 2000}
    (root / run_id).mkdir()
    (root / run_id / "run.json").write_text(json.dumps({"mlflow": {"info": info, **more}}))


def test_report_of_an_import(moves: Moves, experiment_name: str) -> None:
    root = moves.home / "export"
    whole, lacking, broken = ("1" * 32, "2" * 32, "3" * 32)
    root.mkdir()
    _write_run(root, whole, "whole", params={"p": "1"})
    _write_run(root, lacking, EVIL, params={"long": PARAM, "bad(key)": "1"})
    _write_run(root, broken, "broken")
    (root / broken / "run.json").write_text("{")
    body = {"experiment": {"experiment_id": "7", "name": "e"}, "runs": [whole, lacking, broken]}
    (root / "experiment.json").write_text(json.dumps({"mlflow": body}))
    counts = moves.load(experiment_name, status=1)
    facts = json.loads((moves.report / "report.json").read_text(encoding="utf-8"))
    page = (moves.report / "report.html").read_text(encoding="utf-8")
    assert facts["counts"] == counts and counts["run"] == {"copied": 1, "incomplete": 1, "failed": 1}
    assert (facts["exit_status"], facts["outcome"], facts["servers"]) == (1, "not whole", {"write": moves.dst.uri})
    assert "1 failed and" in facts["sentence"] and facts["sentence"] in page
    listed = [line for line in ledger(moves.report) if line["status"] in ("failed", "incomplete", "skipped")]
    assert {line["status"] for line in listed} == {"failed", "incomplete", "skipped"}
    wanted = {(line["status"], line["kind"], line["src_id"], line.get("reason", "")) for line in listed}
    found = {(row["status"], row["kind"], row["src_id"], row.get("reason", "")) for row in facts["objects"]}
    assert found == wanted
    for _, kind, src_id, reason in wanted:
        assert all(f">{escape(text)}" in page for text in (kind.replace("_", " "), src_id, reason))
    assert {phase["name"] for phase in facts["phases"]} >= {"reading what is there", "importing runs and logged models"}
    assert EVIL not in page and escape(EVIL) in page and PARAM[:500] not in page
    # what a killed command leaves
    lines = (moves.report / "ledger.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (moves.report / "ledger.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    done = moves.script("make-report", "--report-dir", moves.report)
    assert done.stdout == f"{moves.report}/report.html\n"
    killed = json.loads((moves.report / "report.json").read_text(encoding="utf-8"))
    assert (killed["outcome"], killed["objects"]) == ("not ended", facts["objects"])
