"""Imports go down the layers only, and what is slow to import is not imported until it is needed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mlflow_migration"

BASE = {"common", "client"}
RUNS = BASE | {"trace", "logged_model", "notebook"}
#: kinds that one rule moves: none needs another
KINDS = {"scorer", "issue", "label_schema", "review_queue", "webhook", "gateway", "mcp_server", "access", "server_job"}
MODELS = RUNS | {"run", "model"}

BELOW = {
    "client": set(),
    "common": {"client"},
    "trace": BASE,
    "notebook": BASE,
    "logged_model": BASE,
    "evaluation_dataset": BASE,
    **dict.fromkeys(KINDS, BASE),
    "issue": BASE | {"trace"},  # an assessment of a trace names an issue
    "run": RUNS,
    "experiment": RUNS | {"run"},
    "model": RUNS | {"run"},
    "model_version": MODELS,
    "prompt": MODELS,
    "verify": BASE,
    "bulk": MODELS | KINDS | {"evaluation_dataset", "verify", "prompt", "experiment"},
    "tools": MODELS,
    "workflow_api": BASE,
    "copy": MODELS | KINDS | {"evaluation_dataset", "bulk", "verify", "prompt", "model_version", "experiment"},
}
EXCEPTIONS = {
    # a script like the others, but its classes are the client's
    ("client/http_client.py", "common.cli"),
    # runs travel with logged models: these scripts stand above both, though they are called what they have always been
    ("logged_model/export_logged_model.py", "run.models_exporter"),
    ("logged_model/import_logged_model.py", "run.import_run"),
    ("logged_model/import_logged_model.py", "run.models_importer"),
}

SLOW = {
    "mlflow",
    "pandas",
    "boto3",
    "botocore",
    "fsspec",
    "s3fs",
    "gcsfs",
    "adlfs",
    "rich",
    "yaml",
    "databricks",
    "moto",
    "dask",
    "distributed",
    "joblib",
    "joblibspark",
    "pyspark",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path):
    """Yield (module, whether it stands at the top level) of each import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # "from mlflow_migration.common import cli" imports common.cli
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, _at_import_time(node)


def _at_import_time(node):
    while hasattr(node, "parent"):
        node = node.parent
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return False
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            return False
    return True


def test_every_package_has_its_place():
    assert {path.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE} == set(BELOW)
    assert len(FILES) > 10


def test_the_layers_are_layers():
    for layer, below in BELOW.items():
        assert below <= set(BELOW)
        for lower in below:
            assert layer not in BELOW[lower], f"{layer} and {lower} stand on each other"
            assert BELOW[lower] <= below, f"{layer} stands on {lower}, but not on what that stands on"


def test_every_package_is_part_of_the_distribution():
    for folder in {path.parent for path in FILES}:
        assert (folder / "__init__.py").exists(), f"without __init__.py setup.py does not find {folder}"


def test_imports_are_seen_wherever_they_stand(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import a.b\nfrom c import d\ndef f():\n    if True:\n        from e.f import g\n", encoding="utf-8"
    )
    assert list(imports_of(path)) == [("a.b", True), ("c.d", True), ("e.f.g", False)]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_arrows_point_down_only(path):
    parts = path.relative_to(PACKAGE).parts
    if len(parts) == 1:
        return
    layer = parts[0]
    assert layer in BELOW, f"say in BELOW what the package {layer} stands on"
    for name, at_import_time in imports_of(path):
        names = name.split(".")
        if names[0] != "mlflow_migration" or len(names) < 3:
            continue
        if names[1] == layer or names[1] in BELOW[layer]:
            continue
        excepted = any(
            "/".join(parts) == file and name.split(".", 1)[1].startswith(module) for file, module in EXCEPTIONS
        )
        assert excepted and not at_import_time, f"{'/'.join(parts)} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_slow_imports_are_lazy(path):
    slow = sorted(name for name, at_import_time in imports_of(path) if at_import_time and name.split(".")[0] in SLOW)
    assert slow == []
