"""Imports the registered models of a directory with their experiments."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.bulk.models_importer import import_models_of
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.rename_utils import get_renames
from mlflow_migration.common.session import input_dir as input_directory
from mlflow_migration.common.session import open_job, run_command, tell
from mlflow_migration.common.session import report_dir as report_directory
from mlflow_migration.model.one_side import one_side


def import_models(
    input_dir: str,
    delete_model: bool,
    import_permissions: bool = False,
    import_source_tags: bool = False,
    use_src_user_id: bool = False,
    experiment_renames: Union[None, str, Mapping[str, str]] = None,
    model_renames: Union[None, str, Mapping[str, str]] = None,
    verbose: bool = False,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_version_conflict: str = "fail",
    on_destination_change: str = "keep",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import registered models with their versions, runs and logged models.

    :param input_dir: Directory of the exported models.
    :param delete_model: First delete each of the destination's models with all its versions.
    :param import_permissions: Has an effect only on Databricks.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param model_renames: Likewise, for registered models.
    :param verbose: For callers of today's tools.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_version_conflict: ``fail``, ``skip`` or ``renumber``.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :return: ``duration`` in seconds, and how many experiments and models ended how: ``experiments_import``,
        ``models_import``.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "delete_model": delete_model,
        "import_permissions": import_permissions,
        "import_source_tags": import_source_tags,
        "use_src_user_id": use_src_user_id,
        "on_version_conflict": on_version_conflict,
        "on_destination_change": on_destination_change,
        "workers": workers,
        "quiet": True,
    }
    renames = get_renames(experiment_renames), get_renames(model_renames)
    directory = input_directory(input_dir)
    reports = report_directory(report_dir, directory)
    start = time.monotonic()
    with open_tracking(None, "dst", workers=workers, mlflow_client=mlflow_client) as tracking, open_registry(
        tracking, None, "dst", workers=workers
    ) as registry, Ledger(reports, "import_models", {"input_dir": input_dir, **options}) as ledger, open_job(
        ledger, "runs", options
    ) as job, closing(IdMap(reports, tracking.identity)) as id_map:
        import_models_of(tracking, registry, job, directory, options, id_map, renames)
        tell(ledger)
    return report_of(ledger, time.monotonic() - start)


def report_of(ledger: Ledger, seconds: float) -> Dict[str, Any]:
    """Return what functions of bulk imports return."""
    return {
        "duration": round(seconds, 3),
        "experiments_import": dict(ledger.counts.get("experiment", {})),
        "models_import": dict(ledger.counts.get("registered_model", {})),
    }


@command(
    "import-models", "tracking_uri", "registry_uri", "input_dir", "delete_model", "on_version_conflict", "fill_gaps",
    "experiment_rename_file", "model_rename_file", "import_source_tags", "use_src_user_id", "import_permissions",
    "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    directory = input_directory(options["input_dir"])
    renames = get_renames(options["experiment_rename_file"]), get_renames(options["model_rename_file"])
    reports = report_directory(options["report_dir"], directory, options["dry_run"])

    def work(job: Job) -> None:
        with one_side(job, options, "dst") as (tracking, registry):
            with closing(IdMap(reports, tracking.identity, writable=not job.dry_run)) as id_map:
                import_models_of(tracking, registry, job, directory, options, id_map, renames)

    return run_command("import-models", options, reports, "runs", work)


if __name__ == "__main__":
    main()
