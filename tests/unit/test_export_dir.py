"""The export directory: names, symlinks, sizes, atomicity, JSON; on this machine, in memory:// and in an S3 store."""

import errno
import hashlib
import os
import subprocess
import sys
import time
import uuid
from urllib.parse import unquote

import pytest

from mlflow_migration.client.errors import BadDirectory, BadInput
from mlflow_migration.common import export_dir, io_utils
from mlflow_migration.common.export_dir import ExportDir, safe_name


@pytest.fixture(scope="module")
def s3_server():
    pytest.importorskip("s3fs", minversion="2023.1", reason="no S3 without s3fs >= 2023.1")
    pytest.importorskip("moto.server", reason="no S3 server without moto[server]")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3_dir(s3_server, monkeypatch):
    import requests

    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"b-{uuid.uuid4().hex}"
    assert requests.put(f"{s3_server}/{bucket}", timeout=30).ok
    return ExportDir(f"s3://{bucket}/some/prefix")


@pytest.fixture(params=["local", "memory", "s3"])
def any_dir(request, tmp_path):
    if request.param == "local":
        return ExportDir(str(tmp_path / "new" / "export"))
    if request.param == "memory":
        pytest.importorskip("fsspec", reason="no memory:// without fsspec")
        return ExportDir(f"memory://{uuid.uuid4().hex}/export")
    return request.getfixturevalue("s3_dir")


ODD_NAMES = ["a b.txt", "ü.txt", "100%.txt", "a#b", "a+b", ".hidden", "[x]*?.txt", "a&b=c", "sp ace /in ner"]


def test_every_operation_works_in_every_store(any_dir):
    any_dir.make()
    run = any_dir.sub("run-1")
    assert run.size("run.json") is None and not run.exists("run.json") and run.read_info("run.json") is None
    assert list(run.files("artifacts")) == [] and run.names() == []
    run.remove("artifacts")

    text = io_utils.envelope("x.py", {"a": [1, None]}, {"fingerprint": "f"})
    run.write_json("run.json", text)
    run.write_json("run.json", text)
    assert run.read_json("run.json")["mlflow"] == {"a": [1, None]}
    assert run.read_info("run.json") == {"fingerprint": "f"}
    assert run.size("run.json") == len(text)
    assert any_dir.exists() and any_dir.exists("run-1") and any_dir.exists("run-1/run.json")
    assert any_dir.names() == ["run-1"]
    assert any_dir.size("run-1") is None

    for name in ODD_NAMES:
        with run.new_file(f"artifacts/{name}") as out:
            out.write(name.encode())
            out.write(b"!")
        assert (out.size, out.sha256) == (
            len(name.encode()) + 1,
            hashlib.sha256(name.encode() + b"!").hexdigest(),
        )
    with run.new_file("artifacts/empty"):
        pass
    expected = {name: len(name.encode()) + 1 for name in ODD_NAMES}
    expected["empty"] = 0
    assert dict(run.files("artifacts")) == expected
    assert len(dict(run.files())) == len(expected) + 1
    with run.open_read("artifacts/[x]*?.txt") as file:
        assert file.read() == b"[x]*?.txt!"
    with run.local_path("artifacts/a b.txt") as path, open(path, "rb") as file:
        assert os.path.basename(path) == "a b.txt" and file.read() == b"a b.txt!"

    with run.new_file("metrics.jsonl") as out:
        out.write(b'{"a": 1}\r\n\n{"b": 2}\n{"c": 3}')
    assert list(run.lines("metrics.jsonl")) == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']

    run.remove("artifacts/[x]*?.txt")
    del expected["[x]*?.txt"]
    assert dict(run.files("artifacts")) == expected
    run.remove("artifacts")
    assert list(run.files("artifacts")) == []
    assert run.exists("run.json")


