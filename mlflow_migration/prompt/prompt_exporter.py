"""Exports prompts: their versions, each a prompt.json, and what belongs to a prompt as a whole."""

from __future__ import annotations

import re
import threading
from typing import Any, Callable, Collection, Dict, List, Optional

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, BadInput, NotFound
from mlflow_migration.client.registry import (
    IS_PROMPT,
    MODEL_CONFIG,
    PROMPT_TEXT,
    PROMPT_TYPE,
    RESPONSE_FORMAT,
    PromptRegistry,
    is_placeholder,
)
from mlflow_migration.client.tracking import RUN_KEY, Tracking, tag_dict
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_prompt
from mlflow_migration.common.old_layouts import canonical_prompt
from mlflow_migration.common.timestamp_utils import with_times
from mlflow_migration.prompt.links import experiments_of, runs_of

Json = Dict[str, Any]

PROMPT_FILE = "prompt.json"
_VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_][\w.]*)\s*\}\}", re.ASCII)
_RESERVED = frozenset({IS_PROMPT, PROMPT_TEXT, PROMPT_TYPE, RESPONSE_FORMAT, MODEL_CONFIG})


class PromptExporter:
    """Exports prompts of one registry.

    :param tracking: The server with the experiments that prompts are linked to.
    :param registry: The prompts of the registry.
    :param job: Ledger, threads, progress.
    :param script: Name of the command, for the files.
    """

    def __init__(self, tracking: Tracking, registry: PromptRegistry, job: Job, script: str) -> None:
        self._tracking, self._registry, self._job, self._script = tracking, registry, job, script
        self._experiments: Optional[Dict[str, Json]] = None  # all by id, once a prompt names one
        self._origins: Dict[str, str] = {}
        self._lock = threading.Lock()

    def export(
        self, prompt: Json, place: Callable[[str], ExportDir], only: Collection[str] = (), alone: bool = False
    ) -> Json:
        """Export versions of a prompt, and record each and the prompt.

        :param prompt: As REST returns it.
        :param place: Gives the directory of a version by its number.
        :param only: Numbers of versions; default all.
        :param alone: Write into each file what belongs to the prompt as a whole too.
        :return: That: ``registered_model``, ``experiments``, ``versions`` (numbers) and, if some failed, ``info``.
        """
        name, kind = prompt["name"], "prompt_version"
        self._job.ledger.phase("exporting prompts")
        there = self.versions(name)
        chosen = [version for version in there if not only or str(version["version"]) in only]
        self._job.ledger.expect(kind, len(chosen))
        self._job.progress.add_total(len(chosen))
        fields = {key: value for key, value in prompt.items() if key != "latest_versions"}
        experiments = {found: about for found in experiments_of(prompt) for about in self._experiment(found)}
        whole: Json = {"registered_model": with_times(fields), "experiments": experiments}
        aliases: Dict[str, List[str]] = {}
        for item in prompt.get("aliases") or ():
            aliases.setdefault(str(item["version"]), []).append(item["alias"])

        def save(version: Json) -> str:
            number = str(version["version"])
            version = {**version, "aliases": sorted(aliases.get(number, ()))}
            body = {"prompt": _readable(version), "model_version": version}
            runs = {run_id: origin for run_id in runs_of(version) for origin in self._origin(run_id)}
            return self._save(place(number), {**body, **({"runs": runs} if runs else {}), **(whole if alone else {})})

        failed = []
        for outcome in self._job.executor.gather(save, chosen):
            key = f"{name}/{outcome.item['version']}"
            if outcome.error is None:
                self._job.ledger.record(kind, outcome.get(), key)
            else:
                failed.append(str(outcome.item["version"]))
                self._job.failed(kind, key, outcome.error)
            self._job.progress.advance()
        numbers = [str(version["version"]) for version in chosen if str(version["version"]) not in failed]
        info = {"info": {"failed_versions": [{"version": number} for number in failed]}} if failed else {}
        return {**whole, "versions": numbers, **info}

    def versions(self, name: str) -> List[Json]:
        """Return all versions of a prompt, sorted by number."""
        # what an import has left in a gap of the numbers is no version of anybody's
        return [version for version in self._registry.versions(name) if not is_placeholder(version)]

    def _save(self, directory: ExportDir, body: Json) -> str:
        """Write the file of a version if it is not there as it should be; return how that ended."""
        try:
            there: Optional[Json] = read_prompt(directory)
        except BadDirectory:
            there = None  # none, or a broken one
        new = canonical_prompt(body)
        if there == new:
            return "unchanged"
        if there is not None:
            refuse_other(there["version"], new["version"], directory)
        if not self._job.dry_run:
            directory.write_json(PROMPT_FILE, envelope(self._script, body, tracking_uri=self._registry.uri))
        return "copied" if there is None else "updated"

    def _experiment(self, experiment_id: str) -> List[Json]:
        """Return what names an experiment for ever, in a list that is empty if there is none of that id."""
        with self._lock:
            if self._experiments is None:
                pages = self._tracking.search_experiments()
                self._experiments = {found["experiment_id"]: found for page in pages for found in page}
            found = self._experiments.get(experiment_id)
        return [{key: found[key] for key in ("name", "creation_time") if key in found}] if found else []

    def _origin(self, run_id: str) -> List[str]:
        """Return the run that a run was imported from, in a list that is empty if it was not."""
        with self._lock:
            known = self._origins.get(run_id)
        if known is None:
            try:
                known = tag_dict(self._tracking.run(run_id)["data"].get("tags")).get(RUN_KEY, "")
            except NotFound:
                known = ""
            with self._lock:
                self._origins[run_id] = known
        return [known] if known else []


def refuse_other(there: Json, new: Json, directory: ExportDir) -> None:
    """Refuse to write over what a directory has of another server, or of a prompt that was deleted since.

    :param there: A version or a prompt as the directory has it.
    :param new: The one of that name and number that is to be written.
    :raises BadInput: They are two.
    """
    old, now = there.get("creation_timestamp"), new.get("creation_timestamp")
    if old and now and str(old) != str(now):
        raise BadInput(
            f"{directory.path} holds another '{new['name']}', of another server or deleted since;"
            " export into an empty directory"
        )


def _readable(version: Json) -> Json:
    """Return a version as MLflow's own class shows it."""
    tags = tag_dict(version.get("tags"))
    text = tags.get(PROMPT_TEXT, "")
    is_chat = tags.get(PROMPT_TYPE) == "chat"
    fields: Json = {
        "name": version["name"],
        "version": int(version["version"]),
        "template": _parsed(text) if is_chat else text,
        "prompt_type": "chat" if is_chat else "text",
        "variables": sorted(set(_VARIABLE.findall(text))),
        "commit_message": version.get("description"),
        "description": version.get("description"),
        "response_format": _parsed(tags.get(RESPONSE_FORMAT)),
        "model_config": _parsed(tags.get(MODEL_CONFIG)),
        "tags": {key: value for key, value in sorted(tags.items()) if key not in _RESERVED},
        "aliases": version["aliases"],
        "uri": f"prompts:/{version['name']}/{version['version']}",
        "user_id": version.get("user_id"),
        "creation_timestamp": version.get("creation_timestamp"),
        "last_updated_timestamp": version.get("last_updated_timestamp"),
    }
    return with_times(fields)


def _parsed(text: Optional[str]) -> Any:
    try:
        return None if text is None else json_codec.loads(text)
    except (ValueError, RecursionError):
        return text  # whoever wrote it; the tag itself is in the file as it is
