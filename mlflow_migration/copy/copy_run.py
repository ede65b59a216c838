"""Copies one run to an experiment, also of another server."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Mapping, Optional

from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.session import open_job, tell
from mlflow_migration.common.two_servers import two_servers
from mlflow_migration.copy.two_sides import export_half, import_half, refuse_reference, run_copy, way_station
from mlflow_migration.run.export_run import export_one_run
from mlflow_migration.run.export_run import settings_of as export_settings
from mlflow_migration.run.import_run import import_one_run
from mlflow_migration.run.import_run import settings_of as import_settings
from mlflow_migration.run.run_importer import RunImporter


def copy_one_run(
    job: Job, src: Tracking, dst: Tracking, run_id: str, experiment_name: str, options: Mapping[str, Any], id_map: IdMap
) -> Optional[RunImporter]:
    """Copy a run with its logged models; None if it could not even be exported.

    :param options: Those of the command.
    :raises BadInput: There is no such run, or the destination can't take it.
    """
    with way_station(None if job.dry_run else options.get("temp_dir")) as directory:
        settings = export_settings({**options, "export_deleted_runs": True})
        # even a dry run fetches the run: what would be done can only be told from the whole
        exporter = export_one_run(src, _really(export_half(job)), run_id, directory, settings)
        if run_id not in exporter.whole:
            return None
        return import_one_run(dst, import_half(job), directory, experiment_name, import_settings(options), id_map)


def _really(job: Job) -> Job:
    job.dry_run = False
    return job


def copy(
    src_run_id: str,
    dst_experiment_name: str,
    src_mlflow_uri: Optional[str] = None,
    dst_mlflow_uri: Optional[str] = None,
) -> Any:
    """Copy a run.

    :param src_run_id: Id of the run.
    :param dst_experiment_name: Destination experiment; it is created if absent.
    :param src_mlflow_uri: Source server; default is what the environment says.
    :param dst_mlflow_uri: Destination server; default is what the environment says.
    :return: The new run as an MLflow entity.
    :raises MlflowExportImportException: It can't be copied.
    """
    options = {"src_mlflow_uri": src_mlflow_uri, "dst_mlflow_uri": dst_mlflow_uri}
    return _copy_with(src_run_id, dst_experiment_name, options, None, None)


def _copy(src_run_id: str, dst_experiment_name: str, src_client: Any = None, dst_client: Any = None) -> Any:
    """Copy a run between the servers of two MlflowClients; as :func:`copy` else."""
    return _copy_with(src_run_id, dst_experiment_name, {}, src_client, dst_client)


def _copy_with(
    src_run_id: str, dst_experiment_name: str, options: Mapping[str, Any], src_client: Any, dst_client: Any
) -> Any:
    with two_servers(options, src_client, dst_client) as (src, dst), Ledger(None, "copy_run", options) as ledger:
        with open_job(ledger, "runs", {"quiet": True}) as job, closing(IdMap(None, dst.identity)) as id_map:
            runs = copy_one_run(job, src, dst, src_run_id, dst_experiment_name, options, id_map)
        if runs is None or src_run_id not in runs.ids or ledger.counts.get("run", {}).get("failed"):
            raise MlflowExportImportException(f"Run {src_run_id} could not be copied.\n{ledger.summary()}")
        tell(ledger)
        from mlflow_migration.run.entities import run_entity

        return run_entity(dst.run(runs.ids[src_run_id]))


@command(
    "copy-run", "src_mlflow_uri", "dst_mlflow_uri", "run_id", "experiment_name", "artifacts", "include_artifacts",
    "exclude_artifacts", "max_artifact_size", "import_source_tags", "use_src_user_id", "mlmodel_fix", "on_refused",
    "on_destination_change", "recheck", "require_admin", "temp_dir",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    refuse_reference(options)

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap) -> None:
        copy_one_run(job, src, dst, options["run_id"], options["experiment_name"], options, id_map)

    return run_copy("copy-run", options, "runs", work)


if __name__ == "__main__":
    main()
