"""Gives a model a signature that fits samples of its data."""

from __future__ import annotations

from typing import Any, Dict, Optional

from mlflow_migration.client.errors import BadInput
from mlflow_migration.common import log
from mlflow_migration.common.cli import command
from mlflow_migration.tools.model_files import open_model
from mlflow_migration.tools.signature_utils import read_signature, to_json_signature, with_signature

_log = log.getLogger(__name__)


def set_signature(
    model_uri: str,
    input_file: str,
    output_file: Optional[str],
    overwrite_signature: bool,
    *,
    tracking_uri: Optional[str] = None,
    registry_uri: Optional[str] = None,
    mlflow_client: Any = None,
) -> None:
    """Infer a signature from samples, and write it into the MLmodel file of a model; all else in it stays.

    A registered version has no file of its own: what it is made from, a run's or a logged model, gets the signature.

    :param model_uri: As for :func:`mlflow_migration.tools.get_model_signature.get_model_signature`.
    :param input_file: CSV file with a sample of what the model gets, its first line the names of the columns.
    :param output_file: CSV file with a sample of what the model returns; None for a signature of inputs alone.
    :param overwrite_signature: Also if the model has a signature already.
    :param tracking_uri: The tracking server; default as for every command.
    :param registry_uri: The server with the registry; likewise.
    :param mlflow_client: A given MlflowClient: it decides servers and credentials.
    :raises BadInput: The model has a signature, or a sample can't be read, or the model lies where only the registry
        knows of it.
    :raises MlflowExportImportException: There is no such model, or its MLmodel file can't be read or written.
    """
    with open_model(model_uri, "dst", tracking_uri, registry_uri, mlflow_client) as file:
        if file.is_registrys:
            raise BadInput(
                f"{model_uri} is made from {file.uri}, which belongs to no run or logged model that is still there: a "
                "version itself can't be given a signature."
            )
        content = file.read()
        if read_signature(content) is not None and not overwrite_signature:
            raise BadInput(f"{model_uri} has a signature already; give --overwrite-signature to replace it.")
        inputs = _sample(input_file, "--input-file")
        outputs = _sample(output_file, "--output-file") if output_file else None
        texts = _inferred(inputs, outputs)
        if file.uri != model_uri.strip().rstrip("/"):
            _log.info("%s is made from %s: the signature is set there.", model_uri, file.uri)
        file.write(with_signature(content, texts))


def _sample(path: str, option: str) -> Any:
    import pandas

    try:
        with open(path, "rb") as file:
            frame = pandas.read_csv(file)
    except OSError as ex:
        raise BadInput(f"The file {path} of {option} can't be read: {ex.strerror}.") from ex
    except ValueError as ex:  # pandas' own errors are ones
        raise BadInput(f"The file {path} of {option} is no CSV: {' '.join(str(ex).split())}.") from ex
    if frame.empty:
        raise BadInput(f"The file {path} of {option} has no lines but the names of the columns.")
    return frame


def _inferred(inputs: Any, outputs: Any) -> Dict[str, Any]:
    """Return the signature that fits samples, as MLmodel files have it."""
    try:
        from mlflow.models.signature import infer_signature

        texts: Dict[str, Any] = infer_signature(inputs, outputs).to_dict()
    except ImportError as ex:
        raise BadInput(f"MLflow needs the package {ex.name} to infer a signature (pip install mlflow).") from ex
    found = to_json_signature(texts)
    for key, frame in (("inputs", inputs), ("outputs", outputs)):
        names = [column.get("name") for column in found[key] or ()]
        # newer ones then take a signature that fits anything, and only warn
        if frame is not None and names != list(frame.columns):
            raise BadInput("MLflow can't infer a signature; it may lack a package such as scipy (pip install mlflow).")
    return texts


@command(
    "set-model-signature", "tracking_uri", "registry_uri", "model_uri", "input_file", "output_file",
    "overwrite_signature", common=("quiet", "verbose"),
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    set_signature(
        options["model_uri"],
        options["input_file"],
        options["output_file"],
        options["overwrite_signature"],
        tracking_uri=options["tracking_uri"],
        registry_uri=options["registry_uri"],
    )
    _log.info("%s has a new signature.", options["model_uri"])
    return 0


if __name__ == "__main__":
    main()
