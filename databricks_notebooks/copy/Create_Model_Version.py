# Databricks notebook source
# MAGIC %md ### Create a model version
# MAGIC
# MAGIC Create a version of a registered model by MLflow's own `MlflowClient.create_model_version`, from a model of a run or another version. The registered model is created if it is absent.
# MAGIC
# MAGIC * Source Model URI: such as `runs:/RUN_ID/model` or `models:/NAME/VERSION`.
# MAGIC * Destination Registry URI: such as `databricks-uc`; without it the registry of this workspace that the name belongs to.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

src_model_uri = text_widget("1. Source Model URI")
dst_model = text_widget("2. Destination Model")
dst_registry_uri = text_widget("3. Destination Registry URI")
description = text_widget("4. Description")
alias = text_widget("5. Alias")

# COMMAND ----------

assert_widget(src_model_uri, "1. Source Model URI")
assert_widget(dst_model, "2. Destination Model")

# COMMAND ----------

import re

import mlflow
from mlflow.exceptions import MlflowException

uri = dst_registry_uri or registry_uri(None, dst_model)
client = mlflow.MlflowClient(tracking_uri=tracking_uri(), registry_uri=uri)
try:
    client.create_registered_model(dst_model)
except MlflowException as ex:
    if ex.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
        raise

from_run = re.match("runs:/+([^/]+)/(.+)", src_model_uri)
source, run_id = src_model_uri, None
if from_run:
    run_id = from_run[1]
    source = f"{client.get_run(run_id).info.artifact_uri}/{from_run[2]}"
version = client.create_model_version(name=dst_model, source=source, run_id=run_id, description=description)
if alias:
    client.set_registered_model_alias(dst_model, alias, version.version)
print("Version:", version.name, version.version)
