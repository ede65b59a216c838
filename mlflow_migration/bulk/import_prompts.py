"""Imports all prompts of a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from mlflow_migration.bulk.export_prompts import SUMMARY_FILE, place_of, summary_of
from mlflow_migration.bulk.summaries import not_done, write_import_summary
from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, describe
from mlflow_migration.client.registry import NoPrompts, PromptRegistry, Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Links
from mlflow_migration.common.object_files import prompt_dirs, read_prompt, read_prompts
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.prompt.prompt_importer import import_one_prompt, whole_of

Json = Dict[str, Any]

_NOT_LISTED = f"{SUMMARY_FILE} does not list it: its export was cut off; repeat that"


def import_all_prompts(
    tracking: Tracking,
    registry: PromptRegistry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
) -> None:
    """Import the prompts of a directory, and record each object.

    :param options: Those of the command.
    :raises BadInput: The directory holds no prompts.
    """
    if not directory.exists(SUMMARY_FILE):
        raise BadInput(f"{directory.path} holds no whole export of prompts: there is no {SUMMARY_FILE}.")
    summary = read_prompts(directory)
    for name in summary["failed"]:
        job.ledger.expect("prompt", 1)
        job.lost("prompt", name, BadDirectory("its export failed: it is not whole in the directory"), "versions")
    prompts = _prompts(job, directory, summary)
    job.progress.add_total(len(prompts))
    links = Links(tracking, id_map)

    def load(doc: Json) -> None:
        import_one_prompt(registry, job, doc, doc["model"]["name"], options, id_map, links, whole=True)

    for outcome in job.executor.imap(load, prompts):
        if outcome.error is not None:
            job.ledger.expect("prompt", 1)
            job.failed("prompt", outcome.item["model"]["name"], outcome.error)
        job.progress.advance()


def import_prompts_if_any(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
) -> None:
    """Import the prompts of a directory among other things: where none can be had, each is recorded as lost.

    :param options: Those of the command.
    """
    try:
        prompts = PromptRegistry(registry)
    except NoPrompts as ex:
        for whole in read_prompts(directory)["prompts"]:
            job.ledger.expect("prompt", 1)
            job.lost("prompt", whole["model"]["name"], ex, "versions")
    else:
        import_all_prompts(tracking, prompts, job, directory, options, id_map)


def _prompts(job: Job, directory: ExportDir, summary: Json) -> List[Json]:
    """Return the prompts of a directory as :func:`import_one_prompt` takes them; what belongs to none is recorded."""
    wholes = {whole["model"]["name"]: whole for whole in summary["prompts"]}
    listed = {place_of(name, number): (name, number) for name, whole in wholes.items() for number in whole["numbers"]}
    found: Dict[str, List[Json]] = {name: [] for name in wholes}
    reasons: Dict[str, Dict[str, str]] = {}
    on_disk = dict(prompt_dirs(directory))
    places = {**{place: directory.sub(place) for place in listed}, **on_disk}
    for outcome in job.executor.gather(lambda item: read_prompt(item[1]), sorted(places.items())):
        place, wanted = outcome.item[0], listed.get(outcome.item[0])
        try:
            read = outcome.get()
            here = read["version"]["name"], read["version"]["version"]
            if summary["is_ours"] and here != wanted:
                raise BadDirectory(_NOT_LISTED if wanted is None else f"it holds version {here[1]} of '{here[0]}'")
            if any(other["version"]["version"] == here[1] for other in found.setdefault(here[0], [])):
                raise BadDirectory(f"another directory has version {here[1]} of '{here[0]}' too")
            found[here[0]].append(read)
        except (MlflowExportImportException, OSError) as ex:
            if wanted is not None:
                reasons.setdefault(wanted[0], {})[wanted[1]] = describe(ex)
                continue
            job.ledger.expect("prompt_version", 1)
            job.failed("prompt_version", place, ex)
    return [
        _document(wholes.get(name) or _whole(reads), reads, reasons.get(name, {}), name not in summary["failed"])
        for name, reads in sorted(found.items())
    ]


def _whole(reads: List[Json]) -> Json:
    """Return what belongs to a prompt as a whole, as far as the files of another tool tell."""
    wholes = [whole_of(read["version"]) for read in reads]
    return {**wholes[0], "aliases": {alias: of for whole in wholes for alias, of in whole["aliases"].items()}}


def _document(whole: Json, reads: List[Json], reasons: Dict[str, str], is_whole: bool) -> Json:
    """Return a prompt as :func:`import_one_prompt` takes it.

    :param reasons: Why listed versions can't be read, by number.
    :param is_whole: Its last export has not failed.
    """
    return {
        **whole,
        "versions": sorted((read["version"] for read in reads), key=lambda version: int(version["version"])),
        "runs": {run_id: origin for read in reads for run_id, origin in read["runs"].items()},
        "failed": sorted({*whole["failed"], *reasons}, key=int),
        "reasons": reasons,
        "lacking": sorted({*whole["failed"], *reasons}, key=int),
        "incomplete": {},
        "is_whole": is_whole,
    }


def import_prompts(
    input_dir: str,
    delete_prompt: bool = False,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_version_conflict: str = "fail",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import prompts with all their versions.

    :param input_dir: Directory of the exported prompts.
    :param delete_prompt: First delete each of the destination's prompts with all its versions.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_version_conflict: ``fail``, ``skip`` or ``renumber``.
    :param workers: The most requests in flight.
    :return: ``total_prompts``, ``successful_imports``, ``failed_imports`` and ``skipped_imports``, which count versions
        of prompts; or ``unsupported`` and ``mlflow_version`` of a server that is too old; or ``error``.
    """
    options = {
        "delete_prompt": delete_prompt,
        "on_version_conflict": on_version_conflict,
        "workers": workers,
        "registry_uri": None,
    }
    try:
        with importing("import_prompts", input_dir, report_dir, options, mlflow_client, "prompts") as to:
            prompts = PromptRegistry(to.registry)
            import_all_prompts(to.tracking, prompts, to.job, to.directory, options, to.id_map)
            return _summarize(to.job, to.reports)
    except MlflowExportImportException as ex:
        return not_done(ex)


def _summarize(job: Job, reports: ExportDir) -> Dict[str, int]:
    return write_import_summary(job, reports, "import_prompts.py", summary_of(job, "imports"))


@command(
    "import-prompts", "tracking_uri", "registry_uri", "input_dir", "delete_prompt", "on_version_conflict", "fill_gaps",
    "import_source_tags", "on_destination_change", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(to: Destination) -> None:
        prompts = PromptRegistry(to.registry)
        import_all_prompts(to.tracking, prompts, to.job, to.directory, options, to.id_map)
        _summarize(to.job, to.reports)

    return import_script("import-prompts", options, "prompts", work)


if __name__ == "__main__":
    main()
