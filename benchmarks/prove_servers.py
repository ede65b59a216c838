"""`make prove-servers`: copies of whole servers, and their verification, at full size. Each point prints PASS or FAIL.

    python -m benchmarks.prove_servers [--again] [--only WORD]

It may be stopped: points that have passed with the present package are kept in .bench/prove-servers.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from benchmarks.bench import Bench, Cost
from benchmarks.bench import run as run_measured
from benchmarks.ceiling import CONNECTIONS, import_ceiling
from benchmarks.make_data import START_TIME, create_run, end_run, log_metrics, make
from benchmarks.migrations import (
    Migration,
    amount,
    doubles,
    ended_otherwise,
    found_differences,
    listed,
    migrating,
    not_idle,
    source_of,
    unverified,
)
from benchmarks.proofs import HOME, Point, Verdict, prove
from tests.support.compare import differences
from tests.support.compare_models import RegistryRest, model_differences
from tests.support.kills import run_killed
from tests.support.make_models import Registered
from tests.support.make_server import Made, ServerSize, inventory, make_server
from tests.support.moves import Counts, point, writes
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.rest import Json, Rest, noise
from tests.support.s3 import ENDPOINT, Bucket, S3Server
from tests.support.servers import Server

FULL = ServerSize(experiments=50, runs=40, models=40, prompts=8)
SMALLER = ServerSize(experiments=12, runs=20, models=12, prompts=4, file_bytes=200_000)
#: without names of artifacts that a server on S3 can't give
ON_S3 = replace(SMALLER, file_bytes=4_000, oddities=False)
CHANGED = 20  # runs of FULL: 1 %
WRITES = 4  # requests at most for something that is new or has changed
ROOM = 0.5  # of all artifact bytes, at most, lies in the temporary directory at a time
UNREADABLE = 100  # one artifact of so many
AWAY = 30.0  # seconds
SCALES = (1_000, 10_000)  # runs
SCALE_EXPERIMENTS = 10
SCALE_ROUNDS = 3  # of the smaller scale; the larger one is long enough to be measured once
SCALE: Dict[str, int] = {"metrics": 2, "points": 5, "params": 3, "artifacts": 1, "artifact_every": 5}
SLOWER = 1.2  # times the ceiling's time per run at the larger scale, beside the smaller one
MORE_MEMORY = 1.3, 20.0  # times that of the smaller scale, and so many MiB more

#: methods, paths and numbers of the requests at which a copy is killed; those of a prompt's version are counted later
MOMENTS: Sequence[Tuple[str, str, int]] = (
    ("POST", "*/experiments/create", 3),
    ("POST", "*/mlflow/logged-models", 2),
    ("POST", "*/runs/create", 20),
    ("POST", "*/runs/log-batch", 15),
    ("PUT", "*/mlflow-artifacts/artifacts/*", 40),
    ("POST", "*/runs/update", 20),
    ("POST", "*/registered-models/create", 3),
    ("POST", "*/model-versions/create", 12),
    ("POST", "*/registered-models/alias", 2),
)
PROMPT_VERSION = ("POST", "*/model-versions/create", 3)


# ---- a whole server, and what changes in it


def whole_server() -> Verdict:
    """A server moves whole; a repeat writes nothing; what changes is all that is written."""
    with migrating("full", FULL) as (migration, made):
        there = inventory(migration.src)
        found = _smaller(there, FULL)
        start = time.monotonic()
        counts = migration.copy()
        seconds = time.monotonic() - start
        found += ended_otherwise(counts, "copied", "unchanged")  # unchanged: the experiment "Default", which is there
        found += [f"{n} {kind}s in the summary" for kind, n in _sums(counts).items() if n != there.get(kind, n)]
        start = time.monotonic()
        found += found_differences(migration.verify(), there)
        verified = time.monotonic() - start
        found += _seen_otherwise(migration, made) + doubles(migration, there) + not_idle(migration)
        changes = _Changes(migration.src, made)
        found += changes.make(migration) + found_differences(migration.verify(), inventory(migration.src))
        found += not_idle(migration)
    return not found, (
        f"{listed(found)} in {amount(there)}; copied in {seconds:.0f} s, verified in {verified:.0f} s; "
        f"{changes.figures}"
    )


def _smaller(there: Mapping[str, int], size: ServerSize) -> List[str]:
    """Kinds of which the source has fewer than it should have been filled with."""
    wanted = {
        "experiment": size.experiments + 1, "run": size.experiments * size.runs, "registered_model": size.models,
        "model_version": size.versions, "prompt": size.prompts,
        "logged_model": size.experiments * size.runs // 10 - size.experiments, "prompt_version": 4 * size.prompts,
    }  # fmt: skip
    return [f"only {there[kind]} {kind}s were made, not {n}" for kind, n in wanted.items() if there[kind] < n]


def _sums(counts: Counts) -> Dict[str, int]:
    return {kind: sum(of_kind.values()) for kind, of_kind in counts.items()}


def _seen_otherwise(migration: Migration, made: Made) -> List[str]:
    """Some experiments and models compared by what shares nothing with the package."""
    found = []
    # of these, none has children of other experiments' runs
    for name in list(made.experiments)[2:10:3]:
        copy = migration.rename(name)
        # which names the registered models, of which some have new names
        found += [
            f"{name}: {text}"
            for text in differences((migration.src, name), (migration.dst, copy), ignore_tags=["mlflow.modelVersions"])
        ]
    for name in made.models[:6]:
        copy = migration.rename_model(name)
        found += [f"{name}: {text}" for text in model_differences((migration.src, name), (migration.dst, copy))]
    return found


class _Changes:
    """Changes of a source that was copied."""

    def __init__(self, src: str, made: Made) -> None:
        self.rest, self.made = Rest(src), made
        self.figures = ""
        step = max(1, len(made.runs) // CHANGED)
        self.runs = list(made.runs)[::step][:CHANGED]

    def make(self, migration: Migration) -> List[str]:
        """Change 1 % of the runs, make a run and a version, and copy; what else was written, or was not."""
        for i, run_id in enumerate(self.runs):
            self._change(i, run_id)
        experiment_id = next(iter(self.made.runs.values()))
        new = create_run(self.rest, experiment_id, "new since then")["info"]["run_id"]
        self.rest.put_file(self.rest.run(new)["info"]["artifact_uri"], "model/model.bin", b"new")
        end_run(self.rest, new)
        model = self.made.models[1]
        body = {"name": model, "source": f"runs:/{new}/model", "run_id": new}
        number = RegistryRest(migration.src).post("model-versions/create", body)["model_version"]["version"]
        migration.proxy.clear()
        migration.copy()
        written = sum(writes(migration.proxy).values())
        lines = [line for line in migration.ledger() if line["status"] != "unchanged"]
        ended = {(line["kind"], line["src_id"]): line["status"] for line in lines}
        wanted = {("run", run_id): "updated" for run_id in self.runs}
        wanted[("run", new)] = "copied"
        wanted[("model_version", f"{model}/{number}")] = "copied"
        found = [f"{of}: {status}, not {wanted.get(of)}" for of, status in ended.items() if wanted.get(of) != status]
        found += [f"{of}: not {status}" for of, status in wanted.items() if of not in ended]
        most = WRITES * len(wanted)
        self.figures = f"{len(wanted)} changes needed {written} writes (at most {most})"
        return found + ([f"{written} writes"] if not len(wanted) <= written <= most else [])

    def _change(self, i: int, run_id: str) -> None:
        kind = i % 5
        if kind == 0:
            self.rest.post("runs/set-tag", {"run_id": run_id, "key": "reviewed", "value": f"by {i}"})
        elif kind == 1:
            log_metrics(self.rest, run_id, [point("loss", 0.125, 1_000)])
        elif kind == 2:
            self.rest.put_file(self.rest.run(run_id)["info"]["artifact_uri"], "later/more.bin", noise("more", 900))
        elif kind == 3:
            end_run(self.rest, run_id, "KILLED", START_TIME + 10**9)
        else:
            self.rest.post("runs/delete", {"run_id": run_id})


# ---- kills


class _Room:
    """Watches how much lies in a temporary directory: at most at a time, of one command; and what is left."""

    def __init__(self, path: Path) -> None:
        self.path, self.peak = path, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Room":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.peak = max(self.peak, *(_size(place) for place in self.left()), 0)

    def left(self) -> List[Path]:
        """What commands have made there."""
        return list(self.path.iterdir())


def _size(place: Path) -> int:
    total = 0
    for directory, _, names in os.walk(place):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:  # it is removed just now
                pass
    return total


def kills() -> Verdict:
    """One migration is killed at ten moments, and repeated each time until it ends."""
    with migrating("smaller", SMALLER) as (migration, _):
        there = inventory(migration.src)
        found = _smaller(there, SMALLER)
        met = 0
        with _Room(migration.temp) as room:
            for method, path, number in MOMENTS:
                missed = _killed(migration, (method, path, number))
                met += not missed
                found += [missed] if missed else []
            before = inventory(migration.dst)["prompt_version"]
            method, path, number = PROMPT_VERSION
            missed = _killed(migration, (method, path, number + _versions_to_come(migration)))
            met += not missed
            found += [missed] if missed else []
            killed = inventory(migration.dst)["prompt_version"]
            if not before <= killed < there["prompt_version"] or not killed:
                found.append(f"{killed} of {there['prompt_version']} versions of prompts were there at the last kill")
            left = room.left()
            size = sum(map(_size, left)) / 1e6
            migration.copy()
            still = [place for place in room.left() if place not in left]
            found += [f"a copy that ended has left {place.name}" for place in still]
        verified = migration.verify()
        found += found_differences(verified, there) + doubles(migration, there) + not_idle(migration)
        total = verified["compared"]["bytes"]
    if not 0 < room.peak <= ROOM * total:
        found.append(f"{room.peak} bytes lay in the temporary directory, at most {ROOM * total:.0f} may")
    return not found and met == len(MOMENTS) + 1, (
        f"killed at {met} moments, {listed(found)} in {amount(there)}; room for {room.peak / 1e6:.1f} MB of "
        f"{total / 1e6:.1f} MB (at most {ROOM * total / 1e6:.1f}); kills have left {len(left)} directories, "
        f"{size:.1f} MB"
    )


def _killed(migration: Migration, moment: Tuple[str, str, int]) -> str:
    start = time.monotonic()
    missed = run_killed(migration.proxy, migration.command(), *moment, env=migration.env)
    print(f"  {' '.join(map(str, moment))}: {missed or 'killed'} ({time.monotonic() - start:.0f} s)", flush=True)
    return missed


def _versions_to_come(migration: Migration) -> int:
    """How many versions of models a copy still has to create, with those that fill gaps."""
    src, dst = RegistryRest(migration.src), RegistryRest(migration.dst)
    found = src.get("registered-models/search", {"max_results": 1000})["registered_models"]
    names = [model["name"] for model in found]
    return sum(_last(src, name) - _last(dst, migration.rename_model(name)) for name in names)


def _last(rest: RegistryRest, name: str) -> int:
    return max((int(version["version"]) for version in rest.versions(name)), default=0)


# ---- a bad day of the destination


def faults() -> Verdict:
    """The destination fails 2 % of the requests, and goes away for a while: the copy ends well, once."""
    with migrating("smaller", SMALLER) as (migration, _):
        there = inventory(migration.src)
        found = _smaller(there, SMALLER)
        proxy = migration.proxy
        planned = [
            proxy.on(fraction=1 / 211, status=500),
            proxy.on(fraction=1 / 223, status=500, after_commit=True),
            proxy.on(fraction=1 / 97, status=429),
            proxy.on(fraction=1 / 293, status=429, retry_after=1),
        ]
        away = proxy.on("POST", "*/runs/create", number=there["run"] // 2, after=lambda _: proxy.go_away(AWAY))
        start = time.monotonic()
        found += ended_otherwise(migration.copy(), "copied", "unchanged", "updated")
        seconds = time.monotonic() - start
        requests, hits = proxy.count(), sum(fault.hits for fault in planned)
        proxy.clear()
        if away.hits != 1 or seconds < AWAY or hits < 0.015 * requests or any(not fault.hits for fault in planned):
            found.append(f"only {hits} of {requests} requests failed, and the destination was away {away.hits} times")
        found += found_differences(migration.verify(), there) + doubles(migration, there) + not_idle(migration)
    return not found, (
        f"{hits} of {requests} requests failed, away for {AWAY:.0f} s once, copied in {seconds:.0f} s; "
        f"{listed(found)} in {amount(there)}"
    )


# ---- artifacts that can't be read


def unreadable() -> Verdict:
    """Some artifacts can't be read at the source: all else is there, each is named, and they come when they can be."""
    with migrating("full", FULL) as (migration, made):
        there = inventory(migration.src)
        files = _files(migration.src, made)
        chosen = files[::UNREADABLE]
        found = _smaller(there, FULL)
        with Proxy(migration.src) as proxy:
            for i, (_, _, uri, path) in enumerate(chosen):
                where = f"/api/2.0/mlflow-artifacts/artifacts/{urlsplit(uri).path.strip('/')}/{path}"
                proxy.on("GET", where, status=403 if i % 2 else 404)
            counts = migration.copy(src=proxy.uri, status=1)
        found += _named(migration, chosen, counts)
        found += other_than(migration.verify(), chosen)
        migration.proxy.clear()
        again = migration.copy()
        puts = migration.proxy.count("PUT", "*/mlflow-artifacts/artifacts/*")
        changed = {line["src_id"] for line in migration.ledger() if line["status"] != "unchanged"}
        whose = {object_id for _, object_id, _, _ in chosen}
        if changed != whose or puts != len(chosen):
            found.append(f"the repeat has changed {len(changed)} objects and written {puts} artifacts: {again}")
        found += found_differences(migration.verify(), there)
    return not found and len(chosen) > 1, (
        f"{len(chosen)} of {len(files)} artifacts of {len(whose)} objects unreadable, the repeat brought {puts}; "
        f"{listed(found)} in {amount(there)}"
    )


