"""Tags that keep what the source said."""

from mlflow_migration.common import source_tags
from mlflow_migration.common.source_tags import ExportFields, ExportTags


def test_constants_are_those_of_todays_tools():
    assert (ExportFields.SYSTEM, ExportFields.INFO, ExportFields.MLFLOW) == ("system", "info", "mlflow")
    assert ExportFields.SPANS == "spans"
    assert ExportTags.PREFIX_ROOT == "mlflow_exim"
    assert ExportTags.PREFIX_FIELD == "mlflow_exim.field"
    assert ExportTags.PREFIX_RUN_INFO == "mlflow_exim.run_info"
    assert ExportTags.PREFIX_MLFLOW_TAG == "mlflow_exim.mlflow_tag"


def test_run_info():
    info = {"run_id": "a", "start_time": 0, "_start_time": "1970-01-01 00:00:00", "end_time": None, "user_id": ""}
    assert source_tags.mk_source_tags(info, ExportTags.PREFIX_RUN_INFO) == {
        "mlflow_exim.run_info.run_id": "a",
        "mlflow_exim.run_info.start_time": "0",
        "mlflow_exim.run_info._start_time": "1970-01-01 00:00:00",
        "mlflow_exim.run_info.user_id": "",
    }


def test_mlflow_tags():
    tags = {"mlflow.user": "ann", "mlflow.source.name": "x.py", "mlflowish": "no", "mine": "no", "mlflow_exim.a": "no"}
    assert source_tags.mk_source_tags_mlflow_tag(tags) == {
        "mlflow_exim.mlflow_tag.user": "ann",
        "mlflow_exim.mlflow_tag.source.name": "x.py",
    }


def test_fields_with_their_times():
    tags = {"own": "1"}
    source_tags.set_source_tags_for_field(
        {"experiment_id": "7", "creation_time": 0, "last_update_time": None, "tags": {"x": "y"}, "aliases": []}, tags
    )
    assert tags == {
        "own": "1",
        "mlflow_exim.field.experiment_id": "7",
        "mlflow_exim.field.creation_time": "0",
        "mlflow_exim.field._creation_time": "1970-01-01 00:00:00",
    }


def test_one_time_given_as_text():
    tags = {}
    source_tags.fmt_timestamps("creation_timestamp", {"creation_timestamp": "1000"}, tags)
    source_tags.fmt_timestamps("absent", {}, tags)
    assert tags == {
        "mlflow_exim.field.creation_timestamp": "1000",
        "mlflow_exim.field._creation_timestamp": "1970-01-01 00:00:01",
    }
