# Databricks notebook source
# MAGIC %md ### Export prompts
# MAGIC
# MAGIC Export prompts with all their versions to a directory.
# MAGIC
# MAGIC * Prompts: names, comma separated; `all`; beginnings with a `*`; or a `.txt` file with one in each line.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

prompts = text_widget("1. Prompts", "all")
output_dir = text_widget("2. Output directory")
use_threads = yes_no_widget("3. Use threads")

# COMMAND ----------

assert_widget(prompts, "1. Prompts")
assert_widget(output_dir, "2. Output directory")

# COMMAND ----------

from mlflow_migration.bulk.export_prompts import export_prompts

export_prompts(output_dir=output_dir, prompt_names=prompts, use_threads=use_threads)
show_report(output_dir)
