"""Every endpoint of a tracking server that the package uses, one method each: JSON in, JSON out.

Paths are those of MLflow's REST API (``mlflow/protos/service.proto``) and, for bulk histories and artifacts, of its web
page and artifact proxy. Times are ms since epoch.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple
from urllib.parse import quote

from mlflow_migration.client.errors import BadInput, NotFound, Refused, Unauthorized, Unavailable
from mlflow_migration.client.json_stream import items
from mlflow_migration.client.rest_client import RestClient, paged

Json = Dict[str, Any]

API = "/api/2.0/mlflow"
API_3 = "/api/3.0/mlflow"
AJAX = "/ajax-api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"

RUN_KEY = "mlflow_exim.run_info.run_id"
"""Tag of an imported run: the id of the run that it was made from."""

MODEL_KEY = "mlflow_exim.field.model_id"
"""Tag of an imported logged model: the id of the logged model that it was made from."""

DEFAULT_WORKSPACE = "default"
"""The workspace that a server has from the start, and that is meant where none is named."""

BULK_RUNS = 100  # runs in one bulk history request
BULK_ROWS = 25_000  # rows of one bulk history reply; there is no paging
HISTORY_PAGE = 50_000
LOG_BATCH = 1_000  # metrics, params and tags of one log-batch request together
LOG_BATCH_PARAMS = 100
LOG_BATCH_TAGS = 100
LOG_INPUTS = 1_000  # datasets of one log-inputs request
_CHUNK = 10_000  # points handed on at a time
_SLOW = 900.0  # seconds: a server that gives histories only whole may work long on millions of points
_RUNS_PAGE = 500
_DATABRICKS_MODELS_PAGE = 50  # logged models; a workspace refuses more
_RACES = 5
_BREAKS = 5  # attempts to read a reply that breaks off
# what SQLite, PostgreSQL, MySQL and SQL Server say when two requests make the same row
_UNIQUE = re.compile(r"IntegrityError|UniqueViolation|UNIQUE constraint|duplicate (key|entry)", re.IGNORECASE)


def is_there_already(ex: Refused) -> bool:
    """Tell whether a server refuses a row because it has it."""
    return bool(_UNIQUE.search(ex.message))


class Tracking:
    """One tracking server.

    :param rest: The client that sends.
    """

    def __init__(self, rest: RestClient) -> None:
        self.rest = rest
        self.uri = rest.connection.uri
        self.workspace = rest.connection.workspace
        """The workspace of the server that everything is about; empty if none is named."""
        self.identity = rest.url
        """What names the server, and a workspace other than the default one, in files that outlive a command."""
        self.is_databricks = rest.connection.is_databricks
        """Whether it is a Databricks workspace: those lack some routes, and may answer a page there instead of 404."""
        if self.workspace not in ("", DEFAULT_WORKSPACE):
            self.identity = f"{self.identity}#{self.workspace}"
        self._in_files: Optional[bool] = None
        self.is_private = False
        """Whether it is a server of our own in front of a local store."""
        self.artifact_folder: Optional[str] = None
        """Folder with the artifacts of a local store that is a source; empty if that is not known."""
        self.absent: Set[str] = set()
        """Folders of experiments that are not on this machine, so that nobody knows what was in them."""
        self.out_of_reach: Set[str] = set()
        """Artifact stores that only the server reaches: what has been found out about them so far."""
        self.shared: Dict[str, bool] = {}
        """Directories of this machine, and whether the server has the same: what has been found out so far."""

    def reach(self) -> None:
        """Ask for something small, so that a wrong address or wrong credentials show before anything is done.

        :raises BadInput: The server can't be reached or refuses.
        """
        try:
            self.rest.request("POST", f"{API}/experiments/search", body={"max_results": 1}, read=True, retries=3).json()
        except ValueError as ex:
            raise BadInput(f"{self.uri} is no MLflow tracking server: its reply is no JSON") from ex
        except NotFound as ex:
            if ex.error_code and self.workspace:
                raise BadInput(f"{self.uri} has no workspace '{self.workspace}'.") from ex
            raise BadInput(f"{self.uri} is no MLflow tracking server: {ex.message}") from ex
        except Refused as ex:
            # a server that knows workspaces and runs without refuses whatever names one
            if self.workspace and not self.has_workspaces():
                raise BadInput(f"{self.uri} has no workspaces, and '{self.workspace}' is asked for.") from ex
            raise

    def version(self) -> str:
        """Return the server's MLflow version, empty if it does not tell."""
        if self.is_databricks:
            return ""
        try:
            return self.rest.request("GET", "/version", retries=1).text.strip()[:40]
        except Refused:
            return ""

    def need_database(self) -> None:
        """Do nothing, unless the server keeps its data in files: then it has newer routes, and fails in them.

        :raises NotFound: It does; without an error code, as where it had no such routes.
        """
        if self._in_files is None and self.is_databricks:
            self._in_files = False
        if self._in_files is None:
            try:
                info = self.rest.get(f"{API_3}/server-info")
            except NotFound:
                info = {}
            self._in_files = info.get("store_type") == "FileStore"
        if self._in_files:
            raise NotFound(f"{self.uri} keeps its data in files, without a database", http_status_code=404)

    # -- workspaces ---------------------------------------------------------------------------------------------
    #
    # Names of experiments, registered models and prompts are those of one workspace. Ids of experiments, runs and
    # logged models are the server's, but what is in another workspace than the one that is named is not found.

    def has_workspaces(self) -> bool:
        """Tell whether the server keeps workspaces apart (``mlflow server --enable-workspaces``)."""
        if self.is_databricks:
            return False
        try:
            return bool(self.rest.get(f"{API_3}/server-info").get("workspaces_enabled"))
        except NotFound:
            return False

    def workspaces(self) -> List[Json]:
        """Return all workspaces that the user may see, with ``name`` and perhaps ``description``, by name."""
        found = self.rest.get(f"{API_3}/workspaces").get("workspaces") or []
        return sorted(found, key=lambda workspace: str(workspace["name"]))

    def create_workspace(self, name: str, description: str) -> None:
        """Create a workspace; where it has its artifacts is up to the server."""

        def find() -> Optional[bool]:
            return any(workspace["name"] == name for workspace in self.workspaces()) or None

        body = {"name": name, **({"description": description} if description else {})}
        self.rest.post_once(f"{API_3}/workspaces", body, find, lambda reply: True)

    def describe_workspace(self, name: str, description: str) -> None:
        """Set the description of a workspace."""
        self.rest.patch(f"{API_3}/workspaces/{quote(name, safe='')}", {"description": description})

    # -- rights -------------------------------------------------------------------------------------------------

    def has_basic_auth(self) -> bool:
        """Tell whether the server checks users (MLflow's basic-auth app), which shows a user only what he may read."""
        if self.is_databricks:
            return False
        try:
            self.rest.get(f"{API}/users/get", {"username": ""})
        except NotFound as ex:
            return bool(ex.error_code)
        except Refused:
            return True
        return True

    def is_admin(self, username: str) -> Optional[bool]:
        """Tell whether a user is an administrator; None if the server does not say."""
        try:
            user = self.rest.get(f"{API}/users/get", {"username": username}).get("user", {})
        except Refused:
            return None
        return bool(user["is_admin"]) if "is_admin" in user else None

    def user(self) -> Optional[str]:
        """Return the name under which the server knows the user; None if it doesn't check users, or doesn't say."""
        try:
            user = self.rest.get(f"{API}/users/current").get("user") or {}
        except Refused:
            return None
        return str(user.get("username") or "") or None

    # -- experiments --------------------------------------------------------------------------------------------

    def experiment(self, experiment_id: str) -> Json:
        """Return an experiment, deleted ones too. Raises NotFound."""
        reply = self.rest.get(f"{API}/experiments/get", {"experiment_id": experiment_id})
        return dict(reply["experiment"])

    def experiment_by_name(self, name: str) -> Optional[Json]:
        """Return the experiment of that name, deleted ones too, or None."""
        try:
            reply = self.rest.get(f"{API}/experiments/get-by-name", {"experiment_name": name})
        except NotFound as ex:
            if ex.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                return None
            raise
        return dict(reply["experiment"])

    def search_experiments(self) -> Iterator[List[Json]]:
        """Yield pages of experiments of any lifecycle stage, with their tags."""

        def fetch(token: Optional[str]) -> Json:
            body: Json = {"view_type": "ALL", "max_results": 1000, **({"page_token": token} if token else {})}
            return self.rest.search(f"{API}/experiments/search", body)

        return paged(fetch, "experiments")

    def active_experiments(self) -> List[str]:
        """Return the ids of the experiments that are not deleted, in the order of their numbers."""
        found = (one for page in self.search_experiments() for one in page)
        ids = [str(one["experiment_id"]) for one in found if one.get("lifecycle_stage") != "deleted"]
        return sorted(ids, key=lambda one: (len(one), one))

    def create_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Create an experiment with its tags; returns its id."""

        def find() -> Optional[str]:
            there = self.experiment_by_name(name)
            return there["experiment_id"] if there else None

        body = {"name": name, "tags": _pairs(tags)}
        return self.rest.post_once(f"{API}/experiments/create", body, find, lambda reply: str(reply["experiment_id"]))

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an active experiment."""
        body = {"experiment_id": experiment_id, "key": key, "value": value}
        self.rest.post(f"{API}/experiments/set-experiment-tag", body)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> bool:
        """Remove a tag of an active experiment; False if the server is too old for that."""

        def call() -> bool:
            try:
                self.rest.post(f"{API}/experiments/delete-experiment-tag", {"experiment_id": experiment_id, "key": key})
            except NotFound as ex:
                if not ex.error_code:
                    raise
            return True

        return bool(self.rest.optional("delete-experiment-tag", call))

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment and all its runs as deleted; it is no error if it is so already."""
        self._set_experiment_stage("delete", experiment_id, "deleted")

    def restore_experiment(self, experiment_id: str) -> None:
        """Make a deleted experiment active again, with all its runs; it is no error if it is so already."""
        self._set_experiment_stage("restore", experiment_id, "active")

    def _set_experiment_stage(self, verb: str, experiment_id: str, stage: str) -> None:
        try:
            self.rest.post(f"{API}/experiments/{verb}", {"experiment_id": experiment_id})
        except Refused:
            # a second attempt is refused when the first, whose reply got lost, took effect
            if self.experiment(experiment_id).get("lifecycle_stage") != stage:
                raise

    # -- runs ---------------------------------------------------------------------------------------------------

    def search_runs(
        self, experiment_ids: Sequence[str], where: str = "", order_by: Sequence[str] = (), page: int = _RUNS_PAGE
    ) -> Iterator[List[Json]]:
        """Yield pages of runs of any lifecycle stage, with info, params, tags, latest metrics, inputs and outputs.

        ``inputs.model_inputs`` is missing in what the server returns here.

        :param where: MLflow's filter string.
        :param order_by: MLflow's order clauses.
        :param page: Runs in a page.
        """

        def fetch(token: Optional[str]) -> Json:
            body: Json = {"experiment_ids": list(experiment_ids), "run_view_type": "ALL", "max_results": page}
            if where:
                body["filter"] = where
            if order_by:
                body["order_by"] = list(order_by)
            if token:
                body["page_token"] = token
            return self.rest.search(f"{API}/runs/search", body)

        return paged(fetch, "runs")

    def run(self, run_id: str) -> Json:
        """Return one run with everything but its histories. Raises NotFound."""
        return dict(self.rest.get(f"{API}/runs/get", {"run_id": run_id})["run"])

    def create_run(self, body: Json, key: str) -> Json:
        """Create a run.

        :param body: As ``runs/create`` takes it; its tags hold RUN_KEY.
        :param key: The value of RUN_KEY, by which an attempt is found whose reply got lost.
        """

        def find() -> Optional[Json]:
            where = f"tags.`{RUN_KEY}` = '{key}'"
            for found in self.search_runs([body["experiment_id"]], where, page=10):
                return dict(found[0])
            return None

        return self.rest.post_once(f"{API}/runs/create", body, find, lambda reply: dict(reply["run"]))

    def update_run(self, run_id: str, **fields: Any) -> None:
        """Set status, end_time (ms) and run_name of an active run."""
        self.rest.post(f"{API}/runs/update", {"run_id": run_id, **fields})

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted; it is no error if it is so already."""
        self._set_run_stage("delete", run_id, "deleted")

    def restore_run(self, run_id: str) -> None:
        """Make a deleted run active again; it is no error if it is so already."""
        self._set_run_stage("restore", run_id, "active")

    def _set_run_stage(self, verb: str, run_id: str, stage: str) -> None:
        try:
            self.rest.post(f"{API}/runs/{verb}", {"run_id": run_id})
        except Refused:
            if self.run(run_id)["info"].get("lifecycle_stage") != stage:
                raise

    def log_batch(self, run_id: str, metrics: List[Json], params: List[Json], tags: List[Json]) -> None:
        """Log at most LOG_BATCH values; it may be repeated, the server drops what it has."""
        body: Json = {"run_id": run_id}
        if metrics:
            body["metrics"] = metrics
        if params:
            body["params"] = params
        if tags:
            body["tags"] = tags
        self.rest.post(f"{API}/runs/log-batch", body)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of an active run."""
        self.rest.post(f"{API}/runs/set-tag", {"run_id": run_id, "key": key, "value": value})

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of an active run; it is no error if there is none."""
        try:
            self.rest.post(f"{API}/runs/delete-tag", {"run_id": run_id, "key": key})
        except NotFound:
            return

    def log_inputs(self, run_id: str, datasets: List[Json], models: List[Json]) -> None:
        """Link datasets and logged models to a run as inputs; the server drops what it has."""
        body: Json = {"run_id": run_id, "datasets": datasets}
        if models:
            body["models"] = models
        for attempt in range(_RACES):
            try:
                self.rest.post(f"{API}/runs/log-inputs", body)
                return
            except Refused as ex:
                # runs of an experiment share datasets: another run has just made the one that this one needs
                if not is_there_already(ex) or attempt == _RACES - 1:
                    raise

    def log_outputs(self, run_id: str, models: List[Json], present: Callable[[], Optional[bool]]) -> None:
        """Link logged models to a run as outputs.

        :param present: Tells (True or None) whether the run has them, asked after an attempt of unknown outcome.
        """
        body = {"run_id": run_id, "models": models}
        self.rest.post_once(f"{API}/runs/outputs", body, present, lambda reply: True)

    # -- metric histories ---------------------------------------------------------------------------------------

    def bulk_history(self, run_ids: Sequence[str], key: str) -> Optional[List[Json]]:
        """Return points of one metric of at most BULK_RUNS runs, sorted by run id.

        :return: At most BULK_ROWS points; as many means that there are more. None if the server has no such route.
        """
        params = [("metric_key", key), ("max_results", BULK_ROWS)] + [("run_id", run_id) for run_id in run_ids]

        def call() -> List[Json]:
            return list(self.rest.get(f"{AJAX}/metrics/get-history-bulk", params, timeout=_SLOW).get("metrics") or [])

        if self.is_databricks:
            return None
        try:
            return self.rest.optional("get-history-bulk", call)
        except Unauthorized:
            return None  # it lies below /ajax-api, where a web server in front may let only users of the pages in

    def history(self, run_id: str, key: str) -> Iterator[List[Json]]:
        """Yield the points of one metric of one run, whatever their number, a bounded list at a time.

        A server that knows no paging sends them all in one reply, which is read as a stream.
        """
        params = {"run_id": run_id, "metric_key": key, "max_results": str(HISTORY_PAGE)}
        while True:
            rest: Json = {}
            try:
                yield from self._history_page(params, rest)
            except Refused:
                if "max_results" not in params or "page_token" in params:
                    raise
                del params["max_results"]
                continue
            if not rest.get("next_page_token"):
                return
            params["page_token"] = rest["next_page_token"]

    def _history_page(self, params: Mapping[str, str], rest: Json) -> Iterator[List[Json]]:
        """Yield the points of one reply; one that breaks off is asked for again, and gone on with where it broke."""
        marks: List[bytes] = []  # of the points handed on so far
        for attempt in range(_BREAKS):
            begun = False
            try:
                with self.rest.stream(f"{API}/metrics/get-history", params, timeout=_SLOW) as blocks:
                    begun = True
                    for number, chunk in enumerate(_chunks(items(blocks, "metrics", rest))):
                        mark = hashlib.blake2b(repr(chunk).encode(), digest_size=16).digest()
                        if number == len(marks):
                            marks.append(mark)
                            yield chunk
                        elif mark != marks[number]:
                            begun = False
                            raise Unavailable(f"metric {params['metric_key']}: its history changed while it was read")
                return
            except Unavailable:
                if not begun or attempt == _BREAKS - 1:
                    raise

    # -- logged models ------------------------------------------------------------------------------------------

    def search_logged_models(self, experiment_ids: Sequence[str], where: str = "") -> Iterator[List[Json]]:
        """Yield pages of active logged models with params, tags and metrics; nothing on servers before MLflow 3."""

        def fetch(token: Optional[str]) -> Json:
            most = _DATABRICKS_MODELS_PAGE if self.is_databricks else 500
            body: Json = {"experiment_ids": list(experiment_ids), "max_results": most}
            if where:
                body["filter"] = where
            if token:
                body["page_token"] = token
            call = lambda: self.rest.search(f"{API}/logged-models/search", body)  # noqa: E731
            return self.rest.optional("logged-models", call) or {}

        return paged(fetch, "models")

    def knows_logged_models(self) -> bool:
        """Tell whether the server can hold logged models, as those of MLflow 3 can."""
        if not self.rest.lacks("logged-models"):
            try:
                next(self.search_logged_models(["0"]), None)
            except NotFound:
                return True  # the route is there; a Databricks workspace has no experiment 0
        return not self.rest.lacks("logged-models")

    def has_logged_models(self) -> bool:
        """Tell whether the server holds any active logged model."""
        for experiments in self.search_experiments():
            ids = [experiment["experiment_id"] for experiment in experiments]
            for _ in self.search_logged_models(ids):
                return True
        return False

    def logged_model(self, model_id: str) -> Json:
        """Return a logged model, deleted ones too. Raises NotFound."""
        reply = self.rest.get(f"{API}/logged-models/{_path(model_id)}", {"allow_deleted": "true"})
        return dict(reply["model"])

    def is_deleted_logged_model(self, model_id: str) -> bool:
        """Tell whether a logged model that exists is marked as deleted, which no reply says of it."""
        try:
            self.rest.get(f"{API}/logged-models/{_path(model_id)}")
        except NotFound:
            return True
        return False

    def create_logged_model(self, body: Json, find: Callable[[], Optional[Json]]) -> Json:
        """Create a logged model; ``find`` returns one that an attempt of unknown outcome made."""
        return self.rest.post_once(f"{API}/logged-models", body, find, lambda reply: dict(reply["model"]))

    def log_model_params(self, model_id: str, params: List[Json]) -> None:
        """Add params to a logged model, which has none of them yet."""

        def find() -> Optional[bool]:
            there = tag_dict((self.logged_model(model_id).get("data") or {}).get("params"))
            return True if tag_dict(params).items() <= there.items() else None

        body = {"model_id": model_id, "params": params}
        self.rest.post_once(f"{API}/logged-models/{_path(model_id)}/params", body, find, lambda reply: True)

    def set_model_tags(self, model_id: str, tags: List[Json]) -> None:
        """Set tags of a logged model."""
        self.rest.patch(f"{API}/logged-models/{_path(model_id)}/tags", {"model_id": model_id, "tags": tags})

    def delete_model_tag(self, model_id: str, key: str) -> None:
        """Remove a tag of a logged model; it is no error if there is none. Raises NotFound for a key with a slash."""
        try:
            self.rest.delete(f"{API}/logged-models/{_path(model_id)}/tags/{quote(key, safe='')}")
        except NotFound as ex:
            if not ex.error_code:  # no such route: the server takes the slash for the end of the key
                raise

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        """Set the status, LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED."""
        self.rest.patch(f"{API}/logged-models/{_path(model_id)}", {"model_id": model_id, "status": status})

    def delete_logged_model(self, model_id: str) -> None:
        """Mark a logged model as deleted."""
        self.rest.delete(f"{API}/logged-models/{_path(model_id)}")

    # -- artifacts ----------------------------------------------------------------------------------------------

    def proxied_files(self, path: str) -> List[Json]:
        """List one directory of the artifact proxy: dicts of path (last component), is_dir, file_size (bytes)."""
        return self.rest.get(ARTIFACTS, {"path": path}).get("files") or []

    @contextmanager
    def proxied_file(self, path: str) -> Iterator[Iterator[bytes]]:
        """Read a file through the artifact proxy."""
        with self.rest.stream(f"{ARTIFACTS}/{_path(path)}") as blocks:
            yield blocks

    def put_proxied_file(self, path: str, open_body: Callable[[], BinaryIO], size: int) -> None:
        """Write a file of ``size`` bytes through the artifact proxy."""
        self.rest.upload(f"{ARTIFACTS}/{_path(path)}", open_body, size)

    def run_files(self, run_id: str, path: str = "") -> Iterator[List[Json]]:
        """Yield pages of one artifact directory of a run; paths are relative to the run's root."""

        def fetch(token: Optional[str]) -> Json:
            params = {"run_id": run_id, **({"path": path} if path else {}), **({"page_token": token} if token else {})}
            return self.rest.get(f"{API}/artifacts/list", params)

        return paged(fetch, "files")

    @contextmanager
    def run_file(self, run_id: str, path: str) -> Iterator[Iterator[bytes]]:
        """Read an artifact of a run from wherever the server itself can read it."""
        with self.rest.stream("/get-artifact", {"run_uuid": run_id, "path": path}) as blocks:
            yield blocks

    @contextmanager
    def logged_model_file(self, model_id: str, path: str) -> Iterator[Iterator[bytes]]:
        """Read an artifact of a logged model from wherever the server itself can read it."""
        where = f"{AJAX}/logged-models/{_path(model_id)}/artifacts/files"
        with self.rest.stream(where, {"artifact_file_path": path}) as blocks:
            yield blocks

    def logged_model_files(self, model_id: str, path: str = "") -> Iterator[List[Json]]:
        """Yield pages of one artifact directory of a logged model."""

        def fetch(token: Optional[str]) -> Json:
            params = {"artifact_directory_path": path} if path else {}
            if token:
                params["page_token"] = token
            return self.rest.get(f"{API}/logged-models/{_path(model_id)}/artifacts/directories", params)

        return paged(fetch, "files")


