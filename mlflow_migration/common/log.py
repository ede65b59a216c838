"""Logging of the commands: configured once, when a command starts, and never by an import.

Three variables, also in upper case throughout, change it: ``mlflow_migration_LOG_OUTPUT_FILE`` (a file beside the
console), ``mlflow_migration_LOG_FORMAT`` (with ``%(threadName)s`` if wanted) and ``mlflow_migration_LOG_CONFIG_FILE``
(a YAML file for ``logging.config.dictConfig`` instead of the default configuration).
"""

from __future__ import annotations

import copy
import logging
import logging.config
import os
import sys
from contextlib import suppress
from typing import Any, Dict, Optional, TextIO

from mlflow_migration.client.errors import BadInput, describe, redact
from mlflow_migration.common import default_logging_config

PACKAGE = "mlflow_migration"


class StdoutHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is sys.stdout at that moment, so that a progress bar can put log lines above itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's own name)
        """Go on without output when nobody reads it any more, as behind ``| head``."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            drop_stdout()
        else:
            super().handleError(record)


def drop_stdout() -> None:
    """Send what is still written to stdout nowhere: its reader is gone, and the work goes on."""
    with suppress(OSError, ValueError):  # no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Redacting(logging.Formatter):
    """Takes the secrets out of what another formatter makes, tracebacks included."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def getLogger(name: str) -> logging.Logger:  # noqa: N802  (the name that users of today's tools import)
    """Return the logger of a module; nothing is configured by this.

    :param name: The module's ``__name__``.
    """
    # a module run by "python -m" logs like the others
    return logging.getLogger(PACKAGE if name == "__main__" else name)


def configure(*, verbose: bool = False, quiet: bool = False, to_stderr: bool = False) -> None:
    """Configure logging as the variables say: called once, when a command starts.

    :param verbose: Show debug messages of this package.
    :param quiet: Show only warnings on the console; does not touch the user's own configuration file.
    :param to_stderr: The console is stderr, as stdout is for data; likewise.
    :raises BadInput: A variable names something that can't be used.
    """
    path = _variable("LOG_CONFIG_FILE")
    config = _read(path) if path else _default(quiet, to_stderr)
    try:
        logging.config.dictConfig(config)
    except (ValueError, TypeError, AttributeError, ImportError, OSError) as ex:
        output_file = _variable("LOG_OUTPUT_FILE")
        what = f"The logging configuration {path}" if path else f"The log file {output_file}"
        raise BadInput(f"{what} can't be used: {describe(ex.__cause__ or ex)}") from ex
    if verbose:
        logging.getLogger(PACKAGE).setLevel(logging.DEBUG)
    _redact_handlers()


def _variable(name: str) -> Optional[str]:
    return os.environ.get(f"{PACKAGE.upper()}_{name}") or os.environ.get(f"{PACKAGE}_{name}") or None


def _read(path: str) -> Dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as ex:
        raise BadInput(f"The logging configuration {path} can't be read: {describe(ex)}") from ex
    if not isinstance(config, dict):
        raise BadInput(f"The logging configuration {path} can't be used: it is no YAML mapping.")
    return config


def _default(quiet: bool, to_stderr: bool) -> Dict[str, Any]:
    config = copy.deepcopy(default_logging_config.config)
    if to_stderr:
        config["handlers"]["console"]["class"] = "logging.StreamHandler"
    if quiet:
        config["handlers"]["console"]["level"] = "WARNING"
    log_format = _variable("LOG_FORMAT")
    if log_format:
        config["formatters"]["simple"]["format"] = _checked(log_format)
    output_file = _variable("LOG_OUTPUT_FILE")
    if output_file:
        config["handlers"]["file"] = {
            "class": "logging.FileHandler",
            "filename": output_file,
            "encoding": "utf-8",
            "formatter": "simple",
        }
        config["root"]["handlers"].append("file")
    return config


def _checked(log_format: str) -> str:
    # a field that does not exist would else show as a traceback at each message
    try:
        logging.Formatter(log_format).format(logging.makeLogRecord({"msg": ""}))
    except (ValueError, KeyError, TypeError) as ex:
        raise BadInput(f"The log format {log_format!r} can't be used: {describe(ex)}") from ex
    return log_format


def _redact_handlers() -> None:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if not isinstance(handler.formatter, _Redacting):
                handler.setFormatter(_Redacting(handler.formatter or logging.Formatter()))
