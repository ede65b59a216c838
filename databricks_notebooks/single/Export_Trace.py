# Databricks notebook source
# MAGIC %md ### Export a trace
# MAGIC
# MAGIC Export one trace with its spans and assessments to `OUTPUT_BASE_DIRECTORY/TRACE_ID`.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

trace_id = text_widget("1. Trace ID")
output_base_dir = text_widget("2. Output base directory")

# COMMAND ----------

assert_widget(trace_id, "1. Trace ID")
assert_widget(output_base_dir, "2. Output base directory")
output_dir = below(output_base_dir, trace_id)

# COMMAND ----------

from mlflow_migration.trace.export_trace import export_trace

export_trace(request_id=trace_id, output_dir=output_dir)
show_report(output_dir)
