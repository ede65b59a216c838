"""The comparison finds what differs: each test plants differences and wants them named, and nothing else."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Tuple

import pytest

from benchmarks.make_data import START_TIME, create_run, log_metrics, make_everything
from tests.support.compare import MODEL_KEY, RUN_KEY, assert_same, differences
from tests.support.rest import Rest
from tests.support.servers import Server


class Twins:
    """Two experiments of one server that hold the same, and the ids of what they hold."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.rest = Rest(server.uri)
        self.src = make_everything(server.uri, f"{name} src", deleted_models=True)
        self.dst = make_everything(server.uri, f"{name} dst", deleted_models=True)

    def differences(self, **options: Any) -> List[str]:
        pairs = {self.src[role]: self.dst[role] for role in self.src}
        run_map = {src: dst for src, dst in pairs.items() if not src.startswith("m-")}
        options = {"run_map": run_map, "model_map": pairs, **options}
        src, dst = ((self.server.uri, f"{self.name} {side}") for side in ("src", "dst"))
        return differences(src, dst, **options)


@pytest.fixture(scope="module")
def twins(src_server: Server) -> Twins:
    return Twins(src_server, "compare")


def test_equal(twins: Twins) -> None:
    """Whatever REST can hold, twice, is no difference."""
    assert twins.differences() == []


def test_equal_old(server_29: Server) -> None:
    """The same on a server without logged models and without paging of histories."""
    assert Twins(server_29, "compare").differences() == []


@pytest.fixture(scope="module")
def planted(src_server: Server) -> Tuple[Twins, List[str]]:
    """Twins after many changes to one of them, and what the comparison found."""
    twins = Twins(src_server, "planted")
    plant_in_runs(twins, twins.dst)
    plant_in_metrics(twins, twins.dst)
    plant_in_artifacts(twins, twins.dst)
    plant_in_models(twins, twins.dst)
    return twins, twins.differences()


def plant_in_runs(twins: Twins, ids: Dict[str, str]) -> None:
    post = twins.rest.post
    experiment = ids["experiment"]
    post("experiments/set-experiment-tag", {"experiment_id": experiment, "key": "team", "value": "other"})
    post("runs/update", {"run_id": ids["level 1"], "run_name": "renamed"})
    post("runs/update", {"run_id": ids["state RUNNING"], "status": "KILLED", "end_time": 5})
    post("runs/delete", {"run_id": ids["twin 1"]})
    post("runs/restore", {"run_id": ids["deleted leaf"]})
    post("runs/set-tag", {"run_id": ids["values"], "key": "tag/007", "value": "changed"})
    post("runs/delete-tag", {"run_id": ids["values"], "key": "tag/008"})
    post("runs/set-tag", {"run_id": ids["level 4"], "key": "mlflow.parentRunId", "value": ids["level 0"]})
    post("runs/log-parameter", {"run_id": ids["values"], "key": "more", "value": "p"})
    dataset = {"name": "train", "digest": "zzz", "source_type": "local", "source": "s"}
    post("runs/log-inputs", {"run_id": ids["datasets 1"], "datasets": [{"dataset": dataset, "tags": []}]})


def plant_in_metrics(twins: Twins, ids: Dict[str, str]) -> None:
    point = {"value": 1.0, "timestamp": START_TIME}
    log_metrics(twins.rest, ids["metrics"], [{**point, "key": "loss", "step": 5_000_000}])
    log_metrics(twins.rest, twins.src["metrics"], [{**point, "key": "nan", "step": 9}])
    log_metrics(twins.rest, ids["shares keys 1"], [{**point, "key": "more", "step": 0}])
    log_metrics(twins.rest, ids["shares keys 2"], [{**point, "key": "loss", "step": 3}])


def plant_in_artifacts(twins: Twins, ids: Dict[str, str]) -> None:
    root = twins.rest.run(ids["artifacts"])["info"]["artifact_uri"]
    folder = twins.server.root / "artifacts" / ids["experiment"] / ids["artifacts"] / "artifacts"
    (folder / "nested/deep/er/leaf.txt").unlink()
    twins.rest.put_file(root, "plain.txt", b"PLAIN")  # of the same size
    twins.rest.put_file(root, "with space.txt", b"longer than before")
    twins.rest.put_file(root, "more.txt", b"")
    root = twins.rest.run(ids["model of MLflow 2"])["info"]["artifact_uri"]
    twins.rest.put_file(root, "model/MLmodel", f"artifact_path: model\nrun_id: {twins.src['twin 0']}\n".encode())


