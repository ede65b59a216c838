"""Opens the tracking server that a command works on, whatever its URI: a server, or a local store."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Any, Iterator, Optional, Tuple

from mlflow_migration.client.credentials import (
    connect,
    connect_catalog,
    from_mlflow_client,
    is_client_of_server,
    is_open_catalog,
    registry_uri_of,
    resolve_uri,
    without_userinfo,
)
from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.client.unity_catalog import OpenUnityCatalog, UnityCatalog

_CATALOG = "databricks-uc"

_log = logging.getLogger(__name__)


@contextmanager
def open_tracking(
    uri: Optional[str],
    side: str,
    *,
    two_sided: bool = False,
    workers: int = 8,
    mlflow_client: Any = None,
    dry_run: bool = False,
    workspace: Optional[str] = None,
) -> Iterator[Tracking]:
    """Give the tracking server of one side of a command.

    :param uri: Tracking URI; see :func:`mlflow_migration.client.credentials.resolve_uri` for what counts without it.
    :param side: ``src`` or ``dst``; what is no server is opened for writing only as ``dst``.
    :param two_sided: The command has two sides.
    :param workers: The most requests in flight.
    :param mlflow_client: A given MlflowClient: it decides server and credentials.
    :param dry_run: Nothing will be written, so what is no server is not made or changed either.
    :param workspace: The workspace of the server; default is what the side's or MLflow's variable says, then the
        server's default one.
    :raises BadInput: The server can't be reached or has no such workspace, or the URI is malformed.
    """
    from mlflow_migration.client.local_server import is_server_uri, serve

    if mlflow_client is not None:
        given = str(mlflow_client.tracking_uri)
    else:
        given = resolve_uri(uri, side, two_sided=two_sided)
    is_server = is_client_of_server(mlflow_client) if mlflow_client is not None else is_server_uri(given)
    if not is_server and workspace:
        raise _no_server(given)
    if not is_server:
        from mlflow_migration.client.local_stores import artifact_folder, identity

        with serve(given, writable=side == "dst", dry_run=dry_run) as url:
            connection = connect(url, two_sided=True)
            # messages and files name what the user gave
            tracking = Tracking(RestClient(connection, workers, direct=True))
            tracking.uri = without_userinfo(given)
            tracking.identity = identity(given)
            tracking.is_private = True
            if side == "src":
                tracking.artifact_folder = artifact_folder(given)
            with _counted(tracking):
                yield tracking
        return
    if mlflow_client is not None:
        connection = from_mlflow_client(mlflow_client, side, two_sided=two_sided, workspace=workspace)
    else:
        connection = connect(given, side, two_sided=two_sided, workspace=workspace)
    tracking = Tracking(RestClient(connection, workers))
    if workspace and not tracking.has_workspaces():
        raise BadInput(f"{tracking.uri} has no workspaces, and '{workspace}' is asked for.")
    tracking.reach()
    with _counted(tracking):
        yield tracking


@contextmanager
def open_whole(uri: Optional[str], side: str, *, two_sided: bool = False, workers: int = 8) -> Iterator[Tracking]:
    """Give the server of one side of a command, to see or make its workspaces and for nothing else.

    Parameters as of :func:`open_tracking`.

    :raises BadInput: It is a local store, or the URI is malformed.
    """
    from mlflow_migration.client.local_server import is_server_uri

    given = resolve_uri(uri, side, two_sided=two_sided)
    if not is_server_uri(given):
        raise _no_server(given)
    tracking = Tracking(RestClient(connect(given, side, two_sided=two_sided, workspace=""), workers))
    with _counted(tracking):
        yield tracking


def _no_server(uri: str) -> BadInput:
    return BadInput(f"{without_userinfo(uri)} is a local store, and only a server has workspaces.")


@contextmanager
def open_registry(
    tracking: Tracking,
    uri: Optional[str],
    side: str,
    *,
    two_sided: bool = False,
    workers: int = 8,
    dry_run: bool = False,
    workspace: Optional[str] = None,
) -> Iterator[Registry]:
    """Give the model registry that belongs to the tracking server of one side of a command.

    :param tracking: The tracking server.
    :param uri: ``--registry-uri``; without it what the client or the side's or MLflow's variable says counts, then the
        tracking server itself.
    :param workspace: As for :func:`open_tracking`; the registry must be on the same server then.
    :raises BadInput: The server can't be reached, or the URI is malformed.
    """
    given = uri or tracking.rest.connection.registry_uri
    if not given and tracking.is_private:
        given = registry_uri_of(side if two_sided else "", use_global=not two_sided)
    if given and _is_catalog(given):
        with _open_catalog(tracking, given, side, two_sided=two_sided, workers=workers) as catalog:
            yield catalog
        return
    if not given or without_userinfo(given).rstrip("/") == tracking.uri.rstrip("/"):
        yield Registry(tracking, tracking)
        return
    with open_tracking(
        given, side, two_sided=two_sided, workers=workers, dry_run=dry_run, workspace=workspace
    ) as server:
        if workspace and server.identity != tracking.identity:
            raise BadInput(f"The registry of a workspace must be on its server, but {server.uri} is another one.")
        yield Registry(tracking if server.identity == tracking.identity else server, tracking)


def _is_catalog(uri: str) -> bool:
    return uri.startswith((_CATALOG, "uc:"))


@contextmanager
def _open_catalog(
    tracking: Tracking, uri: str, side: str, *, two_sided: bool, workers: int
) -> Iterator[UnityCatalog]:
    """Give Unity Catalog: ``databricks-uc``, ``databricks-uc://PROFILE`` or ``uc:http://...``, as MLflow names it."""
    if uri.startswith(f"uc:{_CATALOG}"):
        uri = uri.partition(":")[2]
    connection = (connect_catalog if is_open_catalog(uri) else connect)(uri, side, two_sided=two_sided)
    shown = without_userinfo(uri)
    if connection.url == tracking.rest.connection.url and connection.is_databricks:
        yield UnityCatalog(tracking, tracking, shown)
        return
    server = Tracking(RestClient(connection, workers))
    with _counted(server):
        yield (UnityCatalog if connection.is_databricks else OpenUnityCatalog)(server, tracking, shown)


