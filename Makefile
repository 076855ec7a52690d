# Two commands matter: `make demo` and `make test`. Both make .venv if it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint types format setup constraints clean

help:
	@echo "make demo    films in, a delivered dub out: about 12 minutes on two cores once installed"
	@echo "make test    the whole test suite; every server it needs is started and stopped by the tests"
	@echo "make lint    ruff, the type checker and the import rules"
	@echo "make setup   .venv with everything for users and developers"

# pip alone is assumed on a fresh machine. The stamp is remade when the pins change.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: .venv/installed

demo: .venv/installed
	$(BIN)/e3d demo

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pins of what is installed now; torch without its local tag, so that it also resolves on a GPU machine.
constraints:
	( echo "# Versions that were installed and tested together. Regenerate with: make constraints"; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' ) > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv demo-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
