# `make help` lists the targets. Each does its own set-up: a virtual environment with the exact
# versions and hashes of locks/, rebuilt only when its lock file changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
DUCKDB15 := .venv-duckdb15
SPARK := .venv-spark
RAY := .venv-ray
BIN := $(VENV)/bin
CODE := $(wildcard lakehouse catalog compaction)
SOURCES := $(CODE) conftest.py $(wildcard tests benchmarks examples)

# The first interpreter that runs and can make a virtual environment: a version manager may put
# names on PATH that only print an error, and some systems package `venv` apart.
# `make test PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell IFS=$$'\n'; for name in python3.13 python3.12 python3.11 python3.14 python3; do \
	for path in $$(type -ap $$name); do \
	if "$$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo "$$path"; exit; fi; done; done)

# Tests wait for disks and servers half of the time: more of them run than there are cores.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 + 1 )))
PYTEST := -m pytest -n $(WORKERS) --dist worksteal
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --system-certs

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

.PHONY: demo
demo: setup ## watch real flights go from raw files to gold tables
	@$(BIN)/lakehouse demo $(ARGS)

.PHONY: test
test: servers ## run the tests (HYPOTHESIS_PROFILE=nightly: many more examples)
	$(BIN)/python $(PYTEST) $(ARGS)

.PHONY: check
check: static doctest test ## all that CI runs on the newest versions

.PHONY: static
static: setup ## format, lint, types and import contracts
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

.PHONY: doctest
doctest: setup ## run the examples in the docstrings
	$(BIN)/python -m pytest --doctest-modules -q --ignore compaction/on_ray.py $(CODE)

.PHONY: test-duckdb15
test-duckdb15: $(DUCKDB15)/.project servers ## run the tests on DuckDB 1.5.5, the oldest that we support
	$(DUCKDB15)/bin/python $(PYTEST) $(ARGS)

# A wheel brings its Java; Delta comes from Maven Central. Starting it alone, first, fetches that once
# and says what is missing. SPARK_STRESS_SECONDS: how long two writers share a table (60).
.PHONY: test-spark
test-spark: $(SPARK)/.project ## let Spark judge our tables, read its own with us, and write beside it
	$(SPARK)/bin/python -m tests.spark.start
	$(SPARK)/bin/python -m pytest -n 2 --dist worksteal tests/spark $(ARGS)

.PHONY: test-ray
test-ray: $(RAY)/.project ## run upkeep on a Ray cluster of this machine
	$(RAY)/bin/python -m pytest tests/ray $(ARGS)

PROVE := $(BIN)/python -m lakehouse.testing

.PHONY: prove
prove: stress kills lost-answers matrix machine ## prove it: all of the proofs, with their figures

.PHONY: stress
stress: setup ## 8 processes on one table for a minute, then the same on a store that fails (ARGS=--seed=7)
	$(PROVE) stress $(ARGS)
	$(PROVE) stress --faulty $(ARGS)

.PHONY: kills
kills: setup ## kill -9 a writer 200 times, and look each time
	$(PROVE) kills $(ARGS)

.PHONY: matrix
matrix: setup ## every operation against every other, the second one stale: ours, and with delta-rs (ARGS=--ours)
	$(PROVE) matrix $(ARGS)

.PHONY: machine
machine: setup ## 500 runs of 50 random operations against a model (ARGS="--runs 50 --steps 30 --shrink")
	$(PROVE) machine $(ARGS)

.PHONY: lost-answers
lost-answers: setup ## lose the answer to every third commit
	$(PROVE) lost-answers $(ARGS)

.PHONY: prove-stores
prove-stores: servers ## stress, kills and lost answers on MinIO and SeaweedFS (ARGS=--seed=7)
	for store in minio seaweedfs; do \
		$(PROVE) stress --store $$store $(ARGS); \
		$(PROVE) kills --count 60 --store $$store $(ARGS); \
		$(PROVE) lost-answers --count 150 --store $$store $(ARGS); done

PROVE_UPKEEP := $(BIN)/python -m compaction.testing

.PHONY: prove-upkeep
prove-upkeep: servers ## two keepers beside writers for 120 s, and 100 kills of keepers, on disk and MinIO
	$(PROVE_UPKEEP) beside $(ARGS)
	$(PROVE_UPKEEP) beside --store minio $(ARGS)
	$(PROVE_UPKEEP) kills $(ARGS)
	$(PROVE_UPKEEP) kills --store minio $(ARGS)

