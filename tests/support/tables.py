"""What becomes of each table of the newest server's own databases: limitations.md has it from here.

``python -m tests.support.tables`` writes it there; ``--check`` only compares. A test walks the tables of a real server:
a new MLflow release with a new table fails it, so that somebody decides what is to become of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple

LIMITATIONS = Path(__file__).resolve().parents[2] / "limitations.md"
COPIED, DERIVED, NOT_COPIED = "copied", "derived", "not copied"
BEGIN, END = "<!-- database: begin -->", "<!-- database: end -->"


class Fate(NamedTuple):
    """What becomes of a table.

    :param fate: ``copied``: its rows come over REST; ``derived``: the destination makes its rows from what is copied;
        ``not copied``.
    :param how: With what it comes, what it is made from, or why it does not come.
    """

    fate: str
    how: str


def _copied(how: str) -> Fate:
    return Fate(COPIED, how)


def _derived(how: str) -> Fate:
    return Fate(DERIVED, how)


def _not(why: str) -> Fate:
    return Fate(NOT_COPIED, why)


_OLD_PERMISSIONS = _not("left from before roles: the server itself reads it no more")
_ROLLUP = _derived("sums that the server makes from traces")

SERVER: Dict[str, Fate] = {
    "alembic_version": _not("says which schema the database has"),
    "assessments": _copied("with their trace"),
    "budget_policies": _copied("budgets of the gateway; held back without `--activate`"),
    "datasets": _copied("with the runs that used them"),
    "endpoint_bindings": _copied("with their endpoint of the gateway"),
    "endpoint_model_mappings": _copied("with their endpoint of the gateway"),
    "endpoint_tags": _copied("with their endpoint of the gateway"),
    "endpoints": _copied("endpoints of the gateway"),
    "entity_associations": _copied("links of traces, runs, evaluation datasets and prompts, with what they link"),
    "evaluation_dataset_records": _copied("with their evaluation dataset"),
    "evaluation_dataset_tags": _copied("with their evaluation dataset"),
    "evaluation_datasets": _copied("evaluation datasets"),
    "experiment_tags": _copied("with their experiment"),
    "experiments": _copied("experiments"),
    "guardrail_configs": _copied("with their endpoint of the gateway"),
    "guardrails": _copied("guardrails of the gateway"),
    "input_tags": _copied("with the run that used the dataset"),
    "inputs": _copied("datasets and logged models that runs used, and logged models that they made"),
    "issues": _copied("issues"),
    "job_locks": _not("says which job runs at this moment"),
    "jobs": _not("to create a job would run it; export-jobs and export-all keep them for the record"),
    "label_schemas": _copied("label schemas"),
    "latest_metrics": _derived("the last point of each metric"),
    "logged_model_metrics": _copied("with the run that has logged them"),
    "logged_model_params": _copied("with their logged model"),
    "logged_model_tags": _copied("with their logged model"),
    "logged_models": _copied("logged models"),
    "mcp_access_endpoints": _copied("with their MCP server"),
    "mcp_server_aliases": _copied("with their MCP server"),
    "mcp_server_tags": _copied("with their MCP server"),
    "mcp_server_version_tags": _copied("with their MCP server"),
    "mcp_server_versions": _copied("with their MCP server"),
    "mcp_servers": _copied("MCP servers of the registry"),
    "metrics": _copied("with their run, every point"),
    "model_definitions": _copied("model definitions of the gateway"),
    "model_version_tags": _copied("with their version"),
    "model_versions": _copied("versions of registered models and of prompts"),
    "online_scoring_configs": _copied("with their scorer; held back without `--activate`"),
    "params": _copied("with their run"),
    "registered_model_aliases": _copied("with their registered model or prompt"),
    "registered_model_tags": _copied("with their registered model or prompt"),
    "registered_models": _copied("registered models and prompts"),
    "review_queue_items": _copied("with their review queue"),
    "review_queue_label_schemas": _copied("with their review queue"),
    "review_queue_users": _copied("with their review queue"),
    "review_queues": _copied("review queues"),
    "runs": _copied("runs"),
    "scheduler_leases": _not("says which process of the server schedules at this moment"),
    "scorer_versions": _copied("with their scorer"),
    "scorers": _copied("scorers"),
    "secrets": _not("names of the gateway's secrets are told, values can't be read: set them by hand"),
    "span_metrics": _derived("tokens and cost of spans, from the spans"),
    "spans": _copied("with their trace"),
    "sql_assessment_daily_rollups": _ROLLUP,
    "sql_span_cost_daily_rollups": _ROLLUP,
    "sql_trace_metric_daily_rollups": _ROLLUP,
    "sql_trace_rollup_rebuild_queue": _not("says which of these sums are still to be made"),
    "tags": _copied("with their run"),
    "trace_info": _copied("traces"),
    "trace_metrics": _derived("tokens and cost of traces, from their spans"),
    "trace_request_metadata": _copied("with their trace"),
    "trace_tags": _copied("with their trace"),
    "webhook_events": _copied("with their webhook"),
    "webhooks": _copied("webhooks, disabled without `--activate`; their signing secrets can't be read"),
    "workspaces": _copied("workspaces, by `--workspaces`"),
}

AUTH: Dict[str, Fate] = {
    "alembic_version_auth": _not("says which schema the database has"),
    "experiment_permissions": _OLD_PERMISSIONS,
    "gateway_endpoint_permissions": _OLD_PERMISSIONS,
    "gateway_model_definition_permissions": _OLD_PERMISSIONS,
    "gateway_secret_permissions": _OLD_PERMISSIONS,
    "registered_model_permissions": _OLD_PERMISSIONS,
    "role_permissions": _copied("permissions of users and roles"),
    "roles": _copied("roles"),
    "scorer_permissions": _OLD_PERMISSIONS,
    "user_role_assignments": _copied("with their role"),
    "users": _copied("users, but for their passwords: nobody can read these"),
    "workspace_permissions": _OLD_PERMISSIONS,
}


def table() -> str:
    """Return the table of limitations.md, in Markdown."""
    lines: List[str] = ["| Database | Table | | |", "|---|---|---|---|"]
    for database, tables in (("server", SERVER), ("users", AUTH)):
        lines += [f"| {database} | `{name}` | {fate} | {how} |" for name, (fate, how) in sorted(tables.items())]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """Return the text of limitations.md with the present table between its two markers.

    :raises ValueError: It lacks the markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} ... {END}")
    return f"{before}{begin}\n\n{table()}\n\n{end}{after}"


def main() -> int:
    """Write the table into limitations.md, or compare it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if it is not up to date")
    text = LIMITATIONS.read_text(encoding="utf-8")
    new = with_table(text)
    if not parser.parse_args().check:
        LIMITATIONS.write_text(new, encoding="utf-8")
    return int(LIMITATIONS.read_text(encoding="utf-8") != new)


if __name__ == "__main__":
    sys.exit(main())
