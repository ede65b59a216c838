"""Registered models go through a directory: numbers, aliases, stages, tags, and each version its own model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest

from mlflow_migration.common import MlflowExportImportException
from tests.support.compare import assert_same
from tests.support.compare_models import RegistryRest, delete_version, model_differences
from tests.support.make_models import ModelMoves, Models, numbers_of, tags
from tests.support.moves import counts_of
from tests.support.reports import ledger
from tests.support.scripts import Result
from tests.support.servers import Server

FIXTURES = {"2.9": "server_29", "2.22": "server_222"}


@pytest.fixture
def moves(run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path) -> ModelMoves:
    return ModelMoves(run_script, src_server, dst_server, tmp_path)


@pytest.mark.parametrize(("src", "dst"), [("newest", "newest"), ("2.9", "newest"), ("2.22", "newest"), ("2.9", "2.22")])
def test_everything(
    src: str,
    dst: str,
    run_script: Callable[..., Result],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    experiment_name: str,
) -> None:
    """All versions arrive under their numbers with all that names them; a repeat adds nothing."""
    servers = [request.getfixturevalue(FIXTURES.get(v, f"{s}_server")) for v, s in ((src, "src"), (dst, "dst"))]
    moves = ModelMoves(run_script, *servers, tmp_path)
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=src == "newest")
    exported = moves.export(experiment_name)
    assert exported["model_version"] == {"copied": len(numbers)}
    loaded = moves.load("copy of " + experiment_name)
    assert loaded["model_version"] == {"copied": len(numbers)}
    assert loaded["registered_model"] == {"copied": 1}
    assert moves.differences(experiment_name, "copy of " + experiment_name) == []
    assert moves.export(experiment_name)["model_version"] == {"unchanged": len(numbers)}
    for more in ((), ("--report-dir", tmp_path / "elsewhere")):
        again = moves.load("copy of " + experiment_name, *more)
        assert again["model_version"] == {"unchanged": len(numbers)}, more
        assert again["registered_model"] == {"unchanged": 1}, more
        assert again["run"] == {"unchanged": loaded["run"]["copied"]}
    assert moves.differences(experiment_name, "copy of " + experiment_name) == []
    rest = RegistryRest(moves.dst.uri)
    runs = rest.runs(rest.experiment(f"copy of {experiment_name} runs")["experiment_id"])
    assert len(runs) == loaded["run"]["copied"] + 1  # one holds the model of the deleted run


def test_deleted_runs_travel_if_asked(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name, "--export-deleted-runs")
    moves.load(experiment_name)
    assert moves.differences(experiment_name, experiment_name) == []
    rest = RegistryRest(moves.dst.uri)
    version = rest.versions(experiment_name)[-1]
    assert version["version"] == numbers["deleted_run"]
    assert rest.run(version["run_id"])["info"]["lifecycle_stage"] == "deleted"
    # the runs are whole, too
    only = [v["run_id"] for v in made.registry.versions(experiment_name)]
    assert_same(
        (moves.src.uri, experiment_name), (moves.dst.uri, f"{experiment_name} runs"), only=set(only), experiment=False
    )


def test_more_than_ten_versions_and_only_the_missing(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    for _ in range(12):
        made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    moves.load(experiment_name)
    assert numbers_of(moves.dst, experiment_name) == list(range(1, 13))
    made.gap()
    made.version(f"runs:/{run}/model", run)
    assert moves.export(experiment_name)["model_version"] == {"copied": 1, "unchanged": 12}
    assert moves.load(experiment_name)["model_version"] == {"copied": 1, "unchanged": 12}
    assert numbers_of(moves.dst, experiment_name) == [*range(1, 13), 14]
    assert moves.differences(experiment_name, experiment_name) == []


def test_changes_of_the_source_arrive_and_those_of_the_destination_stay(
    moves: ModelMoves, experiment_name: str
) -> None:
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name)
    moves.load(experiment_name)
    made.alias("champion", numbers["nested"])
    made.stage(numbers["nested"], "Staging")
    made.set_tag(numbers["location"], "tag 0", "other")
    made.registry.call(
        "DELETE", "/api/2.0/mlflow/model-versions/delete-tag",
        json={"name": experiment_name, "version": numbers["location"], "key": "tag 1"},
    )  # fmt: skip
    made.registry.call(
        "DELETE", "/api/2.0/mlflow/registered-models/alias", json={"name": experiment_name, "alias": "challenger"}
    )
    made.registry.patch("registered-models/update", {"name": experiment_name, "description": ""})
    moves.export(experiment_name)
    again = moves.load(experiment_name)
    assert again["model_version"] == {"updated": 2, "unchanged": len(numbers) - 2}
    assert again["registered_model"] == {"updated": 1}
    assert moves.differences(experiment_name, experiment_name) == []
    there = RegistryRest(moves.dst.uri)
    body = {"name": experiment_name, "version": numbers["location"], "key": "tag 0", "value": "mine"}
    there.post("model-versions/set-tag", body)
    there.post("registered-models/alias", {"name": experiment_name, "alias": "champion", "version": numbers["at_root"]})
    again = moves.load(experiment_name)
    assert again["model_version"] == {"differs": 1, "unchanged": len(numbers) - 1}
    assert again["registered_model"] == {"differs": 1}
    moves.load(experiment_name, "--on-destination-change", "overwrite")
    assert moves.differences(experiment_name, experiment_name) == []


def test_version_deleted_at_the_destination_stays_deleted(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    for _ in range(3):
        made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    moves.load(experiment_name)
    delete_version(RegistryRest(moves.dst.uri), experiment_name, 2)
    assert moves.load(experiment_name)["model_version"] == {"differs": 1, "unchanged": 2}
    assert numbers_of(moves.dst, experiment_name) == [1, 3]
    again = moves.load(experiment_name, "--on-destination-change", "overwrite", "--on-version-conflict", "renumber")
    assert again["model_version"] == {"copied": 1, "unchanged": 2}
    assert numbers_of(moves.dst, experiment_name) == [1, 3, 4]
    assert moves.load(experiment_name)["model_version"] == {"unchanged": 3}


@pytest.mark.parametrize("hidden", [False, True], ids=["another version", "a deleted version"])
def test_conflicts(moves: ModelMoves, experiment_name: str, hidden: bool) -> None:
    """The destination has other versions under these numbers, or had some."""
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    for _ in range(3):
        made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    theirs = Models(moves.dst, experiment_name)
    own = theirs.run_with_model("model")
    for _ in range(2):
        theirs.version(f"runs:/{own}/model", own)
    if hidden:
        delete_version(theirs.registry, experiment_name, 2)
        delete_version(theirs.registry, experiment_name, 1)
    before = numbers_of(moves.dst, experiment_name)
    failed = moves.load(experiment_name, status=1)
    assert failed["model_version"] == {"failed": 3}
    assert "2 of" in moves.reasons("model_version") or "number 1" in moves.reasons("model_version")
    assert numbers_of(moves.dst, experiment_name) == before
    if not hidden:
        assert failed["run"] == {"skipped": 1}
        skipped = moves.load(experiment_name, "--on-version-conflict", "skip")
        assert skipped["model_version"] == {"skipped": 2, "copied": 1}
        assert numbers_of(moves.dst, experiment_name) == [1, 2, 3]
    renumbered = moves.load(experiment_name, "--on-version-conflict", "renumber")
    assert sum(renumbered["model_version"].values()) == 3
    assert len(numbers_of(moves.dst, experiment_name)) == len(before) + 3
    again = moves.load(experiment_name)
    assert again["model_version"] == {"unchanged": 3}
    assert len(numbers_of(moves.dst, experiment_name)) == len(before) + 3


def test_large_gaps_only_if_asked(moves: ModelMoves, experiment_name: str, tmp_path: Path) -> None:
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    text = (tmp_path / "export" / "model.json").read_text()
    (tmp_path / "export" / "model.json").write_text(text.replace('"version": "1"', '"version": "1100"'))
    assert moves.load(experiment_name, status=1)["model_version"] == {"failed": 1}
    assert "--fill-gaps always" in moves.reasons("model_version")


def test_placeholder_of_a_killed_import_is_removed(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    made.gap(2)
    made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    theirs = Models(moves.dst, experiment_name)
    theirs.version("s3://bucket/x", tags=[{"key": "mlflow_exim.placeholder", "value": "true"}])
    moves.load(experiment_name)
    assert numbers_of(moves.dst, experiment_name) == [3]


def test_selection(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=False)
    everything = len(numbers)
    counts = moves.export(experiment_name, "--versions", f"{numbers['nested']},{numbers['at_root']}", to="a")
    assert counts["model_version"] == {"copied": 2, "skipped": everything - 2}
    only = sorted(int(numbers[kind]) for kind in ("nested", "at_root"))
    command = moves.command(experiment_name, "--verbose", frm="a")
    shown = moves.script(*command, env={"MLFLOW_TRACKING_URI": moves.dst.uri}).stdout
    assert [line.split()[:2] for line in shown.partition("version    current_stage")[2].splitlines()[2:4]] == [
        [numbers["nested"], "Production"], [numbers["at_root"], "None"],
    ]  # fmt: skip
    assert moves.differences(experiment_name, experiment_name, only=only) == []
    counts = moves.export(experiment_name, "--stages", "production,Archived", to="b")
    assert counts["model_version"] == {"copied": 2, "skipped": everything - 2}
    counts = moves.export(experiment_name, "--export-latest-versions", to="c")
    assert counts["model_version"] == {"copied": 3, "skipped": everything - 3}
    assert "either" in moves.export_refused(experiment_name, "--versions", "1", "--stages", "None", to="d")
    assert "no version 99" in moves.export_refused(experiment_name, "--versions", "99", to="d")
    assert "no registered model" in moves.export_refused(experiment_name + " absent", to="d")
    assert not (moves.home / "d").exists()


def test_versions_without_a_run(moves: ModelMoves, experiment_name: str) -> None:
    """Its run is purged, or it never had one: its model is carried alone; where that is gone, it is said."""
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    made.version(f"{made.root(run)}/model", run)
    made.version("models:/" + experiment_name + "/1")
    made.version("s3://bucket/nothing/there")
    exported = moves.export(experiment_name, status=1)
    assert exported["model_version"] == {"copied": 2, "incomplete": 1}
    loaded = moves.load(experiment_name, status=1)
    assert loaded["model_version"] == {"copied": 2, "failed": 1}
    assert moves.differences(experiment_name, experiment_name, only=[1, 2]) == []


def test_own_copies(moves: ModelMoves, experiment_name: str, tmp_path: Path) -> None:
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name, "--export-version-model")
    for number in numbers.values():
        assert (tmp_path / "export" / "version_models" / number / "MLmodel").exists()
    moves.load(experiment_name)
    assert moves.differences(experiment_name, experiment_name) == []


def test_delete_model(moves: ModelMoves, experiment_name: str, tmp_path: Path) -> None:
    """The destination's model is deleted only if the directory can replace it."""
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    made.version(f"{made.root(run)}/model", run)
    moves.export(experiment_name)
    theirs = Models(moves.dst, experiment_name)
    own = theirs.run_with_model("model")
    for _ in range(3):
        theirs.version(f"runs:/{own}/model", own)
    lost = tmp_path / "export" / run / "artifacts" / "model" / "MLmodel"
    lost.rename(tmp_path / "kept")
    assert "is not deleted" in moves.load_refused(experiment_name, "--delete-model")
    assert numbers_of(moves.dst, experiment_name) == [1, 2, 3]
    (tmp_path / "kept").rename(lost)
    moves.load(experiment_name, "--delete-model", "--dry-run")
    assert numbers_of(moves.dst, experiment_name) == [1, 2, 3]
    moves.load(experiment_name, "--delete-model")
    assert moves.differences(experiment_name, experiment_name) == []


