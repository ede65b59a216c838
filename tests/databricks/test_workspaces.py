"""What runs against any two workspaces: stand-ins, or real ones. See README.md here."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest

from tests.databricks.notebook_runner import Runner
from tests.databricks.sides import VARIABLES, Experiment, Side, experiment_file, real_profiles

Sides = Tuple[Side, Side]


@pytest.fixture(scope="module")
def wine(sides: Sides) -> Experiment:
    """An experiment of the source with two runs."""
    made = Experiment(sides[0], f"wine {uuid.uuid4().hex[:8]}")
    for name in ("first", "second"):
        made.run(name, color=name)
    return made


def test_export_by_script(wine: Experiment, sides: Sides, run_script: Callable[..., Any], tmp_path: Path) -> None:
    command = ("export-experiment", "--tracking-uri", sides[0].uri, "--experiment", wine.name)
    run_script(*command, "--output-dir", tmp_path / "export", env=sides[0].env)
    exported = experiment_file(tmp_path / "export")
    assert exported["experiment"]["name"] == wine.name
    assert sorted(exported["runs"]) == sorted(run["info"]["run_id"] for run in wine.runs())
    for run_id in exported["runs"]:
        run = json.loads((tmp_path / "export" / run_id / "run.json").read_text(encoding="utf-8"))["mlflow"]
        assert [point["step"] for point in run["metrics"]["m"]] == [1, 2]
        assert run["params"]["color"] == run["info"]["run_name"]


def test_export_by_notebook(wine: Experiment, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the workspace of the destination a notebook finds nothing of the source."""
    monkeypatch.chdir(tmp_path)
    for name, value in sides[0].env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sides[0].uri)
    widgets: Dict[str, str] = {"1. Experiments": wine.name, "2. Output directory": str(tmp_path / "export")}
    assert len(Runner("bulk/Export_Experiments", widgets).run().pages) == 1
    assert len(experiment_file(tmp_path / "export" / wine.id)["runs"]) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sides[1].uri)
    with pytest.raises(Exception, match="no experiment|not whole|Not all is well"):
        Runner("bulk/Export_Experiments", {**widgets, "2. Output directory": str(tmp_path / "none")}).run()


def test_both_profiles_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert real_profiles() == []
    monkeypatch.setenv(VARIABLES[0], "A")
    with pytest.raises(pytest.UsageError, match=VARIABLES[1]):
        real_profiles()
    monkeypatch.setenv(VARIABLES[1], " B ")
    assert real_profiles() == ["A", "B"]
