"""Compares the traces of two experiments, each read anew through REST, and none of the package's code.

Ids of the caller's maps are brought to the destination's; what servers set themselves is left out; everything else must
be equal. Nothing to compare is a difference, too.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from tests.support.make_traces import time_text
from tests.support.rest import AJAX, API, Json, Rest, RestError

API_3 = "/api/3.0/mlflow"
TRACE_KEY = "mlflow_exim.trace.trace_id"
_OF_SERVER = {"mlflow.artifactLocation", "mlflow.trace.spansLocation", "mlflow.trace.infoFinalized"}
#: computed by a server of its spans, if nobody tells it
_COMPUTED = {"mlflow.trace.tokenUsage", "mlflow.trace.cost", "mlflow.trace.session", "mlflow.trace.user"}
_ATTACHMENT = re.compile(r"mlflow-attachment://([0-9a-f-]+)")
_SHOWN = 200  # characters of a value
_GROUP = 100


class _Traces:
    """The traces of one experiment."""

    def __init__(self, uri: str, experiment: str, auth: Optional[Tuple[str, str]]) -> None:
        self.rest = Rest(uri, auth=auth)
        self.experiment_id = self.rest.experiment(experiment)["experiment_id"]
        self.infos: Dict[str, Json] = {info["trace_id"]: info for info in self.search()}

    def search(self, where: str = "") -> List[Json]:
        """Infos of the traces for which a filter holds."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment_id}}
        body: Json = {"locations": [place], "max_results": 500, **({"filter": where} if where else {})}
        found: List[Json] = []
        while True:
            try:
                reply = self.rest.call("POST", f"{API_3}/traces/search", json=body)
            except RestError as ex:
                if ex.status not in (404, 405) or where:
                    raise
                return self._old_search()
            found += reply.get("traces") or []
            if not reply.get("next_page_token"):
                return found
            body["page_token"] = reply["next_page_token"]

    def _old_search(self) -> List[Json]:
        params: Json = {"experiment_ids": self.experiment_id, "max_results": 100}
        found: List[Json] = []
        while True:
            reply = self.rest.call("GET", f"{API}/traces", params=params)
            found += map(_new_shape, reply.get("traces") or [])
            if not reply.get("next_page_token"):
                return found
            params["page_token"] = reply["next_page_token"]

    def spans(self, trace_ids: Sequence[str]) -> Dict[str, Dict[str, Json]]:
        """Spans by trace and their own id in hex."""
        found = {}
        in_database = [one for one in trace_ids if _tags(self.infos[one]).get("mlflow.trace.spansLocation") == _STORE]
        if in_database:
            params = [("trace_ids", one) for one in in_database]
            for trace in self.rest.call("GET", f"{API_3}/traces/batchGet", params=params).get("traces") or []:
                found[trace["trace_info"]["trace_id"]] = dict(map(_stored_span, trace.get("spans") or []))
        for one in trace_ids:
            if one not in found:
                found[one] = self._spans_of_file(one)
        return found

    def _spans_of_file(self, trace_id: str) -> Dict[str, Json]:
        try:
            doc = self.rest.call("GET", f"{AJAX}/get-trace-artifact", params={"request_id": trace_id})
        except RestError as ex:
            if ex.status == 404:
                return {}
            raise
        return dict(map(_span_of_file, doc.get("spans") or []))

    def attachment(self, trace_id: str, name: str) -> Any:
        """The bytes of an attachment, or why there are none."""
        try:
            return self.rest._bytes(f"{AJAX}/get-trace-artifact", {"request_id": trace_id, "path": name})
        except RestError as ex:
            return str(ex.status)


_STORE = "TRACKING_STORE"
_EXPERIMENT = "mlflow.experimentId"


