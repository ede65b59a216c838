"""The small tools, without a server: signatures in MLmodel files, and the two that work on directories."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
import yaml
from click.testing import CliRunner, Result

from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.common import umbrella
from mlflow_migration.tools.list_model_versions_without_signatures import as_pandas_df
from mlflow_migration.tools.list_registered_models import list_registered_models
from mlflow_migration.tools.signature_utils import read_signature, to_json_signature, with_signature
from tests.support.stub import Reply, Request, Stub

COLUMN = '[{"type": "double", "name": "ü"}]'
TEXTS = {"inputs": COLUMN, "outputs": None, "params": None}
SIGNATURE = {"inputs": json.loads(COLUMN), "outputs": None, "params": None}

# ---- signatures


@pytest.mark.parametrize(
    "before",
    [
        "flavors: {a: b}\n",
        "flavors: {a: b}",
        "signature: null\nflavors: {a: b}\n",
        "signature:\n",
        "# ü 🍷\nflavors:\n  a: 'ü'\nsignature:\n  inputs: '[]'\n# kept\nsignature_of_mine: ü\n",
        "flavors: |\n  signature: text\nsignature: {inputs: '[]'}\n",
        "---\nflavors: {a: b}\nsignature:\n  inputs: '[]'\n  outputs: null\n...\n",
        "flavors: {a: b}\nsignature: {inputs: '[]'}\n\n# the end",
        "signature: &s {inputs: '[]'}\r\nflavors: {a: b}\r\n",
    ],
)
@pytest.mark.parametrize("libyaml", [True, False])
def test_a_signature_is_written_and_all_else_stays(before: str, libyaml: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    after = with_signature(before.encode(), TEXTS)
    assert read_signature(after) == SIGNATURE
    old, new = yaml.safe_load(before), yaml.safe_load(after)
    assert new.pop("signature") == TEXTS
    old.pop("signature", None)
    assert new == old
    kept = [
        line
        for line in before.encode().splitlines()
        if not line.strip().startswith((b"signature:", b"inputs", b"outputs"))
    ]
    assert [line for line in after.splitlines() if line in kept] == kept
    assert with_signature(after, TEXTS) == after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "no YAML mapping"),
        ("a: [\n", "no YAML:"),
        ("", "no YAML mapping"),
        ("signature: [1]\n", "holds no texts"),
        ("signature: {inputs: [1]}\n", "holds no texts"),
        ("signature: text\n", "holds no texts"),
        ("signature: {inputs: '[1'}\n", "none that MLflow writes"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_broken_file_is_named(text: str, words: str) -> None:
    with pytest.raises(MlflowExportImportException, match=words):
        read_signature(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("text", ["a: b\n", "signature: null\n", "signature: {inputs: null}\n", "signature: {}\n"])
def test_no_signature(text: str) -> None:
    assert read_signature(text.encode()) is None


def test_a_file_in_one_piece_is_left_alone() -> None:
    with pytest.raises(MlflowExportImportException, match="in one piece"):
        with_signature(b'{"flavors": {}}', TEXTS)


def test_a_bomb_of_aliases_is_not_set_off() -> None:
    bomb = "a: &a0 [x, x]\n" + "".join(f"a{n}: &a{n + 1} [*a{n}, *a{n}, *a{n}]\n" for n in range(60))
    assert read_signature(f"{bomb}signature: {{inputs: '{COLUMN}'}}\n".encode()) == SIGNATURE


def test_signature_of_mlflow_and_its_texts() -> None:
    class Of:
        def to_dict(self) -> Dict[str, Any]:
            return dict(TEXTS)

    assert to_json_signature(Of()) == to_json_signature(TEXTS) == to_json_signature({"inputs": COLUMN}) == SIGNATURE


# ---- registered models


def tag(key: str) -> List[Dict[str, str]]:
    return [{"key": key, "value": "true"}]


def test_all_pages_of_registered_models() -> None:
    names = [f"m{number:04}" for number in range(2500)]

    def answer(request: Request) -> Reply:
        if not request.path.endswith("registered-models/search"):
            return Reply({})
        start, size = int((request.query.get("page_token") or ["0"])[0]), int(request.query["max_results"][0])
        more = {"next_page_token": str(start + size)} if start + size < len(names) else {}
        found = [{"name": name} for name in names[start : start + size]]
        return Reply({"registered_models": [*found, {"name": "p", "tags": tag("mlflow.prompt.is_prompt")}], **more})

    with Stub(answer) as stub:
        assert [model["name"] for model in list_registered_models(tracking_uri=stub.uri)] == names


def test_versions_of_prompts_and_those_that_fill_gaps_are_left_out() -> None:
    keys = {"1": "mlflow.prompt.is_prompt", "2": "mlflow_exim.placeholder", "3": "mine", "10": "mine"}
    versions = [{"name": "m", "version": number, "tags": tag(key)} for number, key in keys.items()]

    def answer(request: Request) -> Reply:
        return Reply({"model_versions": versions} if request.path.endswith("model-versions/search") else {})

    with Stub(answer) as stub:
        assert list(as_pandas_df(None, tracking_uri=stub.uri)["version"]) == ["3", "10"]


# ---- directories


def write(path: Path, mlflow: Dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"system": {"script": "x"}, "info": {"n": 1}, "mlflow": mlflow}))


def read(path: Path) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads(path.read_text())["mlflow"]
    return found


def files(path: Path) -> Dict[str, bytes]:
    """Every file below a directory, by its path."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def bulk(tmp_path: Path) -> Path:
    """A directory of two models: one with runs of one experiment, one with those of two."""
    home = tmp_path / "bulk"
    write(home / "manifest.json", {})
    write(home / "models" / "models.json", {"models": ["one", "two"]})
    write(home / "experiments" / "experiments.json", {"experiments": []})
    for number, runs in {"1": ["a" * 32, "b" * 32], "2": ["c" * 32]}.items():
        place = home / "experiments" / number
        write(place / "experiment.json", {"experiment": {"experiment_id": number, "name": f"e{number}"}, "runs": runs})
        for run in runs:
            write(place / run / "run.json", {"info": {"run_id": run}})
            (place / run / "artifacts").mkdir()
            (place / run / "artifacts" / "f").write_bytes(run.encode() * 100)
    for name, runs in {"one": "ab", "two": "bc"}.items():
        versions = [
            {"name": name, "version": str(n), "run_id": run * 32, "_experiment_name": "e2" if run == "c" else "e1"}
            for n, run in enumerate(runs, 1)
        ]
        write(home / "models" / name / "model.json", {"registered_model": {"name": name, "versions": versions}})
        (home / "models" / name / "version_models").mkdir()
        (home / "models" / name / "version_models" / "f").write_bytes(b"x")
    return home


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Calls a command with an exit status that is expected."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *args: Any, status: int = 0) -> Result:
        result = CliRunner().invoke(umbrella.load(name), [str(arg) for arg in args])
        assert result.exit_code == status, result.output
        return result

    yield call


