# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC Of the notebooks that copy from one workspace to another.

# COMMAND ----------

# MAGIC %run ../Common

# COMMAND ----------

from mlflow_migration.client.credentials import resolve_uri
from mlflow_migration.common.umbrella import run
from mlflow_migration.copy import copy_model_version as model_version_tool

# COMMAND ----------


def tracking_uri(workspace=None):
    """Return the tracking URI of a workspace.

    :param workspace: `databricks` or nothing for the workspace of this notebook; a profile, `databricks://PROFILE`; or
        what a secret scope holds, `databricks://SCOPE:PREFIX`. The URL of an open source server is fine too.
    """
    return resolve_uri(workspace)


def registry_uri(workspace, model_name):
    """Return the URI of a workspace's registry that a model belongs to; names of Unity Catalog have three parts."""
    uri = tracking_uri(workspace)
    if uri.startswith("databricks") and len(model_name.split(".")) == 3:
        return uri.replace("databricks", "databricks-uc", 1)
    return uri


def copy_model_version(
    src_model,
    src_version,
    dst_model,
    dst_experiment_name,
    src_run_workspace=None,
    dst_workspace=None,
    copy_lineage_tags=False,
    verbose=False,
):
    """Copy a version of a registered model, with its run if an experiment is given.

    :param src_run_workspace: Workspace of the source's run, if it is another one than that of this notebook.
    :param dst_workspace: Workspace that the copy goes to; default is that of this notebook.
    :return: The version and its copy.
    """
    return model_version_tool.copy(
        src_model_name=src_model,
        src_model_version=src_version,
        dst_model_name=dst_model,
        dst_experiment_name=dst_experiment_name,
        src_tracking_uri=tracking_uri(src_run_workspace),
        dst_tracking_uri=tracking_uri(dst_workspace),
        src_registry_uri=registry_uri(None, src_model),
        dst_registry_uri=registry_uri(dst_workspace, dst_model),
        copy_lineage_tags=copy_lineage_tags,
        verbose=verbose,
    )


def version_dict(version):
    """Return what is to be told of a version."""
    return {"name": version.name, "version": str(version.version), "run_id": version.run_id, "source": version.source}


def copy_by_command(name, report_directory, **options):
    """Copy as a console script does, show its report, and fail if anything is not whole."""
    status = run(name, report_dir=report_directory, **options)
    if status not in (0, 1):  # it could not start, or was stopped: the message above says why
        raise RuntimeError(f"{name} ends with exit status {status}.")
    show_report(report_directory, report_directory)
