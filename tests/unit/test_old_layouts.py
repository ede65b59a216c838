"""Directories of older tools and of years ago, in one shape.

``mlflow_export_import_1_2_0_*`` were written by that release against real servers; the others are made by hand.
"""

import copy
import math
import os
from pathlib import Path

import pytest

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.object_files import logged_model_dirs, run_dirs
from mlflow_migration.common.old_layouts import (
    canonical_experiment,
    canonical_info,
    canonical_logged_model,
    canonical_points,
    canonical_run,
)

DATA = Path(__file__).resolve().parents[1] / "data" / "old_layouts"
A, B, C, D, E = (prefix * 16 for prefix in ("0a", "0b", "0c", "0d", "0e"))
MODEL = "m-" + "1a" * 16
SYSTEM_TAGS = {"mlflow.source.name": "seed.py", "mlflow.source.type": "LOCAL", "mlflow.user": "root"}
TRAIN = {
    "dataset": {
        "name": "train",
        "digest": "d1",
        "source_type": "local",
        "source": '{"uri": "/data/train.csv"}',
        "profile": '{"num_rows": 2}',
    },
    "tags": [{"key": "mlflow.data.context", "value": "training"}, {"key": "k", "value": ""}],
}


def run_of(info, **parts):
    """A whole canonical run; what isn't given is empty."""
    run = {"params": {}, "tags": {}, "metrics": {}, "metrics_file": None}
    run.update({"inputs": [], "model_inputs": [], "model_outputs": []}, **parts)
    fields = ("run_id", "run_name", "experiment_id", "user_id", "status", "start_time", "end_time")
    run["info"] = {**dict(zip(fields, info)), "lifecycle_stage": "active", "artifact_uri": None}
    run["info"].update(parts.pop("more", {}))
    run.pop("more", None)
    return run


def point(value, timestamp, step):
    return {"value": value, "timestamp": timestamp, "step": step}


def runs_in(name):
    found = run_dirs(ExportDir(str(DATA / name)))
    return {run_id: canonical_run(directory.read_json("run.json")) for run_id, directory in found}


def experiment_in(name):
    return canonical_experiment(ExportDir(str(DATA / name)).read_json("experiment.json"))


def without_nan(run):
    """Make NaN comparable."""
    run = copy.deepcopy(run)
    for points in run["metrics"].values():
        for one in points:
            one["value"] = "NaN" if math.isnan(one["value"]) else one["value"]
    return run


def expected_of_release(ids, times, stamps):
    parent, child, grandchild, killed = ids

    def one(run_id, name, status, more_tags=None, **parts):
        start, end = times[run_id]
        uri = f"mlflow-artifacts:/1/{run_id}/artifacts"
        tags = {"mlflow.runName": name, **SYSTEM_TAGS, **(more_tags or {})}
        return run_of((run_id, name, "1", "root", status, start, end), tags=tags, more={"artifact_uri": uri}, **parts)

    loss = [("NaN", 1), (1.7976931348623157e308, 2), (-1.7976931348623157e308, 3)]
    return {
        parent: one(
            parent,
            "parent",
            "FINISHED",
            {"colour": "red"},
            params={"lr": "0.1", "empty": "", "spaced name": "ä ö"},
            metrics={
                "loss": [point(1.5, 1700000000000, 0), *(point(v, 1700000000000 + i, i) for v, i in loss)],
                "acc": [point(0.5, 1700000000005, -1)],
            },
        ),
        child: one(
            child, "child", "FINISHED", {"mlflow.parentRunId": parent}, metrics={"m": [point(1.0, stamps["m"], 3)]}
        ),
        grandchild: one(grandchild, "grandchild", "FINISHED", {"mlflow.parentRunId": child}, params={"depth": "2"}),
        killed: one(killed, "killed", "KILLED"),
    }


EXPERIMENT_OF_RELEASE = {
    "experiment_id": "1",
    "name": "old/tests",
    "artifact_location": "mlflow-artifacts:/1",
    "lifecycle_stage": "active",
    "tags": {"mlflow.note.content": "*notes*", "team": "blue"},
}

