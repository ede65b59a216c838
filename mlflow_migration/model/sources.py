"""Where the model of a registered version lies: in a run, in a logged model, or in neither that travels with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Set, Tuple
from urllib.parse import unquote, urlsplit

RUN, LOGGED_MODEL = "run", "logged_model"
_OBJECT_STORES = frozenset({"s3", "gs", "abfs", "abfss", "wasb", "wasbs"})
_RUNS_URI = re.compile(r"runs:/+([^/]+)/?(.*)\Z")
_MODELS_URI = re.compile(r"models:/+(m-[0-9a-f]{32})(?:/(.*))?\Z")
_MODEL_IDS = re.compile(r"(?:models:/+|/models/)(m-[0-9a-f]{32})(?=/|\Z)")


@dataclass(frozen=True)
class Place:
    """Where a version's model lies.

    :param kind: RUN or LOGGED_MODEL.
    :param id: Source id of that run or logged model.
    :param path: Path below its artifact root; empty for the root itself.
    :param by_id: The source names it by its id, as ``runs:/`` and ``models:/`` do, and not by a location.
    """

    kind: str
    id: str
    path: str
    by_id: bool = False


def model_ids(*uris: str) -> Set[str]:
    """Return the ids of logged models that sources or locations of versions name."""
    return {found for uri in uris for found in _MODEL_IDS.findall(uri or "")}


def is_copy(source: str) -> bool:
    """Tell whether a version is made from another version, which has the model: ``models:/NAME/VERSION``."""
    return source.startswith("models:/") and not _MODELS_URI.match(source)


def is_in_object_store(source: str) -> bool:
    """Tell whether a source is a location in an object store, which is the same for every server."""
    return urlsplit(source).scheme in _OBJECT_STORES


def locate(source: str, location: str, runs: Mapping[str, str], models: Mapping[str, str]) -> Optional[Place]:
    """Find the run or logged model that a version's model belongs to.

    :param source: The version's source.
    :param location: Where the registry says that its artifacts are; may be empty.
    :param runs: Artifact roots of the runs that travel with it, by id.
    :param models: Artifact roots of the logged models, likewise.
    :return: None if it is none of them.
    """
    for uri in filter(None, (source, location)):
        for kind, pattern, known in ((LOGGED_MODEL, _MODELS_URI, models), (RUN, _RUNS_URI, runs)):
            match = pattern.match(uri)
            if match and match[1] in known:
                return Place(kind, match[1], (match[2] or "").strip("/"), by_id=True)
    for uri in filter(None, (source, location)):
        found = list(_below(uri, LOGGED_MODEL, models)) + list(_below(uri, RUN, runs))
        if found:
            return max(found, key=lambda item: item[0])[1]
    return None


def _below(uri: str, kind: str, roots: Mapping[str, str]) -> Iterator[Tuple[int, Place]]:
    """Yield the roots that a location is in, with their lengths: the longest is the nearest."""
    plain = unquote(uri)
    for object_id, root in roots.items():
        start = unquote(root or "").rstrip("/")
        if start and (plain + "/").startswith(start + "/"):
            yield len(start), Place(kind, object_id, plain[len(start) :].strip("/"))
            continue
        # the same place by another name: another host, a mount, the store behind a proxy
        marker = f"/{object_id}/artifacts"
        before, there, after = (plain + "/").partition(marker + "/")
        if there:
            yield len(before) + len(marker), Place(kind, object_id, after.strip("/"))
