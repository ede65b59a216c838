"""New names for experiments and models on their way, where callers of the earlier tools look for them."""

from mlflow_migration.common.rename_utils import get_renames, read_rename_file, rename

__all__ = ["get_renames", "read_rename_file", "rename"]
