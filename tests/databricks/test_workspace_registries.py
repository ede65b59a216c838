"""Registered models of workspaces: each scenario of the copy tools between their own registries and Unity Catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
import requests

from tests.databricks.clients import MLMODEL
from tests.databricks.conftest import SECOND_USERS
from tests.databricks.standin.server import StandIn, write_config
from tests.databricks.test_permissions import model_id_of
from tests.databricks.unity import tags, versions
from tests.support.moves import Counts, counts_of
from tests.support.s3 import ENDPOINT, Bucket, S3Server
from tests.support.scripts import Result

API = "/api/2.0/mlflow"
GRANTS = "/api/2.1/unity-catalog/permissions/function"
ONE, TWO, UNITY_ONE, UNITY_TWO = "databricks://ONE", "databricks://TWO", "databricks-uc://ONE", "databricks-uc://TWO"
SIDES = ("--src-mlflow-uri", ONE, "--dst-mlflow-uri", TWO)
CATALOGS = ("--src-registry-uri", UNITY_ONE, "--dst-registry-uri", UNITY_TWO)


@pytest.fixture(scope="module")
def workspace(empty_workspaces: Tuple[StandIn, StandIn]) -> StandIn:
    return empty_workspaces[0]


@pytest.fixture(scope="module")
def second_workspace(empty_workspaces: Tuple[StandIn, StandIn]) -> StandIn:
    return empty_workspaces[1]


@pytest.fixture(scope="module")
def run_id(workspace: StandIn) -> str:
    """A run with a model, a version of it in a stage of the workspace's registry, and one in Unity Catalog."""
    experiment = workspace.call("POST", f"{API}/experiments/create", name="/Shared/wine")["experiment_id"]
    run = workspace.call("POST", f"{API}/runs/create", experiment_id=experiment, start_time=1)["run"]["info"]
    run_id = str(run["run_id"])
    for path, content in (("model/MLmodel", MLMODEL.encode()), ("model/data.bin", b"data")):
        signed = workspace.call("POST", f"{API}/artifacts/credentials-for-write", run_id=run_id, path=[path])
        info = signed["credential_infos"][0]
        headers = {header["name"]: header["value"] for header in info["headers"]}
        requests.put(info["signed_uri"], content, headers=headers, timeout=60).raise_for_status()
    workspace.call("POST", f"{API}/registered-models/create", name="wine")
    source = {"source": f"{run['artifact_uri']}/model", "run_id": run_id, "description": "first"}
    workspace.call("POST", f"{API}/model-versions/create", name="wine", **source)
    stage = {"stage": "Production", "archive_existing_versions": False}
    workspace.call("POST", f"{API}/model-versions/transition-stage", name="wine", version="1", **stage)
    levels = [{"group_name": "scientists", "permission_level": "CAN_READ"}]
    path = f"/api/2.0/permissions/registered-models/{model_id_of(workspace, 'wine')}"
    workspace.call("PATCH", path, access_control_list=levels)
    return run_id


@pytest.fixture
def move(run_script: Callable[..., Result], config_env: Dict[str, str], tmp_path: Path) -> Callable[..., Counts]:
    """Runs a script; what it counted."""

    def run(name: str, *args: Any, **env: str) -> Counts:
        where = () if name.startswith("export") else ("--report-dir", tmp_path / "report")
        return counts_of(run_script(name, *args, *where, env={**config_env, **env}))

    return run


@pytest.fixture
def upgraded(workspace: StandIn, run_id: str, move: Callable[..., Counts]) -> str:
    """The version is one of Unity Catalog, too, whose model scientists may use."""
    name = "main.default.wine"
    if not versions_or_none(workspace, name):
        near = ("--src-registry-uri", ONE, "--dst-registry-uri", UNITY_ONE, "--dst-model", name)
        more = ("--src-model", "wine", "--src-version", "1", "--copy-stages-and-aliases", "--copy-lineage-tags")
        assert move("copy-model-version", *near, *more)["model_version"] == {"copied": 1}
        changes = [{"principal": "scientists", "add": ["EXECUTE"]}]
        workspace.call("PATCH", f"{GRANTS}/{name}", changes=changes)
    return name


