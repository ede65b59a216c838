"""Experiments in the making, and the scripts that move them from one server to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from benchmarks.make_data import create_run, end_run, log_metrics
from tests.support.proxy import Proxy
from tests.support.reports import ledger, records, table
from tests.support.rest import Json, Rest
from tests.support.scripts import Result
from tests.support.servers import Server

Counts = Dict[str, Dict[str, int]]


def point(key: str, value: float, step: int, **more: Any) -> Json:
    """A metric point."""
    return {"key": key, "value": value, "timestamp": step, "step": step, **more}


class At:
    """A server by another address, for Moves."""

    def __init__(self, uri: str) -> None:
        self.uri = uri


def writes(proxy: Proxy) -> Dict[str, int]:
    """What was sent to a server beside questions."""
    return {
        route: number
        for route, number in proxy.counts().items()
        if not route.startswith("GET ") and not route.endswith("/search")
    }


class Source:
    """An experiment in the making."""

    def __init__(self, server: Server, name: str) -> None:
        """Make an experiment of that name."""
        self.server, self.rest, self.name = server, Rest(server.uri), name
        self.id = self.rest.post("experiments/create", {"name": name})["experiment_id"]

    def run(self, name: str, start: int = 1000, points: Tuple[Json, ...] = (), end: bool = True, **options: Any) -> str:
        """A new run, finished unless `end` says other; options as of `create_run`."""
        run_id = create_run(self.rest, self.id, name, start, **options)["info"]["run_id"]
        log_metrics(self.rest, run_id, list(points))
        if end:
            end_run(self.rest, run_id, end_time=start + 10)
        return str(run_id)

    def model(self, run_id: str, name: str) -> str:
        """A new logged model that is an output of the run."""
        body = {"experiment_id": self.id, "name": name, "source_run_id": run_id}
        model_id = self.rest.post("logged-models", body)["model"]["info"]["model_id"]
        self.rest.patch(f"logged-models/{model_id}", {"model_id": model_id, "status": "LOGGED_MODEL_READY"})
        self.rest.post("runs/outputs", {"run_id": run_id, "models": [{"model_id": model_id, "step": 1}]})
        return str(model_id)

    def put(self, run_id: str, path: str, data: bytes) -> None:
        """Write an artifact of a run."""
        self.rest.put_file(self.rest.run(run_id)["info"]["artifact_uri"], path, data)

    def tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        self.rest.post("runs/set-tag", {"run_id": run_id, "key": key, "value": value})

    def delete(self, *run_ids: str) -> None:
        """Mark runs as deleted."""
        for run_id in run_ids:
            self.rest.post("runs/delete", {"run_id": run_id})


def runs_of(server: Server, name: str) -> List[Json]:
    """All runs of an experiment, deleted ones too."""
    rest = Rest(server.uri)
    return rest.runs(rest.experiment(name)["experiment_id"])


class Moves:
    """Runs the scripts from one server to the other and reads their ledgers."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path) -> None:
        """`home` is where the directories are: of exports, and "report" of imports and copies."""
        self.script, self.src, self.dst, self.home = run_script, src, dst, home
        self.report = home / "report"

    def export(self, name: str, *args: Any, to: str = "export", status: Any = 0) -> Path:
        """Export an experiment; its directory."""
        command = ("export-experiment", "--experiment", name, "--output-dir", self.home / to, *args)
        self.script(*command, env={"MLFLOW_TRACKING_URI": self.src.uri}, check=status)
        return self.home / to

    def load(
        self, name: str, *args: Any, status: Any = 0, script: str = "import-experiment", to: str = "export"
    ) -> Counts:
        """Import; how many objects of which kind ended how."""
        command = (script, "--experiment-name", name, "--input-dir", self.home / to, "--report-dir", self.report, *args)
        return self._counts(self.script(*command, env={"MLFLOW_TRACKING_URI": self.dst.uri}, check=status), args)

    def copy(self, name: str, new_name: str, *args: Any, status: Any = 0) -> Counts:
        """Copy an experiment in one go; how many objects of which kind ended how."""
        both = ("--src-mlflow-uri", self.src.uri, "--dst-mlflow-uri", self.dst.uri, "--report-dir", self.report)
        names = ("--experiment", name, "--experiment-name", new_name)
        return self._counts(self.script("copy-experiment", *both, *names, *args, check=status), args)

    def _counts(self, result: Result, args: Tuple[Any, ...]) -> Counts:
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def ledger(self) -> List[Json]:
        """What became of each object in the last import or copy."""
        return ledger(self.report)

    def reason(self, src_id: str) -> str:
        """Why an object of the last import or copy is as it is."""
        return str(records(self.report, src_id=src_id)[-1].get("reason") or "")


def counts_of(result: Result) -> Counts:
    """How many objects of which kind ended how, as the summary says; what is 0 is left out."""
    return {
        kind: {status: n for status, n in row.items() if n and status not in ("found", "compared")}
        for kind, row in table(result.stdout).items()
    }
