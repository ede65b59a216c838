"""What became of each object: one line of ledger.jsonl each, the summary, and the exit status."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple

import mlflow_migration
from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, BadInput, Stopped, describe, redact
from mlflow_migration.common.append_log import AppendLog
from mlflow_migration.common.options import loggable
from mlflow_migration.common.progress import megabytes

if TYPE_CHECKING:
    from mlflow_migration.common.export_dir import ExportDir

LEDGER_FILE = "ledger.jsonl"
STATUSES = ("copied", "updated", "unchanged", "incomplete", "skipped", "differs", "failed")
RESULTS = ("same", "missing", "extra", "differs", "error")
"""How an object may come out of a verification."""
NOT_THE_SAME = ("missing", "differs", "error")
"""Those that make it fail."""
_WHOLE = ("copied", "updated", "unchanged")
_EXPLAINED = {"failed": "Not whole", "incomplete": "Not whole", "differs": "Left alone"}
_SIDES = {"read": "From", "write": "To"}
_SHOWN = 20
_INTERRUPTED = "interrupted"
_SECONDS_BETWEEN_PROGRESS = 1.0


class Ledger:
    """Record of one run of a command. Thread-safe; usable as a context manager that closes it.

    :param directory: Where ledger.jsonl is appended to; None keeps the record in memory only.
    :param command: Name of the command.
    :param options: Its options; secrets in them are not written.
    :param accept_loss: Kinds of losses that the user accepts: objects that lack only these count as copied.
    :raises BadInput: The file can't be written there.
    """

    def __init__(
        self,
        directory: Optional[ExportDir],
        command: str,
        options: Mapping[str, Any],
        *,
        accept_loss: Iterable[str] = (),
    ) -> None:
        self.command = command
        self.counts: Dict[str, Dict[str, int]] = {}
        self.notes: List[str] = []
        self.path: Optional[str] = None
        self.report: Optional[str] = None
        self.stopped: Optional[str] = None
        self.about: Mapping[str, str] = {}
        """What tells the part of the work that the records are of."""
        self.told: Set[Tuple[str, str]] = set()
        """Kind, and id at the source, of the objects that are not whole, or were left alone or out."""
        self._verification: Dict[str, Any] = {}
        self._verification_text = ""
        self._servers: Dict[str, str] = {}
        self._under_way = False
        self._dry_run = bool(options.get("dry_run"))
        self._accepted = frozenset(accept_loss)
        self._expected: Counter[str] = Counter()
        self._reasons: Dict[str, List[str]] = {status: [] for status in _EXPLAINED}
        self._skipped: Counter[Tuple[str, str]] = Counter()
        self._amounts: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._ahead: Dict[Tuple[str, str], Dict[str, Any]] = {}
        self._phase = ""
        self._by_wholes = False
        self._began = self._progressed = time.monotonic()
        self._lock = threading.Lock()
        self._file: Optional[AppendLog] = None
        if directory is None:
            return
        start = {"event": "start", "time": _now(), "command": command, "version": mlflow_migration.__version__}
        try:
            self._file = AppendLog(directory, LEDGER_FILE)
            self.path = self._file.path
            self._write({**start, "options": {k: _redacted(loggable(k, value)) for k, value in options.items()}})
        except (OSError, BadDirectory, Stopped) as ex:
            raise BadInput(f"{LEDGER_FILE} can't be written in {directory.path}: {describe(ex)}") from ex

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, _kind: object, value: Optional[BaseException], _trace: object) -> None:
        if value is not None:
            self.stop(value)
        self.close()

    def record(
        self,
        kind: str,
        status: str,
        src_id: Optional[str] = None,
        *,
        dst_id: Optional[str] = None,
        name: Optional[str] = None,
        reason: Optional[str] = None,
        losses: Iterable[str] = (),
        **details: Any,
    ) -> None:
        """Write what became of one object.

        :param kind: "experiment", "run", "logged_model", ...
        :param status: One of STATUSES. An "incomplete" whose losses are all accepted is written as "copied".
        :param src_id: Its id at the source.
        :param dst_id: Its id at the destination.
        :param name: Its name, for the reader.
        :param reason: Why; a sentence or the option that asked for it.
        :param losses: Kinds of what it lacks (options.LOSS_KINDS).
        :param details: Further facts, any JSON; kept as they are.
        :raises ValueError: The status is none of STATUSES.
        :raises Stopped: The file can't be written any more; the object counts nevertheless.
        """
        if status not in STATUSES:
            raise ValueError(f"{status!r} is no status of the ledger")
        before = self._ahead.get((kind, src_id or "")) if status == "unchanged" else None
        if before is not None:
            status, reason, losses = before["status"], before.get("reason"), before.get("losses") or ()
        losses = sorted(set(losses))
        if status == "incomplete" and losses and self._accepted.issuperset(losses):
            status = "copied"
            details["accepted"] = True
        if reason is not None:
            reason = redact(reason)
        line: Dict[str, Any] = {"kind": kind, "status": status}
        for key, value in (("src_id", src_id), ("dst_id", dst_id), ("name", name), ("reason", reason)):
            if value is not None:
                line[key] = value
        if losses:
            line["losses"] = losses
        line.update(details)
        with self._lock:
            of_kind = self.counts.setdefault(kind, {})
            of_kind[status] = of_kind.get(status, 0) + 1
            if losses or status not in _WHOLE:
                self.told.add((kind, src_id or ""))
            if status == "copied":
                self._losses.update(losses)
            elif status == "skipped":
                self._skipped[kind, reason or "no reason given"] += 1
            elif status in self._reasons and len(self._reasons[status]) < _SHOWN:
                where = str(details.get("workspace", "")) if kind != "workspace" else ""
                self._reasons[status].append(_explain(kind, status, src_id, name, reason, losses, where))
            self._write(line)
            self._progress()

    def done_ahead(self, line: Mapping[str, Any]) -> None:
        """Take note of what a worker of a cluster has done: its status counts where this command finds it unchanged.

        :param line: The worker's record.
        """
        if line["status"] != "unchanged":
            self._ahead[line["kind"], line["src_id"]] = dict(line)

    def accepts(self, loss: str) -> bool:
        """Tell whether the user accepts this kind of loss."""
        return loss in self._accepted

    def note(self, text: str, **details: Any) -> None:
        """Write what holds for the whole command, such as rights that are not known; shown first in the summary."""
        text = redact(text)
        with self._lock:
            self.notes.append(text)
            self._write({"event": "note", "text": text, **details})

    def expect(self, kind: str, n: int) -> None:
        """Add to the number of objects of a kind that the source said exist; all must be accounted for at the end."""
        with self._lock:
            self._expected[kind] += n

    def server(self, action: str, uri: str) -> None:
        """Write which server this command works on.

        :param action: "read" or "write".
        :param uri: Its URI.
        """
        with self._lock:
            self._servers[action] = redact(uri)
            self._write({"event": "server", "action": action, "uri": redact(uri)})

    def add(self, **amounts: int) -> None:
        """Add to what this command has carried: ``artifacts`` and their ``bytes``, ``points`` of metrics.

        ``gone`` are artifacts that a directory keeps and the source no longer has.
        """
        with self._lock:
            self._amounts.update(amounts)
            self._progress()

    def verified(self, facts: Mapping[str, Any], text: str) -> None:
        """Take note of what a verification has found.

        :param facts: Its ``depth``, ``result``, ``counts`` and ``exit_status``, any JSON.
        :param text: The same for the summary.
        """
        self._verification, self._verification_text = dict(facts), redact(text)

    def phase(self, name: str, *, whole: bool = False) -> None:
        """Write that another part of the work begins, and the former ends; the same name again is nothing new.

        :param whole: It has parts that run at the same time: what they say of phases of their own counts no more.
        """
        with self._lock:
            if name != self._phase and (whole or not self._by_wholes):
                self._by_wholes = self._by_wholes or whole
                self._phase = name
                self._write({"event": "phase", "time": _now(), "name": name})

    def stop(self, ex: BaseException) -> None:
        """Write that an error or the user ended the work before its end: the exit status is 1."""
        with self._lock:
            self.stopped = describe(ex) if isinstance(ex, Exception) else _INTERRUPTED
            self._under_way = isinstance(ex, Stopped) or bool(self._expected) and not isinstance(ex, Exception)

    @property
    def begun(self) -> bool:
        """Whether anything has been recorded, or was about to be when the work was stopped."""
        return bool(self.counts or self._under_way)

    @property
    def unreconciled(self) -> List[str]:
        """One sentence for each kind whose records are not as many as the source said exist."""
        return [
            f"{kind}: {n} expected, {sum(self.counts.get(kind, {}).values())} accounted for"
            for kind, n in sorted(self._expected.items())
            if n != sum(self.counts.get(kind, {}).values())
        ]

    @property
    def exit_status(self) -> int:
        """0, or 1 if anything is incomplete or failed, the work was stopped or the counts do not reconcile.

        2 if an error came before anything was done.
        """
        if self.stopped not in (None, _INTERRUPTED) and not self.begun:
            return 2
        bad = any(of_kind.get("incomplete") or of_kind.get("failed") for of_kind in self.counts.values())
        return int(bool(bad or self.stopped or self.unreconciled or self._verification.get("exit_status")))

    def close(self) -> None:
        """Write the end line and close the file. Closing again does nothing."""
        with self._lock:
            if self._file is None:
                return
            end: Dict[str, Any] = {"event": "end", "time": _now(), "command": self.command}
            end.update(counts=self.counts, found=dict(self._expected), carried=dict(self._amounts))
            end["exit_status"] = self.exit_status
            if self._verification:
                end["verification"] = self._verification
            if self.stopped:
                end["stopped"] = self.stopped
            if self.unreconciled:
                end["unreconciled"] = self.unreconciled
            try:
                self._write(end)
            except Stopped as ex:
                self.stopped = self.stopped or describe(ex)
            file, self._file = self._file, None
        try:
            file.close()
        except (OSError, BadDirectory) as ex:  # what was done is still to be told
            self.stopped, self.path = self.stopped or f"{LEDGER_FILE} is not written: {describe(ex)}", None

    def summary(self) -> str:
        """Return the counts as a plain-text table, then why objects are not whole."""
        lines = [f"{self.command}: nothing was written; this is what would be done" if self._dry_run else self.command]
        lines += [f"{word}: {self._servers[action]}" for action, word in _SIDES.items() if action in self._servers]
        lines += [f"Note: {printable(note)}" for note in self.notes]
        lines += [""] + self._table() + self._carried()
        if self._losses:
            lines += ["", "Accepted losses: " + ", ".join(f"{kind} of {n}" for kind, n in sorted(self._losses.items()))]
        if self._skipped:
            lines += ["", "Skipped:"]
            lines += [f"  {n} {kind}: {printable(why)}" for (kind, why), n in self._skipped.most_common(_SHOWN)]
        lines += self._explanations()
        if self.stopped:
            left = f" Not done: {', '.join(self._left())}." if self._left() else ""
            lines.append("")
            lines.append(f"Stopped early: {printable(self.stopped).rstrip('.')}.{left} Repeat the command to go on.")
        else:
            lines += [f"The counts do not reconcile: {text}." for text in self.unreconciled]
        lines += ["", self._verification_text] if self._verification_text else []
        if self.path:
            lines.append("")
            lines += [f"Report: {redact(self.report)}"] if self.report else []
            lines.append(f"Details: {redact(self.path)}")
        return "\n".join(lines)

    def _left(self) -> List[str]:
        left = {kind: n - sum(self.counts.get(kind, {}).values()) for kind, n in sorted(self._expected.items())}
        return [f"{n} {kind}" for kind, n in left.items() if n > 0]

    def _table(self) -> List[str]:
        rows = [["kind", "found", *STATUSES]]
        for kind in sorted(set(self.counts) | set(self._expected)):
            of_kind = self.counts.get(kind, {})
            found = self._expected.get(kind, sum(of_kind.values()))
            rows.append([kind, str(found), *(str(of_kind.get(status, 0)) for status in STATUSES)])
        if len(rows) == 1:
            return ["Nothing was found."]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return [
            "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
            for row in rows
        ]

    def _explanations(self) -> List[str]:
        lines: List[str] = []
        for heading in dict.fromkeys(_EXPLAINED.values()):
            statuses = [status for status in _EXPLAINED if _EXPLAINED[status] == heading]
            shown = [text for status in statuses for text in self._reasons[status]][:_SHOWN]
            if not shown:
                continue
            total = sum(of_kind.get(status, 0) for of_kind in self.counts.values() for status in statuses)
            lines += ["", f"{heading}:"] + [f"  {text}" for text in shown]
            if total > len(shown):
                lines.append(f"  and {total - len(shown)} more" + (f", see {redact(self.path)}" if self.path else ""))
        return lines

    def _carried(self) -> List[str]:
        if self._dry_run or not {"run", "logged_model"} & self.counts.keys():
            return []
        artifacts, size, points, gone = (self._amounts[name] for name in ("artifacts", "bytes", "points", "gone"))
        lines = ["", f"Carried: {artifacts:,} artifacts ({megabytes(size)} MB), {points:,} points of metrics"]
        return lines + [f"Kept: {gone:,} artifacts that the source no longer has"] * bool(gone)

    def _progress(self) -> None:
        # ever more seldom, so that a day has not many more lines than an hour
        now = time.monotonic()
        if self._file is None or now - self._progressed < max(_SECONDS_BETWEEN_PROGRESS, (now - self._began) / 100):
            return
        self._progressed = now
        done = {kind: sum(of_kind.values()) for kind, of_kind in self.counts.items()}
        amounts = {"found": dict(self._expected), "done": done, "carried": dict(self._amounts)}
        self._write({"event": "progress", "time": _now(), **amounts})

    def _write(self, line: Dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            text = json_codec.dumps(line)
        except (TypeError, ValueError):
            text = json_codec.dumps(_plain(line))
        self._file.write(text)


class PassingLedger(Ledger):
    """The ledger of something within the work of a command: passes on to the ledger of the whole.

    :param whole: The ledger of the whole.
    """

    def __init__(self, whole: Ledger) -> None:
        super().__init__(None, whole.command, {}, accept_loss=whole._accepted)
        self._whole = whole
        self._ahead = whole._ahead

    def record(self, kind: str, status: str, src_id: Optional[str] = None, **details: Any) -> None:
        """Record for the whole."""
        self._whole.record(kind, status, src_id, **details)

    def note(self, text: str, **details: Any) -> None:
        """Note for the whole."""
        self._whole.note(text, **details)

    def server(self, action: str, uri: str) -> None:
        """Write for the whole which server this is."""
        self._whole.server(action, uri)

    def expect(self, kind: str, n: int) -> None:
        """Expect for the whole."""
        self._whole.expect(kind, n)

    def add(self, **amounts: int) -> None:
        """Add for the whole."""
        self._whole.add(**amounts)

    def phase(self, name: str, *, whole: bool = False) -> None:
        """Begin a part of the whole's work."""
        self._whole.phase(name, whole=whole)


