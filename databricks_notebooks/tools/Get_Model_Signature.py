# Databricks notebook source
# MAGIC %md ### Get the signature of a model
# MAGIC
# MAGIC Show the signature of a model.
# MAGIC
# MAGIC * Model URI: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `models:/m-ID`, `runs:/ID/PATH` or a location of artifacts.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

model_uri = text_widget("1. Model URI")

# COMMAND ----------

assert_widget(model_uri, "1. Model URI")

# COMMAND ----------

import json

from mlflow_migration.tools.get_model_signature import get_model_signature

signature = get_model_signature(model_uri=model_uri)
print(json.dumps(signature, indent=2))
