"""The workspace's model registry: MLflow's, with ids, permissions and the registry's own copies of the files."""

from __future__ import annotations

import json
import uuid
from typing import Any, Dict, List

from werkzeug.wrappers import Response

from tests.databricks.standin.artifacts import files_of, key_of, page_of
from tests.databricks.standin.mlflow_api import MlflowApi
from tests.databricks.standin.permissions import Permissions
from tests.databricks.standin.platform import Call, Platform, Route, absent
from tests.databricks.standin.store import Store, inner

_MLFLOW = "/api/2.0/mlflow"


class Registry:
    """Knows the ids of registered models and where the files of versions are."""

    def __init__(self, platform: Platform, api: MlflowApi, permissions: Permissions, store: Store) -> None:
        """Nothing is registered yet."""
        self._platform, self._api, self._permissions, self._store = platform, api, permissions, store
        self._files: Dict[str, str] = {}  # NAME/VERSION -> key of the copy

    def _id_of(self, name: str) -> str:
        for model_id, known in self._permissions.models.items():
            if known == name:
                return model_id
        raise absent(f"RegisteredModel '{name}' does not exist.")

    def create(self, call: Call) -> Response:
        """POST registered-models/create."""
        answer = self._api.forward(call, "registered-models/create")
        if answer.status_code == 200:
            model_id = uuid.uuid4().hex
            self._permissions.models[model_id] = call.need("name")
            self._permissions.grant(("registered-models", model_id), call.user.principals[0], "CAN_MANAGE")
        return answer

    def rename(self, call: Call) -> Response:
        """POST registered-models/rename: the id stays."""
        old, new = call.need("name"), call.need("new_name")
        answer = self._api.forward(call, "registered-models/rename")
        if answer.status_code == 200:
            self._permissions.models[self._id_of(old)] = new
            moved = [key for key in self._files if key.rpartition("/")[0] == old]
            for key in moved:
                self._files[f"{new}/{key.rpartition('/')[2]}"] = self._files.pop(key)
        return answer

    def delete(self, call: Call) -> Response:
        """DELETE registered-models/delete."""
        answer = self._api.forward(call, "registered-models/delete")
        if answer.status_code == 200:
            del self._permissions.models[self._id_of(call.need("name"))]
        return answer

    def get(self, call: Call) -> Dict[str, Any]:
        """GET databricks/registered-models/get."""
        name = call.need("name")
        model = self._platform.ask("GET", "registered-models/get", name=name)["registered_model"]
        model_id = self._id_of(name)
        self._permissions.check(call.user, ("registered-models", model_id), "CAN_READ")
        level = self._permissions.level(call.user, ("registered-models", model_id))
        return {"registered_model_databricks": {**model, "id": model_id, "permission_level": level}}

    def create_version(self, call: Call) -> Response:
        """POST model-versions/create: the registry takes its own copy of the files."""
        answer = self._api.forward(call, "model-versions/create")
        source = str(call.args.get("source") or "")
        if answer.status_code == 200 and source.startswith("dbfs:/"):
            made = json.loads(answer.get_data())["model_version"]
            key = f"databricks/mlflow-registry/{uuid.uuid4().hex}/models/{made['name']}"
            self._store.copy(key_of(source), key)
            self._files[f"{made['name']}/{made['version']}"] = key
        return answer

    def _key(self, call: Call) -> str:
        name, version = call.need("name"), call.need("version")
        self._permissions.check(call.user, ("registered-models", self._id_of(name)), "CAN_READ")
        found = self._platform.ask("GET", "model-versions/get", name=name, version=version)["model_version"]
        return self._files.get(f"{name}/{version}") or key_of(found["source"])

    def download_uri(self, call: Call) -> Dict[str, Any]:
        """GET model-versions/get-download-uri."""
        return {"artifact_uri": f"dbfs:/{self._key(call)}"}

    def list(self, call: Call) -> Dict[str, Any]:
        """GET model-versions/list-artifacts."""
        key = self._key(call)
        files = files_of(self._store, key, str(call.args.get("path") or ""))
        return {"root_uri": f"dbfs:/{key}", **page_of(call, self._platform, "files", files)}

    def signed_uri(self, call: Call) -> Dict[str, Any]:
        """GET model-versions/get-signed-download-uri."""
        credential = self._store.credential("GET", f"{self._key(call)}/{inner(call.need('path'))}")
        return {"signed_uri": credential["signed_uri"], "headers": credential["headers"]}


def routes(registry: Registry, api: MlflowApi) -> List[Route]:
    """All of them."""
    models, versions = f"{_MLFLOW}/registered-models", f"{_MLFLOW}/model-versions"
    stage = "model-versions/transition-stage"
    return [
        ("POST", f"{models}/create", registry.create),
        ("POST", f"{models}/rename", registry.rename),
        ("DELETE", f"{models}/delete", registry.delete),
        ("GET", f"{_MLFLOW}/databricks/registered-models/get", registry.get),
        ("POST", f"{_MLFLOW}/databricks/{stage}", lambda call: api.forward(call, stage)),
        ("POST", f"{versions}/create", registry.create_version),
        ("GET", f"{versions}/get-download-uri", registry.download_uri),
        ("GET", f"{versions}/list-artifacts", registry.list),
        ("GET", f"{versions}/get-signed-download-uri", registry.signed_uri),
    ]
