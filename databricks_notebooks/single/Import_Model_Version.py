# Databricks notebook source
# MAGIC %md ### Import a model version
# MAGIC
# MAGIC Import one version from a directory of `Export_Model_Version` into any registered model; its run goes to an experiment.
# MAGIC
# MAGIC * Create destination model: if it is absent.
# MAGIC * Import metadata: give the model and the experiment that are created their description and tags.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
model_name = text_widget("2. Model name")
experiment_name = text_widget("3. Destination experiment name")
create_model = yes_no_widget("4. Create destination model")
import_stages_and_aliases = yes_no_widget("5. Import stages and aliases")
import_metadata = yes_no_widget("6. Import metadata")
import_source_tags = yes_no_widget("7. Import source tags")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")
assert_widget(model_name, "2. Model name")
assert_widget(experiment_name, "3. Destination experiment name")

# COMMAND ----------

from mlflow_migration.model_version.import_model_version import import_model_version

version = import_model_version(
    model_name=model_name,
    experiment_name=experiment_name,
    input_dir=input_dir,
    create_model=create_model,
    import_source_tags=import_source_tags,
    import_stages_and_aliases=import_stages_and_aliases,
    import_metadata=import_metadata,
)
print("Version:", version.name, version.version)
show_report(input_dir)
