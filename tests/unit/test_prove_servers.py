"""What `make prove-servers` demands: its verdicts, from planted figures."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from benchmarks.migrations import ended_otherwise, found_differences
from benchmarks.prove_servers import other_than, scale_verdict
from tests.support.make_server import KINDS, ServerSize

THERE = dict.fromkeys(KINDS, 3)


def document(**changes: Any) -> Dict[str, Any]:
    """The report of a verification that found all the same."""
    counts = {kind: {"same": 3, "missing": 0, "extra": 0, "differs": 0, "error": 0} for kind in KINDS}
    return {"counts": counts, "compared": {"hashed": 9, "points": 9}, "not_the_same": [], **changes}


def test_nothing_found() -> None:
    """All that is there was compared, at full depth."""
    assert found_differences(document(), THERE) == []


@pytest.mark.parametrize("kind", KINDS)
def test_not_all_was_compared(kind: str) -> None:
    """A kind of which there is nothing, or of which something was not compared, passes nothing."""
    assert found_differences(document(), {**THERE, kind: 4}) != []
    assert found_differences(document(), {**THERE, kind: 0}) != []
    none = document()
    del none["counts"][kind]
    assert found_differences(none, THERE) != []


@pytest.mark.parametrize("amount", ["hashed", "points"])
def test_not_at_full_depth(amount: str) -> None:
    """Neither bytes nor points may be left out."""
    assert found_differences(document(compared={"hashed": 9, "points": 9, amount: 0}), THERE) != []


def test_something_is_different() -> None:
    """A difference is found; what the destination has more is counted, not listed."""
    line = {"kind": "run", "result": "differs", "src_id": "a"}
    assert found_differences(document(not_the_same=[line]), THERE) == [
        '{"kind": "run", "result": "differs", "src_id": "a"}'
    ]
    more = document(not_the_same=[{"kind": "run", "result": "extra", "dst_id": "a"}])
    more["counts"]["run"]["extra"] = 1
    assert found_differences(more, THERE, extra=1) == []
    assert found_differences(more, THERE) == ["1 extra objects at the destination instead of 0"]
    assert found_differences(document(), THERE, extra=1) != []


def test_how_objects_ended() -> None:
    """Each kind is in the summary, and no object has another status."""
    counts = {kind: {"copied": 3} for kind in KINDS}
    assert ended_otherwise(counts, "copied", "unchanged") == []
    assert ended_otherwise({**counts, "run": {"copied": 2, "incomplete": 1}}, "copied") == ["1 runs are incomplete"]
    del counts["prompt"]
    assert ended_otherwise(counts, "copied") == ["no prompt is in the summary"]


def test_exactly_the_unreadable() -> None:
    """Neither more nor fewer objects and artifacts may be named."""
    chosen = [("run", "a", "root", "x.txt"), ("run", "a", "root", "y.txt"), ("logged_model", "m", "root", "z")]
    lines = [
        {"kind": "run", "src_id": "a", "differences": [{"field": "artifact:x.txt"}, {"field": "artifact:y.txt"}]},
        {"kind": "logged_model", "src_id": "m", "differences": [{"field": "artifact:z"}]},
    ]
    assert other_than(document(not_the_same=lines), chosen) == []
    assert len(other_than(document(not_the_same=lines[:1]), chosen)) == 1
    assert len(other_than(document(not_the_same=lines), chosen[1:])) == 1


@pytest.mark.parametrize(
    ("time", "memory", "good"), [(1.2, 150.0, True), (1.21, 100.0, False), (0.5, 150.1, False), (1.0, 0.0, False)]
)
def test_scale(time: float, memory: float, good: bool) -> None:
    """Time and memory each decide; no figure is no proof."""
    verdict, text = scale_verdict({1_000: 2.0, 10_000: 2.0 * time}, {1_000: 100.0, 10_000: memory})
    assert verdict is good
    assert f"{time:.2f} times as long a run" in text


def test_versions_of_a_size() -> None:
    """As many as the proof states."""
    assert ServerSize(experiments=1, runs=1, models=40, prompts=1).versions == 200
    assert ServerSize(experiments=1, runs=1, models=12, prompts=1).versions == 60
