"""A program in front of a real MLflow server that speaks a Databricks workspace's routes and refuses what it refuses.

Its shapes come from the databricks-sdk's dataclasses and from MLflow's own Databricks and Unity Catalog protos;
`tests/databricks/test_standin.py` holds it to what unmodified clients of both need.
"""