def _files(src: str, made: Made) -> List[Tuple[str, str, str, str]]:
    """Artifacts of active runs and of their logged models: kind and id of the object, its artifact root, path."""
    rest = Rest(src)

    def of_run(run_id: str) -> List[Tuple[str, str, str, str]]:
        run = rest.run(run_id)
        found = [("run", run_id, run["info"]["artifact_uri"], path) for path in sorted(rest.run_files(run_id))]
        for model in (run.get("outputs") or {}).get("model_outputs") or ():
            model_id = model["model_id"]
            root = rest.logged_model(model_id)["info"]["artifact_uri"]
            found += [("logged_model", model_id, root, path) for path in sorted(rest.model_files(model_id))]
        return found

    return [file for files in rest.map(of_run, list(made.runs)) for file in files]


def _named(migration: Migration, chosen: Sequence[Tuple[str, str, str, str]], counts: Counts) -> List[str]:
    """Whether ledger and report name each artifact, and no other object is less than whole."""
    lines = migration.ledger()
    bad = {
        (line["kind"], line["src_id"]): line["status"] for line in lines if line["status"] in ("incomplete", "failed")
    }
    artifacts = {("artifact", f"{object_id}/{path}") for _, object_id, _, path in chosen}
    whose = {(kind, object_id) for kind, object_id, _, _ in chosen}
    found = [f"{of} is not named" for of in (artifacts | whose) - bad.keys()]
    found += [f"{of} is {bad[of]}" for of in bad.keys() - artifacts - whose]
    found += [f"{of} is {bad[of]}, not incomplete" for of in whose & bad.keys() if bad[of] != "incomplete"]
    text = (migration.report / "report.json").read_text(encoding="utf-8")
    found += [f"report.json does not name {name}" for _, name in artifacts if name not in text]
    if not counts.get("run", {}).get("incomplete"):
        found.append(f"no run is incomplete: {counts}")
    return found


