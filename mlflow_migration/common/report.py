"""The facts of a ledger, for report.html and report.json: what became of the last command that wrote to it."""

from __future__ import annotations

import posixpath
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Deque, Dict, Iterator, List, NamedTuple, Optional, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadInput
from mlflow_migration.common.append_log import stored_lines
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import write_document
from mlflow_migration.common.ledger import LEDGER_FILE, NOT_THE_SAME, STATUSES, printable
from mlflow_migration.common.options import parse_time

Json = Dict[str, Any]

REPORT_FILES = ("report.html", "report.json")
LISTED = ("failed", "incomplete", "differs", "skipped")
"""Statuses whose objects are listed, the worst first."""

# a ledger has any number of lines; the page must stay usable
_MAX_ROWS = 1000
_MAX_TEXT = 500
_MAX_EARLIER = 20
_MAX_POINTS = 400
_STRETCHES = 60
_FORMAT = "1"


class _Point(NamedTuple):
    time: int
    objects: int
    bytes: int
    points: int


@dataclass
class _Run:
    """What the lines of one run of a command say."""

    start: Json
    end: Json = field(default_factory=dict)
    servers: Dict[str, str] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)
    counts: Dict[str, "Counter[str]"] = field(default_factory=dict)
    found: Json = field(default_factory=dict)
    carried: Json = field(default_factory=dict)
    losses: Dict[Tuple[str, str], "Counter[str]"] = field(default_factory=dict)
    skipped: Dict[Tuple[str, str], "Counter[str]"] = field(default_factory=dict)
    rows: Dict[str, List[Json]] = field(default_factory=lambda: {status: [] for status in LISTED})
    phases: "Counter[str]" = field(default_factory=Counter)
    phase: str = "starting"
    phase_began: int = 0
    points: List[_Point] = field(default_factory=list)
    unreadable: int = 0

    def __post_init__(self) -> None:
        self.phase_began = _ms(self.start.get("time")) or 0
        self.points.append(_Point(self.phase_began, 0, 0, 0))

    def take(self, line: Json) -> None:
        """Add a line."""
        event = line.get("event")
        if event == "server":
            self.servers[_text(line.get("action"))] = _text(line.get("uri"))
        elif event == "note" and len(self.notes) < _MAX_ROWS:
            self.notes.append(_text(line.get("text")))
        elif event == "phase":
            self._next_phase(_ms(line.get("time")), _text(line.get("name")))
        elif event == "progress":
            self._progress(line, sum(_numbers(line.get("done")).values()))
        elif event == "end":
            self.end = line
            self._progress(line, sum(sum(_numbers(of_kind).values()) for of_kind in _dict(line.get("counts")).values()))
        elif event is None:
            self._record(line)

    def _next_phase(self, time: Optional[int], name: str) -> None:
        if time is not None:
            self.phases[self.phase] += max(0, time - self.phase_began)
            self.phase_began = time
        self.phase = name

    def _progress(self, line: Json, objects: int) -> None:
        self.found, self.carried = _numbers(line.get("found")), _numbers(line.get("carried"))
        time = _ms(line.get("time"))
        if time is None or time <= self.points[-1].time:
            return
        if len(self.points) >= _MAX_POINTS:
            del self.points[1::2]
        self.points.append(_Point(time, objects, self.carried.get("bytes", 0), self.carried.get("points", 0)))

    def _record(self, line: Json) -> None:
        kind, status, reason = _text(line.get("kind")), line.get("status"), _text(line.get("reason"))
        if not kind or status not in STATUSES:
            self.unreadable += 1
            return
        self.counts.setdefault(kind, Counter())[status] += 1
        losses = [_text(loss) for loss in _list(line.get("losses"))]
        for loss in losses:
            self.losses.setdefault((loss, kind), Counter())["accepted" if status == "copied" else "objects"] += 1
        size = _numbers({"size": line.get("size")}).get("size")
        if status == "skipped":
            group = (kind, reason) if (kind, reason) in self.skipped or len(self.skipped) < _MAX_ROWS else (kind, "…")
            self.skipped.setdefault(group, Counter()).update(objects=1, bytes=size or 0)
        rows = self.rows.get(status)
        if rows is not None and len(rows) < _MAX_ROWS:
            ids = {key: _text(line.get(key)) for key in ("name", "src_id", "dst_id", "workspace")}
            row = {"kind": kind, "status": status, **ids, "reason": reason, "losses": losses, "size": size}
            rows.append({key: value for key, value in row.items() if value not in ("", [], None)})

    def facts(self) -> Json:
        """Return all of it as JSON."""
        began, ended = self.points[0].time, _ms(self.end.get("time"))
        self._next_phase(max(ended or 0, self.points[-1].time, self.phase_began), "")
        total: "Counter[str]" = Counter()
        for of_kind in self.counts.values():
            total.update(of_kind)
        stopped = _text(self.end.get("stopped")) or None
        outcome, verification = _outcome(self.end, stopped), _verification(self.end)
        return {
            "outcome": outcome,
            "sentence": _sentence(outcome, total, stopped, verification),
            "what_to_do": _REMEDIES[outcome],
            "exit_status": _status(self.end),
            **_times(self.start, self.end),
            "seconds": round((max(ended or 0, self.points[-1].time) - began) / 1000, 3),
            "options": {_text(key): _plain(value) for key, value in _dict(self.start.get("options")).items()},
            "servers": self.servers,
            "notes": self.notes,
            "stopped": stopped,
            "unreconciled": [_text(text) for text in _list(self.end.get("unreconciled"))],
            "counts": {kind: {s: n[s] for s in STATUSES if n[s]} for kind, n in sorted(self.counts.items())},
            "verification": verification,
            "found": self.found,
            "carried": self.carried,
            "losses": [
                {"loss": loss, "kind": kind, "objects": n["objects"], "accepted": n["accepted"]}
                for (loss, kind), n in sorted(self.losses.items())
            ],
            "skipped": [
                {"kind": kind, "reason": reason, "objects": n["objects"], "bytes": n["bytes"]}
                for (kind, reason), n in sorted(self.skipped.items(), key=lambda item: -item[1]["objects"])
            ],
            "phases": [{"name": name, "seconds": ms / 1000} for name, ms in self.phases.items()],
            "throughput": list(_rates(self.points)),
            "objects": [row for status in LISTED for row in self.rows[status]],
            "left_out": {s: total[s] - len(self.rows[s]) for s in LISTED if total[s] > len(self.rows[s])},
            "unreadable_lines": self.unreadable,
        }


