# Databricks notebook source
# MAGIC %md ### Import a trace
# MAGIC
# MAGIC Import one trace from a directory of `Export_Trace` into an experiment.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment_name = text_widget("1. Destination experiment name")
input_dir = text_widget("2. Input directory")

# COMMAND ----------

assert_widget(experiment_name, "1. Destination experiment name")
assert_widget(input_dir, "2. Input directory")

# COMMAND ----------

from mlflow_migration.trace.import_trace import import_trace

import_trace(input_dir=input_dir, experiment_name=experiment_name)
show_report(input_dir)