def other_than(document: Json, chosen: Sequence[Tuple[str, str, str, str]]) -> List[str]:
    """Whether a verification names these objects and their artifacts, and no others."""
    told = {
        (line["kind"], line["src_id"], difference["field"])
        for line in document["not_the_same"]
        for difference in line.get("differences") or [{"field": line.get("reason", "")}]
    }
    wanted = {(kind, object_id, f"artifact:{path}") for kind, object_id, _, path in chosen}
    return [f"verification: {of}" for of in sorted(told ^ wanted)]


# ---- PostgreSQL and S3


def other_stores() -> Verdict:
    """PostgreSQL with artifacts on S3 is the source, the destination, and both."""
    figures, found = [], []
    with ExitStack() as stack:
        bench = stack.enter_context(Bench(HOME, "stores"))
        database, store = stack.enter_context(Postgres()), stack.enter_context(S3Server(HOME))
        stack.enter_context(_variable(ENDPOINT, store.uri))
        bucket = Bucket(store.uri, "proof").create()

        def on_s3(name: str) -> Server:
            backend, place = database.make(name), f"direct:{bucket.uri}/{name}"
            return bench.start(Server(bench.directory(), artifacts=place, backend_uri=backend, env=bucket.env))

        src = on_s3("source")
        made = make_server(src, ON_S3)
        sqlite, _ = source_of(bench, "on-s3", ON_S3)
        both = {"source": (src, None), "destination": (sqlite, "first"), "source and destination": (src, "second")}
        for what, (there, name) in both.items():
            here = on_s3(name) if name else bench.destination(1)
            with Proxy(here.uri) as proxy:
                migration = Migration(there.uri, proxy, bench.directory(), bucket.env)
                wrong = _moved(migration, made if there is src else None)
            figures.append(f"{what}: {len(wrong)} differences in {inventory(there.uri)['run']} runs")
            found += [f"{what}: {text}" for text in wrong]
            bench.remove(here)
        objects = len(bucket.objects())
    return not found and objects > 0, f"{'; '.join(figures)}; {objects} objects in the bucket; {listed(found)}"


