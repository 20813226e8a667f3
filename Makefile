# Needs Python 3.11 or newer and make. Everything else goes into .venv, pinned by hash.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := .venv/.runtime
DEV := .venv/.dev
PEERS := .venv/.peers
NODE := tests/node/node_modules/.package-lock.json

# Some images set this. Each process would then compile all of the project again: a third of a second for each command.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test lint types bench soak docs pins example

help: ## show these verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

# On a terminal the service gets a process group of its own, so that Ctrl-C ends it and make ends well after it.
run: $(RUNTIME) ## migrate the ledger, then serve it
	@$(BIN)/session-ledger migrate
	@if [ -t 0 ]; then set -m; $(BIN)/session-ledger serve; else exec $(BIN)/session-ledger serve; fi

test: $(DEV) $(NODE) ## run the tests
	@$(BIN)/pytest -n 3 --dist worksteal

lint: $(DEV) ## check style and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(DEV) ## check types
	@$(BIN)/mypy

example: $(DEV) ## run the example: a page and its resource server, http://localhost:8100
	@$(BIN)/python -m examples

bench: $(DEV) $(PEERS) ## measure, and write docs/performance.md
	@$(BIN)/python -m bench

soak: $(DEV) ## run the long tests
	@SOAK=1 $(BIN)/pytest -m soak --override-ini faulthandler_timeout=0

docs: $(DEV) ## write the generated pages again
	@$(BIN)/python -m docs.generate

# Keeps what is pinned as far as pyproject.toml allows; `make pins PINS=--upgrade` takes the newest.
PIN = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header $(PINS)

pins: .venv/bin/pip ## pin the dependencies again
	@$(PIP) install uv
	@$(PIN) pyproject.toml --group dev --output-file requirements-dev.txt
	@$(PIN) pyproject.toml --constraint requirements-dev.txt --output-file requirements.txt
	@$(PIN) --group build --constraint requirements-dev.txt --output-file requirements-build.txt
	@$(PIN) --group peers --constraint requirements-dev.txt --output-file requirements-peers.txt

# The last thing that venv makes is pip: without it, a folder that was left half-made is made again.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv

$(RUNTIME): requirements.txt requirements-build.txt pyproject.toml | .venv/bin/pip
	@echo "installing what the service needs into .venv"
	@$(PIP) install --require-hashes -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml | .venv/bin/pip
	@echo "installing what the development needs into .venv"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# What the bench holds the service against has an environment of its own.
$(PEERS): requirements-peers.txt | .venv/bin/pip
	@echo "installing the peers into .venv/peers"
	@$(PYTHON) -m venv .venv/peers
	@.venv/peers/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-peers.txt
	@touch $@

# Without npm the tests that need Node.js are skipped, except where CI is set: there they fail.
$(NODE): tests/node/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --silent && touch $@; \
	else echo "npm is missing: the tests with Node.js are skipped"; fi
