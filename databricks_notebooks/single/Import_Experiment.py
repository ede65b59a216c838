# Databricks notebook source
# MAGIC %md ### Import an experiment
# MAGIC
# MAGIC Import one experiment from a directory of `Export_Experiment`. It may get another name; on Databricks that is a path of the workspace.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

experiment_name = text_widget("1. Destination experiment name")
input_dir = text_widget("2. Input directory")
import_permissions = yes_no_widget("3. Import permissions")
import_source_tags = yes_no_widget("4. Import source tags")

# COMMAND ----------

assert_widget(experiment_name, "1. Destination experiment name")
assert_widget(input_dir, "2. Input directory")

# COMMAND ----------

from mlflow_migration.experiment.import_experiment import import_experiment

import_experiment(
    experiment_name=experiment_name,
    input_dir=input_dir,
    import_source_tags=import_source_tags,
    import_permissions=import_permissions,
)
show_report(input_dir)
