"""MLflow's own entities, for the Python functions that return them. Imports MLflow, so it is imported late."""

from __future__ import annotations

from typing import Any, Dict


def run_entity(run: Dict[str, Any]) -> Any:
    """Return a run as REST gives it as ``mlflow.entities.Run``."""
    from mlflow.entities import Run
    from mlflow.protos.service_pb2 import Run as ProtoRun
    from mlflow.utils.proto_json_utils import parse_dict

    message = ProtoRun()
    parse_dict(run, message)
    return Run.from_proto(message)


def run_info_entity(info: Dict[str, Any]) -> Any:
    """Return the info of a run as REST gives it as ``mlflow.entities.RunInfo``."""
    return run_entity({"info": info, "data": {}}).info
