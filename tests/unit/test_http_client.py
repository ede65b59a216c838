"""The http-client script and its classes, against a server that tells what it was sent."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click
import pytest
from click.testing import CliRunner

from mlflow_migration.client import http_client
from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.client.http_client import DatabricksHttpClient, HttpClient, MlflowHttpClient


@pytest.fixture
def server(monkeypatch):
    for name in ("USERNAME", "PASSWORD", "TOKEN", "URI"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("NETRC", "/no/such/file")

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            Echo.count += 1
            status = 500 if self.path.endswith("broken") else 404 if self.path.endswith("absent") else 200
            sent = {"method": self.command, "path": self.path, "body": body, "auth": self.headers.get("Authorization")}
            reply = b"<html>" if self.path.endswith("html") else json.dumps(sent).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.send_header("Content-Type", "text/html" if self.path.endswith("html") else "application/json")
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 -- names that http.server wants

        def log_message(self, *_):
            pass

    Echo.count = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.uri = f"http://127.0.0.1:{running.server_port}"
        running.handler = Echo
        yield running
        running.shutdown()


def test_methods(server):
    client = MlflowHttpClient(server.uri, "t0ken")
    got = client.get("runs/search", {"name": "a b&c", "ids": ["1", "2"]})
    assert got["path"] == "/api/2.0/mlflow/runs/search?name=a%20b%26c&ids=1&ids=2"
    assert (got["body"], got["auth"]) == ("", "Bearer t0ken")
    assert json.loads(client.post("x", {"a": "\u00e9"})["body"]) == {"a": "\u00e9"}
    assert client.put("x", '{"a": 1}')["body"] == '{"a": 1}'
    assert client.patch("x")["body"] == "{}"
    assert client.delete("x")["body"] == ""
    assert client._post("x", {}).status_code == 200
    assert client.get_token() == "t0ken"
    assert client.get_api_uri() == str(client) == f"{server.uri}/api/2.0/mlflow"


def test_apis(server):
    assert DatabricksHttpClient(server.uri).get("clusters/list")["path"] == "/api/2.0/clusters/list"
    assert HttpClient("api/3.0/mlflow", server.uri + "/").get("/x")["path"] == "/api/3.0/mlflow/x"
    assert HttpClient("api", server.uri).get_token() is None


def test_host_that_is_a_profile(monkeypatch):
    asked = []
    monkeypatch.setattr(http_client, "connect", lambda host, token: asked.append((host, token)))
    monkeypatch.setattr(http_client, "RestClient", lambda *_, **__: None)
    for host in ("prod", "databricks://prod", None):
        with pytest.raises(AttributeError):  # there is no connection to go on with
            DatabricksHttpClient(host)
    assert asked == [("databricks://prod", None), ("databricks://prod", None), (None, None)]


def test_failures(server):
    client = MlflowHttpClient(server.uri)
    with pytest.raises(MlflowExportImportException) as caught:
        client.get("absent")
    assert caught.value.http_status_code == 404
    with pytest.raises(MlflowExportImportException):
        client.get("html")
    server.handler.count = 0
    with pytest.raises(MlflowExportImportException):
        client.post("broken")
    assert server.handler.count == 1, "a POST that may have worked must not be sent again"


def run(*args):
    return CliRunner().invoke(http_client.main, args)


def test_command(server, tmp_path):
    assert isinstance(http_client.main, click.Command)
    body, out = tmp_path / "body.json", tmp_path / "out.json"
    body.write_text('{"a": 1}')
    result = run(
        "--resource", "x", "--method", "post", "--data", f"@{body}", "--tracking-uri", server.uri, "--output-file", out
    )
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["body"] == '{"a":1}'
    result = run("--api", "databricks", "--resource", "x", "--params", '{"b": "c"}', "--tracking-uri", server.uri)
    assert "/api/2.0/x?b=c" in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize("params", ["{", "[1]", "@/no/such/file"])
def test_bad_input(params, server):
    result = run("--resource", "x", "--params", params, "--tracking-uri", server.uri)
    assert result.exit_code == 2
    with pytest.raises(BadInput):
        http_client.send("mlflow", "x", params=params, tracking_uri=server.uri)


@pytest.mark.parametrize(("method", "option", "other"), [("GET", "--data", "params"), ("POST", "--params", "data")])
def test_an_option_of_another_method_is_refused(method, option, other, server):
    result = run("--resource", "x", "--method", method, option, "{}", "--tracking-uri", server.uri)
    assert result.exit_code == 2 and f"--{other}" in result.output
    assert server.handler.count == 0


def test_a_web_page_is_no_reply(server):
    result = run("--resource", "html", "--tracking-uri", server.uri, "--quiet")
    assert result.exit_code == 2 and "answers with a web page" in result.output


def test_only_the_reply_is_on_stdout_and_its_reader_may_go(server):
    command = [sys.executable, "-m", "mlflow_migration.client.http_client", "--tracking-uri", server.uri]
    done = subprocess.run([*command, "--resource", "x"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["path"] == "/api/2.0/mlflow/x"
    assert "Options:" in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*command, "--resource", "x", "--quiet"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_as_a_module(server):
    command = [sys.executable, "-m", "mlflow_migration.client.http_client", "--tracking-uri", server.uri, "--quiet"]
    done = subprocess.run([*command, "--resource", "x"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["path"] == "/api/2.0/mlflow/x"
    done = subprocess.run([*command, "--resource", "absent"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
