# make up, make test: everything else is listed by `make help`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help up test lint fmt bench bench-relay chaos lock clean

help:  ## this list
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The lock is installed with hashes, the project itself without dependencies: pip refuses to mix the two.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mailsluice needs Python 3.11 or newer: make PYTHON=python3.13 up"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt install python3-venv"; exit 1; }
	@echo "Installing the locked packages into $(VENV), about a minute …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing the packages for tests and linters into $(VENV), about a minute …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.venv: $(VENV)/.runtime  ## the environment and nothing else
up: $(VENV)/.runtime  ## start everything on this machine, no AWS account needed (ARGS="--workers 2")
	$(BIN)/mailsluice up $(ARGS)
test: $(VENV)/.dev  ## every test (ARGS="-k gateway")
	$(BIN)/python -m pytest -n 5 $(ARGS)
lint: $(VENV)/.dev  ## ruff, mypy, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
fmt: $(VENV)/.dev  ## format and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
bench: $(VENV)/.dev  ## rates, CPU and latency, beside Postfix when it is installed (bench/README.md)
	$(BIN)/python -m bench $(ARGS)
bench-relay: $(VENV)/.dev  ## rate used, latency of lanes, cost of waiting, kills (bench/README.md)
	$(BIN)/python -m bench.relay $(ARGS)
chaos: $(VENV)/.dev  ## two minutes of load while processes are killed and SES misbehaves
	$(BIN)/python -m bench.chaos $(ARGS)
lock:  ## resolve the two lock files anew (needs uv)
	uv pip compile pyproject.toml --extra embedded --extra regex --generate-hashes --universal --no-emit-index-url --no-emit-find-links --python-version 3.11 --no-header -q -o requirements.lock
	uv pip compile pyproject.toml --extra embedded --extra regex --group dev -c requirements.lock --generate-hashes --universal --no-emit-index-url --no-emit-find-links --python-version 3.11 --no-header -q -o requirements-dev.lock
clean:  ## remove the environment, caches and build leftovers; never ./var, which holds mail
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
