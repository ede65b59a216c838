"""Artifacts and exports in an S3 store: what lies there moves whole, and what is half there is never taken as whole."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple
from uuid import uuid4

import pytest

from benchmarks.make_data import ODD_NAMES, make_everything
from mlflow_migration.common.report import REPORT_FILES
from tests.support.compare import assert_same, differences
from tests.support.moves import Source, counts_of, point, runs_of
from tests.support.proxy import Proxy, Request
from tests.support.reports import id_map, ledger, records, statuses
from tests.support.rest import Rest, noise
from tests.support.s3 import ENDPOINT, Bucket, S3Server
from tests.support.scripts import Result, start_script
from tests.support.servers import Server

#: MLflow's servers decode a path until nothing is left to decode, so none can be asked for this artifact
DECODED = "plus+and%41percent.txt"
#: what keeps boto from finding credentials of the machine's user or of a cloud
NO_CREDENTIALS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket in a store of this module's own; scripts and servers reach it with `bucket.env`."""
    with S3Server(tmp_path_factory.mktemp("s3")) as store, pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, store.uri)
        yield Bucket(store.uri, "tests").create()


@pytest.fixture(scope="module")
def on_s3(server: Callable[..., Server], bucket: Bucket) -> Dict[str, Server]:
    """Two servers: one gives its runs s3:// roots, the other passes all artifacts on to the store."""
    places = {"s3": f"direct:{bucket.uri}/direct", "s3 proxied": f"{bucket.uri}/proxied"}
    made = {kind: server(start=False, artifacts=place, **bucket.env) for kind, place in places.items()}
    for each in made.values():
        each.start(wait=False)
    return {kind: each.wait() for kind, each in made.items()}


@pytest.fixture
def kind(on_s3: Dict[str, Server], request: pytest.FixtureRequest) -> Callable[..., Server]:
    """Gives the server whose artifacts lie so: "s3", "s3 proxied", in "files" or with the server ("proxied")."""

    def get(name: str, side: str = "src") -> Server:
        if name in on_s3:
            return on_s3[name]
        found: Server = request.getfixturevalue("direct_server" if name == "files" else f"{side}_server")
        return found

    return get


@pytest.fixture
def script(run_script: Callable[..., Result], bucket: Bucket) -> Callable[..., Result]:
    """Runs a script that has the store's credentials, unless `env` is given instead."""

    def run(name: str, *args: Any, **options: Any) -> Result:
        return run_script(name, *args, **{"env": bucket.env, **options})

    return run


def export_to(where: Any, server: Any, name: str, *more: str) -> Tuple[Any, ...]:
    """Command line of an export."""
    return ("export-experiment", "--tracking-uri", server.uri, "--experiment", name, "--output-dir", where, *more)


def import_from(where: Any, server: Any, name: str, *more: Any) -> Tuple[Any, ...]:
    """Command line of an import."""
    return ("import-experiment", "--tracking-uri", server.uri, "--experiment-name", name, "--input-dir", where, *more)


# ---- artifacts


