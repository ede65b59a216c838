"""Imports all evaluation datasets of a directory."""

from __future__ import annotations

from typing import Any, Collection, Dict, List, Mapping, Optional, Set, Tuple

from mlflow_migration.bulk.export_evaluation_datasets import SUMMARY_FILE, TITLE, place_of, summary_of
from mlflow_migration.bulk.summaries import not_done, write_import_summary
from mlflow_migration.client.errors import BadDirectory, BadInput, MlflowExportImportException, describe
from mlflow_migration.client.evaluation_datasets import EvaluationDatasets, NoEvaluationDatasets
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import (
    evaluation_dataset_dirs,
    read_evaluation_dataset,
    read_evaluation_datasets,
    read_records,
)
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.evaluation_dataset.dataset_exporter import KIND
from mlflow_migration.evaluation_dataset.dataset_importer import DatasetsImporter

Json = Dict[str, Any]

LOSS = "evaluation-datasets"
_LOST = BadDirectory("its export failed: it is not whole in the directory")


def import_all_datasets(
    tracking: Tracking,
    datasets: EvaluationDatasets,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    only: Optional[Collection[str]] = None,
) -> None:
    """Import the evaluation datasets of a directory, and record each.

    :param options: Those of the command.
    :param only: Ids of those that are meant; default all.
    :raises BadInput: The directory holds no evaluation datasets.
    """
    if not directory.exists(SUMMARY_FILE):
        raise BadInput(f"{directory.path} holds no whole export of evaluation datasets: there is no {SUMMARY_FILE}.")
    job.ledger.phase("importing evaluation datasets")
    failed = read_evaluation_datasets(directory)["failed"] if only is None else {}
    places = _places(directory, only)
    job.ledger.expect(KIND, len(failed) + len(places))
    job.progress.add_total(len(places))
    for dataset_id in failed:
        job.lost(KIND, dataset_id, _LOST, LOSS)
    importer = DatasetsImporter(tracking, datasets, job, options, id_map)
    delete = bool(options.get("delete_evaluation_dataset"))
    kept = _delete(job, importer, places, set(failed.values())) if delete else {}

    def load(item: Tuple[str, ExportDir]) -> None:
        doc = read_evaluation_dataset(item[1])
        if doc["dataset"]["name"] in kept:
            raise BadDirectory(f"the destination's is not deleted, as {kept[doc['dataset']['name']]}")
        importer.import_dataset(doc, item[1], doc["dataset"]["name"], anew=delete)

    for outcome in job.executor.imap(load, sorted(places.items())):
        if outcome.error is not None:
            job.failed(KIND, outcome.item[0], outcome.error)
        job.progress.advance()


def import_datasets_if_any(
    tracking: Tracking,
    job: Job,
    directory: ExportDir,
    options: Mapping[str, Any],
    id_map: IdMap,
    only: Optional[Collection[str]] = None,
) -> None:
    """Import the evaluation datasets of a directory among other things: where none can be had, each is lost.

    :param options: Those of the command.
    :param only: Ids of those that are meant; default all.
    """
    try:
        datasets = EvaluationDatasets(tracking)
    except NoEvaluationDatasets as ex:
        failed = read_evaluation_datasets(directory)["failed"] if only is None else {}
        for dataset_id in {**dict.fromkeys(failed), **_places(directory, only)}:
            job.ledger.expect(KIND, 1)
            job.lost(KIND, dataset_id, ex, LOSS)
    else:
        import_all_datasets(tracking, datasets, job, directory, options, id_map, only)


def _places(directory: ExportDir, only: Optional[Collection[str]]) -> Dict[str, ExportDir]:
    """Return the directories of datasets by their ids, or by their names where another tool has listed none.

    Those that are listed and not there are among them: reading them says so.
    """
    listed = read_evaluation_datasets(directory)["datasets"]
    found = dict(evaluation_dataset_dirs(directory))
    named = {dataset_id: place_of({"dataset_id": dataset_id, "name": name}) for dataset_id, name in listed.items()}
    places = {dataset_id: directory.sub(place) for dataset_id, place in named.items()}
    if only is not None:
        return {dataset_id: place for dataset_id, place in places.items() if dataset_id in only}
    # one that an export was cut off after is whole as well
    return {**places, **{place: sub for place, sub in found.items() if place not in named.values()}}


def _delete(job: Job, importer: DatasetsImporter, places: Dict[str, ExportDir], failed: Set[str]) -> Dict[str, str]:
    """Delete the destination's datasets whose names those of the directory have, if all of these can be read.

    :param failed: Names of those whose export failed.
    :return: Why those of a name are kept, by name.
    """

    def check(directory: ExportDir) -> str:
        doc = read_evaluation_dataset(directory)
        try:
            for _ in read_records(doc, directory):
                pass
        except BadDirectory as ex:
            problems[doc["dataset"]["name"]] = describe(ex)
        return str(doc["dataset"]["name"])

    problems: Dict[str, str] = dict.fromkeys(failed, "the export of one of that name failed")
    outcomes = job.executor.gather(check, [places[key] for key in sorted(places)])
    unreadable: List[str] = [describe(one.error) for one in outcomes if one.error is not None]
    names = sorted({outcome.get() for outcome in outcomes if outcome.error is None})
    if unreadable:  # nobody knows what it is called
        return dict.fromkeys(names, unreadable[0])
    for name in names:
        if name not in problems:
            importer.delete_named(name)
    return problems


def import_evaluation_datasets(
    input_dir: str,
    delete_dataset: bool = False,
    use_threads: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> Dict[str, Any]:
    """Import evaluation datasets with their records.

    :param input_dir: Directory of the exported datasets.
    :param delete_dataset: First delete the destination's datasets of the same names with their records.
    :param use_threads: For callers of today's tools.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :return: ``total_datasets``, ``successful_imports``, ``failed_imports`` and ``skipped_imports``; or ``unsupported``
        and ``mlflow_version`` of a server that can't hold any; or ``error``.
    """
    options = {
        "delete_evaluation_dataset": delete_dataset,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    try:
        with importing("import_evaluation_datasets", input_dir, report_dir, options, mlflow_client, TITLE) as to:
            datasets = EvaluationDatasets(to.tracking)
            import_all_datasets(to.tracking, datasets, to.job, to.directory, options, to.id_map)
            return _summarize(to.job, to.reports)
    except MlflowExportImportException as ex:
        return not_done(ex)


def _summarize(job: Job, reports: ExportDir) -> Dict[str, int]:
    return write_import_summary(job, reports, "import_evaluation_datasets.py", summary_of(job, "imports"))


@command(
    "import-evaluation-datasets", "tracking_uri", "input_dir", "delete_evaluation_dataset", "on_destination_change",
    "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(to: Destination) -> None:
        datasets = EvaluationDatasets(to.tracking)
        import_all_datasets(to.tracking, datasets, to.job, to.directory, options, to.id_map)
        _summarize(to.job, to.reports)

    return import_script("import-evaluation-datasets", options, TITLE, work)


if __name__ == "__main__":
    main()
