# make run    the signature command on the default model and data; results/ and runs/P101.ipynb
# make test   lint and all tests
# make clean  remove what these made
# KN_DATA_DIR may point at a local copy of the paper's data (see README.md).

PYTHON ?= python3.11
RELATION ?= P101
FACTS ?= 8
BIN := .venv/bin

.PHONY: run test clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

run: .venv/installed
	mkdir -p runs
	$(BIN)/papermill --kernel python3 notebooks/01_attribution.ipynb runs/$(RELATION).ipynb -p relation $(RELATION) $(if $(filter none,$(FACTS)),,-p n_facts $(FACTS))

test: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m pytest

clean:
	rm -rf .venv runs results *.egg-info
