"""The jobs of a server: what it has run by itself. Paths are those of MLflow's ``server/job_api.py``.

There is nothing here that creates one: that would run it.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional
from urllib.parse import quote

from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.tracking import API_3, Tracking

Json = Dict[str, Any]

_SEARCH = "/ajax-api/3.0/jobs/search"
_OPTIMIZATIONS = f"{API_3}/prompt-optimization/jobs"
_OPTIMIZES_PROMPTS = "optimize_prompts"


def read_jobs(tracking: Tracking) -> Iterator[Json]:
    """Yield all jobs as REST returns them, those that optimize prompts with what is known of that; oldest first.

    A server that knows none has none.
    """
    reply = tracking.rest.optional("jobs", lambda: tracking.rest.search(_SEARCH, {}))
    for job in (reply or {}).get("jobs") or ():
        found = _optimization(tracking, job) if job.get("job_name") == _OPTIMIZES_PROMPTS else None
        yield {**job, **({"prompt_optimization": found} if found else {})}


def _optimization(tracking: Tracking, job: Json) -> Optional[Json]:
    def ask() -> Json:
        return tracking.rest.get(f"{_OPTIMIZATIONS}/{quote(str(job['job_id']), safe='')}")

    try:
        reply = tracking.rest.optional("prompt-optimization", ask)
    except NotFound:
        return None
    return (reply or {}).get("job")
