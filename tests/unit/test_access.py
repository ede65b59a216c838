"""Users, roles, permissions and jobs: what is asked of a server, and what never leaves it or is never told."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from mlflow_migration.access.access import FOLDER, Permissions, Roles, Users, of_users
from mlflow_migration.bulk.kinds import import_kinds
from mlflow_migration.client import access
from mlflow_migration.client.credentials import Connection
from mlflow_migration.client.errors import NotFound, Unauthorized
from mlflow_migration.client.rest_client import RestClient
from mlflow_migration.client.server_jobs import read_jobs
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.job import Job
from mlflow_migration.common.kinds import export_kind, file_of, import_kind
from mlflow_migration.common.ledger import Ledger
from mlflow_migration.common.progress import Progress
from mlflow_migration.server_job.server_jobs import JOBS
from mlflow_migration.verify.kinds import SPECS, KindsVerifier
from mlflow_migration.verify.report import Report
from tests.support.stub import Reply, Stub, error, missing_route


class App:
    """As much of a server with the basic-auth app as is asked of it."""

    def __init__(self, runner="root"):
        self.runner = runner
        self.users = {runner: {"username": runner, "is_admin": True, "roles": []}}
        self.roles, self.models, self.jobs = {}, {"wine"}, []
        self.experiments = [{"experiment_id": "1", "name": "one", "lifecycle_stage": "active"}]
        self.secrets = {"s-1": "key one"}
        self.passwords, self.writes, self.refusal = {}, [], None

    def user(self, name, is_admin=False):
        self.users[name] = {"username": name, "is_admin": is_admin, "roles": []}

    def role(self, name, *users, permissions=(), workspace="default"):
        number = len(self.roles) + 1
        rows = [
            {"id": 10 * number + row, "role_id": number, "resource_type": of, "resource_pattern": to, "permission": may}
            for row, (of, to, may) in enumerate(permissions)
        ]
        role = {"id": number, "name": name, "workspace": workspace, "description": "", "permissions": rows}
        self.roles[number] = role
        for user in users:
            self.users[user]["roles"].append(role)

    def own(self, user, *permissions):
        self.role(f"__user_{len(self.roles) + 70}__", user, permissions=permissions)

    def __call__(self, request):
        name = request.path.rpartition("/mlflow/")[2].replace("/ajax-api/3.0/", "")
        if request.method in ("POST", "PATCH", "DELETE") and not name.endswith("search"):
            self.writes.append((name, request.json))
        answer = getattr(self, f"_{name.replace('/', '_').replace('-', '_')}", None)
        return missing_route() if answer is None else answer(request)

    def _users_current(self, _):
        return Reply({"user": self.users[self.runner]})

    def _users_list(self, _):
        return Reply({"users": list(self.users.values())})

    def _users_create(self, request):
        body = request.json
        if self.refusal:
            return self.refusal
        self.user(body["username"])
        self.passwords[body["username"]] = body["password"]
        return Reply({"user": {}})

    def _users_update_admin(self, request):
        self.users[request.json["username"]]["is_admin"] = request.json["is_admin"]
        return Reply()

    def _roles_list(self, request):
        return Reply({"roles": [r for r in self.roles.values() if r["workspace"] in request.query["workspace"]]})

    def _users_permissions_grant(self, request):
        body = request.json
        self.own(body["username"], (body["resource_type"], body["resource_id"], body["permission"]))
        return Reply()

    def _experiments_search(self, _):
        return Reply({"experiments": self.experiments})

    def _experiments_get_by_name(self, request):
        found = [one for one in self.experiments if [one["name"]] == request.query["experiment_name"]]
        return Reply({"experiment": found[0]}) if found else error(404, "RESOURCE_DOES_NOT_EXIST", "none")

    def _registered_models_get(self, request):
        if request.query["name"][0] in self.models:
            return Reply({"registered_model": {"name": request.query["name"][0]}})
        return error(404, "RESOURCE_DOES_NOT_EXIST", "none")

    def _gateway_secrets_list(self, _):
        return Reply({"secrets": [{"secret_id": i, "secret_name": name} for i, name in self.secrets.items()]})

    def _jobs_search(self, _):
        return Reply({"jobs": self.jobs})

    def _prompt_optimization_jobs_j_2(self, _):
        return Reply({"job": {"job_id": "j-2", "initial_eval_scores": {"aggregate": 0.5}}})


class Case:
    """Two apps, and directories."""

    def __init__(self, tmp_path, src, dst):
        self.path, self.apps, self.src, self.dst = tmp_path, [app for _, app in (src, dst)], src[0], dst[0]
        self.out = ExportDir(str(tmp_path / "out"))
        self.ledger = None

    def run(self, work):
        """Return how many of each kind ended how."""
        reports = ExportDir(str(self.path / "reports"))
        reports.make()
        self.ledger = Ledger(reports, "test", {})
        with self.ledger, Executor(1) as executor:
            work(Job(self.ledger, executor, Progress(True, "")))
            assert not self.ledger.unreconciled
        return self.ledger.counts

    def export(self, kinds):
        def work(job):
            for kind in kinds:
                export_kind(kind, self.src, job, self.out, "export_users.py")

        return self.run(work)

    def load(self, kinds, **options):
        with closing(IdMap(ExportDir(str(self.path / "reports")), self.dst.identity)) as id_map:

            def work(job):
                for kind in (kind for kind in kinds if self.out.exists(file_of(kind))):
                    import_kind(kind, self.dst, job, self.out, options, id_map)

            return self.run(work)

    def written(self):
        """Return all that is in files, and the summary."""
        files = [path.read_text() for path in self.path.rglob("*") if path.is_file()]
        return "\n".join([*files, self.ledger.summary()])


@pytest.fixture
def tracking():
    """Opens a client of a stub's server: tracking(app, workspace)."""
    stubs = []

    def opened(app, workspace=""):
        stubs.append(Stub(app).__enter__())
        uri = stubs[-1].uri
        found = Tracking(RestClient(Connection(uri, {}, None, True, None, uri), 1, direct=True))
        found.workspace = workspace
        return found

    yield opened
    for stub in stubs:
        stub.__exit__(None, None, None)


