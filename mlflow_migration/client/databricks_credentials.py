"""How a Databricks workspace is reached: profiles, tokens and OAuth, left to the databricks-sdk."""

from __future__ import annotations

import configparser
import importlib
import os
from typing import Any, Dict, Mapping, NamedTuple, Optional, Union
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from mlflow_migration.client.errors import BadInput, Unauthorized, redact

# they say where things are, not who asks
_NEUTRAL = ("DATABRICKS_CONFIG_FILE", "DATABRICKS_CLI_PATH")
_WAIT = {"http_timeout_seconds": 30, "retry_timeout_seconds": 60}


class Login(NamedTuple):
    """A workspace and how requests to it are authorised.

    :param url: ``https://host``.
    :param auth: Puts the headers of the moment into each request: tokens expire.
    :param headers: Fixed headers.
    :param verify: Whether to check the server's certificate.
    """

    url: str
    auth: AuthBase
    headers: Mapping[str, str]
    verify: Union[bool, str]


def login(uri: str, prefix: str, who: str, *, two_sided: bool) -> Login:
    """Find a workspace and its credentials.

    ``databricks://PROFILE`` takes what that profile of ``~/.databrickscfg`` says: a global DATABRICKS_TOKEN belongs
    to DATABRICKS_HOST and not to the profile's host. ``databricks`` without variables of the side's own is what the
    SDK finds: the DATABRICKS_... variables, the default profile, or the workspace that the code runs in.

    :param uri: ``databricks``, ``databricks-uc``, either with ``://PROFILE``, or ``databricks://SCOPE:PREFIX``.
    :param prefix: Prefix of the side's own variables; empty if there are no sides.
    :param who: The side, for messages.
    :param two_sided: The command has another side: Azure's and Google's global variables don't count then.
    :raises BadInput: The SDK is not installed, or finds no credentials.
    """
    _, separator, profile = uri.partition("://")
    profile = profile.rstrip("/")
    if separator and (not profile or "/" in profile) or not separator and ":" in uri:
        raise BadInput(f"The URI of {who} is malformed: it must be databricks or databricks://PROFILE.")
    if ":" in profile:
        return _login_of_secrets(uri, who)
    config_class = _config_class()
    attributes = [attribute for attribute in config_class.attributes() if attribute.env]
    own = {a.env: os.environ[prefix + a.env] for a in attributes if prefix and os.environ.get(prefix + a.env)}
    if profile:
        own["DATABRICKS_CONFIG_PROFILE"] = profile
    if not own:
        return _login(config_class, {}, who)
    shared = set(_NEUTRAL)
    if not own.keys() & {"DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"}:
        shared.add("DATABRICKS_HOST")
    has_credentials = any(a.auth and a.env in own for a in attributes)
    if not two_sided and not has_credentials:
        shared.update(a.env for a in attributes if not a.env.startswith("DATABRICKS_"))
    if not has_credentials and not profile and _same_host(own.get("DATABRICKS_HOST")):
        shared.update(a.env for a in attributes)
    visible = {**{name: os.environ[name] for name in shared if os.environ.get(name)}, **own}
    arguments = {a.name: visible[a.env] for a in attributes if a.env in visible}
    return _login(_isolated(config_class), arguments, who)


def login_of(creds: Any, who: str) -> Login:
    """Return the login of an MlflowClient's host credentials that say ``use_databricks_sdk``.

    :param creds: MLflow's ``MlflowHostCreds``.
    :param who: The side, for messages.
    :raises BadInput: The SDK finds no credentials.
    """
    profile = getattr(creds, "databricks_auth_profile", None)
    if getattr(creds, "use_secret_scope_token", False):
        return _login(_isolated(_config_class()), {"host": creds.host, "token": creds.token}, who)
    return login(f"databricks://{profile}" if profile else "databricks", "", who, two_sided=False)


def _login_of_secrets(uri: str, who: str) -> Login:
    # host and token are in a secret scope of the workspace that the code runs in; MLflow knows how to ask for them
    utils = importlib.import_module("mlflow.utils.databricks_utils")
    exceptions = importlib.import_module("mlflow.exceptions")
    try:
        creds = utils.get_databricks_host_creds(uri)
    except exceptions.MlflowException as ex:
        raise BadInput(f"The secrets that {uri} names for {who} can't be used: {redact(ex.message)}") from None
    return _login(_isolated(_config_class()), {"host": creds.host, "token": creds.token}, who)


def _config_class() -> Any:
    try:
        return importlib.import_module("databricks.sdk.config").Config
    except ImportError:
        raise BadInput("Databricks needs the package databricks-sdk: pip install databricks-sdk") from None


def _isolated(config_class: Any) -> Any:
    """Return the SDK's configuration without its look at the environment.

    The SDK merges the environment into any profile, which would send a token of one workspace to another.
    """
    config_class.attributes()  # found on the class itself, so ask before there is a subclass

    class Isolated(config_class):  # type: ignore[misc]
        def _load_from_env(self) -> None:
            pass

    return Isolated


def _login(config_class: Any, arguments: Dict[str, str], who: str) -> Login:
    try:
        config = config_class(**arguments, **_WAIT)
    except (ValueError, OSError, NotImplementedError, KeyError, configparser.Error) as ex:
        raise BadInput(f"No usable Databricks credentials for {who}: {redact(str(ex))}") from None
    if not config.host or (arguments and str(config.auth_type).startswith("runtime")):
        # inside a workspace the SDK falls back to that one, whatever host was asked for
        raise BadInput(f"No Databricks credentials for {who}: name a profile, or set a host and a token.")
    workspace = getattr(config, "workspace_id", None)
    return Login(
        url=config.host.rstrip("/"),
        auth=_SdkAuth(config),
        headers={"x-databricks-org-id": str(workspace)} if workspace else {},
        verify=not getattr(config, "skip_verify", None),
    )


def _host_of(host: str) -> Optional[str]:
    return urlsplit(host if "://" in host else f"https://{host}").hostname


def _same_host(host: Optional[str]) -> bool:
    return bool(host) and _host_of(host or "") == _host_of(os.environ.get("DATABRICKS_HOST") or "")


class _SdkAuth(AuthBase):
    """Asks the SDK for the headers of each request, so that OAuth tokens are renewed."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            r.headers.update(self._config.authenticate())
        except requests.RequestException:
            raise
        except (ValueError, OSError, NotImplementedError, KeyError) as ex:
            raise Unauthorized(f"Databricks gives no token: {redact(str(ex))}", http_status_code=401) from None
        return r
