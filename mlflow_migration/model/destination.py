"""The registered model of the destination that is imported into: what its own import and that of its versions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional

from mlflow_migration.client.errors import NotFound, Refused, describe
from mlflow_migration.client.registry import HAS_NO_STAGE, Registry
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.three_way import Plan, State, short
from mlflow_migration.run.run_importer import ImportSettings

Json = Dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What is imported: a registered model, or a prompt, which is one with a tag.

    :param model: What ledger and id map call it.
    :param version: What they call a version of it.
    """

    model: str
    version: str


MODEL = Kind("registered_model", "model_version")
PROMPT = Kind("prompt", "prompt_version")


@dataclass(frozen=True)
class VersionSettings:
    """How versions get their numbers.

    :param on_conflict: ``fail``, ``skip`` or ``renumber``; ``next`` gives each new version the next free number, also
        where its own is free.
    :param fill_always: Fill gaps of any size.
    :param of_model: Bring description and tags of the registered model up to date; without it they are set only by
        ``when_created``.
    :param when_created: Give a registered model that is created its description and tags.
    :param names: Set aliases and stages.
    """

    on_conflict: str = "fail"
    fill_always: bool = False
    of_model: bool = True
    when_created: bool = True
    names: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any], of_model: bool = True) -> VersionSettings:
        """Return what the options of a command say."""
        return cls(options.get("on_version_conflict") or "fail", options.get("fill_gaps") == "always", of_model)


class Destination:
    """A registered model of the destination, there or still to be made.

    :param registry: The destination's registry.
    :param job: Ledger, threads, progress.
    :param settings: As for runs.
    :param how: How versions get their numbers.
    :param id_map: What earlier imports did.
    :param name: Name of the registered model.
    :param kind: Whether it is a prompt.
    """

    def __init__(
        self,
        registry: Registry,
        job: Job,
        settings: ImportSettings,
        how: VersionSettings,
        id_map: IdMap,
        name: str,
        kind: Kind,
    ) -> None:
        self.registry, self.job, self.settings, self.how = registry, job, settings, how
        self.name, self.kind = name, kind
        self._id_map, self._scope = id_map, f"models:/{name}"
        self.there: Optional[Json] = None
        """The registered model as REST returns it; None as long as there is none."""

    def _mark(self) -> str:
        """Return what tells the destination's model from an earlier one of its name, and from other registries'."""
        return f"{self.registry.identity} {(self.there or {}).get('creation_timestamp')}"

    def entry(self, kind: str, src_id: str) -> Optional[Json]:
        """Return what the id map has of an object, if that is about the model that is there now.

        :param kind: One of ``Kind``.
        """
        entry = self._id_map.find(kind, self._scope, src_id)
        if entry is None or self.there is None or entry.get("registry") != self._mark():
            return None
        base = entry["base"]
        # what a server refused, or was never compared, was empty
        entry["base"] = (
            None
            if base is None
            else {"description": "", **({"stage": ""} if kind == self.kind.version else {}), **base}
        )
        return entry

    def record(self, kind: str, src_id: str, dst_id: str, **facts: Any) -> None:
        """Write into the id map what an object became."""
        self._id_map.record(kind, self._scope, src_id, dst_id, registry=self._mark(), **facts)

    def with_keys(self, tags: Mapping[str, str], problems: List[str]) -> Dict[str, str]:
        """Return tags with the keys that the destination's registry can keep.

        :param problems: Gets a sentence for each tag that would have the same key as another one.
        """
        found: Dict[str, str] = {}
        for key in sorted(tags, key=lambda key: key != self.registry.tag_key(key)):
            new = self.registry.tag_key(key)
            if new in found and found[new] != tags[key]:
                problems.append(f"tag {key}: it would be {new} there, which is another one")
                continue
            if new != key and not key.startswith("mlflow_exim."):
                self.job.ledger.note(f"Unity Catalog takes no such tag as {key}: it is {new} there.")
            found[new] = tags[key]
        return found

    def carry_out(
        self,
        todo: Plan,
        owner: str,
        tags: Mapping[str, str],
        write: Callable[[str], None],
        drop: Callable[[str], None],
        missing: List[str],
        problems: List[str],
    ) -> None:
        """Write what is planned; what the destination refuses is recorded.

        :param owner: Source id of the object.
        :param tags: The tags that it is to have.
        :param write: Writes a field.
        :param drop: Removes a field.
        :param missing: Gets the fields that are refused.
        :param problems: Gets a sentence for each.
        """
        if self.job.dry_run:
            return
        for name in todo.write:
            try:
                write(name)
            except Refused as ex:
                if isinstance(ex, NotFound):
                    raise
                key = name.partition(":")[2]
                missing.append(name)
                problems.append(f"{name.replace(':', ' ', 1)}: {describe(ex)}")
                self.job.ledger.record(
                    "value", "skipped", f"{owner}/{name.replace(':', '/', 1)}", reason=describe(ex), losses=["values"],
                    value=tags.get(key) if name.startswith("tag:") else None,
                )  # fmt: skip
        for name in todo.drop:
            drop(name)


def status_of(lacks: bool, created: bool, todo: Plan, completed: bool = False) -> str:
    """Return how an import of a model or a version ended.

    :param lacks: Something could not be brought there.
    :param completed: Files have been brought that an earlier import had not.
    """
    if lacks:
        return "incomplete"
    if created:
        return "copied"
    return "differs" if todo.differs else "unchanged" if todo.empty and not completed else "updated"


def state_of(
    description: str, tags: Mapping[str, str], whole: bool, stage: str = "", aliases: Optional[Mapping[str, str]] = None
) -> State:
    """Return what can be changed of a model or a version.

    :param whole: Also what is empty, which is as good as absent where no earlier import is on record.
    """
    stage = "" if stage == HAS_NO_STAGE else stage
    state = {name: short(value) for name, value in (("description", description), ("stage", stage)) if value or whole}
    state.update(("tag:" + key, short(value)) for key, value in tags.items())
    state.update(("alias:" + alias, number) for alias, number in (aliases or {}).items())
    return state
