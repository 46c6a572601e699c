# The targets a person or CI calls.  Each sets up what it needs; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-real lint format docs lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/installed ## Make .venv with the project and its locked dependencies

.venv/locked: requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo absent)." \
	       "Install it, or name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "making .venv (about a minute)"
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install -r requirements-dev.lock
	@touch $@

.venv/installed: .venv/locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Replay the sample trace against the simulated server, judge it, write a report
	@$(BIN)/bench demo

test: setup ## Run the tests
	@$(BIN)/pytest

test-real: setup ## Run the tests against real servers (installs vLLM for the CPU, a few minutes)
	@BENCH_REAL=1 $(BIN)/pytest tests/real -rs

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## Write the generated documents again
	@$(BIN)/bench metrics --markdown > docs/metrics.md

lock: ## Resolve the dependencies anew into requirements.lock and requirements-dev.lock
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip -qq install --upgrade pip
	@.venv-lock/bin/python -m pip -qq install .
	@.venv-lock/bin/python -m pip freeze --exclude bench-llm > requirements.lock
	@.venv-lock/bin/python -m pip -qq install --group dev .
	@.venv-lock/bin/python -m pip freeze --exclude bench-llm > requirements-dev.lock
	@rm -rf .venv-lock

clean: ## Remove what setup and the tools made; runs in reports/ stay
	@rm -rf .venv .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
