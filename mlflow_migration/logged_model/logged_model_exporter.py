"""Exports logged models (MLflow 3): their facts, metrics and artifacts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Container, Dict, List, Optional, Sequence, Set, Tuple

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadInput, MlflowExportImportException, NotFound, Refused, describe
from mlflow_migration.client.tracking import Tracking, tag_dict
from mlflow_migration.common.artifact_stores import File, Store, logged_model_store
from mlflow_migration.common.artifacts import ArtifactFilter, choose, list_files, skip_unlisted
from mlflow_migration.common.downloads import Downloads, kept
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import old_info
from mlflow_migration.common.old_layouts import is_id

Json = Dict[str, Any]

LOGGED_MODELS = "logged_models"
LOGGED_MODEL_FILE = "logged_model.json"
LOGGED_MODELS_FILE = "logged_models.json"
ARTIFACTS = "artifacts"
FILTER = "--logged-models-filter"
_RUN = "its run is not exported (--export-deleted-runs takes deleted ones)"


def flat(model: Json, deleted: bool = False) -> Json:
    """Return a logged model as REST gives it in the shape that logged_model.json has.

    :param deleted: REST does not say so itself: a search leaves deleted ones out.
    """
    info, data = model["info"], model.get("data") or {}
    return {
        "model_id": info["model_id"],
        "experiment_id": info.get("experiment_id"),
        "name": info.get("name"),
        "artifact_location": info.get("artifact_uri"),
        "creation_timestamp": info.get("creation_timestamp_ms"),
        "last_updated_timestamp": info.get("last_updated_timestamp_ms"),
        "model_type": info.get("model_type"),
        "source_run_id": info.get("source_run_id"),
        "status": info.get("status"),
        "status_message": info.get("status_message"),
        "lifecycle_stage": "deleted" if deleted else "active",
        "tags": tag_dict(info.get("tags")),
        "params": tag_dict(data.get("params")),
        "metrics": [
            {**metric, "value": json_codec.encode_number(metric.get("value", 0.0))}
            for metric in data.get("metrics") or ()
        ],
    }


@dataclass(frozen=True)
class ModelSettings:
    """How logged models are exported.

    :param script: Name of the command, for the files.
    :param chosen: Which artifacts are taken.
    :param skip_artifacts: Take no artifacts at all.
    :param recheck: Read models again even if nothing seems to have changed.
    :param known: Gives the fingerprint of what a former copy took, by source id.
    :param where: MLflow's filter string for logged models; empty means all.
    """

    script: str
    chosen: ArtifactFilter = field(default_factory=ArtifactFilter)
    skip_artifacts: bool = False
    recheck: bool = False
    known: Callable[[str], Optional[str]] = lambda model_id: None
    where: str = ""


class ExperimentModels:
    """Exports the logged models of one experiment, into ``logged_models/<id>`` each.

    :param tracking: The source.
    :param job: Ledger, threads, progress.
    :param experiment_id: The experiment.
    :param parent: Directory of the run or experiment.
    :param settings: What is exported.
    :raises BadInput: The server refuses the filter.
    """

    def __init__(
        self, tracking: Tracking, job: Job, experiment_id: str, parent: ExportDir, settings: ModelSettings
    ) -> None:
        self._tracking, self._job, self._experiment_id = tracking, job, experiment_id
        self._parent, self._settings = parent, settings
        self._matching = matching_models(tracking, experiment_id, settings.where)
        self._seen: Set[str] = set()
        self.ids: Set[str] = set()
        """Ids of those that are in the directory now, or have not changed since a former copy."""
        self.left_out: Set[str] = set()
        """Ids of those that the filter has left out."""
        self.foreign: List[str] = []
        """Ids of those that are left to the export of their own experiment."""

    def export(self, models: Sequence[Json], deleted: bool = False) -> None:
        """Export models, as REST returns them, and record each."""
        self._job.ledger.phase("exporting logged models")
        self._job.ledger.expect("logged_model", len(models))
        self._seen.update(model["info"]["model_id"] for model in models)
        for outcome in self._job.executor.imap(lambda m: self._one(m, deleted), list(filter(self._takes, models))):
            model_id = outcome.item["info"]["model_id"]
            if outcome.error is None:
                self.ids.add(model_id)
            else:
                self._job.failed("logged_model", model_id, outcome.error)

    def _one(self, model: Json, deleted: bool) -> None:
        target = self._parent.sub(LOGGED_MODELS, safe_name(model["info"]["model_id"]))
        export_one(self._tracking, self._job, model, target, self._settings, deleted)

    def _takes(self, model: Json) -> bool:
        model_id = model["info"]["model_id"]
        if self._matching is None or model_id in self._matching:
            return True
        self.left_out.add(model_id)
        self._job.ledger.record("logged_model", "skipped", model_id, name=model["info"].get("name"), reason=FILTER)
        return False

    def export_rest(
        self,
        run_ids: Container[str],
        linked: AbstractSet[str],
        everything: bool,
        elsewhere: AbstractSet[str] = frozenset(),
    ) -> None:
        """Export the models that belong to exported runs, but for those that were exported already.

        :param run_ids: Runs whose models are taken.
        :param linked: Ids of models that these runs have as inputs or outputs.
        :param everything: Take the experiment's models without a run too.
        :param elsewhere: Experiments that are exported at the same time: what these runs link to of theirs is theirs.
        """
        for page in self._tracking.search_logged_models([self._experiment_id]):
            new = [model for model in page if model["info"]["model_id"] not in self._seen]
            wanted = [_wanted(model["info"], run_ids, linked, everything) for model in new]
            self.export([model for model, is_wanted in zip(new, wanted) if is_wanted])
            for info in [model["info"] for model, is_wanted in zip(new, wanted) if not is_wanted]:
                self._seen.add(info["model_id"])
                if everything:
                    self._job.ledger.expect("logged_model", 1)
                    self._job.ledger.record(
                        "logged_model", "skipped", info["model_id"], name=info.get("name"), reason=_RUN
                    )
        for model_id in sorted(linked - self._seen):
            self._export_linked(model_id, elsewhere)

    def _export_linked(self, model_id: str, elsewhere: AbstractSet[str]) -> None:
        """Export a model that no search shows: a deleted one, or one of another experiment that a run uses."""
        try:
            model, deleted = read_model(self._tracking, model_id)
        except NotFound as ex:
            self._job.ledger.expect("logged_model", 1)
            self._job.lost("logged_model", model_id, ex, "logged-models")
            return
        if model["info"]["experiment_id"] in elsewhere and model["info"]["experiment_id"] != self._experiment_id:
            self.foreign.append(model_id)
        else:
            self.export([model], deleted)


def read_model(tracking: Tracking, model_id: str) -> Tuple[Json, bool]:
    """Return a logged model that no search has shown, and whether it is deleted. Raises NotFound."""
    return tracking.logged_model(model_id), tracking.is_deleted_logged_model(model_id)


def refuse_old(tracking: Tracking) -> None:
    """Refuse a server that can't hold logged models.

    :raises BadInput: It is one before MLflow 3.
    """
    if not tracking.knows_logged_models():
        raise BadInput(f"{tracking.uri} is a server before MLflow 3, which has no logged models.")


def matching_models(tracking: Tracking, experiment_id: str, where: str) -> Optional[Set[str]]:
    """Return the ids of the models that match a filter; None if there is no filter.

    :raises BadInput: The server refuses it.
    """
    if not where:
        return None
    try:
        pages = tracking.search_logged_models([experiment_id], where)
        return {model["info"]["model_id"] for page in pages for model in page}
    except Refused as ex:
        if ex.http_status_code != 400:
            raise
        raise BadInput(f"The server can't make sense of {FILTER} {where!r}: {ex.message}") from ex


def _wanted(info: Json, run_ids: Container[str], linked: AbstractSet[str], everything: bool) -> bool:
    run_id = info.get("source_run_id")
    return run_id in run_ids or info["model_id"] in linked or (everything and not run_id)


def export_one(
    tracking: Tracking, job: Job, model: Json, target: ExportDir, settings: ModelSettings, deleted: bool
) -> None:
    """Export one logged model and record it.

    :param model: As REST returns it.
    :param target: Its directory.
    :param deleted: It is marked as deleted at the source.
    :raises MlflowExportImportException: It can't be read.
    """
    doc = flat(model, deleted)
    model_id = doc["model_id"]
    if not is_id(model_id):
        raise MlflowExportImportException(f"{model_id!r} is no id of a logged model")
    store = logged_model_store(tracking, model_id, doc["artifact_location"] or "")
    problems: List[str] = []
    files: Optional[List[File]] = []
    if doc["artifact_location"] and not settings.skip_artifacts:
        files = _files(job, store, model_id, settings, problems)
    wanted = choose(files or (), settings.chosen, job, model_id)
    mark = _fingerprint(doc, files, settings)
    old = old_info(target, LOGGED_MODEL_FILE)
    saved = Downloads(job, model_id, target, ARTIFACTS, old)
    same = (
        settings.known(model_id) == mark
        if old is None
        else old.get("fingerprint") == mark and not old.get("incomplete") and saved.all_there(store)
    )
    if same and not problems and not settings.recheck:
        job.ledger.record("logged_model", "unchanged", model_id, name=doc["name"])
        return
    if not job.dry_run:
        listed = None if settings.skip_artifacts else files
        stored = saved.fetch(store, listed, wanted, settings.recheck, problems)
        info: Json = {"fingerprint": mark, "artifacts": stored, **({"incomplete": problems} if problems else {})}
        target.write_json(LOGGED_MODEL_FILE, envelope(settings.script, doc, info, tracking_uri=tracking.uri))
    job.ledger.record(
        "logged_model",
        "incomplete" if problems else "copied" if old is None else "updated",
        model_id,
        name=doc["name"],
        reason="; ".join(problems + kept(saved.gone)) or None,
        losses=["artifacts"] if problems else [],
    )


def _files(job: Job, store: Store, model_id: str, settings: ModelSettings, problems: List[str]) -> Optional[List[File]]:
    listed = job.executor.gather(lambda _: list_files(store, job.executor), [None])[0]
    if listed.error is not None and settings.chosen.skip:
        skip_unlisted(job, model_id)
        return []
    if listed.error is not None:
        problems.append(f"its artifacts can't be listed: {describe(listed.error)}")
    return listed.value


def _fingerprint(doc: Json, files: Optional[Sequence[File]], settings: ModelSettings) -> str:
    listed = None if files is None else [[file.path, file.size] for file in files]
    facts = [doc, listed, repr(settings.chosen), settings.skip_artifacts or settings.chosen.skip]
    return hashlib.sha256(json_codec.dumps(facts)).hexdigest()
