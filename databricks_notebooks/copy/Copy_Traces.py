# Databricks notebook source
# MAGIC %md ### Copy traces
# MAGIC
# MAGIC Copy the traces of an experiment to another one. Repeated, it takes only what is new or changed.
# MAGIC
# MAGIC * Report directory: gets the ledger, the report and the id map; give the same one when you repeat the copy.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment = text_widget("1. Experiment ID or Name")
experiment_name = text_widget("2. Destination experiment name")
dst_workspace = text_widget("3. Destination workspace", "databricks")
report_directory = text_widget("4. Report directory")

# COMMAND ----------

assert_widget(experiment, "1. Experiment ID or Name")
assert_widget(experiment_name, "2. Destination experiment name")
assert_widget(report_directory, "4. Report directory")

# COMMAND ----------

copy_by_command(
    "copy-traces",
    report_directory,
    src_mlflow_uri=tracking_uri(),
    dst_mlflow_uri=tracking_uri(dst_workspace),
    experiment=experiment,
    experiment_name=experiment_name,
)
