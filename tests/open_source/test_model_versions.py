"""One version of a registered model goes through a directory into a model that may have versions of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from mlflow.tracking import MlflowClient

from mlflow_migration.copy.copy_model_version import copy
from mlflow_migration.model_version.export_model_version import export_model_version
from mlflow_migration.model_version.import_model_version import import_model_version
from tests.support.compare_models import RegistryRest
from tests.support.make_models import MLMODEL, Models, numbers_of
from tests.support.moves import counts_of
from tests.support.rest import Json, RestError
from tests.support.scripts import Result
from tests.support.servers import Server


class One:
    """Runs the scripts for one version of a model."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path, name: str) -> None:
        self.script, self.src, self.dst, self.home, self.name = run_script, src, dst, home, name
        self.made = Models(src, name)
        self.there = RegistryRest(dst.uri)

    def export(self, number: str, *args: Any, to: str = "export", status: int = 0) -> Result:
        command = ("export-model-version", "--model", self.name, "--version", number, "--output-dir", self.home / to)
        return self.script(*command, *args, env={"MLFLOW_TRACKING_URI": self.src.uri}, check=status)

    def load(self, *args: Any, status: int = 0, model: str = "", frm: str = "export") -> Result:
        command = (
            "import-model-version", "--model", model or self.name, "--experiment-name", f"{self.name} runs",
            "--input-dir", self.home / frm, "--report-dir", self.home / "report", *args,
        )  # fmt: skip
        return self.script(*command, env={"MLFLOW_TRACKING_URI": self.dst.uri}, check=status)

    def version(self, number: int, model: str = "") -> Json:
        return next(v for v in self.there.versions(model or self.name) if int(v["version"]) == number)

    def same_files(self, number: str, new: int, model: str = "") -> bool:
        old = self.made.registry
        ours = old.files(old.download_uri(self.name, number))
        assert ours
        return ours == self.there.files(self.there.download_uri(model or self.name, str(new)))


@pytest.fixture
def one(
    run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path, experiment_name: str
) -> One:
    return One(run_script, src_server, dst_server, tmp_path, experiment_name)


def test_each_kind_of_version(one: One) -> None:
    """Into one model, one after the other, each under the next number."""
    numbers = one.made.everything(mlflow3=True)
    given: Dict[str, int] = {}
    for kind, number in reversed(list(numbers.items())):
        counts = counts_of(one.export(number, to=kind))
        assert counts["model_version"] == {"copied": 1}, kind
        given[kind] = len(given) + 1
        loaded = counts_of(one.load("--create-model", "--import-stages-and-aliases", frm=kind))
        assert loaded["model_version"] == {"copied": 1}, kind
    assert numbers_of(one.dst, one.name) == list(range(1, len(numbers) + 1))
    for kind, new in given.items():
        assert one.same_files(numbers[kind], new), kind
        source = next(v for v in one.made.registry.versions(one.name) if v["version"] == numbers[kind])
        assert one.version(new)["current_stage"] == source["current_stage"]
        assert counts_of(one.export(numbers[kind], to=kind))["model_version"] == {"unchanged": 1}
        again = counts_of(one.load("--create-model", "--import-stages-and-aliases", frm=kind))
        assert again["model_version"] == {"unchanged": 1}, kind
        assert again["registered_model"] == {"unchanged": 1}, kind
    aliases = {a["alias"]: int(a["version"]) for a in one.there.model(one.name)["aliases"]}
    assert aliases == {"champion": given["location"], "challenger": given["deleted_run"]}
    deleted = one.there.run(one.version(given["deleted_run"])["run_id"])
    assert deleted["info"]["lifecycle_stage"] == "deleted"