def filtered(run: Callable[..., Result], bulk: Path, model: str, *args: Any, to: str = "out", status: int = 0) -> str:
    where = ("--input-dir", bulk, "--output-dir", bulk.parent / to)
    return str(run("filter_one_model", *where, "--src-model", model, *args, status=status).output)


def test_one_model_with_its_experiment(run: Callable[..., Result], bulk: Path, tmp_path: Path) -> None:
    before, out = files(bulk), tmp_path / "out"
    filtered(run, bulk, "one", "--dst-model", "a/b", "--dst-experiment", "lab")
    assert files(bulk) == before
    folder = out / "models" / "a%2Fb"
    model = read(folder / "model.json")["registered_model"]
    assert model["name"] == "a/b"
    assert [(v["name"], v["version"], v["_experiment_name"]) for v in model["versions"]] == [
        ("a/b", "1", "lab"), ("a/b", "2", "lab"),
    ]  # fmt: skip
    assert read(out / "experiments" / "1" / "experiment.json")["experiment"]["name"] == "lab"
    assert read(out / "models" / "models.json") == {"models": ["a/b"]}
    assert read(out / "experiments" / "experiments.json")["experiments"] == [
        {"id": "1", "name": "lab", "ok_runs": 2, "failed_runs": 0}
    ]
    changed = {"manifest.json", "model.json", "models.json", "experiment.json", "experiments.json"}
    copied = {name.replace("a%2Fb", "one"): content for name, content in files(out).items()}
    assert {n: c for n, c in copied.items() if os.path.basename(n) not in changed} == {
        n: c
        for n, c in before.items()
        if os.path.basename(n) not in changed and n.startswith(("models/one/", "experiments/1/"))
    }


