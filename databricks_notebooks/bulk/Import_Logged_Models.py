# Databricks notebook source
# MAGIC %md ### Import logged models
# MAGIC
# MAGIC Import logged models from a directory of `Export_Logged_Models`, into experiments of the names that theirs have.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
import_source_tags = yes_no_widget("2. Import source tags")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_logged_models import import_logged_models

import_logged_models(input_dir=input_dir, import_source_tags=import_source_tags)
show_report(input_dir)
