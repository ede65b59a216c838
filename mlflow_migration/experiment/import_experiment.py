"""Imports one experiment from a directory."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Dict, Optional

from mlflow_migration.client.servers import open_tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rights import check_rights
from mlflow_migration.common.session import input_dir as input_directory
from mlflow_migration.common.session import open_job, run_command, tell
from mlflow_migration.common.session import report_dir as report_directory
from mlflow_migration.experiment.experiment_importer import ExperimentImporter
from mlflow_migration.run.export_run import note_databricks_options
from mlflow_migration.run.import_run import settings_of


def import_experiment(
    experiment_name: str,
    input_dir: str,
    import_source_tags: bool = False,
    import_permissions: bool = False,
    use_src_user_id: bool = False,
    dst_notebook_dir: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_refused: str = "skip",
    on_destination_change: str = "keep",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import an experiment with its runs and logged models.

    :param experiment_name: Destination experiment; it is created if absent.
    :param input_dir: Directory of the exported experiment.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param import_permissions: Has an effect only on Databricks.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param dst_notebook_dir: Has an effect only on Databricks.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_refused: ``skip``, ``truncate`` or ``fail``.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :return: The destination's ``mlflow.entities.RunInfo`` by source run id.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "import_source_tags": import_source_tags,
        "import_permissions": import_permissions,
        "use_src_user_id": use_src_user_id,
        "dst_notebook_dir": dst_notebook_dir,
        "on_refused": on_refused,
        "on_destination_change": on_destination_change,
        "workers": workers,
        "quiet": True,
    }
    directory = input_directory(input_dir)
    reports = report_directory(report_dir, directory)
    shown = {"experiment_name": experiment_name, "input_dir": input_dir, **options}
    with open_tracking(None, "dst", workers=workers, mlflow_client=mlflow_client) as tracking, Ledger(
        reports, "import_experiment", shown
    ) as ledger, open_job(ledger, "runs", options) as job, closing(IdMap(reports, tracking.identity)) as id_map:
        importer = ExperimentImporter(tracking, job, settings_of(options), id_map, experiment_name)
        runs = importer.import_experiment(directory)
        tell(ledger)
    from mlflow_migration.run.entities import run_info_entity

    return {src_id: run_info_entity(info) for src_id, info in runs.infos.items()}


@command(
    "import-experiment", "tracking_uri", "experiment_name", "input_dir", "import_source_tags", "use_src_user_id",
    "import_permissions", "dst_notebook_dir", "mlmodel_fix", "on_refused", "on_destination_change", "recheck",
    "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    directory = input_directory(options["input_dir"])
    reports = report_directory(options["report_dir"], directory, options["dry_run"])

    def work(job: Job) -> None:
        with open_tracking(options["tracking_uri"], "dst", workers=options["workers"], dry_run=job.dry_run) as tracking:
            check_rights(tracking, job.ledger, options["require_admin"], "write")
            note_databricks_options(job, options)
            with closing(IdMap(reports, tracking.identity, writable=not job.dry_run)) as id_map:
                settings = settings_of(options)
                ExperimentImporter(tracking, job, settings, id_map, options["experiment_name"]).import_experiment(
                    directory
                )

    return run_command("import-experiment", options, reports, "runs", work)


if __name__ == "__main__":
    main()
