"""Servers that know users: what may be hidden is said first, and no password gets anywhere."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple
from uuid import uuid4

import pytest

from mlflow_migration.common.report import REPORT_FILES
from tests.support.compare import assert_same
from tests.support.moves import Source, counts_of, point
from tests.support.reports import statuses
from tests.support.rest import Rest
from tests.support.scripts import Result
from tests.support.servers import Server

ADMIN = ("admin", "admin-s3cret-4711")
ANN = ("ann", "ann-s3cret-0815")
WRONG = ("ann", "wrong-s3cret-1234")
CONFIG = f"""
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///basic_auth.db
admin_username = {ADMIN[0]}
admin_password = {ADMIN[1]}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""
NOTE = "The user ann is no administrator of {}: "
HIDDEN = "experiments and runs that he may not read are not even listed."
REFUSED = "some writes may be refused."


@dataclass
class As:
    """A server as a user sees it, for Rest and Source."""

    uri: str


def login(user: Tuple[str, str], side: str = "") -> Dict[str, str]:
    """Variables with a user's credentials, for one side or for all."""
    prefix = f"MLFLOW_MIGRATION_{side}_" if side else "MLFLOW_"
    return {f"{prefix}TRACKING_USERNAME": user[0], f"{prefix}TRACKING_PASSWORD": user[1]}


class Guarded:
    """A server with users, an experiment of ann's there, and one that she may not see."""

    def __init__(self, server: Server) -> None:
        self.uri = server.uri
        Rest(server.uri, auth=ADMIN).post("users/create", {"username": ANN[0], "password": ANN[1]})
        self.source = Source(self.seen_by(ANN), f"ann's {uuid4().hex[:8]}")  # type: ignore[arg-type]
        self.run_id = self.source.run("r", points=(point("x", 1.0, 1),))
        self.source.model(self.run_id, "m")
        self.source.put(self.run_id, "a.txt", b"a")
        self.hidden = Source(self.seen_by(ADMIN), f"admin's {uuid4().hex[:8]}")  # type: ignore[arg-type]
        self.hidden.run("r")

    def seen_by(self, user: Tuple[str, str]) -> As:
        """The server with credentials in its URI."""
        return As(self.uri.replace("://", f"://{user[0]}:{user[1]}@"))


