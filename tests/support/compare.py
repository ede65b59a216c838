"""Compares everything of two experiments on two servers, by plain REST requests and none of the package's code.

What the servers set themselves (ids, creation times, artifact locations) is mapped from one side to the other and then
compared; everything else must be equal. Nothing to compare is a difference, too.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections import Counter, defaultdict
from typing import Any, Callable, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from tests.support.rest import Json, Rest, RestError

RUN_KEY = "mlflow_exim.run_info.run_id"
MODEL_KEY = "mlflow_exim.field.model_id"
PARENT = "mlflow.parentRunId"
#: tags whose values name runs or models of their own server
ID_TAGS = (PARENT, "mlflow.rootRunId", "mlflow.log-model.history")
_ID = re.compile(r"\bm-[0-9a-f]{32}\b|\b[0-9a-f]{32}\b")
_POINT = struct.Struct("<dqq")
_NAN = struct.unpack("<d", struct.pack("<d", math.nan))[0]
Report = Callable[[str], None]


class _Side:
    """One experiment of one server, read as far as the comparison needs it."""

    def __init__(self, uri: str, experiment: str, auth: Optional[Tuple[str, str]]) -> None:
        self.rest = Rest(uri, auth=auth)
        self.experiment = self.rest.experiment(experiment)
        self.id = self.experiment["experiment_id"]
        self.has_models = self.rest.has_logged_models()
        self.runs: Dict[str, Json] = {run["info"]["run_id"]: run for run in self.rest.runs(self.id)}
        self.models: Dict[str, Json] = {}
        self.locations: Dict[str, str] = {}  # artifact root -> name that both sides share

    def keep(self, run_ids: Collection[str]) -> None:
        """Forget other runs; read inputs, outputs and logged models of these."""
        self.runs = {run_id: run for run_id, run in self.runs.items() if run_id in run_ids}
        if not self.has_models:
            return
        for run in self.rest.map(self.rest.run, self.runs):
            self.runs[run["info"]["run_id"]] = run
        for model in self.rest.logged_models(self.id):
            if model["info"].get("source_run_id") in self.runs:
                self.models[model["info"]["model_id"]] = model
        for run in self.runs.values():
            for item in _linked(run, "outputs", "model_outputs"):
                self._add_model(item["model_id"])

    def _add_model(self, model_id: str) -> None:
        if model_id not in self.models:
            try:
                self.models[model_id] = self.rest.logged_model(model_id)
            except RestError as ex:
                if ex.status != 404:
                    raise

    def label(self, run_id: str) -> str:
        """A run in words."""
        return f"run {run_id} ({self.runs[run_id]['info'].get('run_name')!r})"


class _Comparison:
    """State of one `differences` call."""

    def __init__(self, src: _Side, dst: _Side, ignore: Collection[str], ignore_prefixes: Tuple[str, ...]) -> None:
        self.src, self.dst = src, dst
        self.found: List[str] = []
        self.ignore = ignore
        self.ignore_prefixes = ignore_prefixes
        self.ids: Dict[str, str] = {}  # source run or model id -> destination's
        self.run_pairs: List[Tuple[str, str]] = []
        self.model_pairs: List[Tuple[str, str]] = []

    def report(self, text: str) -> None:
        self.found.append(text)

    def equal(self, what: str, src: Any, dst: Any) -> None:
        if src != dst:
            self.report(f"{what}: {_short(src)} became {_short(dst)}")

    def equal_dicts(self, what: str, src: Mapping[str, Any], dst: Mapping[str, Any]) -> None:
        for key in sorted(set(src) | set(dst)):
            if key not in dst:
                self.report(f"{what} {key!r}: missing ({_short(src[key])})")
            elif key not in src:
                self.report(f"{what} {key!r}: added ({_short(dst[key])})")
            else:
                self.equal(f"{what} {key!r}", src[key], dst[key])

    def equal_bags(self, what: str, src: Iterable[Any], dst: Iterable[Any]) -> None:
        ours, theirs = Counter(map(_stable, src)), Counter(map(_stable, dst))
        for sign, bag in (("missing", ours - theirs), ("added", theirs - ours)):
            for item, times in list(bag.items())[:5]:
                self.report(f"{what}: {sign}{f' {times} times' if times > 1 else ''}: {_short(item)}")

    # ---- ids

    def map_text(self, text: str) -> str:
        """A source's text with ids as the destination has them."""
        return _ID.sub(lambda match: self.ids.get(match.group(0), match.group(0)), text)

    def tags(self, tags: Optional[List[Json]], mapped: bool) -> Dict[str, str]:
        """Tags that count, of the source (mapped) or the destination."""
        result = {}
        for tag in tags or []:
            key, value = tag["key"], tag.get("value", "")
            if key in self.ignore or key.startswith(self.ignore_prefixes):
                continue
            if key in ID_TAGS:
                value = self.map_text(value) if mapped else value
                value = _canonical(value)
            result[key] = value
        return result

    # ---- runs

    def pair_runs(self, run_map: Optional[Mapping[str, str]], only: Optional[Collection[str]]) -> None:
        """Find the copy of each run; count first."""
        src_ids = [run_id for run_id in self.src.runs if only is None or run_id in only]
        copies: Dict[str, List[str]] = defaultdict(list)
        if run_map is None:
            for run_id, run in self.dst.runs.items():
                copies[_tag(run["data"].get("tags"), RUN_KEY) or ""].append(run_id)
        else:
            known = set(run_map.values())
            copies.update({src: [dst] for src, dst in run_map.items() if dst in self.dst.runs})
            copies[""] = [run_id for run_id in self.dst.runs if run_id not in known]
        self._count(src_ids)
        for run_id in src_ids:
            found = copies.pop(run_id, [])
            if len(found) != 1:
                text = f"{len(found)} copies: {', '.join(found)}" if found else "missing"
                self.report(f"{self.src.label(run_id)}: {text}")
            if found:
                self.ids[run_id] = found[0]
                self.run_pairs.append((run_id, found[0]))
        for key, extra in copies.items():
            for run_id in extra:
                why = f"a copy of {key}, which the source has not" if key else "a copy of no run"
                self.report(f"{self.dst.label(run_id)} of the destination: {why}")
        self.src.keep({pair[0] for pair in self.run_pairs})
        self.dst.keep({pair[1] for pair in self.run_pairs})

    def _count(self, src_ids: Sequence[str]) -> None:
        if not src_ids:
            self.report("the source has no runs: nothing was compared")
        elif not self.dst.runs:
            self.report(f"nothing arrived: the source has {len(src_ids)} runs, the destination none")
        stage = lambda side, ids: Counter(side.runs[i]["info"]["lifecycle_stage"] for i in ids)  # noqa: E731
        src, dst = stage(self.src, src_ids), stage(self.dst, self.dst.runs)
        for name in sorted(set(src) | set(dst)):
            self.equal(f"number of {name} runs", src[name], dst[name])

    def compare_run(self, pair: Tuple[str, str]) -> None:
        src, dst = self.src.runs[pair[0]], self.dst.runs[pair[1]]
        label = self.src.label(pair[0])
        for field in ("run_name", "status", "start_time", "end_time", "user_id", "lifecycle_stage"):
            self.equal(f"{label}: {field}", _field(src["info"], field), _field(dst["info"], field))
        self.equal_dicts(f"{label}: param", _dict(src["data"].get("params")), _dict(dst["data"].get("params")))
        self.equal_dicts(
            f"{label}: tag",
            self.tags(src["data"].get("tags"), True),
            self.tags(dst["data"].get("tags"), False),
        )
        self.equal_bags(f"{label}: dataset input", _datasets(src), _datasets(dst))
        if self.src.has_models and self.dst.has_models:
            for where, key in (("inputs", "model_inputs"), ("outputs", "model_outputs")):
                ours = [
                    (self.ids.get(i["model_id"], i["model_id"]), int(i.get("step") or 0))
                    for i in _linked(src, where, key)
                ]
                theirs = [(i["model_id"], int(i.get("step") or 0)) for i in _linked(dst, where, key)]
                self.equal_bags(f"{label}: {key}", ours, theirs)

    # ---- metrics

    def compare_metrics(self) -> None:
        """Complete histories, 100 runs of one key at a time."""
        users: Dict[str, List[Tuple[str, str]]] = defaultdict(list)
        for pair in self.run_pairs:
            src, dst = (
                {metric["key"] for metric in run["data"].get("metrics") or []}
                for run in (self.src.runs[pair[0]], self.dst.runs[pair[1]])
            )
            for key in sorted(src ^ dst):
                self.report(f"{self.src.label(pair[0])}: metric {key!r}: {'missing' if key in src else 'added'}")
            for key in src & dst:
                users[key].append(pair)
        jobs = [(key, pairs[i : i + 100]) for key, pairs in users.items() for i in range(0, len(pairs), 100)]
        self.src.rest.map(self._compare_histories, jobs)

    def _compare_histories(self, job: Tuple[str, List[Tuple[str, str]]]) -> None:
        key, pairs = job
        src = _packed(self.src.rest.histories([pair[0] for pair in pairs], key))
        dst = _packed(self.dst.rest.histories([pair[1] for pair in pairs], key))
        for src_id, dst_id in pairs:
            ours, theirs = src[src_id], dst[dst_id]
            if ours == theirs:
                continue
            label = f"{self.src.label(src_id)}: metric {key!r}"
            if len(ours) != len(theirs):
                self.report(f"{label}: {len(ours)} points became {len(theirs)}")
            lost, added = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
            for sign, bag in (("missing", lost), ("added", added)):
                for point in list(bag)[:3]:
                    value, timestamp, step = _POINT.unpack(point)
                    self.report(f"{label}: {sign} point value={value!r} timestamp={timestamp} step={step}")

    # ---- logged models

    def pair_models(self, model_map: Optional[Mapping[str, str]]) -> None:
        """Find the copy of each logged model of a run."""
        if not self.src.has_models:
            return
        if not self.dst.has_models:
            for model_id in self.src.models:
                self.report(f"logged model {model_id}: the destination's server knows no logged models")
            return
        copies: Dict[str, List[str]] = defaultdict(list)
        if model_map is None:
            for model_id, model in self.dst.models.items():
                copies[_tag(model["info"].get("tags"), MODEL_KEY) or ""].append(model_id)
        else:
            copies.update({src: [dst] for src, dst in model_map.items() if dst in self.dst.models})
            known = set(model_map.values())
            copies[""] = [model_id for model_id in self.dst.models if model_id not in known]
        for model_id, model in self.src.models.items():
            found = copies.pop(model_id, [])
            if len(found) != 1:
                text = f"{len(found)} copies: {', '.join(found)}" if found else "missing"
                self.report(f"logged model {model_id} ({model['info'].get('name')!r}): {text}")
            if found:
                self.ids[model_id] = found[0]
                self.model_pairs.append((model_id, found[0]))
        for key, extra in copies.items():
            for model_id in extra:
                self.report(f"logged model {model_id} of the destination: a copy of {key or 'none'}")

    def compare_model(self, pair: Tuple[str, str]) -> None:
        src, dst = self.src.models[pair[0]], self.dst.models[pair[1]]
        label = f"logged model {pair[0]} ({src['info'].get('name')!r})"
        for field in ("name", "model_type", "status"):
            self.equal(f"{label}: {field}", src["info"].get(field), dst["info"].get(field))
        source = src["info"].get("source_run_id")
        self.equal(f"{label}: source_run_id", self.ids.get(source, source), dst["info"].get("source_run_id"))
        deleted = [side.rest.is_deleted_model(i) for side, i in zip((self.src, self.dst), pair)]
        self.equal(f"{label}: deleted", *deleted)
        self.equal_dicts(f"{label}: param", _dict(src["data"].get("params")), _dict(dst["data"].get("params")))
        self.equal_dicts(
            f"{label}: tag",
            self.tags(src["info"].get("tags"), True),
            self.tags(dst["info"].get("tags"), False),
        )
        self.equal_bags(f"{label}: metric", self._model_metrics(src, self.ids), self._model_metrics(dst, {}))
        if not any(deleted):  # no route gives the artifacts of a deleted one
            self.compare_files(label, pair, "model_files", "model_file")

    @staticmethod
    def _model_metrics(model: Json, ids: Mapping[str, str]) -> List[Tuple[Any, ...]]:
        return [
            (
                metric["key"],
                repr(float(metric.get("value", 0))),
                int(metric.get("timestamp") or 0),
                int(metric.get("step") or 0),
                ids.get(metric.get("run_id"), metric.get("run_id")),
                metric.get("dataset_name"),
                metric.get("dataset_digest"),
            )
            for metric in model["data"].get("metrics") or []
        ]

    # ---- artifacts

    def compare_run_files(self, pair: Tuple[str, str]) -> None:
        self.compare_files(self.src.label(pair[0]), pair, "run_files", "run_file")

    def compare_files(self, label: str, pair: Tuple[str, str], listing: str, reading: str) -> None:
        """Paths, sizes and SHA-256 of all files of an object."""
        try:
            src = getattr(self.src.rest, listing)(pair[0])
            dst = getattr(self.dst.rest, listing)(pair[1])
        except RestError as ex:
            self.report(f"{label}: artifacts cannot be listed: {ex}")
            return
        for path in sorted(set(src) ^ set(dst)):
            self.report(f"{label}: artifact {path!r}: {'missing' if path in src else 'added'}")
        for path in sorted(set(src) & set(dst)):
            is_description = path.split("/")[-1] == "MLmodel"
            if not is_description and src[path] != dst[path]:
                self.report(f"{label}: artifact {path!r}: {src[path]} bytes became {dst[path]}")
                continue
            try:
                ours = getattr(self.src.rest, reading)(pair[0], path)
                theirs = getattr(self.dst.rest, reading)(pair[1], path)
            except RestError as ex:
                self.report(f"{label}: artifact {path!r} cannot be read: {ex}")
                continue
            if is_description:
                text = self.map_text(_unplace(ours, self.src.locations))
                if text != _unplace(theirs, self.dst.locations):
                    self.report(
                        f"{label}: artifact {path!r}: {_first_difference(text, _unplace(theirs, self.dst.locations))}"
                    )
            elif hashlib.sha256(ours).digest() != hashlib.sha256(theirs).digest():
                self.report(f"{label}: artifact {path!r}: other bytes")

    def name_locations(self) -> None:
        """Give the artifact roots of a pair one name, so that texts with them can be compared."""
        for src_id, dst_id in self.run_pairs:
            for side, run_id in ((self.src, src_id), (self.dst, dst_id)):
                side.locations[side.runs[run_id]["info"]["artifact_uri"]] = f"<artifacts of {src_id}>"
        for src_id, dst_id in self.model_pairs:
            for side, model_id in ((self.src, src_id), (self.dst, dst_id)):
                side.locations[side.models[model_id]["info"]["artifact_uri"]] = f"<artifacts of {src_id}>"
        # `map_text` puts the destination's ids into the source's names
        self.dst.locations = {root: self.map_text(name) for root, name in self.dst.locations.items()}

    # ---- the experiment

    def compare_experiment(self) -> None:
        src, dst = self.src.experiment, self.dst.experiment
        self.equal("experiment: lifecycle_stage", src["lifecycle_stage"], dst["lifecycle_stage"])
        self.equal_dicts("experiment: tag", self.tags(src.get("tags"), True), self.tags(dst.get("tags"), False))