@pytest.fixture
def case(tmp_path, tracking):
    apps = App("admin"), App()
    return Case(tmp_path, *((tracking(app), app) for app in apps))


def test_passwords_are_known_to_nobody(case):
    src, dst = case.apps
    src.user("ann"), src.user("bob", is_admin=True)
    case.export(of_users())
    assert case.load(of_users())["user"] == {"copied": 3}
    assert {name: user["is_admin"] for name, user in dst.users.items()} == {
        "root": True, "admin": True, "ann": False, "bob": True
    }  # fmt: skip
    assert len(set(dst.passwords.values())) == 3 and all(len(word) >= 40 for word in dst.passwords.values())
    assert not any(word in case.written() for word in dst.passwords.values())
    said = "set one for each new user, who can't log in before: admin, ann, bob."
    assert said in case.ledger.summary() and said in case.written()
    assert case.load(of_users())["user"] == {"unchanged": 3}
    assert "set one for each" not in case.ledger.summary()


def test_a_user_of_an_import_that_was_cut_off_is_told(case):
    src, dst = case.apps
    src.user("ann")
    case.export(of_users())
    with closing(IdMap(ExportDir(str(case.path / "reports")), case.dst.identity)) as id_map:
        id_map.announce("user", "", "ann", "", base=None, begun=["all"])
    dst.user("ann")
    assert case.load(of_users())["user"] == {"unchanged": 1, "copied": 1}
    assert "who can't log in before: admin, ann." in case.ledger.summary()


def test_what_a_server_says_of_a_hash_is_not_told(case):
    src, dst = case.apps
    src.user("ann")
    case.export(of_users())
    dst.refusal = error(400, "RESOURCE_ALREADY_EXISTS", "exists. [parameters: ('ann', 'scrypt:32768:8:1$abc')]")
    assert case.load(of_users())["user"] == {"failed": 2}
    assert "there is a user 'ann' already" in case.written()
    assert "scrypt" not in case.written()


@pytest.mark.parametrize("how", ["keep", "overwrite"])
def test_who_runs_it_is_left_alone(case, how):
    """Neither the one who runs the import loses his rights, nor gets somebody else some that he did not have."""
    src, dst = case.apps
    src.user("root"), src.user("ann", is_admin=True), dst.user("ann"), dst.user("admin", is_admin=True)
    case.export(of_users())
    counts = case.load(of_users(), on_destination_change=how)["user"]
    assert dst.users["root"]["is_admin"]
    assert dst.users["ann"]["is_admin"] == (how == "overwrite")
    expected = {"unchanged": 1, "differs": 2} if how == "keep" else {"unchanged": 1, "differs": 1, "updated": 1}
    assert counts == expected