def test_dry_run_writes_nothing(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name, "--dry-run", to="nothing")
    assert not (moves.home / "nothing").exists()
    moves.export(experiment_name)
    counts = moves.load(experiment_name, "--dry-run")
    assert counts["model_version"] == {"copied": len(numbers)}
    assert model_differences((moves.dst.uri, experiment_name), (moves.dst.uri, experiment_name))  # there is none
    assert not moves.report.exists()


def test_source_tags(moves: ModelMoves, experiment_name: str) -> None:
    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model")
    made.version(f"runs:/{run}/model", run)
    moves.export(experiment_name)
    moves.load(experiment_name, "--import-source-tags")
    rest = RegistryRest(moves.dst.uri)
    found = {tag["key"]: tag["value"] for tag in rest.versions(experiment_name)[0]["tags"]}
    source = made.registry.versions(experiment_name)[0]
    assert found["mlflow_exim.field.run_id"] == run
    assert found["mlflow_exim.field.creation_timestamp"] == str(source["creation_timestamp"])
    assert moves.load(experiment_name)["model_version"] == {"unchanged": 1}
    assert [line["status"] for line in ledger(moves.report) if line["kind"] == "registered_model"] == ["unchanged"]


def test_back_home(moves: ModelMoves, run_script: Callable[..., Result], experiment_name: str, tmp_path: Path) -> None:
    """A backup goes back to where it came from, and so does a copy of a copy: nothing is made twice."""
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=True)
    moves.export(experiment_name)
    home = ModelMoves(run_script, moves.src, moves.src, tmp_path)
    command = ("import-model", "--model", experiment_name, "--input-dir", tmp_path / "export")
    to = ("--experiment-name", experiment_name, "--tracking-uri", moves.src.uri, "--report-dir", tmp_path / "r1")
    back = counts_of(home.script(*command, *to))
    assert back["model_version"] == {"unchanged": len(numbers)}
    moves.load(experiment_name)
    away = ModelMoves(run_script, moves.dst, moves.src, tmp_path)
    away.export(experiment_name, to="back")
    to = ("--experiment-name", experiment_name, "--tracking-uri", moves.src.uri, "--report-dir", tmp_path / "r2")
    back = counts_of(home.script(command[0], *command[1:3], "--input-dir", tmp_path / "back", *to))
    assert back["model_version"] == {"unchanged": len(numbers)}
    assert numbers_of(moves.src, experiment_name) == sorted(map(int, numbers.values()))


