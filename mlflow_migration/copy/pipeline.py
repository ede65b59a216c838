"""Copies experiments through a directory that never holds many runs: some are imported while others are exported."""

from __future__ import annotations

import shutil
import zlib
from dataclasses import dataclass, field, replace
from typing import AbstractSet, Any, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from mlflow_migration.bulk.experiments_exporter import export_rest
from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import NotFound
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.object_files import read_run
from mlflow_migration.common.old_layouts import canonical_experiment
from mlflow_migration.common.permissions import copied_permissions
from mlflow_migration.copy.two_sides import refuse_same
from mlflow_migration.experiment.experiment_exporter import ExperimentExporter
from mlflow_migration.experiment.experiment_importer import ExperimentImporter
from mlflow_migration.experiment.export_experiment import SCRIPT, selection_of
from mlflow_migration.logged_model.logged_model_exporter import LOGGED_MODEL_FILE, LOGGED_MODELS
from mlflow_migration.run.export_run import settings_of as export_settings
from mlflow_migration.run.import_run import settings_of as import_settings
from mlflow_migration.run.run_batch import Batches, Found, Part
from mlflow_migration.run.run_file import RUN_FILE
from mlflow_migration.run.state import links_of
from mlflow_migration.trace.trace_exporter import trace_place
from mlflow_migration.trace.trace_pipe import copy_groups

Json = Dict[str, Any]


@dataclass
class Leg:
    """One experiment on its way.

    :param experiment: The source's, as REST returns it.
    :param exporter: Exports it.
    :param importer: Imports it.
    :param directory: Where its runs and logged models lie in between.
    :param waiting: Source ids of runs that are exported and not yet imported.
    """

    experiment: Json
    exporter: ExperimentExporter
    importer: ExperimentImporter
    directory: ExportDir
    waiting: List[str] = field(default_factory=list)
    part: Optional[Part] = None

    @property
    def experiment_id(self) -> str:
        """Id of the source's experiment."""
        return str(self.experiment["experiment_id"])


def open_leg(
    sides: Tuple[Tracking, Tracking],
    jobs: Tuple[Job, Job],
    options: Mapping[str, Any],
    id_map: IdMap,
    experiment: Json,
    name: str,
    directory: ExportDir,
    *,
    linked: Collection[str] = (),
    elsewhere: AbstractSet[str] = frozenset(),
) -> Leg:
    """Return what copies an experiment; it knows what the destination has.

    :param sides: Source and destination.
    :param jobs: Of the exporting and of the importing half.
    :param options: Those of the command.
    :param experiment: The source's, as REST returns it.
    :param name: Name of the destination's experiment.
    :param directory: Where runs and logged models lie in between.
    :param linked: Ids of logged models that are wanted, whatever their runs.
    :param elsewhere: Ids of experiments that are copied at the same time.
    :raises BadInput: Source and destination are the same, or the server refuses the filter of logged models.
    """
    options = copied_permissions(options, *(side.rest for side in sides))
    importer = ExperimentImporter(sides[1], jobs[1], import_settings(options), id_map, name)
    refuse_same(*sides, experiment["experiment_id"], importer.experiment_id)
    importer.prepare()
    # all runs of a deleted experiment count as deleted
    deleted = experiment.get("lifecycle_stage") == "deleted" or options.get("export_deleted_runs")
    settings = export_settings({**options, "export_deleted_runs": deleted})
    again = options.get("recheck") == "full"
    known = (lambda object_id: None) if again else importer.known
    known_trace = (lambda trace_id: None) if again else (lambda trace_id: importer.ready_for_traces().known(trace_id))
    exporter = ExperimentExporter(
        sides[0], jobs[0], settings, selection_of(options), SCRIPT, experiment, directory, known,
        known_trace=known_trace, linked=linked, elsewhere=elsewhere,
    )  # fmt: skip
    return Leg(experiment, exporter, importer, directory)


