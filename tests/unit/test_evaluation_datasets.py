"""What is known of evaluation datasets without a server: directories of other tools, records, and which are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from mlflow_migration.bulk.export_evaluation_datasets import choose_datasets, place_of
from mlflow_migration.bulk.import_evaluation_datasets import _places
from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.client.evaluation_datasets import UPSERT_RECORDS
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.object_files import read_evaluation_dataset, read_records
from mlflow_migration.common.old_layouts import canonical_evaluation_dataset, canonical_record
from mlflow_migration.evaluation_dataset.dataset_exporter import _line
from mlflow_migration.evaluation_dataset.record_states import (
    Interned,
    as_sent,
    batches,
    can_merge,
    content_of,
    name_of,
    with_new_runs,
)

Json = Dict[str, Any]

RECORD: Json = {
    "dataset_record_id": "dr-1", "dataset_id": "d-1", "inputs": {"q": "why"}, "expectations": {"a": "so"},
    "tags": {"mlflow.user": "al"}, "source": {"source_type": "HUMAN", "source_data": {}}, "source_type": "HUMAN",
    "created_time": 1, "last_update_time": 2, "created_by": "al", "last_updated_by": "al",
}  # fmt: skip
# as mlflow-export-import 1.2.0 writes what MLflow's EvaluationDataset.to_dict() returns
OTHER_TOOL: Json = {
    "system": {"package_version": "1.2.0", "script": "export_evaluation_dataset.py", "export_file_version": "2"},
    "mlflow": {
        "evaluation_dataset": {
            "name": "questions", "digest": "aa", "source_type": "evaluation_dataset", "source": "{}",
            "schema": "{}", "profile": '{"num_records": 1}', "dataset_id": "d-1", "tags": {"team": "x", "none": None},
            "created_time": 1, "last_update_time": 2, "created_by": None, "last_updated_by": None,
            "experiment_ids": ["7", "3"], "records": [RECORD],
        }
    },
}  # fmt: skip


def _write(directory: Path, doc: Json) -> ExportDir:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "evaluation_dataset.json").write_text(json.dumps(doc), encoding="utf-8")
    return ExportDir(str(directory))


def test_directories_of_another_tool(tmp_path: Path) -> None:
    directory = _write(tmp_path / "questions_d-1", OTHER_TOOL)
    doc = read_evaluation_dataset(directory)
    assert (doc["dataset"]["name"], doc["dataset"]["dataset_id"]) == ("questions", "d-1")
    assert doc["dataset"]["tags"] == {"team": "x", "none": ""}
    assert doc["dataset"]["experiment_ids"] == ["3", "7"]
    assert (doc["experiments"], doc["runs"], doc["num_records"], doc["records_file"]) == ({}, None, None, None)
    (found,) = read_records(doc, directory)
    assert found == {
        "inputs": {"q": "why"}, "outputs": None, "expectations": {"a": "so"}, "tags": {"mlflow.user": "al"},
        "source": {"source_type": "HUMAN", "source_data": {}}, "dataset_record_id": "dr-1", "created_by": "al",
    }  # fmt: skip
    # its summary lists none: what is on the disk counts
    (tmp_path / "evaluation_datasets_summary.json").write_text('{"mlflow": {"total_datasets": 1}}', encoding="utf-8")
    assert list(_places(ExportDir(str(tmp_path)), None)) == ["questions_d-1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "'evaluation_dataset.name' is missing"),
        ({"dataset_id": ["d"]}, "'evaluation_dataset.dataset_id' is no text"),
        ({"records": {}}, "'evaluation_dataset.records' is no list"),
        ({"tags": {"a": {}}}, "'evaluation_dataset.tags.a' is no text"),
        ({"experiment_ids": [{}]}, "evaluation_dataset.experiment_ids"),
    ],
)
def test_another_shape_is_refused(change: Json, words: str) -> None:
    doc = {"mlflow": {"evaluation_dataset": {**OTHER_TOOL["mlflow"]["evaluation_dataset"], **change}}}
    with pytest.raises(BadDirectory) as caught:
        canonical_evaluation_dataset(doc)
    assert words in caught.value.message


@pytest.mark.parametrize("item", [{}, {"inputs": []}, {"inputs": {}, "tags": []}, {"inputs": {}, "source": 1}, "{", 1])
def test_no_record(item: Any) -> None:
    with pytest.raises(BadDirectory):
        canonical_record(item)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 2**70, "\ud800", 1.5, None, {"deep": [1]}])
def test_any_value_goes_through_strict_json(value: Any) -> None:
    """What JSON can't hold is a text there, and comes back the same."""
    line = _line({"inputs": {"value": value}})
    found = canonical_record(json.loads(line, parse_constant=lambda name: pytest.fail(name)))
    assert json.dumps(found["inputs"]) == json.dumps({"value": value})


