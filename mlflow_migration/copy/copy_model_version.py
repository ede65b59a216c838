"""Copies one version of a registered model: with its run to any server, or only the version within a registry."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Dict, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, redact
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.artifact_stores import version_store
from mlflow_migration.common.cli import command
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.old_layouts import canonical_version
from mlflow_migration.common.permissions import copied_permissions, read_permissions, registered_model
from mlflow_migration.common.rights import check_registry_rights
from mlflow_migration.common.session import open_job, tell
from mlflow_migration.common.two_servers import two_registries, two_servers
from mlflow_migration.copy.two_sides import export_half, import_half, run_copy, way_station
from mlflow_migration.model.carriers import Source
from mlflow_migration.model.destination import VersionSettings
from mlflow_migration.model.model_importer import RegisteredModelImporter
from mlflow_migration.model_version.export_model_version import export_one_version
from mlflow_migration.model_version.import_model_version import import_one_version
from mlflow_migration.run.import_run import settings_of as import_settings

Json = Dict[str, Any]

_RUN_TAGS = ("databricks.workspaceURL", "databricks.webappURL", "databricks.workspaceID", "user")


class _SameSource:
    """What a shallow copy is made from: the version itself, which keeps its run and its artifacts.

    :param frm: The registry that has it.
    :param to: The registry of the copy; one that keeps the files of versions gets them.
    """

    def __init__(self, frm: Registry, to: Registry) -> None:
        self._frm, self._to = frm, to

    def source(self, version: Json) -> Source:
        name, number = version["name"], version["version"]
        if not self._to.keeps_files:
            return Source(f"models:/{name}/{number}", version["run_id"] or None)
        source, store = version["source"], None
        if self._frm.keeps_files:
            store = version_store(self._frm.tracking, self._frm, name, number, self._frm.artifact_uri(name, number))
        elif not source.startswith(("runs:", "models:")):
            store = version_store(self._frm.tracking, self._frm, name, number, source)
        return Source(source, version["run_id"] or None, store=store)

    def holds(self, version: Json) -> bool:
        return False

    def check(self, version: Json) -> None:
        return


def copy_one_version(
    job: Job,
    src: Tracking,
    dst: Tracking,
    registries: Tuple[Registry, Registry],
    options: Mapping[str, Any],
    id_map: IdMap,
) -> str:
    """Copy a version: deep, with its run, if a destination experiment is given, else shallow.

    :param registries: Of the source and of the destination.
    :param options: Those of the command.
    :return: Its number at the destination; empty if it could not be copied, or in a dry run.
    :raises BadInput: There is no such version, or the destination can't take it.
    """
    name, number = options["src_model"], str(options["src_version"])
    new_name = options.get("dst_model") or name
    names = {"import_stages_and_aliases": options.get("copy_stages_and_aliases")}
    if not options.get("dst_experiment_name"):
        return _copy_shallow(job, src, registries, options, id_map)
    with way_station(None if job.dry_run else options.get("temp_dir")) as directory:
        half = export_half(job)
        half.dry_run = False  # what would be done can only be told from what is there
        options = _permitting(options, registries, new_name)
        facts = {**options, "model": name, "version": number}
        export_one_version(src, registries[0], half, directory, facts)
        facts = {**options, **names, "model": new_name, "create_model": True, "import_metadata": True}
        facts["experiment_name"] = options["dst_experiment_name"]
        extra = _lineage(src, dst, registries[0], name, number) if options.get("copy_lineage_tags") else {}
        return import_one_version(dst, registries[1], import_half(job), directory, facts, id_map, extra)


def _copy_shallow(
    job: Job, src: Tracking, registries: Tuple[Registry, Registry], options: Mapping[str, Any], id_map: IdMap
) -> str:
    """Make a version that has the same run and artifacts."""
    frm, registry = registries
    name, number = options["src_model"], str(options["src_version"])
    new_name = options.get("dst_model") or name
    # models of a workspace can be made models of its Unity Catalog, which knows the same runs
    is_upgrade = registry.keeps_files and frm.server.identity == registry.server.identity
    if frm.identity != registry.identity and not is_upgrade:
        raise BadInput(
            "A shallow copy names the run and the artifacts of the source, which another server does not have:"
            " --dst-experiment-name copies them too."
        )
    model = frm.model(name)
    version = next((v for v in frm.versions(name) if str(v["version"]) == number), None) if model else None
    if model is None or version is None:
        raise BadInput(f"{frm.uri} has no version {number} of a registered model '{name}'.")
    aliases = [item["alias"] for item in model.get("aliases") or () if str(item["version"]) == number]
    doc = canonical_version({**version, "aliases": aliases})
    doc["name"] = name
    if options.get("copy_lineage_tags"):
        doc["tags"].update(_lineage(src, src, frm, name, number))
    names = bool(options.get("copy_stages_and_aliases"))
    how = VersionSettings("next", of_model=False, when_created=True, names=names)
    options = _permitting(options, registries, new_name)
    settings = import_settings({**options, "artifacts": "copy"})  # it has those of the source anyway
    importer = RegisteredModelImporter(registry, job, settings, how, id_map, new_name)
    fields = {"description": "", **model, "tags": tag_dict(model.get("tags"))}
    permissions = read_permissions(frm.server.rest, registered_model(frm, name)) if settings.permissions else None
    whole: Json = {"failed": [], "incomplete": {}, "permissions": permissions}
    importer.prepare({"model": fields, "versions": [doc], "aliases": dict.fromkeys(aliases, number), **whole})
    importer.import_model(_SameSource(frm, registry))
    return importer.numbers.get(number, "")


def _permitting(options: Mapping[str, Any], registries: Tuple[Registry, Registry], new_name: str) -> Mapping[str, Any]:
    """Return the options with what both halves need to copy permissions, to a model that will be created."""
    found = copied_permissions(options, *(registry.server.rest for registry in registries))
    is_new = bool(found["import_permissions"]) and registries[1].model(new_name) is None
    return {**found, "export_permissions": is_new, "import_permissions": is_new}


def _lineage(src: Tracking, dst: Tracking, registry: Registry, name: str, number: str) -> Dict[str, str]:
    """Return tags that say where a version came from; their keys are those of today's tools."""
    version = registry.version(name, number)
    run_id = version.get("run_id") or ""
    run = tag_dict((src.run(run_id).get("data") or {}).get("tags")) if run_id else {}
    tags = {
        "mlflow_exim.src_version.name": name,
        "mlflow_exim.src_version.version": number,
        "mlflow_exim.src_version.run_id": run_id,
        "mlflow_exim.src_client.tracking_uri": redact(src.uri),
        "mlflow_exim.mlflow_exim.dst_client.tracking_uri": redact(dst.uri),
    }
    tags.update((f"mlflow_exim.src_run.mlflow.{key}", run.get(f"mlflow.{key}", "")) for key in _RUN_TAGS)
    return {key: value for key, value in tags.items() if value}


