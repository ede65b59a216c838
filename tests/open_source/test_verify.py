"""verify-migration: a whole copy is the same at every depth; each planted change is reported, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple
from uuid import uuid4

import pytest

from benchmarks.make_data import make_everything
from mlflow_migration.verify.verify_migration import verify_migration
from tests.support.compare_models import RegistryRest, delete_version
from tests.support.make_models import Models
from tests.support.make_prompts import Prompts
from tests.support.moves import Source, point
from tests.support.rest import Json
from tests.support.scripts import Result, run_script
from tests.support.servers import Server

FIXTURES = {"2.9": "server_29", "2.22": "server_222"}
RUN_KEY = "mlflow_exim.run_info.run_id"
MODEL_KEY = "mlflow_exim.field.model_id"
VERSION_KEY = "mlflow_exim.src_version.id"
Found = Set[Tuple[str, str, str, str]]


@dataclass
class Copied:
    """What was copied from one server to the other, and where the id map of that is."""

    src: Server
    dst: Server
    name: str
    ids: Dict[str, str]
    numbers: Dict[str, str]
    home: Path

    @property
    def prompt(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def everything(self) -> List[str]:
        prompts = ["--prompts", f"{self.prompt}*"] if "experiment" in self.ids else []
        return ["--experiments", f"{self.name}*", "--models", f"{self.name}*", *prompts]

    def script(self, name: str, *args: Any, status: int = 0, report: str = "report") -> Result:
        return run_script(name, *args, "--report-dir", self.home / report, cwd=self.home, check=status)

    def verify(self, *args: Any, status: int = 0) -> Json:
        uris = ("--src-mlflow-uri", self.src.uri, "--dst-mlflow-uri", self.dst.uri)
        result = self.script("verify-migration", *uris, *self.everything, *args, status=status)
        document: Json = json.loads((self.home / "report" / "verification.json").read_text())
        assert document["exit_status"] == result.status
        return document


def copy(src: Server, dst: Server, home: Path, whole: bool) -> Copied:
    """An experiment, registered models and prompts, copied with the scripts; `whole` with everything there is."""
    name = f"verified {uuid4().hex[:8]}"
    ids = make_everything(src.uri, name, deleted_models=True) if whole else {}
    models = Models(src, f"{name} models")
    numbers = models.everything(mlflow3=whole)
    if not whole:
        ids["parent"] = models.run("parent", points=tuple(point("loss", i / 7, i) for i in range(20)))
        ids["child"] = models.run("child", parent=ids["parent"], points=(point("loss", 0.5, 1),))
        models.put(ids["parent"], "plain.txt", b"plain")
    copied = Copied(src, dst, name, ids, numbers, home)
    uris = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri)
    for each in (name, models.name) if whole else (models.name,):
        names = ("--experiment", each, "--experiment-name", each)
        copied.script("copy-experiment", *uris, *names, "--export-deleted-runs", "True")
    copied.script(
        "copy-model", *uris, "--src-model", models.name, "--dst-experiment-name", models.name,
        "--export-deleted-runs", "True",
    )  # fmt: skip
    if whole:
        prompts = Prompts(src.uri)
        prompts.everything(copied.prompt)
        prompts.tag(copied.prompt, "_mlflow_experiment_ids", f",{ids['experiment']},")
        directory = ("--output-dir", home / "prompts")
        copied.script("export-prompts", "--tracking-uri", src.uri, "--prompts", copied.prompt, *directory)
        copied.script("import-prompts", "--tracking-uri", dst.uri, "--input-dir", home / "prompts")
    return copied


@pytest.fixture(scope="module")
def copied(src_server: Server, dst_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Copied:
    """Everything, from the newest to the newest."""
    return copy(src_server, dst_server, tmp_path_factory.mktemp("copied"), whole=True)


def found(document: Json) -> Found:
    """What is not the same: kind, id at the source (or the destination), result, field."""
    return {
        (line["kind"], line.get("src_id") or line.get("dst_id", ""), line["result"], item["field"])
        for line in document["not_the_same"]
        for item in line.get("differences") or [{"field": line.get("reason", "") if line["result"] == "error" else ""}]
    }


def test_a_whole_copy_is_the_same(copied: Copied) -> None:
    """At every depth, and with a rename file that names what it is called; without asked-for copies it is not."""
    for depth in ("counts", "metadata", "full"):
        document = copied.verify("--depth", depth, "--export-deleted-runs")
        assert found(document) == set(), depth
        assert document["left_out"] == []
        counts = {kind: row["same"] for kind, row in document["counts"].items()}
        assert counts == {kind: sum(row.values()) for kind, row in document["counts"].items()}
        assert counts["run"] > 30 and counts["logged_model"] == 5 + 2 and counts["experiment"] == 2
        assert counts["model_version"] == len(copied.numbers) and counts["prompt_version"] == 4
    compared = document["compared"]
    assert compared["artifacts"] == compared["hashed"] > 30
    assert compared["points"] > 2_500
    assert compared["bytes"] > 300_000


# ---- planted changes


class Plants:
    """Changes the destination, and knows what is to be found of each change."""

    def __init__(self, copied: Copied) -> None:
        self.copied, self.ids = copied, copied.ids
        self.dst = RegistryRest(copied.dst.uri)
        self.expected: Found = set()
        names = [copied.name, f"{copied.name} models"][0 if "experiment" in self.ids else 1 :]
        self.experiment = self.dst.experiment(names[0])["experiment_id"]
        self.runs: Dict[str, str] = {}
        for name in names:
            for run in self.dst.runs(self.dst.experiment(name)["experiment_id"]):
                tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
                self.runs[tags[RUN_KEY]] = run["info"]["run_id"]
        self.models = {
            tag["value"]: model["info"]["model_id"]
            for model in self.dst.logged_models(self.experiment)
            for tag in model["info"]["tags"]
            if tag["key"] == MODEL_KEY
        }
        self.model = f"{copied.name} models"

    def expect(self, kind: str, object_id: str, field: str, result: str = "differs") -> None:
        self.expected.add((kind, object_id, result, field))

    def run(self, role: str, *fields: str) -> str:
        """Expect fields of a run to differ; its id at the destination."""
        for field in fields:
            self.expect("run", self.ids[role], field)
        return self.runs[self.ids[role]]

    def root(self, run_id: str) -> str:
        return str(self.dst.run(run_id)["info"]["artifact_uri"])

    def batch(self, run_id: str, **values: Any) -> None:
        self.dst.post("runs/log-batch", {"run_id": run_id, **values})

    def fields_of_runs(self) -> None:
        self.dst.post("runs/set-tag", {"run_id": self.run("level 0", "tag:edited"), "key": "edited", "value": "x"})
        self.dst.post("runs/delete-tag", {"run_id": self.run("wild tags", "tag:huge"), "key": "huge"})
        self.batch(self.run("level 1", "param:new"), params=[{"key": "new", "value": "1"}])
        self.dst.post("runs/update", {"run_id": self.run("level 2", "end_time"), "end_time": 5})
        self.dst.post("runs/update", {"run_id": self.run("state FAILED", "status"), "status": "KILLED"})
        self.dst.post("runs/update", {"run_id": self.run("level 3", "name"), "run_name": "another"})
        self.dst.post("runs/delete", {"run_id": self.run("level 4", "lifecycle_stage")})
        self.dst.post("runs/restore", {"run_id": self.run("deleted leaf", "lifecycle_stage")})
        parent = {"key": "mlflow.parentRunId", "value": self.ids["late parent"]}  # the id that the source has
        self.dst.post("runs/set-tag", {"run_id": self.run("early child", "tag:mlflow.parentRunId"), **parent})

    def metrics_of_runs(self) -> None:
        # neither is the latest point of its metric
        self.batch(self.run("metrics", "points:loss"), metrics=[point("loss", 0.5, 7)])
        self.batch(self.run("shares keys 1", "points:loss"), metrics=[point("loss", 0.5, 3)])
        self.batch(self.run("shares keys 2", "metric:new"), metrics=[point("new", 0.5, 3)])

    def inputs_of_runs(self) -> None:
        dataset = {"name": "new", "digest": "d", "source_type": "local", "source": "{}"}
        body = {"run_id": self.run("datasets 1", "input:new:d"), "datasets": [{"dataset": dataset, "tags": []}]}
        self.dst.post("runs/log-inputs", body)
        twin = self.models[self.ids["model twin"]]
        run_id = self.run("evaluator", f"model_input:{twin}")
        self.dst.post("runs/log-inputs", {"run_id": run_id, "datasets": [], "models": [{"model_id": twin}]})

    def artifacts(self) -> None:
        run_id = self.run("artifacts", "artifact:plain.txt", "artifact:.hidden", "artifact:new", "artifact:100%")
        root = self.root(run_id)
        self.dst.put_file(root, "plain.txt", b"PLAIN")  # the same size
        self.dst.put_file(root, ".hidden", b"longer")
        self.dst.put_file(root, "new", b"new")
        self.dst.delete_file(root, "100%")
        # the id that the source has
        run_id = self.run("model of MLflow 2", "artifact:model/MLmodel")
        text = self.dst.run_file(run_id, "model/MLmodel").replace(
            run_id.encode(), self.ids["model of MLflow 2"].encode()
        )
        self.dst.put_file(self.root(run_id), "model/MLmodel", text)

    def whole_runs(self) -> None:
        run = self.dst.post("runs/create", {"experiment_id": self.experiment, "run_name": "somebody's"})["run"]["info"]
        self.expect("run", run["run_id"], "", "extra")
        lost = self.runs[self.ids["twin 0"]]
        self.dst.post("runs/set-tag", {"run_id": lost, "key": RUN_KEY, "value": "another"})  # runs can't be removed
        self.expect("run", lost, "", "extra")
        self.expect("run", self.ids["twin 0"], "", "missing")
        again = {"experiment_id": self.experiment, "tags": [{"key": RUN_KEY, "value": self.ids["twin 1"]}]}
        self.dst.post("runs/create", again)
        self.run("twin 1", "copies")

    def logged_models(self) -> None:
        best, twin, failed = (self.models[self.ids[f"model {role}"]] for role in ("best", "twin", "failed"))
        body = {"model_id": best, "tags": [{"key": "stage", "value": "prod"}]}
        self.dst.patch(f"logged-models/{best}/tags", body)
        self.expect("logged_model", self.ids["model best"], "tag:stage")
        metric = {**point("new", 0.5, 9), "model_id": best}
        self.batch(self.run("trainer", "metric:new"), metrics=[metric])
        self.expect("logged_model", self.ids["model best"], "metric:new")
        self.dst.put_file(self.dst.logged_model(twin)["info"]["artifact_uri"], "data/model.pkl", b"\0" * 5_000)
        self.expect("logged_model", self.ids["model twin"], "artifact:data/model.pkl")
        self.dst.call("DELETE", f"/api/2.0/mlflow/logged-models/{failed}")
        self.expect("logged_model", self.ids["model failed"], "lifecycle_stage")

    def experiments(self) -> None:
        tag = {"experiment_id": self.experiment, "key": "team", "value": "another"}
        self.dst.post("experiments/set-experiment-tag", tag)
        self.expect("experiment", self.ids["experiment"], "tag:team")
        source = Source(self.copied.src, f"{self.copied.name} never copied")
        self.expect("experiment", source.id, "", "missing")

    def version(self, role: str, *fields: str) -> Json:
        for field in fields:
            self.expect("model_version", f"{self.model}/{self.copied.numbers[role]}", field)
        return {"name": self.model, "version": self.copied.numbers[role]}

    def registered_models(self) -> None:
        self.dst.patch("registered-models/update", {"name": self.model, "description": "another"})
        self.expect("registered_model", self.model, "description")
        self.dst.post("registered-models/set-tag", {"name": self.model, "key": "new", "value": "1"})
        self.expect("registered_model", self.model, "tag:new")
        alias = {"name": self.model, "alias": "champion", "version": self.copied.numbers["nested"]}
        self.dst.post("registered-models/alias", alias)
        self.expect("registered_model", self.model, "alias:champion")
        stage = {"stage": "Staging", "archive_existing_versions": False}
        self.dst.post("model-versions/transition-stage", {**self.version("nested", "stage"), **stage})
        self.dst.post("model-versions/set-tag", {**self.version("runs_uri", "tag:new"), "key": "new", "value": "1"})
        self.dst.patch("model-versions/update", {**self.version("at_root", "description"), "description": "another"})
        delete_version(self.dst, self.model, int(self.copied.numbers["logged_location"]))
        self.expect("model_version", self.key("logged_location"), "", "missing")
        # a version of the same source version that leads to another run
        delete_version(self.dst, self.model, int(self.copied.numbers["deleted_run"]))
        other = self.runs[self.ids["level 0"]]
        tags = [{"key": VERSION_KEY, "value": self.key("deleted_run")}, {"key": "tag 0", "value": "value 0"}]
        body = {"name": self.model, "source": f"{self.root(other)}/model", "run_id": other, "tags": tags}
        number = self.dst.post("model-versions/create", body)["model_version"]["version"]
        self.version("deleted_run", "version", "run_id", "source")
        self.dst.post("registered-models/alias", {"name": self.model, "alias": "challenger", "version": number})
        body = {"name": self.model, "source": "s3://bucket/new"}
        number = self.dst.post("model-versions/create", body)["model_version"]["version"]
        self.expect("model_version", f"{self.model}/{number}", "", "extra")

    def key(self, role: str) -> str:
        number = self.copied.numbers[role]
        version = RegistryRest(self.copied.src.uri).get("model-versions/get", {"name": self.model, "version": number})
        return f"{self.model}/{number}/{version['model_version']['creation_timestamp']}"

    def prompts(self) -> None:
        name = self.copied.prompt
        self.dst.post("registered-models/alias", {"name": name, "alias": "newest", "version": "1"})
        self.expect("prompt", name, "alias:newest")
        links = {"key": "_mlflow_experiment_ids", "value": f",{self.ids['experiment']}9,"}
        self.dst.post("registered-models/set-tag", {"name": name, **links})
        self.expect("prompt", name, "tag:_mlflow_experiment_ids")
        template = {"key": "mlflow.prompt.text", "value": "another"}
        self.dst.post("model-versions/set-tag", {"name": name, "version": "1", **template})
        self.expect("prompt_version", f"{name}/1", "tag:mlflow.prompt.text")


def test_each_planted_change_is_found_and_nothing_else(copied: Copied) -> None:
    """One change of each kind at the destination, and one verification of all of them."""
    plants = Plants(copied)
    plants.fields_of_runs()
    plants.metrics_of_runs()
    plants.inputs_of_runs()
    plants.artifacts()
    plants.whole_runs()
    plants.logged_models()
    plants.experiments()
    plants.registered_models()
    plants.prompts()
    document = copied.verify("--depth", "full", "--export-deleted-runs", status=1)
    assert found(document) == plants.expected
    lines = (copied.home / "report" / "verification.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == document["not_the_same"]


# ---- directories


def test_a_directory_with_its_destination_and_by_itself(copied: Copied, tmp_path: Path) -> None:
    """Exports of all kinds are the same as what became of them; what is planted in a directory is found."""
    src, dst = (("--tracking-uri", server.uri) for server in (copied.src, copied.dst))
    source = Source(copied.src, f"exported {copied.name}")
    parent = source.run("parent", points=(point("loss", 0.5, 1), point("loss", 0.25, 2)))
    child = source.run("child", parent=parent)
    for path in ("a.txt", "b.txt", "c.txt"):
        source.put(parent, path, b"123")
    best = source.model(child, "best")
    models = Models(copied.src, f"exported {copied.name} model")
    run_id = models.run_with_model("model")
    version = models.version(f"runs:/{run_id}/model", run_id)
    gone = models.run_with_model("model")
    models.version(f"{models.root(gone)}/model", gone)
    models.delete(gone)
    prompts = Prompts(copied.src.uri)
    prompts.create(f"exported-{copied.prompt}", "one", team="a")
    prompts.version(f"exported-{copied.prompt}", "Hello")
    moves = {
        "experiment": (("--experiment", source.name), ("--experiment-name", source.name)),
        "run": (("--run-id", child), ("--experiment-name", f"{source.name} run")),
        "model": (("--model", models.name), ("--model", models.name, "--experiment-name", models.name)),
        "model-version": (
            ("--model", models.name, "--version", version),
            ("--model", f"{models.name} 2", "--experiment-name", models.name, "--create-model", "True"),
        ),
        "prompts": (("--prompts", f"exported-{copied.prompt}"), ()),
    }
    for what, (exported, imported) in moves.items():
        home = tmp_path / what
        copied.script(f"export-{what}", *src, *exported, "--output-dir", home, report=what)
        copied.script(f"import-{what}", *dst, *imported, "--input-dir", home, report=what)
        report = home / "report"
        options = {"input_dir": str(home), "report_dir": str(report), "depth": "full"}
        # one after the other: the id map is where the import left it
        shutil.copytree(copied.home / what, report)
        both = verify_migration(dst_mlflow_uri=copied.dst.uri, **options)
        assert (found(both), both["exit_status"]) == (set(), 0), what
        assert set(both["counts"]) >= {"run" if what not in ("prompts",) else "prompt"}
        shutil.rmtree(report)
        alone = verify_migration(input_dir=str(home), report_dir=str(tmp_path / "alone"), depth="full")
        assert (found(alone), alone["exit_status"]) == (set(), 0), what
        assert {kind: sum(row.values()) for kind, row in alone["counts"].items()}.items() >= {
            kind: sum(row.values()) for kind, row in both["counts"].items() if kind != "registered_model"
        }.items()
    home = tmp_path / "experiment"
    artifacts = home / parent / "artifacts"
    (artifacts / "a.txt").write_bytes(b"321")
    (artifacts / "b.txt").unlink()
    (artifacts / "d.txt").write_bytes(b"new")
    run = json.loads((home / parent / "run.json").read_text())
    del run["mlflow"]["metrics"]["loss"][0]
    (home / parent / "run.json").write_text(json.dumps(run))
    shutil.rmtree(home / child)
    (home / "logged_models" / best / "logged_model.json").write_text("{")
    (home / "link").symlink_to("/etc")
    document = verify_migration(input_dir=str(home), report_dir=str(tmp_path / "alone"), depth="full")
    assert {item for item in found(document) if item[2] != "error"} == {
        ("run", child, "missing", ""),
        *(("run", parent, "differs", f"artifact:{path}") for path in ("a.txt", "b.txt", "d.txt")),
        ("run", parent, "differs", "number of metric points"),
    }
    errors = {line["kind"]: line["reason"] for line in document["not_the_same"] if line["result"] == "error"}
    assert set(errors) == {"logged_model", "file"}
    assert "logged_model.json is no JSON" in errors["logged_model"] and "symbolic link" in errors["file"]
    document = verify_migration(
        input_dir=str(home), dst_mlflow_uri=copied.dst.uri, report_dir=str(tmp_path / "alone"), depth="full"
    )
    # the destination has what the export recorded
    assert {item for item in found(document) if item[2] != "error"} == {
        ("run", parent, "differs", "points:loss"), *(item for item in found(document) if item[2] == "extra")
    }  # fmt: skip


@pytest.mark.parametrize("version", ["2.9", "2.22"])
def test_from_older_servers(
    version: str, dst_server: Server, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What came from an older server is the same; a changed point and a changed artifact are found there too."""
    server: Server = request.getfixturevalue(FIXTURES[version])
    copied = copy(server, dst_server, tmp_path_factory.mktemp("copied"), whole=False)
    document = copied.verify("--depth", "full", "--export-deleted-runs")
    assert found(document) == set()
    assert document["counts"]["model_version"]["same"] == len(copied.numbers)
    assert document["compared"]["points"] == 21
    plants = Plants(copied)
    plants.batch(plants.run("parent", "points:loss"), metrics=[point("loss", 0.5, 7)])
    plants.dst.put_file(plants.root(plants.run("parent", "artifact:plain.txt")), "plain.txt", b"PLAIN")
    assert found(copied.verify("--depth", "full", status=1)) == plants.expected


