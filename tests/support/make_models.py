"""Registered models in the making, and the scripts that move them from one server to another."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from tests.support.compare_models import RegistryRest, delete_version, model_differences
from tests.support.moves import Counts, Source, counts_of
from tests.support.reports import records
from tests.support.rest import Json
from tests.support.scripts import Result
from tests.support.servers import Server

MLMODEL = "run_id: {run_id}\nmodel_id: {model_id}\nflavors:\n  python_function:\n    loader_module: x\n"


class Registered:
    """A registered model in the making."""

    def __init__(self, uri: str, name: str, **fields: Any) -> None:
        """Make a registered model of that name."""
        self.registry, self.name = RegistryRest(uri), name
        self.create_model(name, **fields)

    def create_model(self, name: str, **fields: Any) -> None:
        """Make a registered model."""
        self.registry.post("registered-models/create", {"name": name, **fields})

    def version(self, source: str, run_id: str = "", model_id: str = "", *, of: str = "", **fields: Any) -> str:
        """A version of the model; its number."""
        body: Json = {"name": of or self.name, "source": source, **fields}
        body.update({key: value for key, value in (("run_id", run_id), ("model_id", model_id)) if value})
        return str(self.registry.post("model-versions/create", body)["model_version"]["version"])

    def gap(self, size: int = 1, of: str = "") -> None:
        """Let numbers be used up by versions that are deleted."""
        for _ in range(size):
            delete_version(self.registry, of or self.name, int(self.version("s3://bucket/placeholder", of=of)))

    def alias(self, alias: str, number: str) -> None:
        """Let an alias name a version."""
        self.registry.post("registered-models/alias", {"name": self.name, "alias": alias, "version": number})

    def stage(self, number: str, stage: str) -> None:
        """Set the stage of a version."""
        body = {"name": self.name, "version": number, "stage": stage, "archive_existing_versions": False}
        self.registry.post("model-versions/transition-stage", body)

    def set_tag(self, number: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self.registry.post("model-versions/set-tag", {"name": self.name, "version": number, "key": key, "value": value})


class Models(Source, Registered):
    """An experiment with runs and logged models, and registered models made from them."""

    def __init__(self, server: Server, name: str) -> None:
        """Make an experiment of that name, and a registered model of the same."""
        Source.__init__(self, server, name)
        Registered.__init__(self, server.uri, name)

    def run_with_model(self, *paths: str, name: str = "trained") -> str:
        """A run with a model of MLflow 2 below each path; an empty path is its artifact root."""
        run_id = self.run(name)
        for path in paths:
            start = f"{path}/" if path else ""
            self.put(run_id, start + "MLmodel", MLMODEL.format(run_id=run_id, model_id="").encode())
            self.put(run_id, start + "data/model.bin", f"{run_id} {path}".encode())
        return run_id

    def logged(self, run_id: str, name: str) -> str:
        """A logged model with files."""
        model_id = self.model(run_id, name)
        root = self.rest.logged_model(model_id)["info"]["artifact_uri"]
        self.rest.put_file(root, "MLmodel", MLMODEL.format(run_id=run_id, model_id=model_id).encode())
        self.rest.put_file(root, "data/model.bin", model_id.encode())
        return model_id

    def root(self, run_id: str) -> str:
        """The artifact root of a run."""
        return str(self.rest.run(run_id)["info"]["artifact_uri"])

    def everything(self, mlflow3: bool) -> Dict[str, str]:
        """Versions of all kinds, with gaps; their numbers by kind."""
        numbers: Dict[str, str] = {}
        model = {"key": "team", "value": "the best"}
        self.registry.post("registered-models/set-tag", {"name": self.name, **model})
        self.registry.patch("registered-models/update", {"name": self.name, "description": "für alle"})
        run = self.run_with_model("model", "deep/er/model")
        numbers["location"] = self.version(
            f"{self.root(run)}/model", run, description="first", tags=[{"key": "empty", "value": ""}, *tags(3)]
        )
        numbers["nested"] = self.version(f"{self.root(run)}/deep/er/model", run, run_link="https://ci.example/1")
        self.gap(3)
        numbers["runs_uri"] = self.version(f"runs:/{run}/model", run)
        at_root = self.run_with_model("", name="at its root")
        numbers["at_root"] = self.version(self.root(at_root), at_root)
        if mlflow3:
            with_models = self.run("with logged models")
            first, second = self.logged(with_models, "first"), self.logged(with_models, "second")
            numbers["logged"] = self.version(f"models:/{first}", with_models, first)
            numbers["other_logged"] = self.version(f"models:/{second}", with_models, second)
            root = self.rest.logged_model(second)["info"]["artifact_uri"]
            numbers["logged_location"] = self.version(root, with_models, second)
            self.gap()
        deleted = self.run_with_model("model", name="deleted")
        numbers["deleted_run"] = self.version(f"{self.root(deleted)}/model", deleted, tags=tags(1))
        self.delete(deleted)
        self.alias("champion", numbers["location"])
        self.alias("challenger", numbers["deleted_run"])
        self.stage(numbers["nested"], "Production")
        self.stage(numbers["runs_uri"], "Archived")
        return numbers


    def many(self, number: int, mlflow3: bool, chance: random.Random) -> None:
        """Versions from a few runs, with gaps, aliases, stages; one run is deleted."""
        places: List[Tuple[str, str, str]] = []
        for i in range(1 + number // 8):
            run = self.run_with_model("model", "deep/er/model", "", name=f"run {i}")
            places += [(f"runs:/{run}/model", run, ""), (f"{self.root(run)}/deep/er/model", run, "")]
            places.append((self.root(run), run, ""))
            for name in ("first", "second") if mlflow3 else ():
                model = self.logged(run, name)
                places.append((f"models:/{model}", run, model))
        deleted = self.run_with_model("model", name="deleted")
        places.append((f"{self.root(deleted)}/model", deleted, ""))
        last = ""
        for i in range(number):
            if chance.random() < 0.2:
                self.gap(chance.randrange(1, 5))
            place = places[-1] if i == number - 1 else chance.choice(places)
            last = self.version(*place, description=f"the {i}. für alle", tags=tags(chance.randrange(4)))
            if chance.random() < 0.3:
                self.stage(last, chance.choice(["Staging", "Production", "Archived"]))
            if chance.random() < 0.2:
                self.alias(f"alias-{i}", last)
        self.delete(deleted)
        self.alias("champion", last)
        self.registry.post("registered-models/set-tag", {"name": self.name, "key": "team", "value": "the best"})
        self.registry.patch("registered-models/update", {"name": self.name, "description": "für alle"})


def tags(number: int) -> List[Json]:
    """Some tags."""
    return [{"key": f"tag {i}", "value": f"value {i}"} for i in range(number)]


def numbers_of(server: Server, name: str) -> List[int]:
    """The numbers of the versions that a server has."""
    return [int(version["version"]) for version in RegistryRest(server.uri).versions(name)]


class ModelMoves:
    """Runs the scripts between two servers."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path) -> None:
        """`home` is where the directories are: of exports, and "report" of imports."""
        self.script, self.src, self.dst, self.home = run_script, src, dst, home
        self.report = home / "report"

    def export(self, name: str, *args: Any, status: int = 0, to: str = "export") -> Counts:
        """Export a model; how many objects of which kind ended how."""
        return counts_of(self._export(name, *args, status=status, to=to))

    def export_refused(self, name: str, *args: Any, to: str = "export") -> str:
        """Export a model, which can't start; why."""
        return self._export(name, *args, status=2, to=to).stderr

    def _export(self, name: str, *args: Any, status: int, to: str) -> Result:
        command = ("export-model", "--model", name, "--output-dir", self.home / to, *args)
        return self.script(*command, env={"MLFLOW_TRACKING_URI": self.src.uri}, check=status)

    def command(self, name: str, *args: Any, frm: str = "export") -> Tuple[Any, ...]:
        """The command that imports a model."""
        return (
            "import-model", "--model", name, "--experiment-name", f"{name} runs", "--input-dir", self.home / frm,
            "--report-dir", self.report, *args,
        )  # fmt: skip

    def load(self, name: str, *args: Any, status: int = 0, frm: str = "export") -> Counts:
        """Import a model; how many objects of which kind ended how."""
        env = {"MLFLOW_TRACKING_URI": self.dst.uri}
        result = self.script(*self.command(name, *args, frm=frm), env=env, check=status)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def load_refused(self, name: str, *args: Any) -> str:
        """Import a model, which can't start; why."""
        return self.script(*self.command(name, *args), env={"MLFLOW_TRACKING_URI": self.dst.uri}, check=2).stderr

    def differences(self, src: str, dst: str, **options: Any) -> List[str]:
        """Differences between a model and its copy."""
        return model_differences((self.src.uri, src), (self.dst.uri, dst), **options)

    def reasons(self, kind: str) -> str:
        """Why objects of a kind in the last import are as they are."""
        return "; ".join(str(line.get("reason")) for line in records(self.report, kind=kind))