class _Comparison:
    def __init__(self, src: _Traces, dst: _Traces, ids: Mapping[str, str]) -> None:
        self.src, self.dst = src, dst
        self.ids = dict(ids)
        self.found: List[str] = []
        self.pairs: Dict[str, str] = {}
        self.experiments = {src.experiment_id: dst.experiment_id}

    def equal(self, what: str, src: Any, dst: Any) -> None:
        if _stable(src) != _stable(dst):
            self.found.append(f"{what}: {_short(src)} became {_short(dst)}")

    def equal_dicts(self, what: str, src: Mapping[str, Any], dst: Mapping[str, Any]) -> None:
        for key in sorted(src.keys() | dst.keys()):
            if key in src and key in dst:
                self.equal(f"{what} {key!r}", src[key], dst[key])
            else:
                side, value = ("missing", src[key]) if key in src else ("added", dst[key])
                self.found.append(f"{what} {key!r}: {side} ({_short(value)})")

    # ---- what is a copy of what

    def pair(self, only: Optional[Iterable[str]]) -> None:
        copies: Dict[str, List[str]] = {}
        for trace_id, info in self.dst.infos.items():
            copies.setdefault(_tags(info).get(TRACE_KEY, trace_id), []).append(trace_id)
        wanted = [one for one in self.src.infos if only is None or one in set(only)]
        if not wanted:
            self.found.append("the source has no traces: nothing was compared")
        if len(wanted) != len(self.dst.infos):
            self.found.append(f"number of traces: {len(wanted)} became {len(self.dst.infos)}")
        for trace_id in wanted:
            found = copies.pop(trace_id, [])
            if len(found) != 1:
                self.found.append(f"trace {trace_id}: {f'{len(found)} copies' if found else 'missing'}")
            if found:
                self.pairs[trace_id] = found[0]
        self.found += [f"trace {one} of the destination: a copy of none" for each in copies.values() for one in each]
        self.ids.update(self.pairs)
        both = [pair for pair in self.pairs.items() if all(one.startswith("tr-") for one in pair)]
        self.ids.update((one[len("tr-") :], two[len("tr-") :]) for one, two in both)

    def mapped(self, value: Any) -> Any:
        """A value of the source with the destination's ids."""
        if isinstance(value, str):
            if value in self.ids:
                return self.ids[value]
            return _WORD.sub(lambda word: self.ids.get(word.group(0), word.group(0)), value)
        if isinstance(value, list):
            return [self.mapped(item) for item in value]
        if isinstance(value, dict):
            own = {key: self.experiments[item] for key, item in value.items() if key == _EXPERIMENT}
            return {**{key: self.mapped(item) for key, item in value.items()}, **own}
        return value

    # ---- what a trace is

    def info(self, src_id: str, dst_id: str) -> None:
        src, dst = self.src.infos[src_id], self.dst.infos[dst_id]
        label = f"trace {src_id}"
        for name in ("client_request_id", "request_preview", "response_preview"):
            self.equal(f"{label}: {name}", src.get(name), dst.get(name))
        for name in ("request_time", "execution_duration", "state"):
            self.equal(f"{label}: {name}", src.get(name), dst.get(name))
        ours, theirs = (one.get("trace_metadata") or {} for one in (src, dst))
        computed = {key for key in theirs if key in _COMPUTED and key not in ours}
        self.equal_dicts(f"{label}: metadata", self._values(ours), _values(theirs, computed))
        self.equal_dicts(f"{label}: tag", self._values(_tags(src)), _values(_tags(dst), {TRACE_KEY}))
        self._assessments(label, src, dst)

    def _values(self, values: Mapping[str, str]) -> Json:
        return {key: self.mapped(value) for key, value in _values(values, {TRACE_KEY}).items()}

    def _assessments(self, label: str, src: Json, dst: Json) -> None:
        ours, theirs = (one.get("assessments") or [] for one in (src, dst))
        self.equal(f"{label}: number of assessments", len(ours), len(theirs))
        if src["trace_id"] != dst["trace_id"]:  # their ids are new, too
            ours, theirs = _numbered(ours), _numbered(theirs)
        first = {one["assessment_id"]: self.mapped(one) for one in ours}
        self.equal_dicts(f"{label}: assessment", first, {one["assessment_id"]: one for one in theirs})

    # ---- spans, attachments

    def spans(self, group: Sequence[Tuple[str, str]]) -> None:
        ours = self.src.spans([one for one, _ in group])
        theirs = self.dst.spans([two for _, two in group])
        for src_id, dst_id in group:
            label = f"trace {src_id}"
            self.equal(f"{label}: number of spans", len(ours[src_id]), len(theirs[dst_id]))
            for span_id in sorted(ours[src_id].keys() | theirs[dst_id].keys()):
                src, dst = ours[src_id].get(span_id), theirs[dst_id].get(span_id)
                if src is None or dst is None:
                    self.found.append(f"{label}: span {span_id}: {'added' if src is None else 'missing'}")
                    continue
                self.equal_dicts(f"{label}: span {span_id}", self.mapped(src), dst)
            for name in sorted(set(_ATTACHMENT.findall(json.dumps(ours[src_id])))):
                first, second = self.src.attachment(src_id, name), self.dst.attachment(dst_id, name)
                if first != second:
                    self.found.append(f"{label}: attachment {name}: {_short(first)} became {_short(second)}")

    # ---- links

    def links(self, label: str, ours: str, theirs: str) -> None:
        """Compare which traces a filter finds on each side."""
        first = sorted(self.mapped(info["trace_id"]) for info in self.src.search(ours))
        self.equal(label, first, sorted(info["trace_id"] for info in self.dst.search(theirs)))


