"""What only a Databricks workspace has, beside the MLflow API: its own objects, permissions, users and jobs.

Endpoints and fields are those of the databricks-sdk's services workspace, iam, catalog and ml.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import quote

from mlflow_migration.client.errors import MlflowExportImportException, NotFound, Refused
from mlflow_migration.client.rest_client import RestClient, paged
from mlflow_migration.client.tracking import API

Json = Dict[str, Any]

WORKSPACE_API = "/api/2.0/workspace"
PERMISSIONS_API = "/api/2.0/permissions"
SCIM_API = "/api/2.0/preview/scim/v2"
UNITY_CATALOG_API = "/api/2.1/unity-catalog"
FILES_API = "/api/2.0/fs"

USER, GROUP, SERVICE_PRINCIPAL = "user_name", "group_name", "service_principal_name"
"""Fields by which an access control list names its principals."""

_SCIM = {
    USER: ("Users", "userName"),
    GROUP: ("Groups", "displayName"),
    SERVICE_PRINCIPAL: ("ServicePrincipals", "applicationId"),
}


def _in_path(name: str) -> str:
    return quote(name, safe="")


# -- the workspace's own objects ------------------------------------------------------------------------------------


def make_directory(rest: RestClient, path: str) -> None:
    """Make a directory of the workspace with all that are above it; nothing happens if it is there.

    :param rest: Client of the workspace.
    :param path: Absolute, such as ``/Users/mary@example.com/experiments``.
    :raises Refused: The workspace refuses, for example because the path is a notebook's.
    """
    # POST workspace/mkdirs is idempotent: https://docs.databricks.com/api/workspace/workspace/mkdirs
    rest.request("POST", f"{WORKSPACE_API}/mkdirs", body={"path": path}, read=True)


def workspace_object(rest: RestClient, path: str) -> Optional[Json]:
    """Return type, language and id of an object of the workspace (GET workspace/get-status), None if there is none.

    :param rest: Client of the workspace.
    :param path: Absolute.
    """
    try:
        return rest.get(f"{WORKSPACE_API}/get-status", {"path": path})
    except NotFound as ex:
        if not ex.error_code:
            raise
        return None


class ExportedNotebook(NamedTuple):
    """A notebook in one format.

    :param content: Its bytes.
    :param file_type: What the workspace calls its kind of file, such as ``py``; empty if it does not say.
    """

    content: bytes
    file_type: str


def export_notebook(rest: RestClient, path: str, notebook_format: str, revision: str = "") -> ExportedNotebook:
    """Return a notebook (GET workspace/export).

    :param rest: Client of the workspace.
    :param path: Absolute path of the notebook.
    :param notebook_format: ``SOURCE``, ``HTML``, ``JUPYTER`` or ``DBC``.
    :param revision: Id of its revision, which is a time in ms since epoch; empty for the present one.
    :raises Refused: There is no such notebook or revision, or the workspace refuses.
    :raises MlflowExportImportException: The reply holds no content.
    """
    params = {"path": path, "format": notebook_format}
    if revision:
        # not in the public documentation; it is how MLflow's page links to the notebook of a run
        params["revision.revision_timestamp"] = revision
    reply = rest.get(f"{WORKSPACE_API}/export", params)
    try:
        content = base64.b64decode(reply.get("content") or "", validate=True)
    except (binascii.Error, TypeError, ValueError) as ex:
        raise MlflowExportImportException(f"the workspace's reply for {path} is not base64") from ex
    if not content:
        raise MlflowExportImportException(f"the workspace gave nothing for {path} as {notebook_format}")
    return ExportedNotebook(content, str(reply.get("file_type") or ""))


def import_notebook(rest: RestClient, path: str, content: bytes, notebook_format: str, language: str = "") -> None:
    """Make a notebook, or write over the one of that path (POST workspace/import).

    :param rest: Client of the workspace.
    :param path: Absolute; for the format ``DBC`` nothing may be there.
    :param content: Its bytes.
    :param notebook_format: As for :func:`export_notebook`.
    :param language: ``PYTHON``, ``SCALA``, ``SQL`` or ``R``; the format ``SOURCE`` needs it.
    :raises Refused: The workspace refuses.
    """
    body: Json = {"path": path, "format": notebook_format, "content": base64.b64encode(content).decode()}
    if language:
        body["language"] = language
    if notebook_format != "DBC":  # an archive can't be written over
        body["overwrite"] = True
    rest.post(f"{WORKSPACE_API}/import", body)


# -- files ----------------------------------------------------------------------------------------------------------


def directory_entries(rest: RestClient, root: str, path: str) -> Iterator[Tuple[str, Json]]:
    """Yield the path below a root of each entry of a directory of the Files API, with ``is_dir`` and ``file_size``.

    :param rest: Client of the workspace.
    :param root: Absolute, such as ``/Volumes/CATALOG/SCHEMA/VOLUME``.
    :param path: The directory, below the root; nothing is yielded if it is not there.
    """
    folder = posixpath.join(root, path).rstrip("/")

    def fetch(token: Optional[str]) -> Json:
        return rest.get(f"{FILES_API}/directories{quote(folder)}", {"page_token": token} if token else None)

    try:
        for page in paged(fetch, "contents"):
            for item in page:
                name = posixpath.basename(item["path"].rstrip("/"))
                yield posixpath.join(path, name), {**item, "is_dir": item.get("is_directory")}
    except NotFound as ex:
        if not ex.error_code:
            raise


# -- permissions ----------------------------------------------------------------------------------------------------


def permissions(rest: RestClient, object_type: str, object_id: str) -> Json:
    """Return the access control list of an object of the workspace, with what it inherits (GET permissions).

    :param rest: Client of the workspace.
    :param object_type: ``experiments`` or ``registered-models``.
    :param object_id: Its id there; that of a registered model tells :func:`registered_model_id`.
    """
    return rest.get(f"{PERMISSIONS_API}/{object_type}/{_in_path(object_id)}")


def permission_levels(rest: RestClient, object_type: str, object_id: str) -> List[Json]:
    """Return the levels that an object's permissions may have, each with its description; for the reader of a file."""
    try:
        reply = rest.get(f"{PERMISSIONS_API}/{object_type}/{_in_path(object_id)}/permissionLevels")
    except Refused:
        return []
    return list(reply.get("permission_levels") or ())


