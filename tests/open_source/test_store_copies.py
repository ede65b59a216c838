"""Artifacts that a copy does not carry: a store copies them itself, or they stay where they are."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from tests.support.compare_models import RegistryRest
from tests.support.make_models import Models
from tests.support.moves import Counts, Source, counts_of, runs_of
from tests.support.proxy import Proxy
from tests.support.reports import id_map, notes, records
from tests.support.rest import Json, Rest, noise
from tests.support.s3 import ENDPOINT, Bucket, S3Server
from tests.support.scripts import Result
from tests.support.servers import Server

#: paths and bytes of a run's or logged model's artifacts; names that a URI would take for something else
FILES = {
    "a.txt": b"a",
    "deep/er/data.bin": noise("data", 700_000),
    "odd/50% #1?.txt": b"odd",
    "model/MLmodel": b"run_id: RUN\nartifact_path: model\n",
    "model/weights.bin": noise("weights", 200_000),
}
SOURCE_URI = "mlflow_exim.artifacts.source_uri"


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[Bucket, Bucket]]:
    """Two buckets of one store."""
    with S3Server(tmp_path_factory.mktemp("s3")) as store, pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, store.uri)
        yield Bucket(store.uri, "bucket-a").create(), Bucket(store.uri, "bucket-b").create()


@pytest.fixture(scope="module")
def pair(server: Callable[..., Server], buckets: Tuple[Bucket, Bucket]) -> Tuple[Server, Server]:
    """Two servers, each with its artifacts in a bucket."""
    made = [server(start=False, artifacts=f"direct:{bucket.uri}/root", **bucket.env) for bucket in buckets]
    for each in made:
        each.start(wait=False)
    src, dst = (each.wait() for each in made)
    return src, dst


@pytest.fixture
def made(pair: Tuple[Server, Server], experiment_name: str) -> Source:
    """An experiment of the source."""
    return Source(pair[0], experiment_name)


class Copying:
    """Runs copying commands between the two servers, whose requests to the store pass a proxy."""

    def __init__(
        self, run_script: Callable[..., Result], pair: Tuple[Server, Server], bucket: Bucket, store: Proxy, home: Path
    ) -> None:
        self.script, self.src, self.dst, self.bucket, self.store = run_script, *pair, bucket, store
        self.report, self.temp = home / "report", home / "temp"

    def __call__(self, command: str, *args: Any, status: int = 0, **options: Any) -> Result:
        """Run a command; what it asks of the store from now on is counted."""
        self.store.requests = []
        both = ("--src-mlflow-uri", self.src.uri, "--dst-mlflow-uri", options.pop("dst", self.dst).uri)
        env = {**self.bucket.env, ENDPOINT: self.store.uri, "TMPDIR": str(self.temp), **options}
        self.temp.mkdir(exist_ok=True)
        return self.script(command, *both, "--report-dir", self.report, *args, env=env, check=status)

    def experiment(self, name: str, new_name: str, *args: Any, **options: Any) -> Counts:
        """Copy an experiment; how many objects ended how."""
        return counts_of(self("copy-experiment", "--experiment", name, "--experiment-name", new_name, *args, **options))

    def carried(self) -> Dict[str, List[str]]:
        """Paths of the objects whose bytes were read or written, and that the store was asked to copy."""
        found: Dict[str, List[str]] = {"read": [], "written": [], "copied": []}
        for request in self.store.requests:
            if request.path.count("/") < 3:
                continue  # a listing
            if request.method == "GET":
                found["read"].append(request.path)
            if request.method == "PUT":
                found["written" if request.size else "copied"].append(request.path)
        return found

    def names(self, what: str) -> List[str]:
        """Sorted names of the objects of :meth:`carried`."""
        return sorted(path.rpartition("/")[2] for path in self.carried()[what])


@pytest.fixture
def copying(
    run_script: Callable[..., Result], pair: Tuple[Server, Server], buckets: Tuple[Bucket, Bucket], tmp_path: Path
) -> Iterator[Copying]:
    """See :class:`Copying`."""
    with Proxy(buckets[0].env[ENDPOINT]) as store:
        yield Copying(run_script, pair, buckets[0], store, tmp_path)


class Watch:
    """Notes which artifacts are seen below a directory meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.seen = directory, set()  # type: Path, set[str]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.is_set():
            for place, _, names in os.walk(self.directory):
                if "artifacts" in place.split(os.sep) or "version_models" in place.split(os.sep):
                    self.seen.update(name for name in names if not name.endswith(".part"))
            time.sleep(0.002)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        self._thread.join()


