"""The notebooks by themselves: their widgets, and the functions and commands that they call."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any, Dict, Iterator, Set, Tuple

import pytest

from mlflow_migration.common.options import OPTIONS
from mlflow_migration.common.umbrella import COMMANDS, load
from tests.databricks.notebook_runner import NOTEBOOKS, NotebookError, Runner, cells_of, notebooks
from tests.documents import prose

#: what the notebooks of the earlier tools ask for; ours of the same names ask for the same
SEED = {
    "single/Export_Run": "1. Run ID|2. Output base directory|3. Notebook formats",
    "single/Import_Run": "1. Destination experiment name|2. Input directory|3. Import source tags",
    "single/Export_Experiment": "1. Experiment ID or Name|2. Output base directory|3. Run start date|"
    "4. Export permissions|5. Notebook formats|6. Run IDs|7. Check nested runs",
    "single/Import_Experiment": "1. Destination experiment name|2. Input directory|3. Import permissions|"
    "4. Import source tags",
    "single/Export_Registered_Model": "1. Model|2. Output base directory|3. Stages|4. Export latest versions|"
    "5. Versions|6. Export permissions|7. Export version MLflow model|8. Notebook formats",
    "single/Import_Registered_Model": "1. Model name|2. Destination experiment name|3. Input directory|"
    "4. Delete model|5. Import permissions|6. Import source tags",
    "single/Export_Model_Version": "1. Model name|2. Model version|3. Output directory|"
    "4. Export version MLflow model|5. Notebook formats",
    "single/Import_Model_Version": "1. Input directory|2. Model name|3. Destination experiment name|"
    "4. Create destination model|5. Import stages and aliases|6. Import metadata|7. Import source tags",
    "bulk/Export_All": "1. Output directory|2. Stages|3. Export latest versions|4. Run start date|"
    "5. Export permissions|6. Export deleted runs|7. Export version MLflow model|8. Notebook formats|9. Use threads",
    "bulk/Export_Experiments": "1. Experiments|2. Output directory|3. Run start date|4. Export permissions|"
    "5. Export deleted runs|6. Notebook formats|7. Use threads",
    "bulk/Import_Experiments": "1. Input directory|2. Experiment rename file|3. Import permissions|"
    "4. Import source tags|5. Use threads",
    "bulk/Export_Registered_Models": "01. Models|02. Output directory|03. Stages|04. Export latest versions|"
    "05. Export all runs|06. Export permissions|07. Export deleted runs|08. Export version MLflow model|"
    "09. Notebook formats|10. Use threads",
    "bulk/Import_Registered_Models": "1. Input directory|2. Delete model|3. Model rename file|"
    "4. Experiment rename file|5. Import permissions|6. Import source tags|6. Use threads",
    "bulk/Check_Model_Versions_Runs": "1. Models|2. Export latest versions|3. Bail",
    "copy/Copy_Model_Version": "1. Source Model|2. Source Version|3. Destination Model|"
    "4. Destination experiment name|5. Destination Workspace|6. Copy lineage tags|7. Verbose|8. Return result",
    "copy/experimental/Copy_Model_Version": "1. Source Model|2. Source Version|3. Destination Model|"
    "4. Destination experiment name|5. Source Run Workspace|6. Copy lineage tags|7. Verbose|8. Return result",
    "copy/Copy_Run": "1. Source run ID|2. Destination experiment|3. Destination workspace",
    "copy/MLflow_Copy_Model_Version": "1. Source Model URI|2. Destination Model",
    "copy/Create_Model_Version": "1. Source Model URI|2. Destination Model|3. Destination Registry URI|"
    "4. Description|5. Alias",
    "copy/tests/Test_Copy_Model_Version": "1a. WS source model|1b. WS source version|1c. WS destination model|"
    "2a. UC source model|2b. UC source version|2c. UC destination model|3a. Destination experiment name|"
    "3b. Destination workspace",
    "tools/Get_Model_Signature": "1. Model URI",
    "tools/Set_Model_Signature": "1. Model URI|2. Input table|3. Output table|4. Overwrite signature",
    "tools/List_Model_Versions_Without_Signature": "1. Filter|2. Output file|3. Use get_model_info",
    "scripts/Console_Scripts": "1. Secrets scope|2. Secrets PAT key",
}
WIDGETS = ("text_widget", "yes_no_widget", "choice_widget")
NAMES = notebooks()
OPENED = [name for name in NAMES if not name.endswith("Common")]


def python_of(name: str) -> ast.Module:
    return ast.parse("\n".join(cell.text for cell in cells_of(name) if cell.kind == "python"))


def dotted(node: ast.AST) -> str:
    """The name that stands there, such as ``dbutils.widgets.get``; empty if it is none. ast.unparse came with 3.9."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls_in(tree: ast.AST) -> Iterator[Tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def widgets_of(name: str) -> Dict[str, str]:
    """The widgets of a notebook in their order, and the variable of each."""
    found: Dict[str, str] = {}
    for node in python_of(name).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        function, given = dotted(node.value.func), node.value.args
        if function in WIDGETS:
            found[ast.literal_eval(given[0])] = dotted(node.targets[0])
        elif function == "get_notebook_formats":
            found[f"{ast.literal_eval(given[0])}. Notebook formats"] = dotted(node.targets[0])
    return found


