# Databricks notebook source
# MAGIC %md ### Import a registered model
# MAGIC
# MAGIC Import one registered model with its versions from a directory of `Export_Registered_Model`; its runs go to an experiment.
# MAGIC
# MAGIC * Delete model: first delete the destination's model of that name, with all its versions.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

model_name = text_widget("1. Model name")
experiment_name = text_widget("2. Destination experiment name")
input_dir = text_widget("3. Input directory")
delete_model = yes_no_widget("4. Delete model")
import_permissions = yes_no_widget("5. Import permissions")
import_source_tags = yes_no_widget("6. Import source tags")

# COMMAND ----------

assert_widget(model_name, "1. Model name")
assert_widget(experiment_name, "2. Destination experiment name")
assert_widget(input_dir, "3. Input directory")

# COMMAND ----------

from mlflow_migration.model.import_model import import_model

import_model(
    model_name=model_name,
    experiment_name=experiment_name,
    input_dir=input_dir,
    delete_model=delete_model,
    import_permissions=import_permissions,
    import_source_tags=import_source_tags,
)
show_report(input_dir)
