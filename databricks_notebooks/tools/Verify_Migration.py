# Databricks notebook source
# MAGIC %md ### Verify a migration
# MAGIC
# MAGIC Tell whether a copy is whole, and fail if it is not.
# MAGIC
# MAGIC * Source: a workspace (`databricks` for this one, `databricks://PROFILE`, `databricks://SCOPE:PREFIX`), or nothing if an input directory is given: that of an export.
# MAGIC * Destination: likewise; without it the input directory is checked by itself.
# MAGIC * Experiments, Models, Prompts: names, comma separated; `all`; or beginnings with a `*`. If any is given, only that is compared.
# MAGIC * Rename files: those of the copy.
# MAGIC * Report directory: that of the import or the copy, which has the id map.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

src_mlflow_uri = text_widget("01. Source")
input_dir = text_widget("02. Input directory")
dst_mlflow_uri = text_widget("03. Destination")
experiments = text_widget("04. Experiments")
models = text_widget("05. Models")
prompts = text_widget("06. Prompts")
experiment_rename_file = text_widget("07. Experiment rename file")
model_rename_file = text_widget("08. Model rename file")
depth = choice_widget("09. Depth", ["metadata", "counts", "full"])
report_directory = text_widget("10. Report directory")

# COMMAND ----------

import json

from mlflow_migration.verify.verify_migration import verify_migration

report = verify_migration(
    src_mlflow_uri=src_mlflow_uri,
    dst_mlflow_uri=dst_mlflow_uri,
    input_dir=input_dir,
    experiments=experiments,
    models=models,
    prompts=prompts,
    experiment_renames=experiment_rename_file,
    model_renames=model_rename_file,
    depth=depth,
    report_dir=report_directory,
)
for kind, counts in report["counts"].items():
    print(f"{kind}: {counts}")
for found in report["not_the_same"]:
    print(json.dumps(found))
if report["result"] != "same":
    raise RuntimeError(f"The copy is not whole: {report['result']}.")
