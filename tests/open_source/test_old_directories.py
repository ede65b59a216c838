"""Directories of earlier tools and of years ago arrive whole on a server of the newest MLflow.

What they hold is read here by a few lines of this file, what arrived is read by plain REST.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Tuple

import pytest

from mlflow_migration.verify.verify_migration import verify_migration
from tests.support.compare import MODEL_KEY, PARENT, RUN_KEY
from tests.support.moves import counts_of
from tests.support.reports import statuses
from tests.support.rest import Json, Rest
from tests.support.scripts import Result
from tests.support.servers import Server

DATA = Path(__file__).parents[1] / "data" / "old_layouts"
CHILD, PARENT_OF_CHILD = "0c" * 16, "0a" * 16
STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}

# ---- what a directory holds


def body_of(path: Path) -> Json:
    """The object in a file, with an envelope around it or without."""
    doc = json.loads(path.read_text(encoding="utf-8"))
    return dict(doc.get("mlflow", doc))


def texts(pairs: Any) -> Dict[str, str]:
    """Tags or params, which were lists once; what is no text is written as Python does, nothing as an empty one."""
    if isinstance(pairs, list):
        pairs = {pair["key"]: pair["value"] for pair in pairs}
    return {key: "" if value is None else str(value) for key, value in (pairs or {}).items()}


def point(value: Any, time: Any, step: Any) -> Tuple[str, int, int]:
    """A point; an infinite value is the largest number on a server."""
    number = float(value)
    number = math.copysign(sys.float_info.max, number) if math.isinf(number) else number
    return (repr(number), int(time or 0), int(step or 0))


def old_points(metrics: Any, time: int) -> Counter[Tuple[Any, ...]]:
    """All points of a run with their keys; a value without a time has that of the run's end."""
    if isinstance(metrics, list):
        pairs = [(item["key"], item) for item in metrics]
    else:
        many = {key: points if isinstance(points, list) else [points] for key, points in (metrics or {}).items()}
        pairs = [(key, item) for key, items in many.items() for item in items]
    found: Counter[Tuple[Any, ...]] = Counter()
    for key, item in pairs:
        item = item if isinstance(item, dict) else {"value": item, "timestamp": time}
        found[(key, *point(item["value"], item["timestamp"], item.get("step")))] += 1
    return found


def dataset(item: Json) -> Tuple[Any, ...]:
    """A dataset input with its tags."""
    fields = {key: value for key, value in item["dataset"].items() if value is not None}
    return (sorted(fields.items()), sorted(texts(item.get("tags")).items()))


