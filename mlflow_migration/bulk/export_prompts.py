"""Exports many prompts with all their versions to a directory."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple, Union

from mlflow_migration.bulk.summaries import not_done
from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, NotFound, describe
from mlflow_migration.client.registry import PromptRegistry, Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope, get_mlflow
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.object_files import read_prompts
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.selection import choose_names, wanted_names
from mlflow_migration.prompt.prompt_exporter import PromptExporter, refuse_other

Json = Dict[str, Any]

SCRIPT = "export_prompts.py"
SUMMARY_FILE = "prompts_summary.json"


def note_left_out_prompts(registry: Registry, ledger: Ledger) -> None:
    """Say that prompts are left out, unless the server is only too old to have any."""
    if registry.keeps_files:
        ledger.note(f"{registry.uri} is Unity Catalog: what prompts it has are not exported.")


def export_all_prompts(
    tracking: Tracking, registry: PromptRegistry, job: Job, wanted: Sequence[str], directory: ExportDir
) -> None:
    """Export prompts with all their versions, and record each object.

    :param wanted: Names; see :func:`choose_names`.
    """
    before, earlier = _before(directory)
    there = {prompt["name"]: prompt for page in registry.search_models() for prompt in page}
    names, unknown = choose_names(wanted, there)
    job.ledger.expect("prompt", len(names) + len(unknown))
    for name in unknown:
        job.failed("prompt", name, NotFound("there is no such prompt", http_status_code=404))
    exporter = PromptExporter(tracking, registry, job, SCRIPT)

    def export(name: str) -> Json:
        if name in before:
            refuse_other(before[name]["registered_model"], there[name], directory)

        def place(number: str) -> ExportDir:
            return directory.sub(place_of(name, number))

        return exporter.export(there[name], place)

    if not job.dry_run:
        directory.make()
    # what earlier exports have failed to read is still not here
    prompts, failed = dict(before), {name for name in earlier if name not in names}
    for outcome in job.executor.imap(export, names):
        name = outcome.item
        if outcome.error is not None:
            failed.add(name)
            job.failed("prompt", name, outcome.error)
            continue
        whole = outcome.get()
        lacking = len((whole.get("info") or {}).get("failed_versions", ()))
        # versions that the source has deleted since stay
        numbers = {*whole["versions"], *(before.get(name) or {}).get("versions", ())}
        whole["versions"] = sorted(numbers, key=int)
        same = before.get(name) == whole
        prompts[name] = whole
        job.ledger.record(
            "prompt", "incomplete" if lacking else "unchanged" if same else "updated" if name in before else "copied",
            name, reason=f"{lacking} of its versions could not be exported" if lacking else None,
            losses=["versions"] * bool(lacking),
        )  # fmt: skip
    if not job.dry_run:
        _write(tracking, job, directory, [prompts[name] for name in sorted(prompts)], sorted(failed))


def place_of(name: str, number: str) -> str:
    """Return the name of the directory of a version of a prompt."""
    return safe_name(f"{name}_v{number}")


def _before(directory: ExportDir) -> Tuple[Dict[str, Json], List[str]]:
    """Return what the directory's summary has of prompts by name, and the names of those that have failed."""
    try:
        if not directory.exists(SUMMARY_FILE):
            return {}, []
        failed = read_prompts(directory)["failed"]
    except BadDirectory as ex:
        raise BadInput(f"{describe(ex)}; export into an empty directory") from ex
    listed = get_mlflow(directory.read_json(SUMMARY_FILE)).get("prompts") or []
    return {item["registered_model"]["name"]: item for item in listed}, failed


def _write(tracking: Tracking, job: Job, directory: ExportDir, prompts: List[Json], failed: List[str]) -> None:
    body = {**summary_of(job, "exports"), "prompts": prompts, **({"failed_prompts": failed} if failed else {})}
    directory.write_json(SUMMARY_FILE, envelope(SCRIPT, body, tracking_uri=tracking.uri))


def summary_of(job: Job, what: str) -> Dict[str, int]:
    """Return the counts of versions of prompts as today's tools give them.

    :param what: ``exports`` or ``imports``, for the names of the counts.
    """
    counts = job.ledger.counts.get("prompt_version", {})
    failed = sum(counts.get(status, 0) for status in ("failed", "incomplete"))
    skipped, good = counts.get("skipped", 0), sum(counts.values()) - failed - counts.get("skipped", 0)
    # a prompt may fail before its versions are known
    failed = failed or job.ledger.counts.get("prompt", {}).get("failed", 0)
    return {
        "total_prompts": good + skipped + failed,
        f"successful_{what}": good,
        f"failed_{what}": failed,
        **({"skipped_imports": skipped} if what == "imports" else {}),
    }


def export_prompts(
    output_dir: str,
    prompt_names: Union[None, str, Sequence[str]] = None,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Dict[str, Any]:
    """Export prompts with all their versions.

    :param output_dir: Directory to export to.
    :param prompt_names: Names as a list or a comma separated text, also ``all``, beginnings with a ``*``, or a ``.txt``
        file with a name in each line; None means all.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: ``total_prompts``, ``successful_exports`` and ``failed_exports``, which count versions of prompts; or
        ``unsupported`` and ``mlflow_version`` of a server that is too old; or ``error``.
    """
    options = {"prompts": prompt_names, "workers": workers, "registry_uri": None}
    try:
        with exporting("export_prompts", output_dir, options, mlflow_client, "prompts") as frm:
            wanted = wanted_names("all" if prompt_names is None else prompt_names)
            export_all_prompts(frm.tracking, PromptRegistry(frm.registry), frm.job, wanted, frm.directory)
            return dict(summary_of(frm.job, "exports"))
    except MlflowExportImportException as ex:
        return not_done(ex)


@command("export-prompts", "tracking_uri", "registry_uri", "output_dir", "prompts", "require_admin")
def main(**options: Any) -> int:
    """Run the console script."""
    wanted = wanted_names(options["prompts"])

    def work(frm: Source) -> None:
        export_all_prompts(frm.tracking, PromptRegistry(frm.registry), frm.job, wanted, frm.directory)

    return export_script("export-prompts", options, "prompts", work)


if __name__ == "__main__":
    main()
