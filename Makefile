# Fanfold's commands; `make help` lists them.
PYTHON ?= python3
# Tests wait more than they compute, but a stack keeps a core busy.
TESTS_AT_ONCE ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: help demo up test check format lint types imports generated openapi lock histories bench clean
.DEFAULT_GOAL := help

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# pip checks every file against its hash; nothing is installed that the lock does not name.
$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "python3 lacks the venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED) ## Run a job over real data, and one with failures, on a stack of its own
	@$(BIN)/fanfold demo

up: $(INSTALLED) ## Run everything on this machine: Temporal, workers, gateway (Ctrl-C stops it)
	@$(BIN)/fanfold up

test: $(INSTALLED) ## Install what the tests need, then run them all
	@scripts/install-browser.sh
	@scripts/install-pgbouncer.sh
	@$(BIN)/python -m pytest -m alone; alone=$$?; \
		$(BIN)/python -m pytest -m "not alone" -n $(TESTS_AT_ONCE) --dist worksteal && exit $$alone

check: $(INSTALLED) lint types imports generated test ## Everything CI runs

format: $(INSTALLED) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

lint: $(INSTALLED) ## Check format and style
	@$(BIN)/ruff format --check --quiet . || { echo "repair it with: make format" >&2; exit 1; }
	@$(BIN)/ruff check .

types: $(INSTALLED) ## Check types
	@$(BIN)/mypy

imports: $(INSTALLED) ## Check that imports go in the allowed directions only
	@$(BIN)/lint-imports

generated: $(INSTALLED) ## Check that generated files are up to date
	@$(BIN)/python scripts/openapi.py --check
	@scripts/lock.sh --check

openapi: $(INSTALLED) ## Write openapi.yaml from the gateway's code
	@$(BIN)/python scripts/openapi.py

lock: $(INSTALLED) ## Write requirements/*.txt from pyproject.toml
	@scripts/lock.sh

histories: $(INSTALLED) ## Record workflow histories for the replay tests
	@$(BIN)/python -m scripts.record_histories

bench: $(INSTALLED) ## Measure the rates the README names; prints a table
	@$(BIN)/python -m benchmarks

clean: ## Remove the virtual environment and what tools left behind
	@rm -rf $(VENV) .bench-peers build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