def fill(made: Source) -> Tuple[str, str]:
    """Make a run with a logged model, both with artifacts; their ids."""
    run_id = made.run("with files")
    model_id = made.model(run_id, "model")
    put(made, run_id, model_id, FILES)
    return run_id, model_id


def put(made: Source, run_id: str, model_id: str, files: Dict[str, bytes]) -> None:
    """Write artifacts of a run and of a logged model."""
    for path, data in files.items():
        data = data.replace(b"RUN", run_id.encode())
        made.put(run_id, path, data)
        made.rest.put_file(made.rest.logged_model(model_id)["info"]["artifact_uri"], path, data)


def files_of(bucket: Bucket, root: str) -> Dict[str, bytes]:
    """Paths and bytes below an artifact root."""
    start = root[len(bucket.uri) + 1 :] + "/"
    return {key[len(start) :]: bucket.get(key) for key in bucket.objects(start)}


def check_files(copying: Copying, buckets: Tuple[Bucket, Bucket], run_id: str, model_id: str) -> None:
    """The copies have the bytes of the source, with the new id in the MLmodel file."""
    src, dst = Rest(copying.src.uri), Rest(copying.dst.uri)
    new_run = id_map(copying.report)[run_id]
    new_model = id_map(copying.report, "logged_model")[model_id]
    for old, new in ((src.run(run_id), dst.run(new_run)), (src.logged_model(model_id), dst.logged_model(new_model))):
        ours = files_of(buckets[0], old["info"]["artifact_uri"])
        theirs = files_of(buckets[1], new["info"]["artifact_uri"])
        assert ours and theirs == {path: data.replace(run_id.encode(), new_run.encode()) for path, data in ours.items()}


def each(status: str) -> Counts:
    """What the summary says where an experiment with a run and a logged model ends so."""
    return {kind: {status: 1} for kind in ("experiment", "logged_model", "run")}


# ---- the store copies


def test_store_copies(copying: Copying, made: Source, buckets: Tuple[Bucket, Bucket], tmp_path: Path) -> None:
    """Nothing but MLmodel files passes this machine; the bytes are the same; a repeat writes nothing."""
    run_id, model_id = fill(made)
    to = f"{made.name} copy"
    with Watch(tmp_path) as watch:
        done = copying("copy-experiment", "--experiment", made.name, "--experiment-name", to)
    assert counts_of(done) == each("copied") and f"Carried: {2 * len(FILES)} artifacts (1.7 MB)" in done.stdout
    carried = copying.carried()
    for kind in ("read", "written"):
        assert len(carried[kind]) == 2 and all(path.endswith("/model/MLmodel") for path in carried[kind]), carried
    assert len(carried["copied"]) == 2 * (len(FILES) - 1)
    assert watch.seen == {"MLmodel"}
    check_files(copying, buckets, run_id, model_id)

    before = {key: item["LastModified"] for key, item in buckets[1].objects().items()}
    assert copying.experiment(made.name, to) == each("unchanged")
    assert not any(copying.carried().values())
    assert before == {key: item["LastModified"] for key, item in buckets[1].objects().items()}


