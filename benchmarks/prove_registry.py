"""`make prove-registry`: a whole registry at full size. Each point prints PASS or FAIL.

    python -m benchmarks.prove_registry [--again] [--only WORD]

It may be stopped: points that have passed with the present package are kept in .bench/prove-registry.json.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from benchmarks.bench import Bench
from benchmarks.proofs import HOME, Point, Verdict, prove, run_tests
from tests.support.compare_models import RegistryRest
from tests.support.kills import run_killed
from tests.support.make_models import ModelMoves, Models, numbers_of
from tests.support.make_prompts import Prompts, prompt_differences
from tests.support.moves import Counts, counts_of
from tests.support.proxy import Proxy
from tests.support.scripts import run_script
from tests.support.servers import NEWEST, Server

MODELS = 30
MOST = 40  # versions of a model
PROMPTS = 10
MANY = 1_200  # versions of one model
_PROMPT = "prompt-"


class _Registry:
    """A source filled with models and prompts, a destination, and the scripts between them."""

    def __init__(self, src: Server, dst: Server, home: Path, version: str) -> None:
        self.src, self.dst = src, dst
        self.moves = ModelMoves(partial(run_script, cwd=home), src, dst, home)
        self.prompts = 0 if version == "2.9" else PROMPTS
        self.names: List[str] = []
        chance = random.Random(7)
        for i in range(MODELS):
            made = Models(src, f"model {i}")
            made.many(1 + i * (MOST - 1) // (MODELS - 1), version == NEWEST, chance)
            self.names.append(made.name)
        for i in range(self.prompts):
            Prompts(src.uri).everything(f"{_PROMPT}{i}", longest=90_000 if version == NEWEST else 5_000)

    def export(self) -> List[Counts]:
        found = [self.moves.export(name, to=name) for name in self.names]
        if self.prompts:
            command = ("export-prompts", "--prompts", f"{_PROMPT}*", "--output-dir", self.moves.home / "prompts")
            found.append(counts_of(self.moves.script(*command, env={"MLFLOW_TRACKING_URI": self.src.uri})))
        return found

    def load(self) -> List[Counts]:
        found = [self.moves.load(name, frm=name) for name in self.names]
        if self.prompts:
            found.append(counts_of(self.moves.script(*self._prompts(), env={"MLFLOW_TRACKING_URI": self.dst.uri})))
        return found

    def _prompts(self) -> Tuple[Any, ...]:
        return "import-prompts", "--input-dir", self.moves.home / "prompts", "--report-dir", self.moves.report

    def load_killed(self) -> List[str]:
        """Import everything, each killed once on its way; return what went wrong with the kills."""
        wrong = []
        commands = [self.moves.command(name, frm=name) for name in self.names]
        for i, command in enumerate(commands + ([self._prompts()] if self.prompts else [])):
            path = "*/model-versions/create"
            versions = PROMPTS if command[0] == "import-prompts" else len(numbers_of(self.src, self.names[i]))
            # only every other is killed when a version has just been made: the rest while runs and artifacts come
            number = 1 + versions // 2 if i % 2 else 1 + 2 * i
            with Proxy(self.dst.uri) as proxy:
                missed = run_killed(proxy, command, *(("POST", path) if i % 2 else ("*", "*")), number)
            wrong += [f"{command[2]}: {missed}"] if missed else []
        return wrong

    def differences(self) -> List[str]:
        found = [f"{name}: {text}" for name in self.names for text in self.moves.differences(name, name)]
        src, dst = Prompts(self.src.uri), Prompts(self.dst.uri)
        for i in range(self.prompts):
            name = f"{_PROMPT}{i}"
            found += [f"{name}: {text}" for text in prompt_differences(src, name, dst, name)]
        ours, theirs = (self._names(server) for server in (self.src, self.dst))
        return found + ([f"names: {sorted(ours ^ theirs)}"] if ours != theirs or not ours else [])

    def _names(self, server: Server) -> set:
        rest = RegistryRest(server.uri)
        models = rest.get("registered-models/search", {"max_results": 1000}).get("registered_models") or []
        return {model["name"] for model in models} | set(Prompts(server.uri).names(_PROMPT))

    def amount(self) -> str:
        versions = sum(len(numbers_of(self.src, name)) for name in self.names)
        prompts = sum(len(Prompts(self.src.uri).versions(f"{_PROMPT}{i}")) for i in range(self.prompts))
        return f"{len(self.names)} models with {versions} versions, {self.prompts} prompts with {prompts}"


@contextmanager
def _registry(version: str) -> Iterator[_Registry]:
    with Bench(HOME / "registry", "", version) as old, Bench(HOME, "") as new:
        home = new.directory()
        home.mkdir()
        yield _Registry(old.destination(1), new.destination(1), home, version)


def _only(counts: List[Counts], *statuses: str) -> bool:
    return bool(counts) and all(set(of_kind) <= set(statuses) for found in counts for of_kind in found.values())


def round_trip(version: str) -> Verdict:
    """A registry goes through directories: no difference, and a repeat writes nothing."""
    with _registry(version) as registry:
        start = time.monotonic()
        registry.export()
        loaded = registry.load()
        seconds = time.monotonic() - start
        found = registry.differences()
        idle = _only(registry.export(), "unchanged", "skipped") and _only(registry.load(), "unchanged")
        found += registry.differences()
        return not found and idle and _only(loaded, "copied"), (
            f"{len(found)} differences in {registry.amount()}, moved in {seconds:.0f} s; "
            f"the repeat {'wrote nothing' if idle else 'was not idle'}" + "".join(f"\n  {text}" for text in found[:10])
        )


def kills() -> Verdict:
    """Each import of a registry is killed half-way, and repeated."""
    with _registry(NEWEST) as registry:
        registry.export()
        found = registry.load_killed()
        killed = MODELS + 1 - len(found)
        registry.load()
        found += registry.differences() + _placeholders(registry)
        idle = _only(registry.load(), "unchanged")
        return not found and idle, f"{killed} imports killed, {len(found)} differences" + "".join(
            f"\n  {text}" for text in found[:10]
        )


def _placeholders(registry: _Registry) -> List[str]:
    rest = RegistryRest(registry.dst.uri)
    versions = [version for name in registry.names for version in rest.versions(name)]
    versions += [v for i in range(registry.prompts) for v in Prompts(rest.uri).versions(f"{_PROMPT}{i}").values()]
    tags: List[Dict[str, str]] = [tag for version in versions for tag in version.get("tags") or ()]
    return [f"a placeholder is left: {tag}" for tag in tags if tag["key"] == "mlflow_exim.placeholder"]


def many_versions() -> Verdict:
    """A model with more than 1,000 versions, beside the server's own time for making as many."""
    with Bench(HOME, "") as bench:
        src, dst, home = bench.destination(1), bench.destination(1), bench.directory()
        home.mkdir()
        made = Models(src, "many")
        run = made.run_with_model("model")
        made.gap()
        start = time.monotonic()
        for _ in range(MANY):
            made.version(f"runs:/{run}/model", run)
        ceiling = time.monotonic() - start
        moves = ModelMoves(partial(run_script, cwd=home), src, dst, home)
        moves.export("many")
        start = time.monotonic()
        moves.load("many")
        seconds = time.monotonic() - start
        numbers = numbers_of(dst, "many")
        again = moves.load("many")
    good = numbers == list(range(2, MANY + 2)) and again["model_version"] == {"unchanged": MANY}
    return good and seconds < 1.5 * ceiling, f"{len(numbers)} versions in {seconds:.1f} s, bare creates {ceiling:.1f} s"


POINTS: List[Point] = [
    ("round trip of a registry", 1800, lambda: round_trip(NEWEST)),
    ("round trip of a registry, from MLflow 2.22", 1800, lambda: round_trip("2.22")),
    ("round trip of a registry, from MLflow 2.9", 1800, lambda: round_trip("2.9")),
    ("kill -9 in each import of a registry", 1800, kills),
    ("more than 1,000 versions", 900, many_versions),
    (
        "models predict the same",
        900,
        lambda: run_tests("tests/open_source/test_models_used.py", "-k", "predict"),
    ),
]


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    return prove("prove-registry", POINTS, args, __doc__)


if __name__ == "__main__":
    sys.exit(main())
