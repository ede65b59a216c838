"""Reads one long list out of a JSON reply without holding the reply."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Dict, Iterable, Iterator

_MOST = 64 * 1024 * 1024  # characters of one item, or of all that stands outside the list
_SPACE = re.compile(r"[\s,]*")


def items(blocks: Iterable[bytes], field: str, rest: Dict[str, Any]) -> Iterator[Any]:
    """Yield the objects of the first list called ``field`` in a JSON object.

    :param blocks: The document's bytes, UTF-8, cut anywhere.
    :param field: Name of the list.
    :param rest: Filled, when the last object was taken, with the document's other fields.
    :raises ValueError: The document is no JSON, or ends too early.
    """
    decode = codecs.getincrementaldecoder("utf-8")().decode
    scan = json.JSONDecoder().raw_decode
    opening = re.compile(r'"%s"\s*:\s*\[' % re.escape(field))
    buffer, head = "", ""
    blocks = iter(blocks)
    for block in blocks:
        buffer += decode(block)
        if not head:
            found = opening.search(buffer)
            if found is None:
                _check(len(buffer), field)
                continue
            head, buffer = buffer[: found.end()], buffer[found.end() :]
        position = 0
        while True:
            position = _SPACE.match(buffer, position).end()  # type: ignore[union-attr]
            if position < len(buffer) and buffer[position] == "]":
                tail = buffer[position:] + "".join(decode(block) for block in blocks)
                rest.update(json.loads(head + tail))
                return
            try:
                item, position = scan(buffer, position)
            except json.JSONDecodeError:
                _check(len(buffer) - position, field)
                break
            yield item
        buffer = buffer[position:]
    if head:
        raise ValueError(f"the document ends inside {field!r}")
    rest.update(json.loads(buffer))


def _check(length: int, field: str) -> None:
    if length > _MOST:
        raise ValueError(f"the list {field!r}, or one of its items, is too long or broken")
