"""Registered models go into Unity Catalog, out of it, and from one to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from tests.databricks.catalog import TOKEN, Catalog
from tests.support import make_models
from tests.support.make_models import MLMODEL, Models
from tests.support.moves import counts_of
from tests.support.scripts import Result
from tests.support.servers import Server

SIGNATURE = """signature:
  inputs: '[{{"type": "double", "name": "x"}}]'
  outputs: '[{{"type": "double"}}]'
  params: null
"""
NAME, PROD = "main.default.wine", "main.prod.wine"


class Move:
    """Runs the scripts between two servers and the catalogs that go with them."""

    def __init__(self, run_script: Callable[..., Result], home: Path, catalogs: Dict[str, Catalog]) -> None:
        self.run_script, self.home, self.catalogs = run_script, home, catalogs
        profiles = [f"[{name}]\nhost = {catalog.uri}\ntoken = {TOKEN}\n" for name, catalog in catalogs.items()]
        (home / "databrickscfg").write_text("\n".join(profiles), encoding="utf-8")
        self.env = {"DATABRICKS_CONFIG_FILE": str(home / "databrickscfg")}

    def __call__(self, name: str, *args: Any, status: int = 0, **env: str) -> Result:
        where = ("--report-dir", self.home / "report") if not name.startswith("export") else ()
        return self.run_script(name, *args, *where, env={**self.env, **env}, check=status)

    def verify(self, *args: Any, src: str, name: str = NAME, new: str = NAME) -> None:
        """Compare a model with its copy at full depth; something must have been compared."""
        renames = self.home / "renames.csv"
        renames.write_text(f"{name},{new}\n", encoding="utf-8")
        found = self(
            "verify-migration", "--models", name, "--model-rename-file", renames, "--depth", "full",
            "--src-mlflow-uri", src, *args,
        )  # fmt: skip
        assert "model_version" in found.stdout, found


@pytest.fixture
def move(run_script: Callable[..., Result], tmp_path: Path) -> Iterator[Move]:
    catalogs = {name: Catalog(tmp_path / name) for name in ("one", "two")}
    yield Move(run_script, tmp_path, catalogs)
    for catalog in catalogs.values():
        catalog.close()


@pytest.fixture
def made(src_server: Server, experiment_name: str, monkeypatch: pytest.MonkeyPatch) -> Models:
    """A model of the source's registry with stages, aliases, tags and two versions that have signatures."""
    monkeypatch.setattr(make_models, "MLMODEL", MLMODEL + SIGNATURE)
    models = Models(src_server, experiment_name)
    run = models.run_with_model("model")
    tags = [{"key": "team.name", "value": "a"}, {"key": "plain", "value": "b"}]
    models.version(f"{models.root(run)}/model", run, description="first", tags=tags)
    models.gap(2)
    logged = models.logged(run, "logged")
    models.stage(models.version(f"models:/{logged}", run, logged, description="second"), "Production")
    models.alias("champion", "4")
    return models


def test_into_unity_catalog_and_on(move: Move, made: Models, src_server: Server, dst_server: Server) -> None:
    """From a registry with stages into one catalog, from there into another, and back into a plain registry."""
    src, dst, first, second = src_server.uri, dst_server.uri, move.catalogs["one"], move.catalogs["two"]
    common = ("--src-mlflow-uri", src, "--dst-mlflow-uri", dst)
    to_one = ("--dst-registry-uri", "databricks-uc://one")
    command = ("copy-model", *common, *to_one, "--src-model", made.name, "--dst-model", NAME)
    copied = move(*command, "--dst-experiment-name", f"{made.name} uc")
    assert counts_of(copied)["model_version"] == {"copied": 2}
    assert [v["status"] for v in first.of(NAME)] == ["READY", "READY"]
    assert [v["version"] for v in first.of(NAME)] == ["1", "4"]
    assert first.models[NAME]["aliases"] == {"champion": "4"}
    tags = [{t["key"]: t["value"] for t in v["tags"]} for v in first.of(NAME)]
    assert tags[0]["team_name"] == "a" and tags[0]["plain"] == "b" and "mlflow_exim_src_version_id" in tags[0]
    assert tags[1]["mlflow_exim_stage"] == "Production"
    assert b"signature" in first.files["/Models/main/default/wine/4/MLmodel"]
    move.verify(*to_one, "--dst-mlflow-uri", dst, src=src, name=made.name)
    again = move(*command, "--dst-experiment-name", f"{made.name} uc")
    assert counts_of(again)["model_version"] == {"unchanged": 2}
    assert len(first.of(NAME)) == 2
    assert not any(token for _, path, token in first.requests if path.startswith("/store/"))

    between = ("--src-registry-uri", "databricks-uc://one", "--dst-registry-uri", "databricks-uc://two")
    args = ("--src-model", NAME, "--dst-model", PROD, "--dst-experiment-name", f"{made.name} prod")
    on = move("copy-model", "--src-mlflow-uri", dst, "--dst-mlflow-uri", src, *between, *args)
    assert counts_of(on)["model_version"] == {"copied": 2}
    assert [v["version"] for v in second.of(PROD)] == ["1", "4"]
    assert second.models[PROD]["aliases"] == {"champion": "4"}
    move.verify(*between, "--dst-mlflow-uri", src, src=dst, new=PROD)

    back = ("--src-registry-uri", "databricks-uc://one", "--src-model", NAME, "--dst-model", f"{made.name} back")
    where = ("--src-mlflow-uri", dst, "--dst-mlflow-uri", src, "--dst-experiment-name", f"{made.name} back")
    assert counts_of(move("copy-model", *where, *back))["model_version"] == {"copied": 2}
    stages = {v.version: v.current_stage for v in _versions(src, f"{made.name} back")}
    assert {int(number): stage for number, stage in stages.items()} == {1: "None", 4: "Production"}
    move.verify(*back[:2], "--dst-mlflow-uri", src, src=dst, new=f"{made.name} back")


