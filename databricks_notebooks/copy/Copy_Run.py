# Databricks notebook source
# MAGIC %md ### Copy a run
# MAGIC
# MAGIC Copy a run with its logged models to an experiment, which is created if it is absent.
# MAGIC
# MAGIC * Destination workspace: `databricks` or nothing for this one, `databricks://PROFILE`, or `databricks://SCOPE:PREFIX` of a secret scope.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

src_run_id = text_widget("1. Source run ID")
dst_experiment_name = text_widget("2. Destination experiment")
dst_workspace = text_widget("3. Destination workspace", "databricks")

# COMMAND ----------

assert_widget(src_run_id, "1. Source run ID")
assert_widget(dst_experiment_name, "2. Destination experiment")

# COMMAND ----------

from mlflow_migration.copy import copy_run

run = copy_run.copy(
    src_run_id=src_run_id,
    dst_experiment_name=dst_experiment_name,
    src_mlflow_uri=tracking_uri(),
    dst_mlflow_uri=tracking_uri(dst_workspace),
)
print("Run:", run.info.run_id)