def test_an_empty_file_is_no_json(any_dir):
    with any_dir.new_file("run.json"):
        pass
    for read in (any_dir.read_json, any_dir.read_info):
        with pytest.raises(BadDirectory, match=r"run\.json is no JSON: line 1"):
            read("run.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(any_dir):
    any_dir.write_json("sub/x.bin", b"old")
    with pytest.raises(RuntimeError), any_dir.new_file("sub/x.bin") as out:
        out.write(b"half")
        raise RuntimeError
    with pytest.raises(RuntimeError), any_dir.new_file("sub/y.bin") as out:
        out.write(b"half")
        raise RuntimeError
    assert dict(any_dir.files()) == {"sub/x.bin": 3}
    with any_dir.open_read("sub/x.bin") as file:
        assert file.read() == b"old"
    if any_dir.is_local:
        assert os.listdir(os.path.join(any_dir.path, "sub")) == ["x.bin"]


def test_a_full_disk_is_an_error_without_leftovers(tmp_path, monkeypatch):
    target = ExportDir(str(tmp_path))
    real_open = open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    def full_open(path, mode="r", *args, **kwargs):
        file = real_open(path, mode, *args, **kwargs)
        return Full(file) if mode == "wb" else file

    monkeypatch.setattr("builtins.open", full_open)
    with pytest.raises(OSError) as caught, target.new_file("a/b") as out:
        out.write(b"x" * 100)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError):
        target.write_json("a/run.json", b"{}")
    assert os.listdir(tmp_path / "a") == []


def test_what_a_killed_process_left_is_no_file_of_the_export(tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / ".mlflow_migration.0123456789abcdef.part").write_text("half")
    (tmp_path / "artifacts" / "a").write_text("a")
    assert list(ExportDir(str(tmp_path)).files("artifacts")) == [("a", 1)]


REFUSED = [
    "",
    "/etc/passwd",
    "\\\\server\\share",
    "\\x",
    "C:\\x",
    "C:/x",
    "C:",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "a\\..\\..\\x",
    ".",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\0b",
    "a/\udc80",
    ".mlflow_migration.0123456789abcdef.part",
    None,
    7,
]


@pytest.mark.parametrize("name", REFUSED, ids=repr)
def test_unsafe_names_are_refused_everywhere(tmp_path, name):
    outside = tmp_path / "x"
    outside.write_text("{}")
    target = ExportDir(str(tmp_path / "in"))
    target.make()
    operations = [target.sub, target.size, target.read_json, target.read_info, target.open_read, target.remove]
    operations += [target.local_path, lambda rel: target.write_json(rel, b"{}"), lambda rel: list(target.lines(rel))]
    operations += [lambda rel: target.new_file(rel).__enter__()]
    if name:
        operations += [target.exists, lambda rel: list(target.files(rel))]
    for operation in operations:
        with pytest.raises(BadDirectory, match="is refused: it|is refused: names"):
            operation(name)
    assert sorted(os.listdir(tmp_path)) == ["in", "x"] and os.listdir(tmp_path / "in") == []
    assert outside.read_text() == "{}"


def test_sub_takes_single_components(tmp_path):
    target = ExportDir(str(tmp_path))
    assert target.sub("a", "b").path == os.path.join(str(tmp_path), "a", "b")
    with pytest.raises(BadDirectory, match="more than one component"):
        target.sub("a/b")


