"""Keeps the model of a version whose run does not travel: in a run of its own at the destination."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple
from urllib.parse import quote

from mlflow_migration.client.errors import describe
from mlflow_migration.client.registry import version_id
from mlflow_migration.client.tracking import RUN_KEY, Tracking, tag_dict, tag_list
from mlflow_migration.common.artifact_stores import run_store
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.source_tags import SOURCE_URI, mk_source_uri_tag
from mlflow_migration.common.uploads import Uploads

Json = Dict[str, Any]

FOLDER = "model"
"""Where the model lies below the run's artifact root."""


def hold(
    tracking: Tracking,
    job: Job,
    experiment_id: str,
    version: Json,
    source: ExportDir,
    folder: str,
    files: Sequence[Json],
    skipped: bool = False,
) -> Tuple[Json, List[str]]:
    """Make the run of a version, or find the one that an earlier import has made, and complete its artifacts.

    :param version: The version as the directory has it.
    :param source: Directory with the artifacts.
    :param folder: The folder in it.
    :param files: What is recorded of each of them.
    :param skipped: They were to stay where they are: the run says where that is.
    :return: The run's info, and what could not be brought there.
    """
    key = f"models:/{quote(version_id(version), safe='')}"
    where = f"tags.`{RUN_KEY}` = '{key}'"
    run = next((found for page in tracking.search_runs([experiment_id], where) for found in page), None)
    time = version.get("creation_timestamp") or 0
    tag = mk_source_uri_tag(version.get("_download_uri") or version["source"]) if skipped else {}
    if run is None:
        body: Json = {
            "experiment_id": experiment_id,
            "run_name": f"{version['name']} version {version['version']}",
            "start_time": time,
            "tags": tag_list({RUN_KEY: key, **tag}),
        }
        run = tracking.create_run(body, key)
    info = run["info"]
    if not skipped and SOURCE_URI in tag_dict((run.get("data") or {}).get("tags")):
        tracking.delete_tag(info["run_id"], SOURCE_URI)
    uploads = Uploads(run_store(tracking, info["run_id"], f"{info['artifact_uri']}/{FOLDER}"), job)
    uploads.open(source, folder, files, [])
    there = uploads.there() if info.get("status") == "FINISHED" else {}
    problems: List[str] = []
    for path, ex in uploads.send([path for path, size in uploads.sizes.items() if there.get(path) != size]):
        problems.append(f"artifact {path}: {describe(ex)}")
        job.lost("artifact", f"{version['name']}/{version['version']}/{path}", ex, "artifacts")
    if info.get("status") != "FINISHED" and not problems:
        tracking.update_run(info["run_id"], status="FINISHED", **({"end_time": time} if time else {}))
    return dict(info), problems