def test_copy(moves: ModelMoves, run_script: Callable[..., Result], experiment_name: str, tmp_path: Path) -> None:
    """In one command, also under another name on the same server; repeated, nothing is made twice."""
    made = Models(moves.src, experiment_name)
    numbers = made.everything(mlflow3=True)
    for to, name in ((moves.dst, experiment_name), (moves.src, experiment_name + " 2")):
        command = (
            "copy-model", "--src-mlflow-uri", moves.src.uri, "--dst-mlflow-uri", to.uri, "--src-model", experiment_name,
            "--dst-model", name, "--dst-experiment-name", f"{name} runs", "--report-dir", tmp_path / "report",
        )  # fmt: skip
        foretold = run_script(*command, "--dry-run")
        first = counts_of(run_script(*command))
        assert counts_of(foretold) == first
        assert first["model_version"] == {"copied": len(numbers)}
        assert model_differences((moves.src.uri, experiment_name), (to.uri, name)) == []
        again = counts_of(run_script(*command))
        assert again["model_version"] == {"unchanged": len(numbers)}
        assert set(again["run"]) == {"unchanged", "skipped"}  # the deleted one
    Models(moves.dst, experiment_name + " 3").version("s3://bucket/other")
    command = (*command[:3], "--dst-mlflow-uri", moves.dst.uri, *command[5:7])
    where = ("--dst-model", experiment_name + " 3", "--dst-experiment-name", "never made")
    refused = run_script(*command, *where, "--report-dir", tmp_path / "other report", check=1)
    assert counts_of(refused)["model_version"] == {"failed": len(numbers)}
    assert "do not reconcile" not in refused.stdout
    same = ("--dst-model", experiment_name, "--dst-experiment-name", "x", "--dst-mlflow-uri", moves.src.uri)
    assert "same registered model" in run_script(*command, *same, check=2).stderr