class PartLedger(PassingLedger):
    """The ledger of a part of the work, such as a workspace: also counts what is recorded there.

    :param whole: The ledger of the whole.
    :param about: What each record gets besides, to tell the part.
    """

    def __init__(self, whole: Ledger, **about: str) -> None:
        super().__init__(whole)
        self.about = about

    def record(self, kind: str, status: str, src_id: Optional[str] = None, **details: Any) -> None:
        """Record for the whole, with what tells the part."""
        Ledger.record(self, kind, status, src_id, **details)
        super().record(kind, status, src_id, **{**details, **self.about})

    def note(self, text: str, **details: Any) -> None:
        """Note for the whole, where another part has not done so."""
        if redact(text) not in self._whole.notes:
            super().note(text, **details, **self.about)

    def server(self, action: str, uri: str) -> None:
        """Write for the whole which server this is, where another part has not done so."""
        if self._whole._servers.get(action) != redact(uri):
            super().server(action, uri)


def _explain(
    kind: str,
    status: str,
    src_id: Optional[str],
    name: Optional[str],
    reason: Optional[str],
    losses: List[str],
    workspace: str,
) -> str:
    parts = (kind, src_id, f"({name})" if name else None, f"in {workspace}" if workspace else None)
    who = " ".join(part for part in parts if part)
    why = reason or (f"lacks {', '.join(losses)}" if losses else "")
    return printable(f"{who}: {status}: {why}" if why else f"{who}: {status}")


def printable(text: str) -> str:
    """Return the text without control characters."""
    # names come from servers: a terminal must not obey what is in them
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Return the value as strict JSON can hold it: a ledger line must never fail."""
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, float):
        return json_codec.encode_number(value)
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