@pytest.fixture(scope="module")
def guarded(server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    """A server with MLflow's basic-auth app."""
    config = tmp_path_factory.mktemp("auth") / "auth.ini"
    config.write_text(CONFIG)
    args = ["--app-name", "basic-auth"]
    return Guarded(server(args=args, MLFLOW_AUTH_CONFIG_PATH=config, MLFLOW_FLASK_SERVER_SECRET_KEY="key"))


class Watch:
    """Runs scripts, and looks in what they leave for passwords."""

    def __init__(self, script: Callable[..., Result], home: Path) -> None:
        self._script, self.home, self._outputs = script, home, ""
        self.variables: Dict[str, str] = {}

    def __call__(self, *args: Any, check: int = 0, **more: str) -> Result:
        done = self._script(*args, env={**self.variables, **more}, check=check)
        self._outputs += done.stdout + done.stderr
        return done

    def assert_no_password(self) -> None:
        """No password is in an output or a file, not even encoded."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        found = self._outputs.encode() + b"".join(path.read_bytes() for path in files)
        assert self._outputs and b"ledger.jsonl" in found
        for user, password in (ADMIN, ANN, WRONG):
            encoded = base64.b64encode(f"{user}:{password}".encode())
            assert password.encode() not in found and encoded not in found, password


@pytest.fixture
def run(run_script: Callable[..., Result], tmp_path: Path) -> Iterator[Watch]:
    """Runs a script: run(name, *arguments, check=exit status, VARIABLE=value)."""
    watch = Watch(run_script, tmp_path)
    yield watch
    watch.assert_no_password()


def first_lines(directory: Path) -> List[Any]:
    """What the last command's ledger says before anything else but which servers it uses: its notes."""
    lines = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    start = max(number for number, line in enumerate(lines) if line.get("event") == "start")
    texts = [line.get("text") for line in lines[start + 1 :] if line.get("event") != "server"]
    return texts[: next(number for number, text in enumerate(texts) if text is None)]


def commands(guarded: Guarded, home: Path, name: str) -> Dict[str, Tuple[Tuple[Any, ...], Path, List[str]]]:
    """Every command on the server: its arguments, where its ledger is, and what it says if it is not an admin's."""
    one = ("--tracking-uri", guarded.uri)
    both = ("--src-mlflow-uri", guarded.uri, "--dst-mlflow-uri", guarded.uri, "--experiment-name", f"{name} copy")
    note = NOTE.format(guarded.uri)
    experiment, run, report = home / "experiment", home / "run", home / "mlflow-migration-report"
    return {
        "export-experiment": (
            (*one, "--experiment", guarded.source.name, "--output-dir", experiment), experiment, [note + HIDDEN]
        ),
        "export-run": ((*one, "--run-id", guarded.run_id, "--output-dir", run), run, [note + HIDDEN]),
        "import-experiment": (
            (*one, "--experiment-name", name, "--input-dir", experiment), experiment, [note + REFUSED]
        ),
        "import-run": ((*one, "--experiment-name", f"{name} run", "--input-dir", run), run, [note + REFUSED]),
        "copy-experiment": (
            (*both, "--experiment", guarded.source.name), report, [note + HIDDEN, note + REFUSED]
        ),
        "copy-run": ((*both, "--run-id", guarded.run_id), report, [note + HIDDEN, note + REFUSED]),
    }  # fmt: skip


@pytest.mark.parametrize("user", [ADMIN, ANN])
def test_what_is_said_first(user: Tuple[str, str], guarded: Guarded, run: Watch, experiment_name: str) -> None:
    """A user who is no administrator is told so before anything else; both may do what they may, and all arrives."""
    # one server on both sides: the global credentials are for its host
    run.variables = {"MLFLOW_TRACKING_URI": guarded.uri, **login(user)}
    for command, (args, report, said) in commands(guarded, run.home, experiment_name).items():
        more = ("--require-admin",) if user == ADMIN else ()
        done = run(command, *args, *more)
        expected = said if user == ANN else []
        assert first_lines(report) == expected, command
        before, _, summary = done.stdout.rpartition(f"\n{command}\n")
        assert [text in before for text in said] == [user == ANN] * len(said)
        lines = [line for line in summary.splitlines() if not line.startswith(("From: ", "To: "))]
        assert lines[: len(expected) + 1] == [*(f"Note: {text}" for text in expected), ""]
        assert set(statuses(report).values()) <= {"copied", "unchanged"}
    for name in (experiment_name, f"{experiment_name} copy"):
        both = (guarded.uri, guarded.source.name), (guarded.uri, name)
        assert_same(*both, src_auth=ADMIN, dst_auth=user)


def test_required_rights(guarded: Guarded, run: Watch, experiment_name: str) -> None:
    """With --require-admin a user who is none does nothing at all."""
    run.variables = {"MLFLOW_TRACKING_URI": guarded.uri, **login(ANN)}
    rest, all_of = Rest(guarded.uri, auth=ADMIN), {"max_results": 999, "view_type": "ALL"}
    there = list(rest.pages("experiments/search", all_of, "experiments"))
    made = commands(guarded, run.home, experiment_name)

    def files() -> Dict[Path, bytes]:
        found = (path for path in run.home.rglob("*") if path.is_file())
        # ledger and report say that the command could not start
        return {path: path.read_bytes() for path in found if path.name not in ("ledger.jsonl", *REPORT_FILES)}

    for command in ("export-experiment", "export-run"):
        run(command, *made[command][0])
    before = files()
    for command, (args, _, said) in made.items():
        done = run(command, *args, "--require-admin", check=2)
        assert done.stderr == f"{command}: {said[0]} --require-admin is given, so nothing was done.\n"
        assert "kind" not in done.stdout
    assert before and before == files()
    assert there == list(rest.pages("experiments/search", all_of, "experiments"))


def test_wrong_credentials(guarded: Guarded, run: Watch, experiment_name: str) -> None:
    """A wrong password, none, an experiment that is somebody else's: one sentence that names the server, status 2."""
    wrong_uri = guarded.uri.replace("://", f"://{WRONG[0]}:{WRONG[1]}@")
    refused = f"{guarded.uri} does not accept the credentials"
    made = commands(guarded, run.home, experiment_name)
    run("export-run", *made["export-run"][0], **login(ADMIN))
    for variables, uri in ((login(WRONG), guarded.uri), ({}, guarded.uri), (login(ADMIN), wrong_uri)):
        here = {"MLFLOW_TRACKING_URI": guarded.uri, **variables}
        for command in ("export-experiment", "import-run", "copy-run"):
            args = [uri if arg == guarded.uri else arg for arg in made[command][0]]
            done = run(command, *args, check=2, **here)
            assert done.stderr.startswith(f"{command}: {refused} (") and done.stderr.count("\n") == 1
            assert "found" not in done.stdout
        asking = ("http-client", "--tracking-uri", uri, "--resource", "experiments/get?experiment_id=0")
        assert refused in run(*asking, check=2, **here).stderr
    run.variables = {"MLFLOW_TRACKING_URI": guarded.uri, **login(ANN)}
    hidden = ("--experiment", guarded.hidden.name, "--output-dir", run.home / "hidden")
    done = run("export-experiment", *hidden, check=2)
    assert done.stderr.startswith(f"export-experiment: {guarded.uri} does not permit that with these credentials (")
    done = run("import-run", "--experiment-name", guarded.hidden.name, "--input-dir", run.home / "run", check=2)
    assert "does not permit that" in done.stderr and done.stderr.count("\n") == 1
    # a password in the URI is fine for the work
    uri = guarded.seen_by(ANN).uri
    run("export-run", "--tracking-uri", uri, "--run-id", guarded.run_id, "--output-dir", run.home / "again",
        **login(WRONG))  # fmt: skip
    assert statuses(run.home / "again") == {guarded.run_id: "copied"}


@pytest.mark.parametrize("guarded_side", ["SRC", "DST"])
def test_one_side_with_users(
    guarded_side: str, guarded: Guarded, dst_server: Server, run: Watch, experiment_name: str
) -> None:
    """A copy uses each side's own credentials, or the global ones for the server that they belong to only."""
    other = "DST" if guarded_side == "SRC" else "SRC"
    source = guarded.source if guarded_side == "SRC" else Source(dst_server, experiment_name)
    if guarded_side == "DST":
        source.put(source.run("r", points=(point("x", 1.0, 1),)), "a.txt", b"a")
    uris = {guarded_side: guarded.uri, other: dst_server.uri}
    copying = (
        "copy-experiment", "--src-mlflow-uri", uris["SRC"], "--dst-mlflow-uri", uris["DST"],
        "--experiment", source.name, "--experiment-name",
    )  # fmt: skip
    refused = f"copy-experiment: {guarded.uri} does not accept the credentials ("
    homeless = {"MLFLOW_TRACKING_URI": dst_server.uri, **login(ANN)}
    for wrong in (login(WRONG, guarded_side), login(ANN, other), homeless, login(ANN)):
        assert run(*copying, experiment_name, check=2, **wrong).stderr.startswith(refused)
    auth = {f"{guarded_side.lower()}_auth": ADMIN}
    at_home = {"MLFLOW_TRACKING_URI": guarded.uri, **login(ANN)}
    for number, right in enumerate((login(ANN, guarded_side), at_home)):
        done = run(*copying, f"{experiment_name} {number}", **right)
        assert counts_of(done)["run"] == {"copied": 1}
        said = NOTE.format(guarded.uri) + (HIDDEN if guarded_side == "SRC" else REFUSED)
        assert first_lines(run.home / "mlflow-migration-report") == [said]
        assert_same((uris["SRC"], source.name), (uris["DST"], f"{experiment_name} {number}"), **auth)


def test_credentials_of_which_a_server_says_nothing(run: Watch, source: Source, src_server: Server) -> None:
    """Where a server can't be asked it is not known what is hidden: that is said, and with --require-admin refused."""
    source.run("r")
    run.variables = {"MLFLOW_TRACKING_URI": src_server.uri, "MLFLOW_TRACKING_TOKEN": ANN[1]}
    export = ("export-experiment", "--experiment", source.name, "--output-dir", run.home / "export")
    said = f"{src_server.uri} does not tell what these credentials may read: what they may not see is not counted here."
    assert said in run(*export, "--require-admin", check=2).stderr
    assert not (run.home / "export").exists()
    done = run(*export)
    assert first_lines(run.home / "export") == [said] and f"\nNote: {said}\n" in done.stdout
    # nobody to be asked for: all is visible
    run.variables = {"MLFLOW_TRACKING_URI": src_server.uri}
    run(*export, "--require-admin")
    assert first_lines(run.home / "export") == []
