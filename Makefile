# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# `make demo` and `make test` are all a newcomer needs; both make their own environment in .venv first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
DEMO_STAMP := $(VENV)/.installed-for-the-demo
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PROJECTS := pyproject.toml examples/so101_sim/pyproject.toml examples/emulator/pyproject.toml

# Everything runs from local files; nothing may wait for the Hub.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export OMP_NUM_THREADS ?= $(CORES)
# OpenMP threads that spin while they wait slow each other down on a busy machine: a training step of 0.46 s took 15 s
# beside six busy processes.
export GOMP_SPINCOUNT ?= 10000
export MPLBACKEND := Agg
export PYTHONUNBUFFERED := 1

DEMO_ARGS ?=
RECIPE_ARGS ?=
ARMS_ARGS ?=
PYTEST_ARGS ?=

.PHONY: help install demo recipe arms test test-slow lint format types docs docs-serve clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## make .venv and install the package, the simulator and the tools (again only if a pyproject changed)

$(BIN)/python:
	@python=$$(scripts/find_python.sh) && echo "making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)

$(DEMO_STAMP): $(PROJECTS) | $(BIN)/python
	@echo "installing; the first time takes some minutes and 6 GB, most of it PyTorch"
	$(PIP) -e ".[sim]"
	$(PIP) --no-deps -e examples/so101_sim
	@scripts/rendering_libraries.sh $(BIN)/python
	@touch $@

$(STAMP): $(DEMO_STAMP)
	$(PIP) -e ".[sim,arms,wan,lora,scale,vlm-server,browser,dev,docs]"
	$(PIP) --no-deps -e examples/emulator
	@scripts/browser.sh
	@touch $@

demo: $(DEMO_STAMP) ## cut demonstrations at events, train, imagine, act; writes outputs/demo/report.html (about 12 minutes)
	$(BIN)/python examples/so101_demo/run.py $(DEMO_ARGS)

recipe: install ## the paper's stages one after the other, each measured on held-out data before and after (about 10 minutes)
	$(BIN)/python examples/recipe/run.py $(RECIPE_ARGS)

arms: install ## follow the recipe for an SO-101 with two cameras to the letter, an emulated arm in place of yours (about 10 minutes)
	$(BIN)/python scripts/recipes/follow.py --fresh $(ARMS_ARGS)

test: install ## the fast tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: install ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: install ## ruff: rules and format; who may import whom; no import circles
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python scripts/import_circles.py

format: install ## ruff: mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## mypy on the package
	$(BIN)/mypy

docs: install ## build the documentation into outputs/site; every link and reference must hold
	$(BIN)/python scripts/options.py docs/train/options.md
	$(BIN)/python scripts/troubleshooting.py docs/start/troubleshooting.md
	$(BIN)/python scripts/commands.py docs/start/commands.md
	$(BIN)/mkdocs build --strict --site-dir outputs/site

docs-serve: docs ## read the documentation on http://127.0.0.1:8000
	$(BIN)/mkdocs serve

clean: ## remove outputs and caches (not .venv)
	rm -rf outputs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
