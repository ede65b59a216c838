"""Imports the experiments of a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from mlflow_migration.bulk.experiments_importer import import_experiments_of
from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.rename_utils import get_renames


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
    principal_renames: Union[None, str, Mapping[str, str]] = None,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> List[Tuple[str, Optional[Dict[str, Any]]]]:
    """Import experiments with their runs and logged models.

    :param input_dir: Directory of the exported experiments.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param principal_renames: New names of users, groups and service principals, for the permissions: a dict, or the
        path of a file.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :return: For each experiment its id at the source, and the destination's ``mlflow.entities.RunInfo`` by source run
        id, or None if it failed.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "import_permissions": import_permissions,
        "principal_mapping_file": principal_renames,
        "import_source_tags": import_source_tags,
        "use_src_user_id": use_src_user_id,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    renames = get_renames(experiment_renames)
    with importing("import_experiments", input_dir, report_dir, options, mlflow_client) as to:
        done = import_experiments_of(to.tracking, to.job, to.directory, options, to.id_map, renames)
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
    "use_src_user_id", "import_permissions", "principal_mapping_file", "mlmodel_fix", "on_refused",
    "on_destination_change", "recheck", "require_admin", "engine", "engine_address",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    renames = get_renames(options["experiment_rename_file"])

    def work(to: Destination) -> None:
        import_experiments_of(to.tracking, to.job, to.directory, options, to.id_map, renames)

    return import_script("import-experiments", options, "runs", work)


if __name__ == "__main__":
    main()
