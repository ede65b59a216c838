"""The Python functions: a given client decides everything, they return MLflow's entities, and change no one's setup."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from benchmarks.make_data import log_metrics
from tests.support.compare import RUN_KEY, assert_same
from tests.support.moves import Source, point, runs_of
from tests.support.reports import id_map, ledger, statuses
from tests.support.servers import Server, clean_environment
from tests.support.stub import Reply, Stub

PROLOGUE = """
import json, logging, os, sys
from mlflow.tracking import MlflowClient
from mlflow_migration.client.client_utils import create_http_client
from mlflow_migration.copy.copy_run import _copy, copy
from mlflow_migration.experiment.export_experiment import export_experiment
from mlflow_migration.experiment.import_experiment import import_experiment
from mlflow_migration.run.export_run import export_run
from mlflow_migration.run.import_run import import_run
from mlflow_migration.common import MlflowExportImportException

given = json.loads(sys.argv[1])
src, dst = MlflowClient(given["src"]), MlflowClient(given["dst"])
name, ids = given["name"], given["ids"]
told = {}
"""


@pytest.fixture
def third() -> Iterator[Stub]:
    """A place that the environment names and nothing should ever ask."""
    with Stub(lambda request: Reply({"error_code": "PERMISSION_DENIED", "message": "third"}, 403)) as stub:
        yield stub


class Program:
    """Runs Python programs in a process of their own, in an empty working directory."""

    def __init__(self, src: Server, dst: Server, name: str, ids: Dict[str, str], home: Path) -> None:
        self.given = {"src": src.uri, "dst": dst.uri, "name": name, "ids": ids}
        self.cwd = home / "cwd"
        self.cwd.mkdir()
        self.stderr = ""

    def __call__(self, text: str, prologue: str = PROLOGUE, **variables: str) -> Dict[str, Any]:
        """Run a program that fills `told`; returns what is in there."""
        program = prologue + textwrap.dedent(text) + "\nprint(json.dumps(told))"
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(self.given)], env=clean_environment(variables), cwd=self.cwd,
            capture_output=True, text=True, encoding="utf-8", timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        self.stderr = done.stderr
        told: Dict[str, Any] = json.loads(done.stdout)  # so nothing else may be printed
        return told


@pytest.fixture
def family(source: Source) -> Dict[str, str]:
    """Runs of the source's experiment: nested, with metrics, a logged model, artifacts; a deleted and a running one."""
    ids = {"parent": source.run("parent", 2000, (point("x", 1.0, 1), point("x", 2.0, 2)), tags={"k": "v"})}
    ids["child"] = source.run("child", 3000, parent=ids["parent"], user_id="bob")
    ids["running"] = source.run("running", 4000, end=False)
    ids["deleted"] = source.run("deleted", 5000)
    ids["model"] = source.model(ids["child"], "m")
    source.put(ids["parent"], "dir/a.txt", b"a")
    source.delete(ids["deleted"])
    return ids


@pytest.fixture
def program(family: Dict[str, str], source: Source, dst_server: Server, tmp_path: Path) -> Program:
    """Runs programs about the family."""
    return Program(source.server, dst_server, source.name, family, tmp_path)


