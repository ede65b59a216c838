"""What functions of today's tools return of a whole kind, and the file that their imports leave."""

from __future__ import annotations

from typing import Any, Dict

from mlflow_migration.client.errors import Incapable, MlflowExportImportException, describe
from mlflow_migration.common import log
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job

IMPORT_SUMMARY_FILE = "import_summary.json"

_log = log.getLogger(__name__)


def not_done(ex: MlflowExportImportException) -> Dict[str, Any]:
    """Return what today's tools return when they could not start."""
    _log.error("%s", describe(ex))
    if isinstance(ex, Incapable):
        return {"unsupported": True, "mlflow_version": ex.version}
    return {"error": describe(ex)}


def write_import_summary(job: Job, reports: ExportDir, script: str, summary: Dict[str, int]) -> Dict[str, int]:
    """Write the counts of an import beside its ledger, unless in a dry run, and return them.

    :param script: Name of the command, for the file.
    """
    if not job.dry_run:
        reports.write_json(IMPORT_SUMMARY_FILE, envelope(script, summary))
    return summary
