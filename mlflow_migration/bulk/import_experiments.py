"""Imports the experiments of a directory."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from mlflow_migration.bulk.experiments_importer import import_experiments_of
from mlflow_migration.client.servers import open_tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rename_utils import get_renames
from mlflow_migration.common.rights import check_rights
from mlflow_migration.common.session import input_dir as input_directory
from mlflow_migration.common.session import open_job, run_command, tell
from mlflow_migration.common.session import report_dir as report_directory
from mlflow_migration.run.export_run import note_databricks_options
from mlflow_migration.run.import_run import settings_of


def import_experiments(
    input_dir: str,
    import_permissions: bool = False,
    import_source_tags: bool = False,
    use_src_user_id: bool = False,
    experiment_renames: Union[None, str, Mapping[str, str]] = None,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> List[Tuple[str, Optional[Dict[str, Any]]]]:
    """Import experiments with their runs and logged models.

    :param input_dir: Directory of the exported experiments.
    :param import_permissions: Has an effect only on Databricks.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :return: For each experiment its id at the source, and the destination's ``mlflow.entities.RunInfo`` by source run
        id, or None if it failed.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "import_permissions": import_permissions,
        "import_source_tags": import_source_tags,
        "use_src_user_id": use_src_user_id,
        "on_destination_change": on_destination_change,
        "workers": workers,
        "quiet": True,
    }
    renames = get_renames(experiment_renames)
    directory = input_directory(input_dir)
    reports = report_directory(report_dir, directory)
    with open_tracking(None, "dst", workers=workers, mlflow_client=mlflow_client) as tracking, Ledger(
        reports, "import_experiments", {"input_dir": input_dir, **options}
    ) as ledger, open_job(ledger, "runs", options) as job, closing(IdMap(reports, tracking.identity)) as id_map:
        done = import_experiments_of(tracking, job, directory, settings_of(options), id_map, renames)
        tell(ledger)
    from mlflow_migration.run.entities import run_info_entity

    return [
        (
            item.src_id,
            None
            if item.part is None
            else {src_id: run_info_entity(info) for src_id, info in item.part.runs.infos.items()},
        )
        for item in done
    ]


@command(
    "import-experiments", "tracking_uri", "input_dir", "experiment_rename_file", "import_source_tags",
    "use_src_user_id", "import_permissions", "mlmodel_fix", "on_refused", "on_destination_change", "recheck",
    "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    directory = input_directory(options["input_dir"])
    renames = get_renames(options["experiment_rename_file"])
    reports = report_directory(options["report_dir"], directory, options["dry_run"])

    def work(job: Job) -> None:
        with open_tracking(options["tracking_uri"], "dst", workers=options["workers"], dry_run=job.dry_run) as tracking:
            check_rights(tracking, job.ledger, options["require_admin"], "write")
            note_databricks_options(job, options)
            with closing(IdMap(reports, tracking.identity, writable=not job.dry_run)) as id_map:
                import_experiments_of(tracking, job, directory, settings_of(options), id_map, renames)

    return run_command("import-experiments", options, reports, "runs", work)


if __name__ == "__main__":
    main()
