"""JSON in and out of the package: strict when written, forgiving to bare NaN when read."""

from __future__ import annotations

import json
import math
from typing import Any, Union

import orjson


def loads(data: Union[bytes, str]) -> Any:
    """Return the decoded document.

    :param data: JSON text; MLflow's bulk history and old exports may hold the bare literals NaN and Infinity.
    :raises ValueError: It is no JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def dumps(doc: Any) -> bytes:
    """Return the document as compact strict JSON.

    :raises ValueError: It holds NaN or an infinity outside of a string: a server would store these as 0.
    """
    text = orjson.dumps(doc)
    # orjson writes NaN as null; only a document that has a null needs the slow look
    if b"null" in text:
        _refuse_nan(doc)
    return text


def _refuse_nan(doc: Any) -> None:
    if isinstance(doc, float):
        if not math.isfinite(doc):
            raise ValueError(f"the number {doc} is not strict JSON")
    elif isinstance(doc, dict):
        for value in doc.values():
            _refuse_nan(value)
    elif isinstance(doc, (list, tuple)):
        for value in doc:
            _refuse_nan(value)


def encode_number(value: Any) -> Any:
    """Return a metric value as MLflow's REST API takes it: NaN and infinities as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
