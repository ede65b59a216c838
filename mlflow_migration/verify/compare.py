"""Compares one object with its copy: fields, artifacts, points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from mlflow_migration.client.errors import NotFound, describe
from mlflow_migration.common.artifact_stores import File
from mlflow_migration.common.artifacts import ArtifactFilter, is_mlmodel
from mlflow_migration.common.executor import Executor
from mlflow_migration.verify import mlmodel
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import (
    HISTORY,
    LOGGED_MODEL,
    PARENT,
    ROOT,
    RUN,
    RUN_SET_BY_DATABRICKS,
    Fields,
    Files,
    PointSum,
    Thing,
    packed,
    unpacked,
)
from mlflow_migration.verify.report import Difference, Report

DEPTHS = ("counts", "metadata", "full")
_SHOWN_POINTS = 3
_MOST_POINTS = 500_000  # of one metric that are held to tell which differ: some 100 MB


@dataclass(frozen=True)
class How:
    """What is compared.

    :param depth: One of DEPTHS.
    :param deleted_runs: Deleted runs are expected to have copies.
    :param deleted_experiments: So are deleted experiments.
    :param artifacts: Which artifacts are expected.
    :param mlmodel_fix: MLmodel files are expected to have the new ids; else the same bytes.
    :param use_src_user_id: The tag ``mlflow.user`` is expected to be the source run's user.
    :param references: A version may have the source's own ``source``.
    """

    depth: str = "metadata"
    deleted_runs: bool = False
    deleted_experiments: bool = False
    artifacts: ArtifactFilter = field(default_factory=ArtifactFilter)
    mlmodel_fix: bool = True
    use_src_user_id: bool = False
    references: bool = False


@dataclass
class Comparison:
    """An object, its copy, and what was found so far.

    :param scope: The destination's experiment.
    """

    src: Thing
    dst: Thing
    scope: str = ""
    differences: List[Difference] = field(default_factory=list)
    errors: List[str] = field(default_factory=list)

    def differ(self, name: str, src: Any, dst: Any) -> None:
        """Add a difference."""
        self.differences.append((name, src, dst))

    def fields(self, src: Fields, dst: Fields) -> None:
        """Compare two dictionaries."""
        for name in sorted(src.keys() | dst.keys()):
            if name not in src or name not in dst or src[name] != dst[name]:
                self.differ(name, src.get(name), dst.get(name))

    def record(self, report: Report) -> None:
        """Record what was found."""
        report.compared(self.src, self.dst.id, self.differences, self.errors)


def as_kept(pair: Comparison, src: Fields, dst: Fields, set_by_it: Sequence[str]) -> None:
    """Put what a copy keeps of the source in the place of what a Databricks workspace sets itself.

    :param src: Fields of the source.
    :param dst: Fields of the copy; changed in place.
    :param set_by_it: The fields that the workspace sets.
    """
    if pair.dst.kept is None:
        return
    for name in set_by_it:
        if name in pair.dst.kept:
            dst[name] = pair.dst.kept[name]
        elif name not in src:
            dst.pop(name, None)


class Comparer:
    """Compares objects of one verification.

    :param executor: The threads.
    :param links: What is a copy of what.
    :param how: What is compared.
    :param report: Gets the numbers.
    """

    def __init__(self, executor: Executor, links: Links, how: How, report: Report) -> None:
        self._executor, self._links, self._how, self._report = executor, links, how, report

    # -- runs ---------------------------------------------------------------------------------------------------

    def run(self, pair: Comparison) -> None:
        """Compare everything of two runs but the points of metrics."""
        if self._how.depth == "counts":
            stages = [{"lifecycle_stage": thing.fields["lifecycle_stage"]} for thing in (pair.src, pair.dst)]
            pair.fields(stages[0], stages[1])
            return
        src, dst = dict(pair.src.fields), dict(pair.dst.fields)
        for name in ("name", "user_id"):
            if not src[name]:  # a server makes a name up, and old exports know no user
                del src[name], dst[name]
        if self._how.use_src_user_id and src.get("user_id"):
            src["tag:mlflow.user"] = src["user_id"]
        as_kept(pair, src, dst, RUN_SET_BY_DATABRICKS)
        for key in (PARENT, ROOT, HISTORY):
            tag = f"tag:{key}"
            if tag in src and tag in dst and tag not in (pair.dst.kept or ()):
                same = self._links.same_text(src[tag], dst[tag], pair.scope)
                dst[tag] = src[tag] if same else _other(dst[tag], src[tag])
        src.update(self._model_links(pair.src.models))
        dst.update(self._model_links(self._brought_home(pair)))
        pair.fields(src, dst)
        self.files(pair, pair.src.files, pair.dst.files)

    def _model_links(self, models: Mapping[Tuple[str, str], int]) -> Fields:
        return {f"{kind}:{model_id}": step for (kind, model_id), step in models.items()}

    def _brought_home(self, pair: Comparison) -> Dict[Tuple[str, str], int]:
        """Return the links of the copy with the source's ids, as far as they name the same."""
        found: Dict[Tuple[str, str], int] = {}
        for (kind, dst_id), step in pair.dst.models.items():
            of_kind = [src_id for src_kind, src_id in pair.src.models if src_kind == kind]
            same = [src_id for src_id in of_kind if self._links.same(LOGGED_MODEL, src_id, dst_id, pair.scope)]
            found[kind, same[0] if same else _other(dst_id, *of_kind)] = step
        return found

    # -- logged models ------------------------------------------------------------------------------------------

    def logged_model(self, pair: Comparison) -> None:
        """Compare two logged models."""
        if self._how.depth == "counts":
            return
        src, dst = dict(pair.src.fields), dict(pair.dst.fields)
        same = self._links.same(RUN, src["source_run_id"], dst["source_run_id"], pair.scope)
        dst["source_run_id"] = src["source_run_id"] if same else _other(dst["source_run_id"], src["source_run_id"])
        runs = {row[3] for rows in pair.src.metrics.values() for row in rows}

        def home(run_id: str) -> str:
            found = [src_id for src_id in runs if self._links.same(RUN, src_id, run_id, pair.scope)]
            return found[0] if found else _other(run_id, *runs)

        src.update((f"metric:{key}", rows) for key, rows in pair.src.metrics.items())
        dst.update(
            (f"metric:{key}", sorted((*row[:3], home(row[3]), *row[4:]) for row in rows))
            for key, rows in pair.dst.metrics.items()
        )
        pair.fields(src, dst)
        deleted = pair.src.deleted or pair.dst.deleted
        try:
            self.files(pair, pair.src.files, pair.dst.files)
        except NotFound:
            if not deleted:  # of deleted ones a server shows no artifacts, unless its proxy does
                raise

    # -- artifacts ----------------------------------------------------------------------------------------------

    def files(self, pair: Comparison, src: Optional[Files], dst: Optional[Files]) -> None:
        """Compare the artifacts of two objects."""
        if src is None or dst is None or self._how.artifacts.skip:
            return
        sizes, there = self._chosen(src.sizes()), self._chosen(dst.sizes())
        self._report.add(artifacts=len(sizes))
        for path in sorted(sizes.keys() ^ there.keys()):
            pair.differ(f"artifact:{path}", _bytes(sizes.get(path)), _bytes(there.get(path)))
        both = sorted(sizes.keys() & there.keys())
        for path in both:
            if not is_mlmodel(path) and sizes[path] != there[path]:
                pair.differ(f"artifact:{path}", _bytes(sizes[path]), _bytes(there[path]))
        if self._how.depth != "full":
            return
        same_size = [path for path in both if is_mlmodel(path) or sizes[path] == there[path]]
        for outcome in self._executor.gather(lambda path: self._content(pair, src, dst, path), same_size):
            if outcome.error is not None:
                pair.errors.append(f"artifact {outcome.item} can't be compared: {describe(outcome.error)}")
                continue
            self._report.add(hashed=1, bytes=max(sizes[outcome.item], 0))
            if outcome.value is not None:
                pair.differ(f"artifact:{outcome.item}", *outcome.value)

    def _chosen(self, sizes: Dict[str, int]) -> Dict[str, int]:
        refuses = self._how.artifacts.refuses
        return {path: size for path, size in sizes.items() if refuses(File(path, size)) is None}

    def _content(self, pair: Comparison, src: Files, dst: Files, path: str) -> Optional[Tuple[str, str]]:
        if is_mlmodel(path) and self._how.mlmodel_fix:
            ours, theirs = src.content(path, mlmodel.MOST), dst.content(path, mlmodel.MOST)
            if ours is not None and theirs is not None:
                try:
                    return mlmodel.difference(
                        ours, theirs, lambda a, b: self._links.same_text(a, b, pair.scope, dst.root)
                    )
                except ValueError:
                    return None if ours == theirs else ("is no YAML", "has other bytes")
        hashes = src.sha256(path), dst.sha256(path)
        return None if hashes[0] == hashes[1] else (f"SHA-256 {hashes[0]}", f"SHA-256 {hashes[1]}")

    # -- points of metrics --------------------------------------------------------------------------------------

    def points(self, pairs: Sequence[Comparison], src: Any, dst: Any) -> None:
        """Compare all points of the metrics of some runs."""
        ours, broken = src.point_sums([pair.src for pair in pairs])
        theirs, broken_there = dst.point_sums([pair.dst for pair in pairs])
        differing: List[Tuple[Comparison, str]] = []
        for pair in pairs:
            ex = broken.get(pair.src.id) or broken_there.get(pair.dst.id)
            if ex is not None:
                pair.errors.append(f"its metrics can't be compared: {describe(ex)}")
                continue
            sums, there = ours.get(pair.src.id, {}), theirs.get(pair.dst.id, {})
            self._report.add(points=sum(one.number for one in sums.values()))
            # a metric that one side lacks is a field that differs
            differing += [(pair, key) for key in sorted(sums.keys() & there.keys()) if sums[key] != there[key]]
        for outcome in self._executor.gather(lambda item: self._tell_points(item, src, dst, ours, theirs), differing):
            if outcome.error is not None:
                outcome.item[0].errors.append(f"metric {outcome.item[1]}: {describe(outcome.error)}")

    def _tell_points(
        self,
        item: Tuple[Comparison, str],
        src: Any,
        dst: Any,
        ours: Mapping[str, Mapping[str, PointSum]],
        theirs: Mapping[str, Mapping[str, PointSum]],
    ) -> None:
        pair, key = item
        numbers = ours[pair.src.id][key].number, theirs[pair.dst.id][key].number
        if max(numbers) > _MOST_POINTS:
            pair.differ(f"points:{key}", f"{numbers[0]} points", f"{numbers[1]} other points")
            return
        first = {packed(point) for points in src.points(pair.src, key) for point in points}
        second = {packed(point) for points in dst.points(pair.dst, key) for point in points}
        # a server keeps one of points that are the same, a directory of files all of them
        for lost in sorted(first - second)[:_SHOWN_POINTS]:
            pair.differ(f"points:{key}", unpacked(lost), None)
        for added in sorted(second - first)[:_SHOWN_POINTS]:
            pair.differ(f"points:{key}", None, unpacked(added))
        if first != second and numbers[0] != numbers[1]:
            pair.differ(f"points:{key}", f"{numbers[0]} points", f"{numbers[1]} points")


def guarded(executor: Executor, compare: Callable[[Comparison], None], pairs: Sequence[Comparison]) -> None:
    """Compare side by side; what can't be read is an error of its object alone."""
    for outcome in executor.gather(compare, pairs):
        if outcome.error is not None:
            outcome.item.errors.append(describe(outcome.error))


def _other(value: str, *at_source: str) -> str:
    """Return a value that does not name what the source's does, also where both are the same text."""
    return f"{value} (the source's id)" if value in at_source and value else value


def _bytes(size: Optional[int]) -> Optional[str]:
    return None if size is None else f"{size} bytes" if size >= 0 else "unreadable"
