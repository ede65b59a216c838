"""What each side of a command really receives: a recording server stands before each of them."""

import base64
import contextlib
import http.client
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from mlflow_migration.client.credentials import connect
from mlflow_migration.client.errors import Refused
from mlflow_migration.client.local_server import serve
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.servers import open_tracking

API = "/api/2.0/mlflow"
NOT_PASSED_ON = {"host", "authorization", "x-mlflow-workspace", "connection", "content-length", "transfer-encoding"}


class Recorder:
    """Passes requests on to a server and keeps the headers of each."""

    def __init__(self, upstream, host="127.0.0.1"):
        self.upstream = upstream
        self.headers = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                recorder.headers.append({name.lower(): value for name, value in self.headers.items()})
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, reply = recorder.pass_on(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in NOT_PASSED_ON:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 -- names that http.server wants

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://{host}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pass_on(self, method, path, headers, body):
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        with contextlib.closing(connection):
            sent = {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED_ON}
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()

    def received(self, header="authorization"):
        """Return the different values that were received, None among them if it was missing once."""
        return {headers.get(header) for headers in self.headers}

    def as_user(self, user):
        return self.uri.replace("://", f"://{user}@")

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    with serve(f"sqlite:///{tmp_path_factory.mktemp('server')}/mlflow.db", writable=True) as url:
        yield url


@pytest.fixture(scope="module")
def run_id(mlflow_server):
    client = RestClient(connect(mlflow_server, two_sided=True))
    experiment_id = client.post(f"{API}/experiments/create", {"name": "source"})["experiment_id"]
    run = client.post(f"{API}/runs/create", {"experiment_id": experiment_id, "run_name": "one", "start_time": 1})
    run_id = run["run"]["info"]["run_id"]
    metrics = [{"key": "m", "value": step / 2, "timestamp": step, "step": step} for step in range(3)]
    params = [{"key": "p", "value": "v"}]
    client.post(f"{API}/runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": params})
    client.post(f"{API}/runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 2})
    return run_id


@pytest.fixture
def sides(mlflow_server):
    src, dst = Recorder(mlflow_server, "localhost"), Recorder(mlflow_server)
    yield src, dst
    src.close()
    dst.close()


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No variable and no file of the machine counts."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "DATABRICKS_")) or name == "NETRC" or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


SRC, DST, GLOBAL = "Bearer src-s3cret", "Bearer dst-s3cret", "Bearer global-s3cret"
ONE_USER, OTHER_USER = "one:p%40-s3cret", "other:q%2F-s3cret"
SIDE_TOKENS = {
    "MLFLOW_MIGRATION_SRC_TRACKING_TOKEN": "src-s3cret",
    "MLFLOW_MIGRATION_DST_TRACKING_TOKEN": "dst-s3cret",
}
GLOBAL_TOKEN = {"MLFLOW_TRACKING_TOKEN": "global-s3cret", "MLFLOW_WORKSPACE": "global-ws"}

# name: variables, side that MLFLOW_TRACKING_URI names, user of each URI, what each side must receive
SCENARIOS = {
    "nothing": ({}, None, (None, None), (None, None)),
    "each its own": (SIDE_TOKENS, None, (None, None), (SRC, DST)),
    "each its own, beside a global one": ({**SIDE_TOKENS, **GLOBAL_TOKEN}, "src", (None, None), (SRC, DST)),
    "one its own, global for the other": (
        {**GLOBAL_TOKEN, "MLFLOW_MIGRATION_SRC_TRACKING_TOKEN": "src-s3cret"},
        "dst",
        (None, None),
        (SRC, GLOBAL),
    ),
    "one its own, global nowhere": (
        {**GLOBAL_TOKEN, "MLFLOW_MIGRATION_DST_TRACKING_TOKEN": "dst-s3cret"},
        None,
        (None, None),
        (None, DST),
    ),
    "global for the source": (GLOBAL_TOKEN, "src", (None, None), (GLOBAL, None)),
    "global for the destination": (GLOBAL_TOKEN, "dst", (None, None), (None, GLOBAL)),
    "global for nobody": (GLOBAL_TOKEN, None, (None, None), (None, None)),
    "in the URIs": (
        {**SIDE_TOKENS, **GLOBAL_TOKEN},
        "src",
        (ONE_USER, OTHER_USER),
        (basic("one", "p@-s3cret"), basic("other", "q/-s3cret")),
    ),
    "in one URI": (GLOBAL_TOKEN, None, (None, ONE_USER), (None, basic("one", "p@-s3cret"))),
}


@pytest.fixture(params=SCENARIOS)
def scenario(request, sides, monkeypatch):
    """Set the variables of a scenario; give the URIs of both sides and what each must receive."""
    variables, home, users, expected = SCENARIOS[request.param]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    uris = [side.as_user(user) if user else side.uri for side, user in zip(sides, users)]
    if home:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uris[0 if home == "src" else 1])
    return uris, expected


