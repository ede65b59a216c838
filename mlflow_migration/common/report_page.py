"""The page of report.html: one file without anything from the network; it is read without JavaScript too."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from mlflow_migration.common.ledger import RESULTS, STATUSES
from mlflow_migration.common.progress import duration

Json = Dict[str, Any]
Cell = Tuple[str, str]
"""Text of a cell, and what it is sorted by if that is another one."""

PAGE_FILES = ("report_page.html", "report_page.js")

_SIDES = {"read": "From", "write": "To"}
_RATES = (
    ("objects", "Objects a second"),
    ("bytes", "Bytes of artifacts a second"),
    ("points", "Metric points a second"),
)
_IDS = ("id at the source", "id at the destination")
_LONG = ("name", "reason", *_IDS)
_FIXED = (
    "Ids, creation times and places of artifacts are always the destination's own, as REST can't set them. "
    "Those of the source are in the directory and in id_map.jsonl."
)


def page(report: Json) -> str:
    """Return the page.

    :param report: What ``read_report`` returns.
    """
    template, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in PAGE_FILES)
    title = f"{report['command']} {_moment(report['start'])}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = [_head(report, title), _counts(report), _objects(report), _skipped(report), _losses(report)]
    parts += [_verification(report), _phases(report), _throughput(report), _about(report), _earlier(report)]
    return Template(template).substitute(
        title=escape(title), script_hash=f"sha256-{digest}", script=script, body="\n".join(filter(None, parts))
    )


# ---- sections


def _head(report: Json, title: str) -> str:
    carried = report["carried"]
    facts = [(word, report["servers"][action]) for action, word in _SIDES.items() if action in report["servers"]]
    facts.append(("Time", f"{_moment(report['start'])} to {_moment(report['end'])}, {_seconds(report['seconds'])}"))
    facts.append(
        (
            "Carried",
            f"{carried.get('artifacts', 0):,} artifacts ({_size(carried.get('bytes', 0))}), "
            f"{carried.get('points', 0):,} points of metrics",
        )
    )
    if carried.get("gone"):
        facts.append(("Kept", f"{carried['gone']:,} artifacts that the source no longer has"))
    notes = [f"<p>Note: {escape(note)}</p>" for note in report["notes"]]
    notes += [f"<p>The counts do not reconcile: {escape(text)}.</p>" for text in report["unreconciled"]]
    if report["unreadable_lines"]:
        notes.append(
            f"<p>{report['unreadable_lines']:,} lines of the ledger can't be read and are not counted here.</p>"
        )
    status = "none yet" if report["exit_status"] is None else report["exit_status"]
    return (
        f'<h1>{escape(title)}</h1>\n<div class="verdict {"whole" if report["outcome"] == "whole" else "bad"}">'
        f"<p>{escape(report['sentence'])}</p><p>{escape(report['what_to_do'])}</p>"
        f'<p class="soft">Exit status: {status}</p></div>\n{_list(facts)}{"".join(notes)}'
    )


def _counts(report: Json) -> str:
    counts, found = report["counts"], report["found"]
    kinds = sorted({*counts, *found})
    if not kinds:
        return "<h2>Objects</h2><p>None was found.</p>"
    totals = {kind: sum(counts.get(kind, {}).values()) for kind in kinds}
    rows = [
        [_cell(_words(kind)), _number(found.get(kind, totals[kind]))]
        + [_number(counts.get(kind, {}).get(status, 0)) for status in STATUSES]
        for kind in kinds
    ]
    most = max(totals.values()) or 1
    bars = "".join(
        f"<span>{escape(_words(kind))}</span>{_bar(counts.get(kind, {}), most)}<span>{totals[kind]:,}</span>"
        for kind in kinds
    )
    used = [status for status in STATUSES if any(of_kind.get(status) for of_kind in counts.values())]
    legend = "".join(
        f'<span><svg viewBox="0 0 1 1" aria-hidden="true"><rect class="{s}" width="1" height="1"/></svg>{s}</span>'
        for s in used
    )
    return (
        "<h2>Objects</h2>"
        + _table("Number of objects by kind and how they ended.", ["kind", "found", *STATUSES], rows, numbers=True)
        + f'<figure><div class="bars">{bars}</div><figcaption class="legend">{legend}</figcaption></figure>'
    )


def _bar(of_kind: Json, most: int) -> str:
    # what is few among many must be seen too
    shares = [(status, max(1000 * of_kind[status] / most, 6)) for status in STATUSES if of_kind.get(status)]
    x, rects = 0.0, ""
    for status, width in shares:
        rects += f'<rect class="{status}" x="{x:.1f}" width="{width:.1f}" height="1"/>'
        x += width
    label = ", ".join(f"{of_kind[status]:,} {status}" for status, _ in shares)
    end = max(1000.0, x)
    return (
        f'<svg class="bar" viewBox="0 0 {end:.0f} 1" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"<title>{label}</title>{rects}</svg>"
    )


def _objects(report: Json) -> str:
    rows = [row for row in report["objects"] if row["status"] != "skipped"]
    if not rows:
        return ""
    return "<h2>Not whole, or left alone</h2>" + _listing(report, rows, ["failed", "incomplete", "differs"])


def _skipped(report: Json) -> str:
    if not report["skipped"]:
        return ""
    groups = [
        [_cell(_words(item["kind"])), _cell(item["reason"]), _number(item["objects"]), _bytes(item["bytes"])]
        for item in report["skipped"]
    ]
    heads = ["kind", "reason", "objects", "size"]
    rows = [row for row in report["objects"] if row["status"] == "skipped"]
    return (
        "<h2>Skipped</h2>"
        + _table("What options left out, and how much.", heads, groups, search=True)
        + f"<details><summary>Each of them</summary>{_listing(report, rows, ['skipped'])}</details>"
    )


def _listing(report: Json, rows: Sequence[Json], statuses: Sequence[str]) -> str:
    where = any(row.get("workspace") for row in rows)
    cells = [
        [_cell(row["status"]), _cell(_words(row["kind"]))]
        + [_cell(row.get("workspace", ""))] * where
        + [_cell(row.get("name", "")), _cell("; ".join(filter(None, [row.get("reason"), _lacks(row)])))]
        + [_cell(row.get("src_id", "")), _cell(row.get("dst_id", "")), _bytes(row.get("size", 0))]
        for row in rows
    ]
    caption = f"{len(rows):,} objects."
    left_out = [f"{report['left_out'][s]:,} more {s}" for s in statuses if report["left_out"].get(s)]
    if left_out:
        caption = f"The first {len(rows):,} objects; {' and '.join(left_out)} are in ledger.jsonl only."
    heads = ["status", "kind", *["workspace"] * where, "name", "reason", *_IDS, "size"]
    return _table(caption, heads, cells, search=True)


def _lacks(row: Json) -> str:
    return f"lacks {', '.join(row['losses'])}" if row.get("losses") else ""


def _losses(report: Json) -> str:
    writes = "write" in report["servers"]
    if not report["losses"] and not writes:
        return ""
    where = "What the destination does not hold" if writes else "What the directory does not hold"
    rows = [
        [_cell(item["loss"]), _cell(_words(item["kind"])), _number(item["objects"]), _number(item["accepted"])]
        for item in report["losses"]
    ]
    table = _table(
        "Kinds of what is lacking, as --accept-loss takes them. Whole values that were refused are in ledger.jsonl.",
        ["lacking", "of kind", "objects", "accepted"],
        rows,
    )
    return f"<h2>{where}</h2>" + (table if rows else "") + (f"<p>{_FIXED}</p>" if writes else "")


def _verification(report: Json) -> str:
    found = report["verification"]
    if found is None:
        return ""
    rows = [
        [_cell(_words(kind)), _number(sum(counts.values()))] + [_number(counts.get(result, 0)) for result in RESULTS]
        for kind, counts in found["counts"].items()
    ]
    left_out = [
        f"<p>Not compared: {item.get('number', 0):,} {escape(_words(item['kind']))}: {escape(item['reason'])}</p>"
        for item in found["left_out"]
    ]
    caption = f"Both sides compared at depth {found['depth']}; verification.jsonl names what is not the same."
    return "<h2>Verification</h2>" + _table(caption, ["kind", "compared", *RESULTS], rows) + "".join(left_out)


def _phases(report: Json) -> str:
    longest = max((phase["seconds"] for phase in report["phases"]), default=0) or 1
    bars = "".join(
        f"<span>{escape(phase['name'])}</span>"
        f'<svg class="bar" viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true"><rect class="updated" '
        f'width="{1000 * phase["seconds"] / longest:.1f}" height="1"/></svg><span>{_seconds(phase["seconds"])}</span>'
        for phase in report["phases"]
    )
    return f'<h2>Time by phase</h2><figure><div class="bars">{bars}</div></figure>'


def _throughput(report: Json) -> str:
    steps = report["throughput"]
    charts = [_chart(steps, key, title) for key, title in _RATES if any(step[key] for step in steps)]
    return "<h2>Throughput over time</h2>" + "".join(charts) if charts else ""


def _chart(steps: Sequence[Json], key: str, title: str) -> str:
    most, mean = max(step[key] for step in steps), sum(step[key] for step in steps) / len(steps)
    shown = [_size(rate) if key == "bytes" else f"{rate:,.1f}" for rate in (mean, most)]
    width = 1000 / len(steps)
    path = "".join(f"V{100 - 96 * step[key] / most:.1f}H{width * (n + 1):.1f}" for n, step in enumerate(steps))
    label = f"{title}: {shown[0]} on average, {shown[1]} at most"
    return (
        f'<figure><figcaption>{label}</figcaption><svg class="line" viewBox="0 0 1000 100" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}"><path d="M0 100{path}V100Z"/></svg>'
        f'<div class="axis soft"><span>0 s</span><span>{_seconds(steps[-1]["until"])}</span></div></figure>'
    )


def _about(report: Json) -> str:
    options = {key: value for key, value in report["options"].items() if value not in (None, False, "", "[]")}
    facts = [*options.items(), ("version", report["version"]), ("report made", _moment(report["made"]))]
    return f"<h2>The command</h2>{_list(facts)}"


def _earlier(report: Json) -> str:
    if not report["earlier"]:
        return ""
    rows = [
        [_cell(run["command"]), _cell(_moment(run["start"])), _cell(_moment(run["end"])), _cell(run["outcome"])]
        + [_number(run["objects"])]
        for run in report["earlier"]
    ]
    more = report["earlier_left_out"]
    caption = "What wrote to this ledger before, the last one first." + (
        f" {more:,} more are not shown." if more else ""
    )
    heads = ["command", "start", "end", "how it ended", "objects"]
    return "<h2>Earlier commands</h2>" + _table(caption, heads, rows)


# ---- parts


def _table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, search: bool = False, numbers: bool = False
) -> str:
    numeric = {"found", *STATUSES} if numbers else {"objects", "size", "accepted", "compared", *RESULTS}
    classes = [' class="number"' if head in numeric else ' class="text"' if head in _LONG else "" for head in heads]
    top = "".join(f'<th scope="col"{of}>{escape(head)}</th>' for of, head in zip(classes, heads))
    lines: List[str] = []
    for row in rows:
        lines.append("<tr>" + "".join(_td(of, cell) for of, cell in zip(classes, row)) + "</tr>\n")
    is_searched = ' class="search-me"' if search else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table{is_searched}>'
        f"<caption>{escape(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _td(attributes: str, cell: Cell) -> str:
    text, order = cell
    return f"<td{attributes}" + (f' data-value="{escape(order)}"' if order else "") + f">{escape(text)}</td>"


def _list(facts: Iterable[Tuple[str, Any]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts) + "</dl>"


def _cell(text: str) -> Cell:
    return text, ""


def _number(n: int) -> Cell:
    return f"{n:,}", str(n)


def _bytes(n: int) -> Cell:
    return (_size(n) if n else ""), str(n)


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _moment(text: Any) -> str:
    return f"{text[:19].replace('T', ' ')} UTC" if text else "(no end)"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _size(n: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if n < 1024:
            return f"{n:,.0f} {unit}" if unit == "bytes" else f"{n:,.1f} {unit}"
        n /= 1024
    return f"{n:,.1f} TB"
