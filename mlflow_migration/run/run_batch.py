"""Imports many runs and their logged models together: what others refer to first, the links between them last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Dict, Iterable, List, Sequence, Tuple

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
    job.ledger.phase("reading what is there")
    _load(job, parts)
    job.ledger.phase("importing runs and logged models")
    first: List[Tuple[Part, str, ExportDir]] = []
    later: List[Tuple[Part, str, ExportDir]] = []
    every = [(part, *item) for part in parts for item in part.found[0]]
    order = {run_id: place for place, (_, run_id, _) in enumerate(every)}
    for outcome in job.executor.imap(lambda item: item[0].runs.waits(*item[1:]), every):
        # what can't be read fails below, where it is recorded
        (later if outcome.value else first).append(outcome.item)
    for part in parts:
        for model_id in part.unchanged[1]:
            part.models.confirm(model_id)
        for src_id in part.unchanged[0]:
            part.runs.confirm(src_id)
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
    for part in parts:
        part.runs.link_parents()
    for part in parts:
        part.models.finish()


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


def _load(job: Job, parts: Sequence[Part]) -> None:
    """Read what the directory and the destination have, and let the parts know of each other."""
    to_come = {run_id for part in parts for run_id in part.run_ids}
    measured: Dict[str, Dict[int, ModelImporter]] = {}
    holders: Dict[str, ModelImporter] = {}

    def others(src_id: str, links: Iterable[str]) -> Iterable[ModelImporter]:
        found = {id(holders[link]): holders[link] for link in links if link in holders}
        return {**measured.get(src_id, {}), **found}.values()

    if len(parts) > 1:
        run_ids: Dict[str, str] = {}
        model_ids: Dict[str, str] = {}
        for part in parts:
            part.runs.share(run_ids, model_ids, others)
            part.models.any_elsewhere = True
    for part in parts:
        job.ledger.expect("run", len(part.found[0]))
        job.progress.add_total(len(part.run_ids))
        home = part.home or part.runs.has_any(part.run_ids)
        part.models.load(part.found[1], to_come, part.existed, home=home)
        part.models.home = part.models.home or part.runs.has_any(part.models.runs_named)
        part.runs.recognise(part.models.runs_named)
        for run_id in part.models.runs_named - to_come:
            part.models.link(run_id, part.runs.outputs_of(run_id))
        holders.update(dict.fromkeys(part.models.loaded, part.models))
        for run_id in part.models.runs_named:
            measured.setdefault(run_id, {})[id(part.models)] = part.models
