"""Directories and servers that mean harm: nothing outside is read or written, each trick is told, the rest is whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List
from uuid import uuid4

import pytest

from mlflow_migration.common.report import REPORT_FILES
from tests.support.reports import records
from tests.support.rest import Json, Rest, RestError
from tests.support.scripts import Result
from tests.support.servers import Server
from tests.support.stub import Reply, Request, Stub, missing_route

GOOD = "sub/good.txt"  # the artifact that each object has beside those that mean harm
BYTES = b"bytes of a good file"
POINTS = [{"value": 0.5, "timestamp": 1000, "step": 1}, {"value": "NaN", "timestamp": 1001, "step": 2}]
DEEP = b"[" * 100_000

#: what goes into the script's process and writes down which files it opens, lists, makes, moves and removes, and starts
WATCH = """
import json, os, sys

log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

def real(path, flags):
    path = os.path.abspath(os.fsdecode(path))
    if flags & os.O_NOFOLLOW:  # the system refuses a link in the last place
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return os.path.realpath(path)

def hook(event, args):
    if event == "open":
        names, flags = args[:1], args[2] or 0
        writes = bool(flags & writing)
    elif event.startswith(("os.", "subprocess.")) and event not in ("os.putenv", "os.unsetenv"):
        names, flags, writes = args[:2], 0, event not in ("os.listdir", "os.scandir")
    else:
        return
    for name in names:
        if isinstance(name, (str, bytes, os.PathLike)):
            try:
                line = [event, writes, name if event in ("os.system", "subprocess.Popen") else real(name, flags)]
            except ValueError:  # a NUL
                line = [event, writes, repr(name)]
            os.write(log, (json.dumps(line) + chr(10)).encode())

sys.addaudithook(hook)
"""


def write(path: Path, content: Any) -> Path:
    """Write bytes, or JSON; the directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def link(path: Path, target: Path) -> None:
    """Put a symbolic link in the place of a file."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def pipe(path: Path, _: Any = None) -> None:
    """Put a pipe that nobody writes to in the place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def sparse(path: Path, size: int) -> None:
    """Make a file as long as that, which takes no room; its start stays."""
    path.touch()
    os.truncate(path, size)


def artifact(path: Any, data: bytes = BYTES) -> Json:
    """How run.json and logged_model.json list an artifact."""
    return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def run_doc(name: str, info: Any = None, **parts: Any) -> Json:
    """What run.json holds; `parts` stand in for those of a good run."""
    fields = {"run_id": name, "run_name": name, "experiment_id": "1", "user_id": "ann", "status": "FINISHED"}
    fields.update({"start_time": 1000, "end_time": 2000, "lifecycle_stage": "active"})
    run = {"info": fields, "params": {"name": name}, "tags": {"k": "v"}, "metrics": {"m": POINTS}, **parts}
    return {"info": info, "mlflow": run}


def model_doc(name: str, info: Any = None, **parts: Any) -> Json:
    """What logged_model.json holds; `parts` stand in for those of a good model."""
    model = {"model_id": name, "name": "m", "source_run_id": "good-1", "status": "LOGGED_MODEL_READY"}
    return {"info": info, "mlflow": {**model, "tags": {"k": "v"}, "params": {"name": name}, "metrics": [], **parts}}


def tree(root: Path) -> Dict[str, Any]:
    """All that a directory holds, so that any change shows."""
    found: Dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (facts.st_mode, facts.st_mtime_ns, content)
    return found


