"""Lists the runs of an experiment that is in use meanwhile, so that none that existed throughout is missed.

A page token of MLflow is an offset: a run that goes away while pages are read moves the others past the reader. So the
listing goes by start time, upwards, each request beginning where the last one ended; what is new meanwhile comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from mlflow_migration.client.tracking import Tracking

Json = Dict[str, Any]

PAGE = 500
_PASSES = 5
_ORDER = ("attributes.start_time ASC",)


@dataclass(frozen=True)
class Selection:
    """Which runs are wanted. Times are ms since epoch.

    :param run_ids: Only these.
    :param nested: With ``run_ids``: all their descendants too.
    :param where: MLflow's filter string.
    :param start_from: Started at or after.
    :param start_until: Started before.
    :param changed_since: Started or ended at or after, or still running.
    """

    run_ids: Tuple[str, ...] = ()
    nested: bool = False
    where: str = ""
    start_from: Optional[int] = None
    start_until: Optional[int] = None
    changed_since: Optional[int] = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    def filter(self, start: Optional[int]) -> str:
        """Return MLflow's filter string for runs that started at or after ``start`` too."""
        starts = [bound for bound in (start, self.start_from) if bound is not None]
        parts = [f"attributes.start_time >= {max(starts)}"] if starts else []
        if self.start_until is not None:
            parts.append(f"attributes.start_time < {self.start_until}")
        if self.where.strip():
            parts.append(self.where.strip())
        return " and ".join(parts)

    def takes(self, run: Json) -> bool:
        """Tell whether a listed run is wanted, as far as the server can't tell itself."""
        info = run["info"]
        if self.changed_since is None:
            return True
        times = (int(info.get("start_time") or 0), int(info.get("end_time") or 0))
        return max(times) >= self.changed_since or info.get("status") in ("RUNNING", "SCHEDULED")


class RunListing:
    """The wanted runs of one experiment, in order of their start.

    :param tracking: The server.
    :param experiment_id: The experiment.
    :param selection: Which runs are wanted.
    """

    def __init__(self, tracking: Tracking, experiment_id: str, selection: Selection) -> None:
        self._tracking, self._experiment_id, self._selection = tracking, experiment_id, selection
        self._seen: Set[str] = set()
        self.order: List[str] = []
        """Ids of the wanted runs found so far."""
        self.not_found: List[str] = []
        """Ids that were asked for and are not there; known when all groups were taken."""

    def groups(self, size: int) -> Iterator[List[Json]]:
        """Yield the wanted runs, at most ``size`` at a time, each once."""
        wanted = self._related() if self._selection.run_ids else None
        waiting: List[Json] = []
        for page in self._pages():
            for run in page:
                run_id = run["info"]["run_id"]
                if run_id in self._seen:
                    continue
                self._seen.add(run_id)
                if (wanted is None or run_id in wanted) and self._selection.takes(run):
                    self.order.append(run_id)
                    waiting.append(run)
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
        if waiting:
            yield waiting
        self.not_found = sorted((wanted or set()) - set(self.order))

    def _pages(self) -> Iterator[List[Json]]:
        start: Optional[int] = None
        whole = True
        while True:
            count, last = 0, start
            for page in self._search(start):
                yield page
                count += len(page)
                last = int(page[-1]["info"].get("start_time") or 0)
                if last != start:
                    break  # go on from there by time, not by offset
            start, before = last, start
            if count < PAGE or start == before:
                break
            whole = False
        if start is not None:
            yield from self._search(start)  # what began while the pages were read
        if not whole:
            yield from self._once_more()

    def _once_more(self) -> Iterator[List[Json]]:
        """Yield what no window shows: runs without a start time, or with one in the past that came meanwhile."""
        before = set(self._seen)
        for _ in range(_PASSES):
            found: Set[str] = set()
            for page in self._search(None):
                found.update(run["info"]["run_id"] for run in page)
                yield page
            if before <= found:
                return
            before = found  # some have gone, and each that went may have hidden another

    def _search(self, start: Optional[int]) -> Iterator[List[Json]]:
        where = self._selection.filter(start)
        return self._tracking.search_runs([self._experiment_id], where, _ORDER, PAGE)

    def _related(self) -> Set[str]:
        """Return the ids asked for and, if wanted, those of all their descendants."""
        wanted = set(self._selection.run_ids)
        if not self._selection.nested:
            return wanted
        parents: Dict[str, str] = {}
        for page in self._tracking.search_runs([self._experiment_id], "tags.mlflow.parentRunId != ''", _ORDER, PAGE):
            for run in page:
                for tag in run["data"].get("tags") or ():
                    if tag["key"] == "mlflow.parentRunId":
                        parents[run["info"]["run_id"]] = tag["value"]
        grown = True
        while grown:
            children = {child for child, parent in parents.items() if parent in wanted} - wanted
            wanted |= children
            grown = bool(children)
        return wanted
