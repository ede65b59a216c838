"""An import that is killed at any point and repeated leaves no difference and no doubles."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from benchmarks.make_data import make_everything
from tests.support.kills import Kills
from tests.support.moves import Moves


@pytest.fixture
def kills(moves: Moves, experiment_name: str, tmp_path: Path) -> Iterator[Kills]:
    """Kills imports of the experiment with everything."""
    make_everything(moves.src.uri, experiment_name, deleted_models=True)
    directory = moves.export(experiment_name, "--export-deleted-runs")
    yield Kills((moves.src.uri, experiment_name), directory, moves.dst.uri, tmp_path / "reports")


@pytest.mark.slow
def test_killed_anywhere(kills: Kills) -> None:
    """Right after each kind of write that most matters, before its reply; `make prove-tracking` has all and more."""
    kinds = {"create", "log-batch", "log-inputs", "outputs", "update", "logged-models", "params", "set-tag"}
    moments = [moment for moment in kills.moments(12) if moment.path.rpartition("/")[2] in kinds]
    assert {moment.path.rpartition("/")[2] for moment in moments} == kinds
    wrong = {str(moment): found for moment in moments for found in [kills.kill_and_repeat(moment)] if found}
    assert not wrong