def versions_or_none(workspace: StandIn, name: str) -> List[Any]:
    try:
        return versions(workspace, name)
    except requests.HTTPError:
        return []


def granted(workspace: StandIn, name: str) -> Dict[str, List[str]]:
    """What principals were given directly on a model of Unity Catalog."""
    found = workspace.call("GET", f"{GRANTS}/{name}").get("privilege_assignments") or ()
    return {entry["principal"]: entry["privileges"] for entry in found}


def same(move: Callable[..., Counts], home: Path, name: str, new: str, *args: Any) -> bool:
    """Whether a model and its one version are the same as their copies, by a verification at full depth."""
    renames = home / "renames.csv"
    renames.write_text(f"{name},{new}\n")
    which = ("--models", name, "--model-rename-file", renames, "--depth", "full")
    found = move("verify-migration", *which, *args)
    return (found["registered_model"], found["model_version"]) == ({"same": 1}, {"same": 1})


def test_a_version_within_a_workspace(
    workspace: StandIn, upgraded: str, run_id: str, move: Callable[..., Counts]
) -> None:
    """Shallow: from the registry into Unity Catalog, within the registry, and within Unity Catalog; the run stays."""
    (made,) = versions(workspace, upgraded)
    assert (made["status"], made["run_id"]) == ("READY", run_id)
    assert tags(made)["mlflow_exim_stage"] == "Production" and tags(made)["mlflow_exim_src_version_name"] == "wine"

    within = ("--src-registry-uri", UNITY_ONE, "--dst-registry-uri", UNITY_ONE, "--src-version", "1")
    args = ("copy-model-version", *within, "--src-model", upgraded, "--dst-model", "main.prod.promoted")
    assert move(*args)["model_version"] == {"copied": 1}
    (promoted,) = versions(workspace, "main.prod.promoted")
    assert (promoted["status"], promoted["run_id"]) == ("READY", run_id)
    own = ("--src-registry-uri", ONE, "--dst-registry-uri", ONE, "--src-model", "wine", "--src-version", "1")
    assert move("copy-model-version", *own, "--dst-model", "promoted")["model_version"] == {"copied": 1}
    found = workspace.call("GET", f"{API}/model-versions/get", name="promoted", version="1")["model_version"]
    assert (found["run_id"], found["source"]) == (run_id, "models:/wine/1")


@pytest.mark.parametrize("to_unity", [False, True])
@pytest.mark.parametrize("from_unity", [False, True])
def test_a_version_goes_into_another_workspace(
    second_workspace: StandIn, upgraded: str, move: Callable[..., Counts], from_unity: bool, to_unity: bool
) -> None:
    """Deep: with its run, from either registry into either one."""
    args = ("--src-registry-uri", UNITY_ONE if from_unity else ONE, "--src-model", upgraded if from_unity else "wine")
    new = f"main.prod.deep_{from_unity}".lower() if to_unity else f"deep {from_unity}"
    args += ("--dst-registry-uri", UNITY_TWO if to_unity else TWO, "--dst-model", new, "--src-version", "1")
    args += ("--dst-experiment-name", f"/Shared/deep {from_unity} {to_unity}", "--copy-stages-and-aliases")
    assert move("copy-model-version", *args)["model_version"] == {"copied": 1}
    route = f"{API}/unity-catalog" if to_unity else API
    found = second_workspace.call("GET", f"{route}/model-versions/get", name=new, version="1")["model_version"]
    run = second_workspace.call("GET", f"{API}/runs/get", run_id=found["run_id"])["run"]
    assert found["status"] == "READY" and run["info"]["status"] == "RUNNING"
    stage = tags(found)["mlflow_exim_stage"] if to_unity else found["current_stage"]
    assert stage == "Production"


