"""Copies traces through a directory that never holds many: some are imported while others are exported."""

from __future__ import annotations

import shutil
from typing import Callable, Iterator, List

from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.trace_files import TRACE_FILE
from mlflow_migration.trace.trace_importer import TraceImporter


def copy_groups(
    groups: Iterator[List[str]],
    job: Job,
    importer_of: Callable[[], TraceImporter],
    place: Callable[[str], ExportDir],
    keep: bool,
) -> None:
    """Import what an export gives, a group at a time, and record each trace.

    :param groups: Ids of traces that are exported, or have not changed since a former copy.
    :param job: Of the importing half.
    :param importer_of: Gives what imports them; not asked if there are none.
    :param place: Gives the directory of a trace.
    :param keep: Leave there what was imported.
    """
    for ids in groups:
        importer = importer_of()
        job.ledger.phase("importing traces")
        places = [(trace_id, place(trace_id)) for trace_id in ids]
        found = [(trace_id, directory) for trace_id, directory in places if directory.exists(TRACE_FILE)]
        there = {trace_id for trace_id, _ in found}
        importer.confirm([trace_id for trace_id in ids if trace_id not in there])
        error = job.executor.gather(importer.import_group, [found])[0].error if found else None
        for trace_id, directory in found:
            if error is not None:
                job.failed("trace", trace_id, error)
            if not keep:
                shutil.rmtree(directory.path, ignore_errors=True)
