"""Shows the signature of a model."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any, Optional

from mlflow_migration.client.errors import BadInput
from mlflow_migration.common import log
from mlflow_migration.common.cli import command, echo
from mlflow_migration.common.io_utils import write_file
from mlflow_migration.tools.model_files import MLMODEL, ModelFile, open_model
from mlflow_migration.tools.signature_utils import Signature, read_signature, to_json_signature

_log = log.getLogger(__name__)


def get_model_signature(
    model_uri: str,
    use_get_model_info: bool = False,
    *,
    tracking_uri: Optional[str] = None,
    registry_uri: Optional[str] = None,
    mlflow_client: Any = None,
) -> Optional[Signature]:
    """Return the signature of a model.

    :param model_uri: ``models:/NAME/VERSION`` (or a stage, or ``latest``), ``models:/NAME@ALIAS``, ``models:/m-ID``,
        ``runs:/ID/PATH``, or the location of a model's artifacts.
    :param use_get_model_info: Let MLflow read the MLmodel file, as ``get_model_info`` does: slower, and it checks it.
    :param tracking_uri: The tracking server; default as for every command.
    :param registry_uri: The server with the registry; likewise.
    :param mlflow_client: A given MlflowClient: it decides servers and credentials.
    :return: ``inputs``, ``outputs`` and ``params`` as lists of dictionaries, None for what there is not; None if the
        model has no signature.
    :raises MlflowExportImportException: There is no such model, or its MLmodel file can't be read.
    """
    with open_model(model_uri, "src", tracking_uri, registry_uri, mlflow_client) as file:
        return signature_of(file, use_get_model_info)


def signature_of(file: ModelFile, use_get_model_info: bool = False) -> Optional[Signature]:
    """Return the signature of a model whose MLmodel file is known; see :func:`get_model_signature`."""
    content = file.read()
    return by_mlflow(content) if use_get_model_info else read_signature(content)


def by_mlflow(content: bytes) -> Optional[Signature]:
    """Return the signature of an MLmodel file as MLflow reads it.

    :raises BadInput: MLflow can't, for want of a package.
    """
    read_signature(content)  # what is no YAML is refused here, in our words
    try:
        from mlflow.models import Model

        with tempfile.TemporaryDirectory(prefix="mlflow-migration-") as folder:
            with open(os.path.join(folder, MLMODEL), "wb") as out:
                out.write(content)
            signature = Model.load(folder).signature
    except ImportError as ex:
        raise BadInput(f"MLflow needs the package {ex.name} to read signatures (pip install mlflow).") from ex
    return None if signature is None else to_json_signature(signature)


@command(
    "get-model-signature", "tracking_uri", "registry_uri", "model_uri", "use_get_model_info", "output_file",
    common=("quiet", "verbose"), prints_data=True,
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""
    signature = get_model_signature(
        options["model_uri"],
        options["use_get_model_info"],
        tracking_uri=options["tracking_uri"],
        registry_uri=options["registry_uri"],
    )
    if signature is None:
        _log.warning("%s has no signature.", options["model_uri"])
    if options["output_file"]:
        write_file(options["output_file"], signature, "json")
    else:
        echo(json.dumps(signature, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    main()
