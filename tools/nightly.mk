# Jobs of the night and of releases, included by the Makefile:
#   make nightly                 all tests, with 200 examples a property and types checked at run time; then wheels, comfy,
#                                golden, load, fuzz and mutate
#   make golden                  what 90 commands and calls compute is as stored (5 minutes); ARGUMENTS=--write stores it
#   make mutate                  300 random bugs, one at a time: which ones the tests see; ARGUMENTS=--update stores the rates
#   make load                    500 pairs, 50 calls by agents, visitors and strangers (15 minutes);
#                                OUTPUT=research/results/load.json stores it
#   make fuzz MINUTES=15         damaged inputs for every door; what fails is kept in tools/tests/fuzz/corpus (SEED=... repeats)
#   make comfy                   the nodes in a real ComfyUI, which it downloads (GPL); COMFYUI=folder: in another version
#   make coverage                the tests with branch coverage
#   make wheels, make bundle     the six packages in dist/, tried in fresh environments; keep for desktop clients
#   make lock, make newest       the newest versions into tools/constraints.txt; the tests with the newest versions
#   make audit                   licenses, a bill of materials, known vulnerabilities

AUDIT := $(VENV)/audit

.PHONY: nightly golden mutate load fuzz comfy coverage wheels bundle lock newest audit docs-material

coverage: $(STAMP)
	$(PYTEST) -m "not nightly" --cov --cov-report=term

mutate: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutation.py $(ARGUMENTS)

load: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.under_load --output $(or $(OUTPUT),out/load.json)

golden: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.golden $(ARGUMENTS)

# Built twice, byte for byte the same; installed where nothing else of ours is: the library alone, with the portraits, and
# all six.
wheels: $(STAMP)
	rm -rf dist
	for package in . $(DISTRIBUTIONS); do for place in dist dist/again; do \
		SOURCE_DATE_EPOCH=1577836800 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $$place ./$$package || exit 1; \
	done; done
	for wheel in dist/*.whl; do cmp $$wheel dist/again/$$(basename $$wheel) || exit 1; done
	rm -rf dist/again
	$(BIN)/python -m pytest tools/tests/test_wheels.py

# It ends with 1 while a registry would refuse server.json.
bundle: $(STAMP)
	SOURCE_DATE_EPOCH=1577836800 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m tools.bundle dist/latentedit-*.whl

# ComfyUI is GPL software: downloaded into out/comfyui as a program to test with, and last on the path of Python.
COMFY := $(CURDIR)/out/comfyui
EMPTY :=
COLON_PATHS = $(subst $(EMPTY) ,:,$(CURDIR) $(CURDIR)/src $(wildcard $(CURDIR)/models/*/src $(CURDIR)/research/*/src))
comfy: $(STAMP)
	$(BIN)/python -m tools.comfy install
	COMFYUI_STAND_INS=$(COMFY)/stand-ins OMP_NUM_THREADS=1 \
		PYTHONPATH=$(COLON_PATHS):$(abspath $(or $(COMFYUI),$(COMFY)/ComfyUI)) \
		$(COMFY)/venv/bin/python -m pytest -q tests/comfyui

MINUTES ?= 15
SEED ?= $(shell date +%s)

fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.tests.fuzz.campaign $(MINUTES) --seed $(SEED)

# The tools that look at packages are not among those that they look at.
$(AUDIT): $(STAMP)
	@$(BIN)/python -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --disable-pip-version-check --quiet 'uv>=0.8' 'pip-audit>=2.9' 'cyclonedx-bom>=7'

audit: $(AUDIT)
	$(BIN)/python -m pytest -q tools/tests/test_supply.py
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

docs-material: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

nightly: $(STAMP)
	LATENTEDIT_SYSTEM_BROWSER=1 HYPOTHESIS_PROFILE=nightly $(PYTEST) -p randomly -p tests.typed \
		--jaxtyping-packages=latentedit,latentedit_bench,latentedit_portraits,latentedit_drawn,latentedit_scenes,tests.typed.checked
	@$(MAKE) --no-print-directory wheels
	@$(MAKE) --no-print-directory comfy
	@$(MAKE) --no-print-directory golden
	@$(MAKE) --no-print-directory load
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory mutate
