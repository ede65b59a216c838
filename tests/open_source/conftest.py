"""Fixtures of tests that move things between two servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support.moves import Moves, Source
from tests.support.servers import Server


@pytest.fixture
def moves(run_script: Callable[..., Any], src_server: Server, dst_server: Server, tmp_path: Path) -> Moves:
    """Moves things between the two shared servers."""
    return Moves(run_script, src_server, dst_server, tmp_path)


@pytest.fixture
def source(src_server: Server, experiment_name: str) -> Source:
    """A new experiment on the source's server."""
    return Source(src_server, experiment_name)
