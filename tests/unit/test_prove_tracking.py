"""How fast `make prove-tracking` demands the commands to be."""

from __future__ import annotations

import pytest

from benchmarks.bench import Cost, Row
from benchmarks.prove_tracking import speed_verdict


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
