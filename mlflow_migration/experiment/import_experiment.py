"""Imports one experiment from a directory."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.experiment.experiment_importer import ExperimentImporter
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
    principal_renames: Union[None, str, Mapping[str, str]] = None,
    on_refused: str = "skip",
    on_destination_change: str = "keep",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import an experiment with its runs and logged models.

    :param experiment_name: Destination experiment; it is created if absent.
    :param input_dir: Directory of the exported experiment.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param dst_notebook_dir: Directory of a Databricks workspace for the runs' notebooks.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param principal_renames: New names of users, groups and service principals, for the permissions: a dict, or the
        path of a file.
    :param on_refused: ``skip``, ``truncate`` or ``fail``.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :return: The destination's ``mlflow.entities.RunInfo`` by source run id.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "import_source_tags": import_source_tags,
        "import_permissions": import_permissions,
        "principal_mapping_file": principal_renames,
        "use_src_user_id": use_src_user_id,
        "dst_notebook_dir": dst_notebook_dir,
        "on_refused": on_refused,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    about = {"experiment_name": experiment_name}
    with importing("import_experiment", input_dir, report_dir, options, mlflow_client, **about) as to:
        importer = ExperimentImporter(to.tracking, to.job, settings_of(options), to.id_map, experiment_name)
        runs = importer.import_experiment(to.directory)
    from mlflow_migration.run.entities import run_info_entity

    return {src_id: run_info_entity(info) for src_id, info in runs.infos.items()}


@command(
    "import-experiment", "tracking_uri", "experiment_name", "input_dir", "import_source_tags", "use_src_user_id",
    "import_permissions", "principal_mapping_file", "dst_notebook_dir", "mlmodel_fix", "on_refused",
    "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    name, settings = options["experiment_name"], settings_of(options)

    def work(to: Destination) -> None:
        ExperimentImporter(to.tracking, to.job, settings, to.id_map, name).import_experiment(to.directory)

    return import_script("import-experiment", options, "runs", work)


if __name__ == "__main__":
    main()
