"""Prompts go through a directory: numbers, templates, what names them, and the ids in their tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Tuple

import pytest

from tests.support.make_prompts import CHAT, Prompts, prompt_differences
from tests.support.moves import Counts, Source, counts_of
from tests.support.reports import records
from tests.support.scripts import Result
from tests.support.servers import Server

FIXTURES = {"2.9": "server_29", "2.22": "server_222"}


class PromptMoves:
    """Runs the scripts between two servers."""

    def __init__(self, run_script: Callable[..., Result], src: Server, dst: Server, home: Path) -> None:
        self.script, self.home = run_script, home
        self.servers = (src, dst)
        self.src, self.dst = Prompts(src.uri), Prompts(dst.uri)
        self.report = home / "report"

    def run(self, side: int, *args: Any, status: int = 0) -> Result:
        return self.script(*args, env={"MLFLOW_TRACKING_URI": self.servers[side].uri}, check=status)

    def export(self, prompts: str, *args: Any, status: int = 0) -> Counts:
        command = ("export-prompts", "--prompts", prompts, "--output-dir", self.home / "export", *args)
        return counts_of(self.run(0, *command, status=status))

    def load(self, *args: Any, status: int = 0) -> Counts:
        command = ("import-prompts", "--input-dir", self.home / "export", "--report-dir", self.report, *args)
        result = self.run(1, *command, status=status)
        assert "do not reconcile" not in result.stdout, result
        return counts_of(result)

    def differences(self, name: str) -> Any:
        return prompt_differences(self.src, name, self.dst, name)

    def reasons(self) -> str:
        return "; ".join(str(line.get("reason")) for line in records(self.report))


@pytest.fixture
def moves(run_script: Callable[..., Result], src_server: Server, dst_server: Server, tmp_path: Path) -> PromptMoves:
    return PromptMoves(run_script, src_server, dst_server, tmp_path)


@pytest.fixture
def name(experiment_name: str) -> str:
    """A name of a prompt that no other test uses, as MLflow's client allows them."""
    return experiment_name.replace(" ", "-").replace("[", "-").replace("]", "-")


