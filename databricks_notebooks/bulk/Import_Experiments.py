# Databricks notebook source
# MAGIC %md ### Import experiments
# MAGIC
# MAGIC Import experiments from a directory of `Export_Experiments`.
# MAGIC
# MAGIC * Experiment rename file: CSV file with `OLD,NEW` lines; names that begin with OLD get NEW instead.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
experiment_rename_file = text_widget("2. Experiment rename file")
import_permissions = yes_no_widget("3. Import permissions")
import_source_tags = yes_no_widget("4. Import source tags")
use_threads = yes_no_widget("5. Use threads")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_experiments import import_experiments

import_experiments(
    input_dir=input_dir,
    import_permissions=import_permissions,
    import_source_tags=import_source_tags,
    experiment_renames=experiment_rename_file,
    use_threads=use_threads,
)
show_report(input_dir)