IDS_2_22 = (
    "90ad0636d21a4a2f84766c4241a925ab",
    "882e324104e54043985b3f1607668d4b",
    "403bdbc7548445a283351dfa99f46f80",
    "d8642c17effb4dcd8a2d7baae39c9d85",
)
TIMES_2_22 = dict(
    zip(
        IDS_2_22,
        [
            (1795488340778, 1795488341150),
            (1795488340983, 1795488341118),
            (1795488341032, 1795488341080),
            (1795488341189, 1795488341210),
        ],
    )
)


def test_release_1_2_0_of_server_2_22():
    name = "mlflow_export_import_1_2_0_server_2_22"
    assert experiment_in(name) == {
        "experiment": {
            **EXPERIMENT_OF_RELEASE,
            "creation_time": 1795488340486,
            "_creation_time": "2026-11-24 02:45:40",
            "last_update_time": 1795488340486,
            "_last_update_time": "2026-11-24 02:45:40",
        },
        "runs": [IDS_2_22[3], IDS_2_22[2], IDS_2_22[1], IDS_2_22[0]],
        "logged_models": [],
        "traces": [],
        "left_out_models": [],
        "failed_runs": [],
    }
    runs = runs_in(name)
    assert list(runs) == experiment_in(name)["runs"]
    assert {run_id: without_nan(run) for run_id, run in runs.items()} == expected_of_release(
        IDS_2_22, TIMES_2_22, {"m": 1795488341010}
    )
    files = dict(ExportDir(str(DATA / name)).sub(IDS_2_22[0]).files("artifacts"))
    assert files == {"empty.txt": 0, "notes/a b.txt": 5}


IDS_3_17 = (
    "ebc8f996f1174b7da2d625f8da67d1bf",
    "b0a7bf9cf3a74c3e88a11e5cefc2e2d5",
    "d14634d2dd6d4a128e124151f21bed4a",
    "b766614928b2405d910b3709cf257b49",
)
TIMES_3_17 = dict(
    zip(
        IDS_3_17,
        [
            (1795487979974, 1795487980617),
            (1795487980382, 1795487980563),
            (1795487980447, 1795487980498),
            (1795487980712, 1795487980749),
        ],
    )
)


def test_release_1_2_0_of_server_3_17():
    name = "mlflow_export_import_1_2_0_server_3_17"
    of_model = "422117222d7842fbadc1f2226c3c90bb"
    experiment = experiment_in(name)
    assert experiment == {
        "experiment": {
            **EXPERIMENT_OF_RELEASE,
            "creation_time": 1795487979559,
            "_creation_time": "2026-11-24 02:39:40",
            "last_update_time": 1795487979559,
            "_last_update_time": "2026-11-24 02:39:40",
            "workspace": "default",
            "trace_location": None,
            "effective_trace_archival_retention": None,
        },
        "runs": [of_model, IDS_3_17[3], IDS_3_17[2], IDS_3_17[1], IDS_3_17[0]],
        "logged_models": [],
        "traces": [],
        "left_out_models": [],
        "failed_runs": [],
    }
    expected = expected_of_release(IDS_3_17, TIMES_3_17, {"m": 1795487980415})
    expected[of_model] = run_of(
        (of_model, "model", "1", "root", "FINISHED", 1795487981018, 1795487981304),
        tags={"mlflow.runName": "model", **SYSTEM_TAGS},
        metrics={"q": [point(0.25, 1795487981226, 0)]},
        more={"artifact_uri": f"mlflow-artifacts:/1/{of_model}/artifacts"},
    )
    assert {run_id: without_nan(run) for run_id, run in runs_in(name).items()} == expected


def test_release_1_2_0_one_run():
    found = ExportDir(str(DATA / "mlflow_export_import_1_2_0_one_run"))
    expected = expected_of_release(IDS_3_17, TIMES_3_17, {"m": 0})[IDS_3_17[0]]
    assert without_nan(canonical_run(found.read_json("run.json"))) == expected
    assert run_dirs(found) == [] and logged_model_dirs(found) == []


