"""The logging configuration of a command when the user brings none, for logging.config.dictConfig."""

from __future__ import annotations

from typing import Any, Dict

LOG_FORMAT = "%(asctime)s - %(levelname)s - %(message)s"

config: Dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"simple": {"format": LOG_FORMAT}},
    "handlers": {
        "console": {"class": "mlflow_migration.common.log.StdoutHandler", "formatter": "simple", "level": "DEBUG"},
    },
    "loggers": {"mlflow_migration": {"level": "INFO"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}
