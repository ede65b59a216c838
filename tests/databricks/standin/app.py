"""The program: takes requests, checks who asks and how often, and hands them to the routes."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Deque, Dict, Iterable, List, Optional

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tests.databricks.standin import routes_of
from tests.databricks.standin.platform import ApiError, Call, Person, Platform, Route, no_route

KEY_HEADER = "X-Standin-Key"


class _Bucket:
    """Counts requests of the last second."""

    def __init__(self) -> None:
        self._times: Deque[float] = deque()
        self._lock = threading.Lock()

    def admits(self, limit: float) -> bool:
        with self._lock:
            moment = time.monotonic()
            while self._times and self._times[0] < moment - 1.0:
                self._times.popleft()
            if limit and len(self._times) >= limit:
                return False
            self._times.append(moment)
            return True


class Application:
    """WSGI application of one workspace."""

    def __init__(self, platform: Platform, routes: Iterable[Route]) -> None:
        """`routes` are all that it answers, besides its own control."""
        self._platform = platform
        self._map = Map(
            [Rule(path, methods=[method], endpoint=function) for method, path, function in routes],
            merge_slashes=False,
            strict_slashes=False,
        )
        self._requests: List[Dict[str, Any]] = []
        self._bucket = _Bucket()

    def __call__(self, environ: Dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; its body is always read, so that the connection can be used again."""
        request = Request(environ)
        response = self._control(request) if request.path.startswith("/standin/") else self._answer(request)
        while request.stream.read(1 << 20):
            pass
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            response = self._dispatch(request)
        except ApiError as error:
            response = _json({"error_code": error.code, "message": error.message}, error.status)
            if error.status == 429:
                response.headers["Retry-After"] = str(self._platform.settings.retry_after)
        response.headers["x-databricks-org-id"] = str(self._platform.workspace_id)
        record = {
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode(),
            "token": _token(request) or request.headers.get("Authorization"),
            "status": response.status_code,
        }
        with self._platform.lock:
            self._requests.append(record)
        return response

    def _dispatch(self, request: Request) -> Response:
        is_api = request.path.startswith(("/api/", "/dbfs/"))
        user = self._user(request) if is_api else Person("")
        for start, status in self._platform.settings.fail_paths.items():
            if request.path.startswith(start):
                raise ApiError(status, "TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable.")
        if is_api and not self._bucket.admits(self._platform.settings.rate_limit):
            raise ApiError(429, "REQUEST_LIMIT_EXCEEDED", "Too many requests. Please wait a moment and try again.")
        try:
            function, variables = self._map.bind_to_environ(request.environ).match()
        except HTTPException:
            raise no_route(request.method, request.path) from None
        answer = function(Call(request, user, _arguments(request) if is_api else {}), **variables)
        return answer if isinstance(answer, Response) else _json(answer)

    def _user(self, request: Request) -> Person:
        token = _token(request)
        if token is None:
            message = "Credential was not sent or was of an unsupported type for this API."
            raise ApiError(401, "UNAUTHENTICATED", message)
        if token not in self._platform.people:
            raise ApiError(403, "PERMISSION_DENIED", "Invalid access token.")
        return self._platform.people[token]

    def _control(self, request: Request) -> Response:
        """The test's own questions; they are not recorded."""
        if request.headers.get(KEY_HEADER) != self._platform.key:
            return Response(status=404)
        if request.path == "/standin/requests":
            with self._platform.lock:
                found = list(self._requests)
                if request.method == "DELETE":
                    self._requests.clear()
            return _json({"requests": found})
        if request.path == "/standin/control":
            for name, value in json.loads(request.get_data() or b"{}").items():
                if not hasattr(self._platform.settings, name):
                    return _json({"message": f"there is no setting {name}"}, 400)
                setattr(self._platform.settings, name, value)
            return _json(vars(self._platform.settings))
        return Response(status=404)


def _token(request: Request) -> Optional[str]:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind == "Bearer" and token.strip() else None


def _arguments(request: Request) -> Dict[str, Any]:
    arguments: Dict[str, Any] = {}
    for name, values in request.args.lists():
        arguments[name] = values if len(values) > 1 else values[0]
    if (request.mimetype or "").startswith("multipart/form-data"):
        arguments.update(request.form)
    elif not request.path.startswith("/dbfs/"):
        try:
            body = json.loads(request.get_data() or b"{}")
        except ValueError:
            raise ApiError(400, "MALFORMED_REQUEST", "Invalid JSON in the request body") from None
        arguments.update(body if isinstance(body, dict) else {})
    return arguments


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")


class _Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True  # or each kept-alive reply waits 40 ms

    def log_request(self, *_: Any) -> None:
        pass


def main(config_path: str) -> None:
    """Serve until ended.

    :param config_path: JSON file that `StandIn` wrote.
    """
    config = json.loads(Path(config_path).read_text(encoding="utf-8"))
    platform = Platform(config, f"http://127.0.0.1:{config['port']}")
    application = Application(platform, routes_of.all_routes(platform))
    make_server("127.0.0.1", config["port"], application, threaded=True, request_handler=_Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
