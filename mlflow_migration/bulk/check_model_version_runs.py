"""Tells which versions of registered models have lost the run that they name: an export can't take that along."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple, Union

from mlflow_migration.client.errors import BadInput, MlflowExportImportException, NotFound, describe
from mlflow_migration.client.registry import Registry, is_placeholder
from mlflow_migration.client.servers import open_both
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.selection import choose_names, wanted_names
from mlflow_migration.model.model_exporter import VersionSelection

Json = Dict[str, Any]

COLUMNS = ("model", "version", "stage", "run_id", "run", "error")
ACTIVE, DELETED, MISSING, NONE, UNKNOWN = "active", "deleted", "missing", "none", "unknown"

_log = log.getLogger(__name__)


def mk_pandas_df(
    model_names: Union[str, Sequence[str]],
    export_latest_versions: bool = False,
    bail: bool = False,
    mlflow_client: Any = None,
    *,
    workers: int = 8,
) -> Any:
    """Return the versions of registered models, and whether the run of each is there.

    :param model_names: Names, as a list or separated by commas; ``all``, beginnings with a ``*``, or a .txt file.
    :param export_latest_versions: Only the latest version of each stage.
    :param bail: Raise an error if the run of a version is missing, rather than return the list.
    :param mlflow_client: Decides servers and credentials; default is what the environment says.
    :param workers: The most requests in flight.
    :return: A pandas DataFrame with the columns model, version, stage, run_id, run (``active``, ``deleted``,
        ``missing``, ``none`` for a version that names no run, ``unknown``) and error (why it is unknown).
    :raises BadInput: There is no such model.
    :raises MlflowExportImportException: A run is missing and ``bail`` is given, or a model can't be read.
    """
    import pandas

    with open_both(None, None, "src", workers=workers, mlflow_client=mlflow_client) as (tracking, registry), Executor(
        workers
    ) as executor:
        selection = VersionSelection(latest=export_latest_versions)
        versions = _versions(registry, executor, wanted_names(model_names), selection)
        ids = list(dict.fromkeys(version["run_id"] for version in versions if version.get("run_id")))
        found = {outcome.item: outcome for outcome in executor.gather(lambda run_id: _look(tracking, run_id), ids)}
    rows: List[Tuple[str, ...]] = []
    for version in versions:
        run_id = version.get("run_id") or ""
        run, error = NONE, ""
        if run_id:
            outcome = found[run_id]
            run = outcome.value or UNKNOWN
            error = describe(outcome.error) if outcome.error is not None else ""
        rows.append((version["name"], str(version["version"]), version.get("current_stage") or "", run_id, run, error))
    lost = [f"{row[0]}/{row[1]}" for row in rows if row[4] == MISSING]
    _log.info("%d versions, %d of them without the run that they name", len(rows), len(lost))
    if bail and lost:
        raise MlflowExportImportException(f"The runs of these versions are missing: {', '.join(lost)}.")
    return pandas.DataFrame(rows, columns=list(COLUMNS))


def _versions(registry: Registry, executor: Executor, wanted: Sequence[str], selection: VersionSelection) -> List[Json]:
    """Return the chosen versions, sorted by model and number."""
    there = sorted(model["name"] for page in registry.search_models() for model in page)
    names, unknown = choose_names(wanted, there)
    if unknown:
        raise BadInput(f"{registry.uri} has no registered model {', '.join(map(repr, unknown))}.")
    chosen: List[Json] = []
    for outcome in executor.gather(registry.versions, names):
        versions = [version for version in outcome.get() if not is_placeholder(version)]
        left_out = selection.left_out(versions)
        chosen += [version for version in versions if str(version["version"]) not in left_out]
    return chosen


def _look(tracking: Tracking, run_id: str) -> str:
    try:
        return DELETED if tracking.run(run_id)["info"].get("lifecycle_stage") == "deleted" else ACTIVE
    except NotFound as ex:
        if not ex.error_code:
            raise
        return MISSING
