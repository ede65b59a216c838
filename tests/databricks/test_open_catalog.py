"""Registered models go into an open-source Unity Catalog, which has neither tags nor aliases, and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from tests.databricks.open_catalog import TOKEN, OpenCatalog
from tests.databricks.unity import SIGNATURE
from tests.support import make_models
from tests.support.make_models import MLMODEL, Models
from tests.support.moves import Counts, counts_of
from tests.support.scripts import Result
from tests.support.servers import Server

NAME = "main.default.wine"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[OpenCatalog]:
    made = OpenCatalog(tmp_path / "catalog")
    yield made
    made.close()


def test_there_and_back(
    catalog: OpenCatalog,
    src_server: Server,
    dst_server: Server,
    experiment_name: str,
    run_script: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it can't hold is said, nothing comes twice, and what it holds is the same on both sides."""
    monkeypatch.setattr(make_models, "MLMODEL", MLMODEL + SIGNATURE)
    models = Models(src_server, experiment_name)
    run = models.run_with_model("model")
    models.version(f"{models.root(run)}/model", run, description="plain")
    models.gap()
    models.version(f"{models.root(run)}/model", run, tags=[{"key": "a", "value": "b"}])
    models.stage(models.version(f"{models.root(run)}/model", run, description="third"), "Production")
    models.alias("champion", "1")
    renames = tmp_path / "renames.csv"

    def move(*args: Any, status: int = 0, side: str = "DST") -> Counts:
        token = {f"MLFLOW_MIGRATION_{side}_UC_OSS_TOKEN": TOKEN}
        return counts_of(run_script(*args, "--report-dir", tmp_path / "report", env=token, check=status))

    uris = ("--src-mlflow-uri", src_server.uri, "--dst-mlflow-uri", dst_server.uri)
    to = ("--dst-registry-uri", f"uc:{catalog.uri}")
    command = ("copy-model", *uris, *to, "--src-model", models.name, "--dst-model", NAME)
    command = (*command, "--dst-experiment-name", f"{models.name} uc")
    found = move(*command, status=1)
    assert found["model_version"] == {"copied": 1, "incomplete": 2} and found["registered_model"] == {"incomplete": 1}
    assert [v["version"] for v in catalog.of(NAME)] == [1, 3, 4]
    again = move(*command, status=1)
    assert again["model_version"] == {"unchanged": 1, "incomplete": 2}
    assert [v["version"] for v in catalog.of(NAME)] == [1, 3, 4]
    assert (catalog.root / NAME / "4" / "MLmodel").exists()
    renames.write_text(f"{models.name},{NAME}\n", encoding="utf-8")
    check = ("verify-migration", *uris, *to, "--models", models.name, "--model-rename-file", renames)
    assert move(*check, "--depth", "full", status=1)["model_version"] == {"same": 1, "differs": 2}

    back = f"{models.name} back"
    frm = ("--src-registry-uri", f"uc:{catalog.uri}")
    uris = ("--src-mlflow-uri", dst_server.uri, "--dst-mlflow-uri", src_server.uri)
    args = ("--src-model", NAME, "--dst-model", back, "--dst-experiment-name", back)
    assert move("copy-model", *uris, *frm, *args, side="SRC")["model_version"] == {"copied": 3}
    renames.write_text(f"{NAME},{back}\n", encoding="utf-8")
    check = ("verify-migration", *uris, *frm, "--models", NAME, "--model-rename-file", renames, "--depth", "full")
    assert move(*check, side="SRC")["model_version"] == {"same": 3}


def test_unmodified_mlflow(catalog: OpenCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow registers and reads a version there."""
    monkeypatch.setenv("MLFLOW_UC_OSS_TOKEN", TOKEN)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text((MLMODEL + SIGNATURE).format(run_id="", model_id=""))
    (model / "data.bin").write_bytes(b"data")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/m.db", registry_uri=f"uc:{catalog.uri}")
    client.create_registered_model(NAME, description="d")
    client.create_model_version(NAME, str(model))
    assert client.get_model_version(NAME, "1").status == "READY"
    assert client.get_registered_model(NAME).description == "d"
    assert [each.name for each in client.search_registered_models()] == [NAME]
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"uc:{catalog.uri}")  # set_registry_uri would leave it to other tests
    got = mlflow.artifacts.download_artifacts(f"models:/{NAME}/1", dst_path=str(tmp_path / "got"))
    assert (Path(got) / "data.bin").read_bytes() == b"data"
