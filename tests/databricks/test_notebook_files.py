"""Each notebook is executed, under a stand-in for what Databricks gives it, against real servers.

The functions work the same on any server, so these are plain MLflow servers. What arrives is compared by plain REST.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pandas
import pytest

from mlflow_migration.client.errors import BadInput, MlflowExportImportException
from tests.databricks.notebook_runner import Runner, cells_of, notebooks
from tests.support.compare import assert_same
from tests.support.compare_models import RegistryRest, model_differences
from tests.support.compare_traces import assert_same_traces
from tests.support.make_datasets import Datasets
from tests.support.make_models import Models
from tests.support.make_prompts import Prompts, prompt_differences
from tests.support.make_traces import many
from tests.support.moves import point
from tests.support.rest import Rest
from tests.support.servers import Server
from tests.unit.test_notebooks import widgets_of

WINE, BEER = "wine", "beer"
GREETING = "greeting"
QUESTIONS = "questions"


class World:
    """A source with something of each kind, a destination for parts of it, and one for the whole."""

    def __init__(self, src: Server, dst: Server, whole: Server) -> None:
        self.src, self.dst, self.whole = src, dst, whole
        self.wine = Models(src, WINE)
        points = (point("rmse", 0.5, 1), point("rmse", "NaN", 2))
        self.parent = self.wine.run("parent", 2000, points, tags={"k": "v"})
        self.child = self.wine.run("child", 3000, parent=self.parent)
        self.trained = self.wine.run_with_model("model")
        self.logged = self.wine.logged(self.wine.run("logged"), "logged")
        self.wine.version(f"{self.wine.root(self.trained)}/model", self.trained, description="first")
        self.wine.gap()
        self.last = self.wine.version(f"models:/{self.logged}", "", self.logged)
        self.wine.alias("champion", "1")
        self.wine.stage(self.last, "Staging")
        Models(src, BEER).run("other")
        self.rest = Rest(src.uri)
        self.traces = many(self.rest, self.wine.id, 2, 3, 1)
        self.prompts = Prompts(src.uri)
        self.prompts.create(GREETING, "hello")
        for text in ("Hello {{ who }}", "Good day, {{ who }}"):
            self.prompts.version(GREETING, text)
        Rest(dst.uri).post("experiments/create", {"name": WINE})  # what its dataset is linked to
        self.datasets = Datasets(src.uri)
        self.dataset = self.datasets.create(QUESTIONS, [self.wine.id], team="a")
        self.datasets.add(self.dataset, {"inputs": {"q": 1}, "expectations": {"a": 2}}, {"inputs": {"q": 2}})


@pytest.fixture(scope="module")
def world(server: Callable[..., Server]) -> World:
    made = [server(start=False) for _ in range(3)]
    for one in made:
        one.start(wait=False)
    return World(*(one.wait() for one in made))


On = Callable[..., Runner]


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[On]:
    """Runs a notebook in the workspace that a server stands for."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_REGISTRY_URI", "DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_RUNTIME_VERSION"):
        monkeypatch.delenv(name, raising=False)

    def run(server: Server, name: str, widgets: Dict[str, Any], **options: Any) -> Runner:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        ran = Runner(name, {key: str(value) for key, value in widgets.items()}, **options).run()
        assert ran.installed == ["install -q git+https://github.com/mlflow-oidc/mlflow-migration"]
        assert all("<html" in page for page in ran.pages)
        return ran

    yield run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the exports go."""
    return tmp_path / "exports"


def renames(tmp_path: Path, *names: str) -> Path:
    """A rename file by which each name gets "bulk" before it."""
    path = tmp_path / "renames.csv"
    path.write_text("".join(f"{name},bulk {name}\n" for name in names))
    return path


def test_each_notebook_is_executed_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in notebooks() if not name.endswith("Common") and f'"{name}"' not in text] == []


def assert_same_experiment(src: Tuple[str, str], dst: Tuple[str, str]) -> None:
    """Fail with all differences, but for the versions that a server itself notes on a logged model."""
    assert_same(src, dst, ignore_tags=("mlflow.modelVersions",))


def delete_model(server: Server, name: str) -> None:
    """Delete a registered model, so that the source is again what the other tests copy."""
    Rest(server.uri).call("DELETE", "/api/2.0/mlflow/registered-models/delete", json={"name": name})


# ---- single objects


def test_a_run(on: On, world: World, home: Path) -> None:
    exported = {"1. Run ID": world.parent, "2. Output base directory": home}
    assert len(on(world.src, "single/Export_Run", exported).pages) == 1
    imported = {"1. Destination experiment name": "one run", "2. Input directory": home / world.parent,
                "3. Import source tags": "yes"}  # fmt: skip
    assert len(on(world.dst, "single/Import_Run", imported).pages) == 1
    (run,) = Rest(world.dst.uri).runs(Rest(world.dst.uri).experiment("one run")["experiment_id"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags[
        "mlflow_exim.field.run_id" if "mlflow_exim.field.run_id" in tags else "mlflow_exim.run_info.run_id"
    ] == (world.parent)
    assert_same(
        (world.src.uri, WINE), (world.dst.uri, "one run"), only=[world.parent], experiment=False,
        ignore_tag_prefixes=("mlflow_exim.",),
    )  # fmt: skip


def test_an_experiment(on: On, world: World, home: Path) -> None:
    exported = {"1. Experiment ID or Name": WINE, "2. Output base directory": home}
    on(world.src, "single/Export_Experiment", exported)
    imported = {"1. Destination experiment name": "one", "2. Input directory": home / WINE}
    on(world.dst, "single/Import_Experiment", imported)
    assert_same_experiment((world.src.uri, WINE), (world.dst.uri, "one"))
    assert_same_traces((world.src.uri, WINE), (world.dst.uri, "one"))


def test_chosen_runs(on: On, world: World, home: Path) -> None:
    """The widgets that choose do so: a run with what is nested in it; none that started before a date."""
    chosen = {"1. Experiment ID or Name": world.wine.id, "2. Output base directory": home, "6. Run IDs": world.parent}
    on(world.src, "single/Export_Experiment", {**chosen, "7. Check nested runs": "yes"})
    assert runs_in(home / world.wine.id) == {world.parent, world.child}
    late = {**chosen, "2. Output base directory": home / "late", "3. Run start date": "2030-01-01", "6. Run IDs": ""}
    on(world.src, "single/Export_Experiment", late)
    assert runs_in(home / "late" / world.wine.id) == set()


def runs_in(directory: Path) -> set:
    """Ids of the runs in the export of an experiment."""
    return set(json.loads((directory / "experiment.json").read_text())["mlflow"]["runs"])


def test_a_registered_model(on: On, world: World, home: Path) -> None:
    on(world.src, "single/Export_Registered_Model", {"1. Model": WINE, "2. Output base directory": home})
    imported = {"1. Model name": "one model", "2. Destination experiment name": "one model's runs",
                "3. Input directory": home / WINE}  # fmt: skip
    on(world.dst, "single/Import_Registered_Model", imported)
    assert model_differences((world.src.uri, WINE), (world.dst.uri, "one model")) == []
    # once more, with the model deleted before
    on(world.dst, "single/Import_Registered_Model", {**imported, "4. Delete model": "yes"})
    assert model_differences((world.src.uri, WINE), (world.dst.uri, "one model")) == []


def test_chosen_versions(on: On, world: World, home: Path) -> None:
    chosen = {"1. Model": WINE, "2. Output base directory": home}
    for widget, number in (({"3. Stages": "staging"}, world.last), ({"5. Versions": "1"}, "1")):
        on(world.src, "single/Export_Registered_Model", {**chosen, **widget, "2. Output base directory": home / number})
        text = (home / number / WINE / "model.json").read_text()
        assert [version["version"] for version in json.loads(text)["mlflow"]["registered_model"]["versions"]] == [
            number
        ]


def test_a_model_version(on: On, world: World, home: Path) -> None:
    exported = {"1. Model name": WINE, "2. Model version": "1", "3. Output directory": home,
                "4. Export version MLflow model": "yes"}  # fmt: skip
    on(world.src, "single/Export_Model_Version", exported)
    assert (home / "version_model" / "MLmodel").is_file()
    imported = {"1. Input directory": home, "2. Model name": "one version", "3. Destination experiment name": "one v",
                "4. Create destination model": "yes", "5. Import stages and aliases": "yes"}  # fmt: skip
    ran = on(world.dst, "single/Import_Model_Version", imported)
    assert ran.names["version"].version in ("1", 1)
    made = RegistryRest(world.dst.uri).model("one version")
    assert [alias["alias"] for alias in made["aliases"]] == ["champion"]


def test_a_model_that_is_not_to_be_created(on: On, world: World, home: Path) -> None:
    """What a notebook can't do it fails with, and so does the job that runs it."""
    exported = {"1. Model name": WINE, "2. Model version": "1", "3. Output directory": home}
    on(world.src, "single/Export_Model_Version", exported)
    imported = {"1. Input directory": home, "2. Model name": "absent", "3. Destination experiment name": "absent"}
    with pytest.raises((MlflowExportImportException, RuntimeError), match="absent"):
        on(world.dst, "single/Import_Model_Version", imported)


