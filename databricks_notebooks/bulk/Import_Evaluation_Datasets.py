# Databricks notebook source
# MAGIC %md ### Import evaluation datasets
# MAGIC
# MAGIC Import evaluation datasets from a directory of `Export_Evaluation_Datasets`.
# MAGIC
# MAGIC * Delete dataset: first delete all of the destination's datasets of the same names.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
delete_dataset = yes_no_widget("2. Delete dataset")
use_threads = yes_no_widget("3. Use threads")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_evaluation_datasets import import_evaluation_datasets

import_evaluation_datasets(input_dir=input_dir, delete_dataset=delete_dataset, use_threads=use_threads)
show_report(input_dir)
