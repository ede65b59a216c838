# Databricks notebook source
# MAGIC %md ### Console scripts
# MAGIC
# MAGIC Run the console scripts on the driver of the cluster. Replace `--help` by options of your own.
# MAGIC
# MAGIC * Secrets scope, Secrets PAT key: a scope and a key in it with a personal access token. The scripts use it for this workspace; without it they take what the environment of the cluster has.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

secrets_scope = text_widget("1. Secrets scope")
secrets_key = text_widget("2. Secrets PAT key")

# COMMAND ----------

if secrets_scope:
    assert_widget(secrets_key, "2. Secrets PAT key")
    # what %sh starts has the environment of this process
    os.environ["MLFLOW_TRACKING_URI"] = "databricks"
    os.environ["DATABRICKS_HOST"] = "https://" + spark.conf.get("spark.databricks.workspaceUrl")
    os.environ["DATABRICKS_TOKEN"] = dbutils.secrets.get(secrets_scope, secrets_key)

# COMMAND ----------

# MAGIC %sh mlflow-migration --help

# COMMAND ----------

# MAGIC %sh export-all --help

# COMMAND ----------

# MAGIC %sh import-all --help

# COMMAND ----------

# MAGIC %sh export-experiment --help

# COMMAND ----------

# MAGIC %sh import-experiment --help

# COMMAND ----------

# MAGIC %sh export-run --help

# COMMAND ----------

# MAGIC %sh import-run --help

# COMMAND ----------

# MAGIC %sh export-model --help

# COMMAND ----------

# MAGIC %sh import-model --help

# COMMAND ----------

# MAGIC %sh export-model-version --help

# COMMAND ----------

# MAGIC %sh import-model-version --help

# COMMAND ----------

# MAGIC %sh copy-all --help

# COMMAND ----------

# MAGIC %sh verify-migration --help