def test_logged_models_on_a_server_before_mlflow_3(
    run_script: Callable[..., Result], src_server: Server, server_29: Server, tmp_path: Path, experiment_name: str
) -> None:
    """It has none: the versions' models are kept in runs."""
    moves = ModelMoves(run_script, src_server, server_29, tmp_path)
    numbers = Models(src_server, experiment_name).everything(mlflow3=True)
    moves.export(experiment_name)
    for status in ("copied", "unchanged"):
        counts = moves.load(experiment_name, "--accept-loss", "logged-models")
        assert counts["model_version"] == {status: len(numbers)}
        assert counts["logged_model"] == {"skipped": 2}
        assert moves.differences(experiment_name, experiment_name) == []


def test_classes_of_the_earlier_tools(moves: ModelMoves, experiment_name: str, tmp_path: Path) -> None:
    """Whoever imports the runs himself gets the versions made from them; --delete-model is refused without them."""
    from mlflow import MlflowClient

    from mlflow_migration.experiment.import_experiment import import_experiment
    from mlflow_migration.model.import_model import BulkModelImporter, ModelImporter

    made = Models(moves.src, experiment_name)
    run = made.run_with_model("model", "deep/er/model")
    made.version(f"{made.root(run)}/model", run, description="first", tags=tags(2))
    made.gap()
    made.alias("best", made.version(f"runs:/{run}/deep/er/model", run))
    moves.export(experiment_name)
    export = ("export-experiment", "--experiment", experiment_name, "--output-dir", tmp_path / "experiment")
    moves.script(*export, env={"MLFLOW_TRACKING_URI": moves.src.uri})
    client = MlflowClient(moves.dst.uri, moves.dst.uri)
    infos = import_experiment(experiment_name, str(tmp_path / "experiment"), mlflow_client=client)
    bulk = BulkModelImporter({"1": infos, "2": None}, mlflow_client=client)  # type: ignore[dict-item]
    for _ in range(2):
        bulk.import_model(experiment_name, str(tmp_path / "export"), delete_model=True)
        assert moves.differences(experiment_name, experiment_name) == []
    bulk.import_model(experiment_name, str(tmp_path / "export"))
    assert moves.differences(experiment_name, experiment_name) == []
    with pytest.raises(MlflowExportImportException, match="not among those that were imported"):
        BulkModelImporter({}, mlflow_client=client).import_model(experiment_name, str(tmp_path / "export"), True)
    doc = json.loads((tmp_path / "export" / "model.json").read_text())["mlflow"]["registered_model"]
    importer = ModelImporter(client)
    version = importer.import_version(experiment_name, doc["versions"][1], infos[run].run_id)
    assert (version.version, version.run_id) == ("3", infos[run].run_id)  # it is there already
    importer.import_model(f"{experiment_name} 2", str(tmp_path / "export"), f"{experiment_name} 2")
    assert moves.differences(experiment_name, f"{experiment_name} 2") == []
