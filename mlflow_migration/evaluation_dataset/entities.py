"""MLflow's own entity, for the Python functions that return it. Imports MLflow, so it is imported late."""

from __future__ import annotations

from typing import Any, Dict, List


def dataset_entity(dataset: Dict[str, Any], experiment_ids: List[str]) -> Any:
    """Return a dataset as REST gives it as ``mlflow.entities.EvaluationDataset``, whose records are read when needed.

    An MLflow that is too old for it gives the dictionary instead.
    """
    try:
        from mlflow.entities import EvaluationDataset
    except ImportError:
        return {**dataset, "experiment_ids": experiment_ids}
    fields = (
        "dataset_id", "name", "digest", "created_time", "last_update_time", "tags", "schema", "profile", "created_by",
        "last_updated_by",
    )  # fmt: skip
    found = EvaluationDataset(**{name: dataset.get(name) for name in fields})
    found.experiment_ids = experiment_ids
    return found
