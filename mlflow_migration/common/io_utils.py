"""The envelope of an export's files, and the reading and writing functions that users of today's tools call."""

from __future__ import annotations

import functools
import getpass
import json
import os
import platform
import posixpath
from typing import Any, Dict, Mapping, Optional, Tuple

import orjson

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import redact
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.source_tags import ExportFields
from mlflow_migration.common.timestamp_utils import ts_now_fmt_utc, ts_now_seconds

export_file_version = "2"


def envelope(
    script: str,
    mlflow: Mapping[str, Any],
    info: Optional[Mapping[str, Any]] = None,
    *,
    tracking_uri: str = "",
    raw: Optional[Mapping[str, bytes]] = None,
) -> bytes:
    """Return the text of an export's file: ``system``, ``info`` and ``mlflow`` in this order, as strict JSON.

    :param script: File name of the tool that writes it.
    :param mlflow: The object itself.
    :param info: What the export says about it; left out when empty.
    :param tracking_uri: The source, recorded without user information.
    :param raw: Further keys of ``mlflow``, put at its end; each value is JSON text already, and not looked at again.
    :raises ValueError: There is a NaN or an infinity outside of a string.
    """
    doc: Dict[str, Any] = {ExportFields.SYSTEM: _system(script, tracking_uri)}
    if info:
        doc[ExportFields.INFO] = info
    doc[ExportFields.MLFLOW] = mlflow
    text = json_text(doc)
    if not raw:
        return text + b"\n"
    # the text ends in the closing braces of `mlflow` and of the whole
    end = b"\n  }\n}"
    pieces = [text[: -len(end)], b","] if mlflow else [text[: -len(b"}\n}")]]
    for key, value in raw.items():
        pieces += [b"\n    ", orjson.dumps(key), b": ", value, b","]
    pieces[-1] = end
    return b"".join([*pieces, b"\n"])


def json_text(doc: Any) -> bytes:
    """Return a document as indented strict JSON."""
    try:
        text = orjson.dumps(doc, option=orjson.OPT_INDENT_2)
    except orjson.JSONEncodeError:
        # half of a surrogate pair, an integer of more than 64 bits, or deep nesting: slow, but they have a JSON form
        return json.dumps(doc, indent=2, allow_nan=False).encode()
    if b"null" in text:
        json_codec.dumps(doc)  # refuses NaN, which orjson has written as null
    return text


def _system(script: str, tracking_uri: str) -> Dict[str, Any]:
    facts = dict(_process_facts())
    system: Dict[str, Any] = {
        "package_version": facts.pop("package_version"),
        "script": os.path.basename(script),
        "export_file_version": export_file_version,
        "export_time": ts_now_seconds,
        "_export_time": ts_now_fmt_utc,
        "mlflow_version": facts.pop("mlflow_version"),
        "mlflow_tracking_uri": redact(tracking_uri),
    }
    system.update(facts)
    return system


@functools.lru_cache(maxsize=None)
def _process_facts() -> Dict[str, Any]:
    """Return what is the same for all files of a process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        user = ""
    facts: Dict[str, Any] = {
        "package_version": os.environ.get("MLFLOW_MIGRATION") or _version_of("mlflow-migration"),
        "mlflow_version": _version_of("mlflow", "mlflow-skinny"),
        "platform": {
            "python_version": platform.python_version(),
            "system": platform.system(),
            "processor": platform.processor(),
        },
        "user": user,
    }
    runtime = os.environ.get("DATABRICKS_RUNTIME_VERSION")
    if runtime:
        facts["databricks"] = {"DATABRICKS_RUNTIME_VERSION": runtime}
    return facts


def _version_of(*distributions: str) -> str:
    from importlib import metadata

    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def write_export_file(
    dir: str, file: str, script: str, mlflow_attr: Mapping[str, Any], info_attr: Optional[Mapping[str, Any]] = None
) -> None:
    """Write a file with its envelope.

    :param dir: The directory, made if needed.
    :param file: The file's name in it.
    :param script: File name of the tool that writes it.
    :param mlflow_attr: The object itself.
    :param info_attr: What the export says about it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    ExportDir(dir).write_json(file, envelope(script, mlflow_attr, info_attr, tracking_uri=uri))


def write_document(directory: ExportDir, rel: str, doc: Mapping[str, Any]) -> None:
    """Write a document that has its envelope already.

    :param directory: Where to.
    :param rel: Name of the file in it.
    :param doc: The document.
    :raises ValueError: There is a NaN or an infinity outside of a string.
    """
    directory.write_json(rel, json_text(doc) + b"\n")


def write_file(path: str, content: Any, file_type: Optional[str] = None) -> None:
    """Write a file.

    :param path: Its name; ``.json``, ``.yaml`` and ``.yml`` decide the format.
    :param content: A document, or the text or bytes of a file of another type.
    :param file_type: ``json`` or ``yaml``, if the name doesn't tell.
    """
    kind = _kind(path, file_type)
    if kind == "json":
        data = json_text(content) + b"\n"
    elif kind == "yaml":
        import yaml

        data = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    else:
        data = content.encode() if isinstance(content, str) else content
    folder, name = _split(path)
    folder.write_json(name, data)


def read_file(path: str, file_type: Optional[str] = None) -> Any:
    """Return the document in a JSON or YAML file, or the text of a file of another type.

    :param path: Its name; ``.json``, ``.yaml`` and ``.yml`` decide the format.
    :param file_type: ``json`` or ``yaml``, if the name doesn't tell.
    :raises BadDirectory: It is missing or broken.
    """
    kind = _kind(path, file_type)
    folder, name = _split(path)
    if kind == "json":
        return folder.read_json(name)
    with folder.open_read(name) as file:
        text = file.read().decode()
    if kind == "yaml":
        import yaml

        return yaml.safe_load(text)
    return text


def _kind(path: str, file_type: Optional[str]) -> str:
    ending = posixpath.splitext(path)[1].lstrip(".").lower()
    kind = (file_type or ending).lower()
    return "yaml" if kind == "yml" else kind


def _split(path: str) -> Tuple[ExportDir, str]:
    folder, _, name = path.replace(os.sep, "/").rpartition("/")
    if path.startswith("dbfs:") and not folder:
        return ExportDir("dbfs:/"), path[len("dbfs:") :]
    return ExportDir(folder or ("/" if path.startswith("/") else ".")), name


def get_info(export_dct: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what the export says about the object of a file; empty if it says nothing."""
    info: Dict[str, Any] = export_dct.get(ExportFields.INFO) or {}
    return info


def get_mlflow(export_dct: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the object of a file."""
    mlflow: Dict[str, Any] = export_dct[ExportFields.MLFLOW]
    return mlflow


def read_file_mlflow(path: str) -> Dict[str, Any]:
    """Return the object of a file."""
    return get_mlflow(read_file(path))


def mk_manifest_json_path(input_dir: str, filename: str) -> str:
    """Return the path of a directory's index: the file of this name, or ``manifest.json`` as old exports called it.

    :param input_dir: The directory.
    :param filename: Such as ``experiments.json``.
    """
    name = filename if ExportDir(input_dir).exists(filename) else "manifest.json"
    return posixpath.join(input_dir, name)
