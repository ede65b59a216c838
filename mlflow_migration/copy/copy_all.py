"""Copies a whole server to another; repeated, it takes only what is new or changed."""

from __future__ import annotations

import shutil
import threading
import time
from typing import AbstractSet, Any, Callable, ContextManager, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.bulk.experiments_exporter import AT_ONCE, choose_experiments
from mlflow_migration.bulk.export_all import PROMPTS
from mlflow_migration.bulk.export_evaluation_datasets import DATASETS, export_datasets_if_any
from mlflow_migration.bulk.export_prompts import export_all_prompts, note_left_out_prompts
from mlflow_migration.bulk.import_evaluation_datasets import import_datasets_if_any
from mlflow_migration.bulk.import_prompts import import_prompts_if_any
from mlflow_migration.bulk.kinds import export_kinds, import_kinds
from mlflow_migration.bulk.models_exporter import EXPERIMENTS, MODELS, ModelsExporter
from mlflow_migration.bulk.models_importer import Came, import_listed_models
from mlflow_migration.client.errors import BadInput
from mlflow_migration.client.evaluation_datasets import EvaluationDatasets, NoEvaluationDatasets
from mlflow_migration.client.registry import NoPrompts, PromptRegistry, Registry
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.cli import command
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.permissions import copied_permissions
from mlflow_migration.common.rename_utils import get_renames, rename
from mlflow_migration.common.rights import check_registry_rights
from mlflow_migration.common.selection import ALL, wanted_names
from mlflow_migration.common.session import report_dir
from mlflow_migration.common.two_servers import two_registries
from mlflow_migration.common.workspaces import Pair, place_of
from mlflow_migration.copy.pipeline import Leg, Pipeline, open_leg
from mlflow_migration.copy.related import related
from mlflow_migration.copy.two_sides import export_half, import_half, run_copies, way_station
from mlflow_migration.evaluation_dataset.dataset_importer import DatasetsImporter
from mlflow_migration.verify.at_end import Check, check_at_end

Json = Dict[str, Any]

SCRIPT = "copy_all.py"
_NOT_NAMED = Pair()