def files_of(folder: Path) -> Dict[str, bytes]:
    """Artifacts by their path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def old_run(path: Path) -> Json:
    """What a run.json and the artifacts beside it hold."""
    run = body_of(path)
    info, tags, inputs = run["info"], texts(run.get("tags")), run.get("inputs") or []
    together = inputs if isinstance(inputs, dict) else {"dataset_inputs": inputs}
    status = info["status"]
    times = {field: int(info.get(field) or 0) for field in ("start_time", "end_time")}
    outputs = (run.get("outputs") or {}).get("model_outputs") or []
    return {
        "name": info.get("run_name") or info.get("name") or tags.pop("mlflow.runName", None),
        "user": info.get("user_id") or "",
        "status": STATUSES.get(status, status),
        "stage": info.get("lifecycle_stage") or "active",
        **times,
        "params": texts(run.get("params")),
        "tags": {key: value for key, value in tags.items() if key != "mlflow.runName"},
        "points": old_points(run.get("metrics"), times["end_time"] or times["start_time"]),
        "datasets": sorted(map(dataset, together.get("dataset_inputs") or [])),
        "model_inputs": [item["model_id"] for item in together.get("model_inputs") or []],
        "model_outputs": [(item["model_id"], int(item.get("step") or 0)) for item in outputs],
        "files": files_of(path.parent / "artifacts"),
    }


def old_runs(directory: Path) -> Dict[str, Json]:
    """All runs of a directory by their ids."""
    found = {}
    for path in directory.rglob("run.json"):
        info = body_of(path)["info"]
        found[info.get("run_id") or info["run_uuid"]] = old_run(path)
    return found


# ---- what a server has


def there(rest: Rest, name: str) -> Dict[str, Json]:
    """All runs of an experiment in the same shape, by the ids that they had at the source."""
    found = {}
    for listed in rest.runs(rest.experiment(name)["experiment_id"]):
        run = rest.run(listed["info"]["run_id"])
        info, data, inputs = run["info"], run["data"], run.get("inputs") or {}
        tags = {tag["key"]: tag["value"] for tag in data.get("tags") or []}
        src_id = tags.pop(RUN_KEY)
        assert src_id not in found, "two copies"
        assert tags.pop("mlflow.runName") == info["run_name"]
        points = [(m["key"], p) for m in data.get("metrics") or [] for p in rest.history(info["run_id"], m["key"])]
        outputs = (run.get("outputs") or {}).get("model_outputs") or []
        found[src_id] = {
            "name": info["run_name"],
            "user": info["user_id"],
            "status": info["status"],
            "stage": info["lifecycle_stage"],
            "start_time": int(info["start_time"]),
            "end_time": int(info.get("end_time") or 0),
            "params": texts(data.get("params")),
            "tags": tags,
            "points": Counter((key, *point(p["value"], p["timestamp"], p["step"])) for key, p in points),
            "datasets": sorted(map(dataset, inputs.get("dataset_inputs") or [])),
            "model_inputs": [item["model_id"] for item in inputs.get("model_inputs") or []],
            "model_outputs": [(item["model_id"], int(item.get("step") or 0)) for item in outputs],
            "files": {path: rest.run_file(info["run_id"], path) for path in rest.run_files(info["run_id"])},
            "id": info["run_id"],
        }
    return found


def assert_same_runs(old: Mapping[str, Json], new: Mapping[str, Json], models: Mapping[str, str]) -> None:
    """The same runs, field by field; parents and models are named by their new ids.

    :param models: New ids of logged models.
    """
    assert Counter(run["stage"] for run in old.values()) == Counter(run["stage"] for run in new.values())
    for src_id, run in old.items():
        copy = dict(new[src_id])
        assert copy.pop("id") != src_id
        expected = {**run, "name": run["name"] or copy["name"]}  # a server makes up a name
        expected["model_inputs"] = [models[model_id] for model_id in run["model_inputs"]]
        expected["model_outputs"] = [(models[model_id], step) for model_id, step in run["model_outputs"]]
        if PARENT in run["tags"]:
            parent = run["tags"][PARENT]
            expected["tags"] = {**run["tags"], PARENT: new[parent]["id"] if parent in new else parent}
        assert copy == expected, src_id


class Imports:
    """Imports directories into one experiment and compares."""

    def __init__(self, run_script: Callable[..., Result], server: Server, name: str, reports: Path) -> None:
        """Nothing is imported yet."""
        self.rest, self.name, self.reports = Rest(server.uri), name, reports
        self._script = run_script

    def load(self, directory: Path, *args: str, script: str = "import-experiment", status: int = 0) -> Result:
        """Import a directory, which stays as it is."""
        where = ("--input-dir", directory, "--experiment-name", self.name, "--report-dir", self.reports)
        return self._script(script, *where, "--tracking-uri", self.rest.uri, *args, check=status)

    def counts(self, directory: Path, *args: str, **options: Any) -> Dict[str, Dict[str, int]]:
        """Import a directory; how many objects of which kind ended how, of the kinds that there are."""
        return {kind: row for kind, row in counts_of(self.load(directory, *args, **options)).items() if row}


@pytest.fixture
def imports(run_script: Callable[..., Result], dst_server: Server, experiment_name: str, tmp_path: Path) -> Imports:
    """Imports into an experiment of the test's own."""
    return Imports(run_script, dst_server, experiment_name, tmp_path / "reports")


def assert_same_experiment(imports: Imports, directory: Path) -> None:
    """The experiment of a directory is there with all its tags."""
    old, new = body_of(directory / "experiment.json")["experiment"], imports.rest.experiment(imports.name)
    assert texts(new.get("tags")) == texts(old.get("tags"))
    assert new["lifecycle_stage"] == old["lifecycle_stage"]


def new_models(imports: Imports) -> Dict[str, str]:
    """New ids of the logged models by their old ones."""
    found = imports.rest.logged_models(imports.rest.experiment(imports.name)["experiment_id"])
    return {texts(model["info"]["tags"])[MODEL_KEY]: model["info"]["model_id"] for model in found}