def grant_permissions(rest: RestClient, object_type: str, object_id: str, entries: Sequence[Mapping[str, str]]) -> None:
    """Give principals a level each; others keep theirs (PATCH permissions).

    :param entries: ``permission_level``, and the principal by one of ``user_name``, ``group_name`` and
        ``service_principal_name``.
    """
    body = {"access_control_list": [dict(entry) for entry in entries]}
    rest.patch(f"{PERMISSIONS_API}/{object_type}/{_in_path(object_id)}", body)


def unity_permissions(rest: RestClient, full_name: str, effective: bool = False) -> Json:
    """Return the privileges of a model of Unity Catalog (GET unity-catalog/permissions).

    :param rest: Client of the workspace.
    :param full_name: ``catalog.schema.model``.
    :param effective: With those that it inherits from schema, catalog and metastore.
    """
    route = f"{UNITY_CATALOG_API}/{'effective-permissions' if effective else 'permissions'}/function"

    def fetch(token: Optional[str]) -> Json:
        return rest.get(f"{route}/{_in_path(full_name)}", {"page_token": token} if token else None)

    return {"privilege_assignments": [item for page in paged(fetch, "privilege_assignments") for item in page]}


def grant_privileges(rest: RestClient, full_name: str, changes: Mapping[str, Sequence[str]]) -> None:
    """Give principals privileges on a model of Unity Catalog; nobody loses any (PATCH unity-catalog/permissions).

    :param changes: Privileges by principal.
    """
    body = {"changes": [{"principal": name, "add": list(privileges)} for name, privileges in changes.items()]}
    rest.patch(f"{UNITY_CATALOG_API}/permissions/function/{_in_path(full_name)}", body)


def registered_model_id(rest: RestClient, name: str) -> str:
    """Return the id by which permissions know a model of the workspace's registry. Raises NotFound."""
    reply = rest.get(f"{API}/databricks/registered-models/get", {"name": name})
    return str((reply.get("registered_model_databricks") or {}).get("id") or "")


# -- users ----------------------------------------------------------------------------------------------------------


def has_principal(rest: RestClient, kind: str, name: str) -> bool:
    """Tell whether the workspace has a user, a group or a service principal (GET of the SCIM API).

    :param rest: Client of the workspace.
    :param kind: USER, GROUP or SERVICE_PRINCIPAL.
    :param name: User name, display name or application id.
    :raises Unauthorized: These credentials may not look.
    """
    resource, attribute = _SCIM[kind]
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    params = {"filter": f'{attribute} eq "{quoted}"', "attributes": attribute}
    found = rest.get(f"{SCIM_API}/{resource}", params).get("Resources") or ()
    return any(str(one.get(attribute) or "").lower() == name.lower() for one in found)
