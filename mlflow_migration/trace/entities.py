"""Traces as MLflow's own classes, for callers of today's tools; MLflow is imported here, and only here, for them."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.client.traces import Traces

Json = Dict[str, Any]


def trace_entity(traces: Traces, info: Json) -> Any:
    """Return a trace as an MLflow entity; None if the installed MLflow has no class that fits, or there are no spans.

    :param info: As REST gives it.
    """
    try:
        from mlflow.entities import Trace

        with traces.artifact(info["trace_id"]) as blocks:
            data = json_codec.loads(b"".join(blocks))
        return Trace.from_dict({"info": info, "data": data})
    except (ImportError, AttributeError, KeyError, TypeError, ValueError, MlflowExportImportException):
        return None


def root_span(trace: Any) -> Any:
    """Return the span of a trace that has no parent; None if there is none."""
    spans = trace.data.spans if trace is not None else ()
    return next((span for span in spans if not span.parent_id), None)