def test_what_the_options_bring(one: One) -> None:
    numbers = one.made.everything(mlflow3=False)
    one.export(numbers["nested"])
    refused = one.load(status=2)
    assert "--create-model" in refused.stderr
    with pytest.raises(RestError, match="404"):
        one.there.experiment(f"{one.name} runs")
    assert counts_of(one.load("--create-model"))["model_version"] == {"copied": 1}
    assert one.version(1)["current_stage"] == "None"
    plain = one.there.model(one.name)
    assert not plain.get("description")
    assert not plain.get("tags")
    one.load("--create-model", "--import-metadata", model=one.name + " 2")
    full = one.there.model(one.name + " 2")
    assert full["description"] == "für alle"
    assert {tag["key"]: tag["value"] for tag in full["tags"]} == {"team": "the best"}
    # a model that was there before keeps what it has
    one.there.post("registered-models/create", {"name": one.name + " 3", "description": "mine"})
    one.load("--import-metadata", "--import-stages-and-aliases", model=one.name + " 3")
    assert one.there.model(one.name + " 3")["description"] == "mine"
    assert one.version(1, one.name + " 3")["current_stage"] == "Production"
    assert numbers_of(one.dst, one.name) == [1]


def test_registrys_copy_among_the_artifacts_of_the_run(one: One, tmp_path: Path) -> None:
    numbers = one.made.everything(mlflow3=True)
    args = ("--vrm-model-artifact-path", "from/registry", "--skip-download-run-artifacts")
    for status in ("copied", "unchanged"):
        assert counts_of(one.export(numbers["logged"], *args))["model_version"] == {status: 1}
        run = tmp_path / "export" / "run"
        assert sorted(p.name for p in (run / "artifacts").rglob("*") if p.is_file()) == ["MLmodel", "model.bin"]
        version = json.loads((tmp_path / "export" / "version.json").read_text())["mlflow"]["model_version"]
        assert version["source"].endswith("/artifacts/from/registry")
        assert version["_source"].startswith("models:/m-")
    assert counts_of(one.load("--create-model"))["model_version"] == {"copied": 1}
    version = one.version(1)
    root = one.there.run(version["run_id"])["info"]["artifact_uri"]
    assert version["source"] == f"{root}/from/registry"
    assert one.same_files(numbers["logged"], 1)


def test_another_version_does_not_go_into_the_directory(one: One) -> None:
    numbers = one.made.everything(mlflow3=False)
    one.export(numbers["nested"])
    assert "another version" in one.export(numbers["location"], status=2).stderr
    assert "no version 77" in one.export("77", to="other", status=2).stderr
    assert not (one.home / "other").exists()


def test_functions(one: One, tmp_path: Path) -> None:
    """They return versions, and set stages and aliases unless told not to."""
    numbers = one.made.everything(mlflow3=True)
    src, dst = MlflowClient(one.src.uri), MlflowClient(one.dst.uri)
    exported = export_model_version(one.name, numbers["location"], str(tmp_path / "e"), mlflow_client=src)
    assert (exported.name, str(exported.version)) == (one.name, numbers["location"])
    made = import_model_version(one.name, f"{one.name} runs", str(tmp_path / "e"), create_model=True, mlflow_client=dst)
    assert (made.name, str(made.version), made.tags["tag 0"]) == (one.name, "1", "value 0")
    assert one.there.model(one.name)["aliases"] == [{"alias": "champion", "version": "1"}]


def test_directory_of_another_tool(one: One, tmp_path: Path) -> None:
    home, run = tmp_path / "export", "0a" * 16
    (home / "run" / "artifacts" / "m").mkdir(parents=True)
    (home / "run" / "artifacts" / "m" / "MLmodel").write_text(MLMODEL.format(run_id=run, model_id=""))
    info = {
        "run_id": run,
        "status": "FINISHED",
        "start_time": 1,
        "end_time": 2,
        "artifact_uri": f"dbfs:/7/{run}/artifacts",
    }
    (home / "run" / "run.json").write_text(
        json.dumps({"mlflow": {"info": info, "params": {}, "metrics": {}, "tags": {}}})
    )
    version: Json = {
        "name": "m",
        "version": "5",
        "source": f"dbfs:/7/{run}/artifacts/m",
        "run_id": run,
        "aliases": ["a"],
    }
    version.update(current_stage="Archived", tags={"k": "v"}, description="d")
    (home / "version.json").write_text(json.dumps({"mlflow": {"model_version": version}}))
    (home / "model.json").write_text(json.dumps({"mlflow": {"registered_model": {"name": "m", "description": "dm"}}}))
    experiment = {"name": "e", "experiment_id": "7", "tags": [{"key": "t", "value": "u"}]}
    (home / "experiment.json").write_text(json.dumps({"mlflow": {"experiment": experiment}}))
    done = one.load("--create-model", "--import-metadata", "--import-stages-and-aliases")
    assert counts_of(done)["model_version"] == {"copied": 1}
    found = one.version(1)
    assert (found["description"], found["current_stage"]) == ("d", "Archived")
    assert one.there.model(one.name)["aliases"] == [{"alias": "a", "version": "1"}]
    assert one.there.model(one.name)["description"] == "dm"
    tags = {tag["key"]: tag["value"] for tag in one.there.experiment(f"{one.name} runs")["tags"]}
    assert tags["t"] == "u"
    text = one.there.run_file(found["run_id"], "m/MLmodel").decode()
    assert f"run_id: {found['run_id']}" in text