def _moved(migration: Migration, made: Optional[Made]) -> List[str]:
    there = inventory(migration.src)
    found = _smaller(there, ON_S3) + ended_otherwise(migration.copy(), "copied", "unchanged")
    found += found_differences(migration.verify(), there) + doubles(migration, there) + not_idle(migration)
    name = next(iter(made.experiments)) if made else "team-2/experiment 2"
    return found + differences((migration.src, name), (migration.dst, migration.rename(name)))


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """A variable of this process's environment, which makes artifacts itself."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


# ---- scale


def scale() -> Verdict:
    """Ten times as many runs take as long a run, beside the destination's own ceiling, and no more memory."""
    per_run: Dict[int, float] = {}
    peaks: Dict[int, float] = {}
    found: List[str] = []
    for runs in SCALES:
        with Bench(HOME, f"scale-{runs}") as bench:
            src = _scaled(bench, runs)
            ratios = []
            for _ in range(SCALE_ROUNDS if runs == SCALES[0] else 1):
                ratio, cost, wrong = _measured(bench, src, runs)
                ratios.append(ratio)
                peaks[runs] = max(peaks.get(runs, 0.0), cost.peak)
                found += wrong
            per_run[runs] = sorted(ratios)[len(ratios) // 2]
    good, figures = scale_verdict(per_run, peaks)
    return good and not found, f"{figures}; {listed(found)}"


def scale_verdict(per_run: Mapping[int, float], peaks: Mapping[int, float]) -> Verdict:
    """Whether many runs take no more time and memory than they may.

    :param per_run: Of each scale, how many times as long as the ceiling's a run takes.
    :param peaks: Of each scale the peak memory of the copy, MiB.
    """
    small, large = SCALES
    times, more = MORE_MEMORY
    slower, most = per_run[large] / per_run[small], times * peaks[small] + more
    return slower <= SLOWER and 0 < peaks[large] <= most, (
        f"{per_run[small]:.2f} times the ceiling at {small:,} runs, {per_run[large]:.2f} times at {large:,}: "
        f"{slower:.2f} times as long a run (at most {SLOWER}); memory {peaks[small]:.0f} and {peaks[large]:.0f} MiB "
        f"(at most {times} times and {more:.0f} MiB more: {most:.0f})"
    )


def _scale_changes(runs: int) -> Dict[str, int]:
    return {"experiments": SCALE_EXPERIMENTS, "runs": runs // SCALE_EXPERIMENTS, "artifact_bytes": 1_000, **SCALE}


def _scaled(bench: Bench, runs: int) -> Server:
    """The server with so many runs, made once and kept."""
    text = json.dumps(_scale_changes(runs))
    root = HOME / f"scale-{runs}"
    done = root / "made.json"
    if not done.exists() or done.read_text() != text:
        shutil.rmtree(root, ignore_errors=True)
    server = bench.start(Server(root))
    if not done.exists():
        make(server.uri, "wide", prefix="scale", **_scale_changes(runs))
        done.write_text(text)
    return server


def _measured(bench: Bench, src: Server, runs: int) -> Tuple[float, Cost, List[str]]:
    """One copy beside the ceiling of a destination like its own: their ratio, the copy's cost, what is wrong."""
    changes = _scale_changes(runs)
    place = bench.destination(1)
    tried = {**changes, "experiments": 1, "runs": min(200, changes["runs"])}
    best = min(CONNECTIONS, key=lambda n: import_ceiling(place.uri, "wide", f"try-{n}", [n], **tried).seconds)
    bench.remove(place)
    place = bench.destination(1)
    figure = import_ceiling(place.uri, "wide", "ceiling", [best], **changes)
    bench.remove(place)
    dst, report = bench.destination(1), bench.directory()
    sides = ("--src-mlflow-uri", src.uri, "--dst-mlflow-uri", dst.uri)
    cost = run_measured(src.uri, "copy-all", *sides, "--report-dir", report, *unverified())
    check = run_measured(src.uri, "verify-migration", *sides, "--report-dir", report)
    counts = json.loads((report / "verification.json").read_text())["counts"]
    again = run_measured(src.uri, "copy-all", *sides, "--report-dir", report, *unverified())
    have = inventory(dst.uri)["run"]
    wrong = [] if counts["run"]["same"] == have == runs else [f"{have} runs, verified: {counts}"]
    print(
        f"  {runs:,} runs: ceiling {figure.seconds:.1f} s with {best} connections, copy {cost.seconds:.1f} s, "
        f"{cost.peak:.0f} MiB; verification {check.seconds:.1f} s, {check.peak:.0f} MiB; repeat {again.seconds:.1f} s, "
        f"{again.peak:.0f} MiB",
        flush=True,
    )
    bench.remove(dst, report)
    return cost.seconds / figure.seconds, cost, wrong


# ---- servers in use


class _Users:
    """Threads that use a server until they are stopped: make, end, tag and delete runs, models and experiments.

    :param mine: Experiments in which they work, by id.
    :param touched: Runs of others that they may change; each is changed once.
    """

    def __init__(self, name: str, uri: str, mine: Sequence[str], touched: Sequence[str] = ()) -> None:
        self.name, self.rest, self.mine = name, Rest(uri), list(mine)
        self.made: Counter[str] = Counter()
        self.runs_in: Counter[str] = Counter()  # by the experiment's id
        self.active: List[str] = []
        self.errors: List[str] = []
        self._touched = list(touched)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(2)]

    def __enter__(self) -> "_Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, worker: int) -> None:
        turn = worker
        while not self._stop.wait(0.2):
            try:
                self._act(turn)
            except Exception as ex:  # noqa: BLE001 -- it is told at the end
                self.errors.append(f"{self.name}: {ex!r}")
            turn += len(self._threads)

    def _act(self, turn: int) -> None:
        experiment_id = self.mine[turn * 7 % len(self.mine)]
        run = create_run(self.rest, experiment_id, f"{self.name} {turn}", [None, 5, START_TIME + turn][turn % 3])
        run_id = run["info"]["run_id"]
        self.made["run"] += 1
        self.runs_in[experiment_id] += 1
        log_metrics(self.rest, run_id, [point("x", float(turn), step) for step in range(5)])
        self.rest.put_file(run["info"]["artifact_uri"], "x.txt", b"x" * turn)
        if turn % 4:
            end_run(self.rest, run_id)
        if turn % 5 == 1:
            self.rest.post("runs/delete", {"run_id": run_id})
        else:
            self.active.append(run_id)
        if turn % 20 == 7:
            name = f"{self.name}/{turn}"
            self.mine.append(self.rest.post("experiments/create", {"name": name})["experiment_id"])
            self.made["experiment"] += 1
            Registered(self.rest.uri, f"{self.name} {turn}").version(f"runs:/{run_id}", run_id)
            self.made.update(registered_model=1, model_version=1)
        if self._touched:
            self._touch(turn, self._touched.pop())

    def _touch(self, turn: int, run_id: str) -> None:
        if turn % 3 == 0:
            self.rest.post("runs/delete", {"run_id": run_id})
        elif turn % 3 == 1:
            self.rest.post("runs/set-tag", {"run_id": run_id, "key": "seen", "value": f"{turn}"})
        else:
            log_metrics(self.rest, run_id, [point("loss", 0.25, 2_000 + turn)])


def in_use() -> Verdict:
    """Both servers are in use meanwhile: what is there throughout arrives whole, and a repeat makes all equal."""
    with migrating("smaller", SMALLER) as (migration, made):
        runs = list(made.runs)
        touched, untouched = runs[::4], {run_id for i, run_id in enumerate(runs) if i % 4}
        found = _smaller(inventory(migration.src), SMALLER)
        theirs = [Rest(migration.dst).post("experiments/create", {"name": "of the destination"})["experiment_id"], "0"]
        ours = [made.experiments[name] for name in list(made.experiments) if name not in made.deleted]
        with _Users("source", migration.src, ours, touched) as users, _Users("there", migration.dst, theirs) as others:
            seconds = _shared_experiment(migration, made, others)
        if min(users.made["run"], others.made["run"]) < 10:
            found.append(f"there was no traffic: {users.made}, {others.made}")
        document = migration.verify()
        lines = _verified(migration, document)
        lost = [line for line in lines if line.get("src_id") in untouched and line["result"] != "extra"]
        found += [f"was there throughout: {json.dumps(line)}" for line in lost] + users.errors + others.errors
        migration.copy()
        there = inventory(migration.src)
        extra = _in_copies(migration, others)
        if not extra:
            found.append(f"no run of the destination's own is in a copied experiment: {others.runs_in}")
        found += found_differences(migration.verify(), there, extra) + not_idle(migration) + _still_there(others)
    return not found, (
        f"copied in {seconds:.0f} s while {users.made['run']} runs were made at the source and {others.made['run']} at "
        f"the destination, and {len(touched)} were changed; {len(untouched)} untouched; {listed(found)} "
        f"in {amount(there)}; {extra} runs of the destination's own are in copied "
        "experiments"
    )


def _in_copies(migration: Migration, others: _Users) -> int:
    """How many runs the destination's users have made in experiments that are copies: these are extra."""
    src, dst = Rest(migration.src), Rest(migration.dst)
    body = {"view_type": "ALL", "max_results": 1000}
    copies = {migration.rename(each["name"]) for each in src.pages("experiments/search", body, "experiments")}
    there = dst.pages("experiments/search", body, "experiments")
    return sum(others.runs_in[each["experiment_id"]] for each in there if each["name"] in copies)


def _shared_experiment(migration: Migration, made: Made, others: _Users) -> float:
    """Copy; as soon as experiments are there the destination's users work in them too. Seconds that it took."""
    ended = threading.Event()

    def look() -> None:
        name = migration.rename(next(iter(made.experiments)))
        rest = Rest(migration.dst)
        while not ended.wait(0.5):
            found = rest.post("experiments/search", {"max_results": 1000}).get("experiments") or []
            shared = [each["experiment_id"] for each in found if each["name"] == name]
            if shared:
                others.mine += shared
                return

    watcher = threading.Thread(target=look)
    watcher.start()
    start = time.monotonic()
    try:
        migration.copy(verified=False)  # what is made meanwhile would be missing
    finally:
        ended.set()
        watcher.join()
    return time.monotonic() - start


def _verified(migration: Migration, document: Json) -> List[Json]:
    """All that a verification has found not to be the same."""
    text = (migration.home / "verified" / "verification.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    count = sum(n for counts in document["counts"].values() for result, n in counts.items() if result != "same")
    assert len(lines) == count, f"{len(lines)} lines for {count} objects"
    return lines


def _still_there(others: _Users) -> List[str]:
    """Runs of the destination's own that are not as they were made."""
    found = []
    for run_id in others.active:
        run = others.rest.run(run_id)
        whole = run["info"]["lifecycle_stage"] == "active" and len(others.rest.history(run_id, "x")) == 5
        if not whole or list(others.rest.run_files(run_id)) != ["x.txt"]:
            found.append(f"run {run_id} of the destination is not as it was: {run}")
    return found


POINTS: List[Point] = [
    ("whole server", 3600, whole_server),
    (f"kill -9 at {len(MOMENTS) + 1} moments of a copy", 1800, kills),
    ("failing destination", 1800, faults),
    ("unreadable artifacts", 3600, unreadable),
    ("PostgreSQL and S3", 3600, other_stores),
    ("scale", 7200, scale),
    ("servers in use", 1800, in_use),
]


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    return prove("prove-servers", POINTS, args, __doc__)


if __name__ == "__main__":
    sys.exit(main())
