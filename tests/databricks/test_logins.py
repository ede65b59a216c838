"""How a workspace is logged in to: variables, profiles, OAuth of a service principal, the Azure CLI."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
import requests

from mlflow_migration.client import databricks_credentials
from tests.databricks.conftest import ROBOT
from tests.databricks.standin.server import StandIn

NAME = "/Shared/logins"
AZ = """#!/bin/sh
echo '%s'
"""


@pytest.fixture(scope="module")
def experiment(workspace: StandIn) -> str:
    made = workspace.call("POST", "/api/2.0/mlflow/experiments/create", name=NAME)
    grant = {"service_principal_name": ROBOT, "permission_level": "CAN_MANAGE"}
    path = f"/api/2.0/permissions/experiments/{made['experiment_id']}"
    workspace.call("PATCH", path, access_control_list=[grant])
    return NAME


@pytest.fixture
def exported(
    workspace: StandIn, experiment: str, run_script: Callable[..., Any], tmp_path: Path
) -> Callable[..., Dict[str, int]]:
    def export(uri: str, config: str = "", status: int = 0, **env: str) -> Any:
        """Export the experiment; return the tokens that the workspace has seen, or what was said."""
        (tmp_path / "databrickscfg").write_text(config)
        workspace.forget_requests()
        result = run_script(
            "export-experiment", "--tracking-uri", uri, "--experiment", experiment, "--output-dir", tmp_path / "out",
            env={"DATABRICKS_CONFIG_FILE": str(tmp_path / "databrickscfg"), **env}, check=status,
        )  # fmt: skip
        if status:
            return result.stdout + result.stderr
        doc = json.loads((tmp_path / "out" / "experiment.json").read_text())
        assert doc["mlflow"]["experiment"]["name"] == NAME
        return {one["token"] for one in workspace.requests() if one["path"].startswith("/api/2.0/mlflow/")}

    return export


def test_variables(workspace: StandIn, exported: Callable[..., Any]) -> None:
    assert exported("databricks", **workspace.env("token-admin-one")) == {"token-admin-one"}


def test_the_default_profile_and_variables_that_beat_it(workspace: StandIn, exported: Callable[..., Any]) -> None:
    config = f"[DEFAULT]\nhost = {workspace.uri}\ntoken = token-admin-one\n"
    assert exported("databricks", config) == {"token-admin-one"}
    wrong = config.replace("token-admin-one", "no-token")
    assert exported("databricks", wrong, **workspace.env("token-admin-one")) == {"token-admin-one"}


def test_a_named_profile_is_its_own(workspace: StandIn, exported: Callable[..., Any]) -> None:
    """A token in the environment belongs to the host there, not to that of a profile."""
    config = f"[ONE]\nhost = {workspace.uri}\ntoken = token-admin-one\n"
    assert exported("databricks://ONE", config, DATABRICKS_TOKEN="of-another") == {"token-admin-one"}
    said = exported("databricks://NONE", config, status=2)
    assert "NONE" in said and "Traceback" not in said


def test_oauth_of_a_service_principal(workspace: StandIn, exported: Callable[..., Any]) -> None:
    config = f"[ROBOT]\nhost = {workspace.uri}\nclient_id = {ROBOT}\nclient_secret = secret-robot-one\n"
    assert exported("databricks://ROBOT", config) == {"token-robot-one"}
    said = exported("databricks://ROBOT", config.replace("secret-robot", "wrong"), status=2)
    assert "wrong" not in said and "Traceback" not in said


def test_azure_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Azure CLI is asked for the token, as the SDK does it for hosts of Azure."""
    token = {"accessToken": "token-of-az", "expiresOn": "2099-01-01 00:00:00.000000", "tokenType": "Bearer"}
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "az"
    program.write_text(AZ % json.dumps(token))
    program.chmod(0o755)
    config = "[AZ]\nhost = https://adb-1.2.azuredatabricks.net\nauth_type = azure-cli\nazure_tenant_id = t\n"
    (tmp_path / "databrickscfg").write_text(config)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "databrickscfg"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    # the SDK asks such a host about itself, which is not there
    monkeypatch.setattr(databricks_credentials, "_WAIT", {"http_timeout_seconds": 1, "retry_timeout_seconds": 1})
    found = databricks_credentials.login("databricks://AZ", "", "the source", two_sided=False)
    request = requests.Request("GET", found.url + "/api/2.0/mlflow/experiments/search", auth=found.auth).prepare()
    assert (found.url, request.headers["Authorization"]) == (
        "https://adb-1.2.azuredatabricks.net",
        "Bearer token-of-az",
    )
