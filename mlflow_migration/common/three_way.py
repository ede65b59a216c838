"""Three states of an object decide what a repeated import does about each of its fields.

A state is a dict of short texts: one entry for each tag, param, metric, artifact and so on. The three are what the
source has now, what the destination has now, and what the destination had when the last import left it (the base).
Where only the source moved the destination follows; where the destination moved it is left alone.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Dict, List, Optional

from mlflow_migration.client import json_codec

State = Dict[str, str]

_REMOVABLE = ("tag:", "alias:", "assessment:", "record:", "experiment:", "item:", "endpoint:", "user:")
"""Beginnings of the names of fields that can be taken away again: records and links are those of datasets."""


def short(value: Any) -> str:
    """Return a short fingerprint of any JSON value."""
    data = value.encode() if isinstance(value, str) else json_codec.dumps(value)
    return data.decode("utf-8", "replace") if len(data) <= 16 else hashlib.blake2b(data, digest_size=8).hexdigest()


def number(value: Any) -> Any:
    """Return a metric value in the one form in which two equal ones are equal."""
    value = json_codec.encode_number(value)
    if value in ("Infinity", "-Infinity"):
        return sys.float_info.max * (1 if value == "Infinity" else -1)  # what a server makes of it
    # a server reads -0.0 and 0.0 back as the same number, and whole numbers as floats
    return value if isinstance(value, str) else float(value) + 0.0


@dataclass
class Plan:
    """What a repeat has to do to a run.

    ``write``: fields to be written. ``drop``: fields that the source no longer has. ``differs``: fields left alone.
    """

    write: List[str] = field(default_factory=list)
    drop: List[str] = field(default_factory=list)
    differs: List[str] = field(default_factory=list)

    def touches(self, prefix: str) -> bool:
        """Tell whether a field of that kind is to be written."""
        return any(name.startswith(prefix) for name in self.write)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.write or self.drop)


def plan(
    source: State,
    destination: State,
    base: Optional[State],
    overwrite: bool,
    unfinished: bool,
    begun: AbstractSet[str] = frozenset(),
) -> Plan:
    """Compare three states.

    :param source: What the source has, in terms of the destination's ids.
    :param destination: What the destination has.
    :param base: What the last import left there; None if that is not known.
    :param overwrite: Let the source win where the destination was edited.
    :param unfinished: Without a base: an import was cut off here, so what is there is not what anybody wanted.
    :param begun: Fields that an import was about to write when it was cut off.
    """
    result = Plan()
    for name in sorted({**source, **destination, **(base or {})}):
        wanted, there = source.get(name), destination.get(name)
        if wanted == there:
            continue
        # points can only be added, so a metric that moved at the source simply gets the rest
        added = name.startswith("metric:") and wanted is not None and wanted != (base or {}).get(name)
        follow = name in begun or added
        follow = follow or (there == base.get(name) if base is not None else there is None or unfinished)
        if not (follow or overwrite):
            result.differs.append(name)
        elif wanted is not None:
            result.write.append(name)
        elif name.startswith(_REMOVABLE) and (base is not None or overwrite or name in begun):
            result.drop.append(name)
        else:
            # a point, a param or a file more than the source has is no loss, and can't be taken back
            result.differs.append(name)
    return result


def settled(source: State, base: Optional[State], result: Plan, missing: List[str]) -> State:
    """Return the base of the next comparison.

    :param result: The plan that was carried out.
    :param missing: Fields that could not be written.
    """
    state = {name: value for name, value in source.items() if name not in missing}
    if base is not None:
        for name in result.differs:
            # still edited there: what it was edited from stays
            state.pop(name, None)
            if name in base:
                state[name] = base[name]
    return state


def left_alone(fields: List[str], base: Optional[State]) -> str:
    """Return the reason of what differs, for the ledger.

    :param fields: Names of the fields.
    :param base: What the last import left; None if that is not known.
    """
    if base is not None:
        return f"changed at the destination and left alone: {words(fields)}"
    return f"left alone, as no earlier import is on record that could tell which side has changed: {words(fields)}"


def words(fields: List[str], most: int = 8) -> str:
    """Return field names as a user reads them."""
    named = [name.replace(":", " ", 1) for name in fields[:most]]
    return ", ".join(named) + (f" and {len(fields) - most} more" if len(fields) > most else "")