class _Models:
    """Which logged models of the source need which runs, as far as a search shows the models.

    :param experiment_ids: The experiments that are copied together.
    :param elsewhere: Those that are copied by others at the same time.
    """

    def __init__(self, tracking: Tracking, experiment_ids: Sequence[str], elsewhere: AbstractSet[str]) -> None:
        self._tracking, self._elsewhere = tracking, elsewhere
        self._needs: Dict[str, Set[str]] = {}  # runs that have made or measured a model
        self._homes: Dict[str, Tuple[str, str]] = {}  # its experiment, and the run that has made it
        self._of_run: Dict[str, Set[str]] = {}
        self._packed: Dict[str, bytes] = {}  # as REST returns it
        self._gone: Set[str] = set()  # runs, and models, that have gone on
        self._waiting: Dict[str, AbstractSet[str]] = {}  # models that runs need which have not
        self._late: Set[str] = set()
        self._others: Dict[str, str] = {}  # experiments of models that are none of these
        self.used: Set[str] = set()
        """Ids of the models of experiments that are copied by others, that runs of these use."""
        for experiment_id in experiment_ids:
            for page in tracking.search_logged_models([experiment_id]):
                for model in page:
                    self._note(experiment_id, model)

    def _note(self, experiment_id: str, model: Json) -> None:
        model_id, made_by = model["info"]["model_id"], model["info"].get("source_run_id") or ""
        metrics = (model.get("data") or {}).get("metrics") or ()
        self._homes[model_id] = experiment_id, made_by
        self._needs[model_id] = {made_by, *(metric.get("run_id") or "" for metric in metrics)} - {""}
        self._packed[model_id] = zlib.compress(json_codec.dumps(model), 1)
        for run_id in self._needs[model_id]:
            self._of_run.setdefault(run_id, set()).add(model_id)

    def ready(self, experiment_id: str, links: Mapping[str, AbstractSet[str]]) -> Tuple[List[str], List[Json]]:
        """Return which runs can go on, and the logged models that go with them: all that these need is there then.

        A model names the run that made it once and for all, and the metrics that it got in a run are written with that.

        :param links: Ids of the models that runs of an experiment have as inputs or outputs, by ids of the runs.
        """
        touched = {i: self._of_run.get(i, set()).union(found) - self._gone for i, found in links.items()}
        going = set(links)
        while True:
            models = {model_id for run_id in going for model_id in touched[run_id]}
            stuck = {model_id for model_id in models if not self._can_go(model_id, experiment_id, going)}
            waiting = {run_id for run_id in going if touched[run_id] & stuck}
            if not waiting:
                break
            going -= waiting
        self._gone |= going | models
        for run_id in links.keys() - going:
            self._waiting[run_id] = touched[run_id]
            used = set(filter(self._is_elsewhere, touched[run_id]))
            self.used |= used
            self._late.update([run_id] if used else ())
        docs = [json_codec.loads(zlib.decompress(self._packed.pop(model_id))) for model_id in sorted(models)]
        return [run_id for run_id in links if run_id in going], docs

    def _can_go(self, model_id: str, experiment_id: str, going: Set[str]) -> bool:
        home, made_by = self._homes.get(model_id, ("", ""))
        needs = self._needs.get(model_id, ())
        return home == experiment_id and made_by in going and all(i in going or i in self._gone for i in needs)

    def _is_elsewhere(self, model_id: str) -> bool:
        """Tell whether a model is one of an experiment that is copied by others."""
        if model_id in self._homes or not self._elsewhere:
            return False
        if model_id not in self._others:
            try:
                self._others[model_id] = str(self._tracking.logged_model(model_id)["info"]["experiment_id"])
            except NotFound:
                self._others[model_id] = ""
        return self._others[model_id] in self._elsewhere

    def late(self) -> Tuple[Set[str], Set[str]]:
        """Return the runs that use models of others, which are to come first, and what of these hangs together.

        :return: Runs, and the models that they have made or measured.
        """
        runs = set(self._late)
        while True:
            models = {model_id for run_id in runs for model_id in self._of_run.get(run_id, ())}
            more = {run_id for run_id, touched in self._waiting.items() if touched & models} - runs
            if not more:
                return runs, models
            runs |= more


