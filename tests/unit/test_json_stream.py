"""One long list out of a JSON reply, however the reply is cut."""

import json
import math
import tracemalloc

import pytest

from mlflow_migration.client import json_stream
from mlflow_migration.client.json_stream import items


def read(text, *cuts, field="metrics"):
    data = text.encode() if isinstance(text, str) else text
    bounds = [0, *cuts, len(data)]
    rest = {}
    found = list(items((data[a:b] for a, b in zip(bounds, bounds[1:])), field, rest))
    return found, rest


DOC = {
    "before": {'metrics"': ["no"], "a": '"metrics": ['},
    "metrics": [{"key": "ä€😀", "value": 1.5, "in": {"x": [1, {"y": "]"}]}}, {"key": '\\"', "value": -3}],
    "next_page_token": "t",
}


def test_cut_anywhere():
    data = json.dumps(DOC, ensure_ascii=False).encode()
    for cut in range(len(data)):
        found, rest = read(data, cut)
        assert found == DOC["metrics"]
        assert rest == {"before": DOC["before"], "metrics": [], "next_page_token": "t"}
    found, rest = read(data, *range(1, len(data)))
    assert found == DOC["metrics"]


def test_bare_nan_of_old_servers():
    found, _ = read('{"metrics" : [ {"value": NaN} , {"value": -Infinity}\n] }')
    assert math.isnan(found[0]["value"])
    assert found[1]["value"] == -math.inf


@pytest.mark.parametrize("text", ["{}", '{"other": [1]}'])
def test_no_such_list(text):
    found, rest = read(text)
    assert found == []
    assert rest == json.loads(text)


def test_an_empty_list():
    assert read('{"metrics": [], "next_page_token": "t"}') == ([], {"metrics": [], "next_page_token": "t"})


@pytest.mark.parametrize(
    "text", ["", "<html>", '{"metrics": [{"a": 1}', '{"metrics": [{"a": 1},', '{"metrics": [{"a": 1}]', '{"metr']
)
def test_what_ends_early_is_an_error(text):
    with pytest.raises(ValueError):
        read(text)


def test_an_item_without_end_is_an_error_before_memory_is_full(monkeypatch):
    monkeypatch.setattr(json_stream, "_MOST", 10_000)
    for start in (b'{"metrics": [{"key": "', b'{"x": "'):
        endless = iter(lambda: b"x" * 1000, None)
        blocks = iter([start])

        def stream(blocks=blocks, endless=endless):
            yield from blocks
            yield from endless

        with pytest.raises(ValueError, match="too long or broken"):
            list(items(stream(), "metrics", {}))


def test_memory_does_not_grow_with_the_list():
    point = b'{"key": "k", "value": 0.25, "timestamp": 1700000000000, "step": 1},'

    def blocks():
        yield b'{"metrics": ['
        for _ in range(300):
            yield point * 100
        yield point[:-1] + b"]}"

    tracemalloc.start()
    count = sum(1 for _ in items(blocks(), "metrics", {}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_001
    assert peak < 2_000_000
