# Databricks notebook source
# MAGIC %md ### Import all
# MAGIC
# MAGIC Import everything that `Export_All` has written.
# MAGIC
# MAGIC * Delete model, Delete prompt, Delete dataset: first delete those of the destination that have the same names.
# MAGIC * Rename files: CSV files with `OLD,NEW` lines; names that begin with OLD get NEW instead.
# MAGIC * Verify: how closely the copy is verified at the end.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("01. Input directory")
delete_model = yes_no_widget("02. Delete model")
delete_prompt = yes_no_widget("03. Delete prompt")
delete_dataset = yes_no_widget("04. Delete dataset")
model_rename_file = text_widget("05. Model rename file")
experiment_rename_file = text_widget("06. Experiment rename file")
import_permissions = yes_no_widget("07. Import permissions")
import_source_tags = yes_no_widget("08. Import source tags")
verify = choice_widget("09. Verify", ["metadata", "none", "counts", "full"])
use_threads = yes_no_widget("10. Use threads")

# COMMAND ----------

assert_widget(input_dir, "01. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_all import import_all

import_all(
    input_dir=input_dir,
    delete_model=delete_model,
    delete_prompt=delete_prompt,
    delete_dataset=delete_dataset,
    import_permissions=import_permissions,
    import_source_tags=import_source_tags,
    experiment_renames=experiment_rename_file,
    model_renames=model_rename_file,
    use_threads=use_threads,
    verify=verify,
)
show_report(input_dir)