def test_years_ago_everything_was_a_list():
    assert experiment_in("bare_lists") == {
        "experiment": {
            "experiment_id": "7",
            "name": "churn",
            "artifact_location": "/mlruns/7",
            "lifecycle_stage": "active",
            "tags": {"team": "red", "empty": ""},
            "creation_time": None,
            "last_update_time": None,
        },
        "runs": [A, B],
        "logged_models": [],
        "traces": [],
        "left_out_models": [],
        "failed_runs": [],
    }
    runs = runs_in("bare_lists")
    assert {run_id: without_nan(run) for run_id, run in runs.items()} == {
        A: run_of(
            (A, "first", "7", "ann", "FINISHED", 1530000000000, 1530000060000),
            params={"alpha": "0.5", "none": ""},
            tags={"mlflow.source.name": "train.py", "count": "3"},
            metrics={
                "rmse": [point(0.75, 1530000001000, 0), point(0.5, 1530000002000, 1)],
                "r2": [point("NaN", 1530000003000, 0)],
            },
            more={"artifact_uri": f"/mlruns/7/{A}/artifacts"},
        ),
        B: run_of((B, None, "7", None, "RUNNING", 1530000100000, None)),
    }


def test_years_ago_a_metric_was_one_value():
    assert runs_in("last_values") == {  # no experiment.json: the disk alone tells
        C: run_of(
            (C, "second", "7", "bob", "FAILED", 1540000000000, 1540000005000),
            params={"depth": "5", "flag": "True", "none": ""},
            tags={"mlflow.runName": "second", "mlflow.parentRunId": A},
            metrics={
                "auc": [point(0.9, 1540000005000, 0)],
                "loss": [point(-math.inf, 1540000005000, 0)],
                "f1": [point(1.0, 1540000001000, 4)],
            },
            more={"lifecycle_stage": "deleted", "artifact_uri": "/mlruns/7/x"},
        )
    }


def test_runs_right_below_the_experiment():
    assert experiment_in("runs_below") == {
        "experiment": {
            "experiment_id": "3",
            "name": "pricing",
            "artifact_location": "mlflow-artifacts:/3",
            "lifecycle_stage": "active",
            "tags": {"mlflow.note.content": "hello"},
            "creation_time": 1690000000000,
            "last_update_time": 1690000000001,
            "_creation_time": "2023-07-22 04:26:40",
            "_last_update_time": "2023-07-22 04:26:40",
        },
        "runs": [D],
        "logged_models": [],
        "traces": [],
        "left_out_models": [],
        "failed_runs": ["f" * 32],
        "permissions": {
            "permission_levels": [],
            "permissions": {
                "object_id": "/experiments/3",
                "object_type": "mlflowExperiment",
                "access_control_list": [
                    {
                        "user_name": "carol",
                        "all_permissions": [{"permission_level": "CAN_MANAGE", "inherited": False}],
                    }
                ],
            },
        },
    }
    plain = {"dataset": {"name": "plain", "digest": "d2", "source_type": "code", "source": "x"}, "tags": []}
    assert runs_in("runs_below") == {
        D: run_of(
            (D, "calm-owl-1", "3", "carol", "FINISHED", 1700000000000, 1700000009000),
            params={"lr": "0.1"},
            tags={"mlflow.runName": "calm-owl-1"},
            metrics={"acc": [point(0.5, 1700000001000, 0), point(0.75, 1700000002000, 10)]},
            inputs=[TRAIN, plain],
            more={"artifact_uri": f"mlflow-artifacts:/3/{D}/artifacts"},
        )
    }


def test_runs_and_models_in_directories_of_their_own():
    assert experiment_in("runs_apart") == {
        "experiment": {
            "experiment_id": "5",
            "name": "agents",
            "artifact_location": "mlflow-artifacts:/5",
            "lifecycle_stage": "active",
            "tags": {},
            "creation_time": 1690000000000,
            "last_update_time": 1690000000001,
            "workspace": "default",
        },
        "runs": [E],
        "logged_models": [MODEL],
        "traces": ["tr-" + "2b" * 16],
        "left_out_models": [],
        "failed_runs": [],
    }
    assert runs_in("runs_apart") == {
        E: run_of(
            (E, "calm-owl-1", "5", "carol", "KILLED", 1700000000000, 1700000009000),
            metrics={"q": [point(0.25, 1700000001000, 2)]},
            inputs=[TRAIN],
            model_inputs=[{"model_id": MODEL, "step": 0}],
            model_outputs=[{"model_id": MODEL, "step": 2}],
            more={"artifact_uri": f"mlflow-artifacts:/5/{E}/artifacts"},
        )
    }
    [(model_id, found)] = logged_model_dirs(ExportDir(str(DATA / "runs_apart")))
    assert model_id == MODEL and dict(found.files("artifacts")) == {"MLmodel": 45}
    assert found.read_json("logged_model.json")["mlflow"]["name"] == "agent"


