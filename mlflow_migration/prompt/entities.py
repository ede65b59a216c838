"""MLflow's own entities, for the Python functions that return them. Imports MLflow, so it is imported late."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.model.entities import version_entity


def prompt_entity(version: Dict[str, Any]) -> Any:
    """Return a version of a prompt as REST gives it as the entity that the installed MLflow has for it.

    That is ``PromptVersion`` since MLflow 3, ``Prompt`` in 2.21 and 2.22, ``ModelVersion`` before, and where MLflow
    refuses the version.
    """
    from mlflow.exceptions import MlflowException

    entity = version_entity(version)
    try:
        from mlflow.prompt.registry_utils import model_version_to_prompt_version as convert
    except ImportError:
        try:
            from mlflow.entities.model_registry.prompt import Prompt
        except ImportError:
            return entity
        convert = Prompt.from_model_version
    try:
        return convert(entity)
    except (MlflowException, ValueError):
        return entity
