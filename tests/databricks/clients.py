"""What unmodified clients do with a workspace: run as a program of its own, it prints what it saw as JSON.

Usage: python -m tests.databricks.clients mlflow|unity|sdk
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

LARGE = bytes(range(256)) * 4 * 6 * 1024  # 6 MiB: two parts
MLMODEL = """\
flavors:
  python_function: {loader_module: none}
signature:
  inputs: '[{"type": "double", "name": "x"}]'
  outputs: '[{"type": "double", "name": "y"}]'
"""


def _files(home: Path, mlmodel: str = MLMODEL) -> Path:
    (home / "model" / "deep").mkdir(parents=True)
    (home / "model" / "MLmodel").write_text(mlmodel)
    (home / "model" / "deep" / "ä b.txt").write_text("text")
    (home / "model" / "empty").write_text("")
    (home / "large.bin").write_bytes(LARGE)
    return home


def _run_of(client: Any, home: Path, name: str) -> Any:
    experiment = client.create_experiment(f"/Users/admin@example.com/{name}")
    run = client.create_run(experiment, tags={"mlflow.user": "someone"})
    client.log_param(run.info.run_id, "p", "1")
    client.log_artifacts(run.info.run_id, str(home))
    return client.get_run(run.info.run_id)


def _read(directory: str) -> Dict[str, int]:
    root = Path(directory)
    return {str(p.relative_to(root)): p.stat().st_size for p in sorted(root.rglob("*")) if p.is_file()}


def use_mlflow(home: Path) -> Dict[str, Any]:
    """A run with files, one above the size of a part, and a version in the workspace's registry."""
    import mlflow

    mlflow.set_tracking_uri("databricks")
    mlflow.set_registry_uri("databricks")
    client = mlflow.MlflowClient()
    run = _run_of(client, _files(home / "files"), "mlflow")
    got = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(home / "got"))
    client.create_registered_model("clients")
    version = client.create_model_version("clients", f"{run.info.artifact_uri}/model", run.info.run_id)
    loaded = mlflow.artifacts.download_artifacts("models:/clients/1", dst_path=str(home / "version"))
    client.create_experiment("/Shared/dbfs", artifact_location="dbfs:/mine")
    on_dbfs = client.create_run(client.get_experiment_by_name("/Shared/dbfs").experiment_id)
    client.log_text(on_dbfs.info.run_id, "hello", "a/b.txt")
    client.create_experiment("/Shared/volume", artifact_location="dbfs:/Volumes/main/default/mine")
    in_volume = client.create_run(client.get_experiment_by_name("/Shared/volume").experiment_id)
    client.log_text(in_volume.info.run_id, "hello", "a/b.txt")
    model = client.create_logged_model(run.info.experiment_id, name="logged")
    client.log_model_artifacts(model.model_id, str(home / "files" / "model"))
    mlflow.set_experiment("/Shared/traced")
    with mlflow.start_span("outer") as outer, mlflow.start_span("inner"):
        outer.set_attribute("a", [1, None, "x"])
    mlflow.flush_trace_async_logging()
    trace = mlflow.get_trace(outer.trace_id)
    return {
        "spans": {span.name: span.attributes.get("a") for span in trace.data.spans},
        "uri": run.info.artifact_uri,
        "user": run.data.tags["mlflow.user"],
        "root": run.data.tags["mlflow.rootRunId"] == run.info.run_id,
        "same": (Path(got) / "large.bin").read_bytes() == LARGE,
        "files": _read(got),
        "status": version.status,
        "version": _read(loaded),
        "dbfs": mlflow.artifacts.load_text(f"{on_dbfs.info.artifact_uri}/a/b.txt"),
        "volume": mlflow.artifacts.load_text(f"{in_volume.info.artifact_uri}/a/b.txt"),
        "logged": model.artifact_location,
        "logged_files": _read(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}")),
    }


