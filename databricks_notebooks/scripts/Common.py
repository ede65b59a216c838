# Databricks notebook source
# MAGIC %md ## Common
# MAGIC
# MAGIC Of the console scripts.

# COMMAND ----------

# MAGIC %run ../Common
