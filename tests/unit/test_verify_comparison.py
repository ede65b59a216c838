"""verify-migration without servers: what is the same but for ids, the sums of points, MLmodel files, the report."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, Optional, Tuple

import pytest

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.verify import mlmodel
from mlflow_migration.verify.compare import Comparer, Comparison, How
from mlflow_migration.verify.directory_side import parts_of
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import LOGGED_MODEL, RUN, PointSum, Thing, latest_of, model_metrics, run_fields
from mlflow_migration.verify.report import Report

SRC, DST, OTHER, GONE = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)
SRC_MODEL, DST_MODEL = "m-" + "1" * 32, "m-" + "2" * 32
SRC_ROOT = f"mlflow-artifacts:/1/models/{SRC_MODEL}/artifacts"
ROOT = f"mlflow-artifacts:/5/models/{DST_MODEL}/artifacts"


class Side:
    """Knows key tags."""

    def __init__(self, **keys: str) -> None:
        self.keys = keys

    def key_of(self, kind: str, object_id: str) -> Optional[str]:
        return self.keys.get(object_id)


@pytest.fixture
def links() -> Links:
    made = Links(Side(), Side(**{OTHER: ""}), [])
    made.note(RUN, "5", DST, SRC)
    made.note(LOGGED_MODEL, "5", DST_MODEL, SRC_MODEL)
    return made


@pytest.mark.parametrize(
    ("src", "dst", "same"),
    [
        ("plain", "plain", True),
        ("plain", "other", False),
        (SRC, DST, True),
        (SRC, SRC, False),  # it has a copy, so its id should have become that of the copy
        (GONE, GONE, True),  # it has none
        (SRC, OTHER, False),
        (f"run {SRC}, model {SRC_MODEL}", f"run {DST}, model {DST_MODEL}", True),
        (f"run {SRC}, model {SRC_MODEL}", f"run {DST}, model {SRC_MODEL}", False),
        (f'[{{"run_id": "{SRC}", "a": 1}}]', f'[{{"a":1,"run_id":"{DST}"}}]', True),
        (f'[{{"run_id": "{SRC}", "a": 1}}]', f'[{{"a":2,"run_id":"{DST}"}}]', False),
        (f"runs:/{SRC}/model", f"runs:/{DST}/model", True),
        (f"runs:/{SRC}/model", f"runs:/{DST}/model2", False),
        (f"mlflow-artifacts:/1/{SRC}/artifacts/model", f"mlflow-artifacts:/5/{DST}/artifacts/model", True),
        (f"s3://bucket/x/1/{SRC}/artifacts/model", f"runs:/{DST}/model", True),
        (f"s3://bucket/x/1/{SRC}/artifacts/model", f"mlflow-artifacts:/5/{DST}/artifacts", False),
        (f"in 1: {SRC}", f"in 5: {DST}", False),  # no location
        (SRC_ROOT, ROOT, True),
        (SRC_ROOT, SRC_ROOT.replace(SRC_MODEL, DST_MODEL), False),
    ],
)  # fmt: skip
def test_texts_are_the_same_but_for_ids(links: Links, src: str, dst: str, same: bool) -> None:
    assert links.same_text(src, dst, "5", ROOT) is same


def test_a_run_that_is_there_itself_is_its_own_copy(links: Links) -> None:
    links.note(RUN, "5", SRC, "")
    assert links.same(RUN, SRC, SRC, "5")
    assert links.copies(Thing(RUN, SRC), "5") == [SRC]
    assert links.copies(Thing(RUN, GONE, key=DST), "5") == [DST]  # it was once made from it
    assert links.copies(Thing(RUN, GONE), "5") == []


def mlmodel_of(run_id: str, model_id: str, root: str, more: str = "") -> bytes:
    return f"artifact_path: {root}\nflavors: {{a: [1, 2]}}\nmodel_id: {model_id}\nrun_id: {run_id}\n{more}".encode()


def test_mlmodel_files_are_compared_as_yaml(links: Links) -> None:
    def same(a: str, b: str) -> bool:
        return links.same_text(a, b, "5", ROOT)

    src = mlmodel_of(SRC, SRC_MODEL, f"mlflow-artifacts:/1/models/{SRC_MODEL}/artifacts")
    dst = mlmodel_of(DST, DST_MODEL, ROOT)
    assert mlmodel.difference(src, dst, same) is None
    assert mlmodel.difference(src, dst.replace(b"2]", b"3]"), same) == ("2", "3")
    assert mlmodel.difference(src, src, same) is not None  # nobody has written the new ids into it
    assert mlmodel.difference(src, dst + b"more: 1\n", same) is not None
    assert mlmodel.difference(dst, dst, lambda a, b: a == b) is None
    bomb = b"a: &a [x]\nb: &b [*a, *a]\n" + b"".join(b"c%d: [*b, *b]\n" % i for i in range(1000))
    assert mlmodel.difference(bomb, bomb + b"d: 1\n", same) is not None
    with pytest.raises(ValueError, match="no YAML"):
        mlmodel.difference(b"a: [", b"a: ]", same)


def test_sums_of_points_do_not_depend_on_order_or_spelling() -> None:
    points: List[Dict[str, Any]] = [{"value": i / 7, "timestamp": i, "step": -i} for i in range(100)]
    points += [{"value": "NaN", "timestamp": "5"}, {"value": "-Infinity", "step": 2**62}, {"value": 0.0}]
    other = [{**point, "timestamp": str(point.get("timestamp", 0))} for point in reversed(points)]
    other[0]["value"] = -0.0
    other[1]["value"] = -1.7976931348623157e308
    other[2]["value"] = math.nan
    sums = [PointSum(), PointSum()]
    sums[0].add(points)
    for point in other:
        sums[1].add([point])
    assert sums[0] == sums[1]
    for field, value in (("value", 0.5), ("timestamp", 9), ("step", 9)):
        changed = PointSum()
        changed.add([{**points[7], field: value}, *points[:7], *points[8:]])
        assert changed != sums[0], field


def test_the_latest_point_is_that_of_a_server() -> None:
    points = [{"value": 1.0, "timestamp": 5, "step": 1}, {"value": 9.0, "timestamp": 9, "step": 0}]
    assert latest_of([*points, {"value": 2.0, "timestamp": 5, "step": 1}]) == {"value": 2.0, "timestamp": 5, "step": 1}
    assert latest_of([]) is None


def run(run_id: str, **changes: Any) -> Thing:
    doc = {"info": {"run_name": "a"}, "params": {}, "tags": {}, "latest": {}, "inputs": [], **changes}
    return Thing(RUN, run_id, fields=run_fields(doc))


@pytest.mark.parametrize(
    ("src", "dst", "found"),
    [
        ({}, {}, []),
        ({"tags": {"a": "1", "mlflow_exim.x": "2"}}, {"tags": {"a": "1", "mlflow.runName": "x"}}, []),
        ({"tags": {"a": ""}}, {}, [("tag:a", "", None)]),
        ({"info": {}}, {"info": {"run_name": "made-up", "user_id": "u"}}, []),
        ({"info": {"run_name": "a", "end_time": "5"}}, {"info": {"run_name": "a", "end_time": 5}}, []),
        ({"info": {"run_name": "a"}}, {"info": {"run_name": "a", "end_time": 5}}, [("end_time", 0, 5)]),
        ({"tags": {"mlflow.parentRunId": SRC}}, {"tags": {"mlflow.parentRunId": DST}}, []),
        (
            {"tags": {"mlflow.parentRunId": SRC}},
            {"tags": {"mlflow.parentRunId": SRC}},
            [("tag:mlflow.parentRunId", SRC, f"{SRC} (the source's id)")],
        ),
    ],
)
def test_fields_of_runs(links: Links, src: Dict[str, Any], dst: Dict[str, Any], found: List[Tuple[Any, ...]]) -> None:
    with Executor(1) as executor:
        pair = Comparison(run("x", **src), run("y", **dst), "5")
        Comparer(executor, links, How(), Report(None, {})).run(pair)
    assert pair.differences == found


def test_metrics_of_logged_models_are_as_servers_keep_them() -> None:
    found = model_metrics([{"key": "a", "value": "NaN", "timestamp": 5}, {"key": "a", "value": 1, "run_id": SRC}])
    assert found == {"a": [("0.0", 5, 0, "", "", ""), ("1.0", 0, 0, SRC, "", "")]}


def test_the_report_is_bounded_and_without_secrets(tmp_path: Any) -> None:
    report = Report(ExportDir(str(tmp_path / "report")), {"depth": "full", "src_mlflow_uri": "http://u:secret@h"})
    report.begin(source="http://user:secret@host", destination="http://host2")
    assert not report.exit_status
    for i in range(1_010):
        thing = Thing(RUN, f"r{i}", "a\x1b[31mname")
        report.compared(thing, "d", [("tag:t", "http://user:secret@host", "x" * 300)], [])
    report.record(RUN, "extra", dst_id="e")
    report.close()
    document = json.loads((tmp_path / "report" / "verification.json").read_text())
    lines = (tmp_path / "report" / "verification.jsonl").read_text().splitlines()
    assert (len(lines), len(document["not_the_same"]), document["counts"]["run"]["differs"]) == (1_011, 1_000, 1_010)
    assert document["exit_status"] == 1 and document["result"] == "different"
    everything = json.dumps(document) + "".join(lines) + report.summary()
    assert "secret" not in everything and "\x1b[" not in report.summary()
    assert len(lines[0]) < 1_000
    assert "and 991 more" in report.summary()


def test_extra_objects_alone_do_not_fail() -> None:
    report = Report(None, {})
    report.record(RUN, "extra", dst_id="e")
    report.record(RUN, "same")
    assert report.exit_status == 0 and "extra" in report.summary()
    report.record(RUN, "missing", "r")
    assert report.exit_status == 1


def test_a_directory_that_is_no_export_is_refused(tmp_path: Any) -> None:
    with pytest.raises(BadInput, match="is no export"):
        parts_of(ExportDir(str(tmp_path)))


def test_bulk_layouts_are_found(tmp_path: Any) -> None:
    for path in (
        "manifest.json", "experiments/experiments.json", "experiments/1/experiment.json", "models/models.json",
        "models/a/model.json", "models/a/run/run.json", "prompts/prompts_summary.json",
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}")
    parts = parts_of(ExportDir(str(tmp_path)))
    names = {
        what: [place.path[len(str(tmp_path)) + 1 :] for place in getattr(parts, what)]
        for what in ("experiments", "loose", "models", "prompts")
    }
    assert names == {
        "experiments": ["experiments/1"], "loose": ["models/a"], "models": ["models/a"], "prompts": ["prompts"],
    }  # fmt: skip
    assert parts_of(ExportDir(str(tmp_path / "experiments"))).experiments[0].path == str(tmp_path / "experiments" / "1")


class SomeFiles:
    """Artifacts in memory; what is None can't be read."""

    root = ROOT

    def __init__(self, **files: Optional[bytes]) -> None:
        self.files = files

    def sizes(self) -> Dict[str, int]:
        return {path: len(data or b"123") for path, data in self.files.items()}

    def sha256(self, path: str) -> str:
        return str(self.content(path, 0))

    def content(self, path: str, most: int) -> Optional[bytes]:
        data = self.files[path]
        if data is None:
            raise BadDirectory("unreadable")
        return data


def test_an_unreadable_artifact_is_an_error_and_the_others_are_compared(links: Links) -> None:
    src = SomeFiles(a=b"111", b=b"222", c=b"333", d=b"4444", MLmodel=b"run_id: " + SRC.encode())
    dst = SomeFiles(a=b"111", b=None, c=b"999", d=b"444", MLmodel=b"run_id: " + DST.encode())
    found: Dict[str, Any] = {}
    with Executor(4) as executor:
        for depth in ("metadata", "full"):
            pair = Comparison(Thing(RUN, SRC), Thing(RUN, DST), "5")
            Comparer(executor, links, How(depth), Report(None, {})).files(pair, src, dst)
            found[depth] = ([name for name, _, _ in pair.differences], pair.errors)
        pair = Comparison(Thing(RUN, SRC), Thing(RUN, DST), "5")
        Comparer(executor, links, How("full", mlmodel_fix=False), Report(None, {})).files(pair, src, dst)
    assert found["metadata"] == (["artifact:d"], [])
    assert found["full"] == (["artifact:d", "artifact:c"], ["artifact b can't be compared: unreadable"])
    assert "artifact:MLmodel" in [name for name, _, _ in pair.differences]
