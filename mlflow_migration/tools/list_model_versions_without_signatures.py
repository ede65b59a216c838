"""Lists the model versions that have no signature."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from mlflow_migration.client.errors import describe
from mlflow_migration.client.registry import Registry, is_placeholder, is_prompt
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.common import log
from mlflow_migration.common.cli import command, echo
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.io_utils import write_file
from mlflow_migration.common.tables import table
from mlflow_migration.model.entities import version_entity
from mlflow_migration.tools.get_model_signature import signature_of
from mlflow_migration.tools.model_files import of_version

COLUMNS = ("model", "version", "run_id", "error")

_log = log.getLogger(__name__)


def search_model_versions(client: Any, filter: str) -> List[Any]:
    """Return the model versions that match a filter, prompts left out.

    :param client: An MlflowClient: it decides servers and credentials. None is what the environment says.
    :param filter: MLflow's filter string, such as ``name = 'wine'``; empty or None for all.
    :return: ``mlflow.entities.model_registry.ModelVersion`` of each, sorted by model and number.
    :raises MlflowExportImportException: The filter is refused.
    """
    with open_tracking(None, "src", mlflow_client=client) as tracking, open_registry(tracking, None, "src") as registry:
        return [version_entity(version) for version in _search(registry, filter)]


def _search(registry: Registry, where: Optional[str]) -> List[Dict[str, Any]]:
    found = [version for page in registry.search_versions(where or "") for version in page]
    kept = [version for version in found if not is_prompt(version) and not is_placeholder(version)]
    return sorted(kept, key=lambda version: (version["name"], int(version["version"])))


def as_pandas_df(
    filter: Optional[str],
    use_get_model_info: bool = False,
    *,
    tracking_uri: Optional[str] = None,
    registry_uri: Optional[str] = None,
    mlflow_client: Any = None,
    workers: int = 8,
) -> Any:
    """Return the model versions that have no signature.

    :param filter: MLflow's filter string, such as ``name = 'wine'``; empty or None for all versions.
    :param use_get_model_info: Let MLflow read the MLmodel files: slower, and it checks them.
    :param tracking_uri: The tracking server; default as for every command.
    :param registry_uri: The server with the registry; likewise.
    :param mlflow_client: A given MlflowClient: it decides servers and credentials.
    :param workers: The most requests in flight.
    :return: A pandas DataFrame with the columns model, version, run_id and error: why it is not known whether the
        version has a signature, empty if it is known.
    :raises MlflowExportImportException: The filter is refused.
    """
    import pandas

    with open_tracking(tracking_uri, "src", mlflow_client=mlflow_client, workers=workers) as tracking, open_registry(
        tracking, registry_uri, "src", workers=workers
    ) as registry, Executor(workers) as executor:

        def has_signature(version: Dict[str, Any]) -> bool:
            return signature_of(of_version(tracking, registry, version), use_get_model_info) is not None

        versions = _search(registry, filter)
        rows: List[Tuple[str, ...]] = []
        for outcome in executor.gather(has_signature, versions):
            if outcome.error is not None or not outcome.value:
                version = outcome.item
                error = describe(outcome.error) if outcome.error is not None else ""
                rows.append((version["name"], str(version["version"]), version.get("run_id") or "", error))
    _log.info("%d versions, %d of them without a signature or not readable", len(versions), len(rows))
    return pandas.DataFrame(rows, columns=list(COLUMNS))


def show(filter: Optional[str], output_file: Optional[str], use_get_model_info: bool) -> None:
    """Print the model versions that have no signature, and write them to a CSV file.

    :param filter: As for :func:`as_pandas_df`.
    :param output_file: The file; None for none.
    :param use_get_model_info: As for :func:`as_pandas_df`.
    :raises MlflowExportImportException: The filter is refused.
    """
    frame = as_pandas_df(filter, use_get_model_info)
    echo(_table(frame))
    if output_file:
        _save(frame, output_file)


def _save(frame: Any, path: str) -> None:
    write_file(path, frame.to_csv(index=False), "csv")


def _table(frame: Any) -> str:
    return table(frame.to_dict("records"), COLUMNS)


@command(
    "list-model-versions-without-signatures", "tracking_uri", "registry_uri", "filter", "use_get_model_info",
    "output_file", common=("workers", "use_threads", "quiet", "verbose"), prints_data=True,
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    frame = as_pandas_df(
        options["filter"],
        options["use_get_model_info"],
        tracking_uri=options["tracking_uri"],
        registry_uri=options["registry_uri"],
        workers=options["workers"],
    )
    if options["output_file"]:
        _save(frame, options["output_file"])
    else:
        echo(_table(frame))
    return int(bool(frame["error"].any()))


if __name__ == "__main__":
    main()
