"""Where a version's model lies, for each form of a source that servers and other tools have."""

import pytest

from mlflow_migration.model.sources import LOGGED_MODEL, RUN, Place, locate, model_ids

RUN_ID, OTHER, MODEL_ID = "0a" * 16, "0b" * 16, "m-" + "0c" * 16
RUNS = {RUN_ID: f"mlflow-artifacts:/1/{RUN_ID}/artifacts", OTHER: f"s3://bucket/1/{OTHER}/artifacts"}
MODELS = {MODEL_ID: f"mlflow-artifacts:/1/models/{MODEL_ID}/artifacts"}


@pytest.mark.parametrize(
    ("source", "location", "expected"),
    [
        (f"models:/{MODEL_ID}", "", Place(LOGGED_MODEL, MODEL_ID, "", by_id=True)),
        (f"models:/{MODEL_ID}/sub/dir", "", Place(LOGGED_MODEL, MODEL_ID, "sub/dir", by_id=True)),
        (f"runs:/{RUN_ID}/a/b", "", Place(RUN, RUN_ID, "a/b", by_id=True)),
        (f"runs:/{RUN_ID}", "", Place(RUN, RUN_ID, "", by_id=True)),
        (f"mlflow-artifacts:/1/{RUN_ID}/artifacts/model", "", Place(RUN, RUN_ID, "model")),
        (f"mlflow-artifacts:/1/{RUN_ID}/artifacts", "", Place(RUN, RUN_ID, "")),
        (f"mlflow-artifacts:/1/{RUN_ID}/artifacts/with%20blank", "", Place(RUN, RUN_ID, "with blank")),
        (f"mlflow-artifacts://other:80/1/{RUN_ID}/artifacts/m", "", Place(RUN, RUN_ID, "m")),
        (f"/mnt/share/1/{RUN_ID}/artifacts/m", "", Place(RUN, RUN_ID, "m")),
        (f"dbfs:/databricks/mlflow-tracking/1/{OTHER}/artifacts/m", "", Place(RUN, OTHER, "m")),
        (f"s3://bucket/1/{OTHER}/artifacts/m", "", Place(RUN, OTHER, "m")),
        (f"mlflow-artifacts:/1/models/{MODEL_ID}/artifacts", "", Place(LOGGED_MODEL, MODEL_ID, "")),
        (f"file:///data/1/models/{MODEL_ID}/artifacts/x", "", Place(LOGGED_MODEL, MODEL_ID, "x")),
        ("models:/name/3", f"mlflow-artifacts:/1/{RUN_ID}/artifacts/m", Place(RUN, RUN_ID, "m")),
        ("models:/name/3", f"s3://bucket/1/{OTHER}/artifacts", Place(RUN, OTHER, "")),
        ("models:/name/3", f"runs:/{RUN_ID}/m", Place(RUN, RUN_ID, "m", by_id=True)),
        (f"s3://bucket/1/{OTHER}/artifacts-of-others/m", "", None),
        (f"runs:/{'0d' * 16}/m", "", None),
        (f"models:/m-{'0d' * 16}", "", None),
        ("s3://elsewhere/m", "s3://elsewhere/m", None),
        ("", "", None),
    ],
)
def test_locate(source, location, expected):
    assert locate(source, location, RUNS, MODELS) == expected


def test_the_nearest_root_counts():
    runs = {RUN_ID: "s3://bucket/a", OTHER: "s3://bucket/a/b"}
    assert locate("s3://bucket/a/b/c", "", runs, {}) == Place(RUN, OTHER, "c")
    assert locate("s3://bucket/a/bc", "", runs, {}) == Place(RUN, RUN_ID, "bc")


def test_a_run_without_a_root_is_found_by_its_id_only():
    assert locate("s3://bucket/x", "", {RUN_ID: ""}, {}) is None
    assert locate(f"runs:/{RUN_ID}/x", "", {RUN_ID: ""}, {}) == Place(RUN, RUN_ID, "x", by_id=True)


def test_ids_of_logged_models():
    found = model_ids(f"models:/{MODEL_ID}", f"s3://b/1/models/m-{'0d' * 16}/artifacts", "models:/m-name/3/x", "")
    assert found == {MODEL_ID, f"m-{'0d' * 16}"}
