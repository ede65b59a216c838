# Databricks notebook source
# MAGIC %md ### Import registered models
# MAGIC
# MAGIC Import registered models and the experiments of their runs from a directory of `Export_Registered_Models`.
# MAGIC
# MAGIC * Delete model: first delete the destination's models of the same names, with all their versions.
# MAGIC * Rename files: CSV files with `OLD,NEW` lines; names that begin with OLD get NEW instead.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
delete_model = yes_no_widget("2. Delete model")
model_rename_file = text_widget("3. Model rename file")
experiment_rename_file = text_widget("4. Experiment rename file")
import_permissions = yes_no_widget("5. Import permissions")
import_source_tags = yes_no_widget("6. Import source tags")
use_threads = yes_no_widget("6. Use threads")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_models import import_models

import_models(
    input_dir=input_dir,
    delete_model=delete_model,
    import_permissions=import_permissions,
    import_source_tags=import_source_tags,
    experiment_renames=experiment_rename_file,
    model_renames=model_rename_file,
    use_threads=use_threads,
)
show_report(input_dir)