def test_a_logged_model(on: On, world: World, home: Path) -> None:
    on(world.src, "single/Export_Logged_Model", {"1. Model ID": world.logged, "2. Output base directory": home})
    imported = {"1. Destination experiment name": "one logged", "2. Input directory": home / world.logged}
    on(world.dst, "single/Import_Logged_Model", imported)
    rest = Rest(world.dst.uri)
    (model,) = rest.logged_models(rest.experiment("one logged")["experiment_id"])
    assert model["info"]["name"] == "logged"


def test_a_trace(on: On, world: World, home: Path) -> None:
    on(world.src, "single/Export_Trace", {"1. Trace ID": world.traces[0], "2. Output base directory": home})
    imported = {"1. Destination experiment name": "one trace", "2. Input directory": home / world.traces[0]}
    on(world.dst, "single/Import_Trace", imported)
    assert_same_traces((world.src.uri, WINE), (world.dst.uri, "one trace"), only=world.traces[:1], links=False)


def test_a_prompt(on: On, world: World, home: Path) -> None:
    exported = {"1. Prompt name": GREETING, "2. Prompt version": "2", "3. Output directory": home}
    on(world.src, "single/Export_Prompt", exported)
    on(world.dst, "single/Import_Prompt", {"1. Input directory": home, "2. Prompt name": "one-prompt"})
    assert "Good day, {{ who }}" in str(Prompts(world.dst.uri).versions("one-prompt"))


