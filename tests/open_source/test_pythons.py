"""The scripts and the unit tests under the oldest Python with the oldest MLflow client, and under a new Python.

The server is the newest one, in the environment of this test run.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

from benchmarks.make_data import make_everything
from tests.support.compare import assert_same
from tests.support.servers import PROJECT, NoEnvironmentError, Server, clean_environment, env_python

UNIT_TESTS = 800  # there are at least so many


@pytest.fixture(params=["3.8", "3.13"])
def python(request: pytest.FixtureRequest) -> str:
    """Path of another Python with the package and the skinny MLflow."""
    try:
        return env_python(f"python{request.param}")
    except NoEnvironmentError as ex:
        pytest.skip(str(ex))


def test_everything_goes_round(
    python: str,
    src_server: Server,
    dst_server: Server,
    experiment_name: str,
    tmp_path: Path,
    run_script: Callable[..., Any],
) -> None:
    make_everything(src_server.uri, experiment_name)
    source, copy = (src_server.uri, experiment_name), (dst_server.uri, experiment_name)
    export_options = ["--tracking-uri", source[0], "--experiment", experiment_name, "--output-dir", tmp_path / "export"]
    import_options = ["--tracking-uri", copy[0], "--experiment-name", experiment_name, "--input-dir"]
    for _ in range(2):  # the second time nothing is added
        run_script("export-experiment", *export_options, "--export-deleted-runs", python=python)
        run_script("import-experiment", *import_options, tmp_path / "export", python=python)
        assert_same(source, copy)


def test_unit_tests(python: str) -> None:
    # how fast a command starts is asked of one Python
    fast = "tests/unit/test_cli.py::test_help_is_fast"
    command = [python, "-m", "pytest", "tests/unit", "-q", "-p", "no:cacheprovider", "--deselect", fast]
    done = subprocess.run(command, cwd=PROJECT, env=clean_environment(), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed and int(passed[1]) > UNIT_TESTS, done.stdout[-1000:]
