"""Imports one logged model (MLflow 3) from a directory into an experiment.

What it does stands above the logged models, as runs travel with them: it is imported late.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Destination, import_script, importing


def import_logged_model(
    input_dir: str,
    experiment_name: str,
    run_id: Optional[str] = None,
    mlmodel_fix: bool = True,
    model_type: Optional[str] = None,
    step: Optional[int] = None,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    import_source_tags: bool = False,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> None:
    """Import a logged model, with its runs where the directory has them.

    :param input_dir: Directory of the exported logged model.
    :param experiment_name: Destination experiment; it is created if absent.
    :param run_id: A run of the destination that becomes the one that made the model, in place of the source's, which
        is not imported then. Metrics that the model got in the source's run are logged in it.
    :param mlmodel_fix: Write the new ids into MLmodel files.
    :param model_type: Type of the model in place of the one that it has.
    :param step: With ``run_id``: the model becomes an output of that run, at this step; None leaves the run's outputs
        alone. A run that has the model as an output keeps the step that it has there.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :raises MlflowExportImportException: It can't be imported.
    """
    from mlflow_migration.run.import_run import settings_of
    from mlflow_migration.run.models_importer import import_one_logged_model

    if step is not None and run_id is None:
        raise BadInput("step says at which step of the run run_id the model is made: give run_id too.")
    options = {
        "mlmodel_fix": mlmodel_fix,
        "import_source_tags": import_source_tags,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    about: Dict[str, Any] = {"experiment_name": experiment_name, "run_id": run_id}
    with importing("import_logged_model", input_dir, report_dir, options, mlflow_client, **about) as to:
        arrived = import_one_logged_model(
            to.tracking, to.job, to.directory, experiment_name, settings_of(options), to.id_map,
            run_id=run_id, model_type=model_type, step=step,
        )  # fmt: skip
        if not arrived:
            place = to.job.ledger.path
            raise MlflowExportImportException(f"The logged model of {input_dir} could not be imported; see {place}")


@command(
    "import-logged-model", "tracking_uri", "input_dir", "experiment_name", "import_source_tags", "use_src_user_id",
    "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    from mlflow_migration.run.import_run import settings_of
    from mlflow_migration.run.models_importer import import_one_logged_model

    name, settings = options["experiment_name"], settings_of(options)

    def work(to: Destination) -> None:
        import_one_logged_model(to.tracking, to.job, to.directory, name, settings, to.id_map)

    return import_script("import-logged-model", options, "runs", work)


if __name__ == "__main__":
    main()
