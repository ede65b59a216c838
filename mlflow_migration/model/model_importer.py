"""Imports one registered model: its versions under their numbers, then what names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Tuple

from mlflow_migration.client.errors import (
    BadDirectory,
    BadInput,
    Gone,
    MlflowExportImportException,
    NotFound,
    Refused,
    Stopped,
    describe,
)
from mlflow_migration.client.registry import HAS_NO_STAGE, PLACEHOLDER, VERSION_KEY, Registry, is_prompt, version_id
from mlflow_migration.client.tracking import tag_dict, tag_list
from mlflow_migration.common.id_map import SOURCE_TAGS, IdMap, options_of, original
from mlflow_migration.common.job import Job
from mlflow_migration.common.source_tags import ExportTags, mk_source_tags_mlflow_tag, set_source_tags_for_field
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled, short
from mlflow_migration.model.carriers import Source
from mlflow_migration.model.version_numbers import GapTooLarge, Numbers, NumberTaken
from mlflow_migration.run.run_importer import ImportSettings

Json = Dict[str, Any]

_VERSION = "model_version"
_LINEAGE = ("mlflow_exim.src_version.", "mlflow_exim.src_client.", "mlflow_exim.src_run.", "mlflow_exim.mlflow_exim.")
_SET_BY_SERVER = ("creation_timestamp", "last_updated_timestamp", "user_id", "run_id", "source")


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


class Sources(Protocol):
    """Knows what versions are made from at the destination."""

    def source(self, version: Json) -> Source:
        """Return what a version is made from. Raises if that is not there."""

    def holds(self, version: Json) -> bool:
        """Tell whether a version's model is in a run of its own, which :meth:`source` completes."""

    def check(self, version: Json) -> None:
        """Refuse a version that nothing could be made from, before anything is written."""


@dataclass
class _Version:
    """``own``: the destination's version is the source's itself, or what the source's was made from. ``is_gone``: an
    earlier import has made it, and the destination does not have it any more."""

    doc: Json
    tags: Dict[str, str] = field(default_factory=dict)
    dst: Optional[Json] = None
    created: bool = False
    own: bool = False
    is_gone: bool = False
    problems: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    missing: List[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.doc['name']}/{self.doc['version']}"


