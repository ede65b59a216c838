"""Values that a destination refuses or would cut: the others arrive, and the ledger keeps the full value of each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import pytest

from tests.support.moves import Moves
from tests.support.proxy import Proxy
from tests.support.reports import records, statuses
from tests.support.rest import Json, Rest
from tests.support.servers import Server

LONG_PARAM, LONG_TAG, LONG_EXPERIMENT_TAG = "p" * 7000, "t" * 9000, "e" * 25000
LONG_KEY = "k" * 260
LARGEST = 1.7976931348623157e308


def point(value: Any, timestamp: int, step: int) -> Json:
    """A point as run.json has it."""
    return {"value": value, "timestamp": timestamp, "step": step}


def dataset(name: str, digest: str = "1", **more: str) -> Json:
    """A dataset input as run.json has it."""
    fields = {"name": name, "digest": digest, "source_type": "local", "source": "s", **more}
    return {"dataset": fields, "tags": [{"key": "mlflow.data.context", "value": "training"}]}


PARAMS = {"long": LONG_PARAM, "a//b": "1", "bad(key)": "2", LONG_KEY: "3", "fine": "4"}
TAGS = {"long": LONG_TAG, "we@ird": "1", "a//b": "2", LONG_KEY: "3", "fine": "4"}
METRICS = {"acc%": [point(0.5, 1, 1)], "a//b": [point(1.0, 1, 1)], LONG_KEY: [point(1.0, 1, 1)],
           "fine": [point(1.0, 1, 1), point("NaN", 2, 2)]}  # fmt: skip
INPUTS = {
    "fine": dataset("fine"),
    "n" * 501: dataset("n" * 501),
    "digest": dataset("digest", "d" * 37),
    "source": dataset("source", source="s" * 65_536),
    "schema": dataset("schema", schema="c" * 1_048_576),
    "fine too": dataset("fine too", "2"),
}
RUNS: Dict[str, Json] = {
    "params": {"params": PARAMS},
    "tags": {"tags": TAGS},
    "metrics": {"metrics": METRICS},
    "points": {"metrics": {"m": [point(1.0, -5, 1), point(2.0, 5, 2)], "n": [point(3.0, 1, 1)]}},
    "infinite": {"metrics": {"m": [point("Infinity", 1, 1), point("-Infinity", 2, 2), point(1.0, 3, 3)]}},
    "inputs": {"inputs": list(INPUTS.values())},
    "artifacts": {},
    "whole": {"params": {"p": "1"}, "tags": {"t": "1"}, "metrics": {"m": [point(1.0, 1, 1)]}},
}
FILES = {"plain.txt": b"plain", "dir/a#b.txt": b"hash"}
EXPERIMENT_TAGS = {"long": LONG_EXPERIMENT_TAG, "bad(key)": "1", "fine": "2"}
IDS = {role: f"{number:x}" * 32 for number, role in enumerate(RUNS, 1)}
ROLES = {run_id: role for role, run_id in IDS.items()}

# the three tags, four params and so on that a server of today takes only in part or not at all
BAD_PARAMS = {"long", "a//b", "bad(key)", LONG_KEY}
BAD_INPUTS = {"n" * 501, "digest", "source", "schema"}


@dataclass
class Expected:
    """What a server makes of the experiment, if what it refuses is to be left out."""

    long_param: Optional[int]  # characters that are there
    experiment_tags: Set[str] = field(default_factory=set)  # that are refused


NEWEST = Expected(6000, {"long", "bad(key)"})
STRICT = Expected(None, {"long", "bad(key)"})
OLD = Expected(None)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that no server of today can hold whole."""
    root = tmp_path_factory.mktemp("made by hand")
    for number, (role, body) in enumerate(RUNS.items()):
        folder = root / IDS[role]
        folder.mkdir()
        info = {
            "run_id": IDS[role], "run_name": role, "user_id": "ann", "status": "FINISHED", "start_time": 1000 + number,
            "end_time": 2000, "lifecycle_stage": "active",
        }  # fmt: skip
        files = FILES if role == "artifacts" else {}
        for path, data in files.items():
            (folder / "artifacts" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "artifacts" / path).write_bytes(data)
        facts = {"artifacts": [{"path": path, "size": len(data)} for path, data in files.items()]}
        (folder / "run.json").write_text(json.dumps({"info": facts, "mlflow": {"info": info, **body}}))
    experiment = {"experiment_id": "7", "name": "e", "lifecycle_stage": "active", "tags": EXPERIMENT_TAGS}
    text = json.dumps({"mlflow": {"experiment": experiment, "runs": list(IDS.values())}})
    (root / "experiment.json").write_text(text)
    return root