def test_what_cannot_start_says_why(copied: Copied) -> None:
    """Bad input ends with status 2 and a sentence; what an option has left out is counted, and is no difference."""
    uris = ("--src-mlflow-uri", copied.src.uri, "--dst-mlflow-uri", copied.dst.uri)

    def refused(*args: Any) -> str:
        return copied.script("verify-migration", *args, status=2, report="refused").stderr

    assert "has no experiment 'nowhere'" in refused(*uris, "--experiments", "nowhere")
    assert "not both" in refused(*uris, "--input-dir", copied.home)
    (copied.home / "empty").mkdir()
    assert "is no export" in refused("--input-dir", copied.home / "empty")
    same = ("--src-mlflow-uri", copied.src.uri, "--dst-mlflow-uri", copied.src.uri)
    assert "are the same experiment" in refused(*same, "--experiments", copied.name)
    assert not (copied.home / "refused").exists()
    source = Source(copied.src, f"left out {uuid4().hex[:8]}")
    source.run("kept")
    source.delete(source.run("deleted"))
    new_name = f"renamed {source.name}"
    copied.script("copy-experiment", *uris, "--experiment", source.name, "--experiment-name", new_name)
    renames = copied.home / "renames.csv"
    renames.write_text("left,renamed left\n")
    wanted = ("--experiments", source.id, "--experiment-rename-file", renames)
    result = copied.script("verify-migration", *uris, *wanted, report="elsewhere")
    assert "Not compared: 1 run, deleted at the source" in result.stdout
    result = copied.script(
        "verify-migration", *uris, *wanted, "--export-deleted-runs", report="elsewhere", status=1
    )  # fmt: skip
    assert "(deleted): missing" in result.stdout


def test_a_prompt_that_names_a_renamed_experiment(copied: Copied) -> None:
    """The rename file tells which experiment it is; what the copy has written about it need not be at hand."""
    source = Source(copied.src, f"linked {uuid4().hex[:8]}")
    source.run("a run")
    prompt = source.name.replace(" ", "-")
    prompts = Prompts(copied.src.uri)
    prompts.create(prompt, _mlflow_experiment_ids=f",{source.id},")
    renames = copied.home / "of-links.csv"
    renames.write_text("linked,renamed linked\n")
    both = (
        "--src-mlflow-uri", copied.src.uri, "--dst-mlflow-uri", copied.dst.uri, "--experiments", source.name,
        "--prompts", prompt, "--experiment-rename-file", renames,
    )  # fmt: skip
    copied.script("copy-all", *both)
    copied.script("verify-migration", *both, report="elsewhere")
    # the same name without its beginning is another experiment
    RegistryRest(copied.dst.uri).post("experiments/create", {"name": source.name})
    copied.script("verify-migration", *both, report="elsewhere")
