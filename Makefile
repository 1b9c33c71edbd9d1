# make run    all notebooks for one relation on the bundled model and facts; results/ and runs/P101/
# make test   lint and all tests
# make clean  remove what these made
# KN_DATA_DIR may point at a local copy of the paper's data (see README.md).

PYTHON ?= python3.11
RELATION ?= P101
PARAMETERS ?=
BIN := .venv/bin

.PHONY: run test clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

run: .venv/installed
	mkdir -p runs/$(RELATION)
	for notebook in notebooks/0*.ipynb; do \
	  $(BIN)/papermill --kernel python3 $$notebook runs/$(RELATION)/$$(basename $$notebook) -p relation $(RELATION) $(PARAMETERS) || exit 1; \
	done

test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest

clean:
	rm -rf .venv runs results *.egg-info
