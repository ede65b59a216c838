# Databricks notebook source
# MAGIC %md ### List model versions without a signature
# MAGIC
# MAGIC List the versions of registered models that have no signature.
# MAGIC
# MAGIC * Filter: MLflow's filter string for versions, such as `name = 'wine'`; without it all.
# MAGIC * Output file: CSV file for the list.
# MAGIC * Use get_model_info: let MLflow read the MLmodel files: slower, and it checks them.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

filter = text_widget("1. Filter")
output_file = text_widget("2. Output file")
use_get_model_info = yes_no_widget("3. Use get_model_info")

# COMMAND ----------

from mlflow_migration.tools.list_model_versions_without_signatures import as_pandas_df

versions = as_pandas_df(filter=filter, use_get_model_info=use_get_model_info)
display(versions)
if output_file:
    versions.to_csv(output_file, index=False)
