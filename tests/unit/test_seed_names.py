"""What the README of the earlier tool names exists here too, but for a written list that shrinks with each version.

The Databricks variables and profiles that it names are held by test_credentials.py.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from mlflow_migration.common.umbrella import COMMANDS, load

ROOT = Path(__file__).resolve().parents[2]

FILES = [
    "README.md",
    "export_format.md",
    "images/architecture.png",
    "governance.md",
    "single.md",
    "bulk.md",
    "copy.md",
    "limitations.md",
    "options.md",
    "tools.md",
    "setup.py",
    "mlflow_migration/common/default_logging_config.py",
    "tests/README.md",
    "tests/open_source/README.md",
    "tests/databricks/README.md",
    "databricks_notebooks/README.md",
    "mlflow_migration/workflow_api/README.md",
]
COMMAND_NAMES = [
    # named
    "export-experiment",
    "import-experiment",
    # what the tools that it describes are called
    "export-run",
    "import-run",
    "copy-run",
    "http-client",
    "export-model",
    "import-model",
    "export-model-version",
    "import-model-version",
    "copy-model-version",
    "export-all",
    "import-all",
]
OPTIONS = [
    "export-experiment --experiment",
    "export-experiment --output-dir",
    "export-experiment --use-threads",
    "import-experiment --experiment-name",
    "import-experiment --input-dir",
]
MODULES = ["mlflow_migration.experiment.export_experiment"]
LOG_VARIABLES = ["LOG_OUTPUT_FILE", "LOG_FORMAT", "LOG_CONFIG_FILE"]


def _not_yet() -> Dict[str, str]:
    lines = (ROOT / "tests" / "seed_not_yet.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.partition(": ") for line in lines if line.strip() and not line.startswith("#")]
    return {name: reason for name, _, reason in entries}


def _exists(kind: str, name: str) -> bool:
    if kind == "file":
        return (ROOT / name).is_file()
    if kind == "command":
        return name in COMMANDS and _is_module(f"mlflow_migration.{COMMANDS[name].module}")
    if kind == "option":
        command, _, option = name.partition(" ")
        return command in COMMANDS and any(option in param.opts for param in load(command).params)
    return _is_module(name)


def _is_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


NAMES = (
    [f"file {name}" for name in FILES]
    + [f"command {name}" for name in COMMAND_NAMES]
    + [f"option {name}" for name in OPTIONS]
    + [f"module {name}" for name in MODULES]
)


@pytest.mark.parametrize("entry", NAMES)
def test_exists_or_is_listed(entry: str) -> None:
    there = _exists(*entry.split(" ", 1))
    listed = entry in _not_yet()
    assert there or listed, f"{entry} does not exist"
    assert not (there and listed), f"{entry} exists: take it out of tests/seed_not_yet.txt"


def test_list_has_only_known_names_with_reasons() -> None:
    for entry, reason in _not_yet().items():
        assert entry in NAMES
        assert reason


def _configure(tmp_path: Path, name: str, value: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: text for key, text in os.environ.items() if "MLFLOW_MIGRATION" not in key.upper()}
    code = "import logging\nfrom mlflow_migration.common import log\nlog.configure()\nlogging.warning('hello')"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("prefix", ["mlflow_migration_", "MLFLOW_MIGRATION_"])
def test_logging_variables(tmp_path: Path, prefix: str) -> None:
    assert LOG_VARIABLES == ["LOG_OUTPUT_FILE", "LOG_FORMAT", "LOG_CONFIG_FILE"]
    done = _configure(tmp_path, prefix + "LOG_OUTPUT_FILE", "out.log")
    assert "hello" in (tmp_path / "out.log").read_text(encoding="utf-8"), done.stderr
    done = _configure(tmp_path, prefix + "LOG_FORMAT", "%(threadName)s says %(message)s")
    assert "MainThread says hello" in done.stdout
    (tmp_path / "config.yaml").write_text(
        "version: 1\nformatters: {f: {format: 'mine: %(message)s'}}\n"
        "handlers: {h: {class: logging.StreamHandler, stream: 'ext://sys.stdout', formatter: f}}\n"
        "root: {handlers: [h]}\n",
        encoding="utf-8",
    )
    done = _configure(tmp_path, prefix + "LOG_CONFIG_FILE", "config.yaml")
    assert "mine: hello" in done.stdout


def test_tracking_uri_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow_migration.client.credentials import connect

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://seed.example:5000")
    assert connect(None).url == "http://seed.example:5000"


def test_wheel_name() -> None:
    import mlflow_migration

    wheel = f"dist/mlflow_migration-{mlflow_migration.__version__}-py3-none-any.whl"
    assert wheel in (ROOT / "README.md").read_text(encoding="utf-8")
