# Databricks notebook source
# MAGIC %md ### Export experiments
# MAGIC
# MAGIC Export experiments with their runs, logged models and traces to a directory.
# MAGIC
# MAGIC * Experiments: names or ids, comma separated; `all`; beginnings with a `*`; or a `.txt` file with one in each line.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiments = text_widget("1. Experiments")
output_dir = text_widget("2. Output directory")
run_start_date = text_widget("3. Run start date")
export_permissions = yes_no_widget("4. Export permissions")
export_deleted_runs = yes_no_widget("5. Export deleted runs")
notebook_formats = get_notebook_formats(6)
use_threads = yes_no_widget("7. Use threads")

# COMMAND ----------

assert_widget(experiments, "1. Experiments")
assert_widget(output_dir, "2. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_experiments import export_experiments

export_experiments(
    experiments=experiments,
    output_dir=output_dir,
    export_permissions=export_permissions,
    run_start_time=run_start_date,
    export_deleted_runs=export_deleted_runs,
    notebook_formats=notebook_formats,
    use_threads=use_threads,
)
show_report(output_dir)
