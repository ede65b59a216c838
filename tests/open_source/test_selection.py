"""Which runs and artifacts options take, what they say about the others, and that a dry run foretells what comes."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple
from uuid import uuid4

import pytest

from benchmarks.make_data import end_run, log_metrics
from mlflow_migration.common.report import REPORT_FILES
from tests.support.compare import RUN_KEY, assert_same
from tests.support.moves import Counts, Moves, Source, counts_of, point, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import ledger, notes, records, statuses
from tests.support.rest import Rest
from tests.support.servers import Server

DAY = 86_400_000  # ms; role number n starts on day n



@dataclass
class Forest:
    """Nested runs of an experiment, by role."""

    source: Source
    ids: Dict[str, str]
    models: Dict[str, str]

    def names(self, found: Mapping[str, Any]) -> Dict[str, Any]:
        """The same with roles in place of ids."""
        roles = {run_id: role for role, run_id in {**self.ids, **self.models}.items()}
        return {roles.get(key, key): value for key, value in found.items()}


@pytest.fixture(scope="module")
def forest(src_server: Server) -> Forest:
    """Runs to choose from; nothing is written to them."""
    source = Source(src_server, f"forest {uuid4().hex[:8]}")
    ids: Dict[str, str] = {}

    def plant(role: str, day: int, parent: Optional[str] = None, end: Optional[int] = None, loss: float = 1.0) -> None:
        tags = {"team": "a" if day < 4 else "b"}
        made = source.run(
            role, day * DAY, (point("loss", loss, day),), parent=ids.get(parent or ""), end=False, tags=tags
        )
        if end is not None:
            end_run(source.rest, made, end_time=end * DAY)
        ids[role] = made

    plant("root", 1, end=2, loss=0.25)
    plant("child", 2, "root", end=3)
    plant("grandchild", 3, "child", end=4, loss=0.25)
    plant("deleted", 2, "root", end=3)
    plant("orphan", 4, "deleted", end=5, loss=0.25)
    plant("leaf", 5, "orphan", end=6)
    plant("running", 3)
    plant("late end", 3, end=9)
    plant("other", 6, end=7, loss=0.25)
    models = {f"{role} model": source.model(ids[role], role) for role in ("child", "other")}
    source.delete(ids["deleted"])
    return Forest(source, ids, models)


ACTIVE = ["root", "child", "grandchild", "orphan", "leaf", "running", "late end", "other"]
BELOW_ROOT = ["root", "child", "grandchild", "orphan", "leaf"]
DELETED = {"deleted": "deleted; --export-deleted-runs takes it"}


def other_than(option: str, *roles: str) -> Dict[str, str]:
    """All other runs, as left out by an option."""
    return {role: option for role in [*ACTIVE, "deleted"] if role not in roles}


CASES: Dict[str, Tuple[Tuple[str, ...], List[str], Dict[str, str]]] = {
    "all": ((), ACTIVE, DELETED),
    "deleted runs too": (("--export-deleted-runs",), [*ACTIVE, "deleted"], {}),
    "filter": (("--filter", "metrics.loss < 0.5 and tags.team = 'a'"), ["root", "grandchild"], {}),
    "a filter that no run matches": (("--filter", "params.none = '1'"), [], {}),
    "from, to": (
        ("--run-start-time", "1970-01-04", "--runs-until", "1970-01-05T01:00:00+01:00"),
        ["grandchild", "running", "late end"],
        {},
    ),
    "from": (("--run-start-time", "1970-01-05 00:00:00.001"), ["leaf", "other"], {}),
    "changed": (
        ("--changed-since", "1970-01-07"),
        ["leaf", "running", "late end", "other"],
        other_than("--changed-since", "leaf", "running", "late end", "other"),
    ),
    "ids": (("--run-ids", "{root},{leaf}"), ["root", "leaf"], other_than("--run-ids", "root", "leaf")),
    "ids nested": (
        ("--run-ids", "{root}", "--check-nested-runs"),
        BELOW_ROOT,
        {**other_than("--run-ids", *BELOW_ROOT), **DELETED},
    ),
    "ids nested, deleted runs too": (
        ("--run-ids", "{deleted},{other}", "--check-nested-runs", "True", "--export-deleted-runs", "True"),
        ["deleted", "orphan", "leaf", "other"],
        other_than("--run-ids", "deleted", "orphan", "leaf", "other"),
    ),
    "ids nested, filter": (
        ("--run-ids", "{root}", "--check-nested-runs", "--filter", "metrics.loss < 0.5"),
        ["root", "grandchild", "orphan"],
        {"child": "--filter", "leaf": "--filter", "deleted": "--filter", "other": "--run-ids"},
    ),
    "filter and times": (
        ("--filter", "metrics.loss < 0.5", "--run-start-time", "1970-01-04", "--changed-since", "1970-01-07"),
        ["other"],
        {"grandchild": "--changed-since", "orphan": "--changed-since"},
    ),
}


def reasons(forest: Forest, directory: Path) -> Dict[str, str]:
    """Which runs were skipped, by role, and why."""
    return forest.names({line["src_id"]: line["reason"] for line in records(directory, "run", "skipped")})


@pytest.mark.parametrize("case", CASES)
def test_runs(case: str, forest: Forest, moves: Moves, experiment_name: str) -> None:
    """Exactly the chosen runs arrive, with their logged models; the others are told with the option."""
    options, taken, skipped = CASES[case]
    args = [option.format(**forest.ids) for option in options]
    name = forest.source.name
    models = [model for model in forest.models if model.split()[0] in taken]
    directory = moves.export(name, *args)
    assert sorted(forest.names({path.parent.name: 1 for path in directory.glob("*/run.json")})) == sorted(taken)
    found = {path.parent.name: 1 for path in directory.glob("logged_models/*/logged_model.json")}
    assert sorted(forest.names(found)) == sorted(models)
    assert reasons(forest, directory) == skipped
    counts = {
        "run": {key: n for key, n in (("copied", len(taken)), ("skipped", len(skipped))) if n},
        "logged_model": {"copied": len(models)} if models else {},
        "experiment": {"copied": 1},
    }
    copied = moves.copy(name, experiment_name, *args)
    assert {"logged_model": {}, "run": {}, **copied} == counts
    assert reasons(forest, moves.report) == skipped
    there = {tag["value"]: 1 for run in runs_of(moves.dst, experiment_name) for tag in run["data"]["tags"]
             if tag["key"] == RUN_KEY}  # fmt: skip
    assert sorted(forest.names(there)) == sorted(taken)
    if taken:
        only = [forest.ids[role] for role in taken]
        assert_same((moves.src.uri, name), (moves.dst.uri, experiment_name), only=only)


def test_runs_of_an_old_server(server_29: Server, moves: Moves, experiment_name: str) -> None:
    """MLflow 2.9 chooses the same."""
    moves.src, source = server_29, Source(server_29, experiment_name)
    ids: Dict[str, str] = {}
    for day, (role, parent) in enumerate({"root": "", "child": "root", "leaf": "child", "other": ""}.items(), 1):
        ids[role] = source.run(role, day * DAY, (point("loss", float(day), 1),), parent=ids.get(parent))
    source.delete(ids["child"])
    nested = ("--run-ids", ids["root"], "--check-nested-runs")
    for number, (args, taken, skipped) in enumerate(
        (
            (nested, ["root", "leaf"], {"other": "--run-ids", "child": DELETED["deleted"]}),
            ((*nested, "--filter", "metrics.loss > 1.5", "--export-deleted-runs"), ["child", "leaf"],
             {"root": "--filter", "other": "--run-ids"}),
            (("--run-start-time", "1970-01-03", "--export-deleted-runs"), ["child", "leaf", "other"], {}),
        )
    ):  # fmt: skip
        expected = {**dict.fromkeys(taken, "copied"), **dict.fromkeys(skipped, "skipped")}
        name = f"{experiment_name} {number}"
        moves.copy(source.name, name, *args)
        assert statuses(moves.report) == {ids[role]: status for role, status in expected.items()}
        told = {line["src_id"]: line["reason"] for line in records(moves.report, "run", "skipped")}
        assert told == {ids[role]: reason for role, reason in skipped.items()}
        assert_same((server_29.uri, source.name), (moves.dst.uri, name), only=[ids[role] for role in taken])
    moves.export(source.name, "--filter", "metrics.loss <<", status=2)


@pytest.mark.parametrize("way", ["export", "copy"])
def test_a_run_that_is_not_there(way: str, forest: Forest, moves: Moves, experiment_name: str) -> None:
    """An id that the experiment does not have is a failure with its name, whatever else is asked; the others arrive."""
    elsewhere = Source(moves.src, f"{experiment_name} elsewhere").run("r")
    for more in ((), ("--filter", "metrics.loss < 0.5")):
        args = ("--run-ids", f"{elsewhere},{forest.ids['root']},nonsense", *more)
        if way == "export":
            report = moves.export(forest.source.name, *args, to=f"export{len(more)}", status=1)
        else:
            counts = moves.copy(forest.source.name, f"{experiment_name}{len(more)}", *args, status=1)
            assert counts["run"]["failed"] == 2 and counts["run"]["copied"] == 1
            report = moves.report
        failed = {line["src_id"]: line["reason"] for line in records(report, "run", "failed")}
        assert failed == dict.fromkeys((elsewhere, "nonsense"), "the experiment has no such run")
        assert statuses(report)[forest.ids["root"]] == "copied"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--filter", "metrics.loss <<", "--filter 'metrics.loss <<'"),
        ("--filter", "nothing.x = '1' or", "--filter \"nothing.x = '1' or\""),
        ("--run-start-time", "yesterday", "--run-start-time"),
        ("--max-artifact-size", "large", "--max-artifact-size"),
    ],
)
def test_an_impossible_choice(
    option: str, value: str, words: str, forest: Forest, moves: Moves, experiment_name: str
) -> None:
    """One sentence that names the option, exit status 2, and nothing is exported or made."""
    name = forest.source.name
    one = ("--tracking-uri", moves.src.uri, "--output-dir", moves.home / "export")
    both = ("--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", moves.dst.uri, "--experiment-name", experiment_name)
    for script, args in (("export-experiment", one), ("copy-experiment", both)):
        done = moves.script(script, "--experiment", name, *args, option, value, "--quiet", check=2)
        (sentence,) = [line for line in done.stderr.splitlines() if words in line]
        assert sentence.startswith((f"{script}: ", "Error: "))
        assert "Traceback" not in done.stderr and not done.stdout
    assert not list(moves.home.rglob("*.json"))
    there = Rest(moves.dst.uri).pages("experiments/search", {"max_results": 1000, "view_type": "ALL"}, "experiments")
    assert experiment_name not in {experiment["name"] for experiment in there}


# ---- artifacts

FILES = {"a.bin": 3000, "notes/a.txt": 10, "notes/deep/b.ckpt": 20, "notes/deep/c.txt": 2048, "MLmodel": 0}
MODEL_FILES = {"data/weights.ckpt": 40, "data/b.txt": 30}


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        (("--include-artifacts", "notes/*.txt,*.ckpt"), {"a.bin": "include", "MLmodel": "include",
                                                         "data/b.txt": "include"}),
        (("--exclude-artifacts", "*.ckpt", "--exclude-artifacts", "a.*"), {"a.bin": "exclude",
         "notes/deep/b.ckpt": "exclude", "data/weights.ckpt": "exclude"}),
        (("--max-artifact-size", "2KB"), {"a.bin": "max"}),
        (("--include-artifacts", "*.txt", "--exclude-artifacts", "*/a.txt", "--max-artifact-size", "30"), {
         "a.bin": "include", "MLmodel": "include", "notes/deep/b.ckpt": "include", "data/weights.ckpt": "include",
         "notes/a.txt": "exclude", "notes/deep/c.txt": "max"}),
    ],
)  # fmt: skip
def test_artifacts(options: Tuple[str, ...], left_out: Dict[str, str], moves: Moves, source: Source) -> None:
    """Of runs and of logged models the chosen artifacts arrive; the others are told, and come when they are wanted."""
    run_id = source.run("r")
    model_id = source.model(run_id, "m")
    for path, size in FILES.items():
        source.put(run_id, path, b"x" * size)
    root = source.rest.logged_model(model_id)["info"]["artifact_uri"]
    for path, size in MODEL_FILES.items():
        source.rest.put_file(root, path, b"y" * size)
    names = {"include": "--include-artifacts", "exclude": "--exclude-artifacts", "max": "--max-artifact-size"}
    sizes = {f"{run_id}/{path}": size for path, size in FILES.items()}
    sizes.update((f"{model_id}/{path}", size) for path, size in MODEL_FILES.items())
    expected = {key: (names[left_out[path]], size) for key, size in sizes.items()
                for path in [key.partition("/")[2]] if path in left_out}  # fmt: skip

    def check(report: Path, name: str) -> None:
        told = {line["src_id"]: (line["reason"], line["size"]) for line in records(report, "artifact", "skipped")}
        assert told == expected
        there = Rest(moves.dst.uri)
        (copy,) = runs_of(moves.dst, name)
        (model,) = there.logged_models(there.experiment(name)["experiment_id"])
        assert there.run_files(copy["info"]["run_id"]) == {k: v for k, v in FILES.items() if k not in left_out}
        found = there.model_files(model["info"]["model_id"])
        assert found == {k: v for k, v in MODEL_FILES.items() if k not in left_out}

    directory = moves.export(source.name, *options)
    files = [path for path in directory.rglob("artifacts/**/*") if path.is_file()]
    assert len(files) == len(sizes) - len(left_out)
    assert moves.load(source.name) == {
        "experiment": {"copied": 1}, "logged_model": {"copied": 1}, "run": {"copied": 1},
    }  # fmt: skip
    check(directory, source.name)
    whole = {"experiment": {"copied": 1}, "logged_model": {"copied": 1}, "run": {"copied": 1}}
    copies = source.name + " copy"
    assert moves.copy(source.name, copies, *options) == {**whole, "artifact": {"skipped": len(left_out)}}
    check(moves.report, copies)
    # wanted after all
    moves.export(source.name)
    assert moves.load(source.name)["run"] == {"updated": 1}
    assert moves.copy(source.name, copies)["run"] == {"updated": 1}
    for name in (source.name, copies):
        assert_same((moves.src.uri, source.name), (moves.dst.uri, name))


# ---- dry runs


def prints(*directories: Path) -> Dict[str, str]:
    """Hashes of all files, and the directories."""
    found = [path for directory in directories for path in directory.rglob("*")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in found}


def grown(source: Source) -> Dict[str, str]:
    """Runs of several kinds: nested, deleted, running, with a logged model that another one uses, with artifacts."""
    ids = {"parent": source.run("parent", 2000, (point("x", 1.0, 1),), tags={"k": "old"})}
    for number in range(3):
        ids[f"child {number}"] = source.run(f"child {number}", 3000 + number, parent=ids["parent"], tags={"k": "old"})
    ids["running"] = source.run("running", 4000, (point("x", 1.0, 1),), end=False)
    ids["deleted"] = source.run("deleted", 5000, (point("x", 1.0, 1),))
    source.put(ids["parent"], "dir/a.txt", b"a")
    source.put(ids["child 0"], "big.bin", b"b" * 5000)
    model = source.model(ids["child 1"], "m")
    body = {"run_id": ids["child 2"], "datasets": [], "models": [{"model_id": model}]}
    source.rest.post("runs/log-inputs", body)
    source.delete(ids["deleted"])
    return ids


def changed(source: Source, ids: Dict[str, str]) -> None:
    """Change some of the runs."""
    source.tag(ids["parent"], "k", "new")
    log_metrics(source.rest, ids["child 2"], [point("x", 2.0, 2)])
    end_run(source.rest, ids["running"], "FAILED", 9000)
    source.put(ids["child 0"], "more.txt", b"more")
    source.model(source.run("new", 6000, parent=ids["child 0"]), "m2")
    tag = {"experiment_id": source.id, "key": "k", "value": "new"}
    source.rest.post("experiments/set-experiment-tag", tag)


class Watched:
    """Runs a command behind proxies, first dry, and compares what it said with what it then does."""

    def __init__(self, moves: Moves, src: Proxy, dst: Proxy, start: Callable[..., Any]) -> None:
        self.moves, self.src, self.dst, self.start = moves, src, dst, start

    def command(self, way: str, name: str) -> List[Any]:
        """The command of a way: export, import or copy."""
        home = self.moves.home
        if way == "export":
            args = ["--tracking-uri", self.src.uri, "--experiment", name, "--output-dir", home / "export"]
            return ["export-experiment", *args, "--export-deleted-runs", "--max-artifact-size", "4000"]
        if way == "import":
            args = ["--tracking-uri", self.dst.uri, "--experiment-name", name, "--input-dir", home / "export"]
            return ["import-experiment", *args]
        args = ["--src-mlflow-uri", self.src.uri, "--dst-mlflow-uri", self.dst.uri, "--experiment", name]
        args += ["--experiment-name", name, "--report-dir", home / "report", "--temp-dir", home / "temp"]
        return ["copy-experiment", *args, "--export-deleted-runs", "--max-artifact-size", "4000"]

    def writes(self) -> List[str]:
        """What was sent beside questions."""
        sent = [*self.src.counts(), *self.dst.counts()]
        return [route for route in sent if not route.startswith("GET ") and not route.endswith("/search")]

    def both(self, way: str, name: str) -> Counts:
        """Dry, then really; the counts of both."""
        command = self.command(way, name)
        before = prints(self.moves.home)
        self.src.clear()
        self.dst.clear()
        dry = self.moves.script(*command, "--dry-run")
        assert "nothing was written" in dry.stdout and "do not reconcile" not in dry.stdout, dry
        assert self.writes() == []
        assert prints(self.moves.home) == before
        told = counts_of(dry)
        assert counts_of(self.moves.script(*command)) == told
        return told

    def killed(self, way: str, name: str) -> None:
        """Kill the command half-way."""
        proxy, method, path, number = {
            "export": (self.src, "GET", "*/runs/get", 4),  # of a run's model inputs, before its file is written
            "import": (self.dst, "POST", "*/runs/log-batch", 2),
            "copy": (self.dst, "POST", "*/runs/update", 2),
        }[way]
        started: List[Any] = []

        def kill(_: Any) -> None:
            os.killpg(started[0].pid, signal.SIGKILL)
            started[0].wait()

        fault = proxy.on(method, path, number=number, before=kill)
        started.append(self.start(*self.command(way, name), "--workers", "1"))
        started[0].communicate(timeout=120)
        assert (started[0].returncode, fault.hits) == (-signal.SIGKILL, 1)


@pytest.fixture
def watched(moves: Moves, start_script: Callable[..., Any]) -> Any:
    """Commands that are watched."""
    with Proxy(moves.src.uri) as src, Proxy(moves.dst.uri) as dst:
        yield Watched(moves, src, dst, start_script)


@pytest.mark.parametrize("half_done", [False, True])
@pytest.mark.parametrize("way", ["export", "import", "copy"])
def test_dry_runs(way: str, half_done: bool, watched: Watched, source: Source) -> None:
    """On the first time, after a kill, on a repeat and after changes a dry run says what the command then does."""
    moves, name = watched.moves, source.name
    ids = grown(source)
    if way == "import":
        moves.export(name, "--export-deleted-runs")
    if half_done:
        watched.killed(way, name)
    first = watched.both(way, name)
    assert sum(first["run"].values()) == 6
    if half_done:
        assert first["run"] != {"copied": 6}
    else:
        assert first["run"] == {"copied": 6} and first["logged_model"] == {"copied": 1}
        assert first.get("artifact") == (None if way == "import" else {"skipped": 1})
    again = watched.both(way, name)
    assert again["run"] == {"unchanged": 6} and again.get("artifact") == first.get("artifact")
    changed(source, ids)
    if way == "import":
        moves.export(name, "--export-deleted-runs")
    after = watched.both(way, name)
    assert after["run"] == {"copied": 1, "updated": 4, "unchanged": 2}
    assert after["logged_model"] == {"copied": 1, "unchanged": 1}
    if way != "export":
        options: Dict[str, Any] = {"artifacts": way == "import"}
        assert_same((moves.src.uri, name), (moves.dst.uri, name), **options)


def test_dry_runs_of_one_run(watched: Watched, source: Source, experiment_name: str) -> None:
    """export-run, import-run and copy-run too."""
    moves, ids = watched.moves, grown(source)
    home, run = moves.home, ("--run-id", ids["child 1"])
    name = experiment_name + " copy"
    export = ("export-run", "--tracking-uri", watched.src.uri, *run, "--output-dir", home / "run")
    load = ("import-run", "--tracking-uri", watched.dst.uri, "--input-dir", home / "run", "--experiment-name", name)
    both = ("--src-mlflow-uri", watched.src.uri, "--dst-mlflow-uri", watched.dst.uri)
    copy = ("copy-run", *both, *run, "--experiment-name", name + " 2", "--temp-dir", home / "temp")
    for expected in ("copied", "unchanged", "updated"):
        if expected == "updated":
            source.tag(ids["child 1"], "k", "new")
            log_metrics(source.rest, ids["child 1"], [point("x", 2.0, 2)])
        for command in (export, load, copy):
            watched.command = lambda way, name, command=command: list(command)  # type: ignore[method-assign]
            model = "unchanged" if expected == "updated" else expected
            assert watched.both("", "") == {"run": {expected: 1}, "logged_model": {model: 1}}


# ---- how it runs, and what it prints


@pytest.mark.parametrize("options", [("--workers", "1"), ("--use-threads", "False"), ("--workers", "4")])
def test_requests_at_a_time(options: Tuple[str, ...], watched: Watched, source: Source) -> None:
    """No more than asked for, on each side, and the same arrives."""
    ids = grown(source)
    most = 4 if options == ("--workers", "4") else 1
    export, load, copy = (watched.command(way, source.name) for way in ("export", "import", "copy"))
    for command in (export, load, copy):
        watched.moves.script(*command, *options)
    assert 1 <= watched.src.most_at_once <= most and 1 <= watched.dst.most_at_once <= most
    both = (watched.moves.src.uri, source.name), (watched.moves.dst.uri, source.name)
    assert_same(*both, only=list(ids.values()), artifacts=False)


def test_what_is_printed(source: Source, moves: Moves, experiment_name: str) -> None:
    """--quiet leaves the summary only; --verbose tells where an error arose; without them the options are logged."""
    run_id = source.run("r")
    exporting = ("export-experiment", "--tracking-uri", moves.src.uri, "--experiment", source.name, "--output-dir")
    quiet = moves.script(*exporting, moves.home / "quiet", "--quiet")
    assert quiet.stdout.splitlines()[0] == "export-experiment" and " - " not in quiet.stdout and not quiet.stderr
    assert counts_of(quiet)["run"] == {"copied": 1}
    plain = moves.script(*exporting, moves.home / "plain")
    assert f"experiment: {source.name}" in plain.stdout and " - INFO - " in plain.stdout
    assert plain.stdout.endswith(quiet.stdout.replace("/quiet", "/plain"))
    unknown = ("export-run", "--tracking-uri", moves.src.uri, "--run-id", "f" * 32, "--output-dir", moves.home / "run")
    for more, traces in ((("--quiet",), False), ((), False), (("--verbose",), True), (("--verbose", "--quiet"), False)):
        done = moves.script(*unknown, *more, check=2)
        assert done.stderr.count("\n") == 1 and f"no run with the id '{'f' * 32}'" in done.stderr
        assert ("Traceback" in done.stdout + done.stderr) == traces
    for script in ("import-experiment", "import-run"):
        missing = ("--input-dir", moves.home / "missing", "--experiment-name", experiment_name)
        done = moves.script(script, "--tracking-uri", moves.dst.uri, *missing, "--quiet", check=2)
        assert not done.stdout and "missing" in done.stderr and not (moves.home / "missing").exists()
    assert run_id in statuses(moves.home / "plain")


def test_report_directories(source: Source, moves: Moves, experiment_name: str) -> None:
    """Ledger and id map are where they are wanted, else with the export, else of a copy in the working directory."""
    source.run("r")
    home = moves.home

    def files(directory: Path) -> List[str]:
        return sorted(path.name for path in directory.iterdir() if path.is_file()) if directory.exists() else []

    name, uris = experiment_name, ("--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", moves.dst.uri)
    export = ("export-experiment", "--tracking-uri", moves.src.uri, "--experiment", name, "--output-dir", home / "e")
    load = ("import-experiment", "--tracking-uri", moves.dst.uri, "--experiment-name", name, "--input-dir", home / "e")
    copy = ("copy-experiment", *uris, "--experiment", name, "--experiment-name", name + " copy")
    reports = ["experiment.json"], ["id_map.jsonl", "ledger.jsonl", *REPORT_FILES]
    moves.script(*export, "--report-dir", home / "r1")
    assert (files(home / "e"), files(home / "r1")) == (["experiment.json"], ["ledger.jsonl", *REPORT_FILES])
    moves.script(*load, "--report-dir", home / "r2")
    moves.script(*copy, "--report-dir", home / "r3")
    assert (files(home / "e"), files(home / "r2"), files(home / "r3")) == (*reports, reports[1])
    assert not (home / "mlflow-migration-report").exists()
    done = [moves.script(*command) for command in (export, load, copy)]
    assert files(home / "e") == ["experiment.json", *reports[1]]
    assert files(home / "mlflow-migration-report") == reports[1]
    for result, path in zip(done, ("e", "e", "mlflow-migration-report")):
        assert re.search(f"Report: .*{path}/report.html\nDetails: .*{path}/ledger.jsonl\n$", result.stdout)
    assert notes(home / "e") == [] and len(ledger(home / "e")) == 2
