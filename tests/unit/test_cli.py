"""Commands: their options, messages and exit statuses; the umbrella; and how fast they tell what they can do."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_migration import __version__
from mlflow_migration.client.errors import (
    BadDirectory,
    BadInput,
    MlflowExportImportException,
    NotFound,
    Unavailable,
)
from mlflow_migration.common import cli, umbrella
from mlflow_migration.common.ledger import Ledger

ROOT = Path(__file__).parents[2]
SLOW = ("mlflow", "pandas", "rich", "fsspec", "boto3")
# seconds of CPU of a --help; the aim is half of it, the rest is for slow machines
HELP_SECONDS = 1.0


def run(body, *args, names=("run_id",), common=cli.COMMON):
    command = cli.command("export-run", *names, common=common)(body)
    return CliRunner().invoke(command, list(args))


def test_a_command_gets_its_options_and_the_common_ones_as_keywords():
    got = {}

    def body(**values):
        got.update(values)
        return 0

    assert run(body, "--run-id", "a", "--fail-fast").exit_code == 0
    assert got == {
        "run_id": "a",
        "dry_run": False,
        "fail_fast": True,
        "accept_loss": [],
        "report_dir": None,
        "workers": 8,
        "quiet": False,
        "verbose": False,
    }


def test_a_command_may_leave_out_common_options():
    got = {}

    def body(**values):
        got.update(values)
        return 0

    assert run(body, "--run-id", "a", common=("verbose",)).exit_code == 0
    assert got == {"run_id": "a", "verbose": False}
    result = run(body, "--run-id", "a", "--workers", "2", common=("verbose",))
    assert result.exit_code == 2
    assert "--workers" in result.output


@pytest.mark.parametrize(
    ("args", "workers"),
    [
        ((), 8),
        (("--use-threads", "True"), 8),
        (("--use-threads", "False"), 1),
        (("--workers", "3", "--use-threads"), 3),
    ],
)
def test_use_threads_is_worked_into_workers(args, workers):
    got = {}

    def body(**values):
        got.update(values)
        return 0

    assert run(body, "--run-id", "a", *args).exit_code == 0
    assert got["workers"] == workers


def test_options_are_logged_without_secrets():
    result = run(
        lambda **_: 0,
        "--data",
        '{"string_value": "hush"}',
        "--output-dir",
        "s3://me:hush@x",
        names=("data", "output_dir"),
    )
    assert re.search(r"Options:\n.*  data: \(24 characters\)\n.*  output_dir: s3://x\n", result.output)
    assert "hush" not in result.output


@pytest.mark.parametrize(
    ("ex", "status"),
    [
        (BadInput("no such thing"), 2),
        (NotFound("no such thing", http_status_code=404), 2),
        (Unavailable("no such thing"), 2),
        (BadDirectory("no such thing"), 2),
        (MlflowExportImportException("no such thing"), 1),
        (RuntimeError("no such thing"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_words_and_an_exit_status(ex, status, capsys):
    def body():
        raise ex

    with pytest.raises(SystemExit) as caught:
        cli.run_main("export-run", body)
    out, err = capsys.readouterr()
    assert caught.value.code == status
    assert err.startswith("export-run: ")
    assert err.count("\n") == 1
    assert ("no such thing" in err) or ("repeat the command" in err)
    assert "Traceback" not in out + err


def test_verbose_shows_where_an_error_arose():
    def body(**_):
        raise RuntimeError("at http://me:hush@host")

    assert "Traceback" not in run(body, "--run-id", "a").output
    result = run(body, "--run-id", "a", "--verbose")
    assert "Traceback" in result.output
    assert "hush" not in result.output


def test_usage_errors_are_2_and_one_sentence():
    result = run(lambda **_: 0, "--run-id")
    assert result.exit_code == 2
    assert "Error: Option '--run-id' requires an argument." in result.output
    result = run(lambda **_: 0)
    assert result.exit_code == 2
    assert "Missing option '--run-id'" in result.output


def test_a_bad_logging_variable_is_2(monkeypatch):
    monkeypatch.setenv("MLFLOW_MIGRATION_LOG_CONFIG_FILE", "/no/such.yaml")
    result = run(lambda **_: 0, "--run-id", "a")
    assert result.exit_code == 2
    assert "/no/such.yaml" in result.output


def test_finish_shows_the_summary_and_gives_the_status(capsys):
    ledger = Ledger(None, "export-run", {})
    assert cli.finish(ledger, lambda: ledger.record("run", "copied", "a")) == 0
    assert "found" in capsys.readouterr().out
    ledger = Ledger(None, "export-run", {})
    assert cli.finish(ledger, lambda: ledger.record("run", "failed", "a", reason="why"), show=False) == 1
    assert capsys.readouterr().out == ""


def test_finish_lets_an_error_through_that_came_before_anything_was_done(capsys):
    for ex, seen in ((Unavailable("gone"), Unavailable), (BadDirectory("gone"), BadDirectory), (OSError(), BadInput)):
        ledger = Ledger(None, "export-run", {})

        def work(ex=ex):
            raise ex

        with pytest.raises(seen):
            cli.finish(ledger, work)
        assert capsys.readouterr().out == ""
        assert ledger.exit_status == 2


@pytest.mark.parametrize("ex", [Unavailable("gone"), OSError(28, "No space left on device")])
def test_finish_makes_an_error_that_ends_the_work_early_part_of_the_summary(ex, capsys):
    ledger = Ledger(None, "export-run", {})

    def work():
        ledger.record("run", "copied", "a")
        raise ex

    assert cli.finish(ledger, work) == 1
    assert "Stopped early: " in capsys.readouterr().out


def test_finish_shows_what_was_done_before_an_interruption(capsys):
    ledger = Ledger(None, "export-run", {})

    def work():
        ledger.record("run", "copied", "a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cli.finish(ledger, work)
    assert "Stopped early: interrupted. Repeat" in capsys.readouterr().out


def scripts_of_setup():
    """Return script: module:function of setup.py without building it."""
    program = (
        "import json, sys, setuptools; got = {}; setuptools.setup = lambda **kwargs: got.update(kwargs);"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'), {'__file__': 'setup.py', '__name__': 'setup'});"
        "print(json.dumps(got['entry_points']['console_scripts']))"
    )
    pytest.importorskip("setuptools")
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, cwd=str(ROOT))
    return dict(line.split(" = ") for line in json.loads(done.stdout))


def test_the_umbrella_has_every_script_of_setup():
    scripts = scripts_of_setup()
    assert scripts.pop("mlflow-migration") == "mlflow_migration.common.umbrella:main"
    assert scripts == {name: f"mlflow_migration.{entry.module}:main" for name, entry in umbrella.COMMANDS.items()}


def test_the_umbrella_lists_every_command_with_its_line():
    result = CliRunner().invoke(umbrella.main, ["--help"], terminal_width=120)
    assert result.exit_code == 0
    for name, entry in umbrella.COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(entry.help)}$", result.output, re.MULTILINE)


def test_the_umbrella_tells_its_version_and_refuses_what_it_does_not_know():
    assert __version__ in CliRunner().invoke(umbrella.main, ["--version"]).output
    result = CliRunner().invoke(umbrella.main, ["export-everything"])
    assert result.exit_code == 2
    assert "No such command 'export-everything'" in result.output


@pytest.mark.parametrize("name", umbrella.COMMANDS)
def test_every_command_is_named_and_helped_alike(name):
    command = umbrella.load(name)
    assert isinstance(command, cli.Command)
    assert command.name == name
    for param in command.params:
        assert param.help, param.name
    result = CliRunner().invoke(umbrella.main, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: mlflow-migration {name} [OPTIONS]" in " ".join(result.output.split())


def seconds_and_output(args):
    """Return the least CPU seconds of three runs, and what they print."""
    resource = pytest.importorskip("resource")
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, *args], check=True, stdout=subprocess.PIPE, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best, done.stdout.decode()


@pytest.mark.parametrize("module", ["common.umbrella", *(entry.module for entry in umbrella.COMMANDS.values())])
def test_help_is_fast(module):
    seconds, output = seconds_and_output(["-m", f"mlflow_migration.{module}", "--help"])
    assert "Usage: " in output
    assert seconds < HELP_SECONDS


@pytest.mark.parametrize("module", ["common.umbrella", *(entry.module for entry in umbrella.COMMANDS.values())])
def test_help_imports_nothing_slow(module):
    program = (
        f"import sys; sys.argv = ['x', '--help']; from mlflow_migration.{module} import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('SLOW', [name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(ROOT))
    )
    assert done.stdout.decode().splitlines()[-1] == "SLOW []"


def test_a_command_in_this_process(capsys, tmp_path, monkeypatch):
    """As notebooks start those that have no function: its exit status comes back, and wrong options are refused."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        missing = str(tmp_path / "absent")
        assert umbrella.run("verify-migration", input_dir=missing, dst_mlflow_uri="", models=None) == 2
        assert "absent" in capsys.readouterr().err
    finally:
        root.handlers[:], root.level = before
    with pytest.raises(BadInput, match="copy-all: No such option"):
        umbrella.run("copy-all", no_such="x")
    with pytest.raises(BadInput, match="verify-migration: Invalid value for '--depth'"):
        umbrella.run("verify-migration", depth="x")