def test_a_repeated_export_has_nothing_that_is_no_more(case):
    src, dst = case.apps
    src.user("ann"), src.own("ann", ("experiment", "*", "READ"))
    case.export(of_users())
    del src.users["ann"]
    case.export(of_users())
    assert case.load(of_users()) == {"user": {"copied": 1}}
    assert set(dst.users) == {"root", "admin"}


def test_an_administrator_is_needed(case):
    src, dst = case.apps
    src.user("ann"), src.own("ann", ("experiment", "*", "READ")), src.role("readers", "ann")
    case.export(of_users())
    for app in case.apps:
        app.users[app.runner]["is_admin"] = False
    assert case.export(of_users()) == {}
    assert len(case.ledger.notes) == 3
    assert "only an administrator of" in case.ledger.notes[0]
    counts = case.load(of_users())
    assert counts == {"user": {"failed": 2}, "role": {"failed": 1}, "permission": {"failed": 1}}
    assert not dst.writes


@pytest.mark.parametrize(
    ("resource_type", "pattern", "named"),
    [
        ("experiment", "1", {"experiment_id": "1"}),
        ("experiment", "*", {"resource": "*"}),
        ("registered_model", "wine", {"registered_model": "wine"}),
        ("prompt", "hello", {"prompt": "hello"}),
        ("registered_model", "*", {"resource": "*"}),
        ("scorer", "1/a%20tone%2Fb", {"experiment_id": "1", "resource": "a tone/b"}),
        ("scorer", "*", {"resource": "*"}),
        ("gateway_secret", "s-1", {"resource": "key one"}),
        ("gateway_secret", "s-gone", {"resource": "s-gone"}),
        ("mcp_server", "io.example/tools", {"resource": "io.example/tools"}),
        ("trace", "*", {"resource": "*"}),
    ],
)
def test_what_a_permission_is_for(tracking, resource_type, pattern, named):
    """It is told by names, and becomes what the server itself calls it."""
    app = App()
    app.own("root", (resource_type, pattern, "READ"))
    server = tracking(app)
    (found,) = access.read_permissions(server)
    assert {key: found[key] for key in found if key not in ("id", "permission_id", "permission")} == {
        "user": "root", "resource_type": resource_type, **named
    }  # fmt: skip
    access.grant(server, found)
    name, body = app.writes[-1]
    assert (name, body["resource_id"]) == ("users/permissions/grant", pattern)


def test_it_is_for_the_copies(case):
    src, dst = case.apps
    src.user("ann")
    dst.experiments[0]["experiment_id"] = "7"
    dst.models, dst.secrets = {"new wine"}, {"s-9": "key one"}
    src.own(
        "ann", ("experiment", "1", "READ"), ("registered_model", "wine", "EDIT"), ("gateway_secret", "s-1", "USE"),
        ("registered_model", "none", "READ"), ("experiment", "99", "READ"),
    )  # fmt: skip
    case.export(of_users())
    options = {"model_rename_file": {"wine": "new wine"}}
    counts = case.load(of_users(), **options)["permission"]
    assert counts == {"copied": 3, "failed": 1, "skipped": 1}
    granted = [(body["resource_type"], body["resource_id"]) for name, body in dst.writes if name.endswith("grant")]
    assert granted == [("experiment", "7"), ("registered_model", "new wine"), ("gateway_secret", "s-9")]
    assert case.load(of_users(), **options)["permission"] == {"unchanged": 3, "failed": 1, "skipped": 1}


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("users", {"is_admin": "false"}), ("users", {"username": ["ann"]}), ("users", {"username": ""}),
        ("roles", {"users": "ann"}), ("roles", {"users": ["ann", 1]}), ("roles", {"name": None}),
        ("permissions", {"experiment_id": 1}), ("permissions", {"role": "readers"}), ("permissions", {"user": None}),
        ("permissions", {"permission": {"name": "READ"}}), ("permissions", {"resource_type": ["experiment"]}),
        ("permissions", {"experiment_id": ""}),
    ],
)  # fmt: skip
def test_what_no_export_writes_grants_nothing(case, file, change):
    src, dst = case.apps
    del src.users["admin"]
    src.runner = "ann"
    src.user("ann", is_admin=True), src.own("ann", ("experiment", "1", "READ")), src.role("readers", "ann")
    dst.user("ann", is_admin=True), dst.role("readers", "ann")
    case.export(of_users())
    document = case.out.read_json(f"{file}.json")
    document["mlflow"][file][0].update(change)
    case.out.write_json(f"{file}.json", json.dumps(document).encode())
    counts = case.load(of_users())
    assert counts[file[:-1]] == {"failed": 1}
    assert all(name == "users/permissions/grant" and file != "permissions" for name, _ in dst.writes)


