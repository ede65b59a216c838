"""Every command line option: its name, type, help and default. The tables of options.md are made from here.

``python -m mlflow_migration.common.options`` writes these tables into options.md; ``--check`` only compares them.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import click

from mlflow_migration.client.errors import BadInput

LOSS_KINDS = (
    "runs", "artifacts", "values", "inputs", "logged-models", "versions", "parents", "links", "notebooks", "traces",
    "evaluation-datasets", "scorers", "issues", "label-schemas", "review-queues",
    "webhooks", "gateway", "mcp-servers", "secrets",
    "users", "permissions",
)  # fmt: skip
ENGINES = ("dask", "spark")
STAGES = ("None", "Staging", "Production", "Archived")
NOTEBOOK_FORMATS = ("SOURCE", "HTML", "JUPYTER", "DBC")

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[KMGT]?)(i?B)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}($|[T ]\d{2}:\d{2})")
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[smhd])", re.IGNORECASE)
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_FRACTION = re.compile(r"\.(\d+)")


def parse_time(text: str) -> int:
    """Return the moment in ms since epoch.

    :param text: ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM[:SS[.fff]]`` (``T`` instead of the blank is fine), UTC unless it
        ends with ``Z`` or an offset such as ``+02:00``.
    :raises BadInput: It is neither.
    """
    # Python before 3.11 knows no "Z" and only fractions of 3 or 6 digits
    plain = re.sub(r"[zZ]$", "+00:00", text.strip())
    plain = _FRACTION.sub(lambda m: "." + (m[1] + "000000")[:6], plain)
    try:
        if not _DAY.match(plain):
            raise ValueError("later Pythons take other forms too, such as 20240131")
        moment = datetime.fromisoformat(plain)
    except ValueError as ex:
        raise BadInput(f"{text!r} is no date or date-time such as 2024-01-31 or '2024-01-31 18:30:00'") from ex
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 1000 + since_epoch.microseconds // 1000


def parse_size(text: str) -> int:
    """Return the number of bytes.

    :param text: A number with an optional unit KB, MB, GB or TB, in steps of 1024.
    :raises BadInput: It is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise BadInput(f"{text!r} is no size such as 500000, 20KB, 1.5MB or 2GB")
    return int(float(match["number"]) * _SIZE_UNITS[match["unit"].upper()])


def parse_duration(text: str) -> float:
    """Return the number of seconds.

    :param text: A number with one of the units ``s``, ``m``, ``h`` and ``d``.
    :raises BadInput: It is no duration, or none above 0.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match["number"]) * _DURATION_UNITS[match["unit"].lower()] if match else 0.0
    if seconds <= 0:
        raise BadInput(f"{text!r} is no duration such as 30s, 10m, 6h or 1d")
    return seconds


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # older clicks can't subscript it
    """A text that a function makes into a number; a number, such as a default, stays as it is."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> float:
        try:
            return value if isinstance(value, (int, float)) else self._parse(value)
        except BadInput as ex:
            self.fail(ex.message, param, ctx)


class _CommaList(click.ParamType):  # type: ignore[type-arg]  # older clicks can't subscript it
    """A comma separated list; with choices (any case) anything else is refused."""

    name = "list"

    def __init__(self, choices: Sequence[str] = ()) -> None:
        self.choices = choices

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> List[str]:
        if isinstance(value, (list, tuple)):
            return list(value)
        items = [item.strip() for item in value.split(",") if item.strip()]
        if not items:
            self.fail("the list is empty", param, ctx)  # such as an unset variable of a shell: all is not meant
        if not self.choices:
            return items
        known = {choice.lower(): choice for choice in self.choices}
        for item in items:
            if item.lower() not in known:
                self.fail(f"{item!r} is none of {', '.join(self.choices)}", param, ctx)
        return [known[item.lower()] for item in items]


