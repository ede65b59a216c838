"""The real console scripts, each in a process of its own as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Mapping, Optional, Union

from tests.support.servers import clean_environment


@dataclass
class Result:
    """What a script did."""

    command: List[str]
    status: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"{' '.join(self.command)}\nexit status {self.status} after {self.seconds:.1f} s\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


def script_path(name: str, python: str = sys.executable) -> str:
    """Path of a console script of an environment.

    :raises FileNotFoundError: The package is not installed there.
    """
    path = Path(os.path.dirname(python)) / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: the package is not installed in this environment; make env does that")
    return str(path)


def heed_interrupts() -> None:
    """Before a child starts: let SIGINT end it, which a shell makes its background jobs ignore, tests among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_script(
    name: str,
    *args: Any,
    env: Optional[Mapping[str, Any]] = None,
    cwd: Optional[Union[str, Path]] = None,
    python: str = sys.executable,
) -> subprocess.Popen:
    """Start a script and return at once, for tests that kill it. Its process group is its own.

    :param env: Environment variables beside this process's, of which MLflow's and Databricks's are left out.
    """
    more = {k: str(v) for k, v in (env or {}).items()}
    return subprocess.Popen(
        [script_path(name, python), *map(str, args)],
        env=clean_environment(more),
        cwd=cwd,
        start_new_session=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )


def run_script(
    name: str,
    *args: Any,
    env: Optional[Mapping[str, Any]] = None,
    check: Union[bool, int, None] = True,
    cwd: Optional[Union[str, Path]] = None,
    python: str = sys.executable,
    timeout: float = 300.0,
) -> Result:
    """Run a script to its end.

    :param check: True: it must exit with 0; a number: with this one; False or None: with any.
    :param timeout: Seconds after which it is killed and the test fails.
    """
    start = time.monotonic()
    process = start_script(name, *args, env=env, cwd=cwd, python=python)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        stderr += f"\n(killed: it took more than {timeout} s)"
    result = Result([name, *map(str, args)], process.returncode, stdout, stderr, time.monotonic() - start)
    expected = 0 if check is True else check
    if expected is not None and expected is not False and result.status != expected:
        raise AssertionError(f"expected exit status {expected}\n{result}")
    return result
