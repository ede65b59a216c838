"""A PostgreSQL of the tests' own: a new cluster on a loopback port, gone when they are done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, List, Optional
from urllib.parse import quote

from tests.support.keeper import as_user, signal_group
from tests.support.servers import START_SECONDS, free_port, kept

USER, PASSWORD = "tests", "tests-password"
#: accounts that run it where the tests run as root, which PostgreSQL refuses
ACCOUNTS = ("postgres", "nobody")


class NoPostgresError(Exception):
    """There is no PostgreSQL here; the message says how to get it."""


def find_binaries() -> Path:
    """Directory with initdb and postgres: on the PATH, else where Debian and Ubuntu put them.

    :raises NoPostgresError: There is none.
    """
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise NoPostgresError("no initdb on the PATH or in /usr/lib/postgresql/*/bin: apt-get install postgresql")


def _account() -> str:
    if os.geteuid() != 0:
        return ""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    found = next((name for name in ACCOUNTS if name in names), None)
    if found is None:
        raise NoPostgresError(f"PostgreSQL does not run as root, and there is none of the accounts {ACCOUNTS}")
    return found


class Postgres:
    """A cluster; as a context manager it runs. Its one user has a password, and may make databases."""

    def __init__(self) -> None:
        """Nothing is made yet.

        :raises NoPostgresError: It can't be.
        """
        self._binaries, self._account = find_binaries(), _account()
        self.port = free_port()
        self._root = Path()
        self._keeper: Optional[subprocess.Popen] = None

    def uri(self, database: str = "postgres", user: str = USER, password: str = PASSWORD) -> str:
        """URI of a database, with the driver: without, it depends on the release of SQLAlchemy."""
        return f"postgresql+psycopg2://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> str:
        """Make an empty database; its URI."""
        self.execute(f'CREATE DATABASE "{database}"')
        return self.uri(database)

    def add_user(self, user: str, password: str) -> None:
        """Make another user who may do all."""
        self.execute(f"CREATE ROLE \"{user}\" LOGIN SUPERUSER PASSWORD '{password}'")

    @property
    def log(self) -> Path:
        """What the server has written."""
        return self._root / "postgres.log"

    def connect(self, database: str = "postgres") -> Any:
        """A connection of psycopg2."""
        import psycopg2

        return psycopg2.connect(host="127.0.0.1", port=self.port, dbname=database, user=USER, password=PASSWORD)

    def execute(self, statement: str, database: str = "postgres") -> List[Any]:
        """Run a statement of SQL; the rows of its answer."""
        connection = self.connect(database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def __enter__(self) -> Postgres:
        # not below pytest's directories, which no other account may enter
        self._root = Path(tempfile.mkdtemp(prefix="mlflow-migration-postgres-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        data, password = self._root / "data", self._root / "password"
        password.write_text(PASSWORD)
        if self._account:
            for path in (self._root, password):
                shutil.chown(path, self._account)
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        options = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync")
        done = subprocess.run(
            [self._binaries / "initdb", "-D", data, "-U", USER, f"--pwfile={password}", *options],
            cwd=self._root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **as_user(self._account),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout}")
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": "200",
        }  # fmt: skip
        command = [str(self._binaries / "postgres"), "-D", str(data), "-p", str(self.port)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(self.log, "ab") as log:
            self._keeper = subprocess.Popen(
                kept(command, self._root / "postgres.pid", user=self._account), cwd=self._root, env=env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not self._is_up():
            if time.monotonic() > end or self._keeper.poll() is not None:
                raise RuntimeError(f"postgres did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def _is_up(self) -> bool:
        import psycopg2

        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def __exit__(self, *_: Any) -> None:
        if self._keeper is not None:
            # what SIGTERM would mean to it is to wait for all connections
            signal_group(int((self._root / "postgres.pid").read_text()), signal.SIGINT)
            try:
                self._keeper.wait(20)
            except subprocess.TimeoutExpired:
                self._keeper.terminate()
                self._keeper.wait(30)
        shutil.rmtree(self._root, ignore_errors=True)
