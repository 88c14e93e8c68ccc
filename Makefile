# make serve    the site at http://127.0.0.1:8000, in Korean and (below /en/) in English
# make site     both languages, strictly, into site/
# make test     linters, types and every test that needs no browser
# make browser  Chromium, where it is missing (for `make test-site`)
# make clean    what was built; `make distclean` also the environment

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
export NO_MKDOCS_2_WARNING := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

READY := $(VENV)/.ready
STAMPS := build/stamps
SHARED := $(shell find theme src/vlm_history/site -type f -not -path '*/__pycache__/*' 2>/dev/null) mkdocs.yml \
  $(wildcard docs/*.yml) $(STAMPS)/examples
EXAMPLES := $(shell find examples src -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*' 2>/dev/null)

.PHONY: help serve site test test-site browser clean distclean setup

help:
	@sed -n 's/^# \(make .*\)/  \1/p' Makefile

setup: $(READY)

$(READY): pyproject.toml $(wildcard constraints.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(wildcard constraints.txt),--constraint constraints.txt) --editable '.[test]'
	touch $@

# What the examples show. Only those that are out of date run, two at a time.
$(STAMPS)/examples: $(EXAMPLES) $(READY)
	@mkdir -p $(STAMPS)
	$(BIN)/python -m vlm_history.site.examples
	touch $@

$(STAMPS)/ko: mkdocs.yml $(SHARED) $(shell find docs/ko -type f 2>/dev/null)
	@$(BIN)/python -m mkdocs build --strict --config-file mkdocs.yml --site-dir build/pages/ko
	touch $@

$(STAMPS)/en: mkdocs.en.yml $(SHARED) $(shell find docs/en -type f 2>/dev/null)
	@$(BIN)/python -m mkdocs build --strict --config-file mkdocs.en.yml --site-dir build/pages/en
	touch $@

# The languages are built side by side and put together when both are whole.
$(STAMPS)/site: $(STAMPS)/ko $(STAMPS)/en
	@rm -rf site
	cp -r build/pages/ko site
	cp -r build/pages/en site/en
	touch site/.nojekyll $@

site: $(STAMPS)/examples
	@test -d site || rm -f $(STAMPS)/site
	test -d build/pages/ko || rm -f $(STAMPS)/ko
	test -d build/pages/en || rm -f $(STAMPS)/en
	$(MAKE) --jobs 2 $(STAMPS)/site

serve: site
	@echo "한국어  http://127.0.0.1:$(PORT)/"
	echo "English http://127.0.0.1:$(PORT)/en/"
	echo "(Ctrl-C stops it; after a change, make site in another window and reload)"
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory site 2>/dev/null

test: $(READY)
	@$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -m "not browser and not network"
	if [ -n "$$(find docs -name '*.md')" ]; then \
	  $(BIN)/python -m pytest --markdown-docs --markdown-docs-syntax=superfences -n 2 \
	    $$(find README.md README.ko.md docs src/vlm_history -name '[!_]*.md' -o -name '*.py' -path 'src/*' | sort); \
	fi

# The built site, in a browser and out of it.
test-site: site
	@$(BIN)/python -m pytest tests/site -m browser -n 2

browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || {
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium
	}

clean:
	rm -rf build site

distclean: clean
	rm -rf $(VENV)
