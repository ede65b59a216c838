"""The workers of a cluster that is there already, Dask's or Spark's: they run a function on texts, through joblib."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

from mlflow_migration.client.errors import BadInput, describe
from mlflow_migration.common.executor import Executor

_PACKAGES = {"dask": ("joblib", "distributed"), "spark": ("joblib", "joblibspark", "pyspark")}
_CONNECT_SECONDS = 30

Task = Tuple[str, str]


class Engine:
    """Runs tasks on the workers of a cluster.

    :param name: One of options.ENGINES.
    :param how: What joblib's backend of that name needs besides.
    """

    def __init__(self, name: str, how: Optional[Mapping[str, Any]] = None) -> None:
        self.name = name
        self._how = dict(how or {})

    def run(self, function: Callable[[str, str], str], tasks: Sequence[Task]) -> List[str]:
        """Return what the function, one of a module that the workers have too, says to each task.

        Where the cluster has room for one task at a time only, joblib runs all of them in this process.

        :param tasks: Two texts each. What travels is nothing but these and the function's name: no object of this
            process, which might have credentials, can be among them.
        :raises TypeError: A task is something else.
        """
        from joblib import Parallel, delayed, parallel_config

        for task in tasks:
            if len(task) != 2 or any(type(text) is not str for text in task):
                raise TypeError("a task is two texts")
        with parallel_config(backend=self.name, n_jobs=-1, **self._how):
            return list(Parallel(batch_size=1, pre_dispatch="all")(delayed(function)(*task) for task in tasks))


@contextmanager
def open_engine(options: Mapping[str, Any]) -> Iterator[Optional[Engine]]:
    """Give the engine that the options of a command name, connected; None without ``engine``, or in a dry run.

    :raises BadInput: Packages are missing, or the cluster can't be reached or used.
    """
    name, address = options.get("engine"), options.get("engine_address")
    if not name and address:
        raise BadInput("--engine-address is of no use without --engine.")
    if not name or options.get("dry_run"):
        yield None
        return
    missing = [package for package in _PACKAGES[name] if importlib.util.find_spec(package) is None]
    if missing:
        needed = f"pip install 'mlflow-migration[{name}]'"
        raise BadInput(f"--engine {name} needs packages that are not there ({', '.join(missing)}): {needed}")
    # by the executor, as what a cluster's client raises may be anything
    connected = Executor(1).gather(_connect_dask if name == "dask" else _connect_spark, [address])[0]
    if isinstance(connected.error, BadInput):
        raise connected.error
    if connected.error is not None:
        raise BadInput(f"The {name.capitalize()} cluster can't be reached: {describe(connected.error)}")
    how, close = connected.get()
    try:
        yield Engine(name, how)
    finally:
        close()


Connected = Tuple[Mapping[str, Any], Callable[[], object]]


def _connect_dask(address: Optional[str]) -> Connected:
    import dask
    from distributed import Client

    given = address or dask.config.get("scheduler-address", None)
    if not given:
        # a client without an address would start a cluster on this machine
        raise BadInput("--engine dask needs --engine-address, or DASK_SCHEDULER_ADDRESS: tcp://HOST:PORT")
    client = Client(given, timeout=_CONNECT_SECONDS, set_as_default=False)
    return {"client": client}, client.close


def _connect_spark(address: Optional[str]) -> Connected:
    from joblibspark import register_spark
    from pyspark.sql import SparkSession

    was_there = SparkSession.getActiveSession() is not None
    builder = SparkSession.builder.appName("mlflow-migration")
    if address:
        builder = builder.remote(address) if address.startswith("sc://") else builder.master(address)
    session = builder.getOrCreate()
    if str(session.conf.get("spark.speculation", "false")).lower() == "true":
        raise BadInput("--engine spark needs spark.speculation=false: no run may be imported by two tasks at once.")
    register_spark()
    return {}, (lambda: None) if was_there else session.stop
