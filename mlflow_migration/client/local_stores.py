"""What has to be known of a local store before a private server may open it, and copies of stores that must not change.

MLflow upgrades an older database in place as soon as a server opens it, and writes to each store it opens. So nothing
of MLflow touches a store here: schemas are compared by reading the installed MLflow's list of schema revisions from its
files, and sources are copied (SQLite) or linked (folders).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, List, Optional, Set, Tuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow_migration.client.errors import BadInput, redact

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]+):")  # two characters or more: C: is a drive
_TRASH = ".trash"
_REGISTRY = "models"
_DESTINATION_VARIABLE = "MLFLOW_ARTIFACTS_DESTINATION"
_BUSY_SECONDS = 60
# those that name a server are resolved by that
_PROXIED = (
    "{0} LIKE 'mlflow-artifacts:/%' AND ({0} NOT LIKE 'mlflow-artifacts://%' OR {0} LIKE 'mlflow-artifacts:///%')"
)
_PROXIED_IN_META = re.compile(r"^artifact_location: ['\"]?mlflow-artifacts:/(?!/[^/])", re.MULTILINE)


@dataclass(frozen=True)
class Store:
    """A store as the private server opens it.

    :param uri: What ``mlflow server`` is to open, credentials included.
    :param name: The store's URI without credentials, for messages.
    :param artifact_root: Where the artifacts of new experiments go.
    :param proxied_artifacts: Where the files of ``mlflow-artifacts:`` locations lie.
    :param upgrade: The schema must be upgraded first; only of a snapshot.
    """

    uri: str
    name: str
    artifact_root: str
    proxied_artifacts: str
    upgrade: bool = False


@dataclass(frozen=True)
class _Content:
    """What a database holds: its tables, its schema revision, and the artifact location of experiment 0.

    :param proxied: Anything but an unused experiment 0 has an ``mlflow-artifacts:`` location.
    """

    tables: List[str]
    revision: Optional[str]
    default_location: Optional[str]
    proxied: bool = False


def scheme_of(uri: str) -> str:
    """Return the scheme of a tracking URI in lower case, empty for a path; ``databricks`` and ``uc`` are their own."""
    if uri in ("databricks", "databricks-uc", "uc"):
        return uri
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def artifact_folder(uri: str) -> str:
    """Return the folder that MLflow puts artifacts of a local store in unless it is told otherwise.

    :param uri: Tracking URI of the store.
    :return: Its path; empty if the URI does not tell.
    """
    scheme = scheme_of(uri)
    if scheme.partition("+")[0] == "sqlite":
        return os.path.join(os.path.dirname(_sqlite_path(uri)[0]), "mlruns")
    return _path_of(uri) if scheme in ("", "file") else ""


def open_store(uri: str, folder: str, *, writable: bool, dry_run: bool = False) -> Store:
    """Check a local store, and make a source unchangeable.

    :param uri: URI of a database, ``file:`` URI or path of a folder.
    :param folder: Empty folder for copies; it must outlive the server.
    :param writable: The store is a destination.
    :param dry_run: Of a destination that is a file or a folder a copy is served, an empty store if it does not exist.
    :return: What to serve.
    :raises BadInput: It is no store, does not exist, or has a schema that the installed MLflow can't serve as it is.
    """
    scheme = scheme_of(uri)
    database, _, _driver = scheme.partition("+")
    if database == "sqlite":
        return _open_sqlite(uri, folder, writable, dry_run)
    if database in _DATABASES:
        return _open_database(uri, folder, writable, dry_run)
    if scheme in ("", "file") and uri:
        return _open_folder(_path_of(uri), folder, writable, dry_run)
    raise BadInput(
        f"{redact(uri) or 'An empty text'!r} is no tracking URI: give http(s)://..., databricks://..., "
        "sqlite:///..., postgresql://..., mysql://..., mssql://... or a folder"
    )


def identity(uri: str) -> str:
    """Return the one name of a local store that can be written in several ways, without credentials."""
    scheme = scheme_of(uri)
    if scheme.partition("+")[0] == "sqlite":
        return f"sqlite:///{_sqlite_path(uri)[0]}"
    return _path_of(uri) if scheme in ("", "file") else redact(uri)


def _empty(folder: str, name: str) -> Store:
    """Return a new store that stands for one that does not exist yet."""
    artifacts = Path(folder, "artifacts").as_uri()
    return Store(f"sqlite:///{os.path.join(folder, 'empty.db')}", name, artifacts, artifacts)


# --- databases


def _open_sqlite(uri: str, folder: str, writable: bool, dry_run: bool) -> Store:
    path, query = _sqlite_path(uri)
    name = f"sqlite:///{path}"
    beside = os.path.dirname(path)
    if os.path.isdir(path):
        raise BadInput(f"{name} is a folder, not a SQLite database")
    exists = os.path.exists(path)
    if not exists and not writable:
        raise BadInput(f"{name} does not exist")
    if not exists and dry_run:
        return _empty(folder, name)
    served = path
    if writable and not dry_run:
        os.makedirs(beside, exist_ok=True)
    else:
        served = os.path.join(folder, "snapshot.db")
        try:
            _snapshot(path, served)
        except sqlite3.Error as ex:
            raise BadInput(f"{name} can't be copied to {folder}: {ex}") from ex
    content = _sqlite_content(served, name) if exists else _Content([], None, None)
    if content.tables and not _is_mlflow(content):
        raise BadInput(f"{name} is not a database of MLflow: its tables are {', '.join(content.tables[:5])} ...")
    older = _is_older(content, name, writable)
    if older and writable:
        raise BadInput(_how_to_upgrade(name, name))
    root, proxied = _artifacts(name, content, _places(beside), writable)
    if served != path and scheme_of(root or "") in ("", "file"):
        root = Path(folder, "artifacts").as_uri()  # MLflow 2 makes the folder when it starts
    return Store(
        f"sqlite:///{served}{query if served == path else ''}",
        name,
        root or Path(beside, "mlruns").as_uri(),
        proxied,
        upgrade=older,
    )


def _open_database(uri: str, folder: str, writable: bool, dry_run: bool) -> Store:
    name = redact(uri)
    content = _database_content(uri, name)
    if not _is_mlflow(content) and writable and dry_run:
        return _empty(folder, name)
    if _is_older(content, name, writable):
        note = " (with its user and password)" if name != uri else ""
        raise BadInput(_how_to_upgrade(name, name + note))
    here = os.getcwd()
    # others may use it from other machines: what lies here is no place for new files
    root, proxied = _artifacts(name, content, [] if writable else _places(here), writable)
    return Store(uri, name, root or Path(here, "mlruns").as_uri(), proxied)


def _sqlite_path(uri: str) -> Tuple[str, str]:
    """Return the absolute path of a SQLite URI and its query with the question mark."""
    _, _, rest = uri.partition(":")
    path, mark, query = rest.partition("?")
    if not path.startswith("///") or path[3:] in ("", ":memory:"):
        raise BadInput(f"{uri} names no file: write sqlite:///relative/path.db or sqlite:////absolute/path.db")
    path = path[3:]
    if path.startswith("file:"):
        raise BadInput(f"{uri}: give the database's plain path, as in sqlite:////absolute/path.db")
    return os.path.abspath(path), mark + query


def _snapshot(path: str, copy: str) -> None:
    """Copy a SQLite database as it is at one moment, also while others write to it, leaving no trace beside it."""
    with open(path, "rb") as file:
        header = file.read(20)
    write_ahead = header[18:20] == b"\x02\x02"
    before = os.stat(path)
    if write_ahead and not os.path.exists(path + "-wal"):
        # nobody has it open; an ordinary reader would leave -wal and -shm files behind
        _backup(path, copy, "immutable=1")
        after = os.stat(path)
        if (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size):
            if not os.path.exists(path + "-wal"):
                return
        os.unlink(copy)
    try:
        _backup(path, copy, "mode=ro")
    except sqlite3.OperationalError:
        if not os.path.exists(path + "-journal") and not os.path.exists(path + "-wal"):
            raise
        # what a killed writer left has to be rolled back, which needs a copy that may be written to
        for suffix in ("", "-journal", "-wal"):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, copy + suffix)


def _backup(path: str, copy: str, how: str) -> None:
    uri = f"{Path(path).as_uri()}?{how}"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as source:
        with closing(sqlite3.connect(copy)) as target:
            source.backup(target)


def _sqlite_content(path: str, name: str) -> _Content:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return _content(tables, lambda query: connection.execute(query).fetchone())
    except sqlite3.Error as ex:
        raise BadInput(f"{name} can't be read: {ex}") from ex


def _database_content(uri: str, name: str) -> _Content:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            tables = list(sqlalchemy.inspect(connection).get_table_names())
            return _content(tables, lambda query: connection.execute(sqlalchemy.text(query)).first())
    except (SQLAlchemyError, ImportError, ValueError) as ex:
        hint = ": install the database's Python driver" if isinstance(ex, ImportError) else ""
        raise BadInput(f"{name} can't be opened: {redact(str(ex))}{hint}") from ex


def _content(tables: List[str], first_row: Callable[[str], Any]) -> _Content:
    def value(table: str, query: str) -> Optional[str]:
        row = first_row(query) if table in tables else None
        return str(row[0]) if row and row[0] is not None else None

    def proxied(table: str, column: str, more: str = "") -> bool:
        return value(table, f"SELECT COUNT(*) FROM {table} WHERE {_PROXIED.format(column)}{more}") not in (None, "0")

    return _Content(
        tables,
        value("alembic_version", "SELECT version_num FROM alembic_version"),
        value("experiments", "SELECT artifact_location FROM experiments WHERE experiment_id = 0"),
        proxied("experiments", "artifact_location", " AND experiment_id <> 0")
        or proxied("runs", "artifact_uri")
        or proxied("logged_models", "artifact_location"),
    )


def _is_mlflow(content: _Content) -> bool:
    return "experiments" in content.tables or "alembic_version" in content.tables


def _is_older(content: _Content, name: str, writable: bool) -> bool:
    """Return whether a database has an older schema; a new store, which only a destination may be, has none."""
    if not _is_mlflow(content):
        if writable:
            return False
        raise BadInput(f"{name} holds no MLflow data")
    known, head = _revisions()
    if content.revision is not None and content.revision not in known:
        raise BadInput(
            f"{name} has a schema (revision {content.revision}) that MLflow {metadata.version('mlflow')} does not "
            "know. A newer MLflow made it: pip install --upgrade mlflow"
        )
    return content.revision != head


def _revisions() -> Tuple[Set[str], str]:
    """Return the schema revisions that the installed MLflow knows, and the newest.

    They are read from its files: asking MLflow would take seconds.
    """
    spec = importlib.util.find_spec("mlflow")
    places = list(spec.submodule_search_locations or []) if spec else []
    revisions: Set[str] = set()
    replaced: Set[str] = set()
    for place in places:
        for path in Path(place, "store", "db_migrations", "versions").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            revisions.update(_assigned(text, "revision"))
            replaced.update(_assigned(text, "down_revision"))
    heads = revisions - replaced
    if len(heads) != 1:
        raise BadInput(f"The installed MLflow has {len(heads)} newest database schemas instead of one: reinstall it")
    return revisions, heads.pop()


def _assigned(text: str, name: str) -> List[str]:
    """Return the quoted words assigned to a variable of a Python file."""
    match = re.search(rf"^{name}\b[^=\n]*=(.*)$", text, re.MULTILINE)
    return re.findall(r"[\"'](\w+)[\"']", match[1]) if match else []


def _how_to_upgrade(name: str, argument: str) -> str:
    return (
        f"{name} has the schema of an older MLflow than {metadata.version('mlflow')}, and is not upgraded without your "
        f"word. Back it up, then run: mlflow db upgrade {argument}"
    )


# --- folders


def _path_of(uri: str) -> str:
    if scheme_of(uri) != "file":
        return os.path.abspath(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise BadInput(f"{uri} is on another machine: write file:///absolute/path")
    return os.path.abspath(url2pathname(parts.path))


def _open_folder(path: str, folder: str, writable: bool, dry_run: bool) -> Store:
    if os.path.isfile(path):
        raise BadInput(f"{path} is a file. A SQLite database is named like this: sqlite:///{path}")
    found = _folders(path)
    if not any(_is_experiment(path, name) for name in found):
        if not writable:
            raise BadInput(f"{path} {'holds no MLflow experiment' if os.path.isdir(path) else 'does not exist'}")
        others = set(os.listdir(path)) - {_TRASH, _REGISTRY} if os.path.isdir(path) else set()
        if others:
            raise BadInput(f"{path} is not a folder of MLflow: it holds {sorted(others)[0]!r} and no experiment")
        if dry_run:
            return _empty(folder, path)
    content = _Content([], None, _default_location(path), any(_is_proxied(path, name) for name in found))
    root, proxied = _artifacts(path, content, _places(os.path.dirname(path)), writable)
    served = path if writable and not dry_run else _view(path, found, folder)
    return Store(Path(served).as_uri(), path, root or Path(path).as_uri(), proxied)


def _folders(path: str) -> List[str]:
    """Return the folders of a store, with those in the trash, as paths below the store."""
    found: List[str] = []
    for below in ("", _TRASH):
        place = os.path.join(path, below)
        if os.path.isdir(place):
            found += [os.path.join(below, entry.name) for entry in os.scandir(place) if entry.is_dir()]
    return [name for name in found if name != _TRASH]


def _is_experiment(path: str, name: str) -> bool:
    return os.path.isfile(os.path.join(path, name, "meta.yaml"))


def _view(path: str, found: List[str], folder: str) -> str:
    """Make a store whose folders are links to those of the real one.

    MLflow makes folders of its own in each store it opens, and these land in the view. It writes nothing below an
    experiment when it only reads.
    """
    view = os.path.join(folder, "store")
    os.makedirs(os.path.join(view, _TRASH))
    for name in found:
        try:
            os.symlink(os.path.join(path, name), os.path.join(view, name), target_is_directory=True)
        except OSError as ex:
            raise BadInput(f"{path} can't be read without changing it, since links can't be made here: {ex}") from ex
    return view


def _is_proxied(path: str, name: str) -> bool:
    """Return whether an experiment has an ``mlflow-artifacts:`` location that something may lie in."""
    if not _PROXIED_IN_META.search(_meta(path, name)):
        return False
    # experiment 0 is made with the store
    return name != "0" or any(_is_experiment(path, os.path.join(name, run)) for run in os.listdir(Path(path, name)))


def _meta(path: str, name: str) -> str:
    try:
        return Path(path, name, "meta.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _default_location(path: str) -> Optional[str]:
    text = _meta(path, "0")
    match = re.search(r"^artifact_location: (\S+)$", text, re.MULTILINE)
    return match[1].strip("'\"") if match else None


# --- artifacts


def _root_in_use(location: Optional[str]) -> Optional[str]:
    """Return the artifact root that a store was used with, from the location of its experiment 0.

    A local one counts only if it can be of this machine: stores are moved and copied.
    """
    if not location or not location.endswith("/0"):
        return None
    root = location[: -len("/0")] or "/"
    scheme = scheme_of(root)
    if scheme not in ("", "file"):
        return root + "/" if root == "mlflow-artifacts:" else root
    if not scheme and not os.path.isabs(root):
        return None
    path = _path_of(root)
    return root if os.path.isdir(path) or os.path.isdir(os.path.dirname(path)) else None


def _places(beside: str) -> List[str]:
    """Return where ``mlflow server`` may have put the files of ``mlflow-artifacts:`` locations."""
    return [os.path.join(place, "mlartifacts") for place in (beside, os.getcwd())]


def _artifacts(name: str, content: _Content, places: List[str], writable: bool) -> Tuple[Optional[str], str]:
    """Return the artifact root that a store was used with, and where the files of ``mlflow-artifacts:`` locations lie.

    :param places: Folders that these may lie in, if the user does not tell.
    :raises BadInput: There are such locations, and their files would be looked for, or put, in a place that is made up.
    """
    root = _root_in_use(content.default_location)
    is_root = root is not None and root.startswith("mlflow-artifacts:")
    told = os.environ.get(_DESTINATION_VARIABLE)
    if told:
        matters = content.proxied or is_root and writable
        if matters and scheme_of(told) in ("", "file") and not os.path.isdir(_path_of(told)):
            raise BadInput(
                f"{_DESTINATION_VARIABLE} names {told}, which is no folder: set it to the --artifacts-destination of "
                f"the server that {name} belongs to"
            )
        return root, told
    found = next((place for place in places if os.path.isdir(place)), None)
    if found:
        return root, Path(found).as_uri()
    if content.proxied or is_root and not places:
        raise BadInput(
            f"{name} belongs to a server that stores artifacts itself: give that server's URL, or set "
            f"{_DESTINATION_VARIABLE} to its --artifacts-destination"
            + (f", or make the folder {places[0]} if it has stored none" if places else "")
        )
    # nothing is used: new experiments get locations that need no server
    return (None if is_root else root), Path(places[0] if places else "mlartifacts").absolute().as_uri()
