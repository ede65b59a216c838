"""Lists the registered models."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.common.cli import command, echo
from mlflow_migration.common.io_utils import write_file
from mlflow_migration.common.tables import table
from mlflow_migration.common.timestamp_utils import fmt_ts_millis

_COLUMNS = ("name", "latest versions", "aliases", "created (UTC)", "description")
_SHOWN = 60  # characters of a description in the table


def list_registered_models(
    *, tracking_uri: Optional[str] = None, registry_uri: Optional[str] = None, mlflow_client: Any = None
) -> List[Dict[str, Any]]:
    """Return all registered models as REST gives them; prompts are none.

    :param tracking_uri: The tracking server; default as for every command.
    :param registry_uri: The server with the registry; likewise.
    :param mlflow_client: A given MlflowClient: it decides servers and credentials.
    :return: Sorted by name. ``latest_versions`` has the latest of each stage; times are ms since epoch.
    """
    with open_tracking(tracking_uri, "src", mlflow_client=mlflow_client) as tracking, open_registry(
        tracking, registry_uri, "src"
    ) as registry:
        return sorted((model for page in registry.search_models() for model in page), key=lambda model: model["name"])


def _row(model: Dict[str, Any]) -> Dict[str, str]:
    created = model.get("creation_timestamp")
    description = " ".join((model.get("description") or "").split())
    if len(description) > _SHOWN:
        description = description[: _SHOWN - 3] + "..."
    latest = sorted(int(version["version"]) for version in model.get("latest_versions") or ())
    values = (
        model["name"],
        ", ".join(map(str, latest)),
        ", ".join(sorted(f"{item['alias']}={item['version']}" for item in model.get("aliases") or ())),
        fmt_ts_millis(int(created)) if created else "",
        description,
    )
    return dict(zip(_COLUMNS, values))


@command(
    "list-registered-models", "tracking_uri", "registry_uri", "output_file",
    common=("quiet", "verbose"), prints_data=True,
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    models = list_registered_models(tracking_uri=options["tracking_uri"], registry_uri=options["registry_uri"])
    if options["output_file"]:
        write_file(options["output_file"], {"registered_models": models}, "json")
    else:
        echo(table([_row(model) for model in models], _COLUMNS))
    return 0


if __name__ == "__main__":
    main()
