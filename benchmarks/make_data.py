"""Fills a tracking server with data, by plain REST requests: for the benchmark by size, for tests with every oddity.

python -m benchmarks.make_data --uri http://127.0.0.1:5000 --size medium
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Dict, Iterator, List, Optional, Tuple

from tests.support.rest import Json, Rest, noise

BATCH = 1000
START_TIME = 1_700_000_000_000
MODEL_UUID = "fedcba9876543210" * 2


@dataclass(frozen=True)
class Size:
    """How much to make."""

    experiments: int
    runs: int  # per experiment
    metrics: int  # keys per run
    points: int  # per metric
    params: int
    tags: int
    artifacts: int
    artifact_bytes: int
    artifact_every: int = 1  # of so many runs, one has the artifacts


SIZES = {
    "small": Size(experiments=2, runs=25, metrics=5, points=20, params=5, tags=3, artifacts=2, artifact_bytes=2_000),
    "medium": Size(
        experiments=5, runs=100, metrics=20, points=200, params=10, tags=4, artifacts=10, artifact_bytes=20_000
    ),
    "wide": Size(experiments=1, runs=10_000, metrics=2, points=1, params=2, tags=1, artifacts=0, artifact_bytes=0),
    "long": Size(experiments=1, runs=1, metrics=2, points=1_000_000, params=1, tags=1, artifacts=0, artifact_bytes=0),
}


def make(uri: str, size: str, *, prefix: str = "", threads: int = 8, **changes: int) -> List[str]:
    """Make the experiments of a size.

    :param uri: Tracking server.
    :param size: A key of SIZES.
    :param prefix: Start of the experiments' names; default the name of the size.
    :param threads: Connections to use.
    :param changes: Fields of Size that differ from it, such as runs=10.
    :return: Names of the experiments.
    """
    rest = Rest(uri, threads)
    names = []
    for name, tags, runs in run_requests(size, prefix or size, **changes):
        experiment_id = rest.post("experiments/create", {"name": name, "tags": tags})["experiment_id"]
        plan = replace(SIZES[size], **changes)
        if plan.metrics * plan.points > 20 * BATCH and plan.runs < threads:
            for requests in runs:
                _make_run(rest, experiment_id, requests, parallel=True)
        else:
            rest.map(lambda requests, e=experiment_id: _make_run(rest, e, requests), runs)
        names.append(name)
    return names


def run_requests(size: str, prefix: str, **changes: int) -> Iterator[Tuple[str, List[Json], "_Runs"]]:
    """The requests that make a data set, as few as can be.

    :param size: A key of SIZES.
    :param prefix: Start of the experiments' names.
    :param changes: Fields of Size that differ from it.
    :return: Of each experiment its name, its tags and its runs: bodies of `create`, of the `batches` and of the `end`,
        without the ids that the server gives, and the `files` (path, bytes).
    """
    plan = replace(SIZES[size], **changes)
    for i in range(plan.experiments):
        name = f"{prefix}-{i}"
        yield name, _pairs({"size": size}), _Runs(plan, name)


class _Runs:
    """The requests of the runs of an experiment, made when they are asked for: long ones are large."""

    def __init__(self, plan: Size, experiment: str) -> None:
        self._plan, self._experiment = plan, experiment

    def __len__(self) -> int:
        return self._plan.runs

    def __iter__(self) -> Iterator[Json]:
        return map(self._run, range(self._plan.runs))

    def _run(self, number: int) -> Json:
        plan, start = self._plan, START_TIME + number * 60_000
        tags = {f"tag_{i}": f"value {i} of run {number}" for i in range(plan.tags)}
        files = (
            (f"file_{i}.bin", noise(f"{self._experiment} {number} {i}", plan.artifact_bytes))
            for i in range(plan.artifacts if number % plan.artifact_every == 0 else 0)
        )
        return {
            "create": _creation(f"run {number}", start, "bench", tags),
            "batches": self._batches(number, start),
            "files": files,
            "end": {"status": "FINISHED", "end_time": start + 3_600_000},
        }

    def _batches(self, number: int, start: int) -> Iterator[Json]:
        plan = self._plan
        params = _pairs({f"param_{i}": f"{number * i}" for i in range(plan.params)})
        total = plan.metrics * plan.points
        first = 0
        while True:
            last = min(first + BATCH - len(params), total)
            body: Json = {"metrics": [_point(plan, number, start, at) for at in range(first, last)]}
            if params:
                body["params"] = params
            yield body
            first, params = last, []
            if first >= total:
                return


def _make_run(rest: Rest, experiment_id: str, requests: Json, parallel: bool = False) -> None:
    run = dict(rest.post("runs/create", {**requests["create"], "experiment_id": experiment_id})["run"])
    run_id = run["info"]["run_id"]

    def send(batch: Json) -> None:
        rest.post("runs/log-batch", {**batch, "run_id": run_id})

    batches = iter(requests["batches"])
    send(next(batches))  # a metric's first point in one request, the others in any order
    if parallel:
        while True:
            some = list(islice(batches, 64))
            if not some:
                break
            rest.map(send, some)
    else:
        for batch in batches:
            send(batch)
    for path, data in requests["files"]:
        rest.put_file(run["info"]["artifact_uri"], path, data)
    rest.post("runs/update", {**requests["end"], "run_id": run_id})


def _point(plan: Size, number: int, start: int, at: int) -> Json:
    key, step = divmod(at, plan.points)
    value = ((at * 2654435761 + number * 40503) % 4294967296) / 4294967291.0
    return {"key": f"metric_{key}", "value": value, "timestamp": start + step * 10, "step": step}


# ---- helpers that tests use as well


def create_run(
    rest: Rest,
    experiment_id: str,
    name: str,
    start_time: Optional[int] = START_TIME,
    *,
    user_id: str = "alice",
    tags: Optional[Dict[str, str]] = None,
    parent: Optional[str] = None,
) -> Json:
    """Create a run that is RUNNING; the server's reply."""
    tags = dict(tags or {})
    if parent:
        tags["mlflow.parentRunId"] = parent
    body = {**_creation(name, start_time, user_id, tags), "experiment_id": experiment_id}
    return dict(rest.post("runs/create", body)["run"])


