# Databricks notebook source
# MAGIC %md ### Export logged models
# MAGIC
# MAGIC Export the logged models (MLflow 3) of experiments to a directory.
# MAGIC
# MAGIC * Experiment IDs: comma separated, or `all`.
# MAGIC * Filter: MLflow's filter string for logged models.
# MAGIC * Export runs: those that made or measured them too.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment_ids = text_widget("1. Experiment IDs")
output_dir = text_widget("2. Output directory")
logged_models_filter = text_widget("3. Filter")
export_runs = yes_no_widget("4. Export runs", default=True)

# COMMAND ----------

assert_widget(experiment_ids, "1. Experiment IDs")
assert_widget(output_dir, "2. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_logged_models import export_logged_models

export_logged_models(
    experiment_ids=experiment_ids,
    output_dir=output_dir,
    logged_models_filter=logged_models_filter,
    export_runs=export_runs,
)
show_report(output_dir)
