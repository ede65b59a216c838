"""Exports evaluation datasets: each with all its records, in its file or, if they are many, beside it."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Optional

from mlflow_migration.client import json_codec
from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.client.evaluation_datasets import EvaluationDatasets
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.io_utils import envelope
from mlflow_migration.common.job import Job
from mlflow_migration.common.links import Origins
from mlflow_migration.common.object_files import old_info, read_evaluation_dataset
from mlflow_migration.common.timestamp_utils import fmt_ts_millis

Json = Dict[str, Any]

KIND = "evaluation_dataset"
DATASET_FILE = "evaluation_dataset.json"
RECORDS_FILE = "records.jsonl"
INLINE = 4 * 1024 * 1024  # bytes of records from which they go to a file of their own
_RUN_ID = re.compile(r"[0-9a-f]{32}\Z")


def is_run_id(value: Any) -> bool:
    """Tell whether a value in what a record came from may be the id of a run."""
    return isinstance(value, str) and _RUN_ID.match(value) is not None


class DatasetExporter:
    """Exports evaluation datasets of one server.

    :param tracking: The server.
    :param datasets: Its datasets.
    :param job: Ledger, threads, progress.
    :param script: Name of the command, for the files.
    :param settled: Tells whether nothing is to be done about a dataset with this fingerprint, and then records it.
    """

    def __init__(
        self,
        tracking: Tracking,
        datasets: EvaluationDatasets,
        job: Job,
        script: str,
        settled: Optional[Callable[[Json, str], bool]] = None,
    ) -> None:
        self._datasets, self._job, self._script = datasets, job, script
        self._origins = Origins(tracking)
        self._settled = settled

    def export(self, dataset: Json, directory: ExportDir) -> bool:
        """Export a dataset, and record it.

        :param dataset: As REST returns it.
        :return: Whether the directory has it now.
        """
        # read before the records are: what changes meanwhile makes another one next time
        experiment_ids = self._datasets.experiment_ids(dataset["dataset_id"])
        fields = {**dataset, "experiment_ids": experiment_ids}
        fingerprint = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        if self._settled is not None and self._settled(fields, fingerprint):
            return False
        there = old_info(directory, DATASET_FILE)
        if there is not None and there.get("fingerprint") == fingerprint and _is_whole(directory):
            status = "unchanged"
        else:
            status = "copied" if there is None else "updated"
            if not self._job.dry_run:
                self._write(fields, fingerprint, directory)
        self._job.ledger.record(KIND, status, dataset["dataset_id"], name=dataset["name"])
        return True

    def _write(self, fields: Json, fingerprint: str, directory: ExportDir) -> None:
        runs: Dict[str, str] = {}
        with ExitStack() as stack:
            lines: List[bytes] = []
            file: Any = None
            number = size = 0
            for page in self._datasets.records(fields["dataset_id"]):
                for record in page:
                    self._add_runs(record, runs)
                    line = _line(record)
                    number, size = number + 1, size + len(line)
                    lines.append(line)
                if file is None and size > INLINE:
                    file = stack.enter_context(directory.new_file(RECORDS_FILE))
                if file is not None:
                    file.write(b"".join(line + b"\n" for line in lines))
                    lines = []
        body: Json = {KIND: {**fields, **_times(fields)}}
        if file is None:
            body[KIND]["records"] = [json_codec.loads(line) for line in lines]
        else:
            body["records_file"] = RECORDS_FILE
        described = {found: self._origins.experiment(found) for found in fields["experiment_ids"]}
        body["experiments"] = {found: about for found, about in described.items() if about}
        body["runs"] = runs
        info = {"fingerprint": fingerprint, "num_records": number}
        directory.write_json(DATASET_FILE, envelope(self._script, body, info, tracking_uri=self._datasets.uri))
        if file is None:
            directory.remove(RECORDS_FILE)

    def _add_runs(self, record: Json, runs: Dict[str, str]) -> None:
        data = (record.get("source") or {}).get("source_data")
        for value in filter(is_run_id, data.values() if isinstance(data, dict) else ()):
            if self._origins.has_run(value):
                runs[value] = self._origins.run(value) or ""


def refuse_other(dataset: Json, directory: ExportDir) -> None:
    """Refuse to write over what a directory has of another dataset.

    :raises BadInput: It has another one.
    """
    try:
        there = read_evaluation_dataset(directory)["dataset"]
    except BadDirectory:
        return  # none, or a broken one, which is written anew
    if there["dataset_id"] != dataset["dataset_id"]:
        raise BadInput(f"{directory.path} holds another evaluation dataset, {there['dataset_id']} '{there['name']}'.")


def _is_whole(directory: ExportDir) -> bool:
    try:
        doc = read_evaluation_dataset(directory)
    except BadDirectory:
        return False
    return doc["records_file"] is None or directory.exists(doc["records_file"])


def _line(record: Json) -> bytes:
    """Return a record as strict JSON; one that it can't hold as a text with JSON in it."""
    try:
        return json_codec.dumps(record)
    except (TypeError, ValueError):  # long integers, halves of surrogate pairs; NaN
        return json_codec.dumps(json.dumps(record))


def _times(fields: Json) -> Json:
    names = [name for name in ("created_time", "last_update_time") if fields.get(name)]
    return {f"_{name}": fmt_ts_millis(int(fields[name])) for name in names}