@pytest.mark.slow
def test_changes(copying: Copying, made: Source, buckets: Tuple[Bucket, Bucket]) -> None:
    """What has changed at the source is copied again: of another size at once, of the same with what shows it."""
    run_id, model_id = fill(made)
    to = f"{made.name} copy"
    copying.experiment(made.name, to)
    put(made, run_id, model_id, {"a.txt": b"longer", "new.txt": b"new"})
    assert copying.experiment(made.name, to)["run"] == {"updated": 1}
    assert copying.names("copied") == ["a.txt", "a.txt", "new.txt", "new.txt"]
    check_files(copying, buckets, run_id, model_id)

    put(made, run_id, model_id, {"a.txt": b"LONGER"})
    made.tag(run_id, "changed", "too")
    assert copying.experiment(made.name, to)["run"] == {"updated": 1}
    assert copying.names("copied") == ["a.txt"]
    found = copying.experiment(made.name, to, "--recheck", "full")
    assert found == {**each("unchanged"), "logged_model": {"updated": 1}}
    check_files(copying, buckets, run_id, model_id)


def test_refused_copies(copying: Copying, made: Source, buckets: Tuple[Bucket, Bucket], tmp_path: Path) -> None:
    """Where the store refuses to copy, all passes this machine, and nothing of it is left there."""
    run_id, model_id = fill(made)
    copying.store.on("PUT", "/bucket-b/*", bodiless=True, status=403)
    to = f"{made.name} copy"
    assert copying.experiment(made.name, to, "--temp-dir", tmp_path / "way") == each("copied")
    carried = copying.carried()
    assert len(carried["written"]) == len(carried["read"]) == 2 * len(FILES)
    assert len(carried["copied"]) < 2 * (len(FILES) - 1), "the store is asked again and again"
    assert any("s3://bucket-a" in note and "s3://bucket-b" in note for note in notes(copying.report))
    check_files(copying, buckets, run_id, model_id)
    left = [path.name for path in (tmp_path / "way").rglob("*") if path.is_file() and "artifacts" in path.parts]
    assert set(left) == {"MLmodel"}
    copying.store.clear()
    assert copying.experiment(made.name, to, "--temp-dir", tmp_path / "way") == each("unchanged")


@pytest.mark.slow
def test_no_right_to_read(copying: Copying, made: Source, buckets: Tuple[Bucket, Bucket]) -> None:
    """Where the store can't be asked about a file, it is read in the usual way, which says what is wrong with it."""
    run_id, model_id = fill(made)
    copying.store.on("HEAD", "/bucket-a/*/a.txt", status=403)
    found = copying.experiment(made.name, f"{made.name} copy", status=1)
    assert found["artifact"] == {"failed": 2} and found["run"] == {"incomplete": 1}
    assert {line["src_id"] for line in records(copying.report, "artifact")} == {f"{run_id}/a.txt", f"{model_id}/a.txt"}
    copying.store.clear()
    assert copying.experiment(made.name, f"{made.name} copy")["run"] == {"updated": 1}
    check_files(copying, buckets, run_id, model_id)


@pytest.mark.slow
def test_other_stores(
    copying: Copying, made: Source, buckets: Tuple[Bucket, Bucket], dst_server: Server, tmp_path: Path
) -> None:
    """A copy to another kind of store carries everything, and leaves no artifact in the directory that it is given."""
    fill(made)
    to = f"{made.name} copy"
    # no MLflow server takes the odd name
    options = ("--exclude-artifacts", "odd/*", "--temp-dir", tmp_path / "way")
    found = copying.experiment(made.name, to, *options, dst=dst_server)
    assert found == {**each("copied"), "artifact": {"skipped": 2}}
    (copy,) = runs_of(dst_server, to)
    path = "deep/er/data.bin"
    assert Rest(dst_server.uri).run_file(copy["info"]["run_id"], path) == FILES[path]
    left = {path.name for path in (tmp_path / "way").rglob("*") if path.is_file() and "artifacts" in path.parts}
    assert left == {"MLmodel"}
    # an import from there says what it does not have
    done = copying.script(
        "import-experiment", "--tracking-uri", dst_server.uri, "--input-dir", tmp_path / "way",
        "--experiment-name", f"{to} 2", "--report-dir", tmp_path / "import", check=1,
    )  # fmt: skip
    assert "a copy has left it at the source" in done.stdout


