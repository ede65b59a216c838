"""What all routes of the stand-in share: who asks, what was asked, errors, settings, and the MLflow server behind."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import requests
from werkzeug.wrappers import Request, Response

#: what a route gives back: JSON, or a response of its own
Answer = Union[Dict[str, Any], Response]
#: method, path (werkzeug's rules), function of a call and the variables of the path
Route = Tuple[str, str, Callable[..., Answer]]


def now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


class ApiError(Exception):
    """A refusal in Databricks' words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """`code` is Databricks' `error_code`."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def invalid(message: str) -> ApiError:
    """The arguments can't be used."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


def absent(message: str) -> ApiError:
    """What was asked for is not there."""
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)


def exists(message: str) -> ApiError:
    """What was to be made is there."""
    return ApiError(400, "RESOURCE_ALREADY_EXISTS", message)


def denied(message: str) -> ApiError:
    """The user has no right to it."""
    return ApiError(403, "PERMISSION_DENIED", message)


def no_route(method: str, path: str) -> ApiError:
    """There is no such route."""
    return ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{method} {path}'")


@dataclass(frozen=True)
class Person:
    """A user or service principal."""

    name: str  # user name (an e-mail address), or application id
    groups: Tuple[str, ...] = ()
    is_admin: bool = False
    is_service_principal: bool = False
    client_secret: str = ""  # OAuth machine-to-machine: the client id is the application id
    id: int = 0

    @property
    def all_groups(self) -> Tuple[str, ...]:
        """With those that a workspace has by itself."""
        return (*self.groups, "users", *(("admins",) if self.is_admin else ()))

    @property
    def principals(self) -> Tuple[Tuple[str, str], ...]:
        """What a grant may name to mean this user."""
        own = "service_principal_name" if self.is_service_principal else "user_name"
        return ((own, self.name), *(("group_name", group) for group in self.all_groups))


@dataclass
class Settings:
    """What `StandIn.control` changes."""

    rate_limit: float = 0.0  # requests a second before 429; 0 is no limit
    retry_after: int = 1  # seconds that a 429 says
    url_seconds: float = 900.0  # how long a presigned URL holds
    max_put_bytes: int = 5 * 1024**3  # as S3: beyond it a file needs several parts
    min_part_bytes: int = 5 * 1024**2  # as S3: of all parts but the last
    page_size: int = 1000  # entries of a page of artifacts or credentials
    job_seconds: float = 0.3  # how long a submitted run is pending, and then running
    job_result: str = "SUCCESS"
    max_notebook_bytes: int = 10 * 1024**2
    fail_paths: Dict[str, int] = field(default_factory=dict)  # start of a path -> status that it answers with


@dataclass
class Call:
    """One request."""

    request: Request
    user: Person
    args: Dict[str, Any]  # of the query and the JSON body

    def need(self, name: str) -> str:
        """An argument that must be there.

        :raises ApiError: It isn't.
        """
        value = self.args.get(name)
        if value in (None, ""):
            raise invalid(f"Missing required field: {name}")
        return str(value)

    def many(self, name: str) -> List[str]:
        """An argument that may be given several times."""
        value = self.args.get(name)
        return [] if value is None else [str(v) for v in value] if isinstance(value, list) else [str(value)]

    def flag(self, name: str) -> bool:
        """A true-or-false argument, false by default."""
        return str(self.args.get(name, "")).lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        """A whole number.

        :raises ApiError: It is none.
        """
        try:
            return int(self.args.get(name) or default)
        except ValueError:
            raise invalid(f"Invalid value for {name}") from None


class Platform:
    """Users, settings, ids and the MLflow server of one workspace."""

    def __init__(self, config: Mapping[str, Any], url: str) -> None:
        """`config` is what `StandIn` wrote, `url` the stand-in's own address."""
        self.url = url
        self.root = Path(config["root"])
        self.upstream = config["upstream"]
        self.key = config["key"]
        self.workspace_id = config["workspace_id"]
        self.schemas: List[str] = config["schemas"]
        self.bucket: Optional[Dict[str, Any]] = config["bucket"]
        self.people = {
            token: Person(**{**user, "groups": tuple(user["groups"])}, id=4_000_000 + n)
            for n, (token, user) in enumerate(config["users"].items())
        }
        self.settings = Settings()
        self.lock = threading.RLock()
        self._ids = itertools.count(1_000_001)
        self._threads = threading.local()

    def new_id(self) -> int:
        """An id of a workspace object or run; experiments have MLflow's, which are smaller."""
        return next(self._ids)

    @property
    def groups(self) -> List[str]:
        """All groups of the workspace."""
        return sorted({"admins", "users"} | {g for person in self.people.values() for g in person.groups})

    def has_principal(self, kind: str, name: str) -> bool:
        """Whether there is such a user_name, group_name or service_principal_name."""
        if kind == "group_name":
            return name in self.groups
        is_service = kind == "service_principal_name"
        return any(p.name == name and p.is_service_principal == is_service for p in self.people.values())

    def send(
        self, method: str, path: str, body: Optional[Any] = None, query: Optional[Any] = None
    ) -> requests.Response:
        """Ask the MLflow server; the token stays here."""
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            self._threads.session.trust_env = False
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        return self._threads.session.request(
            method, self.upstream + path, data=data, params=query, headers=headers, timeout=120
        )

    def ask(self, method: str, path: str, body: Optional[Any] = None, **query: Any) -> Dict[str, Any]:
        """JSON of the MLflow server.

        :raises ApiError: It refuses.
        """
        answer = self.send(method, f"/api/2.0/mlflow/{path}", body, query)
        try:
            decoded = answer.json()
        except ValueError:
            raise no_route(method, f"/mlflow/{path}") from None
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, decoded.get("error_code", "INTERNAL_ERROR"), decoded.get("message", ""))
        return decoded
