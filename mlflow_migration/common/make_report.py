"""Makes report.html and report.json of a ledger that is there, also of one that a killed command left."""

from __future__ import annotations

from typing import Any

from mlflow_migration.client.errors import BadInput, describe
from mlflow_migration.common.cli import command, echo
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.ledger import LEDGER_FILE
from mlflow_migration.common.report import write_report
from mlflow_migration.common.session import REPORT_DIR


@command("make-report", "report_dir", common=("quiet", "verbose"), prints_data=True)
def main(**options: Any) -> int:
    """Run the console script."""
    directory = ExportDir(options["report_dir"] or REPORT_DIR)
    if not directory.exists(LEDGER_FILE):
        raise BadInput(f"There is no {LEDGER_FILE} in {directory.path}: name its directory by --report-dir.")
    try:
        echo(write_report(directory))
    except OSError as ex:
        raise BadInput(f"The report can't be written in {directory.path}: {describe(ex)}") from ex
    return 0


if __name__ == "__main__":
    main()