@contextmanager
def open_both(
    uri: Optional[str],
    registry_uri: Optional[str],
    side: str,
    *,
    two_sided: bool = False,
    workers: int = 8,
    mlflow_client: Any = None,
    dry_run: bool = False,
    workspace: Optional[str] = None,
) -> Iterator[Tuple[Tracking, Registry]]:
    """Give the tracking server of one side of a command, and the model registry that belongs to it.

    Parameters as of :func:`open_tracking` and :func:`open_registry`.
    """
    with open_tracking(
        uri, side, two_sided=two_sided, workers=workers, mlflow_client=mlflow_client, dry_run=dry_run,
        workspace=workspace,
    ) as tracking, open_registry(
        tracking, registry_uri, side, two_sided=two_sided, workers=workers, dry_run=dry_run, workspace=workspace
    ) as registry:  # fmt: skip
        yield tracking, registry


def with_client(value: Any, mlflow_client: Any, default: Any) -> Tuple[Any, Any]:
    """Return a parameter and the client, for callers of today's tools: one has a client where the other has the former.

    :param value: What was given in that place.
    :param mlflow_client: What was given as the client.
    :param default: The parameter's value where a client stands in its place.
    """
    if mlflow_client is None and hasattr(value, "tracking_uri"):
        return default, value
    return value, mlflow_client


@contextmanager
def _counted(tracking: Tracking) -> Iterator[None]:
    try:
        yield
    finally:
        tracking.rest.close()
        _log.info("%s: %d requests", tracking.uri, tracking.rest.requests_sent)
