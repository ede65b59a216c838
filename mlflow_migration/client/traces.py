"""Every endpoint for traces that the package uses, one method each: JSON in, JSON out.

A trace's info has the shape of MLflow 3's REST API (``TraceInfoV3``), whatever the server's age; a span that of
``traces/batchGet``: OTLP's JSON with snake_case names, base64 ids and times in ns.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterator, List, Optional, Sequence
from urllib.parse import quote

from mlflow_migration.client import json_codec, otlp
from mlflow_migration.client.databricks_artifacts import TRACE_DATA, TraceFiles
from mlflow_migration.client.errors import NotFound, Refused, Unavailable
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import AJAX, API, API_3, Tracking, tag_dict

Json = Dict[str, Any]

TRACE_KEY = "mlflow_exim.trace.trace_id"
"""Tag of an imported trace that could not keep its id: the id of the trace that it was made from."""

SOURCE_RUN = "mlflow.sourceRun"
"""Metadata of a trace: the run in which it was made."""

SPANS_LOCATION = "mlflow.trace.spansLocation"
ARTIFACT_LOCATION = "mlflow.artifactLocation"

PAGE = 500  # traces in a page of a search: the most that a server gives
BATCH = 100  # traces in one request for their spans, or for links
_QUERY = 6_000  # characters of ids in one query: a reverse proxy takes 8 kB
_OTLP = "/v1/traces"
_INPUTS, _OUTPUTS = "mlflow.traceInputs", "mlflow.traceOutputs"


class Traces:
    """The traces of one tracking server.

    :param tracking: The server.
    """

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking
        self.rest = tracking.rest
        self.keeps_files = tracking.is_databricks
        """Whether the server keeps spans as files, and takes them in no other way."""

    # -- reading ------------------------------------------------------------------------------------------------

    def search(
        self, experiment_id: str, where: str = "", order_by: Sequence[str] = (), page: int = PAGE
    ) -> Iterator[List[Json]]:
        """Yield pages of infos with their assessments; nothing on servers that know no traces.

        :param where: MLflow's filter string.
        :param order_by: MLflow's order clauses.
        :param page: Traces in a page.
        """

        def fetch(token: Optional[str]) -> Json:
            more: Json = {**({"filter": where} if where else {}), **({"page_token": token} if token else {})}
            if order_by:
                more["order_by"] = list(order_by)
            found = self.rest.optional("traces/search", lambda: self._search(experiment_id, page, more))
            if found is None:
                found = self.rest.optional("traces", lambda: self._search_2(experiment_id, page, more))
            return found or {}

        return paged(fetch, "traces")

    def _search(self, experiment_id: str, page: int, more: Json) -> Json:
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
        return self.rest.search(f"{API_3}/traces/search", {"locations": [place], "max_results": page, **more})

    def _search_2(self, experiment_id: str, page: int, more: Json) -> Json:
        """Ask a server before MLflow 3."""
        found = self.rest.get(f"{API}/traces", {"experiment_ids": experiment_id, "max_results": page, **more})
        return {**found, "traces": [info_of_2(info) for info in found.get("traces") or ()]}

    def listing(self, experiment_id: str, where: str = "") -> Iterator[List[Json]]:
        """Yield all infos of an experiment, each once, in order of their request time.

        A page token is an offset, and traces may go meanwhile: so each request begins at the time where the last one
        ended.

        :param where: MLflow's filter string.
        """
        start: Optional[int] = None
        last: Dict[str, None] = {}  # ids of that time
        while True:
            begin = [] if start is None else [f"timestamp_ms >= {start}"]
            clause = " AND ".join([*([where] if where else []), *begin])
            count, before = 0, start
            for page in self.search(experiment_id, clause, ("timestamp_ms ASC",)):
                count += len(page)
                new = [info for info in page if info["trace_id"] not in last]
                time = millis(page[-1].get("request_time"))
                if time != start:
                    start, last = time, {}
                last.update((info["trace_id"], None) for info in page if millis(info.get("request_time")) == start)
                if new:
                    yield new
                if start != before:
                    break  # go on from there by time, not by offset
            if count < PAGE or start == before:
                return

    def known(self, trace_ids: Sequence[str]) -> List[Json]:
        """Return the infos of those traces that the server has, in whatever experiment."""
        found: List[Json] = []
        for some in _batches(trace_ids):
            reply = self.rest.optional(
                "traces/batchGetInfos",
                lambda ids=some: self.rest.search(f"{API_3}/traces/batchGetInfos", {"trace_ids": ids}),  # type: ignore[misc]
            )
            if reply is None:
                found += [info for info in map(self._info, some) if info is not None]
            else:
                found += reply.get("trace_infos") or ()
        return found

    def _info(self, trace_id: str) -> Optional[Json]:
        """Return the info of one trace from a server that can't be asked for many; None if it has none."""
        part = _part(trace_id)
        for path in (f"{API_3}/traces/{part}", f"{API}/traces/{part}/info"):
            try:
                reply = self.rest.get(path)
            except NotFound as ex:
                if ex.error_code:
                    return None
                continue  # an older server, or a slash in the id, which no path can name
            info = (reply.get("trace") or reply)["trace_info"]
            return dict(info) if "trace_id" in info else info_of_2(info)
        return None

    def batch(self, trace_ids: Sequence[str]) -> Dict[str, List[Json]]:
        """Return the spans of traces that keep theirs in the server's database, by id.

        Traces with spans that have not ended are left out, and all are by a server that has no such request. One that
        keeps its spans elsewhere makes the whole request fail.
        """
        found: Dict[str, List[Json]] = {}
        for some in _batches(trace_ids):
            reply = self.rest.optional(
                "traces/batchGet",
                lambda ids=some: self._get(f"{API_3}/traces/batchGet", {"trace_ids": ids}),  # type: ignore[misc]
            )
            for trace in (reply or {}).get("traces") or ():
                found[trace["trace_info"]["trace_id"]] = trace.get("spans") or []
        return found

    def one(self, trace_id: str) -> Optional[List[Json]]:
        """Return the spans of one trace, also of one in progress; None if the server has no such request.

        :raises MlflowExportImportException: They are not in the server's database, or can't be read.
        """
        params = {"trace_id": trace_id, "allow_partial": "true"}
        reply = self.rest.optional("traces/get", lambda: self._get(f"{API_3}/traces/get", params))
        return None if reply is None else (reply.get("trace") or {}).get("spans") or []

    def _get(self, path: str, params: Json) -> Json:
        # a server answers 500 to traces that it can't give in this form: to ask again is in vain
        try:
            return json_codec.loads(self.rest.request("GET", path, params=params, retries=1).content)  # type: ignore[no-any-return]
        except Unavailable as ex:
            if ex.http_status_code != 500:
                raise
            raise Refused(ex.message, http_status_code=500) from ex

    @contextmanager
    def artifact(self, trace_id: str, path: str = "") -> Iterator[Iterator[bytes]]:
        """Give the bytes of ``traces.json``, or of an attachment, from wherever the server keeps them.

        :param path: Name of an attachment.
        """
        if self.keeps_files:
            with TraceFiles(self.rest, trace_id).read(f"attachments/{path}" if path else TRACE_DATA) as blocks:
                yield blocks
            return
        params = {"request_id": trace_id, **({"path": path} if path else {})}
        with self.rest.stream(f"{AJAX}/get-trace-artifact", params) as blocks:
            yield blocks

    def linked(self, experiment_id: str, run_id: str) -> Iterator[List[Json]]:
        """Yield pages of infos of the traces of an experiment that belong to a run, or are linked to it."""
        if "'" in run_id:
            return iter(())
        return self.search(experiment_id, f"run_id = '{run_id}'")

    # -- writing ------------------------------------------------------------------------------------------------

    def writable(self) -> bool:
        """Tell whether the server takes traces as MLflow 3 gives them."""
        if not self.rest.lacks("traces/create"):
            self.rest.optional("traces/create", self._probe)
        return not self.rest.lacks("traces/create")

    def _probe(self) -> bool:
        try:
            self.rest.request("POST", f"{API_3}/traces", body={}, retries=0)
        except Unavailable:
            return True
        except NotFound:
            raise
        except Refused as ex:
            if ex.http_status_code in (405, 501):
                raise
        return True

    def create(self, info: Json) -> Json:
        """Create a trace with its assessments, or set all of one that is there, which may be in another experiment.

        It may be repeated. A trace and an assessment have the ids that they are given.

        :param info: As REST gives it, without what the server sets.
        :return: The info that it has now.
        """
        reply = self.rest.post(f"{API_3}/traces", {"trace": {"trace_info": info}})
        return dict(reply["trace"]["trace_info"])

    def log_spans(self, experiment_id: str, spans: Sequence[Json]) -> None:
        """Write spans, of many traces if need be; those that are there already are written again.

        The server makes the id of the trace from the spans': ``tr-`` and its 32 hexadecimal digits.

        :param experiment_id: That of traces that are not there yet.
        :raises ValueError: A value is none that OTLP can hold.
        """
        headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment_id}
        self.rest.request("POST", _OTLP, body=otlp.encode(spans), headers=headers)

    def link_to_run(self, trace_ids: Sequence[str], run_id: str) -> None:
        """Link traces to a run, at most BATCH at a time; the server drops what it has."""
        self.rest.post(f"{API}/traces/link-to-run", {"trace_ids": list(trace_ids), "run_id": run_id})

    def link_prompts(self, trace_id: str, prompts: Sequence[Json]) -> None:
        """Link versions of prompts, given by name and version, to a trace; the server drops what it has."""
        self.rest.post(f"{API}/traces/link-prompts", {"trace_id": trace_id, "prompt_versions": list(prompts)})

    def create_assessment(self, trace_id: str, assessment: Json) -> None:
        """Add an assessment, with its own id, to a trace; one that it overrides is not valid any more."""

        def find() -> Optional[bool]:
            infos = self.known([trace_id])
            ids = {one.get("assessment_id") for info in infos for one in info.get("assessments") or ()}
            return assessment["assessment_id"] in ids or None

        body = {"assessment": {**assessment, "trace_id": trace_id}}
        path = f"{API_3}/traces/{_part(trace_id)}/assessments"
        self.rest.post_once(path, body, find, lambda reply: True)

    def delete_assessment(self, trace_id: str, assessment_id: str) -> None:
        """Delete an assessment; it is no error if there is none."""
        try:
            self.rest.delete(f"{API_3}/traces/{_part(trace_id)}/assessments/{_part(assessment_id)}")
        except NotFound as ex:
            if not ex.error_code:
                raise

    def set_tag(self, trace_id: str, key: str, value: str) -> None:
        """Set a tag of a trace."""
        self.rest.patch(f"{API_3}/traces/{_part(trace_id)}/tags", {"key": key, "value": value})

    def delete_tag(self, trace_id: str, key: str) -> None:
        """Remove a tag of a trace; it is no error if there is none."""
        try:
            path = f"{API_3}/traces/{_part(trace_id)}/tags?key={quote(key, safe='')}"
            self.rest.delete(path, {"key": key})
        except NotFound as ex:
            if not ex.error_code:
                raise

    def delete(self, experiment_id: str, trace_ids: Sequence[str]) -> None:
        """Delete traces for good, at most BATCH at a time."""
        body = {"experiment_id": experiment_id, "request_ids": list(trace_ids)}
        self.rest.post(f"{API}/traces/delete-traces", body)