def test_an_evaluation_dataset(on: On, world: World, home: Path) -> None:
    on(world.src, "single/Export_Evaluation_Dataset", {"1. Dataset name": QUESTIONS, "3. Output directory": home})
    imported = {"1. Input directory": home, "2. Dataset name": "one dataset"}
    on(world.dst, "single/Import_Evaluation_Dataset", imported)
    theirs = Datasets(world.dst.uri)
    assert same_records(world, theirs, theirs.copy(world.dataset, "one dataset")["dataset_id"])


def same_records(world: World, theirs: Datasets, dataset_id: str) -> bool:
    ours, copied = world.datasets.shape(world.dataset), theirs.shape(dataset_id)
    return bool(ours["records"]) and ours["records"] == copied["records"] and ours["tags"] == copied["tags"]


# ---- many


def test_experiments(on: On, world: World, home: Path, tmp_path: Path) -> None:
    exported = {"1. Experiments": f"{WINE},{BEER}", "2. Output directory": home, "6. Notebook formats": "SOURCE,HTML"}
    on(world.src, "bulk/Export_Experiments", exported)
    imported = {"1. Input directory": home, "2. Experiment rename file": renames(tmp_path, WINE, BEER)}
    on(world.dst, "bulk/Import_Experiments", imported)
    for name in (WINE, BEER):
        assert_same_experiment((world.src.uri, name), (world.dst.uri, f"bulk {name}"))


def test_registered_models(on: On, world: World, home: Path, tmp_path: Path) -> None:
    exported = {"01. Models": WINE, "02. Output directory": home, "05. Export all runs": "yes"}
    on(world.src, "bulk/Export_Registered_Models", exported)
    path = renames(tmp_path, WINE)
    imported = {"1. Input directory": home, "3. Model rename file": path, "4. Experiment rename file": path}
    on(world.dst, "bulk/Import_Registered_Models", imported)
    assert model_differences((world.src.uri, WINE), (world.dst.uri, f"bulk {WINE}")) == []