def make_outside(root: Path, secret: str) -> None:
    """Make what others have beside the directory: among it whole exports that one could be led to."""
    info = {"fingerprint": "f", "artifacts": [artifact("file.txt", secret.encode())]}
    for name in ("file.txt", "MLmodel", "run/artifacts/file.txt", "model/artifacts/file.txt"):
        write(root / name, secret.encode())
    write(root / "run/run.json", run_doc(secret, info))
    write(root / "run/metrics.jsonl", {"key": secret, "points": [[1.0, 1, 1]]})
    write(root / "model/logged_model.json", model_doc(secret, info, tags={"k": secret}))
    write(root / "experiment.json", {"mlflow": {"experiment": {"name": secret, "tags": {"k": secret}}}})
    for name in ("ledger.jsonl", "id_map.jsonl"):
        write(root / name, {"secret": secret})


class Hostile:
    """A directory in the making, and the scripts that are watched while they read it."""

    def __init__(self, home: Path, run_script: Callable[..., Result], server: Server, experiment: str) -> None:
        """Make what lies outside the directory, and good runs inside."""
        self.home, self.root, self.outside = home, home / "in", home / "outside"
        self.server, self.rest, self.experiment, self._script = server, Rest(server.uri), experiment, run_script
        self.ids: Dict[str, List[str]] = {"runs": [], "logged_models": []}
        self._secret = f"outside-{uuid4().hex}"
        make_outside(self.outside, self._secret)
        self._before = tree(self.outside)
        write(home / "site/sitecustomize.py", WATCH.encode())
        self.run("good-1")

    def run(self, name: str, *paths: Any, **parts: Any) -> Path:
        """Put a run there that lists these artifacts beside a good one; its directory."""
        self.ids["runs"].append(name)
        return self._put(self.root / name, "run.json", run_doc, name, paths, parts)

    def model(self, name: str, *paths: Any, **parts: Any) -> Path:
        """Put a logged model there, likewise."""
        self.ids["logged_models"].append(name)
        return self._put(self.root / "logged_models" / name, "logged_model.json", model_doc, name, paths, parts)

    def _put(self, where: Path, file: str, doc: Callable[..., Json], name: str, paths: Any, parts: Json) -> Path:
        write(where / "artifacts" / GOOD, BYTES)
        info = {"fingerprint": name, "artifacts": [artifact(GOOD), *map(artifact, paths)]}
        write(where / file, doc(name, **{"info": info, **parts}))
        return where

    def finish(self) -> None:
        """Write experiment.json."""
        experiment = {"experiment_id": "1", "name": "x", "tags": {"team": "red"}}
        write(self.root / "experiment.json", {"mlflow": {"experiment": experiment, **self.ids}})

    def load(self, status: int, script: str = "import-experiment", root: str = "") -> Result:
        """Import the directory, or one in it, under watch: what is outside is left alone, no word of it gets about."""
        where = ("--input-dir", self.root / root, "--experiment-name", self.experiment)
        return self.watched(status, script, *where, "--tracking-uri", self.server.uri)

    def watched(self, status: int, *command: Any) -> Result:
        """Run a script that reads or writes the directory; see `load`."""
        log = self.home / "watch.jsonl"
        log.unlink(missing_ok=True)
        env = {"PYTHONPATH": self.home / "site", "WATCH_LOG": log, "PYTHONDONTWRITEBYTECODE": 1}
        result = self._script(*command, env=env, check=status, timeout=60)
        seen = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert [path for _, _, path in seen if path.startswith(str(self.root))], "the watch is blind"
        assert [line for line in seen if line[2].startswith(str(self.outside))] == []
        changed = {path for _, writes, path in seen if writes and not path.startswith(str(self.root))}
        assert changed <= {os.devnull, "uname"}  # Python asks for the processor, which the files name, by a command
        assert tree(self.outside) == self._before
        said = result.stdout + result.stderr
        assert "Traceback" not in said and self._secret not in said, result
        return result

    def assert_told(self, result: Result, reasons: Dict[str, str], kind: str = "run", status: str = "failed") -> None:
        """Each object is in the ledger once and in the summary, with a reason like that; no other one is."""
        lines = records(self.root, kind, status)
        assert sorted(line["src_id"] for line in lines) == sorted(reasons)
        for line in lines:
            assert re.search(reasons[line["src_id"]], line["reason"]), line
            assert f"{kind} {line['src_id']}".replace("\0", " ") in result.stdout, result
            assert f": {status}: {line['reason']}" in result.stdout, result
        assert "do not reconcile" not in result.stdout, result

    def assert_refused(self, result: Result, reason: str) -> None:
        """The command says one sentence like that, and the destination has nothing of the directory."""
        said = result.stderr.splitlines()
        assert len(said) == 1 and re.match(rf"{result.command[0]}: .*{reason}", said[0]), result
        with pytest.raises(RestError, match="RESOURCE_DOES_NOT_EXIST"):
            self.rest.experiment(self.experiment)

    def assert_arrived(self, *names: str, more: Dict[str, str] = {}) -> Dict[str, Json]:  # noqa: B006 -- only read
        """The destination has these runs, whole but for what means harm, and no other; runs by name.

        :param more: Of a run, an artifact beside the good one.
        """
        there = self.rest.experiment(self.experiment)
        runs = {run["info"]["run_name"]: run for run in self.rest.runs(there["experiment_id"])}
        assert sorted(runs) == sorted(names)
        for name, run in runs.items():
            run_id, data = run["info"]["run_id"], run["data"]
            facts = [run["info"][field] for field in ("user_id", "status", "start_time", "end_time")]
            assert facts == ["ann", "FINISHED", 1000, 2000], name
            assert data["params"] == [{"key": "name", "value": name}]
            assert {"key": "k", "value": "v"} in data["tags"]
            assert self.rest.history(run_id, "m") == [{"key": "m", **point} for point in POINTS]
            assert sorted(self.rest.run_files(run_id)) == sorted({GOOD, more.get(name, GOOD)})
            assert self.rest.run_file(run_id, GOOD) == BYTES
        self.assert_secret_stayed()
        return runs

    def assert_secret_stayed(self) -> None:
        """No file of the server, neither its database nor an artifact, holds anything from outside."""
        for path in self.server.root.rglob("*"):
            try:
                assert not (path.is_file() and self._secret.encode() in path.read_bytes()), path
            except FileNotFoundError:
                continue  # a file of the database that comes and goes


