"""Databricks jobs: submit a run and wait for it."""

from mlflow_migration.workflow_api.workflow_api_client import WorkflowApiClient

__all__ = ["WorkflowApiClient"]
