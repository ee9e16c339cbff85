.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= 3.11
python := .venv/bin/python
inner := {{cookiecutter.project_slug}}/requirements
# The template's own tests need the package's name to be valid Python: linted once generated.
code := hooks tests scripts '{{cookiecutter.project_slug}}/src' '{{cookiecutter.project_slug}}/ops'
unexport PYTHONDONTWRITEBYTECODE
export RUFF_CACHE_DIR := $(CURDIR)/.ruff_cache
unexport VIRTUAL_ENV

uv := $(shell command -v uv || echo .uv/bin/uv)
find_uv := $(if $(findstring .uv/bin,$(uv)),.uv/bin/uv)

compile = $(CURDIR)/.venv/bin/uv pip compile --quiet $(if $(UPGRADE),--upgrade) --universal \
  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock"

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

lint: .venv/.ready ## format, lint and types of hooks, tests and template
	$(python) -m ruff format --check $(code)
	$(python) -m ruff check --extend-ignore N999 $(code)
	$(python) -m mypy

format: .venv/.ready ## put all code into the one format
	$(python) -m ruff check --quiet --fix-only $(code)
	$(python) -m ruff format $(code)

gate-table: .venv/.ready ## write docs/gate-table.md from the markers of the tests
	@$(python) scripts/gate_table.py

real-tables: .venv/.ready ## run the suite of real tables and write docs/real-tables.md
	@$(python) scripts/table_page.py

lock: .venv/.ready ## compile every lock again; UPGRADE=1 takes newer versions
	cd '$(inner)' && for name in serve-skops serve train checks; do $(compile) --output-file $$name.txt $$name.in; done
	cd '$(inner)' && $(compile) $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' serve.txt) --no-annotate --no-header --output-file bento.txt bento.in
	cd '$(inner)' && for kind in s3 gs azure ssh; do printf -- '-c train.txt\ndvc-%s\n' $$kind > $$kind.in; \
	  $(compile) $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' train.txt) --no-annotate --no-header \
	    --output-file "{{cookiecutter.__$${kind}_lock}}" $$kind.in; rm $$kind.in; done
	cd '$(inner)' && $(compile) $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' train.txt) \
	  --no-annotate --no-header --output-file sign.txt sign.in
	cd '$(inner)' && for kind in nats redis kafka; do \
	  sed "s/{{ cookiecutter.broker }}/$$kind/" '{{cookiecutter.__consumer_in}}' > consumer.in; \
	  $(compile) --output-file "{{cookiecutter.__$${kind}_lock}}" consumer.in; rm consumer.in; done
	cd requirements && $(compile) --output-file dev.txt dev.in
	cd requirements && $(compile) --no-deps --output-file tables.txt tables.in

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