def test_the_answer_of_a_server():
    assert experiment_in("server_answer") == {
        "experiment": {
            "experiment_id": "9",
            "name": "x",
            "artifact_location": "s3://b/9",
            "lifecycle_stage": "active",
            "tags": {"a": "b"},
            "creation_time": 1690000000000,
            "last_update_time": 1690000000001,
        },
        "runs": [],
        "logged_models": [],
        "traces": [],
        "left_out_models": [],
        "failed_runs": [],
    }


def test_our_own_additions():
    doc = {
        "info": {"fingerprint": "f", "incomplete": []},
        "mlflow": {
            "info": {"run_id": A},
            "metrics": {},
            "metrics_file": "metrics.jsonl",
            "inputs": [],
            "outputs": {"model_outputs": []},
            "model_inputs": [{"model_id": MODEL}],
        },
    }
    run = canonical_run(doc)
    assert run == run_of(
        (A, None, None, None, None, None, None),
        metrics_file="metrics.jsonl",
        model_inputs=[{"model_id": MODEL, "step": 0}],
    )
    doc["mlflow"]["metrics"] = {"m": [{"value": "Infinity", "timestamp": -5, "step": -1}]}
    assert canonical_run(doc)["metrics"] == {"m": [point(math.inf, -5, -1)]}


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"info": None}, "'info.run_id' is missing"),
        ({"info": []}, "'info' is no object"),
        ({"info": {"run_id": ["a"]}}, "'info.run_id'"),
        ({"info": {"run_id": A, "status": "DONE"}}, "'info.status'"),
        ({"info": {"run_id": A, "status": 9}}, "'info.status'"),
        ({"info": {"run_id": A, "lifecycle_stage": "gone"}}, "'info.lifecycle_stage'"),
        ({"info": {"run_id": A, "start_time": "yesterday"}}, "'info.start_time'"),
        ({"info": {"run_id": A, "end_time": 1.5}}, "'info.end_time'"),
        ({"info": {"run_id": A, "user_id": {}}}, "'info.user_id'"),
        ({"params": "x"}, "'params'"),
        ({"params": {"a": {"b": 1}}}, "'params.a'"),
        ({"params": [{"value": 1}]}, "'params'"),
        ({"params": ["a"]}, "'params'"),
        ({"tags": [{"key": 1, "value": "x"}]}, "'tags'"),
        ({"tags": {"a": []}}, "'tags.a'"),
        ({"metrics": 5}, "'metrics'"),
        ({"metrics": {"m": [None]}}, "'metrics.m.value'"),
        ({"metrics": {"m": "many"}}, "'metrics.m.value'"),
        ({"metrics": {"m": True}}, "'metrics.m.value'"),
        ({"metrics": {"m": [{"value": None, "timestamp": 1}]}}, "'metrics.m.value'"),
        ({"metrics": {"m": [{"value": 1, "timestamp": "x"}]}}, "'metrics.m.timestamp'"),
        ({"metrics": {"m": [{"value": 1, "timestamp": 1, "step": {}}]}}, "'metrics.m.step'"),
        ({"metrics": [{"value": 1}]}, "'metrics'"),
        ({"metrics": ["m"]}, "'metrics'"),
        ({"metrics_file": ["x"]}, "'metrics_file'"),
        ({"inputs": "x"}, "'inputs'"),
        ({"inputs": ["x"]}, "'inputs'"),
        ({"inputs": [{"dataset": {"digest": "d"}}]}, "'inputs.dataset.name'"),
        ({"inputs": {"dataset_inputs": {"a": 1}}}, "'inputs'"),
        ({"inputs": {"model_inputs": [{"step": 1}]}}, "'model_inputs.model_id'"),
        ({"outputs": []}, "'outputs'"),
        ({"outputs": {"model_outputs": [{"model_id": "m", "step": "x"}]}}, "'outputs.model_outputs.step'"),
    ],
    ids=str,
)
def test_a_broken_run_names_the_field(part, field):
    with pytest.raises(BadDirectory, match=field):
        canonical_run({"mlflow": {"info": {"run_id": A}, **part}})


