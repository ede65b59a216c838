"""Spans as OTLP protobuf, the encoding that costs a server least.

Spans come in the shape that MLflow's REST API gives them: OTLP's JSON with snake_case names and base64 ids. The message
is that of ``opentelemetry/proto/collector/trace/v1/trace_service.proto``.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, Dict, Iterable, List, Mapping, Optional

Json = Dict[str, Any]

_STATUS = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_MASK = (1 << 64) - 1


def encode(spans: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a request with these spans, which may belong to many traces.

    :raises ValueError: A value is none that OTLP can hold.
    """
    scope = b"".join(_field(2, _span(span)) for span in spans)
    return _field(1, _field(2, scope))


def _span(span: Mapping[str, Any]) -> bytes:
    parts: List[bytes] = [
        _field(1, _id(span.get("trace_id"))),
        _field(2, _id(span.get("span_id"))),
        _field(5, _text(span.get("name"))),
        _time(7, span.get("start_time_unix_nano")),
    ]
    if span.get("parent_span_id"):
        parts.append(_field(4, _id(span["parent_span_id"])))
    if span.get("end_time_unix_nano"):
        parts.append(_time(8, span["end_time_unix_nano"]))
    parts += [_field(9, _pair(item)) for item in span.get("attributes") or ()]
    for event in span.get("events") or ():
        body = _time(1, event.get("time_unix_nano")) + _field(2, _text(event.get("name")))
        parts.append(_field(11, body + b"".join(_field(3, _pair(item)) for item in event.get("attributes") or ())))
    for link in span.get("links") or ():
        body = _field(1, _id(link.get("trace_id"))) + _field(2, _id(link.get("span_id")))
        parts.append(_field(13, body + b"".join(_field(4, _pair(item)) for item in link.get("attributes") or ())))
    status = span.get("status") or {}
    code = status.get("code", 0)
    body = _field(2, _text(status["message"])) if status.get("message") else b""
    number = _STATUS.get(code, 0) if isinstance(code, str) else int(code)
    parts.append(_field(15, body + (_key(3, _VARINT) + _varint(number) if number else b"")))
    return b"".join(parts)


def _pair(item: Mapping[str, Any]) -> bytes:
    return _field(1, _text(item.get("key"))) + _field(2, _value(item.get("value")))


def _value(value: Optional[Mapping[str, Any]]) -> bytes:
    for name, given in (value or {}).items():
        if name == "string_value":
            return _field(1, _text(given))
        if name == "bool_value":
            return _key(2, _VARINT) + (b"\x01" if given else b"\x00")
        if name == "int_value":
            number = int(given)
            if not -(1 << 63) <= number < 1 << 63:
                raise ValueError(f"the number {number} has more than 64 bits")
            return _key(3, _VARINT) + _varint(number & _MASK)
        if name == "double_value":
            return _key(4, _FIXED64) + struct.pack("<d", float(given))  # NaN and infinities are strings
        if name == "array_value":
            return _field(5, b"".join(_field(1, _value(item)) for item in given.get("values") or ()))
        if name == "kvlist_value":
            return _field(6, b"".join(_field(1, _pair(item)) for item in given.get("values") or ()))
        if name == "bytes_value":
            return _field(7, base64.b64decode(given))
    return b""


def _id(value: Any) -> bytes:
    return base64.b64decode(value or "")


def _text(value: Any) -> bytes:
    # half a surrogate pair can't be UTF-8
    return str(value or "").encode("utf-8", "replace")


def _time(number: int, value: Any) -> bytes:
    return _key(number, _FIXED64) + struct.pack("<Q", int(value or 0) & _MASK)


def _field(number: int, body: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(body)) + body


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


_SMALL = [bytes([number]) for number in range(0x80)]
