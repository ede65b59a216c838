# Databricks notebook source
# MAGIC %md ### Import prompts
# MAGIC
# MAGIC Import prompts from a directory of `Export_Prompts`.
# MAGIC
# MAGIC * Delete prompt: first delete the destination's prompts of the same names, with all their versions.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

input_dir = text_widget("1. Input directory")
delete_prompt = yes_no_widget("2. Delete prompt")
use_threads = yes_no_widget("3. Use threads")

# COMMAND ----------

assert_widget(input_dir, "1. Input directory")

# COMMAND ----------

from mlflow_migration.bulk.import_prompts import import_prompts

import_prompts(input_dir=input_dir, delete_prompt=delete_prompt, use_threads=use_threads)
show_report(input_dir)
