"""Which objects of a server a user names: all, a list, beginnings of names, or a file with a list."""

from __future__ import annotations

from typing import Dict, Iterable, List, Sequence, Tuple, Union

from mlflow_migration.client.errors import BadInput, describe

ALL = "all"


def wanted_names(text: Union[str, Sequence[str]]) -> List[str]:
    """Return the names that a text lists.

    :param text: Names separated by commas, or the path of a file that ends in ``.txt`` and has one in each line, with
        the blanks that are there; a list is returned as it is.
    :raises BadInput: The file can't be read, or there is no name.
    """
    if not isinstance(text, str):
        names = [str(name) for name in text]
    elif text.endswith(".txt"):
        try:
            with open(text, encoding="utf-8-sig") as file:
                names = [line for line in file.read().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as ex:
            raise BadInput(f"The list {text} can't be read: {describe(ex)}") from ex
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadInput(f"{text!r} names nothing.")
    return names


def choose_names(wanted: Sequence[str], there: Iterable[str]) -> Tuple[List[str], List[str]]:
    """Choose from the names that there are.

    :param wanted: Names, or beginnings of names with a ``*`` at the end; ``all`` in any case, alone, means every one.
    :param there: The names that there are.
    :return: Those that are chosen, in the order of ``there``, and what of ``wanted`` fits none.
    """
    names = list(there)
    if len(wanted) == 1 and wanted[0].lower() == ALL:
        return names, []
    known = set(names)
    chosen: Dict[str, None] = {}
    unknown: List[str] = []
    for name in wanted:
        if name in known:
            found = [name]
        elif name.endswith("*"):
            found = [other for other in names if other.startswith(name[:-1])]
        else:
            found = []
        chosen.update(dict.fromkeys(found))
        unknown += [] if found else [name]
    return [name for name in names if name in chosen], unknown
