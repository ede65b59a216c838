"""Finds and reads the files of a directory's objects, whoever wrote them; each error names the file."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, describe
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.old_layouts import (
    Dct,
    canonical_evaluation_dataset,
    canonical_evaluation_datasets,
    canonical_experiment,
    canonical_experiments,
    canonical_info,
    canonical_logged_model,
    canonical_logged_models,
    canonical_model,
    canonical_models,
    canonical_points,
    canonical_prompt,
    canonical_prompts,
    canonical_record,
    canonical_run,
    canonical_version_file,
)

T = TypeVar("T")


def run_dirs(exp_dir: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the id and the directory of each run of an exported experiment, each once.

    :param exp_dir: The experiment's directory: runs lie right in it or in its ``runs``.
    :return: Those that ``experiment.json`` lists come first, in its order, also if their file is missing: reading it
        then says so. Those only found on the disk, with a ``run.json``, follow.
    :raises BadDirectory: ``experiment.json`` can't be read.
    """
    return _object_dirs(_listed(exp_dir)["runs"], [exp_dir, exp_dir.sub("runs")], "run.json")


def logged_model_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the id and the directory of each logged model in ``logged_models``, each once; see :func:`run_dirs`.

    :param directory: Of an experiment, a run or a registered model. Beside the latter's runs another tool has put them.
    """
    listed = _listed(directory)["logged_models"]
    beside_runs = [directory] if holds(directory, "model.json") else []
    return _object_dirs(listed, [directory.sub("logged_models"), *beside_runs], "logged_model.json")


def trace_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the id and the directory of each trace in ``traces``, each once; see :func:`run_dirs`.

    :param directory: Of an experiment or a run.
    """
    return _object_dirs(_listed(directory)["traces"], [directory.sub("traces")], "trace.json")


def object_dirs(directory: ExportDir, ids: Sequence[str]) -> List[Tuple[str, ExportDir]]:
    """Return ids and directories of runs or logged models that lie right in a directory, also of those not there."""
    return [(object_id, directory.sub(safe_name(object_id))) for object_id in ids]


def read_run(directory: ExportDir) -> Dct:
    """Return the run of a directory; see :func:`canonical_run`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "run.json", canonical_run)


def read_experiment(directory: ExportDir) -> Dct:
    """Return the experiment of a directory; see :func:`canonical_experiment`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "experiment.json", canonical_experiment)


def experiment_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the id and the directory of each experiment of a directory, each once; see :func:`run_dirs`."""
    return _object_dirs(read_experiments(directory)["ids"], [directory], "experiment.json")


def read_experiments(directory: ExportDir) -> Dct:
    """Return what the list of a directory's experiments says; see :func:`canonical_experiments`.

    :raises BadDirectory: The file can't be read; it is named.
    """
    return _read(directory, "experiments.json", canonical_experiments)


def read_logged_model(directory: ExportDir) -> Tuple[Dct, Dct]:
    """Return the logged model of a directory and what the export says about it.

    See :func:`canonical_logged_model` and :func:`canonical_info`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(
        directory, "logged_model.json", lambda doc: (canonical_logged_model(doc), canonical_info(doc.get("info")))
    )


def read_logged_models(directory: ExportDir) -> Dct:
    """Return what the list of a directory's logged models says; see :func:`canonical_logged_models`.

    :raises BadDirectory: The file can't be read; it is named.
    """
    return _read(directory, "logged_models.json", canonical_logged_models)


def read_model(directory: ExportDir) -> Dct:
    """Return the registered model of a directory; see :func:`canonical_model`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "model.json", canonical_model)


def model_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return the name and the directory of each registered model of a directory, each once; see :func:`run_dirs`."""
    return _object_dirs(read_models(directory)["names"], [directory], "model.json")


def read_models(directory: ExportDir) -> Dct:
    """Return what the list of a directory's registered models says; see :func:`canonical_models`.

    :raises BadDirectory: The file can't be read; it is named.
    """
    return _read(directory, "models.json", canonical_models)


def read_version(directory: ExportDir) -> Dct:
    """Return the model version of a directory; see :func:`canonical_version`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "version.json", canonical_version_file)


def prompt_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return name and directory of each version of a prompt, sorted by name."""
    return _dirs_with("prompt.json", directory)


def read_prompt(directory: ExportDir) -> Dct:
    """Return the version of a prompt of a directory; see :func:`canonical_prompt`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "prompt.json", canonical_prompt)


def read_prompts(directory: ExportDir) -> Dct:
    """Return what a directory's summary says about its prompts; see :func:`canonical_prompts`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "prompts_summary.json", canonical_prompts)