class Destination:
    """An experiment that the directory goes into."""

    def __init__(self, server: Any, name: str, moves: Moves, directory: Path) -> None:
        self.rest, self.name, self.server, self.moves, self.directory = Rest(server.uri), name, server, moves, directory
        self.id = ""

    def load(self, *args: str, status: int = 1) -> None:
        """Import."""
        self.moves.dst = self.server
        self.moves.load(self.name, *args, status=status, to=str(self.directory))
        self.id = self.rest.experiment(self.name)["experiment_id"]

    def runs(self) -> Dict[str, Json]:
        """The runs by role; those without a name are RUNNING."""
        return {run["info"]["run_name"]: self.rest.run(run["info"]["run_id"]) for run in self.rest.runs(self.id)}

    def values(self, run: Json, what: str) -> Dict[str, str]:
        """Params or tags of a run."""
        return {pair["key"]: pair.get("value", "") for pair in run["data"].get(what) or []}

    def state(self) -> Tuple[Any, ...]:
        """Everything that is there."""
        runs = self.runs()
        points = {
            (role, metric["key"]): self.rest.history(run["info"]["run_id"], metric["key"])
            for role, run in runs.items() for metric in run["data"].get("metrics") or []
        }  # fmt: skip
        files = {role: self.rest.run_files(run["info"]["run_id"]) for role, run in runs.items()}
        return runs, points, files, self.rest.experiment(self.name)["tags"]

    def told(self) -> Dict[str, Tuple[str, Any]]:
        """What the ledger says of each value: its status and what it keeps."""
        found = {}
        for line in records(self.moves.report, "value"):
            owner, kind, key = line["src_id"].split("/", 2)
            found[f"{ROLES.get(owner, owner)}/{kind}/{key}"] = (line["status"], line["value"])
        return found


@pytest.fixture
def destination(moves: Moves, experiment_name: str, directory: Path) -> Callable[[Any], Destination]:
    """Gives a new experiment of a server."""
    return lambda server: Destination(server, experiment_name, moves, directory)


@pytest.fixture(scope="module")
def strict_server(server: Callable[..., Server]) -> Server:
    """A server that refuses what others cut."""
    return server(MLFLOW_TRUNCATE_LONG_VALUES="false")


def server_of(request: pytest.FixtureRequest, name: str) -> Server:
    found: Server = request.getfixturevalue(name)
    return found


def check_what_arrived(there: Destination, expected: Expected, truncated: bool) -> None:
    """All that the server takes is there."""
    runs = there.runs()
    assert set(runs) == set(RUNS)
    assert {run["info"]["status"] for run in runs.values()} == {"FINISHED"}
    params = {"fine": "4"}
    long = 6000 if truncated else expected.long_param
    if long:
        params["long"] = LONG_PARAM[:long]
    assert there.values(runs["params"], "params") == params
    # they travel with the run's creation, where no server looks at them
    assert TAGS.items() <= there.values(runs["tags"], "tags").items()

    def points(role: str, key: str) -> List[Tuple[Any, ...]]:
        history = there.rest.history(runs[role]["info"]["run_id"], key)
        return [(p["value"], int(p["timestamp"]), int(p.get("step") or 0)) for p in history]

    keys = {role: {m["key"] for m in runs[role]["data"].get("metrics") or []} for role in runs}
    assert (keys["metrics"], keys["points"]) == ({"fine"}, {"m", "n"})
    assert points("metrics", "fine") == [(1.0, 1, 1), ("NaN", 2, 2)]
    assert points("points", "m") == [(2.0, 5, 2)]
    assert points("infinite", "m") == [(LARGEST, 1, 1), (-LARGEST, 2, 2), (1.0, 3, 3)]
    inputs = {entry["dataset"]["name"]: entry["tags"] for entry in runs["inputs"]["inputs"]["dataset_inputs"]}
    assert inputs == {name: INPUTS[name]["tags"] for name in ("fine", "fine too")}
    assert there.rest.run_files(runs["artifacts"]["info"]["run_id"]) == {"plain.txt": 5}
    tags = {tag["key"]: tag["value"] for tag in there.rest.experiment(there.name)["tags"]}
    wanted = {key: value for key, value in EXPERIMENT_TAGS.items() if key not in expected.experiment_tags}
    if truncated and "long" in expected.experiment_tags:
        wanted["long"] = LONG_EXPERIMENT_TAG[:20_000]
    assert {key: tags.get(key) for key in EXPERIMENT_TAGS if key in tags} == wanted


