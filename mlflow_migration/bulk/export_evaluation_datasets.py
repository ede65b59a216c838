"""Exports many evaluation datasets with their records to a directory."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from mlflow_migration.bulk.summaries import not_done
from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, NotFound, describe
from mlflow_migration.client.evaluation_datasets import EvaluationDatasets, NoEvaluationDatasets
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_evaluation_datasets
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.common.selection import ALL, choose_names, wanted_names
from mlflow_migration.evaluation_dataset.dataset_exporter import KIND, DatasetExporter

Json = Dict[str, Any]

SCRIPT = "export_evaluation_datasets.py"
SUMMARY_FILE = "evaluation_datasets_summary.json"
DATASETS = "evaluation_datasets"
TITLE = "evaluation datasets"
"""What is counted, for the progress."""


def export_all_datasets(
    tracking: Tracking,
    datasets: EvaluationDatasets,
    job: Job,
    wanted: Sequence[str],
    directory: ExportDir,
    experiment_ids: Sequence[str] = (),
    settled: Optional[Callable[[Json, str], bool]] = None,
) -> List[str]:
    """Export evaluation datasets with their records, and record each.

    :param wanted: Names or ids; see :func:`choose_names`. A name means all datasets that have it.
    :param experiment_ids: Only those linked to one of these experiments.
    :param settled: See :class:`DatasetExporter`.
    :return: Ids of those that the directory has now, as far as this export was about them.
    """
    job.ledger.phase("exporting evaluation datasets")
    before = _before(directory)
    there = datasets.search(experiment_ids)
    chosen, unknown = choose_datasets(wanted, there)
    job.ledger.expect(KIND, len(chosen) + len(unknown))
    job.progress.add_total(len(chosen))
    for name in unknown:
        job.failed(KIND, name, NotFound("there is no such evaluation dataset", http_status_code=404))
    exporter = DatasetExporter(tracking, datasets, job, SCRIPT, settled)
    if not job.dry_run:
        directory.make()
    here, failed, done = dict(before["datasets"]), dict(before["failed"]), []
    for outcome in job.executor.imap(lambda one: exporter.export(one, directory.sub(place_of(one))), chosen):
        dataset_id, name = outcome.item["dataset_id"], outcome.item["name"]
        if outcome.error is not None:
            failed[dataset_id] = name
            here.pop(dataset_id, None)
            job.failed(KIND, dataset_id, outcome.error, name=name)
        elif outcome.value:
            here[dataset_id] = name
            done.append(dataset_id)
            failed.pop(dataset_id, None)
        job.progress.advance()
    if not job.dry_run:
        body = {**summary_of(job, "exports"), "evaluation_datasets": _items(here)}
        body.update({"failed_evaluation_datasets": _items(failed)} if failed else {})
        directory.write_json(SUMMARY_FILE, envelope(SCRIPT, body, tracking_uri=tracking.uri))
    return done


def export_datasets_if_any(
    tracking: Tracking,
    job: Job,
    wanted: Sequence[str],
    directory: ExportDir,
    settled: Optional[Callable[[Json, str], bool]] = None,
) -> List[str]:
    """Export evaluation datasets among other things: a server that can hold none has none.

    :param wanted: As of :func:`export_all_datasets`, like ``settled`` and what is returned.
    """

    def work(place: ExportDir) -> List[str]:
        try:
            datasets = EvaluationDatasets(tracking)
        except NoEvaluationDatasets:
            return []
        return export_all_datasets(tracking, datasets, job, wanted, place, settled=settled)

    done = job.executor.gather(work, [directory])[0]
    if done.error is not None:  # not even their names can be read
        job.failed(KIND, None, done.error)
    return done.value or []


def choose_datasets(wanted: Sequence[str], there: Sequence[Json]) -> Tuple[List[Json], List[str]]:
    """Return the datasets that are meant, and what of ``wanted`` fits none.

    :param wanted: Names or ids, beginnings of names with a ``*``, or ``all``.
    """
    ids = {one["dataset_id"] for one in there}
    names, unknown = choose_names(wanted, list(dict.fromkeys(one["name"] for one in there)))
    meant = {*names, *(ids & set(unknown))}
    chosen = [one for one in there if meant & {one["name"], one["dataset_id"]}]
    return chosen, [one for one in unknown if one not in ids]


def _scope(experiment_ids: Union[None, str, Sequence[str]]) -> List[str]:
    """Return the ids of the experiments that datasets have to be linked to; none if all datasets are meant."""
    ids = wanted_names(experiment_ids) if experiment_ids else []
    return [] if [found.lower() for found in ids] == [ALL] else ids


def place_of(dataset: Json) -> str:
    """Return the name of the directory of a dataset."""
    return safe_name(f"{dataset['name']}_{dataset['dataset_id']}")


def _before(directory: ExportDir) -> Json:
    """Return what the directory's summary says about earlier exports."""
    try:
        if directory.exists(SUMMARY_FILE):
            return read_evaluation_datasets(directory)
    except BadDirectory as ex:
        raise BadInput(f"{describe(ex)}; export into an empty directory") from ex
    return {"datasets": {}, "failed": {}}


