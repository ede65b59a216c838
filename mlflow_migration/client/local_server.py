"""Local stores as sources and destinations: a private ``mlflow server`` for the length of a command.

A tracking URI that is no server, such as ``sqlite:///mlflow.db``, ``postgresql://...`` or a folder, is served on a port
of the loopback interface, so that everything else only knows servers. What it promises:

* A SQLite file or a folder that is a source stays as it is, byte for byte: SQLite is served from a snapshot, a folder
  through a view of links to its experiments.
* No schema is upgraded in place. The snapshot of a SQLite source is upgraded; whatever else is older is refused with
  the command to run.
* The server ends with us, whatever we die of; see :mod:`mlflow_migration.client.local_server_guard`.

Every user of this machine can reach the port while the command runs, as with any ``mlflow ui``.
"""

from __future__ import annotations

import http.client
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from typing import Dict, Iterator, List, Mapping

from mlflow_migration.client import local_server_guard
from mlflow_migration.client.errors import BadInput, redact
from mlflow_migration.client.local_stores import Store, open_store, scheme_of

_SERVER_SCHEMES = ("http", "https", "databricks", "databricks-uc", "uc")
_HOST = "127.0.0.1"
# Of a server that hangs; one that fails is noticed at once. Starting takes 10 s of processor time.
_START_SECONDS = 120
_STOP_SECONDS = local_server_guard.STOP_SECONDS + 10
_ATTEMPTS = 3
_LOG_LINES = 8

# MLflow's variables that say how to reach databases and artifact stores. All others stay out: they are about the other
# side of the command (URIs, credentials), or would change how the server runs (host, prefix, workers).
_KEPT = (
    "MLFLOW_BOTO_",
    "MLFLOW_CRYPTO_",
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_GCS_",
    "MLFLOW_KERBEROS_",
    "MLFLOW_MYSQL_",
    "MLFLOW_S3_",
    "MLFLOW_SQLALCHEMYSTORE_",
)
_DROPPED = ("MLFLOW_", "_MLFLOW_", "GUNICORN_", "UVICORN_")

_log = logging.getLogger(__name__)


def is_server_uri(uri: str) -> bool:
    """Return whether a tracking URI names a server, rather than a database or a folder.

    :param uri: Tracking URI.
    """
    return scheme_of(uri) in _SERVER_SCHEMES


@contextmanager
def serve(uri: str, *, writable: bool, dry_run: bool = False) -> Iterator[str]:
    """Serve a local store while the context lasts.

    :param uri: ``sqlite:///...``, ``postgresql://...``, ``mysql://...``, ``mssql://...``, a ``file:`` URI or a folder.
    :param writable: The store is a destination: it is made if it does not exist. Otherwise it is not changed.
    :param dry_run: A destination is not made or changed either: what does not exist counts as empty.
    :return: The server's URL, ``http://127.0.0.1:PORT``.
    :raises BadInput: The store can't be served; the message says what to do.
    """
    _check_mlflow(uri)
    _log.info("Starting a private MLflow server for %s, which takes some seconds", redact(uri))
    # of nobody else's reading, as it may hold a copy of the store
    folder = tempfile.mkdtemp(prefix="mlflow-migration-")
    try:
        store = open_store(uri, folder, writable=writable, dry_run=dry_run)
        if store.upgrade:
            _upgrade(store, folder)
        with _running(store, folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_mlflow(uri: str) -> None:
    missing = [name for name in ("mlflow", "flask", "sqlalchemy", "alembic") if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInput(
            f"{redact(uri)} is no server, and serving it needs all of MLflow ({', '.join(missing)} not found): "
            "pip install 'mlflow-migration[local]'"
        )


def _upgrade(store: Store, folder: str) -> None:
    _log.info("Upgrading the schema of a copy of %s", store.name)
    log = os.path.join(folder, "upgrade.log")
    with _guarded(["db", "upgrade", store.uri], _environment(os.environ, store), folder, log) as process:
        if process.wait() != 0:
            raise BadInput(f"The schema of a copy of {store.name} can't be upgraded: {_end_of(log)}")


@contextmanager
def _running(store: Store, folder: str) -> Iterator[str]:
    log = os.path.join(folder, "server.log")
    environment = _environment(os.environ, store)
    for attempt in range(1, _ATTEMPTS + 1):
        port = _free_port()
        url = f"http://{_HOST}:{port}"
        arguments = ["server", "--host", _HOST, "--port", str(port), "--workers", "1"]
        with _guarded(arguments, environment, folder, log) as process:
            if _started(process, port, log):
                _log.info("Serving %s at %s", store.name, url)
                yield url
                return
        # somebody else can take the port before the server does
        if attempt == _ATTEMPTS or "in use" not in _text_of(log).lower():
            raise BadInput(f"The private MLflow server for {store.name} did not start: {_end_of(log)}")


def _environment(ours: Mapping[str, str], store: Store) -> Dict[str, str]:
    """Return the variables of the server. Its URIs are among them, since every user can read arguments.

    New experiments get locations that can be used without the server, as MLflow itself gives them when a store is
    opened directly: artifacts on this machine need not pass through it. Yet serving artifacts stays on, since a store
    that once was behind a usual server has ``mlflow-artifacts:`` locations, which only a server can resolve.
    """
    kept = {name: value for name, value in ours.items() if not name.startswith(_DROPPED) or name.startswith(_KEPT)}
    return {
        **kept,
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": store.artifact_root,
        "MLFLOW_ARTIFACTS_DESTINATION": store.proxied_artifacts,
        # newest versions refuse folders without it
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # eight more processes otherwise
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # no line in the log for each request
        "MLFLOW_UVICORN_OPTS": "--no-access-log",
        # MLflow 2: a long history may take more than the usual 30 seconds
        "GUNICORN_CMD_ARGS": "--timeout=3600",
    }


@contextmanager
def _guarded(
    arguments: List[str], environment: Mapping[str, str], folder: str, log: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's command line in a process group of its own, which ends with the context or with us."""
    command = [sys.executable, "-I", local_server_guard.__file__, folder, sys.executable, "-m", "mlflow", *arguments]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _started(process: subprocess.Popen[bytes], port: int, log: str) -> bool:
    """Wait until the server answers; return whether it does."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        # All web servers that MLflow uses log their address once they have it. Without this line, what answers could
        # be somebody else's server which took the port while ours was starting.
        if f"{_HOST}:{port}" in _text_of(log) and _is_healthy(port):
            return True
        time.sleep(0.1)
    return False


def _is_healthy(port: int) -> bool:
    # not requests: it would ask a proxy, if the environment names one
    with closing(http.client.HTTPConnection(_HOST, port, timeout=5)) as connection:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _text_of(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _end_of(log: str) -> str:
    lines = [line.strip() for line in _text_of(log).splitlines() if line.strip()]
    return redact("\n".join(lines[-_LOG_LINES:])) or "it gave no reason"
