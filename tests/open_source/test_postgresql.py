"""PostgreSQL behind a server, and as a local store: its limits, its races, its passwords and its older schemas."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set

import pytest

from benchmarks.make_data import make_everything
from tests.support.compare import assert_same, differences
from tests.support.moves import Moves, Source, point, runs_of
from tests.support.postgres import NoPostgresError, Postgres
from tests.support.proxy import Proxy
from tests.support.reports import records, statuses
from tests.support.scripts import Result, start_script
from tests.support.servers import NoEnvironmentError, Server, clean_environment, mlflow_env

#: of the user who names databases to the scripts; the tests' own server has another one on its command line
USER, PASSWORD = "migration", "p@ss:s3cret/w%rd"
SECRETS = (PASSWORD, "p%40ss%3As3cret%2Fw%25rd", "s3cret")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own."""
    try:
        cluster = Postgres()
    except NoPostgresError as ex:
        pytest.skip(str(ex))
    with cluster:
        cluster.add_user(USER, PASSWORD)
        yield cluster


@pytest.fixture(scope="module")
def on_postgres(postgres: Postgres, server: Callable[..., Server]) -> Server:
    """A server whose metadata lie in the database "mlflow"."""
    return server(backend_uri=postgres.make("mlflow"))


def secrets_in(home: Path) -> Set[str]:
    """Files below a directory that hold the password."""
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert files
    return {str(path) for path, data in files.items() if any(secret.encode() in data for secret in SECRETS)}


# ---- a server with PostgreSQL


def test_everything(
    moves: Moves, src_server: Server, dst_server: Server, on_postgres: Server, experiment_name: str
) -> None:
    """Everything goes from SQLite to PostgreSQL and back, but for what is too long for PostgreSQL: that is told."""
    ids = make_everything(src_server.uri, experiment_name, deleted_models=True)
    wild, objects = ids["wild tags"], {value for role, value in ids.items() if role != "experiment"}
    moves.dst = on_postgres
    moves.copy(experiment_name, experiment_name, "--export-deleted-runs", status=1)
    found = {**statuses(moves.report), **statuses(moves.report, "logged_model")}
    assert found == {**dict.fromkeys(objects, "copied"), wild: "incomplete"}
    (line,) = records(moves.report, "value")
    assert line["src_id"] == f"{wild}/tag/huge" and line["value"] == "h" * 20_000
    assert records(moves.report, src_id=wild)[0]["losses"] == ["values"]
    (lost,) = differences((src_server.uri, experiment_name), (on_postgres.uri, experiment_name))
    assert lost.startswith(f"run {wild} ('wild tags'): tag 'huge': missing")

    moves.copy(experiment_name, experiment_name, "--export-deleted-runs", status=1)
    found = {**statuses(moves.report), **statuses(moves.report, "logged_model")}
    assert found == {**dict.fromkeys(objects, "unchanged"), wild: "incomplete"}
    assert len(runs_of(on_postgres, experiment_name)) == len(statuses(moves.report))

    moves.src, moves.dst, moves.report = on_postgres, dst_server, moves.home / "way back"
    moves.copy(experiment_name, experiment_name, "--export-deleted-runs")
    assert len(statuses(moves.report)) == len(runs_of(on_postgres, experiment_name))
    assert_same((on_postgres.uri, experiment_name), (dst_server.uri, experiment_name))


def test_shared_datasets(moves: Moves, source: Source, on_postgres: Server, postgres: Postgres) -> None:
    """Datasets that many runs bring at the same time arrive with each of them, though the database lets one make it."""
    datasets = [
        {"dataset": {"name": f"d{i}", "digest": "1", "source_type": "local", "source": "s"}, "tags": []}
        for i in range(3)
    ]
    for number in range(32):
        run_id = source.run(f"run {number}", 1000 + number, (point("x", 1.0, 1),))
        source.rest.post("runs/log-inputs", {"run_id": run_id, "datasets": datasets})
    moves.export(source.name)
    before = postgres.log.read_text().count("duplicate key")
    # none can be made before two runs are about to make the same
    blocker = postgres.connect("mlflow")
    blocker.cursor().execute("LOCK TABLE datasets IN SHARE MODE")

    def let_go() -> None:
        end = time.monotonic() + 60
        while postgres.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") < [(2,)] and time.monotonic() < end:
            time.sleep(0.1)
        blocker.close()

    letting_go = threading.Thread(target=let_go)
    letting_go.start()
    with Proxy(on_postgres.uri) as proxy:
        moves.dst = proxy
        assert moves.load(source.name, "--workers", "8")["run"] == {"copied": 32}
        assert proxy.count("POST", "*/runs/log-inputs") > 32
    letting_go.join()
    assert postgres.log.read_text().count("duplicate key") > before
    assert_same((moves.src.uri, source.name), (on_postgres.uri, source.name))


# ---- as a local store


