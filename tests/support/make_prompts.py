"""Prompts in the making, and their comparison with copies: both read anew through REST."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from tests.support.compare_models import RegistryRest, delete_version
from tests.support.rest import Json, RestError

IS_PROMPT = "mlflow.prompt.is_prompt"
VERSION_KEY = "mlflow_exim.src_version.id"
LINKS = ("_mlflow_experiment_ids", "mlflow.prompt.run_ids", "mlflow.prompt.associatedRunIds")
CHAT = [{"role": "system", "content": "Du bist „höflich“"}, {"role": "user", "content": "{{ question }} NaN"}]


class Prompts:
    """Prompts of one server, made as MLflow's client makes them."""

    def __init__(self, uri: str) -> None:
        """Nothing is sent yet."""
        self.rest = RegistryRest(uri)

    def create(self, name: str, description: str = "", **tags: str) -> None:
        """Make a prompt without versions."""
        body = {"name": name, "description": description, "tags": _pairs({IS_PROMPT: "true", **tags})}
        self.rest.post("registered-models/create", body)

    def version(self, name: str, template: Any, message: str = "", more: Optional[Dict[str, str]] = None) -> str:
        """Make a version; its number."""
        tags = {IS_PROMPT: "true", **(more or {})}
        if isinstance(template, list):
            # written as some client of another language would
            tags.update({"mlflow.prompt.text": json.dumps(template, indent=1), "_mlflow_prompt_type": "chat"})
        else:
            tags["mlflow.prompt.text"] = template
        body = {"name": name, "source": "dummy-source", "description": message, "tags": _pairs(tags)}
        return str(self.rest.post("model-versions/create", body)["model_version"]["version"])

    def gap(self, name: str, size: int = 1) -> None:
        """Let numbers be used up by versions that are deleted."""
        for _ in range(size):
            delete_version(self.rest, name, int(self.version(name, "to be deleted")))

    def alias(self, name: str, alias: str, number: str) -> None:
        """Let an alias name a version."""
        self.rest.post("registered-models/alias", {"name": name, "alias": alias, "version": number})

    def tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a prompt."""
        self.rest.post("registered-models/set-tag", {"name": name, "key": key, "value": value})

    def everything(self, name: str, longest: int = 90_000) -> List[str]:
        """A prompt with versions of all kinds, with gaps; their numbers. `longest` template in characters."""
        self.create(name, "für alle", team="the best", empty="")
        numbers = [self.version(name, 'Hello {{ who }}\n"quoted" 100 %', "first")]
        self.gap(name, 2)
        formats = {
            "_mlflow_prompt_response_format": json.dumps({"type": "object", "properties": {"a": {"type": "number"}}}),
            "_mlflow_prompt_model_config": json.dumps({"temperature": 0.1, "max_tokens": 100}),
        }
        numbers.append(self.version(name, CHAT, "a chat", {"tone": "polite", **formats}))
        numbers.append(self.version(name, "", ""))
        self.gap(name)
        numbers.append(self.version(name, "x" * longest, "long"))
        self.alias(name, "production", numbers[1])
        self.alias(name, "newest", numbers[-1])
        return numbers

    def versions(self, name: str) -> Dict[int, Json]:
        """All versions by number."""
        params = {"filter": f"name = '{name}' AND tag.`{IS_PROMPT}` = 'true'", "max_results": 500}
        found = self.rest.get("model-versions/search", params).get("model_versions") or []
        return {int(version["version"]): version for version in found}

    def names(self, prefix: str) -> List[str]:
        """The prompts whose name begins so."""
        params = {"filter": f"name LIKE '{prefix}%' AND tag.`{IS_PROMPT}` = 'true'", "max_results": 500}
        return [
            found["name"] for found in self.rest.get("registered-models/search", params).get("registered_models", [])
        ]


def prompt_differences(src: Prompts, name: str, dst: Prompts, copy: str) -> List[str]:
    """Every difference between a prompt and its copy but those of the ids in its tags; empty if there is none."""
    try:
        models = [side.rest.model(named) for side, named in ((src, name), (dst, copy))]
    except RestError as ex:
        return [str(ex)]
    found = []
    for what in ("description", "aliases", "tags"):
        ours, theirs = (_plain(model.get(what)) for model in models)
        if ours != theirs:
            found.append(f"{what}: {ours!r} became {theirs!r}")
    ours, theirs = src.versions(name), dst.versions(copy)
    if sorted(ours) != sorted(theirs) or not ours:
        found.append(f"versions: {sorted(ours)} became {sorted(theirs)}")
    for number in ours.keys() & theirs.keys():
        for what in ("description", "tags", "run_id", "run_link", "current_stage"):
            before, after = (_plain(version[number].get(what)) for version in (ours, theirs))
            if before != after:
                found.append(f"version {number}: {what}: {before!r} became {after!r}")
    return found


def _plain(value: Any) -> Any:
    if not isinstance(value, list):
        return value or ""
    key = {tuple(sorted(item.items())) for item in value if item.get("key") not in (VERSION_KEY, *LINKS)}
    return sorted(key)


def _pairs(tags: Dict[str, str]) -> List[Json]:
    return [{"key": key, "value": value} for key, value in tags.items()]
