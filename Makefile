# make env, demo, test, test-all, test-fast, lint, bench, prove-tracking, prove-registry, prove-servers, prove-traces, prove-engine; tests/README.md explains the tests.
# PYTHON makes the virtual environment .venv. The newest MLflow decides how old it may be; the package itself needs 3.8.
PYTHON ?= python3
# processes of pytest: one a core, 2 at least because tests mostly wait for servers
WORKERS ?= $(shell $(PYTHON) -c "import os; print(max(2, min(8, os.cpu_count() or 2)))")
# more arguments of pytest, such as PYTEST_ARGS="-k documents"
PYTEST_ARGS ?=

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
OLD_MLFLOW := .envs/mlflow-2.9.2 .envs/mlflow-2.22.5
OTHER_PYTHON := .envs/python3.8 .envs/python3.13

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help env envs demo test test-all test-fast lint bench prove-tracking prove-registry prove-servers prove-traces prove-engine clean FORCE
.DELETE_ON_ERROR:

help:
	@echo "make demo            an experiment moves from one server on this machine to another"
	@echo "make test            the tests that this machine can run, but for the slowest"
	@echo "make test-all        these too"
	@echo "make test-fast       the tests without servers"
	@echo "make lint            ruff and mypy"
	@echo "make bench           our speed beside the server's own ceiling"
	@echo "make prove-tracking  full-size proof: speed, memory, kills, hostile input"
	@echo "make prove-registry  the same for registered models, versions and prompts"
	@echo "make prove-servers   the same for copies of whole servers"
	@echo "make prove-traces    the same for thousands of traces"
	@echo "make prove-engine    the same for runs moved by workers of a Dask cluster"
	@echo "make env             the virtual environment .venv that all of these use"
	@echo "make envs            .envs: older MLflow servers and other Pythons, for tests"
	@echo "make clean           remove all environments"

env: .venv/made

# --clear: a half-made or outdated environment is never mended. uv, for pip needs minutes for what takes it seconds.
.venv/made: setup.py
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -q uv
	$(BIN)/python -m uv pip install -q -e '.[test]'
	@touch $@

.venv/made-dev: .venv/made
	$(BIN)/python -m uv pip install -q -e '.[dev]'
	@touch $@

# the script itself sees whether there is something to do
.envs/%: FORCE
	@$(PYTHON) tests/support/environments.py $@

envs:
	@$(PYTHON) tests/support/environments.py --optional $(OLD_MLFLOW) $(OTHER_PYTHON)

demo: env
	@$(BIN)/python -m benchmarks.demo

test: env envs
	$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=60 $(PYTEST_ARGS)

# for the slow test of Spark, which needs Java as well
.venv/made-spark: .venv/made
	$(BIN)/python -m uv pip install -q -e '.[test,spark]'
	@touch $@

test-all: PYTEST_ARGS += -m ""
test-all: .venv/made-spark test

test-fast: env
	$(PYTEST) -q tests/unit $(PYTEST_ARGS)

lint: .venv/made-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: env
	$(BIN)/python -m benchmarks.bench

prove-tracking: env envs
	$(BIN)/python -m benchmarks.prove_tracking

prove-registry: env envs
	$(BIN)/python -m benchmarks.prove_registry

prove-servers: env
	$(BIN)/python -m benchmarks.prove_servers

prove-traces: env
	$(BIN)/python -m benchmarks.prove_traces

prove-engine: env
	$(BIN)/python -m benchmarks.prove_engine

clean:
	rm -rf .venv .envs build dist