def _creation(name: str, start_time: Optional[int], user_id: str, tags: Dict[str, str]) -> Json:
    body: Json = {"user_id": user_id, "run_name": name, "tags": _pairs(tags)}
    if start_time is not None:
        body["start_time"] = start_time
    return body


def log_metrics(rest: Rest, run_id: str, points: List[Json]) -> None:
    """Log points {key, value, timestamp, step} of a run."""
    for first in range(0, len(points), BATCH):
        rest.post("runs/log-batch", {"run_id": run_id, "metrics": points[first : first + BATCH]})


def end_run(rest: Rest, run_id: str, status: str = "FINISHED", end_time: int = START_TIME + 1_000) -> None:
    """Set the status and the end of a run."""
    rest.post("runs/update", {"run_id": run_id, "status": status, "end_time": end_time})


def _pairs(values: Dict[str, str]) -> List[Json]:
    return [{"key": key, "value": value} for key, value in values.items()]


# ---- one experiment with everything that may go wrong

ODD_NAMES = {
    "plain.txt": b"plain",
    "empty.bin": b"",
    "with space.txt": b"space",
    "plus+and%41percent.txt": b"plus",
    "\u00fcml\u00e4ut \u6c49\u5b57.txt": b"unicode",
    ".hidden": b"dot",
    "a=b,c;d@e!.txt": b"signs",
    "nested/deep/er/leaf.txt": b"leaf",
    "nested/.dir/empty": b"",
    "nested dir/x y/z.txt": b"spaces",
    "100%": b"%",
}


