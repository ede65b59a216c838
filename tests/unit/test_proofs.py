"""What full-size proofs keep, print and return; their points are planted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from benchmarks import proofs
from benchmarks.proofs import Point, prove

PACKAGE = "mlflow_migration"


class Plan:
    """Points that say what the test wants, and which of them were done."""

    def __init__(self, state: Path) -> None:
        """One point that holds, one that does not."""
        self.state = state
        self.verdicts: Dict[str, object] = {"first point": (True, "7 of 7"), "second point": (False, "3 of 7")}
        self.done: List[str] = []
        self.points: List[Point] = [(name, 60, self.point(name)) for name in self.verdicts]

    def main(self, *args: str) -> int:
        return prove("planted", self.points, list(args))

    def passed(self) -> List[str]:
        return list(json.loads(self.state.read_text())["passed"])

    def point(self, name: str) -> Callable[[], Any]:
        def do() -> object:
            self.done.append(name)
            verdict = self.verdicts[name]
            if isinstance(verdict, Exception):
                raise verdict
            return verdict

        return do


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plan:
    """The planted points of a project that is only a package."""
    monkeypatch.setattr(proofs, "PROJECT", tmp_path)
    monkeypatch.setattr(proofs, "HOME", tmp_path / ".bench")
    made = Plan(tmp_path / ".bench" / "planted.json")
    (tmp_path / PACKAGE / "client").mkdir(parents=True)
    (tmp_path / PACKAGE / "client" / "code.py").write_text("one = 1\n")
    return made


def test_each_point_prints_its_figures(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """PASS or FAIL, and the status says whether all have passed."""
    assert plan.main() == 1
    printed = capsys.readouterr().out
    assert "PASS  first point: 7 of 7" in printed
    assert "FAIL  second point: 3 of 7" in printed
    assert printed.endswith("1 failed\n")
    plan.verdicts["second point"] = (True, "7 of 7")
    assert plan.main() == 0
    assert capsys.readouterr().out.endswith("all passed\n")


def test_what_has_passed_is_not_done_again(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """What has failed is, and with --again everything."""
    plan.main()
    plan.done.clear()
    assert plan.main() == 1
    assert plan.done == ["second point"]
    assert "PASS  first point (earlier): 7 of 7" in capsys.readouterr().out
    plan.done.clear()
    plan.main("--again")
    assert plan.done == ["first point", "second point"]


@pytest.mark.parametrize("change", ["other text", "new file", "other name"])
def test_a_change_of_the_package_voids_what_has_passed(plan: Plan, tmp_path: Path, change: str) -> None:
    """Whatever changes: a text, a name, or that a file is there."""
    plan.main()
    code = tmp_path / PACKAGE / "client" / "code.py"
    if change == "other text":
        code.write_text("one = 2\n")
    elif change == "new file":
        (code.parent / "more.py").write_text("")
    else:
        code.rename(code.with_name("renamed.py"))
    plan.done.clear()
    plan.main()
    assert plan.done == ["first point", "second point"]


def test_only_some_points(plan: Plan) -> None:
    """Their verdicts alone make the status; the others keep theirs."""
    plan.main()
    plan.done.clear()
    assert plan.main("--only", "first", "--again") == 0
    assert plan.done == ["first point"]
    assert plan.main("--only", "second") == 1
    assert plan.done == ["first point", "second point"]
    plan.verdicts["second point"] = (True, "7 of 7")
    plan.main("--only", "second")
    plan.verdicts["first point"] = (False, "6 of 7")
    assert plan.main("--only", "first", "--again") == 1
    assert plan.passed() == ["second point"]


def test_a_package_that_changes_meanwhile_has_not_passed(plan: Plan, tmp_path: Path) -> None:
    """Nobody knows with which of both a point was done."""
    plan.verdicts["second point"] = (True, "7 of 7")
    first, (name, seconds, second) = plan.points

    def change() -> object:
        (tmp_path / PACKAGE / "client" / "code.py").write_text("one = 2\n")
        return second()

    plan.points[:] = [first, (name, seconds, change)]
    assert plan.main() == 0
    plan.done.clear()
    plan.main()
    assert plan.done == ["first point", "second point"]


def test_a_point_that_breaks_off_has_failed(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """By an error or because it takes too long; the others are done."""
    plan.verdicts["first point"] = RuntimeError("export-experiment ended with 1")
    plan.verdicts["second point"] = (True, "7 of 7")
    slow = ("slow point", 1, lambda: time.sleep(30))
    plan.points.insert(0, slow)
    assert plan.main() == 1
    printed = capsys.readouterr().out
    assert "FAIL  slow point: it took more than 1 s" in printed
    assert "FAIL  first point: export-experiment ended with 1" in printed
    assert "PASS  second point" in printed
    assert plan.passed() == ["second point"]


def test_a_broken_state_is_none(plan: Plan) -> None:
    """It may have been cut by a full disk."""
    plan.main()
    plan.state.write_text('{"package": ')
    plan.done.clear()
    plan.main()
    assert plan.done == ["first point", "second point"]
