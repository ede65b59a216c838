"""Imports one evaluation dataset from a directory."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Tuple

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, describe
from mlflow_migration.client.evaluation_datasets import EvaluationDatasets
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.object_files import read_evaluation_dataset, read_records
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.evaluation_dataset.dataset_exporter import DATASET_FILE, KIND
from mlflow_migration.evaluation_dataset.dataset_importer import DatasetsImporter

_log = log.getLogger(__name__)


def import_one_dataset(to: Destination, options: Mapping[str, Any]) -> Optional[Tuple[str, str]]:
    """Import the evaluation dataset of a directory, and record it.

    :param options: Those of the command.
    :return: Name and id at the destination; None if it could not be imported, or in a dry run.
    :raises BadInput: The directory holds no dataset, or the destination can't hold any.
    """
    if not to.directory.exists(DATASET_FILE):
        raise BadInput(f"{to.directory.path} holds no exported evaluation dataset: there is no {DATASET_FILE}.")
    datasets = EvaluationDatasets(to.tracking)
    doc = read_evaluation_dataset(to.directory)
    name = options.get("evaluation_dataset_name") or doc["dataset"]["name"]
    importer = DatasetsImporter(to.tracking, datasets, to.job, options, to.id_map)
    to.job.ledger.expect(KIND, 1)
    to.job.progress.add_total(1)

    def load(_: None) -> Optional[str]:
        anew = bool(options.get("delete_evaluation_dataset"))
        if anew:
            for _record in read_records(doc, to.directory):
                pass  # all of them can be read
            importer.delete_named(name)
        return importer.import_dataset(doc, to.directory, name, anew)

    outcome = to.job.executor.gather(load, [None])[0]
    if outcome.error is not None:
        to.job.failed(KIND, doc["dataset"]["dataset_id"], outcome.error, name=name)
    to.job.progress.advance()
    return (name, outcome.value) if outcome.value else None


def import_evaluation_dataset(
    input_dir: str,
    dataset_name: Optional[str] = None,
    delete_dataset: bool = False,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    on_destination_change: str = "keep",
) -> Optional[Tuple[str, str]]:
    """Import an evaluation dataset with its records.

    :param input_dir: Directory of the exported dataset.
    :param dataset_name: Its name at the destination; default is that of the source's.
    :param delete_dataset: First delete the destination's datasets of that name with their records.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :return: Name and id at the destination; None if it could not be imported.
    """
    options = {
        "evaluation_dataset_name": dataset_name,
        "delete_evaluation_dataset": delete_dataset,
        "on_destination_change": on_destination_change,
    }
    title = "evaluation datasets"
    try:
        with importing("import_evaluation_dataset", input_dir, report_dir, options, mlflow_client, title) as to:
            return import_one_dataset(to, options)
    except MlflowExportImportException as ex:
        _log.error("The evaluation dataset of %s was not imported: %s", input_dir, describe(ex))
        return None


@command(
    "import-evaluation-dataset", "tracking_uri", "input_dir", "evaluation_dataset_name", "delete_evaluation_dataset",
    "on_destination_change", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    return import_script(
        "import-evaluation-dataset", options, "evaluation datasets", lambda to: import_one_dataset(to, options)
    )


if __name__ == "__main__":
    main()
