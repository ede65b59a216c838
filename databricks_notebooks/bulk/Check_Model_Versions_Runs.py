# Databricks notebook source
# MAGIC %md ### Check the runs of model versions
# MAGIC
# MAGIC List the versions of registered models, and whether the run that each names is still there. A version without it can be exported only with the registry's own copy of its model.
# MAGIC
# MAGIC * Models: names, comma separated; `all`; beginnings with a `*`; or a `.txt` file with one in each line.
# MAGIC * Bail: fail if the run of a version is missing, instead of showing the list.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

models = text_widget("1. Models")
export_latest_versions = yes_no_widget("2. Export latest versions")
bail = yes_no_widget("3. Bail")

# COMMAND ----------

assert_widget(models, "1. Models")

# COMMAND ----------

from mlflow_migration.bulk.check_model_version_runs import mk_pandas_df

versions = mk_pandas_df(
    model_names=models,
    export_latest_versions=export_latest_versions,
    bail=bail,
)
display(versions)
