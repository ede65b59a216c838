# Databricks notebook source
# MAGIC %md ### Copy a registered model
# MAGIC
# MAGIC Copy a registered model with its versions; their runs go to an experiment. Repeated, it takes only what is new or changed.
# MAGIC
# MAGIC * Report directory: gets the ledger, the report and the id map; give the same one when you repeat the copy.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

src_model = text_widget("1. Source Model")
dst_model = text_widget("2. Destination Model")
dst_experiment_name = text_widget("3. Destination experiment name")
dst_workspace = text_widget("4. Destination workspace", "databricks")
report_directory = text_widget("5. Report directory")

# COMMAND ----------

assert_widget(src_model, "1. Source Model")
assert_widget(dst_model, "2. Destination Model")
assert_widget(dst_experiment_name, "3. Destination experiment name")
assert_widget(report_directory, "5. Report directory")

# COMMAND ----------

copy_by_command(
    "copy-model",
    report_directory,
    src_mlflow_uri=tracking_uri(),
    dst_mlflow_uri=tracking_uri(dst_workspace),
    src_registry_uri=registry_uri(None, src_model),
    dst_registry_uri=registry_uri(dst_workspace, dst_model),
    src_model=src_model,
    dst_model=dst_model,
    dst_experiment_name=dst_experiment_name,
)