@pytest.mark.parametrize(
    ("doc", "field"),
    [
        ({}, "'experiment' is missing"),
        ({"mlflow": []}, "'mlflow'"),
        ({"experiment": "x"}, "'experiment'"),
        ({"experiment": {"tags": 5}}, "'experiment.tags'"),
        ({"experiment": {"name": ["x"]}}, "'experiment.name'"),
        ({"experiment": {"creation_time": "x"}}, "'experiment.creation_time'"),
        ({"experiment": {}, "runs": {"a": 1}}, "'runs'"),
        ({"experiment": {}, "runs": [1]}, "'runs'"),
        ({"experiment": {}, "logged_models": [""]}, "'logged_models'"),
    ],
    ids=str,
)
def test_a_broken_experiment_names_the_field(doc, field):
    with pytest.raises(BadDirectory, match=field):
        canonical_experiment(doc)


def write(path, text="{}"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_each_run_is_found_once_wherever_it_is(tmp_path):
    write(tmp_path / "experiment.json", '{"experiment": {}, "runs": ["listed", "apart", "missing", "listed"]}')
    write(tmp_path / "listed" / "run.json")
    write(tmp_path / "runs" / "apart" / "run.json")
    write(tmp_path / "both" / "run.json")
    write(tmp_path / "runs" / "both" / "run.json")
    write(tmp_path / "unfinished" / "artifacts" / "a")
    write(tmp_path / "logged_models" / "m-1" / "logged_model.json")
    write(tmp_path / "logged_models" / "m-2" / "artifacts" / "a")
    root = ExportDir(str(tmp_path))
    found = [(run_id, os.path.relpath(where.path, str(tmp_path))) for run_id, where in run_dirs(root)]
    assert found == [
        ("listed", "listed"),
        ("apart", os.path.join("runs", "apart")),
        ("missing", "missing"),
        ("both", "both"),
    ]
    with pytest.raises(BadDirectory, match=r"missing/run\.json is missing"):
        dict(run_dirs(root))["missing"].read_json("run.json")
    assert [model_id for model_id, _ in logged_model_dirs(root)] == ["m-1"]


@pytest.mark.parametrize("hostile", ["../outside", "/outside", "a/../../outside", "..", "C:\\\\x", "link"])
def test_a_hostile_id_fails_alone_and_leads_nowhere(tmp_path, hostile):
    inside = tmp_path / "in"
    write(tmp_path / "outside" / "run.json")
    write(tmp_path / "run.json")
    write(inside / "good" / "run.json", '{"info": {"run_id": "good"}}')
    (inside / "link").symlink_to(tmp_path / "outside")
    write(inside / "experiment.json", f'{{"experiment": {{}}, "runs": ["{hostile}", "good"]}}')
    (bad_id, bad), (good_id, good) = run_dirs(ExportDir(str(inside)))
    assert bad_id == hostile.replace("\\\\", "\\") and good_id == "good"
    assert good.read_json("run.json")
    with pytest.raises(BadDirectory, match="is missing|is a symbolic link"):
        bad.read_json("run.json")


def test_a_broken_index_is_named_with_its_file(tmp_path):
    write(tmp_path / "experiment.json", '{"experiment": {}, "runs": [1]}')
    with pytest.raises(BadDirectory, match=r"experiment\.json: 'runs'"):
        run_dirs(ExportDir(str(tmp_path)))
    write(tmp_path / "experiment.json", '{"experiment": ')
    with pytest.raises(BadDirectory, match=r"experiment\.json is no JSON: line 1"):
        run_dirs(ExportDir(str(tmp_path)))


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("READY", "LOGGED_MODEL_READY"),
        (2, "LOGGED_MODEL_READY"),
        ("LOGGED_MODEL_READY", "LOGGED_MODEL_READY"),
        ("PENDING", "LOGGED_MODEL_PENDING"),
        (3, "LOGGED_MODEL_UPLOAD_FAILED"),
        ("FAILED", "LOGGED_MODEL_UPLOAD_FAILED"),
        ("LOGGED_MODEL_UPLOAD_FAILED", "LOGGED_MODEL_UPLOAD_FAILED"),
        ("UNSPECIFIED", None),
        (None, None),
    ],
)
def test_statuses_of_logged_models_have_many_names(written, status):
    assert canonical_logged_model({"mlflow": {"status": written}})["status"] == status


