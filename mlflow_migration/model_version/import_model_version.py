"""Imports one version of a registered model from a directory."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException
from mlflow_migration.client.registry import IS_PROMPT, Registry
from mlflow_migration.client.servers import with_client
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import (
    logged_model_dirs,
    read_experiment,
    read_model,
    read_run,
    read_version,
)
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.model.carriers import Carriers
from mlflow_migration.model.destination import VersionSettings
from mlflow_migration.model.import_model import import_with_runs
from mlflow_migration.model.model_exporter import MODEL_FILE, VERSION_LAYOUT
from mlflow_migration.model.model_importer import RegisteredModelImporter
from mlflow_migration.model_version.export_model_version import EXPERIMENT_FILE, VERSION_FILE
from mlflow_migration.run.import_run import settings_of
from mlflow_migration.run.run_file import RUN_FILE

Json = Dict[str, Any]


def import_one_version(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    extra_tags: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Import the version of a directory with its run and logged models, and record each object.

    :param options: Those of the command.
    :param extra_tags: More tags that the version gets.
    :return: Its number at the destination; empty if it could not be imported, or in a dry run.
    :raises BadInput: The directory holds no version, there is no such model and it may not be created, or the
        experiment can't be written to.
    """
    name = options["model"]
    if not directory.exists(VERSION_FILE):
        raise BadInput(f"{directory.path} holds no whole export of a model version: there is no {VERSION_FILE}.")
    doc = _document(directory)
    doc["versions"][0]["tags"].update(extra_tags)
    if IS_PROMPT in doc["model"]["tags"]:
        raise BadInput(f"{directory.path} holds a prompt, not a model.")
    if not options.get("create_model") and registry.model(name) is None:
        raise BadInput(f"{registry.uri} has no registered model '{name}'; --create-model makes it.")
    run = directory.sub("run")
    runs: List[Tuple[str, ExportDir]] = [(read_run(run)["info"]["run_id"], run)] if run.exists(RUN_FILE) else []
    found = runs, logged_model_dirs(directory)
    carriers = Carriers(directory, *found, layout=VERSION_LAYOUT, artifacts=options.get("artifacts") or "copy")
    settings, metadata = settings_of(options), bool(options.get("import_metadata"))
    names = bool(options.get("import_stages_and_aliases"))
    how = VersionSettings("next", of_model=False, when_created=metadata, names=names)
    importer = RegisteredModelImporter(registry, job, settings, how, id_map, name)
    importer.prepare(doc)
    tags = read_experiment(directory)["experiment"]["tags"] if metadata and directory.exists(EXPERIMENT_FILE) else {}
    import_with_runs(
        tracking, registry, job, importer, carriers, found, options["experiment_name"], tags, settings, id_map
    )
    return importer.numbers.get(doc["versions"][0]["version"], "")


def _document(directory: ExportDir) -> Json:
    """Return the version with its registered model, in the shape of :func:`read_model`."""
    version = read_version(directory)
    permissions: Json = {}
    try:
        found = read_model(directory)
        model = found["model"]
        permissions = {"permissions": found["permissions"]} if "permissions" in found else {}
    except BadDirectory:
        if directory.exists(MODEL_FILE):
            raise
        model = {"name": version["name"], "description": "", "tags": {}}
    version["name"] = version.get("name") or model["name"]
    aliases = dict.fromkeys(version["aliases"], version["version"])
    whole: Json = {"failed": [], "incomplete": {}}
    return {"model": model, "versions": [version], "aliases": aliases, **whole, **permissions}


def import_model_version(
    model_name: str,
    experiment_name: str,
    input_dir: str,
    create_model: bool = False,
    import_permissions: bool = False,
    import_source_tags: bool = False,
    import_stages_and_aliases: bool = True,
    import_metadata: bool = False,
    model_id: Optional[str] = None,
    mlflow_client: Any = None,
    *,
    report_dir: str = "",
    principal_renames: Union[None, str, Mapping[str, str]] = None,
    workers: int = 8,
) -> Any:
    """Import a version of a registered model with its run and logged models.

    :param model_name: Name of the destination's registered model.
    :param experiment_name: Destination experiment of the run; it is created if absent.
    :param input_dir: Directory of the exported version.
    :param create_model: Create the registered model if it is absent.
    :param import_permissions: Grant the exported permissions, in a Databricks workspace.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param import_stages_and_aliases: Set stage and aliases.
    :param import_metadata: Give a registered model and an experiment that are created their description and tags.
    :param model_id: For callers of today's tools; a version's logged model travels with it.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param principal_renames: New names of users, groups and service principals, for the permissions: a dict, or the
        path of a file.
    :param workers: The most requests in flight.
    :return: The version as an MLflow entity.
    :raises MlflowExportImportException: It can't be imported.
    """
    options = {
        "model": model_name,
        "experiment_name": experiment_name,
        "create_model": create_model,
        "import_permissions": import_permissions,
        "principal_mapping_file": principal_renames,
        "import_source_tags": import_source_tags,
        "import_stages_and_aliases": import_stages_and_aliases,
        "import_metadata": import_metadata,
        "workers": workers,
        "registry_uri": None,
    }
    _, mlflow_client = with_client(model_id, mlflow_client, None)
    with importing("import_model_version", input_dir, report_dir, options, mlflow_client) as to:
        number = import_one_version(to.tracking, to.registry, to.job, to.directory, options, to.id_map)
        if not number:
            place = to.job.ledger.path
            raise MlflowExportImportException(f"The version of {input_dir} could not be imported; see {place}")
        from mlflow_migration.model.entities import version_entity

        return version_entity(to.registry.version(model_name, number))


@command(
    "import-model-version", "tracking_uri", "registry_uri", "input_dir", "model", "experiment_name", "create_model",
    "import_stages_and_aliases", "import_metadata", "import_source_tags", "use_src_user_id", "import_permissions",
    "principal_mapping_file", "mlmodel_fix", "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(to: Destination) -> None:
        import_one_version(to.tracking, to.registry, to.job, to.directory, options, to.id_map)

    return import_script("import-model-version", options, "runs", work)


if __name__ == "__main__":
    main()
