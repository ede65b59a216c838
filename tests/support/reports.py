"""What a command has written about its work: ledger, id map and summary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

Json = Dict[str, Any]


def _lines(path: Path) -> List[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ledger(directory: Union[str, Path]) -> List[Json]:
    """The records of the last command that wrote a ledger there: what became of each object.

    :raises AssertionError: The command did not end properly.
    """
    lines = _lines(Path(directory) / "ledger.jsonl")
    start = max(number for number, line in enumerate(lines) if line.get("event") == "start")
    assert lines[-1].get("event") == "end", f"no end in {directory}"
    return [line for line in lines[start:] if "kind" in line]


def records(
    directory: Union[str, Path], kind: Optional[str] = None, status: Optional[str] = None, src_id: Optional[str] = None
) -> List[Json]:
    """Those records of the last command that have this kind, status and source id."""
    wanted = {"kind": kind, "status": status, "src_id": src_id}
    return [line for line in ledger(directory) if all(line.get(key) == value for key, value in wanted.items() if value)]


def statuses(directory: Union[str, Path], kind: str = "run") -> Dict[str, str]:
    """Source id -> status, of the last command's records of a kind."""
    return {line["src_id"]: line["status"] for line in records(directory, kind)}


def notes(directory: Union[str, Path]) -> List[str]:
    """The notes of all commands."""
    return [line["text"] for line in _lines(Path(directory) / "ledger.jsonl") if line.get("event") == "note"]


def id_map(directory: Union[str, Path], kind: str = "run") -> Dict[str, str]:
    """Source id -> destination id of one kind, all destinations together."""
    return {line["src_id"]: line["dst_id"] for line in _lines(Path(directory) / "id_map.jsonl") if line["kind"] == kind}


def table(stdout: str) -> Dict[str, Dict[str, int]]:
    """The summary's table: kind -> column -> number.

    :raises AssertionError: There is none.
    """
    head, rows = None, {}
    for line in stdout.splitlines():
        cells = line.split()
        if cells[:2] in (["kind", "found"], ["kind", "compared"]):
            head = cells
        elif head and len(cells) == len(head) and all(re.fullmatch(r"\d+", cell) for cell in cells[1:]):
            rows[cells[0]] = dict(zip(head[1:], map(int, cells[1:])))
        elif head:
            break
    assert head, f"no summary in:\n{stdout}"
    return rows
