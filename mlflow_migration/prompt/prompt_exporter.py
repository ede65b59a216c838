"""Exports prompts: their versions, each a prompt.json, and what belongs to a prompt as a whole."""

from __future__ import annotations

import re
from typing import Any, Callable, Collection, Dict, List, Optional

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.registry import (
    IS_PROMPT,
    MODEL_CONFIG,
    PROMPT_TEXT,
    PROMPT_TYPE,
    RESPONSE_FORMAT,
    PromptRegistry,
    is_placeholder,
)
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Origins
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
        self._registry, self._job, self._script = registry, job, script
        self._origins = Origins(tracking)

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
        described = {found: self._origins.experiment(found) for found in experiments_of(prompt)}
        experiments = {found: about for found, about in described.items() if about}
        whole: Json = {"registered_model": with_times(fields), "experiments": experiments}
        aliases: Dict[str, List[str]] = {}
        for item in prompt.get("aliases") or ():
            aliases.setdefault(str(item["version"]), []).append(item["alias"])

        def save(version: Json) -> str:
            number = str(version["version"])
            version = {**version, "aliases": sorted(aliases.get(number, ()))}
            body = {"prompt": _readable(version), "model_version": version}
            origins = {run_id: self._origins.run(run_id) for run_id in runs_of(version)}
            runs = {run_id: origin for run_id, origin in origins.items() if origin}
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
