# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC Of the tests of the copying notebooks.

# COMMAND ----------

# MAGIC %run ../Common
