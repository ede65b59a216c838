"""Local stores as sources and destinations: a private ``mlflow server`` for the length of a command.

A tracking URI that is no server, such as ``sqlite:///mlflow.db``, ``postgresql://...`` or a folder, is served on a port of
the loopback interface, so that everything else only knows servers. What it promises:

* A source stays as it is, byte for byte. SQLite is served from a snapshot, a folder through a view of links to its
  experiments, because MLflow writes to a store as soon as it opens it.
* No schema is upgraded in place: MLflow itself would do so without asking when it opens an older database. The snapshot
  of a SQLite source is upgraded; whatever else is older is refused with the command to run.
* The server ends with us, whatever we die of; see :mod:`mlflow_migration.client.local_server_guard`.

Every user of this machine can reach the port while the command runs, as with any ``mlflow ui``.
"""

from __future__ import annotations

import http.client
import importlib.util
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Dict, Iterator, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit
from urllib.request import pathname2url, url2pathname

from mlflow_migration.client import local_server_guard, local_stores
from mlflow_migration.client.errors import BadInput, redact
from mlflow_migration.client.local_stores import Store

_SERVER_SCHEMES = ("http", "https", "databricks", "databricks-uc", "uc")