def functions_of(name: str) -> Dict[str, Any]:
    """The functions and modules of the package that a notebook imports."""
    found: Dict[str, Any] = {}
    for node in ast.walk(python_of(name)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mlflow_migration"):
            exec(compile(ast.Module([node], []), name, "exec"), found)
    return found


def called(name: str) -> Iterator[Tuple[str, ast.Call, Any]]:
    """Calls of the package's functions in a notebook: the words, the call, and the function."""
    functions = functions_of(name)
    for words, call in calls_in(python_of(name)):
        first, _, rest = words.partition(".")
        if first in functions:
            yield words, call, getattr(functions[first], rest) if rest else functions[first]


@pytest.mark.parametrize("name", SEED)
def test_widgets_are_those_of_the_earlier_tools(name: str) -> None:
    assert list(widgets_of(name)) == SEED[name].split("|")


@pytest.mark.parametrize("name", OPENED)
def test_widgets_are_numbered_and_used(name: str) -> None:
    """Databricks sorts widgets by name, so their numbers must sort as their order does."""
    widgets = widgets_of(name)
    numbers = [label.split(".")[0] for label in widgets]
    assert numbers == sorted(numbers)
    assert len({len(re.sub(r"\D", "", number)) for number in numbers}) == 1
    used = [node.id for node in ast.walk(python_of(name)) if isinstance(node, ast.Name)]
    for label, variable in widgets.items():
        assert used.count(variable) >= 2, f"{name} asks for {label} in vain"


@pytest.mark.parametrize("name", OPENED)
def test_each_notebook_says_what_it_does(name: str) -> None:
    cells = cells_of(name)
    assert [cell.kind for cell in cells[:2]] == ["md", "run"]
    title, _, about = cells[0].text.partition("\n")
    assert title.startswith("### ")
    assert about.strip()
    # all widgets are made in the first cell of Python, so that all are seen before one of them is asked for
    assert "_widget(" in cells[2].text


@pytest.mark.parametrize("name", NAMES)
def test_functions_get_parameters_that_they_have(name: str) -> None:
    for words, call, function in called(name):
        given = {word.arg for word in call.keywords}
        if None in given:  # what it passes on is looked at where it comes from
            continue
        parameters = inspect.signature(function).parameters.values()
        known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        assert given <= set(known), f"{name}: {words}"
        needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
        assert needed - given - set(known[: len(call.args)]) == set(), f"{name}: {words}"


@pytest.mark.parametrize("name", [name for name in OPENED if re.match("(single|bulk|tools)/", name)])
def test_widgets_reach_the_function(name: str) -> None:
    """What a widget is called is what the parameter does: each one gets that of one widget, or what is made of it."""
    (call,) = [call for words, call, _ in called(name) if words not in ("print",)]
    passed: Set[str] = set()
    for word in call.keywords:
        passed |= {node.id for node in ast.walk(word.value) if isinstance(node, ast.Name)}
    rest = set(widgets_of(name).values()) - passed
    assert rest <= {"output_base_dir", "output_file", "input_table", "output_table"}
    if "output_base_dir" in rest:
        assert "output_dir" in passed


@pytest.mark.parametrize("name", [name for name in OPENED if name.startswith("copy/Copy_")])
def test_copies_give_options_that_the_command_has(name: str) -> None:
    commands = [call for words, call in calls_in(python_of(name)) if words == "copy_by_command"]
    for call in commands:
        command = ast.literal_eval(call.args[0])
        options = {param.name for param in load(command).params}
        given = {word.arg for word in call.keywords}
        assert given <= options
        assert {key for key in options if OPTIONS[str(key)].required} <= given | {
            param.name for param in load(command).params if not param.required
        }
    assert commands or name in ("copy/Copy_Run", "copy/Copy_Model_Version")


def test_scripts_of_the_notebook_exist() -> None:
    shown = [cell.text.split()[0] for cell in cells_of("scripts/Console_Scripts") if cell.kind == "sh"]
    assert set(shown) <= {*COMMANDS, "mlflow-migration"}
    assert len(shown) == len(set(shown)) > 10


def test_notebooks_are_listed() -> None:
    text = prose(NOTEBOOKS / "README.md")
    listed = re.findall(r"\]\(([\w/]+)\.py\)", text)
    assert sorted({*listed} - {"Common"}) == OPENED


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_gets_the_package(name: str) -> None:
    """Each runs, at some remove, the one that installs it."""
    runner, seen = Runner(name), []

    def follow(at: str) -> None:
        seen.append(at)
        for cell in cells_of(at):
            if cell.kind == "run":
                follow(runner.beside(cell.text, at))

    follow(name)
    assert seen[-1] == "Common"
    assert [cell.kind for cell in cells_of("Common")].count("pip") == 1


# ---- the runner


@pytest.fixture
def notebook(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("tests.databricks.notebook_runner.NOTEBOOKS", tmp_path)

    def write(*cells: str, name: str = "n", **given: str) -> Runner:
        text = "# Databricks notebook source\n" + "\n\n# COMMAND ----------\n\n".join(cells) + "\n"
        (tmp_path / f"{name}.py").write_text(text)
        return Runner(name, given)

    return write


def test_the_runner_runs_cells_in_order(notebook: Any) -> None:
    notebook("x = [1]", name="other")
    ran = notebook("# MAGIC %md hello", "# MAGIC %run ./other", "x.append(2)", "display(x)", "displayHTML('<p>')").run()
    assert ran.displayed == [[1, 2]]
    assert ran.pages == ["<p>"]
    shell = "echo $((1 + 1)); exit 3"
    ran = notebook("# MAGIC %pip install a", f"# MAGIC %sh {shell}", "dbutils.notebook.exit('end')", "x").run()
    assert (ran.installed, ran.shell, ran.result) == (["install a"], [(shell, 3, "2\n")], "end")


def test_the_runner_starts_other_notebooks(notebook: Any) -> None:
    notebook("dbutils.widgets.text('w', 'a')", "dbutils.notebook.exit(dbutils.widgets.get('w') * 2)", name="other")
    ran = notebook("display(dbutils.notebook.run('./other', 60, {'w': 'b'}))").run()
    assert ran.displayed == ["bb"]


@pytest.mark.parametrize(
    "cell",
    [
        "dbutils.widgets.get('w')",
        "dbutils.widgets.dropdown('w', 'no', ['yes'])",
        "dbutils.widgets.dropdown('v', 'no', ['yes', 'no'])",  # of which the value is given
        "dbutils.widgets.multiselect('w', 'a,x', ['a', 'b'])",
        "dbutils.widgets.text('w', None)",
        "dbutils.notebook.exit(1)",
        "dbutils.secrets.get('scope', 'key')",
        "spark.table('t')",
        "pass",  # no widget gets the value that is given
        "x = 1\n# MAGIC %md text",
        "# MAGIC %run ./Common\n# MAGIC %run ./Other",
        "# MAGIC %scala 1",
        "",
    ],
)
def test_the_runner_refuses_what_databricks_does(notebook: Any, cell: str) -> None:
    with pytest.raises(NotebookError):
        notebook(cell, v="other").run()


def test_the_runner_refuses_other_files(notebook: Any, tmp_path: Any) -> None:
    (tmp_path / "n.py").write_text("x = 1\n")
    for name in ("n", "missing"):
        with pytest.raises(NotebookError):
            Runner(name).run()
