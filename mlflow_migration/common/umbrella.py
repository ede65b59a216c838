"""mlflow-migration: every script as a subcommand, loaded only when it is called."""

from __future__ import annotations

import importlib
from typing import Any, Dict, List, NamedTuple, Optional

import click

import mlflow_migration
from mlflow_migration.client.errors import BadInput


class Entry(NamedTuple):
    """Where a command is and what it does.

    :param module: Module of the package; the command is its ``main``.
    :param help: One line.
    """

    module: str
    help: str


COMMANDS: Dict[str, Entry] = {
    "export-run": Entry("run.export_run", "Export a run to a directory."),
    "import-run": Entry("run.import_run", "Import a run from a directory into an experiment."),
    "copy-run": Entry("copy.copy_run", "Copy a run to an experiment, also of another server."),
    "export-experiment": Entry(
        "experiment.export_experiment", "Export an experiment with its runs and traces to a directory."
    ),
    "import-experiment": Entry(
        "experiment.import_experiment", "Import an experiment with its runs and traces from a directory."
    ),
    "copy-experiment": Entry(
        "copy.copy_experiment", "Copy an experiment with its runs and traces, also to another server."
    ),
    "export-logged-model": Entry(
        "logged_model.export_logged_model", "Export a logged model with its runs to a directory."
    ),
    "import-logged-model": Entry(
        "logged_model.import_logged_model", "Import a logged model from a directory into an experiment."
    ),
    "export-logged-models": Entry(
        "bulk.export_logged_models", "Export the logged models of experiments with their runs to a directory."
    ),
    "import-logged-models": Entry("bulk.import_logged_models", "Import logged models of experiments from a directory."),
    "export-trace": Entry("trace.export_trace", "Export a trace to a directory."),
    "import-trace": Entry("trace.import_trace", "Import a trace from a directory into an experiment."),
    "export-traces": Entry("bulk.export_traces", "Export the traces of experiments to a directory."),
    "import-traces": Entry("bulk.import_traces", "Import traces of experiments from a directory."),
    "copy-traces": Entry("copy.copy_traces", "Copy the traces of an experiment, also to another server."),
    "export-model": Entry(
        "model.export_model", "Export a registered model with its versions and their runs to a directory."
    ),
    "import-model": Entry(
        "model.import_model", "Import a registered model with its versions and their runs from a directory."
    ),
    "export-model-version": Entry(
        "model_version.export_model_version", "Export one version of a registered model with its run to a directory."
    ),
    "import-model-version": Entry(
        "model_version.import_model_version", "Import one version of a registered model with its run from a directory."
    ),
    "copy-all": Entry(
        "copy.copy_all", "Copy a whole server to another: experiments, traces, models, prompts and all else."
    ),
    "copy-model": Entry(
        "copy.copy_model", "Copy a registered model with its versions and their runs, also to another server."
    ),
    "copy-model-version": Entry(
        "copy.copy_model_version", "Copy one version of a registered model to any registered model."
    ),
    "export-prompt": Entry("prompt.export_prompt", "Export one version of a prompt to a directory."),
    "import-prompt": Entry("prompt.import_prompt", "Import one version of a prompt from a directory."),
    "export-all": Entry(
        "bulk.export_all", "Export a server to a directory: experiments, models, prompts, traces and all else."
    ),
    "import-all": Entry("bulk.import_all", "Import all that export-all has written."),
    "export-experiments": Entry(
        "bulk.export_experiments", "Export experiments with their runs and traces to a directory."
    ),
    "import-experiments": Entry(
        "bulk.import_experiments", "Import experiments with their runs and traces from a directory."
    ),
    "export-models": Entry(
        "bulk.export_models", "Export registered models with their versions and their runs to a directory."
    ),
    "import-models": Entry(
        "bulk.import_models", "Import registered models with their versions and their runs from a directory."
    ),
    "export-prompts": Entry("bulk.export_prompts", "Export prompts with all their versions to a directory."),
    "import-prompts": Entry("bulk.import_prompts", "Import prompts with all their versions from a directory."),
    "export-scorers": Entry("scorer.export_scorers", "Export the scorers of all experiments to a directory."),
    "import-scorers": Entry("scorer.import_scorers", "Import scorers from a directory."),
    "export-evaluation-dataset": Entry(
        "evaluation_dataset.export_evaluation_dataset", "Export an evaluation dataset with its records to a directory."
    ),
    "import-evaluation-dataset": Entry(
        "evaluation_dataset.import_evaluation_dataset",
        "Import an evaluation dataset with its records from a directory.",
    ),
    "export-evaluation-datasets": Entry(
        "bulk.export_evaluation_datasets", "Export evaluation datasets with their records to a directory."
    ),
    "import-evaluation-datasets": Entry(
        "bulk.import_evaluation_datasets", "Import evaluation datasets with their records from a directory."
    ),
    "export-issues": Entry("issue.export_issues", "Export the issues of all experiments to a directory."),
    "import-issues": Entry("issue.import_issues", "Import issues from a directory."),
    "export-label-schemas": Entry(
        "label_schema.export_label_schemas", "Export the label schemas of all experiments to a directory."
    ),
    "import-label-schemas": Entry("label_schema.import_label_schemas", "Import label schemas from a directory."),
    "export-review-queues": Entry(
        "review_queue.export_review_queues", "Export the review queues of all experiments to a directory."
    ),
    "import-review-queues": Entry("review_queue.import_review_queues", "Import review queues from a directory."),
    "export-webhooks": Entry("webhook.export_webhooks", "Export the webhooks of a server to a directory."),
    "import-webhooks": Entry("webhook.import_webhooks", "Import webhooks from a directory."),
    "export-gateway": Entry("gateway.export_gateway", "Export the definitions of the gateway to a directory."),
    "import-gateway": Entry("gateway.import_gateway", "Import definitions of the gateway from a directory."),
    "export-mcp-servers": Entry("mcp_server.export_mcp_servers", "Export the registry of MCP servers to a directory."),
    "import-mcp-servers": Entry("mcp_server.import_mcp_servers", "Import MCP servers from a directory."),
    "export-users": Entry("access.export_users", "Export users, their roles and permissions to a directory."),
    "import-users": Entry("access.import_users", "Import users, their roles and permissions from a directory."),
    "export-jobs": Entry("server_job.export_jobs", "Export a server's jobs to a directory, for the record."),
    "list-registered-models": Entry("tools.list_registered_models", "List the registered models."),
    "get-model-signature": Entry("tools.get_model_signature", "Show the signature of a model."),
    "set-model-signature": Entry("tools.set_model_signature", "Give a model a signature that fits a sample."),
    "list-model-versions-without-signatures": Entry(
        "tools.list_model_versions_without_signatures", "List the model versions that have no signature."
    ),
    "find-artifacts": Entry("common.find_artifacts", "Find artifacts of a run by their name."),
    "verify-migration": Entry(
        "verify.verify_migration", "Tell whether a copy is whole: compare two servers, or a directory with one."
    ),
    "download-notebook": Entry("notebook.download_notebook", "Download a notebook of a Databricks workspace."),
    "make-report": Entry("common.make_report", "Make the report of the last command anew, from its ledger."),
    "http-client": Entry("client.http_client", "Send one request to the MLflow or Databricks API."),
}

