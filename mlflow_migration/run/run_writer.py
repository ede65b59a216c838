"""Writes values of a run: batches filled to the limit, and what to do about values that a server refuses or cuts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import Refused
from mlflow_migration.client.tracking import LOG_INPUTS, Tracking, batches, is_there_already, tag_dict, tag_list
from mlflow_migration.common.job import Job

Json = Dict[str, Any]

SMALLEST_PARAM_LIMIT = 500  # characters; of all servers since MLflow 2.9, and older ones behind a file store
SMALLEST_TAG_LIMIT = 5_000
_LIMIT = re.compile(r"(?:limit of|length limit|maximum length of|at most|exceeds?)\D{0,20}(\d{3,7})", re.IGNORECASE)


def shortened(value: str, ex: Refused) -> Optional[str]:
    """Return the part of a text that a server takes, as far as it says how much that is."""
    limit = _LIMIT.search(ex.message)
    return value[: int(limit[1])] if limit and len(value) > int(limit[1]) else None


class ValueRefused(Refused):
    """A value that the destination does not take, and ``--on-refused fail``."""


@dataclass
class Refusals:
    """What one run lost to refusals: names of fields as in its state, why, and what the destination has instead."""

    fields: List[str] = field(default_factory=list)
    reasons: List[str] = field(default_factory=list)
    instead: Dict[str, str] = field(default_factory=dict)


class RunWriter:
    """Writes the values of one run.

    :param tracking: The destination.
    :param job: For the ledger.
    :param run_id: The destination's run.
    :param src_id: The source's run, for the ledger.
    :param on_refused: ``skip``, ``truncate`` or ``fail``.
    """

    def __init__(self, tracking: Tracking, job: Job, run_id: str, src_id: str, on_refused: str) -> None:
        self._tracking, self._job, self._run_id, self._src_id = tracking, job, run_id, src_id
        self._on_refused = on_refused
        self.refusals = Refusals()
        self.refused_inputs = Refusals()
        self.infinite = 0
        """How many of the written points are infinite, which a server keeps as the largest number that it knows."""

    def write(self, metrics: Iterator[Json], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Write values; those that are refused are recorded, the others arrive.

        :raises ValueRefused: One is refused and that is to fail the run.
        """
        for some_metrics, some_params, some_tags in batches(metrics, tag_list(params), tag_list(tags)):
            self.infinite += sum(metric["value"] in ("Infinity", "-Infinity") for metric in some_metrics)
            self._send(some_metrics, some_params, some_tags)

    def _send(self, metrics: List[Json], params: List[Json], tags: List[Json]) -> None:
        try:
            self._tracking.log_batch(self._run_id, metrics, params, tags)
            self._job.ledger.add(points=len(metrics))
        except Refused as ex:
            # 413: a web server in between takes no request of that size
            if ex.http_status_code not in (400, 413) or "must be in the 'active'" in ex.message:
                raise
            values = [("metric", m) for m in metrics] + [("param", p) for p in params] + [("tag", t) for t in tags]
            if len(values) == 1:
                self._refused_alone(*values[0], ex)
                return
            # one bad value makes a server refuse the whole batch: halve it until it is alone
            half = len(values) // 2
            for part in (values[:half], values[half:]):
                self._send(*([v for kind, v in part if kind == wanted] for wanted in ("metric", "param", "tag")))

    def _refused_alone(self, kind: str, value: Json, ex: Refused) -> None:
        if kind == "metric" and is_there_already(ex):
            return  # MLflow 2 takes a NaN for another one than that which it has
        text = str(value.get("value") or "")
        short = shortened(text, ex) if self._on_refused == "truncate" and kind != "metric" else None
        if short is not None:
            shorter = {**value, "value": short}
            self._send([], [shorter] if kind == "param" else [], [shorter] if kind == "tag" else [])
            self._refuse(kind, value["key"], text, f"cut to {len(short)} characters", short)
            return
        self._refuse(kind, value["key"], value, ex.message)
        if kind == "tag":
            self._take_away(value["key"])

    def _take_away(self, key: str) -> None:
        """Remove a tag whose value is refused: an older value must not stand for it."""
        try:
            self._tracking.delete_tag(self._run_id, key)
        except Refused:
            return  # a key that is refused as well can't be there

    def write_inputs(self, inputs: List[Json]) -> None:
        """Link dataset inputs; those that are refused are recorded, the others arrive.

        :raises ValueRefused: One is refused and that is to fail the run.
        """
        for start in range(0, len(inputs), LOG_INPUTS):
            self._send_inputs(inputs[start : start + LOG_INPUTS])

    def _send_inputs(self, inputs: List[Json]) -> None:
        try:
            self._tracking.log_inputs(self._run_id, inputs, [])
        except Refused as ex:
            if "must be in the 'active'" in ex.message:
                raise
            if len(inputs) == 1 or ex.http_status_code not in (400, 413):
                for entry in inputs:
                    self._refuse_input(entry, ex.message)
                return
            half = len(inputs) // 2
            self._send_inputs(inputs[:half])
            self._send_inputs(inputs[half:])

    def _refuse_input(self, entry: Json, reason: str) -> None:
        name, digest = entry["dataset"].get("name"), entry["dataset"].get("digest")
        if self._on_refused == "fail":
            raise ValueRefused(f"dataset input {name}: {reason}", http_status_code=400)
        self.refused_inputs.fields.append(f"input:{name}:{digest}")
        self.refused_inputs.reasons.append(f"dataset input {name}: {reason}")
        self._job.ledger.record(
            "value", "skipped", f"{self._src_id}/input/{name}", reason=reason, losses=["inputs"], value=entry
        )

    def _refuse(self, kind: str, key: str, value: Any, reason: str, there: Optional[str] = None) -> None:
        if self._on_refused == "fail":
            raise ValueRefused(f"{kind} {key}: {reason}", http_status_code=400)
        name = f"{kind}:{key}"
        if name not in self.refusals.fields:
            self.refusals.fields.append(name)
            self.refusals.reasons.append(f"{kind} {key}: {reason}")
        if there is not None:
            self.refusals.instead[name] = there
        status = "skipped" if there is None else "incomplete"
        self._job.ledger.record(
            "value", status, f"{self._src_id}/{kind}/{key}", reason=reason, losses=["values"], value=value
        )

    def refuse_change(self, key: str, value: str, there: str) -> None:
        """Record a param that the destination has with another value.

        :raises ValueRefused: That is to fail the run.
        """
        self._refuse("param", key, value, "the destination has another value, and params can't be changed", there)

    def check_long(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Read back those of the written values that a server may have cut without saying so.

        :raises ValueRefused: One was cut and that is to fail the run.
        """
        long_params = {key: value for key, value in params.items() if len(value) > SMALLEST_PARAM_LIMIT}
        long_tags = {key: value for key, value in tags.items() if len(value) > SMALLEST_TAG_LIMIT}
        if not (long_params or long_tags):
            return
        data = self._tracking.run(self._run_id).get("data") or {}
        there: Tuple[Tuple[str, Dict[str, str], Dict[str, str]], ...] = (
            ("param", long_params, tag_dict(data.get("params"))),
            ("tag", long_tags, tag_dict(data.get("tags"))),
        )
        for kind, wanted, found in there:
            for key, value in wanted.items():
                if f"{kind}:{key}" in self.refusals.fields or found.get(key) == value:
                    continue
                self._cut(kind, key, value, found.get(key))

    def _cut(self, kind: str, key: str, value: str, found: Optional[str]) -> None:
        reason = (
            "the destination did not keep it"
            if found is None
            else f"the destination cuts it to {len(found)} characters"
        )
        if kind == "tag" and found is not None and self._on_refused == "skip":
            self._take_away(key)
            self._refuse(kind, key, value, reason)
            return
        # a param can't be taken back once it is written
        self._refuse(kind, key, value, reason, found)