def _chunks(points: Iterator[Json]) -> Iterator[List[Json]]:
    chunk = list(islice(points, _CHUNK))
    while chunk:
        yield chunk
        chunk = list(islice(points, _CHUNK))


def tag_list(tags: Mapping[str, str]) -> List[Json]:
    """Return tags or params as REST takes them."""
    return _pairs(tags)


def tag_dict(tags: Optional[Iterable[Json]]) -> Dict[str, str]:
    """Return REST's list of key and value as a dict; REST leaves out empty values."""
    return {tag["key"]: tag.get("value", "") for tag in tags or ()}


def batches(metrics: Iterator[Json], params: List[Json], tags: List[Json]) -> Iterator[Tuple[List[Json], ...]]:
    """Yield (metrics, params, tags) of log-batch requests filled to the limits."""
    while True:
        some_params, params = params[:LOG_BATCH_PARAMS], params[LOG_BATCH_PARAMS:]
        some_tags, tags = tags[:LOG_BATCH_TAGS], tags[LOG_BATCH_TAGS:]
        room = LOG_BATCH - len(some_params) - len(some_tags)
        some_metrics = list(islice(metrics, room))
        if not (some_metrics or some_params or some_tags):
            return
        yield some_metrics, some_params, some_tags


def _pairs(pairs: Mapping[str, str]) -> List[Json]:
    return [{"key": key, "value": value} for key, value in pairs.items()]


def _path(path: str) -> str:
    return quote(path, safe="/")
