"""The envelope of files, and the reading and writing functions of today's tools."""

import json
import os
import platform
import subprocess
import sys

import pytest

from mlflow_migration.client.errors import BadDirectory
from mlflow_migration.common import io_utils, timestamp_utils
from mlflow_migration.common.io_utils import envelope


@pytest.fixture(autouse=True)
def fresh_facts():
    io_utils._process_facts.cache_clear()
    yield
    io_utils._process_facts.cache_clear()


def test_the_envelope_has_the_known_keys_in_order(monkeypatch):
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    text = envelope("/x/y/export_run.py", {"a": "ü"}, {"n": 1}, tracking_uri="https://ann:secret@host:5000/p")
    assert text.endswith(b"}\n") and "ü".encode() in text and b'\n  "mlflow": {\n    "a"' in text
    doc = json.loads(text)
    assert list(doc) == ["system", "info", "mlflow"]
    assert list(doc["system"]) == [
        "package_version",
        "script",
        "export_file_version",
        "export_time",
        "_export_time",
        "mlflow_version",
        "mlflow_tracking_uri",
        "platform",
        "user",
    ]
    system = doc["system"]
    assert system["script"] == "export_run.py" and system["export_file_version"] == "2"
    assert system["mlflow_tracking_uri"] == "https://host:5000/p" and b"secret" not in text
    assert system["export_time"] == timestamp_utils.ts_now_seconds
    assert system["_export_time"] == timestamp_utils.ts_now_fmt_utc
    assert system["platform"] == {
        "python_version": platform.python_version(),
        "system": platform.system(),
        "processor": platform.processor(),
    }
    assert doc["info"] == {"n": 1} and doc["mlflow"] == {"a": "ü"}


def test_info_is_left_out_when_empty():
    assert list(json.loads(envelope("x.py", {}, {}))) == ["system", "mlflow"]
    assert list(json.loads(envelope("x.py", {}))) == ["system", "mlflow"]


def test_variables_reach_the_envelope(monkeypatch):
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15.4")
    monkeypatch.setenv("MLFLOW_MIGRATION", "9.9.9")
    system = json.loads(envelope("x.py", {}))["system"]
    assert system["databricks"] == {"DATABRICKS_RUNTIME_VERSION": "15.4"}
    assert system["package_version"] == "9.9.9"


def test_a_user_without_a_name_is_no_error(monkeypatch):
    def fail():
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", fail)
    assert json.loads(envelope("x.py", {}))["system"]["user"] == ""


@pytest.mark.parametrize("mlflow", [{}, {"a": {"b": []}}, {"a": {}}, {"a": "}"}])
def test_raw_values_are_put_at_the_end_of_mlflow(mlflow):
    raw = {"metrics": b'{"k": [1, {"x": 2}]}', "odd \"key'": b'"text"'}
    doc = json.loads(envelope("x.py", mlflow, {"n": 1}, raw=raw))
    assert doc["mlflow"] == {**mlflow, "metrics": {"k": [1, {"x": 2}]}, "odd \"key'": "text"}
    assert list(doc["mlflow"]) == [*mlflow, *raw]
    assert envelope("x.py", mlflow, raw={}) == envelope("x.py", mlflow)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_only_strict_json_is_written(value):
    for doc in ({"a": value}, {"a": [{"b": value}], "big": 2**70}):
        with pytest.raises(ValueError):
            envelope("x.py", doc)
    with pytest.raises(ValueError):
        envelope("x.py", {}, {"n": value})


def test_what_a_fast_writer_refuses_is_written_all_the_same():
    odd = {"half": "\ud800", "big": 2**70, "null": None, "nan": "NaN"}
    assert json.loads(envelope("x.py", odd, raw={"z": b"1"}))["mlflow"] == {**odd, "z": 1}


def test_files_are_written_and_read_by_their_ending(tmp_path):
    doc = {"b": [1, "ü"], "a": None}
    for name in ("x.json", "x.yaml", "x.yml"):
        io_utils.write_file(f"{tmp_path}/new/{name}", doc)
        assert io_utils.read_file(f"{tmp_path}/new/{name}") == doc
    assert (tmp_path / "new" / "x.json").read_text("utf-8") == '{\n  "b": [\n    1,\n    "ü"\n  ],\n  "a": null\n}\n'
    io_utils.write_file(f"{tmp_path}/MLmodel", doc, "yaml")
    assert io_utils.read_file(f"{tmp_path}/MLmodel", "yaml") == doc
    io_utils.write_file(f"{tmp_path}/x.txt", "ü")
    assert io_utils.read_file(f"{tmp_path}/x.txt") == "ü"
    io_utils.write_file(f"{tmp_path}/x.bin", b"\x00")
    assert (tmp_path / "x.bin").read_bytes() == b"\x00"


def test_yaml_builds_no_objects(tmp_path):
    (tmp_path / "x.yaml").write_text("!!python/object/apply:os.system ['touch gone']")
    import yaml

    with pytest.raises(yaml.YAMLError):
        io_utils.read_file(f"{tmp_path}/x.yaml")


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io_utils.write_file("x.json", {})
    assert io_utils.read_file("x.json") == {} and os.listdir(tmp_path) == ["x.json"]
    with pytest.raises(BadDirectory, match=r"y\.json is missing"):
        io_utils.read_file("y.json")


def test_export_files(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a:b@host")
    io_utils.write_export_file(str(tmp_path), "x.json", "/s/export_x.py", {"a": 1}, {"n": 2})
    path = f"{tmp_path}/x.json"
    doc = io_utils.read_file(path)
    assert doc["system"]["script"] == "export_x.py" and doc["system"]["mlflow_tracking_uri"] == "http://host"
    assert io_utils.get_info(doc) == {"n": 2} and io_utils.get_mlflow(doc) == {"a": 1}
    assert io_utils.read_file_mlflow(path) == {"a": 1}
    assert io_utils.get_info({"mlflow": {}}) == {}


def test_old_indexes_are_called_manifest(tmp_path):
    assert io_utils.mk_manifest_json_path(str(tmp_path), "models.json") == f"{tmp_path}/manifest.json"
    (tmp_path / "models.json").write_text("{}")
    assert io_utils.mk_manifest_json_path(str(tmp_path), "models.json") == f"{tmp_path}/models.json"


def test_mlflow_is_not_imported_for_its_version():
    code = (
        "import sys\nfrom mlflow_migration.common.io_utils import envelope\nenvelope('x.py', {})\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('mlflow', 'pandas', 'fsspec', 'yaml')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