class _Copy:
    """One copy of a server.

    :param job: Ledger, threads, progress.
    :param sides: Source and destination.
    :param registries: Theirs.
    :param directory: What is on its way.
    :param options: Those of the command.
    :param id_map: What earlier copies did.
    """

    def __init__(
        self,
        job: Job,
        sides: Tuple[Tracking, Tracking],
        registries: Tuple[Registry, Registry],
        directory: ExportDir,
        options: Mapping[str, Any],
        id_map: IdMap,
    ) -> None:
        self._job, self._directory, self._id_map = job, directory, id_map
        self._options = copied_permissions(options, *(registry.server.rest for registry in registries))
        self._src, self._dst = sides
        self._registries = registries
        self._reads, self._writes = export_half(job), import_half(job)
        self._reads.dry_run = False  # what would be done can only be told from what is there
        self._renames = (
            get_renames(options.get("experiment_rename_file")),
            get_renames(options.get("model_rename_file")),
        )
        self._lock = threading.Lock()
        self._run_ids: Dict[str, str] = {}
        self._run_infos: Dict[str, Json] = {}
        self._model_ids: Dict[str, str] = {}
        self._failed: List[str] = []
        self._chosen: AbstractSet[str] = frozenset()
        self._late: List[Pipeline] = []
        self._dst_experiments: Set[str] = set()

    def copy(
        self, experiments: Sequence[str], models: Sequence[str], prompts: Sequence[str], datasets: Sequence[str]
    ) -> None:
        """Copy what is named, and record each object; see :func:`wanted_names`."""
        ledger = self._job.ledger
        ledger.phase("looking at the source")
        exporter = ModelsExporter(self._src, self._registries[0], self._reads, self._directory, self._options, SCRIPT)
        if models:
            exporter.read(models)
        chosen = choose_experiments(self._src, self._reads, experiments, self._options) if experiments else []
        self._chosen = frozenset(experiment["experiment_id"] for experiment in chosen)
        units = related(self._src, self._job.executor, chosen)
        ledger.phase("copying experiments")
        for outcome in self._job.executor.imap(lambda unit: self._unit(unit, exporter), units, window=AT_ONCE):
            for experiment in outcome.item if outcome.error is not None else ():
                assert outcome.error is not None
                self._job.failed("experiment", experiment["experiment_id"], outcome.error, name=experiment["name"])
        self._copy_late(exporter)
        if models:
            ledger.phase("copying registered models")
            self._models(exporter)
        if prompts:
            ledger.phase("copying prompts")
            self._prompts(prompts)
        if datasets:
            ledger.phase("copying evaluation datasets")
            self._datasets(datasets)

    def copy_rest(self) -> None:
        """Copy what a server has beside these, and record each object."""
        self._job.ledger.phase("copying the rest")
        export_kinds(self._src, self._reads, self._directory, SCRIPT, self._chosen)
        import_kinds(self._dst, self._writes, self._directory, self._options, self._id_map)

    # -- experiments --------------------------------------------------------------------------------------------

    def _unit(self, experiments: Sequence[Json], models: ModelsExporter) -> None:
        """Copy experiments that need each other."""
        ids = frozenset(experiment["experiment_id"] for experiment in experiments)
        place, keep = self._directory.sub(EXPERIMENTS), bool(self._options.get("temp_dir"))
        legs = [self._leg(experiment, place, models) for experiment in experiments]
        jobs, elsewhere = (self._reads, self._writes), self._chosen - ids
        pipeline = Pipeline(self._src, jobs, self._options, place, keep, legs, elsewhere)
        pipeline.copy()
        with self._lock:
            self._dst_experiments.update(leg.importer.experiment_id for leg in legs)
            self._late += [pipeline] if pipeline.used else []
        if not pipeline.used:
            self._arrived(pipeline, models)

    def _copy_late(self, models: ModelsExporter) -> None:
        """Copy what uses logged models of other experiments, now that these have come."""
        while self._late:
            ids = self._ids_of({model_id for pipeline in self._late for model_id in pipeline.used})
            # those that use what is late itself come after that; in a circle somebody has to begin
            pipeline = next((one for one in self._late if one.used <= ids.keys()), self._late[0])
            self._late.remove(pipeline)
            done = self._job.executor.gather(pipeline.copy_late, [ids])[0]
            for leg in pipeline.legs if done.error is not None else ():
                assert done.error is not None
                self._job.failed("experiment", leg.experiment_id, done.error, name=leg.experiment["name"])
            self._arrived(pipeline, models)

    def _ids_of(self, model_ids: AbstractSet[str]) -> Dict[str, str]:
        """Return the destination's ids of logged models, as far as they have come."""
        if self._job.dry_run:
            return {model_id: model_id for model_id in model_ids}
        entries = [entry for entry in self._id_map.entries("logged_model") if entry["src_id"] in model_ids]
        return {e["src_id"]: e["dst_id"] for e in entries if e["experiment_id"] in self._dst_experiments}

    def _arrived(self, pipeline: Pipeline, models: ModelsExporter) -> None:
        """Take note of what versions are made from."""
        named = {run_id for run_ids in models.runs.values() for run_id in run_ids}
        with self._lock:
            for leg, part in zip(pipeline.legs, pipeline.parts):
                self._failed += leg.exporter.runs.failed
                self._run_ids.update((i, part.runs.ids[i]) for i in named if i in part.runs.ids)
                self._run_infos.update((i, part.runs.infos[i]) for i in named if i in part.runs.infos)
                self._model_ids.update((i, part.models.ids[i]) for i in models.roots if i in part.models.ids)
        if not self._options.get("temp_dir"):
            for leg in pipeline.legs:
                shutil.rmtree(leg.directory.path, ignore_errors=True)

    def _leg(self, experiment: Json, place: ExportDir, models: ModelsExporter) -> Leg:
        experiment_id = experiment["experiment_id"]
        name = rename(experiment["name"], self._renames[0], "experiment")
        return open_leg(
            (self._src, self._dst), (self._reads, self._writes), self._options, self._id_map, experiment, name,
            place.sub(safe_name(experiment_id)), linked=models.models.get(experiment_id, ()), elsewhere=self._chosen,
        )  # fmt: skip

    # -- models, prompts, datasets --------------------------------------------------------------------------------

    def _models(self, exporter: ModelsExporter) -> None:
        # a registry that knows no logged models gets their files, which are no longer here: they are read once more
        registry = self._registries[1]
        holds = (registry.keeps_files or not registry.is_apart) and self._dst.knows_logged_models()
        models = {model_id for model_id in self._model_ids if holds}
        run_roots = {run_id: uri for run_id, uri in exporter.run_roots().items() if run_id in self._run_ids}
        model_roots = {model_id: uri for model_id, uri in exporter.roots.items() if model_id in models}
        exporter.finish(set(self._run_ids), set(self._failed), models)
        came = Came(self._run_ids, self._run_infos, self._model_ids, {}, {}, (run_roots, model_roots))
        import_listed_models(
            self._dst, self._registries[1], self._writes, self._directory.sub(MODELS), self._options, self._id_map,
            self._renames[1], came,
        )  # fmt: skip

    def _prompts(self, wanted: Sequence[str]) -> None:
        try:
            src = PromptRegistry(self._registries[0])
        except NoPrompts:
            note_left_out_prompts(self._registries[0], self._job.ledger)
            return
        place = self._directory.sub(PROMPTS)
        export_all_prompts(self._src, src, self._reads, wanted, place)
        import_prompts_if_any(self._dst, self._registries[1], self._writes, place, self._options, self._id_map)

    def _datasets(self, wanted: Sequence[str]) -> None:
        place = self._directory.sub(DATASETS)
        settled: Optional[Callable[[Json, str], bool]] = None
        try:
            there = EvaluationDatasets(self._dst)
        except NoEvaluationDatasets:
            pass  # they are lost, each with that reason
        else:
            importer = DatasetsImporter(self._dst, there, self._writes, self._options, self._id_map)
            settled = lambda dataset, mark: importer.is_settled(dataset, mark, dataset["name"])  # noqa: E731
        came = export_datasets_if_any(self._src, self._reads, wanted, place, settled)
        if came:
            import_datasets_if_any(self._dst, self._writes, place, self._options, self._id_map, came)


