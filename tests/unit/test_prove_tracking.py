"""What `make prove-tracking` keeps, demands, prints and returns; its points are planted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from benchmarks import prove_tracking
from benchmarks.bench import Cost, Row
from benchmarks.prove_tracking import main, speed_verdict

PACKAGE = "mlflow_migration"


class Plan:
    """Points that say what the test wants, and which of them were done."""

    def __init__(self) -> None:
        """One point that holds, one that does not."""
        self.verdicts: Dict[str, object] = {"first point": (True, "7 of 7"), "second point": (False, "3 of 7")}
        self.done: List[str] = []

    def point(self, name: str) -> Callable[[], object]:
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
    made = Plan()
    points = [(name, 60, made.point(name)) for name in made.verdicts]
    monkeypatch.setattr(prove_tracking, "POINTS", points)
    monkeypatch.setattr(prove_tracking, "PROJECT", tmp_path)
    monkeypatch.setattr(prove_tracking, "STATE", tmp_path / ".bench" / "state.json")
    (tmp_path / PACKAGE / "client").mkdir(parents=True)
    (tmp_path / PACKAGE / "client" / "code.py").write_text("one = 1\n")
    return made


def passed() -> List[str]:
    return list(json.loads(prove_tracking.STATE.read_text())["passed"])


def test_each_point_prints_its_figures(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """PASS or FAIL, and the status says whether all have passed."""
    assert main([]) == 1
    printed = capsys.readouterr().out
    assert "PASS  first point: 7 of 7" in printed
    assert "FAIL  second point: 3 of 7" in printed
    assert printed.endswith("1 failed\n")
    plan.verdicts["second point"] = (True, "7 of 7")
    assert main([]) == 0
    assert capsys.readouterr().out.endswith("all passed\n")


def test_what_has_passed_is_not_done_again(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """What has failed is, and with --again everything."""
    main([])
    plan.done.clear()
    assert main([]) == 1
    assert plan.done == ["second point"]
    assert "PASS  first point (earlier): 7 of 7" in capsys.readouterr().out
    plan.done.clear()
    main(["--again"])
    assert plan.done == ["first point", "second point"]


@pytest.mark.parametrize("change", ["other text", "new file", "other name"])
def test_a_change_of_the_package_voids_what_has_passed(plan: Plan, tmp_path: Path, change: str) -> None:
    """Whatever changes: a text, a name, or that a file is there."""
    main([])
    code = tmp_path / PACKAGE / "client" / "code.py"
    if change == "other text":
        code.write_text("one = 2\n")
    elif change == "new file":
        (code.parent / "more.py").write_text("")
    else:
        code.rename(code.with_name("renamed.py"))
    plan.done.clear()
    main([])
    assert plan.done == ["first point", "second point"]


def test_only_some_points(plan: Plan) -> None:
    """Their verdicts alone make the status; the others keep theirs."""
    main([])
    plan.done.clear()
    assert main(["--only", "first", "--again"]) == 0
    assert plan.done == ["first point"]
    assert main(["--only", "second"]) == 1
    assert plan.done == ["first point", "second point"]
    plan.verdicts["second point"] = (True, "7 of 7")
    main(["--only", "second"])
    plan.verdicts["first point"] = (False, "6 of 7")
    assert main(["--only", "first", "--again"]) == 1
    assert passed() == ["second point"]


def test_a_package_that_changes_meanwhile_has_not_passed(plan: Plan, tmp_path: Path) -> None:
    """Nobody knows with which of both a point was done."""
    plan.verdicts["second point"] = (True, "7 of 7")
    first, (name, seconds, second) = prove_tracking.POINTS

    def change() -> object:
        (tmp_path / PACKAGE / "client" / "code.py").write_text("one = 2\n")
        return second()

    prove_tracking.POINTS[:] = [first, (name, seconds, change)]
    assert main([]) == 0
    plan.done.clear()
    main([])
    assert plan.done == ["first point", "second point"]


def test_a_point_that_breaks_off_has_failed(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an error or because it takes too long; the others are done."""
    plan.verdicts["first point"] = RuntimeError("export-experiment ended with 1")
    plan.verdicts["second point"] = (True, "7 of 7")
    slow = ("slow point", 1, lambda: time.sleep(30))
    monkeypatch.setattr(prove_tracking, "POINTS", [slow, *prove_tracking.POINTS])
    assert main([]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  slow point: it took more than 1 s" in printed
    assert "FAIL  first point: export-experiment ended with 1" in printed
    assert "PASS  second point" in printed
    assert passed() == ["second point"]


def test_a_broken_state_is_none(plan: Plan) -> None:
    """It may have been cut by a full disk."""
    main([])
    prove_tracking.STATE.write_text('{"package": ')
    plan.done.clear()
    main([])
    assert plan.done == ["first point", "second point"]


@pytest.mark.parametrize(
    ("work", "workers", "ratio", "faster", "good"),
    [
        ("export", 1, 1.5, 20, True),
        ("export", 1, 1.51, 20, False),
        ("export", 1, 1.5, 19.9, False),
        ("export", 4, 1.5, 5, True),
        ("export", 4, 1.51, 20, False),
        ("import", 1, 1.5, 10, True),
        ("import", 1, 1.51, 10, False),
        ("import", 1, 1.5, 9.9, False),
        ("import", 4, 1.5, 5, True),
    ],
)
def test_speed(work: str, workers: int, ratio: float, faster: float, good: bool) -> None:
    """What is demanded, and that the text says what is not."""
    cost = Cost(1.0, 1)
    made = [Row(work, cost, ratio=ratio), Row(f"{work}, nothing changed", cost, faster=faster)]
    verdict, text = speed_verdict({row.work: row for row in made}, work, workers)
    assert verdict is good
    assert (f"at least {20 if work == 'export' else 10}" in text) is (workers == 1)
    assert ("not demanded" in text) is (workers > 1)
    assert f"{ratio:.2f} times the ceiling" in text and f"{faster:.1f} times faster" in text
