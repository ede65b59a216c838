"""`make demo`: two servers on this machine, experiments that move from one to the other, and proof that all arrived.

    python -m benchmarks.demo [--keep]

All its data is in a temporary directory, which is removed at the end.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List, Optional

from benchmarks.make_data import make, make_everything
from tests.support.compare import differences
from tests.support.scripts import script_path
from tests.support.servers import Server, clean_environment

EVERYTHING = "everything"


def _say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def _run(server: Server, name: str, *args: str) -> None:
    """Show a command as a user would type it, and run it.

    :raises subprocess.CalledProcessError: It did not exit with 0.
    """
    print(f"\n$ MLFLOW_TRACKING_URI={server.uri} \\\n  {name} {' '.join(args)}", flush=True)
    env = clean_environment({"MLFLOW_TRACKING_URI": server.uri})
    subprocess.run([script_path(name), *args], env=env, check=True)


def _move(src: Server, dst: Server, experiment: str, home: Path) -> None:
    directory, report = str(home / "export" / experiment), str(home / "report" / experiment)
    options = ("--experiment", experiment, "--output-dir", directory, "--export-deleted-runs", "--quiet")
    _run(src, "export-experiment", *options)
    options = ("--experiment-name", experiment, "--input-dir", directory, "--report-dir", report, "--quiet")
    _run(dst, "import-experiment", *options)


def demo(home: Path) -> bool:
    """Run the demo.

    :param home: An empty directory for the servers' data and the exports.
    :return: Whether both servers hold the same at the end.
    :raises subprocess.CalledProcessError: A command failed.
    """
    src, dst = Server(home / "source"), Server(home / "destination")
    try:
        _say("Two MLflow servers start")
        for server in (src, dst):
            server.start(wait=False)
        for server in (src, dst):
            server.wait()
        print(f"source       {src.uri}\ndestination  {dst.uri}")

        _say("Experiments are made at the source")
        started = time.monotonic()
        experiments = make(src.uri, "small", prefix="training")
        make_everything(src.uri, EVERYTHING)
        print(f"{', '.join(experiments)}: runs with params, metric histories, tags and artifacts")
        print(f"{EVERYTHING}: nested and deleted runs, NaN, datasets, logged models, odd file names and more")
        print(f"({time.monotonic() - started:.1f} s)")
        experiments.append(EVERYTHING)

        for title in ("They move to the destination, by way of a directory", "Once more: nothing is left to do"):
            _say(title)
            started = time.monotonic()
            for experiment in experiments:
                _move(src, dst, experiment, home)
            print(f"({time.monotonic() - started:.1f} s)")

        _say("Both servers are read and compared, value by value and byte by byte")
        found: List[str] = []
        for experiment in experiments:
            here = differences((src.uri, experiment), (dst.uri, experiment))
            print(f"{experiment}: {f'{len(here)} differences' if here else 'no difference'}")
            found += here
        print("\n".join(found[:50]))
        return not found
    finally:
        for server in (src, dst):
            server.stop()


def main(args: Optional[List[str]] = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the directory with the servers' data and the exports")
    options = parser.parse_args(args)
    home = Path(tempfile.mkdtemp(prefix="mlflow-migration-demo-"))
    try:
        same = demo(home)
    except subprocess.CalledProcessError as ex:
        print(f"FAILED: {ex}")
        return 1
    finally:
        if options.keep:
            print(f"\nkept: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)
    print("OK: all that was exported arrived, once" if same else "FAILED: see the differences above")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
