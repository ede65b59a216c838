"""Real TLS: who is trusted, and who one says one is. And the logins of Databricks that ask for a token first."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
import trustme

from mlflow_migration.client.credentials import connect
from mlflow_migration.client.errors import Gone, Unavailable
from mlflow_migration.client.rest_client import RestClient
from tests.support.stub import Reply, Request, Stub

SEARCH = ("http-client", "--resource", "experiments/search")


def answer(request: Request) -> Reply:
    """Any question."""
    return Reply({"experiments": [], "path": request.path})


@pytest.fixture(scope="module")
def ours() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ours: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """The authority's certificate, and a client's with its key."""
    home = tmp_path_factory.mktemp("certificates")
    ours.cert_pem.write_to_path(str(home / "ca.pem"))
    ours.issue_cert("me@example.org").private_key_and_cert_chain_pem.write_to_path(str(home / "me.pem"))
    return {"ca": home / "ca.pem", "me": home / "me.pem"}


def context(authority: trustme.CA, clients: bool) -> ssl.SSLContext:
    """Of a server at 127.0.0.1; `clients` must have a certificate, too."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    if clients:
        tls.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(tls)
    return tls


@pytest.fixture
def server(ours: trustme.CA) -> Iterator[Stub]:
    """A server whose certificate only our authority vouches for."""
    with Stub(answer, context(ours, clients=False)) as stub:
        yield stub


@pytest.fixture
def strict(ours: trustme.CA) -> Iterator[Stub]:
    """A server that takes only clients with a certificate of our authority."""
    with Stub(answer, context(ours, clients=True)) as stub:
        yield stub


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_that_is_trusted(
    variable: str, server: Stub, files: Dict[str, Path], run_script: Callable[..., Any]
) -> None:
    """A file with the authority, named to MLflow or to requests."""
    env = {"MLFLOW_TRACKING_URI": server.uri, "REQUESTS_CA_BUNDLE": "", variable: files["ca"]}
    assert "experiments" in run_script(*SEARCH, env=env).stdout
    assert len(server.requests) == 1


def test_a_certificate_that_nobody_vouches_for(server: Stub, run_script: Callable[..., Any]) -> None:
    """One sentence that names what helps, at once."""
    started = time.monotonic()
    done = run_script(*SEARCH, "--quiet", env={"MLFLOW_TRACKING_URI": server.uri, "REQUESTS_CA_BUNDLE": ""}, check=2)
    assert time.monotonic() - started < 10
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert f"{server.uri} can't be reached" in done.stderr and "MLFLOW_TRACKING_SERVER_CERT_PATH" in done.stderr
    assert server.requests == []


def test_a_certificate_that_is_not_looked_at(server: Stub, run_script: Callable[..., Any]) -> None:
    """One line of warning, and no line of anybody's code."""
    env = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_TRACKING_INSECURE_TLS": "true", "REQUESTS_CA_BUNDLE": ""}
    done = run_script(*SEARCH, "--quiet", env=env)
    assert "experiments" in done.stdout
    assert done.stderr.count("\n") == 1 and f"The certificate of {server.uri} is not checked." in done.stderr


def test_http_where_https_is_meant(run_script: Callable[..., Any]) -> None:
    """A server without TLS."""
    with Stub(answer) as stub:
        uri = stub.uri.replace("http:", "https:")
        done = run_script(*SEARCH, "--quiet", env={"MLFLOW_TRACKING_URI": uri}, check=2)
    assert "can't be reached" in done.stderr and "http://" in done.stderr


def test_a_client_with_a_certificate(strict: Stub, files: Dict[str, Path], run_script: Callable[..., Any]) -> None:
    """It is shown to a server that wants one; without it there is no reply."""
    env = {
        "MLFLOW_TRACKING_URI": strict.uri, "MLFLOW_TRACKING_SERVER_CERT_PATH": files["ca"],
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 0,
    }  # fmt: skip
    run_script(*SEARCH, env=env, check=2)
    assert strict.requests == []
    assert "experiments" in run_script(*SEARCH, env={**env, "MLFLOW_TRACKING_CLIENT_CERT_PATH": files["me"]}).stdout
    assert len(strict.requests) == 1


def test_each_side_has_its_own(
    server: Stub, strict: Stub, files: Dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one side trusts and shows is not what the other does."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_MIGRATION_SRC_TRACKING_SERVER_CERT_PATH", str(files["ca"]))
    monkeypatch.setenv("MLFLOW_MIGRATION_SRC_TRACKING_CLIENT_CERT_PATH", str(files["me"]))

    def ask(stub: Stub, side: str) -> Dict[str, Any]:
        return RestClient(connect(stub.uri, side, two_sided=True)).get("/x")

    assert ask(server, "src")["path"] == ask(strict, "src")["path"] == "/x"
    with pytest.raises(Gone, match="MLFLOW_TRACKING_SERVER_CERT_PATH"):
        ask(server, "dst")
    monkeypatch.setenv("MLFLOW_MIGRATION_DST_TRACKING_SERVER_CERT_PATH", str(files["ca"]))
    assert ask(server, "dst")["path"] == "/x"
    with pytest.raises(Unavailable):
        ask(strict, "dst")
    assert len(strict.requests) == 1


# ---- Databricks


def test_a_service_principal(run_script: Callable[..., Any], tmp_path: Path) -> None:
    """Its id and secret get a token from the workspace, and the token is what requests bear."""
    asked: List[Request] = []

    def workspace(request: Request) -> Reply:
        if request.path == "/.well-known/databricks-config":  # what newer SDKs ask first
            return Reply({"oidc_endpoint": f"{stub.uri}/oidc"})
        if request.path.endswith("/oidc/.well-known/oauth-authorization-server"):
            ends = {"authorization_endpoint": f"{stub.uri}/oidc/v1/authorize"}
            return Reply({**ends, "token_endpoint": f"{stub.uri}/oidc/v1/token"})
        if request.path == "/oidc/v1/token":
            asked.append(request)
            return Reply({"access_token": "fresh-t0ken", "token_type": "Bearer", "expires_in": 3600})
        if request.path.startswith("/api/2.0/mlflow/"):
            return answer(request)
        return Reply({"message": "no such page"}, status=404)

    with Stub(workspace) as stub:
        env = {
            "MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": stub.uri, "DATABRICKS_CLIENT_ID": "robot",
            "DATABRICKS_CLIENT_SECRET": "s3cret-of-robot", "HOME": tmp_path,
        }  # fmt: skip
        done = run_script(*SEARCH, "--verbose", env=env)
    assert "experiments" in done.stdout
    assert "s3cret-of-robot" not in done.stdout + done.stderr and "fresh-t0ken" not in done.stdout + done.stderr
    (request,) = [request for request in stub.requests if request.path.startswith("/api/2.0/mlflow/")]
    assert request.headers["Authorization"] == "Bearer fresh-t0ken"
    assert len(asked) == 1 and b"client_credentials" in asked[0].body