def copied(one: One, *args: Any, to: str = "", status: int = 0) -> Result:
    """Copy version 1."""
    command = ("copy-model-version", "--src-registry-uri", one.src.uri, "--src-model", one.name, "--src-version", "1")
    where = ("--dst-registry-uri", to or one.dst.uri, "--report-dir", one.home / "copies")
    return one.script(*command, *where, *args, check=status)


def test_deep_copy(one: One) -> None:
    one.made.everything(mlflow3=True)
    args = ("--dst-model", one.name, "--dst-experiment-name", f"{one.name} deep")
    assert counts_of(copied(one, *args, "--dry-run"))["model_version"] == {"copied": 1}
    with pytest.raises(RestError, match="404"):
        one.there.model(one.name)
    more = ("--copy-stages-and-aliases", "--copy-lineage-tags")
    assert counts_of(copied(one, *args, *more))["model_version"] == {"copied": 1}
    for again in (more, ()):
        counts = counts_of(copied(one, *args, *again))
        assert counts["model_version"] == {"unchanged": 1}
        assert counts["run"] == {"unchanged": 1}
    version = one.version(1)
    source = one.made.registry.versions(one.name)[0]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert tags["mlflow_exim.src_version.name"] == one.name
    assert tags["mlflow_exim.src_version.run_id"] == source["run_id"]
    assert tags["mlflow_exim.src_client.tracking_uri"] == one.src.uri
    assert tags["mlflow_exim.mlflow_exim.dst_client.tracking_uri"] == one.dst.uri
    assert one.there.model(one.name)["aliases"] == [{"alias": "champion", "version": "1"}]
    assert one.same_files("1", 1)


def test_shallow_copy(one: One) -> None:
    """The same run and artifacts under another name; to another server that is refused."""
    numbers = one.made.everything(mlflow3=True)
    new = one.name + " shallow"
    refused = copied(one, "--dst-model", new, status=2)
    assert "--dst-experiment-name" in refused.stderr
    for number in (numbers["location"], numbers["logged"], numbers["runs_uri"]):
        for status in ("copied", "unchanged"):
            done = copied(one, "--dst-model", new, "--src-version", number, "--copy-stages-and-aliases", to=one.src.uri)
            assert counts_of(done)["model_version"] == {status: 1}, number
    there = one.made.registry
    assert [int(version["version"]) for version in there.versions(new)] == [1, 2, 3]
    assert there.versions(new)[0]["run_id"] == there.versions(one.name)[0]["run_id"]
    for made, number in enumerate((numbers["location"], numbers["logged"], numbers["runs_uri"]), 1):
        ours = there.files(there.download_uri(one.name, number))
        assert ours
        assert there.files(there.download_uri(new, str(made))) == ours
    assert there.versions(new)[2]["current_stage"] == "Archived"
    assert there.model(new)["aliases"] == [{"alias": "champion", "version": "1"}]
    assert "no version 99" in copied(one, "--dst-model", new, "--src-version", "99", to=one.src.uri, status=2).stderr


def test_copy_function(one: One) -> None:
    one.made.everything(mlflow3=True)
    uris = {"src_registry_uri": one.src.uri, "dst_registry_uri": one.dst.uri}
    source, made = copy(one.name, "1", one.name + " copy", f"{one.name} copied", **uris)
    assert (source.name, str(source.version)) == (one.name, "1")
    assert (made.name, str(made.version), made.description) == (one.name + " copy", "1", "first")
