"""Lists the runs of an experiment that is in use meanwhile, so that none that existed throughout is missed.

A page token of MLflow is an offset: a run that goes away while pages are read moves the others past the reader. So the
listing goes by start time, upwards, each request beginning where the last one ended; what is new meanwhile comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from mlflow_migration.client.errors import BadInput, Refused
from mlflow_migration.client.tracking import Tracking

Json = Dict[str, Any]

PAGE = 250
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
    :param of_versions: ``run_ids`` are those that versions of registered models need, perhaps none.
    """

    run_ids: Tuple[str, ...] = ()
    nested: bool = False
    where: str = ""
    start_from: Optional[int] = None
    start_until: Optional[int] = None
    changed_since: Optional[int] = None
    of_versions: bool = False

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

    @property
    def of_server(self) -> str:
        """The options by which the server itself leaves runs out, in words; empty if there are none."""
        given = {"--filter": self.where.strip() or None, "--run-start-time": self.start_from}
        given["--runs-until"] = self.start_until
        return " and ".join(option for option, value in given.items() if value is not None)

    def refuses(self, run: Json, wanted: Optional[AbstractSet[str]]) -> Optional[str]:
        """Return the option that leaves a listed run out, or None if it is wanted.

        :param wanted: Ids of ``run_ids`` and, if wanted, of their descendants; None if all are.
        """
        info = run["info"]
        if wanted is not None and info["run_id"] not in wanted:
            return "no version needs it; --export-all-runs takes it" if self.of_versions else "--run-ids"
        if self.changed_since is None:
            return None
        times = (int(info.get("start_time") or 0), int(info.get("end_time") or 0))
        takes = max(times) >= self.changed_since or info.get("status") in ("RUNNING", "SCHEDULED")
        return None if takes else "--changed-since"


class RunListing:
    """The wanted runs of one experiment, in order of their start.

    :param tracking: The server.
    :param experiment_id: The experiment.
    :param selection: Which runs are wanted.
    :param left_out: Called with the id of each other run that the server lists, and the option that leaves it out.
    """

    def __init__(
        self,
        tracking: Tracking,
        experiment_id: str,
        selection: Selection,
        left_out: Callable[[str, str], None] = lambda run_id, option: None,
    ) -> None:
        self._tracking, self._experiment_id, self._selection = tracking, experiment_id, selection
        self._left_out = left_out
        self._seen: Set[str] = set()
        self.order: List[str] = []
        """Ids of the wanted runs found so far."""
        self.not_found: List[str] = []
        """Ids that were asked for and are not there; known when all groups were taken."""

    def groups(self, size: int) -> Iterator[List[Json]]:
        """Yield the wanted runs, at most ``size`` at a time, each once.

        :raises BadInput: The server refuses the filter.
        """
        wanted = self._related() if self._selection.run_ids or self._selection.of_versions else None
        waiting: List[Json] = []
        for page in self._pages():
            for run in page:
                run_id = run["info"]["run_id"]
                if run_id in self._seen:
                    continue
                self._seen.add(run_id)
                option = self._selection.refuses(run, wanted)
                if option is None:
                    self.order.append(run_id)
                    waiting.append(run)
                else:
                    self._left_out(run_id, option)
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
        if waiting:
            yield waiting
        for run_id in sorted((wanted or set()) - self._seen):
            options = self._selection.of_server
            if options and self._exists(run_id):
                self._left_out(run_id, options)
            else:
                self.not_found.append(run_id)

    def _exists(self, run_id: str) -> bool:
        try:
            return bool(self._tracking.run(run_id)["info"]["experiment_id"] == self._experiment_id)
        except Refused:
            return False

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
        try:
            yield from self._tracking.search_runs([self._experiment_id], where, _ORDER, PAGE)
        except Refused as ex:
            if ex.http_status_code != 400 or not self._selection.where.strip():
                raise
            raise BadInput(f"The server can't make sense of --filter {self._selection.where!r}: {ex.message}") from ex

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