def plant_in_models(twins: Twins, ids: Dict[str, str]) -> None:
    best = ids["model best"]
    twins.rest.patch(f"logged-models/{best}/tags", {"model_id": best, "tags": [{"key": "stage", "value": "prod"}]})
    pending = ids["model pending"]
    twins.rest.patch(f"logged-models/{pending}", {"model_id": pending, "status": "LOGGED_MODEL_READY"})
    point = {"key": "auc", "value": 7.0, "timestamp": START_TIME, "step": 77, "model_id": best}
    log_metrics(twins.rest, ids["evaluator"], [point])
    twins.rest.put_file(twins.rest.logged_model(best)["info"]["artifact_uri"], "data/model.pkl", b"x" * 5000)
    models = [{"model_id": ids["model twin"]}]
    twins.rest.post("runs/log-inputs", {"run_id": ids["second evaluator"], "datasets": [], "models": models})
    twins.rest.post("runs/outputs", {"run_id": ids["evaluator"], "models": [{"model_id": best, "step": 1}]})
    twins.rest.call("DELETE", f"/api/2.0/mlflow/logged-models/{ids['model twin']}")


PLANTED = [
    r"^experiment: tag 'team': 'r&d' became 'other'$",
    r"\('level 1'\): run_name: 'level 1' became 'renamed'$",
    r"\('level 1'\): tag 'mlflow.runName': 'level 1' became 'renamed'$",
    r"\('state RUNNING'\): status: 'RUNNING' became 'KILLED'$",
    r"\('state RUNNING'\): end_time: 0 became 5$",
    r"\('twin'\): lifecycle_stage: 'active' became 'deleted'$",
    r"\('deleted leaf'\): lifecycle_stage: 'deleted' became 'active'$",
    r"\('values'\): tag 'tag/007': 'value 7' became 'changed'$",
    r"\('values'\): tag 'tag/008': missing \('value 8'\)$",
    r"\('level 4'\): tag 'mlflow.parentRunId': .* became ",
    r"\('values'\): param 'more': added \('p'\)$",
    r"\('datasets 1'\): dataset input: added: .*zzz",
    r"\('metrics'\): metric 'loss': 2500 points became 2501$",
    r"\('metrics'\): metric 'loss': added point value=1.0 timestamp=1700000000000 step=5000000$",
    r"\('metrics'\): metric 'nan': 4 points became 3$",
    r"\('metrics'\): metric 'nan': missing point value=1.0 timestamp=1700000000000 step=9$",
    r"\('shares keys 1'\): metric 'more': added$",
    r"\('shares keys 2'\): metric 'loss': 12 points became 13$",
    r"\('shares keys 2'\): metric 'loss': added point value=1.0 .* step=3$",
    r"\('artifacts'\): artifact 'nested/deep/er/leaf.txt': missing$",
    r"\('artifacts'\): artifact 'plain.txt': other bytes$",
    r"\('artifacts'\): artifact 'with space.txt': 5 bytes became 18$",
    r"\('artifacts'\): artifact 'more.txt': added$",
    r"\('model of MLflow 2'\): artifact 'model/MLmodel': line 'flavors:' became 'run_id: ",
    r"\('my-model'\): tag 'stage': 'dev' became 'prod'$",
    r"\('other'\): status: 'LOGGED_MODEL_PENDING' became 'LOGGED_MODEL_READY'$",
    r"\('evaluator'\): metric 'auc': 1 points became 2$",
    r"\('evaluator'\): metric 'auc': added point value=7.0 .* step=77$",
    r"\('my-model'\): metric: added: .*77",
    r"\('my-model'\): artifact 'data/model.pkl': other bytes$",
    r"\('second evaluator'\): model_inputs: added: ",
    r"\('evaluator'\): model_outputs: added: ",
    r"\('my-model'\): deleted: False became True$",
]


