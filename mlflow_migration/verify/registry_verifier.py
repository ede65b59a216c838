"""Compares registered models and prompts with their copies."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Optional, Set, Tuple
from urllib.parse import quote

from mlflow_migration.common.job import Job
from mlflow_migration.verify.compare import Comparer, Comparison, How, guarded
from mlflow_migration.verify.links import HOLDER, Links
from mlflow_migration.verify.objects import LOGGED_MODEL, MODEL, PROMPT, RUN, Fields, Thing
from mlflow_migration.verify.permissions import compare_permissions
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.server_side import ServerSide

EXPERIMENT_LINKS = "tag:_mlflow_experiment_ids"
RUN_LINKS = ("tag:mlflow.prompt.run_ids", "tag:mlflow.prompt.associatedRunIds")


class RegistryVerifier:
    """Compares the registered models and prompts of one verification.

    :param job: Threads and progress.
    :param src: The source.
    :param dst: The destination.
    :param links: What is a copy of what.
    :param how: What is compared.
    :param report: Gets the results.
    :param compared: Runs and logged models that were compared already: kind, source id, destination id.
    :param experiments: Returns the ids that an experiment of the source has at the destination.
    """

    def __init__(
        self,
        job: Job,
        src: Any,
        dst: ServerSide,
        links: Links,
        how: How,
        report: Report,
        compared: Set[Tuple[str, str, str]],
        experiments: Callable[[str, Optional[str]], Set[str]],
    ) -> None:
        self._job, self._src, self._dst, self._links = job, src, dst, links
        self._how, self._report, self._compared, self._experiments = how, report, compared, experiments
        self._comparer = Comparer(job.executor, links, how, report)

    def registered(self, kind: str, name: str, new_name: str) -> None:
        """Compare a registered model or prompt, and all its versions, with its copy.

        :param new_name: Its name at the destination.
        """
        src = self._src.registered(kind, name)
        if src is None or src.error is not None:
            self._report.missing(src or Thing(kind, name))
            return
        dst = self._dst.registered(kind, new_name)
        if dst is None:
            self._report.missing(src)
            for version in src.versions:
                self._report.missing(version)
            return
        pairs = self._pair(src, dst)
        self._model(src, dst, pairs)
        if kind == MODEL:
            compare_permissions(self._src, self._dst, src, dst, self._how, self._report)
        guarded(self._job.executor, lambda pair: self._version(pair, src), pairs)
        for pair in pairs:
            pair.dst.id = f"{dst.name}/{pair.dst.place['version']}"
            pair.src.id = pair.src.name
            pair.record(self._report)
        self._job.progress.advance()

    def _pair(self, src: Thing, dst: Thing) -> List[Comparison]:
        by_key: Dict[str, List[Thing]] = {}
        for version in dst.versions:
            by_key.setdefault(version.key, []).append(version)
            by_key.setdefault(version.id, []).append(version)
        pairs: List[Comparison] = []
        matched: Set[str] = set()
        for version in src.versions:
            found = by_key.get(version.id) or by_key.get(version.key or "no key") or []
            matched.update(other.id for other in found)
            if not found:
                self._report.missing(version)
                continue
            pair = Comparison(version, found[0])
            if len(found) > 1:
                pair.differ("copies", "1", f"{len(found)}: {', '.join(other.name for other in found)}")
            pairs.append(pair)
        for version in dst.versions if not src.place.get("single") else ():
            if version.id not in matched:
                reason = f"made from {version.key}" if version.key else "made by no import"
                self._report.record(version.kind, "extra", dst_id=version.name, reason=reason)
        return pairs

    # -- the model itself ---------------------------------------------------------------------------------------

    def _model(self, src: Thing, dst: Thing, pairs: List[Comparison]) -> None:
        pair = Comparison(src, dst)
        if self._how.depth != "counts" and not src.place.get("single"):
            fields = (dict(src.fields), dict(dst.fields))
            if src.kind == PROMPT:
                if src.place.get("whole") is False:
                    fields = ({}, {})  # files of earlier tools have nothing of the prompt as a whole
                self._bring_home(pair, *fields, names=src.place["experiments"])
            pair.fields(self._kept(fields[0]), fields[1])
            numbers = {str(one.dst.place["version"]): str(one.src.place["version"]) for one in pairs}
            known = set(numbers.values())
            ours = {alias: number for alias, number in src.place["aliases"].items() if number in known}
            there = dst.place["aliases"].items()
            theirs = {alias: numbers.get(number, f"another version, {number}") for alias, number in there}
            pair.fields(_prefixed(ours), _prefixed(theirs))
        pair.record(self._report)

    def _bring_home(self, pair: Comparison, src: Fields, dst: Fields, names: Dict[str, str]) -> None:
        """Let tags with ids of experiments and runs be the same where they name the same."""
        for tag in (EXPERIMENT_LINKS, *RUN_LINKS):
            if tag not in src or tag not in dst:
                continue
            ours, theirs = _ids(src[tag]), _ids(dst[tag])
            if tag == EXPERIMENT_LINKS:
                expected = [self._experiments(src_id, names.get(src_id)) for src_id in ours]
            else:
                expected = [{dst_id for dst_id in theirs if self._links.same(RUN, one, dst_id, "")} for one in ours]
            if all(one & set(theirs) for one in expected) and set(theirs) <= set().union(*expected):
                dst[tag] = src[tag]

    def _kept(self, fields: Fields) -> Fields:
        """Return fields with the keys of tags that the destination's registry can keep."""
        tag = "tag:"
        rename = self._dst.registry.tag_key
        return {(tag + rename(key[len(tag) :]) if key.startswith(tag) else key): fields[key] for key in fields}

    # -- versions -----------------------------------------------------------------------------------------------

    def _version(self, pair: Comparison, model: Thing) -> None:
        if self._how.depth == "counts":
            return
        src, dst = dict(pair.src.fields), dict(pair.dst.fields)
        if model.place.get("single"):  # it gets the next number, and stage and aliases only if that was asked for
            for name in ("version", "stage"):
                src.pop(name, None), dst.pop(name, None)
        if model.kind == PROMPT:
            self._bring_home(pair, src, dst, {})
            pair.fields(src, dst)
            return
        if self._dst.registry.keeps_files:
            src["run_link"], dst["status"] = "", pair.dst.place.get("status") or ""
            src["status"] = "READY"
        pair.fields(self._kept(src), dst)
        if not self._source(pair) and self._files_to_compare(pair):
            self._comparer.files(pair, self._src.version_files(pair.src), self._dst.version_files(pair.dst))

    def _source(self, pair: Comparison) -> bool:
        """Compare what a version is made from.

        :return: Whether that differs.
        """
        src, dst = pair.src.place, pair.dst.place
        run_id, new_run_id = src.get("run_id") or "", dst.get("run_id") or ""
        source, new_source = src.get("source") or "", dst.get("source") or ""
        if self._is_held(pair) or self._how.references and source == new_source:
            return False
        same_run = self._links.same(RUN, run_id, new_run_id, "")
        if not same_run and new_run_id:  # the source may name another run than the version does
            same_run = self._links.home(RUN, new_run_id) in source
        if same_run and new_run_id and not self._links.exists(RUN, new_run_id):
            same_run = False  # the id that the source has
        if not same_run:
            pair.differ("run_id", run_id, new_run_id)
        by_version = source.startswith("models:/") and not source.startswith("models:/m-")
        same_source = by_version or self._links.same_text(source, new_source, "")
        location = src.get("_download_uri") or ""
        same_source = same_source and self._links.all_exist(new_source)
        if not same_source and not (location and self._links.same_text(location, new_source, "")):
            pair.differ("source", source, new_source)
            return True
        return not same_run

    def _is_held(self, pair: Comparison) -> bool:
        """Tell whether the model is in a run that an import made for this version alone."""
        run_id = pair.dst.place.get("run_id") or _run_in(pair.dst.place.get("source") or "")
        return bool(run_id) and self._links.home(RUN, run_id) == f"{HOLDER}{quote(pair.src.id, safe='')}"

    def _files_to_compare(self, pair: Comparison) -> bool:
        """Tell whether the files of a version's model were not compared with their run or logged model."""
        if self._dst.registry.keeps_files:
            return True  # it has files of its own
        words = [re.findall(r"[\w\-]+", thing.place.get("source") or "") for thing in (pair.src, pair.dst)]
        return not any(
            (kind, src_id, dst_id) in self._compared
            for kind in (RUN, LOGGED_MODEL)
            for src_id in words[0]
            for dst_id in words[1]
        )


def _run_in(source: str) -> str:
    """Return the run that a source names by its id; empty if none."""
    return source[len("runs:/") :].strip("/").partition("/")[0] if source.startswith("runs:/") else ""


def _prefixed(aliases: Dict[str, str]) -> Fields:
    return {f"alias:{alias}": number for alias, number in aliases.items()}


def _ids(text: str) -> List[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