def test_traces(on: On, world: World, home: Path) -> None:
    on(world.src, "bulk/Export_Traces", {"1. Experiment IDs": world.wine.id, "2. Output directory": home})
    on(world.dst, "bulk/Import_Traces", {"1. Input directory": home})
    assert_same_traces((world.src.uri, WINE), (world.dst.uri, WINE), links=False)


def test_logged_models(on: On, world: World, home: Path) -> None:
    chosen = {"1. Experiment IDs": world.wine.id, "2. Output directory": home, "3. Filter": "name = 'logged'"}
    on(world.src, "bulk/Export_Logged_Models", chosen)
    on(world.dst, "bulk/Import_Logged_Models", {"1. Input directory": home})
    rest = Rest(world.dst.uri)
    models = rest.logged_models(rest.experiment(WINE)["experiment_id"])
    assert [model["info"]["name"] for model in models] == ["logged"]


def test_prompts(on: On, world: World, home: Path) -> None:
    on(world.src, "bulk/Export_Prompts", {"2. Output directory": home})
    on(world.dst, "bulk/Import_Prompts", {"1. Input directory": home})
    assert prompt_differences(world.prompts, GREETING, Prompts(world.dst.uri), GREETING) == []


def test_evaluation_datasets(on: On, world: World, home: Path) -> None:
    on(world.src, "bulk/Export_Evaluation_Datasets", {"2. Output directory": home})
    on(world.dst, "bulk/Import_Evaluation_Datasets", {"1. Input directory": home})
    theirs = Datasets(world.dst.uri)
    assert same_records(world, theirs, theirs.copy(world.dataset, QUESTIONS)["dataset_id"])


def test_everything(on: On, world: World, home: Path, tmp_path: Path) -> None:
    """All by way of a directory; verified; then once more by a copy, which finds all of it there."""
    on(world.src, "bulk/Export_All", {"1. Output directory": home})
    on(world.whole, "bulk/Import_All", {"01. Input directory": home, "09. Verify": "full"})
    for name in (WINE, BEER):
        assert_same_experiment((world.src.uri, name), (world.whole.uri, name))
    assert model_differences((world.src.uri, WINE), (world.whole.uri, WINE)) == []
    both = {"01. Source": world.src.uri, "03. Destination": world.whole.uri, "09. Depth": "full"}
    on(world.src, "tools/Verify_Migration", {**both, "10. Report directory": home})
    on(world.src, "tools/Verify_Migration", {"02. Input directory": home, "10. Report directory": tmp_path / "check"})
    copied = {"1. Destination workspace": world.whole.uri, "7. Verify": "full", "8. Report directory": home}
    on(world.src, "copy/Copy_All", copied)
    for name in (WINE, BEER):
        assert_same_experiment((world.src.uri, name), (world.whole.uri, name))
    # what is missing makes the notebook fail
    rest = Rest(world.whole.uri)
    runs = rest.runs(rest.experiment(BEER)["experiment_id"])
    rest.post("runs/delete", {"run_id": runs[0]["info"]["run_id"]})
    with pytest.raises(RuntimeError, match="not whole: different"):
        on(world.src, "tools/Verify_Migration", {**both, "10. Report directory": home})


def test_versions_without_runs(on: On, world: World) -> None:
    models = Models(world.src, "loose")
    run = models.run_with_model("model")
    models.version(f"{models.root(run)}/model", run)
    models.version("s3://bucket/model", "0" * 32)
    models.version("s3://bucket/model")
    try:
        ran = on(world.src, "bulk/Check_Model_Versions_Runs", {"1. Models": f"loose,{WINE}"})
        (frame,) = ran.displayed
        rows = frame[frame["model"] == "loose"][["version", "run_id", "run", "error"]].values.tolist()
        assert rows == [["1", run, "active", ""], ["2", "0" * 32, "missing", ""], ["3", "", "none", ""]]
        assert list(frame[frame["model"] == WINE]["stage"]) == ["None", "Staging"]
        models.delete(run)
        ran = on(world.src, "bulk/Check_Model_Versions_Runs", {"1. Models": "loo*"})
        assert list(ran.displayed[0]["run"]) == ["deleted", "missing", "none"]
        latest = {"1. Models": "loose", "2. Export latest versions": "yes"}
        assert list(on(world.src, "bulk/Check_Model_Versions_Runs", latest).displayed[0]["version"]) == ["3"]
        with pytest.raises(MlflowExportImportException, match=r"are missing: loose/2\."):
            on(world.src, "bulk/Check_Model_Versions_Runs", {"1. Models": "loose", "3. Bail": "yes"})
        with pytest.raises(BadInput, match="no registered model 'lose'"):
            on(world.src, "bulk/Check_Model_Versions_Runs", {"1. Models": "lose"})
    finally:
        delete_model(world.src, "loose")


