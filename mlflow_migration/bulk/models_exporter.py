"""Exports many registered models; the runs and logged models that they are made from lie with the experiments."""

from __future__ import annotations

from typing import AbstractSet, Any, Dict, List, Mapping, NamedTuple, Sequence, Set

from mlflow_migration.bulk.experiments_exporter import EXPERIMENTS_FILE, Wanted, export_experiments_of
from mlflow_migration.client.errors import BadDirectory, NotFound
from mlflow_migration.client.registry import Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.io_utils import envelope, get_info
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import holds, read_models
from mlflow_migration.common.selection import choose_names
from mlflow_migration.experiment.run_listing import Selection
from mlflow_migration.model.export_model import selection_of
from mlflow_migration.model.model_exporter import MODEL_FILE, Carried, ModelExporter, ModelWork
from mlflow_migration.run.export_run import settings_of

Json = Dict[str, Any]

MODELS, EXPERIMENTS = "models", "experiments"
MODELS_FILE = "models.json"
MANIFEST_FILE = "manifest.json"


class _Begun(NamedTuple):
    name: str
    exporter: ModelExporter
    work: ModelWork


class ModelsExporter:
    """Exports registered models of one registry into a directory of a bulk export.

    :param tracking: The server with the runs.
    :param registry: The model registry.
    :param job: Ledger, threads, progress.
    :param directory: The whole directory.
    :param options: Those of the command.
    :param script: Name of the command, for the files.
    """

    def __init__(
        self,
        tracking: Tracking,
        registry: Registry,
        job: Job,
        directory: ExportDir,
        options: Mapping[str, Any],
        script: str,
    ) -> None:
        self._tracking, self._registry, self._job = tracking, registry, job
        self._directory, self._options, self._script = directory.sub(MODELS), options, script
        self._begun: List[_Begun] = []
        self._failed: List[str] = []
        self.roots: Dict[str, str] = {}
        """Artifact roots of the logged models that versions name, by id."""
        self.runs: Dict[str, List[str]] = {}
        """Ids of the runs that versions are made from, by id of their experiment."""
        self.models: Dict[str, Set[str]] = {}
        """Those of the logged models, likewise."""

    def read(self, wanted: Sequence[str]) -> None:
        """Read registered models and their versions, and find the runs and logged models that these come from.

        :param wanted: Names; see :func:`choose_names`. Those that are not there are recorded.
        """
        self._job.ledger.phase("reading registered models", whole=True)
        there = [model["name"] for page in self._registry.search_models() for model in page]
        names, unknown = choose_names(wanted, there)
        self._job.ledger.expect("registered_model", len(unknown))
        for name in unknown:
            self._fail(name, NotFound("there is no such registered model", http_status_code=404))
        for outcome in self._job.executor.gather(self._read, names):
            if outcome.error is None:
                self._begun.append(outcome.get())
            else:
                self._job.ledger.expect("registered_model", 1)
                self._fail(outcome.item, outcome.error)
        versions = [version for begun in self._begun for version in begun.work.versions]
        ids = list(dict.fromkeys(v.doc["run_id"] for v in versions if v.doc.get("run_id")))
        # a run that can't be read has no model either: its version says so
        runs = {read.item: read.value for read in self._job.executor.gather(self._tracking.run, ids)}
        for version in versions:
            version.run = runs.get(version.doc.get("run_id") or "")
        for run in filter(None, runs.values()):
            self.runs.setdefault(run["info"]["experiment_id"], []).append(run["info"]["run_id"])
        named = sorted({model_id for version in versions for model_id in version.models})
        for found in self._job.executor.gather(self._tracking.logged_model, named):
            if found.error is not None:
                self._job.ledger.expect("logged_model", 1)
                self._job.lost("logged_model", found.item, found.error, "logged-models")
                continue
            info = found.get()["info"]
            self.models.setdefault(info["experiment_id"], set()).add(found.item)
            self.roots[found.item] = info.get("artifact_uri") or ""

    def _read(self, name: str) -> _Begun:
        exporter = ModelExporter(
            self._tracking, self._registry, self._job, settings_of(self._options), selection_of(self._options),
            self._script,
        )  # fmt: skip
        return _Begun(name, exporter, exporter.read(name, self._directory.sub(safe_name(name))))

    def run_roots(self) -> Dict[str, str]:
        """Return the artifact roots of the runs that versions are made from, by id."""
        versions = [version for begun in self._begun for version in begun.work.versions]
        infos = [version.run["info"] for version in versions if version.run is not None]
        return {info["run_id"]: info.get("artifact_uri") or "" for info in infos}

    def _fail(self, name: str, ex: BaseException) -> None:
        self._failed.append(name)
        self._job.failed("registered_model", name, ex)

    def finish(self, runs: AbstractSet[str], failed_runs: AbstractSet[str], models: AbstractSet[str]) -> None:
        """Write the models, now that runs and logged models travel, and record each object.

        :param runs: Ids of runs that travel whole.
        :param failed_runs: Ids of those that could not be read.
        :param models: Ids of the logged models that travel.
        """
        self._job.ledger.phase("exporting registered models", whole=True)
        roots = {model_id: root for model_id, root in self.roots.items() if model_id in models}
        carried = Carried(runs, failed_runs, roots)
        done = []
        for outcome in self._job.executor.imap(lambda begun: begun.exporter.finish(begun.work, carried), self._begun):
            if outcome.error is None:
                done.append(outcome.item.name)
            else:
                self._fail(outcome.item.name, outcome.error)
        if self._job.dry_run:
            return
        earlier = [name for name in _before(self._directory) if name not in {*done, *self._failed}]
        names = sorted([*earlier, *done])
        info = {
            "model_names": sorted([*names, *self._failed]),
            "export_latest_versions": bool(self._options.get("export_latest_versions")),
            "stages": self._options.get("stages"),
            "num_total_models": len(names) + len(self._failed),
            "num_ok_models": len(names),
            "num_failed_models": len(self._failed),
            "failed_models": sorted(self._failed),
        }
        self._directory.make()
        text = envelope(self._script, {"models": names}, info, tracking_uri=self._registry.uri)
        self._directory.write_json(MODELS_FILE, text)


