"""Signatures in MLmodel files: read and written without making anything else of the file."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import MlflowExportImportException

Signature = Dict[str, Any]

KEYS = ("inputs", "outputs", "params")
_KEY = "signature"
_AFTER = re.compile(r"(?:(?<=\n)[ \t]*(?:#.*)?(?:\r?\n|\Z))*\Z")  # comments and empty lines


def to_json_signature(sig: Any) -> Signature:
    """Return a signature with its schemas as lists and dictionaries, where MLmodel files have JSON in texts.

    :param sig: MLflow's ``ModelSignature``, or what its ``to_dict`` gives: a text for each key.
    :return: ``inputs``, ``outputs`` and ``params``; what the signature lacks is None.
    :raises MlflowExportImportException: A schema is no JSON.
    """
    texts = sig if isinstance(sig, Mapping) else sig.to_dict()
    try:
        return {key: json.loads(texts[key]) if texts.get(key) else None for key in KEYS}
    except (ValueError, TypeError) as ex:
        raise MlflowExportImportException(ex, f"its signature is none that MLflow writes: {ex}") from ex


def read_signature(content: bytes) -> Optional[Signature]:
    """Return the signature of an MLmodel file as :func:`to_json_signature` does, None if it has none.

    :raises MlflowExportImportException: The file is broken.
    """
    # nodes only, and of the signature alone: a few lines of YAML can stand for more than the memory holds
    root = _compose(_text(content))
    pairs = [value for key, value in root.value if key.value == _KEY]
    if not pairs or _is_null(pairs[-1]):
        return None
    texts = {key.value: None if _is_null(value) else value.value for key, value in _pairs(pairs[-1])}
    signature = to_json_signature(texts)
    return signature if any(value is not None for value in signature.values()) else None


def with_signature(content: bytes, texts: Mapping[str, Optional[str]]) -> bytes:
    """Return an MLmodel file with another signature; all else stays byte for byte.

    :param content: The file.
    :param texts: What the ``to_dict`` of a ``ModelSignature`` gives.
    :raises MlflowExportImportException: The file is broken, or not laid out as MLflow does it.
    """
    import yaml

    text = _text(content)
    root = _compose(text)
    block = yaml.safe_dump({_KEY: dict(texts)}, sort_keys=False, allow_unicode=True)
    if root.flow_style:
        raise MlflowExportImportException("its MLmodel file is written in one piece, as JSON, and is left as it is")
    start = end = root.end_mark.index
    starts = [key.start_mark.index for key, _ in root.value] + [end]
    for number, (key, _) in enumerate(root.value):
        if key.value == _KEY:
            start, end = starts[number], starts[number + 1]
            end -= len(_AFTER.search(text[start:end])[0])  # type: ignore[index]  # it matches nothing at least
    before = text[:start]
    if before and not before.endswith("\n"):
        before += "\n"
    changed = (before + block + text[end:]).encode()
    if read_signature(changed) != to_json_signature(texts):
        raise MlflowExportImportException("its MLmodel file can't be given a signature")
    return changed


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as ex:
        raise MlflowExportImportException(ex, "its MLmodel file is not UTF-8") from ex


def _compose(text: str) -> Any:
    import yaml

    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as ex:
        raise MlflowExportImportException(ex, f"its MLmodel file is no YAML: {' '.join(str(ex).split())}") from ex
    if not isinstance(root, yaml.MappingNode):
        raise MlflowExportImportException("its MLmodel file is no YAML mapping")
    return root


def _pairs(node: Any) -> List[Tuple[Any, Any]]:
    pairs = node.value if isinstance(node.value, list) else None
    if pairs is None or not all(isinstance(pair, tuple) and isinstance(pair[1].value, str) for pair in pairs):
        raise MlflowExportImportException("its signature is none that MLflow writes: it holds no texts")
    return list(pairs)


def _is_null(node: Any) -> bool:
    return str(node.tag) == "tag:yaml.org,2002:null"