def elsewhere(third: Stub) -> Dict[str, str]:
    """Variables that all name the third place."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_MIGRATION_SRC_TRACKING_URI",
             "MLFLOW_MIGRATION_DST_TRACKING_URI")  # fmt: skip
    return dict.fromkeys(names, third.uri)


def test_a_given_client_decides(program: Program, source: Source, dst_server: Server, third: Stub) -> None:
    """Each function works on the server of its client, returns what it should, and leaves the process as it was."""
    told = program(
        """
        import mlflow
        state = lambda: (dict(os.environ), mlflow.get_tracking_uri(), mlflow.get_registry_uri(),
                         logging.getLogger().handlers, logging.getLogger().level, os.listdir())
        before = state()

        told["exported"] = export_experiment(name, "../export", export_deleted_runs=True, mlflow_client=src)
        infos = import_experiment(name, "../export", mlflow_client=dst)
        told["imported"] = {src_id: info.run_id for src_id, info in infos.items()}
        told["infos"] = all(type(info) is mlflow.entities.RunInfo
                            and dict(info) == dict(dst.get_run(info.run_id).info) for info in infos.values())
        # a repeat returns the same
        again = import_experiment(name, "../export", mlflow_client=dst)
        told["again"] = {src_id: dict(info) for src_id, info in again.items()} == {
            src_id: dict(info) for src_id, info in infos.items()}

        def is_run(run, client):
            return type(run) is mlflow.entities.Run and run.to_dictionary() == client.get_run(
                run.info.run_id).to_dictionary()

        run = export_run(ids["child"], "../child", mlflow_client=src)
        told["export_run"] = is_run(run, src) and run.info.run_id
        run, parent = import_run("../child", name + " alone", mlflow_client=dst)
        told["import_run"], told["alone"] = is_run(run, dst) and parent, run.info.run_id
        export_run(ids["parent"], "../parent", mlflow_client=src)
        run, parent = import_run("../parent", name + " alone", import_source_tags=True, mlflow_client=dst)
        told["parent of none"] = is_run(run, dst) and parent
        told["source tag"] = run.data.tags["mlflow_exim.run_info.start_time"]
        # positions of one tool, then of the other
        for extra in ((), (False,)):
            run, _ = import_run("../child", name + f" {len(extra)}", False, None, True, True, *extra, dst)
            told[f"place {len(extra)}"] = is_run(run, dst) and run.data.tags["mlflow.user"]
        for extra in ((), (None, None)):
            told[f"count {len(extra)}"] = export_experiment(
                name, f"../places{len(extra)}", None, False, None, False, False, None, *extra, src)

        run = _copy(ids["parent"], name + " copy", src, dst)
        told["copied"] = is_run(run, dst) and run.info.run_name
        run = copy(ids["child"], name + " copy", given["src"], given["dst"])
        told["copied too"] = is_run(run, dst) and run.info.run_name

        for client in (src, dst):
            found = create_http_client(client).get("experiments/get-by-name", {"experiment_name": name})
            told[client.tracking_uri] = found["experiment"]["name"]
        assert before == state(), (before, state())
        """,
        **elsewhere(third),
    )
    ids, name = program.given["ids"], source.name
    assert third.requests == []
    assert told.pop("exported") == [4, 0]
    imported = told.pop("imported")
    there = {run["info"]["run_id"]: run for run in runs_of(dst_server, name)}
    runs = [ids[role] for role in ("parent", "child", "running", "deleted")]
    assert set(imported) == set(runs) and set(imported.values()) == set(there)
    assert id_map(program.cwd.parent / "export") == imported
    (alone,) = [run for run in runs_of(dst_server, f"{name} alone") if run["info"]["run_id"] == told["alone"]]
    assert {"key": RUN_KEY, "value": ids["child"]} in alone["data"]["tags"]
    del told["alone"]
    assert told == {
        "infos": True, "again": True, "export_run": ids["child"], "import_run": ids["parent"], "parent of none": None,
        "source tag": "2000", "place 0": "bob", "place 1": "bob", "count 0": [3, 0], "count 2": [3, 0],
        "copied": "parent", "copied too": "child", source.server.uri: name, dst_server.uri: name,
    }  # fmt: skip
    assert_same((source.server.uri, name), (dst_server.uri, name))
    # what ends well is not talked about, and nothing is left where the program ran but the reports of copies
    assert "mlflow_migration" not in program.stderr
    assert list(program.cwd.iterdir()) == []
    # logged models travel with their runs without being asked for
    for experiment in (f"{name} alone", f"{name} copy"):
        only = [ids["parent"], ids["child"]]
        options: Dict[str, Any] = {"ignore_tag_prefixes": ("mlflow_exim.",)}
        assert_same((source.server.uri, name), (dst_server.uri, experiment), only=only, experiment=False, **options)


def test_without_a_client(program: Program, source: Source, dst_server: Server, third: Stub) -> None:
    """The environment names the server; for what has two sides by a variable of its own if there is one."""
    program.cwd = program.cwd / "own"
    program.cwd.mkdir()
    told = program(
        """
        import mlflow
        told["exported"] = export_experiment(name, "export")
        os.environ["MLFLOW_TRACKING_URI"] = given["dst"]
        told["imported"] = len(import_experiment(name, "export"))
        os.environ["MLFLOW_TRACKING_URI"] = given["src"]
        told["copied"] = copy(ids["child"], name + " copy").info.run_name
        # as MLflow itself puts it into the environment
        mlflow.set_tracking_uri(given["src"])
        told["there"] = export_run(ids["child"], "child").info.run_id
        told["uri"] = mlflow.get_tracking_uri()
        """,
        MLFLOW_TRACKING_URI=source.server.uri,
        MLFLOW_MIGRATION_DST_TRACKING_URI=dst_server.uri,
        MLFLOW_REGISTRY_URI=third.uri,
    )
    assert told == {
        "exported": [3, 0], "imported": 3, "copied": "child", "there": program.given["ids"]["child"],
        "uri": source.server.uri,
    }  # fmt: skip
    assert third.requests == []
    assert len(runs_of(dst_server, source.name)) == 3


def test_options_of_functions(program: Program, source: Source, family: Dict[str, str], tmp_path: Path) -> None:
    """Parameters choose the same as the options of the scripts; the filter of logged models counts too."""
    other = source.model(family["parent"], "other")
    told = program(
        """
        times = dict(run_start_time="1970-01-01 00:00:03", runs_until="1970-01-01 00:00:04", mlflow_client=src)
        told["times"] = export_experiment(name, "../times", **times)
        told["ids"] = export_experiment(name, "../ids", ids["parent"], check_nested_runs=True, mlflow_client=src)
        two = [ids["child"], ids["running"]]
        told["list"] = export_experiment(name, "../list", run_ids=two, mlflow_client=src)
        told["changed"] = export_experiment(name, "../changed", changed_since=3011, mlflow_client=src)
        told["filter"] = export_experiment(name, "../filter", filter="tags.k = 'v'", mlflow_client=src)
        told["models"] = export_experiment(name, "../models", logged_models_filter="name = 'm'", mlflow_client=src)
        run = export_run(ids["parent"], "../bare", skip_download_run_artifacts=True, mlflow_client=src)
        told["bare"] = [run.info.run_id, os.path.exists("../bare/artifacts")]
        told["deleted"] = [export_run(ids["deleted"], "../deleted", deleted, mlflow_client=src) is not None
                           for deleted in (False, True)]
        """
    )
    assert told == {
        "times": [1, 0], "ids": [2, 0], "list": [2, 0], "changed": [1, 0], "filter": [1, 0], "models": [3, 0],
        "bare": [family["parent"], False], "deleted": [False, True],
    }  # fmt: skip
    assert statuses(tmp_path / "models", "logged_model") == {family["model"]: "copied", other: "skipped"}
    assert statuses(tmp_path / "times") == {family["child"]: "copied"}
    assert statuses(tmp_path / "ids")[family["running"]] == "skipped"
    assert {path.name for path in (tmp_path / "models" / "logged_models").iterdir()} == {family["model"]}


def test_failures(program: Program, source: Source, family: Dict[str, str], third: Stub, tmp_path: Path) -> None:
    """export_run returns None or raises, the others raise; one exception for all, that says what is wrong."""
    info = {"run_id": "a" * 32, "run_name": "r", "status": "FINISHED", "start_time": 1, "end_time": 2}
    for folder, metrics in (("other", {}), ("bad", {"x": "no number"})):
        (tmp_path / folder).mkdir()
        text = json.dumps({"mlflow": {"info": info, "metrics": metrics}})
        (tmp_path / folder / "run.json").write_text(text)
    program.given["third"] = third.uri
    told = program(
        """
        third = MlflowClient(given["third"])

        def error(function, *args, **options):
            try:
                return function(*args, **options)
            except MlflowExportImportException as ex:
                return ex.message

        unknown = "f" * 32
        for number, (client, run_id, to) in enumerate(
                [(src, unknown, "../u"), (third, unknown, "../t"), (src, ids["child"], "../other"),
                 (src, ids["child"], "/dev/null/no")]):
            told.setdefault("none", []).append(export_run(run_id, to, mlflow_client=client))
            raised = error(export_run, run_id, to, raise_exception=True, mlflow_client=client)
            told.setdefault("export_run", []).append(raised)
        told["skipped"] = export_run(ids["deleted"], "../d", raise_exception=True, mlflow_client=src)
        told["import_run"] = [error(import_run, *args) for args in [
            ("../missing", name, False, None, False, True, dst), ("..", name, False, None, False, True, dst),
            ("../bad", name, False, None, False, True, dst), ("../bad", name, False, None, False, True, third)]]
        told["export_experiment"] = [error(export_experiment, name + " no", "../e", mlflow_client=src),
                                     error(export_experiment, name, "../e", filter="nonsense", mlflow_client=src)]
        told["counts"] = export_experiment(name, "../e", run_ids=[unknown, ids["child"]], mlflow_client=src)
        told["import_experiment"] = [error(import_experiment, name, path, mlflow_client=dst)
                                     for path in ("../missing", "../bad")]
        told["copy"] = [error(_copy, unknown, name, src, dst), error(_copy, ids["child"], name, src, third)]
        """
    )
    assert (told.pop("none"), told.pop("skipped"), told.pop("counts")) == ([None] * 4, None, [1, 1])
    refused = f"{third.uri} does not permit that with these credentials"
    unknown = f"no run with the id '{'f' * 32}'"
    expected: Dict[str, List[str]] = {
        "export_run": [unknown, refused, "holds the export of another run", "/dev/null"],
        "import_run": ["no directory ../missing", "there is no run.json", "'metrics.x.value' is no number", refused],
        "export_experiment": [f"no experiment with the name or id '{source.name} no'", "--filter 'nonsense'"],
        "import_experiment": ["no directory ../missing", "experiment.json"],
        "copy": [unknown, refused],
    }
    assert set(told) == set(expected)
    for function, sentences in expected.items():
        assert len(told[function]) == len(sentences)
        for message, sentence in zip(told[function], sentences):
            assert sentence in message, function
    # who does not ask for exceptions is told nevertheless
    assert program.stderr.count(" was not exported: ") == 4
    assert f"run {'f' * 32}: failed: the experiment has no such run" in program.stderr


def test_what_is_not_whole(program: Program, source: Source, dst_server: Server, tmp_path: Path) -> None:
    """What lacks something is returned, and logged with the reason where the caller sees it."""
    ids = program.given["ids"]
    told = program(
        """
        export_run(ids["parent"], "../run", mlflow_client=src)
        os.remove("../run/artifacts/dir/a.txt")
        run, _ = import_run("../run", name, mlflow_client=dst)
        told["run"] = [run.info.status, run.data.metrics]
        """
    )
    assert told == {"run": ["FINISHED", {"x": 2.0}]}
    assert f"run {ids['parent']} (parent): incomplete: artifact dir/a.txt" in program.stderr
    assert statuses(tmp_path / "run") == {ids["parent"]: "incomplete"}
    assert ledger(tmp_path / "run")
    # what has come since is brought by a repeat
    log_metrics(source.rest, ids["parent"], [point("y", 3.0, 3)])
    told = program(
        """
        export_run(ids["parent"], "../run", mlflow_client=src)
        run, _ = import_run("../run", name, mlflow_client=dst)
        told["run"] = run.data.metrics
        """
    )
    assert told == {"run": {"x": 2.0, "y": 3.0}} and "incomplete" not in program.stderr
    assert_same(
        (source.server.uri, source.name), (dst_server.uri, source.name), only=[ids["parent"]], experiment=False
    )


IMPORT_ALL = """
import json, logging, os, signal, sys, threading
told = {}
state = lambda: (dict(os.environ), os.listdir(), logging.getLogger().handlers[:], logging.getLogger().level,
                 signal.getsignal(signal.SIGINT), threading.active_count(), sys.excepthook)
before = state()
import pkgutil, importlib, mlflow_migration
names = [module.name for module in pkgutil.walk_packages(mlflow_migration.__path__, "mlflow_migration.")]
for name in names:
    importlib.import_module(name)
assert before == state(), (before, state())
told["modules"] = len(names)
slow = ("mlflow", "pandas", "numpy", "rich", "fsspec", "boto3", "yaml")
told["slow"] = [name for name in slow if name in sys.modules]
told["loggers"] = [name for name, logger in logging.Logger.manager.loggerDict.items() if name.startswith("mlflow_mig")
                   and isinstance(logger, logging.Logger) and (logger.handlers or logger.level)]
client = importlib.import_module("mlflow.tracking").MlflowClient
told["patched"] = client.__repr__ is not object.__repr__
"""


def test_an_import_changes_nothing(program: Program, third: Stub) -> None:
    """Importing every module makes no file, thread, handler or request, and imports neither MLflow nor pandas."""
    told = program("", IMPORT_ALL, **elsewhere(third), MLFLOW_MIGRATION_LOG_OUTPUT_FILE="log.txt")
    assert told.pop("modules") > 40
    assert told == {"slow": [], "loggers": [], "patched": False}
    assert third.requests == []
