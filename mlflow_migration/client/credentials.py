"""Where a tracking server is and how a command proves who it is: for each side apart, taken from what MLflow knows.

The variables are those of MLflow, read here because importing MLflow takes seconds. Each has a counterpart for one
side: ``MLFLOW_TRACKING_TOKEN`` is ``MLFLOW_MIGRATION_SRC_TRACKING_TOKEN`` for the source and
``MLFLOW_MIGRATION_DST_TRACKING_TOKEN`` for the destination, ``DATABRICKS_TOKEN`` is
``MLFLOW_MIGRATION_SRC_DATABRICKS_TOKEN``, and so on.
"""

from __future__ import annotations

import base64
import configparser
import functools
import os
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import unquote, urlsplit

import requests
from requests.auth import AuthBase
from requests.utils import get_netrc_auth

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.request_auth import USER_AGENT, WithPluginHeaders, find_header_plugins, find_request_auth

WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"

_SIDES = {
    "": ("MLFLOW_", "the tracking server"),
    "src": ("MLFLOW_MIGRATION_SRC_", "the source"),
    "dst": ("MLFLOW_MIGRATION_DST_", "the destination"),
}
_CREDENTIALS_FILE = "~/.mlflow/credentials"
_PORTS = {"http": 80, "https": 443}
_KUBERNETES = ("kubernetes", "kubernetes-namespaced")


@dataclass(frozen=True, repr=False)
class Connection:
    """A tracking server, with what is sent along to prove who asks.

    :param url: ``http(s)://host[:port][/prefix]`` without user information and trailing slash.
    :param headers: Headers of every request, with Authorization and the workspace.
    :param auth: Signs or completes each request, where fixed headers don't do.
    :param verify: Whether to check the server's certificate, or the file with the authorities to check it with.
    :param cert: File with the client's certificate and key.
    :param uri: The tracking URI as it was given, without user information; for messages and files.
    :param registry_uri: URI of the model registry, if one is set, as it was given: it is not shown.
    :param is_databricks: Whether it is a Databricks workspace.
    """

    url: str
    headers: Mapping[str, str]
    auth: Optional[AuthBase]
    verify: Union[bool, str]
    cert: Optional[str]
    uri: str
    registry_uri: Optional[str] = None
    is_databricks: bool = False

    @property
    def workspace(self) -> str:
        """The workspace of the server that requests are about; empty if none is named."""
        return self.headers.get(WORKSPACE_HEADER, "")

    def __repr__(self) -> str:
        return f"Connection(uri={self.uri!r}, url={self.url!r}, headers={sorted(self.headers)})"


class _Settings(NamedTuple):
    """The MLFLOW_... variables of one side, or the global ones."""

    username: Optional[str] = None
    password: Optional[str] = None
    token: Optional[str] = None
    aws_sigv4: bool = False
    auth: Optional[str] = None
    client_cert: Optional[str] = None
    insecure: bool = False
    server_cert: Optional[str] = None
    workspace: Optional[str] = None

    def has_credentials(self) -> bool:
        return any((self.username, self.password, self.token, self.aws_sigv4, self.auth, self.client_cert))

    def with_user(self, user: Tuple[str, str]) -> _Settings:
        return self._replace(username=user[0], password=user[1], token=None, aws_sigv4=False, auth=None)


def resolve_uri(uri: Optional[str], side: str = "", *, two_sided: bool = False) -> str:
    """Return the tracking URI that a command works on.

    :param uri: The URI as given. Without it the side's variable counts if the command has two sides, then
        MLFLOW_TRACKING_URI, then, within Databricks, the workspace itself.
    :param side: ``src``, ``dst`` or empty.
    :param two_sided: The command has a source and a destination server.
    :raises BadInput: There is none.
    """
    prefix, who = _SIDES[side]
    # with one server a variable of a side would silently win over MLFLOW_TRACKING_URI
    names = [prefix + "TRACKING_URI"] * (two_sided and bool(side)) + ["MLFLOW_TRACKING_URI"]
    for candidate in [uri, *map(os.environ.get, names)]:
        if candidate and candidate.strip():
            return candidate.strip()
    if os.environ.get("DATABRICKS_RUNTIME_VERSION"):
        return "databricks"
    option = f"--{side}-mlflow-uri" if two_sided and side else "--tracking-uri"
    raise BadInput(f"No URI is given for {who}: give {option}, or set {' or '.join(names)}.")


