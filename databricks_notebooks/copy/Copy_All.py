# Databricks notebook source
# MAGIC %md ### Copy all
# MAGIC
# MAGIC Copy everything of this workspace to another one: experiments, registered models, prompts, traces and all else. Repeated, it takes only what is new or changed.
# MAGIC
# MAGIC * Destination workspace: `databricks://PROFILE`, or `databricks://SCOPE:PREFIX` of a secret scope.
# MAGIC * Experiments, Models, Prompts: names, comma separated; `all`; or beginnings with a `*`. If any is given, only that is copied.
# MAGIC * Report directory: gets the ledger, the report and the id map; give the same one when you repeat the copy.
# MAGIC * Verify: how closely the copy is verified at the end.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

dst_workspace = text_widget("1. Destination workspace")
experiments = text_widget("2. Experiments")
models = text_widget("3. Models")
prompts = text_widget("4. Prompts")
export_deleted_runs = yes_no_widget("5. Export deleted runs")
import_source_tags = yes_no_widget("6. Import source tags")
verify = choice_widget("7. Verify", ["metadata", "none", "counts", "full"])
report_directory = text_widget("8. Report directory")

# COMMAND ----------

assert_widget(dst_workspace, "1. Destination workspace")
assert_widget(report_directory, "8. Report directory")

# COMMAND ----------

copy_by_command(
    "copy-all",
    report_directory,
    src_mlflow_uri=tracking_uri(),
    dst_mlflow_uri=tracking_uri(dst_workspace),
    experiments=experiments,
    models=models,
    prompts=prompts,
    export_deleted_runs=export_deleted_runs,
    import_source_tags=import_source_tags,
    verify=verify,
)