def assert_same_models(imports: Imports, directory: Path, models: Mapping[str, str]) -> None:
    """The logged models of a directory are there, field by field; the new ids are in their MLmodel files."""
    paths = sorted(directory.rglob("logged_model.json"))
    assert sorted(models) == [path.parent.name for path in paths]
    runs = {src_id: run["id"] for src_id, run in there(imports.rest, imports.name).items()}
    for path in paths:
        old = body_of(path)
        new_id = models[old["model_id"]]
        new = imports.rest.logged_model(new_id)
        info, data = new["info"], new.get("data") or {}
        assert (info["name"], info["model_type"]) == (old["name"], old["model_type"])
        assert info["status"] == f"LOGGED_MODEL_{old['status']}"
        assert info["source_run_id"] == runs[old["source_run_id"]]
        assert {**texts(info["tags"]), MODEL_KEY: None} == {**texts(old["tags"]), MODEL_KEY: None}
        assert texts(data.get("params")) == texts(old["params"])
        assert len(data.get("metrics") or []) == len(old["metrics"])
        files = {name: imports.rest.model_file(new_id, name) for name in imports.rest.model_files(new_id)}
        expected = files_of(path.parent / "artifacts")
        assert files == {
            name: data.replace(old["model_id"].encode(), new_id.encode()) for name, data in expected.items()
        }


# ---- the tests

#: layout -> numbers of runs, points, dataset inputs, artifacts of runs
LAYOUTS = {
    "mlflow_export_import_1_2_0_server_2_22": (4, 6, 0, 2),
    "mlflow_export_import_1_2_0_server_3_17": (5, 7, 0, 2),
    "runs_below": (1, 2, 2, 1),
    "runs_apart": (1, 1, 1, 1),
    "bare_lists": (2, 3, 0, 1),
    "server_answer": (0, 0, 0, 0),
}
#: layout -> runs that their export could not read
FAILED = {"runs_below": ["f" * 32]}


def numbers(runs: Mapping[str, Json]) -> Tuple[int, ...]:
    """How many runs, points, dataset inputs and artifacts there are."""
    sizes = [(sum(run["points"].values()), len(run["datasets"]), len(run["files"])) for run in runs.values()]
    return (len(runs), *(sum(column) for column in zip(*sizes))) if sizes else (0, 0, 0, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_experiments(layout: str, imports: Imports) -> None:
    """All of an experiment arrives; a second import finds it all and adds nothing."""
    directory = DATA / layout
    old = old_runs(directory)
    assert numbers(old) == LAYOUTS[layout]
    lacking = FAILED.get(layout, [])
    for status in ("copied", "unchanged"):
        counts = imports.counts(directory, status=int(bool(lacking)))
        for kind in ("logged_model", "trace"):
            assert counts.pop(kind, None) == ({status: 1} if layout == "runs_apart" else None)
        runs = {status: len(old), **({"failed": len(lacking)} if lacking else {})}
        assert counts == {"experiment": {status: 1}, **({"run": runs} if old else {})}
        assert statuses(imports.reports) == {**dict.fromkeys(old, status), **dict.fromkeys(lacking, "failed")}
        new, models = there(imports.rest, imports.name), new_models(imports)
        assert numbers(new) == numbers(old)
        assert_same_runs(old, new, models)
        assert_same_models(imports, directory, models)
        assert_same_experiment(imports, directory)
    if lacking:
        counts = imports.counts(directory, "--accept-loss", "runs")
        assert counts["run"] == {"unchanged": len(old), "skipped": len(lacking)}
    options = {"input_dir": str(directory), "report_dir": str(imports.reports), "depth": "full"}
    for report in (verify_migration(dst_mlflow_uri=imports.rest.uri, **options), verify_migration(**options)):
        found = {kind: sum(row.values()) - row["same"] for kind, row in report["counts"].items()}
        assert {kind: number for kind, number in found.items() if number} == ({"run": len(lacking)} if lacking else {})
        assert report["counts"].get("run", {"same": 0})["same"] == len(old)


def test_runs_alone(imports: Imports) -> None:
    """Runs come one by one, a deleted one from a directory without experiment.json and before its parent."""
    parts = [DATA / "mlflow_export_import_1_2_0_one_run", DATA / "last_values" / CHILD]
    refused = imports.load(DATA / "last_values", status=2)
    assert "there is no experiment.json" in refused.stderr
    old: Dict[str, Json] = {}
    for part in [*parts, DATA / "bare_lists" / PARENT_OF_CHILD]:
        old.update(old_runs(part))
        for status in ("copied", "unchanged"):
            assert imports.counts(part, script="import-run") == {"run": {status: 1}}
            assert_same_runs(old, there(imports.rest, imports.name), {})
    assert numbers(old) == (3, 5 + 3 + 3, 0, 2 + 1)
    new = there(imports.rest, imports.name)
    assert new[CHILD]["stage"] == "deleted" and new[CHILD]["tags"][PARENT] == new[PARENT_OF_CHILD]["id"]