@pytest.fixture
def hostile(tmp_path: Path, run_script: Callable[..., Result], dst_server: Server, experiment_name: str) -> Hostile:
    """A directory with a good run in it."""
    return Hostile(tmp_path.resolve(), run_script, dst_server, experiment_name)


def unsafe_yaml(outside: Path) -> bytes:
    """YAML that makes an unsafe loader run a command."""
    return f"run_id: !!python/object/apply:os.system ['touch {outside}/made']\n".encode()


def test_artifacts(hostile: Hostile) -> None:
    """Artifacts that lead out, are links, pipes or harmful YAML stay away; all else of their runs arrives."""
    out = hostile.outside
    cases = {
        "up": ("../../../outside/file.txt", "leads out"),
        "up-later": ("a/../../../../outside/file.txt", "leads out"),
        "up-MLmodel": ("../../../outside/MLmodel", "leads out"),
        "absolute": (f"{out}/file.txt", "empty component"),
        "windows": ("..\\..\\..\\outside\\file.txt", "leads out"),
        "nul": ("a\0b", "holds a NUL"),
        "missing": ("no-such-file", "is missing"),
        "link": ("a.txt", "is a symbolic link"),
        "linked-MLmodel": ("MLmodel", "is a symbolic link"),
        "linked-folder": ("f/file.txt", "is a symbolic link"),
        "pipe": ("a.txt", "is no regular file"),
        "pipe-MLmodel": ("MLmodel", "is no regular file"),
        "unsafe": ("m/MLmodel", "no plain YAML: .*python/object/apply:os.system"),
        "deep": ("MLmodel", "no plain YAML"),
    }
    there = {name: hostile.run(name, path) / "artifacts" for name, (path, _) in cases.items()}
    link(there["link"] / "a.txt", out / "file.txt")
    link(there["linked-MLmodel"] / "MLmodel", out / "MLmodel")
    link(there["linked-folder"] / "f", out)
    pipe(there["pipe"] / "a.txt")
    pipe(there["pipe-MLmodel"] / "MLmodel")
    write(there["unsafe"] / "m/MLmodel", unsafe_yaml(out))
    write(there["deep"] / "MLmodel", DEEP)
    # a loader can't make a time of this, but there is no harm in it
    odd = b"utc_time_created: 2024-99-99 10:00:00\n"
    good = hostile.run("good-2", info={"artifacts": [artifact(GOOD), artifact("MLmodel", odd)]})
    write(good / "artifacts/MLmodel", odd)
    hostile.finish()

    result = hostile.load(1)
    artifacts = {f"{name}/{path}": reason for name, (path, reason) in cases.items()}
    hostile.assert_told(result, artifacts, "artifact")
    runs = {line["src_id"]: line for line in records(hostile.root, "run", "incomplete")}
    assert sorted(runs) == sorted(cases)
    assert all(re.search(reason, runs[name]["reason"]) for name, (_, reason) in cases.items())
    hostile.assert_arrived("good-1", "good-2", *cases, more={"good-2": "MLmodel"})


