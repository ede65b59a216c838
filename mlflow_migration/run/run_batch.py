"""Imports many runs and their logged models together: what others refer to first, the links between them last."""

from __future__ import annotations

from typing import List, Sequence, Tuple

from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.logged_model.logged_model_importer import ModelImporter
from mlflow_migration.run.run_importer import RunImporter

Found = List[Tuple[str, ExportDir]]  # id and directory of objects


def import_batch(
    job: Job,
    runs: RunImporter,
    models: ModelImporter,
    found: Tuple[Found, Found],
    *,
    unchanged: Tuple[Sequence[str], Sequence[str]] = ((), ()),
    existed: bool,
    home: bool = False,
) -> None:
    """Import runs and logged models, and record each.

    :param runs: Imports the runs; it knows what the destination's experiment has.
    :param models: Imports the logged models.
    :param found: Those of the directory: runs, and logged models.
    :param unchanged: Source ids of runs, and of logged models, that have not changed since the last import.
    :param existed: The destination's experiment was there before.
    :param home: It is the experiment that the directory was exported from.
    """
    job.ledger.expect("run", len(found[0]))
    job.progress.add_total(len(found[0]) + len(unchanged[0]))
    ids = {*unchanged[0], *(run_id for run_id, _ in found[0])}
    models.load(found[1], ids, existed, home=home or runs.has_any(ids))
    first: Found = []
    later: Found = []
    for outcome in job.executor.imap(lambda item: runs.waits(*item), found[0]):
        # what can't be read fails below, where it is recorded
        (later if outcome.value else first).append(outcome.item)
    order = {run_id: place for place, (run_id, _) in enumerate(found[0])}
    for model_id in unchanged[1]:
        models.confirm(model_id)
    for src_id in unchanged[0]:
        runs.confirm(src_id)
        job.progress.advance()
    for part in (first, later):
        part.sort(key=lambda item: order[item[0]])
        if part is later and models.any:
            # what fails here fails again below, where it is recorded
            for _ in job.executor.imap(lambda item: runs.begin(*item), part):
                pass
            models.import_rest()
        for done in job.executor.imap(lambda item: runs.import_run(*item), part):
            if done.error is not None:
                job.failed("run", done.item[0], done.error)
            job.progress.advance()
    runs.link_parents()
    models.finish()
