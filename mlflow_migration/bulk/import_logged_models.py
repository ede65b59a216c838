"""Imports the logged models (MLflow 3) of several experiments from a directory."""

from __future__ import annotations

from typing import Any, Optional

from mlflow_migration.common.cli import command
from mlflow_migration.common.one_server import Destination, import_script, importing
from mlflow_migration.run.import_run import settings_of
from mlflow_migration.run.models_importer import import_listed_models


def import_logged_models(
    input_dir: str,
    mlflow_client: Any = None,
    *,
    report_dir: Optional[str] = None,
    import_source_tags: bool = False,
    on_destination_change: str = "keep",
    workers: int = 8,
) -> None:
    """Import logged models, with their runs where the directory has them, into experiments of the same names.

    :param input_dir: Directory of the exported logged models.
    :param mlflow_client: Decides server and credentials; default is what the environment says.
    :param report_dir: Directory for ledger and id map.
    :param import_source_tags: Keep what the source's server had set itself as ``mlflow_exim.`` tags.
    :param on_destination_change: ``keep`` or ``overwrite``.
    :param workers: The most requests in flight.
    :raises MlflowExportImportException: The import can't start.
    """
    options = {
        "import_source_tags": import_source_tags,
        "on_destination_change": on_destination_change,
        "workers": workers,
    }
    with importing("import_logged_models", input_dir, report_dir, options, mlflow_client) as to:
        import_listed_models(to.tracking, to.job, to.directory, settings_of(options), to.id_map)


@command(
    "import-logged-models", "tracking_uri", "input_dir", "import_source_tags", "use_src_user_id", "mlmodel_fix",
    "on_refused", "on_destination_change", "recheck", "require_admin",
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def work(to: Destination) -> None:
        import_listed_models(to.tracking, to.job, to.directory, settings_of(options), to.id_map)

    return import_script("import-logged-models", options, "runs", work)


if __name__ == "__main__":
    main()