# ---- copies


def test_copied_run(on: On, world: World) -> None:
    copied = {"1. Source run ID": world.parent, "2. Destination experiment": "copied run",
              "3. Destination workspace": world.dst.uri}  # fmt: skip
    on(world.src, "copy/Copy_Run", copied)
    assert_same((world.src.uri, WINE), (world.dst.uri, "copied run"), only=[world.parent], experiment=False)


def test_copied_experiment_and_traces(on: On, world: World, tmp_path: Path) -> None:
    copied = {"1. Experiment ID or Name": WINE, "2. Destination experiment name": "copied",
              "3. Destination workspace": world.dst.uri, "6. Report directory": tmp_path / "report"}  # fmt: skip
    assert len(on(world.src, "copy/Copy_Experiment", copied).pages) == 1
    assert_same_experiment((world.src.uri, WINE), (world.dst.uri, "copied"))
    traces = {"1. Experiment ID or Name": WINE, "2. Destination experiment name": "copied traces",
              "3. Destination workspace": world.dst.uri, "4. Report directory": tmp_path / "traces"}  # fmt: skip
    on(world.src, "copy/Copy_Traces", traces)
    assert_same_traces((world.src.uri, WINE), (world.dst.uri, "copied traces"), links=False)


def test_a_copy_that_fails(on: On, world: World, tmp_path: Path) -> None:
    copied = {"1. Experiment ID or Name": "no such", "2. Destination experiment name": "x",
              "3. Destination workspace": world.dst.uri, "6. Report directory": tmp_path / "report"}  # fmt: skip
    with pytest.raises(RuntimeError, match="copy-experiment ends with exit status 2"):
        on(world.src, "copy/Copy_Experiment", copied)


def test_copied_registered_model(on: On, world: World, tmp_path: Path) -> None:
    copied = {"1. Source Model": WINE, "2. Destination Model": "copied model",
              "3. Destination experiment name": "copied model's runs", "4. Destination workspace": world.dst.uri,
              "5. Report directory": tmp_path / "report"}  # fmt: skip
    on(world.src, "copy/Copy_Registered_Model", copied)
    assert model_differences((world.src.uri, WINE), (world.dst.uri, "copied model")) == []


def test_copied_version(on: On, world: World) -> None:
    """By the notebook that tests the other one: it runs that, and looks at what has arrived."""
    given = {"1a. WS source model": WINE, "1b. WS source version": "1", "1c. WS destination model": "copied version",
             "3a. Destination experiment name": "copied version's run",
             "3b. Destination workspace": world.dst.uri}  # fmt: skip
    ran = on(world.src, "copy/tests/Test_Copy_Model_Version", given)
    assert [inner.name for inner in ran.inner] == ["copy/Copy_Model_Version"]
    (result,) = json.loads(str(ran.result))
    made = RegistryRest(world.dst.uri).versions("copied version")
    assert [version["run_id"] for version in made] == [result["dst_model_version"]["run_id"]]
    tags = {tag["key"]: tag["value"] for tag in made[0]["tags"]}
    assert tags["mlflow_exim.src_version.run_id"] == world.trained


def test_copied_version_of_another_workspaces_run(on: On, world: World) -> None:
    """Without a destination workspace the copy arrives where the notebook runs."""
    given = {"1. Source Model": WINE, "2. Source Version": "1", "3. Destination Model": "copied here",
             "4. Destination experiment name": "copied here", "5. Source Run Workspace": world.src.uri}  # fmt: skip
    ran = on(world.src, "copy/experimental/Copy_Model_Version", given)
    assert ran.result is None
    (version,) = RegistryRest(world.src.uri).versions("copied here")
    assert version["run_id"] != world.trained
    direct = {**given, "3. Destination Model": "copied there", "5. Destination Workspace": world.dst.uri,
              "8. Return result": "yes"}  # fmt: skip
    del direct["5. Source Run Workspace"]
    ran = on(world.src, "copy/Copy_Model_Version", direct)
    assert json.loads(str(ran.result))["dst_model_version"]["name"] == "copied there"
    delete_model(world.src, "copied here")


