"""Makes virtual environments below .envs: older MLflow versions for servers, other Python versions for our scripts.

    python tests/support/environments.py .envs/mlflow-2.9.2 .envs/python3.8

It needs nothing but the standard library. An environment that is whole and whose recipe is unchanged is left as it is;
one that could not be made is removed again, so that the tests that need it skip.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Optional, Sequence

PROJECT = Path(__file__).resolve().parents[2]
#: file in an environment that is whole; it holds the recipe
MARKER = "recipe.txt"
#: (start of the version, Pythons that it runs under with ready-made wheels, packages that it does not name itself:
#: pkg_resources left setuptools with 81, and these versions do not work with SQLAlchemy 2.1; psycopg2 makes databases)
MLFLOW = [
    ("2.9.", ["3.11", "3.10", "3.9", "3.8"], ["setuptools<81", "sqlalchemy<2.1", "psycopg2-binary"]),
    ("", ["3.11", "3.10", "3.12", "3.13", "3.9"], ["setuptools<81", "sqlalchemy<2.1"]),
]
#: what setup.py allows at least is what the environment of the oldest Python gets
OLDEST_PYTHON, OLDEST_CLIENT = "3.8", "mlflow-skinny==2.9.0"


class NotMadeError(Exception):
    """An environment could not be made; the message says why."""


def find_python(version: str) -> Optional[str]:
    """Path of a Python that can make virtual environments: this one, one on the PATH or one of pyenv's.

    :param version: Such as "3.8".
    :return: None if there is none.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [sys.executable, shutil.which(f"python{version}")]
    candidates += map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))
    # a file of that name may be a stub that runs nothing
    code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        try:
            done = subprocess.run([path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            continue
        if done.stdout.strip() == version:
            return path
    return None


def make(path: Path) -> bool:
    """Make an environment.

    :param path: Its directory, named `mlflow-VERSION` or `pythonVERSION`.
    :return: False if it was there already.
    :raises NotMadeError: No fitting Python, or its packages could not be installed.
    """
    kind, version = ("mlflow", path.name[7:]) if path.name.startswith("mlflow-") else ("python", path.name[6:])
    if kind == "mlflow":
        _, versions, companions = next(row for row in MLFLOW if version.startswith(row[0]))
        packages = [f"mlflow=={version}", *companions]
        recipe = "\n".join(packages)
    else:
        versions = [version]
        packages = ["-e", str(PROJECT), "pytest", "pytest-timeout", "joblib>=1.3", "databricks-sdk"]
        if version == OLDEST_PYTHON:
            packages.append(OLDEST_CLIENT)
        recipe = "\n".join([*packages, (PROJECT / "setup.py").read_text(encoding="utf-8")])
    marker = path / MARKER
    if marker.exists() and marker.read_text(encoding="utf-8") == recipe:
        return False
    python = next(filter(None, map(find_python, versions)), None)
    if python is None:
        raise NotMadeError(f"no Python {' or '.join(versions)} on the PATH or in pyenv")
    try:
        _run([python, "-m", "venv", "--clear", str(path)])
        own = str(path / "bin" / "python")
        _run([own, "-m", "pip", "install", "-q", "--retries", "1", "uv"])
        _run([own, "-m", "uv", "pip", "install", "-q", *packages])
        marker.write_text(recipe, encoding="utf-8")
    finally:
        if not marker.exists():
            shutil.rmtree(path, ignore_errors=True)
    return True


def _run(command: Sequence[str]) -> None:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise NotMadeError(f"{' '.join(command)} failed: {done.stdout.strip()[-1000:]}")


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="+", type=Path, help="such as .envs/mlflow-2.9.2 or .envs/python3.8")
    parser.add_argument("--optional", action="store_true", help="exit with 0 although one could not be made")
    options = parser.parse_args(args)

    def make_and_tell(path: Path) -> int:
        try:
            if make(path.absolute()):
                print(f"{path} made", flush=True)
        except NotMadeError as ex:
            print(f"{path} not made: {ex}", flush=True)
            return 1
        return 0

    # an installer waits for the network as long as it works
    with ThreadPoolExecutor(2) as pool:
        status = max(pool.map(make_and_tell, options.path))
    return 0 if options.optional else status


if __name__ == "__main__":
    sys.exit(main())