def test_a_model_of_two_experiments(run: Callable[..., Result], bulk: Path, tmp_path: Path) -> None:
    told = filtered(run, bulk, "two", "--dst-experiment", "lab", status=2)
    assert "two has: e1, e2" in told
    assert not (tmp_path / "out").exists()
    filtered(run, bulk, "two")
    assert sorted(os.listdir(tmp_path / "out" / "experiments")) == ["1", "2", "experiments.json"]
    assert read(tmp_path / "out" / "experiments" / "2" / "experiment.json")["experiment"]["name"] == "e2"


def test_what_filter_one_model_refuses(run: Callable[..., Result], bulk: Path, tmp_path: Path) -> None:
    assert "there are: one, two" in filtered(run, bulk, "three", status=2)
    assert "outside of it" in filtered(run, bulk, "one", to="bulk/new", status=2)
    assert "is in" in filtered(run, bulk, "one", to="bulk", status=2)
    (tmp_path / "link").symlink_to(bulk)
    assert "outside of it" in filtered(run, bulk, "one", to="link/new", status=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    assert "is not empty" in filtered(run, bulk, "one", to="full", status=2)
    (tmp_path / "secret").write_text("secret")
    (bulk / "experiments" / "1" / ("a" * 32) / "artifacts" / "link").symlink_to(tmp_path / "secret")
    assert "symbolic link" in filtered(run, bulk, "one", status=2)
    assert "There is no model ../models/one" in filtered(run, bulk, "../models/one", status=2)
    assert not (tmp_path / "out").exists()


def rewritten(run: Callable[..., Result], bulk: Path, functions: str, status: int = 0) -> str:
    (bulk.parent / "rewriters.py").write_text(functions)
    args = ("--input-dir", bulk, "--custom-rewriters-module", bulk.parent / "rewriters.py")
    return str(run("rewrite_export", *args, status=status).output)


CHANGES = """
def rewrite_model(dct, dir):
    dct["mlflow"]["registered_model"]["name"] += " new"
def rewrite_experiment(dct, dir):
    assert not dir.endswith("2"), "not this one"
    return {**dct, "mlflow": {**dct["mlflow"], "dir": dir}}
"""


def test_files_are_rewritten_once_and_kept(run: Callable[..., Result], bulk: Path) -> None:
    before = files(bulk)
    told = rewritten(run, bulk, CHANGES, status=1)
    assert "AssertionError: not this one" in told
    after = files(bulk)
    changed: List[str] = [f"models/{name}/model.json" for name in ("one", "two")] + ["experiments/1/experiment.json"]
    assert {name: after[f"{name}.backup"] for name in changed} == {name: before[name] for name in changed}
    assert {n: c for n, c in after.items() if n not in changed and not n.endswith(".backup")} == {
        n: c for n, c in before.items() if n not in changed
    }
    assert read(bulk / "models" / "one" / "model.json")["registered_model"]["name"] == "one new"
    assert read(bulk / "experiments" / "1" / "experiment.json")["dir"] == str(bulk / "experiments" / "1")
    rewritten(run, bulk, CHANGES, status=1)
    assert files(bulk) == after
    # killed between the backup and the file: it is done now
    (bulk / "models" / "one" / "model.json").write_bytes(before["models/one/model.json"])
    rewritten(run, bulk, CHANGES, status=1)
    assert files(bulk) == after


def test_what_rewrite_export_refuses(run: Callable[..., Result], bulk: Path, tmp_path: Path) -> None:
    before = files(bulk)
    assert "neither a function" in rewritten(run, bulk, "x = 1", status=2)
    assert "no dictionary" in rewritten(run, bulk, "def rewrite_model(dct, dir):\n    return 1\n", status=1)
    assert files(bulk) == before
    assert "There is no model.json" in rewritten(
        run, bulk / "experiments" / "1" / ("a" * 32), "def rewrite_model(dct, dir):\n    pass\n", status=2
    )
    (tmp_path / "elsewhere.json").write_text("{}")
    (bulk / "models" / "one" / "model.json").unlink()
    (bulk / "models" / "one" / "model.json").symlink_to(tmp_path / "elsewhere.json")
    assert "symbolic link" in rewritten(run, bulk, CHANGES, status=1)
    assert read(bulk / "models" / "two" / "model.json")["registered_model"]["name"] == "two new"
    assert (tmp_path / "elsewhere.json").read_text() == "{}"
    (bulk / "rewriters.py").write_text("raise SystemExit(77)")
    args = ("rewrite_export", "--input-dir", bulk, "--custom-rewriters-module")
    assert "of which nothing is executed" in run(*args, bulk / "rewriters.py", status=2).output
    assert "There is no file" in run(*args, tmp_path / "absent.py", status=2).output