def test_files_of_runs(hostile: Hostile) -> None:
    """Runs whose own files are links, pipes, too big or elsewhere fail alone."""
    out, root = hostile.outside, hostile.root
    hostile.ids["runs"] += ["linked-run", "../outside/run", f"{out}/run", ".."]
    link(root / "linked-run", out / "run")
    link(hostile.run("linked-file") / "run.json", out / "run/run.json")
    pipe(hostile.run("pipe") / "run.json")
    sparse(hostile.run("huge") / "run.json", 257 << 20)
    sparse(hostile.run("huge-unmarked", info={"x": 1}) / "run.json", 256 << 30)
    for name, change in (("linked-points", link), ("pipe-of-points", pipe)):
        where = hostile.run(name, metrics={}, metrics_file="metrics.jsonl")
        change(where / "metrics.jsonl", out / "run/metrics.jsonl")
    hostile.run("points-elsewhere", metrics={}, metrics_file="../../outside/run/metrics.jsonl")
    sparse(hostile.run("long-line", metrics={}, metrics_file="metrics.jsonl") / "metrics.jsonl", 65 << 20)
    # what lists no artifacts, as earlier tools did, has those that are there
    where = hostile.run("linked-artifacts", info=None) / "artifacts"
    where.rename(where.with_name("elsewhere"))
    link(where, out / "run/artifacts")
    link(hostile.run("linked-artifact", info=None) / "artifacts/a.txt", out / "file.txt")
    pipe(hostile.run("pipe-artifact", info=None) / "artifacts/a.txt")
    hostile.run("good-2", info=None)
    hostile.finish()
    reasons = {
        "linked-run": "linked-run is a symbolic link",
        "linked-file": "run.json is a symbolic link",
        "pipe": "run.json is no regular file",
        "huge": "has 269484032 bytes, more than",
        "huge-unmarked": "has 274877906944 bytes, more than",
        "linked-points": "metrics.jsonl is a symbolic link",
        "pipe-of-points": "metrics.jsonl is no regular file",
        "points-elsewhere": "points-elsewhere/metrics.jsonl is missing",
        "long-line": "metrics.jsonl: line 1 is longer than",
        "linked-artifacts": "artifacts is a symbolic link",
        "linked-artifact": "a.txt is a symbolic link",
        "pipe-artifact": "a.txt is neither a regular file nor a directory",
        "../outside/run": "has no run.json",
        f"{out}/run": "has no run.json",
        "..": "has no run.json",
    }
    hostile.assert_told(hostile.load(1), reasons)
    hostile.assert_arrived("good-1", "good-2")