@pytest.fixture(scope="module")
def everything() -> Callable[[Server], Tuple[str, Dict[str, str]]]:
    """Makes the experiment with everything on a server, once: its name and ids."""
    made: Dict[str, Tuple[str, Dict[str, str]]] = {}

    def get(server: Server) -> Tuple[str, Dict[str, str]]:
        if server.uri not in made:
            name = f"everything {uuid4().hex[:8]}"
            made[server.uri] = name, make_everything(server.uri, name, deleted_models=True)
        return made[server.uri]

    return get


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("proxied", "s3"),
        ("s3", "s3"),
        pytest.param("s3 proxied", "files", marks=pytest.mark.slow),
        ("files", "proxied"),
    ],
)
def test_everything(
    src: str,
    dst: str,
    kind: Callable[..., Server],
    everything: Callable[[Server], Tuple[str, Dict[str, str]]],
    bucket: Bucket,
    script: Callable[..., Result],
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """Everything moves whole between stores of all kinds, and a repeat finds nothing new."""
    there, to = kind(src), kind(dst, "dst")
    name, ids = everything(there)
    # a server that got the artifact has decoded its name already
    untold = src in ("s3", "files")
    lost = untold and dst == "proxied"
    command = (
        "copy-experiment", "--src-mlflow-uri", there.uri, "--dst-mlflow-uri", to.uri, "--experiment", name,
        "--experiment-name", experiment_name, "--export-deleted-runs", "--report-dir", tmp_path,
    )  # fmt: skip
    objects = {value for role, value in ids.items() if role != "experiment"}
    for status in ("copied", "unchanged"):
        script(*command, check=1 if lost else 0)
        found = {**statuses(tmp_path), **statuses(tmp_path, "logged_model")}
        if lost:
            assert found.pop(ids["artifacts"]) == "incomplete"
            (line,) = records(tmp_path, "artifact")
            assert line["src_id"] == f"{ids['artifacts']}/{DECODED}" and "decodes it" in line["reason"]
        assert found == dict.fromkeys(objects - ({ids["artifacts"]} if lost else set()), status)
    found = differences((there.uri, name), (to.uri, experiment_name))
    if untold:
        (told,) = found
        assert told.startswith(f"run {ids['artifacts']} ('artifacts'): artifact {DECODED!r}")
        assert "missing" in told if lost else "cannot be read" in told
    else:
        assert found == []
    if (src, dst) == ("s3", "s3"):
        copy = Rest(to.uri).run(id_map(tmp_path)[ids["artifacts"]])["info"]["artifact_uri"]
        assert bucket.get(f"{copy.partition(bucket.uri + '/')[2]}/{DECODED}") == ODD_NAMES[DECODED]


@pytest.mark.slow
def test_without_credentials(
    on_s3: Dict[str, Server], bucket: Bucket, script: Callable[..., Result], tmp_path: Path, experiment_name: str
) -> None:
    """Who has no credentials reads through the server; what he can't write, and can't read, is told at once."""
    server, name, env = on_s3["s3"], experiment_name, {ENDPOINT: bucket.env[ENDPOINT], **NO_CREDENTIALS}
    source = Source(server, name)
    run_id = source.run("files", points=(point("x", 1.0, 1),))
    model_id = source.model(run_id, "model")
    files = {path: data for path, data in ODD_NAMES.items() if path != DECODED}
    root = source.rest.logged_model(model_id)["info"]["artifact_uri"]
    for path, data in files.items():
        source.put(run_id, path, data)
        source.rest.put_file(root, path, data)
    source.run("no files", 2000)

    def check_export() -> None:
        for directory in (run_id, f"logged_models/{model_id}"):
            where = tmp_path / "export" / directory / "artifacts"
            assert {str(p.relative_to(where)): p.read_bytes() for p in where.rglob("*") if p.is_file()} == files

    script(*export_to(tmp_path / "export", server, name), env=env)
    check_export()

    copy = import_from(tmp_path / "export", server, f"{name} copy", "--report-dir", tmp_path)
    both = (server.uri, name), (server.uri, f"{name} copy")
    done = script(*copy, env=env, check=1)
    assert "Traceback" not in done.stdout + done.stderr and done.seconds < 60, done
    assert statuses(tmp_path, "artifact") == {f"{i}/{path}": "failed" for i in (run_id, model_id) for path in files}
    assert {line["reason"] for line in records(tmp_path, "artifact")} == {
        "NoCredentialsError: Unable to locate credentials"
    }
    assert sorted(statuses(tmp_path).values()) == ["copied", "incomplete"]
    found = differences(*both)
    assert len(found) == 2 * len(files) and all(": missing" in line and "artifact" in line for line in found), found

    script(*copy)
    assert sorted(statuses(tmp_path).values()) == ["unchanged", "updated"]
    assert_same(*both)

    # neither of the two ways: what the directory has stays
    source.tag(run_id, "k", "new")
    with Proxy(server.uri) as proxy:
        proxy.on("GET", "*/artifacts/*", status=403)
        script(*export_to(tmp_path / "export", proxy, name), env=env, check=1)
    (line,) = records(tmp_path / "export", "run", "incomplete", run_id)
    assert "its artifacts can't be listed: NoCredentialsError" in line["reason"]
    check_export()
    script(*copy, check=1)
    assert "already in the export" in records(tmp_path, "run", "incomplete", run_id)[0]["reason"]
    assert_same(*both)
    script(*export_to(tmp_path / "export", server, name), env=env)
    script(*copy)


# ---- exports


def test_export_in_store(
    src_server: Server,
    dst_server: Server,
    everything: Callable[[Server], Tuple[str, Dict[str, str]]],
    bucket: Bucket,
    script: Callable[..., Result],
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """An export lies in the store with ledger and id map, is imported from there, and both may be repeated."""
    name, ids = everything(src_server)
    prefix = f"back ups/m\u00e4rz/{uuid4().hex}"
    where = f"{bucket.uri}/{prefix}"
    objects = len(ids) - 1

    def ledger_of(status: str) -> List[Dict[str, Any]]:
        lines = ledger(bucket.download(prefix, tmp_path / "copy"))
        found = [line["status"] for line in lines if line["kind"] in ("run", "logged_model")]
        assert found == [status] * objects
        return lines

    script(*export_to(where, src_server, name, "--export-deleted-runs"))
    ledger_of("copied")
    script(*import_from(where, dst_server, experiment_name))
    ledger_of("copied")
    mapped = {**id_map(tmp_path / "copy"), **id_map(tmp_path / "copy", "logged_model")}
    assert set(mapped) == set(ids.values()) - {ids["experiment"]}
    assert_same((src_server.uri, name), (dst_server.uri, experiment_name))

    before = {key: item["LastModified"] for key, item in bucket.objects(prefix).items()}
    script(*export_to(where, src_server, name, "--export-deleted-runs"))
    ledger_of("unchanged")
    after = {key: item["LastModified"] for key, item in bucket.objects(prefix).items()}
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert changed == {f"{prefix}/{file}" for file in ("experiment.json", "ledger.jsonl", *REPORT_FILES)}
    number = len(runs_of(dst_server, experiment_name))
    script(*import_from(where, dst_server, experiment_name))
    ledger_of("unchanged")
    assert len(runs_of(dst_server, experiment_name)) == number


@pytest.fixture
def kill_at(bucket: Bucket, tmp_path: Path) -> Callable[..., None]:
    """Runs a command until a request passes a proxy, and kills it there with SIGKILL."""

    def run(proxy: Proxy, command: Tuple[Any, ...], env: Dict[str, str], *request: str, **when: Any) -> None:
        processes: List[Any] = []

        def kill(_: Request) -> None:
            os.killpg(processes[0].pid, signal.SIGKILL)
            processes[0].wait()

        moment = when.pop("moment", "after")
        fault = proxy.on(*request, **{moment: kill}, **when)
        processes.append(start_script(*command, env={**bucket.env, **env}, cwd=tmp_path))
        stdout, stderr = processes[0].communicate(timeout=120)
        assert (fault.hits, processes[0].returncode) == (1, -signal.SIGKILL), stdout + stderr
        proxy.clear()

    return run


def whole_runs(bucket: Bucket, prefix: str) -> List[str]:
    """Ids of the exported runs that say that they are whole; each is checked to be."""
    found = []
    for key in bucket.objects(prefix):
        if key.endswith("/run.json"):
            for entry in json.loads(bucket.get(key))["info"]["artifacts"]:
                data = bucket.get(f"{key[: -len('/run.json')]}/artifacts/{entry['path']}")
                assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"]), key
            found.append(key.split("/")[-2])
    return found


@pytest.mark.slow
def test_interrupted_export(
    source: Source,
    dst_server: Server,
    bucket: Bucket,
    script: Callable[..., Result],
    kill_at: Callable[..., None],
    tmp_path: Path,
) -> None:
    """An export that is killed is completed by a repeat, which takes no half-written object for a whole one."""
    ids = []
    for number in range(5):
        ids.append(source.run(f"run {number}", 1000 + number, (point("x", 1.0, 1),)))
        for path in ("a b.txt", "dir/large.bin", "empty"):
            source.put(ids[-1], path, b"" if path == "empty" else noise(path + ids[-1], 300_000))
    prefix = f"killed/{uuid4().hex}"
    where = f"{bucket.uri}/{prefix}"
    command = export_to(where, source.server, source.name, "--workers", "2")
    with Proxy(bucket.env[ENDPOINT]) as proxy:
        env = {ENDPOINT: proxy.uri}
        kill_at(proxy, command, env, "PUT", "*/artifacts/*", number=4, moment="before")
        assert len(whole_runs(bucket, prefix)) < 2
        kill_at(proxy, command, env, "PUT", "*/run.json", number=2)
        before = whole_runs(bucket, prefix)
        assert 2 <= len(before) < 5
        kill_at(proxy, command, env, "PUT", "*/experiment.json", moment="before")
        assert sorted(whole_runs(bucket, prefix)) == sorted(ids)
    into = import_from(where, dst_server, source.name, "--report-dir", tmp_path / "report")
    assert "holds no whole export" in script(*into, check=2).stderr
    script(*command)
    assert statuses(bucket.download(prefix, tmp_path / "copy")) == dict.fromkeys(ids, "unchanged")

    # what a store may leave that is no better than a disk
    broken, short = ids[0], ids[1]
    key = f"{prefix}/{broken}/run.json"
    bucket.put(key, bucket.get(key)[:200])
    bucket.put(f"{prefix}/{short}/artifacts/dir/large.bin", b"half")
    script(*into, check=1)
    expected = {**dict.fromkeys(ids, "copied"), broken: "failed", short: "incomplete"}
    assert statuses(tmp_path / "report") == expected
    assert "has 4 bytes in the directory, not 300000" in records(tmp_path / "report", "run", None, short)[0]["reason"]

    script(*command)
    home = bucket.download(prefix, tmp_path / "copy")
    assert statuses(home) == {**dict.fromkeys(ids, "unchanged"), broken: "updated", short: "updated"}
    assert sorted(whole_runs(bucket, prefix)) == sorted(ids)
    script(*into)
    assert statuses(tmp_path / "report") == {**dict.fromkeys(ids, "unchanged"), broken: "copied", short: "updated"}
    assert_same((source.server.uri, source.name), (dst_server.uri, source.name))


def test_interrupted_import(
    source: Source,
    dst_server: Server,
    bucket: Bucket,
    script: Callable[..., Result],
    kill_at: Callable[..., None],
) -> None:
    """What an import was about to do is known after its kill, though the id map lies where no line can be added."""
    ids = [source.run(f"run {number}", 1000 + number, (point("x", 1.0, 1),)) for number in range(3)]
    source.delete(*ids[:2])
    where = f"{bucket.uri}/imported/{uuid4().hex}"
    export = export_to(where, source.server, source.name, "--export-deleted-runs")
    script(*export)
    with Proxy(dst_server.uri) as proxy:
        into = import_from(where, proxy, source.name)
        kill_at(proxy, into, {}, "POST", "*/runs/update", number=2)
        script(*into)
        # a deleted run must be active while it is changed
        source.rest.post("runs/restore", {"run_id": ids[0]})
        source.tag(ids[0], "k", "v")
        source.delete(ids[0])
        script(*export)
        kill_at(proxy, into, {}, "POST", "*/runs/restore")
        stages = [run["info"]["lifecycle_stage"] for run in runs_of(dst_server, source.name)]
        assert stages.count("active") == 2
        assert counts_of(script(*into))["run"] == {"updated": 1, "unchanged": 2}
        assert_same((source.server.uri, source.name), (dst_server.uri, source.name))
        assert counts_of(script(*into))["run"] == {"unchanged": 3}
        assert not bucket.objects(where.partition(bucket.uri + "/")[2] + "/id_map.jsonl.pieces")


def test_store_refuses(
    source: Source, dst_server: Server, bucket: Bucket, script: Callable[..., Result], tmp_path: Path
) -> None:
    """Where nothing can be written an export does not start, and an import leaves its report elsewhere."""
    source.put(source.run("one"), "a.txt", b"a")
    where = f"{bucket.uri}/refused/{uuid4().hex}"
    script(*export_to(where, source.server, source.name))
    with Proxy(bucket.env[ENDPOINT]) as proxy:
        proxy.on("PUT", status=403)
        env = {**bucket.env, ENDPOINT: proxy.uri}
        refused = script(*export_to(where, source.server, source.name), env=env, check=2)
        assert refused.stderr == f"export-experiment: {where} can't be used: PermissionError: Forbidden\n"
        script(*import_from(where, dst_server, source.name), env=env)
    assert_same((source.server.uri, source.name), (dst_server.uri, source.name))
    assert set(statuses(tmp_path / "mlflow-migration-report").values()) == {"copied"}
    absent = script(*export_to("s3://no-such-bucket/export", source.server, source.name), check=2)
    assert "The specified bucket does not exist" in absent.stderr
    unknown = script(
        *export_to(where, source.server, source.name),
        env={ENDPOINT: bucket.env[ENDPOINT], **NO_CREDENTIALS}, check=2,
    )  # fmt: skip
    assert "Unable to locate credentials" in unknown.stderr
