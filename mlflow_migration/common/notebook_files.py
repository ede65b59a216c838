"""Notebooks in a directory: the files that an export of a run leaves beside its artifacts, and which are none."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Dict, Optional, Set

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.export_dir import ExportDir, safe_name

NOTEBOOK_PATH = "mlflow.databricks.notebookPath"
NOTEBOOK_REVISION = "mlflow.databricks.notebookRevisionID"
NOTEBOOKS = "notebooks"
"""Folder among the artifacts of a run."""
MANIFEST = "manifest.json"
FORMATS = ("SOURCE", "JUPYTER", "DBC", "HTML")
"""In the order in which they keep most of a notebook that is imported again."""
LANGUAGES = ("PYTHON", "SCALA", "SQL", "R")


@dataclass(frozen=True)
class SavedNotebook:
    """The notebook of a run in its directory.

    :param name: Its name, without its directory.
    :param language: One of LANGUAGES, empty if the export does not say.
    :param files: Paths of its files below the folder with artifacts, by format.
    """

    name: str
    language: str
    files: Dict[str, str]


def file_name(name: str, notebook_format: str) -> str:
    """Return the name of a notebook's file.

    :param name: Name of the notebook, without its directory.
    :param notebook_format: One of FORMATS.
    """
    return f"{safe_name(name)}.{notebook_format.lower()}"


def saved_notebook(directory: ExportDir, folder: str) -> Optional[SavedNotebook]:
    """Return the notebook that an export has saved with a run; None if it has saved none.

    :param directory: Of the run.
    :param folder: Its folder with artifacts.
    :raises BadDirectory: Its manifest can't be read.
    """
    manifest = f"{folder}/{NOTEBOOKS}/{MANIFEST}"
    if not directory.exists(manifest):
        return None
    doc = directory.read_json(manifest)
    path = doc.get(NOTEBOOK_PATH)
    if not isinstance(path, str):
        return None  # an artifact that only has this name
    name = posixpath.basename(path)
    if name in ("", ".", ".."):
        raise BadDirectory(f"{directory.path}/{manifest} names no notebook: {path!r}")
    language = str(doc.get("language") or "").upper()
    files: Dict[str, str] = {}
    for notebook_format in FORMATS:
        for file in (file_name(name, notebook_format), f"{name}.{notebook_format.lower()}"):  # others write it raw
            rel = f"{NOTEBOOKS}/{file}"
            if directory.exists(f"{folder}/{rel}"):
                files.setdefault(notebook_format, rel)
    return SavedNotebook(name, language if language in LANGUAGES else "", files)


def notebook_paths(directory: ExportDir, folder: str) -> Set[str]:
    """Return the paths, below the folder with artifacts, of the files of a run's notebook; they are no artifacts."""
    try:
        saved = saved_notebook(directory, folder)
    except BadDirectory:
        return set()  # whatever it is, it is no notebook
    return set() if saved is None else {f"{NOTEBOOKS}/{MANIFEST}", *saved.files.values()}