def info_of_2(info: Json) -> Json:
    """Return an info of MLflow 2 in the shape of MLflow 3."""
    metadata = tag_dict(info.get("request_metadata"))
    found: Json = {
        "trace_id": info["request_id"],
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": str(info.get("experiment_id", ""))},
        },
        "request_time": timestamp(int(info.get("timestamp_ms") or 0)),
        "state": {"UNSPECIFIED": "STATE_UNSPECIFIED"}.get(info.get("status", ""), info.get("status"))
        or "STATE_UNSPECIFIED",
        "trace_metadata": metadata,
        "tags": tag_dict(info.get("tags")),
    }
    if info.get("execution_time_ms") is not None:
        found["execution_duration"] = duration(int(info["execution_time_ms"]))
    for name, key in (("request_preview", _INPUTS), ("response_preview", _OUTPUTS)):
        if metadata.get(key) is not None:
            found[name] = metadata[key]
    return found


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def timestamp(ms: int) -> str:
    """Return ms since epoch as a protobuf Timestamp has them in JSON."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    # strftime does not pad years before 1000 on every system
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def millis(text: Any) -> int:
    """Return the ms since epoch of a protobuf Timestamp in JSON.

    :raises ValueError: It is none.
    """
    head, _, fraction = str(text or "1970-01-01T00:00:00Z").rstrip("Z").partition(".")
    moment = datetime.strptime(head, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * 1000 + int((fraction + "000")[:3])


def duration(ms: int) -> str:
    """Return ms as a protobuf Duration has them in JSON."""
    sign, ms = ("-" if ms < 0 else ""), abs(ms)
    return f"{sign}{ms // 1000}.{ms % 1000:03d}s"


def duration_ms(text: Any) -> Optional[int]:
    """Return the ms of a protobuf Duration in JSON; None for none.

    :raises ValueError: It is no such text.
    """
    if text is None:
        return None
    head, _, fraction = str(text).rstrip("s").partition(".")
    ms = abs(int(head or 0)) * 1000 + int((fraction + "000")[:3])
    return -ms if head.startswith("-") else ms


def _batches(trace_ids: Sequence[str]) -> Iterator[List[str]]:
    """Yield at most BATCH ids at a time, whose query is not too long for a reverse proxy."""
    some: List[str] = []
    size = 0
    for trace_id in trace_ids:
        length = len(quote(trace_id, safe="")) + len("&trace_ids=")
        if some and (len(some) == BATCH or size + length > _QUERY):
            yield some
            some, size = [], 0
        some.append(trace_id)
        size += length
    if some:
        yield some


def _part(text: str) -> str:
    return quote(text, safe="")
