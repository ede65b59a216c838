# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC Of the notebooks that export and import single objects.

# COMMAND ----------

# MAGIC %run ../Common
