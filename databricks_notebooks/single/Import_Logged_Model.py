# Databricks notebook source
# MAGIC %md ### Import a logged model
# MAGIC
# MAGIC Import one logged model from a directory of `Export_Logged_Model` into an experiment.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment_name = text_widget("1. Destination experiment name")
input_dir = text_widget("2. Input directory")
import_source_tags = yes_no_widget("3. Import source tags")

# COMMAND ----------

assert_widget(experiment_name, "1. Destination experiment name")
assert_widget(input_dir, "2. Input directory")

# COMMAND ----------

from mlflow_migration.logged_model.import_logged_model import import_logged_model

import_logged_model(
    input_dir=input_dir,
    experiment_name=experiment_name,
    import_source_tags=import_source_tags,
)
show_report(input_dir)
