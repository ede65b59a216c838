"""New names on the way."""

import pytest

from mlflow_migration.bulk.rename_utils import get_renames, read_rename_file, rename
from mlflow_migration.client.errors import BadInput

RENAMES = {"/Users/mary": "/Users/john", "/Users/mary/old": "/Archive", "x": ""}


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("/Users/mary/wine", "/Users/john/wine"),
        ("/Users/mary/old/wine", "/Archive/wine"),
        ("/Users/mary", "/Users/john"),
        ("/Shared/Users/mary", "/Shared/Users/mary"),
        ("/Users/mary/a/Users/mary", "/Users/john/a/Users/mary"),
        ("xy", "y"),
    ],
)
def test_the_longest_beginning_counts(name, new):
    assert rename(name, RENAMES) == new
    assert rename(name, {}) == rename(name, None) == name


def test_a_name_is_never_empty():
    with pytest.raises(BadInput, match="experiment 'x' would have no name"):
        rename("x", RENAMES, "experiment")


def test_files(tmp_path):
    path = tmp_path / "renames.csv"
    path.write_text('\ufeff/a, /b\n\n"with, comma",new\nold,\n', encoding="utf-8")
    assert read_rename_file(str(path)) == {"/a": "/b", "with, comma": "new", "old": ""}
    assert get_renames(str(path)) == read_rename_file(str(path))
    assert get_renames({"a": "b"}) == {"a": "b"}
    assert get_renames(None) == get_renames("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("only one\n", "not OLD,NEW: 'only one'"),
        ("a,b,c\n", "not OLD,NEW"),
        (",b\n", "not OLD,NEW"),
        ("a,b\na,c\n", "two new names for 'a'"),
    ],
)
def test_a_broken_file_names_the_line(tmp_path, text, words):
    path = tmp_path / "renames.csv"
    path.write_text(text)
    with pytest.raises(BadInput, match=words):
        read_rename_file(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match="can't be read: .*none.csv"):
        read_rename_file(str(tmp_path / "none.csv"))
