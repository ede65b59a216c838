"""Users, roles and permissions of servers with MLflow's basic-auth app go to another such server."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import pytest

from tests.support.make_access import (
    CONFIG,
    MCP_SERVER,
    V3,
    Login,
    access_of,
    create_role,
    create_user,
    grant,
    make_gateway,
    scorer_pattern,
)
from tests.support.make_kinds import scorer_text
from tests.support.moves import counts_of
from tests.support.reports import records
from tests.support.rest import Json, Rest, RestError
from tests.support.scripts import Result
from tests.support.servers import Server
from tests.support.tables import AUTH, SERVER

ADMIN = ("admin", "admin-s3cret-4711")
ROOT = ("root", "root-s3cret-0815")
TEAM = "team-a"
EXPERIMENT, MODEL, PROMPT = "exp/one", "model one", "greeting"


class Side(NamedTuple):
    """A server and its administrator."""

    server: Server
    login: Login

    def rest(self, workspace: str = "") -> Rest:
        """The server as its administrator sees it."""
        return Rest(self.server.uri + (f"#{workspace}" if workspace else ""), auth=self.login)

    def variables(self, side: str = "") -> Dict[str, str]:
        """Variables with the administrator's credentials, for one side or for all."""
        return variables(self.login, side)


def variables(login: Login, side: str = "") -> Dict[str, str]:
    prefix = f"MLFLOW_MIGRATION_{side}_" if side else "MLFLOW_"
    return {f"{prefix}TRACKING_USERNAME": login[0], f"{prefix}TRACKING_PASSWORD": login[1]}