def test_json_of_runs(hostile: Hostile) -> None:
    """Files that are no JSON, or hold something else than a run, fail alone; nothing of them gets to the server."""
    cases: Dict[str, Any] = {
        "no-text": (b"\xff", "run.json is no JSON"),
        "broken": (b'{"mlflow": {"info": ', "run.json is no JSON: line 1"),
        "deep": (b'{"mlflow": ' + DEEP, "run.json is nested too deeply"),
        "deep-info": (b'{"info": ' + DEEP, "run.json is nested too deeply"),
        "list": ([], "run.json holds no JSON object"),
        "other-id": (run_doc("../../outside/run"), "run.json: 'info.run_id' is no id"),
        "params": (run_doc("params", params=5), "run.json: 'params' is no object"),
        "half-tag": (run_doc("half-tag", tags={"k": "\ud800"}), "run.json holds half of a pair of surrogates"),
        "point": (run_doc("point", metrics={"m": [{"value": 1.0, "timestamp": 2**63}]}), "'metrics.m.timestamp'"),
        "dataset": (run_doc("dataset", inputs=[{"dataset": {"name": "d", "digest": {}}}]), "'inputs.dataset.digest'"),
        "artifacts": (run_doc("artifacts", {"artifacts": 5}), "run.json: 'info.artifacts' is no list"),
        "path": (run_doc("path", {"artifacts": [artifact(5)]}), "'info.artifacts.path' is no text: 5"),
        "half-letter": (run_doc("half-letter", {"artifacts": [artifact("\ud800")]}), "'info.artifacts.path' is no Uni"),
        "size": (run_doc("size", {"artifacts": [{"path": "a", "size": -1}]}), "'info.artifacts.size' of a"),
    }
    lines: Dict[str, Any] = {
        "broken-line": (b'{"key": "m", "points": [[1.0, 1, 1]]}\n{"key": ', "metrics.jsonl: line 2: it is no JSON"),
        "deep-line": (DEEP, "metrics.jsonl: line 1: it is nested too deeply"),
        "keyless-line": ({"points": []}, "metrics.jsonl: line 1: 'key' is no text: None"),
        "time-in-line": ({"key": "m", "points": [[1.0, "x", 1]]}, "line 1: 'metrics.m.timestamp' is no integer"),
        "short-line": ({"key": "m", "points": [[1.0, 1]]}, "line 1: 'points' holds something else"),
    }
    for name, (content, _) in cases.items():
        write(hostile.run(name) / "run.json", content)
    for name, (content, _) in lines.items():
        write(hostile.run(name, metrics={}, metrics_file="metrics.jsonl") / "metrics.jsonl", content)
    hostile.run("good-2")
    hostile.finish()
    hostile.assert_told(hostile.load(1), {name: reason for name, (_, reason) in {**cases, **lines}.items()})
    hostile.assert_arrived("good-1", "good-2")