def differences(
    src: Tuple[str, str],
    dst: Tuple[str, str],
    *,
    run_map: Optional[Mapping[str, str]] = None,
    model_map: Optional[Mapping[str, str]] = None,
    only: Optional[Collection[str]] = None,
    ignore_tags: Collection[str] = (),
    ignore_tag_prefixes: Tuple[str, ...] = (),
    artifacts: bool = True,
    experiment: bool = True,
    src_auth: Optional[Tuple[str, str]] = None,
    dst_auth: Optional[Tuple[str, str]] = None,
) -> List[str]:
    """Every difference between an experiment and its copy, each naming its object; empty if there is none.

    :param src: Tracking server and name (or id) of the source experiment.
    :param dst: Tracking server and name (or id) of the copy.
    :param run_map: Source run id -> copy's run id; default: the key tag of the destination's runs tells.
    :param model_map: The same for logged models.
    :param only: Run ids that should have been copied; default all, deleted ones too.
    :param ignore_tags: Keys of tags not to compare, beside the two key tags.
    :param ignore_tag_prefixes: Starts of such keys, e.g. ("mlflow_exim.",) where source tags were asked for.
    :param artifacts: Also the artifacts.
    :param experiment: Also the experiment's own tags and lifecycle stage.
    :param src_auth: User and password.
    :param dst_auth: User and password.
    """
    sides = []
    for (uri, name), auth in ((src, src_auth), (dst, dst_auth)):
        try:
            sides.append(_Side(uri, name, auth))
        except RestError as ex:
            return [f"experiment {name!r} on {uri} cannot be read: {ex}"]
    comparison = _Comparison(sides[0], sides[1], {RUN_KEY, MODEL_KEY, *ignore_tags}, tuple(ignore_tag_prefixes))
    comparison.pair_runs(run_map, only)
    comparison.pair_models(model_map)
    comparison.name_locations()
    if experiment:
        comparison.compare_experiment()
    for pair in comparison.run_pairs:
        comparison.compare_run(pair)
    comparison.compare_metrics()
    if artifacts:
        sides[0].rest.map(comparison.compare_run_files, comparison.run_pairs)
    for pair in comparison.model_pairs:
        comparison.compare_model(pair)
    return comparison.found