def check(sides, expected):
    src, dst = sides
    assert src.headers and dst.headers
    assert (src.received(), dst.received()) == ({expected[0]}, {expected[1]})
    for recorder, own in zip(sides, expected):
        for headers in recorder.headers:
            for name, value in headers.items():
                assert "s3cret" not in value or value == own, f"{name} leaks {value}"


def test_each_side_gets_its_own(scenario, sides):
    uris, expected = scenario
    with open_tracking(uris[0], "src", two_sided=True) as src, open_tracking(uris[1], "dst", two_sided=True) as dst:
        for tracking in (src, dst):
            tracking.rest.get(f"{API}/experiments/get", {"experiment_id": "0"})
            tracking.rest.post(f"{API}/experiments/set-experiment-tag", {"experiment_id": "0", "key": "k", "value": ""})
    check(sides, expected)


def test_workspace_goes_home_only(sides, monkeypatch):
    for name, value in GLOBAL_TOKEN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sides[1].uri)
    monkeypatch.setenv("MLFLOW_MIGRATION_SRC_WORKSPACE", "src-ws")
    for side, recorder in zip(("src", "dst"), sides):
        client = RestClient(connect(recorder.uri, side, two_sided=True))
        client.get(f"{API}/experiments/get", {"experiment_id": "0"})
    assert [recorder.received("x-mlflow-workspace") for recorder in sides] == [{"src-ws"}, {"global-ws"}]


def test_files_of_the_home_directory(sides, clean, monkeypatch):
    (clean / ".mlflow").mkdir()
    (clean / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username=me\nmlflow_tracking_password=file-s3cret\n"
    )
    netrc = clean / ".netrc"
    netrc.write_text("machine localhost login net password rc-s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sides[1].uri)
    for side, recorder in zip(("src", "dst"), sides):
        RestClient(connect(recorder.uri, side, two_sided=True)).get(f"{API}/experiments/get", {"experiment_id": "0"})
    check(sides, (basic("net", "rc-s3cret"), basic("me", "file-s3cret")))


def test_one_sided_command_uses_the_global_ones(sides, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "global-s3cret")
    with open_tracking(sides[0].uri, "src") as tracking:
        tracking.rest.get(f"{API}/experiments/get", {"experiment_id": "0"})
    assert sides[0].received() == {GLOBAL}


def test_redirect_to_another_host_carries_nothing(sides):
    src, other = sides
    src.pass_on = lambda method, path, headers, body: (302, [("Location", other.uri + path)], b"")
    client = RestClient(connect(src.as_user(ONE_USER)))
    with pytest.raises(Refused) as caught:
        client.get(f"{API}/experiments/get", {"experiment_id": "0"})
    assert "s3cret" not in str(caught.value)
    assert (len(src.headers), other.headers) == (1, [])


def test_given_clients_decide(sides, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "global-s3cret")
    clients = [mlflow.MlflowClient(side.as_user(user)) for side, user in zip(sides, (ONE_USER, OTHER_USER))]
    with contextlib.ExitStack() as stack:
        for side, client in zip(("src", "dst"), clients):
            tracking = stack.enter_context(open_tracking(None, side, two_sided=True, mlflow_client=client))
            tracking.rest.get(f"{API}/experiments/get", {"experiment_id": "0"})
    check(sides, (basic("one", "p@-s3cret"), basic("other", "q/-s3cret")))


@pytest.mark.parametrize("scenario", ["each its own, beside a global one", "in the URIs"], indirect=True)
def test_copy_run(scenario, sides, run_id, tmp_path):
    uris, expected = scenario
    command = [sys.executable, "-m", "mlflow_migration.copy.copy_run", "--run-id", run_id, "--verbose"]
    where = ["--src-mlflow-uri", uris[0], "--dst-mlflow-uri", uris[1], "--report-dir", str(tmp_path / "report")]
    what = ["--experiment-name", f"copy of {run_id}"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([*command, *where, *what], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    check(sides, expected)
    # and what stays on the disk or is shown tells nothing
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    texts = [done.stdout, done.stderr, *(path.read_text(errors="replace") for path in files)]
    secrets = ["s3cret", *(value.split()[1] for value in expected)]
    assert not [text for text in texts if any(secret in text for secret in secrets)]
