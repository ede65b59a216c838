"""Prompts of directories in one shape, and the ids in their tags."""

import json

import pytest

from mlflow_migration.client.errors import BadDirectory, NotFound
from mlflow_migration.common.id_map import IdMap
from mlflow_migration.common.links import Links
from mlflow_migration.common.old_layouts import canonical_prompt, canonical_prompts
from mlflow_migration.prompt.links import translated

TEXT = {"name": "p", "version": 3, "template": "Hi {{ you }}", "tags": {"a": "b"}, "commit_message": "why"}


def test_what_other_tools_write():
    found = canonical_prompt({"system": {}, "mlflow": {"prompt": {**TEXT, "aliases": ["best"], "user_id": "mary"}}})
    version = found["version"]
    assert found["whole"] is None
    assert (version["name"], version["version"], version["description"]) == ("p", "3", "why")
    assert version["aliases"] == ["best"]
    assert version["tags"] == {"a": "b", "mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Hi {{ you }}"}


def test_a_chat_of_other_tools():
    chat = [{"role": "user", "content": "ü"}]
    more = {"template": chat, "response_format": {"type": "object"}, "model_config": {"t": 1}}
    tags = canonical_prompt({"prompt": {**TEXT, **more}})["version"]["tags"]
    assert json.loads(tags["mlflow.prompt.text"]) == chat
    assert tags["_mlflow_prompt_type"] == "chat"
    assert json.loads(tags["_mlflow_prompt_response_format"]) == {"type": "object"}
    assert json.loads(tags["_mlflow_prompt_model_config"]) == {"t": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "'prompt.name' is missing"),
        ({"version": 0}, "no number of a version"),
        ({"version": "latest"}, "is no integer"),
        ({"template": 7}, "'prompt.template' is neither text nor a list of messages: 7"),
        ({"tags": 7}, "'prompt.tags' is no object"),
    ],
)
def test_a_broken_prompt_names_the_field(change, words):
    with pytest.raises(BadDirectory, match=words):
        canonical_prompt({"prompt": {**TEXT, **change}})


def test_a_file_without_a_prompt():
    with pytest.raises(BadDirectory, match="'prompt' is missing"):
        canonical_prompt({"mlflow": {}})


def test_summaries():
    assert canonical_prompts({"mlflow": {"total_prompts": 3}}) == {"prompts": [], "failed": [], "is_ours": False}
    whole = {
        "registered_model": {"name": "p", "tags": []}, "info": {"failed_versions": [{"version": 2}]},
        "versions": ["1", 3], "experiments": {"7": {"name": "wine", "creation_time": 1}, "8": {}},
    }  # fmt: skip
    found = canonical_prompts({"mlflow": {"prompts": [whole], "failed_prompts": ["q"]}})
    assert found["failed"] == ["q"]
    assert found["is_ours"]
    prompt = found["prompts"][0]
    assert (prompt["failed"], prompt["numbers"]) == (["2"], ["1", "3"])
    assert prompt["model"]["tags"] == {"mlflow.prompt.is_prompt": "true"}
    assert prompt["experiments"] == {
        "7": {"name": "wine", "creation_time": 1}, "8": {"name": None, "creation_time": None}
    }  # fmt: skip
    with pytest.raises(BadDirectory, match="'prompts' is no list"):
        canonical_prompts({"mlflow": {"prompts": 7}})


class Server:
    """As much of a tracking server as is needed: two experiments, and copies of two runs."""

    copies = {"a" * 32: ["c1", "c2"], "b" * 32: ["c3"]}

    def __init__(self):
        self.asked = []

    def experiment_by_name(self, name):
        return {"experiment_id": "70"} if name == "wine" else None

    def search_experiments(self):
        yield [{"experiment_id": "70"}]
        yield [{"experiment_id": "80"}]

    def run(self, run_id):
        self.asked.append(run_id)
        if run_id == "d" * 32:
            return {"info": {"run_id": run_id}}
        raise NotFound("no run", http_status_code=404)

    def search_runs(self, ids, where):
        assert ids == ["70", "80"]
        found = next((copies for run_id, copies in self.copies.items() if run_id in where), [])
        yield [{"info": {"run_id": run_id}} for run_id in found]


EXPERIMENTS = {"1": {"name": "wine"}, "2": {"name": "now", "creation_time": 5}, "3": {"name": "gone"}}


@pytest.fixture
def links():
    id_map = IdMap(None, "http://dst")
    id_map.record("experiment", "80", "renamed", "80", source="2", original={"name": "then", "creation_time": 5})
    id_map.record("experiment", "81", "of another server", "81", source="3", original={"name": "x", "creation_time": 6})
    return Links(Server(), id_map)


def test_ids_of_experiments(links):
    tags = {"_mlflow_experiment_ids": ",1,2,", "own": ",1,"}
    assert translated(links, tags, {}, EXPERIMENTS, {}) == ({"_mlflow_experiment_ids": ",70,80,", "own": ",1,"}, [])
    tags = {"_mlflow_experiment_ids": ",1,3,4,"}
    found, problems = translated(links, tags, {"_mlflow_experiment_ids": ",5,70,"}, EXPERIMENTS, {})
    assert found == {"_mlflow_experiment_ids": ",5,70,"}  # what is there stays: it may be what can't be told now
    assert len(problems) == 1
    assert "its experiment 3, 4 is not at the destination" in problems[0]
    assert translated(links, {"_mlflow_experiment_ids": ",3,"}, {}, EXPERIMENTS, {})[0] == {}


def test_ids_of_runs(links):
    tags = {"mlflow.prompt.run_ids": ",".join(["a" * 32, "b" * 32, "d" * 32])}
    assert translated(links, tags, {}, {}, {}) == ({"mlflow.prompt.run_ids": f"c1,c2,c3,{'d' * 32}"}, [])
    lacking = ["e" * 32, "../x", "f" * 32, "1" * 32, "2" * 32]
    tags = {"mlflow.prompt.associatedRunIds": ",".join(lacking)}
    # one has come from where it is going
    found, problems = translated(links, tags, {}, {}, {"e" * 32: "d" * 32})
    assert found == {"mlflow.prompt.associatedRunIds": "d" * 32}
    assert problems[0].startswith(f"its run ../x, {'f' * 32}, {'1' * 32} and 1 more is not at the destination")
    assert links._tracking.asked.count("a" * 32) == 1
    translated(links, {"mlflow.prompt.run_ids": "a" * 32}, {}, {}, {})
    assert links._tracking.asked.count("a" * 32) == 1
