"""New names for experiments and models on their way: beginnings of names are replaced."""

from __future__ import annotations

import csv
from typing import Any, Dict, Mapping, Optional, Union

from mlflow_migration.client.errors import BadInput, describe
from mlflow_migration.common import log

_log = log.getLogger(__name__)


def read_rename_file(path: str) -> Dict[str, str]:
    """Return what replaces which beginning.

    :param path: A CSV file with two columns, the beginning of a name and what replaces it. Empty lines are left out.
    :raises BadInput: It can't be read, or a line has other columns.
    """
    found: Dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file, skipinitialspace=True):
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                if len(cells) != 2 or not cells[0]:
                    raise BadInput(f"The rename file {path} has a line that is not OLD,NEW: {','.join(row)!r}")
                if found.setdefault(cells[0], cells[1]) != cells[1]:
                    raise BadInput(f"The rename file {path} has two new names for {cells[0]!r}")
    except (OSError, UnicodeDecodeError, csv.Error) as ex:
        raise BadInput(f"The rename file {path} can't be read: {describe(ex)}") from ex
    return found


def rename(name: str, replacements: Optional[Mapping[str, str]], object_name: str = "object") -> str:
    """Return the new name of an object.

    :param name: Its name.
    :param replacements: What replaces which beginning; the longest that fits counts.
    :param object_name: What it is, for the log.
    """
    fitting = [old for old in replacements or {} if old and name.startswith(old)]
    if not replacements or not fitting:
        return name
    old = max(fitting, key=len)
    new = replacements[old] + name[len(old) :]
    if not new:
        raise BadInput(f"The {object_name} '{name}' would have no name any more.")
    if new != name:
        _log.info("The %s '%s' becomes '%s'.", object_name, name, new)
    return new


def get_renames(filename_or_dict: Union[None, str, Mapping[str, str]]) -> Dict[str, str]:
    """Return replacements that are given as the path of a file or as a dict; none for None.

    :raises BadInput: The file can't be read.
    """
    given: Any = filename_or_dict
    if not given:
        return {}
    return read_rename_file(given) if isinstance(given, str) else dict(given)