BOOL = click.BOOL
TIME = _Parsed("time", parse_time)
SIZE = _Parsed("size", parse_size)
DURATION = _Parsed("duration", parse_duration)
LIST = _CommaList()


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    :param group: Heading of its table in options.md.
    :param help: One or two sentences.
    :param type: How its text becomes a value. BOOL options take a value and also work as bare flags.
    :param default: Value when it is not given.
    :param required: The command can't do without.
    :param multiple: May be repeated; each one a comma separated list, together one list.
    :param spellings: Other names than the one of its key.
    :param private: Its value may hold secrets: it is never logged nor written to a ledger.
    """

    group: str
    help: str
    type: Any = str
    default: Any = None
    required: bool = False
    multiple: bool = False
    spellings: Tuple[str, ...] = ()
    private: bool = False


_WHERE = "Where from and where to"
_WHICH = "Which objects"
_HOW = "How values, users and links are treated"
_DATABRICKS = "Databricks"
_AGAIN = "Repeating and losses"
_RUN = "Speed, reports and messages"
_HTTP = "http-client"
_TOOLS = "Other tools"

OPTIONS: Dict[str, Option] = {
    "tracking_uri": Option(_WHERE, "Tracking server or local store; without it MLFLOW_TRACKING_URI counts."),
    "registry_uri": Option(
        _WHERE, "Server with the model registry; default: MLFLOW_REGISTRY_URI, then the tracking server."
    ),
    "src_mlflow_uri": Option(
        _WHERE,
        "Source server or local store; default: MLFLOW_MIGRATION_SRC_TRACKING_URI, then MLFLOW_TRACKING_URI.",
        spellings=("--src-tracking-uri",),
    ),
    "dst_mlflow_uri": Option(
        _WHERE,
        "Destination server or local store; default: MLFLOW_MIGRATION_DST_TRACKING_URI, then MLFLOW_TRACKING_URI.",
        spellings=("--dst-tracking-uri",),
    ),
    "src_registry_uri": Option(
        _WHERE,
        "Server with the source's registry; default: MLFLOW_MIGRATION_SRC_REGISTRY_URI, then the source.",
    ),
    "dst_registry_uri": Option(
        _WHERE,
        "Server with the destination's registry; default: MLFLOW_MIGRATION_DST_REGISTRY_URI, then the destination.",
    ),
    "output_dir": Option(
        _WHERE,
        "Directory to export to: local, dbfs:/ (on a cluster), /Volumes, s3://, gs:// or abfss://.",
        required=True,
    ),
    "input_dir": Option(_WHERE, "Directory of an export to import from, or to verify.", required=True),
    "depth": Option(
        _WHICH,
        "How closely is compared: which objects there are, what they have (sizes of artifacts too), or also all metric "
        "points and the bytes of all artifacts.",
        click.Choice(["counts", "metadata", "full"]),
        "metadata",
    ),
    "verify": Option(
        _RUN,
        "How closely the copy is verified at the end; see --depth of verify-migration.",
        click.Choice(["none", "counts", "metadata", "full"]),
        "metadata",
    ),
    "temp_dir": Option(_WHERE, "Directory for what is on its way; a repeat takes up what it finds there."),
    "run_id": Option(_WHICH, "Id of the source run.", required=True),
    "model_id": Option(_WHICH, "Id of the logged model.", required=True),
    "request_id": Option(_WHICH, "Id of the trace.", required=True, spellings=("--trace-id",)),
    "experiment_ids": Option(_WHICH, "Ids of the source experiments, comma separated, or all.", LIST, required=True),
    "experiment": Option(_WHICH, "Name or id of the source experiment; a name is tried first.", required=True),
    "experiments": Option(
        _WHICH,
        "Names or ids of experiments, comma separated; `all`, beginnings with a `*`, or a .txt file of them.",
        required=True,
    ),
    "experiment_rename_file": Option(
        _HOW, "CSV file with OLD,NEW lines: experiments whose name begins with OLD get NEW instead; the longest counts."
    ),
    "experiment_name": Option(_WHICH, "Name of the destination experiment; it is created if absent.", required=True),
    "model": Option(_WHICH, "Name of the registered model.", required=True),
    "models": Option(
        _WHICH,
        "Names of registered models, comma separated; `all`, beginnings with a `*`, or a .txt file of them.",
        required=True,
    ),
    "model_rename_file": Option(_HOW, "The same as --experiment-rename-file, for registered models."),
    "export_all_runs": Option(_WHICH, "Take all runs of the experiments, not only those of versions.", BOOL, False),
    "src_model": Option(_WHICH, "Name of the source's registered model.", required=True),
    "dst_model": Option(_WHICH, "Name of the destination's registered model; default: that of the source's."),
    "dst_experiment_name": Option(
        _WHICH,
        "Destination experiment of the runs; it is created if absent. Without it copy-model-version copies no run.",
    ),
    "prompts": Option(
        _WHICH,
        "Names of prompts, comma separated; `all`, beginnings of names with a `*`, or a .txt file of names.",
        required=True,
    ),
    "users": Option(
        _WHICH,
        "Names of users, comma separated, or a .txt file of names: only these, and what they may do; default: all. "
        "Servers before MLflow 3 can't list their users: without names nothing is exported of them.",
    ),
    "prompt_name": Option(
        _WHICH, "Name of the prompt; import-prompt gives it this name, without it that of the source's."
    ),
    "prompt_version": Option(_WHICH, "Number of the prompt's version.", required=True),
    "evaluation_datasets": Option(
        _WHICH,
        "Names or ids of evaluation datasets, comma separated; `all`, beginnings of names with a `*`, or a .txt file.",
        required=True,
    ),
    "dataset_name": Option(_WHICH, "Name of the evaluation dataset, if it is the name of one alone."),
    "dataset_id": Option(_WHICH, "Id of the evaluation dataset."),
    "evaluation_dataset_name": Option(_WHICH, "Name of the destination's evaluation dataset; default: the source's."),
    "workspaces": Option(
        _WHICH,
        "Names of workspaces of the source, comma separated; `all`, beginnings with a `*`, or a .txt file of names.",
    ),
    "workspace_rename_file": Option(_HOW, "The same as --experiment-rename-file, for workspaces."),
    "dst_workspace": Option(
        _WHERE,
        "Workspace of the destination that everything goes into: of a source without workspaces, or of one workspace.",
    ),
    "src_version": Option(_WHICH, "Number of the source's version.", required=True),
    "version": Option(_WHICH, "Number of the version.", required=True),
    "versions": Option(_WHICH, "Only these versions, comma separated; not together with --stages.", LIST),
    "stages": Option(
        _WHICH, f"Only versions in these stages, comma separated: {', '.join(STAGES)}.", _CommaList(STAGES)
    ),
    "export_latest_versions": Option(_WHICH, "Only the latest version of each stage.", BOOL, False),
    "export_version_model": Option(
        _WHICH, "Also take the registry's own copy of each version's model, into version_models.", BOOL, False
    ),
    "vrm_export_version_model": Option(
        _WHICH, "Also take the registry's own copy of the version's model, into version_model.", BOOL, False
    ),
    "vrm_model_artifact_path": Option(
        _WHICH, "Put that copy among the run's artifacts below this path, and make that the version's source."
    ),
    "skip_download_run_artifacts": Option(_WHICH, "Take no artifacts of the run and its logged models.", BOOL, False),
    "run_ids": Option(_WHICH, "Only these runs, comma separated.", LIST),
    "check_nested_runs": Option(_WHICH, "With --run-ids: take all descendants of these runs too.", BOOL, False),
    "filter": Option(
        _WHICH, 'Only runs (or model versions) that match MLflow\'s filter string, such as "metrics.rmse < 1".'
    ),
    "logged_models_filter": Option(
        _WHICH, "Only logged models that match MLflow's filter string, such as \"name = 'model'\"."
    ),
    "export_runs": Option(_WHICH, "Take the runs that made or measured them too.", BOOL, True),
    "run_start_time": Option(_WHICH, "Only runs started at or after this date or date-time (UTC).", TIME),
    "runs_until": Option(_WHICH, "Only runs started before this date or date-time (UTC).", TIME),
    "changed_since": Option(
        _WHICH, "Only runs started or ended at or after this date or date-time (UTC), or still running.", TIME
    ),
    "export_deleted_runs": Option(_WHICH, "Take deleted runs too.", BOOL, False),
    "export_deleted_experiments": Option(_WHICH, "Take deleted experiments too.", BOOL, False),
    "artifacts": Option(
        _WHICH,
        "What becomes of artifacts: copy them; skip them, and tag what has some with where they are; or reference: as "
        "copy, but a version whose model lies in an object store and in no run or logged model that is copied keeps "
        "its source.",
        click.Choice(["copy", "skip", "reference"]),
        "copy",
    ),
    "include_artifacts": Option(_WHICH, "Only artifacts whose path matches one of these globs.", LIST, multiple=True),
    "exclude_artifacts": Option(_WHICH, "No artifacts whose path matches one of these globs.", LIST, multiple=True),
    "max_artifact_size": Option(_WHICH, "No artifacts above this size in bytes, or with KB, MB, GB or TB.", SIZE),
    "import_source_tags": Option(
        _HOW, "Keep the source's ids, times and mlflow.* tags as mlflow_exim.* tags.", BOOL, False
    ),
    "use_src_user_id": Option(_HOW, "Set the mlflow.user tag to the source run's user.", BOOL, False),
    "mlmodel_fix": Option(_HOW, "Write the new run and model ids into MLmodel files.", BOOL, True),
    "create_model": Option(_HOW, "Create the registered model if it is absent.", BOOL, False),
    "import_stages_and_aliases": Option(_HOW, "Set the stage and the aliases of the version.", BOOL, False),
    "import_metadata": Option(
        _HOW, "Give a registered model and an experiment that are created their description and tags.", BOOL, False
    ),
    "copy_stages_and_aliases": Option(_HOW, "Set the stage and the aliases of the version.", BOOL, False),
    "copy_lineage_tags": Option(_HOW, "Set tags that say where the version came from.", BOOL, False),
    "on_version_conflict": Option(
        _HOW,
        "The destination has, or once had, another version with a number: fail the model, skip the version, or give it "
        "the next free number.",
        click.Choice(["fail", "skip", "renumber"]),
        "fail",
    ),
    "fill_gaps": Option(
        _HOW,
        "Gaps in the numbers of versions are filled by versions that are deleted at once: of up to 1,000, or always.",
        click.Choice(["small", "always"]),
        "small",
    ),
    "on_refused": Option(
        _HOW,
        "A value that the destination refuses or would cut: leave it out, cut it, or fail the run.",
        click.Choice(["skip", "truncate", "fail"]),
        "skip",
    ),
    "export_permissions": Option(_DATABRICKS, "Export access permissions.", BOOL, False),
    "copy_permissions": Option(
        _DATABRICKS,
        "Grant the source's permissions at the destination; copy-model-version only on a model that it creates.",
        BOOL,
        False,
    ),
    "import_permissions": Option(_DATABRICKS, "Grant the exported access permissions at the destination.", BOOL, False),
    "principal_mapping_file": Option(
        _DATABRICKS,
        "CSV file with OLD,NEW lines: permissions of the user, group or service principal OLD are granted to NEW.",
    ),
    "notebook_formats": Option(
        _DATABRICKS,
        "Export each run's notebook in these formats: SOURCE, HTML, JUPYTER, DBC.",
        _CommaList(NOTEBOOK_FORMATS),
    ),
    "dst_notebook_dir": Option(
        _DATABRICKS, "Workspace directory that the runs' notebooks are imported into, each into one of its own."
    ),
    "notebook": Option(_DATABRICKS, "Absolute path of the notebook in its workspace.", required=True),
    "revision": Option(_DATABRICKS, "Id of a revision of the notebook; default: the notebook as it is now."),
    "profile": Option(
        _DATABRICKS, "Profile of ~/.databrickscfg; default: the DATABRICKS_... variables, then the default profile."
    ),
    "spec_file": Option(_DATABRICKS, "JSON or YAML file with the run, as jobs/runs/submit takes it.", required=True),
    "sleep_seconds": Option(_DATABRICKS, "Pause in seconds between looks at the run.", click.FloatRange(min=0), 5.0),
    "timeout_seconds": Option(
        _DATABRICKS, "The longest in seconds that the run may take; default: no limit.", click.FloatRange(min=0)
    ),
    "delete_model": Option(
        _AGAIN,
        "First delete the destination's model with all its versions, once the directory is known to be whole.",
        BOOL,
        False,
    ),
    "delete_prompt": Option(
        _AGAIN, "First delete the destination's prompt with all its versions, once the directory is read.", BOOL, False
    ),
    "delete_evaluation_dataset": Option(
        _AGAIN,
        "First delete all of the destination's evaluation datasets of that name, once the directory is read.",
        BOOL,
        False,
    ),
    "activate": Option(
        _HOW,
        "Let what works by itself do so at the destination, as far as it does at the source: online scoring, webhooks, "
        "budgets. Without it they arrive switched off.",
        BOOL,
        False,
    ),
    "await_creation_for": Option(_AGAIN, "Has no effect; for command lines of the earlier tools.", click.INT),
    "every": Option(
        _AGAIN,
        "Copy again and again, a copy beginning so long after the last one did, such as 10m, until stopped.",
        DURATION,
    ),
    "recheck": Option(
        _AGAIN,
        "How a repeat finds changes: from what a search returns, or by reading histories and artifacts again.",
        click.Choice(["fast", "full"]),
        "fast",
    ),
    "on_destination_change": Option(
        _AGAIN,
        "What was edited or deleted at the destination: leave it and report it, or write it again.",
        click.Choice(["keep", "overwrite"]),
        "keep",
    ),
    "accept_loss": Option(
        _AGAIN,
        f"Losses of this kind leave an object copied instead of incomplete: {', '.join(LOSS_KINDS)}.",
        _CommaList(LOSS_KINDS),
        multiple=True,
    ),
    "require_admin": Option(_AGAIN, "Don't start unless the credentials are known to see everything.", BOOL, False),
    "dry_run": Option(_AGAIN, "Write nothing; read and tell what would be done.", BOOL, False),
    "fail_fast": Option(_AGAIN, "Stop at the first object that fails.", BOOL, False),
    "workers": Option(_RUN, "Number of requests at a time, at most.", click.IntRange(1, 256), 8),
    "engine": Option(
        _RUN,
        "Let the workers of a Dask or Spark cluster do the most of it; they must see the directory. Default: this "
        "machine alone.",
        click.Choice(ENGINES),
    ),
    "engine_address": Option(
        _RUN,
        "Dask: the scheduler, such as tcp://host:8786; default: DASK_SCHEDULER_ADDRESS. Spark: the master, or sc:// of "
        "Spark Connect; default: the session that is there.",
        private=True,
    ),
    "use_threads": Option(_RUN, "False is the same as --workers 1.", BOOL),
    "report_dir": Option(
        _RUN,
        "Directory for ledger.jsonl and the report. Default: an export's directory; for an import its directory if "
        "writable; else ./mlflow-migration-report.",
    ),
    "quiet": Option(_RUN, "No progress, and only warnings and the summary.", BOOL, False),
    "verbose": Option(_RUN, "Show details, and where in the code an error arose.", BOOL, False),
    "api": Option(_HTTP, "Which API the resource belongs to.", click.Choice(["mlflow", "databricks"]), "mlflow"),
    "resource": Option(_HTTP, "Resource of the API, such as experiments/search.", required=True),
    "method": Option(
        _HTTP, "HTTP method.", click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False), "GET"
    ),
    "params": Option(_HTTP, "Parameters of a GET: JSON, or @FILE with JSON.", private=True),
    "data": Option(_HTTP, "Body of the other methods: JSON, or @FILE with JSON.", private=True),
    "output_file": Option(
        _TOOLS,
        "File for the result; without it the result is printed. Of set-model-signature: CSV file with a sample of what "
        "the model returns.",
    ),
    "model_uri": Option(
        _TOOLS,
        "The model: models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, runs:/ID/PATH or a location of artifacts.",
        required=True,
    ),
    "use_get_model_info": Option(_TOOLS, "Let MLflow read the MLmodel file: slower, and it checks it.", BOOL, False),
    "input_file": Option(_TOOLS, "CSV file with a sample of what the model gets.", required=True),
    "overwrite_signature": Option(_TOOLS, "Also if the model has a signature already.", BOOL, False),
    "path": Option(_TOOLS, "Directory of the run's artifacts to look in; default: all of them."),
    "target": Option(_TOOLS, "Name of the file or directory to look for.", required=True),
    "max_level": Option(_TOOLS, "Number of levels of directories to look into; default: all.", click.INT),
    "dst_experiment": Option(_TOOLS, "Name that the model's experiment gets; default: the one that it has."),
    "custom_rewriters_module": Option(
        _TOOLS, "Python file with a function rewrite_model(dct, dir) or rewrite_experiment(dct, dir).", required=True
    ),
}


def flag(key: str) -> str:
    """Return the option as it is typed: ``run_ids`` is ``--run-ids``."""
    return "--" + key.replace("_", "-")


def _join(_ctx: click.Context, _param: click.Parameter, values: Sequence[Sequence[str]]) -> List[str]:
    return [item for items in values for item in items]


def _filled(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise click.BadParameter("it is empty", ctx, param)
    return value


def click_option(key: str, optional: bool = False) -> click.Option:
    """Return the option for a click command.

    :param key: Its keyword, such as ``run_ids``.
    :param optional: The command can do without, although others can't.
    :raises KeyError: No such option is declared.
    """
    option = OPTIONS[key]
    # since click 8.3 a required option with an explicit default of None is not required
    default = {} if option.default is None else {"default": option.default}
    return click.Option(
        [key, flag(key), *option.spellings],
        type=option.type,
        required=option.required and not optional,
        multiple=option.multiple,
        show_default=option.default is not None,
        callback=_join if option.multiple else _filled if option.required else None,
        help=option.help,
        **default,
    )


def loggable(key: str, value: Any) -> Any:
    """Return the value as a log or ledger may hold it (user information in URIs is up to ``errors.redact``)."""
    private = key in OPTIONS and OPTIONS[key].private and value is not None
    return f"({len(str(value))} characters)" if private else value


def _type_text(option: Option) -> str:
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    if option.type is BOOL:
        return "flag or BOOL"
    if isinstance(option.type, click.IntRange):
        return f"{option.type.min} to {option.type.max}"
    if isinstance(option.type, click.FloatRange):
        return "seconds"
    return "text" if option.type is str else str(option.type.name)


def _commands_of(key: str) -> str:
    from mlflow_migration.common.umbrella import ALL, load

    names = [name for name in ALL if any(param.name == key for param in load(name).params)]
    return "all" if len(names) == len(ALL) else ", ".join(names)


def tables() -> str:
    """Return the tables of options.md, one for each group, in Markdown."""
    lines: List[str] = []
    for group in dict.fromkeys(option.group for option in OPTIONS.values()):
        lines += [f"### {group}", "", "| option | value | default | meaning | commands |", "|---|---|---|---|---|"]
        for key, option in OPTIONS.items():
            if option.group != group:
                continue
            names = ", ".join(f"`{name}`" for name in (flag(key), *option.spellings))
            default = "required" if option.required else "" if option.default is None else f"`{option.default}`"
            lines.append(f"| {names} | {_type_text(option)} | {default} | {option.help} | {_commands_of(key)} |")
        lines.append("")
    return "\n".join(lines)


_BEGIN, _END = "<!-- tables: begin -->", "<!-- tables: end -->"


def with_tables(text: str) -> str:
    """Return the text of options.md with the present tables between its two markers.

    :raises ValueError: It lacks the markers.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the text has no {_BEGIN} ... {_END}")
    return f"{before}{begin}\n\n{tables()}\n{end}{after}"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if the tables are not up to date.")
@click.argument("path", default="options.md")
def main(check: bool, path: str) -> None:
    """Write the tables of options into PATH."""
    text = Path(path).read_text(encoding="utf-8")
    new = with_tables(text)
    if check and new != text:
        click.echo(f"{path} is not up to date: run python -m mlflow_migration.common.options", err=True)
        sys.exit(1)
    if not check:
        Path(path).write_text(new, encoding="utf-8")


if __name__ == "__main__":
    # the module under its own name: as __main__ its options would be others than those of the commands
    importlib.import_module("mlflow_migration.common.options").main()