def copy_server(
    job: Job,
    src: Tracking,
    dst: Tracking,
    options: Mapping[str, Any],
    id_map: IdMap,
    check: Check,
    pair: Pair = _NOT_NAMED,
) -> None:
    """Copy a server, or what is chosen of it, record each object, and verify the copy.

    :param options: Those of the command.
    :param check: Verifies.
    :param pair: The workspaces that the servers have been opened for.
    :raises BadInput: Source and destination are the same, or a list of names can't be read.
    """
    given = [options.get(name) for name in ("experiments", "models", "prompts", "evaluation_datasets")]
    # what is named alone is copied alone
    wanted = [wanted_names(text) if text else [] if any(given) else [ALL] for text in given]
    if src.identity == dst.identity and not (options.get("experiment_rename_file") or options.get("model_rename_file")):
        raise BadInput("Source and destination are the same server; a copy within it needs rename files.")
    with two_registries(src, dst, options, pair) as registries, way_station(
        None if job.dry_run else options.get("temp_dir")
    ) as station:
        # names are those of a workspace
        directory = place_of(station, pair.src) if pair.src else station
        for registry, action in zip(registries, ("read", "write")):
            check_registry_rights(registry, job.ledger, bool(options["require_admin"]), action)
        copy = _Copy(job, (src, dst), registries, directory, options, id_map)
        copy.copy(*wanted)
        if not any(given):
            copy.copy_rest()
        check.servers(job, (src, registries[0]), (dst, registries[1]), id_map)


@command(
    "copy-all", "src_mlflow_uri", "dst_mlflow_uri", "src_registry_uri", "dst_registry_uri", "experiments", "models",
    "prompts", "evaluation_datasets", "experiment_rename_file", "model_rename_file", "run_start_time", "runs_until",
    "changed_since", "export_deleted_runs", "export_deleted_experiments", "stages", "export_latest_versions",
    "on_version_conflict", "fill_gaps", "artifacts", "include_artifacts", "exclude_artifacts", "max_artifact_size",
    "import_source_tags", "use_src_user_id", "copy_permissions", "principal_mapping_file", "mlmodel_fix",
    "on_refused", "on_destination_change", "activate", "recheck", "require_admin", "temp_dir", "verify", "every",
    "workspaces", "workspace_rename_file", "dst_workspace",
    optional=("experiments", "models", "prompts", "evaluation_datasets"),
)  # fmt: skip
def main(**options: Any) -> int:
    """Run the console script."""

    def around(job: Job) -> ContextManager[Check]:
        return check_at_end(job, options, report_dir(options["report_dir"], None))

    def work(job: Job, src: Tracking, dst: Tracking, id_map: IdMap, pair: Pair, check: Check) -> None:
        copy_server(job, src, dst, options, id_map, check, pair)

    pause: Optional[float] = options["every"]
    while True:
        start = time.monotonic()
        status = run_copies("copy-all", options, "runs", work, around)
        if pause is None:
            return status
        try:
            time.sleep(max(0.0, pause - (time.monotonic() - start)))
        except KeyboardInterrupt:
            return status  # stopped between two copies, when nothing was under way


if __name__ == "__main__":
    main()
