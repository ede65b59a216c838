"""Imports one version of a prompt from a directory."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, describe
from mlflow_migration.client.registry import PromptRegistry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Links
from mlflow_migration.common.object_files import read_prompt
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.prompt.prompt_exporter import PROMPT_FILE
from mlflow_migration.prompt.prompt_importer import NOTHING_LACKING, import_one_prompt, whole_of

Json = Dict[str, Any]

_log = log.getLogger(__name__)


def import_one_version(
    tracking: Tracking,
    registry: PromptRegistry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
) -> Tuple[str, str]:
    """Import the version of a prompt of a directory, and record it.

    :param options: Those of the command.
    :return: Name and number at the destination; the number is empty if it could not be imported, or in a dry run.
    :raises BadInput: The directory holds no prompt, or the destination has a model of that name.
    """
    if not directory.exists(PROMPT_FILE):
        raise BadInput(f"{directory.path} holds no exported prompt: there is no {PROMPT_FILE}.")
    found = read_prompt(directory)
    version, whole = found["version"], found["whole"] or whole_of(found["version"])
    name, number = options.get("prompt_name") or version["name"], version["version"]
    aliases = {alias: of for alias, of in whole["aliases"].items() if of == number}
    doc = {**whole, "versions": [version], "aliases": aliases, "runs": found["runs"], **NOTHING_LACKING}
    job.progress.add_total(1)
    numbers = import_one_prompt(registry, job, doc, name, options, id_map, Links(tracking, id_map), whole=False)
    job.progress.advance()
    return name, numbers.get(number, "")


def import_prompt(
    input_dir: str,
    prompt_name: Optional[str] = None,
    delete_prompt: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_version_conflict: str = "fail",
) -> Optional[Tuple[str, str]]:
    """Import a version of a prompt.

    :param input_dir: Directory of the exported prompt.
    :param prompt_name: Name of the destination's prompt; default is that of the source's.
    :param delete_prompt: First delete the destination's prompt with all its versions.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_version_conflict: ``fail``, ``skip`` or ``renumber``.
    :return: Name and version at the destination; None if it could not be imported.
    """
    options = {
        "prompt_name": prompt_name,
        "delete_prompt": delete_prompt,
        "on_version_conflict": on_version_conflict,
        "registry_uri": None,
    }
    try:
        with importing("import_prompt", input_dir, report_dir, options, mlflow_client, "prompts") as to:
            prompts = PromptRegistry(to.registry)
            name, number = import_one_version(to.tracking, prompts, to.job, to.directory, options, to.id_map)
            return (name, number) if number else None
    except MlflowExportImportException as ex:
        _log.error("The prompt of %s was not imported: %s", input_dir, describe(ex))
        return None


@command(
    "import-prompt", "tracking_uri", "registry_uri", "input_dir", "prompt_name", "delete_prompt", "on_version_conflict",
    "fill_gaps", "import_source_tags", "on_destination_change", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(to: Destination) -> None:
        import_one_version(to.tracking, PromptRegistry(to.registry), to.job, to.directory, options, to.id_map)

    return import_script("import-prompt", options, "prompts", work)


if __name__ == "__main__":
    main()
