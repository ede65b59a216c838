"""MLflow's own entities, for the Python functions that return them. Imports MLflow, so it is imported late."""

from __future__ import annotations

from typing import Any, Dict


def version_entity(version: Dict[str, Any]) -> Any:
    """Return a model version as REST gives it as ``mlflow.entities.model_registry.ModelVersion``."""
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.protos.model_registry_pb2 import ModelVersion as ProtoModelVersion
    from mlflow.utils.proto_json_utils import parse_dict

    message = ProtoModelVersion()
    parse_dict(version, message)
    return ModelVersion.from_proto(message)
