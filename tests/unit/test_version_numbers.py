"""Versions get the numbers of the source from a server that only counts up."""

import pytest

from mlflow_migration.client.registry import PLACEHOLDER, VERSION_KEY
from mlflow_migration.model.version_numbers import GapTooLarge, Numbers, NumberTaken

BODY = {"name": "m", "source": "s3://b/x", "run_id": "r", "description": "d"}


class Server:
    """As much of a registry as is needed."""

    def __init__(self, *numbers, used=0, **placeholders):
        self.there = {number: [{"key": "k", "value": "v"}] for number in numbers}
        self.there.update((int(name[1:]), [{"key": PLACEHOLDER, "value": "true"}]) for name in placeholders)
        self.last = max([used, *self.there])
        self.made = []

    def create_version(self, body, find):
        assert find() is None
        self.last += 1
        self.there[self.last] = body["tags"]
        self.made.append(self.last)
        assert find() == {"version": str(self.last), "tags": body["tags"]}
        return {"version": str(self.last)}

    def delete_version(self, name, number):
        del self.there[int(number)]

    def versions(self, name):
        return [{"version": str(number), "tags": tags} for number, tags in sorted(self.there.items())]

    def numbers(self, always=False):
        return Numbers(self, "m", self.versions("m"), always)


def create(numbers, number, key=None):
    body = {**BODY, "tags": [{"key": VERSION_KEY, "value": key or f"m/{number}/1"}]}
    return int(numbers.create(body, number)["version"])


def test_gaps_are_filled_and_left_free():
    server = Server()
    numbers = server.numbers()
    assert [create(numbers, number) for number in (1, 2, 5, 12)] == [1, 2, 5, 12]
    assert sorted(server.there) == [1, 2, 5, 12]
    assert (numbers.filled, server.last) == (8, 12)


def test_large_gaps_only_if_asked():
    with pytest.raises(GapTooLarge, match="1098 numbers .* before 1100"):
        create(Server(1).numbers(), 1100)
    server = Server(1)
    assert create(server.numbers(always=True), 1100) == 1100
    assert sorted(server.there) == [1, 1100]
    assert create(Server(1).numbers(), 1002) == 1002
    server.numbers().check(2000, after=1999)


def test_numbers_that_are_taken():
    numbers = Server(1, 3).numbers()
    with pytest.raises(NumberTaken, match="another version 3"):
        numbers.check(3)
    with pytest.raises(NumberTaken, match="gone past number 2"):
        numbers.check(2)
    assert create(numbers, None) == 4


@pytest.mark.parametrize(("used", "number"), [(5, 3), (5, 5), (1, 1)])
def test_numbers_that_deleted_versions_have_used_up(used, number):
    """Nothing shows them before it is tried; what was made to try is gone again."""
    server = Server(used=used)
    numbers = server.numbers()
    with pytest.raises(NumberTaken, match=f"gone past number {number}"):
        create(numbers, number)
    assert not server.there
    assert create(numbers, None) == server.last


def test_deleted_versions_are_part_of_a_gap():
    server = Server(used=3)
    numbers = server.numbers()
    assert create(numbers, 6) == 6
    assert (sorted(server.there), numbers.filled) == ([6], 2)


def test_what_a_killed_import_has_left_is_removed():
    server = Server(1, 4, _2=True, _5=True)
    numbers = server.numbers()
    with pytest.raises(NumberTaken, match="gone past number 2"):
        numbers.check(2)
    numbers.clear()
    # the highest shows which numbers are used up, until a version does
    assert sorted(server.there) == [1, 4, 5]
    assert create(numbers, 6) == 6
    assert sorted(server.there) == [1, 4, 6]


@pytest.mark.parametrize("made", range(1, 8))
def test_an_import_that_is_killed_in_a_gap_goes_on(made):
    """After each request of the first import: the numbers are those of the source all the same."""
    server = Server(1)
    left = [made]

    def counted(method):
        def call(*args):
            if left[0] == 0:
                raise InterruptedError
            left[0] -= 1
            return method(*args)

        return call

    create_version, delete_version = server.create_version, server.delete_version
    server.create_version, server.delete_version = counted(create_version), counted(delete_version)
    try:
        create(server.numbers(), 5)
    except InterruptedError:
        pass
    server.create_version, server.delete_version = create_version, delete_version
    numbers = server.numbers()
    numbers.clear()
    if 5 not in server.there:
        assert create(numbers, 5) == 5
    numbers.release()
    assert sorted(server.there) == [1, 5]
