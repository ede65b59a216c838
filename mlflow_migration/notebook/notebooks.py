"""Notebooks of a Databricks workspace: the revision that a run used is exported with it, and imported again."""

from __future__ import annotations

import json
import posixpath
from typing import Any, Collection, Dict, List, Mapping, Sequence, Tuple

from mlflow_migration.client import databricks
from mlflow_migration.client.errors import (
    BadDirectory,
    BadInput,
    Gone,
    MlflowExportImportException,
    Refused,
    Stopped,
    describe,
)
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.notebook_files import (
    FORMATS,
    MANIFEST,
    NOTEBOOK_PATH,
    NOTEBOOK_REVISION,
    NOTEBOOKS,
    SavedNotebook,
    file_name,
    saved_notebook,
)
from mlflow_migration.common.object_files import read_run

Json = Dict[str, Any]

KIND = "notebook"
LOSS = "notebooks"
_COMMITS = ("mlflow.databricks.notebook.commitID", "mlflow.databricks.gitRepoCommit")
_LANGUAGES = {"py": "PYTHON", "scala": "SCALA", "sql": "SQL", "r": "R"}
#: how the source of a notebook begins; Python and R have the same comments
_HEADERS = {
    b"# Databricks notebook source": "PYTHON",
    b"-- Databricks notebook source": "SQL",
    b"// Databricks notebook source": "SCALA",
}
_NOT_SAVED = "the export has no notebook of it: --notebook-formats saves them"
_MOST = 64 * 1024 * 1024  # bytes: a workspace takes no notebook of this size


def notebook_dir_of(options: Mapping[str, Any]) -> str:
    """Return the directory of the workspace that a command is to import notebooks into; empty if none.

    :raises BadInput: It is no absolute path.
    """
    given = str(options.get("dst_notebook_dir") or "").rstrip("/")
    if options.get("dst_notebook_dir") and not given.startswith("/"):
        raise BadInput(f"--dst-notebook-dir is an absolute path of the workspace, such as /Shared/runs, not {given!r}.")
    return given


def formats_of(options: Mapping[str, Any]) -> Tuple[str, ...]:
    """Return the formats in which a command is to take notebooks.

    :raises BadInput: There is no such format.
    """
    given = options.get("notebook_formats") or ()
    listed = given.split(",") if isinstance(given, str) else given
    formats = tuple(dict.fromkeys(one.strip().upper() for one in listed if one.strip()))
    for one in formats:
        if one not in FORMATS:
            raise BadInput(f"{one!r} is no format of notebooks: there are {', '.join(FORMATS)}.")
    return formats


