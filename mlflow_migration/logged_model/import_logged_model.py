"""Imports one logged model (MLflow 3) from a directory into an experiment.

What it does stands above the logged models, as runs travel with them: it is imported late.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Optional

from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.client.servers import open_tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rights import check_rights
from mlflow_migration.common.session import input_dir as input_directory
from mlflow_migration.common.session import open_job, run_command, tell
from mlflow_migration.common.session import report_dir as report_directory


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
        "quiet": True,
    }
    directory = input_directory(input_dir)
    reports = report_directory(report_dir, directory)
    shown = {"input_dir": input_dir, "experiment_name": experiment_name, "run_id": run_id, **options}
    with open_tracking(None, "dst", workers=workers, mlflow_client=mlflow_client) as tracking, Ledger(
        reports, "import_logged_model", shown
    ) as ledger, open_job(ledger, "runs", options) as job, closing(IdMap(reports, tracking.identity)) as id_map:
        arrived = import_one_logged_model(
            tracking, job, directory, experiment_name, settings_of(options), id_map,
            run_id=run_id, model_type=model_type, step=step,
        )  # fmt: skip
        if not arrived:
            raise MlflowExportImportException(
                f"The logged model of {input_dir} could not be imported; see {ledger.path}"
            )
        tell(ledger)


@command(
    "import-logged-model", "tracking_uri", "input_dir", "experiment_name", "import_source_tags", "use_src_user_id",
    "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    from mlflow_migration.run.import_run import settings_of
    from mlflow_migration.run.models_importer import import_one_logged_model

    directory = input_directory(options["input_dir"])
    reports = report_directory(options["report_dir"], directory, options["dry_run"])

    def work(job: Job) -> None:
        with open_tracking(options["tracking_uri"], "dst", workers=options["workers"], dry_run=job.dry_run) as tracking:
            check_rights(tracking, job.ledger, options["require_admin"], "write")
            with closing(IdMap(reports, tracking.identity, writable=not job.dry_run)) as id_map:
                name = options["experiment_name"]
                import_one_logged_model(tracking, job, directory, name, settings_of(options), id_map)

    return run_command("import-logged-model", options, reports, "runs", work)


if __name__ == "__main__":
    main()
