"""Every endpoint of a model registry that the package uses, one method each: JSON in, JSON out.

Paths are those of MLflow's REST API (``mlflow/protos/model_registry.proto``). Times are ms since epoch.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from mlflow_migration.client.errors import BadInput, Incapable, NotFound
from mlflow_migration.client.rest_client import paged
from mlflow_migration.client.tracking import API, Tracking, tag_dict, tag_list

Json = Dict[str, Any]

VERSION_KEY = "mlflow_exim.src_version.id"
"""Tag of an imported model version: what it was made from, as :func:`version_id` writes it."""

PLACEHOLDER = "mlflow_exim.placeholder"
"""Tag of a version that only fills a gap in the numbers, and is deleted at once."""

IS_PROMPT = "mlflow.prompt.is_prompt"
"""Tag of a registered model that is a prompt."""

PROMPT_TEXT = "mlflow.prompt.text"
"""Tag of a version of a prompt: its template."""

PROMPT_TYPE = "_mlflow_prompt_type"
"""Tag of a version of a prompt: ``text`` or ``chat``; a chat's template is JSON. Early versions lack it."""

RESPONSE_FORMAT = "_mlflow_prompt_response_format"
"""Tag of a version of a prompt, as JSON."""

MODEL_CONFIG = "_mlflow_prompt_model_config"
"""Tag of a version of a prompt, as JSON."""

PROMPT_SOURCE = "dummy-source"
"""``source`` of a version of a prompt: servers take no other, as there is nothing that it is made from."""

HAS_NO_STAGE = "None"
_UNQUOTABLE = re.compile(r"['\"\\%]")
_IS_PROMPT_TRUE = f"tag.`{IS_PROMPT}` = 'true'"
_PAGE = 1_000


def version_id(version: Mapping[str, Any]) -> str:
    """Return what names a model version for ever: numbers begin anew when a model is deleted."""
    return f"{version['name']}/{version['version']}/{version.get('creation_timestamp') or 0}"


def is_prompt(found: Mapping[str, Any]) -> bool:
    """Tell whether a registered model or a version, as REST returns it, is a prompt's."""
    return tag_dict(found.get("tags")).get(IS_PROMPT, "").lower() == "true"


def is_placeholder(version: Mapping[str, Any]) -> bool:
    """Tell whether a version, as REST returns it, only fills a gap in the numbers."""
    tags = tag_dict(version.get("tags"))
    return PLACEHOLDER in tags and VERSION_KEY not in tags


class NoPrompts(Incapable):
    """A server is too old for prompts, or keeps them where this package does not look."""


def essential(tags: Mapping[str, str]) -> Dict[str, str]:
    """Return those of the tags without which a prompt, or a version of it, is none."""
    return {key: tags[key] for key in (IS_PROMPT, PROMPT_TEXT) if key in tags}


def not_essential(tags: Mapping[str, str]) -> Dict[str, str]:
    """Return the other tags."""
    return {key: value for key, value in tags.items() if key not in essential(tags)}