def test_logged_models(hostile: Hostile) -> None:
    """Logged models that mean harm fail alone, or lack what means harm; the good one and its run arrive whole."""
    out = hostile.outside
    cases: Dict[str, Any] = {
        "m-broken": (b"{", "logged_model.json is no JSON"),
        "m-deep": (DEEP, "logged_model.json is nested too deeply"),
        "m-list": ({"mlflow": []}, "logged_model.json: 'mlflow' is no object"),
        "m-metrics": (model_doc("m-metrics", metrics=[5]), "logged_model.json: 'metrics'"),
        "m-params": (model_doc("m-params", params=5), "'params' is no object"),
        "m-source": (model_doc("m-source", source_run_id=["good-1"]), "'source_run_id' is no text"),
        "m-status": (model_doc("m-status", status="DONE"), "'status' is 'DONE'"),
        "m-artifacts": (model_doc("m-artifacts", {"artifacts": [{}]}), "'info.artifacts.path' is no text"),
    }
    reasons = {name: reason for name, (_, reason) in cases.items()}
    for name, (content, _) in cases.items():
        write(hostile.model(name) / "logged_model.json", content)
    hostile.ids["logged_models"] += ["m-link", "../../outside/model", f"{out}/model"]
    link(hostile.root / "logged_models/m-link", out / "model")
    link(hostile.model("m-linked-file") / "logged_model.json", out / "model/logged_model.json")
    pipe(hostile.model("m-pipe") / "logged_model.json")
    reasons.update({"m-link": "is a symbolic link", "m-linked-file": "is a symbolic link", "m-pipe": "no regular file"})
    reasons.update({"../../outside/model": "is missing", f"{out}/model": "is missing"})
    incomplete = {"m-up": "leads out", "m-linked-artifact": "is a symbolic link", "m-unsafe": "no plain YAML"}
    hostile.model("m-up", "../../../../outside/file.txt")
    link(hostile.model("m-linked-artifact", "a.txt") / "artifacts/a.txt", out / "file.txt")
    write(hostile.model("m-unsafe", "MLmodel") / "artifacts/MLmodel", unsafe_yaml(out))
    hostile.model("m-good")
    hostile.finish()

    result = hostile.load(1)
    hostile.assert_told(result, reasons, "logged_model")
    hostile.assert_told(result, incomplete, "logged_model", "incomplete")
    run = hostile.assert_arrived("good-1")["good-1"]
    models = {
        model["data"]["params"][0]["value"]: model["info"]
        for model in hostile.rest.logged_models(run["info"]["experiment_id"])
    }
    assert sorted(models) == sorted(["m-good", *incomplete])
    for info in models.values():
        assert info["source_run_id"] == run["info"]["run_id"] and info["status"] == "LOGGED_MODEL_READY"
        assert list(hostile.rest.model_files(info["model_id"])) == [GOOD]
        assert hostile.rest.model_file(info["model_id"], GOOD) == BYTES


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("experiment.json", link, "experiment.json is a symbolic link"),
        ("experiment.json", pipe, "experiment.json is no regular file"),
        ("experiment.json", b"{", "experiment.json is no JSON: line 1"),
        ("experiment.json", DEEP, "experiment.json is nested too deeply"),
        ("experiment.json", [], "experiment.json holds no JSON object"),
        ("experiment.json", {"experiment": {}, "runs": {"good-1": 1}}, "experiment.json: 'runs' is no list"),
        ("runs", link, "runs is a symbolic link"),
        ("logged_models", link, "logged_models is a symbolic link"),
        ("ledger.jsonl", link, "ledger.jsonl can't be written .*symbolic link"),
        ("ledger.jsonl", pipe, "ledger.jsonl can't be written .*no regular file"),
        ("id_map.jsonl", link, "id_map.jsonl is a symbolic link"),
        ("id_map.jsonl", pipe, "id_map.jsonl is no regular file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_experiments_that_can_not_be_imported(hostile: Hostile, file: str, content: Any, reason: str) -> None:
    """Where no import can start, one sentence says why, and nothing is made at the destination."""
    hostile.finish()
    place = hostile.root / file
    if callable(content):
        content(place, hostile.outside / file.replace("runs", "run").replace("logged_models", "model"))
    else:
        write(place, content)
    hostile.assert_refused(hostile.load(2), reason)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("run.json", link, "run.json is a symbolic link"),
        ("run.json", pipe, "run.json is no regular file"),
        ("run.json", DEEP, "run.json is nested too deeply"),
        ("run.json", run_doc("../../outside/run"), "run.json: 'info.run_id' is no id of a run: '../../outside/run'"),
        ("run.json", run_doc("/etc/passwd"), "run.json: 'info.run_id' is no id of a run: '/etc/passwd'"),
        ("run.json", run_doc("a' or 'b"), "run.json: 'info.run_id' is no id of a run"),
        ("logged_models", link, "logged_models is a symbolic link"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_runs_that_can_not_be_imported(hostile: Hostile, file: str, content: Any, reason: str) -> None:
    """The same for a run alone."""
    place = hostile.root / "good-1" / file
    if callable(content):
        content(place, hostile.outside / ("run/run.json" if file == "run.json" else "model"))
    else:
        write(place, content)
    hostile.assert_refused(hostile.load(2, "import-run", "good-1"), reason)


# ---- servers


def served_run(run_id: str, uri: str = "") -> Json:
    """A run as a server returns it."""
    info = run_doc(run_id)["mlflow"]["info"]
    uri = uri or f"mlflow-artifacts:/1/{run_id}/artifacts"
    return {"info": {**info, "artifact_uri": uri}, "data": {"params": [{"key": "name", "value": run_id}]}}


def served_model(model_id: str) -> Json:
    """A logged model as a server returns it."""
    uri = f"mlflow-artifacts:/1/models/{model_id}/artifacts"
    info = {"model_id": model_id, "experiment_id": "1", "name": "m", "source_run_id": "proxied", "artifact_uri": uri}
    return {"info": {**info, "status": "LOGGED_MODEL_READY"}, "data": {}}


def hostile_server(runs: List[Json], models: List[Json], names: List[str]) -> Stub:
    """A server with one experiment. Each artifact root has files and directories of these names, and good.txt."""
    experiment = {"experiment_id": "1", "name": "x", "artifact_location": "mlflow-artifacts:/1"}
    files = [{"path": name, "is_dir": is_dir, "file_size": 4} for name in names for is_dir in (True, False)]
    files.append({"path": "good.txt", "is_dir": False, "file_size": 4})
    replies = {
        "/experiments/search": {"experiments": [experiment]},
        "/experiments/get-by-name": {"experiment": experiment},
        "/runs/search": {"runs": runs},
        "/logged-models/search": {"models": models},
        "/artifacts/list": {"files": files},
    }

    def answer(request: Request) -> Reply:
        if request.path.endswith("/runs/get"):
            return Reply({"run": next(run for run in runs if run["info"]["run_id"] == request.query["run_id"][0])})
        if request.path.endswith("/mlflow-artifacts/artifacts"):
            folder = request.query["path"][0]
            runs_there = [{"path": run["info"]["run_id"], "is_dir": True} for run in runs]
            return Reply({"files": runs_there if folder == "1" else files if folder.endswith("/artifacts") else []})
        if "/mlflow-artifacts/artifacts/" in request.path or request.path == "/get-artifact":
            return Reply(b"data")
        found = next((reply for end, reply in replies.items() if request.path.endswith(end)), None)
        return missing_route() if found is None else Reply(found)

    return Stub(answer)


def test_server(hostile: Hostile) -> None:
    """Ids and artifacts by which a server wants to get out of the output directory are told and not written."""
    out = hostile.outside
    bad_runs = ["../../outside/x", f"{out}/x", "..", "", "a\0b", "experiment.json", "ledger.jsonl", "logged_models"]
    bad_models = ["../../../outside/x", f"{out}/x", "..", "m\0b"]
    names = ["../../../outside/up.txt", f"{out}/absolute.txt", "a\0b", "..", ".", "", "/"]
    runs = [*map(served_run, bad_runs), served_run("proxied"), served_run("listed", "mlflow-artifacts://other:1/1/x")]
    models = [served_model(model_id) for model_id in [*bad_models, "m-good"]]
    output = hostile.root / "export"
    with hostile_server(runs, models, names) as server:
        args = ("--tracking-uri", server.uri, "--experiment", "x", "--output-dir", output)
        result = hostile.watched(1, "export-experiment", *args)
        assert len(server.requests) < 100
    failed = {kind: {line["src_id"]: line["reason"] for line in records(output, kind, "failed")} for kind in
              ("run", "logged_model", "artifact")}  # fmt: skip
    assert failed["run"] == {name: f"{name!r} is no id of a run" for name in bad_runs}
    assert failed["logged_model"] == {name: f"{name!r} is no id of a logged model" for name in bad_models}
    assert all(" is refused: " in reason for reason in failed["artifact"].values())
    # of what the server lists itself, the paths are taken at their word; of its proxy, their last part
    assert {f"listed/{name}" for name in names} == {name for name in failed["artifact"] if name.startswith("listed/")}
    assert {f"proxied/{name}" for name in ("a\0b", "..", ".", "")} <= set(failed["artifact"])
    for kind, names_of_kind in (("run", ["listed", "proxied"]), ("logged_model", ["m-good"])):
        assert sorted(line["src_id"] for line in records(output, kind, "incomplete")) == names_of_kind
    assert "do not reconcile" not in result.stdout
    files = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    proxied = {f"artifacts/{name}" for name in ("good.txt", "up.txt", "absolute.txt")}
    expected = {"experiment.json", "ledger.jsonl", "listed/run.json", "listed/artifacts/good.txt", "proxied/run.json"}
    expected |= {*REPORT_FILES, "logged_models/m-good/logged_model.json", *(f"proxied/{name}" for name in proxied)}
    assert files == expected | {f"logged_models/m-good/{name}" for name in proxied}
    assert json.loads((output / "experiment.json").read_bytes())["mlflow"]["runs"] == ["proxied", "listed"]


def test_export_into_a_hostile_directory(hostile: Hostile) -> None:
    """An export follows no link of the directory that it is to complete, removes nothing elsewhere, and goes on."""
    out, output = hostile.outside, hostile.root / "export"
    refused = {"linked-run": "linked-run is a symbolic link", "linked-file": "run.json is a symbolic link"}
    lacking = {"linked-artifacts": "artifacts is a symbolic link", "linked-artifact": "good.txt is a symbolic link"}
    written = ["up", "odd", "broken", "new"]
    with hostile_server([*map(served_run, [*refused, *lacking, *written])], [], []) as server:
        export = ("export-experiment", "--tracking-uri", server.uri, "--experiment", "x", "--output-dir", output)
        hostile.watched(0, *export)
        # a name in an older file, of what the source has no longer, is a file that an export removes
        listed = [artifact("../../../outside/file.txt"), artifact(f"{out}/file.txt")]
        write(output / "up/run.json", run_doc("up", {"artifacts": listed}))
        write(output / "odd/run.json", run_doc("odd", {"artifacts": [5], "fingerprint": []}))
        write(output / "broken/run.json", DEEP)
        shutil.rmtree(output / "linked-run")
        link(output / "linked-run", out / "run")
        link(output / "linked-file/run.json", out / "run/run.json")
        shutil.rmtree(output / "linked-artifacts/artifacts")
        link(output / "linked-artifacts/artifacts", out)
        link(output / "linked-artifact/artifacts/good.txt", out / "file.txt")
        shutil.rmtree(output / "new")
        hostile.watched(1, *export)
    for status, reasons in (("failed", refused), ("incomplete", lacking)):
        lines = {line["src_id"]: line["reason"] for line in records(output, "run", status)}
        assert sorted(lines) == sorted(reasons)
        assert all(re.search(reason, lines[name]) for name, reason in reasons.items()), lines
    for name in written:
        doc = json.loads((output / name / "run.json").read_bytes())
        assert doc["mlflow"]["params"] == {"name": name}
        assert [entry["path"] for entry in doc["info"]["artifacts"]] == ["good.txt"]
        assert (output / name / "artifacts/good.txt").read_bytes() == b"data"
    experiment = json.loads((output / "experiment.json").read_bytes())["mlflow"]
    assert sorted(experiment["runs"]) == sorted([*lacking, *written])
