"""Executes notebooks in Databricks' source format, under a small stand-in for what Databricks gives them.

The stand-in is strict where Databricks is: widgets have texts only, a choice must be one of its choices, and a widget
that was not made can't be read. `%run` shares names and widgets with the notebook that it stands in, while
`dbutils.notebook.run` starts one of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from tests.documents import ROOT

NOTEBOOKS = ROOT / "databricks_notebooks"
FIRST_LINE = "# Databricks notebook source"
SEPARATOR = "# COMMAND ----------"
MAGIC = "# MAGIC"


class NotebookError(Exception):
    """A notebook is not as Databricks takes it."""


@dataclass(frozen=True)
class Cell:
    """A cell: of Python, or of a magic such as md, run, pip or sh."""

    kind: str
    text: str


def notebooks() -> List[str]:
    """All notebooks, by their paths without ending."""
    paths = (path.relative_to(NOTEBOOKS).with_suffix("") for path in NOTEBOOKS.rglob("*.py"))
    return sorted(path.as_posix() for path in paths)


def cells_of(name: str) -> List[Cell]:
    """The cells of a notebook.

    :raises NotebookError: It is not in source format.
    """
    path = NOTEBOOKS / f"{name}.py"
    if not path.is_file():
        raise NotebookError(f"there is no notebook {name}")
    first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    if first != FIRST_LINE:
        raise NotebookError(f"{name} does not begin with {FIRST_LINE!r}")
    parts = re.split(rf"^{re.escape(SEPARATOR)}$", rest, flags=re.MULTILINE)
    return [_cell(name, part.strip("\n")) for part in parts]


def _cell(name: str, text: str) -> Cell:
    lines = text.splitlines()
    if not text.strip():
        raise NotebookError(f"{name} has an empty cell")
    if not lines[0].startswith(MAGIC):
        if any(line.startswith(MAGIC) for line in lines):
            raise NotebookError(f"{name}: a magic stands in a cell of Python:\n{text}")
        return Cell("python", text)
    if not all(line == MAGIC or line.startswith(MAGIC + " ") for line in lines):
        raise NotebookError(f"{name}: not all of a cell's lines begin with {MAGIC}:\n{text}")
    plain = "\n".join(line[len(MAGIC) + 1 :] for line in lines)
    match = re.match(r"%(md|run|pip|sh)\s+(.+)\Z", plain, re.DOTALL)
    if not match:
        raise NotebookError(f"{name}: no such magic:\n{text}")
    if match[1] in ("run", "pip") and len(lines) > 1:
        raise NotebookError(f"{name}: %{match[1]} must be alone in its cell:\n{text}")
    return Cell(match[1], match[2].strip())


class Widgets:
    """`dbutils.widgets`. `given` are the values that a user, or a job, has put into them."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = dict(given)
        self.made: Dict[str, str] = {}

    def text(self, name: str, default_value: str, label: Optional[str] = None) -> None:
        self._make(name, default_value, None)

    def dropdown(self, name: str, default_value: str, choices: Sequence[str], label: Optional[str] = None) -> None:
        self._make(name, default_value, choices)

    def multiselect(self, name: str, default_value: str, choices: Sequence[str], label: Optional[str] = None) -> None:
        self._make(name, default_value, choices, several=True)

    def get(self, name: str) -> str:
        if name not in self.made:
            raise NotebookError(f"InputWidgetNotDefined: {name}")
        return self.made[name]

    def _make(self, name: str, default: Any, choices: Optional[Sequence[str]], several: bool = False) -> None:
        if not all(isinstance(text, str) for text in (name, default, *(choices or ()))):
            raise NotebookError(f"widget {name}: Databricks takes texts only")
        value = self.given.get(name, default)
        for text in (default, value):
            parts = text.split(",") if several else [text]
            if choices is not None and any(part not in choices for part in parts if part or not several):
                raise NotebookError(f"widget {name}: {text!r} is none of {choices}")
        self.made.setdefault(name, value)


