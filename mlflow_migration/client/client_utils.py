"""Clients for the server that an MlflowClient belongs to."""

from __future__ import annotations

import importlib
from typing import Any, Optional

from mlflow_migration.client.credentials import from_mlflow_client, resolve_uri
from mlflow_migration.client.http_client import MLFLOW_API, DatabricksHttpClient, HttpClient


def create_http_client(client: Any, model_name: Optional[str] = None) -> HttpClient:
    """Return a client for the MLflow API.

    :param client: An MlflowClient; it decides server and credentials.
    :param model_name: A registered model that the requests are about; one of Unity Catalog has an API of its own.
    """
    is_unity_catalog = bool(model_name) and len(str(model_name).split(".")) == 3
    api = f"{MLFLOW_API}/unity-catalog" if is_unity_catalog else MLFLOW_API
    return HttpClient(api, connection=from_mlflow_client(client))


def create_dbx_client(client: Any) -> DatabricksHttpClient:
    """Return a client for the Databricks API.

    :param client: An MlflowClient; it decides workspace and credentials.
    """
    return DatabricksHttpClient(connection=from_mlflow_client(client))


def create_mlflow_client() -> Any:
    """Return an MlflowClient for the tracking server and registry that the environment names."""
    uri = resolve_uri(None)
    mlflow = importlib.import_module("mlflow")
    return mlflow.MlflowClient(tracking_uri=uri)