def _versions(uri: str, name: str) -> Any:
    return MlflowClient(uri).search_model_versions(f"name = '{name}'")


def test_through_directories(move: Move, made: Models, src_server: Server, dst_server: Server, tmp_path: Path) -> None:
    """Bulk export and import, and one version; names of three parts are names of directories."""
    into = {"MLFLOW_TRACKING_URI": src_server.uri, "MLFLOW_REGISTRY_URI": "databricks-uc://one"}
    args = ("--model", made.name, "--output-dir", tmp_path / "old")
    move("export-model", *args, MLFLOW_TRACKING_URI=src_server.uri)
    load = ("import-model", "--model", NAME, "--experiment-name", f"{made.name} uc", "--input-dir", tmp_path / "old")
    assert counts_of(move(*load, **into))["model_version"] == {"copied": 2}
    move("export-models", "--models", NAME, "--output-dir", tmp_path / "models", **into)
    there = {"MLFLOW_TRACKING_URI": dst_server.uri, "MLFLOW_REGISTRY_URI": "databricks-uc://two"}
    assert counts_of(move("import-models", "--input-dir", tmp_path / "models", **there))["model_version"] == {
        "copied": 2
    }
    assert [v["version"] for v in move.catalogs["two"].of(NAME)] == ["1", "4"]
    move("export-model-version", "--model", NAME, "--version", "4", "--output-dir", tmp_path / "one", **into)
    load = ("import-model-version", "--model", PROD, "--create-model", "--experiment-name", f"{made.name} one")
    assert counts_of(move(*load, "--input-dir", tmp_path / "one", **there))["model_version"] == {"copied": 1}
    assert [v["status"] for v in move.catalogs["two"].of(PROD)] == ["READY"]


def test_cut_off_and_without_signature(
    move: Move, src_server: Server, dst_server: Server, experiment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without signature is refused before it takes a number; one that was cut off is completed."""
    models, catalog = Models(src_server, experiment_name), move.catalogs["one"]
    bare = models.run_with_model("model")
    models.version(f"{models.root(bare)}/model", bare)
    args = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri, "--dst-registry-uri")
    command = ("copy-model", *args, "databricks-uc://one", "--src-model", models.name, "--dst-model", NAME)
    command = (*command, "--dst-experiment-name", f"{models.name} uc")
    assert counts_of(move(*command, status=1))["model_version"] == {"failed": 1}
    assert "set-model-signature" in (move.home / "report" / "ledger.jsonl").read_text() and not catalog.of(NAME)
    models.put(bare, "model/MLmodel", (MLMODEL + SIGNATURE).format(run_id=bare, model_id="").encode())
    catalog.fail_uploads = 1
    assert counts_of(move(*command, "--recheck", "full", status=1))["model_version"] == {"incomplete": 1}
    assert [v["status"] for v in catalog.of(NAME)] == ["PENDING_REGISTRATION"]
    move(*command)
    assert [v["status"] for v in catalog.of(NAME)] == ["READY"]


def test_open_source_catalog(move: Move, made: Models, src_server: Server, dst_server: Server) -> None:
    """Without tags and aliases: what is not there is said, and nothing comes twice."""
    catalog = move.catalogs["one"]
    args = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri)
    to = ("--dst-registry-uri", f"uc:{catalog.uri}", "--src-model", made.name, "--dst-model", NAME)
    token = {"MLFLOW_MIGRATION_DST_UC_OSS_TOKEN": TOKEN}
    command = ("copy-model", *args, *to, "--dst-experiment-name", f"{made.name} uc")
    assert counts_of(move(*command, status=1, **token))["model_version"] == {"incomplete": 2}
    move(*command, status=1, **token)
    assert [v["version"] for v in catalog.of(NAME)] == ["1", "4"]
    assert (catalog.root / NAME / "4" / "MLmodel").exists()
    back = ("--src-registry-uri", f"uc:{catalog.uri}", "--src-model", NAME, "--dst-model", f"{made.name} back")
    where = ("--src-mlflow-uri", dst_server.uri, "--dst-mlflow-uri", src_server.uri)
    token = {"MLFLOW_MIGRATION_SRC_UC_OSS_TOKEN": TOKEN}
    found = move("copy-model", *where, *back, "--dst-experiment-name", f"{made.name} back", **token)
    assert counts_of(found)["model_version"] == {"copied": 2}


def test_the_catalog_of_these_tests(move: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmodified MLflow registers and reads a version there."""
    for name, value in move.env.items():
        monkeypatch.setenv(name, value)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text((MLMODEL + SIGNATURE).format(run_id="", model_id=""))
    (model / "data.bin").write_bytes(b"data")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/m.db", registry_uri="databricks-uc://one")
    client.create_registered_model(NAME, description="d")
    client.create_model_version(NAME, str(model), tags={"a": "b"})
    client.set_registered_model_alias(NAME, "champion", "1")
    assert client.get_model_version_by_alias is not None
    assert client.get_model_version(NAME, "1").status == "READY"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc://one")  # set_registry_uri would leave it to other tests
    got = mlflow.artifacts.download_artifacts(f"models:/{NAME}/1", dst_path=str(tmp_path / "got"))
    assert (Path(got) / "data.bin").read_bytes() == b"data"
