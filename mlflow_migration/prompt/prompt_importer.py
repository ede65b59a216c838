"""Imports one prompt: to a server it is a registered model with a tag, whose versions are made from nothing."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.registry import IS_PROMPT, PROMPT_SOURCE, PROMPT_TEXT, PromptRegistry
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Links
from mlflow_migration.model.carriers import Source
from mlflow_migration.model.destination import PROMPT, VersionSettings
from mlflow_migration.model.model_importer import RegisteredModelImporter
from mlflow_migration.prompt.links import translated
from mlflow_migration.run.import_run import settings_of

Json = Dict[str, Any]


NOTHING_LACKING: Mapping[str, Any] = {"failed": [], "lacking": [], "incomplete": {}, "is_whole": True}


class _Templates:
    """What versions of prompts are made from: see ``model_importer.Sources``."""

    def source(self, version: Json) -> Source:
        """Return the one source that servers take for a prompt."""
        self.check(version)
        return Source(PROMPT_SOURCE)

    def holds(self, version: Json) -> bool:
        """No run holds it."""
        return False

    def check(self, version: Json) -> None:
        """Refuse a version without a template: MLflow could not read it."""
        if PROMPT_TEXT not in version["tags"]:
            raise BadDirectory("it has no template")


def whole_of(version: Json) -> Json:
    """Return what belongs to a prompt as a whole, as far as a version's file of another tool tells."""
    model = {"name": version["name"], "description": "", "tags": {IS_PROMPT: "true"}}
    aliases = dict.fromkeys(version["aliases"], version["version"])
    return {"model": model, "aliases": aliases, "failed": [], "numbers": [], "experiments": {}}


def import_one_prompt(
    registry: PromptRegistry,
    job: Job,
    doc: Json,
    name: str,
    options: Mapping[str, Any],
    id_map: IdMap,
    links: Links,
    whole: bool,
) -> Dict[str, str]:
    """Import a prompt, and record it and its versions.

    :param registry: The destination's prompts.
    :param doc: The prompt, in the shape of :func:`read_model`, with ``lacking`` (numbers of versions that are not here
        as they should be), ``experiments`` and ``runs``, which are for ``links``.
    :param name: Its name at the destination.
    :param options: Those of the command.
    :param links: Finds what the ids in tags have become.
    :param whole: It is the prompt with all its versions: what belongs to the prompt itself is brought up to date too.
    :return: The destination's numbers by those of the source, of the versions that are there now.
    :raises BadInput: The destination has a model of that name.
    """
    delete = bool(options.get("delete_prompt"))
    how = VersionSettings.of(options, of_model=whole)
    importer = RegisteredModelImporter(registry, job, settings_of(options), how, id_map, name, PROMPT)
    conflicts = importer.prepare(
        doc, anew=delete, translate=lambda tags, there: translated(links, tags, there, doc["experiments"], doc["runs"])
    )
    if delete:
        kept = "the destination's prompt is not deleted, as"
        conflicts += [f"{kept} version {number} is not here as it should be" for number in doc["lacking"]]
        without = [version["version"] for version in doc["versions"] if PROMPT_TEXT not in version["tags"]]
        conflicts += [f"{kept} version {number} has no template" for number in without]
        if not (doc["versions"] and doc["is_whole"]):
            conflicts.append(f"{kept} {'its export failed' if doc['versions'] else 'no version of it is here'}")
    if conflicts:
        importer.refuse(conflicts)
        return {}
    if delete and not job.dry_run:
        registry.delete_model(name)
    importer.import_model(_Templates())
    return importer.numbers