def connect(
    uri: Optional[str],
    side: str = "",
    *,
    two_sided: bool = False,
    token: Optional[str] = None,
    workspace: Optional[str] = None,
) -> Connection:
    """Find out how to reach a tracking server, and as whom.

    The first of these that is there decides: ``user:password@`` in the URI, the side's own variables, the global
    variables and ``~/.mlflow/credentials``, ``~/.netrc``. A side with any credential of its own uses none of the
    global ones; global TLS settings then count only if the side sets none.

    In a command with two sides the global settings go only to the scheme, host and port of MLFLOW_TRACKING_URI.
    If that variable is unset, or names no HTTP server, they go to neither side. Profiles and netrc entries belong to
    their own hosts. In a command with one side its own variables don't count for another server than that of the
    side's MLFLOW_MIGRATION_..._TRACKING_URI, if that is set.

    :param uri: URI of an HTTP server, ``databricks``, or ``databricks://PROFILE``. Default: see :func:`resolve_uri`.
    :param side: ``src``, ``dst``, or empty for a command that has no sides.
    :param two_sided: The command has a source and a destination server.
    :param token: A bearer token given in code; overrides everything else.
    :param workspace: A workspace of the server; overrides what the variables say. Empty: none.
    :raises BadInput: The URI or a setting is malformed, or what it takes is not installed.
    """
    given = resolve_uri(uri, side, two_sided=two_sided)
    prefix, who = _SIDES[side]
    own_counts = bool(side) and (two_sided or _belongs(prefix, given))
    registry_side = side if two_sided else ""
    if _scheme(given) in ("databricks", "databricks-uc"):
        from mlflow_migration.client import databricks_credentials

        login = databricks_credentials.login(given, prefix if own_counts else "", who, two_sided=two_sided)
        alone = not two_sided or given == os.environ.get("MLFLOW_TRACKING_URI")
        connection = _databricks_connection(login, given, registry_uri_of(registry_side, use_global=alone))
    else:
        url, user = _split(given, who)
        at_home = _is_global_host(url)
        use_global = at_home or not two_sided
        shared = _read("") if use_global else _Settings()
        if use_global:
            shared = _with_credentials_file(shared)
        own = _read(side) if own_counts else _Settings()
        settings = own if own.has_credentials() else shared
        if user or token:
            # what comes with the URI is the side's own, so only the server that the rest belongs to gets that too
            settings = (settings if at_home or own.has_credentials() else _Settings()).with_user(user or ("", ""))
        tls = own if own.insecure or own.server_cert else shared
        settings = settings._replace(
            insecure=tls.insecure, server_cert=tls.server_cert, workspace=own.workspace or shared.workspace
        )
        has_own = bool(user or token or own.has_credentials())
        plugins = find_header_plugins() if at_home or (use_global and not has_own) else []
        registry_uri = registry_uri_of(registry_side, use_global=use_global)
        connection = _connection(url, settings, plugins, given, registry_uri, who)
    if token:
        value = _checked(f"Bearer {token}", "The given token holds")
        connection = replace(connection, auth=None, headers={**connection.headers, "Authorization": value})
    return connection if workspace is None else _in_workspace(connection, workspace, who)


