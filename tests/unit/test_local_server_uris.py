"""What is decided about local stores, and about the process that serves them, without MLflow's server."""

import importlib.util
import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest

from mlflow_migration.client import local_server, local_server_guard, local_stores
from mlflow_migration.client.errors import BadInput, describe

#: which schemas there are only the whole of MLflow knows
needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("sqlalchemy") is None, reason="this MLflow is skinny")

META = "artifact_location: {}\nexperiment_id: '{}'\nlifecycle_stage: active\nname: {}\n"


def database(path, revision=None, location="/somewhere/0", tables=("experiments", "runs"), other=None, run=None):
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = "(experiment_id INTEGER, artifact_location TEXT, artifact_uri TEXT)"
        for table in tables:
            connection.execute(f"CREATE TABLE {table} {columns}")
        if "experiments" in tables:
            connection.execute("INSERT INTO experiments VALUES (0, ?, NULL)", (location,))
        if other:
            connection.execute("INSERT INTO experiments VALUES (1, ?, NULL)", (other,))
        if run:
            connection.execute("INSERT INTO runs VALUES (0, NULL, ?)", (run,))
        if revision:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def experiment(folder, name, location):
    place = folder / name
    place.mkdir(parents=True)
    (place / "meta.yaml").write_text(META.format(location, name, name))


def head():
    return local_stores._revisions()[1]


def open_store(uri, tmp_path, writable=False):
    copies = tmp_path / "copies"
    copies.mkdir()
    return local_stores.open_store(str(uri), str(copies), writable=writable)


@pytest.mark.parametrize(
    "uri",
    ["http://a:5000", "HTTPS://a", "databricks", "databricks://profile", "databricks-uc", "databricks-uc://p", "uc"],
)
def test_servers(uri):
    assert local_server.is_server_uri(uri)


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///a.db", "postgresql+psycopg2://a/b", "mysql://a/b", "mlruns", "/a/http", "file:///a", "C:\\mlruns", ""],
)
def test_no_servers(uri):
    assert not local_server.is_server_uri(uri)


@pytest.mark.parametrize("uri", ["", "ftp://host/a", "dbfs:/a", "localhost:5000", "oracle://a/b", "sqlite://"])
@pytest.mark.parametrize("writable", [False, True])
def test_what_is_no_tracking_uri(uri, writable, tmp_path):
    with pytest.raises(BadInput):
        open_store(uri, tmp_path, writable)


def test_known_schema_revisions():
    known, newest = local_stores._revisions()
    assert "451aebb31d03" in known and newest in known


