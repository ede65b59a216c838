# Databricks notebook source
# MAGIC %md ### Export a model version
# MAGIC
# MAGIC Export one version of a registered model with its run to a directory.
# MAGIC
# MAGIC * Export version MLflow model: also the registry's own copy of the version's model.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

model_name = text_widget("1. Model name")
version = text_widget("2. Model version")
output_dir = text_widget("3. Output directory")
export_version_model = yes_no_widget("4. Export version MLflow model")
notebook_formats = get_notebook_formats(5)

# COMMAND ----------

assert_widget(model_name, "1. Model name")
assert_widget(version, "2. Model version")
assert_widget(output_dir, "3. Output directory")

# COMMAND ----------

from mlflow_migration.model_version.export_model_version import export_model_version

export_model_version(
    model_name=model_name,
    version=version,
    output_dir=output_dir,
    export_version_model=export_version_model,
    notebook_formats=notebook_formats,
)
show_report(output_dir)
