"""Logged models of experiments: the list of a directory, whoever wrote it, and which experiments are meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Dict

import pytest

from mlflow_migration.bulk.export_logged_models import _OTHERWISE, chosen_experiments
from mlflow_migration.client.errors import BadDirectory, BadInput, NotFound
from mlflow_migration.common.old_layouts import canonical_logged_models


def listing(**fields: Any) -> Dict[str, Any]:
    """What a file with one experiment becomes."""
    doc = {"mlflow": {"experiments": [{"id": "5", "name": "agents", **fields}]}}
    return dict(canonical_logged_models(doc)["experiments"][0])


def test_the_list_of_an_earlier_tool_has_neither_runs_nor_times() -> None:
    expected = {"id": "5", "name": "agents", "creation_time": None, "logged_models": ["m-1"], "runs": []}
    assert listing(logged_models=["m-1", "m-1"]) == expected
    assert listing(id=5, logged_models=["m-1"]) == expected
    assert canonical_logged_models({"experiments": []})["experiments"] == []


def test_what_was_not_exported() -> None:
    info = {"failed_logged_models": ["m-1"], "skipped_logged_models": ["m-2"]}
    found = canonical_logged_models({"info": info, "mlflow": {}})
    assert (found["failed_logged_models"], found["left_out_models"]) == (["m-1"], ["m-2"])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": ""},
        {"name": ["x"]},
        {"id": {}},
        {"logged_models": {}},
        {"logged_models": [None]},
        {"logged_models": [""]},
        {"runs": "r"},
        {"creation_time": "soon"},
    ],
)
def test_other_shapes_are_refused(fields: Dict[str, Any]) -> None:
    with pytest.raises(BadDirectory, match=f"'experiments.{next(iter(fields))}'"):
        listing(**fields)


def test_experiments_that_are_meant() -> None:
    experiments = {
        str(i): {"experiment_id": str(i), "name": f"e{i}", "lifecycle_stage": "deleted" if i == 3 else "active"}
        for i in (1, 2, 3)
    }

    def get(experiment_id: str) -> Dict[str, Any]:
        if experiment_id not in experiments:
            raise NotFound("no", http_status_code=404)
        return experiments[experiment_id]

    pages = [[experiments["1"]], [experiments["3"], experiments["2"]]]
    server: Any = SimpleNamespace(uri="http://src", experiment=get, search_experiments=lambda: iter(pages))
    chosen, deleted = chosen_experiments(server, ["all"], _OTHERWISE)
    assert [item["name"] for item in chosen] == ["e1", "e2"]
    assert [item["name"] for item in deleted] == ["e3"]
    assert chosen_experiments(server, ["2", "1", "2"], _OTHERWISE) == ([experiments["2"], experiments["1"]], [])
    for ids, why in ((["9"], "no experiment with the id '9'"), (["1", "3"], "'e3' is deleted; export-experiment")):
        with pytest.raises(BadInput, match=why):
            chosen_experiments(server, ids, _OTHERWISE)
