"""Imports that are killed with SIGKILL at a chosen request, and what a repeat makes of them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple
from uuid import uuid4

from tests.support.compare import differences
from tests.support.moves import counts_of
from tests.support.proxy import Proxy, route
from tests.support.rest import Rest, RestError
from tests.support.scripts import run_script, start_script

#: requests that change nothing, whatever their method
QUESTIONS = ("*/search", "*/users/get")


@dataclass(frozen=True)
class Moment:
    """When a command is killed: when the server has done the n-th request like this, before its reply arrives."""

    method: str
    path: str  # pattern
    number: int
    workers: int  # of the import

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.number}, {self.workers} workers"


def run_killed(
    proxy: Proxy,
    command: Sequence[Any],
    method: str,
    path: str,
    number: int,
    when: str = "after",
    env: Optional[Mapping[str, str]] = None,
) -> str:
    """Run a script against a proxy and kill it at the n-th request that matches; later requests meet no fault.

    :param command: The script's name and its arguments.
    :param when: "after": the server has done it, and the reply has not arrived; "before": the server knows nothing.
    :param env: More environment variables of the script.
    :return: Empty, or that the kill met no living process.
    """
    process: Any = None
    alive: List[bool] = []

    def kill(_: Any) -> None:
        alive.append(process.poll() is None)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    fault = proxy.on(method, path, number=number, **{when: kill})
    process = start_script(*command, env={"MLFLOW_TRACKING_URI": proxy.uri, **(env or {})})
    stdout, _ = process.communicate(timeout=300)
    proxy.clear()
    if (fault.hits, alive, process.returncode) != (1, [True], -signal.SIGKILL):
        return f"the kill met no living process (exit status {process.returncode}):\n{stdout[-2000:]}"
    return ""


class Kills:
    """Kills imports of one directory and repeats them.

    :param src: The source's URI and the experiment's name.
    :param directory: Its export.
    :param target: The destination's URI.
    :param home: Directory for reports.
    """

    def __init__(self, src: Tuple[str, str], directory: Path, target: str, home: Path) -> None:
        self.src, self.directory, self.target, self.home = src, directory, target, home

    def moments(self, number: int) -> List[Moment]:
        """Find out what an import sends, and choose moments: one for each kind of write, the others spread evenly.

        :param number: How many; there are more if there are more kinds.
        """
        with Proxy(self.target) as proxy:
            # with one worker an import sends the same requests each time
            run_script(*self._command(f"counted {uuid4().hex[:8]}", 1), env=self._env(proxy))
            requests = list(proxy.requests)
        kinds: Dict[Tuple[str, str], int] = {}
        for request in requests:
            path = route(request.path)
            if request.method != "GET" and not any(fnmatchcase(path, question) for question in QUESTIONS):
                kinds[request.method, path] = kinds.get((request.method, path), 0) + 1
        chosen = [Moment(method, path, (count + 1) // 2, 1) for (method, path), count in sorted(kinds.items())]
        rest = max(0, number - len(chosen))
        # with several workers the number of requests is not quite the same each time
        most = int(len(requests) * 0.95)
        return chosen + [Moment("*", "*", 1 + most * (i + 1) // (rest + 1), 4) for i in range(rest)]

    def _command(self, name: str, workers: int) -> Tuple[Any, ...]:
        return (
            "import-experiment", "--experiment-name", name, "--input-dir", self.directory,
            "--report-dir", self.home / name, "--workers", workers,
        )  # fmt: skip

    def _env(self, proxy: Proxy) -> Dict[str, str]:
        return {"MLFLOW_TRACKING_URI": proxy.uri}

    def kill_and_repeat(self, moment: Moment) -> List[str]:
        """Import into a new experiment, killed at a moment; repeat it, and once more.

        :return: What is wrong then: differences and doubles, or that the kill met no living process.
        """
        name = f"killed {uuid4().hex[:8]}"
        wrong: List[str] = []
        with Proxy(self.target) as proxy:
            command = self._command(name, moment.workers)
            missed = run_killed(proxy, command, moment.method, moment.path, moment.number)
            if missed:
                return [missed]
            runs_before = self._runs(name)
            again = run_script(*self._command(name, moment.workers), env=self._env(proxy), check=None)
            if again.status:
                wrong.append(f"the repeat failed: {again}")
            wrong += differences(self.src, (self.target, name))
            if not runs_before <= self._runs(name):
                wrong.append("the repeat has replaced runs")
            last = run_script(*self._command(name, moment.workers), env=self._env(proxy), check=None)
            counts = counts_of(last)
            if last.status or any(set(of_kind) != {"unchanged"} for of_kind in counts.values()):
                wrong.append(f"a third import was not idle: {counts}")
        return wrong

    def _runs(self, name: str) -> set:
        rest = Rest(self.target)
        try:
            experiment_id = rest.experiment(name)["experiment_id"]
        except RestError as ex:
            if ex.status != 404:
                raise
            return set()  # killed before it was made
        return {run["info"]["run_id"] for run in rest.runs(experiment_id)}
