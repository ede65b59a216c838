"""Logging: configured by a command's start only, by the three variables, and without secrets."""

import logging
import os
import subprocess
import sys

import pytest

from mlflow_migration.client.errors import BadInput
from mlflow_migration.common import log


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Leave the logging of the test process as it was."""
    for name in list(os.environ):
        if name.lower().startswith("mlflow_migration_log"):
            monkeypatch.delenv(name)
    root, package = logging.getLogger(), logging.getLogger("mlflow_migration")
    before = [(logger, logger.level, list(logger.handlers)) for logger in (root, package)]
    yield
    for logger, level, handlers in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.setLevel(level)
        logger.handlers[:] = handlers


def test_an_import_configures_and_creates_nothing(tmp_path):
    program = (
        "import logging, mlflow_migration.common.cli, mlflow_migration.common.utils as u, mlflow_migration.common.log;"
        "u.getLogger('mlflow_migration.x'); root = logging.getLogger();"
        "assert root.handlers == [] and root.level == logging.WARNING, root;"
        "assert logging.getLogger('mlflow_migration').handlers == [];"
        "assert logging.getLogger('mlflow_migration').level == logging.NOTSET"
    )
    env = dict(os.environ, mlflow_migration_LOG_OUTPUT_FILE=str(tmp_path / "log"))
    subprocess.run([sys.executable, "-c", program], check=True, env=env)
    assert os.listdir(str(tmp_path)) == []


def test_default_goes_to_stdout_at_info(capsys):
    log.configure()
    logger = log.getLogger("mlflow_migration.some.module")
    logger.info("shown")
    logger.debug("hidden")
    logging.getLogger("other").info("hidden")
    logging.getLogger("other").warning("warned")
    out, err = capsys.readouterr()
    assert " - INFO - shown\n" in out
    assert " - WARNING - warned\n" in out
    assert "hidden" not in out
    assert err == ""


def test_verbose_and_quiet(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_MIGRATION_LOG_OUTPUT_FILE", str(tmp_path / "log"))
    log.configure(verbose=True)
    log.getLogger("mlflow_migration.x").debug("detail")
    assert "DEBUG - detail" in capsys.readouterr().out
    log.configure(quiet=True)
    assert not log.getLogger("mlflow_migration.x").isEnabledFor(logging.INFO) or capsys.readouterr().out == ""
    log.getLogger("mlflow_migration.x").info("for the file")
    log.getLogger("mlflow_migration.x").warning("for both")
    out = capsys.readouterr().out
    assert "for both" in out
    assert "for the file" not in out
    assert "for the file" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("prefix", ["mlflow_migration", "MLFLOW_MIGRATION"])
def test_variables_in_both_spellings(prefix, capsys, monkeypatch, tmp_path):
    path = tmp_path / "log"
    path.write_text("earlier\n")
    monkeypatch.setenv(f"{prefix}_LOG_OUTPUT_FILE", str(path))
    monkeypatch.setenv(f"{prefix}_LOG_FORMAT", "%(threadName)s-%(levelname)s-%(message)s")
    log.configure()
    log.getLogger("mlflow_migration.x").info("grüße")
    assert "MainThread-INFO-grüße\n" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == "earlier\nMainThread-INFO-grüße\n"


def test_own_configuration_file(capsys, monkeypatch, tmp_path):
    path = tmp_path / "log.yaml"
    path.write_text(
        "version: 1\n"
        "disable_existing_loggers: false\n"
        "formatters: {own: {format: 'own %(message)s'}}\n"
        "handlers: {h: {class: logging.StreamHandler, formatter: own, stream: 'ext://sys.stdout'}}\n"
        "root: {level: INFO, handlers: [h]}\n"
    )
    monkeypatch.setenv("MLFLOW_MIGRATION_LOG_CONFIG_FILE", str(path))
    log.configure()
    log.getLogger("mlflow_migration.x").info("at http://me:hush@host")
    assert capsys.readouterr().out == "own at http://host\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't be read: No such file"),
        ("a: [", "can't be read"),
        ("- 1", "no YAML mapping"),
        ("version: 2", "can't be used"),
        ("version: 1\nhandlers: {h: {class: no.such.Class}}", "can't be used"),
        ("!!python/object/apply:os.system ['touch owned']", "can't be read"),
    ],
)
def test_a_configuration_file_that_cannot_be_used(text, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "log.yaml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("mlflow_migration_LOG_CONFIG_FILE", str(path))
    with pytest.raises(BadInput, match="log.yaml") as caught:
        log.configure()
    assert words in caught.value.message
    assert not (tmp_path / "owned").exists()


def test_a_log_file_or_format_that_cannot_be_used(monkeypatch, tmp_path):
    monkeypatch.setenv("mlflow_migration_LOG_FORMAT", "%(nosuch)s")
    with pytest.raises(BadInput, match="nosuch"):
        log.configure()
    monkeypatch.delenv("mlflow_migration_LOG_FORMAT")
    monkeypatch.setenv("mlflow_migration_LOG_OUTPUT_FILE", str(tmp_path / "none" / "log"))
    with pytest.raises(BadInput, match="No such file"):
        log.configure()


def test_secrets_are_taken_out_of_messages_and_tracebacks(capsys):
    log.configure()
    try:
        raise ValueError("http://me:hush@host")
    except ValueError:
        log.getLogger("mlflow_migration.x").exception("Authorization: Bearer %s", "hush")
    out = capsys.readouterr().out
    assert "Traceback" in out
    assert "hush" not in out


def test_a_module_run_as_main_logs_like_the_others():
    assert log.getLogger("__main__").name == "mlflow_migration"
