"""Rewrites the files of registered models and experiments in a directory by functions of the user's own."""

from __future__ import annotations

import copy
import os
import runpy
from typing import Any, Callable, Dict, List, Optional

from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import write_document
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import holds
from mlflow_migration.common.session import input_dir as existing_dir
from mlflow_migration.common.session import run_command

Dct = Dict[str, Any]
Rewriter = Callable[[Dct, str], Optional[Dct]]

_KINDS = {"registered_model": ("model.json", "rewrite_model"), "experiment": ("experiment.json", "rewrite_experiment")}


def rewrite_export(input_dir: str, custom_rewriters_module: str, job: Job) -> None:
    """Rewrite each ``model.json`` and ``experiment.json`` of a directory; ``.backup`` beside it has what it was.

    A file that has been rewritten, as its backup shows, is left alone: so a repeat goes on where the last one ended.

    :param input_dir: Directory of an export: of one object, or of several with ``models`` and ``experiments``.
    :param custom_rewriters_module: Python file with ``rewrite_model(dct, dir)`` or ``rewrite_experiment(dct, dir)`` or
        both. They get the document of the file and its directory, and change the document or return another.
    :param job: Gets a record of each file. The functions are called on its threads: one worker is one after the other.
    :raises BadInput: The functions can't be had, or there is nothing to rewrite.
    """
    directory = existing_dir(input_dir)
    rewriters = _load(custom_rewriters_module, directory)
    found = [
        (kind, place, rewrite)
        for place in _places(directory)
        for kind, rewrite in rewriters.items()
        if holds(place, _KINDS[kind][0])
    ]
    if not found:
        files = " and no ".join(_KINDS[kind][0] for kind in rewriters)
        raise BadInput(f"There is no {files} in {input_dir}.")
    for outcome in job.executor.imap(lambda item: _rewrite(item[1], _KINDS[item[0]][0], item[2]), found):
        kind, place, _ = outcome.item
        if outcome.error is not None:
            job.failed(kind, place.path, outcome.error)
        else:
            job.ledger.record(kind, outcome.get(), place.path)


def _load(path: str, directory: ExportDir) -> Dict[str, Rewriter]:
    if not os.path.isfile(path):
        raise BadInput(f"There is no file {path} with functions that rewrite.")
    if directory.is_local:
        module, top = os.path.realpath(path), os.path.realpath(directory.path)
        if module.startswith(top + os.sep):
            raise BadInput(f"{path} is in {directory.path}, of which nothing is executed: move it elsewhere.")
    functions = runpy.run_path(path)
    rewriters = {kind: functions[name] for kind, (_, name) in _KINDS.items() if callable(functions.get(name))}
    if not rewriters:
        raise BadInput(f"{path} has neither a function rewrite_model(dct, dir) nor rewrite_experiment(dct, dir).")
    return rewriters


def _places(directory: ExportDir) -> List[ExportDir]:
    parents = [directory, directory.sub("models"), directory.sub("experiments")]
    return [directory, *(parent.sub(name) for parent in parents for name in parent.names())]


def _rewrite(place: ExportDir, file: str, rewrite: Rewriter) -> str:
    with place.open_read(file) as source:
        before = source.read(place.check_json_size(file) + 1)
    backup = f"{file}.backup"
    if place.exists(backup):
        with place.open_read(backup) as saved:
            if saved.read() != before:
                return "unchanged"
    doc = place.read_json(file)
    given = copy.deepcopy(doc)
    returned = rewrite(given, place.path)
    result = given if returned is None else returned
    if not isinstance(result, dict):
        raise MlflowExportImportException(f"the function returns a {type(result).__name__}, no dictionary")
    if result == doc:
        return "unchanged"
    place.write_json(backup, before)
    write_document(place, file, result)
    return "updated"


@command("rewrite_export", "input_dir", "custom_rewriters_module", common=("quiet", "verbose"))
def main(**options: Any) -> int:
    """Run the tool."""
    return run_command(
        "rewrite_export",
        {**options, "workers": 1},
        None,
        "files",
        lambda job: rewrite_export(options["input_dir"], options["custom_rewriters_module"], job),
    )


if __name__ == "__main__":
    main()
