"""Copies one registered model, with the experiments of its runs, out of a directory of several models."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List, Optional, Tuple

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope, write_document
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_experiment, read_model, run_dirs
from mlflow_migration.common.session import input_dir as existing_dir
from mlflow_migration.common.session import run_command

SCRIPT = "filter_one_model.py"

Dct = Dict[str, Any]


def filter_one_model(
    input_dir: str,
    output_dir: str,
    src_model: str,
    dst_model: Optional[str] = None,
    dst_experiment: Optional[str] = None,
    *,
    job: Optional[Job] = None,
) -> None:
    """Copy one registered model, with the experiments of its runs, into a directory of its own.

    :param input_dir: Directory with ``models`` and ``experiments``, as ``export-models`` and ``export-all`` make it.
    :param output_dir: The new directory; it must be empty or absent.
    :param src_model: Name of the model.
    :param dst_model: Name that it gets; default the one that it has.
    :param dst_experiment: Name that its experiment gets; likewise. Only for a model whose runs are all of one.
    :param job: Gets a record of what is copied.
    :raises BadInput: There is no such model, or a directory or name can't be used.
    :raises BadDirectory: A file of the directory can't be read or trusted; nothing is copied.
    """
    source, target = existing_dir(input_dir), ExportDir(output_dir)
    _check_target(source, target)
    model_dir = _model_dir(source, src_model)
    model = read_model(model_dir)
    experiments = _experiments_of(source, model["versions"])
    if dst_experiment and len(experiments) != 1:
        names = ", ".join(name for name, _ in experiments.values()) or "none"
        raise BadInput(f"--dst-experiment is for a model whose runs are of one experiment; {src_model} has: {names}.")
    new_name = dst_model or src_model
    renames = {name: dst_experiment or name for name, _ in experiments.values()}
    copies = [(model_dir, target.sub("models", safe_name(new_name)))]
    copies += [(source.sub("experiments", key), target.sub("experiments", key)) for key in experiments]
    # all of it is looked at first, so that nothing stays half done for a file that can't be trusted
    files = [list(directory.files()) for directory, _ in copies]
    model_doc = _renamed_model(model_dir, new_name, renames)
    experiment_docs = [_renamed_experiment(source.sub("experiments", key), dst_experiment) for key in experiments]
    for (directory, copy), found in zip(copies, files):
        _copy(directory, copy, [rel for rel, _ in found])
    write_document(copies[0][1], "model.json", model_doc)
    for (_, copy), doc in zip(copies[1:], experiment_docs):
        write_document(copy, "experiment.json", doc)
    _write_indexes(target, new_name, experiments, renames)
    if job is not None:
        job.ledger.record("registered_model", "copied", src_model, dst_id=new_name)
        for key, (name, _) in experiments.items():
            job.ledger.record("experiment", "copied", key, name=renames[name])


def _check_target(source: ExportDir, target: ExportDir) -> None:
    if source.is_local and target.is_local:
        inside, outside = os.path.realpath(target.path), os.path.realpath(source.path)
        if os.path.commonpath([inside, outside]) == outside:
            raise BadInput(f"{target.path} is in {source.path}: choose a directory outside of it.")
    taken = os.listdir(target.path) if target.is_local and target.exists() else list(target.files())
    if taken:
        raise BadInput(f"{target.path} is not empty: choose a new directory.")


def _model_dir(source: ExportDir, name: str) -> ExportDir:
    models = source.sub("models")
    for folder in dict.fromkeys((name, safe_name(name))):
        if folder in models.names() and models.sub(folder).exists("model.json"):
            return models.sub(folder)
    there = models.names()
    known = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "")
    raise BadInput(f"There is no model {name} in {models.path}; there are: {known or 'none'}.")


def _experiments_of(source: ExportDir, versions: List[Dct]) -> Dict[str, Tuple[str, int]]:
    """Return the experiments that have runs of the versions: name and number of runs by the name of the directory."""
    run_ids = {version["run_id"] for version in versions} - {""}
    names = {str(version.get("_experiment_name") or "") for version in versions} - {""}
    found: Dict[str, Tuple[str, int]] = {}
    parent = source.sub("experiments")
    for key in parent.names():
        directory = parent.sub(key)
        if not directory.exists("experiment.json"):
            continue
        name = read_experiment(directory)["experiment"]["name"] or ""
        runs = {run_id for run_id, _ in run_dirs(directory)}
        if runs & run_ids or name in names:
            found[key] = (name, len(runs))
    return found


def _renamed_model(directory: ExportDir, name: str, experiments: Dict[str, str]) -> Dct:
    doc = directory.read_json("model.json")
    fields = _body(doc)["registered_model"]
    fields["name"] = name
    for key in ("versions", "latest_versions"):
        for version in fields.get(key) or ():
            version["name"] = name
            experiment = str(version.get("_experiment_name"))
            if experiment in experiments:
                version["_experiment_name"] = experiments[experiment]
    return doc


def _renamed_experiment(directory: ExportDir, name: Optional[str]) -> Dct:
    doc = directory.read_json("experiment.json")
    if name:
        _body(doc)["experiment"]["name"] = name
    return doc


def _body(doc: Dct) -> Dct:
    inner: Dct = doc.get("mlflow") or doc  # files of the oldest exports have no envelope
    return inner


def _copy(source: ExportDir, target: ExportDir, files: List[str]) -> None:
    for rel in files:
        with source.open_read(rel) as file, target.new_file(rel) as out:
            shutil.copyfileobj(file, out, 1024 * 1024)
            if out.size != source.size(rel):
                raise BadDirectory(f"{source.path}/{rel} has changed while it was copied")


def _write_indexes(
    target: ExportDir, model: str, experiments: Dict[str, Tuple[str, int]], renames: Dict[str, str]
) -> None:
    models = {"model_names": [model], "num_total_models": 1, "num_ok_models": 1, "num_failed_models": 0}
    listed = [
        {"id": key, "name": renames[name], "ok_runs": runs, "failed_runs": 0}
        for key, (name, runs) in experiments.items()
    ]
    info = {"experiment_names": [item["name"] for item in listed]}
    target.sub("models").write_json("models.json", envelope(SCRIPT, {"models": [model]}, models))
    target.sub("experiments").write_json("experiments.json", envelope(SCRIPT, {"experiments": listed}, info))
    target.write_json("manifest.json", envelope(SCRIPT, {}, {**models, **info}))


@command(
    "filter_one_model", "input_dir", "output_dir", "src_model", "dst_model", "dst_experiment",
    common=("quiet", "verbose"),
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the tool."""

    def work(job: Job) -> None:
        filter_one_model(
            options["input_dir"],
            options["output_dir"],
            options["src_model"],
            options["dst_model"],
            options["dst_experiment"],
            job=job,
        )

    return run_command("filter_one_model", options, None, "models", work)


if __name__ == "__main__":
    main()
