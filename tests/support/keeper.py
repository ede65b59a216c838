"""Runs a command in a process group of its own; ends the group when told to or when a watched process is gone.

A test run that is killed leaves no server behind that way.
Usage: keeper.py WATCHED_PID PID_FILE [--user=ACCOUNT_OF_THE_COMMAND] COMMAND...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List

GRACE_SECONDS = 10.0


def alive(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def signal_group(pgid: int, number: int) -> None:
    """Send a signal to a process group that may be gone already."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        pass


def as_user(name: str) -> Dict[str, Any]:
    """Options of `subprocess` that run a command as another account; none for an empty name."""
    if not name:
        return {}
    import pwd

    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def main(args: List[str]) -> int:
    """Run the command; return its exit status."""
    watched, pid_file, command = int(args[0]), args[1], args[2:]
    user = command.pop(0).partition("=")[2] if command[0].startswith("--user=") else ""
    asked: List[int] = []

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    child = subprocess.Popen(command, start_new_session=True, **as_user(user))
    with open(pid_file, "w", encoding="utf-8") as file:
        file.write(str(child.pid))
    while child.poll() is None and not asked and alive(watched):
        time.sleep(0.1)
    if child.poll() is None:
        signal_group(child.pid, signal.SIGTERM)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    # its helpers (other server workers) must not outlive it
    signal_group(child.pid, signal.SIGKILL)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
