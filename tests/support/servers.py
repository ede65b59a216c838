"""Real `mlflow server` processes for tests, the benchmark and the demo."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import requests

from tests.support.keeper import signal_group

PROJECT = Path(__file__).resolve().parents[2]
KEEPER = Path(__file__).with_name("keeper.py")
NEWEST = "newest"
#: MLflow versions of the old servers, each in an environment of its own
OLD_VERSIONS = {"2.9": "2.9.2", "2.22": "2.22.5"}
START_SECONDS = 240.0


class NoEnvironmentError(Exception):
    """There is no environment with what is asked for; the message says how to make it."""


def env_python(name: str) -> str:
    """Path of the Python of an environment that `make envs` makes.

    :param name: Such as "mlflow-2.9.2" or "python3.8".
    :raises NoEnvironmentError: it was not made.
    """
    home = Path(os.environ.get("MLFLOW_MIGRATION_TEST_ENVS") or PROJECT / ".envs")
    python = home / name / "bin" / "python"
    if not python.exists():
        raise NoEnvironmentError(f"there is no {home / name}: make .envs/{name}")
    return str(python)


def mlflow_env(version: str = NEWEST) -> str:
    """Path of the Python that has an MLflow server of a version.

    :param version: "newest" (this very environment), or a version such as "2.9.2", "2.9" or "2.22".
    :raises NoEnvironmentError: it was not made.
    """
    if version == NEWEST:
        return sys.executable
    return env_python(f"mlflow-{OLD_VERSIONS.get(version, version)}")


def free_port() -> int:
    """A free TCP port below the range that the system gives to outgoing connections."""
    while True:
        port = random.randrange(12000, 30000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def clean_environment(more: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """This process's environment without what would steer MLflow or our scripts, plus `more`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "_MLFLOW_", "DATABRICKS_", "AWS_"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # it would have each script compile the package anew
    env.update({k: str(v) for k, v in (more or {}).items()})
    return env


def kept(command: Sequence[str], pid_file: Path, watch_pid: Optional[int] = None, user: str = "") -> List[str]:
    """A command line that runs a server until it gets SIGTERM or a watched process is gone.

    :param command: The server.
    :param pid_file: Gets the id of its process and process group.
    :param watch_pid: Default this process.
    :param user: Name of the account that the server runs as, where this process may choose; default our own.
    """
    keeper = [sys.executable, "-SE", str(KEEPER), str(watch_pid or os.getpid()), str(pid_file)]
    return [*keeper, *([f"--user={user}"] if user else []), *command]


class Server:
    """One `mlflow server` on a loopback port with its data below `root`; stopping it keeps the data."""

    def __init__(
        self,
        root: Path,
        version: str = NEWEST,
        workers: int = 1,
        *,
        artifacts: str = "proxied",
        backend_uri: Optional[str] = None,
        args: Sequence[str] = (),
        env: Optional[Mapping[str, str]] = None,
        watch_pid: Optional[int] = None,
    ) -> None:
        """Nothing is started yet.

        :param root: Directory of the data and the log; made if absent.
        :param version: See `mlflow_env`.
        :param workers: Worker processes of the server.
        :param artifacts: "proxied" through the server, or "direct": runs have file:// roots below `root`, or with
            "direct:URI" roots below that URI; anything else is the URI of the destination that the server proxies.
        :param backend_uri: Of the metadata; default a SQLite file below `root`.
        :param args: More arguments of `mlflow server`.
        :param env: More environment variables of the server.
        :param watch_pid: The server ends when this process is gone; default this process.
        """
        self.root = Path(root)
        self.version = OLD_VERSIONS.get(version, version)
        self.python = mlflow_env(version)
        self.workers = workers
        self.artifacts = artifacts
        self.backend_uri = backend_uri or f"sqlite:///{self.root}/mlflow.db"
        self.args = list(args)
        self.env = dict(env or {})
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._watch_pid = watch_pid or os.getpid()
        self._keeper: Optional[subprocess.Popen] = None
        self._is_new = True

    @property
    def log(self) -> Path:
        """What the server printed, all its starts one after another."""
        return self.root / "server.log"

    @property
    def pid(self) -> int:
        """Process (and process group) id of `mlflow server`."""
        return int((self.root / "server.pid").read_text())

    @property
    def keeper_pid(self) -> int:
        """Process id of the process that ends the server when it gets SIGTERM."""
        if self._keeper is None:
            raise RuntimeError("this server was not started here")
        return self._keeper.pid

    @property
    def _is_direct(self) -> bool:
        return self.artifacts.split(":")[0] == "direct"

    def _command(self) -> List[str]:
        command = [self.python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", str(self.workers), "--backend-store-uri", self.backend_uri]
        if self._is_direct:
            root = self.artifacts[len("direct:") :] or (self.root / "artifacts").as_uri()
            command += ["--no-serve-artifacts", "--default-artifact-root", root]
        else:
            destination = str(self.root / "artifacts") if self.artifacts == "proxied" else self.artifacts
            command += ["--serve-artifacts", "--artifacts-destination", destination]
        return command + self.args

    def start(self, wait: bool = True) -> Server:
        """Start the server, again on the same port and data if it ran before.

        :param wait: Return only when it answers.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._copy_template()
        env = clean_environment({"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"})
        env.update(self.env)
        env.pop("PYTHONPATH", None)
        if (self.root / "server.pid").exists():
            (self.root / "server.pid").unlink()
        with open(self.log, "ab") as log:
            self._keeper = subprocess.Popen(
                kept(self._command(), self.root / "server.pid", self._watch_pid),
                cwd=self.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.wait() if wait else self

    def wait(self) -> Server:
        """Wait until the server answers.

        :raises RuntimeError: It ended or did not answer in time; with the end of its log.
        """
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._keeper is not None and self._keeper.poll() is not None:
                break
            if self.is_up():
                self._save_template()
                return self
            time.sleep(0.1)
        text = self.log.read_text(errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"mlflow server {self.version} did not start: {text}")

    def is_up(self) -> bool:
        """Whether the server answers now."""
        try:
            return requests.get(self.uri + "/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End the server and all its processes; no error if it is not running."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.poll() is not None:
            return
        keeper.terminate()
        try:
            keeper.wait(30)
        except subprocess.TimeoutExpired:
            self._keeper = keeper
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL to all its processes)."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.poll() is not None:
            return
        signal_group(self.pid, signal.SIGKILL)
        keeper.wait(30)

    # An empty database takes a server seconds to make: the first server of a version leaves a copy of its own.
    def _template(self) -> Optional[Path]:
        home = os.environ.get("MLFLOW_MIGRATION_TEST_DIR")
        if not home or not self.backend_uri.startswith("sqlite:///") or "--enable-workspaces" in self.args:
            return None
        return Path(home) / f"empty-{self.version}-{self._is_direct}.db"

    def _copy_template(self) -> None:
        template, path = self._template(), Path(self.backend_uri.replace("sqlite:///", "", 1))
        self._is_new = not path.exists()
        # with direct artifacts the root of the experiment "Default" is stored in the database
        if template is not None and not self._is_direct and template.exists() and not path.exists():
            shutil.copyfile(template, path)

    def _save_template(self) -> None:
        template, path = self._template(), Path(self.backend_uri.replace("sqlite:///", "", 1))
        if template is None or self._is_direct or not self._is_new or template.exists() or not path.exists():
            return
        part = template.with_suffix(f".{os.getpid()}")
        shutil.copyfile(path, part)
        os.replace(part, template)
