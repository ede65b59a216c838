"""Imports go down the layers only, and what is slow to import is not imported until it is needed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mlflow_migration"

BELOW = {
    "client": set(),
    "common": {"client"},
    "logged_model": {"common", "client"},
    "run": {"logged_model", "common", "client"},
    "experiment": {"run", "logged_model", "common", "client"},
    "copy": {"experiment", "run", "logged_model", "common", "client"},
}
# a script like the others, but its classes are the client's
EXCEPTIONS = {("client/http_client.py", "common.cli")}

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


def test_there_is_something_to_test():
    assert len(FILES) > 10


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
