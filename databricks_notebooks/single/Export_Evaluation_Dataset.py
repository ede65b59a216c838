# Databricks notebook source
# MAGIC %md ### Export an evaluation dataset
# MAGIC
# MAGIC Export one evaluation dataset with its records to a directory.
# MAGIC
# MAGIC * Dataset name, Dataset ID: one of the two; a name must be that of one dataset alone.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

dataset_name = text_widget("1. Dataset name")
dataset_id = text_widget("2. Dataset ID")
output_dir = text_widget("3. Output directory")

# COMMAND ----------

assert_widget(output_dir, "3. Output directory")

# COMMAND ----------

from mlflow_migration.evaluation_dataset.export_evaluation_dataset import export_evaluation_dataset

export_evaluation_dataset(output_dir=output_dir, dataset_name=dataset_name, dataset_id=dataset_id)
show_report(output_dir)
