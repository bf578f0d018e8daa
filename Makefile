# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# `make demo` and `make test` are all a newcomer needs; both make their own environment in .venv first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
STAMP := $(VENV)/.installed

# Everything runs from local files; nothing may wait for the Hub.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export OMP_NUM_THREADS ?= $(CORES)
export MPLBACKEND := Agg
export PYTHONUNBUFFERED := 1

DEMO_ARGS ?=
RECIPE_ARGS ?=
ARMS_ARGS ?=
MINUTES ?= 60
EPISODES ?= 50
BENCH_ARGS ?=
PYTEST_ARGS ?=

.PHONY: help install demo recipe arms test test-slow lint format types bench-so101 clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## make .venv and install the package, the simulator and the tools (again only if a pyproject changed)

$(STAMP): pyproject.toml examples/so101_sim/pyproject.toml examples/arms/emulator/pyproject.toml
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		python=$$(scripts/find_python.sh) && echo "making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV); \
	fi
	@echo "installing; the first time takes some minutes and 6 GB, most of it PyTorch"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[sim,arms,wan,scale,vlm-server,browser,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e examples/so101_sim -e examples/arms/emulator
	@scripts/rendering_libraries.sh $(BIN)/python
	@scripts/browser.sh
	@touch $(STAMP)

demo: install ## cut demonstrations at events, train, imagine, act; writes outputs/demo/report.html (about 12 minutes)
	$(BIN)/python examples/so101_demo/run.py $(DEMO_ARGS)

recipe: install ## the paper's stages one after the other, each measured on held-out data before and after (about 10 minutes)
	$(BIN)/python examples/recipe/run.py $(RECIPE_ARGS)

arms: install ## follow the recipe for an SO-101 with two cameras to the letter, an emulated arm in place of yours (about 10 minutes)
	$(BIN)/python examples/arms/follow.py --fresh $(ARMS_ARGS)

test: install ## the fast tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: install ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: install ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## ruff: mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## mypy on the package
	$(BIN)/mypy

bench-so101: install ## wallwm against ACT for the same wall-clock, in simulation (MINUTES=60 EPISODES=50)
	$(BIN)/python -m benchmarks.so101.bench --minutes $(MINUTES) --episodes $(EPISODES) $(BENCH_ARGS)

clean: ## remove outputs and caches (not .venv)
	rm -rf outputs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
