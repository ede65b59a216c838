"""Which credentials go to which side. What MLflow itself would use is asked of MLflow."""

import base64
import io
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import requests

from mlflow_migration.client import request_auth
from mlflow_migration.client.credentials import connect, from_mlflow_client, resolve_uri, without_userinfo
from mlflow_migration.client.errors import BadInput, Unauthorized, describe

HOME = "http://home.example:5000"
OTHER = "http://other.example:5000"


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No variable and no file of the machine counts."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "DATABRICKS_", "ARM_")) or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.fixture
def env(monkeypatch):
    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def authorization(connection):
    return connection.headers.get("Authorization")


def credentials_file(home, text="mlflow_tracking_username = file\nmlflow_tracking_password = file-pw\n"):
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text("[mlflow]\n" + text)


# -- the same as MLflow ---------------------------------------------------------------------------------------------

ENVIRONMENTS = {
    "nothing": {},
    "basic": {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "pw"},
    "unicode": {"MLFLOW_TRACKING_USERNAME": "jos\u00e9", "MLFLOW_TRACKING_PASSWORD": "p:w \u20ac"},
    "token": {"MLFLOW_TRACKING_TOKEN": "t0ken"},
    "basic beats token": {
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "pw",
        "MLFLOW_TRACKING_TOKEN": "t0ken",
    },
    "half a user and a token": {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_TOKEN": "t0ken"},
    "half a user": {"MLFLOW_TRACKING_USERNAME": "me"},
    "insecure": {"MLFLOW_TRACKING_INSECURE_TLS": "true"},
    "insecure as a number": {"MLFLOW_TRACKING_INSECURE_TLS": "1"},
    "secure": {"MLFLOW_TRACKING_INSECURE_TLS": "False"},
    "certificates": {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem", "MLFLOW_TRACKING_CLIENT_CERT_PATH": "/me.pem"},
    "kubernetes": {
        "MLFLOW_TRACKING_AUTH": "kubernetes",
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "pw",
    },
    "workspace": {"MLFLOW_WORKSPACE": " team-a "},
}


@pytest.mark.parametrize("with_file", [False, True], ids=["", "with a credentials file"])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_as_mlflow(name, with_file, env, clean, monkeypatch):
    from mlflow.utils import credentials, rest_utils

    if name == "kubernetes":
        pytest.importorskip("mlflow.tracking.request_auth.kubernetes_request_auth_provider")
    env(**ENVIRONMENTS[name])
    if with_file:
        credentials_file(clean)
    sent = {}

    def capture(method, url, *_, headers, verify, **options):
        sent.update(headers=headers, verify=verify, **options)
        return SimpleNamespace(status_code=200, text="{}")

    marker = requests.auth.HTTPBasicAuth("plug", "in")
    monkeypatch.setattr("mlflow.tracking.request_auth.registry.fetch_auth", lambda _: marker)
    monkeypatch.setattr(rest_utils, "_get_http_response_with_retries", capture)
    get_host_creds = getattr(credentials, "get_default_host_creds", None)
    if get_host_creds is None:  # MLflow 2.9
        from mlflow.tracking._tracking_service.utils import _get_default_host_creds as get_host_creds
    rest_utils.http_request(get_host_creds(HOME), "/api/2.0/mlflow/x", "GET")

    ours = connect(HOME)
    assert authorization(ours) == sent["headers"].get("Authorization")
    if hasattr(rest_utils, "get_request_workspace"):  # older MLflows know no workspaces
        assert ours.headers.get("X-MLFLOW-WORKSPACE") == sent["headers"].get("X-MLFLOW-WORKSPACE")
    assert ours.verify == sent["verify"]
    assert ours.cert == sent.get("cert")
    assert ours.auth is sent.get("auth")


def test_mlflow_is_not_imported():
    code = """
        import sys
        from mlflow_migration.client.credentials import connect
        connect("https://me:pw@server.example", "src", two_sided=True)
        assert "mlflow" not in sys.modules and "databricks" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


# -- the URI --------------------------------------------------------------------------------------------------------


def test_uri_default(env):
    words = "the source: give --src-mlflow-uri, or set MLFLOW_MIGRATION_SRC_TRACKING_URI or MLFLOW_TRACKING_URI"
    with pytest.raises(BadInput, match=words):
        resolve_uri(None, "src", two_sided=True)
    for side, who in {"dst": "the destination", "": "the tracking server"}.items():
        with pytest.raises(BadInput, match=f"{who}: give --tracking-uri, or set MLFLOW_TRACKING_URI"):
            resolve_uri(None, side)
    env(DATABRICKS_RUNTIME_VERSION="15.4")
    assert resolve_uri(None) == "databricks"
    env(MLFLOW_TRACKING_URI=HOME)
    assert resolve_uri(None, "src") == HOME
    env(MLFLOW_MIGRATION_SRC_TRACKING_URI=OTHER)
    assert resolve_uri(None, "src", two_sided=True) == OTHER
    assert resolve_uri(None, "dst", two_sided=True) == HOME
    # where there is one server only, the variable that users of MLflow know decides
    assert resolve_uri(None, "src") == connect(None, "src").uri == HOME
    assert resolve_uri(" sqlite:///x.db ", "src") == "sqlite:///x.db"


@pytest.mark.parametrize(
    "uri, url",
    [
        ("http://localhost:5000/", "http://localhost:5000"),
        ("https://Server.Example/mlflow/", "https://server.example/mlflow"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("http://a%40b:c%2Fd@server.example", "http://server.example"),
    ],
)
def test_url(uri, url):
    connection = connect(uri)
    assert connection.url == url
    assert "@" not in connection.uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http://:5000",
        "http://server.example:port",
        "http://server.example:99999",
        "http://ser ver.example",
        "http://server.example/\nx",
        "http://[::1",
        "https://me:pa#s3cret@server.example",
        "https://me:pa/s3cret@server.example",
        "https://me:pa?s3cret@server.example",
        "http://server.example?token=s3cret",
        "http://server.example/#/experiments/1",
        "sqlite:///x.db",
        "postgresql://me:s3cret@db.example/mlflow",
        "uc:http://server.example",
        "server.example:5000",
        "databricks://",
        "databricks://a/b",
        "databricks:profile",
    ],
)
def test_malformed_uri(uri):
    with pytest.raises(BadInput) as caught:
        connect(uri, "src")
    words = describe(caught.value)
    assert "source" in words and "\n" not in words
    assert "s3cret" not in words + str(caught.value)


@pytest.mark.parametrize(
    "uri, shown",
    [
        ("https://me:pw@h:1/p@q", "https://h:1/p@q"),
        ("https://me:p@w@h/x", "https://h/x"),
        ("https://me:p/w@h/x", "https://h/x"),
        ("https://h/p@q", "https://h/p@q"),
        ("https://h:5000/p@q", "https://h:5000/p@q"),
        ("https://token@h", "https://h"),
        ("https://me:pw@[::1]/", "https://[::1]/"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
        ("databricks://scope:prefix", "databricks://scope:prefix"),
        ("./mlruns", "./mlruns"),
    ],
)
def test_without_userinfo(uri, shown):
    assert without_userinfo(uri) == shown


# -- sides ----------------------------------------------------------------------------------------------------------


def test_userinfo_overrides_everything(env, clean):
    credentials_file(clean)
    env(
        MLFLOW_TRACKING_URI=HOME,
        MLFLOW_TRACKING_TOKEN="global",
        MLFLOW_TRACKING_AUTH="plugin",
        MLFLOW_MIGRATION_SRC_TRACKING_TOKEN="own",
    )
    for uri in (HOME, OTHER):
        for two_sided in (False, True):
            connection = connect(uri.replace("://", "://jo%40x:p%3Aw@"), "src", two_sided=two_sided)
            assert authorization(connection) == basic("jo@x", "p:w")
            assert connection.auth is None


def test_given_token_overrides_everything(env):
    env(MLFLOW_TRACKING_TOKEN="global")
    assert authorization(connect(HOME.replace("://", "://me:pw@"), token="given")) == "Bearer given"


def test_side_variables(env):
    env(
        MLFLOW_MIGRATION_SRC_TRACKING_USERNAME="s",
        MLFLOW_MIGRATION_SRC_TRACKING_PASSWORD="spw",
        MLFLOW_MIGRATION_SRC_WORKSPACE="src-ws",
        MLFLOW_MIGRATION_DST_TRACKING_TOKEN="dst-token",
        MLFLOW_MIGRATION_DST_TRACKING_INSECURE_TLS="true",
    )
    src, dst = connect(HOME, "src", two_sided=True), connect(HOME, "dst", two_sided=True)
    assert authorization(src) == basic("s", "spw")
    assert src.headers["X-MLFLOW-WORKSPACE"] == "src-ws"
    assert src.verify is True
    assert authorization(dst) == "Bearer dst-token"
    assert "X-MLFLOW-WORKSPACE" not in dst.headers
    assert dst.verify is False
    assert authorization(connect(HOME)) is None


def test_own_credentials_exclude_the_global_ones(env, clean):
    credentials_file(clean)
    env(
        MLFLOW_TRACKING_URI=HOME,
        MLFLOW_TRACKING_USERNAME="me",
        MLFLOW_TRACKING_PASSWORD="pw",
        MLFLOW_TRACKING_CLIENT_CERT_PATH="/me.pem",
        MLFLOW_TRACKING_INSECURE_TLS="true",
        MLFLOW_MIGRATION_SRC_TRACKING_TOKEN="own",
    )
    for two_sided in (False, True):
        connection = connect(HOME, "src", two_sided=two_sided)
        assert authorization(connection) == "Bearer own"
        assert connection.cert is None
        assert connection.verify is False
    env(MLFLOW_MIGRATION_SRC_TRACKING_SERVER_CERT_PATH="/ca.pem")
    assert connect(HOME, "src").verify == "/ca.pem"


@pytest.mark.parametrize(
    "own_uri, counts",
    [(None, True), (HOME, True), ("http://me:pw@home.example:5000/", True), (OTHER, False), ("sqlite:///x", False)],
)
def test_own_variables_are_for_the_server_that_they_name(own_uri, counts, env):
    """A command with one server goes to another one than the side's: that must not get the side's credentials."""
    env(MLFLOW_TRACKING_TOKEN="global", MLFLOW_MIGRATION_SRC_TRACKING_TOKEN="own", MLFLOW_MIGRATION_SRC_WORKSPACE="ws")
    env(MLFLOW_MIGRATION_SRC_REGISTRY_URI="http://registry.example", MLFLOW_TRACKING_URI=HOME)
    if own_uri:
        env(MLFLOW_MIGRATION_SRC_TRACKING_URI=own_uri)
    connection = connect(None, "src")
    assert authorization(connection) == ("Bearer own" if counts else "Bearer global")
    assert ("X-MLFLOW-WORKSPACE" in connection.headers) == counts
    assert connection.registry_uri is None
    both = connect(HOME, "src", two_sided=True)
    assert (authorization(both), both.registry_uri) == ("Bearer own", "http://registry.example")


def test_own_tls_settings_are_no_credentials(env):
    env(MLFLOW_TRACKING_TOKEN="global", MLFLOW_MIGRATION_SRC_TRACKING_SERVER_CERT_PATH="/ca.pem")
    connection = connect(HOME, "src")
    assert (authorization(connection), connection.verify) == ("Bearer global", "/ca.pem")


@pytest.mark.parametrize(
    "home, goes_to_home",
    [
        (HOME, True),
        (HOME + "/prefix", True),
        (HOME.replace("home", "HOME"), True),
        ("http://user:pw@home.example:5000", True),
        (HOME.replace("http:", "https:"), False),
        (HOME.replace("5000", "5001"), False),
        ("http://home.example", False),
        ("databricks", False),
        ("sqlite:///x.db", False),
        ("http://home example", False),
        (None, False),
    ],
)
def test_two_sided_global_credentials_stay_at_home(home, goes_to_home, env, clean):
    credentials_file(clean)
    env(
        MLFLOW_TRACKING_TOKEN="global",
        MLFLOW_WORKSPACE="team",
        MLFLOW_TRACKING_CLIENT_CERT_PATH="/me.pem",
        MLFLOW_TRACKING_INSECURE_TLS="true",
        MLFLOW_REGISTRY_URI="http://registry.example",
    )
    if home:
        env(MLFLOW_TRACKING_URI=home)
    for side in ("src", "dst"):
        other = connect(OTHER, side, two_sided=True)
        assert set(other.headers) == {"User-Agent"}
        assert (other.verify, other.cert, other.registry_uri) == (True, None, None)
        at_home = connect(HOME, side, two_sided=True)
        assert authorization(at_home) == (basic("file", "file-pw") if goes_to_home else None)
        assert (at_home.cert == "/me.pem") == goes_to_home
        assert ("X-MLFLOW-WORKSPACE" in at_home.headers) == goes_to_home
    assert authorization(connect(OTHER, "src")) == basic("file", "file-pw")


def test_default_ports_are_the_same_host(env):
    env(MLFLOW_TRACKING_TOKEN="t", MLFLOW_TRACKING_URI="https://home.example:443")
    assert authorization(connect("https://home.example/", "dst", two_sided=True)) == "Bearer t"


def test_netrc_is_for_its_host(env, clean):
    (clean / ".netrc").write_text("machine home.example login net password rc\n")
    (clean / ".netrc").chmod(0o600)
    assert authorization(connect(HOME, "src", two_sided=True)) == basic("net", "rc")
    assert authorization(connect(OTHER, "dst", two_sided=True)) is None
    env(MLFLOW_MIGRATION_SRC_TRACKING_TOKEN="own")
    assert authorization(connect(HOME, "src", two_sided=True)) == "Bearer own"


# -- settings that can't be right -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, words",
    [
        ({"MLFLOW_TRACKING_INSECURE_TLS": "maybe"}, "MLFLOW_TRACKING_INSECURE_TLS must be true or false"),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "1", "MLFLOW_TRACKING_SERVER_CERT_PATH": "/x"}, "exclude each other"),
        ({"MLFLOW_MIGRATION_SRC_TRACKING_USERNAME": "s3cret"}, "MLFLOW_MIGRATION_SRC_TRACKING_PASSWORD"),
        ({"MLFLOW_TRACKING_TOKEN": "s3cret\n"}, "line break"),
        ({"MLFLOW_WORKSPACE": "a\nb"}, "line break"),
        ({"MLFLOW_TRACKING_AWS_SIGV4": "true"}, "pip install requests-auth-aws-sigv4"),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": "/no/such.pem"}, "/no/such.pem"),
    ],
)
def test_bad_settings(values, words, env, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests_auth_aws_sigv4", None)
    env(**values)
    with pytest.raises(BadInput, match=words) as caught:
        connect("https://home.example", "src")
    assert "s3cret" not in str(caught.value)


def test_broken_credentials_file(clean):
    credentials_file(clean, "mlflow_tracking_password s3cret\n")
    with pytest.raises(BadInput, match="credentials can't be read") as caught:
        connect(HOME)
    assert "s3cret" not in str(caught.value)


def test_nothing_shows_secrets(env):
    env(MLFLOW_TRACKING_TOKEN="s3cret", MLFLOW_REGISTRY_URI="http://me:s3cret@registry.example")
    connection = connect("http://me:s3cret@server.example")
    assert "s3cret" not in repr(connection) + str(connection) + f"{connection}" + connection.uri
    registry = connect(connection.registry_uri)
    assert (registry.uri, authorization(registry)) == ("http://registry.example", "Basic bWU6czNjcmV0")


# -- plugins --------------------------------------------------------------------------------------------------------


class _Signer:
    made = 0

    def __init__(self, service):
        assert service == "execute-api"
        type(self).made += 1

    def __call__(self, request):
        request.headers["Authorization"] = f"AWS4 {len(request.body or b'')}"
        return request


def test_sigv4(env, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests_auth_aws_sigv4", SimpleNamespace(AWSSigV4=_Signer))
    env(MLFLOW_MIGRATION_DST_TRACKING_AWS_SIGV4="true")
    assert connect(HOME, "src", two_sided=True).auth is None
    auth = connect(HOME, "dst", two_sided=True).auth
    request = requests.PreparedRequest()
    request.headers, request.body = {}, io.BytesIO(b"abc")
    assert auth(request).headers["Authorization"] == "AWS4 3"
    assert request.body == b"abc"
    # credentials of AWS expire
    monkeypatch.setattr(auth, "_RENEW", -1.0)
    made = _Signer.made
    auth(request)
    assert _Signer.made == made + 1


def test_unknown_auth_plugin(env):
    pytest.importorskip("mlflow")
    env(MLFLOW_MIGRATION_SRC_TRACKING_AUTH="nothing-of-this-name")
    with pytest.warns(UserWarning), pytest.raises(BadInput, match="nothing-of-this-name"):
        connect(HOME, "src")


class _Headers:
    def in_context(self):
        return True

    def request_headers(self):
        return {"X-Gate": "open", "Authorization": "Bearer of-plugin", "User-Agent": "plugged"}


class _Failing:
    def in_context(self):
        raise RuntimeError("s3cret")


def sent_headers(connection):
    request = requests.PreparedRequest()
    request.prepare_headers(dict(connection.headers))
    return (connection.auth(request) if connection.auth else request).headers


@pytest.fixture
def header_plugin(monkeypatch):
    point = SimpleNamespace(name="gate", load=lambda: _Headers)
    failing = SimpleNamespace(name="failing", load=lambda: _Failing)

    class Points(dict):
        def select(self, group):
            return [failing, point] if group == "mlflow.request_header_provider" else []

    monkeypatch.setattr(request_auth.metadata, "entry_points", Points)


@pytest.mark.usefixtures("header_plugin")
def test_header_plugins(env):
    assert sent_headers(connect(HOME))["X-Gate"] == "open"
    assert sent_headers(connect(HOME))["Authorization"] == "Bearer of-plugin"
    assert sent_headers(connect(HOME))["User-Agent"].endswith(" plugged")
    env(MLFLOW_TRACKING_TOKEN="global")
    assert sent_headers(connect(HOME))["Authorization"] == "Bearer global"
    assert "X-Gate" not in sent_headers(connect(HOME, "src", two_sided=True))
    env(MLFLOW_TRACKING_URI=HOME)
    assert sent_headers(connect(HOME, "src", two_sided=True))["X-Gate"] == "open"
    assert "X-Gate" not in sent_headers(connect(OTHER, "dst", two_sided=True))
    # beside credentials of its own only at home
    env(MLFLOW_MIGRATION_SRC_TRACKING_TOKEN="own")
    assert sent_headers(connect(HOME, "src"))["Authorization"] == "Bearer own"
    assert "X-Gate" not in sent_headers(connect(OTHER, "src"))


# -- MlflowClient ---------------------------------------------------------------------------------------------------


def client_of(get_host_creds, uri=HOME, registry_uri=None):
    store = SimpleNamespace(get_host_creds=get_host_creds)
    return SimpleNamespace(
        tracking_uri=uri, _registry_uri=registry_uri or uri, _tracking_client=SimpleNamespace(store=store)
    )


def test_real_mlflow_clients(env):
    mlflow = pytest.importorskip("mlflow")
    env(MLFLOW_TRACKING_URI="http://elsewhere.example", MLFLOW_TRACKING_TOKEN="elsewhere")
    one = mlflow.MlflowClient(HOME.replace("://", "://one:pw@"), registry_uri=OTHER)
    two = mlflow.MlflowClient(OTHER)
    src = from_mlflow_client(one, "src", two_sided=True)
    assert (src.url, src.uri, src.registry_uri) == (HOME, HOME, OTHER)
    assert authorization(src) == basic("one", "pw")
    dst = from_mlflow_client(two, "dst", two_sided=True)
    assert (dst.url, authorization(dst)) == (OTHER, None)
    # MLflow itself sends the token of the environment wherever a client points
    assert authorization(from_mlflow_client(two)) == "Bearer elsewhere"


def test_custom_store(env):
    rest_utils = pytest.importorskip("mlflow.utils.rest_utils")
    env(MLFLOW_TRACKING_URI="http://elsewhere.example", MLFLOW_TRACKING_TOKEN="elsewhere", MLFLOW_WORKSPACE="ws")
    creds = rest_utils.MlflowHostCreds(OTHER, token="of-store", server_cert_path="/ca.pem", client_cert_path="/c.pem")
    connection = from_mlflow_client(client_of(lambda: creds, "custom:abc"), "dst", two_sided=True)
    assert (connection.url, connection.uri, connection.verify, connection.cert) == (
        OTHER,
        "custom:abc",
        "/ca.pem",
        "/c.pem",
    )
    assert authorization(connection) == "Bearer of-store"
    assert "X-MLFLOW-WORKSPACE" not in connection.headers


def test_store_without_server():
    with pytest.raises(BadInput, match="is no server"):
        from_mlflow_client(
            SimpleNamespace(tracking_uri="sqlite:///x.db", _tracking_client=SimpleNamespace(store=SimpleNamespace()))
        )


# -- Databricks -----------------------------------------------------------------------------------------------------

WORKSPACE = "https://ws.example"


@pytest.fixture
def sdk(monkeypatch, clean):
    config = pytest.importorskip("databricks.sdk.config")
    if hasattr(config, "get_host_metadata"):

        def no_metadata(*_, **__):
            raise ValueError("no network in tests")

        monkeypatch.setattr(config, "get_host_metadata", no_metadata)
    (clean / ".databrickscfg").write_text(
        "[DEFAULT]\nhost = https://default.example\ntoken = default-token\n"
        "[prod]\nhost = https://prod.example/\ntoken = prod-token\n"
        "[bare]\nhost = https://bare.example\n"
    )
    monkeypatch.setenv("PATH", str(clean))  # neither az nor databricks answer


def login(connection):
    return connection.url, sent_headers(connection).get("Authorization")


@pytest.mark.usefixtures("sdk")
class TestDatabricks:
    def test_profile(self):
        connection = connect("databricks://prod", "src", two_sided=True)
        assert login(connection) == ("https://prod.example", "Bearer prod-token")
        assert connection.uri == "databricks://prod"
        assert "Authorization" not in connection.headers

    def test_default_profile(self):
        assert login(connect("databricks")) == ("https://default.example", "Bearer default-token")

    def test_environment(self, env):
        env(DATABRICKS_HOST=WORKSPACE, DATABRICKS_TOKEN="env-token", DATABRICKS_WORKSPACE_ID="42")
        connection = connect("databricks-uc", "dst", two_sided=True)
        assert login(connection) == (WORKSPACE, "Bearer env-token")
        if hasattr(sys.modules["databricks.sdk.config"].Config, "workspace_id"):
            assert connection.headers.get("x-databricks-org-id") in ("42", None)

    def test_global_token_does_not_follow_a_profile(self, env):
        env(DATABRICKS_HOST=WORKSPACE, DATABRICKS_TOKEN="env-token", DATABRICKS_CLIENT_ID="id")
        assert login(connect("databricks://prod")) == ("https://prod.example", "Bearer prod-token")
        with pytest.raises(BadInput, match="Databricks credentials") as caught:
            connect("databricks://bare", "src", two_sided=True)
        assert "env-token" not in str(caught.value)

    def test_side_variables(self, env):
        env(
            DATABRICKS_HOST=WORKSPACE,
            DATABRICKS_TOKEN="env-token",
            MLFLOW_MIGRATION_SRC_DATABRICKS_HOST="https://src.example",
            MLFLOW_MIGRATION_SRC_DATABRICKS_TOKEN="src-token",
            MLFLOW_MIGRATION_DST_DATABRICKS_CONFIG_PROFILE="prod",
        )
        assert login(connect("databricks", "src", two_sided=True)) == ("https://src.example", "Bearer src-token")
        assert login(connect("databricks", "dst", two_sided=True)) == ("https://prod.example", "Bearer prod-token")

    def test_global_token_does_not_go_to_a_side_host(self, env):
        env(
            DATABRICKS_HOST=WORKSPACE,
            DATABRICKS_TOKEN="env-token",
            MLFLOW_MIGRATION_SRC_DATABRICKS_HOST="https://src.example",
            MLFLOW_MIGRATION_DST_DATABRICKS_TOKEN="dst-token",
        )
        with pytest.raises(BadInput, match="source"):
            connect("databricks", "src")
        assert login(connect("databricks", "dst")) == (WORKSPACE, "Bearer dst-token")
        env(MLFLOW_MIGRATION_DST_TRACKING_URI=HOME)
        assert login(connect("databricks", "dst")) == (WORKSPACE, "Bearer env-token")
        env(MLFLOW_MIGRATION_SRC_DATABRICKS_HOST=WORKSPACE + "/")
        assert login(connect("databricks", "src", two_sided=True)) == (WORKSPACE, "Bearer env-token")

    @pytest.mark.parametrize("error", [NotImplementedError("no type"), KeyError("access_token"), ValueError("no")])
    def test_a_reply_without_a_token(self, env, monkeypatch, error):
        """The SDK fails in many ways; each is told as what it is."""
        env(DATABRICKS_HOST=WORKSPACE, DATABRICKS_TOKEN="env-token")
        connection = connect("databricks")

        def authenticate(_):
            raise error

        monkeypatch.setattr(sys.modules["databricks.sdk.config"].Config, "authenticate", authenticate)
        with pytest.raises(Unauthorized, match="gives no token"):
            sent_headers(connection)

    def test_unknown_profile(self):
        with pytest.raises(BadInput, match="nobody"):
            connect("databricks://nobody")

    def test_mlflow_tracking_variables_do_not_count(self, env):
        env(MLFLOW_TRACKING_TOKEN="tracking", MLFLOW_TRACKING_URI="databricks://prod")
        assert login(connect(None)) == ("https://prod.example", "Bearer prod-token")

    def test_client(self, env):
        env(DATABRICKS_HOST=WORKSPACE, DATABRICKS_TOKEN="env-token")
        creds = SimpleNamespace(host="https://prod.example", use_databricks_sdk=True, databricks_auth_profile="prod")
        connection = from_mlflow_client(client_of(lambda: creds, "databricks://prod", "databricks-uc://prod"))
        assert login(connection) == ("https://prod.example", "Bearer prod-token")
        assert connection.registry_uri == "databricks-uc://prod"


def test_databricks_without_sdk(monkeypatch):
    monkeypatch.setitem(sys.modules, "databricks.sdk.config", None)
    with pytest.raises(BadInput, match="pip install databricks-sdk"):
        connect("databricks")