def test_versions_by_mlflow_itself(on: On, world: World) -> None:
    given = {"1. Source Model URI": f"runs:/{world.trained}/model", "2. Destination Model": "made",
             "4. Description": "by hand", "5. Alias": "best"}  # fmt: skip
    on(world.src, "copy/Create_Model_Version", given)
    on(world.src, "copy/Create_Model_Version", given)
    copied = {"1. Source Model URI": "models:/made@best", "2. Destination Model": "made again"}
    on(world.src, "copy/MLflow_Copy_Model_Version", copied)
    registry = RegistryRest(world.src.uri)
    assert [version["run_id"] for version in registry.versions("made")] == [world.trained, world.trained]
    assert {version["description"] for version in registry.versions("made")} == {"by hand"}
    assert [version["run_id"] for version in registry.versions("made again")] == [world.trained]
    for name in ("made", "made again"):
        delete_model(world.src, name)


# ---- tools


def test_signatures(on: On, world: World, tmp_path: Path) -> None:
    models = Models(world.dst, "signed")
    run = models.run_with_model("model", "other")
    for path in ("model", "other"):
        models.version(f"{models.root(run)}/{path}", run)
    tables = {"main.wine.x": pandas.DataFrame({"ph": [1.5, 2.5]}), "main.wine.y": pandas.DataFrame({"q": [1.0, 2.0]})}
    given = {"1. Model URI": "models:/signed/1", "2. Input table": "main.wine.x", "3. Output table": "main.wine.y"}
    on(world.dst, "tools/Set_Model_Signature", given, tables=tables)
    with pytest.raises(BadInput, match="has a signature already"):
        on(world.dst, "tools/Set_Model_Signature", given, tables=tables)
    on(world.dst, "tools/Set_Model_Signature", {**given, "4. Overwrite signature": "yes"}, tables=tables)
    signature = on(world.dst, "tools/Get_Model_Signature", {"1. Model URI": "models:/signed/1"}).names["signature"]
    assert [column["name"] for column in signature["inputs"] + signature["outputs"]] == ["ph", "q"]
    listed = {"1. Filter": "name = 'signed'", "2. Output file": tmp_path / "versions.csv"}
    ran = on(world.dst, "tools/List_Model_Versions_Without_Signature", listed)
    assert list(ran.displayed[0]["version"]) == ["2"]
    assert len((tmp_path / "versions.csv").read_text().splitlines()) == 2


def test_scripts(on: On, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They see the token of the secret scope, and each tells its options."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.setenv(name, "")  # so that what the notebook sets is taken back
    secrets = {("scope", "pat"): "a-token"}
    given = {"1. Secrets scope": "scope", "2. Secrets PAT key": "pat"}
    ran = on(world.src, "scripts/Console_Scripts", given, secrets=secrets)
    assert [(command, output) for command, status, output in ran.shell if status or "Usage:" not in output] == []
    assert len(ran.shell) > 10
    names: Dict[str, Any] = ran.names
    environment = names["os"].environ
    assert (environment["DATABRICKS_HOST"], environment["DATABRICKS_TOKEN"]) == (
        "https://adb-1.example.com", "a-token",
    )  # fmt: skip


# ---- all of them


def needing(name: str) -> List[str]:
    return re.findall(r'assert_widget\(\w+, "(.+)"\)', "\n".join(cell.text for cell in cells_of(name)))


@pytest.mark.parametrize("name", [name for name in notebooks() if needing(name) and "scripts/" not in name])
def test_what_must_be_filled_in(on: On, world: World, name: str) -> None:
    """With nothing filled in a notebook shows all its widgets, and names what it needs."""
    runner = Runner(name)
    with pytest.raises(ValueError, match="Fill in the widget '"):
        runner.run()
    assert list(runner.widgets.made) == list(widgets_of(name))
