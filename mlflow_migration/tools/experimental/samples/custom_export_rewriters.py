"""Sample for rewrite_export: keeps the latest two versions of each model, and gives each experiment another name."""

from typing import Any, Dict

VERSIONS = 2
PREFIX = "moved/"


def rewrite_model(dct: Dict[str, Any], dir: str) -> None:
    """Change the document of a model.json.

    :param dct: The document: "system", "info" and "mlflow".
    :param dir: The directory that the file is in.
    """
    model = dct["mlflow"]["registered_model"]
    model["versions"] = sorted(model["versions"], key=lambda version: int(version["version"]))[-VERSIONS:]


def rewrite_experiment(dct: Dict[str, Any], dir: str) -> None:
    """Change the document of an experiment.json; see rewrite_model."""
    experiment = dct["mlflow"]["experiment"]
    experiment["name"] = PREFIX + experiment["name"]
