# Databricks notebook source
# MAGIC %md ### Export a logged model
# MAGIC
# MAGIC Export one logged model (MLflow 3) with the runs that made or measured it to `OUTPUT_BASE_DIRECTORY/MODEL_ID`.
# MAGIC
# MAGIC * Export runs: without them only the model.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

model_id = text_widget("1. Model ID")
output_base_dir = text_widget("2. Output base directory")
export_runs = yes_no_widget("3. Export runs", default=True)

# COMMAND ----------

assert_widget(model_id, "1. Model ID")
assert_widget(output_base_dir, "2. Output base directory")
output_dir = below(output_base_dir, model_id)

# COMMAND ----------

from mlflow_migration.logged_model.export_logged_model import export_logged_model

export_logged_model(model_id=model_id, output_dir=output_dir, export_runs=export_runs)
show_report(output_dir)