def command_lines() -> List[str]:
    """Command lines of all processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_local_store(
    source: Source,
    dst_server: Server,
    on_postgres: Server,
    postgres: Postgres,
    moves: Moves,
    run_script: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """A database is read and written without its server, and its password shows nowhere."""
    parent = source.run("parent", points=(point("x", 1.0, 1), point("x", float("-1e300"), 2)))
    source.run("child", 2000, parent=parent)
    source.put(parent, "dir/a b.txt", b"content")
    source.model(parent, "model")
    uri, name = postgres.uri("mlflow", USER, PASSWORD), source.name
    env = {"MLFLOW_TRACKING_URI": uri}
    outputs = []

    def script(*args: Any, **options: Any) -> Result:
        outputs.append(run_script(*args, "--verbose", **options))
        return outputs[-1]

    moves.export(name)
    into = ("import-experiment", "--experiment-name", name, "--input-dir", tmp_path / "export")
    refused = script(*into, env=env, check=2)
    assert "give that server's URL, or set MLFLOW_ARTIFACTS_DESTINATION" in refused.stderr
    # as a destination
    place = {"MLFLOW_ARTIFACTS_DESTINATION": str(on_postgres.root / "artifacts")}
    script(*into, "--report-dir", tmp_path / "report", env={**env, **place})
    both = (source.server.uri, name), (on_postgres.uri, name)
    assert_same(*both)
    # and as a source, while all processes are watched
    export = ("export-experiment", "--experiment", name, "--output-dir", tmp_path / "from database", "--verbose")
    process = start_script(*export, env={**env, **place}, cwd=tmp_path)
    seen: Set[str] = set()
    while process.poll() is None:
        seen.update(command_lines())
        time.sleep(0.2)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stdout + stderr
    if Path("/proc").exists():
        assert any("from database" in line for line in seen) and any("mlflow server" in line for line in seen)
        assert not [line for line in seen if any(secret in line for secret in SECRETS)]
    script(
        "import-experiment", "--tracking-uri", dst_server.uri, "--experiment-name", name,
        "--input-dir", tmp_path / "from database", "--report-dir", tmp_path / "report",
    )  # fmt: skip
    assert_same((on_postgres.uri, name), (dst_server.uri, name))

    text = "".join(result.stdout + result.stderr for result in outputs) + stdout + stderr
    assert f"postgresql+psycopg2://127.0.0.1:{postgres.port}/mlflow" in text
    assert not [secret for secret in SECRETS if secret in text]
    assert secrets_in(tmp_path) == set()


@pytest.mark.slow
def test_new_local_store(
    source: Source, postgres: Postgres, moves: Moves, run_script: Callable[..., Result], tmp_path: Path
) -> None:
    """An empty database becomes a store; one that can't be opened is refused without its password."""
    source.put(source.run("one", points=(point("x", 1.0, 1),)), "a.txt", b"content")
    moves.export(source.name)
    postgres.make("new")
    into = ("import-experiment", "--experiment-name", source.name, "--input-dir", tmp_path / "export")
    run_script(*into, env={"MLFLOW_TRACKING_URI": postgres.uri("new", USER, PASSWORD)})
    assert postgres.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'", "new") == [(1,)]
    (artifact,) = (tmp_path / "mlruns").rglob("a.txt")
    assert artifact.read_bytes() == b"content"
    for uri in (postgres.uri("new", USER, PASSWORD + "!"), postgres.uri("absent", USER, PASSWORD)):
        refused = run_script(*into, "--verbose", env={"MLFLOW_TRACKING_URI": uri}, check=2)
        assert f"127.0.0.1:{postgres.port}/" in refused.stderr and "can't be opened" in refused.stderr
        assert not [secret for secret in SECRETS if secret in refused.stdout + refused.stderr]
    empty = run_script(
        "export-experiment", "--experiment", "x", "--output-dir", tmp_path / "none",
        env={"MLFLOW_TRACKING_URI": postgres.uri("postgres", USER, PASSWORD)}, check=2,
    )  # fmt: skip
    assert "holds no MLflow data" in empty.stderr


OLD = """
import os
from mlflow import MlflowClient

client = MlflowClient(os.environ["URI"])
run = client.create_run(client.create_experiment("old", artifact_location=os.environ["ROOT"])).info.run_id
client.log_metric(run, "x", 1.5, timestamp=1, step=2)
client.set_terminated(run)
"""


@pytest.mark.slow
def test_older_schema(postgres: Postgres, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """A database of an older MLflow is left as it is; after the command that the refusal names it is read."""
    try:
        python = mlflow_env("2.9")
    except NoEnvironmentError as ex:
        pytest.skip(str(ex))
    uri = postgres.make("old")
    env: Dict[str, str] = {"URI": uri, "ROOT": (tmp_path / "artifacts").as_uri()}
    subprocess.run([python, "-c", OLD], env=clean_environment(env), cwd=tmp_path, check=True, timeout=300)
    schema = "SELECT version_num FROM alembic_version"
    before = postgres.execute(schema, "old")
    given = {"MLFLOW_TRACKING_URI": postgres.uri("old", USER, PASSWORD)}
    export = ("export-experiment", "--experiment", "old", "--output-dir", tmp_path / "export")
    shown = f"postgresql+psycopg2://127.0.0.1:{postgres.port}/old"
    refused = run_script(*export, env=given, check=2)
    assert f"Back it up, then run: mlflow db upgrade {shown} (with its user and password)" in refused.stderr
    assert not [secret for secret in SECRETS if secret in refused.stderr]
    into = ("import-experiment", "--experiment-name", "x", "--input-dir", tmp_path / "export")
    (tmp_path / "export").mkdir(exist_ok=True)
    assert f"mlflow db upgrade {shown}" in run_script(*into, env=given, check=2).stderr
    assert postgres.execute(schema, "old") == before

    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
    subprocess.run(upgrade, env=clean_environment(), cwd=tmp_path, check=True, timeout=300, capture_output=True)
    assert postgres.execute(schema, "old") != before
    run_script(*export, env=given)
    assert list(statuses(tmp_path / "export").values()) == ["copied"]