# ---- --artifacts


def tags_of(thing: Json) -> Dict[str, str]:
    """Tags of a run, logged model or version as REST gives them."""
    found = thing.get("tags") or (thing.get("data") or {}).get("tags") or (thing.get("info") or {}).get("tags") or ()
    return {tag["key"]: tag["value"] for tag in found}


def test_skip(copying: Copying, made: Source, buckets: Tuple[Bucket, Bucket]) -> None:
    """Skipped artifacts are counted, and tags say where they are; `copy` brings them later, and the tags go."""
    run_id, model_id = fill(made)
    to = f"{made.name} copy"
    skipped = {"artifact": {"skipped": 2 * len(FILES)}}
    done = copying("copy-experiment", "--experiment", made.name, "--experiment-name", to, "--artifacts", "skip")
    assert counts_of(done) == {**each("copied"), **skipped}
    assert f"{2 * len(FILES)} artifact: --artifacts skip" in done.stdout
    assert not any(copying.carried().values())

    def copies() -> List[Json]:
        dst = Rest(copying.dst.uri)
        new = id_map(copying.report)[run_id], id_map(copying.report, "logged_model")[model_id]
        return [dst.run(new[0]), dst.logged_model(new[1])]

    sources = [made.rest.run(run_id), made.rest.logged_model(model_id)]
    assert [tags_of(copy)[SOURCE_URI] for copy in copies()] == [source["info"]["artifact_uri"] for source in sources]
    assert not any(files_of(buckets[1], copy["info"]["artifact_uri"]) for copy in copies())
    assert copying.experiment(made.name, to, "--artifacts", "skip") == {**each("unchanged"), **skipped}
    verify = ("verify-migration", "--experiments", made.name, "--depth", "full")
    copying(*verify, status=1)
    copying(*verify, "--artifacts", "skip")

    for status in ("updated", "unchanged"):
        assert copying.experiment(made.name, to) == {**each(status), "experiment": {"unchanged": 1}}
    assert not any(SOURCE_URI in tags_of(copy) for copy in copies())
    check_files(copying, buckets, run_id, model_id)
    copying(*verify)

    # what is there stays, and is no difference
    assert copying.experiment(made.name, to, "--artifacts", "skip")["run"] == {"updated": 1}
    check_files(copying, buckets, run_id, model_id)


@pytest.mark.parametrize("command", ["copy-run", "copy-experiment"])
def test_reference_of_runs_is_refused(command: str, copying: Copying, tmp_path: Path) -> None:
    """A run can't keep its artifacts where they are: nothing begins."""
    what = "--run-id" if command == "copy-run" else "--experiment"
    done = copying(command, what, "1", "--experiment-name", "x", "--artifacts", "reference", status=2)
    assert "the destination's experiment fixes the artifact root of its runs" in done.stderr
    assert not copying.report.exists()


@pytest.fixture
def versions(pair: Tuple[Server, Server], buckets: Tuple[Bucket, Bucket], experiment_name: str) -> Models:
    """A registered model: version 1 is made from a run, version 2 from a place in the bucket that is in no run."""
    made = Models(pair[0], experiment_name)
    run_id = made.run_with_model("model")
    made.version(f"{made.root(run_id)}/model", run_id)
    buckets[0].put(f"outside/{experiment_name}/MLmodel", b"x: 1\n")
    buckets[0].put(f"outside/{experiment_name}/data/weights.bin", noise("weights", 100_000))
    made.version(f"{buckets[0].uri}/outside/{experiment_name}")
    return made


def new_versions(copying: Copying, name: str) -> Dict[str, Json]:
    """Versions of the destination's model, by number."""
    return {version["version"]: version for version in RegistryRest(copying.dst.uri).versions(name)}


