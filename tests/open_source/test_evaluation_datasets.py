"""Evaluation datasets go from server to server: records, links, tags, and what tells copies of one name apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from tests.support.kills import run_killed
from tests.support.make_datasets import KEY, Datasets, records_of_all_kinds
from tests.support.moves import Counts, Source, counts_of
from tests.support.proxy import Proxy
from tests.support.reports import records
from tests.support.rest import Json
from tests.support.scripts import Result
from tests.support.servers import Server

KIND = "evaluation_dataset"


class DatasetMoves:
    """Runs the scripts between two servers."""

    def __init__(self, run_script: Callable[..., Result], src: Any, dst: Any, home: Path) -> None:
        self.script, self.home = run_script, home
        self.servers: Tuple[Any, Any] = (src, dst)
        self.src, self.dst = Datasets(src.uri), Datasets(dst.uri)
        self.report, self.directory = home / "report", home / "export"

    def run(self, side: int, *args: Any, status: Any = 0) -> Result:
        return self.script(*args, env={"MLFLOW_TRACKING_URI": self.servers[side].uri}, check=status)

    def export(self, names: str, *args: Any, status: int = 0) -> Dict[str, int]:
        command = ("export-evaluation-datasets", "--evaluation-datasets", names, "--output-dir", self.directory)
        return self._counts(self.run(0, *command, *args, status=status))

    def load(self, *args: Any, status: int = 0) -> Dict[str, int]:
        return self._counts(self.run(1, *self.load_command(), *args, status=status))

    def load_command(self) -> List[Any]:
        return ["import-evaluation-datasets", "--input-dir", self.directory, "--report-dir", self.report]

    def verify(self, names: str, depth: str, status: int = 0) -> Json:
        self.script(
            "verify-migration", "--src-mlflow-uri", self.servers[0].uri, "--dst-mlflow-uri", self.servers[1].uri,
            "--evaluation-datasets", names, "--depth", depth, "--report-dir", self.report, check=status,
        )  # fmt: skip
        return dict(json.loads((self.report / "verification.json").read_text()))

    def reasons(self) -> str:
        return "; ".join(str(line.get("reason")) for line in records(self.report))

    @staticmethod
    def _counts(result: Result) -> Dict[str, int]:
        assert "do not reconcile" not in result.stdout, result
        counts: Counts = counts_of(result)
        return counts.get(KIND, {})


@pytest.fixture
def moves(run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path) -> DatasetMoves:
    return DatasetMoves(run_script, src_server, dst_server, tmp_path)


@pytest.fixture
def proxied(dst_server: Server) -> Iterator[Proxy]:
    """The destination behind a proxy that counts."""
    with Proxy(dst_server.uri) as proxy:
        yield proxy


def test_everything(moves: DatasetMoves, proxied: Proxy, experiment_name: str, tmp_path: Path) -> None:
    """All of it arrives, linked to experiments and runs; a repeat writes nothing, and then only what has changed."""
    name, src, dst = experiment_name, moves.src, moves.dst
    moves.servers = (moves.servers[0], proxied)
    source = Source(moves.servers[0], name)
    run_id = source.run("judged by hand")
    first = src.create(name, ["0", source.id], **{"mlflow.user": "al", "team": "ü", "empty": ""})
    src.tag(first, **{"mlflow.user": "bo"})
    src.add(first, *records_of_all_kinds(run_id))
    same = [src.create(name), src.create(name, **{"which": "the second of that name"})]
    src.add(same[0], {"inputs": {"q": "only here"}})
    large = src.create(f"{name} large")
    many = [{"inputs": {"i": i}, "outputs": "x" * 90_000, "expectations": {"a": i}} for i in range(50)]
    src.add(large, {"inputs": {"i": "an object before texts"}, "outputs": {"a": 1}})
    src.add(large, *many)
    assert moves.export(f"{name}*") == {"copied": 4}
    assert (moves.directory / f"{name.replace('[', '%5B').replace(']', '%5D')} large_{large}/records.jsonl").exists()
    assert moves.load(status=1) == {"copied": 3, "incomplete": 1}
    assert f"its experiment {source.id} is not at the destination" in moves.reasons()
    assert f"its run {run_id} is not at the destination" in moves.reasons()
    moves.run(0, "export-experiment", "--experiment", name, "--output-dir", tmp_path / "exp")
    load = ("import-experiment", "--experiment-name", name, "--input-dir", tmp_path / "exp")
    moves.run(1, *load, "--report-dir", moves.report)
    assert moves.load() == {"unchanged": 3, "updated": 1}

    new_run = dst.rest.runs(dst.rest.experiment(name)["experiment_id"])[0]["info"]["run_id"]
    copies = {src_id: dst.copy(src_id, name)["dataset_id"] for src_id in (first, *same, large)}
    for src_id, dst_id in copies.items():
        ours, theirs = src.shape(src_id), dst.shape(dst_id)
        assert [one.replace(run_id, new_run) for one in ours.pop("records")] == theirs.pop("records")
        assert ours == theirs
    assert [len(dst.records(dst_id)) for dst_id in copies.values()] == [5, 1, 0, 51]
    assert len(dst.named(name)) == 4

    # a repeat adds nothing, also where nobody remembers the first import, and reads no records where somebody does
    for more, reads in (((), 0), (("--report-dir", tmp_path / "elsewhere"), 4)):
        begin = len(proxied.requests)
        assert moves.load(*more) == {"unchanged": 4}
        asked = [request for request in proxied.requests[begin:] if not request.path.endswith("/search")]
        assert {request.method for request in asked} == {"GET"}
        assert sum(request.path.endswith("/records") for request in asked) == reads
    assert moves.export(f"{name}*") == {"unchanged": 4}

    # one record changes, one goes, one comes, and one has an expectation less, which no server merges
    src.add(large, {"inputs": {"i": 7}, "expectations": {"b": 8}})
    src.remove(large, {"i": 8})
    src.add(large, {"inputs": {"i": "new"}})
    src.remove(large, {"i": 9})
    src.add(large, {"inputs": {"i": 9}, "outputs": None, "expectations": {}})
    src.unlink(first, source.id)
    src.tag(first, team="another")
    assert moves.export(f"{name}*") == {"unchanged": 2, "updated": 2}
    begin = len(proxied.requests)
    assert moves.load() == {"unchanged": 2, "updated": 2}
    sent = [request for request in proxied.requests[begin:] if request.method not in ("GET",)]
    sizes = [request.size for request in sent if request.path.endswith("/records") and request.method == "POST"]
    assert len(sizes) == 1
    assert sizes[0] < 100_000, "more than the changed records"
    assert sum(request.path.endswith("/tags") for request in sent) == 1
    assert dst.shape(copies[large]) == src.shape(large)
    assert dst.shape(copies[first])["tags"] == src.shape(first)["tags"]
    assert dst.shape(copies[first])["experiments"] == ["Default"]

    # what is edited at the destination is left alone and told, unless it is to be overwritten; deleted ones likewise
    dst.add(copies[large], {"inputs": {"i": 1}, "expectations": {"a": "mine"}})
    dst.delete(copies[same[0]])
    for _ in range(2):
        assert moves.load() == {"unchanged": 2, "differs": 2}
    assert len(dst.named(name)) == 3
    assert moves.load("--on-destination-change", "overwrite") == {"unchanged": 2, "copied": 1, "updated": 1}
    assert dst.shape(copies[large]) == src.shape(large)

    # back home the source's own are recognised
    home = DatasetMoves(moves.script, moves.servers[1], moves.servers[0], tmp_path / "home")
    home.home.mkdir()
    home.export(f"{name}*")
    assert home.load() == {"unchanged": 4}
    assert len(src.named(name)) == 4


def test_killed(moves: DatasetMoves, experiment_name: str) -> None:
    """Killed after it is created, and between records: a repeat completes it and makes no second one."""
    src_id = moves.src.create(experiment_name, **{"mlflow.user": "al"})
    moves.src.tag(src_id, **{"mlflow.user": "bo"})
    moves.src.add(src_id, *({"inputs": {"i": i}} for i in range(1_100)))
    moves.export(experiment_name)
    with Proxy(moves.servers[1].uri) as proxy:
        for method, path, number in (("POST", "*/datasets/create", 1), ("POST", "*/records", 2)):
            assert not run_killed(proxy, moves.load_command(), method, path, number)
    assert 0 < len(moves.dst.records(moves.dst.copy(src_id)["dataset_id"])) < 1_100
    assert moves.load() == {"updated": 1}
    assert moves.dst.shape(moves.dst.copy(src_id)["dataset_id"]) == moves.src.shape(src_id)
    assert moves.load() == {"unchanged": 1}


def test_a_directory_that_lacks_some(moves: DatasetMoves, src_server: Server, experiment_name: str) -> None:
    """One bad dataset does not stop the others; with deletion, those of its name stay."""
    names = [f"{experiment_name} {i}" for i in range(3)]
    ids = [moves.src.create(name) for name in names]
    for src_id in ids:
        moves.src.add(src_id, *({"inputs": {"i": i}} for i in range(3)))
    summary = moves.directory / "evaluation_datasets_summary.json"
    with Proxy(moves.servers[0].uri) as proxy:
        proxy.on("GET", "*/records", number=1, status=400)
        moves.servers = (proxy, moves.servers[1])
        assert moves.export(f"{experiment_name}*,nobody", status=1) == {"copied": 2, "failed": 2}
        assert len(json.loads(summary.read_text())["mlflow"]["failed_evaluation_datasets"]) == 1
        assert moves.export(f"{experiment_name}*") == {"copied": 1, "unchanged": 2}
    assert "failed_evaluation_datasets" not in json.loads(summary.read_text())["mlflow"]
    moves.servers = (src_server, moves.servers[1])
    places = {src_id: next(moves.directory.glob(f"*{src_id}")) for src_id in ids}
    shutil.rmtree(places[ids[0]])
    files = [places[src_id] / "evaluation_dataset.json" for src_id in ids]
    docs = [json.loads(file.read_text()) for file in files[1:]]
    del docs[0]["mlflow"]["evaluation_dataset"]["records"][1]
    docs[1]["mlflow"]["evaluation_dataset"]["records"][1]["source"] = {"source_type": "ALIEN", "source_data": {}}
    for file, doc in zip(files[1:], docs):
        file.write_text(json.dumps(doc))
    assert moves.load(status=1) == {"incomplete": 1, "failed": 2}
    assert "has 2 records instead of 3" in moves.reasons()
    assert "Invalid dataset record source type: ALIEN" in moves.reasons()
    assert len(moves.dst.records(moves.dst.copy(ids[2])["dataset_id"])) == 2
    assert moves.load("--accept-loss", "values", status=1) == {"copied": 1, "failed": 2}
    # relative: reasons that begin with a long path are shown cut
    checked = moves.script("verify-migration", "--input-dir", moves.directory.name, cwd=moves.directory.parent, check=1)
    assert "has 2 records instead of 3" in checked.stdout
    assert "its export failed" in checked.stdout
    theirs = [moves.dst.create(name) for name in names]
    assert moves.load("--delete-evaluation-dataset", status=1) == {"failed": 3}
    assert {found["dataset_id"] for found in moves.dst.named(experiment_name)} >= set(theirs)
    # whole again, it replaces all of these names
    shutil.rmtree(moves.directory)
    moves.export(f"{experiment_name}*")
    assert moves.load("--delete-evaluation-dataset") == {"copied": 3}
    there = moves.dst.named(experiment_name)
    assert sorted(found["tags"][KEY] for found in there) == sorted(ids)
    assert not {found["dataset_id"] for found in there} & set(theirs)


def test_old_servers(
    moves: DatasetMoves, run_script: Callable[..., Result], server_222: Server, experiment_name: str, tmp_path: Path
) -> None:
    """A server that can hold none: as a source it has none, as a destination each one is lost, with one reason."""
    ids = [moves.src.create(experiment_name), moves.src.create(experiment_name)]
    moves.directory = tmp_path / "all" / "evaluation_datasets"
    moves.export(experiment_name)
    old = DatasetMoves(run_script, server_222, server_222, tmp_path)
    refused = old.run(1, *moves.load_command(), status=2)
    assert "runs MLflow 2.22.5 with a store that holds no evaluation datasets: they came with 3.4" in str(refused)
    command = ("import-all", "--input-dir", tmp_path / "all", "--report-dir", moves.report)
    old.run(1, *command, status=1)
    lines = records(moves.report, KIND)
    assert sorted((line["src_id"], line["status"]) for line in lines) == sorted((i, "failed") for i in ids)
    assert all("they came with 3.4" in line["reason"] for line in lines)
    accepted = old.run(1, *command, "--accept-loss", "evaluation-datasets", "--verify", "counts")
    assert counts_of(accepted)[KIND] == {"skipped": 2}
    copied = run_script(
        "copy-all", "--src-mlflow-uri", server_222.uri, "--dst-mlflow-uri", moves.servers[1].uri,
        "--evaluation-datasets", "all", "--report-dir", moves.report, check=0,
    )  # fmt: skip
    assert "Nothing was found." in copied.stdout


def test_verify_tells_what_differs(moves: DatasetMoves, experiment_name: str, tmp_path: Path) -> None:
    """A copy with copy-all is the same; each planted change is told, and some only at full depth."""
    name, src, dst = experiment_name, moves.src, moves.dst
    source = Source(moves.servers[0], name)
    run_id = source.run("judged by hand")
    ids = [src.create(f"{name} {i}", [source.id], **{"mlflow.user": "al"}) for i in range(7)]
    for src_id in ids:
        src.add(src_id, *records_of_all_kinds(run_id))

    def copy(status: int = 0) -> Counts:
        result = moves.script(
            "copy-all", "--src-mlflow-uri", moves.servers[0].uri, "--dst-mlflow-uri", moves.servers[1].uri,
            "--experiments", name, "--evaluation-datasets", f"{name}*", "--report-dir", moves.report,
            "--verify", "full", check=status,
        )  # fmt: skip
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    assert copy()[KIND] == {"copied": 7}
    assert copy()[KIND] == {"unchanged": 7}
    assert moves.verify(f"{name}*", "full")["counts"] == {
        KIND: {"same": 7, "missing": 0, "extra": 0, "differs": 0, "error": 0}
    }
    moves.export(f"{name}*")
    verified = ("verify-migration", "--input-dir", moves.directory, "--report-dir", moves.report, "--depth", "full")
    assert "7     7" in moves.script(*verified, "--dst-mlflow-uri", moves.servers[1].uri, check=0).stdout
    theirs = [dst.copy(src_id, name)["dataset_id"] for src_id in ids]
    dst.tag(theirs[0], more="than the source")
    dst.unlink(theirs[1], dst.rest.experiment(name)["experiment_id"])
    dst.remove(theirs[2], {})
    dst.add(theirs[2], {"inputs": {"another": 1}})
    dst.add(theirs[3], {"inputs": {"one": "more"}})
    dst.add(theirs[4], {"inputs": {}, "outputs": "another text"})
    dst.delete(theirs[5])
    found = {depth: moves.verify(f"{name}*", depth, status=1) for depth in ("counts", "metadata", "full")}
    told = {
        depth: {
            line["name"][-1]: sorted(item["field"] for item in line.get("differences") or ()) or line["result"]
            for line in doc["not_the_same"]
        }
        for depth, doc in found.items()
    }
    links = {"0": ["tag:more"], "1": ["experiments"], "5": "missing"}
    assert told["counts"] == {"3": ["records"], "5": "missing"}
    assert told["metadata"] == {**links, "2": ["inputs of records"], "3": ["inputs of records", "records"]}
    assert told["full"] == {
        **links,
        "2": ['record {"another": 1}', "record {}"],
        "3": ['record {"one": "more"}', "records"],
        "4": ["record {}: outputs"],
    }


def test_one_dataset_and_functions(
    moves: DatasetMoves, experiment_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by its id or name, to another name; and the functions that users of today's tools call."""
    from mlflow import MlflowClient

    from mlflow_migration.bulk.export_evaluation_datasets import export_evaluation_datasets
    from mlflow_migration.bulk.import_evaluation_datasets import import_evaluation_datasets
    from mlflow_migration.evaluation_dataset.export_evaluation_dataset import export_evaluation_dataset
    from mlflow_migration.evaluation_dataset.import_evaluation_dataset import import_evaluation_dataset

    name = experiment_name
    source = Source(moves.servers[0], name)
    ids = [moves.src.create(name), moves.src.create(name, [source.id])]
    moves.src.add(ids[1], {"inputs": {"q": 1}, "expectations": {"a": 2}})
    one = ("export-evaluation-dataset", "--output-dir", tmp_path / "one")
    refused = moves.run(0, *one, "--dataset-name", name, status=2)
    assert all(dataset_id in str(refused) for dataset_id in ids)
    moves.run(0, *one, status=2)
    for status in ("copied", "unchanged"):
        assert counts_of(moves.run(0, *one, "--dataset-id", ids[1])) == {KIND: {status: 1}}
    moves.run(0, *one, "--dataset-id", ids[0], status=2)
    load = ("import-evaluation-dataset", "--input-dir", tmp_path / "one", "--report-dir", moves.report)
    load = (*load, "--accept-loss", "links")
    for new_name in (name, f"{name} new"):
        for status in ("copied", "updated"):  # the link is tried again each time
            found = counts_of(moves.run(1, *load, "--evaluation-dataset-name", new_name))[KIND]
            assert found in ({"copied": 1}, {status: 1})
    assert [found["name"] for found in moves.dst.named(name)] == [name, f"{name} new"]

    src, dst = (MlflowClient(server.uri, server.uri) for server in moves.servers)
    monkeypatch.chdir(tmp_path)
    entity = export_evaluation_dataset("by function", dataset_id=ids[0], mlflow_client=src)
    assert (entity.name, entity.dataset_id, entity.experiment_ids) == (name, ids[0], [])
    assert export_evaluation_dataset("none", "nobody", mlflow_client=src) is None
    arrived = import_evaluation_dataset("by function", f"{name} 3", mlflow_client=dst)
    assert arrived == (f"{name} 3", moves.dst.named(f"{name} 3")[0]["dataset_id"])
    assert import_evaluation_dataset("by function", f"{name} 3", True, mlflow_client=dst) != arrived
    assert len(moves.dst.named(f"{name} 3")) == 1
    scoped = export_evaluation_datasets("scoped", [f"{name}*"], [source.id], mlflow_client=src)
    assert scoped == {"total_datasets": 1, "successful_exports": 1, "failed_exports": 0}
    assert export_evaluation_datasets("all", name, mlflow_client=src)["successful_exports"] == 2
    summary = import_evaluation_datasets("all", mlflow_client=dst)
    assert summary == {"total_datasets": 2, "successful_imports": 1, "failed_imports": 1, "skipped_imports": 0}
    assert "error" in import_evaluation_datasets("scoped/none", mlflow_client=dst)