@pytest.mark.parametrize(("src", "dst"), [("newest", "newest"), ("2.22", "newest"), ("newest", "2.22")])
def test_everything(
    src: str, dst: str, run_script: Callable[..., Result], request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """All versions arrive under their numbers; a repeat adds nothing, and brings what has changed at the source."""
    servers = [request.getfixturevalue(FIXTURES.get(v, f"{s}_server")) for v, s in ((src, "src"), (dst, "dst"))]
    moves = PromptMoves(run_script, servers[0], servers[1], tmp_path)
    numbers = moves.src.everything(name, longest=5_000 if "2.22" in (src, dst) else 90_000)
    moves.src.create(f"{name}-2", "no versions yet")
    moves.src.create(f"{name}-3")
    moves.src.version(f"{name}-3", "one")
    exported = moves.export(f"{name}*")
    assert exported == {"prompt": {"copied": 3}, "prompt_version": {"copied": 5}}
    assert moves.load() == exported
    assert moves.differences(name) == []
    assert moves.differences(f"{name}-3") == []
    assert moves.dst.names(name) == [name, f"{name}-2", f"{name}-3"]
    # as a killed import would leave one in a gap
    moves.dst.version(name, "", more={"mlflow_exim.placeholder": "true"})
    for more in ((), ("--report-dir", tmp_path / "elsewhere")):
        assert moves.load(*more) == {"prompt": {"unchanged": 3}, "prompt_version": {"unchanged": 5}}, more
        assert moves.differences(name) == []
    # an import of one version does not make the others forget what they were
    moves.run(0, "export-prompt", "--prompt-name", name, "--prompt-version", "1", "--output-dir", tmp_path / "one")
    moves.run(1, "import-prompt", "--input-dir", tmp_path / "one", "--report-dir", moves.report)
    moves.src.alias(name, "production", numbers[0])
    moves.src.version(f"{name}-3", CHAT)
    moves.src.tag(name, "team", "another")
    assert moves.export(f"{name}*") == {
        "prompt": {"unchanged": 1, "updated": 2}, "prompt_version": {"unchanged": 3, "updated": 2, "copied": 1},
    }  # fmt: skip
    assert moves.load() == {
        "prompt": {"updated": 1, "unchanged": 2}, "prompt_version": {"unchanged": 5, "copied": 1}
    }  # fmt: skip
    assert moves.differences(name) == []
    assert moves.differences(f"{name}-3") == []
    moves.dst.tag(name, "team", "mine")
    assert moves.load()["prompt"] == {"unchanged": 2, "differs": 1}
    moves.load("--on-destination-change", "overwrite")
    assert moves.differences(name) == []


def test_mlflow_reads_what_arrives(moves: PromptMoves, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What MLflow's client has registered it loads from the destination, by number and by alias, the same."""
    from mlflow import MlflowClient
    from pydantic import BaseModel

    class Answer(BaseModel):
        text: str
        sure: bool

    src, dst = (MlflowClient(server.uri, server.uri) for server in moves.servers)
    src.register_prompt(name, "Hello {{ who }}", commit_message="first", tags={"tone": "kind"})
    config = {"temperature": 0.2, "max_tokens": 10}
    src.register_prompt(name, CHAT, commit_message="a chat", response_format=Answer, model_config=config)
    src.set_prompt_alias(name, "best", 2)
    assert moves.export(name)["prompt_version"] == {"copied": 2}
    assert moves.load()["prompt_version"] == {"copied": 2}
    uris = [f"prompts:/{name}/1", f"prompts:/{name}/2", f"prompts:/{name}@best"]
    loaded = [
        [
            (prompt.version, prompt.template, prompt.commit_message, prompt.response_format, prompt.model_config)
            for prompt in (client.load_prompt(uri, cache_ttl_seconds=0) for uri in uris)
        ]
        for client in (src, dst)
    ]
    assert loaded[0] == loaded[1]
    assert loaded[0][2][0] == 2
    # the directory itself can be read without MLflow
    shown = json.loads((moves.home / "export" / f"{name}_v2" / "prompt.json").read_text())["mlflow"]["prompt"]
    assert (shown["template"], shown["variables"], shown["aliases"]) == (CHAT, ["question"], ["best"])
    # functions of today's tools
    from mlflow_migration.bulk.import_prompts import import_prompts
    from mlflow_migration.prompt.export_prompt import export_prompt
    from mlflow_migration.prompt.import_prompt import import_prompt

    monkeypatch.chdir(moves.home)
    entity = export_prompt(name, "2", str(moves.home / "one"), mlflow_client=src)
    assert (entity.name, entity.version, entity.template) == (name, 2, CHAT)
    assert import_prompt(str(moves.home / "one"), f"{name}-new", mlflow_client=dst) == (f"{name}-new", "2")
    assert import_prompts(str(moves.home / "export"), mlflow_client=dst) == {
        "total_prompts": 2, "successful_imports": 2, "failed_imports": 0, "skipped_imports": 0,
    }  # fmt: skip


def test_ids_in_tags_become_those_of_the_destination(moves: PromptMoves, name: str, tmp_path: Path) -> None:
    """Links to experiments and runs follow them; what is not there is said, and comes with a repeat."""
    source = Source(moves.servers[0], name)
    run = source.run("uses the prompt")
    moves.src.create(name, _mlflow_experiment_ids=f",{source.id},")
    moves.src.version(name, "one", more={"mlflow.prompt.run_ids": run})
    moves.export(name)
    assert moves.load(status=1) == {"prompt": {"incomplete": 1}, "prompt_version": {"incomplete": 1}}
    assert f"its run {run} is not at the destination" in moves.reasons()
    assert f"its experiment {source.id} is not at the destination" in moves.reasons()
    assert moves.load("--accept-loss", "links") == {"prompt": {"copied": 1}, "prompt_version": {"copied": 1}}
    moves.run(0, "export-experiment", "--experiment", name, "--output-dir", tmp_path / "experiment")
    moves.run(
        1, "import-experiment", "--experiment-name", f"{name}-new", "--input-dir", tmp_path / "experiment",
        "--report-dir", moves.report,
    )  # fmt: skip
    assert moves.load() == {"prompt": {"updated": 1}, "prompt_version": {"updated": 1}}
    there = moves.dst.rest.experiment(f"{name}-new")
    run_there = moves.dst.rest.runs(there["experiment_id"])[0]["info"]["run_id"]
    assert _tags(moves.dst.rest.model(name))["_mlflow_experiment_ids"] == f",{there['experiment_id']},"
    assert _tags(moves.dst.versions(name)[1])["mlflow.prompt.run_ids"] == run_there != run
    assert moves.load() == {"prompt": {"unchanged": 1}, "prompt_version": {"unchanged": 1}}
    # another name for the experiment changes nothing, and what is there stays where it can't be told what it was
    moves.src.rest.post("experiments/update", {"experiment_id": source.id, "new_name": f"{name}-renamed"})
    moves.export(name)
    assert moves.load() == {"prompt": {"unchanged": 1}, "prompt_version": {"unchanged": 1}}
    assert moves.load("--report-dir", tmp_path / "other", status=1)["prompt"] == {"incomplete": 1}
    assert _tags(moves.dst.rest.model(name))["_mlflow_experiment_ids"] == f",{there['experiment_id']},"
    # and back home
    home = PromptMoves(moves.script, moves.servers[1], moves.servers[0], tmp_path / "home")
    home.home.mkdir()
    home.export(name)
    back = home.load("--on-destination-change", "overwrite", "--accept-loss", "links")
    assert back["prompt_version"] == {"unchanged": 1}
    assert _tags(moves.src.versions(name)[1])["mlflow.prompt.run_ids"] == run


def test_conflicts_deletion_and_one_version(moves: PromptMoves, name: str, tmp_path: Path) -> None:
    numbers = moves.src.everything(name)
    moves.src.create(f"{name}-model")
    moves.src.version(f"{name}-model", "a prompt here")
    moves.dst.create(name)
    moves.dst.version(name, "somebody else's")
    moves.dst.rest.post("registered-models/create", {"name": f"{name}-model"})
    moves.export(f"{name}*,nobody", status=1)
    # one bad prompt does not stop its neighbours; nothing of it is written
    assert moves.load(status=1) == {"prompt": {"failed": 2}, "prompt_version": {"failed": 4}}
    assert "another version 1" in moves.reasons()
    assert "is a model, not a prompt" in moves.reasons()
    assert list(moves.dst.versions(name)) == [1]
    one = ("export-prompt", "--prompt-name", name, "--prompt-version", numbers[1], "--output-dir", tmp_path / "one")
    # the prompts may be on another server than the experiments
    apart = ("--registry-uri", moves.servers[0].uri)
    assert counts_of(moves.run(1, *one, *apart)) == {"prompt_version": {"copied": 1}}
    assert counts_of(moves.run(0, *one)) == {"prompt_version": {"unchanged": 1}}
    load_one = ("import-prompt", "--input-dir", tmp_path / "one", "--report-dir", moves.report)
    moves.run(1, *load_one)
    assert sorted(moves.dst.versions(name)) == [1, int(numbers[1])]
    assert moves.dst.rest.model(name)["aliases"] == [{"alias": "production", "version": numbers[1]}]
    assert _tags(moves.dst.rest.model(name)).keys() == {"mlflow.prompt.is_prompt"}
    moves.run(1, *load_one, "--prompt-name", f"{name}-copy", "--import-source-tags")
    source = {key for key in _tags(moves.dst.versions(f"{name}-copy")[int(numbers[1])]) if "mlflow_exim" in key}
    assert {"mlflow_exim.field.version", "mlflow_exim.src_version.id"} < source
    assert not any("prompt.text" in key for key in source)
    assert _tags(moves.dst.rest.model(f"{name}-copy"))["team"] == "the best"
    moves.load("--delete-prompt", status=1)  # the other is a model, and stays
    assert moves.differences(name) == []
    missing = moves.run(0, *one[:4], "77", *one[5:6], tmp_path / "other", status=2).stderr
    assert f"The prompt '{name}' has no version 77" in missing
    assert not (tmp_path / "other").exists()


def test_what_is_lost_is_told_and_comes_with_a_repeat(moves: PromptMoves, name: str) -> None:
    """A directory that is not whole: no number is given away, nothing is deleted, and the rest arrives later."""
    moves.src.create(name)
    for text in ("one", "two", "three"):
        moves.src.version(name, text)
    moves.export(name)
    place, summary = moves.home / "export" / f"{name}_v2", moves.home / "export" / "prompts_summary.json"
    whole = (place / "prompt.json").read_text()
    (place / "prompt.json").write_text("{")
    moves.dst.create(name)
    moves.dst.version(name, "somebody else's")
    deleting = moves.load("--delete-prompt", "--on-version-conflict", "skip", status=1)
    assert deleting == {"prompt": {"failed": 1}, "prompt_version": {"failed": 3}}
    assert "is not deleted, as version 2 is not here as it should be" in moves.reasons()
    assert [_tags(version)["mlflow.prompt.text"] for version in moves.dst.versions(name).values()] == [
        "somebody else's"
    ]
    moves.dst.rest.call("DELETE", "/api/2.0/mlflow/registered-models/delete", json={"name": name})
    for damage in ("{", None):
        if damage is None:
            (place / "prompt.json").unlink()
        assert moves.load(status=1)["prompt_version"] in ({"copied": 1, "failed": 2}, {"unchanged": 1, "failed": 2})
        assert "it has to wait for version 2" in moves.reasons()
        assert list(moves.dst.versions(name)) == [1]
    # a second export was cut off before it wrote its summary
    moves.src.version(name, "four")
    before = summary.read_text()
    moves.export(name)
    assert json.loads((place / "prompt.json").read_text())["mlflow"] == json.loads(whole)["mlflow"]
    summary.write_text(before)
    assert moves.load(status=1)["prompt_version"] == {"unchanged": 1, "copied": 2, "failed": 1}
    assert "prompts_summary.json does not list it" in moves.reasons()
    moves.export(name)
    assert moves.load()["prompt_version"] == {"unchanged": 3, "copied": 1}
    assert moves.differences(name) == []
    # a prompt that failed to be exported stays so until it is exported
    doc = json.loads(summary.read_text())
    doc["mlflow"]["failed_prompts"] = [name]
    summary.write_text(json.dumps(doc))
    moves.src.create(f"{name}-2")
    moves.export(f"{name}-2")
    assert moves.load(status=1)["prompt"] == {"failed": 1, "unchanged": 1, "copied": 1}
    assert moves.load("--delete-prompt", status=1)["prompt_version"] == {"failed": 4}
    assert moves.differences(name) == []
    # whoever gave a number away on purpose can go on
    moves.dst.rest.call("DELETE", "/api/2.0/mlflow/registered-models/delete", json={"name": name})
    (place / "prompt.json").write_text("{")
    moves.export(f"{name}-2")
    doc["mlflow"]["failed_prompts"] = []
    summary.write_text(json.dumps(doc))
    assert moves.load("--accept-loss", "versions")["prompt_version"] == {"copied": 3, "skipped": 1}
    moves.src.tag(name, "team", "new")
    moves.export(f"{name}*")
    assert moves.load(status=1) == {
        "prompt": {"updated": 1, "unchanged": 1}, "prompt_version": {"unchanged": 3, "failed": 1}
    }  # fmt: skip
    assert "number 2 was passed when it was not in the directory" in moves.reasons()
    assert moves.load("--on-version-conflict", "renumber")["prompt_version"] == {"unchanged": 3, "copied": 1}
    assert sorted(moves.dst.versions(name)) == [1, 3, 4, 5]


def test_directories_of_two_servers_are_not_mixed(moves: PromptMoves, name: str, tmp_path: Path) -> None:
    for side in (moves.src, moves.dst):
        side.create(name)
        side.version(name, f"of {side.rest.uri}")
    moves.export(name)
    one = ("--prompt-name", name, "--prompt-version", "1", "--output-dir", tmp_path / "one")
    moves.run(0, "export-prompt", *one)
    assert "export into an empty directory" in moves.run(1, "export-prompt", *one, status=1).stdout
    bulk = ("export-prompts", "--prompts", name, "--output-dir", moves.home / "export")
    assert "export into an empty directory" in moves.run(1, *bulk, status=1).stdout
    (moves.home / "export" / "prompts_summary.json").unlink()
    assert "export into an empty directory" in moves.run(1, *bulk, status=1).stdout
    (moves.home / "export" / "prompts_summary.json").write_text("{")
    assert "export into an empty directory" in moves.run(0, *bulk, status=2).stderr


def test_odd_names_and_values(moves: PromptMoves, name: str) -> None:
    """Names that no filter string can hold, versions that are none of prompts, texts that are no JSON."""
    both = f"{name} 'single' \"double\" %"
    end = f"{name}-end\\"
    for odd in (both, end, both.replace("'", "_")):
        moves.src.create(odd)
        moves.src.version(odd, f"text of {odd}", more={"_mlflow_prompt_response_format": "[" * 5000})
    assert moves.export(f"{name}*") == {"prompt": {"copied": 3}, "prompt_version": {"copied": 3}}
    assert moves.load() == {"prompt": {"copied": 3}, "prompt_version": {"copied": 3}}
    assert moves.load() == {"prompt": {"unchanged": 3}, "prompt_version": {"unchanged": 3}}
    for odd in (both, end):
        version = moves.dst.rest.get("model-versions/get", {"name": odd, "version": "1"})["model_version"]
        assert _tags(version)["mlflow.prompt.text"] == f"text of {odd}"


def test_what_other_tools_have_written(moves: PromptMoves, name: str) -> None:
    """Their files have no more than what MLflow's class of prompts shows."""
    text = {"name": name, "version": 2, "template": "Hi {{ you }}", "tags": {"a": "b"}, "commit_message": "why"}
    chat = {"name": name, "version": 5, "template": CHAT, "tags": {}, "creation_timestamp": 1700000000000}
    for prompt in (text, chat):
        directory = moves.home / "export" / f"{name}_v{prompt['version']}"
        directory.mkdir(parents=True)
        (directory / "prompt.json").write_text(json.dumps({"system": {}, "mlflow": {"prompt": prompt}}))
    (moves.home / "export" / f"{name}_v9").mkdir()
    (moves.home / "export" / f"{name}_v9" / "prompt.json").write_text('{"mlflow": {"prompt": {"name": "x"}}}')
    assert (
        "there is no prompts_summary.json"
        in moves.run(1, "import-prompts", "--input-dir", moves.home / "export", status=2).stderr
    )
    counts = {"total_prompts": 2, "successful_exports": 2, "failed_exports": 0}
    (moves.home / "export" / "prompts_summary.json").write_text(json.dumps({"mlflow": counts}))
    assert moves.load(status=1) == {"prompt": {"copied": 1}, "prompt_version": {"copied": 2, "failed": 1}}
    assert "'prompt.template' is neither text nor a list" in moves.reasons()
    there = moves.dst.versions(name)
    assert sorted(there) == [2, 5]
    assert (there[2]["description"], _tags(there[2])["mlflow.prompt.text"]) == ("why", "Hi {{ you }}")
    assert json.loads(_tags(there[5])["mlflow.prompt.text"]) == CHAT
    assert moves.load(status=1)["prompt_version"] == {"unchanged": 2, "failed": 1}


@pytest.mark.parametrize("script", ["export-prompts", "import-prompts"])
def test_servers_before_prompts(
    script: str, run_script: Callable[..., Result], server_29: Server, tmp_path: Path
) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "prompts_summary.json").write_text("{}")
    args: Tuple[Any, ...] = ("--input-dir", tmp_path / "export")
    if script == "export-prompts":
        args = ("--output-dir", tmp_path / "export", "--prompts", "all")
    result = run_script(script, *args, env={"MLFLOW_TRACKING_URI": server_29.uri}, check=2)
    assert "MLflow 2.9.2, which knows no prompts: they came with 2.21" in result.stderr


def _tags(thing: Any) -> Any:
    return {tag["key"]: tag.get("value", "") for tag in thing.get("tags") or ()}
