"""Imports all that the export of a server has written: experiments, registered models, prompts, datasets, the rest."""

from __future__ import annotations

import time
from typing import Any, ContextManager, Dict, List, Mapping, Optional, Tuple, Union

from mlflow_migration.bulk.experiments_exporter import EXPERIMENTS_FILE
from mlflow_migration.bulk.experiments_importer import Imported, import_experiments_of
from mlflow_migration.bulk.export_all import PROMPTS
from mlflow_migration.bulk.export_evaluation_datasets import DATASETS
from mlflow_migration.bulk.export_evaluation_datasets import SUMMARY_FILE as DATASETS_FILE
from mlflow_migration.bulk.export_prompts import SUMMARY_FILE
from mlflow_migration.bulk.import_evaluation_datasets import import_datasets_if_any
from mlflow_migration.bulk.import_models import report_of
from mlflow_migration.bulk.import_prompts import import_prompts_if_any
from mlflow_migration.bulk.kinds import has_kinds, import_kinds
from mlflow_migration.bulk.models_exporter import EXPERIMENTS, MODELS, MODELS_FILE
from mlflow_migration.bulk.models_importer import came_with, import_listed_models
from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.common.rename_utils import get_renames
from mlflow_migration.verify.at_end import Check, check_at_end


def import_server(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    renames: Tuple[Mapping[str, str], Mapping[str, str]],
) -> None:
    """Import all that a directory has, and record each object.

    :param options: Those of the command.
    :param renames: What replaces which beginning of the name of an experiment, and of a registered model.
    :raises BadInput: The directory holds no bulk export.
    """
    files = (
        (EXPERIMENTS, EXPERIMENTS_FILE), (MODELS, MODELS_FILE), (PROMPTS, SUMMARY_FILE), (DATASETS, DATASETS_FILE),
    )  # fmt: skip
    has = {folder: directory.sub(folder).exists(file) for folder, file in files}
    if not (any(has.values()) or has_kinds(directory)):
        named = ", ".join(f"{folder}/{file}" for folder, file in files)
        raise BadInput(f"{directory.path} holds no whole export of a server: there is none of {named}.")
    done: List[Imported] = []
    if has[EXPERIMENTS]:
        place = directory.sub(EXPERIMENTS)
        done = import_experiments_of(tracking, job, place, options, id_map, renames[0])
    if has[MODELS]:
        place = directory.sub(MODELS)
        import_listed_models(tracking, registry, job, place, options, id_map, renames[1], came_with(done))
    if has[PROMPTS]:
        import_prompts_if_any(tracking, registry, job, directory.sub(PROMPTS), options, id_map)
    if has[DATASETS]:
        import_datasets_if_any(tracking, job, directory.sub(DATASETS), options, id_map)
    given = {**options, "experiment_rename_file": renames[0], "model_rename_file": renames[1]}
    import_kinds(tracking, job, directory, given, id_map)


def _import(
    to: Destination, options: Mapping[str, Any], renames: Tuple[Mapping[str, str], Mapping[str, str]], check: Check
) -> None:
    import_server(to.tracking, to.registry, to.job, to.directory, options, to.id_map, renames)
    check.directory(to.job, to.directory, (to.tracking, to.registry), to.id_map)


def _check(
    job: Job, reports: ExportDir, options: Mapping[str, Any], renames: Tuple[Mapping[str, str], Mapping[str, str]]
) -> ContextManager[Check]:
    # all that the directory has is to be there
    everything = {"export_deleted_runs": True, "export_deleted_experiments": True}
    named = {"experiment_rename_file": renames[0], "model_rename_file": renames[1]}
    return check_at_end(job, {**options, **everything, **named}, reports)


def import_all(
    input_dir: str,
    delete_model: bool,
    delete_prompt: bool = False,
    delete_dataset: bool = False,
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
    activate: bool = False,
    verify: str = "metadata",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import all that the export of a server has written.

    :param input_dir: Directory of the export.
    :param delete_model: First delete each of the destination's registered models with all its versions.
    :param delete_prompt: Likewise, for prompts.
    :param delete_dataset: First delete the destination's evaluation datasets of the same names with their records.
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
    :param activate: Let what works by itself do so, as far as it did at the source.
    :param verify: How closely it is verified at the end: ``none``, ``counts``, ``metadata`` or ``full``.
    :param workers: The most requests in flight.
    :return: ``duration`` in seconds, and how many experiments and models ended how: ``experiments_import``,
        ``models_import``.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "delete_model": delete_model,
        "delete_prompt": delete_prompt,
        "delete_evaluation_dataset": delete_dataset,
        "import_permissions": import_permissions,
        "principal_mapping_file": principal_renames,
        "import_source_tags": import_source_tags,
        "use_src_user_id": use_src_user_id,
        "on_version_conflict": on_version_conflict,
        "on_destination_change": on_destination_change,
        "activate": activate,
        "verify": verify,
        "workers": workers,
        "registry_uri": None,
    }
    renames = get_renames(experiment_renames), get_renames(model_renames)
    start = time.monotonic()
    with importing("import_all", input_dir, report_dir, options, mlflow_client) as to:
        with _check(to.job, to.reports, options, renames) as check:
            _import(to, options, renames, check)
    return report_of(to.job.ledger, time.monotonic() - start)


@command(
    "import-all", "tracking_uri", "registry_uri", "input_dir", "delete_model", "delete_prompt",
    "delete_evaluation_dataset", "on_version_conflict", "fill_gaps", "experiment_rename_file", "model_rename_file",
    "import_source_tags", "use_src_user_id", "import_permissions", "principal_mapping_file", "mlmodel_fix",
    "on_refused", "on_destination_change", "activate", "recheck", "require_admin", "verify", "workspaces",
    "workspace_rename_file", "dst_workspace", "engine", "engine_address",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    renames = get_renames(options["experiment_rename_file"]), get_renames(options["model_rename_file"])

    def around(job: Job, reports: ExportDir) -> ContextManager[Check]:
        return _check(job, reports, options, renames)

    return import_script("import-all", options, "runs", lambda to: _import(to, options, renames, to.around), around)


if __name__ == "__main__":
    main()