def _before(directory: ExportDir) -> List[str]:
    """Return the models of earlier exports that are still there: they were not asked for this time."""
    try:
        names: List[str] = read_models(directory)["names"]
    except BadDirectory:
        return []  # none, or a broken list, which is written anew
    return [name for name in names if holds(directory.sub(safe_name(name)), MODEL_FILE)]


def export_models_of(
    tracking: Tracking,
    registry: Registry,
    job: Job,
    wanted: Sequence[str],
    directory: ExportDir,
    options: Mapping[str, Any],
    script: str,
) -> Json:
    """Export registered models with their runs and logged models, and record each object.

    :param wanted: Names of the models; see :func:`choose_names`.
    :param options: Those of the command.
    :param script: Name of the command, for the files.
    :return: ``info`` of the manifest.
    """
    models = ModelsExporter(tracking, registry, job, directory, options, script)
    models.read(wanted)
    chosen = [
        Wanted(
            tracking.experiment(experiment_id),
            _selection(options, models.runs.get(experiment_id, ())),
            models.models.get(experiment_id, ()),
        )
        for experiment_id in sorted({*models.runs, *models.models}, key=int)
    ]
    exported = export_experiments_of(tracking, job, chosen, directory.sub(EXPERIMENTS), options, script)
    models.finish(exported.whole_runs, exported.failed_runs, exported.models)
    return write_manifest(tracking, job, directory, options, script)


def _selection(options: Mapping[str, Any], run_ids: Sequence[str]) -> Selection:
    if not options.get("export_all_runs"):
        return Selection(run_ids=tuple(run_ids), of_versions=True)
    return Selection(start_from=options.get("run_start_time"), start_until=options.get("runs_until"))


def write_manifest(tracking: Tracking, job: Job, directory: ExportDir, options: Mapping[str, Any], script: str) -> Json:
    """Write what a bulk export consists of, and return it."""
    if job.dry_run:
        return {}
    info: Json = {
        name: get_info(directory.sub(name).read_json(file))
        for name, file in ((MODELS, MODELS_FILE), (EXPERIMENTS, EXPERIMENTS_FILE))
        if directory.sub(name).exists(file)
    }
    asked = (
        "stages", "export_latest_versions", "export_all_runs", "export_permissions", "export_deleted_runs",
        "notebook_formats", "use_threads",
    )  # fmt: skip
    info["options"] = {name: options.get(name) for name in asked}
    info["model_names"] = info.get(MODELS, {}).get("model_names", [])
    directory.write_json(MANIFEST_FILE, envelope(script, {}, info, tracking_uri=tracking.uri))
    return info