def assert_same(src: Tuple[str, str], dst: Tuple[str, str], **options: Any) -> None:
    """Fail with all differences; parameters as of `differences`."""
    found = differences(src, dst, **options)
    if found:
        shown = "\n".join(found[:50])
        more = f"\nand {len(found) - 50} more" if len(found) > 50 else ""
        raise AssertionError(f"{len(found)} differences:\n{shown}{more}")


# ---- values


def _tag(tags: Optional[List[Json]], key: str) -> Optional[str]:
    return next((tag.get("value", "") for tag in tags or [] if tag["key"] == key), None)


def _dict(pairs: Optional[List[Json]]) -> Dict[str, str]:
    return {pair["key"]: pair.get("value", "") for pair in pairs or []}


def _field(info: Json, field: str) -> Any:
    value = info.get(field)
    # a time of 0 is read back as absent, as a number or as a text
    return int(value or 0) if field.endswith("_time") else value


def _linked(run: Json, where: str, key: str) -> List[Json]:
    return list((run.get(where) or {}).get(key) or [])


def _datasets(run: Json) -> List[Any]:
    return [
        [item["dataset"], sorted((tag["key"], tag.get("value", "")) for tag in item.get("tags") or [])]
        for item in _linked(run, "inputs", "dataset_inputs")
    ]