def test_records_in_a_file_beside_it(tmp_path: Path) -> None:
    fields = {**OTHER_TOOL["mlflow"]["evaluation_dataset"], "records": []}
    body = {"evaluation_dataset": fields, "records_file": "records.jsonl"}
    directory = _write(tmp_path, {"info": {"num_records": 3}, "mlflow": body})
    lines = [_line({"inputs": {"i": i}}) for i in (0, 2**70, 2)]
    (tmp_path / "records.jsonl").write_bytes(b"\n".join(lines))
    doc = read_evaluation_dataset(directory)
    assert [record["inputs"]["i"] for record in read_records(doc, directory)] == [0, 2**70, 2]
    (tmp_path / "records.jsonl").write_bytes(b"\n".join(lines[:2]))
    with pytest.raises(BadDirectory, match="has 2 records instead of 3"):
        list(read_records(doc, directory))
    (tmp_path / "records.jsonl").write_bytes(b"{")
    with pytest.raises(BadDirectory, match=r"records.jsonl: line 1: it is no JSON"):
        list(read_records(doc, directory))


def test_what_a_server_can_merge() -> None:
    record = canonical_record(RECORD)
    there = Interned().known(RECORD)
    more = {**record, "outputs": "new", "expectations": {"a": "other", "b": 1}, "tags": {**record["tags"], "t": "1"}}
    assert content_of(record) == content_of(RECORD) != content_of(more)
    assert name_of(record) == name_of(more) != name_of({"inputs": {"q": "where"}})
    assert can_merge(there, more)
    for change in ({"expectations": {}}, {"expectations": None}, {"tags": {}}, {"source": None}):
        assert not can_merge(there, {**record, **change}), change
    empty = Interned().known({**RECORD, "expectations": None})
    assert can_merge(empty, record)
    assert not can_merge(empty, {**record, "expectations": {}})


def test_who_has_made_a_record_is_kept() -> None:
    record = {**canonical_record(RECORD), "tags": {"mlflow.user": "bo", "t": "1"}}
    assert [sent["tags"] for sent in as_sent(record, is_new=True)] == [
        {"t": "1", "mlflow.user": "al"}, {"mlflow.user": "bo", "t": "1"},
    ]  # fmt: skip
    assert [sent["tags"] for sent in as_sent(record, is_new=False)] == [record["tags"]]
    nobody = {**record, "created_by": None}
    assert [sent["tags"] for sent in as_sent(nobody, is_new=True)] == [{"t": "1"}, record["tags"]]
    plain = canonical_record({"inputs": {}})
    (sent,) = as_sent(plain, is_new=True)
    assert sent == {"inputs": {}, "outputs": None, "expectations": None, "source": None, "tags": {}}


def test_requests_are_bounded_and_keep_together_what_belongs_together() -> None:
    groups = [[("a", {"i": i}), ("a", {"i": i})] for i in range(UPSERT_RECORDS)]
    sizes = [len(batch) for batch in batches(iter(groups))]
    assert sum(sizes) == 2 * UPSERT_RECORDS
    assert all(size <= UPSERT_RECORDS and size % 2 == 0 for size in sizes)
    big = [[(str(i), {"text": "x" * 3_000_000})] for i in range(3)]
    assert [len(batch) for batch in batches(big)] == [1, 1, 1]


def test_runs_in_sources_become_their_copies() -> None:
    source = {"source_type": "CODE", "source_data": {"run_id": "old", "session": "s", "n": 1}}
    record = {"inputs": {}, "source": source}
    found = with_new_runs(record, {"old": "new"}.get)
    assert found["source"]["source_data"] == {"run_id": "new", "session": "s", "n": 1}
    assert with_new_runs(record, lambda _: None) is record
    assert with_new_runs({"inputs": {}, "source": None}, {"old": "new"}.get)["source"] is None


def test_which_are_meant() -> None:
    there: List[Json] = [{"dataset_id": f"d-{i}", "name": name} for i, name in enumerate(("a", "a", "ab", "c"))]

    def chosen(*wanted: str) -> Any:
        found, unknown = choose_datasets(wanted, there)
        return [one["dataset_id"] for one in found], unknown

    assert chosen("all") == (["d-0", "d-1", "d-2", "d-3"], [])
    assert chosen("a") == (["d-0", "d-1"], [])
    assert chosen("a*", "d-3", "x") == (["d-0", "d-1", "d-2", "d-3"], ["x"])
    assert chosen("d-1") == (["d-1"], [])
    assert place_of({"dataset_id": "d-1", "name": "../a/b"}) == "..%2Fa%2Fb_d-1"