def write_report(directory: ExportDir) -> str:
    """Write report.json and report.html beside a ledger.

    :param directory: Where ledger.jsonl is.
    :return: Path of report.html.
    :raises BadDirectory: The ledger can't be read, or the object store can't be written to.
    :raises BadInput: No command has written to the ledger.
    :raises OSError: The files can't be written.
    """
    from mlflow_migration.common.report_page import page  # only here is it needed

    facts = read_report(directory)
    html, document = REPORT_FILES
    write_document(directory, document, facts)
    directory.write_json(html, page(facts).encode())
    return posixpath.join(directory.path, html)


def read_report(directory: ExportDir) -> Json:
    """Return the facts about the last command that wrote to a ledger, and a few about those before.

    :param directory: Where ledger.jsonl is.
    :raises BadDirectory: It can't be read.
    :raises BadInput: No command has written to it.
    """
    earlier: Deque[Json] = deque(maxlen=_MAX_EARLIER)
    last, total, start = 0, 0, {}
    brief: Optional[Json] = None
    # years of nightly exports may lie before: of their lines only those of start and end are looked into
    for number, line in enumerate(stored_lines(directory, LEDGER_FILE)):
        doc = _line(line) if line.startswith((b'{"event":"start"', b'{"event":"end"')) else None
        if doc is None:
            continue
        if doc["event"] == "start":
            if brief is not None:
                earlier.append(brief)
            last, total, start = number, total + 1, doc
            brief = _brief(doc, {})
        elif brief is not None:
            brief = _brief(start, doc)
    if not total:
        raise BadInput(f"{posixpath.join(directory.path, LEDGER_FILE)} holds no start of a command.")
    run = _Run(start)
    for line in islice(stored_lines(directory, LEDGER_FILE), last + 1, None):
        doc = _line(line)
        if doc is None:
            run.unreadable += 1
        else:
            run.take(doc)
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {
        "report_version": _FORMAT,
        "made": now,
        **run.facts(),
        "earlier": list(reversed(earlier)),
        "earlier_left_out": total - 1 - len(earlier),
    }


def _outcome(end: Json, stopped: Optional[str]) -> str:
    status = _status(end)
    if status == 0:
        return "whole"
    if status == 2:
        return "not started"
    return "not ended" if not end else "stopped" if stopped else "not whole"


_REMEDIES = {
    "whole": "Nothing is to be done.",
    "not whole": "Look at the reasons below, mend what they name and repeat the command: it takes what is missing, and "
    "makes nothing twice. Losses that are fine can be named with --accept-loss.",
    "stopped": "Repeat the command: it goes on from here, and makes nothing twice.",
    "not started": "Mend what the message names and start the command again.",
    "not ended": "If it still runs, wait, and make the report again with make-report. If it was killed, repeat it: it "
    "goes on from here, and makes nothing twice.",
}


