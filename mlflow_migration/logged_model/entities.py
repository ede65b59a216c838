"""MLflow's own entities, for the Python functions that return them. Imports MLflow, so it is imported late."""

from __future__ import annotations

from typing import Any, Dict


def logged_model_entity(model: Dict[str, Any]) -> Any:
    """Return a logged model as REST gives it as ``mlflow.entities.LoggedModel``.

    :return: None if the installed MLflow is one before MLflow 3, which has no such class.
    """
    try:
        from mlflow.entities import LoggedModel
        from mlflow.protos.service_pb2 import LoggedModel as ProtoLoggedModel
    except ImportError:
        return None
    from mlflow.utils.proto_json_utils import parse_dict

    message = ProtoLoggedModel()
    parse_dict(model, message)
    return LoggedModel.from_proto(message)
