"""model.json and version.json, whoever wrote them: one shape, and a sentence for what has none."""

import pytest

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common.old_layouts import canonical_info, canonical_model, canonical_version_file


def model(**fields):
    return canonical_model({"mlflow": {"registered_model": {"name": "m", **fields}}})


def test_versions_in_the_order_of_their_numbers():
    versions = [{"version": "10"}, {"version": 9, "tags": [{"key": "a", "value": "b"}]}, {"version": "2", "tags": None}]
    found = model(versions=versions)
    assert [version["version"] for version in found["versions"]] == ["2", "9", "10"]
    assert found["versions"][1]["tags"] == {"a": "b"}
    assert {version["name"] for version in found["versions"]} == {"m"}
    assert found["versions"][0]["source"] == found["versions"][0]["run_id"] == ""


def test_very_old_models_have_latest_versions():
    assert [v["version"] for v in model(latest_versions=[{"version": "3"}])["versions"]] == ["3"]
    assert model(latest_versions=[{"version": "3"}], versions=[])["versions"] == []
    assert canonical_model({"registered_model": {"name": "m"}})["versions"] == []


def test_aliases():
    versions = [{"version": "1", "aliases": ["a"]}, {"version": "2", "aliases": ["b"]}]
    assert model(versions=versions)["aliases"] == {"a": "1", "b": "2"}
    # what the model says counts: versions of an earlier export may have others
    assert model(versions=versions, aliases=[])["aliases"] == {}
    assert model(versions=versions, aliases=[{"alias": "a", "version": 2}])["aliases"] == {"a": "2"}
    assert model(aliases={"a": "1"})["aliases"] == {"a": "1"}


def test_what_an_export_could_not_take():
    doc = {"info": {"failed_versions": [{"version": "2"}], "incomplete_versions": {"1": ["no file"]}}}
    found = canonical_model({**doc, "mlflow": {"registered_model": {"name": "m"}}})
    assert (found["failed"], found["incomplete"]) == (["2"], {"1": ["no file"]})


@pytest.mark.parametrize(
    "fields",
    [
        {"versions": {}},
        {"versions": [None]},
        {"versions": [{}]},
        {"versions": [{"version": "x"}]},
        {"versions": [{"version": "0"}]},
        {"versions": [{"version": "-1"}]},
        {"versions": [{"version": "99999999999"}]},
        {"versions": [{"version": "1", "source": {}}]},
        {"versions": [{"version": "1", "aliases": [None]}]},
        {"versions": [{"version": "1", "aliases": "a"}]},
        {"versions": [{"version": "1", "tags": {"a": {}}}]},
        {"versions": [{"version": "1", "creation_timestamp": "soon"}]},
        {"aliases": [None]},
        {"aliases": [{"alias": "a"}]},
        {"aliases": [{"version": "1"}]},
        {"aliases": "a"},
        {"name": {}},
        {"tags": "a"},
    ],
)
def test_other_shapes_are_refused(fields):
    with pytest.raises(BadDirectory, match="'"):
        model(**fields)


def test_files_without_a_model():
    for doc in ({}, {"mlflow": {}}, {"mlflow": {"registered_model": []}}, {"mlflow": []}):
        with pytest.raises(BadDirectory):
            canonical_model(doc)
    for doc in ({}, {"mlflow": {"model_version": 1}}, {"mlflow": {"model_version": {"name": "m"}}}):
        with pytest.raises(BadDirectory):
            canonical_version_file(doc)


def test_copies_of_models():
    entry = {"path": "MLmodel", "size": 3, "sha256": "a"}
    assert canonical_info({"version_models": {"3": [entry]}})["version_models"] == {"3": [entry]}
    for broken in ({"x": []}, {"3": [{}]}, {"3": [{"path": "a", "size": -1}]}, []):
        with pytest.raises(BadDirectory):
            canonical_info({"version_models": broken})