def test_who_belongs_to_a_workspace(tracking):
    app = App()
    app.user("ann"), app.user("bob")
    app.role("team", "ann", workspace="a", permissions=[("run", "*", "DENY")])
    app.role("readers", "bob", permissions=[("run", "*", "READ")])
    names = {}
    for workspace in ("", "a"):
        server = tracking(app, workspace)
        names[workspace] = [user["username"] for user in access.read_users(server)]
        assert [user["username"] for user in access.read_all_users(server)] == ["ann", "bob", "root"]
        (role,) = access.read_roles(server)
        (permission,) = access.read_permissions(server)
        assert role["name"] == permission["role"] == ("team" if workspace else "readers")
    assert names == {"": ["ann", "bob", "root"], "a": ["ann"]}


def test_a_server_without_users_or_too_old_to_list_them(tracking):
    app = App()
    for name, ex in (("_users_current", NotFound), ("_users_list", Unauthorized)):
        setattr(app, name, lambda _: missing_route())
        with pytest.raises(ex) as caught:
            list(access.read_users(tracking(app)))
        assert not caught.value.error_code
        delattr(app, name)


def test_jobs_are_recorded_and_never_run(case):
    src, dst = case.apps
    src.jobs = [
        {"job_id": "j-1", "job_name": "invoke_scorer", "params": {"experiment_id": "1"}},
        {"job_id": "j-2", "job_name": "optimize_prompts", "params": {}},
    ]
    assert [job.get("prompt_optimization", {}).get("job_id") for job in read_jobs(case.src)] == [None, "j-2"]
    place = case.out.sub("jobs")
    counts = case.run(lambda job: export_kind(JOBS, case.src, job, place, "export_jobs.py"))
    assert counts == {"job": {"copied": 2}}
    with closing(IdMap(None, case.dst.identity)) as id_map:
        counts = case.run(lambda job: import_kinds(case.dst, job, case.out, {}, id_map))
    assert counts == {"job": {"skipped": 2}}
    assert "2 job: jobs are not copied: creating one would run it" in case.ledger.summary()
    assert not dst.writes


class Verified:
    """The verification of one kind: results by the name of the object."""

    def __init__(self, kind, ours, theirs, new_names=None):
        self.found = Report(None, {})
        spec = next(spec for spec in SPECS if spec.kind == kind)
        verifier = KindsVerifier(
            None, self.found, "full", lambda src_id, name: {f"9{src_id}"},
            lambda of, name: [(new_names or {}).get(name, name)], {"91"},
        )  # fmt: skip
        verifier.compare(spec, (ours, {}), (theirs, {}))

    @property
    def counts(self):
        return {kind: {k: n for k, n in of.items() if n} for kind, of in self.found.counts.items()}


def permission(**fields):
    doc = {"user": "ann", "resource_type": "experiment", "permission": "READ", **fields}
    return {"id": access.permission_key(doc), "permission_id": str(len(doc)), **doc}


def test_permissions_are_verified_by_what_they_are_for():
    ours = [permission(experiment_id="1"), permission(experiment_id="2"), permission(experiment_id="3", deleted=True)]
    ours += [permission(resource_type="registered_model", registered_model="wine"), permission(resource="*")]
    theirs = [permission(experiment_id="91"), permission(resource="*", permission="EDIT")]
    theirs.append(permission(resource_type="registered_model", registered_model="new"))
    theirs.append(permission(user="eve", resource="*"))
    found = Verified("permission", ours, theirs, {"wine": "new"})
    assert found.counts == {"permission": {"same": 2, "missing": 1, "differs": 1}}


def test_jobs_need_not_be_at_the_destination():
    assert Verified("job", [{"job_id": "j-1"}], []).counts == {}


def test_the_three_kinds_share_a_folder():
    assert [type(kind) for kind in of_users()] == [Users, Roles, Permissions]
    assert {kind.folder for kind in of_users()} == {FOLDER}
