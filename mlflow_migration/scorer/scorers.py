"""What is particular to scorers: see ``common/kinds.py``."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Tuple

from mlflow_migration.client import scorers
from mlflow_migration.client.errors import BadDirectory, Refused, Unauthorized
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.kinds import Copies, OfExperiment
from mlflow_migration.common.three_way import Plan

Json = Dict[str, Any]

_NO_CODE = (
    "its version {} is a Python function, which a server only takes with the environment variable"
    " MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS=true: restart the destination's server with it and repeat the import"
)
_MOST_GAPS = 1_000  # numbers that are filled: more are no gaps but nonsense


class Scorers(OfExperiment):
    """Scorers with their versions and online configuration. Numbers of versions are kept, with their gaps."""

    name, plural, loss = "scorer", "scorers", "scorers"
    id_field = "scorer_id"

    def read(self, tracking: Tracking) -> Iterator[Json]:
        """Yield all scorers; see :func:`scorers.read_scorers`."""
        return scorers.read_scorers(tracking)

    def translated(self, doc: Json, copies: Copies) -> Tuple[Json, List[str]]:
        """Return it with its new experiment. Without ``--activate`` nothing is said of its online configuration."""
        numbers = [int(version["version"]) for version in doc["versions"]]
        if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 1:
            raise BadDirectory("its versions are not in order")
        if numbers[-1] - len(numbers) > _MOST_GAPS:
            raise BadDirectory(f"its version {numbers[-1]} leaves more than {_MOST_GAPS} numbers free")
        online = doc.get("online") if copies.activate else None
        return {**doc, "experiment_id": copies.experiment(str(doc["experiment_id"])), "online": online}, []

    def state(self, doc: Json) -> Dict[str, Any]:
        """Return what each version is, and the online configuration."""
        found: Dict[str, Any] = {f"version:{one['version']}": str(one["serialized_scorer"]) for one in doc["versions"]}
        online = doc.get("online")
        return {**found, **({"online": [float(online["sample_rate"]), online["filter_string"]]} if online else {})}

    def create(self, tracking: Tracking, doc: Json) -> str:
        """Register all versions in their order."""
        scorer_id = self._register(tracking, doc, 0)
        self._set_online(tracking, doc)
        return scorer_id

    def change(self, tracking: Tracking, there: Json, doc: Json, todo: Plan) -> None:
        """Register versions that are new. A version never changes, and none comes before another."""
        last = int(there["versions"][-1]["version"]) if there["versions"] else 0
        impossible = [name for name in todo.write if name.startswith("version:") and int(name[8:]) <= last]
        todo.write = [name for name in todo.write if name not in impossible]
        todo.differs += impossible
        if todo.touches("version:"):
            self._register(tracking, doc, last)
        if "online" in todo.write:
            self._set_online(tracking, doc)

    def _register(self, tracking: Tracking, doc: Json, last: int) -> str:
        """Register the versions after the last; numbers that are free are taken and given back."""
        experiment_id, name = str(doc["experiment_id"]), str(doc["name"])
        scorer_id = ""
        for version in doc["versions"]:
            number, text = int(version["version"]), str(version["serialized_scorer"])
            if number <= last:
                continue
            gaps = range(last + 1, number)
            try:
                for gap in gaps:
                    scorers.register_scorer(tracking, experiment_id, name, gap, text)
                scorer_id = scorers.register_scorer(tracking, experiment_id, name, number, text)
            except Refused as ex:
                if not has_code(text) or isinstance(ex, Unauthorized):
                    raise
                raise Refused(_NO_CODE.format(number), http_status_code=ex.http_status_code) from ex
            for gap in gaps:
                scorers.delete_scorer_version(tracking, experiment_id, name, gap)
            last = number
        return scorer_id

    def _set_online(self, tracking: Tracking, doc: Json) -> None:
        online = doc.get("online")
        if online:
            scorers.set_online_scoring(
                tracking, str(doc["experiment_id"]), str(doc["name"]), float(online["sample_rate"]),
                online["filter_string"],
            )  # fmt: skip


def has_code(serialized: str) -> bool:
    """Tell whether a serialized scorer has the code of a function in it, itself or in a part."""
    try:
        parts = [json.loads(serialized)]
    except (ValueError, RecursionError):
        return False
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if part.get("call_source"):
                return True
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return False


SCORERS = Scorers()