def _items(names: Mapping[str, str]) -> List[Json]:
    found = sorted(names.items(), key=lambda item: (item[1], item[0]))
    return [{"dataset_id": dataset_id, "name": name} for dataset_id, name in found]


def summary_of(job: Job, what: str) -> Dict[str, int]:
    """Return the counts of evaluation datasets.

    :param what: ``exports`` or ``imports``, for the names of the counts.
    """
    counts = job.ledger.counts.get(KIND, {})
    failed, skipped = sum(counts.get(status, 0) for status in ("failed", "incomplete")), counts.get("skipped", 0)
    total = sum(counts.values())
    return {
        "total_datasets": total,
        f"successful_{what}": total - failed - skipped,
        f"failed_{what}": failed,
        **({"skipped_imports": skipped} if what == "imports" else {}),
    }


def export_evaluation_datasets(
    output_dir: str,
    dataset_names: Union[None, str, Sequence[str]] = None,
    experiment_ids: Union[None, str, Sequence[str]] = None,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Dict[str, Any]:
    """Export evaluation datasets with their records.

    :param output_dir: Directory to export to.
    :param dataset_names: Names or ids as a list or a comma separated text, also ``all``, beginnings with a ``*``, or a
        ``.txt`` file with a name in each line; None means all.
    :param experiment_ids: Only those linked to one of these experiments; a list, or a comma separated text.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: ``total_datasets``, ``successful_exports`` and ``failed_exports``; or ``unsupported`` and
        ``mlflow_version`` of a server that can't hold any; or ``error``.
    """
    options = {"evaluation_datasets": dataset_names, "experiment_ids": experiment_ids, "workers": workers}
    try:
        with exporting("export_evaluation_datasets", output_dir, options, mlflow_client, TITLE) as frm:
            wanted = wanted_names(ALL if dataset_names is None else dataset_names)
            datasets = EvaluationDatasets(frm.tracking)
            export_all_datasets(frm.tracking, datasets, frm.job, wanted, frm.directory, _scope(experiment_ids))
            return dict(summary_of(frm.job, "exports"))
    except MlflowExportImportException as ex:
        return not_done(ex)


@command(
    "export-evaluation-datasets", "tracking_uri", "output_dir", "evaluation_datasets", "experiment_ids",
    "require_admin", optional=("experiment_ids",),
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    wanted = wanted_names(options["evaluation_datasets"])
    scope = _scope(options["experiment_ids"])

    def work(frm: Source) -> None:
        export_all_datasets(frm.tracking, EvaluationDatasets(frm.tracking), frm.job, wanted, frm.directory, scope)

    return export_script("export-evaluation-datasets", options, TITLE, work)


if __name__ == "__main__":
    main()