@pytest.fixture(scope="module")
def guarded(server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Side]:
    """Makes servers with users: guarded(login of the administrator, options of `server`)."""

    def make(login: Login, **options: Any) -> Side:
        config = tmp_path_factory.mktemp("auth") / "auth.ini"
        config.write_text(CONFIG.format(*login))
        secret = {"MLFLOW_AUTH_CONFIG_PATH": config, "MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}
        return Side(server(**{"args": ["--app-name", "basic-auth"], **options, **secret}), login)

    return make


@pytest.fixture(scope="module")
def src(guarded: Callable[..., Side]) -> Side:
    """A server with users, roles and permissions in two workspaces."""
    side = guarded(ADMIN, args=["--app-name", "basic-auth", "--enable-workspaces"])
    rest = side.rest()
    for name, is_admin in (("ann", False), ("bob", True), ("carl", False), ("dora", False)):
        create_user(rest, name, is_admin)
    ids = {name: rest.post("experiments/create", {"name": name})["experiment_id"] for name in (EXPERIMENT, "gone")}
    rest.post("registered-models/create", {"name": MODEL})
    rest.post("registered-models/create", {
        "name": PROMPT, "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    })  # fmt: skip
    body = {"experiment_id": ids[EXPERIMENT], "name": "a tone", "serialized_scorer": scorer_text("a tone", "Well?")}
    rest.post(f"{V3}/scorers/register", body)
    secret_id = make_gateway(rest)
    for resource_type, pattern, permission in (
        ("experiment", ids[EXPERIMENT], "READ"), ("experiment", ids["gone"], "EDIT"), ("experiment", "*", "READ"),
        ("registered_model", MODEL, "EDIT"), ("prompt", PROMPT, "USE"), ("mcp_server", MCP_SERVER, "USE"),
        ("gateway_secret", secret_id, "USE"), ("scorer", scorer_pattern(ids[EXPERIMENT], "a tone"), "READ"),
        ("registered_model", "nowhere", "READ"), ("trace", "*", "DENY"),
    ):  # fmt: skip
        grant(rest, "ann", resource_type, pattern, permission)
    permissions = [("experiment", ids[EXPERIMENT], "READ"), ("workspace", "*", "USE"), ("run", "*", "DENY")]
    create_role(rest, "default", "readers", ["ann", "bob"], *permissions)
    rest.post("experiments/delete", {"experiment_id": ids["gone"]})
    rest.call("POST", f"{V3}/workspaces", json={"name": TEAM})
    team = side.rest(TEAM)
    make_jobs(side.server.root / "mlflow.db", ids[EXPERIMENT])
    experiment_id = team.post("experiments/create", {"name": EXPERIMENT})["experiment_id"]
    grant(team, "carl", "experiment", experiment_id, "EDIT")
    create_role(rest, TEAM, "readers", ["carl"], ("experiment", experiment_id, "READ"))
    return side


def make_jobs(database: Path, experiment_id: str) -> None:
    """Write two jobs into the database: to have a server make some it would have to run them."""
    columns = "id, creation_time, job_name, params, status, retry_count, last_update_time"
    params = json.dumps({"experiment_id": experiment_id, "prompt_uri": "prompts:/greeting/1"})
    rows = [(f"j-{name}", 1, name, params, 2, 0, 2) for name in ("invoke_scorer", "optimize_prompts")]
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.executemany(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


@pytest.fixture(scope="module")
def dst(guarded: Callable[..., Side]) -> Side:
    """A server whose administrator has another name, with a secret and an MCP server, which copies don't bring."""
    side = guarded(ROOT, args=["--app-name", "basic-auth", "--enable-workspaces"])
    side.rest().post("experiments/create", {"name": "first of the destination"})
    make_gateway(side.rest())
    return side


def wanted_of(src: Side) -> Json:
    """What the destination is to have: all but what it has not got what for."""
    found = access_of(src.rest())
    lost = [row for row in found["direct"]["ann"] if row[1] in ("nowhere", "gone")]
    assert len(lost) == 2
    found["direct"]["ann"] = [row for row in found["direct"]["ann"] if row not in lost]
    found["direct"]["admin"] = [row for row in found["direct"]["admin"] if row[1] != "gone"]
    return found


def without(found: Json, username: str) -> Json:
    """What there is but of a user."""
    return {what: {name: of for name, of in found[what].items() if name != username} for what in found}


def test_a_copy_brings_them(src: Side, dst: Side, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """A whole copy brings users who can't log in, roles, and permissions for the copies; a repeat what changed."""
    both = {**src.variables("SRC"), **dst.variables("DST")}
    copying = ("copy-all", "--src-mlflow-uri", src.server.uri, "--dst-mlflow-uri", dst.server.uri)

    def copy(*args: str) -> Result:
        return run_script(*copying, *args, env=both, check=1)  # one permission is for what nobody has

    done = copy()
    counts = counts_of(done)
    assert counts["user"] == {"copied": 5} and counts["role"] == {"copied": 1}, done
    # three of the role's, nine of ann's, and those of the administrator who made it all
    permissions = len(wanted_of(src)["direct"]["admin"]) + 11
    assert counts["permission"] == {"copied": permissions, "failed": 1, "skipped": 2}, done
    assert "the registered model that it is for is not at the destination" in done.stdout
    assert "2 permission: its experiment is deleted at the source" in done.stdout
    assert counts["job"] == {"skipped": 2} and "jobs are not copied: creating one would run it" in done.stdout
    note = "Note: Passwords can't be copied: set one for each new user, who can't log in before: "
    assert f"{note}admin, ann, bob, carl, dora.\n" in done.stdout
    assert without(access_of(dst.rest()), "root") == wanted_of(src)
    for username in ("ann", "admin"):
        with pytest.raises(RestError, match="401"):
            Rest(dst.server.uri, auth=(username, f"{username}-s3cret-4711")).get("users/current")
    again = copy()
    assert counts_of(again)["user"] == {"unchanged": 5} and note not in again.stdout
    assert counts_of(again)["permission"] == {"unchanged": permissions, "failed": 1, "skipped": 2}
    _change(src.rest())
    changed = counts_of(copy())
    assert changed["role"] == {"updated": 1}
    assert changed["permission"] == {"updated": 2, "unchanged": permissions - 2, "failed": 1, "skipped": 2}
    assert without(access_of(dst.rest()), "root") == wanted_of(src)
    verified = run_script(*("verify-migration", *copying[1:], "--depth", "full"), env=both, check=1)
    assert counts_of(verified)["permission"] == {"same": permissions, "missing": 1}, verified
    assert counts_of(verified)["user"] == {"same": 5} and counts_of(verified)["role"] == {"same": 1}


def _change(rest: Rest) -> None:
    """Change a permission of ann's and one of the role's, and take the role from bob."""
    role = next(r for r in rest.get(f"{V3}/roles/list", {"workspace": "default"})["roles"] if r["name"] == "readers")
    ann = next(user for user in rest.get("users/list")["users"] if user["username"] == "ann")
    rows = [row for held in ann["roles"] for row in held["permissions"]]
    for row in rows:
        if row["permission"] == "READ" and (row["role_id"] == role["id"] or row["resource_pattern"] == "*"):
            rest.patch(f"{V3}/roles/permissions/update", {"role_permission_id": row["id"], "permission": "MANAGE"})
    rest.call("DELETE", f"{V3}/roles/unassign", json={"role_id": role["id"], "username": "bob"})


def test_those_of_workspaces(src: Side, dst: Side, run_script: Callable[..., Result]) -> None:
    """A workspace brings its own roles and permissions, and only the users that have to do with it."""
    both = {**src.variables("SRC"), **dst.variables("DST")}
    uris = ("--src-mlflow-uri", src.server.uri, "--dst-mlflow-uri", dst.server.uri, "--workspaces", TEAM)
    counts = counts_of(run_script("copy-all", *uris, env=both))
    assert set(counts["user"]) <= {"copied", "unchanged"} and sum(counts["user"].values()) == 2  # and its maker
    # two roles are in each new workspace from the start
    assert counts["role"] == {"copied": 1, "unchanged": 2} and counts["permission"] == {"copied": 3, "unchanged": 2}
    ours, theirs = (access_of(side.rest(TEAM), TEAM) for side in (src, dst))
    assert ours["roles"] == theirs["roles"] and "readers" in ours["roles"]
    assert ours["direct"]["carl"] == theirs["direct"]["carl"] == [("experiment", EXPERIMENT, "EDIT")]


def test_jobs_are_exported_for_the_record(src: Side, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """Each with what the server tells, those that optimize prompts with what it tells of that."""
    out = tmp_path / "out"
    for status in ("copied", "unchanged"):
        done = run(run_script, src.server.uri, ADMIN, "export-jobs", "--output-dir", out)
        assert counts_of(done) == {"job": {status: 2}}, done
    stored = json.loads((out / "jobs.json").read_text())["mlflow"]
    first, second = stored["jobs"]
    assert (first["job_name"], second["job_name"]) == ("invoke_scorer", "optimize_prompts")
    assert "prompt_optimization" not in first
    assert second["prompt_optimization"]["source_prompt_uri"] == "prompts:/greeting/1"
    assert [about["name"] for about in stored["experiments"].values()] == [EXPERIMENT]


def run(run_script: Callable[..., Result], uri: str, login: Login, *args: Any, status: int = 0) -> Result:
    return run_script(*args, env={"MLFLOW_TRACKING_URI": uri, **variables(login)}, check=status)


def test_without_rights(src: Side, dst: Side, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """Who is no administrator exports none, which is said, and imports none: each is lost."""
    out = tmp_path / "out"
    login = create_user(src.rest(), "eve")
    said = f"only an administrator of {src.server.uri} may know its users, their roles and permissions"
    done = run(run_script, src.server.uri, login, "export-users", "--output-dir", out)
    assert f"Note: The users were not read: {said}" in done.stdout and "Nothing was found." in done.stdout
    done = run(run_script, src.server.uri, ADMIN, "export-users", "--output-dir", out, "--users", "ann")
    counts = counts_of(done)
    assert counts["user"] == {"copied": 1} and counts["role"] == {"copied": 1}
    assert json.loads((out / "roles.json").read_text())["mlflow"]["roles"][0]["users"] == ["ann"]
    outsider = create_user(dst.rest(), "frank")
    done = run(run_script, dst.server.uri, outsider, "import-users", "--input-dir", out, status=1)
    assert counts_of(done) == {kind: {"failed": sum(of.values())} for kind, of in counts.items()}
    assert all("only an administrator of" in record["reason"] for record in records(out) if "reason" in record)


def test_nowhere_to_go(src: Side, dst_server: Server, run_script: Callable[..., Result], tmp_path: Path) -> None:
    """A server without users loses each with one reason, unless that is accepted; and it has none to export."""
    out = tmp_path / "out"
    counts = counts_of(run(run_script, src.server.uri, ADMIN, "export-users", "--output-dir", out))
    load = ("import-users", "--tracking-uri", dst_server.uri, "--input-dir", out)
    done = run_script(*load, check=1)
    lost = {kind: {"failed": sum(of.values())} for kind, of in counts.items()}
    assert counts_of(done) == lost and sum(of["failed"] for of in lost.values()) > 10
    assert "the destination's server knows no users" in done.stdout
    accepted = run_script(*load, "--accept-loss", "users,permissions")
    assert counts_of(accepted) == {kind: {"skipped": of["failed"]} for kind, of in lost.items()}
    done = run_script("export-users", "--tracking-uri", dst_server.uri, "--output-dir", tmp_path / "none")
    assert "Nothing was found." in done.stdout


@pytest.mark.slow
def test_from_an_old_server(
    guarded: Callable[..., Side], dst: Side, run_script: Callable[..., Result], tmp_path: Path
) -> None:
    """MLflow 2.9 does not list its users; those that are named come with what they may do."""
    old = guarded(ADMIN, version="2.9")
    rest = old.rest()
    create_user(rest, "olga")
    experiment_id = rest.post("experiments/create", {"name": "old one"})["experiment_id"]
    body = {"experiment_id": experiment_id, "username": "olga", "permission": "EDIT"}
    rest.post("experiments/permissions/create", body)
    rest.post("registered-models/create", {"name": "old model"})
    rest.post("registered-models/permissions/create", {"name": "old model", "username": "olga", "permission": "READ"})
    out = tmp_path / "out"
    export = ("export-users", "--output-dir", out)
    done = run(run_script, old.server.uri, ADMIN, *export)
    assert f"{old.server.uri} is too old to list its users: name them with export-users --users" in done.stdout
    done = run(run_script, old.server.uri, ADMIN, *export, "--users", "nobody", status=2)
    assert f"{old.server.uri} has no user 'nobody'." in done.stderr
    done = run(run_script, old.server.uri, ADMIN, *export, "--users", "olga")
    assert counts_of(done) == {"user": {"copied": 1}, "permission": {"copied": 2}}, done
    for name in ("old one", "old model"):
        what = "experiments" if name == "old one" else "registered-models"
        dst.rest().post(f"{what}/create", {"name": name})
    done = run(run_script, dst.server.uri, ROOT, "import-users", "--input-dir", out)
    assert counts_of(done) == {"user": {"copied": 1}, "role": {}, "permission": {"copied": 2}}, done
    found = access_of(dst.rest())["direct"]["olga"]
    assert found == [("experiment", "old one", "EDIT"), ("registered_model", "old model", "READ")]


def tables_of(database: Path) -> List[str]:
    """The tables of a SQLite file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))


@pytest.mark.parametrize(("file", "known"), [("mlflow.db", SERVER), ("basic_auth.db", AUTH)])
def test_fate_of_each_table(file: str, known: Dict[str, Any], src: Side) -> None:
    """limitations.md says of each table of the newest server what becomes of it: a new one has to be thought about."""
    found = [name for name in tables_of(src.server.root / file) if name != "sqlite_sequence"]
    assert len(found) > 10
    assert found == sorted(known)
