"""What all commands share: how they are made, run and ended. The only place that turns errors into an exit status."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Protocol, Sequence

import click

from mlflow_migration.client.errors import (
    BadDirectory,
    BadInput,
    MlflowExportImportException,
    Refused,
    Unavailable,
    describe,
)
from mlflow_migration.common import log, options
from mlflow_migration.common.executor import any_busy
from mlflow_migration.common.umbrella import ALL

EXIT_OK, EXIT_BAD, EXIT_NOT_STARTED, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143

# what each command has unless it says otherwise
COMMON = ("dry_run", "fail_fast", "accept_loss", "report_dir", "workers", "use_threads", "quiet", "verbose")

_log = log.getLogger(__name__)


class Command(click.Command):
    """A click command whose BOOL options take a value (``--x True``) and also work as bare flags (``--x``)."""

    def parse_args(self, ctx: click.Context, args: List[str]) -> List[str]:
        # click has this as is_flag=False with a flag_value, which its releases 8.3.0 and 8.3.1 break
        flags = {name for param in self.params if param.type is options.BOOL for name in param.opts}
        full: List[str] = []
        for at, arg in enumerate(args):
            full.append(arg)
            if arg in flags and (at + 1 == len(args) or args[at + 1].startswith("-")):
                full.append("True")
        return super().parse_args(ctx, full)


def command(
    name: str,
    *option_names: str,
    common: Sequence[str] = COMMON,
    optional: Sequence[str] = (),
    help: Optional[str] = None,
    prints_data: bool = False,
) -> Callable[[Callable[..., int]], Command]:
    """Return a decorator that makes a click command of a function.

    The function gets each option under its key and returns an exit status. Logging is configured and the options
    are logged before it is called. ``--use-threads`` does not reach it: it is worked into ``workers``.

    :param name: Name of the command, as in umbrella.ALL.
    :param option_names: Keys of options.OPTIONS, in the order of ``--help``.
    :param common: Keys of the options that come after these.
    :param optional: Those of all of these that other commands can't do without, but this one can.
    :param help: Text of ``--help``; default is the command's line in umbrella.ALL.
    :param prints_data: What it prints on stdout is for programs, so messages go to stderr.
    """

    keys = (*option_names, *common)

    def decorate(body: Callable[..., int]) -> Command:
        @functools.wraps(body)
        def callback(**values: Any) -> None:
            # in the order of --help, whatever that of the arguments
            run_main(name, lambda: _start(body, {key: values[key] for key in keys}, prints_data))

        return Command(
            name,
            callback=callback,
            params=[options.click_option(key, optional=key in optional) for key in keys],
            help=help or ALL[name].help,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
        )

    return decorate


def _start(body: Callable[..., int], values: Dict[str, Any], prints_data: bool) -> int:
    log.configure(verbose=bool(values.get("verbose")), quiet=bool(values.get("quiet")), to_stderr=prints_data)
    _log.info("Options:")
    for key, value in values.items():
        _log.info("  %s: %s", key, options.loggable(key, value))
    if values.pop("use_threads", None) is False:
        values["workers"] = 1
    return body(**values)


def echo(text: str) -> None:
    """Print a text on stdout; that nobody reads it any more is no error."""
    try:
        click.echo(text)
    except BrokenPipeError:
        log.drop_stdout()


class Account(Protocol):
    """What tells how the work of a command ended, such as a ledger."""

    stopped: Optional[str]

    @property
    def begun(self) -> bool:
        """Whether anything has been recorded."""

    @property
    def exit_status(self) -> int:
        """That of the command."""

    def stop(self, ex: BaseException) -> None:
        """Take note that an error or the user ended the work before its end."""

    def close(self) -> None:
        """Write what is to be written."""

    def summary(self) -> str:
        """Return what the user is told."""


def finish(
    ledger: Account, work: Callable[[], object], *, show: bool = True, closed: Optional[Callable[[], object]] = None
) -> int:
    """Do the work of a command under its ledger, close the ledger and show its summary.

    An error that ends the work is raised again if nothing had been recorded (the command could not start);
    else it goes into the summary. Objects that fail alone are no matter of this: the executor records them.

    :param ledger: The ledger that the work records to.
    :param work: The work.
    :param show: Print the summary.
    :param closed: What is to be done between the ledger's end and the summary; it must not raise.
    :return: Exit status.
    """
    try:
        work()
    except (MlflowExportImportException, OSError) as ex:
        ledger.stop(ex)
        if not ledger.begun:
            if isinstance(ex, OSError):
                raise BadInput(describe(ex)) from ex
            raise
        _log.debug("Where it arose:", exc_info=ex)
    except BaseException as ex:
        ledger.stop(ex)
        raise
    finally:
        try:
            ledger.close()
            if closed is not None:
                closed()
        finally:
            if show and (ledger.begun or not ledger.stopped):
                echo(ledger.summary())
    return ledger.exit_status


def run_main(name: str, body: Callable[[], int]) -> NoReturn:
    """Run a command and leave the process with its exit status.

    0 all well, 1 something is incomplete or failed, 2 it could not start, 130 it was interrupted (143 by SIGTERM).

    :param name: Name of the command, for messages.
    :param body: The command; returns its exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # a name that the terminal can't show must not end the command
            stream.reconfigure(errors="backslashreplace")
    try:
        with _heeding_sigterm():
            status = body()
    except (BadInput, BadDirectory, Refused, Unavailable) as ex:
        status = _say(name, ex, EXIT_NOT_STARTED)
    except KeyboardInterrupt as ex:
        click.echo(f"{name}: interrupted; repeat the command to go on.", err=True)
        status = EXIT_TERMINATED if isinstance(ex, _Terminated) else EXIT_INTERRUPTED
        if any_busy():
            # interrupted once more while threads were waited for: the interpreter would wait for them again
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    except Exception as ex:  # noqa: BLE001 -- the last stop: what nobody foresaw still ends in a sentence and a status
        status = _say(name, ex, EXIT_BAD)
    sys.exit(status)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, by which batch systems and containers end a command: it ends as by Ctrl-C."""


def _terminate(*_: object) -> None:
    raise _Terminated


@contextmanager
def _heeding_sigterm() -> Iterator[None]:
    # only the main thread may set a handler, and one that somebody has set is left alone
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _say(name: str, ex: Exception, status: int) -> int:
    click.echo(f"{name}: {describe(ex)}", err=True)
    _log.debug("Where it arose:", exc_info=ex)
    return status
