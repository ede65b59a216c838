"""Exports one version of a registered model to a directory."""

from __future__ import annotations

import posixpath
import shutil
from typing import Any, Dict, List, Mapping, Optional

from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import envelope, write_file
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import old_info, read_model
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.model.model_exporter import (
    MODEL_FILE,
    VERSION_LAYOUT,
    VERSION_MODELS,
    ModelExporter,
    VersionSelection,
)
from mlflow_migration.run.export_run import settings_of
from mlflow_migration.run.run_file import ARTIFACTS, RUN_FILE

SCRIPT = "export_model_version.py"
VERSION_FILE = "version.json"
EXPERIMENT_FILE = "experiment.json"
_BLOCK = 1024 * 1024

Json = Dict[str, Any]


def export_one_version(
    tracking: Tracking, registry: Registry, job: Job, directory: ExportDir, options: Mapping[str, Any]
) -> None:
    """Export one version, and record each object.

    :param options: Those of the command.
    :raises BadInput: There is no such version, or the directory holds another one.
    """
    name, number = options["model"], str(options["version"])
    path = options.get("vrm_model_artifact_path") or ""
    _refuse_other(directory, name, number)
    selection = VersionSelection(
        (number,),
        own_copies=bool(options.get("vrm_export_version_model") or path),
        tells=False,
        references=options.get("artifacts") == "reference",
    )
    # asked for by its version, a run is wanted whether it is deleted or not
    settings = settings_of({**options, "export_deleted_runs": True})
    exporter = ModelExporter(tracking, registry, job, settings, selection, SCRIPT, VERSION_LAYOUT)
    exporter.export(name, directory)
    if job.dry_run:
        return
    version = read_model(directory)["versions"][0]
    run = directory.sub("run")
    if run.exists(RUN_FILE) and version["run_id"]:
        experiment_id = tracking.run(version["run_id"])["info"]["experiment_id"]
        body = {"experiment": tracking.experiment(experiment_id)}
        directory.write_json(EXPERIMENT_FILE, envelope(SCRIPT, body, None, tracking_uri=tracking.uri))
    if path:
        root = _into_run(directory, run, path, number)
        version = {**version, "source": f"{root}/{path}", "_source": version["source"]}
    info = {
        "vrm_export_version_model": bool(options.get("vrm_export_version_model")),
        "vrm_model_artifact_path": path,
        "vrm_model_artifact_full_path": version["source"] if path else "",
    }
    body = {"model_version": version}
    directory.write_json(VERSION_FILE, envelope(SCRIPT, body, info, tracking_uri=tracking.uri))


def _refuse_other(directory: ExportDir, name: str, number: str) -> None:
    if not directory.exists(VERSION_FILE):
        return
    there = directory.read_json(VERSION_FILE).get("mlflow") or {}
    version = there.get("model_version") if isinstance(there, dict) else None
    found = version if isinstance(version, dict) else {}
    if (found.get("name"), str(found.get("version"))) != (name, number):
        raise BadInput(
            f"{directory.path} holds the export of another version, {found.get('name')}/{found.get('version')}."
        )


def _into_run(directory: ExportDir, run: ExportDir, path: str, number: str) -> str:
    """Put the registry's copy of the model among the artifacts of the run; return the run's artifact root.

    :raises BadInput: There is no run to put it into.
    """
    if not run.exists(RUN_FILE):
        raise BadInput(f"--vrm-model-artifact-path {path}: the version's run is not there to put its model into.")
    doc = run.read_json(RUN_FILE)
    own: List[Json] = ((old_info(directory, MODEL_FILE) or {}).get(VERSION_MODELS) or {}).get(number) or []
    for entry in own:
        with directory.open_read(f"{VERSION_LAYOUT.own_copy(number)}/{entry['path']}") as file, run.new_file(
            f"{ARTIFACTS}/{posixpath.join(path, entry['path'])}"
        ) as out:
            shutil.copyfileobj(file, out, _BLOCK)
    moved = [{**entry, "path": posixpath.join(path, entry["path"])} for entry in own]
    paths = {entry["path"] for entry in moved}
    listed = [entry for entry in doc["info"].get("artifacts") or () if entry["path"] not in paths]
    doc["info"]["artifacts"] = sorted(listed + moved, key=lambda entry: str(entry["path"]))
    write_file(f"{run.path}/{RUN_FILE}", doc)
    return str(doc["mlflow"]["info"]["artifact_uri"]).rstrip("/")


def export_model_version(
    model_name: str,
    version: str,
    output_dir: str,
    export_version_model: bool = False,
    vrm_model_artifact_path: str = "",
    skip_download_run_artifacts: bool = False,
    export_permissions: bool = False,
    notebook_formats: Optional[List[str]] = None,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Any:
    """Export a version of a registered model with its run and logged models.

    :param model_name: Name of the registered model.
    :param version: The version's number.
    :param output_dir: Directory to export to.
    :param export_version_model: Take the registry's own copy of the version's model too.
    :param vrm_model_artifact_path: Put that copy among the run's artifacts below this path, as the version's source.
    :param skip_download_run_artifacts: Leave the artifacts of the run out.
    :param export_permissions: Take the permissions too, of a Databricks workspace.
    :param notebook_formats: Formats in which the runs' notebooks are taken, of a Databricks workspace.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: The version as an MLflow entity.
    :raises MlflowExportImportException: The export can't start.
    """
    options = {
        "model": model_name,
        "version": str(version),
        "vrm_export_version_model": export_version_model,
        "vrm_model_artifact_path": vrm_model_artifact_path,
        "skip_download_run_artifacts": skip_download_run_artifacts,
        "export_permissions": export_permissions,
        "notebook_formats": notebook_formats,
        "workers": workers,
        "registry_uri": None,
    }
    with exporting("export_model_version", output_dir, options, mlflow_client) as frm:
        export_one_version(frm.tracking, frm.registry, frm.job, frm.directory, options)
        from mlflow_migration.model.entities import version_entity

        return version_entity(frm.registry.version(model_name, str(version)))


@command(
    "export-model-version", "tracking_uri", "registry_uri", "model", "version", "output_dir",
    "vrm_export_version_model", "vrm_model_artifact_path", "skip_download_run_artifacts", "include_artifacts",
    "exclude_artifacts", "max_artifact_size", "export_permissions", "notebook_formats", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_one_version(frm.tracking, frm.registry, frm.job, frm.directory, options)

    return export_script("export-model-version", options, "runs", work)


if __name__ == "__main__":
    main()
