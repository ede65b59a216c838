"""What a repeated import does about each field, told by three states."""

import math

import pytest

from mlflow_migration.common.three_way import Plan, number, plan, settled, short, words


def fate(source, destination, base, name="tag:x", overwrite=False, unfinished=False, begun=()):
    """What becomes of one field whose three values are given; None is absent, base "-" is no base at all."""

    def state(value):
        return {} if value is None else {name: value}

    known = None if base == "-" else state(base)
    result = plan(state(source), state(destination), known, overwrite, unfinished, frozenset(begun))
    kinds = [kind for kind in ("write", "drop", "differs") if name in getattr(result, kind)]
    assert len(kinds) <= 1
    return kinds[0] if kinds else "same"


@pytest.mark.parametrize(
    ("source", "destination", "base", "expected"),
    [
        ("a", "a", "a", "same"),
        ("a", "a", "b", "same"),  # both moved to the same
        ("b", "a", "a", "write"),  # the source moved
        ("a", "b", "a", "differs"),  # the destination moved
        ("c", "b", "a", "differs"),  # both moved
        ("a", None, None, "write"),  # new at the source
        ("a", None, "a", "differs"),  # removed at the destination
        (None, "a", "a", "drop"),  # removed at the source
        (None, "b", "a", "differs"),  # removed at the source, edited at the destination
        (None, "a", None, "differs"),  # new at the destination
        ("a", "a", "-", "same"),
        ("a", None, "-", "write"),
        ("a", "b", "-", "differs"),
        (None, "a", "-", "differs"),
    ],
)
def test_a_tag(source, destination, base, expected):
    assert fate(source, destination, base) == expected


@pytest.mark.parametrize("name", ["param:x", "artifact:x", "metric:x"])
def test_what_cant_be_taken_back_is_left(name):
    assert fate(None, "a", "a", name) == "differs"
    assert fate(None, "a", "-", name, overwrite=True) == "differs"


def test_overwrite_lets_the_source_win():
    for source, destination, base in (("a", "b", "a"), ("c", "b", "a"), ("a", None, "a"), ("a", "b", "-")):
        assert fate(source, destination, base, overwrite=True) == "write"
    assert fate(None, "b", "a", overwrite=True) == "drop"


def test_an_import_that_was_cut_off_is_gone_on_with():
    assert fate("a", "b", "-", unfinished=True) == "write"
    assert fate("a", "b", "c", begun=["tag:x"]) == "write"
    assert fate("a", "b", "c", begun=["tag:y"]) == "differs"
    assert fate("active", "deleted", "active", "lifecycle", begun=["lifecycle"]) == "write"


def test_points_are_added_wherever_the_source_has_new_ones():
    assert fate("2", "1", "-", "metric:x") == "write"
    assert fate("2", "3", "1", "metric:x") == "write"  # both got points
    assert fate("1", "3", "1", "metric:x") == "differs"  # only the destination did


def test_the_base_of_the_next_time():
    source = {"tag:a": "new", "tag:b": "mine", "tag:c": "refused"}
    base = {"tag:a": "old", "tag:b": "mine", "tag:d": "gone"}
    todo = plan(source, {"tag:a": "old", "tag:b": "theirs", "tag:d": "gone"}, base, overwrite=False, unfinished=False)
    assert (todo.write, todo.drop, todo.differs) == (["tag:a", "tag:c"], ["tag:d"], ["tag:b"])
    after = settled(source, base, todo, ["tag:c"])
    assert after == {"tag:a": "new", "tag:b": "mine"}
    # the edit still shows next time, and what was refused is tried again
    again = plan(source, {"tag:a": "new", "tag:b": "theirs"}, after, overwrite=False, unfinished=False)
    assert (again.write, again.differs) == (["tag:c"], ["tag:b"])


def test_a_plan_knows_what_it_touches():
    todo = Plan(write=["metric:x"])
    assert todo.touches("metric:")
    assert not todo.touches("tag:")
    assert not todo.empty
    assert Plan(differs=["tag:a"]).empty


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (-0.0, 0.0),
        (math.nan, "NaN"),
        (math.inf, 1.7976931348623157e308),  # what a server makes of it
        ("-Infinity", -1.7976931348623157e308),
    ],
)
def test_equal_numbers(one, other):
    assert short([number(one)]) == short([number(other)])


def test_other_numbers_differ():
    assert number(0.1 + 0.2) != number(0.3)
    assert number(math.nan) != number(0.0)


def test_short_is_short_and_tells_values_apart():
    assert short("v1") == "v1"
    assert short("") == ""
    long = [short("x" * n) for n in range(15, 4000)]
    assert len(set(long)) == len(long)
    assert max(map(len, long)) == 16
    assert short(short("x" * 4000)) == short("x" * 4000)


def test_fields_in_words():
    assert words(["tag:a:b", "status"]) == "tag a:b, status"
    assert words([f"tag:{n}" for n in range(10)], most=2) == "tag 0, tag 1 and 8 more"
