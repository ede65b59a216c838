# Databricks notebook source
# MAGIC %md ### Export a run
# MAGIC
# MAGIC Export one run to `OUTPUT_BASE_DIRECTORY/RUN_ID`.
# MAGIC
# MAGIC * Notebook formats: of the run's notebook, as far as the run names one.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

run_id = text_widget("1. Run ID")
output_base_dir = text_widget("2. Output base directory")
notebook_formats = get_notebook_formats(3)

# COMMAND ----------

assert_widget(run_id, "1. Run ID")
assert_widget(output_base_dir, "2. Output base directory")
output_dir = below(output_base_dir, run_id)

# COMMAND ----------

from mlflow_migration.run.export_run import export_run

export_run(
    run_id=run_id,
    output_dir=output_dir,
    notebook_formats=notebook_formats,
)
show_report(output_dir)
