"""The map of ids: the last line of an object counts, whatever an import left behind."""

import json
import threading
import uuid

from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.id_map import ID_MAP_FILE, IdMap, options_of, other_fix


def opened(path, destination="http://dst", writable=True):
    return IdMap(ExportDir(str(path)), destination, writable)


def lines(path):
    return [json.loads(line) for line in (path / ID_MAP_FILE).read_text().splitlines()]


def test_the_last_line_of_an_object_counts(tmp_path):
    ids = opened(tmp_path)
    assert ids.find("run", "1", "a") is None
    ids.record("run", "1", "a", "A", base={"tag:x": "1"}, fingerprint="f")
    ids.record("run", "1", "a", "A2", base={"tag:x": "2"})
    assert ids.find("run", "1", "a")["dst_id"] == "A2"
    ids.close()
    again = opened(tmp_path)
    entry = again.find("run", "1", "a")
    assert (entry["dst_id"], entry["base"]) == ("A2", {"tag:x": "2"})
    assert "fingerprint" not in entry
    again.close()


def test_objects_are_told_apart_by_kind_experiment_and_destination(tmp_path):
    for destination, dst_id in (("http://one", "A"), ("http://two", "B")):
        ids = opened(tmp_path, destination)
        ids.record("run", "1", "a", dst_id)
        ids.record("logged_model", "1", "a", "M")
        ids.record("run", "2", "a", "C")
        ids.close()
    ids = opened(tmp_path, "http://one")
    assert ids.find("run", "1", "a")["dst_id"] == "A"
    assert ids.find("run", "2", "a")["dst_id"] == "C"
    assert ids.find("run", "3", "a") is None
    assert [entry["dst_id"] for entry in ids.entries("run", "1")] == ["A"]
    assert [entry["dst_id"] for entry in ids.entries("logged_model", "1")] == ["M"]
    ids.close()


def test_a_line_is_there_before_the_file_is_closed(tmp_path):
    ids = opened(tmp_path)
    ids.record("run", "1", "a", "A", base={})
    assert lines(tmp_path)[0]["src_id"] == "a"  # a killed import has it
    ids.close()


def test_half_a_line_and_other_rubbish_do_no_harm(tmp_path):
    ids = opened(tmp_path)
    ids.record("run", "1", "a", "A")
    ids.close()
    with open(tmp_path / ID_MAP_FILE, "ab") as file:
        file.write(b'[]\n{"kind": "run"}\nnull\n' + b"[" * 100_000 + b"\n")
        for odd in ({"dst_id": 5}, {"base": []}, {"content": 5}, {"content": {"files": []}}, {"fingerprint": {}}, {}):
            named = {"kind": "run", "destination": "http://dst", "experiment_id": "1", "src_id": "a"}
            file.write(json.dumps({**named, **({"dst_id": "X"} if odd else {}), **odd}).encode() + b"\n")
        file.write(b'{"kind": "run", "destination": "http://dst", "experi')
    ids = opened(tmp_path)
    assert ids.find("run", "1", "a")["dst_id"] == "A"
    ids.record("run", "1", "b", "B")
    ids.close()
    ids = opened(tmp_path)
    assert ids.find("run", "1", "b")["dst_id"] == "B"
    ids.close()


def test_what_has_not_changed_is_not_written_again(tmp_path):
    for _ in range(3):
        ids = opened(tmp_path)
        ids.record("run", "1", "a", "A", base={"tag:x": "1"})
        ids.close()
    assert len(lines(tmp_path)) == 1


def test_a_dry_run_reads_but_writes_nothing(tmp_path):
    opened(tmp_path / "none", writable=False).record("run", "1", "a", "A")
    assert not (tmp_path / "none").exists()
    ids = opened(tmp_path)
    ids.record("run", "1", "a", "A")
    ids.close()
    dry = opened(tmp_path, writable=False)
    assert dry.find("run", "1", "a")["dst_id"] == "A"
    dry.record("run", "1", "b", "B")
    dry.close()
    assert len(lines(tmp_path)) == 1


def test_without_a_directory_it_lives_in_memory():
    ids = IdMap(None, "http://dst")
    ids.record("run", "1", "a", "A")
    assert ids.find("run", "1", "a")["dst_id"] == "A"
    ids.close()


def test_many_threads_write_whole_lines(tmp_path):
    ids = opened(tmp_path)

    def work(number):
        for n in range(50):
            ids.record("run", "1", f"{number}-{n}", "A", base={"tag:x": "y" * 500})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids.close()
    assert len({line["src_id"] for line in lines(tmp_path)}) == 400


def test_what_is_announced_in_an_object_store_outlives_a_killed_command():
    directory = ExportDir(f"memory://{uuid.uuid4().hex}")

    def ids():
        return IdMap(directory, "http://dst")

    first = ids()
    first.record("run", "1", "a", "A", base={"x": "1"})
    first.close()
    killed = ids()
    killed.announce("run", "1", "a", "A", base={"x": "1"}, begun=["x"])
    killed.record("run", "1", "b", "B")
    killed.announce("run", "1", "c", "C", begun=[])
    second = ids()
    assert second.find("run", "1", "a")["begun"] == ["x"]
    assert second.find("run", "1", "b") and second.find("run", "1", "c")
    second.record("run", "1", "a", "A", base={"x": "2"})
    second.close()
    assert not list(directory.files("id_map.jsonl.pieces"))
    third = ids()
    assert third.find("run", "1", "a")["base"] == {"x": "2"} and "begun" not in third.find("run", "1", "a")
    assert third.find("run", "1", "c")["dst_id"] == "C"
    assert len(list(directory.lines("id_map.jsonl"))) == 5


def test_source_tags_stay_asked_for():
    """The other options are those of the import."""
    asked = options_of(None, import_source_tags=True, use_src_user_id=True, mlmodel_fix=False)
    assert asked == ["import_source_tags", "use_src_user_id"]
    assert options_of({"options": asked}, import_source_tags=False, mlmodel_fix=True) == [
        "import_source_tags", "mlmodel_fix",
    ]  # fmt: skip
    assert options_of({"options": None}, import_source_tags=False) == options_of({}) == []


def test_another_treatment_of_mlmodel_files():
    """Only what is known to be another one counts."""
    assert other_fix({"options": []}, ["mlmodel_fix"]) and other_fix({"options": ["mlmodel_fix"]}, [])
    assert not any(other_fix(entry, []) for entry in (None, {}, {"options": None}, {"options": ["x"]}))
