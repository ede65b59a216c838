# Databricks notebook source
# MAGIC %md ### Import traces
# MAGIC
# MAGIC Import traces from a directory of `Export_Traces`, into experiments of the names that theirs have.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_traces import import_traces

import_traces(input_dir=input_dir)
show_report(input_dir)
