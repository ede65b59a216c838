"""Exports one evaluation dataset to a directory."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, describe
from mlflow_migration.client.evaluation_datasets import EvaluationDatasets
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Source, export_script, exporting
from mlflow_migration.evaluation_dataset.dataset_exporter import KIND, DatasetExporter, refuse_other

Json = Dict[str, Any]

_log = log.getLogger(__name__)

SCRIPT = "export_evaluation_dataset.py"


def export_one_dataset(
    frm: Source, datasets: EvaluationDatasets, name: Optional[str], dataset_id: Optional[str]
) -> Json:
    """Export an evaluation dataset, and record it.

    :return: It, as REST gives it.
    :raises BadInput: There is no such dataset, or several of the name, or the directory holds another one.
    """
    dataset = _find(datasets, name, dataset_id)
    refuse_other(dataset, frm.directory)
    frm.job.ledger.expect(KIND, 1)
    frm.job.progress.add_total(1)
    exporter = DatasetExporter(frm.tracking, datasets, frm.job, SCRIPT)
    outcome = frm.job.executor.gather(lambda one: exporter.export(one, frm.directory), [dataset])[0]
    if outcome.error is not None:
        frm.job.failed(KIND, dataset["dataset_id"], outcome.error, name=dataset["name"])
    frm.job.progress.advance()
    return dataset


def _find(datasets: EvaluationDatasets, name: Optional[str], dataset_id: Optional[str]) -> Json:
    if not (name or dataset_id):
        raise BadInput("Give --dataset-name or --dataset-id.")
    if dataset_id:
        found = datasets.dataset(dataset_id)
        if found is None or name not in (None, "", found["name"]):
            named = f" with the name '{name}'" if name else ""
            raise BadInput(f"{datasets.uri} has no evaluation dataset {dataset_id}{named}.")
        return found
    named_so = [one for one in datasets.search() if one["name"] == name]
    if not named_so:
        raise BadInput(f"{datasets.uri} has no evaluation dataset '{name}'.")
    if len(named_so) > 1:
        ids = ", ".join(one["dataset_id"] for one in named_so)
        raise BadInput(f"{datasets.uri} has {len(named_so)} evaluation datasets '{name}': give the id of one: {ids}.")
    return named_so[0]


def export_evaluation_dataset(
    output_dir: str, dataset_name: Optional[str] = None, dataset_id: Optional[str] = None, mlflow_client: Any = None
) -> Any:
    """Export an evaluation dataset with its records.

    :param output_dir: Directory to export to.
    :param dataset_name: Its name, if that is the name of one alone.
    :param dataset_id: Its id.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :return: The dataset as MLflow's entity; None if it could not be exported.
    """
    options = {"dataset_name": dataset_name, "dataset_id": dataset_id}
    try:
        with exporting("export_evaluation_dataset", output_dir, options, mlflow_client, "evaluation datasets") as frm:
            datasets = EvaluationDatasets(frm.tracking)
            dataset = export_one_dataset(frm, datasets, dataset_name, dataset_id)
            if frm.job.ledger.exit_status:
                return None
            from mlflow_migration.evaluation_dataset.entities import dataset_entity

            return dataset_entity(dataset, datasets.experiment_ids(dataset["dataset_id"]))
    except MlflowExportImportException as ex:
        _log.error("The evaluation dataset %s was not exported: %s", dataset_id or dataset_name, describe(ex))
        return None


@command(
    "export-evaluation-dataset", "tracking_uri", "dataset_name", "dataset_id", "output_dir", "require_admin"
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(frm: Source) -> None:
        export_one_dataset(frm, EvaluationDatasets(frm.tracking), options["dataset_name"], options["dataset_id"])

    return export_script("export-evaluation-dataset", options, "evaluation datasets", work)


if __name__ == "__main__":
    main()