def check_what_is_told(there: Destination, expected: Expected, truncated: bool) -> None:
    """Each value that is not there as it was is in the ledger, whole."""
    cut = "incomplete"
    told: Dict[str, Tuple[str, Any]] = {
        f"params/param/{key}": ("skipped", {"key": key, "value": PARAMS[key]}) for key in BAD_PARAMS
    }
    if truncated or expected.long_param:
        told["params/param/long"] = (cut, LONG_PARAM)
    told.update((f"inputs/input/{name}", ("skipped", INPUTS[name])) for name in BAD_INPUTS)
    for role, key in (("metrics", "acc%"), ("metrics", "a//b"), ("metrics", LONG_KEY), ("points", "m")):
        bad = RUNS[role]["metrics"][key][0]
        told[f"{role}/metric/{key}"] = ("skipped", {"key": key, **bad})
    for key in expected.experiment_tags:
        told[f"experiment/tag/{key}"] = ("skipped", EXPERIMENT_TAGS[key])
    if truncated and "long" in expected.experiment_tags:
        told["experiment/tag/long"] = (cut, LONG_EXPERIMENT_TAG)
    assert there.told() == told
    (artifact,) = records(there.moves.report, "artifact", "failed")
    assert artifact["src_id"] == f"{IDS['artifacts']}/dir/a#b.txt" and artifact["reason"]


INCOMPLETE = {
    "params": ["values"], "metrics": ["values"], "points": ["values"], "inputs": ["inputs"], "artifacts": ["artifacts"],
}  # fmt: skip


@pytest.mark.parametrize("on_refused", ["skip", "truncate"])
@pytest.mark.parametrize(
    ("name", "expected"), [("dst_server", NEWEST), ("strict_server", STRICT), ("server_29", OLD)],
)  # fmt: skip
def test_values(
    name: str, expected: Expected, on_refused: str, request: pytest.FixtureRequest,
    destination: Callable[[Any], Destination],
) -> None:  # fmt: skip
    """What can be there is there, the rest is told; a repeat says the same and changes nothing."""
    truncated = on_refused == "truncate"
    with Proxy(server_of(request, name).uri) as proxy:
        there = destination(proxy)
        before: Optional[Tuple[Any, ...]] = None
        # leaving out is what happens if nothing is said
        options = ("--on-refused", on_refused) if truncated else ()
        for repeat in (False, True):
            there.load(*options)
            check_what_arrived(there, expected, truncated)
            check_what_is_told(there, expected, truncated)
            report = there.moves.report
            lacking = {ROLES[line["src_id"]]: line["losses"] for line in records(report, "run", "incomplete")}
            assert lacking == INCOMPLETE
            others = {ROLES[i]: status for i, status in statuses(report).items() if ROLES[i] not in INCOMPLETE}
            assert others == dict.fromkeys(("tags", "infinite", "whole"), "unchanged" if repeat else "copied")
            (experiment,) = records(report, "experiment")
            whole = "unchanged" if repeat else "copied"
            assert experiment["status"] == ("incomplete" if expected.experiment_tags else whole)
            assert before in (None, there.state())
            before = there.state()
        proxy.clear()
        # what is accepted is no reason to end with an error
        there.load(*options, "--accept-loss", "values,inputs", "--accept-loss", "artifacts", status=0)
        assert set(statuses(report).values()) == {"copied", "unchanged"}
        assert before == there.state()