def test_the_registrys_own_files(
    workspace: StandIn, second_workspace: StandIn, run_id: str, move: Callable[..., Counts], tmp_path: Path
) -> None:
    """A version that names no run is whole, out of the copy that the registry keeps."""
    uri = workspace.call("GET", f"{API}/runs/get", run_id=run_id)["run"]["info"]["artifact_uri"]
    workspace.call("POST", f"{API}/registered-models/create", name="alone")
    workspace.call("POST", f"{API}/model-versions/create", name="alone", source=f"{uri}/model")
    workspace.forget_requests()
    args = ("--src-model", "alone", "--dst-model", "alone", "--dst-experiment-name", "/Shared/alone")
    assert move("copy-model", *SIDES, *args)["model_version"] == {"copied": 1}
    assert same(move, tmp_path, "alone", "alone", *SIDES)
    asked = [one for one in workspace.requests() if "get-signed-download-uri" in one["path"]]
    assert asked and {one["token"] for one in asked} == {"token-admin-one"}
    found = second_workspace.call("GET", f"{API}/model-versions/get-download-uri", name="alone", version="1")
    assert found["artifact_uri"].startswith("dbfs:/databricks/mlflow-registry/")


def test_permissions_of_unity_catalog(
    workspace: StandIn, second_workspace: StandIn, upgraded: str, move: Callable[..., Counts], tmp_path: Path
) -> None:
    """Direct grants go along with a model, by copies and by a directory, and are compared."""
    args = ("copy-model", *SIDES, *CATALOGS, "--src-model", upgraded, "--dst-experiment-name", "/Shared/permitted")
    for status in ("copied", "unchanged"):
        found = move(*args, "--dst-model", "main.prod.permitted", "--copy-permissions")
        assert (found["model_version"], found["permissions"]) == ({status: 1}, {status: 1})
    assert granted(second_workspace, "main.prod.permitted") == {"scientists": ["EXECUTE"]}
    assert same(move, tmp_path, upgraded, "main.prod.permitted", *SIDES, *CATALOGS, "--export-permissions")

    args = ("copy-model-version", *CATALOGS, "--src-model", upgraded, "--src-version", "1", "--copy-permissions")
    found = move(*args, "--dst-model", "main.prod.by_version", "--dst-experiment-name", "/Shared/permitted")
    assert (found["model_version"], found["permissions"]) == ({"copied": 1}, {"copied": 1})
    assert granted(second_workspace, "main.prod.by_version") == {"scientists": ["EXECUTE"]}

    args = ("--model", upgraded, "--output-dir", tmp_path / "model", "--export-permissions")
    move("export-model", *args, MLFLOW_TRACKING_URI=ONE, MLFLOW_REGISTRY_URI=UNITY_ONE)
    args = ("--input-dir", tmp_path / "model", "--model", "main.prod.imported", "--experiment-name", "/Shared/imported")
    env = {"MLFLOW_TRACKING_URI": TWO, "MLFLOW_REGISTRY_URI": UNITY_TWO}
    found = move("import-model", *args, "--import-permissions", **env)
    assert (found["model_version"], found["permissions"]) == ({"copied": 1}, {"copied": 1})
    assert granted(second_workspace, "main.prod.imported") == {"scientists": ["EXECUTE"]}


def test_permissions_do_not_go_from_one_kind_of_registry_to_the_other(
    second_workspace: StandIn,
    run_id: str,
    run_script: Callable[..., Result],
    config_env: Dict[str, str],
    tmp_path: Path,
) -> None:
    """They can't: it is said, and all else is copied."""
    to = ("--dst-registry-uri", UNITY_TWO, "--src-model", "wine", "--dst-model", "main.prod.other_kind")
    args = ("copy-model", *SIDES, *to, "--dst-experiment-name", "/Shared/other kind", "--copy-permissions")
    found = run_script(*args, "--report-dir", tmp_path, env=config_env, check=1)
    assert counts_of(found)["permissions"] == {"incomplete": 1} and counts_of(found)["model_version"] == {"copied": 1}
    assert "other permissions than each other" in found.stdout
    assert granted(second_workspace, "main.prod.other_kind") == {}