class Registry:
    """The model registry of one server; searches show no prompts, see :class:`PromptRegistry`.

    :param server: The server that has the registry; the runs may be on another one.
    :param tracking: The server that has the runs.
    """

    keeps_files = False
    """Whether it has the files of each version itself, in a place that only it gives access to."""

    _also = ""
    _api = API

    def __init__(self, server: Tracking, tracking: Tracking) -> None:
        self.server, self.tracking = server, tracking
        self.uri = server.uri
        self.identity = server.identity
        self.is_apart = server is not tracking
        """Whether it knows nothing of the runs and logged models, as they are on another server."""
        self._rest = server.rest

    def tag_key(self, key: str) -> str:
        """Return the key with which a tag is kept."""
        return key

    # -- registered models --------------------------------------------------------------------------------------

    def search_models(self) -> Iterator[List[Json]]:
        """Yield pages of registered models with their tags and aliases; prompts are none."""
        for page in self._search_models(""):
            yield [model for model in page if not is_prompt(model)]

    def _search_models(self, where: str) -> Iterator[List[Json]]:
        def fetch(token: Optional[str]) -> Json:
            params: Json = {"max_results": _PAGE, **({"page_token": token} if token else {})}
            return self._rest.get(
                f"{self._api}/registered-models/search", {**params, **({"filter": where} if where else {})}
            )

        return paged(fetch, "registered_models")

    def model(self, name: str) -> Optional[Json]:
        """Return a registered model with its tags and aliases, or None."""
        try:
            reply = self._rest.get(f"{self._api}/registered-models/get", {"name": name})
        except NotFound as ex:
            if not ex.error_code:
                raise
            return None
        return dict(reply["registered_model"])

    def create_model(self, name: str, tags: Mapping[str, str], description: str) -> Json:
        """Create a registered model."""
        body: Json = {"name": name, "tags": tag_list(tags), "description": description}
        return self._rest.post_once(
            f"{self._api}/registered-models/create",
            body,
            lambda: self.model(name),
            lambda r: dict(r["registered_model"]),
        )

    def describe_model(self, name: str, description: str) -> None:
        """Set the description of a registered model."""
        self._rest.patch(f"{self._api}/registered-models/update", {"name": name, "description": description})

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""
        self._rest.post(
            f"{self._api}/registered-models/set-tag", {"name": name, "key": self.tag_key(key), "value": value}
        )

    def delete_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a registered model."""
        self._rest.delete(f"{self._api}/registered-models/delete-tag", {"name": name, "key": self.tag_key(key)})

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version, and no other."""
        self._rest.post(f"{self._api}/registered-models/alias", {"name": name, "alias": alias, "version": version})

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self._rest.delete(f"{self._api}/registered-models/alias", {"name": name, "alias": alias})

    def delete_model(self, name: str) -> None:
        """Delete a registered model with all its versions, for good; it is no error if there is none."""
        try:
            self._rest.delete(f"{self._api}/registered-models/delete", {"name": name})
        except NotFound as ex:
            if not ex.error_code:
                raise

    # -- versions -----------------------------------------------------------------------------------------------

    def versions(self, name: str) -> List[Json]:
        """Return all versions of a registered model, sorted by number; their aliases are those of the model."""
        quote = '"' if "'" in name else "'"
        where = f"name = {quote}{name}{quote}"
        if name.endswith("\\") or ("'" in name and '"' in name):
            # no filter string can hold it
            where = f"name LIKE '{re.sub(_UNQUOTABLE, '_', name)}'"
        pages = self.search_versions(where + self._also)
        # patterns fit others, and some databases compare without case
        found = [version for page in pages for version in page if version["name"] == name]
        return sorted(found, key=lambda version: int(version["version"]))

    def search_versions(self, where: str = "") -> Iterator[List[Json]]:
        """Yield pages of versions with their tags, of all models.

        :param where: MLflow's filter string.
        """

        def fetch(token: Optional[str]) -> Json:
            params: Json = {"max_results": _PAGE, **({"page_token": token} if token else {})}
            if where:
                params["filter"] = where
            return self._rest.get(f"{self._api}/model-versions/search", params)

        return paged(fetch, "model_versions")

    def version(self, name: str, number: str) -> Json:
        """Return a version. Raises NotFound."""
        reply = self._rest.get(f"{self._api}/model-versions/get", {"name": name, "version": number})
        return dict(reply["model_version"])

    def create_version(self, body: Json, find: Callable[[], Optional[Json]]) -> Json:
        """Create a version; its number is one above the highest that the model ever had.

        :param body: As ``model-versions/create`` takes it.
        :param find: Returns the version that an attempt of unknown outcome has made.
        """
        return self._rest.post_once(
            f"{self._api}/model-versions/create", body, find, lambda reply: dict(reply["model_version"])
        )

    def describe_version(self, name: str, number: str, description: str) -> None:
        """Set the description of a version."""
        body = {"name": name, "version": number, "description": description}
        self._rest.patch(f"{self._api}/model-versions/update", body)

    def set_version_tag(self, name: str, number: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        body = {"name": name, "version": number, "key": self.tag_key(key), "value": value}
        self._rest.post(f"{self._api}/model-versions/set-tag", body)

    def delete_version_tag(self, name: str, number: str, key: str) -> None:
        """Remove a tag of a version."""
        self._rest.delete(
            f"{self._api}/model-versions/delete-tag", {"name": name, "version": number, "key": self.tag_key(key)}
        )

    def set_stage(self, name: str, number: str, stage: str) -> None:
        """Set the stage of a version; others that have it keep it."""
        body = {"name": name, "version": number, "stage": stage, "archive_existing_versions": False}
        self._rest.post(f"{self._api}/model-versions/transition-stage", body)

    def delete_version(self, name: str, number: str) -> None:
        """Delete a version; its number is not given again. It is no error if there is none."""
        try:
            self._rest.delete(f"{self._api}/model-versions/delete", {"name": name, "version": number})
        except NotFound as ex:
            if not ex.error_code:
                raise

    def artifact_uri(self, name: str, number: str) -> str:
        """Return where the artifacts of a version are. Raises NotFound."""
        params = {"name": name, "version": number}
        return str(self._rest.get(f"{self._api}/model-versions/get-download-uri", params).get("artifact_uri") or "")

    @contextmanager
    def version_file(self, name: str, number: str, path: str) -> Iterator[Iterator[bytes]]:
        """Read an artifact of a version from wherever the server itself can read it."""
        params = {"name": name, "version": number, "path": path}
        with self._rest.stream("/model-versions/get-artifact", params) as blocks:
            yield blocks


class PromptRegistry(Registry):
    """The prompts of a registry.

    :param registry: The registry.
    :raises BadInput: Its server is too old for prompts.
    """

    _also = f" AND {_IS_PROMPT_TRUE}"

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.server, registry.tracking)
        if registry.keeps_files:
            raise NoPrompts(f"{registry.uri} is Unity Catalog, whose prompts are not read or written.", "")
        version = self.server.version()
        match = re.match(r"(\d+)\.(\d+)", version)
        # no route of theirs could be asked for instead: it would take them for models
        if match and (int(match[1]), int(match[2])) < (2, 21):
            raise NoPrompts(f"{self.uri} runs MLflow {version}, which knows no prompts: they came with 2.21.", version)

    def prompt(self, name: str) -> Json:
        """Return a prompt with its tags and aliases.

        :raises BadInput: There is none.
        """
        found = self.model(name)
        if found is None:
            raise BadInput(f"{self.uri} has no prompt '{name}'.")
        if not is_prompt(found):
            raise BadInput(f"'{name}' is a registered model, not a prompt.")
        return found

    def search_models(self) -> Iterator[List[Json]]:
        """Yield pages of prompts, with their tags and aliases."""
        return self._search_models(_IS_PROMPT_TRUE)
