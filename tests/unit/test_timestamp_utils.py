"""Times as text and back."""

import time

import pytest

from mlflow_migration.client.errors import BadInput
from mlflow_migration.common import timestamp_utils as ts


@pytest.mark.parametrize(
    ("millis", "text"),
    [
        (0, "1970-01-01 00:00:00"),
        (1700000000999, "2023-11-14 22:13:20"),
        (-1, "1969-12-31 23:59:59"),
        (10**17, str(10**17)),
        (-(10**17), str(-(10**17))),
        (None, None),
    ],
)
def test_millis_to_text(millis, text):
    assert ts.fmt_ts_millis(millis) == text


def test_seconds_to_text():
    assert ts.fmt_ts_seconds(1700000000) == "2023-11-14 22:13:20"
    assert ts.fmt_ts_seconds(1700000000.9) == "2023-11-14 22:13:20"
    assert ts.fmt_ts_seconds(None) is None


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system can't change its time zone")
def test_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert ts.fmt_ts_millis(0, as_utc=False) == "1970-01-01 09:00:00"
        assert ts.fmt_ts_seconds(0, False) == "1970-01-01 09:00:00"
        assert ts.utc_str_to_millis("1970-01-02") == 86_400_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("2023-11-14", 1699920000000),
        ("2023-11-14 22:13", 1699999980000),
        ("2023-11-14 22:13:20", 1700000000000),
        (" 2023-11-14T22:13:20 ", 1700000000000),
        ("2023-11-14T22:13:20Z", 1700000000000),
        ("2023-11-14T22:13:20.500+00:00", 1700000000500),
        ("2023-11-15 00:13:20+02:00", 1700000000000),
        ("1969-12-31", -86_400_000),
    ],
)
def test_text_to_millis(text, millis):
    assert ts.utc_str_to_millis(text) == millis
    assert ts.utc_str_to_seconds(text) == millis // 1000


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "14.11.2023", "2023-11-14 25:00"])
def test_no_time_is_bad_input(text):
    with pytest.raises(BadInput, match="write YYYY-MM-DD"):
        ts.utc_str_to_millis(text)


def test_adjust_timestamps():
    fields = {"a": 0, "b": None, "c": "x"}
    ts.adjust_timestamps(fields, ["a", "b", "absent"])
    assert fields == {"a": 0, "_a": "1970-01-01 00:00:00", "b": None, "_b": None, "c": "x"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (0.44, "0.4s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m 00s"), (125, "2m 05s"), (3720, "1h 02m")],
)
def test_format_seconds(seconds, text):
    assert ts.format_seconds(seconds) == text


def test_now_is_one_time_for_a_process():
    assert abs(ts.ts_now_seconds - time.time()) < 3600
    assert ts.utc_str_to_seconds(ts.ts_now_fmt_utc) == ts.ts_now_seconds
    assert len(ts.ts_now_fmt_local) == len(ts.ts_now_fmt_utc)
