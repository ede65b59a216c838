# Databricks notebook source
# MAGIC %md ### Copy a model version by MLflow
# MAGIC
# MAGIC Copy a version within one registry by MLflow's own `MlflowClient.copy_model_version`: the copy has the run and the artifacts of its source.
# MAGIC
# MAGIC * Source Model URI: such as `models:/wine/1` or `models:/wine@champion`.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

src_model_uri = text_widget("1. Source Model URI")
dst_model = text_widget("2. Destination Model")

# COMMAND ----------

assert_widget(src_model_uri, "1. Source Model URI")
assert_widget(dst_model, "2. Destination Model")

# COMMAND ----------

import mlflow

uri = registry_uri(None, dst_model)
client = mlflow.MlflowClient(tracking_uri=tracking_uri(), registry_uri=uri)
version = client.copy_model_version(src_model_uri=src_model_uri, dst_name=dst_model)
print("Version:", version.name, version.version)
