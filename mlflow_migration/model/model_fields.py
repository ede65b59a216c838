"""Imports a registered model itself: it is created before its versions; what names them comes after them."""

from __future__ import annotations

from typing import Any, Collection, Dict, List, Mapping, Optional, Tuple

from mlflow_migration.client.errors import Refused
from mlflow_migration.client.registry import essential, not_essential
from mlflow_migration.client.tracking import tag_dict
from mlflow_migration.common.id_map import SOURCE_TAGS, options_of, original
from mlflow_migration.common.source_tags import mk_source_tags_mlflow_tag, set_source_tags_for_field
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled
from mlflow_migration.model.destination import Destination, state_of, status_of

Json = Dict[str, Any]

_SET_BY_SERVER = ("creation_timestamp", "last_updated_timestamp", "user_id")


class ModelFields:
    """Description, tags and aliases of a registered model.

    :param dst: The destination's.
    :param doc: The model as the directory has it; see :func:`read_model`.
    """

    def __init__(self, dst: Destination, doc: Json) -> None:
        self._dst, self._doc, self._model = dst, doc, doc["model"]
        self._clashes: List[str] = []

    def create(self) -> Json:
        """Create it; what of its values is refused :meth:`finish` tries again, one by one."""
        dst, tags = self._dst, self._tags()
        try:
            if dst.how.when_created:
                return dst.registry.create_model(dst.name, tags, self._model["description"])
        except Refused as ex:
            if ex.http_status_code != 400:
                raise
        return dst.registry.create_model(dst.name, essential(tags), "")

    def finish(self, created: bool, numbers: Mapping[str, str], tried: Collection[str]) -> None:
        """Bring it up to date and record it.

        :param created: It was made in this import.
        :param numbers: Destination's numbers of versions by those of the source.
        :param tried: Source's numbers of the versions that were to be imported.
        """
        dst, name = self._dst, self._model["name"]
        aliases, kept, problems = self._aliases(numbers, tried) if dst.how.names else ({}, {}, [])
        if dst.there is None:  # a dry run
            dst.job.ledger.record(dst.kind.model, "copied", name, name=dst.name)
            return
        missing = [field for field, is_lost in kept.items() if is_lost]
        follows = dst.how.of_model or (created and dst.how.when_created)
        tags = self._tags() if follows else {}
        todo, wanted, base = self._plan(created, follows, tags, aliases, kept)
        self._write(todo, tags, aliases, missing, problems)
        unlinked = self._doc.get("unlinked", []) + self._clashes if follows else []
        problems += unlinked
        if not dst.job.dry_run:
            # what is known of other fields stays known
            before = {} if dst.how.of_model else (dst.entry(dst.kind.model, name) or {}).get("base") or {}
            dst.record(
                dst.kind.model, name, dst.name, base={**before, **settled(wanted, base, todo, missing)},
                original=original(self._model, *_SET_BY_SERVER), options=self._options(),
            )  # fmt: skip
        if todo.differs:
            problems.append(left_alone(todo.differs, base))
        dst.job.ledger.record(
            dst.kind.model, status_of(bool(missing or unlinked), created, todo), name, dst_id=dst.name, name=dst.name,
            reason="; ".join(problems) or None, losses=["links"] * bool(unlinked) + ["values"] * bool(missing),
        )  # fmt: skip

    def _options(self) -> List[str]:
        entry = self._dst.entry(self._dst.kind.model, self._model["name"])
        return options_of(entry, import_source_tags=self._dst.settings.source_tags)

    def _tags(self) -> Dict[str, str]:
        tags = dict(self._model["tags"])
        if SOURCE_TAGS in self._options():
            set_source_tags_for_field({**self._model, "description": None}, tags)
            tags.update(mk_source_tags_mlflow_tag(not_essential(self._model["tags"])))
        self._clashes.clear()
        return self._dst.with_keys(tags, self._clashes)

    def _plan(
        self,
        created: bool,
        follows: bool,
        tags: Mapping[str, str],
        aliases: Mapping[str, str],
        kept: Mapping[str, bool],
    ) -> Tuple[Plan, State, Optional[State]]:
        """Return what is to be done, the state that is wanted, and the one that the last import left.

        :param follows: Description and tags are to be those of the source.
        :param kept: Aliases that stay as they are.
        """
        dst = self._dst
        entry = dst.entry(dst.kind.model, self._model["name"])
        there = dst.registry.model(dst.name) or dst.there or {}
        known = (created or entry is not None) and follows
        wanted = state_of(self._model["description"] if follows else "", tags, known, aliases=aliases)
        now = state_of(there.get("description") or "", tag_dict(there.get("tags")), known, aliases=_aliases_of(there))
        base = now if created else entry["base"] if entry is not None else None
        for field in kept:  # what it will name is not there, so what it names stays
            as_it_is = {field: now[field]} if field in now else {}
            wanted.update(as_it_is)
            if base is not None:
                base = {**{key: value for key, value in base.items() if key != field}, **as_it_is}
        if not dst.how.of_model:  # what is not of these versions is nobody's business
            now = {field: value for field, value in now.items() if field in wanted}
            base = None if base is None else {field: value for field, value in base.items() if field in wanted}
        todo = plan(wanted, now, base, dst.settings.overwrite, unfinished=False)
        if base is None:  # a model that was there before is somebody's own, and may have more
            todo.differs, todo.drop = [field for field in todo.differs if field in wanted], []
        # what somebody has added is not taken away, also where the source wins
        todo.differs += [field for field in todo.drop if field not in (base or {})]
        todo.drop = [field for field in todo.drop if field in (base or {})]
        return todo, wanted, base

    def _write(
        self, todo: Plan, tags: Mapping[str, str], aliases: Mapping[str, str], missing: List[str], problems: List[str]
    ) -> None:
        name, registry = self._dst.name, self._dst.registry

        def write(field: str) -> None:
            kind, _, key = field.partition(":")
            if kind == "description":
                registry.describe_model(name, self._model["description"])
            elif kind == "alias":
                registry.set_alias(name, key, aliases[key])
            else:
                registry.set_model_tag(name, key, tags[key])

        def drop(field: str) -> None:
            kind, _, key = field.partition(":")
            (registry.delete_alias if kind == "alias" else registry.delete_model_tag)(name, key)

        self._dst.carry_out(todo, self._model["name"], tags, write, drop, missing, problems)

    def _aliases(
        self, numbers: Mapping[str, str], tried: Collection[str]
    ) -> Tuple[Dict[str, str], Dict[str, bool], List[str]]:
        """Return the destination's numbers by alias; the fields of the others, and whether they are lost; and why."""
        found: Dict[str, str] = {}
        kept: Dict[str, bool] = {}
        problems: List[str] = []
        for alias, number in sorted(self._doc["aliases"].items()):
            if number in numbers:
                found[alias] = numbers[number]
            elif self._dst.job.dry_run:
                continue
            elif number in tried:
                kept["alias:" + alias] = True
                problems.append(f"alias {alias}: its version {number} is not at the destination")
            else:
                kept["alias:" + alias] = False
                self._dst.job.ledger.note(
                    f"The alias {alias} is left as it is: its version {number} is not in the directory."
                )
        return found, kept, problems


def _aliases_of(model: Json) -> Dict[str, str]:
    return {item["alias"]: str(item["version"]) for item in model.get("aliases") or ()}
