"""Tables for people."""

from __future__ import annotations

from typing import Any, Mapping, Sequence


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return a table as text.

    :param rows: Values by column.
    :param columns: The columns, in their order.
    """
    from tabulate import tabulate

    # as texts they are: a name such as 1e5 is no number
    return tabulate([[str(row[column]) for column in columns] for row in rows], headers=columns, disable_numparse=True)