@pytest.mark.slow
def test_versions(copying: Copying, versions: Models, buckets: Tuple[Bucket, Bucket]) -> None:
    """The model of a version without a run is copied by the store too, into a run made for it; and may be skipped."""
    name = versions.name
    command = ("copy-model", "--src-model", name, "--dst-experiment-name", name)
    assert counts_of(copying(*command, "--artifacts", "skip")) == {
        "artifact": {"skipped": 4}, "model_version": {"copied": 2}, "registered_model": {"copied": 1},
        "run": {"copied": 1},
    }  # fmt: skip
    assert not any(copying.carried().values())
    outside = f"{buckets[0].uri}/outside/{name}"
    made = new_versions(copying, name)
    assert tags_of(made["2"])[SOURCE_URI] == outside and SOURCE_URI in tags_of(made["1"])
    holder = Rest(copying.dst.uri).run(made["2"]["run_id"])
    assert tags_of(holder)[SOURCE_URI] == outside
    assert not files_of(buckets[1], made["2"]["source"])
    again = counts_of(copying(*command, "--artifacts", "skip"))
    assert again["model_version"] == {"unchanged": 2} and again["run"] == {"unchanged": 1}

    later = counts_of(copying(*command))
    assert later["model_version"] == {"updated": 2} and later["run"] == {"updated": 1}
    assert copying.names("copied") == ["model.bin", "weights.bin"]
    assert copying.names("written") == ["MLmodel", "MLmodel"]
    made = new_versions(copying, name)
    holder = Rest(copying.dst.uri).run(made["2"]["run_id"])
    assert not any(SOURCE_URI in tags_of(each) for each in (*made.values(), holder))
    assert files_of(buckets[1], made["2"]["source"]) == files_of(buckets[0], outside)
    assert counts_of(copying(*command))["model_version"] == {"unchanged": 2}
    assert not any(copying.names(what) for what in ("copied", "written"))
    copying("verify-migration", "--models", name, "--depth", "full")


@pytest.mark.slow
def test_reference(copying: Copying, versions: Models, buckets: Tuple[Bucket, Bucket]) -> None:
    """A version whose model nothing brings keeps its place in the store; what comes with a run comes as ever."""
    name = versions.name
    outside = f"{buckets[0].uri}/outside/{name}"
    command = ("copy-all", "--models", name, "--experiments", name, "--artifacts", "reference")
    done = counts_of(copying(*command))
    assert {kind: ended for kind, ended in done.items() if ended} == {
        "experiment": {"copied": 1}, "model_version": {"copied": 2}, "registered_model": {"copied": 1},
        "run": {"copied": 1},
    }  # fmt: skip
    made = new_versions(copying, name)
    assert made["2"]["source"] == outside and not made["2"].get("run_id")
    copy = id_map(copying.report)[versions_run(versions)]
    assert made["1"]["run_id"] == copy and files_of(buckets[1], made["1"]["source"])
    assert [run["info"]["run_id"] for run in runs_of(copying.dst, name)] == [copy]
    copying("verify-migration", "--models", name, "--experiments", name, "--artifacts", "reference", "--depth", "full")
    for more in (("--artifacts", "reference"), ()):
        assert counts_of(copying(*command[:-2], *more))["model_version"] == {"unchanged": 2}
        assert new_versions(copying, name)["2"]["source"] == outside
        assert len(runs_of(copying.dst, name)) == 1, "a run was made for a version that does not use it"

    deep = ("copy-model-version", "--src-model", name, "--dst-model", f"{name} 2", "--dst-experiment-name", f"{name} 2")
    copying(*deep, "--src-version", "2", "--artifacts", "reference")
    assert new_versions(copying, f"{name} 2")["1"]["source"] == outside
    copying("copy-model", *deep[1:3], "--dst-model", f"{name} 3", *deep[5:], "--artifacts", "reference")
    assert new_versions(copying, f"{name} 3")["2"]["source"] == outside


def versions_run(made: Models) -> str:
    """Id of the only run."""
    (run,) = runs_of(made.server, made.name)
    return str(run["info"]["run_id"])
