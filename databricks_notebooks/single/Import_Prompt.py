# Databricks notebook source
# MAGIC %md ### Import a prompt
# MAGIC
# MAGIC Import one version of a prompt from a directory of `Export_Prompt`.
# MAGIC
# MAGIC * Prompt name: the name that it gets; without it that of the source's.
# MAGIC * Delete prompt: first delete the destination's prompt of that name, with all its versions.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
prompt_name = text_widget("2. Prompt name")
delete_prompt = yes_no_widget("3. Delete prompt")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.prompt.import_prompt import import_prompt

import_prompt(input_dir=input_dir, prompt_name=prompt_name, delete_prompt=delete_prompt)
show_report(input_dir)
