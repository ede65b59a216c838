"""Progress: a bar on a terminal, lines elsewhere, nothing when quiet."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from mlflow_migration.common import progress
from mlflow_migration.common.progress import Progress


def test_lines_every_few_seconds_where_there_is_no_terminal(monkeypatch, caplog):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.05)
    caplog.set_level(logging.INFO, logger="mlflow_migration")
    shown = threading.Event()
    monkeypatch.setattr(
        progress._log, "info", lambda *args: (logging.getLogger("mlflow_migration").info(*args), shown.set())
    )
    with Progress(False, "Export runs") as bar:
        bar.add_total(4, bytes=2 * 2**20)
        bar.advance()
        bar.advance(1, bytes=2**20)
        assert shown.wait(5)
    line = caplog.messages[-1]
    assert line.startswith("Export runs: 2 of 4 (50 %), ")
    assert "1.0 of 2.0 MB" in line
    assert line.endswith(" left")


def test_quiet_shows_nothing_but_counts(monkeypatch, caplog, capfd):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.01)
    caplog.set_level(logging.DEBUG)
    with Progress(True, "t") as bar:
        bar.add_total(1)
        bar.advance()
        threading.Event().wait(0.1)
    assert (bar.done, bar.total) == (1, 1)
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


def test_closing_again_and_leaving_no_thread():
    before = threading.active_count()
    bar = Progress(False, "t")
    bar.close()
    bar.close()
    assert threading.active_count() == before


def test_threads_lose_no_count():
    bar = Progress(True, "t")

    def work():
        for _ in range(5000):
            bar.advance(1, bytes=2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (bar.done, bar.done_bytes) == (40_000, 80_000)


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (300, "5 min"), (9000, "2.5 h")])
def test_time_left_in_fitting_units(seconds, text):
    assert progress.duration(seconds) == text


PROGRAM = """
import logging
from mlflow_migration.common import log
from mlflow_migration.common.progress import Progress
log.configure()
with Progress(False, "Export [runs]") as bar:
    bar.add_total(3)
    for n in range(3):
        bar.advance()
        logging.getLogger("mlflow_migration.x").info("log [line] %d", n)
"""


def test_a_terminal_gets_a_bar_and_log_lines_above_it():
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    env = dict(os.environ, TERM="xterm", COLUMNS="120", LINES="30")
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        output = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:
                break
            if not chunk:
                break
            output += chunk
    os.close(master)
    text = output.decode()
    assert process.returncode == 0, text
    assert "3 of 3 (100 %)" in text
    assert "Export [runs]" in text
    assert "\u2501" in text
    for n in range(3):
        assert f"log [line] {n}" in text