_WORD = re.compile(r"[\w-]+")


def trace_differences(
    src: Tuple[str, str],
    dst: Tuple[str, str],
    *,
    run_map: Optional[Mapping[str, str]] = None,
    model_map: Optional[Mapping[str, str]] = None,
    prompts: Sequence[Tuple[str, str]] = (),
    prompt_map: Optional[Mapping[str, str]] = None,
    only: Optional[Iterable[str]] = None,
    links: bool = True,
    src_auth: Optional[Tuple[str, str]] = None,
    dst_auth: Optional[Tuple[str, str]] = None,
) -> List[str]:
    """Every difference between the traces of an experiment and those of its copy; empty if there is none.

    :param src: Tracking server and name (or id) of the source experiment.
    :param dst: Tracking server and name (or id) of the copy.
    :param run_map: Source run id -> copy's run id.
    :param model_map: The same for logged models.
    :param prompts: Names and versions of prompts to which traces may be linked at the source.
    :param prompt_map: Names of prompts at the source -> at the destination, if they differ.
    :param only: Trace ids that should have been copied; default all.
    :param links: Also the links to the runs of the map and to the prompts; a server before MLflow 3 tells none.
    :param src_auth: User and password.
    :param dst_auth: User and password.
    """
    ours, theirs = _Traces(*src, src_auth), _Traces(*dst, dst_auth)
    names = dict(prompt_map or {})
    ids = {**(run_map or {}), **(model_map or {}), **names}
    comparison = _Comparison(ours, theirs, ids)
    comparison.pair(only)
    pairs = list(comparison.pairs.items())
    for pair in pairs:
        comparison.info(*pair)
    for first in range(0, len(pairs), _GROUP):
        comparison.spans(pairs[first : first + _GROUP])
    for run_id, copy in (run_map or {}).items() if links else ():
        comparison.links(f"traces of run {run_id}", f"run_id = '{run_id}'", f"run_id = '{copy}'")
    for name, version in prompts if links else ():
        where = [f"prompt = '{one}/{version}'" for one in (name, names.get(name, name))]
        comparison.links(f"traces of prompt {name}/{version}", *where)
    return comparison.found


def assert_same_traces(src: Tuple[str, str], dst: Tuple[str, str], **options: Any) -> None:
    """Fail with all differences; parameters as of `trace_differences`."""
    found = trace_differences(src, dst, **options)
    if found:
        raise AssertionError(f"{len(found)} differences:\n" + "\n".join(found[:50]))


# ---- values


def _tags(info: Json) -> Dict[str, str]:
    return dict(info.get("tags") or {})


def _values(values: Mapping[str, str], more: Iterable[str] = ()) -> Json:
    """Metadata or tags that count; JSON without its layout."""
    left_out = {*_OF_SERVER, *more}
    return {key: _parsed(value) for key, value in values.items() if key not in left_out}


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (dict, list)) else text


def _numbered(assessments: Sequence[Json]) -> List[Json]:
    """Assessments with numbers for ids, by what they are else."""

    def order(one: Json) -> str:
        return _stable({key: value for key, value in one.items() if key not in (*_IDS, "metadata")})

    names = {one["assessment_id"]: f"{n}" for n, one in enumerate(sorted(assessments, key=order))}
    return [
        {**one, "assessment_id": names[one["assessment_id"]], "overrides": names.get(one.get("overrides", ""), "")}
        for one in assessments
    ]


