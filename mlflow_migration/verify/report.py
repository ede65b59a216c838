"""What a verification finds: counts, each object that is not the same, the exit status, and two files."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Container, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import mlflow_migration
from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, BadInput, describe, redact
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import json_text
from mlflow_migration.common.ledger import NOT_THE_SAME, RESULTS
from mlflow_migration.common.options import loggable
from mlflow_migration.common.progress import megabytes
from mlflow_migration.verify.objects import Thing

Json = Dict[str, Any]
Difference = Tuple[str, Any, Any]
"""A field, and its values at the source and at the destination; None where there is none."""

LINES_FILE, REPORT_FILE = "verification.jsonl", "verification.json"
_SHOWN = 20  # objects on the console
_SHOWN_FIELDS = 3  # differences of one of them
_KEPT = 1_000  # objects in the report
_LONGEST = 200  # characters of a value
_LOOKED_AT = 400
_TOLD = "not whole, as the command has told itself"


class Report:
    """Gets the result of each object. Thread-safe.

    :param directory: Where its two files go; None keeps the report in memory.
    :param options: Those of the command.
    """

    def __init__(self, directory: Optional[ExportDir], options: Mapping[str, Any]) -> None:
        self._directory, self._options = directory, options
        self._told: Container[Tuple[str, str]] = ()
        self.depth = str(options.get("depth") or "metadata")
        self.sides: Dict[str, str] = {}
        self.notes: List[str] = []
        self.counts: Dict[str, Dict[str, int]] = {}
        self.stopped: Optional[str] = None
        self._left_out: Counter[Tuple[str, str]] = Counter()
        self._amounts: Counter[str] = Counter()
        self._kept: List[Json] = []
        self._start = time.time()
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._file: Any = None
        self._closed = self._is_new = False
        self._about: Dict[str, str] = {}

    # -- what is found ------------------------------------------------------------------------------------------

    def begin(self, **sides: str) -> None:
        """Take note of what is compared with what, by ``source`` and ``destination``; again for each part of it.

        :raises BadInput: The report can't be written.
        """
        self.sides = {**{name: redact(uri) for name, uri in sides.items()}, **self.sides}
        if self._directory is None or self._file is not None:
            return
        self._is_new = self._directory.is_local and not self._directory.exists()
        try:
            self._file = self._stack.enter_context(self._directory.new_file(LINES_FILE))
        except (OSError, BadDirectory) as ex:
            raise BadInput(f"{LINES_FILE} can't be written in {self._directory.path}: {describe(ex)}") from ex

    @contextmanager
    def part(self, told: Container[Tuple[str, str]] = (), **about: str) -> Iterator[None]:
        """Have what is recorded meanwhile tell the part of the whole that it belongs to, such as a workspace.

        :param told: Kind, and id at the source or name, of its objects that are known not to be whole: they do not
            count.
        :param about: What tells the part.
        """
        before = self._told, self._about
        self._told, self._about = told, about
        try:
            yield
        finally:
            self._told, self._about = before

    def compared(self, thing: Thing, dst_id: str, differences: Sequence[Difference], errors: Sequence[str]) -> None:
        """Record an object that both sides have."""
        result = "error" if errors else "differs" if differences else "same"
        self.record(thing.kind, result, thing.id, dst_id, thing.name, differences, "; ".join(errors))

    def missing(self, thing: Thing) -> None:
        """Record an object that the destination lacks, or why the source can't show it."""
        if thing.error is None:
            self.record(thing.kind, "missing", thing.id, name=thing.name)
        else:
            self.broken(thing, thing.error)

    def broken(self, thing: Thing, ex: Exception) -> None:
        """Record an object that can't be read, or what it has can't."""
        self.record(thing.kind, "error", thing.id, name=thing.name, reason=describe(ex))

    def record(
        self,
        kind: str,
        result: str,
        src_id: str = "",
        dst_id: str = "",
        name: str = "",
        differences: Sequence[Difference] = (),
        reason: str = "",
    ) -> None:
        """Record one object.

        :param result: One of RESULTS.
        :param reason: Why it is an error.
        """
        if result in NOT_THE_SAME and ((kind, src_id) in self._told or (kind, name) in self._told):
            self.leave_out(kind, _TOLD)
            return
        line: Json = {"kind": kind, "result": result}
        for key, value in (("src_id", src_id), ("dst_id", dst_id), ("name", name), ("reason", reason)):
            if value:
                line[key] = _shortened(value)
        line.update(self._about)
        if differences:
            line["differences"] = [
                {"field": field, "source": _shortened(src), "destination": _shortened(dst)}
                for field, src, dst in differences
            ]
        with self._lock:
            of_kind = self.counts.setdefault(kind, dict.fromkeys(RESULTS, 0))
            of_kind[result] += 1
            if result == "same":
                return
            if len(self._kept) < _KEPT:
                self._kept.append(line)
            if self._file is not None:
                self._file.write(json_codec.dumps(line) + b"\n")

    def leave_out(self, kind: str, why: str) -> None:
        """Count an object that is not compared, as an option says so."""
        with self._lock:
            self._left_out[kind, why] += 1

    def note(self, text: str) -> None:
        """Take note of what holds for the whole."""
        if redact(text) not in self.notes:
            self.notes.append(redact(text))

    def add(self, **amounts: int) -> None:
        """Add to what was compared.

        :param amounts: ``artifacts``, ``hashed`` artifacts and their ``bytes``, ``points`` of metrics, ``spans`` and
            ``assessments`` of traces, ``records`` of evaluation datasets.
        """
        with self._lock:
            self._amounts.update(amounts)

    # -- what comes of it ---------------------------------------------------------------------------------------

    def stop(self, ex: BaseException) -> None:
        """Take note that an error or the user ended the work before its end."""
        self.stopped = describe(ex) if isinstance(ex, Exception) else "interrupted"

    @property
    def begun(self) -> bool:
        """Whether anything has been compared."""
        return bool(self.counts or self._left_out)

    @property
    def exit_status(self) -> int:
        """0 if all is the same, 1 if not, 2 if nothing could be compared."""
        if self.stopped not in (None, "interrupted") and not self.begun:
            return 2
        bad = any(of_kind[result] for of_kind in self.counts.values() for result in NOT_THE_SAME)
        return int(bad or bool(self.stopped))

    def document(self) -> Json:
        """Return the report."""
        return {
            "version": mlflow_migration.__version__,
            **self.sides,
            "options": {key: _redacted(loggable(key, value)) for key, value in self._options.items()},
            "start_time": int(self._start * 1000),
            "duration": round(time.time() - self._start, 3),
            **self.facts(),
            **({"stopped": self.stopped} if self.stopped else {}),
            "notes": self.notes,
            "compared": dict(self._amounts),
            "not_the_same": self._kept,
        }

    def facts(self) -> Json:
        """Return the most important of it."""
        left_out = [{"kind": kind, "reason": why, "number": n} for (kind, why), n in sorted(self._left_out.items())]
        return {
            "depth": self.depth,
            "result": ("same", "different", "not compared")[self.exit_status],
            "exit_status": self.exit_status,
            "counts": {kind: self.counts[kind] for kind in sorted(self.counts)},
            "left_out": left_out,
        }

    def close(self) -> None:
        """Write the files. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._file is None or self._directory is None:
            return
        if not self.begun:  # nothing is to be seen of a command that could not start
            self._stack.__exit__(OSError, OSError("discarded"), None)
            if self._is_new:
                with suppress(OSError):
                    os.rmdir(self._directory.path)
            return
        try:
            self._stack.close()
            self._directory.write_json(REPORT_FILE, json_text(self.document()))
        except (OSError, BadDirectory) as ex:
            self.stopped = self.stopped or f"the report is not written: {describe(ex)}"

    def summary(self) -> str:
        """Return the counts as a plain-text table, then what is not the same in words."""
        lines = [f"verify-migration: depth {self.depth}"]
        lines += [f"{side.capitalize()}: {uri}" for side, uri in self.sides.items()]
        lines += [f"Note: {_printable(note)}" for note in self.notes]
        return "\n".join([*lines, "", self._body()])

    def text(self) -> str:
        """Return the same for the summary of the command that is verified."""
        return f"Verified at depth {self.depth}:\n\n{self._body()}"

    def _body(self) -> str:
        lines = [*self._table(), "", self._compared()]
        lines += [f"Not compared: {n} {kind}, {why}" for (kind, why), n in sorted(self._left_out.items())]
        total = sum(n for of_kind in self.counts.values() for result, n in of_kind.items() if result != "same")
        if total:
            lines += ["", "Not the same:"] + [f"  {_printable(_words(line))}" for line in self._kept[:_SHOWN]]
        if total > _SHOWN:
            lines.append(f"  and {total - _SHOWN} more")
        if self.stopped:
            lines += ["", f"Stopped early: {_printable(self.stopped).rstrip('.')}. Not everything was compared."]
        if self._directory is not None:
            lines += ["", f"Details: {redact(self._directory.path)}/{LINES_FILE}"]
        return "\n".join(lines)

    def _table(self) -> List[str]:
        rows = [["kind", "compared", *RESULTS]]
        for kind, of_kind in sorted(self.counts.items()):
            rows.append([kind, str(sum(of_kind.values())), *(str(of_kind[result]) for result in RESULTS)])
        widths = [max(map(len, column)) for column in zip(*rows)]
        return [
            "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
            for row in rows
        ]

    def _compared(self) -> str:
        artifacts, hashed, size, points = (self._amounts[name] for name in ("artifacts", "hashed", "bytes", "points"))
        records = self._amounts["records"]
        text = (
            f"Compared: {artifacts:,} artifacts, {hashed:,} of them byte by byte ({megabytes(size)} MB); "
            f"{points:,} points of metrics" + (f"; {records:,} records of evaluation datasets" if records else "")
        )
        if "trace" in self.counts:
            spans, assessments = (self._amounts[name] for name in ("spans", "assessments"))
            text += f"; {spans:,} spans and {assessments:,} assessments of traces"
        return text


def _words(line: Json) -> str:
    ids = " -> ".join(line[key] for key in ("src_id", "dst_id") if line.get(key))
    name = f" ({line['name']})" if line.get("name") and line["name"] != ids else ""
    where = f" in {line['workspace']}" if line.get("workspace") and line["kind"] != "workspace" else ""
    text = f"{line['kind']} {ids}{name}{where}: {line['result']}"
    if line.get("reason"):
        text += f": {line['reason']}"
    found = line.get("differences") or []
    for item in found[:_SHOWN_FIELDS]:
        src, dst = ("absent" if item[side] is None else repr(item[side]) for side in ("source", "destination"))
        text += f"; {item['field']}: {src} became {dst}"
    return text + (f"; and {len(found) - _SHOWN_FIELDS} more" if len(found) > _SHOWN_FIELDS else "")


def _shortened(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    text = (value if isinstance(value, str) else repr(value)).encode("utf-8", "backslashreplace").decode()
    start = redact(text[:_LOOKED_AT])  # to look for secrets in very long texts takes long
    return start if len(text) <= _LONGEST else f"{start[: _LONGEST - 30]}... ({len(text)} characters)"


def _redacted(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _printable(text: str) -> str:
    # names come from servers: a terminal must not obey what is in them
    return "".join(char if char.isprintable() else " " for char in text)
