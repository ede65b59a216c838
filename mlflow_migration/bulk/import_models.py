"""Imports the registered models of a directory with their experiments."""

from __future__ import annotations

import time
from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.bulk.models_importer import import_models_of
from mlflow_migration.common.cli import command
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.rename_utils import get_renames


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
    principal_renames: Union[None, str, Mapping[str, str]] = None,
    on_version_conflict: str = "fail",
    on_destination_change: str = "keep",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import registered models with their versions, runs and logged models.

    :param input_dir: Directory of the exported models.
    :param delete_model: First delete each of the destination's models with all its versions.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param use_src_user_id: Set the tag ``mlflow.user`` to the source run's user.
    :param experiment_renames: What replaces which beginning of a name: a dict, or the path of a rename file.
    :param model_renames: Likewise, for registered models.
    :param verbose: For callers of today's tools.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param principal_renames: New names of users, groups and service principals, for the permissions: a dict, or the
        path of a file.
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
        "principal_mapping_file": principal_renames,
        "import_source_tags": import_source_tags,
        "use_src_user_id": use_src_user_id,
        "on_version_conflict": on_version_conflict,
        "on_destination_change": on_destination_change,
        "workers": workers,
        "registry_uri": None,
    }
    renames = get_renames(experiment_renames), get_renames(model_renames)
    start = time.monotonic()
    with importing("import_models", input_dir, report_dir, options, mlflow_client) as to:
        import_models_of(to.tracking, to.registry, to.job, to.directory, options, to.id_map, renames)
    return report_of(to.job.ledger, time.monotonic() - start)


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
    "principal_mapping_file", "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
    "engine", "engine_address",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    renames = get_renames(options["experiment_rename_file"]), get_renames(options["model_rename_file"])

    def work(to: Destination) -> None:
        import_models_of(to.tracking, to.registry, to.job, to.directory, options, to.id_map, renames)

    return import_script("import-models", options, "runs", work)


if __name__ == "__main__":
    main()