@pytest.mark.parametrize("uri", ["sqlite:///{}/none/a.db", "{}/none", "file://{}/none"])
def test_a_source_that_is_missing_is_not_made(uri, tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        open_store(uri.format(tmp_path), tmp_path)
    assert not (tmp_path / "none").exists()


def test_a_source_is_copied(tmp_path):
    database(tmp_path / "a.db", head())
    store = open_store(f"sqlite:///{tmp_path}/a.db", tmp_path)
    assert store.uri == f"sqlite:///{tmp_path}/copies/snapshot.db"
    assert store.name == f"sqlite:///{tmp_path}/a.db"
    assert not store.upgrade
    assert store.proxied_artifacts == (tmp_path / "mlartifacts").as_uri()


def test_relative_uris(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database("a.db", head())
    assert open_store("sqlite:///a.db", tmp_path, writable=True).uri == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize("revision", [None, "451aebb31d03"])
def test_only_the_copy_of_an_older_source_is_upgraded(revision, tmp_path):
    database(tmp_path / "a.db", revision)
    store = open_store(f"sqlite:///{tmp_path}/a.db", tmp_path)
    assert store.upgrade and "copies" in store.uri


@needs_mlflow
@pytest.mark.parametrize("revision", [None, "451aebb31d03"])
def test_an_older_destination_is_refused_with_the_command(revision, tmp_path):
    database(tmp_path / "a.db", revision)
    with pytest.raises(BadInput) as caught:
        open_store(f"sqlite:///{tmp_path}/a.db", tmp_path, writable=True)
    assert describe(caught.value).endswith(f"run: mlflow db upgrade sqlite:///{tmp_path}/a.db")


@needs_mlflow
@pytest.mark.parametrize("writable", [False, True])
def test_a_newer_schema_is_refused(writable, tmp_path):
    database(tmp_path / "a.db", "feedfeedfeed")
    with pytest.raises(BadInput, match="pip install --upgrade mlflow"):
        open_store(f"sqlite:///{tmp_path}/a.db", tmp_path, writable)


@pytest.mark.parametrize("writable", [False, True])
def test_other_databases_are_refused(writable, tmp_path):
    database(tmp_path / "a.db", tables=("cookies",))
    (tmp_path / "b.db").write_text("certainly no database " * 100)
    with pytest.raises(BadInput, match="cookies"):
        open_store(f"sqlite:///{tmp_path}/a.db", tmp_path, writable)
    with pytest.raises(BadInput, match="b.db"):
        local_stores.open_store(f"sqlite:///{tmp_path}/b.db", str(tmp_path / "copies"), writable=writable)


def test_an_empty_database_is_no_source_but_a_destination(tmp_path):
    (tmp_path / "a.db").write_bytes(b"")
    open_store(f"sqlite:///{tmp_path}/a.db", tmp_path, writable=True)
    with pytest.raises(BadInput, match="no MLflow data"):
        local_stores.open_store(f"sqlite:///{tmp_path}/a.db", str(tmp_path / "copies"), writable=False)


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("in_use", [False, True])
def test_a_snapshot_leaves_nothing_beside_the_source(mode, in_use, tmp_path):
    path = tmp_path / "place" / "a.db"
    path.parent.mkdir()
    database(path, head())
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("UPDATE experiments SET artifact_location = 's3://b/0'")
    connection.commit()
    if not in_use:
        connection.close()
    before = path.read_bytes(), sorted(os.listdir(path.parent))
    store = open_store(f"sqlite:///{path}", tmp_path)
    assert (path.read_bytes(), sorted(os.listdir(path.parent))) == before
    # what was committed is in it, also if it is only in the write-ahead log yet
    assert store.artifact_root == "s3://b"
    connection.close()


def test_a_snapshot_of_what_a_killed_writer_left(tmp_path):
    """A transaction that was written in part is rolled back in the copy, not in the source."""
    database(tmp_path / "a.db", head())
    killed = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN')\n"
        "c.execute(\"UPDATE experiments SET artifact_location = 'torn/0'\")\n"
        "c.execute('CREATE TABLE fill (x)')\n"
        "c.executemany('INSERT INTO fill VALUES (?)', (('x' * 1000,) for _ in range(3000)))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "a.db")], check=True)
    assert (tmp_path / "a.db-journal").exists()
    before = (tmp_path / "a.db").read_bytes(), sorted(os.listdir(tmp_path))
    store = open_store(f"sqlite:///{tmp_path}/a.db", tmp_path)
    assert (tmp_path / "a.db").read_bytes() == before[0]
    assert sorted(os.listdir(tmp_path)) == sorted([*before[1], "copies"])
    with closing(sqlite3.connect(store.uri[len("sqlite:///") :])) as copy:
        assert copy.execute("SELECT artifact_location FROM experiments").fetchall() == [("/somewhere/0",)]


def test_artifact_roots(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    assert local_stores._root_in_use("s3://bucket/a/0") == "s3://bucket/a"
    assert local_stores._root_in_use("mlflow-artifacts:/0") == "mlflow-artifacts:/"
    assert local_stores._root_in_use(f"{here}/0") == str(here)
    assert local_stores._root_in_use(f"{here.as_uri()}/mlruns/0") == f"{here.as_uri()}/mlruns"
    for elsewhere in (None, "", "./mlruns/0", "/no/such/folder/0", "s3://bucket/own"):
        assert local_stores._root_in_use(elsewhere) is None


def test_artifacts_of_a_new_destination_lie_beside_it(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/new place/a.db", tmp_path, writable=True)
    assert store.artifact_root == (tmp_path / "new place" / "mlruns").as_uri()
    assert not (tmp_path / "new place" / "a.db").exists()
    folder = local_stores.open_store(str(tmp_path / "runs"), str(tmp_path / "copies"), writable=True)
    assert folder.artifact_root == folder.uri == (tmp_path / "runs").as_uri()


def test_folder_of_artifacts(tmp_path):
    assert local_stores.artifact_folder(f"sqlite:///{tmp_path}/a.db") == f"{tmp_path}/mlruns"
    assert local_stores.artifact_folder(str(tmp_path)) == str(tmp_path)
    assert local_stores.artifact_folder(tmp_path.as_uri()) == str(tmp_path)
    assert local_stores.artifact_folder("postgresql://a/b") == ""


def test_a_folder_as_source_is_seen_through_links(tmp_path):
    folder = tmp_path / "my runs"
    experiment(folder, "0", f"{folder.as_uri()}/0")
    experiment(folder / ".trash", "7", f"{folder.as_uri()}/7")
    (folder / "models").mkdir()
    for number, uri in enumerate((folder, folder.as_uri())):
        (tmp_path / str(number)).mkdir()
        store = open_store(uri, tmp_path / str(number))
        view = tmp_path / str(number) / "copies" / "store"
        assert store.uri == view.as_uri() and store.artifact_root == folder.as_uri()
        assert sorted(os.listdir(view)) == [".trash", "0", "models"]
        assert (view / "0" / "meta.yaml").exists() and (view / ".trash" / "7" / "meta.yaml").exists()
        assert not (view / ".trash").is_symlink()


def test_folders_that_are_no_stores(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("")
    (tmp_path / "mlflow.db").write_text("")
    with pytest.raises(BadInput, match="holds no MLflow experiment"):
        open_store(tmp_path / "empty", tmp_path)
    copies = str(tmp_path / "copies")
    local_stores.open_store(str(tmp_path / "empty"), copies, writable=True)
    with pytest.raises(BadInput, match="letter.txt"):
        local_stores.open_store(str(tmp_path / "home"), copies, writable=True)
    with pytest.raises(BadInput, match="sqlite:///"):
        local_stores.open_store(str(tmp_path / "mlflow.db"), copies, writable=True)


@needs_mlflow
def test_databases_behind_sqlalchemy(tmp_path):
    database(tmp_path / "a.db", "451aebb31d03", location="s3://b/0")
    content = local_stores._database_content(f"sqlite:///{tmp_path}/a.db", "a")
    assert (content.revision, content.default_location) == ("451aebb31d03", "s3://b/0")
    assert "runs" in content.tables and not content.proxied
    database(tmp_path / "b.db", "451aebb31d03", other="mlflow-artifacts:/1")
    assert local_stores._database_content(f"sqlite:///{tmp_path}/b.db", "b").proxied


URI = "postgresql://me:hunter2@host/db"


@needs_mlflow
@pytest.mark.parametrize("writable", [False, True])
def test_an_older_database_is_refused_with_the_command(writable, tmp_path, monkeypatch):
    content = local_stores._Content(["experiments", "alembic_version"], "451aebb31d03", None)
    monkeypatch.setattr(local_stores, "_database_content", lambda uri, name: content)
    with pytest.raises(BadInput) as caught:
        open_store(URI, tmp_path, writable)
    assert "mlflow db upgrade postgresql://host/db (with its user and password)" in describe(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_database_of_a_server_that_stores_artifacts(tmp_path, monkeypatch):
    content = local_stores._Content(["experiments", "alembic_version"], head(), "mlflow-artifacts:/0")
    monkeypatch.setattr(local_stores, "_database_content", lambda uri, name: content)
    with pytest.raises(BadInput, match="MLFLOW_ARTIFACTS_DESTINATION"):
        open_store(URI, tmp_path, writable=True)
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "s3://bucket/a")
    store = local_stores.open_store(URI, str(tmp_path), writable=True)
    assert (store.uri, store.name, store.proxied_artifacts) == (URI, "postgresql://host/db", "s3://bucket/a")


PROXIED = "mlflow-artifacts:/0"
IN_USE = [{"other": "mlflow-artifacts:/1"}, {"location": PROXIED, "run": f"{PROXIED}/r/artifacts"}]


@needs_mlflow
@pytest.mark.parametrize("content", IN_USE, ids=["experiment", "run"])
@pytest.mark.parametrize("writable", [False, True])
def test_artifacts_that_only_a_server_knew_of(content, writable, tmp_path, monkeypatch):
    """They would be looked for, or put, in a folder that was made up."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    database(tmp_path / "a.db", head(), **content)
    uri, copies = f"sqlite:///{tmp_path}/a.db", tmp_path / "copies"

    def opened():
        copies.mkdir(exist_ok=True)
        return local_stores.open_store(uri, str(copies), writable=writable)

    with pytest.raises(BadInput) as caught:
        opened()
    assert describe(caught.value).startswith(f"{uri} belongs to a server that stores artifacts itself")
    assert "set MLFLOW_ARTIFACTS_DESTINATION" in describe(caught.value)
    assert f"make the folder {tmp_path}/mlartifacts" in describe(caught.value)
    for typed in ("no such folder", (tmp_path / "none").as_uri(), str(tmp_path / "a.db")):
        monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", typed)
        with pytest.raises(BadInput) as caught:
            opened()
        assert describe(caught.value).startswith(f"MLFLOW_ARTIFACTS_DESTINATION names {typed}, which is no folder")
    for place in ("s3://bucket/a", str(here)):
        monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", place)
        assert opened().proxied_artifacts == place
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION")
    for place in (here / "mlartifacts", tmp_path / "mlartifacts"):
        place.mkdir()
        assert opened().proxied_artifacts == place.as_uri()


@needs_mlflow
def test_locations_that_need_no_folder(tmp_path):
    """Of other stores, and of the proxy of a server that they name."""
    database(tmp_path / "a.db", head(), "s3://b/0", other="mlflow-artifacts://host:5000/1", run="s3://b/0/r/artifacts")
    for writable in (False, True):
        (tmp_path / str(writable)).mkdir()
        local_stores.open_store(f"sqlite:///{tmp_path}/a.db", str(tmp_path / str(writable)), writable=writable)


@needs_mlflow
@pytest.mark.parametrize("writable", [False, True])
def test_a_store_in_which_a_server_has_put_nothing_yet(writable, tmp_path, monkeypatch):
    """Its new experiments have locations that need no such folder, unless there is one."""
    database(tmp_path / "a.db", head(), location=PROXIED)
    uri = f"sqlite:///{tmp_path}/a.db"
    expected = tmp_path / "mlruns" if writable else tmp_path / "copies" / "artifacts"
    assert open_store(uri, tmp_path, writable).artifact_root == expected.as_uri()
    copies = tmp_path / "again"
    copies.mkdir()
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", str(tmp_path / "none"))
    if writable:
        with pytest.raises(BadInput, match="MLFLOW_ARTIFACTS_DESTINATION names"):
            local_stores.open_store(uri, str(copies), writable=True)
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION")
    (tmp_path / "mlartifacts").mkdir()
    assert local_stores.open_store(uri, str(copies), writable=writable).artifact_root == "mlflow-artifacts:/"


@pytest.mark.parametrize("writable", [False, True])
def test_a_folder_of_a_server_that_stores_artifacts(writable, tmp_path):
    folder, copies = tmp_path / "place" / "runs", []
    experiment(folder, "0", PROXIED)

    def opened():
        copies.append(tmp_path / f"copies {len(copies)}")
        copies[-1].mkdir()
        return local_stores.open_store(str(folder), str(copies[-1]), writable=writable)

    assert opened().artifact_root == folder.as_uri()
    experiment(folder / "0", "a-run", "")
    with pytest.raises(BadInput, match=f"{folder} belongs to a server"):
        opened()
    (folder / "0" / "a-run" / "meta.yaml").unlink()
    opened()
    experiment(folder / ".trash", "7", "'mlflow-artifacts:/a b/7'")
    with pytest.raises(BadInput, match=f"{folder} belongs to a server"):
        opened()
    (tmp_path / "place" / "mlartifacts").mkdir()
    assert opened().proxied_artifacts == (tmp_path / "place" / "mlartifacts").as_uri()


def test_artifacts_of_another_database_as_source(tmp_path, monkeypatch):
    """A folder of the working directory may be theirs, but is no place to put new ones."""
    monkeypatch.chdir(tmp_path)
    content = local_stores._Content(["experiments", "alembic_version"], head(), PROXIED, proxied=True)
    monkeypatch.setattr(local_stores, "_database_content", lambda uri, name: content)
    with pytest.raises(BadInput, match="MLFLOW_ARTIFACTS_DESTINATION"):
        local_stores.open_store(URI, str(tmp_path), writable=False)
    (tmp_path / "mlartifacts").mkdir()
    store = local_stores.open_store(URI, str(tmp_path), writable=False)
    assert store.proxied_artifacts == (tmp_path / "mlartifacts").as_uri()
    with pytest.raises(BadInput, match="MLFLOW_ARTIFACTS_DESTINATION"):
        local_stores.open_store(URI, str(tmp_path), writable=True)


@needs_mlflow
def test_a_database_that_does_not_answer(tmp_path):
    with pytest.raises(BadInput) as caught:
        open_store("postgresql+nodriver://me:hunter2@127.0.0.1:1/db", tmp_path)
    assert "postgresql+nodriver://127.0.0.1:1/db can't be opened" in describe(caught.value)
    assert "hunter2" not in str(caught.value)


def test_environment_of_the_server():
    store = local_stores.Store(URI, "name", "/root", "/proxied")
    ours = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "a",
        "MLFLOW_S3_ENDPOINT_URL": "http://s3",
        "MLFLOW_TRACKING_URI": "http://other",
        "MLFLOW_TRACKING_PASSWORD": "p",
        "MLFLOW_MIGRATION_DST_TRACKING_TOKEN": "t",
        "MLFLOW_STATIC_PREFIX": "/p",
        "MLFLOW_REGISTRY_STORE_URI": "sqlite:///other.db",
        "_MLFLOW_SERVER_FILE_STORE": "x",
        "UVICORN_ROOT_PATH": "/p",
    }
    environment = local_server._environment(ours, store)
    assert [name for name in ours if name in environment] == ["PATH", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == URI


@needs_mlflow
def test_without_the_whole_of_mlflow(tmp_path, monkeypatch):
    find = local_server.importlib.util.find_spec
    monkeypatch.setattr(local_server.importlib.util, "find_spec", lambda name: None if name == "flask" else find(name))
    with pytest.raises(BadInput, match=r"flask not found\): pip install 'mlflow-migration\[local\]'"):
        with local_server.serve(f"sqlite:///{tmp_path}/a.db", writable=True):
            pass
    assert list(tmp_path.iterdir()) == []


# --- the process; a stand-in for Python that plays MLflow's server, and runs everything else


@pytest.fixture
def play(tmp_path, monkeypatch):
    def stand_in(body):
        path = tmp_path / "python"
        path.write_text(
            f"#!{sys.executable}\n"
            "import os, sys\n"
            f"if sys.argv[1] == '-I': os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
            f"port, tries = sys.argv[sys.argv.index('--port') + 1], {str(tmp_path / 'tries')!r}\n"
            "open(tries, 'a').write(' '.join(sys.argv))\n"
            f"{body}\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(local_server.sys, "executable", str(path))
        monkeypatch.setattr(local_server, "_check_mlflow", lambda uri: None)
        monkeypatch.setattr(local_server.tempfile, "tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()

    return stand_in


SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(('127.0.0.1', int(port)), Handler)
print(f'at http://127.0.0.1:{port}', flush=True)
server.serve_forever()
"""


def test_a_server_lives_as_long_as_the_context(play, tmp_path):
    play(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n{SERVER}")
    with pytest.raises(ZeroDivisionError):
        with local_server.serve(str(tmp_path / "runs"), writable=True) as url:
            assert url.startswith("http://127.0.0.1:")
            pid = int((tmp_path / "pid").read_text())
            os.kill(pid, 0)
            raise ZeroDivisionError
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_start_is_told_before_and_after(play, tmp_path, caplog):
    """It takes seconds in which nothing else is to be seen."""
    caplog.set_level("INFO", local_server.__name__)
    play(f"import time; time.sleep(0.3)\n{SERVER}")
    with local_server.serve(str(tmp_path / "runs"), writable=True):
        pass
    first, last = caplog.records
    assert first.getMessage().startswith(f"Starting a private MLflow server for {tmp_path / 'runs'}")
    assert last.getMessage().startswith("Serving ") and last.created - first.created > 0.3


def test_no_credentials_in_arguments(play, tmp_path, monkeypatch):
    content = local_stores._Content(["experiments", "alembic_version"], head(), "ftp://me:hunter2@host/0")
    monkeypatch.setattr(local_stores, "_database_content", lambda uri, name: content)
    play("print('no', os.environ['MLFLOW_BACKEND_STORE_URI']); sys.exit(1)")
    with pytest.raises(BadInput) as caught:
        with local_server.serve(URI, writable=False):
            pass
    assert "postgresql://host/db did not start: no postgresql://host/db" in describe(caught.value)
    assert "hunter2" not in str(caught.value) + (tmp_path / "tries").read_text()


def test_a_port_that_was_taken_meanwhile(play, tmp_path):
    play(f"if open(tries).read().count('--port') < 2: sys.exit('address already in use')\n{SERVER}")
    with local_server.serve(str(tmp_path / "runs"), writable=True):
        assert (tmp_path / "tries").read_text().count("--port") == 2


def test_the_server_of_another_is_not_taken_for_ours(play, tmp_path, monkeypatch):
    """One that answers on the port, while ours has not said that it has it."""
    play("print('starting'); import time; time.sleep(60)")
    monkeypatch.setattr(local_server, "_is_healthy", lambda port: True)
    monkeypatch.setattr(local_server, "_START_SECONDS", 1)
    with pytest.raises(BadInput, match="did not start: starting|gave no reason"):
        with local_server.serve(str(tmp_path / "runs"), writable=True):
            pass


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups")
def test_the_guard_ends_the_whole_tree(tmp_path):
    """Also a grandchild that ignores the polite signal, and whose parent is gone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    grandchild = (
        "import signal, os, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    )
    child = (
        "import subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}, sys.argv[1]]); time.sleep(60)"
    )
    pid_file = tmp_path / "pid"
    guard = subprocess.Popen(
        [sys.executable, "-I", local_server_guard.__file__, str(folder), sys.executable, "-c", child, str(pid_file)],
        stdin=subprocess.PIPE,
    )
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.05)
    guard.stdin.close()
    assert guard.wait(20) == 0
    assert not folder.exists()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(int(pid_file.read_text())):
        time.sleep(0.05)
    assert not _runs(int(pid_file.read_text()))


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_guard_passes_on_how_a_command_ended(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    guard = [sys.executable, "-I", local_server_guard.__file__, str(tmp_path), *command]
    with subprocess.Popen(guard, stdin=subprocess.PIPE) as process:
        assert process.wait(20) == 7
    assert tmp_path.exists()