class Pipeline:
    """Copies experiments that need each other.

    :param src: The source.
    :param jobs: Of the exporting and of the importing half.
    :param options: Those of the command.
    :param place: The directory with those of the experiments.
    :param keep: Leave there what was imported.
    :param legs: The experiments.
    :param elsewhere: Ids of experiments that are copied by others at the same time.
    """

    def __init__(
        self,
        src: Tracking,
        jobs: Tuple[Job, Job],
        options: Mapping[str, Any],
        place: ExportDir,
        keep: bool,
        legs: Sequence[Leg],
        elsewhere: AbstractSet[str] = frozenset(),
    ) -> None:
        self._src, self._options, self._place, self._keep = src, options, place, keep
        self._reads, self._writes = jobs
        self.legs = legs
        self._models = _Models(src, [leg.experiment_id for leg in legs], elsewhere)
        self._batches: Optional[Batches] = None
        self._late: List[Part] = []

    @property
    def used(self) -> Set[str]:
        """Ids of logged models that are copied by others and must be there for :meth:`copy_late`; empty if none is."""
        return self._models.used

    @property
    def parts(self) -> List[Part]:
        """What imports the experiments, with the ids of the runs and logged models."""
        return [leg.part for leg in self.legs if leg.part is not None]

    def copy(self) -> None:
        """Copy the experiments, and record each object, but for what uses logged models that are copied by others."""
        models, legs = self._models, self.legs
        for leg in legs:
            for group in leg.exporter.groups():
                batches = self._batches or self._begin()
                links = {i: _left_links(leg, i) if found is None else found for i, found in group.items()}
                ready, taken = models.ready(leg.experiment_id, links)
                leg.waiting += sorted(links.keys() - set(ready))
                leg.exporter.models.export(taken)
                there = [model["info"]["model_id"] for model in taken]
                part = self._part(leg, ready, [model_id for model_id in there if model_id in leg.exporter.models.ids])
                batches.take(part)
                self._remove(part)
        self._copy_rest(self._batches or self._begin())
        if not self.used:
            self._finish()

    def copy_late(self, model_ids: Mapping[str, str]) -> None:
        """Copy the rest.

        :param model_ids: Destination ids of the logged models that are used, by those of the source.
        """
        assert self._batches is not None
        for part in self._late:
            part.models.ids.update(model_ids)
        self._batches.take(*self._late)
        self._finish()
        for part in self._late:
            self._remove(part)

    def _begin(self) -> Batches:
        # not before something can be read from the source: the destination's experiments are made now
        for leg in self.legs:
            leg.part = leg.importer.begin(canonical_experiment({"experiment": leg.experiment})["experiment"])
        self._batches = Batches(self._writes, self.parts)
        return self._batches

    def _finish(self) -> None:
        """Link everything, and bring the experiments themselves up to date."""
        assert self._batches is not None
        self._batches.finish()
        for leg in self.legs:
            groups = leg.exporter.trace_groups()
            copy_groups(groups, self._writes, leg.importer.ready_for_traces, trace_place(leg.directory), self._keep)
            leg.importer.permissions = leg.exporter.permissions
            leg.importer.finish()

    def _part(self, leg: Leg, run_ids: Iterable[str], model_ids: Iterable[str]) -> Part:
        assert leg.part is not None
        leg.part.models.left_out = leg.exporter.models.left_out
        runs = _sorted_out(leg.directory, run_ids, RUN_FILE)
        models = _sorted_out(leg.directory.sub(LOGGED_MODELS), model_ids, LOGGED_MODEL_FILE)
        return replace(leg.part, found=(runs[0], models[0]), unchanged=(runs[1], models[1]))

    def _copy_rest(self, batches: Batches) -> None:
        """Copy what waited for others of these experiments."""
        before = {leg.experiment_id: set(leg.exporter.models.ids) for leg in self.legs}
        taken, foreign = set(self.used), set()
        for leg in self.legs:
            leg.exporter.finish()
            taken |= leg.exporter.models.ids
            foreign.update(leg.exporter.models.foreign)
        rest = export_rest(self._src, self._reads, self._place, self._options, foreign - taken)
        late = self._models.late()
        parts: List[Part] = []
        for leg in self.legs:
            new = leg.exporter.models.ids - before[leg.experiment_id]
            new |= {model_id for model_id, of in rest.items() if of == leg.experiment_id}
            now = [run_id for run_id in leg.waiting if run_id not in late[0]]
            parts.append(self._part(leg, now, sorted(new - late[1])))
            self._late.append(self._part(leg, sorted(late[0].intersection(leg.waiting)), sorted(new & late[1])))
        batches.take(*parts)
        for part in parts:
            self._remove(part)

    def _remove(self, part: Part) -> None:
        for object_id, directory in (*part.found[0], *part.found[1]):
            if self._reads.copies is not None:
                self._reads.copies.forget(object_id)
            if not self._keep:
                shutil.rmtree(directory.path, ignore_errors=True)


def _left_links(leg: Leg, run_id: str) -> AbstractSet[str]:
    """Return the ids of the logged models that a run has which an earlier copy has left; none if none has left it."""
    place = leg.directory.sub(safe_name(run_id))
    return links_of(read_run(place)) if place.exists(RUN_FILE) else frozenset()


def _sorted_out(directory: ExportDir, ids: Iterable[str], file: str) -> Tuple[Found, List[str]]:
    """Return the directories of objects, and the ids of those that have none, as they have not changed.

    :param file: The file without which a directory is none.
    """
    places = [(object_id, directory.sub(safe_name(object_id))) for object_id in ids]
    found = [(object_id, place) for object_id, place in places if place.exists(file)]
    there = {object_id for object_id, _ in found}
    return found, [object_id for object_id, _ in places if object_id not in there]
