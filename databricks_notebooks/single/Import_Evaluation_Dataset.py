# Databricks notebook source
# MAGIC %md ### Import an evaluation dataset
# MAGIC
# MAGIC Import one evaluation dataset from a directory of `Export_Evaluation_Dataset`.
# MAGIC
# MAGIC * Dataset name: the name that it gets; without it that of the source's.
# MAGIC * Delete dataset: first delete all of the destination's datasets of that name.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
dataset_name = text_widget("2. Dataset name")
delete_dataset = yes_no_widget("3. Delete dataset")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.evaluation_dataset.import_evaluation_dataset import import_evaluation_dataset

import_evaluation_dataset(input_dir=input_dir, dataset_name=dataset_name, delete_dataset=delete_dataset)
show_report(input_dir)