def _verification(end: Json) -> Optional[Json]:
    """Return what the verification at the end has found, None if there was none."""
    found = _dict(end.get("verification"))
    if not found:
        return None
    left_out = []
    for item in map(_dict, _list(found.get("left_out"))):
        words = {"kind": _text(item.get("kind")), "reason": _text(item.get("reason"))}
        left_out.append({**words, **_numbers({"number": item.get("number")})})
    return {
        "depth": _text(found.get("depth")),
        "result": _text(found.get("result")),
        "counts": {_text(kind): _numbers(counts) for kind, counts in sorted(_dict(found.get("counts")).items())},
        "left_out": left_out,
    }


def _sentence(outcome: str, total: "Counter[str]", stopped: Optional[str], verification: Optional[Json]) -> str:
    objects = f"{sum(total.values()):,} object{'s' if sum(total.values()) != 1 else ''}"
    why = (stopped or "").rstrip(".")
    if outcome == "whole":
        left = f" {total['differs']:,} had been changed there and were left alone." if total["differs"] else ""
        return f"All is well: nothing is missing of {objects}.{left}"
    if outcome == "not started":
        return f"The command could not start, and nothing was done: {why}."
    if outcome == "stopped":
        return f"The command stopped before its end, after {objects}: {why}."
    if outcome == "not ended":
        return f"The command has not come to its end; so far there are {objects}."
    counts = (verification or {}).get("counts", {}).values()
    found = sum(of_kind.get(result, 0) for of_kind in counts for result in NOT_THE_SAME)
    bad = [f"the verification found {found:,} that {'is' if found == 1 else 'are'} not the same"] if found else []
    bad += [f"{total['failed']:,} failed"] if total["failed"] else []
    bad += [f"{total['incomplete']:,} {'is' if total['incomplete'] == 1 else 'are'} incomplete"] * bool(
        total["incomplete"]
    )
    return f"Not all is well: of {objects}, {' and '.join(bad) or 'some are not accounted for'}."


def _times(start: Json, end: Json) -> Json:
    return {
        "command": _text(start.get("command")),
        "version": _text(start.get("version")),
        "start": _text(start.get("time")),
        "end": _text(end.get("time")) or None,
    }


def _brief(start: Json, end: Json) -> Json:
    counts = _dict(end.get("counts"))
    objects = sum(sum(_numbers(of_kind).values()) for of_kind in counts.values())
    return {
        **_times(start, end),
        "outcome": _outcome(end, end.get("stopped")),
        "exit_status": _status(end),
        "objects": objects,
    }


def _rates(points: List[_Point]) -> Iterator[Json]:
    """Give what was carried a second in each of some equal stretches of time."""
    began, whole = points[0].time, points[-1].time - points[0].time
    if not whole:
        return
    number = min(_STRETCHES, max(1, whole // 1000))
    edges = [began + whole * n / number for n in range(number + 1)]
    sums = [_at(points, edge) for edge in edges]
    seconds = whole / number / 1000
    for n in range(number):
        objects, size, metrics = (round(max(0.0, b - a) / seconds, 3) for a, b in zip(sums[n], sums[n + 1]))
        yield {"until": round(seconds * (n + 1), 3), "objects": objects, "bytes": size, "points": metrics}


def _at(points: List[_Point], time: float) -> List[float]:
    """Return what had been carried at some time, as if it had come evenly between two points."""
    after = next((n for n, point in enumerate(points) if point.time >= time), len(points) - 1)
    a, b = points[max(after - 1, 0)], points[after]
    share = (time - a.time) / (b.time - a.time) if b.time > a.time else 1.0
    return [x + (y - x) * share for x, y in zip(a[1:], b[1:])]


# ---- anybody may have written the ledger: nothing is taken for what it should be


def _line(line: bytes) -> Optional[Json]:
    try:
        doc = json_codec.loads(line)
    except (ValueError, RecursionError):
        return None
    return doc if isinstance(doc, dict) else None


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return printable(text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…")


def _status(end: Json) -> Optional[int]:
    status = end.get("exit_status")
    return status if isinstance(status, int) and status in (0, 1, 2) and not isinstance(status, bool) else None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int)) else _text(value)


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> List[Any]:
    return value[:_MAX_ROWS] if isinstance(value, list) else []


def _numbers(value: Any) -> Dict[str, int]:
    return {_text(key): n for key, n in _dict(value).items() if isinstance(n, int) and 0 <= n < 2**63 and n is not True}


def _ms(value: Any) -> Optional[int]:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except BadInput:
        return None