def save_notebook(
    rest: RestClient, path: str, revision: str, formats: Sequence[str], directory: ExportDir, folder: str
) -> List[str]:
    """Write a notebook of a workspace into a directory, a file for each format.

    :param rest: Client of the workspace.
    :param path: Absolute path of the notebook.
    :param revision: Id of its revision; empty for the present one.
    :param formats: Of ``SOURCE``, ``HTML``, ``JUPYTER`` and ``DBC``.
    :param folder: Where in the directory; empty for the directory itself. A folder gets a manifest, too.
    :return: A sentence for each format that the workspace does not give.
    """
    start = f"{folder}/" if folder else ""
    saved: List[str] = []
    problems: List[str] = []
    language = ""
    for notebook_format in formats:
        try:
            found = databricks.export_notebook(rest, path, notebook_format, revision)
        except (Stopped, Gone):
            raise
        except MlflowExportImportException as ex:
            problems.append(f"as {notebook_format}: {describe(ex)}")
            continue
        with directory.new_file(start + file_name(posixpath.basename(path), notebook_format)) as file:
            file.write(found.content)
        saved.append(notebook_format)
        if notebook_format == "SOURCE":
            language = _LANGUAGES.get(found.file_type.lower(), "") or _language_in(found.content)
    if folder and saved:
        facts = {NOTEBOOK_PATH: path, NOTEBOOK_REVISION: revision, "formats": saved}
        language = _known_language(rest, path) or language
        manifest = {**facts, **({"language": language} if language else {})}
        directory.write_json(start + MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    return problems


def _known_language(rest: RestClient, path: str) -> str:
    """Return the language of a notebook that is still there; what a source begins with does not tell R from Python."""
    try:
        return str((databricks.workspace_object(rest, path) or {}).get("language") or "")
    except Refused:
        return ""


def _language_in(source: bytes) -> str:
    return next((name for header, name in _HEADERS.items() if source.startswith(header)), "")


def save_notebook_of_run(
    job: Job, rest: RestClient, run_id: str, tags: Mapping[str, str], formats: Sequence[str], directory: ExportDir,
    folder: str, artifacts: Collection[str],
) -> bool:  # fmt: skip
    """Save the revision of the notebook that a run was made by, and record it.

    :param rest: Client of the run's workspace.
    :param tags: Those of the run.
    :param directory: Of the run.
    :param folder: Its folder with artifacts.
    :param artifacts: Paths of the run's own artifacts.
    :return: Whether there is nothing left to be saved.
    """
    path = tags.get(NOTEBOOK_PATH)
    if not path:
        return True
    job.ledger.expect(KIND, 1)
    revision, commit = tags.get(NOTEBOOK_REVISION), next(filter(None, map(tags.get, _COMMITS)), None)
    if not revision:
        reason = "the run's tags name no revision of its notebook"
        if commit:
            reason = f"{reason} but the commit {commit}, and a workspace gives only its own revisions"
        job.ledger.record(KIND, "skipped", run_id, name=path, reason=reason)
        return True
    own = {f"{NOTEBOOKS}/{MANIFEST}", *(f"{NOTEBOOKS}/{file_name(posixpath.basename(path), one)}" for one in formats)}
    try:
        taken = sorted(own.intersection(artifacts))
        if taken:
            raise BadDirectory(f"the run has an artifact {taken[0]}, where the notebook would be")
        problems = save_notebook(rest, path, revision, formats, directory, f"{folder}/{NOTEBOOKS}")
        if problems:
            raise MlflowExportImportException("; ".join(problems))
    except (Stopped, Gone):
        raise
    except (MlflowExportImportException, OSError) as ex:
        job.lost(KIND, run_id, ex, LOSS, name=path)
        return False
    job.ledger.record(KIND, "copied", run_id, name=path)
    return True


def import_notebook_of_run(
    job: Job, rest: RestClient, src_id: str, dst_id: str, directory: ExportDir, folder: str, notebook_dir: str
) -> None:
    """Import the notebook that an export has saved with a run, unless it is there, and record it.

    :param rest: Client of the destination.
    :param src_id: Id of the source's run.
    :param dst_id: That of the destination's; empty in a dry run that would create it.
    :param directory: Of the run.
    :param folder: Its folder with artifacts.
    :param notebook_dir: Directory of the workspace; the notebook gets one of its own there, called like the run.
    """
    try:
        saved = saved_notebook(directory, folder)
        if saved is None:
            path = read_run(directory)["tags"].get(NOTEBOOK_PATH)
            if path:
                job.ledger.expect(KIND, 1)
                job.ledger.record(KIND, "skipped", src_id, name=path, reason=_NOT_SAVED)
            return
        job.ledger.expect(KIND, 1)
        path = f"{notebook_dir}/{dst_id}/{saved.name}" if dst_id else ""
        if path and databricks.workspace_object(rest, path) is not None:
            job.ledger.record(KIND, "unchanged", src_id, dst_id=path)
            return
        if path and not job.dry_run:
            databricks.make_directory(rest, posixpath.dirname(path))
            _bring(rest, path, saved, directory, folder)
    except (Stopped, Gone):
        raise
    except (MlflowExportImportException, OSError) as ex:
        job.lost(KIND, src_id, ex, LOSS)
        return
    job.ledger.record(KIND, "copied", src_id, dst_id=path or None)


def _bring(rest: RestClient, path: str, saved: SavedNotebook, directory: ExportDir, folder: str) -> None:
    notebook_format = next((one for one in FORMATS if one in saved.files), None)
    if notebook_format is None:
        raise BadDirectory(f"{directory.path} has the manifest of a notebook but none of its files")
    place = f"{folder}/{saved.files[notebook_format]}"
    with directory.open_read(place) as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise BadDirectory(f"{directory.path}/{place} is too large for a notebook")
    language = ""
    if notebook_format == "SOURCE":
        language = saved.language or _language_in(content)
        if not language:
            raise BadDirectory(f"{directory.path}/{place} does not tell its language: it is no source of a notebook")
    databricks.import_notebook(rest, path, content, notebook_format, language)
