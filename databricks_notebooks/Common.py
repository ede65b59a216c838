# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC What all notebooks share: the package, widgets, and the report at the end.
# MAGIC Each folder's own `Common` runs this one, and each notebook runs its folder's.

# COMMAND ----------

# MAGIC %pip install -q git+https://github.com/mlflow-oidc/mlflow-migration

# COMMAND ----------

import os

from mlflow_migration.common.export_dir import ExportDir, safe_name
from mlflow_migration.common.report import read_report
from mlflow_migration.common.session import report_dir

# COMMAND ----------


def text_widget(name, default=""):
    """Make a widget for a text, and return what is in it; None if nothing is."""
    dbutils.widgets.text(name, default)
    return dbutils.widgets.get(name).strip() or None


def yes_no_widget(name, default=False):
    """Make a widget for yes or no, and return whether it says yes."""
    dbutils.widgets.dropdown(name, "yes" if default else "no", ["yes", "no"])
    return dbutils.widgets.get(name) == "yes"


def choice_widget(name, choices):
    """Make a widget for one of several choices, the first of which is the default, and return it."""
    dbutils.widgets.dropdown(name, choices[0], choices)
    return dbutils.widgets.get(name)


def get_notebook_formats(num):
    """Make the widget for the formats in which notebooks of runs are exported, and return the list of them."""
    name = f"{num}. Notebook formats"
    dbutils.widgets.multiselect(name, "SOURCE", ["SOURCE", "HTML", "JUPYTER", "DBC"])
    return [one for one in dbutils.widgets.get(name).split(",") if one]


def assert_widget(value, name):
    """Refuse to go on while a widget is empty."""
    if not value:
        raise ValueError(f"Fill in the widget '{name}'.")


# COMMAND ----------


def below(base_dir, name):
    """Return the directory of an object below a base directory."""
    return f"{base_dir.rstrip('/')}/{safe_name(name)}"


def show_report(directory, report=None):
    """Show the report of what was just done, and fail if anything is not whole.

    It lies in the directory of an export. That of an import lies there too, or in `mlflow-migration-report` below the
    working directory if the export can't be written to.
    """
    place = report_dir(report, ExportDir(directory))
    with place.open_read("report.html") as file:
        displayHTML(file.read().decode("utf-8"))
    facts = read_report(place)
    if facts["outcome"] != "whole":
        raise RuntimeError(f"{facts['sentence']} {facts['what_to_do']}")
