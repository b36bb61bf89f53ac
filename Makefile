# `make` lists what there is. Everything happens in a virtual environment in this folder.
#
#   PYTHON=python3.12   another interpreter; it gets an environment of its own under .venvs/
#   ARGS="..."          passed on to demo, bench, docs or pytest

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

SUPPORTED := 3.11 3.12 3.13
CODE := $(wildcard telemetrix tests benchmarks examples)

# Prints an interpreter of version $wanted. pyenv's shims exist for versions that they refuse to run,
# hence the trial.
find_python = for candidate in python$$wanted $$HOME/.pyenv/versions/$$wanted.*/bin/python; do \
    "$$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$wanted')" 2>/dev/null \
      && echo "$$candidate" && break; \
  done

# A chosen interpreter must not overwrite the environment of the default one.
ifdef PYTHON
CHOSEN := $(shell wanted=$(PYTHON:python%=%); "$(PYTHON)" -c pass 2>/dev/null && echo "$(PYTHON)" || { $(find_python) ; } | head -n 1)
$(if $(CHOSEN),,$(error PYTHON=$(PYTHON) does not run here))
VENV := .venvs/$(shell $(CHOSEN) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
else
VENV := .venv
endif
BIN := $(VENV)/bin

# pyright's wrapper otherwise asks the npm registry whether there is a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Found by PATH: --verifytypes does not heed --pythonpath.
pyright = PATH="$(abspath $(BIN)):$$PATH" pyright

say = printf '\n\033[1m==> %s\033[0m\n'
ifneq ($(and $(MAKE_TERMOUT),$(if $(NO_COLOR),,colour)),colour)
say = printf '\n==> %s\n'
endif

.PHONY: help demo test lint types unit unit-quick other-pythons bench docs clean distclean

help:  ## this list
	@echo 'make <target> [PYTHON=python3.12] [ARGS="..."]'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.has-demo  ## watch calls fail, retry, trip a circuit and recover (ARGS="--seconds 30")
	@$(BIN)/telemetrix demo $(ARGS)

test: lint types unit other-pythons  ## everything CI checks
	@$(say) 'all checks passed'

lint: $(VENV)/.has-lint  ## ruff and the import contracts
	@$(say) 'ruff check'
	@$(BIN)/ruff check .
	@$(say) 'ruff format --check'
	@$(BIN)/ruff format --check .
	@$(say) 'import contracts'
	@$(BIN)/lint-imports --no-logo

types: $(VENV)/.has-lint  ## mypy --strict and pyright
	@$(say) 'mypy --strict'
	@$(BIN)/mypy --strict $(CODE)
	@$(say) 'pyright'
	@$(pyright) $(CODE)
	@$(say) 'pyright: the public API is typed completely'
	@$(pyright) --verifytypes telemetrix --ignoreexternal > $(VENV)/verifytypes.log \
	  || { cat $(VENV)/verifytypes.log; exit 1; }
	@grep '^Type completeness score' $(VENV)/verifytypes.log

# Two processes, as the smallest machine has cores; tests that fork do so in processes of their own.
unit: $(VENV)/.has-dev  ## the tests, with a coverage report
	@$(say) "pytest on $$($(BIN)/python --version)"
	@$(BIN)/coverage erase
	@$(BIN)/python -m coverage run -m pytest -q -n 2 $(ARGS)
	@$(say) 'coverage'
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

unit-quick: $(VENV)/.has-dev  ## the tests, without the slow ones, those with servers and the report
	@$(say) "pytest on $$($(BIN)/python --version), quick tests"
	@$(BIN)/python -m pytest -q -n 2 -m 'not slow and not service' $(ARGS)

other-pythons: $(VENV)/.has-dev  ## the quick tests on each other supported Python that is found
	@this=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for wanted in $(SUPPORTED); do \
	  test "$$wanted" = "$$this" && continue; \
	  found=$$($(find_python)); \
	  if test -n "$$found"; then $(MAKE) --no-print-directory PYTHON="$$found" unit-quick || exit 1; \
	  else $(say) "Python $$wanted: skipped, none on PATH or in ~/.pyenv/versions"; fi; \
	done

bench: $(VENV)/.has-bench  ## telemetrix beside its peers, as ratios
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.has-dev  ## write the generated pages under docs/
	@$(BIN)/telemetrix docs $(ARGS)

clean:  ## remove what the tools and builds left
	rm -rf build dist htmlcov .coverage .coverage.* coverage.* *.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean  ## and the virtual environments
	rm -rf .venv .venvs

# --- the environment ------------------------------------------------------------------------------

# Prints python3 where it is new enough, else the newest supported one there is.
default_python = python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo python3 \
  || for wanted in 3.13 3.12 3.11; do $(find_python); done | head -n 1

$(BIN)/python:
	@python="$(CHOSEN)"; test -n "$$python" || python=$$($(default_python)); \
	test -n "$$python" || { echo 'telemetrix needs Python 3.11 or newer: apt-get install python3 python3-venv'; exit 1; }; \
	$(say) "environment $(VENV) with $$("$$python" --version)"; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	  virtualenv -q -p "$$python" $(VENV) 2>/dev/null || "$$python" -m virtualenv -q $(VENV) 2>/dev/null; } || { \
	  rm -rf $(VENV); echo "$$python -m venv does not work here: apt-get install python3-venv"; exit 1; }

# .has-<extra>: telemetrix is installed here, editable, with that extra and those it contains.
contained_in_lint := dev demo
contained_in_dev := demo

$(VENV)/.has-%: pyproject.toml | $(BIN)/python
	@$(say) 'install .[$*] into $(VENV)'
	@$(BIN)/python -m pip install -q -e '.[$*]'
	@touch $@ $(patsubst %,$(VENV)/.has-%,$(contained_in_$*))
