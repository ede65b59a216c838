# Databricks notebook source
# MAGIC %md ### Import a run
# MAGIC
# MAGIC Import one run from a directory of `Export_Run` into an experiment, which is created if it is absent.
# MAGIC
# MAGIC * Import source tags: keep the source's ids, times and `mlflow.*` tags as `mlflow_exim.*` tags.

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

from mlflow_migration.run.import_run import import_run

run, parent_run_id = import_run(
    input_dir=input_dir,
    experiment_name=experiment_name,
    import_source_tags=import_source_tags,
)
print("Run:", run.info.run_id)
show_report(input_dir)