_IDS = ("assessment_id", "trace_id", "overrides")


def _stored_span(span: Json) -> Tuple[str, Json]:
    """A span of the database: id in hex, and what it is."""
    doc = _span(span)
    doc["attributes"] = _of_otlp(span.get("attributes"))
    doc["events"] = [
        [item.get("name"), int(item.get("time_unix_nano") or 0), _of_otlp(item.get("attributes"))]
        for item in span.get("events") or []
    ]
    doc["links"] = [
        [_hex(item.get("trace_id")), _hex(item.get("span_id")), _of_otlp(item.get("attributes"))]
        for item in span.get("links") or []
    ]
    return _hex(span["span_id"]), doc


def _span(span: Json) -> Json:
    status = span.get("status") or {}
    return {
        "name": span.get("name"),
        "trace": _hex(span.get("trace_id")),
        "parent": _hex(span.get("parent_span_id")),
        "start": int(span.get("start_time_unix_nano") or 0),
        "end": int(span.get("end_time_unix_nano") or 0),
        "status": [str(status.get("code") or "UNSET").replace("STATUS_CODE_", ""), status.get("message") or ""],
    }


def _of_otlp(pairs: Optional[Iterable[Json]]) -> Json:
    return {pair["key"]: _of_any(pair.get("value") or {}) for pair in pairs or ()}


def _of_any(value: Json) -> Any:
    for kind, found in value.items():
        if kind == "array_value":
            return [_of_any(item) for item in found.get("values") or []]
        if kind == "kvlist_value":
            return _of_otlp(found.get("values"))
        return int(found) if kind == "int_value" else found
    return None


def _span_of_file(span: Json) -> Tuple[str, Json]:
    """A span of traces.json, of whatever age: id in hex, and what it is."""
    context = span.get("context")
    if context:
        span = {
            **span,
            "trace_id": context["trace_id"],
            "span_id": context["span_id"],
            "parent_span_id": span.get("parent_id"),
            "start_time_unix_nano": span.get("start_time"),
            "end_time_unix_nano": span.get("end_time"),
            "status": {"code": span.get("status_code"), "message": span.get("status_message")},
            "events": [
                {**item, "time_unix_nano": item.get("timestamp")} for item in span.get("events") or []
            ],
        }  # fmt: skip
    doc = _span(span)
    doc["attributes"] = {key: _loaded(value) for key, value in (span.get("attributes") or {}).items()}
    doc["events"] = [
        [item.get("name"), int(item.get("time_unix_nano") or 0), item.get("attributes") or {}]
        for item in span.get("events") or []
    ]
    doc["links"] = [
        [str(item.get("trace_id")).replace("tr-", ""), item.get("span_id"), item.get("attributes") or {}]
        for item in span.get("links") or []
    ]
    return _hex(span["span_id"]), doc


def _loaded(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _hex(value: Optional[str]) -> str:
    """An id in hex, from base64 or from what old files have."""
    if not value:
        return ""
    if value.startswith("0x"):
        return value[2:]
    if re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{32}", value):
        return value
    return base64.b64decode(value).hex()


def _new_shape(old: Json) -> Json:
    """The info of a server before MLflow 3, as newer ones give it."""
    state = {"UNSPECIFIED": "STATE_UNSPECIFIED"}.get(old.get("status") or "", old.get("status"))
    pairs = lambda name: {item["key"]: item.get("value", "") for item in old.get(name) or []}  # noqa: E731
    metadata = pairs("request_metadata")
    ms = int(old.get("timestamp_ms") or 0)
    took = old.get("execution_time_ms")
    return {
        "trace_id": old["request_id"],
        "request_time": _time(ms),
        "execution_duration": None if took is None else _seconds(int(took)),
        "state": state,
        "trace_metadata": metadata,
        "tags": pairs("tags"),
        # newer servers take the previews from here
        "request_preview": metadata.get("mlflow.traceInputs"),
        "response_preview": metadata.get("mlflow.traceOutputs"),
    }


def _seconds(ms: int) -> str:
    return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms // 1000}.{ms % 1000:03}s"


def _time(ms: int) -> str:
    return time_text(ms) if ms % 1000 else time_text(ms).replace(".000Z", "Z")


def _stable(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 20]}... ({len(text)} characters)"
