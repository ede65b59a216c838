"""Compares MLmodel files, in which ids and locations are those of their server."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Callable, Iterator, Optional, Tuple

MOST = 16 * 1024 * 1024
"""Bytes above which a file is compared as any other."""

SameText = Callable[[str, str], bool]


def difference(src: bytes, dst: bytes, same_text: SameText) -> Optional[Tuple[str, str]]:
    """Return what differs first, at the source and at the destination; None if nothing does.

    The files are read as YAML, but nothing is made of it: a few lines can stand for more than the memory holds.

    :param same_text: Tells whether two scalars are the same but for ids and locations.
    :raises ValueError: One of them is no plain YAML, so that they can only be compared byte by byte.
    """
    if src == dst:
        # without ids, or nobody has written the new ones into it
        return next(((text, text) for text in _scalars(src) if not same_text(text, text)), None)
    for ours, theirs in zip_longest(_events(src), _events(dst)):
        if ours is None or theirs is None:
            return str(ours and ours[1]), str(theirs and theirs[1])
        if ours[0] != theirs[0] or not same_text(ours[1], theirs[1]):
            return ours[1], theirs[1]
    return None


def _scalars(content: bytes) -> Iterator[str]:
    return (text for _, text in _events(content) if text)


def _events(content: bytes) -> Iterator[Tuple[Any, str]]:
    """Yield what kind each event of YAML is, and its text."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(content, Loader=loader):
            kind = (type(event).__name__, getattr(event, "anchor", None), getattr(event, "tag", None))
            yield kind, getattr(event, "value", None) or ""
    except (yaml.YAMLError, UnicodeDecodeError) as ex:
        raise ValueError("no YAML") from ex
