# Databricks notebook source
# MAGIC %md ### Export all
# MAGIC
# MAGIC Export everything of a workspace to a directory: experiments, registered models, prompts, traces and all else.
# MAGIC
# MAGIC * Stages: only versions in these stages, comma separated.
# MAGIC * Run start date: only runs that started at or after this date or date-time (UTC).

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

output_dir = text_widget("1. Output directory")
stages = text_widget("2. Stages")
export_latest_versions = yes_no_widget("3. Export latest versions")
run_start_date = text_widget("4. Run start date")
export_permissions = yes_no_widget("5. Export permissions")
export_deleted_runs = yes_no_widget("6. Export deleted runs")
export_version_model = yes_no_widget("7. Export version MLflow model")
notebook_formats = get_notebook_formats(8)
use_threads = yes_no_widget("9. Use threads")

# COMMAND ----------

assert_widget(output_dir, "1. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_all import export_all

export_all(
    output_dir=output_dir,
    run_start_time=run_start_date,
    stages=stages or "",
    export_latest_versions=export_latest_versions,
    export_deleted_runs=export_deleted_runs,
    export_version_model=export_version_model,
    export_permissions=export_permissions,
    notebook_formats=notebook_formats,
    use_threads=use_threads,
)
show_report(output_dir)
