# Databricks notebook source
# MAGIC %md ### Test of Copy_Model_Version
# MAGIC
# MAGIC Run `Copy_Model_Version` for a model of the workspace registry and one of Unity Catalog, and check what has arrived. A part without a model is left out.
# MAGIC
# MAGIC * WS, UC: the registry; model and version that are copied, and the model that the copy goes to.

# COMMAND ----------

# MAGIC %run ./Common

# COMMAND ----------

ws_model = text_widget("1a. WS source model")
ws_version = text_widget("1b. WS source version")
ws_dst_model = text_widget("1c. WS destination model")
uc_model = text_widget("2a. UC source model")
uc_version = text_widget("2b. UC source version")
uc_dst_model = text_widget("2c. UC destination model")
experiment_name = text_widget("3a. Destination experiment name")
dst_workspace = text_widget("3b. Destination workspace", "databricks")

# COMMAND ----------

assert_widget(experiment_name, "3a. Destination experiment name")

# COMMAND ----------

import json

import mlflow


def copied(model, version, dst_model):
    """Copy a version by the notebook, check the copy, and return both."""
    widgets = {
        "1. Source Model": model,
        "2. Source Version": version,
        "3. Destination Model": dst_model,
        "4. Destination experiment name": experiment_name,
        "5. Destination Workspace": dst_workspace or "",
        "6. Copy lineage tags": "yes",
        "7. Verbose": "no",
        "8. Return result": "yes",
    }
    result = json.loads(dbutils.notebook.run("../Copy_Model_Version", 3600, widgets))
    src, dst = result["src_model_version"], result["dst_model_version"]
    assert (src["name"], src["version"]) == (model, version), src
    assert dst["name"] == dst_model, dst
    client = mlflow.MlflowClient(tracking_uri(dst_workspace), registry_uri(dst_workspace, dst_model))
    made = client.get_model_version(dst_model, dst["version"])
    assert made.status == "READY", made
    run = client.get_run(made.run_id)
    assert client.get_experiment(run.info.experiment_id).name == experiment_name
    return result


# COMMAND ----------

parts = [(ws_model, ws_version, ws_dst_model), (uc_model, uc_version, uc_dst_model)]
results = [copied(*part) for part in parts if part[0]]
assert results, "Fill in a model."
print(json.dumps(results, indent=2))
dbutils.notebook.exit(json.dumps(results))
