# Databricks notebook source
# MAGIC %md ### Export a registered model
# MAGIC
# MAGIC Export one registered model with its versions and their runs to a directory below the base directory, which is named as the model.
# MAGIC
# MAGIC * Stages: only versions in these stages, comma separated. Versions: only these numbers, comma separated. One of the two.
# MAGIC * Export version MLflow model: also the registry's own copy of each version's model.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

model_name = text_widget("1. Model")
output_base_dir = text_widget("2. Output base directory")
stages = text_widget("3. Stages")
export_latest_versions = yes_no_widget("4. Export latest versions")
versions = text_widget("5. Versions")
export_permissions = yes_no_widget("6. Export permissions")
export_version_model = yes_no_widget("7. Export version MLflow model")
notebook_formats = get_notebook_formats(8)

# COMMAND ----------

assert_widget(model_name, "1. Model")
assert_widget(output_base_dir, "2. Output base directory")
output_dir = below(output_base_dir, model_name)

# COMMAND ----------

from mlflow_migration.model.export_model import export_model

export_model(
    model_name=model_name,
    output_dir=output_dir,
    stages=stages,
    versions=versions,
    export_latest_versions=export_latest_versions,
    export_version_model=export_version_model,
    export_permissions=export_permissions,
    notebook_formats=notebook_formats,
)
show_report(output_dir)
