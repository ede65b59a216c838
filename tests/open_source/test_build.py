"""The wheel: what is in it, and that its scripts run where nothing but its own requirements is installed."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import List

import pytest

from mlflow_migration import __version__
from mlflow_migration.common.report_page import PAGE_FILES
from mlflow_migration.common.umbrella import COMMANDS
from tests.support.servers import PROJECT, clean_environment

WHEEL = f"mlflow_migration-{__version__}-py3-none-any.whl"
SCRIPTS = ["mlflow-migration", *COMMANDS]
HELP_SECONDS = 1.5  # of CPU, so that other tests beside it don't count
#: imports every module, prints their names
IMPORT_ALL = """
import logging, pkgutil, sys, threading
from importlib import import_module
before = (list(logging.root.handlers), logging.root.level, threading.active_count())
import mlflow_migration
for module in pkgutil.walk_packages(mlflow_migration.__path__, "mlflow_migration."):
    import_module(module.name)
    print(module.name)
assert (list(logging.root.handlers), logging.root.level, threading.active_count()) == before
assert "mlflow" not in sys.modules
"""


def _run(command: List[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of the project, so that building leaves nothing in it."""
    path = tmp_path_factory.mktemp("clone")
    if not (PROJECT / ".git").exists():
        pytest.skip(f"{PROJECT} is no git clone")
    done = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], PROJECT)
    for name in filter(None, done.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes((PROJECT / name).read_bytes())
    return path


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    """The wheel as the README says to build it."""
    done = _run([sys.executable, "setup.py", "-q", "bdist_wheel"], clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in (clone / "dist").iterdir()] == [WHEEL]
    return clone / "dist" / WHEEL


def test_wheel_holds_the_package_and_its_scripts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        info = f"mlflow_migration-{__version__}.dist-info"
        entry_points = configparser.ConfigParser()
        entry_points.read_string(file.read(f"{info}/entry_points.txt").decode())
        metadata = file.read(f"{info}/METADATA").decode()
    sources = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "mlflow_migration").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources
    assert {f"mlflow_migration/common/{name}" for name in PAGE_FILES} <= set(names)
    assert {name.split("/")[0] for name in names} == {"mlflow_migration", info}
    assert set(entry_points["console_scripts"]) == set(SCRIPTS)
    assert any("LICENSE" in name for name in names)
    assert "Requires-Python: >=3.8" in metadata and "\nName: mlflow-migration\n" in metadata
    assert "\n# MLflow Migration\n" in metadata


def test_build_makes_the_same_wheel(clone: Path, wheel: Path, tmp_path: Path) -> None:
    done = _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(clone)], clone)
    assert done.returncode == 0, done.stdout + done.stderr
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as file:
        assert any(name.endswith("/mlflow_migration/__init__.py") for name in file.getnames())
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(tmp_path / WHEEL) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


@pytest.mark.slow
def test_installed_alone(wheel: Path, tmp_path: Path) -> None:
    assert _run([sys.executable, "-m", "venv", "env"], tmp_path).returncode == 0
    binaries = tmp_path / "env" / "bin"
    done = _run([str(binaries / "python"), "-m", "pip", "install", "-q", "--retries", "1", str(wheel)], tmp_path)
    if done.returncode and ("connection" in done.stderr.lower() or "No matching distribution" in done.stderr):
        pytest.skip(f"no package index: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    found = _run([str(binaries / "python"), "-c", IMPORT_ALL], empty)
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.split()) > 50
    for script in SCRIPTS:
        before = getrusage(RUSAGE_CHILDREN)
        done = _run([str(binaries / script), "--help"], empty)
        after = getrusage(RUSAGE_CHILDREN)
        assert done.returncode == 0 and done.stdout.startswith("Usage: "), done.stderr
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_SECONDS, script
    assert list(empty.iterdir()) == []
    not_needed = _run([str(binaries / "python"), "-c", "import flask"], empty)
    assert "ModuleNotFoundError" in not_needed.stderr, "the whole of MLflow was installed"