def evaluation_dataset_dirs(directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    """Return name and directory of each evaluation dataset, sorted by name."""
    return _dirs_with("evaluation_dataset.json", directory)


def read_evaluation_dataset(directory: ExportDir) -> Dct:
    """Return the evaluation dataset of a directory; see :func:`canonical_evaluation_dataset`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "evaluation_dataset.json", canonical_evaluation_dataset)


def read_evaluation_datasets(directory: ExportDir) -> Dct:
    """Return what a directory's summary says; see :func:`canonical_evaluation_datasets`.

    :raises BadDirectory: Its file can't be read; it is named.
    """
    return _read(directory, "evaluation_datasets_summary.json", canonical_evaluation_datasets)


def read_records(doc: Dct, directory: ExportDir) -> Iterator[Dct]:
    """Yield the records of an evaluation dataset, whatever their number; see :func:`canonical_record`.

    :param doc: The dataset as :func:`read_evaluation_dataset` returns it.
    :param directory: Its directory, for the file that may hold them.
    :raises BadDirectory: One can't be read, or there are others than there are to be.
    """
    place, number = f"{directory.path}/evaluation_dataset.json", len(doc["records"])
    for item in doc["records"]:
        yield _named(place, canonical_record, item)
    if doc["records_file"]:
        place = f"{directory.path}/{doc['records_file']}"
        for number, line in enumerate(directory.lines(doc["records_file"]), 1):
            yield _named(f"{place}: line {number}", lambda text: canonical_record(_json(text)), line)
    if doc["num_records"] not in (None, number):
        raise BadDirectory(f"{place} has {number} records instead of {doc['num_records']}")


def _json(text: bytes) -> Any:
    try:
        return json_codec.loads(text)
    except (ValueError, RecursionError) as ex:
        raise BadDirectory(f"it is no JSON: {describe(ex)}") from ex


def read_info(directory: ExportDir, file: str) -> Optional[Dct]:
    """Return what the export says about the object of a file, None if there is no such file; see `canonical_info`.

    :raises BadDirectory: It can't be read; it is named.
    """
    info = directory.read_info(file)
    return None if info is None else _named(f"{directory.path}/{file}", canonical_info, info)


def old_info(directory: ExportDir, file: str) -> Optional[Dct]:
    """Return the same of a file that is going to be written anew: one that can't be read says nothing."""
    try:
        return read_info(directory, file)
    except BadDirectory:
        return {}


def read_points(directory: ExportDir, file: str) -> Iterator[Tuple[str, List[Dct]]]:
    """Yield key and points, some of a metric at a time, of a run's side file; points as in :func:`canonical_run`.

    :raises BadDirectory: It can't be read; it is named.
    """
    for number, line in enumerate(directory.lines(file), 1):
        yield _named(f"{directory.path}/{file}: line {number}", canonical_points, line)


def _listed(directory: ExportDir) -> Dct:
    if not directory.exists("experiment.json"):
        return {"runs": [], "logged_models": [], "traces": []}
    return read_experiment(directory)


def _object_dirs(listed: List[str], parents: List[ExportDir], file: str) -> List[Tuple[str, ExportDir]]:
    on_disk: Dict[str, ExportDir] = {}
    for parent in reversed(parents):  # the first parent wins
        for name in parent.names():
            directory = _sub(parent, name)
            if holds(directory, file):
                on_disk[name] = directory
    found: Dict[str, ExportDir] = {}
    for object_id in listed:
        known = next((name for name in (object_id, safe_name(object_id)) if name in on_disk), None)
        found[object_id] = on_disk.pop(known) if known else _sub(parents[0], object_id)
    found.update(on_disk)
    return list(found.items())


def _dirs_with(file: str, directory: ExportDir) -> List[Tuple[str, ExportDir]]:
    found = [(name, _sub(directory, name)) for name in directory.names()]
    return sorted((item for item in found if holds(item[1], file)), key=lambda item: item[0])


def _sub(parent: ExportDir, name: str) -> ExportDir:
    """Return a directory by its name; under the safe form of a hostile one nothing is found, and the reader says so."""
    try:
        return parent.sub(name)
    except BadDirectory:
        return parent.sub(safe_name(name))


def holds(directory: ExportDir, file: str) -> bool:
    """Tell whether a directory has a file, be it one that can't be read."""
    try:
        return directory.exists(file)
    except BadDirectory:
        return True  # a symlink: reading it will say so


def _read(directory: ExportDir, file: str, shape: Callable[[Dct], T]) -> T:
    return _named(f"{directory.path}/{file}", shape, directory.read_json(file))


def _named(place: str, shape: Callable[[Any], T], content: Any) -> T:
    try:
        return shape(content)
    except BadDirectory as ex:
        raise BadDirectory(f"{place}: {ex.message}") from ex
