"""What is particular to a server's jobs: they are exported for the record only, as to create one would run it."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Sequence

from mlflow_migration.client import server_jobs
from mlflow_migration.client.tracking import Tracking

Json = Dict[str, Any]

NOT_COPIED = "jobs are not copied: creating one would run it"


class Jobs:
    """Jobs of a server."""

    name, plural, why = "job", "jobs", NOT_COPIED

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all jobs; see :func:`server_jobs.read_jobs`."""
        return server_jobs.read_jobs(tracking)

    def id_of(self, doc: Json) -> str:
        """Return the job's id."""
        return str(doc["job_id"])

    def title(self, doc: Json) -> str:
        """Return what it does."""
        return str(doc.get("job_name") or "")

    def experiments(self, doc: Json) -> Sequence[str]:
        """Return the experiment that it was started for, as far as that is known."""
        return self._named(doc, "experiment_id")

    def runs(self, doc: Json) -> Sequence[str]:
        """Return the run that it has made or was started for, as far as that is known."""
        return self._named(doc, "run_id")

    def _named(self, doc: Json, name: str) -> Sequence[str]:
        params = doc.get("params")
        found = params.get(name) if isinstance(params, dict) else None
        return [found] if isinstance(found, str) and found else []


JOBS = Jobs()
