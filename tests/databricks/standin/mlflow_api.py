"""The MLflow API: handed on to the server behind, with a workspace's refusals and what it sets by itself."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any, Callable, Dict, List, Optional

from werkzeug.wrappers import Response

from tests.databricks.standin.permissions import Permissions
from tests.databricks.standin.platform import (
    ApiError,
    Call,
    Person,
    Platform,
    Route,
    absent,
    exists,
    invalid,
    no_route,
)
from tests.databricks.standin.workspace import DIRECTORY, EXPERIMENT, NOTEBOOK, Workspace, clean

#: what of the MLflow API a workspace has
_ROUTES = re.compile(
    r"^(experiments|runs|metrics/get-history|logged-models|registered-models(?!/alias)|model-versions|traces)(/|$)"
)
#: tags that only the platform sets
OWN_RUN_TAGS = frozenset(
    {
        "mlflow.user",
        "mlflow.log-model.history",
        "mlflow.rootRunId",
        "mlflow.experiment.sourceType",
        "mlflow.experiment.sourceId",
    }
)
OWN_EXPERIMENT_TAGS = frozenset({"mlflow.ownerId", "mlflow.ownerEmail", "mlflow.experimentType"})
#: what of MLflow's own requests for traces a workspace lacks: it keeps spans as files
_NO_TRACES = re.compile(r"^traces/(get|batchGet|batchGetInfos)$")
_HIDDEN = "0"  # MLflow's experiment "Default": a workspace has none
_READS = ("get", "get-by-name", "search", "get-history", "get-latest-versions", "get-download-uri")


class MlflowApi:
    """Knows the experiments as nodes of the workspace."""

    def __init__(self, platform: Platform, workspace: Workspace, permissions: Permissions) -> None:
        """Nothing is sent yet."""
        self._platform, self._workspace, self._permissions = platform, workspace, permissions

    # ---- handing on

    def forward(self, call: Call, rest: str, version: str = "2.0") -> Response:
        """Hand a request on as it is, if a workspace has the route and the user the right."""
        if not _ROUTES.match(rest) or _NO_TRACES.match(rest):
            raise no_route(call.request.method, f"/mlflow/{rest}")
        self._check(call, rest)
        body = call.request.get_data() or None
        path = f"/api/{version}/mlflow/{rest}"
        answer = self._platform.send(call.request.method, path, body, call.request.query_string.decode())
        return self._response(answer.status_code, answer.content, call, rest)

    def pass_on(self, call: Call, rest: str, body: Dict[str, Any]) -> Response:
        """Hand a POST on with another body."""
        self._check(call, rest)
        answer = self._platform.send("POST", f"/api/2.0/mlflow/{rest}", body)
        return self._response(answer.status_code, answer.content, call, rest)

    def _response(self, status: int, content: bytes, call: Call, rest: str) -> Response:
        try:
            decoded = json.loads(content)
        except ValueError:
            raise no_route(call.request.method, f"/mlflow/{rest}") from None
        if rest == "experiments/search" and status == 200:
            decoded["experiments"] = [
                e for e in decoded.get("experiments", ()) if self._may_read(call.user, e["experiment_id"])
            ]
        text = json.dumps(decoded)
        # the roots of a workspace's logged models and traces
        text = re.sub(r"(dbfs:/databricks/mlflow-tracking/\d+)/models/(m-)", r"\1/logged_models/\2", text)
        text = re.sub(r"(dbfs:/databricks/mlflow-tracking/\d+)/traces/", r"\1/", text)
        return Response(text, status, mimetype="application/json")

    # ---- rights

    def _may_read(self, user: Person, experiment_id: str) -> bool:
        if experiment_id == _HIDDEN:
            return False
        return self._permissions.level(user, ("experiments", experiment_id)) is not None

    def check_experiment(self, user: Person, experiment_id: str, level: str) -> None:
        """Check a right; experiment 0 is not there.

        :raises ApiError: It lacks.
        """
        if experiment_id == _HIDDEN:
            raise absent(f"Node ID {experiment_id} does not exist.")
        if not user.is_admin:
            self._permissions.check(user, ("experiments", experiment_id), level)

    def check_run(self, user: Person, run_id: str, level: str) -> Dict[str, Any]:
        """Check a right on a run's experiment.

        :return: The run's info.
        :raises ApiError: There is no such run, or the right lacks.
        """
        info = self._platform.ask("GET", "runs/get", run_id=run_id)["run"]["info"]
        self.check_experiment(user, info["experiment_id"], level)
        return info

    def check_model(self, user: Person, model_id: str, level: str) -> Dict[str, Any]:
        """Check a right on a logged model's experiment.

        :return: The model's info.
        :raises ApiError: There is no such model, or the right lacks.
        """
        info = self._platform.ask("GET", f"logged-models/{model_id}")["model"]["info"]
        self.check_experiment(user, info["experiment_id"], level)
        return info

    def _check(self, call: Call, rest: str) -> None:
        args, verb = call.args, rest.split("/")[-1]
        reads = call.request.method == "GET" or verb in _READS
        level = "CAN_READ" if reads else "CAN_EDIT"
        for experiment_id in [*call.many("experiment_id"), *call.many("experiment_ids")]:
            self.check_experiment(call.user, experiment_id, level)
        if call.user.is_admin:
            return
        run_id = args.get("run_id") or args.get("run_uuid")
        if run_id and not rest.startswith("model-versions"):
            self.check_run(call.user, str(run_id), level)
        if rest.startswith("experiments/get-by-name"):
            node = self._workspace.nodes.get(str(args.get("experiment_name")))
            if node:
                self.check_experiment(call.user, str(node.object_id), level)
        parts = rest.split("/")
        if parts[0] == "logged-models" and len(parts) > 1 and parts[1].startswith("m-"):
            self.check_model(call.user, parts[1], level)
        if rest.startswith(("registered-models", "model-versions")) and args.get("name"):
            self._check_registered(call.user, str(args["name"]), verb, level)

    def _check_registered(self, user: Person, name: str, verb: str, level: str) -> None:
        model_id = next((i for i, known in self._permissions.models.items() if known == name), None)
        if model_id is not None:
            wanted = "CAN_MANAGE" if verb in ("delete", "rename") else level
            self._permissions.check(user, ("registered-models", model_id), wanted)

    # ---- experiments

    def create_experiment(self, call: Call) -> Response:
        """POST experiments/create: a node of the workspace."""
        name, tags = call.need("name"), _tags(call.args.get("tags"))
        if not name.startswith("/"):
            raise invalid(
                f"Got an invalid experiment name '{name}'. An experiment name must be an absolute path within the "
                "Databricks workspace, e.g. '/Users/<some-username>/my-experiment'."
            )
        location = str(call.args.get("artifact_location") or "")
        if location and not location.startswith(("dbfs:/", "s3://", "abfss://", "gs://")):
            raise invalid(f"The artifact location {location} is no location that a workspace can reach.")
        path = clean(name)
        with self._platform.lock:
            notebook = self._notebook_of(path, tags)
            owned = {
                "mlflow.ownerId": str(call.user.id),
                "mlflow.ownerEmail": call.user.name,
                "mlflow.experimentType": NOTEBOOK if notebook else EXPERIMENT,
            }
            body = {"name": path, "tags": _listed({**tags, **owned})}
            if location:
                body["artifact_location"] = location
            made = self._platform.ask("POST", "experiments/create", body)["experiment_id"]
            if notebook:
                self._permissions.notebook_experiments[made] = str(notebook.object_id)
            else:
                self._workspace.add(path, EXPERIMENT, int(made))
                self._permissions.grant(("experiments", made), call.user.principals[0], "CAN_MANAGE")
        return Response(json.dumps({"experiment_id": made}), mimetype="application/json")

    def _notebook_of(self, path: str, tags: Dict[str, str]) -> Any:
        """The notebook whose experiment is to be made.

        :raises ApiError: The path is taken, or its directory is not there.
        """
        node = self._workspace.nodes.get(path)
        if node is None:
            parent = self._workspace.nodes.get(posixpath.dirname(path))
            if parent is None or parent.kind != DIRECTORY:
                raise absent(f"Workspace directory '{posixpath.dirname(path)}' not found")
            return None
        is_own = tags.get("mlflow.experiment.sourceId") == str(node.object_id)
        if node.kind != NOTEBOOK or tags.get("mlflow.experiment.sourceType") != NOTEBOOK or not is_own:
            raise exists(f"Node named '{posixpath.basename(path)}' already exists")
        return node

    def change_experiment(self, call: Call, rest: str) -> Response:
        """POST experiments/update, delete, restore: the node follows."""
        experiment_id, verb = call.need("experiment_id"), rest.split("/")[-1]
        node = self._workspace.of_id(EXPERIMENT, int(experiment_id)) if experiment_id.isdigit() else None
        new = str(call.args.get("new_name") or "")
        with self._platform.lock:
            if new:
                self._workspace.need_parent(clean(new))
                if clean(new) in self._workspace.nodes:
                    raise exists(f"Node named '{posixpath.basename(new)}' already exists")
            answer = self.pass_on(call, rest, {**call.args, **({"new_name": clean(new)} if new else {})})
            if answer.status_code == 200 and verb == "restore":
                found = self._platform.ask("GET", "experiments/get", experiment_id=experiment_id)["experiment"]
                if experiment_id not in self._permissions.notebook_experiments:
                    self._workspace.add(found["name"], EXPERIMENT, int(experiment_id))
            elif answer.status_code == 200 and node:
                del self._workspace.nodes[node.path]
                if new:
                    self._workspace.nodes[clean(new)] = node
                    node.path = clean(new)
        return answer

    def tag_experiment(self, call: Call, rest: str) -> Response:
        """POST experiments/set-experiment-tag, delete-experiment-tag."""
        if call.args.get("key") in OWN_EXPERIMENT_TAGS:
            raise invalid(f"Tag {call.args['key']} is set by the platform and can't be changed.")
        return self.forward(call, rest)

    # ---- runs

    def create_run(self, call: Call) -> Response:
        """POST runs/create: the platform says whose the run is, and which is its root."""
        tags = _tags(call.args.get("tags"))
        _refuse_own(key for key in tags if key != "mlflow.user")  # MLflow's own client always sends the user
        tags["mlflow.user"] = call.user.name
        body = {**call.args, "user_id": str(call.user.id), "tags": _listed(tags)}
        answer = self.pass_on(call, "runs/create", body)
        if answer.status_code == 200:
            run = json.loads(answer.get_data())
            run_id = run["run"]["info"]["run_id"]
            root = self._root_of(tags.get("mlflow.parentRunId")) or run_id
            tag = {"run_id": run_id, "key": "mlflow.rootRunId", "value": root}
            self._platform.ask("POST", "runs/set-tag", tag)
            run["run"]["data"].setdefault("tags", []).append({"key": tag["key"], "value": root})
            answer.set_data(json.dumps(run))
        return answer

    def _root_of(self, parent: Optional[str]) -> Optional[str]:
        if not parent:
            return None
        try:
            data = self._platform.ask("GET", "runs/get", run_id=parent)["run"]["data"]
        except ApiError:
            return parent
        return _tags(data.get("tags")).get("mlflow.rootRunId", parent)

    def tag_run(self, call: Call, rest: str) -> Response:
        """POST runs/set-tag, delete-tag, log-batch."""
        _refuse_own([str(call.args.get("key", "")), *_tags(call.args.get("tags"))])
        return self.forward(call, rest)


def _refuse_own(keys: Any) -> None:
    own = sorted(OWN_RUN_TAGS.intersection(keys))
    if own:
        raise invalid(f"Cannot set tag {own[0]}: it is reserved for the platform.")


def _tags(listed: Any) -> Dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in listed or ()}


def _listed(tags: Dict[str, str]) -> List[Dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def routes(api: MlflowApi) -> List[Route]:
    """All of them; the general ones are last."""

    def named(function: Callable[..., Response], rest: str) -> Route:
        return ("POST", f"/api/2.0/mlflow/{rest}", lambda call: function(call, rest))

    found: List[Route] = [
        ("POST", "/api/2.0/mlflow/experiments/create", api.create_experiment),
        ("POST", "/api/2.0/mlflow/runs/create", api.create_run),
        *(named(api.change_experiment, f"experiments/{verb}") for verb in ("update", "delete", "restore")),
        *(named(api.tag_experiment, f"experiments/{verb}-experiment-tag") for verb in ("set", "delete")),
        *(named(api.tag_run, f"runs/{verb}") for verb in ("set-tag", "delete-tag", "log-batch")),
    ]
    for method in ("GET", "POST", "PATCH", "DELETE"):
        found.append((method, "/api/2.0/mlflow/<path:rest>", api.forward))
        found.append((method, "/api/3.0/mlflow/traces", lambda call: api.forward(call, "traces", "3.0")))
        found.append(
            (
                method,
                "/api/3.0/mlflow/traces/<path:rest>",
                lambda call, rest: api.forward(call, f"traces/{rest}", "3.0"),
            )
        )
    return found