class _Everything:
    """Makes the experiment of `make_everything`."""

    def __init__(self, rest: Rest, name: str) -> None:
        self.rest = rest
        self.ids: Dict[str, str] = {}
        tags = {"mlflow.note.content": "# What this is\n\nAn *experiment*, \u4e2d\u6587", "team": "r&d", "empty": ""}
        self.experiment_id = rest.post("experiments/create", {"name": name, "tags": _pairs(tags)})["experiment_id"]

    def run(self, role: str, name: Optional[str] = None, status: str = "FINISHED", **options: Any) -> Json:
        start = options.pop("start_time", START_TIME + len(self.ids) * 1000)
        run = create_run(self.rest, self.experiment_id, name or role, start, **options)
        self.ids[role] = run["info"]["run_id"]
        if status == "SCHEDULED":
            self.rest.post("runs/update", {"run_id": self.ids[role], "status": status})
        elif status != "RUNNING":
            end_run(self.rest, self.ids[role], status, (start or 0) + 5_000)
        return run

    def nested(self) -> None:
        parent = None
        for level in range(5):
            self.run(f"level {level}", parent=parent, user_id=f"user{level}@example.com")
            parent = self.ids[f"level {level}"]
        self.run("deleted leaf", parent=parent)
        self.run("deleted parent", parent=self.ids["level 0"])
        self.run("child of deleted", parent=self.ids["deleted parent"])
        self.run("orphan", parent="0123456789abcdef" * 2)
        self.run("late parent", start_time=START_TIME + 10**9)
        self.run("early child", parent=self.ids["late parent"])

    def states(self) -> None:
        for status in ("RUNNING", "FAILED", "KILLED", "SCHEDULED"):
            self.run(f"state {status}", status=status)
        self.run("start 0", start_time=0)
        self.run("user", user_id="J\u00f6rg \u674e", tags={"mlflow.user": "somebody-else"})
        for i in range(2):
            self.run(f"twin {i}", "twin", start_time=START_TIME)

    def values(self) -> None:
        tags = {f"tag/{i:03d}": f"value {i}" for i in range(150)}
        tags.update(
            {
                "mlflow.note.content": "# Notes\n\nwith *markdown*, 'quotes' and \u00e4\u00f6\u00fc\n" * 20,
                "empty": "",
                "long": "x\u00e4" * 2400,
                "mlflow.source.type": "LOCAL",
                "mlflow.source.name": "train.py",
                "mlflow.source.git.commit": "0" * 40,
                "key with spaces-and.dots_": " padded ",
                "json": '{"a": [1, null]}',
                "unicode \u952e": "\u503c \U0001f600",
            }
        )
        run_id = self.run("values", status="RUNNING", tags=tags)["info"]["run_id"]
        params = {f"param_{i:03d}": f"{i}" for i in range(245)}
        odd_key = "a/b.c-d e:f" if self.rest.has_logged_models() else "a/b.c-d e"  # colons are allowed since MLflow 3
        params.update({"empty": "", odd_key: "odd", "spaces": "  x  ", "long": "p" * 480})
        pairs = _pairs(params)
        for first in range(0, len(pairs), 100):
            self.rest.post("runs/log-batch", {"run_id": run_id, "params": pairs[first : first + 100]})
        end_run(self.rest, run_id)
        wild = {**{f"many{i}": "v" for i in range(500)}, "we@ird#key": "v", "huge": "h" * 20_000}
        self.run("wild tags", tags=wild)
        very_long = self.run("long values", status="RUNNING")["info"]["run_id"]
        self.rest.post(
            "runs/log-batch",
            {
                "run_id": very_long,
                "params": [{"key": "p", "value": "p" * 6000}],
                "tags": [{"key": "t", "value": "t" * 5000}],
            },
        )
        end_run(self.rest, very_long)

    def metrics(self) -> None:
        run_id = self.run("metrics", status="RUNNING")["info"]["run_id"]
        point = lambda key, value, step=0, at=START_TIME: {"key": key, "value": value, "timestamp": at, "step": step}  # noqa: E731
        rng = random.Random(1)
        points = [point("loss", rng.random(), i, START_TIME + i) for i in range(2_500)]
        points += [point("nan", "NaN", 0), point("nan", 1.5, 1), point("nan", "NaN", 2)]
        points += [point("steps", float(i), i) for i in (-5, -1, 0, 7, 2**53 + 1, 2**63 - 1)]
        points += [point("same step", v, 3, START_TIME + t) for t in (0, 0, 5) for v in (1.0, 2.0)]
        points += [point("edge", v, i) for i, v in enumerate((5e-324, 1.797e308, 0.1 + 0.2, 1 / 3, -0.5, 1e22))]
        points += [
            point("time 0", 1.0, 0, 0),
            point("a/b c.d-e_f", 2.0),
            point("\u7cbe\u5ea6", 3.0),
            point("inf", "Infinity"),
        ]
        unique = {(p["key"], str(p["value"]), p["timestamp"], p["step"]): p for p in points}
        log_metrics(self.rest, run_id, list(unique.values()))
        log_metrics(self.rest, run_id, [point(f"single_{i}", i / 7) for i in range(60)])
        end_run(self.rest, run_id)
        for i in range(3):
            run_id = self.run(f"shares keys {i}", status="RUNNING")["info"]["run_id"]
            log_metrics(self.rest, run_id, [point("loss", i + s / 10, s, START_TIME + s) for s in range(10 + i)])
            end_run(self.rest, run_id)

    def artifacts(self) -> None:
        run = self.run("artifacts")
        for path, data in ODD_NAMES.items():
            self.rest.put_file(run["info"]["artifact_uri"], path, data)
        self.rest.put_file(run["info"]["artifact_uri"], "nested/large.bin", noise("large", 300_000))
        run = self.run("model of MLflow 2", status="RUNNING")
        info, run_id = run["info"], run["info"]["run_id"]
        text = (
            f"artifact_path: model\nflavors:\n  python_function:\n    loader_module: none\n"
            f"mlflow_version: 2.9.2\nmodel_uuid: {MODEL_UUID}\nrun_id: {run_id}\nutc_time_created: '2023-11-14'\n"
        )
        self.rest.put_file(info["artifact_uri"], "model/MLmodel", text.encode())
        self.rest.put_file(info["artifact_uri"], "model/data.pkl", noise("model", 1000))
        history = (
            f'[{{"run_id": "{run_id}", "artifact_path": "model", "flavors": {{}}, "utc_time_created": "2023-11-14"}}]'
        )
        self.rest.post("runs/set-tag", {"run_id": run_id, "key": "mlflow.log-model.history", "value": history})
        end_run(self.rest, run_id)

    def datasets(self) -> None:
        first = {
            "name": "train",
            "digest": "abc123",
            "source_type": "local",
            "source": '{"uri": "a b.csv"}',
            "schema": '{"mlflow_colspec": []}',
            "profile": '{"num_rows": 3}',
        }
        second = {"name": "\u00e9val", "digest": "d2", "source_type": "s3", "source": "x" * 5000}
        tag = [{"key": "mlflow.data.context", "value": "training"}, {"key": "own", "value": "tag"}]
        for i, datasets in enumerate(([(first, tag), (second, [])], [(first, tag[:1])])):
            run_id = self.run(f"datasets {i}", status="RUNNING")["info"]["run_id"]
            body = {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": tags} for dataset, tags in datasets]}
            self.rest.post("runs/log-inputs", body)
            end_run(self.rest, run_id)

    def logged_model(
        self, role: str, name: str, run: Json, *, status: str = "LOGGED_MODEL_READY", artifacts: bool = True
    ) -> str:
        run_id = run["info"]["run_id"]
        body = {
            "experiment_id": self.experiment_id,
            "name": name,
            "model_type": "agent",
            "source_run_id": run_id,
            "params": _pairs({f"p{i}": f"{i}" for i in range(120)}),
            "tags": _pairs({"stage": "dev", "empty": "", "\u952e": "v"}),
        }
        model = self.rest.post("logged-models", body)["model"]["info"]
        model_id = model["model_id"]
        self.ids[role] = model_id
        if artifacts:
            text = (
                f"artifact_path: {model['artifact_uri']}\nflavors: {{}}\nmlflow_version: 3.17.2\nmodel_id: {model_id}\n"
                f"model_uuid: {MODEL_UUID}\nrun_id: {run_id}\nutc_time_created: '2025-06-01'\n"
            )
            for path, data in {
                "MLmodel": text.encode(),
                "data/model.pkl": noise(role, 5000),
                "data/empty": b"",
            }.items():
                self.rest.put_file(model["artifact_uri"], path, data)
        if status != "LOGGED_MODEL_PENDING":
            self.rest.patch(f"logged-models/{model_id}", {"model_id": model_id, "status": status})
        return model_id

    def logged_models(self, deleted: bool) -> None:
        trainer = self.run("trainer", status="RUNNING")
        run_id = trainer["info"]["run_id"]
        best = self.logged_model("model best", "my-model", trainer)
        outputs = [
            (best, 3),
            (self.logged_model("model twin", "my-model", trainer), 7),
            (
                self.logged_model(
                    "model failed", "other", trainer, status="LOGGED_MODEL_UPLOAD_FAILED", artifacts=False
                ),
                0,
            ),
            (self.logged_model("model pending", "other", trainer, status="LOGGED_MODEL_PENDING", artifacts=False), 0),
        ]
        if deleted:
            outputs.append((self.logged_model("model deleted", "gone", trainer, artifacts=False), 1))
        models = [{"model_id": model_id, "step": step} for model_id, step in outputs]
        self.rest.post("runs/outputs", {"run_id": run_id, "models": models})
        self.rest.post(
            "runs/log-inputs",
            {
                "run_id": run_id,
                "datasets": [
                    {"dataset": {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}, "tags": []}
                ],
            },
        )
        log_metrics(
            self.rest,
            run_id,
            [
                {
                    "key": "auc",
                    "value": 0.5 + i / 100,
                    "timestamp": START_TIME + i,
                    "step": i,
                    "model_id": best,
                    **({"dataset_name": "d", "dataset_digest": "1"} if i % 2 else {}),
                }
                for i in range(5)
            ],
        )
        end_run(self.rest, run_id)
        for role in ("evaluator", "second evaluator"):
            run = self.run(role, status="RUNNING")["info"]["run_id"]
            self.rest.post("runs/log-inputs", {"run_id": run, "datasets": [], "models": [{"model_id": best}]})
            point = {"key": "auc", "value": 0.25, "timestamp": START_TIME, "step": 9, "model_id": best}
            log_metrics(self.rest, run, [point])
            end_run(self.rest, run)
        self.run("empty trainer", parent=self.ids["trainer"])
        if deleted:
            self.rest.call("DELETE", f"/api/2.0/mlflow/logged-models/{self.ids['model deleted']}")

    def delete(self) -> None:
        for role in ("deleted leaf", "deleted parent"):
            self.rest.post("runs/delete", {"run_id": self.ids[role]})


def make_everything(uri: str, experiment_name: str, *, deleted_models: bool = False) -> Dict[str, str]:
    """Make one experiment that holds every oddity which REST can move without loss and which the server can hold.

    :param uri: Tracking server; logged models are made if it knows them.
    :param experiment_name: Must not exist yet.
    :param deleted_models: Also a deleted logged model that a run names as its output.
    :return: Ids of the runs and logged models by what they are for, and "experiment".
    """
    rest = Rest(uri)
    maker = _Everything(rest, experiment_name)
    maker.nested()
    maker.states()
    maker.values()
    maker.metrics()
    maker.artifacts()
    maker.datasets()
    if rest.has_logged_models():
        maker.logged_models(deleted_models)
    maker.delete()
    return {**maker.ids, "experiment": maker.experiment_id}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", required=True, help="tracking server")
    parser.add_argument("--size", choices=[*SIZES, "everything"], required=True)
    parser.add_argument("--prefix", default="", help="start of the experiments' names (default: the size)")
    parser.add_argument("--threads", type=int, default=8, help="connections to use")
    args = parser.parse_args()
    start = time.monotonic()
    if args.size == "everything":
        make_everything(args.uri, args.prefix or "everything")
        names = [args.prefix or "everything"]
    else:
        names = make(args.uri, args.size, prefix=args.prefix, threads=args.threads)
    print(f"made {', '.join(names)} in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
