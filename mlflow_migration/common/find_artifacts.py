"""Finds artifacts of a run by their name."""

from __future__ import annotations

import posixpath
import sys
from itertools import islice
from typing import Any, List

from mlflow_migration.client.servers import open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common import log
from mlflow_migration.common.artifact_stores import run_store
from mlflow_migration.common.artifacts import levels
from mlflow_migration.common.cli import command, echo
from mlflow_migration.common.executor import Executor

_log = log.getLogger(__name__)


def find_run_model_names(client: Any, run_id: str) -> List[str]:
    """Return where the models of a run lie: the directories of its artifacts that hold an ``MLmodel`` file.

    :param client: An MlflowClient: it decides server and credentials. None is what the environment says.
    :param run_id: Id of the run. Logged models of MLflow 3 are not among its artifacts.
    :return: Their paths, sorted; the root of the artifacts is empty.
    :raises NotFound: There is no such run.
    """
    return [posixpath.dirname(path) for path in find_artifacts(client, run_id, "", "MLmodel")]


def find_artifacts(client: Any, run_id: str, path: str, target: str, max_level: int = sys.maxsize) -> List[str]:
    """Return the paths of the files and directories of a run's artifacts that have a name.

    :param client: An MlflowClient: it decides server and credentials. None is what the environment says.
    :param run_id: Id of the run.
    :param path: Directory to look in; empty for all artifacts.
    :param target: The name, without directories.
    :param max_level: Number of levels of directories to look into, the first of them ``path``.
    :return: Paths below the root of the run's artifacts, sorted.
    :raises NotFound: There is no such run.
    """
    with open_tracking(None, "src", mlflow_client=client) as tracking:
        return _find(tracking, run_id, path, target, max_level)


def _find(tracking: Tracking, run_id: str, path: str, target: str, max_level: int) -> List[str]:
    store = run_store(tracking, run_id, tracking.run(run_id)["info"].get("artifact_uri") or "")
    found: List[str] = []
    with Executor(8) as executor:
        for dirs, files in islice(levels(store, executor, path.strip("/")), max(max_level, 0)):
            names = [*dirs, *(file.path for file in files)]
            found += [name for name in names if posixpath.basename(name) == target]
    return sorted(found)


@command(
    "find-artifacts", "tracking_uri", "run_id", "target", "path", "max_level",
    common=("quiet", "verbose"), prints_data=True,
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    max_level = sys.maxsize if options["max_level"] is None else options["max_level"]
    with open_tracking(options["tracking_uri"], "src") as tracking:
        found = _find(tracking, options["run_id"], options["path"] or "", options["target"], max_level)
    for path in found:
        echo(path)
    _log.info("Found: %d", len(found))
    return 0


if __name__ == "__main__":
    main()
