# Databricks notebook source
# MAGIC %md ### Export evaluation datasets
# MAGIC
# MAGIC Export evaluation datasets with their records to a directory.
# MAGIC
# MAGIC * Evaluation datasets: names or ids, comma separated; `all`; beginnings of names with a `*`; or a `.txt` file.
# MAGIC * Experiment IDs: only datasets that are linked to one of these experiments.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

datasets = text_widget("1. Evaluation datasets", "all")
output_dir = text_widget("2. Output directory")
experiment_ids = text_widget("3. Experiment IDs")
use_threads = yes_no_widget("4. Use threads")

# COMMAND ----------

assert_widget(datasets, "1. Evaluation datasets")
assert_widget(output_dir, "2. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_evaluation_datasets import export_evaluation_datasets

export_evaluation_datasets(
    output_dir=output_dir,
    dataset_names=datasets,
    experiment_ids=experiment_ids,
    use_threads=use_threads,
)
show_report(output_dir)
