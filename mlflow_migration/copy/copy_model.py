"""Copies one registered model with its versions and their runs, also to another server."""

from __future__ import annotations

from typing import Any, Mapping

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.permissions import copied_permissions
from mlflow_migration.common.rights import check_registry_rights
from mlflow_migration.common.two_servers import two_registries
from mlflow_migration.copy.two_sides import export_half, import_half, run_copy, way_station
from mlflow_migration.model.export_model import SCRIPT, selection_of
from mlflow_migration.model.import_model import import_one_model
from mlflow_migration.model.model_exporter import ModelExporter
from mlflow_migration.run.export_run import settings_of as export_settings


def copy_one_model(job: Job, src: Tracking, dst: Tracking, options: Mapping[str, Any], id_map: IdMap) -> None:
    """Copy a registered model with its versions, their runs and logged models.

    :param options: Those of the command.
    :raises BadInput: There is no such model, or the destination can't take it.
    """
    name, new_name = options["src_model"], options.get("dst_model") or options["src_model"]
    if not options.get("dst_experiment_name"):
        raise BadInput("The runs of the versions need a place: give --dst-experiment-name.")
    selection = selection_of(options)
    with two_registries(src, dst, options) as registries, way_station(
        None if job.dry_run else options.get("temp_dir")
    ) as directory:
        if registries[0].identity == registries[1].identity and name == new_name:
            raise BadInput("Source and destination are the same registered model of the same server.")
        for registry, action in zip(registries, ("read", "write")):
            check_registry_rights(registry, job.ledger, bool(options["require_admin"]), action)
        options = copied_permissions(options, *(registry.server.rest for registry in registries))
        half = export_half(job)
        half.dry_run = False  # what would be done can only be told from what is there
        exporter = ModelExporter(src, registries[0], half, export_settings(options), selection, SCRIPT)
        exporter.export(name, directory)
        facts = {**options, "model": new_name, "experiment_name": options["dst_experiment_name"]}
        import_one_model(dst, registries[1], import_half(job), directory, facts, id_map)


@command(
    "copy-model", "src_mlflow_uri", "dst_mlflow_uri", "src_registry_uri", "dst_registry_uri", "src_model", "dst_model",
    "dst_experiment_name", "versions", "stages", "export_latest_versions", "export_version_model",
    "export_deleted_runs", "on_version_conflict", "fill_gaps", "artifacts", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "import_source_tags", "use_src_user_id", "copy_permissions", "principal_mapping_file",
    "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin", "temp_dir",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap) -> None:
        copy_one_model(job, src, dst, options, id_map)

    return run_copy("copy-model", options, "runs", work)


if __name__ == "__main__":
    main()