def test_all_models_of_a_catalog(
    workspace: StandIn, second_workspace: StandIn, upgraded: str, move: Callable[..., Counts], tmp_path: Path
) -> None:
    """copy-all, and export-all with import-all, take a whole workspace with Unity Catalog as its registry."""
    there = {"registered_model": len(_models(workspace)), "model_version": len(_models(workspace))}
    args = (*SIDES, *CATALOGS)
    for status in ("copied", "unchanged"):
        found = move("copy-all", *args, "--copy-permissions")
        assert {kind: found[kind] for kind in there} == {kind: {status: n} for kind, n in there.items()}
        assert found["run"] == {status: 1}
    assert granted(second_workspace, upgraded) == {"scientists": ["EXECUTE"]}
    found = move("verify-migration", *args, "--depth", "full", "--export-permissions")
    assert {kind: found[kind] for kind in there} == {kind: {"same": n} for kind, n in there.items()}

    move("export-all", "--output-dir", tmp_path / "all", MLFLOW_TRACKING_URI=ONE, MLFLOW_REGISTRY_URI=UNITY_ONE)
    renames, paths = tmp_path / "models.csv", tmp_path / "paths.csv"
    renames.write_text("".join(f"{name},{name}_again\n" for name in _models(workspace)))
    paths.write_text("/Shared/wine,/Shared/wine again\n")
    args = ("--input-dir", tmp_path / "all", "--model-rename-file", renames, "--experiment-rename-file", paths)
    env = {"MLFLOW_TRACKING_URI": TWO, "MLFLOW_REGISTRY_URI": UNITY_TWO}
    found = move("import-all", *args, **env)
    assert {kind: found[kind] for kind in there} == {kind: {"copied": n} for kind, n in there.items()}
    found = move("import-all", *args, **env)
    assert {kind: found[kind] for kind in there} == {kind: {"unchanged": n} for kind, n in there.items()}


def _models(workspace: StandIn) -> List[str]:
    found = workspace.call("GET", f"{API}/unity-catalog/registered-models/search")["registered_models"]
    return [model["name"] for model in found]


def test_files_in_a_bucket_that_gives_temporary_credentials(
    upgraded: str,
    workspace: StandIn,
    second_workspace: StandIn,
    run_script: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """Into a Unity Catalog whose versions lie in S3, and out again: with its credentials, as there are no others."""
    home = tmp_path / "bucket"
    home.mkdir()
    with S3Server(home) as s3, StandIn(home / "w", SECOND_USERS, bucket=Bucket(s3.uri, "unity").create()) as third:
        profiles = {"ONE": (workspace, "token-admin-one"), "TWO": (second_workspace, "token-admin-two")}
        config = write_config(tmp_path / "three", {**profiles, "THREE": (third, "token-admin-two")})
        env = {"DATABRICKS_CONFIG_FILE": str(config), ENDPOINT: s3.uri, "AWS_DEFAULT_REGION": "us-east-1"}

        def move(name: str, *args: Any) -> Counts:
            return counts_of(run_script(name, *args, "--report-dir", tmp_path / "report", env=env))

        sides = ("--src-mlflow-uri", ONE, "--dst-mlflow-uri", "databricks://THREE")
        catalogs = ("--src-registry-uri", UNITY_ONE, "--dst-registry-uri", "databricks-uc://THREE")
        args = ("--src-model", upgraded, "--dst-model", "main.prod.stored", "--dst-experiment-name", "/Shared/stored")
        assert move("copy-model", *sides, *catalogs, *args)["model_version"] == {"copied": 1}
        assert same(move, tmp_path, upgraded, "main.prod.stored", *sides, *catalogs)
        keys = [key.partition("/models/1/")[2] for key in Bucket(s3.uri, "unity").objects()]
        assert sorted(keys) == ["MLmodel", "data.bin"]
        sides = ("--src-mlflow-uri", "databricks://THREE", "--dst-mlflow-uri", TWO)
        catalogs = ("--src-registry-uri", "databricks-uc://THREE", "--dst-registry-uri", UNITY_TWO)
        args = ("--src-model", "main.prod.stored", "--dst-model", "main.prod.back")
        args += ("--dst-experiment-name", "/Shared/back")
        assert move("copy-model", *sides, *catalogs, *args)["model_version"] == {"copied": 1}
        assert same(move, tmp_path, "main.prod.stored", "main.prod.back", *sides, *catalogs)


def test_tokens_stay_on_their_side(workspace: StandIn, second_workspace: StandIn, upgraded: str) -> None:
    """Whatever the tests before have sent."""
    assert {r["token"] for r in second_workspace.requests()} == {"token-admin-two", None}
    assert {r["token"] for r in workspace.requests()} == {"token-admin-one", None}
