"""Which traces go with the runs that are exported."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Set

from mlflow_migration.client.traces import SOURCE_RUN, millis
from mlflow_migration.experiment.run_listing import RunListing, Selection
from mlflow_migration.run.run_exporter import RunExporter

Json = Dict[str, Any]

_DELETED = "its run is not exported (--export-deleted-runs takes deleted ones)"


class TraceChoice:
    """Tells which traces of an experiment are wanted, now that its runs have been exported.

    A trace goes with the run that it was made in, and with those that it is linked to. One without a run goes with the
    whole experiment; if only a time is chosen, its own decides.

    :param selection: Which runs are wanted.
    :param listing: Has listed them.
    :param runs: Has exported them.
    """

    def __init__(self, selection: Selection, listing: RunListing, runs: RunExporter) -> None:
        self._selection, self._listing, self._runs = selection, listing, runs
        self._left: Optional[Set[str]] = None

    def refuses(self, info: Json, run_ids: Sequence[str]) -> Optional[str]:
        """Return the reason why a trace is left out, or None if it is wanted.

        :param info: As REST gives it.
        :param run_ids: The runs that it is linked to.
        """
        run_id = (info.get("trace_metadata") or {}).get(SOURCE_RUN)
        if run_ids or run_id in self._runs.whole:
            return None
        if self._selection.everything:
            return _DELETED if run_id is not None and run_id in self._left_out() else None
        chosen = self._selection
        option = "--run-ids" if chosen.run_ids else "--filter" if chosen.where.strip() else None
        if chosen.of_versions:
            option = "no version needs it; --export-all-runs takes it"
        if option is None and run_id is not None:
            return f"its run is not exported: {self._of_time()}"
        return option or self._out_of_time(millis(info.get("request_time")))

    def _left_out(self) -> Set[str]:
        if self._left is None:
            self._left = set(self._listing.order) - self._runs.whole.keys() - set(self._runs.failed)
        return self._left

    def _of_time(self) -> str:
        given = {
            "--run-start-time": self._selection.start_from,
            "--runs-until": self._selection.start_until,
            "--changed-since": self._selection.changed_since,
        }
        return " and ".join(option for option, value in given.items() if value is not None)

    def _out_of_time(self, time: int) -> Optional[str]:
        chosen = self._selection
        if chosen.start_from is not None and time < chosen.start_from:
            return "--run-start-time"
        if chosen.start_until is not None and time >= chosen.start_until:
            return "--runs-until"
        if chosen.changed_since is not None and time < chosen.changed_since:
            return "--changed-since"
        return None
