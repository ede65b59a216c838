"""Tags that a Databricks workspace sets itself and takes from nobody: a copy keeps the source's as source tags."""

from __future__ import annotations

from typing import AbstractSet, Dict, Mapping

from mlflow_migration.common.source_tags import ExportTags, mk_source_tags_mlflow_tag

RUN_TAGS = frozenset(
    {
        "mlflow.user",
        "mlflow.log-model.history",
        "mlflow.rootRunId",
        "mlflow.experiment.sourceType",
        "mlflow.experiment.sourceId",
    }
)
"""Those of runs."""

TRACE_TABLES = "mlflow.experiment.databricksTraceDestinationPath"
"""Tag of an experiment whose traces are in tables of Unity Catalog: their catalog, schema and prefix."""

EXPERIMENT_TAGS = frozenset(
    {
        TRACE_TABLES,
        "mlflow.experiment.databricksTelemetryDestinationId",
        "mlflow.experiment.databricksTraceSpanStorageTable",
        "mlflow.experiment.databricksTraceLogStorageTable",
        "mlflow.experiment.databricksTraceAnnotationsTable",
        "mlflow.ownerId",
        "mlflow.ownerEmail",
        "mlflow.experimentType",
        "mlflow.experiment.sourceType",
        "mlflow.experiment.sourceId",
    }
)
"""Those of experiments."""

USER_ID = f"{ExportTags.PREFIX_RUN_INFO}.user_id"
"""Source tag of a run's user: a workspace makes the importing user that of the copy."""

SOURCE_TAGS_OF_RUNS = frozenset({USER_ID, *mk_source_tags_mlflow_tag(dict.fromkeys(RUN_TAGS, ""))})
"""The source tags that every copy in a workspace may have."""

NOTE = (
    "A Databricks workspace sets some tags and the user itself; what the source had there is in tags"
    f" {ExportTags.PREFIX_MLFLOW_TAG}.... and {USER_ID} of the copies."
)


def as_taken(tags: Mapping[str, str], own: AbstractSet[str]) -> Dict[str, str]:
    """Return tags as a workspace takes them: those that it sets itself as source tags.

    :param tags: Tags of the source.
    :param own: RUN_TAGS or EXPERIMENT_TAGS.
    """
    taken = {key: value for key, value in tags.items() if key not in own}
    taken.update(mk_source_tags_mlflow_tag({key: value for key, value in tags.items() if key in own}))
    return taken


def without_own(tags: Mapping[str, str], own: AbstractSet[str]) -> Dict[str, str]:
    """Return tags without those that a workspace sets itself."""
    return {key: value for key, value in tags.items() if key not in own}
