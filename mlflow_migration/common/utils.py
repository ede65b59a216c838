"""Helpers under the name that users of today's tools import them from."""

from __future__ import annotations

from mlflow_migration.common.log import getLogger

__all__ = ["getLogger"]
