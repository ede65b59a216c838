"""Imports the logged models (MLflow 3) of several experiments from a directory."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Optional

from mlflow_migration.client.servers import open_tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rights import check_rights
from mlflow_migration.common.session import input_dir as input_directory
from mlflow_migration.common.session import open_job, run_command, tell
from mlflow_migration.common.session import report_dir as report_directory
from mlflow_migration.run.import_run import settings_of
from mlflow_migration.run.models_importer import import_listed_models


def import_logged_models(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    import_source_tags: bool = False,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> None:
    """Import logged models, with their runs where the directory has them, into experiments of the same names.

    :param input_dir: Directory of the exported logged models.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "import_source_tags": import_source_tags,
        "on_destination_change": on_destination_change,
        "workers": workers,
        "quiet": True,
    }
    directory = input_directory(input_dir)
    reports = report_directory(report_dir, directory)
    with open_tracking(None, "dst", workers=workers, mlflow_client=mlflow_client) as tracking, Ledger(
        reports, "import_logged_models", {"input_dir": input_dir, **options}
    ) as ledger, open_job(ledger, "runs", options) as job, closing(IdMap(reports, tracking.identity)) as id_map:
        import_listed_models(tracking, job, directory, settings_of(options), id_map)
        tell(ledger)


@command(
    "import-logged-models", "tracking_uri", "input_dir", "import_source_tags", "use_src_user_id", "mlmodel_fix",
    "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    directory = input_directory(options["input_dir"])
    reports = report_directory(options["report_dir"], directory, options["dry_run"])

    def work(job: Job) -> None:
        with open_tracking(options["tracking_uri"], "dst", workers=options["workers"], dry_run=job.dry_run) as tracking:
            check_rights(tracking, job.ledger, options["require_admin"], "write")
            with closing(IdMap(reports, tracking.identity, writable=not job.dry_run)) as id_map:
                import_listed_models(tracking, job, directory, settings_of(options), id_map)

    return run_command("import-logged-models", options, reports, "runs", work)


if __name__ == "__main__":
    main()
