# Databricks notebook source
# MAGIC %md ### Copy a model version whose run is in another workspace
# MAGIC
# MAGIC *Experimental.* Copy a version of a registered model of Unity Catalog whose run is in another workspace than this notebook. The copy and its run arrive in this workspace.
# MAGIC
# MAGIC * Source Run Workspace: `databricks://PROFILE`, or `databricks://SCOPE:PREFIX` of a secret scope.
# MAGIC * Return result: end with a JSON text of both versions, for a notebook that runs this one.

# COMMAND ----------

# MAGIC %run ../Common

# COMMAND ----------

src_model = text_widget("1. Source Model")
src_version = text_widget("2. Source Version")
dst_model = text_widget("3. Destination Model")
dst_experiment_name = text_widget("4. Destination experiment name")
src_run_workspace = text_widget("5. Source Run Workspace", "databricks")
copy_lineage_tags = yes_no_widget("6. Copy lineage tags")
verbose = yes_no_widget("7. Verbose")
return_result = yes_no_widget("8. Return result")

# COMMAND ----------

assert_widget(src_model, "1. Source Model")
assert_widget(src_version, "2. Source Version")
assert_widget(dst_model, "3. Destination Model")

# COMMAND ----------

import json

src, dst = copy_model_version(
    src_model=src_model,
    src_version=src_version,
    dst_model=dst_model,
    dst_experiment_name=dst_experiment_name,
    src_run_workspace=src_run_workspace,
    copy_lineage_tags=copy_lineage_tags,
    verbose=verbose,
)
result = {"src_model_version": version_dict(src), "dst_model_version": version_dict(dst)}
print(json.dumps(result, indent=2))

# COMMAND ----------

if return_result:
    dbutils.notebook.exit(json.dumps(result))
