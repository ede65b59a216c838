"""Files, ids and running: what every object package shares and that knows no MLflow object."""

from mlflow_migration.client.errors import MlflowExportImportException

__all__ = ["MlflowExportImportException"]
