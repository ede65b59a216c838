"""Names that a user gives choose among those that there are."""

import pytest

from mlflow_migration.client.errors import BadInput
from mlflow_migration.common.selection import choose_names, wanted_names

THERE = ["a", "ab", "b", "all", "c*"]


@pytest.mark.parametrize(
    ("text", "chosen", "unknown"),
    [
        ("all", THERE, []),
        ("ALL", THERE, []),
        ("b,a", ["a", "b"], []),
        ("a*", ["a", "ab", "all"], []),
        ("c*", ["c*"], []),
        ("all,b", ["b", "all"], []),
        ("x, b ,y*,", ["b"], ["x", "y*"]),
        (["a,b", "a"], ["a"], ["a,b"]),
        ("*", THERE, []),
    ],
)
def test_names(text, chosen, unknown):
    assert choose_names(wanted_names(text), THERE) == (chosen, unknown)


def test_a_file_has_a_name_in_each_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffa\n\nname, with a comma\n blanks \n", encoding="utf-8")
    assert wanted_names(str(path)) == ["a", "name, with a comma", " blanks "]
    with pytest.raises(BadInput, match="can't be read: .*none.txt"):
        wanted_names(str(tmp_path / "none.txt"))


@pytest.mark.parametrize("text", ["", " , ", []])
def test_nothing_is_not_everything(text):
    with pytest.raises(BadInput, match="names nothing"):
        wanted_names(text)