def test_a_logged_model_in_one_shape():
    metric = {"key": "m", "value": math.nan, "timestamp": "5", "run_id": A, "model_id": MODEL}
    model = canonical_logged_model({"model_id": MODEL, "tags": [{"key": "k", "value": 1}], "metrics": [metric]})
    assert (model["tags"], model["params"], model["lifecycle_stage"]) == ({"k": "1"}, {}, "active")
    assert model["metrics"] == [
        {
            "key": "m",
            "value": "NaN",
            "timestamp": 5,
            "step": 0,
            "run_id": A,
            "dataset_name": None,
            "dataset_digest": None,
        }
    ]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"status": "DONE"}, "'status' is 'DONE'"),
        ({"status": 9}, "'status' is 9"),
        ({"lifecycle_stage": "gone"}, "'lifecycle_stage'"),
        ({"source_run_id": []}, "'source_run_id'"),
        ({"params": 5}, "'params'"),
        ({"metrics": [5]}, "'metrics'"),
        ({"metrics": [{"value": 1}]}, "'metrics' holds an item without a key"),
        ({"metrics": [{"key": "m", "value": "x"}]}, "'metrics.m.value'"),
        ({"metrics": [{"key": "m", "value": 1, "timestamp": 2**63}]}, "'metrics.m.timestamp'"),
    ],
    ids=str,
)
def test_a_broken_logged_model_names_the_field(part, field):
    with pytest.raises(BadDirectory, match=field):
        canonical_logged_model({"mlflow": part})


def test_what_an_export_says():
    assert canonical_info(None) == {"fingerprint": None, "incomplete": []}
    entry = {"path": "a/b", "size": 0, "sha256": "e3"}
    info = canonical_info({"artifacts": [entry], "fingerprint": "f", "num_metric_points": 3})
    assert info == {"artifacts": [entry], "fingerprint": "f", "incomplete": [], "num_metric_points": 3}
    odd_size = {"artifacts": [{"path": "a", "size": True}]}
    for broken in ({"artifacts": 5}, {"artifacts": [{}]}, odd_size, {"incomplete": [1]}):
        with pytest.raises(BadDirectory, match="'info.(artifacts|incomplete)"):
            canonical_info(broken)


def test_lines_of_points():
    assert canonical_points(b'{"key": "m", "points": [["NaN", 1, 2], [1, 2, 3]]}')[1][1] == point(1.0, 2, 3)
    short, odd = b'{"key": "m", "points": [[1, 2]]}', b'{"key": "m", "points": 5}'
    for broken in (b"{", b"[" * 100_000, b"[]", b"{}", short, odd):
        with pytest.raises(BadDirectory, match="no JSON|nested too deeply|'line'|'key'|'points'"):
            canonical_points(broken)


def test_a_long_value_is_not_shown_whole():
    with pytest.raises(BadDirectory) as caught:
        canonical_run({"info": {"run_id": A}, "metrics": {"m": "x" * 10_000}})
    assert len(caught.value.message) < 200 and "10002 characters" in caught.value.message


@pytest.mark.parametrize("run_id", ["../x", "/x", "a b", "a'b", "..", "-a", "a\0", "a.b", "runs", "a" * 257])
def test_ids_that_no_server_gives(run_id):
    with pytest.raises(BadDirectory, match="'info.run_id' is no id"):
        canonical_run({"info": {"run_id": run_id}})
    assert canonical_run({"info": {"run_id": "A_b-1"}})["info"]["run_id"] == "A_b-1"
