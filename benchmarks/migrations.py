"""What `make prove-servers` proves with: servers of a size, copies of them, and what is wrong with these."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Optional, Sequence, Tuple

from benchmarks.bench import Bench
from benchmarks.proofs import HOME
from tests.support.make_server import KINDS, Made, ServerSize, inventory, make_server
from tests.support.moves import Counts, counts_of, writes
from tests.support.proxy import Proxy
from tests.support.reports import ledger
from tests.support.rest import Json
from tests.support.scripts import run_script
from tests.support.servers import Server

TIMEOUT = 3600.0  # seconds for a command
ALL_OF_IT = ("--export-deleted-runs", "--export-deleted-experiments")


def source_of(bench: Bench, name: str, size: ServerSize) -> Tuple[Server, Made]:
    """A server of some size that may be changed: a copy of one that is made once and kept."""
    kept = HOME / f"server-{name}"
    text = json.dumps(asdict(size)) + Path(make_server.__code__.co_filename).read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    done = kept / "made.json"
    if not done.exists() or json.loads(done.read_text())["digest"] != digest:
        shutil.rmtree(kept, ignore_errors=True)
        server = bench.start(Server(kept))
        made = make_server(server, size)
        server.stop()
        done.write_text(json.dumps({"digest": digest, "made": made.as_json()}))
    root = bench.directory()
    shutil.copytree(kept, root)
    return bench.start(Server(root)), Made(**json.loads(done.read_text())["made"])


class Migration:
    """Copies of one server to another, and their verification.

    :param src: Address of the source.
    :param proxy: In front of the destination: the only address by which commands know it, as its id map names that.
    :param home: Directory for reports, rename files and what is on its way.
    :param env: More environment variables of the commands.
    """

    def __init__(self, src: str, proxy: Proxy, home: Path, env: Optional[Mapping[str, str]] = None) -> None:
        self.src, self.proxy, self.dst, self.home = src, proxy, proxy.uri, home
        self.report, self.temp = home / "report", home / "temp"
        self.temp.mkdir(parents=True)
        self.env = {**(env or {}), "TMPDIR": str(self.temp)}
        (home / "experiments.csv").write_text("team-0/,moved/team-0/\nteam-1/experiment 1,first/\n")
        (home / "models.csv").write_text("model-0 ,renamed-0 \nmodel-1,other\n")
        files = ("--experiment-rename-file", home / "experiments.csv", "--model-rename-file", home / "models.csv")
        self.options = (*ALL_OF_IT, *files)

    def command(self, src: str = "") -> Tuple[Any, ...]:
        """The command that copies, from another address of the source if one is given."""
        return ("copy-all", *self._sides(src), "--report-dir", self.report, *self.options)

    def _sides(self, src: str = "") -> Tuple[Any, ...]:
        return ("--src-mlflow-uri", src or self.src, "--dst-mlflow-uri", self.dst)

    def copy(self, src: str = "", status: int = 0, verified: bool = True) -> Counts:
        """Copy; how many objects of which kind ended how.

        :param src: Another address of the source.
        :param status: The exit status that is to come.
        :param verified: Whether the copy verifies itself, where it does so unless told otherwise.
        :raises AssertionError: It ends with another status.
        """
        command = self.command(src) + (() if verified else unverified())
        result = run_script(*command, env=self.env, check=status, cwd=self.home, timeout=TIMEOUT)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def ledger(self) -> List[Json]:
        """What became of each object in the last copy."""
        return ledger(self.report)

    def verify(self) -> Json:
        """The report of a verification at full depth."""
        report = self.home / "verified"
        command = ("verify-migration", "--depth", "full", *self._sides(), "--report-dir", report, *self.options)
        result = run_script(*command, env=self.env, check=None, cwd=self.home, timeout=TIMEOUT)
        document = dict(json.loads((report / "verification.json").read_text()))
        assert document["exit_status"] == result.status, result
        assert "stopped" not in document, result
        return document

    def rename(self, experiment: str) -> str:
        """The name of an experiment's copy."""
        if experiment.startswith("team-0/"):
            return f"moved/{experiment}"
        old = "team-1/experiment 1"
        return f"first/{experiment[len(old) :]}" if experiment.startswith(old) else experiment

    def rename_model(self, model: str) -> str:
        """The name of a registered model's copy."""
        return model.replace("model-0 ", "renamed-0 ").replace("model-1", "other")


@functools.lru_cache(maxsize=None)
def unverified() -> Tuple[str, ...]:
    """Options that keep a copy from verifying itself at its end."""
    return ("--verify", "none") if "--verify " in run_script("copy-all", "--help").stdout else ()


@contextmanager
def migrating(name: str, size: ServerSize) -> Iterator[Tuple[Migration, Made]]:
    """A source of some size, and an empty destination."""
    with Bench(HOME, name) as bench:
        src, made = source_of(bench, name, size)
        with Proxy(bench.destination(1).uri) as proxy:
            yield Migration(src.uri, proxy, bench.directory()), made


def found_differences(document: Json, there: Mapping[str, int], extra: int = 0) -> List[str]:
    """What a verification has found, and where it has not compared all that is there.

    :param there: How many objects of each kind the source has.
    :param extra: Objects of the destination's own, of all kinds.
    """
    found = [json.dumps(line, ensure_ascii=False) for line in document["not_the_same"] if line["result"] != "extra"]
    for kind in KINDS:
        counts = document["counts"].get(kind) or {}
        if not there[kind] or counts.get("same") != there[kind]:
            found.append(f"{kind}: {there[kind]} at the source, verified: {counts}")
    extras = sum(counts["extra"] for counts in document["counts"].values())
    if extras != extra:
        found.append(f"{extras} extra objects at the destination instead of {extra}")
    compared = document["compared"]
    if not compared.get("hashed") or not compared.get("points"):
        found.append(f"nothing was compared at full depth: {compared}")
    return found


def doubles(migration: Migration, there: Mapping[str, int]) -> List[str]:
    """Kinds of which the destination has another number of objects than the source."""
    have = inventory(migration.dst)
    return [f"{kind}: {n} became {have[kind]}" for kind, n in there.items() if have[kind] != n]


def amount(there: Mapping[str, int]) -> str:
    """How many objects of each kind, as text."""
    return ", ".join(f"{n:,} {kind}s" for kind, n in there.items()).replace("_", " ")


def listed(found: Sequence[str]) -> str:
    """How many differences, and the first of them."""
    return f"{len(found)} differences" + "".join(f"\n  {text[:300]}" for text in found[:10])


def ended_otherwise(counts: Counts, *statuses: str) -> List[str]:
    """Objects that ended otherwise, and kinds of which there are none."""
    found = [f"no {kind} is in the summary" for kind in KINDS if kind not in counts]
    for kind, of_kind in counts.items():
        found += [f"{n} {kind}s are {status}" for status, n in of_kind.items() if status not in statuses]
    return found


def not_idle(migration: Migration) -> List[str]:
    """A repeat: what it has written, and what it does not call unchanged."""
    migration.proxy.clear()
    found = ended_otherwise(migration.copy(), "unchanged")
    written = writes(migration.proxy)
    if not migration.proxy.count():
        found.append("nothing was asked through the proxy")
    return found + ([f"the repeat has written {written}"] if written else [])