def _stable(item: Any) -> str:
    return json.dumps(item, sort_keys=True, ensure_ascii=False)


def _canonical(text: str) -> str:
    """JSON text without its layout; any other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return _stable(value) if isinstance(value, (dict, list)) else text


def _packed(histories: Mapping[str, Iterable[Json]]) -> Dict[str, List[bytes]]:
    """Sorted points of each run as 24 bytes each: millions of them must fit."""
    result = {}
    for run_id, points in histories.items():
        packed = []
        for point in points:
            value = float(point.get("value", 0.0))
            value = _NAN if math.isnan(value) else value
            packed.append(_POINT.pack(value, int(point.get("timestamp") or 0), int(point.get("step") or 0)))
        result[run_id] = sorted(packed)
    return result


def _unplace(data: bytes, locations: Mapping[str, str]) -> str:
    text = data.decode("utf-8", "surrogateescape")
    for root in sorted(locations, key=len, reverse=True):
        if root in text:
            text = text.replace(root, locations[root])
    return text


def _first_difference(src: str, dst: str) -> str:
    for ours, theirs in zip(src.splitlines(), dst.splitlines()):
        if ours != theirs:
            return f"line {_short(ours)} became {_short(theirs)}"
    return f"{len(src.splitlines())} lines became {len(dst.splitlines())}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:150]}... ({len(text)} characters)"