def test_values_on_a_first_import_that_accepts_them(
    dst_server: Server, destination: Callable[[Any], Destination]
) -> None:
    """The runs are copied, the exit status is 0, and the ledger still keeps the values."""
    there = destination(dst_server)
    there.load("--accept-loss", "values,artifacts")
    assert {ROLES[i]: s for i, s in statuses(there.moves.report).items() if s != "copied"} == {"inputs": "incomplete"}
    there = Destination(dst_server, there.name + " all", there.moves, there.directory)
    there.load("--accept-loss", "values,artifacts,inputs", status=0)
    assert set(statuses(there.moves.report).values()) == {"copied"}
    assert there.told()["params/param/bad(key)"] == ("skipped", {"key": "bad(key)", "value": "2"})
    assert there.told()["params/param/long"] == ("copied", LONG_PARAM)
    assert there.told()["experiment/tag/long"] == ("skipped", LONG_EXPERIMENT_TAG)


@pytest.mark.parametrize("name", ["dst_server", "server_29"])
def test_failing(name: str, request: pytest.FixtureRequest, destination: Callable[[Any], Destination]) -> None:
    """With fail such runs fail, also in a repeat, the others are copied; without it they can be completed later."""
    there = destination(server_of(request, name))
    refused = {"params", "metrics", "points", "inputs"}
    for _ in range(2):
        there.load("--on-refused", "fail")
        report = there.moves.report
        assert {ROLES[line["src_id"]] for line in records(report, "run", "failed")} == refused
        assert all(line["reason"] for line in records(report, "run", "failed"))
        # a run that is not whole does not look as if it were
        running = {role for role, run in there.runs().items() if run["info"]["status"] == "RUNNING"}
        assert running == refused
        (experiment,) = records(report, "experiment")
        assert (experiment["status"] == "failed") == (name != "server_29")
    expected = {"dst_server": NEWEST, "server_29": OLD}[name]
    there.load()
    check_what_arrived(there, expected, False)
    assert {ROLES[line["src_id"]] for line in records(report, "run", "incomplete")} == set(INCOMPLETE)


@pytest.mark.parametrize(("name", "option", "length"), [
    ("dst_server", "skip", 0), ("server_29", "skip", 0), ("dst_server", "truncate", 8000),
    ("server_29", "truncate", 5000),
])  # fmt: skip
def test_tags_that_get_too_long(
    name: str, option: str, length: int, request: pytest.FixtureRequest, destination: Callable[[Any], Destination],
    tmp_path: Path,
) -> None:  # fmt: skip
    """What is cut by one server is refused by another; no outdated value stays for it, and a repeat says the same."""
    there = destination(server_of(request, name))
    there.directory = tmp_path / "export"
    run_id, folder = "a" * 32, there.directory / ("a" * 32)
    folder.mkdir(parents=True)

    def write(value: str, experiment_value: str) -> None:
        info = {"run_id": run_id, "run_name": "r", "status": "FINISHED", "start_time": 1, "end_time": 2}
        tags = {"k": value, "other": value[:3]}
        (folder / "run.json").write_text(json.dumps({"mlflow": {"info": info, "tags": tags}}))
        experiment = {"experiment_id": "7", "name": "e", "tags": {"k": experiment_value, "other": value[:3]}}
        text = json.dumps({"mlflow": {"experiment": experiment, "runs": [run_id]}})
        (there.directory / "experiment.json").write_text(text)

    def tags() -> Tuple[Dict[str, str], Dict[str, str]]:
        run, of_experiment = there.runs()["r"], there.rest.experiment(there.name)["tags"]
        return there.values(run, "tags"), {tag["key"]: tag["value"] for tag in of_experiment}

    write("old", "old")
    there.load("--on-refused", option, status=0)
    write(LONG_TAG, LONG_EXPERIMENT_TAG)
    for _ in range(2):
        there.load("--on-refused", option)
        for kind, value in (("run", LONG_TAG), ("experiment", LONG_EXPERIMENT_TAG)):
            (line,) = records(there.moves.report, kind)
            assert (line["status"], line["losses"]) == ("incomplete", ["values"])
            (kept,) = [line["value"] for line in records(there.moves.report, "value")
                       if line["src_id"].startswith("experiment/") == (kind == "experiment")]  # fmt: skip
            assert value in (kept, kept["value"] if isinstance(kept, dict) else "")
        of_run, of_experiment = tags()
        assert (len(of_run.get("k", "")), of_run["other"], of_experiment["other"]) == (length, "ttt", "ttt")
        # MLflow 2.9 can't remove a tag of an experiment
        limit = {"dst_server": 20_000, "server_29": 5_000}[name] if option == "truncate" else 0
        assert len(of_experiment.get("k", "")) == (3 if option == "skip" and name == "server_29" else limit)
