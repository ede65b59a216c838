"""Times: MLflow's are milliseconds since the epoch; people read and write UTC text."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterable, Optional

from mlflow_migration.client.errors import BadInput

TS_FORMAT = "%Y-%m-%d %H:%M:%S"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def fmt_ts_millis(millis: Optional[int], as_utc: bool = True) -> Optional[str]:
    """Return a time as text.

    :param millis: Milliseconds since the epoch, or None.
    :param as_utc: In UTC rather than in the time zone of this machine.
    :return: Such as ``2024-01-31 23:59:59``; None for None; the number itself if no calendar has it.
    """
    if millis is None:
        return None
    try:
        when = _EPOCH + timedelta(milliseconds=millis)
        return (when if as_utc else when.astimezone()).strftime(TS_FORMAT)
    except (OverflowError, ValueError, OSError):
        return str(millis)


def fmt_ts_seconds(seconds: Optional[float], as_utc: bool = True) -> Optional[str]:
    """Return a time as text, from seconds since the epoch; see :func:`fmt_ts_millis`."""
    return None if seconds is None else fmt_ts_millis(int(seconds * 1000), as_utc)


def utc_str_to_millis(text: str) -> int:
    """Return milliseconds since the epoch.

    :param text: ``2024-01-31``, ``2024-01-31 23:59`` or ``2024-01-31 23:59:59``, also in other ISO 8601 forms; UTC
        unless it names another offset.
    :raises BadInput: It is none of these.
    """
    iso = text.strip()
    try:
        when = datetime.fromisoformat(iso[:-1] + "+00:00" if iso[-1:] in ("Z", "z") else iso)
    except ValueError as ex:
        raise BadInput(f"'{text}' is no time: write YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, in UTC") from ex
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return (when - _EPOCH) // timedelta(milliseconds=1)


def utc_str_to_seconds(text: str) -> int:
    """Return seconds since the epoch; see :func:`utc_str_to_millis`."""
    return utc_str_to_millis(text) // 1000


def adjust_timestamps(dct: Dict[str, Any], keys: Iterable[str]) -> None:
    """Add to a dictionary, beside each of its times in milliseconds, the UTC text under the key with a leading ``_``.

    :param dct: Changed in place.
    :param keys: Those it doesn't have are left out.
    """
    for key in keys:
        if key in dct:
            dct[f"_{key}"] = fmt_ts_millis(dct[key])


def with_times(fields: Dict[str, Any]) -> Dict[str, Any]:
    """Return an object of a registry with its times as UTC text too, as :func:`adjust_timestamps` would add them."""
    times = ("creation_timestamp", "last_updated_timestamp")
    return {**fields, **{"_" + name: fmt_ts_millis(int(fields[name])) for name in times if fields.get(name)}}


def format_seconds(seconds: float) -> str:
    """Return a duration as text, such as ``0.4s``, ``12s``, ``2m 05s`` or ``1h 02m``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


# one time for all files that a process writes
ts_now_seconds = round(time.time())
ts_now_fmt_utc = fmt_ts_seconds(ts_now_seconds)
ts_now_fmt_local = fmt_ts_seconds(ts_now_seconds, as_utc=False)
