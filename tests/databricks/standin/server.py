"""`StandIn`: a Databricks workspace for tests, run as two processes of its own, and what a test asks of it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import requests

from tests.databricks.standin.app import KEY_HEADER
from tests.support.s3 import Bucket
from tests.support.servers import PROJECT, START_SECONDS, Server, clean_environment, free_port, kept

#: artifacts of runs lie below it, where only the artifact routes reach
TRACKING_ROOT = "dbfs:/databricks/mlflow-tracking"
SCHEMAS = ("main.default", "main.prod")


@dataclass(frozen=True)
class User:
    """A user, or a service principal with its application id as the name.

    :param name: Such as mary@example.com; the home directory is /Users/NAME.
    :param groups: Besides "users", and "admins" for an admin.
    :param client_secret: Of a service principal that logs in by OAuth: its token is then what it is given.
    """

    name: str
    groups: Tuple[str, ...] = ()
    is_admin: bool = False
    is_service_principal: bool = False
    client_secret: str = ""


ADMIN_TOKEN = "token-admin"
ADMIN = User("admin@example.com", (), True)


class StandIn:
    """One workspace; as a context manager it runs."""

    def __init__(
        self,
        root: Path,
        users: Optional[Mapping[str, User]] = None,
        *,
        schemas: Sequence[str] = SCHEMAS,
        bucket: Optional[Bucket] = None,
        watch_pid: Optional[int] = None,
    ) -> None:
        """Nothing is started yet.

        :param root: Directory of its data; made if absent.
        :param users: Token -> user.
        :param schemas: "CATALOG.SCHEMA" of Unity Catalog that are there.
        :param bucket: Where Unity Catalog keeps the files of versions, reached with temporary AWS credentials;
            default the stand-in's own store, reached through presigned URLs.
        :param watch_pid: It ends when this process is gone; default this process.
        """
        self.root = Path(root)
        self.users = dict(users or {ADMIN_TOKEN: ADMIN})
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.workspace_id = int(hashlib.sha256(str(self.root).encode()).hexdigest()[:12], 16)
        self.mlflow = Server(self.root / "mlflow", artifacts=f"direct:{TRACKING_ROOT}", watch_pid=watch_pid)
        self._schemas, self._bucket, self._watch_pid = list(schemas), bucket, watch_pid
        self._key = secrets.token_hex(8)
        self._keeper: Optional[subprocess.Popen] = None

    def __enter__(self) -> StandIn:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def start(self, wait: bool = True) -> StandIn:
        """Start it.

        :param wait: Return only when it answers.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._copy_template()
        self.mlflow.start(wait=False)
        config = self.root / "standin.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        command = [sys.executable, "-m", "tests.databricks.standin.app", str(config)]
        with open(self.root / "standin.log", "ab") as log:
            self._keeper = subprocess.Popen(
                kept(command, self.root / "standin.pid", self._watch_pid), cwd=PROJECT, env=clean_environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.wait() if wait else self

    def wait(self) -> StandIn:
        """Wait until it and its MLflow server answer.

        :raises RuntimeError: It ended or did not answer in time; with the end of its log.
        """
        self.mlflow.wait()
        self._save_template()
        end = time.monotonic() + START_SECONDS
        while not self._is_up():
            if time.monotonic() > end or self._keeper is None or self._keeper.poll() is not None:
                self.stop()
                text = (self.root / "standin.log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"the stand-in did not start: {text}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it; what it knew beside the MLflow server's data is gone."""
        self.mlflow.stop()
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.poll() is None:
            keeper.terminate()
            keeper.wait(30)

    # ---- how scripts reach it

    def token_of(self, user: str = ADMIN.name) -> str:
        """Token of a user, by name."""
        return next(token for token, known in self.users.items() if known.name == user)

    def env(self, token: str = "", profile: str = "") -> Dict[str, str]:
        """Variables by which MLflow, the SDK and our scripts reach it as ``databricks`` or ``databricks://profile``.

        :param token: Default the first user's.
        :param profile: Given: a configuration file is written below `root` and named instead of host and token.
        """
        token = token or next(iter(self.users))
        if profile:
            path = write_config(self.root / f"databrickscfg-{profile}", {profile: (self, token)})
            return {"DATABRICKS_CONFIG_FILE": str(path)}
        return {"DATABRICKS_HOST": self.uri, "DATABRICKS_TOKEN": token}

    def call(self, method: str, route: str, /, token: str = "", **arguments: Any) -> Any:
        """Decoded answer to a request, for a test's preparations and checks; it is recorded as all are.

        :param route: Below the host, such as /api/2.0/workspace/list.
        :param token: Default the first user's.
        :param arguments: Query of a GET, else the JSON body.
        :raises requests.HTTPError: It is refused.
        """
        headers = {"Authorization": f"Bearer {token or next(iter(self.users))}"}
        sent = {"params": arguments} if method == "GET" else {"json": arguments}
        answer = requests.request(method, self.uri + route, headers=headers, timeout=60, **sent)
        if answer.status_code >= 400:
            raise requests.HTTPError(f"{answer.status_code} {answer.text}", response=answer)
        return answer.json()

    # ---- what a test asks of it

    def requests(self) -> List[Dict[str, Any]]:
        """All requests that it received, in order of their end: method, path, query, token (or the whole
        Authorization header if it is no Bearer token), status. Those to presigned URLs are among them."""
        return self._own("GET", "requests")["requests"]

    def forget_requests(self) -> None:
        """Begin a new record."""
        self._own("DELETE", "requests")

    def control(self, **settings: Any) -> Dict[str, Any]:
        """Change settings (`platform.Settings`).

        :return: All settings.
        """
        return self._own("POST", "control", settings)

    def _own(self, method: str, what: str, body: Optional[Dict[str, Any]] = None) -> Any:
        url, headers = f"{self.uri}/standin/{what}", {KEY_HEADER: self._key}
        answer = requests.request(method, url, headers=headers, json=body, timeout=60)
        if answer.status_code >= 400:
            raise ValueError(answer.text)
        return answer.json()

    # An empty database takes MLflow many seconds to make: the first stand-in of a test run leaves a copy of its own.
    def _template(self) -> Optional[Path]:
        home = os.environ.get("MLFLOW_MIGRATION_TEST_DIR")
        return Path(home) / "empty-databricks.db" if home else None

    def _copy_template(self) -> None:
        template, path = self._template(), self.mlflow.root / "mlflow.db"
        if template is not None and template.exists() and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(template, path)

    def _save_template(self) -> None:
        template = self._template()
        if template is None or template.exists():
            return
        part = template.with_suffix(f".{os.getpid()}")
        shutil.copyfile(self.mlflow.root / "mlflow.db", part)
        os.replace(part, template)

    def _is_up(self) -> bool:
        try:
            self.control()
        except requests.RequestException:
            return False
        return True

    def _config(self) -> Dict[str, Any]:
        bucket = self._bucket and {"name": self._bucket.name, "env": self._bucket.env}
        return {
            "root": str(self.root),
            "port": self.port,
            "upstream": self.mlflow.uri,
            "key": self._key,
            "workspace_id": self.workspace_id,
            "schemas": self._schemas,
            "bucket": bucket,
            "users": {token: asdict(user) for token, user in self.users.items()},
        }


def write_config(path: Path, profiles: Mapping[str, Tuple[StandIn, str]]) -> Path:
    """Write a ``.databrickscfg``.

    :param path: Of the file, for DATABRICKS_CONFIG_FILE.
    :param profiles: Name -> stand-in and token.
    """
    parts = [f"[{name}]\nhost = {standin.uri}\ntoken = {token}\n" for name, (standin, token) in profiles.items()]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path
