"""Which object of the destination is the copy of which of the source, also where one is only named by its id."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterable, Iterator, List, Optional, Protocol, Set, Tuple

from mlflow_migration.client.registry import VERSION_KEY
from mlflow_migration.client.tracking import MODEL_KEY, RUN_KEY
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.verify.objects import LOGGED_MODEL, RUN, Thing

KEYS = {RUN: RUN_KEY, LOGGED_MODEL: MODEL_KEY, "model_version": VERSION_KEY}
HOLDER = "models:/"
"""Beginning of the key of a run that an import made to hold a version's model."""

_WORD = re.compile(r"([\w\-]+)")
_SERVERS_ID = re.compile(r"(?:m-)?[0-9a-f]{32}\Z")
_LOCATION = re.compile(r"[A-Za-z][\w+.\-]*:/|/")


class HasKeys(Protocol):
    """A side that can be asked for an object by its id."""

    def key_of(self, kind: str, object_id: str) -> Optional[str]:
        """Return the key tag of an object, empty if it has none; None if there is no such object."""


class Links:
    """Knows what the destination's runs and logged models are copies of.

    :param src: The source.
    :param dst: The destination.
    :param id_maps: What imports have written about the destination.
    """

    def __init__(self, src: HasKeys, dst: HasKeys, id_maps: Iterable[IdMap]) -> None:
        self._src, self._dst, self._id_maps = src, dst, list(id_maps)
        self._homes: Dict[Tuple[str, str], Optional[str]] = {}
        self._origins: Dict[Tuple[str, str], Optional[str]] = {}
        self._known: Dict[Tuple[str, str], Set[str]] = {}
        self._copies: Dict[Tuple[str, str], Dict[str, List[str]]] = {}

    # -- what experiments of the destination have ---------------------------------------------------------------

    def note(self, kind: str, experiment_id: str, dst_id: str, key: str) -> None:
        """Take note of an object of one of the destination's experiments, and of its key tag."""
        self._homes[kind, dst_id] = key
        self._known.setdefault((kind, experiment_id), set()).add(dst_id)
        if key:
            copies = self._copies.setdefault((kind, experiment_id), {}).setdefault(key, [])
            if dst_id not in copies:
                copies.append(dst_id)

    def note_id_map(self, experiment_id: str, *kinds: str) -> None:
        """Take note of the copies of some kinds that have lost their key tags."""
        for kind in kinds:
            known = self.there(kind, experiment_id)
            for entry in self.entries(kind, experiment_id):
                if entry["dst_id"] in known and not self._homes.get((kind, entry["dst_id"])):
                    self.note(kind, experiment_id, entry["dst_id"], entry["src_id"])

    def entries(self, kind: str, experiment_id: Optional[str] = None) -> Iterator[Dict[str, Any]]:
        """Yield what the id maps have of a kind."""
        for id_map in self._id_maps:
            yield from id_map.entries(kind, experiment_id)

    def there(self, kind: str, experiment_id: str) -> Set[str]:
        """Return the ids of what an experiment has."""
        return self._known.get((kind, experiment_id), set())

    def copies(self, thing: Thing, experiment_id: str) -> List[str]:
        """Return what an experiment of the destination has of an object of the source."""
        there = self.there(thing.kind, experiment_id)
        if thing.id in there:
            return [thing.id]  # it is the source's own experiment
        found = self._copies.get((thing.kind, experiment_id), {}).get(thing.id)
        if found:
            return list(found)
        return [thing.key] if thing.key in there else []  # the source's was once made from it

    def is_holder(self, dst_id: str) -> bool:
        """Tell whether a run was made to hold the model of a version."""
        return self.home(RUN, dst_id).startswith(HOLDER)

    def home(self, kind: str, dst_id: str) -> str:
        """Return the source id of what an object of the destination was made from; empty if of nothing."""
        if (kind, dst_id) not in self._homes:
            self._homes[kind, dst_id] = self._dst.key_of(kind, dst_id)
        return self._homes[kind, dst_id] or ""

    def exists(self, kind: str, dst_id: str) -> bool:
        """Tell whether the destination has a run or logged model."""
        self.home(kind, dst_id)
        return self._homes[kind, dst_id] is not None

    def all_exist(self, text: str) -> bool:
        """Tell whether the destination has all runs and logged models whose ids are in a text."""
        ids = filter(_SERVERS_ID.match, _WORD.findall(text))
        return all(self.exists(LOGGED_MODEL if found.startswith("m-") else RUN, found) for found in ids)

    # -- ids in values ------------------------------------------------------------------------------------------

    def same(self, kind: str, src_id: str, dst_id: str, experiment_id: str) -> bool:
        """Tell whether an id at the destination names what an id at the source names.

        :param experiment_id: The destination's experiment in which it is named: what has a copy there must not be
            named by its id at the source any more.
        """
        if src_id == dst_id:
            copied = src_id in self._copies.get((kind, experiment_id), {})
            return not copied or src_id in self.there(kind, experiment_id)
        if not src_id or not dst_id:
            return False
        if self.home(kind, dst_id) == src_id:
            return True
        if (kind, src_id) not in self._origins:
            self._origins[kind, src_id] = self._src.key_of(kind, src_id)
        return self._origins[kind, src_id] == dst_id

    def same_text(self, src: str, dst: str, experiment_id: str, root: str = "") -> bool:
        """Tell whether texts are the same but for ids, and for the beginnings of locations that ids follow.

        :param root: The destination's artifact root of the object that has the text.
        """
        if _is_misplaced(dst, root):
            return False
        if self._same_words(_WORD.split(src), _WORD.split(dst), experiment_id):
            return True
        ours, theirs = _json(src), _json(dst)
        if (ours, theirs) != (src, dst) and self._same_words(_WORD.split(ours), _WORD.split(theirs), experiment_id):
            return True
        return bool(_LOCATION.match(src) and _LOCATION.match(dst)) and self._same_place(src, dst, experiment_id)

    def _same_words(self, src: List[str], dst: List[str], experiment_id: str) -> bool:
        return len(src) == len(dst) and all(map(lambda a, b: self._same_word(a, b, experiment_id), src, dst))

    def _same_word(self, src: str, dst: str, experiment_id: str) -> bool:
        if src == dst:
            return self.same(RUN, src, dst, experiment_id) and self.same(LOGGED_MODEL, src, dst, experiment_id)
        return self._same_id(src, dst, experiment_id)

    def _same_id(self, src: str, dst: str, experiment_id: str) -> bool:
        kind = LOGGED_MODEL if dst.startswith("m-") else RUN
        asked = bool(_SERVERS_ID.match(src) and _SERVERS_ID.match(dst))
        known = dst in self.there(kind, experiment_id)
        return (asked or known) and self.same(kind, src, dst, experiment_id)

    def _same_place(self, src: str, dst: str, experiment_id: str) -> bool:
        ours, theirs = _WORD.split(src.rstrip("/")), _WORD.split(dst.rstrip("/"))
        for i in range(len(ours) - 1, -1, -1):
            for j in range(len(theirs) - 1, -1, -1):
                if not _WORD.match(ours[i]) or not _WORD.match(theirs[j]):
                    continue
                if not self._same_id(ours[i], theirs[j], experiment_id):
                    continue
                after = (_after(ours[i + 1 :]), _after(theirs[j + 1 :]))
                return self._same_words(*after, experiment_id)
        return False


def _is_misplaced(text: str, root: str) -> bool:
    """Tell whether a location names the owner of an artifact root, but another place than that root."""
    scheme = root.partition(":")[0] + ":"
    ids = filter(_SERVERS_ID.match, _WORD.findall(root))
    return text.startswith(scheme) and any(
        found in text and not text.startswith(root[: root.index(found)]) for found in ids
    )


def _after(words: List[str]) -> List[str]:
    # a location has a folder that runs:/ and models:/ don't name
    return words[2:] if words[:2] == ["/", "artifacts"] else words


def _json(text: str) -> str:
    """Return JSON without its layout; any other text as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else text