def from_mlflow_client(
    client: Any, side: str = "", *, two_sided: bool = False, workspace: Optional[str] = None
) -> Connection:
    """Return the connection of a given MlflowClient: it decides server, registry and credentials.

    :param client: An MlflowClient.
    :param side: As for :func:`connect`. It counts for a client without credentials of its own, which MLflow itself
        serves from the environment.
    :param two_sided: As for :func:`connect`.
    :param workspace: As for :func:`connect`.
    :raises BadInput: Its tracking store is no server, or its credentials can't be used.
    """
    uri = str(client.tracking_uri)
    shown = without_userinfo(uri)
    registry = getattr(client, "_registry_uri", None)
    registry_uri = registry if registry and registry != uri else None
    get_creds = _get_creds_of(client)
    if get_creds is None:
        raise BadInput(f"The tracking store {shown} of the given MlflowClient is no server.")
    if _is_default(get_creds):
        return replace(connect(uri, side, two_sided=two_sided, workspace=workspace), registry_uri=registry_uri)
    _, who = _SIDES[side]
    creds = get_creds()
    if getattr(creds, "use_databricks_sdk", False):
        from mlflow_migration.client import databricks_credentials

        return _databricks_connection(databricks_credentials.login_of(creds, who), shown, registry_uri)
    url, user = _split(str(creds.host), who)
    use_global = not two_sided or _is_global_host(url)
    settings = _Settings(
        username=creds.username or None,
        password=creds.password or None,
        token=creds.token or None,
        aws_sigv4=bool(creds.aws_sigv4),
        auth=creds.auth,
        client_cert=creds.client_cert_path,
        insecure=bool(creds.ignore_tls_verification),
        server_cert=creds.server_cert_path,
        workspace=_read("").workspace if use_global else None,
    )
    settings = settings.with_user(user) if user else settings
    connection = _connection(url, settings, find_header_plugins() if use_global else [], shown, registry_uri, who)
    workspace_id = getattr(creds, "workspace_id", None)
    if workspace_id:
        connection = replace(connection, headers={**connection.headers, "x-databricks-org-id": str(workspace_id)})
    return connection if workspace is None else _in_workspace(connection, workspace, who)


def is_client_of_server(client: Any) -> bool:
    """Tell whether a given MlflowClient talks to a server, whatever the scheme of its URI: plugins have their own."""
    return _get_creds_of(client) is not None


def without_userinfo(uri: str) -> str:
    """Return the URI without ``user:password@``, also if special characters in it are not escaped."""
    scheme, separator, rest = uri.partition("://")
    netloc = rest.partition("/")[0]
    port = netloc.rpartition("@")[2].rpartition(":")[2]
    if "@" in netloc and (":" not in netloc.rpartition("@")[2] or port.isdigit() or netloc.endswith("]")):
        rest = rest[netloc.rindex("@") + 1 :]
    elif ":" in netloc and not port.isdigit() and not netloc.endswith("]"):
        # what looks like a port is the begin of a password
        rest = rest.rpartition("@")[2]
    return scheme + separator + rest


def connect_catalog(uri: str, side: str = "", *, two_sided: bool = False) -> Connection:
    """Find out how to reach an open-source Unity Catalog; MLflow's variable for its token is MLFLOW_UC_OSS_TOKEN.

    With two sides the global variable goes only to the server of MLFLOW_REGISTRY_URI.

    :param uri: ``uc:http://...``.
    :param side: As for :func:`connect`.
    :param two_sided: As for :func:`connect`.
    :raises BadInput: The URI is malformed.
    """
    prefix, who = _SIDES[side]
    url, user = _split(uri.partition(":")[2], who)
    home = (os.environ.get("MLFLOW_REGISTRY_URI") or "").strip()
    at_home = is_open_catalog(home) and _same_host(home.partition(":")[2], url)
    names = [f"{prefix}UC_OSS_TOKEN"] * (two_sided and bool(side))
    names += ["MLFLOW_UC_OSS_TOKEN"] * (at_home or not two_sided)
    settings = _Settings(token=next(filter(None, map(os.environ.get, names)), None))
    return _connection(url, settings.with_user(user) if user else settings, [], uri, None, who)