@pytest.fixture
def linked(tmp_path):
    """An export with symlinks to a file and to a directory outside of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text('{"secret": 1}')
    inside = tmp_path / "in"
    (inside / "artifacts").mkdir(parents=True)
    (inside / "artifacts" / "a").write_text("a")
    (inside / "file.json").symlink_to(outside / "secret.json")
    (inside / "folder").symlink_to(outside)
    (inside / "dangling").symlink_to(outside / "new.json")
    return ExportDir(str(inside))


def test_no_symlink_is_followed(linked, tmp_path):
    for name in ("file.json", "folder/secret.json", "dangling"):
        for operation in (
            linked.read_json,
            linked.read_info,
            linked.open_read,
            linked.size,
            linked.exists,
            linked.remove,
            lambda rel: linked.local_path(rel).__enter__(),
            lambda rel: list(linked.lines(rel)),
            lambda rel: linked.write_json(rel, b"{}"),
            lambda rel: linked.new_file(rel).__enter__(),
        ):
            with pytest.raises(BadDirectory, match="symbolic link"):
                operation(name)
    with pytest.raises(BadDirectory, match="folder is a symbolic link"):
        linked.sub("folder").read_json("secret.json")
    with pytest.raises(BadDirectory, match="folder is a symbolic link"):
        linked.sub("folder", "deeper").make()
    with pytest.raises(BadDirectory, match="folder is a symbolic link"):
        linked.sub("folder").names()
    assert linked.names() == ["artifacts"]
    assert os.listdir(tmp_path / "outside") == ["secret.json"]


@pytest.mark.parametrize("target", ["a", "..", "/etc"])
def test_a_symlinked_artifact_is_named(linked, target):
    os.symlink(target, os.path.join(linked.path, "artifacts", "link"))
    with pytest.raises(BadDirectory, match="artifacts/link is a symbolic link"):
        list(linked.files("artifacts"))


def test_removing_a_tree_leaves_what_its_symlinks_point_at(linked, tmp_path):
    os.symlink(tmp_path / "outside", os.path.join(linked.path, "artifacts", "link"))
    linked.remove("artifacts")
    assert (tmp_path / "outside" / "secret.json").exists()


def test_the_root_itself_may_be_a_symlink(tmp_path):
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    target = ExportDir(str(tmp_path / "link")).sub("run")
    target.write_json("run.json", b"{}")
    assert target.read_json("run.json") == {}
    assert ExportDir(str(tmp_path / "link")).names() == ["run"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.timeout(20)
def test_a_fifo_does_not_hang(tmp_path):
    (tmp_path / "artifacts").mkdir()
    os.mkfifo(tmp_path / "run.json")
    os.mkfifo(tmp_path / "artifacts" / "pipe")
    target = ExportDir(str(tmp_path))
    for read in (target.read_json, target.read_info, target.open_read, lambda rel: list(target.lines(rel))):
        with pytest.raises(BadDirectory, match=r"run\.json is no regular file"):
            read("run.json")
    assert target.size("run.json") is None
    with pytest.raises(BadDirectory, match="artifacts/pipe is neither"):
        list(target.files("artifacts"))


def test_a_huge_file_is_refused_without_reading_it(tmp_path):
    with open(tmp_path / "run.json", "wb") as file:
        file.write(b'{"system": {}, "info": "')
        file.truncate(1 << 30)
    code = (
        "import resource, sys, time\n"
        "from mlflow_migration.common.export_dir import ExportDir, BadDirectory\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()\n"
        "try:\n"
        "    ExportDir(sys.argv[1]).read_json('run.json')\n"
        "except BadDirectory as ex:\n"
        "    print(ex.message)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5000, time.monotonic() - start < 1)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "has 1073741824 bytes, more than the 268435456" in result.stdout
    assert result.stdout.endswith("True True\n")
    with pytest.raises(BadDirectory, match="more than the 268435456"):
        ExportDir(str(tmp_path)).read_info("run.json")


def test_the_limit_is_a_variable(tmp_path, monkeypatch):
    target = ExportDir(str(tmp_path))
    target.write_json("x.json", b'{"a": "0123456789"}')
    monkeypatch.setenv("MLFLOW_MIGRATION_MAX_JSON_BYTES", "10")
    with pytest.raises(BadDirectory, match="x.json has 19 bytes, more than the 10 that are read"):
        target.read_json("x.json")
    monkeypatch.setenv("MLFLOW_MIGRATION_MAX_JSON_BYTES", "many")
    with pytest.raises(BadInput, match="MLFLOW_MIGRATION_MAX_JSON_BYTES"):
        target.read_json("x.json")


def test_a_long_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export_dir, "MAX_LINE_BYTES", 100)
    target = ExportDir(str(tmp_path))
    with target.new_file("m.jsonl") as out:
        out.write(b"{}\n" + b"x" * 100 + b"\n")
    with pytest.raises(BadDirectory, match=r"m\.jsonl: line 2 is longer than 100 bytes"):
        list(target.lines("m.jsonl"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no JSON: line 1"),
        (b'{\n"a": 1,\n}', "no JSON: line [23]"),  # since Python 3.13 that of the comma
        (b'{"a": 1', "no JSON: line 1"),
        (b'{"a": 1}\n{"b": 2}', "no JSON: line 2"),
        (b"[1]", "no JSON object"),
        (b'"x"', "no JSON object"),
        (b"NaN", "no JSON object"),
        (b'{"a":\n"\xff"}', "no JSON: line 2"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b'{"a": ' * 200_000, "nested too deeply"),
    ],
    ids=["empty", "comma", "cut", "two", "list", "text", "nan", "bytes", "deep list", "deep object"],
)
def test_broken_json_is_named_with_file_and_line(tmp_path, text, reason):
    (tmp_path / "run.json").write_bytes(text)
    target = ExportDir(str(tmp_path))
    for read in (target.read_json, target.read_info):
        with pytest.raises(BadDirectory, match="run.json (is|holds) ?" + reason) as caught:
            read("run.json")
        assert str(tmp_path) in caught.value.message


def test_characters_are_whole(tmp_path):
    target = ExportDir(str(tmp_path))
    (tmp_path / "a.json").write_bytes(b'{"a": "\\ud83d\\ude00", "b": NaN}')
    assert target.read_json("a.json")["a"] == "\U0001f600"
    (tmp_path / "a.json").write_bytes(b'{"a": "\\ud83d"}')
    with pytest.raises(BadDirectory, match=r"a\.json holds half of a pair of surrogates"):
        target.read_json("a.json")


def test_missing_files_are_named(tmp_path):
    target = ExportDir(str(tmp_path))
    for read in (target.read_json, target.open_read):
        with pytest.raises(BadDirectory, match=r"run\.json is missing"):
            read("run.json")


def test_literals_of_old_exports_are_understood(tmp_path):
    (tmp_path / "run.json").write_bytes(b'\xef\xbb\xbf{"a": NaN, "b": [-Infinity, Infinity], "a": 2}')
    assert ExportDir(str(tmp_path)).read_json("run.json") == {"a": 2, "b": [float("-inf"), float("inf")]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"system": {"x": {"info": 3}}, "info": {"a": "\\u00e9}"}, "mlflow": {}}', {"a": "é}"}),
        (b'\n{ "system" : 1 ,\t"info" : {} , "mlflow": {}}', {}),
        (b'{"info": {"a": 1}, "system": {}}', {"a": 1}),
        (b'{"system": {}, "mlflow": {"info": {"run_id": "x"}}}', {}),
        (b'{"mlflow": {}, "info": {"late": true}}', {"late": True}),
        (b'{"system": {}, "info": [1]}', {}),
        (b'{"system": {}, "info": null, "mlflow": {}}', {}),
        (b'{"info": {"run_id": "bare"}, "params": {}}', {"run_id": "bare"}),
        (b"{}", {}),
        (b'{"system": NaN, "info": {"a": 1}}', {"a": 1}),
    ],
)
def test_read_info_takes_any_order_of_keys(tmp_path, text, expected):
    (tmp_path / "run.json").write_bytes(text)
    assert ExportDir(str(tmp_path)).read_info("run.json") == expected


@pytest.mark.parametrize("size", [0, 16_000, 16_200, 16_384, 20_000, 140_000, 3_000_000])
def test_read_info_grows_with_it(any_dir, size):
    info = {"text": "é" * (size // 2), "end": 1}
    any_dir.write_json("run.json", io_utils.envelope("x.py", {"a": 1}, info))
    assert any_dir.read_info("run.json") == info


def test_read_info_is_fast_and_does_not_read_the_rest(tmp_path):
    target = ExportDir(str(tmp_path))
    files = [{"path": f"a/{i}", "size": i, "sha256": "0" * 64} for i in range(10)]
    info = {"fingerprint": "f" * 64, "artifacts": files}
    text = io_utils.envelope("x.py", {"metrics": ["x" * 300_000]}, info)
    target.write_json("run.json", text[:-20])  # its end is broken, which only a full read would see
    times = []
    for _ in range(200):
        start = time.perf_counter()
        assert target.read_info("run.json") == info
        times.append(time.perf_counter() - start)
    assert min(times) < 0.0002


SAFE_AS_THEY_ARE = ["0a1b", "m-0a", "My model", "a.b", "a+b@c=d,e", "ünï", "v1.2-rc_3", ".hidden", "日本"]
UNSAFE = [
    ".", "..", "...", "a/b", "../../etc/passwd", "/abs", "a\\b", "C:", "C:\\x", "a\0b", "a\nb", "100%", "%41", "~x",
    "a:b", "a*b?", "con", "CON.txt", "nul", "com1", "LPT9.x.y", "x.", "x ", "[a]", "a'b\"", "<a|b>", "\ud800x", "é/ü",
    "😀/", ".mlflow_migration.0123456789abcdef.part",
]  # fmt: skip


@pytest.mark.parametrize("name", SAFE_AS_THEY_ARE)
def test_ordinary_names_stay(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", UNSAFE, ids=ascii)
def test_unsafe_names_become_safe_and_come_back(tmp_path, name):
    safe = safe_name(name)
    assert unquote(safe, errors="surrogatepass") == name
    assert safe != name and "/" not in safe and "\\" not in safe
    target = ExportDir(str(tmp_path)).sub(safe)
    target.write_json("x.json", b"{}")
    assert os.listdir(tmp_path) == [safe]


def test_safe_names_are_distinct_and_short():
    names = [*SAFE_AS_THEY_ARE, *UNSAFE, "", "x" * 200]
    long = ["x" * 201, "x" * 202, "é" * 101, "/" * 70, "/" * 71, "/" * 72, "a" + "/" * 72, "ab" + "/" * 72, "😀" * 60]
    safe = [safe_name(name) for name in names + long]
    assert len(set(safe)) == len(safe) and all(safe)
    assert all(len(name.encode()) <= 200 for name in safe)
    assert safe_name("x" * 200) == "x" * 200
    assert all("~" in safe_name(name) for name in long)
    assert "" not in safe
    for name in safe:
        assert export_dir._refusal(name) is None


def test_paths_are_taken_as_users_write_them(tmp_path):
    assert ExportDir("/Volumes/a/b/c").is_local
    assert ExportDir(f"file://{tmp_path}").path == str(tmp_path)
    with pytest.raises(BadInput):
        ExportDir("")


def test_dbfs_is_a_mount(tmp_path, monkeypatch):
    """Where it is absent, a directory of this name would be made on a disk that nobody looks for it on."""
    assert export_dir._DBFS == "/dbfs"
    monkeypatch.setattr(export_dir, "_DBFS", str(tmp_path / "dbfs"))
    for path in ("dbfs:/mnt/x", "dbfs:/"):
        with pytest.raises(BadInput, match=f"{path} can't be used: .* no {tmp_path}/dbfs"):
            ExportDir(path)
    (tmp_path / "dbfs").mkdir()
    assert ExportDir("dbfs:/mnt/x").path == f"{tmp_path}/dbfs/mnt/x"
    assert ExportDir("dbfs:/mnt/x").sub("y").path == f"{tmp_path}/dbfs/mnt/x/y"
    assert os.listdir(tmp_path / "dbfs") == []


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    for path in (f"{tmp_path}/a.json", f"file://{tmp_path}/a.json"):
        with pytest.raises(BadInput) as caught:
            ExportDir(path)
        assert caught.value.message == f"{tmp_path}/a.json is a file, not a directory"


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(BadInput, match=r"pip install mlflow-migration\[gcs\]"):
        ExportDir("gs://bucket/x")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(BadInput, match=r"pip install mlflow-migration\[s3\]"):
        ExportDir("s3://bucket/x")
    with pytest.raises(BadInput, match=r"pip install mlflow-migration\[azure\]"):
        ExportDir("abfss://container@account.dfs.core.windows.net/x")
    assert ExportDir("/tmp").is_local


def test_an_unknown_store_is_bad_input():
    pytest.importorskip("fsspec", reason="no other stores without fsspec")
    with pytest.raises(BadInput, match="nosuch://"):
        ExportDir("nosuch://bucket/x")


def test_local_directories_load_no_remote_packages():
    code = (
        "import sys\nfrom mlflow_migration.common.export_dir import ExportDir\nExportDir('/tmp').names()\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('fsspec', 's3fs', 'boto3', 'mlflow')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_key_of_an_object_store_that_leads_out_is_refused(s3_dir):
    s3_dir._files._fs.pipe_file(s3_dir._files._root + "/artifacts/a/../../../x", b"x")
    with pytest.raises(BadDirectory, match="leads out"):
        list(s3_dir.files("artifacts"))
