# Databricks notebook source
# MAGIC %md ### Copy an experiment
# MAGIC
# MAGIC Copy an experiment with its runs, logged models and traces. Repeated, it takes only what is new or changed.
# MAGIC
# MAGIC * Report directory: gets the ledger, the report and the id map; give the same one when you repeat the copy.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment = text_widget("1. Experiment ID or Name")
experiment_name = text_widget("2. Destination experiment name")
dst_workspace = text_widget("3. Destination workspace", "databricks")
export_deleted_runs = yes_no_widget("4. Export deleted runs")
import_source_tags = yes_no_widget("5. Import source tags")
report_directory = text_widget("6. Report directory")

# COMMAND ----------

assert_widget(experiment, "1. Experiment ID or Name")
assert_widget(experiment_name, "2. Destination experiment name")
assert_widget(report_directory, "6. Report directory")

# COMMAND ----------

copy_by_command(
    "copy-experiment",
    report_directory,
    src_mlflow_uri=tracking_uri(),
    dst_mlflow_uri=tracking_uri(dst_workspace),
    experiment=experiment,
    experiment_name=experiment_name,
    export_deleted_runs=export_deleted_runs,
    import_source_tags=import_source_tags,
)
