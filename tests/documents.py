"""Reads the project's documents for the tests: their code blocks, commands and links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List

ROOT = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
RUN_MARK = "<!-- run -->"


def documents() -> List[Path]:
    """Return all Markdown files of the project."""
    folders = ["images", "tests", "benchmarks", "databricks_notebooks", "mlflow_migration"]
    found = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.md"))]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))


@dataclass(frozen=True)
class Block:
    """A fenced block. ``run``: it is marked to be really run."""

    document: Path
    line: int
    language: str
    text: str
    run: bool

    @property
    def name(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        at += 1
        if not opened:
            continue
        begin = at
        while not _FENCE.match(lines[at]):
            at += 1
        marked = begin >= 2 and lines[begin - 2].strip() == RUN_MARK
        text = "\n".join(line[len(opened["indent"]) :] for line in lines[begin:at])
        yield Block(document, begin, opened["language"], text, marked)
        at += 1


def commands(text: str) -> Iterator[List[str]]:
    """Yield the commands of a shell block as lists of words; what follows a pipe or ``||`` is left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.strip().endswith(("do", "done")):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: List[str] = []
        for word in lexer:
            if word.strip("|&;<>") == "":
                break
            words.append(word)
        if words:
            yield words


def prose(document: Path) -> str:
    """Return the text of a document without its fenced blocks."""
    text: List[str] = []
    inside = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            text.append(line)
    return "\n".join(text)


def sections(document: Path) -> Iterator[List[str]]:
    """Yield heading and text of each section of level 2."""
    for part in re.split(r"^## ", prose(document), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        yield [heading.strip(), text]
