"""Workspaces of servers go to another server's, each with its own experiments, registered models and prompts."""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest

from tests.support.compare import differences
from tests.support.compare_models import RegistryRest, model_differences
from tests.support.kills import run_killed
from tests.support.make_models import Models
from tests.support.make_prompts import Prompts, prompt_differences
from tests.support.moves import At, Counts, Source, counts_of, writes
from tests.support.proxy import Proxy
from tests.support.reports import ledger, records
from tests.support.rest import Json, Rest
from tests.support.scripts import Result
from tests.support.servers import Server

WORKSPACES = "/api/3.0/mlflow/workspaces"
DESCRIPTIONS = {"team-a": "für alle", "team-b": ""}
SAME = "same"


class Names(NamedTuple):
    """What a workspace has."""

    experiments: List[str]
    models: List[str]
    prompts: List[str]


HAS = {
    "default": Names(["Default", SAME], [], []),
    "team-a": Names([SAME], [SAME], ["a-prompt"]),
    "team-b": Names([SAME], [SAME], ["a-prompt"]),
}


def workspaces(server: Server) -> Dict[str, Json]:
    """The workspaces of a server by name."""
    return {found["name"]: found for found in Rest(server.uri).call("GET", WORKSPACES)["workspaces"]}


def names(uri: str) -> Names:
    """What there is at a server, or in its workspace that the URI ends with."""
    rest = RegistryRest(uri)
    found = rest.pages("experiments/search", {"view_type": "ALL", "max_results": 1000}, "experiments")
    models = rest.get("registered-models/search").get("registered_models") or []
    return Names(
        sorted(one["name"] for one in found), sorted(one["name"] for one in models), sorted(Prompts(uri).names(""))
    )


def difference(src: str, dst: str, has: Names) -> List[str]:
    """Every difference between two workspaces."""
    found = [text for name in has.experiments for text in differences((src, name), (dst, name))]
    found += [text for name in has.models for text in model_differences((src, name), (dst, name))]
    for name in has.prompts:
        found += prompt_differences(Prompts(src), name, Prompts(dst), name)
    return found


def statuses(counts: Counts) -> List[str]:
    return sorted({status for of_kind in counts.values() for status in of_kind})


@pytest.fixture(scope="module")
def src(server: Callable[..., Server]) -> Server:
    """A server whose workspaces have different things of the same names."""
    made = server(args=("--enable-workspaces",))
    for name, description in DESCRIPTIONS.items():
        body = {"name": name, **({"description": description} if description else {})}
        Rest(made.uri).call("POST", WORKSPACES, json=body)
    a, b = (Models(At(f"{made.uri}#{name}"), SAME) for name in DESCRIPTIONS)
    a.everything(mlflow3=True)
    b.many(3, True, random.Random(1))
    Prompts(f"{made.uri}#team-a").everything("a-prompt")
    prompts = Prompts(f"{made.uri}#team-b")
    prompts.create("a-prompt", "another one")
    prompts.version("a-prompt", "only {{ this }}")
    prompts.tag("a-prompt", "_mlflow_experiment_ids", f",{b.id},")
    of_default = Source(made, SAME)
    of_default.put(of_default.run("of the default workspace"), "file.txt", b"of default")
    of_default.rest.post("runs/create", {"experiment_id": "0", "run_name": "of experiment 0", "start_time": 5})
    return made


@pytest.fixture(scope="module")
def dst(server: Callable[..., Server]) -> Server:
    """A server with workspaces, which has none but its default one."""
    return server(args=("--enable-workspaces",))


@pytest.fixture
def workspace(src: Server) -> Iterator[str]:
    """Another workspace of the source, and another whose name goes on with -2; they are gone afterwards."""
    name = f"of-{uuid.uuid4().hex[:12]}"
    for one in (name, f"{name}-2"):
        Rest(src.uri).call("POST", WORKSPACES, json={"name": one})
    yield name
    for one in (name, f"{name}-2"):
        Rest(src.uri).call("DELETE", f"{WORKSPACES}/{one}", params={"mode": "CASCADE"})


