"""Runs a command and ends it, with all processes it started, as soon as the process that asked for it is gone.

Run as a script: ``python -I local_server_guard.py FOLDER COMMAND...``. Standard input is a pipe that nobody writes to;
it ends when the asking process closes it, or dies of whatever, kill -9 included. Then the command is stopped and FOLDER
removed. A process of its own does this, because MLflow's server is a tree of processes whose members don't watch each
other. It needs nothing but the standard library, so it starts in milliseconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 5


def _signal_all(command: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to the command's process group; Windows has neither, there the tree is killed."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(command.pid)], check=False, capture_output=True)
        return
    try:
        os.killpg(command.pid, getattr(signal, name))
    except ProcessLookupError:
        pass


def _stop(command: subprocess.Popen[bytes]) -> None:
    _signal_all(command, "SIGTERM")
    try:
        command.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    # also those that outlived the first process of the group
    _signal_all(command, "SIGKILL")
    command.wait()


def main(folder: str, arguments: list[str]) -> int:
    """Run the command until it ends or standard input does.

    :param folder: Removed if standard input ends first.
    :param arguments: The command.
    :return: The command's exit status, 0 if it was stopped.
    """
    command = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
    stopping = threading.Event()

    def watch() -> None:
        # not sys.stdin: a thread that holds its lock breaks the interpreter's shutdown
        os.read(0, 1)
        stopping.set()
        _stop(command)
        shutil.rmtree(folder, ignore_errors=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    status = command.wait()
    if stopping.is_set():
        watcher.join()
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
