"""What an import keeps in memory of the runs that are there."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

from mlflow_migration.common.id_map import IdMap
from mlflow_migration.run.run_importer import ImportSettings, RunImporter


def test_runs_with_long_tags_take_little_memory() -> None:
    """20 KB of tags a run, as notes and configurations have them."""
    importer = RunImporter(_any(), _any(), ImportSettings(), "1", IdMap(None, "http://dst"), _any())
    tracemalloc.start()
    try:
        for number in range(1000):
            text = " ".join(f"parameter_{number}_{i} = {i * 7919 % 1000}" for i in range(200))
            tags = [{"key": f"note{i}", "value": f"{i} {text}"[:4900]} for i in range(4)]
            importer.remember({"info": {"run_id": f"{number:032x}"}, "data": {"tags": tags}})
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 10e6


def _any() -> Any:
    return SimpleNamespace()
