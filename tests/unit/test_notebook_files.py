"""Which files of a run's directory are those of its notebook, and none of its artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.notebook_files import notebook_paths, saved_notebook
from mlflow_migration.common.uploads import listed_files
from mlflow_migration.notebook.notebooks import formats_of, notebook_dir_of
from mlflow_migration.verify.files import DirectoryFiles

PATH = "mlflow.databricks.notebookPath"


def directory_with(tmp_path: Path, manifest: Any, *files: str) -> ExportDir:
    place = tmp_path / "artifacts" / "notebooks"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "artifacts" / "model.txt").write_text("x", encoding="utf-8")
    for file in files:
        (place / file).write_text("# Databricks notebook source\n", encoding="utf-8")
    return ExportDir(str(tmp_path))


def test_a_notebook_that_an_earlier_tool_has_saved_is_no_artifact(tmp_path: Path) -> None:
    directory = directory_with(tmp_path, {PATH: "/Users/m/nb", "formats": ["SOURCE"]}, "nb.source", "other.txt")
    assert {file["path"] for file in listed_files(directory, "artifacts", {})} == {"model.txt", "notebooks/other.txt"}
    files = DirectoryFiles(directory, "artifacts", None)
    assert files.there().keys() == {"model.txt", "notebooks/other.txt"}
    saved = saved_notebook(directory, "artifacts")
    assert saved is not None and saved.name == "nb" and saved.files == {"SOURCE": "notebooks/nb.source"}


def test_what_the_export_lists_is_an_artifact_whatever_its_name(tmp_path: Path) -> None:
    directory = directory_with(tmp_path, {PATH: "/Users/m/nb"}, "nb.source")
    listed = [{"path": "notebooks/nb.source", "size": 29}]
    assert listed_files(directory, "artifacts", {"artifacts": listed}) == listed
    files = DirectoryFiles(directory, "artifacts", listed)
    assert files.there().keys() == {"model.txt", "notebooks/nb.source"}


def test_a_manifest_of_something_else(tmp_path: Path) -> None:
    directory = directory_with(tmp_path, {"name": "nb"}, "nb.source")
    assert saved_notebook(directory, "artifacts") is None and notebook_paths(directory, "artifacts") == set()


@pytest.mark.parametrize("path", ["/Users/m/..", "/", "/Users/."])
def test_a_name_that_leads_elsewhere(tmp_path: Path, path: str) -> None:
    directory = directory_with(tmp_path, {PATH: path})
    with pytest.raises(BadDirectory):
        saved_notebook(directory, "artifacts")


def test_no_notebook(tmp_path: Path) -> None:
    assert saved_notebook(ExportDir(str(tmp_path)), "artifacts") is None


@pytest.mark.parametrize("given", ["source, dbc", ["SOURCE", "dbc"], ("Source", "DBC", "dbc")])
def test_formats(given: Any) -> None:
    options: Dict[str, Any] = {"notebook_formats": given}
    assert formats_of(options) == ("SOURCE", "DBC")


def test_bad_options() -> None:
    with pytest.raises(BadInput):
        formats_of({"notebook_formats": "SOURCE,PDF"})
    with pytest.raises(BadInput):
        notebook_dir_of({"dst_notebook_dir": "runs"})
    assert (notebook_dir_of({}), notebook_dir_of({"dst_notebook_dir": "/Shared/"})) == ("", "/Shared")
