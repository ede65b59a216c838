"""The documents agree with the commands: options, links, shown commands; and name nothing of one machine."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Dict, List

import click
import pytest

from mlflow_migration.common import options
from mlflow_migration.common.umbrella import COMMANDS, load
from tests.documents import ROOT, Block, blocks, commands, documents, prose, sections
from tests.support import tables

TOOLS = ("single.md", "bulk.md", "copy.md", "tools.md")
COMMON_HEADINGS = {
    "single.md": "Options of all tools",
    "bulk.md": "Options of all bulk tools",
    "copy.md": "Options of all copy tools",
}
ALL_BLOCKS = [block for document in documents() for block in blocks(document)]


def _scripts() -> Dict[str, str]:
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SCRIPTS":
            found: Dict[str, str] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no SCRIPTS")


SCRIPTS = [name for name in _scripts() if name != "mlflow-migration"]


def test_scripts_are_those_of_the_umbrella() -> None:
    scripts = _scripts()
    assert scripts.pop("mlflow-migration") == "common.umbrella"
    assert scripts == {name: entry.module for name, entry in COMMANDS.items()}


def _described(command: str) -> str:
    """Return what a document of the tools says of a command, with the options that all of its tools share."""
    for name in TOOLS:
        texts = dict(sections(ROOT / name))
        if command in texts:
            return texts[command] + texts.get(COMMON_HEADINGS.get(name, ""), "")
    raise AssertionError(f"{command} has no section in {', '.join(TOOLS)}")


@pytest.mark.parametrize("name", SCRIPTS)
def test_options_are_documented(name: str) -> None:
    described = set(re.findall(r"--[a-z][a-z-]*", _described(name)))
    rows = [line.split("|") for line in (ROOT / "options.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    known = [param for param in load(name).params if isinstance(param, click.Option)]
    for param in known:
        for flag in param.opts:
            assert flag in described, f"{flag} of {name} is not described in {', '.join(TOOLS)}"
            of = [row[5] for row in rows if len(row) > 6 and f"`{flag}`" in row[1]]
            assert any(name in text.split(", ") or text.strip() == "all" for text in _stripped(of)), f"{flag} of {name}"


def _stripped(texts: List[str]) -> List[str]:
    return [text.strip() for text in texts]


@pytest.mark.parametrize("name", SCRIPTS)
def test_described_options_exist(name: str) -> None:
    document = next(doc for doc in TOOLS if name in dict(sections(ROOT / doc)))
    rows = re.findall(r"^\| `(--[a-z-]+)`", dict(sections(ROOT / document))[name], flags=re.MULTILINE)
    known = {flag for param in load(name).params for flag in param.opts}
    assert rows
    assert set(rows) <= known


def test_option_tables_are_up_to_date() -> None:
    text = (ROOT / "options.md").read_text(encoding="utf-8")
    assert options.with_tables(text) == text, "run: python -m mlflow_migration.common.options"


def _slug(heading: str) -> str:
    plain = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading.strip())
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def _anchors(document: Path) -> List[str]:
    return [_slug(line.lstrip("#")) for line in prose(document).splitlines() if re.match(r"#{1,6} ", line)]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document)) + re.findall(r'(?:src|href)="([^"]+)"', prose(document))
    for target in targets:
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name} links to {target}"
        assert ROOT in file.parents
        if anchor:
            assert anchor in _anchors(file), f"{document.name} links to {target}"


def _parse(words: List[str]) -> None:
    if words[0] == "mlflow-migration":
        words = words[1:]
    if words[0].startswith("--"):
        return
    try:
        load(words[0]).make_context(words[0], words[1:])
    except click.exceptions.Exit:
        pass  # --help


SHELL_BLOCKS = [block for block in ALL_BLOCKS if block.language in ("", "bash")]


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=lambda block: block.name)
def test_shown_commands_parse(block: Block) -> None:
    ours = [*COMMANDS, "mlflow-migration"]
    if block.language != "bash" and not any(line.strip().startswith(tuple(ours)) for line in block.text.splitlines()):
        return
    for words in commands(block.text):
        if words[0] in ours:
            _parse(words)
        elif "-m" in words and words[0].startswith("python"):
            assert importlib.util.find_spec(words[words.index("-m") + 1])


@pytest.mark.parametrize("block", [b for b in ALL_BLOCKS if b.language == "json"], ids=lambda block: block.name)
def test_shown_json_is_strict(block: Block) -> None:
    def refuse(literal: str) -> None:
        raise ValueError(literal)

    json.loads(block.text, parse_constant=refuse)


@pytest.mark.parametrize("block", [b for b in ALL_BLOCKS if b.language == "python"], ids=lambda block: block.name)
def test_shown_python_compiles(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlflow_migration"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def test_shown_commands_cover_each_tool() -> None:
    shown = {words[0] for block in SHELL_BLOCKS if block.language == "bash" for words in commands(block.text)}
    assert shown.issuperset(SCRIPTS)
    run = {words[0] for block in SHELL_BLOCKS if block.run for words in commands(block.text)}
    # the servers of this run's tests are full of other tests' data: test_whole_server.py, test_kinds.py have their own
    assert run == set(SCRIPTS) - {"export-all", "import-all", "copy-all", "import-label-schemas"}


def test_variables_in_documents_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents())
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "mlflow_migration").rglob("*.py"))
    for name in sorted(set(re.findall(r"MLFLOW_MIGRATION_[A-Z_0-9]+[A-Z0-9]", text))):
        rest = re.sub(r"^MLFLOW_MIGRATION_((SRC|DST)_)?", "", name)
        assert rest in code, f"{name} is documented but nothing reads it"


MACHINE_PATHS = re.compile(r"(?:(?<=[\s\"'`(=])|^)/(?:[\w.-]+/)+[\w.-]+", re.MULTILINE)
EXAMPLE_PATHS = (
    "/tmp/export", "/Shared/", "/dbfs/", "/Volumes/", "/home/me/", "/api/", "/ajax-api/", "/Mary/", "/John/"
)  # fmt: skip


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_no_machine(document: Path) -> None:
    text = re.sub(r"(https?|s3|gs|abfss|sqlite|postgresql)://\S+", "", document.read_text(encoding="utf-8"))
    for path in MACHINE_PATHS.findall(text):
        assert path.startswith(EXAMPLE_PATHS), f"{document.name} names {path}"
    assert not re.search(r"\bissue #?\d", text, flags=re.IGNORECASE)


def test_nothing_names_this_checkout() -> None:
    here = str(ROOT)
    if len(ROOT.parts) < 3:
        pytest.skip(f"{here} is too short a path to look for")
    endings = (".py", ".md", ".toml", ".txt", ".cfg", ".yaml", ".yml", ".sh", ".svg", "")
    for folder in ("mlflow_migration", "tests", "benchmarks", "images", "."):
        pattern = "*" if folder == "." else "**/*"
        for path in (ROOT / folder).glob(pattern):
            if path.is_file() and path.suffix in endings:
                assert here not in path.read_text(encoding="utf-8", errors="replace"), path


def test_table_of_limitations_is_up_to_date() -> None:
    text = (ROOT / "limitations.md").read_text(encoding="utf-8")
    assert tables.with_table(text) == text, "run: python -m tests.support.tables"
