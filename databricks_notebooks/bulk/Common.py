# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC Of the notebooks that export and import many objects at once.

# COMMAND ----------

# MAGIC %run ../Common
