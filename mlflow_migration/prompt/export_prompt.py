"""Exports one version of a prompt to a directory."""

from __future__ import annotations

from typing import Any

from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, describe
from mlflow_migration.client.registry import PromptRegistry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_prompt
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.prompt.prompt_exporter import PromptExporter

_log = log.getLogger(__name__)

SCRIPT = "export_prompt.py"


def export_one_version(
    tracking: Tracking, registry: PromptRegistry, job: Job, name: str, number: str, directory: ExportDir
) -> None:
    """Export a version of a prompt, and record it.

    :raises BadInput: There is no such prompt or version, or the directory holds another one.
    """
    try:
        there = read_prompt(directory)["version"]
    except BadDirectory:
        there = {"name": name, "version": number}  # none, or a broken one, which is written anew
    if (there["name"], there["version"]) != (name, number):
        raise BadInput(f"{directory.path} holds another prompt, version {there['version']} of '{there['name']}'.")
    prompt, exporter = registry.prompt(name), PromptExporter(tracking, registry, job, SCRIPT)
    if number not in {str(version["version"]) for version in exporter.versions(name)}:
        raise BadInput(f"The prompt '{name}' has no version {number}.")
    exporter.export(prompt, lambda _: directory, only=[number], alone=True)


def export_prompt(prompt_name: str, prompt_version: str, output_dir: str, mlflow_client: Any = None) -> Any:
    """Export a version of a prompt.

    :param prompt_name: Its name.
    :param prompt_version: Its number.
    :param output_dir: Directory to export to.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :return: The version as MLflow's entity of prompts; None if it could not be exported.
    """
    options = {"prompt_name": prompt_name, "prompt_version": str(prompt_version), "registry_uri": None}
    try:
        with exporting("export_prompt", output_dir, options, mlflow_client, "prompts") as frm:
            prompts = PromptRegistry(frm.registry)
            export_one_version(frm.tracking, prompts, frm.job, prompt_name, str(prompt_version), frm.directory)
            if frm.job.ledger.exit_status:
                return None
            from mlflow_migration.prompt.entities import prompt_entity

            return prompt_entity(prompts.version(prompt_name, str(prompt_version)))
    except MlflowExportImportException as ex:
        _log.error("Version %s of the prompt %s was not exported: %s", prompt_version, prompt_name, describe(ex))
        return None


@command(
    "export-prompt", "tracking_uri", "registry_uri", "prompt_name", "prompt_version", "output_dir", "require_admin"
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    if not options["prompt_name"]:
        raise BadInput("Name the prompt: --prompt-name is missing.")

    def work(frm: Source) -> None:
        name, number = options["prompt_name"], options["prompt_version"]
        export_one_version(frm.tracking, PromptRegistry(frm.registry), frm.job, name, number, frm.directory)

    return export_script("export-prompt", options, "prompts", work)


if __name__ == "__main__":
    main()
