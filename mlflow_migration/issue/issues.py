"""What is particular to issues: see ``common/kinds.py``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Tuple

from mlflow_migration.client import issues
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.kinds import Copies, OfExperiment
from mlflow_migration.common.three_way import Plan, short
from mlflow_migration.issue.trace_links import name_copy

Json = Dict[str, Any]

_CHANGING = ("name", "description", "status", "severity")
_FIXED = ("root_causes", "categories", "source_run_id", "created_by")


class Issues(OfExperiment):
    """Issues of experiments. Their names are not unique: what never changes of one helps to find its copy."""

    name, plural, loss = "issue", "issues", "issues"
    id_field = "issue_id"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all issues; see :func:`issues.read_issues`."""
        return issues.read_issues(tracking)

    def runs(self, doc: Json) -> Sequence[str]:
        """Return the run that has found it, if one has."""
        return [doc["source_run_id"]] if doc.get("source_run_id") else []

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with its new experiment, and with the copy of the run that has found it."""
        found = {**doc, "experiment_id": copies.experiment(str(doc["experiment_id"]))}
        src_run, lacking = str(doc.get("source_run_id") or ""), []
        if src_run and not copies.coming:
            found["source_run_id"] = copies.run(src_run)
            if not found["source_run_id"]:
                lacking.append(f"the run {src_run} that has found it is not at the destination")
        return found, lacking

    def key(self, doc: Json) -> str:
        """Return experiment, name, and what a server never changes."""
        return "/".join(short(doc.get(name) or "") for name in ("experiment_id", "name", *_FIXED))

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what it says."""
        return {name: doc.get(name) or "" for name in (*_CHANGING, *_FIXED)}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Create it as it is."""
        return issues.create_issue(tracking, doc)

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Change what a server lets change."""
        todo.differs += [name for name in todo.write if name in _FIXED]
        todo.write = [name for name in todo.write if name in _CHANGING]
        if todo.write:
            issues.update_issue(tracking, self.id_of(there), {name: str(doc[name]) for name in todo.write})

    def name_copy(self, tracking: Tracking, job: Job, id_map: IdMap, src: Json, doc: Json, dst_id: str) -> int:
        """Make the traces that are linked to it name its copy."""
        return name_copy(tracking, job, id_map, str(doc["experiment_id"]), self.id_of(src), dst_id)


ISSUES = Issues()
