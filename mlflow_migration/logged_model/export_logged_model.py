"""Exports one logged model (MLflow 3) to a directory.

What it does stands above the logged models, as runs travel with them: it is imported late.
"""

from __future__ import annotations

from typing import Any

from mlflow_migration.client.errors import MlflowExportImportException, describe
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Source, export_script, exporting

_log = log.getLogger(__name__)


def export_logged_model(
    model_id: str, output_dir: str, mlflow_client: Any = None, *, export_runs: bool = True, workers: int = 8
) -> Any:
    """Export a logged model.

    :param model_id: Its id.
    :param output_dir: Directory to export to.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param export_runs: Take the runs that made or measured it too, and the logged models that these link to.
    :param workers: The most requests in flight.
    :return: The logged model as an MLflow entity; None if it failed, or if the installed MLflow has no such class.
    """
    from mlflow_migration.run.models_exporter import export_one_logged_model

    options = {"export_runs": export_runs, "workers": workers}
    try:
        with exporting("export_logged_model", output_dir, options, mlflow_client, "objects", model_id=model_id) as frm:
            exporter = export_one_logged_model(frm.tracking, frm.job, model_id, frm.directory, options)
            if model_id not in exporter.models:
                raise MlflowExportImportException(f"it could not be exported; see {frm.job.ledger.path}")
            from mlflow_migration.logged_model.entities import logged_model_entity

            return logged_model_entity(frm.tracking.logged_model(model_id))
    except MlflowExportImportException as ex:
        _log.error("Logged model %s was not exported: %s", model_id, describe(ex))
        return None


@command(
    "export-logged-model", "tracking_uri", "model_id", "output_dir", "export_runs", "include_artifacts",
    "exclude_artifacts", "max_artifact_size", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    from mlflow_migration.run.models_exporter import export_one_logged_model

    def work(frm: Source) -> None:
        export_one_logged_model(frm.tracking, frm.job, options["model_id"], frm.directory, options)

    return export_script("export-logged-model", options, "objects", work)


if __name__ == "__main__":
    main()