class _Exit(BaseException):
    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class _NotebookUtils:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def exit(self, value: str) -> None:
        if not isinstance(value, str):
            raise NotebookError("dbutils.notebook.exit takes a text")
        raise _Exit(value)

    def run(self, path: str, timeout_seconds: int, arguments: Optional[Mapping[str, str]] = None) -> Optional[str]:
        if not all(isinstance(value, str) for value in (arguments or {}).values()):
            raise NotebookError("dbutils.notebook.run: widgets get texts only")
        inner = Runner(self._runner.beside(path), arguments or {}, self._runner.secrets, self._runner.tables)
        self._runner.inner.append(inner.run())
        return inner.result


class _Secrets:
    def __init__(self, secrets: Mapping[Tuple[str, str], str]) -> None:
        self._secrets = secrets

    def get(self, scope: str, key: str) -> str:
        if (scope, key) not in self._secrets:
            raise NotebookError(f"Secret does not exist with scope: {scope} and key: {key}")
        return self._secrets[scope, key]


class _Utils:
    """`dbutils`."""

    def __init__(self, runner: Runner) -> None:
        self.widgets, self.notebook = runner.widgets, _NotebookUtils(runner)
        self.secrets = _Secrets(runner.secrets)


class _Table:
    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def limit(self, n: int) -> _Table:
        return _Table(self._frame.head(n))

    def toPandas(self) -> Any:  # noqa: N802 -- Spark's name
        return self._frame


class _Spark:
    """`spark`, with tables and the host of the workspace."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._tables = tables
        self.conf = {"spark.databricks.workspaceUrl": "adb-1.example.com"}

    def table(self, name: str) -> _Table:
        if name not in self._tables:
            raise NotebookError(f"TABLE_OR_VIEW_NOT_FOUND: {name}")
        return _Table(self._tables[name])


@dataclass
class Runner:
    """One execution of a notebook.

    :param name: Its path below databricks_notebooks, without ending.
    :param given: Values of widgets; the others keep their defaults.
    :param secrets: By scope and key.
    :param tables: DataFrames by name.
    """

    name: str
    given: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[Tuple[str, str], str] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)

    #: what %pip was to install, and what %sh has done: command, exit status, output
    installed: List[str] = field(default_factory=list)
    shell: List[Tuple[str, int, str]] = field(default_factory=list)
    #: what was shown as a page, and as data
    pages: List[str] = field(default_factory=list)
    displayed: List[Any] = field(default_factory=list)
    #: what the notebook gave to dbutils.notebook.exit, and the executions that it has started
    result: Optional[str] = None
    inner: List[Runner] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.widgets = Widgets(self.given)
        self.names: Dict[str, Any] = {
            "__name__": "__main__",
            "dbutils": _Utils(self),
            "spark": _Spark(self.tables),
            "display": self.displayed.append,
            "displayHTML": self.pages.append,
        }

    def run(self) -> Runner:
        """Execute all cells.

        :raises NotebookError: The notebook is not as Databricks takes it, or has no widget that a value is given for.
        """
        try:
            self._cells(self.name)
        except _Exit as ex:
            self.result = ex.value
        unknown = sorted(set(self.given) - set(self.widgets.made))
        if unknown:
            raise NotebookError(f"{self.name} has no widgets {unknown}, but {sorted(self.widgets.made)}")
        return self

    def beside(self, path: str, name: str = "") -> str:
        """The notebook that a path names in a notebook; default is the one that is executed."""
        folder = (NOTEBOOKS / (name or self.name)).parent
        return Path(os.path.normpath(folder / path)).relative_to(NOTEBOOKS).as_posix()

    def _cells(self, name: str) -> None:
        for number, cell in enumerate(cells_of(name), 1):
            if cell.kind == "run":
                self._cells(self.beside(cell.text, name))
            elif cell.kind == "pip":
                self.installed.append(cell.text)
            elif cell.kind == "sh":
                self._shell(cell.text)
            elif cell.kind == "python":
                exec(compile(cell.text, f"{name}, cell {number}", "exec"), self.names)

    def _shell(self, text: str) -> None:
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        done = subprocess.run(
            ["bash", "-c", text], env={**os.environ, "PATH": path}, capture_output=True, text=True, encoding="utf-8",
            timeout=120,
        )  # fmt: skip
        self.shell.append((text, done.returncode, done.stdout + done.stderr))
