"""Dask clusters of processes on this machine, and a tap that keeps all that a command sends to one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from tests.support.servers import clean_environment, free_port, kept

START_SECONDS = 60


class DaskCluster:
    """A scheduler and workers of one thread each, without anything that would start a dead one again.

    :param root: Directory for logs.
    :param workers: How many.
    :param env: More environment variables of the workers, such as their credentials.
    """

    def __init__(self, root: Path, workers: int = 2, env: Optional[Mapping[str, str]] = None) -> None:
        self.root, self.port = root, free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._keepers: Dict[str, subprocess.Popen] = {}
        self._workers, self._env = workers, dict(env or {})

    def __enter__(self) -> DaskCluster:
        self.root.mkdir(parents=True, exist_ok=True)
        self._start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self._wait("scheduler", "Scheduler at")
        for number in range(self._workers):
            options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
            self._start(f"worker-{number}", "worker", self.address, *options)
        for number in range(self._workers):
            self._wait(f"worker-{number}", "Registered to")
        return self

    def __exit__(self, *_: Any) -> None:
        for keeper in self._keepers.values():
            keeper.terminate()
        for keeper in self._keepers.values():
            keeper.wait()

    def _start(self, name: str, *command: str) -> None:
        env = clean_environment({**self._env, "DASK_LOGGING__DISTRIBUTED": "info"})
        with open(self.root / f"{name}.log", "ab") as log:
            self._keepers[name] = subprocess.Popen(
                kept([sys.executable, "-m", "dask", *command], self.root / f"{name}.pid"),
                cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _wait(self, name: str, word: str) -> None:
        end = time.monotonic() + START_SECONDS
        while word not in self.log(name):
            assert self._keepers[name].poll() is None and time.monotonic() < end, self.log(name)
            time.sleep(0.1)

    def log(self, name: str) -> str:
        """What a process has printed: ``scheduler``, ``worker-0``, ..."""
        return (self.root / f"{name}.log").read_text(errors="replace")

    def kill_worker(self, number: int = 0) -> None:
        """Kill a worker, as a machine that goes away."""
        os.kill(int((self.root / f"worker-{number}.pid").read_text()), signal.SIGKILL)


class Tap:
    """Passes connections on to a port of this machine, and keeps all that the clients send.

    :param port: Where to.
    """

    def __init__(self, port: int) -> None:
        self._target, self._chunks = port, []  # type: Tuple[int, List[bytes]]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def sent(self) -> bytes:
        """All that clients have sent."""
        return b"".join(self._chunks)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass, args=(client, server, self._chunks), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, []), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, kept_chunks: List[bytes]) -> None:
        try:
            while True:
                data = source.recv(1 << 16)
                if not data:
                    break
                kept_chunks.append(data)
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()
