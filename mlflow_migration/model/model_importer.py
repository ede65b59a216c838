"""Imports one registered model: its versions under their numbers, then what names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Set, Tuple

from mlflow_migration.client.errors import (
    BadDirectory,
    BadInput,
    Gone,
    MlflowExportImportException,
    Refused,
    Stopped,
    describe,
)
from mlflow_migration.client.registry import (
    HAS_NO_STAGE,
    PLACEHOLDER,
    VERSION_KEY,
    Registry,
    essential,
    is_prompt,
    not_essential,
    version_id,
)
from mlflow_migration.client.tracking import tag_dict, tag_list
from mlflow_migration.client.unity_catalog import READY, STAGE_TAG, UnityCatalog
from mlflow_migration.common.id_map import SOURCE_TAGS, IdMap, options_of, original
from mlflow_migration.common.job import Job
from mlflow_migration.common.permissions import import_permissions, registered_model
from mlflow_migration.common.source_tags import (
    SOURCE_URI,
    ExportTags,
    mk_source_tags_mlflow_tag,
    mk_source_uri_tag,
    set_source_tags_for_field,
)
from mlflow_migration.common.three_way import Plan, State, left_alone, plan, settled
from mlflow_migration.model.carriers import Source
from mlflow_migration.model.catalog_files import CatalogFiles
from mlflow_migration.model.destination import MODEL, PROMPT, Destination, Kind, VersionSettings, state_of, status_of
from mlflow_migration.model.model_fields import ModelFields
from mlflow_migration.model.version_numbers import GapTooLarge, Numbers, NumberTaken
from mlflow_migration.run.run_importer import ImportSettings

Json = Dict[str, Any]

_LINEAGE = tuple(
    f"mlflow_exim{mark}{of}{mark}"
    for mark in "._"  # Unity Catalog takes no dots
    for of in ("src_version", "src_client", "src_run", "mlflow_exim")
)
_SET_BY_SERVER = ("creation_timestamp", "last_updated_timestamp", "user_id", "run_id", "source")


Translate = Callable[[Mapping[str, str], Mapping[str, str]], Tuple[Dict[str, str], List[str]]]


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
    earlier import has made it, and the destination does not have it any more. ``missing``: fields that were refused.
    ``losses``: kinds of what else is not there."""

    doc: Json
    tags: Dict[str, str] = field(default_factory=dict)
    dst: Optional[Json] = None
    created: bool = False
    completed: bool = False  # an earlier import had been cut off before all files were there
    own: bool = False
    is_gone: bool = False
    problems: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    missing: List[str] = field(default_factory=list)
    losses: Set[str] = field(default_factory=set)
    unlinked: List[str] = field(default_factory=list)

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
    :param kind: What it is. Prompts need a ``PromptRegistry``.
    """

    def __init__(
        self,
        registry: Registry,
        job: Job,
        settings: ImportSettings,
        how: VersionSettings,
        id_map: IdMap,
        name: str,
        kind: Kind = MODEL,
    ) -> None:
        self._registry, self._job, self._settings, self._how = registry, job, settings, how
        self.name, self._kind = name, kind
        self._dst = Destination(registry, job, settings, how, id_map, name, kind)
        self._catalog = CatalogFiles(registry, job) if isinstance(registry, UnityCatalog) else None
        self.numbers: Dict[str, str] = {}
        """Destination's number by the source's number."""

    # -- before anything is written -----------------------------------------------------------------------------

    def prepare(self, doc: Json, anew: bool = False, translate: Optional[Translate] = None) -> List[str]:
        """Read what the destination has.

        :param doc: The model as the directory has it. ``lacking`` are numbers of versions that a whole export would
            have: what comes after them waits for them, or it would take their numbers.
        :param anew: The destination's model counts as deleted.
        :param translate: Returns the tags of the model, or of a version, for the destination, and sentences on what it
            lacks; it gets those of the source and those that the destination has.
        :return: Conflicts of numbers, if these are to fail the model: then :meth:`refuse` it.
        :raises BadInput: The destination has a prompt of that name where a model is imported, or the other way round.
        """
        self._doc = doc
        found = self._registry.model(self.name)
        if found is not None and is_prompt(found) != (self._kind == PROMPT):
            is_what = "a model, not a prompt" if self._kind == PROMPT else "a prompt, not a model"
            raise BadInput(f"The destination's '{self.name}' is {is_what}: name another one.")
        self._dst.there = None if anew else found
        there = self._registry.versions(self.name) if self._dst.there is not None else []
        self._taken = Numbers(self._registry, self.name, there, self._how.fill_always)
        by_id = {version_id(version): version for version in there}
        by_key = {tag_dict(version.get("tags")).get(VERSION_KEY, ""): version for version in there}
        self._versions = [self._known(source, by_id, by_key) for source in doc["versions"]]
        matched = {str(version.dst["version"]) for version in self._versions if version.dst is not None}
        self._is_ours = bool(matched) and matched == {str(version["version"]) for version in there}
        if translate is not None:
            self._translate(translate)
        return self._conflicts() if self._how.on_conflict == "fail" or anew else []

    def _translate(self, translate: Translate) -> None:
        tags, problems = translate(self._doc["model"]["tags"], tag_dict((self._dst.there or {}).get("tags")))
        self._doc = {**self._doc, "model": {**self._doc["model"], "tags": tags}, "unlinked": problems}
        for version in self._versions:
            tags, version.unlinked = translate(version.doc["tags"], tag_dict((version.dst or {}).get("tags")))
            version.doc = {**version.doc, "tags": tags}

    def refuse(self, conflicts: List[str]) -> None:
        """Record that nothing of the model is imported.

        :param conflicts: Why.
        """
        more = "" if len(conflicts) < 4 else f" and {len(conflicts) - 3} more"
        ex = NumberTaken(f"{'; '.join(conflicts[:3])}{more}: no version was imported")
        self._expect()
        for version in self._versions:
            self._job.failed(self._kind.version, version.key, ex)
        self._job.failed(self._kind.model, self._doc["model"]["name"], ex)

    def _expect(self) -> None:
        """Tell the ledger what comes, and what an export has lost."""
        name, failed = self._doc["model"]["name"], self._doc["failed"]
        self._job.ledger.expect(self._kind.model, 1)
        self._job.ledger.expect(self._kind.version, len(self._versions) + len(failed))
        reasons = self._doc.get("reasons", {})
        for number in failed:
            lost = BadDirectory(reasons.get(number, "its export failed: it is not in the directory"))
            self._job.lost(self._kind.version, f"{name}/{number}", lost, "versions")

    def _conflicts(self) -> List[str]:
        found: List[str] = []
        last = 0
        for version in self._versions:
            if version.dst is not None or version.is_gone or self._is_late(version):
                continue
            try:
                self._taken.check(int(version.doc["version"]), after=last)
            except (NumberTaken, GapTooLarge) as ex:
                found.append(describe(ex))
            else:
                last = int(version.doc["version"])
        return found

    def _is_late(self, version: _Version) -> bool:
        """Tell whether a version's number has been passed by versions that all come from this source."""
        is_new = version.dst is None and not version.is_gone
        return is_new and self._is_ours and self._taken.is_passed(int(version.doc["version"]))

    def _known(self, doc: Json, by_id: Mapping[str, Json], by_key: Mapping[str, Json]) -> _Version:
        """Find the version that a source's is, that it was once made from, or that an import has made from it."""
        version, key = _Version(doc), version_id(doc)
        own = by_id.get(key) or by_id.get(doc["tags"].get(VERSION_KEY, ""))
        version.own = own is not None
        version.dst = own or by_key.get(key)
        if version.dst is None and self._dst.there is not None and not self._settings.overwrite:
            version.is_gone = self._dst.entry(self._kind.version, key) is not None
        return version

    # -- import -------------------------------------------------------------------------------------------------

    def import_model(self, carriers: Sources) -> None:
        """Import the model and its versions, and record each.

        :param carriers: Knows where the versions' models are at the destination.
        """
        self._expect()
        fields = ModelFields(self._dst, self._doc)
        created = self._dst.there is None
        try:
            if not self._job.dry_run:
                if created:
                    self._dst.there = fields.create()
                self._taken.clear()
        except (Stopped, Gone):
            raise
        except (MlflowExportImportException, OSError) as ex:
            for version in self._versions:
                self._job.failed(self._kind.version, version.key, ex)
            self._job.failed(self._kind.model, self._doc["model"]["name"], ex)
            return
        self._import_versions(carriers)
        if not self._job.dry_run and all(version.dst is not None or version.is_gone for version in self._versions):
            self._taken.release()
        if self._taken.filled:
            self._job.ledger.note(
                f"{self._taken.filled} numbers of versions of '{self.name}' are left free as they are at the source."
            )
        try:
            fields.finish(created, self.numbers, {version.doc["version"] for version in self._versions})
        except (Stopped, Gone):
            raise
        except (MlflowExportImportException, OSError) as ex:
            self._job.failed(self._kind.model, self._doc["model"]["name"], ex)
            return
        if self._settings.permissions and self._kind == MODEL:
            self._grant(self._doc.get("permissions"))

    def _grant(self, permissions: Any) -> None:
        """Grant the permissions of the source's model, and record it; nothing happens but on Databricks."""
        server, src_id = self._registry.server, self._doc["model"]["name"]
        if not server.is_databricks:
            return
        what = (lambda: registered_model(self._registry, self.name)) if self._dst.there is not None else None
        principals = self._settings.principals
        import_permissions(self._job, server.rest, f"registered_model/{src_id}", what, permissions, principals)

    def _import_versions(self, carriers: Sources) -> None:
        self._job.ledger.phase(f"importing {self._kind.version.replace('_', ' ')}s")
        stopped: Optional[Exception] = None
        behind = ""
        lacking = [] if self._job.ledger.accepts("versions") else sorted(map(int, self._doc.get("lacking", ())))
        for version in self._versions:
            try:
                if stopped is not None:
                    raise stopped
                if self._how.on_conflict == "fail" and lacking and lacking[0] < int(version.doc["version"]):
                    behind = behind or str(lacking[0])
                if behind and version.dst is None and not version.is_gone:
                    text = f"it has to wait for version {behind}, which is not there and would lose its number"
                    raise MlflowExportImportException(f"{text}; --on-version-conflict skip goes on")
                if self._how.on_conflict == "fail" and self._is_late(version):
                    text = f"number {version.doc['version']} was passed when it was not in the directory"
                    raise BadDirectory(f"{text}; --on-version-conflict renumber gives it the next free one")
                self._job.executor.check()
                self._import_version(version, carriers)
            except (NumberTaken, GapTooLarge) as ex:
                if self._how.on_conflict == "skip":
                    reason = f"--on-version-conflict skip: {describe(ex)}"
                    self._job.ledger.record(self._kind.version, "skipped", version.key, reason=reason)
                    continue
                stopped = ex
                self._job.failed(self._kind.version, version.key, ex)
            except (Stopped, Gone):
                raise
            except (MlflowExportImportException, OSError) as ex:
                self._job.failed(self._kind.version, version.key, ex)
                # a directory of another tool that lacks a version's model won't get it; anything else may come
                if self._how.on_conflict == "fail" and version.dst is None and not isinstance(ex, BadDirectory):
                    behind = behind or version.doc["version"]

    def _import_version(self, version: _Version, carriers: Sources) -> None:
        doc = version.doc
        entry = self._dst.entry(self._kind.version, version_id(doc))
        options = self._options(version, entry)
        version.tags = self._tags(version, options)
        base: Optional[State] = None
        if version.dst is None:
            if version.is_gone:
                gone = "it was imported before and is gone from the destination; --on-destination-change overwrite with"
                gone += " --on-version-conflict renumber makes it again, under another number"
                self._job.ledger.record(self._kind.version, "differs", version.key, reason=gone)
                return
            if self._job.dry_run:
                self._foretell(version, carriers)
                return
            base = _state(self._create_version(version, carriers), True)
        elif entry is not None and entry["dst_id"] == str(version.dst["version"]):
            base = entry["base"]
        assert version.dst is not None
        # one that keeps its source has its model there for good
        same_source = version.dst.get("source") == doc["source"]
        if not (version.created or version.own or same_source or self._job.dry_run) and carriers.holds(doc):
            version.problems += carriers.source(doc).problems  # an import may have been cut off before it was whole
        self._complete(version, carriers)
        version.problems += self._doc["incomplete"].get(doc["version"], [])
        version.losses.update(["artifacts"] * bool(version.problems))
        version.problems += version.unlinked
        version.losses.update(["links"] * bool(version.unlinked))
        self.numbers[doc["version"]] = str(version.dst["version"])
        stage = doc["current_stage"] if self._how.names else version.dst.get("current_stage") or ""
        wanted = state_of(doc["description"], version.tags, base is not None, stage=stage)
        there = _state(version.dst, base is not None)
        if base is not None and not self._how.names:
            base = {**base, **{name: there[name] for name in ("stage",) if name in there}}
        begun = {f"tag:{SOURCE_URI}"}  # comes and goes with what was asked for
        todo = plan(wanted, there, base, self._settings.overwrite, unfinished=False, begun=begun)
        self._write(version, todo)
        self._record(version, todo, wanted, base, options)

    def _complete(self, version: _Version, carriers: Sources) -> None:
        """Give a version of Unity Catalog its files, if an earlier import was cut off before all were there."""
        assert version.dst is not None
        if self._catalog is None or self._job.dry_run or version.dst.get("status") in (READY, None):
            return
        if not version.created:
            version.completed = True
            version.problems += self._catalog.complete(version.dst, carriers.source(version.doc))

    def _options(self, version: _Version, entry: Optional[Json]) -> List[str]:
        has_some = entry is None and not version.own and _has_source_tags(version)
        wants = (self._settings.source_tags or has_some) and not version.own
        return options_of(entry, import_source_tags=wants)

    def _tags(self, version: _Version, options: List[str]) -> Dict[str, str]:
        """Return the tags that the version is to have, but for its key."""
        doc = version.doc
        tags = {key: value for key, value in doc["tags"].items() if key not in (VERSION_KEY, PLACEHOLDER)}
        if self._settings.skip_artifacts and self._kind == MODEL and not version.own:
            tags = {**mk_source_uri_tag(doc.get("_download_uri") or doc["source"]), **tags}
        if SOURCE_TAGS in options:
            plain = {key: value for key, value in doc.items() if not key.startswith("_") and value != ""}
            set_source_tags_for_field({**plain, "description": None}, tags)
            tags.update(mk_source_tags_mlflow_tag(not_essential(doc["tags"])))
        for key, value in tag_dict((version.dst or {}).get("tags")).items():
            if key.startswith(_LINEAGE) and key != VERSION_KEY:
                tags.setdefault(key, value)  # stays, also where it is not asked for again
        return self._dst.with_keys(tags, version.unlinked)

    def _foretell(self, version: _Version, carriers: Sources) -> None:
        if self._how.on_conflict == "skip":
            self._taken.check(int(version.doc["version"]), after=int(version.doc["version"]))
        carriers.check(version.doc)
        self._job.ledger.record(self._kind.version, "copied", version.key)

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
        if self._catalog is not None:
            self._catalog.check(place)
            if doc["run_link"]:
                version.notes.append(f"Unity Catalog has no run links: {doc['run_link']} is not there")
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
            key_only = {VERSION_KEY: tags[VERSION_KEY], **essential(tags)}
            version.dst = self._made({**bare, "tags": tag_list(key_only)}, number)
        version.created = True
        if self._catalog is not None:
            version.problems += self._catalog.complete(version.dst, place)
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

    def _write(self, version: _Version, todo: Plan) -> None:
        assert version.dst is not None
        number = str(version.dst["version"])

        def write(name: str) -> None:
            kind, _, key = name.partition(":")
            if kind == "description":
                self._registry.describe_version(self.name, number, version.doc["description"])
            elif kind == "stage":
                self._registry.set_stage(self.name, number, version.doc["current_stage"] or HAS_NO_STAGE)
                if self._catalog is not None:
                    self._job.ledger.note(f"Unity Catalog has no stages: the tag {STAGE_TAG} has them.")
            else:
                self._registry.set_version_tag(self.name, number, key, version.tags[key])

        def drop(name: str) -> None:
            self._registry.delete_version_tag(self.name, number, name.partition(":")[2])

        self._dst.carry_out(todo, version.key, version.tags, write, drop, version.missing, version.problems)

    def _record(self, version: _Version, todo: Plan, wanted: State, base: Optional[State], options: List[str]) -> None:
        assert version.dst is not None
        if not self._job.dry_run:
            self._dst.record(
                self._kind.version, version_id(version.doc), str(version.dst["version"]),
                base=settled(wanted, base, todo, version.missing), original=original(version.doc, *_SET_BY_SERVER),
                options=options,
            )  # fmt: skip
        losses = version.losses | ({"values"} if version.missing else set())
        reasons = version.problems + version.notes + ([left_alone(todo.differs, base)] if todo.differs else [])
        status = status_of(bool(losses), version.created, todo, version.completed)
        self._job.ledger.record(
            self._kind.version, status, version.key,
            dst_id=f"{self.name}/{version.dst['version']}", reason="; ".join(reasons) or None, losses=sorted(losses),
        )  # fmt: skip


def _state(version: Json, whole: bool) -> State:
    tags = tag_dict(version.get("tags"))
    tags.pop(VERSION_KEY, None)
    return state_of(version.get("description") or "", tags, whole, stage=version.get("current_stage") or "")


def _has_source_tags(version: _Version) -> bool:
    there = tag_dict((version.dst or {}).get("tags"))
    return any(key.startswith(f"{ExportTags.PREFIX_FIELD}.") and key not in version.doc["tags"] for key in there)
