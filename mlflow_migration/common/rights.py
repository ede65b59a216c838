"""Whether the credentials see everything: MLflow's basic-auth app shows others only a part, without saying so."""

from __future__ import annotations

import base64
from typing import Any, Mapping, Optional

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.databricks_tags import NOTE
from mlflow_migration.common.ledger import Ledger

_log = log.getLogger(__name__)


def check_rights(tracking: Tracking, ledger: Ledger, require_admin: bool, action: str) -> None:
    """Say first which server it is, and what may be missing for lack of rights.

    :param tracking: The server that will be asked.
    :param ledger: Gets a note unless it is known that all is visible.
    :param require_admin: Refuse to go on in that case.
    :param action: "read" or "write", for the words.
    :raises BadInput: ``require_admin`` is given and it is not known that the credentials see everything.
    """
    ledger.server(action, tracking.uri)
    if tracking.is_databricks and action == "write":
        ledger.note(NOTE)
    _tell(_problem(tracking, action), ledger, require_admin)


def check_registry_rights(registry: Registry, ledger: Ledger, require_admin: bool, action: str) -> None:
    """Do the same for a registry that is on another server than the runs; see :func:`check_rights`."""
    if not registry.is_apart:
        return
    ledger.note(f"The model registry is at {registry.uri}.")
    _tell(_problem(registry.server, action), ledger, require_admin)


def note_databricks_options(ledger: Ledger, options: Mapping[str, Any]) -> None:
    """Say that options which only a Databricks workspace has a use for do nothing elsewhere."""
    permissions = ("export_permissions", "import_permissions", "copy_permissions")
    for name in (*permissions, "notebook_formats", "dst_notebook_dir"):
        if options.get(name):
            ledger.note(f"--{name.replace('_', '-')} has no effect: this server is no Databricks workspace.")


def _tell(problem: Optional[str], ledger: Ledger, require_admin: bool) -> None:
    if problem is None:
        return
    if require_admin:
        raise BadInput(f"{problem} --require-admin is given, so nothing was done.")
    _log.warning(problem)
    ledger.note(problem)


def _problem(tracking: Tracking, action: str) -> Optional[str]:
    user = _user_of(tracking)
    if tracking.has_basic_auth():
        admin = tracking.is_admin(user) if user else None
        if admin:
            return None
        who = (
            f"The user {user} is no administrator"
            if admin is False
            else "It can't be known whether this user is an administrator"
        )
        hidden = (
            "experiments and runs that he may not read are not even listed"
            if action == "read"
            else "some writes may be refused"
        )
        return f"{who} of {tracking.uri}: {hidden}."
    if tracking.rest.connection.auth is not None or "Authorization" in tracking.rest.connection.headers:
        unknown = f"{tracking.uri} does not tell what these credentials may {action}"
        return f"{unknown}: what they may not see is not counted here."
    return None


def _user_of(tracking: Tracking) -> str:
    kind, _, value = tracking.rest.connection.headers.get("Authorization", "").partition(" ")
    if kind != "Basic":
        return ""
    return base64.b64decode(value).decode("utf-8", "replace").partition(":")[0]