.PHONY: prove-worker
prove-worker: setup ## two workers share a lake for ten minutes; one is killed (ARGS=--seconds=60)
	$(PROVE_UPKEEP) workers $(ARGS)

.PHONY: bench
bench: setup ## measure against delta-rs and raw DuckDB
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-commits
bench-commits: setup ## measure commits: latency, and many writers, against delta-rs
	$(BIN)/python -m benchmarks commits $(ARGS)

.PHONY: bench-merge
bench-merge: setup ## measure merges, updates and deletes against delta-rs (ARGS=--rows=1000000)
	$(BIN)/python -m benchmarks merge $(ARGS)

.PHONY: bench-million
bench-million: setup ## measure a table of a million files against delta-rs and Polars
	$(BIN)/python -m benchmarks million $(ARGS)

.PHONY: bench-queries
bench-queries: $(DUCKDB15)/.project ## measure queries against all peers, and TPC-H (ARGS="--query-files 500 --query-rows 200000 --scale 0.01": a small one)
	$(DUCKDB15)/bin/python -m benchmarks queries $(ARGS)

.PHONY: bench-upkeep
bench-upkeep: setup ## measure upkeep against delta-rs: small files, z-order, queries (ARGS=--gigabytes=10: clustering within 1 GB)
	$(BIN)/python -m benchmarks upkeep $(ARGS)

.PHONY: bench-remote
bench-remote: $(DUCKDB15)/.project servers ## measure object storage at 30 ms a request, against all peers (ARGS=--gigabytes=5)
	$(DUCKDB15)/bin/python -m benchmarks remote $(ARGS)

.PHONY: format
format: setup ## format the code and mend what the linter can
	$(BIN)/ruff check --fix --quiet $(SOURCES) || true
	$(BIN)/ruff format $(SOURCES)

.PHONY: clean
clean: ## remove what was built here, the virtual environments too
	rm -rf $(VENV) $(DUCKDB15) $(SPARK) $(RAY) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up ---------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.project ## make the virtual environment

# What is not a Python package: MinIO needs Go, Azurite and s3rver need npm. Where these are missing,
# the tests that need them are skipped, and say so; in CI they fail.
.PHONY: servers
servers: setup ## install the object stores that tests run against, once, into the user's cache
	@$(BIN)/python -m tests.install_servers

# uv installs in a quarter of pip's time; where it cannot (no wheel for this machine, an index that
# only pip is told about) pip does the same from the same hashes. Byte code is made once, here.
define install
	@test -n '$(PYTHON)' || { echo 'No Python >= 3.11 that can make a virtual environment was found on PATH. Install one, or name it: make PYTHON=/path/to/python' >&2; exit 1; }
	@echo 'Installing $< into $(@D) ...'
	@'$(PYTHON)' -m venv --clear '$(@D)'
	@pip="$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes"; \
	{ $$pip -r locks/installer.txt && $(@D)/bin/uv pip install --quiet --system-certs --compile-bytecode \
	  --python '$(@D)/bin/python' --require-hashes --build-constraints $< -r $<; } \
	|| { echo 'uv could not install; trying pip ...' >&2; $$pip -r $<; }
	@touch $@
endef

$(VENV)/.installed: locks/dev.txt locks/installer.txt
	$(install)

$(DUCKDB15)/.installed: locks/duckdb15.txt locks/installer.txt
	$(install)

$(SPARK)/.installed: locks/spark.txt locks/installer.txt
	$(install)

$(RAY)/.installed: locks/ray.txt locks/installer.txt
	$(install)

# The project itself: again when its entry points or its version may have changed.
%/.project: %/.installed pyproject.toml
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: lock
lock: setup ## write locks/ from pyproject.toml (ARGS=--upgrade: choose the newest versions again)
	$(COMPILE) --extra all --group dev pyproject.toml -o locks/dev.txt $(ARGS)
	$(COMPILE) --extra all --group duckdb15 pyproject.toml -o locks/duckdb15.txt $(ARGS)
	$(COMPILE) --extra all --group spark --constraints locks/dev.txt pyproject.toml -o locks/spark.txt $(ARGS)
	$(COMPILE) --extra ray --extra s3 --group ray --constraints locks/dev.txt pyproject.toml -o locks/ray.txt $(ARGS)
	$(COMPILE) --extra s3 --extra worker --constraints locks/dev.txt pyproject.toml -o locks/image.txt $(ARGS)
	echo uv | $(COMPILE) - -o locks/installer.txt $(ARGS)
	for name in azurite s3rver; do \
		(cd locks/$$name && npm install --package-lock-only --omit-lockfile-registry-resolved); done
