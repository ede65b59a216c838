# Databricks notebook source
# MAGIC %md ### Export a prompt
# MAGIC
# MAGIC Export one version of a prompt to a directory.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

prompt_name = text_widget("1. Prompt name")
prompt_version = text_widget("2. Prompt version")
output_dir = text_widget("3. Output directory")

# COMMAND ----------

assert_widget(prompt_name, "1. Prompt name")
assert_widget(prompt_version, "2. Prompt version")
assert_widget(output_dir, "3. Output directory")

# COMMAND ----------

from mlflow_migration.prompt.export_prompt import export_prompt

export_prompt(prompt_name=prompt_name, prompt_version=prompt_version, output_dir=output_dir)
show_report(output_dir)
