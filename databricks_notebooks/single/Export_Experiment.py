# Databricks notebook source
# MAGIC %md ### Export an experiment
# MAGIC
# MAGIC Export one experiment with its runs, logged models and traces to a directory below the base directory, which is named as the experiment.
# MAGIC
# MAGIC * Run start date: only runs that started at or after this date or date-time (UTC).
# MAGIC * Run IDs: only these runs, comma separated; with *Check nested runs* all that are nested in them too.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment = text_widget("1. Experiment ID or Name")
output_base_dir = text_widget("2. Output base directory")
run_start_date = text_widget("3. Run start date")
export_permissions = yes_no_widget("4. Export permissions")
notebook_formats = get_notebook_formats(5)
run_ids = text_widget("6. Run IDs")
check_nested_runs = yes_no_widget("7. Check nested runs")

# COMMAND ----------

assert_widget(experiment, "1. Experiment ID or Name")
assert_widget(output_base_dir, "2. Output base directory")
output_dir = below(output_base_dir, experiment)

# COMMAND ----------

from mlflow_migration.experiment.export_experiment import export_experiment

export_experiment(
    experiment_id_or_name=experiment,
    output_dir=output_dir,
    run_ids=run_ids,
    export_permissions=export_permissions,
    run_start_time=run_start_date,
    check_nested_runs=check_nested_runs,
    notebook_formats=notebook_formats,
)
show_report(output_dir)