def use_unity(home: Path) -> Dict[str, Any]:
    """Versions in Unity Catalog, one without a signature."""
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri("databricks")
    mlflow.set_registry_uri("databricks-uc")
    client = mlflow.MlflowClient()
    run = _run_of(client, _files(home / "files"), "unity")
    client.create_registered_model("main.default.clients", tags={"team": "a"})
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version("main.default.clients", source, run.info.run_id)
    client.set_registered_model_alias("main.default.clients", "best", version.version)
    client.log_text(run.info.run_id, "flavors: {}\n", "bare/MLmodel")
    try:
        client.create_model_version("main.default.clients", f"{run.info.artifact_uri}/bare", run.info.run_id)
        refusal = ""
    except MlflowException as error:
        refusal = error.message
    loaded = mlflow.artifacts.download_artifacts("models:/main.default.clients@best", dst_path=str(home / "got"))
    model = client.get_registered_model("main.default.clients")
    return {
        "status": version.status,
        "files": _read(loaded),
        "refusal": refusal,
        "aliases": model.aliases,
        "tags": model.tags,
        "searched": [m.name for m in client.search_registered_models()],
        "versions": [v.version for v in client.search_model_versions("name='main.default.clients'")],
    }


def use_sdk(home: Path) -> Dict[str, Any]:
    """The databricks-sdk on workspace objects, permissions, files and jobs."""
    import io

    from databricks.sdk import WorkspaceClient
    from databricks.sdk.errors import DatabricksError
    from databricks.sdk.service import catalog, iam, jobs, workspace

    w = WorkspaceClient()
    w.workspace.mkdirs("/Shared/deep/er")
    path, source = "/Shared/deep/er/note", b"# Databricks notebook source\nprint(1)\n"
    languages = workspace.Language
    w.workspace.upload(path, io.BytesIO(source), language=languages.PYTHON, format=workspace.ImportFormat.SOURCE)
    shown = w.workspace.get_status(path)
    formats = {}
    for wanted in ("SOURCE", "HTML", "JUPYTER", "DBC"):
        formats[wanted] = w.workspace.download(path, format=workspace.ExportFormat[wanted]).read()
        copy = f"{path}-{wanted}"
        given = {"language": languages.PYTHON} if wanted == "SOURCE" else {}
        w.workspace.upload(copy, io.BytesIO(formats[wanted]), format=workspace.ImportFormat[wanted], **given)
        formats[wanted] = w.workspace.download(copy, format=workspace.ExportFormat.SOURCE).read() == source
    experiment = str(w.experiments.create_experiment("/Shared/deep/e").experiment_id)
    entry = iam.AccessControlRequest(user_name="mary@example.com", permission_level=iam.PermissionLevel.CAN_READ)
    w.permissions.update("experiments", experiment, access_control_list=[entry])
    acl = w.permissions.get("experiments", experiment).access_control_list
    try:
        w.experiments.create_experiment("relative")
        refusal = ""
    except DatabricksError as error:
        refusal = str(error.error_code)
    with w.dbfs.open("/tmp/x.bin", write=True) as file:
        file.write(b"12345")
    task = jobs.SubmitTask("t", notebook_task=jobs.NotebookTask(path), existing_cluster_id="0101-1")
    job = w.jobs.submit(run_name="r", tasks=[task]).result()
    grants = w.grants.get_effective("schema", "main.default").privilege_assignments
    change = catalog.PermissionsChange(principal="scientists", add=[catalog.Privilege.EXECUTE])
    w.grants.update("schema", "main.default", changes=[change])
    return {
        "me": w.current_user.me().user_name,
        "language": shown.language.value,
        "listed": sorted(o.path for o in w.workspace.list("/Shared/deep")),
        "formats": formats,
        "acl": {
            (a.user_name or a.group_name): [[p.permission_level.value, p.inherited] for p in a.all_permissions]
            for a in acl
        },
        "refusal": refusal,
        "users": sorted(u.user_name for u in w.users.list(filter='userName eq "mary@example.com"')),
        "groups": sorted(g.display_name for g in w.groups.list()),
        "dbfs": w.dbfs.open("/tmp/x.bin", read=True).read().decode(),
        "job": job.state.result_state.value,
        "grants": {g.principal: sorted(p.privilege.value for p in g.privileges) for g in grants},
        "direct": {
            g.principal: [p.value for p in g.privileges]
            for g in w.grants.get("schema", "main.default").privilege_assignments
        },
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        use = {"mlflow": use_mlflow, "unity": use_unity, "sdk": use_sdk}[sys.argv[1]]
        print("SEEN " + json.dumps(use(Path(home))))