def is_open_catalog(uri: str) -> bool:
    """Tell whether a URI is that of an open-source Unity Catalog: ``uc:http://...``."""
    return _scheme(uri) == "uc"


# -- the URI --------------------------------------------------------------------------------------------------------


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower()


def _split(uri: str, who: str) -> Tuple[str, Optional[Tuple[str, str]]]:
    """Return the URL without user information, and user and password if it has them."""
    shown = without_userinfo(uri).partition("?")[0]
    if _scheme(uri) not in _PORTS:
        raise BadInput(f"The URI of {who}, {shown}, is not that of a tracking server (http or https).")
    try:
        parts = urlsplit(uri)
        if not parts.hostname or parts.port == 0 or " " in uri or not uri.isprintable():
            raise ValueError
        prepared = requests.PreparedRequest()
        prepared.prepare_url(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", None)
    except ValueError:  # that of requests is one too
        raise BadInput(
            f"The URI of {who}, {shown}, is malformed; special characters in a user name or password must be"
            " percent-encoded."
        ) from None
    if parts.query or parts.fragment:
        raise BadInput(
            f"The URI of {who}, {shown.partition('#')[0]}, must end with its path; special characters in a user name or"
            " password must be percent-encoded."
        )
    user = (unquote(parts.username or ""), unquote(parts.password or ""))
    return str(prepared.url).rstrip("/"), user if any(user) else None


def _origin(url: str) -> Tuple[str, Optional[str], Optional[int]]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _is_global_host(url: str) -> bool:
    return _same_host(os.environ.get("MLFLOW_TRACKING_URI") or "", url)


def _belongs(prefix: str, uri: str) -> bool:
    """Tell whether a side's own variables are meant for a server: not if they name another one."""
    own = (os.environ.get(prefix + "TRACKING_URI") or "").strip()
    return own in ("", uri) or _same_host(own, uri)


def _same_host(uri: str, other: str) -> bool:
    try:
        return _origin(_split(uri.strip(), "")[0]) == _origin(_split(other.strip(), "")[0])
    except BadInput:
        return False


def registry_uri_of(side: str, *, use_global: bool) -> Optional[str]:
    """Return the URI of the model registry that the environment names for a side, or None.

    :param side: ``src``, ``dst``, or empty for a command with one side.
    :param use_global: MLFLOW_REGISTRY_URI counts.
    """
    names = [_SIDES[side][0] + "REGISTRY_URI"] + ["MLFLOW_REGISTRY_URI"] * use_global
    return next(filter(None, map(os.environ.get, names)), None) if side or use_global else None


# -- the settings ---------------------------------------------------------------------------------------------------


def _read(side: str) -> _Settings:
    prefix = _SIDES[side][0]

    def text(name: str) -> Optional[str]:
        return os.environ.get(prefix + name) or None

    def boolean(name: str) -> bool:
        value = (text(name) or "false").lower()
        if value not in ("true", "1", "false", "0"):
            raise BadInput(f"{prefix}{name} must be true or false.")
        return value in ("true", "1")

    settings = _Settings(
        username=text("TRACKING_USERNAME"),
        password=text("TRACKING_PASSWORD"),
        token=text("TRACKING_TOKEN"),
        aws_sigv4=boolean("TRACKING_AWS_SIGV4"),
        auth=text("TRACKING_AUTH"),
        client_cert=text("TRACKING_CLIENT_CERT_PATH"),
        insecure=boolean("TRACKING_INSECURE_TLS"),
        server_cert=text("TRACKING_SERVER_CERT_PATH"),
        workspace=(text("WORKSPACE") or "").strip() or None,
    )
    if settings.insecure and settings.server_cert:
        raise BadInput(f"{prefix}TRACKING_INSECURE_TLS and {prefix}TRACKING_SERVER_CERT_PATH exclude each other.")
    if side and bool(settings.username) != bool(settings.password) and not settings.token:
        # the other half never comes from elsewhere, and going on without would be another user
        raise BadInput(f"Set both {prefix}TRACKING_USERNAME and {prefix}TRACKING_PASSWORD, or neither.")
    return settings


def _with_credentials_file(settings: _Settings) -> _Settings:
    parser = configparser.ConfigParser()
    try:
        parser.read(os.path.expanduser(_CREDENTIALS_FILE), encoding="utf-8")
        section: Mapping[str, str] = dict(parser["mlflow"]) if "mlflow" in parser else {}
    except (configparser.Error, OSError, UnicodeDecodeError) as ex:
        # the parser's own words quote the line, and that may be the password
        raise BadInput(f"{_CREDENTIALS_FILE} can't be read: {type(ex).__name__}.") from None
    return settings._replace(
        username=settings.username or section.get("mlflow_tracking_username") or None,
        password=settings.password or section.get("mlflow_tracking_password") or None,
    )


# -- the connection -------------------------------------------------------------------------------------------------


def _connection(
    url: str, settings: _Settings, plugins: List[Any], uri: str, registry_uri: Optional[str], who: str
) -> Connection:
    headers: Dict[str, str] = {"User-Agent": USER_AGENT}
    auth = find_request_auth(settings.aws_sigv4, settings.auth, who)
    authorization = _authorization(settings)
    if authorization is None and auth is None:
        # netrc is keyed by host, so it can't reach another one
        authorization = _basic(get_netrc_auth(url))
    if authorization:
        headers["Authorization"] = _checked(authorization, f"The credentials of {who} hold")
    if settings.workspace:
        headers[WORKSPACE_HEADER] = _checked(settings.workspace, f"The workspace of {who} holds")
    for path in filter(None, (settings.client_cert, settings.server_cert)):
        if url.startswith("https:") and not os.path.exists(path):
            raise BadInput(f"The certificate file {path} of {who} does not exist.")
    return Connection(
        url=url,
        headers=headers,
        auth=WithPluginHeaders(plugins, auth) if plugins else auth,
        verify=settings.server_cert or not settings.insecure,
        cert=settings.client_cert,
        uri=without_userinfo(uri),
        registry_uri=registry_uri,
    )


def _in_workspace(connection: Connection, workspace: str, who: str) -> Connection:
    headers = {name: value for name, value in connection.headers.items() if name != WORKSPACE_HEADER}
    if workspace:
        headers[WORKSPACE_HEADER] = _checked(workspace, f"The workspace of {who} holds")
    return replace(connection, headers=headers)


def _databricks_connection(login: Any, uri: str, registry_uri: Optional[str]) -> Connection:
    headers = {"User-Agent": USER_AGENT, **login.headers}
    return Connection(login.url, headers, login.auth, login.verify, None, uri, registry_uri, is_databricks=True)


def _authorization(settings: _Settings) -> Optional[str]:
    # like MLflow: a user name beats a token, but not Kubernetes' own one
    if settings.username is not None and settings.password is not None and settings.auth not in _KUBERNETES:
        return _basic((settings.username, settings.password))
    return f"Bearer {settings.token}" if settings.token else None


def _basic(user: Optional[Tuple[str, str]]) -> Optional[str]:
    return "Basic " + base64.b64encode(":".join(user).encode()).decode() if user else None


def _checked(value: str, what: str) -> str:
    # http.client would refuse it later, with the value in its message
    if not value.isascii() or not value.isprintable():
        raise BadInput(f"{what} a character that no HTTP header may have, such as a line break.")
    return value


def _get_creds_of(client: Any) -> Any:
    return getattr(getattr(getattr(client, "_tracking_client", None), "store", None), "get_host_creds", None)


def _is_default(get_creds: Any) -> bool:
    """Tell whether a store takes its credentials from the environment, as MLflow's own HTTP store does."""
    name = getattr(get_creds.func, "__name__", "") if isinstance(get_creds, functools.partial) else ""
    return name.endswith("get_default_host_creds")
