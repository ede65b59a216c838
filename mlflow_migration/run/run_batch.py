"""Imports many runs and their logged models together: what others refer to first, the links between them last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Dict, Iterable, List, Sequence, Set, Tuple

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.logged_model.logged_model_importer import ModelImporter
from mlflow_migration.run.run_importer import RunImporter

Found = List[Tuple[str, ExportDir]]  # id and directory of objects


@dataclass
class Part:
    """What goes into one experiment.

    :param runs: Imports the runs; it knows what the destination's experiment has.
    :param models: Imports the logged models.
    :param found: Those of the directory: runs, and logged models.
    :param existed: The destination's experiment was there before.
    :param unchanged: Source ids of runs, and of logged models, that have not changed since the last import.
    :param home: It is the experiment that the directory was exported from.
    """

    runs: RunImporter
    models: ModelImporter
    found: Tuple[Found, Found]
    existed: bool
    unchanged: Tuple[Sequence[str], Sequence[str]] = ((), ())
    home: bool = False

    @property
    def run_ids(self) -> List[str]:
        """Source ids of its runs."""
        return [*self.unchanged[0], *(run_id for run_id, _ in self.found[0])]


def import_batch(job: Job, *parts: Part) -> None:
    """Import runs and logged models, and record each.

    :param parts: What refers to each other, be it from one experiment to another.
    """
    batches = Batches(job, parts)
    batches.take(*parts)
    batches.finish()


class Batches:
    """Imports runs and logged models of experiments, some at a time, and what links them at the end.

    :param job: Ledger, threads, progress.
    :param parts: The experiments: what refers to each other, be it from one to another.
    """

    def __init__(self, job: Job, parts: Sequence[Part]) -> None:
        self._job, self._parts = job, parts
        self._measured: Dict[str, Dict[int, ModelImporter]] = {}
        self._holders: Dict[str, ModelImporter] = {}
        if len(parts) > 1:
            run_ids: Dict[str, str] = {}
            model_ids: Dict[str, str] = {}
            for part in parts:
                part.runs.share(run_ids, model_ids, self._others)
                part.models.any_elsewhere = True

    def _others(self, src_id: str, links: Iterable[str]) -> Iterable[ModelImporter]:
        """Return the importers of the models that a run has measured, or links to."""
        found = {id(self._holders[link]): self._holders[link] for link in links if link in self._holders}
        return {**self._measured.get(src_id, {}), **found}.values()

    def take(self, *parts: Part) -> None:
        """Import what is in some of the parts now, and record each object.

        A logged model is to come with the run that made it, or after it, and not before the runs that measured it.
        """
        job = self._job
        job.ledger.phase("reading what is there")
        self._load(parts)
        job.ledger.phase("importing runs and logged models")
        first: List[Tuple[Part, str, ExportDir]] = []
        later: List[Tuple[Part, str, ExportDir]] = []
        every = [(part, *item) for part in parts for item in part.found[0]]
        order = {run_id: place for place, (_, run_id, _) in enumerate(every)}
        for outcome in job.executor.imap(lambda item: item[0].runs.waits(*item[1:]), every):
            # what can't be read fails below, where it is recorded
            (later if outcome.value else first).append(outcome.item)
        for part in parts:
            for kind, confirm, ids in (
                ("logged_model", part.models.confirm, part.unchanged[1]),
                ("run", part.runs.confirm, part.unchanged[0]),
            ):
                for confirmed in job.executor.gather(confirm, ids):
                    if confirmed.error is not None:
                        job.failed(kind, confirmed.item, confirmed.error)
            for _ in part.unchanged[0]:
                job.progress.advance()
        for batch in (first, later):
            batch.sort(key=lambda item: order[item[1]])
            if batch is later and any(part.models.any for part in parts):
                # what fails here fails again below, where it is recorded
                for _ in job.executor.imap(lambda item: item[0].runs.begin(*item[1:]), batch):
                    pass
                for part in parts:
                    part.models.import_rest()
            for done in job.executor.imap(lambda item: item[0].runs.import_run(*item[1:]), batch):
                if done.error is not None:
                    job.failed("run", done.item[1], done.error)
                job.progress.advance()

    def finish(self) -> None:
        """Link what has come in an order of its own, and delete what is deleted at the source."""
        for part in self._parts:
            part.runs.link_parents()
        for part in self._parts:
            part.models.finish()

    def _load(self, parts: Sequence[Part]) -> None:
        """Read what the directory and the destination have, and let the parts know of each other."""
        to_come: Set[str] = {run_id for part in parts for run_id in part.run_ids}
        for part in parts:
            self._job.ledger.expect("run", len(part.found[0]))
            self._job.progress.add_total(len(part.run_ids))
            home = part.home or part.runs.has_any(part.run_ids)
            named = part.models.load(part.found[1], to_come, part.existed, home=home)
            part.models.home = part.models.home or part.runs.has_any(named)
            part.runs.recognise(named)
            for run_id in named - to_come:
                part.models.link(run_id, part.runs.outputs_of(run_id))
            self._holders.update((model_id, part.models) for model_id, _ in part.found[1])
            for run_id in named:
                self._measured.setdefault(run_id, {})[id(part.models)] = part.models


def tell_failed(job: Job, kind: str, loss: str, failed: Sequence[str], found: AbstractSet[str]) -> None:
    """Record what the export could not read, and no earlier one has left in the directory.

    :param loss: One of options.LOSS_KINDS.
    :param failed: Source ids of what the export says has failed.
    :param found: Those of what is in the directory.
    """
    lacking = [object_id for object_id in failed if object_id not in found]
    job.ledger.expect(kind, len(lacking))
    for object_id in lacking:
        job.lost(kind, object_id, BadDirectory("its export failed: it is not in the directory"), loss)
