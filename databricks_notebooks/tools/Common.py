# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC Of the other tools.

# COMMAND ----------

# MAGIC %run ../Common