MODULES: Dict[str, Entry] = {
    "filter_one_model": Entry(
        "tools.experimental.filter_one_model", "Copy one registered model out of a directory of several."
    ),
    "rewrite_export": Entry(
        "tools.experimental.rewrite_export", "Rewrite the files of models and experiments by functions of your own."
    ),
    "run_submit": Entry("workflow_api.run_submit", "Submit a one-time run of a Databricks job, and wait for its end."),
}
"""Commands that have no script: they are run by ``python -m`` and their module."""

ALL: Dict[str, Entry] = {**COMMANDS, **MODULES}


def load(name: str) -> click.Command:
    """Return a command; its module is imported now.

    :param name: A key of ALL.
    """
    command: click.Command = importlib.import_module(f"mlflow_migration.{ALL[name].module}").main
    return command


def run(name: str, **options: Any) -> int:
    """Run a command in this process as its script would, and return its exit status: for notebooks.

    :param name: A key of ALL, such as ``copy-all``.
    :param options: Its options by their keys, such as ``src_mlflow_uri``. None and an empty text are as not given.
    :raises BadInput: It has no such option, or an option has no such value.
    """
    given = {key: value for key, value in options.items() if value not in (None, "")}
    args = [word for key, value in given.items() for word in ("--" + key.replace("_", "-"), str(value))]
    try:
        load(name).main(args, standalone_mode=False)
    except SystemExit as ex:
        return int(ex.code or 0)
    except click.ClickException as ex:
        raise BadInput(f"{name}: {ex.format_message()}") from None
    return 0


class _Umbrella(click.Group):
    def list_commands(self, ctx: click.Context) -> List[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command for its line
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.command(
    "mlflow-migration",
    cls=_Umbrella,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(mlflow_migration.__version__, prog_name="mlflow-migration")
def main(**_: Any) -> None:
    """Move MLflow objects between tracking servers, through a directory or directly.

    Each command is also a script of its own.
    """


if __name__ == "__main__":
    main()
