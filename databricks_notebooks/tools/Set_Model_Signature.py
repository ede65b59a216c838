# Databricks notebook source
# MAGIC %md ### Set the signature of a model
# MAGIC
# MAGIC Give a model a signature that fits samples of its data.
# MAGIC
# MAGIC * Input table: a table with a sample of what the model gets. Output table: one with a sample of what it returns; without it the signature has only inputs.
# MAGIC * Overwrite signature: also if the model has one already.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

model_uri = text_widget("1. Model URI")
input_table = text_widget("2. Input table")
output_table = text_widget("3. Output table")
overwrite_signature = yes_no_widget("4. Overwrite signature")

# COMMAND ----------

assert_widget(model_uri, "1. Model URI")
assert_widget(input_table, "2. Input table")

# COMMAND ----------

import tempfile

from mlflow_migration.tools.set_model_signature import set_signature


def sample_file(folder, name, table):
    """Write the first rows of a table as CSV, and return the file's path."""
    if not table:
        return None
    path = os.path.join(folder, name)
    spark.table(table).limit(100).toPandas().to_csv(path, index=False)
    return path


with tempfile.TemporaryDirectory() as folder:
    set_signature(
        model_uri=model_uri,
        input_file=sample_file(folder, "input.csv", input_table),
        output_file=sample_file(folder, "output.csv", output_table),
        overwrite_signature=overwrite_signature,
    )
