"""What signs or completes each request: SigV4, and the plugins that MLflow takes."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from importlib import metadata
from typing import Any, Callable, Dict, List, Optional

import requests
from requests.auth import AuthBase

from mlflow_migration import __version__
from mlflow_migration.client.errors import BadInput, redact

USER_AGENT = f"mlflow-migration/{__version__}"

_log = logging.getLogger(__name__)


def find_request_auth(aws_sigv4: bool, plugin: Optional[str], who: str) -> Optional[AuthBase]:
    """Return what signs or completes each request.

    :param aws_sigv4: Sign for the AWS API gateway.
    :param plugin: Name of a request auth provider of MLflow or of a package for it.
    :param who: The side, for messages.
    :raises BadInput: What it takes is not installed or not configured.
    """
    auth: Optional[AuthBase] = None
    if aws_sigv4:
        try:
            auth = _SigV4(importlib.import_module("requests_auth_aws_sigv4").AWSSigV4)
        except ImportError:
            raise BadInput(f"SigV4 for {who} needs a package: pip install requests-auth-aws-sigv4") from None
        except (KeyError, ValueError, AttributeError) as ex:
            raise BadInput(f"SigV4 for {who} finds no AWS credentials or region: {redact(str(ex))}") from None
    elif plugin:
        auth = importlib.import_module("mlflow.tracking.request_auth.registry").fetch_auth(plugin)
        if auth is None:
            raise BadInput(f"No installed plugin provides the request auth {plugin!r} of {who}.")
    return auth


class _SigV4(AuthBase):
    """Signs each request as MLflow does, from many threads and for hours."""

    _RENEW = 300.0  # seconds; AWS credentials that are about to expire change earlier than that

    def __init__(self, make: Callable[[str], AuthBase]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._signer, self._made = make("execute-api"), time.monotonic()

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        body: Any = r.body
        if hasattr(body, "read"):
            r.body = body.read()  # what is signed includes a hash of the body; the gateway takes 10 MB at most
        with self._lock:  # a signer keeps the time of the request in itself
            if time.monotonic() - self._made > self._RENEW:
                self._signer, self._made = self._make("execute-api"), time.monotonic()
            return self._signer(r)


class WithPluginHeaders(AuthBase):
    """Adds the headers of plugins to each request: they may hold tokens that are renewed."""

    def __init__(self, providers: List[Any], auth: Optional[AuthBase]) -> None:
        self._providers = providers
        self._auth = auth

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        headers: Dict[str, str] = {"User-Agent": USER_AGENT}
        for provider in self._providers:
            try:
                found = provider.request_headers() if provider.in_context() else {}
            except Exception as ex:  # noqa: BLE001 -- plugins raise what they like, and MLflow goes on too
                _log.warning("A request header plugin failed: %s", redact(str(ex)))
                continue
            for name, value in found.items():
                headers[name] = f"{headers[name]} {value}" if name in headers else str(value)
        r.headers["User-Agent"] = headers.pop("User-Agent")
        for name, value in headers.items():
            r.headers.setdefault(name, value)
        return self._auth(r) if self._auth else r


def find_header_plugins() -> List[Any]:
    """Return the header providers of installed packages. They import MLflow; without any it stays unimported."""
    found: Any = metadata.entry_points()
    group = "mlflow.request_header_provider"
    providers: List[Any] = []
    # Python 3.8 and 3.9 have a dict here
    for point in found.select(group=group) if hasattr(found, "select") else found.get(group, ()):
        try:
            providers.append(point.load()())
        except (AttributeError, ImportError) as ex:
            _log.warning("The request header plugin %s can't be loaded: %s", point.name, redact(str(ex)))
    return providers