@pytest.mark.parametrize("pattern", PLANTED)
def test_planted(planted: Tuple[Twins, List[str]], pattern: str) -> None:
    found = [line for line in planted[1] if re.search(pattern, line)]
    assert len(found) == 1, planted[1]


def test_nothing_else_is_reported(planted: Tuple[Twins, List[str]]) -> None:
    assert [line for line in planted[1] if not any(re.search(pattern, line) for pattern in PLANTED)] == []


def test_dropped_run(twins: Twins) -> None:
    pairs = {twins.src[role]: twins.dst[role] for role in twins.src if role != "level 2" and "model " not in role}
    pairs[twins.src["model of MLflow 2"]] = twins.dst["model of MLflow 2"]
    found = twins.differences(run_map=pairs)
    assert f"run {twins.src['level 2']} ('level 2'): missing" in found
    assert f"run {twins.dst['level 2']} ('level 2') of the destination: a copy of no run" in found
    # its child names a parent that has no copy
    assert len(found) == 3 and "('level 3'): tag 'mlflow.parentRunId'" in found[2]


def test_dropped_model(twins: Twins) -> None:
    pairs = {twins.src[role]: twins.dst[role] for role in twins.src if role != "model pending"}
    found = twins.differences(model_map=pairs)
    assert f"logged model {twins.src['model pending']} ('other'): missing" in found
    assert f"logged model {twins.dst['model pending']} of the destination: a copy of none" in found


def test_nothing_arrived(src_server: Server, dst_server: Server, twins: Twins, experiment_name: str) -> None:
    src = (src_server.uri, "compare src")
    found = differences(src, (dst_server.uri, experiment_name))
    assert len(found) == 1 and "cannot be read" in found[0]
    Rest(dst_server.uri).post("experiments/create", {"name": experiment_name})
    found = differences(src, (dst_server.uri, experiment_name))
    runs = len(twins.rest.runs(twins.src["experiment"]))
    assert found[0] == f"nothing arrived: the source has {runs} runs, the destination none"
    assert sum(line.endswith(": missing") for line in found) == runs
    with pytest.raises(AssertionError, match="nothing arrived"):
        assert_same(src, (dst_server.uri, experiment_name))


def test_nothing_to_compare(dst_server: Server, experiment_name: str) -> None:
    Rest(dst_server.uri).post("experiments/create", {"name": experiment_name})
    both = (dst_server.uri, experiment_name)
    assert differences(both, both) == ["the source has no runs: nothing was compared"]


def test_key_tags_pair_runs_and_models(src_server: Server, dst_server: Server, experiment_name: str) -> None:
    src, dst = Rest(src_server.uri), Rest(dst_server.uri)
    src_id, dst_id = (
        rest.post("experiments/create", {"name": experiment_name})["experiment_id"] for rest in (src, dst)
    )
    ids = [create_run(src, src_id, name)["info"]["run_id"] for name in ("a", "b", "c")]
    copies = [create_run(dst, dst_id, n, tags={RUN_KEY: i})["info"]["run_id"] for n, i in zip("abc", ids)]
    model = src.post("logged-models", {"experiment_id": src_id, "name": "m", "source_run_id": ids[0]})["model"]["info"]
    both = ((src_server.uri, experiment_name), (dst_server.uri, experiment_name))
    assert differences(*both) == [f"logged model {model['model_id']} ('m'): missing"]
    tags = [{"key": MODEL_KEY, "value": model["model_id"]}]
    dst.post("logged-models", {"experiment_id": dst_id, "name": "m", "source_run_id": copies[0], "tags": tags})
    assert_same(*both)
    assert_same(*both, only=ids)
    second = create_run(dst, dst_id, "b", tags={RUN_KEY: ids[1]})["info"]["run_id"]
    found = differences(*both)
    assert found[0] == "number of active runs: 3 became 4"
    assert "2 copies" in found[1] and second in found[1] and len(found) == 2
    found = differences(*both, only=ids[1:])
    assert any("which the source has not" in line or "a copy of" in line for line in found)