class RegisteredModelImporter:
    """Imports a registered model into one of the destination.

    :param registry: The destination's registry.
    :param job: Ledger, threads, progress.
    :param settings: As for runs.
    :param how: How versions get their numbers.
    :param id_map: What earlier imports did.
    :param name: Name of the destination's registered model.
    """

    def __init__(
        self, registry: Registry, job: Job, settings: ImportSettings, how: VersionSettings, id_map: IdMap, name: str
    ) -> None:
        self._registry, self._job, self._settings, self._how = registry, job, settings, how
        self._id_map, self.name = id_map, name
        self._scope = f"models:/{name}"
        self.numbers: Dict[str, str] = {}
        """Destination's number by the source's number."""

    # -- before anything is written -----------------------------------------------------------------------------

    def prepare(self, doc: Json, anew: bool = False) -> List[str]:
        """Read what the destination has.

        :param doc: The model as the directory has it.
        :param anew: The destination's model counts as deleted.
        :return: Conflicts of numbers, if these are to fail the model: then :meth:`refuse` it.
        :raises BadInput: The destination has a prompt of that name.
        """
        self._doc = doc
        found = self._registry.model(self.name)
        if is_prompt(found or {}):
            raise BadInput(f"The destination's '{self.name}' is a prompt, not a model: name another one.")
        self._there = None if anew else found
        there = self._registry.versions(self.name) if self._there is not None else []
        self._taken = Numbers(self._registry, self.name, there, self._how.fill_always)
        by_id = {version_id(version): version for version in there}
        by_key = {tag_dict(version.get("tags")).get(VERSION_KEY, ""): version for version in there}
        self._versions = [self._known(source, by_id, by_key) for source in doc["versions"]]
        return self._conflicts() if self._how.on_conflict == "fail" else []

    def _mark(self) -> str:
        """Return what tells the destination's model from an earlier one of its name, and from other registries'."""
        return f"{self._registry.identity} {(self._there or {}).get('creation_timestamp')}"

    def _entry(self, kind: str, src_id: str) -> Optional[Json]:
        """Return what the id map has of an object, if that is about the model that is there now."""
        entry = self._id_map.find(kind, self._scope, src_id)
        if entry is None or self._there is None or entry.get("registry") != self._mark():
            return None
        base = entry["base"]
        # what a server refused, or was never compared, was empty
        entry["base"] = (
            None if base is None else {"description": "", **({"stage": ""} if kind == _VERSION else {}), **base}
        )
        return entry

    def refuse(self, conflicts: List[str]) -> None:
        """Record that nothing of the model is imported.

        :param conflicts: Why.
        """
        more = "" if len(conflicts) < 4 else f" and {len(conflicts) - 3} more"
        ex = NumberTaken(f"{'; '.join(conflicts[:3])}{more}: no version was imported")
        self._expect()
        for version in self._versions:
            self._job.failed("model_version", version.key, ex)
        self._job.failed("registered_model", self._doc["model"]["name"], ex)

    def _expect(self) -> None:
        """Tell the ledger what comes, and what an export has lost."""
        name, failed = self._doc["model"]["name"], self._doc["failed"]
        self._job.ledger.expect("registered_model", 1)
        self._job.ledger.expect("model_version", len(self._versions) + len(failed))
        for number in failed:
            lost = BadDirectory("its export failed: it is not in the directory")
            self._job.lost("model_version", f"{name}/{number}", lost, "versions")

    def _conflicts(self) -> List[str]:
        found: List[str] = []
        last = 0
        for version in self._versions:
            if version.dst is not None or version.is_gone:
                continue
            try:
                self._taken.check(int(version.doc["version"]), after=last)
            except (NumberTaken, GapTooLarge) as ex:
                found.append(describe(ex))
            else:
                last = int(version.doc["version"])
        return found

    def _known(self, doc: Json, by_id: Mapping[str, Json], by_key: Mapping[str, Json]) -> _Version:
        """Find the version that a source's is, that it was once made from, or that an import has made from it."""
        version, key = _Version(doc), version_id(doc)
        own = by_id.get(key) or by_id.get(doc["tags"].get(VERSION_KEY, ""))
        version.own = own is not None
        version.dst = own or by_key.get(key)
        if version.dst is None and self._there is not None and not self._settings.overwrite:
            version.is_gone = self._entry(_VERSION, key) is not None
        return version

    # -- the model ----------------------------------------------------------------------------------------------

    def import_model(self, carriers: Sources) -> None:
        """Import the model and its versions, and record each.

        :param carriers: Knows where the versions' models are at the destination.
        """
        self._expect()
        model = self._doc["model"]
        created = self._there is None
        if created and not self._job.dry_run:
            self._there = self._create()
        if not self._job.dry_run:
            self._taken.clear()
        stopped: Optional[Exception] = None
        behind = ""
        for version in self._versions:
            try:
                if stopped is not None:
                    raise stopped
                if behind and version.dst is None and not version.is_gone:
                    text = f"it has to wait for version {behind}, which failed and would lose its number"
                    raise MlflowExportImportException(f"{text}; --on-version-conflict skip goes on")
                self._job.executor.check()
                self._import_version(version, carriers)
            except (NumberTaken, GapTooLarge) as ex:
                if self._how.on_conflict == "skip":
                    reason = f"--on-version-conflict skip: {describe(ex)}"
                    self._job.ledger.record("model_version", "skipped", version.key, reason=reason)
                    continue
                stopped = ex
                self._job.failed("model_version", version.key, ex)
            except (Stopped, Gone):
                raise
            except (MlflowExportImportException, OSError) as ex:
                self._job.failed("model_version", version.key, ex)
                # what the directory lacks does not come with a repeat; anything else may
                if self._how.on_conflict == "fail" and version.dst is None and not isinstance(ex, BadDirectory):
                    behind = behind or version.doc["version"]
        if self._taken.filled:
            self._job.ledger.note(
                f"{self._taken.filled} numbers of versions of '{self.name}' are left free as they are at the source."
            )
        self._finish_model(model, created)

    def _create(self) -> Json:
        model = self._doc["model"]
        try:
            if not self._how.when_created:
                return self._registry.create_model(self.name, {}, "")
            return self._registry.create_model(self.name, self._model_tags(), model["description"])
        except Refused as ex:
            if ex.http_status_code != 400:
                raise
            # a value is refused: the model first, then its values one by one
            return self._registry.create_model(self.name, {}, "")

    def _model_tags(self) -> Dict[str, str]:
        model, tags = self._doc["model"], dict(self._doc["model"]["tags"])
        entry = self._entry("registered_model", model["name"])
        if SOURCE_TAGS in options_of(entry, import_source_tags=self._settings.source_tags):
            set_source_tags_for_field({**model, "description": None}, tags)
            tags.update(mk_source_tags_mlflow_tag(model["tags"]))
        return tags

    def _finish_model(self, model: Json, created: bool) -> None:
        aliases, kept, problems = self._aliases() if self._how.names else ({}, {}, [])
        if self._there is None:  # a dry run
            self._job.ledger.record("registered_model", "copied", model["name"], name=self.name)
            return
        follows = self._how.of_model or (created and self._how.when_created)
        tags, description = (self._model_tags(), model["description"]) if follows else ({}, "")
        entry = self._entry("registered_model", model["name"])
        there = self._registry.model(self.name) or self._there
        known = (created or entry is not None) and follows
        wanted = _state(description, tags, known, aliases=aliases)
        now = _state(there.get("description") or "", tag_dict(there.get("tags")), known, aliases=_aliases_of(there))
        base = now if created else entry["base"] if entry is not None else None
        for name in kept:  # what it will name is not there, so what it names stays
            wanted.update({name: now[name]} if name in now else {})
            if base is not None:
                base = {
                    **{key: value for key, value in base.items() if key != name},
                    **({name: now[name]} if name in now else {}),
                }
        if not self._how.of_model:  # what is not of these versions is nobody's business
            now = {name: value for name, value in now.items() if name in wanted}
            base = None if base is None else {name: value for name, value in base.items() if name in wanted}
        todo = plan(wanted, now, base, self._settings.overwrite, unfinished=False)
        if base is None:  # a model that was there before is somebody's own, and may have more
            todo.differs, todo.drop = [name for name in todo.differs if name in wanted], []
        # what somebody has added is not taken away, also where the source wins
        todo.differs += [name for name in todo.drop if name not in (base or {})]
        todo.drop = [name for name in todo.drop if name in (base or {})]
        missing = [name for name, is_lost in kept.items() if is_lost]

        def write(name: str) -> None:
            kind, _, key = name.partition(":")
            if kind == "description":
                self._registry.describe_model(self.name, model["description"])
            elif kind == "alias":
                self._registry.set_alias(self.name, key, aliases[key])
            else:
                self._registry.set_model_tag(self.name, key, tags[key])

        def drop(name: str) -> None:
            kind, _, key = name.partition(":")
            (self._registry.delete_alias if kind == "alias" else self._registry.delete_model_tag)(self.name, key)

        self._carry_out(todo, model["name"], tags, write, drop, missing, problems)
        if not self._job.dry_run:
            self._id_map.record(
                "registered_model", self._scope, model["name"], self.name, registry=self._mark(),
                base=settled(wanted, base, todo, missing), original=original(model, *_SET_BY_SERVER),
                options=options_of(entry, import_source_tags=self._settings.source_tags),
            )  # fmt: skip
        status = _status(missing, created, todo)
        reasons = problems + ([left_alone(todo.differs, base)] if todo.differs else [])
        self._job.ledger.record(
            "registered_model", status, model["name"], dst_id=self.name, name=self.name,
            reason="; ".join(reasons) or None, losses=["values"] if missing else [],
        )  # fmt: skip

    def _aliases(self) -> Tuple[Dict[str, str], Dict[str, bool], List[str]]:
        """Return the destination's numbers by alias; the fields of the others, and whether they are lost; and why."""
        found: Dict[str, str] = {}
        kept: Dict[str, bool] = {}
        problems: List[str] = []
        numbers = {version.doc["version"] for version in self._versions}
        for alias, number in sorted(self._doc["aliases"].items()):
            if number in self.numbers:
                found[alias] = self.numbers[number]
            elif self._job.dry_run:
                continue
            elif number in numbers:
                kept["alias:" + alias] = True
                problems.append(f"alias {alias}: its version {number} is not at the destination")
            else:
                kept["alias:" + alias] = False
                self._job.ledger.note(
                    f"The alias {alias} is left as it is: its version {number} is not in the directory."
                )
        return found, kept, problems

    # -- versions -----------------------------------------------------------------------------------------------

    def _import_version(self, version: _Version, carriers: Sources) -> None:
        doc = version.doc
        entry = self._entry(_VERSION, version_id(doc))
        has_some = entry is None and not version.own and _has_source_tags(version)
        wants = (self._settings.source_tags or has_some) and not version.own
        options = options_of(entry, import_source_tags=wants)
        version.tags = {key: value for key, value in doc["tags"].items() if key not in (VERSION_KEY, PLACEHOLDER)}
        if SOURCE_TAGS in options:
            plain = {key: value for key, value in doc.items() if not key.startswith("_") and value != ""}
            set_source_tags_for_field({**plain, "description": None}, version.tags)
            version.tags.update(mk_source_tags_mlflow_tag(doc["tags"]))
        for key, value in tag_dict((version.dst or {}).get("tags")).items():
            if key.startswith(_LINEAGE) and key != VERSION_KEY:
                version.tags.setdefault(key, value)  # stays, also where it is not asked for again
        base: Optional[State] = None
        if version.dst is None:
            if version.is_gone:
                gone = "it was imported before and is gone from the destination; --on-destination-change overwrite with"
                gone += " --on-version-conflict renumber makes it again, under another number"
                self._job.ledger.record("model_version", "differs", version.key, reason=gone)
                return
            if self._job.dry_run:
                self._foretell(version, carriers)
                return
            base = _version_state(self._create_version(version, carriers), True)
        elif entry is not None and entry["dst_id"] == str(version.dst["version"]):
            base = entry["base"]
        assert version.dst is not None
        if not (version.created or version.own or self._job.dry_run) and carriers.holds(doc):
            version.problems += carriers.source(doc).problems  # an import may have been cut off before it was whole
        version.problems += self._doc["incomplete"].get(doc["version"], [])
        version.missing += ["artifacts"] * bool(version.problems)
        number = str(version.dst["version"])
        self.numbers[doc["version"]] = number
        stage = doc["current_stage"] if self._how.names else version.dst.get("current_stage") or ""
        wanted = _state(doc["description"], version.tags, base is not None, stage=stage)
        there = _version_state(version.dst, base is not None)
        if base is not None and not self._how.names:
            base = {**base, **{name: there[name] for name in ("stage",) if name in there}}
        todo = plan(wanted, there, base, self._settings.overwrite, unfinished=False)

        def write(name: str) -> None:
            kind, _, key = name.partition(":")
            if kind == "description":
                self._registry.describe_version(self.name, number, doc["description"])
            elif kind == "stage":
                self._registry.set_stage(self.name, number, doc["current_stage"] or HAS_NO_STAGE)
            else:
                self._registry.set_version_tag(self.name, number, key, version.tags[key])

        def drop(name: str) -> None:
            self._registry.delete_version_tag(self.name, number, name.partition(":")[2])

        self._carry_out(todo, version.key, version.tags, write, drop, version.missing, version.problems)
        self._record_version(version, todo, wanted, base, options)

    def _foretell(self, version: _Version, carriers: Sources) -> None:
        if self._how.on_conflict == "skip":
            self._taken.check(int(version.doc["version"]), after=int(version.doc["version"]))
        carriers.check(version.doc)
        self._job.ledger.record("model_version", "copied", version.key)

    def _create_version(self, version: _Version, carriers: Sources) -> Json:
        doc = version.doc
        number: Optional[int] = int(doc["version"])
        try:
            if self._how.on_conflict == "next":
                number = None
            else:
                self._taken.check(int(doc["version"]))
        except NumberTaken:
            if self._how.on_conflict != "renumber":
                raise
            number = None
        place = carriers.source(doc)
        version.problems += place.problems
        version.notes += place.notes
        tags = {**version.tags, VERSION_KEY: version_id(doc)}
        body: Json = {"name": self.name, "source": place.source, "tags": tag_list(tags)}
        optional = {
            "run_id": place.run_id,
            "model_id": place.model_id,
            "run_link": doc["run_link"],
            "description": doc["description"],
        }
        body.update({key: value for key, value in optional.items() if value})
        try:
            version.dst = self._made(body, number)
        except Refused as ex:
            if ex.http_status_code != 400:
                raise
            # a value may be what is refused: without them first, then one by one
            bare = {key: value for key, value in body.items() if key != "description"}
            version.dst = self._made({**bare, "tags": tag_list({VERSION_KEY: tags[VERSION_KEY]})}, number)
        version.created = True
        if str(version.dst["version"]) != doc["version"] and self._how.on_conflict != "next":
            version.notes.append(f"it has the number {version.dst['version']}, as {doc['version']} was taken")
        return version.dst

    def _made(self, body: Json, number: Optional[int]) -> Json:
        try:
            made = self._taken.create(body, number)
        except NumberTaken:
            if self._how.on_conflict != "renumber":
                raise
            made = self._taken.create(body, None)
        return {**made, "tags": body["tags"], "description": body.get("description", "")}

    def _record_version(
        self, version: _Version, todo: Plan, wanted: State, base: Optional[State], options: List[str]
    ) -> None:
        assert version.dst is not None
        if not self._job.dry_run:
            self._id_map.record(
                "model_version", self._scope, version_id(version.doc), str(version.dst["version"]),
                registry=self._mark(),
                base=settled(wanted, base, todo, version.missing), original=original(version.doc, *_SET_BY_SERVER),
                options=options,
            )  # fmt: skip
        status = _status(version.missing, version.created, todo)
        reasons = version.problems + version.notes + ([left_alone(todo.differs, base)] if todo.differs else [])
        losses = [
            loss
            for loss, lost in (
                ("artifacts", "artifacts" in version.missing),
                ("values", set(version.missing) - {"artifacts"}),
            )
            if lost
        ]
        self._job.ledger.record(
            "model_version", status, version.key, dst_id=f"{self.name}/{version.dst['version']}",
            reason="; ".join(reasons) or None, losses=losses,
        )  # fmt: skip

    # -- values -------------------------------------------------------------------------------------------------

    def _carry_out(
        self,
        todo: Plan,
        owner: str,
        tags: Mapping[str, str],
        write: Callable[[str], None],
        drop: Callable[[str], None],
        missing: List[str],
        problems: List[str],
    ) -> None:
        """Write what is planned; what the destination refuses is recorded."""
        if self._job.dry_run:
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
                self._job.ledger.record(
                    "value", "skipped", f"{owner}/{name.replace(':', '/', 1)}", reason=describe(ex), losses=["values"],
                    value=tags.get(key) if name.startswith("tag:") else None,
                )  # fmt: skip
        for name in todo.drop:
            drop(name)


def _status(missing: List[str], created: bool, todo: Plan) -> str:
    if missing:
        return "incomplete"
    if created:
        return "copied"
    return "differs" if todo.differs else "unchanged" if todo.empty else "updated"


def _state(
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


def _version_state(version: Json, whole: bool) -> State:
    tags = tag_dict(version.get("tags"))
    tags.pop(VERSION_KEY, None)
    return _state(version.get("description") or "", tags, whole, stage=version.get("current_stage") or "")


def _has_source_tags(version: _Version) -> bool:
    there = tag_dict((version.dst or {}).get("tags"))
    return any(key.startswith(f"{ExportTags.PREFIX_FIELD}.") and key not in version.doc["tags"] for key in there)


def _aliases_of(model: Json) -> Dict[str, str]:
    return {item["alias"]: str(item["version"]) for item in model.get("aliases") or ()}
