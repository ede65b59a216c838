"""Downloads a notebook of a Databricks workspace."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from mlflow_migration.client.credentials import connect
from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.notebook.notebooks import formats_of, save_notebook

_log = log.getLogger(__name__)


def download_notebook(
    output_dir: str,
    notebook_workspace_path: str,
    revision_id: Optional[str] = None,
    notebook_formats: Optional[Sequence[str]] = None,
    dbx_client: Any = None,
    *,
    tracking_uri: Optional[str] = None,
) -> None:
    """Download a notebook of a Databricks workspace, a file for each format.

    :param output_dir: Directory for the files; they are called like the notebook, and end like the format.
    :param notebook_workspace_path: Absolute path of the notebook.
    :param revision_id: Id of one of its revisions; without it the present one is taken.
    :param notebook_formats: Of ``SOURCE``, ``HTML``, ``JUPYTER`` and ``DBC``; default: the first.
    :param dbx_client: A ``DatabricksHttpClient``: it decides workspace and credentials.
    :param tracking_uri: The workspace without such a client: ``databricks`` or ``databricks://PROFILE``.
    :raises BadInput: It is no workspace, or the path is not absolute.
    :raises MlflowExportImportException: The workspace does not give the notebook in all formats.
    """
    if not notebook_workspace_path.startswith("/"):
        raise BadInput(f"A notebook is named by its absolute path in the workspace, not {notebook_workspace_path!r}.")
    connection = connect(tracking_uri, side="src") if dbx_client is None else dbx_client.connection
    if dbx_client is None and not connection.is_databricks:
        raise BadInput(f"{connection.uri} is no Databricks workspace: only that has notebooks.")
    directory = ExportDir(output_dir)
    directory.make()
    formats = formats_of({"notebook_formats": notebook_formats}) or ("SOURCE",)
    rest = RestClient(connection)
    problems = save_notebook(rest, notebook_workspace_path, revision_id or "", formats, directory, "")
    if problems:
        raise MlflowExportImportException(f"{notebook_workspace_path} is not whole: {'; '.join(problems)}")
    _log.info("%s is in %s", notebook_workspace_path, directory.path)


@command(
    "download-notebook", "tracking_uri", "output_dir", "notebook", "revision", "notebook_formats",
    common=("quiet", "verbose"),
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    download_notebook(
        options["output_dir"], options["notebook"], options["revision"], options["notebook_formats"],
        tracking_uri=options["tracking_uri"],
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    main()
