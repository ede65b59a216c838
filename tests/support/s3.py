"""An S3 store on this machine (moto's server in a process of its own), and what tests do with a bucket of it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Optional

import requests

from tests.support.servers import START_SECONDS, clean_environment, free_port, kept

#: moto takes any
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests-key-id",
    "AWS_SECRET_ACCESS_KEY": "tests-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
}
ENDPOINT = "MLFLOW_S3_ENDPOINT_URL"


class Bucket:
    """A bucket, read and written by boto3."""

    def __init__(self, endpoint: str, name: str) -> None:
        """Nothing is sent yet."""
        import boto3

        self.name, self.uri = name, f"s3://{name}"
        self.env = {**CREDENTIALS, ENDPOINT: endpoint}
        self._s3 = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        )

    def create(self) -> Bucket:
        """Make it."""
        self._s3.create_bucket(Bucket=self.name)
        return self

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._s3.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        """Bytes of an object."""
        return bytes(self._s3.get_object(Bucket=self.name, Key=key)["Body"].read())

    def objects(self, prefix: str = "") -> Dict[str, Dict[str, Any]]:
        """All objects below a prefix as S3 lists them: key -> Size, LastModified, ETag ..."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {item["Key"]: item for page in pages for item in page.get("Contents", ())}

    def download(self, prefix: str, to: Path) -> Path:
        """Copy all objects below a prefix into a directory."""
        for key in self.objects(prefix + "/"):
            path = to / key[len(prefix) + 1 :]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.get(key))
        return to


_lock = threading.Lock()


def of_environment(name: str) -> Bucket:
    """A bucket of the store that this process's environment names, as for MLflow's own clients."""
    with _lock:  # boto3 makes clients one at a time
        return _bucket(os.environ[ENDPOINT], name)


@functools.lru_cache(maxsize=None)
def _bucket(endpoint: str, name: str) -> Bucket:
    return Bucket(endpoint, name)


class S3Server:
    """The store; as a context manager it runs."""

    def __init__(self, root: Path) -> None:
        """`root` is the directory of its log."""
        self.root = root
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._keeper: Optional[subprocess.Popen] = None

    def __enter__(self) -> S3Server:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with open(self.root / "moto.log", "ab") as log:
            self._keeper = subprocess.Popen(
                kept(command, self.root / "moto.pid"), env=clean_environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not self._is_up():
            if time.monotonic() > end or self._keeper.poll() is not None:
                self.__exit__()
                raise RuntimeError(f"moto did not start: {(self.root / 'moto.log').read_text()[-3000:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._keeper is not None:
            self._keeper.terminate()
            self._keeper.wait(30)

    def _is_up(self) -> bool:
        try:
            return requests.get(f"{self.uri}/moto-api/", timeout=5).status_code == 200
        except requests.RequestException:
            return False
