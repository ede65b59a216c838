"""Permissions of experiments and registered models go from one workspace to another, the direct ones only."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.job import Job
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.permissions import Securable, import_permissions, read_permissions
from mlflow_migration.common.progress import Progress
from tests.databricks.standin.server import StandIn
from tests.support.scripts import run_script

MLFLOW = "/api/2.0/mlflow"
CATALOG = "/api/2.1/unity-catalog"


@contextmanager
def client_of(standin: StandIn) -> Iterator[RestClient]:
    headers = {"Authorization": f"Bearer {next(iter(standin.users))}"}
    connection = Connection(standin.uri, headers, None, True, None, "databricks", is_databricks=True)
    with closing(RestClient(connection)) as rest:
        yield rest


def direct(standin: StandIn, kind: str, object_id: str) -> Dict[str, str]:
    """Levels that principals were given on the object itself."""
    rows = standin.call("GET", f"/api/2.0/permissions/{kind}/{object_id}")["access_control_list"]
    return {
        row.get("user_name") or row.get("group_name"): level["permission_level"]
        for row in rows
        for level in row["all_permissions"]
        if not level["inherited"]
    }


def made_experiment(standin: StandIn, name: str) -> str:
    experiment_id = str(standin.call("POST", f"{MLFLOW}/experiments/create", name=name)["experiment_id"])
    return experiment_id


def experiment_id_of(standin: StandIn, name: str) -> str:
    found = standin.call("GET", f"{MLFLOW}/experiments/get-by-name", experiment_name=name)
    return str(found["experiment"]["experiment_id"])


def model_id_of(standin: StandIn, name: str) -> str:
    found = standin.call("GET", f"{MLFLOW}/databricks/registered-models/get", name=name)
    return str(found["registered_model_databricks"]["id"])


def patches(standin: StandIn) -> List[str]:
    return [r["path"] for r in standin.requests() if r["method"] == "PATCH" and "/permissions/" in r["path"]]


def records(directory: Path) -> List[Dict[str, Any]]:
    lines = (directory / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line.get("kind") == "permissions"]


@pytest.fixture(scope="module")
def experiment(workspace: StandIn) -> Tuple[str, str]:
    """An experiment of the source with permissions of all kinds: its id and name."""
    name = "/Shared/permitted"
    experiment_id = made_experiment(workspace, name)
    workspace.call(
        "PATCH",
        f"/api/2.0/permissions/experiments/{experiment_id}",
        access_control_list=[
            {"user_name": "mary@example.com", "permission_level": "CAN_EDIT"},
            {"group_name": "scientists", "permission_level": "CAN_READ"},
            {"group_name": "engineers", "permission_level": "CAN_READ"},
        ],
    )
    return experiment_id, name


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "principals.csv"
    path.write_text("mary@example.com,mary.smith@example.com\n", encoding="utf-8")
    return path


def test_an_experiment_by_a_directory(
    workspace: StandIn, second_workspace: StandIn, config_env: Dict[str, str], experiment: Tuple[str, str],
    tmp_path: Path, mapping: Path,
) -> None:  # fmt: skip
    experiment_id, name = experiment
    out = tmp_path / "out"
    args = ("--tracking-uri", "databricks://ONE", "--experiment", name, "--output-dir", out)
    run_script("export-experiment", *args, "--export-permissions", env=config_env)
    saved = json.loads((out / "experiment.json").read_text(encoding="utf-8"))["mlflow"]["permissions"]
    assert set(saved) == {"permission_levels", "permissions"} and saved["permission_levels"]
    assert saved["permissions"]["object_id"] == f"/experiments/{experiment_id}"

    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/copy")
    options = ("--import-permissions", "--principal-mapping-file", mapping)
    second_workspace.forget_requests()
    done = run_script("import-experiment", *to, *options, env=config_env, check=1)
    copy_id = experiment_id_of(second_workspace, "/Shared/copy")
    granted = direct(second_workspace, "experiments", copy_id)
    assert granted["mary.smith@example.com"] == "CAN_EDIT" and granted["scientists"] == "CAN_READ"
    assert "users" not in granted and "admins" not in granted, "what is inherited became direct"
    assert len(patches(second_workspace)) == 1, "one request for an object"
    (record,) = [one for one in records(out) if one["status"] != "copied"]
    assert record["status"] == "incomplete" and "group 'engineers'" in record["reason"], done

    second_workspace.forget_requests()
    run_script("import-experiment", *to, *options, "--accept-loss", "permissions", env=config_env)
    assert patches(second_workspace) == []

    verify = ("--dst-mlflow-uri", "databricks://TWO", "--input-dir", out, "--report-dir", tmp_path / "report")
    renames = tmp_path / "experiments.csv"
    renames.write_text(f"{name},/Shared/copy\n", encoding="utf-8")
    verify += ("--experiment-rename-file", renames, "--principal-mapping-file", mapping)
    found = run_script("verify-migration", *verify, env=config_env, check=1).stdout
    assert "group_name:engineers" in found and "group_name:scientists" not in found
    assert "mary" not in found


def test_a_directory_of_an_earlier_tool(second_workspace: StandIn, config_env: Dict[str, str], tmp_path: Path) -> None:
    body = {
        "experiment": {"experiment_id": "1", "name": "/Shared/old", "tags": {}, "lifecycle_stage": "active"},
        "runs": [],
        "permissions": {
            "permission_levels": [],
            "permissions": {
                "access_control_list": [
                    {"group_name": "users", "all_permissions": [{"permission_level": "CAN_MANAGE", "inherited": True}]},
                    {
                        "group_name": "scientists",
                        "all_permissions": [{"permission_level": "CAN_EDIT", "inherited": False}],
                    },
                ]
            },
        },
    }
    out = tmp_path / "old"
    out.mkdir()
    (out / "experiment.json").write_text(json.dumps({"system": {}, "mlflow": body}), encoding="utf-8")
    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/old copy")
    run_script("import-experiment", *to, "--import-permissions", env=config_env)
    granted = direct(second_workspace, "experiments", experiment_id_of(second_workspace, "/Shared/old copy"))
    assert granted["scientists"] == "CAN_EDIT" and "users" not in granted


def test_a_registered_model(
    workspace: StandIn, second_workspace: StandIn, config_env: Dict[str, str], tmp_path: Path, mapping: Path
) -> None:
    workspace.call("POST", f"{MLFLOW}/registered-models/create", name="permitted")
    path = f"/api/2.0/permissions/registered-models/{model_id_of(workspace, 'permitted')}"
    levels = [{"user_name": "mary@example.com", "permission_level": "CAN_MANAGE_STAGING_VERSIONS"}]
    workspace.call("PATCH", path, access_control_list=levels)
    out = tmp_path / "out"
    frm = ("--tracking-uri", "databricks://ONE", "--model", "permitted", "--output-dir", out)
    run_script("export-model", *frm, "--export-permissions", env=config_env)
    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/models")
    to += ("--model", "arrived", "--import-permissions", "--principal-mapping-file", mapping)
    for expected in (1, 0):
        second_workspace.forget_requests()
        run_script("import-model", *to, env=config_env)
        assert len(patches(second_workspace)) == expected
        granted = direct(second_workspace, "registered-models", model_id_of(second_workspace, "arrived"))
        assert granted["mary.smith@example.com"] == "CAN_MANAGE_STAGING_VERSIONS"


def test_copies(
    workspace: StandIn, second_workspace: StandIn, config_env: Dict[str, str], experiment: Tuple[str, str],
    tmp_path: Path, mapping: Path,
) -> None:  # fmt: skip
    sides = ("--src-mlflow-uri", "databricks://ONE", "--dst-mlflow-uri", "databricks://TWO")
    to = ("--experiment", experiment[1], "--experiment-name", "/Shared/direct copy", "--report-dir", tmp_path / "r")
    more = ("--copy-permissions", "--principal-mapping-file", mapping, "--accept-loss", "permissions")
    for expected in (1, 0):
        second_workspace.forget_requests()
        run_script("copy-experiment", *sides, *to, *more, env=config_env)
        assert len(patches(second_workspace)) == expected
    granted = direct(second_workspace, "experiments", experiment_id_of(second_workspace, "/Shared/direct copy"))
    assert granted["mary.smith@example.com"] == "CAN_EDIT" and granted["scientists"] == "CAN_READ"


def test_a_model_of_unity_catalog(workspace: StandIn, second_workspace: StandIn) -> None:
    name = "main.default.permitted"
    model = Securable("function", name)
    for standin in (workspace, second_workspace):
        standin.call("POST", f"{MLFLOW}/unity-catalog/registered-models/create", name=name)
    changes = [{"principal": "scientists", "add": ["EXECUTE"]}, {"principal": "engineers", "add": ["EXECUTE"]}]
    workspace.call("PATCH", f"{CATALOG}/permissions/function/{name}", changes=changes)
    with client_of(workspace) as src, client_of(second_workspace) as dst, Executor(1) as executor:
        doc = read_permissions(src, model)
        assert "account users" in json.dumps(doc["effective_permissions"]), "nothing is inherited in this test"
        second_workspace.forget_requests()
        for status in ("incomplete", "incomplete"):
            ledger = Ledger(None, "test", {})
            job = Job(ledger, executor, Progress(True, "models"))
            import_permissions(job, dst, f"registered_model/{name}", lambda: model, doc, {})
            assert ledger.counts == {"permissions": {status: 1}} and "principal 'engineers'" in ledger.summary()
    assert len(patches(second_workspace)) == 1, "granted again"
    found = second_workspace.call("GET", f"{CATALOG}/permissions/function/{name}")
    assert found["privilege_assignments"] == [{"principal": "scientists", "privileges": ["EXECUTE"]}]


def test_without_the_options_nothing_is_read_or_granted(
    workspace: StandIn, second_workspace: StandIn, config_env: Dict[str, str], experiment: Tuple[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    for standin in (workspace, second_workspace):
        standin.forget_requests()
    out = tmp_path / "out"
    frm = ("--tracking-uri", "databricks://ONE", "--experiment", experiment[1], "--output-dir", out)
    run_script("export-experiment", *frm, env=config_env)
    to = ("--tracking-uri", "databricks://TWO", "--input-dir", out, "--experiment-name", "/Shared/bare")
    run_script("import-experiment", *to, env=config_env)
    asked = [one["path"] for standin in (workspace, second_workspace) for one in standin.requests()]
    assert any("experiments" in path for path in asked)
    assert not [path for path in asked if "/permissions/" in path or "/scim/" in path]