@pytest.fixture
def script(run_script: Callable[..., Result], tmp_path: Path) -> Callable[..., Counts]:
    """Runs a script at a server; how many objects of which kind ended how."""

    def run(name: str, server: Optional[Server], *args: Any, status: int = 0, **env: str) -> Counts:
        variables = {"MLFLOW_TRACKING_URI": server.uri} if server else {}
        result = run_script(name, *args, "--report-dir", tmp_path / "report", env={**variables, **env}, check=status)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    return run


@pytest.fixture
def verify(run_script: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """Verifies at depth full; what is printed."""

    def run(*args: Any, status: int = 0) -> str:
        command = ("verify-migration", "--depth", "full", "--report-dir", tmp_path / "report", *args)
        return run_script(*command, check=status).stdout

    return run


@pytest.mark.slow
def test_all_workspaces_go_through_a_directory(
    src: Server, dst: Server, script: Callable[..., Counts], verify: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export = ("export-all", src, "--output-dir", out, "--export-deleted-runs", "--workspaces")
    exported = script(*export, "all")
    assert statuses(exported) == ["copied"]
    assert exported["workspace"] == {"copied": 3}
    assert exported["experiment"] == {"copied": 4}
    assert sorted(path.name for path in (out / "workspaces").iterdir()) == [*HAS, "workspaces.json"]
    assert sorted(path.name for path in out.iterdir()) == ["workspaces"]
    listed = json.loads((out / "workspaces" / "workspaces.json").read_text())["mlflow"]["workspaces"]
    assert {one["name"]: one.get("description", "") for one in listed if one["name"] != "default"} == DESCRIPTIONS
    for name in ("team-a", "team-b"):
        summary = json.loads((out / "workspaces" / name / "prompts" / "prompts_summary.json").read_text())
        assert summary["mlflow"]["total_prompts"] == len(Prompts(f"{src.uri}#{name}").versions("a-prompt"))
    load = ("import-all", dst, "--input-dir", out)
    dry = script(*load, "--dry-run", "--workspaces", "team-b")
    assert dry == {"workspace": {"copied": 1}} and "team-b" not in workspaces(dst)
    loaded = script(*load)
    assert loaded["workspace"] == {"copied": 2, "unchanged": 1}
    assert loaded["experiment"] == {"copied": 3, "unchanged": 1}  # experiment 0 is there from the start
    assert loaded["registered_model"] == {"copied": 2}
    assert loaded["prompt"] == {"copied": 2}
    assert {record["workspace"] for record in ledger(tmp_path / "report")} == set(HAS)
    there = workspaces(dst)
    assert {name: there[name].get("description", "") for name in DESCRIPTIONS} == DESCRIPTIONS
    for name, has in HAS.items():
        assert names(f"{dst.uri}#{name}") == names(f"{src.uri}#{name}") == Names(*map(sorted, has))
        assert difference(f"{src.uri}#{name}", f"{dst.uri}#{name}", has) == []
    assert statuses(script(*load)) == ["unchanged"]
    assert statuses(script(*load, "--workspaces", "team-*")) == ["unchanged"]
    assert script(*export, "team-b")["workspace"] == {"unchanged": 1}
    assert script(*load)["workspace"] == {"unchanged": 3}  # those of the first export are still listed

    both = ("--dst-mlflow-uri", dst.uri, "--export-deleted-runs")
    of_server = ("--src-mlflow-uri", src.uri, *both, "--workspaces", "all")
    for source in (of_server, ("--input-dir", out, *both)):
        rows = {words[0]: words[1:] for words in map(str.split, verify(*source).splitlines()) if words}
        for kind in ("workspace", "experiment", "run", "logged_model", "registered_model", "model_version", "prompt"):
            assert rows[kind][0] == rows[kind][1] != "0", rows
    verify("--input-dir", out)


@pytest.mark.slow
def test_what_differs_in_one_workspace_is_found(
    src: Server, dst: Server, script: Callable[..., Counts], verify: Callable[..., str], workspace: str, tmp_path: Path
) -> None:
    both = [workspace, f"{workspace}-2"]
    for name in both:
        made = Source(At(f"{src.uri}#{name}"), SAME)
        made.put(made.run(f"of {name}"), "file.txt", name.encode())
        Rest(src.uri).call("PATCH", f"{WORKSPACES}/{name}", json={"description": f"is {name}"})
    out = tmp_path / "out"
    script("export-all", src, "--output-dir", out, "--workspaces", ",".join(both))
    load = ("import-all", dst, "--input-dir", out)
    assert statuses(script(*load)) == ["copied"]
    to = ("--dst-mlflow-uri", dst.uri)
    of_server = ("--src-mlflow-uri", src.uri, *to, "--workspaces")
    rest = Rest(f"{dst.uri}#{both[1]}")
    gone = rest.runs(rest.experiment(SAME)["experiment_id"])[0]["info"]["run_id"]
    rest.post("runs/delete", {"run_id": gone})
    rest.call("PATCH", f"{WORKSPACES}/{both[0]}", json={"description": "edited"})
    for source in ((*of_server, f"{workspace}*"), ("--input-dir", out, *to)):
        found = verify(*source, status=1)
        assert f" in {both[1]}: differs; " in found
        assert f"{both[0]}: differs; description: 'is {both[0]}' became 'edited'" in found
    # both are left alone, and what is not there is told to be elsewhere
    assert script(*load)["workspace"] == {"differs": 1, "unchanged": 1}
    assert {(r["workspace"], r["kind"]) for r in records(tmp_path / "report", status="differs")} == {
        (both[0], "workspace"), (both[1], "run")
    }  # fmt: skip
    assert script(*load, "--on-destination-change", "overwrite")["workspace"] == {"updated": 1, "unchanged": 1}
    verify(*of_server, f"{workspace}*")
    assert workspaces(dst)[both[0]]["description"] == f"is {both[0]}"
    some = next((out / "workspaces" / both[1]).rglob("file.txt"))
    some.write_bytes(b"x" * some.stat().st_size)
    assert "file.txt" in verify("--input-dir", out, status=1)


def test_workspaces_are_copied_and_renamed(
    src: Server, dst: Server, script: Callable[..., Counts], verify: Callable[..., str], tmp_path: Path
) -> None:
    renames = tmp_path / "renames.csv"
    renames.write_text("team-,copy-of-\ndefault,copy-of-default\n")
    named = ("--workspaces", "all", "--workspace-rename-file", renames, "--export-deleted-runs")

    def copy(to: str = dst.uri, *args: Any) -> Counts:
        return script("copy-all", None, "--src-mlflow-uri", src.uri, "--dst-mlflow-uri", to, *named, *args)

    with Proxy(dst.uri) as proxy:
        both = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", proxy.uri, "--report-dir", tmp_path / "report")
        assert run_killed(proxy, ("copy-all", *both, *named), "POST", "*/model-versions/create", 2) == ""
    copied = copy()
    assert set(statuses(copied)) <= {"copied", "updated", "unchanged"}
    new = {"default": "copy-of-default", "team-a": "copy-of-a", "team-b": "copy-of-b"}
    told = {(r["workspace"], r["dst_workspace"]) for r in ledger(tmp_path / "report")}
    assert told == set(new.items())
    for name, has in HAS.items():
        assert names(f"{dst.uri}#{new[name]}").experiments == sorted(has.experiments)
        assert difference(f"{src.uri}#{name}", f"{dst.uri}#{new[name]}", has) == []
    with Proxy(dst.uri) as proxy:
        assert statuses(copy(proxy.uri)) == ["unchanged"]
        assert writes(proxy) == {}
    assert statuses(copy(dst.uri, "--temp-dir", tmp_path / "temp", "--recheck", "full")) == ["unchanged"]
    both = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri, *named)
    verify(*both)
    rest = RegistryRest(f"{dst.uri}#copy-of-b")
    rest.call("DELETE", "/api/2.0/mlflow/registered-models/delete", json={"name": SAME})
    assert f"registered_model {SAME} in team-b: missing" in verify(*both, status=1)


@pytest.mark.slow
def test_servers_go_into_workspaces_of_one(
    src_server: Server, dst_server: Server, dst: Server, script: Callable[..., Counts], verify: Callable[..., str],
    experiment_name: str, tmp_path: Path,
) -> None:  # fmt: skip
    plain = {"left": src_server, "right": dst_server}
    for n, made in enumerate(plain.values()):
        models = Models(made, experiment_name)
        models.many(2 + n, True, random.Random(n))
    chosen = ("--experiments", experiment_name, "--models", experiment_name, "--export-deleted-runs")
    for name, made in plain.items():
        both = ("--src-mlflow-uri", made.uri, "--dst-mlflow-uri", dst.uri, *chosen, "--dst-workspace", name)
        assert statuses(script("copy-all", None, *both)) == ["copied"]
        assert {record["workspace"] for record in ledger(tmp_path / "report")} == {name}
        assert statuses(script("copy-all", None, *both)) == ["unchanged"]
        has = Names([experiment_name], [experiment_name], [])
        assert names(f"{dst.uri}#{name}") == has
        assert difference(made.uri, f"{dst.uri}#{name}", has) == []
        verify(*both)
        # the same by way of a directory
        out = tmp_path / name
        export = ("export-models", made, "--models", experiment_name, "--output-dir", out)
        script(*export, "--export-all-runs", "--export-deleted-runs")
        load = ("import-all", dst, "--input-dir", out, "--dst-workspace", f"{name}-2")
        assert statuses(script(*load)) == ["copied"]
        assert difference(made.uri, f"{dst.uri}#{name}-2", has) == []
        verify("--input-dir", out, "--dst-mlflow-uri", dst.uri, "--dst-workspace", f"{name}-2")
    missing = ("--src-mlflow-uri", plain["left"].uri, "--dst-mlflow-uri", dst.uri, *chosen, "--dst-workspace", "nope")
    assert "workspace nope: missing" in verify(*missing, status=1)


@pytest.mark.slow
def test_one_workspace_goes_to_a_server_without(
    src: Server, dst_server: Server, script: Callable[..., Counts], verify: Callable[..., str], workspace: str,
    experiment_name: str, tmp_path: Path,
) -> None:  # fmt: skip
    """By name, by the variable, and within one server."""
    name = workspace
    made = Models(At(f"{src.uri}#{name}"), experiment_name)
    made.many(2, True, random.Random(3))
    both = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst_server.uri, "--workspaces", name,
            "--export-deleted-runs")  # fmt: skip
    assert statuses(script("copy-all", None, *both)) == ["copied"]
    has = Names([experiment_name], [experiment_name], [])
    assert difference(f"{src.uri}#{name}", dst_server.uri, has) == []
    verify(*both)
    out = tmp_path / "out"
    script("export-all", src, "--workspaces", name, "--output-dir", out, "--export-deleted-runs")
    assert set(statuses(script("import-all", dst_server, "--input-dir", out))) == {"copied", "unchanged"}
    verify("--input-dir", out, "--dst-mlflow-uri", dst_server.uri)
    # the variables alone choose one workspace, whose id map is its own
    within = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", src.uri, "--export-deleted-runs")
    variables = {"MLFLOW_MIGRATION_SRC_WORKSPACE": name, "MLFLOW_MIGRATION_DST_WORKSPACE": f"{name}-2"}
    for expected in ("copied", "unchanged"):
        assert statuses(script("copy-all", None, *within, **variables)) == [expected]
    assert difference(f"{src.uri}#{name}", f"{src.uri}#{name}-2", has) == []
    lines = [json.loads(line) for line in (tmp_path / "report" / "id_map.jsonl").read_text().splitlines()]
    assert {line["destination"] for line in lines} == {dst_server.uri, f"{src.uri}#{name}-2"}


