"""A notebook's source in the formats of the workspace API, there and back."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import urllib.parse
import zipfile
from typing import Any, Dict, List, Tuple

from tests.databricks.standin.platform import invalid

#: language -> comment sign, file name extension
LANGUAGES = {"PYTHON": ("#", "py"), "SQL": ("--", "sql"), "SCALA": ("//", "scala"), "R": ("#", "r")}
_MODEL = re.compile(r"__DATABRICKS_NOTEBOOK_MODEL = '([^']*)'")


def export(source: str, language: str, name: str, wanted: str) -> Tuple[bytes, str]:
    """Return the file of a notebook and its extension.

    :raises ApiError: The format is unknown.
    """
    if wanted in ("SOURCE", "AUTO"):
        return source.encode(), LANGUAGES[language][1]
    if wanted == "HTML":
        model = base64.b64encode(urllib.parse.quote(json.dumps(_model(source, language, name))).encode()).decode()
        text = f"<!DOCTYPE html>\n<html><head><title>{html.escape(name)} - Databricks</title></head>\n<body>"
        return f"{text}<script>var __DATABRICKS_NOTEBOOK_MODEL = '{model}'</script></body></html>\n".encode(), "html"
    if wanted == "JUPYTER":
        return json.dumps(_jupyter(source, language, name), indent=1).encode(), "ipynb"
    if wanted == "DBC":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr(f"{name}.{language.lower()}", json.dumps(_model(source, language, name)))
        return archive.getvalue(), "dbc"
    raise invalid(f"{wanted} is not a supported export format")


def parse(content: bytes, given: str, language: str) -> Tuple[str, str]:
    """Return the source and language of an imported file.

    :param given: Its format.
    :param language: As the request names it; empty if it doesn't.
    :raises ApiError: It can't be read as that.
    """
    try:
        if given == "SOURCE":
            if language not in LANGUAGES:
                raise invalid("The language must be specified when the format is SOURCE")
            return content.decode(), language
        if given == "HTML":
            match = _MODEL.search(content.decode())
            if not match:
                raise ValueError("no notebook model")
            return _of_model(json.loads(urllib.parse.unquote(base64.b64decode(match[1]).decode())))
        if given == "JUPYTER":
            return _of_jupyter(json.loads(content))
        if given == "DBC":
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                return _of_model(json.loads(packed.read(packed.namelist()[0])))
    except (ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise invalid(f"The notebook could not be parsed as {given}: {error}") from None
    raise invalid(f"{given} is not a supported import format")


def _cells(source: str, language: str) -> List[str]:
    sign = LANGUAGES[language][0]
    header = f"{sign} Databricks notebook source\n"
    text = source[len(header) :] if source.startswith(header) else source
    return text.rstrip("\n").split(f"\n\n{sign} COMMAND ----------\n\n")


def _joined(cells: List[str], language: str) -> str:
    sign = LANGUAGES[language][0]
    return f"{sign} Databricks notebook source\n" + f"\n\n{sign} COMMAND ----------\n\n".join(cells) + "\n"


def _model(source: str, language: str, name: str) -> Dict[str, Any]:
    commands = [
        {"version": "CommandV1", "position": float(n + 1), "command": cell}
        for n, cell in enumerate(_cells(source, language))
    ]
    return {"version": "NotebookV1", "name": name, "language": language.lower(), "commands": commands}


def _of_model(model: Dict[str, Any]) -> Tuple[str, str]:
    language = model["language"].upper()
    return _joined([command["command"] for command in model["commands"]], language), language


def _jupyter(source: str, language: str, name: str) -> Dict[str, Any]:
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": cell.splitlines(keepends=True),
        }
        for cell in _cells(source, language)
    ]
    metadata = {
        "application/vnd.databricks.v1+notebook": {"language": language.lower(), "notebookName": name},
        "language_info": {"name": language.lower()},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 0}


def _of_jupyter(document: Dict[str, Any]) -> Tuple[str, str]:
    metadata = document.get("metadata", {})
    own = metadata.get("application/vnd.databricks.v1+notebook", {})
    language = (own.get("language") or metadata.get("language_info", {}).get("name") or "python").upper()
    return _joined(["".join(cell["source"]) for cell in document["cells"]], language), language
