# Databricks notebook source
# MAGIC %md ### Export registered models
# MAGIC
# MAGIC Export registered models with their versions and the runs of these to a directory.
# MAGIC
# MAGIC * Models: names, comma separated; `all`; beginnings with a `*`; or a `.txt` file with one in each line.
# MAGIC * Export all runs: all runs of the experiments, not only those of versions.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

models = text_widget("01. Models")
output_dir = text_widget("02. Output directory")
stages = text_widget("03. Stages")
export_latest_versions = yes_no_widget("04. Export latest versions")
export_all_runs = yes_no_widget("05. Export all runs")
export_permissions = yes_no_widget("06. Export permissions")
export_deleted_runs = yes_no_widget("07. Export deleted runs")
export_version_model = yes_no_widget("08. Export version MLflow model")
notebook_formats = get_notebook_formats("09")
use_threads = yes_no_widget("10. Use threads")

# COMMAND ----------

assert_widget(models, "01. Models")
assert_widget(output_dir, "02. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_models import export_models

export_models(
    model_names=models,
    output_dir=output_dir,
    stages=stages or "",
    export_latest_versions=export_latest_versions,
    export_all_runs=export_all_runs,
    export_permissions=export_permissions,
    export_deleted_runs=export_deleted_runs,
    export_version_model=export_version_model,
    notebook_formats=notebook_formats,
    use_threads=use_threads,
)
show_report(output_dir)