def _with_servers(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the options with tracking servers: where none is given, the one that has the registry."""
    facts = dict(options)
    for side in ("src", "dst"):
        registry = facts.get(f"{side}_registry_uri")
        if registry and not registry.startswith("uc:") and not facts.get(f"{side}_mlflow_uri"):
            # the registry of Unity Catalog belongs to a workspace
            facts[f"{side}_mlflow_uri"] = registry.replace("databricks-uc", "databricks", 1)
    return facts


def copy(
    src_model_name: str,
    src_model_version: str,
    dst_model_name: str,
    dst_experiment_name: Optional[str] = None,
    src_tracking_uri: Optional[str] = None,
    dst_tracking_uri: Optional[str] = None,
    src_registry_uri: Optional[str] = None,
    dst_registry_uri: Optional[str] = None,
    copy_permissions: bool = False,
    copy_stages_and_aliases: bool = False,
    copy_lineage_tags: bool = False,
    verbose: bool = False,
) -> Tuple[Any, Any]:
    """Copy a version of a registered model.

    :param src_model_name: Name of the source's registered model.
    :param src_model_version: Number of the version.
    :param dst_model_name: Name of the destination's registered model; it is created if absent.
    :param dst_experiment_name: Destination experiment of the run; it is created if absent. Without it only the version
        is copied, within one registry.
    :param src_tracking_uri: Source server; default is the one with the registry.
    :param dst_tracking_uri: Destination server; likewise.
    :param src_registry_uri: The source's registry; default is what the environment says.
    :param dst_registry_uri: The destination's registry; likewise.
    :param copy_permissions: Grant the source's permissions on a registered model that is created, between Databricks
        workspaces.
    :param copy_stages_and_aliases: Set the stage and the aliases.
    :param copy_lineage_tags: Set tags that say where the version came from.
    :param verbose: For callers of today's tools.
    :return: The version and its copy as MLflow entities.
    :raises MlflowExportImportException: It can't be copied.
    """
    options = _with_servers(
        {
            "src_model": src_model_name,
            "src_version": str(src_model_version),
            "dst_model": dst_model_name,
            "dst_experiment_name": dst_experiment_name,
            "src_mlflow_uri": src_tracking_uri,
            "dst_mlflow_uri": dst_tracking_uri,
            "src_registry_uri": src_registry_uri,
            "dst_registry_uri": dst_registry_uri,
            "copy_permissions": copy_permissions,
            "copy_stages_and_aliases": copy_stages_and_aliases,
            "copy_lineage_tags": copy_lineage_tags,
        }
    )
    with two_servers(options) as (src, dst), Ledger(None, "copy_model_version", options) as ledger:
        with two_registries(src, dst, options) as registries, open_job(ledger, "runs", {"quiet": True}) as job, closing(
            IdMap(None, dst.identity)
        ) as id_map:
            number = copy_one_version(job, src, dst, registries, options, id_map)
            if not number:
                shown = f"Version {src_model_version} of '{src_model_name}' could not be copied."
                raise MlflowExportImportException(f"{shown}\n{ledger.summary()}")
            tell(ledger)
            from mlflow_migration.model.entities import version_entity

            made = registries[1].version(dst_model_name or src_model_name, number)
            source = registries[0].version(src_model_name, str(src_model_version))
            return version_entity(source), version_entity(made)


@command(
    "copy-model-version", "src_mlflow_uri", "dst_mlflow_uri", "src_registry_uri", "dst_registry_uri", "src_model",
    "src_version", "dst_model", "dst_experiment_name", "copy_stages_and_aliases", "copy_lineage_tags",
    "copy_permissions", "principal_mapping_file", "artifacts", "include_artifacts", "exclude_artifacts",
    "max_artifact_size", "import_source_tags", "use_src_user_id", "mlmodel_fix", "on_refused",
    "on_destination_change", "recheck", "require_admin", "temp_dir",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    facts = _with_servers(options)

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap) -> None:
        with two_registries(src, dst, facts) as registries:
            for registry, action in zip(registries, ("read", "write")):
                check_registry_rights(registry, job.ledger, bool(facts["require_admin"]), action)
            copy_one_version(job, src, dst, registries, facts, id_map)

    return run_copy("copy-model-version", facts, "runs", work)


if __name__ == "__main__":
    main()