def test_what_is_refused(
    src: Server, dst: Server, src_server: Server, run_script: Callable[..., Result], tmp_path: Path
) -> None:
    """Each by a sentence, before anything is written."""
    out, plain_out, file = tmp_path / "out", tmp_path / "plain", tmp_path / "renames.csv"
    file.write_text("team-a,team\nteam-b,team\n")

    def refused(words: str, *args: Any, **env: str) -> None:
        before = workspaces(src), workspaces(dst)
        result = run_script(*args, "--report-dir", tmp_path / "report", env=env, check=2)
        assert words in result.stderr and "Traceback" not in result.stderr, result
        assert (workspaces(src), workspaces(dst)) == before
        assert not (tmp_path / "report").exists()

    def copy(from_: str, to: str, *args: Any) -> Any:
        return ("copy-all", "--src-mlflow-uri", from_, "--dst-mlflow-uri", to, *args)

    run_script("export-all", "--workspaces", "team-b", "--output-dir", out, env={"MLFLOW_TRACKING_URI": src.uri})
    run_script(
        "export-experiments", "--experiments", "Default", "--output-dir", plain_out / "experiments",
        env={"MLFLOW_TRACKING_URI": src_server.uri},
    )  # fmt: skip
    store = f"sqlite:///{tmp_path}/local.db"
    with_, without = {"MLFLOW_TRACKING_URI": dst.uri}, {"MLFLOW_TRACKING_URI": src_server.uri}
    export = ("export-all", "--output-dir", tmp_path / "new", "--workspaces", "all")
    refused("has no workspaces: leave out --workspaces", *export, **without)
    refused("is a local store", *export, MLFLOW_TRACKING_URI=store)
    refused("has no workspace 'nope'", "export-all", "--output-dir", out, "--workspaces", "nope", **with_)
    assert not (tmp_path / "new").exists()
    refused("holds an export of workspaces", "export-all", "--output-dir", out, MLFLOW_TRACKING_URI=src.uri)
    load = ("import-all", "--input-dir")
    refused("holds no workspaces: leave out --workspaces", *load, plain_out, "--workspaces", "all", **with_)
    refused("has no workspace 'team-a'", *load, out, "--workspaces", "team-a", **with_)
    refused("has no workspaces: leave out --dst-workspace", *load, plain_out, "--dst-workspace", "x1", **without)
    refused("leave out --workspace-rename-file", *load, out, "--workspace-rename-file", file, **without)
    refused("name them by --workspaces", *load, plain_out, "--workspace-rename-file", file, **with_)
    refused("not both", *load, out, "--workspace-rename-file", file, "--dst-workspace", "x1", **with_)
    refused("would become the workspace 'team'", *copy(src.uri, dst.uri, "--workspaces", "all"),
            "--workspace-rename-file", file)  # fmt: skip
    refused("takes one workspace, and 3 are meant", *copy(src.uri, dst.uri, "--workspaces", "all"),
            "--dst-workspace", "x1")  # fmt: skip
    refused("so it takes one, and 3 are meant", *copy(src.uri, src_server.uri, "--workspaces", "all"))
    refused("the same workspace 'team-a'", *copy(src.uri, src.uri, "--workspaces", "team-a"))
    refused("must be on its server", *load, plain_out, "--dst-workspace", "default", "--registry-uri", src.uri, **with_)
    refused("has no workspace 'nope'", "export-experiment", "--experiment", SAME, "--output-dir", tmp_path / "new",
            MLFLOW_TRACKING_URI=src.uri, MLFLOW_WORKSPACE="nope")  # fmt: skip
    refused("has no workspaces, and 'nope' is asked for", "export-experiment", "--experiment", "x", "--output-dir",
            tmp_path / "new", MLFLOW_WORKSPACE="nope", **without)  # fmt: skip
    verify = ("verify-migration", "--src-mlflow-uri", src.uri, "--dst-mlflow-uri", src_server.uri)
    refused("so it takes one, and 3 are meant", *verify, "--workspaces", "all")
