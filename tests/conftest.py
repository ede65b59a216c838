"""Fixtures for all tests: real servers, the real scripts, and the rule that no test is skipped unnoticed.

Servers are slow to start (10 to 20 s of CPU each), so one of each kind is shared by all tests and all pytest-xdist
workers of a test run; a test keeps to experiments of its own there (`experiment_name`). A test that stops, kills or
configures a server takes one of its own from `server`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
import uuid
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from tests.support.scripts import run_script as run_script_function
from tests.support.scripts import start_script as start_script_function
from tests.support.servers import NEWEST, NoEnvironmentError, Server

pytest_plugins = ["tests.databricks.sides"]

#: directory that all processes of one test run share, and the process whose end ends the servers
SHARED_DIR = "MLFLOW_MIGRATION_TEST_DIR"
MAIN_PID = "MLFLOW_MIGRATION_TEST_MAIN_PID"
#: if set, a skip that tests/allowed_skips.txt does not name makes the run fail
STRICT_SKIPS = "MLFLOW_MIGRATION_STRICT_SKIPS"
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")

_skips: List[Tuple[str, str]] = []


# ---- the test run


def _is_xdist_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Make the directory that all processes of this test run share."""
    if not _is_xdist_worker(config):
        os.environ[SHARED_DIR] = tempfile.mkdtemp(prefix="mlflow-migration-tests-")
        os.environ[MAIN_PID] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the shared servers."""
    if _is_xdist_worker(config):
        return
    home = Path(os.environ.pop(SHARED_DIR))
    for path in home.glob("server-*/keeper.pid"):
        _end(int(path.read_text()))
    if not os.environ.get("MLFLOW_MIGRATION_TEST_KEEP"):
        shutil.rmtree(home, ignore_errors=True)


def _end(pid: int) -> None:
    try:
        os.kill(pid, 15)
    except ProcessLookupError:
        pass


# ---- no skip unnoticed


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return re.sub(r"^Skipped: ", "", text)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note skipped tests."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skips.append((report.nodeid, _reason(report)))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note skipped modules."""
    if report.skipped:
        _skips.append((report.nodeid, _reason(report)))


def unexpected_skips(skips: List[Tuple[str, str]], allowed: str) -> List[str]:
    """The skips that a list of allowed ones does not name.

    :param skips: Test id and reason of each.
    :param allowed: Lines "PATTERN OF THE TEST ID  # why it may be skipped".
    """
    patterns = [line.split("#", 1)[0].strip() for line in allowed.splitlines()]
    patterns = [pattern for pattern in patterns if pattern]
    return [f"{test}: {reason}" for test, reason in skips if not any(fnmatch(test, pattern) for pattern in patterns)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Make the run fail for a skip that nobody wrote down."""
    if _is_xdist_worker(session.config) or not os.environ.get(STRICT_SKIPS):
        return
    if unexpected_skips(_skips, ALLOWED_SKIPS.read_text(encoding="utf-8")) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which skips made the run fail."""
    if os.environ.get(STRICT_SKIPS):
        for line in unexpected_skips(_skips, ALLOWED_SKIPS.read_text(encoding="utf-8")):
            terminalreporter.write_line(f"NOT ALLOWED TO BE SKIPPED (tests/allowed_skips.txt): {line}", red=True)


# ---- servers


def _shared_server(name: str, version: str, wait: bool = True, **options: Any) -> Server:
    """The server of this name, started by the first process that asks and used by all."""
    home = Path(os.environ[SHARED_DIR])
    try:
        server = Server(home / f"server-{name}", version, watch_pid=int(os.environ[MAIN_PID]), **options)
    except NoEnvironmentError as ex:
        pytest.skip(str(ex))
    with open(home / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = home / f"{name}.json"
        if known.exists():
            server.port, server.uri = json.loads(known.read_text())
        else:
            server.start(wait=False)
            (server.root / "keeper.pid").write_text(str(server.keeper_pid))
            known.write_text(json.dumps([server.port, server.uri]))
    return server.wait() if wait else server


@pytest.fixture(scope="session")
def servers() -> Tuple[Server, Server]:
    """Two shared servers of the newest MLflow, SQLite and proxied artifacts: (source, destination)."""
    both = [_shared_server(name, NEWEST, wait=False) for name in ("newest-1", "newest-2")]
    return both[0].wait(), both[1].wait()


@pytest.fixture(scope="session")
def src_server(servers: Tuple[Server, Server]) -> Server:
    """Shared server of the newest MLflow, for sources. Neither stop nor kill it."""
    return servers[0]


@pytest.fixture(scope="session")
def dst_server(servers: Tuple[Server, Server]) -> Server:
    """Shared server of the newest MLflow, for destinations. Neither stop nor kill it."""
    return servers[1]


@pytest.fixture(scope="session")
def server_29() -> Server:
    """Shared server of MLflow 2.9. Neither stop nor kill it."""
    return _shared_server("2.9", "2.9")


@pytest.fixture(scope="session")
def server_222() -> Server:
    """Shared server of MLflow 2.22. Neither stop nor kill it."""
    return _shared_server("2.22", "2.22")


@pytest.fixture(scope="session")
def direct_server() -> Server:
    """Shared server of the newest MLflow whose runs have file:// artifact roots."""
    return _shared_server("direct", NEWEST, artifacts="direct")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Makes servers that a module has for itself: server(version="newest", workers=1, artifacts=..., VARIABLE=value).

    Variables in capitals go into the server's environment, other options are those of `Server`; `start=False` leaves
    it unstarted. All are stopped after the module.
    """
    started: List[Server] = []

    def make(version: str = NEWEST, workers: int = 1, start: bool = True, **options: Any) -> Server:
        options = dict(options)
        env: Dict[str, str] = {key: str(options.pop(key)) for key in list(options) if key.isupper()}
        try:
            made = Server(tmp_path_factory.mktemp("server"), version, workers, env=env, **options)
        except NoEnvironmentError as ex:
            pytest.skip(str(ex))
        started.append(made)
        return made.start() if start else made

    yield make
    for made in started:
        made.stop()


# ---- scripts and names


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., Any]:
    """`tests.support.scripts.run_script` in the test's own directory, so that no report lands elsewhere."""
    return partial(run_script_function, cwd=tmp_path)


@pytest.fixture
def start_script(tmp_path: Path) -> Callable[..., Any]:
    """`tests.support.scripts.start_script` in the test's own directory."""
    return partial(start_script_function, cwd=tmp_path)


@pytest.fixture
def experiment_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.name[:80]} {uuid.uuid4().hex[:8]}"
