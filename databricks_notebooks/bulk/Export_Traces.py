# Databricks notebook source
# MAGIC %md ### Export traces
# MAGIC
# MAGIC Export the traces of experiments to a directory.
# MAGIC
# MAGIC * Experiment IDs: comma separated, or `all`.
# MAGIC * Run ID: only the traces of this run.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment_ids = text_widget("1. Experiment IDs")
output_dir = text_widget("2. Output directory")
run_id = text_widget("3. Run ID")

# COMMAND ----------

assert_widget(experiment_ids, "1. Experiment IDs")
assert_widget(output_dir, "2. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_traces import export_traces

export_traces(experiment_ids=experiment_ids, output_dir=output_dir, run_id=run_id)
show_report(output_dir)
