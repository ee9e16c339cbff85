.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= 3.11
python := .venv/bin/python
inner := {{cookiecutter.project_slug}}/requirements
code := hooks tests scripts src
unexport PYTHONDONTWRITEBYTECODE
export RUFF_CACHE_DIR := $(CURDIR)/.ruff_cache
unexport VIRTUAL_ENV

uv := $(shell command -v uv || echo .uv/bin/uv)
find_uv := $(if $(findstring .uv/bin,$(uv)),.uv/bin/uv)

.PHONY: help demo test test-fast test-long lint format gate-table real-tables lock clean

help: ## this list
	@echo "make TARGET:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r t h; do printf '  %-10s %s\n' "$$t" "$$h"; done

demo: .venv/.ready ## generate the example, run its pipeline through the gates, serve it, predict
	@$(python) scripts/demo.py

test: .venv/.ready ## the tests of a change, with whole pipelines and served models
	$(python) -m pytest -n auto --dist loadfile -m 'not slow'
	$(python) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m 'slow and not long'

test-long: .venv/.ready ## what runs at night: a year of the example, the other real tables
	$(python) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m long

test-fast: .venv/.ready ## the tests that take seconds
	$(python) -m pytest -n auto --dist loadfile -m 'not slow'

lint: .venv/.ready ## format, lint, types, and the layers of the library
	$(python) -m ruff format --check $(code)
	$(python) -m ruff check $(code)
	$(python) -m mypy
	PYTHONPATH=src .venv/bin/lint-imports --no-cache

format: .venv/.ready ## put all code into the one format
	$(python) -m ruff check --quiet --fix-only $(code)
	$(python) -m ruff format $(code)

gate-table: .venv/.ready ## write docs/gate-table.md from the markers of the tests
	@$(python) scripts/gate_table.py

real-tables: .venv/.ready ## run the suite of real tables and write docs/real-tables.md
	@$(python) scripts/table_page.py

lock: .venv/.ready ## compile every lock again; UPGRADE=1 takes newer versions
	@$(python) scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove what the other targets made
	rm -rf .venv .uv demo .pytest_cache .mypy_cache .ruff_cache

.venv/.ready: requirements/dev.txt | $(find_uv)
	@echo ".venv: installing $$(grep -c '^[a-zA-Z0-9]' requirements/dev.txt) locked packages"
	@$(uv) venv --quiet --clear --python $(PYTHON) .venv
	@$(uv) pip sync --quiet --python .venv --require-hashes requirements/dev.txt
	@touch $@

# Where uv is not installed, the locked one is, for this folder only.
.uv/bin/uv: requirements/dev.txt
	@echo ".uv: installing uv"
	@python3 -m venv --clear .uv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > .uv/uv.txt
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .uv/uv.txt
	@touch $@
