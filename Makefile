# Bulkhead. `make` lists what there is.
.DEFAULT_GOAL := help
# Debian's own Python is built with its optimizations and takes three quarters of the time of one that is not.
PYTHON ?= $(shell /usr/bin/python3.11 -c 'import ensurepip; print("/usr/bin/python3.11")' 2>/dev/null || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml requirements/gateway.lock 2>/dev/null | sha256sum | cut -c1-16)

# Hundreds of processes begin in a run of the tests: none should compile what another one has.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install serve engine format lint types architecture checks tests test clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  %-14s %s\n", $$1, $$2}'

$(STAMP):
	@command -v $(PYTHON) >/dev/null || { echo "Bulkhead needs Python 3.11: install it, or name it with 'make PYTHON=/path/to/python3.11'."; exit 1; }
	@echo "Installing into $(VENV) (about a minute the first time) ..."
	@$(PYTHON) -m serving.cli.bootstrap $(VENV)
	@rm -f $(VENV)/.installed-* && touch $@

install: $(STAMP) ## make the environment from the lock

serve: install ## start the chat backend with two demo merchants on http://127.0.0.1:8080
	@$(BIN)/bulkhead serve --demo examples/merchants

engine: install ## make the engine's environment and a small model for the tests
	@$(BIN)/bulkhead engine install --model tiny

format: install ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install ## format check and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install ## mypy, strict
	$(BIN)/mypy

architecture: install ## which package may import which
	$(BIN)/lint-imports

tests: install engine ## pytest, four processes
	$(BIN)/python -m pytest --numprocesses 4 --dist loadgroup --no-loadscope-reorder

checks: lint types architecture engine

test: install ## all checks; what CI runs
	@$(MAKE) --no-print-directory --jobs=2 checks
	@$(MAKE) --no-print-directory tests

clean: ## remove environments, caches and the demo's data
	rm -rf $(VENV) .venv-engine .bulkhead .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
